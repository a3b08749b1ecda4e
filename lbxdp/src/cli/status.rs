//! `lbxdp status`: what an operator asks first when something does not arrive.

use std::fmt::Write;

use super::client::{Client, ClientError, Director};
use crate::message::{Request, Response};
use crate::snapshot::{PacketPath, Status};
use crate::tables::pins::Instance;

/// Asks the daemon of an instance, and prints what it says.
pub fn print(instance: &Instance) -> Result<(), ClientError> {
    match Client::new(instance.clone()).ask(&Request::Status)? {
        Response::Status(status) => {
            let mut output = std::io::stdout().lock();
            std::io::Write::write_all(&mut output, text(instance, &status).as_bytes())
                .map_err(ClientError::Output)
        }
        other => Err(ClientError::unexpected(&other)),
    }
}

fn text(instance: &Instance, status: &Status) -> String {
    let mut text = format!("instance     {instance}\n");
    // Writing into a string cannot fail.
    let mut line = |words: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{words}");
    };
    for interface in &status.interfaces {
        let mode = match interface.path {
            PacketPath::Native => "native XDP",
            PacketPath::Generic => "GENERIC XDP: several times slower than native",
            PacketPath::Gone => "GONE: no packet comes in by it; once it is back, start the daemon again",
        };
        line(format_args!("interface    {}, {mode}", interface.name));
    }
    line(format_args!("connections  {} in {} places", status.connections, status.places));
    for address in &status.unresolved {
        line(format_args!(
            "next hop     UNKNOWN for server {address}: nobody answers ARP, or there is no route"
        ));
    }
    let counted: Vec<_> = status.not_forwarded.iter().filter(|counted| counted.packets > 0).collect();
    if counted.is_empty() {
        line(format_args!("not forwarded: no packet for a VIP so far"));
    } else {
        line(format_args!("not forwarded, of all packets for VIPs since the program was loaded:"));
    }
    for counted in counted {
        let fate = if counted.passed { "to the stack" } else { "dropped" };
        line(format_args!("  {:<20} {:>12}  {fate}", counted.reason, counted.packets));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{InterfaceStatus, NotForwarded};

    #[test]
    fn what_is_wrong_stands_out() {
        let status = Status {
            interfaces: vec![InterfaceStatus { name: "eth0".into(), path: PacketPath::Generic }],
            places: 1024,
            connections: 3,
            unresolved: vec![[10, 0, 0, 11].into()],
            not_forwarded: vec![
                NotForwarded { reason: "fragment".into(), passed: true, packets: 0 },
                NotForwarded { reason: "no_service".into(), passed: true, packets: 7 },
                NotForwarded { reason: "ttl_expired".into(), passed: false, packets: 1 },
            ],
        };
        let text = text(&Instance::default(), &status);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "instance     default",
                "interface    eth0, GENERIC XDP: several times slower than native",
                "connections  3 in 1024 places",
                "next hop     UNKNOWN for server 10.0.0.11: nobody answers ARP, or there is no route",
                "not forwarded, of all packets for VIPs since the program was loaded:",
                "  no_service                      7  to the stack",
                "  ttl_expired                     1  dropped",
            ]
        );
    }
}
