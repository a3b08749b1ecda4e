//! `lbxdp decap status`: what an operator asks first when something does not arrive.

use std::collections::BTreeMap;
use std::fmt::Write;

use ipnet::IpNet;
use lbxdp_common::Fate;
use lbxdp_common::decap::{Refusal, Settings, Tunnel};
use lbxdp_common::wire::ethernet;

use super::DecapError;
use super::attached::Attached;
use super::pins::Pins;
use super::start::interface_named;
use crate::host::surroundings::Decapsulator;
use crate::tables::pins::Instance;

/// What there is to say of one decapsulator.
struct Status {
    interface: String,
    presence: Presence,
    settings: Settings,
    from: Vec<IpNet>,
    opened: Vec<(Tunnel, u64)>,
    refused: Vec<(Refusal, u64)>,
}

/// Whether packets come to it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Here,
    Gone,
    /// Its interface has this name no more, or is in another network namespace.
    Elsewhere,
    /// Its interface has another MAC address than at the start.
    Renumbered,
}

/// Prints what there is to say of all decapsulators of an instance.
pub(super) fn print(instance: &Instance) -> Result<(), DecapError> {
    let failed = |error| DecapError::Pins("/sys/fs/bpf".into(), error);
    let mut text = String::new();
    for pins in Pins::all(instance).map_err(failed)? {
        if let Some(attached) = Attached::find(&pins)? {
            let separator = if text.is_empty() { "" } else { "\n" };
            // Writing into a string cannot fail.
            let _ = write!(text, "{separator}{}", read(pins, &attached)?.text());
        }
    }
    if text.is_empty() {
        text = format!("no decapsulator of instance {instance} is on any interface\n");
    }
    std::io::Write::write_all(&mut std::io::stdout().lock(), text.as_bytes()).map_err(DecapError::Output)
}

/// What the decapsulators at work were told, by their interfaces.
pub(crate) fn told(instance: &Instance) -> Result<BTreeMap<String, Decapsulator>, DecapError> {
    let failed = |error| DecapError::Pins("/sys/fs/bpf".into(), error);
    let mut all = BTreeMap::new();
    for pins in Pins::all(instance).map_err(failed)? {
        let Some(attached) = Attached::find(&pins)? else { continue };
        let Status { interface, presence: Presence::Here, settings, mut from, .. } = read(pins, &attached)?
        else {
            continue;
        };
        from.sort();
        let gue_ports = settings.gue_ports.into_iter().filter(|port| *port != 0).collect();
        all.insert(interface, Decapsulator { from, gue_ports });
    }
    Ok(all)
}

fn read(pins: Pins, attached: &Attached) -> Result<Status, DecapError> {
    let Attached { tables, ifindex, .. } = attached;
    let settings = tables.settings()?;
    let presence = match (ifindex, interface_named(&pins.interface)) {
        (0, _) => Presence::Gone,
        (here, Ok((named, mac))) if *here == named => {
            if ethernet::number(mac) == settings.mac {
                Presence::Here
            } else {
                Presence::Renumbered
            }
        }
        _ => Presence::Elsewhere,
    };
    let opened: Result<_, DecapError> =
        Tunnel::ALL.iter().map(|tunnel| Ok((*tunnel, tables.opened(*tunnel)?))).collect();
    let refused: Result<_, DecapError> =
        Refusal::ALL.iter().map(|refusal| Ok((*refusal, tables.refused(*refusal)?))).collect();
    Ok(Status {
        interface: pins.interface,
        presence,
        settings,
        from: tables.sources()?,
        opened: opened?,
        refused: refused?,
    })
}

impl Status {
    fn text(&self) -> String {
        let mut lines = String::new();
        let mut row = |name: &str, words: String| {
            let _ = writeln!(lines, "{name:<12} {words}");
        };
        let mode = match self.settings.is_generic {
            0 => "native XDP",
            _ => "GENERIC XDP: several times slower than native",
        };
        let trouble = match self.presence {
            Presence::Here => "",
            Presence::Gone => "; GONE: the interface was removed; start it again once it is back",
            Presence::Elsewhere => {
                "; ELSEWHERE: this interface has another name now, or is in another network namespace"
            }
            Presence::Renumbered => {
                "; ANOTHER MAC ADDRESS than at its start, nothing is opened: start it again"
            }
        };
        row("interface", format!("{}, {mode}{trouble}", self.interface));
        row("from", self.from.iter().map(IpNet::to_string).collect::<Vec<_>>().join(", "));
        let ports = self.settings.gue_ports.iter().filter(|port| **port != 0);
        row("gue ports", ports.map(u16::to_string).collect::<Vec<_>>().join(", "));
        let mut count = |name: &str, packets: u64, remark: &str| {
            let _ = writeln!(lines, "  {name:<20} {packets:>12}{remark}");
        };
        for (tunnel, packets) in &self.opened {
            count(tunnel.name(), *packets, "  decapsulated");
        }
        for (refusal, packets) in self.refused.iter().filter(|(_, packets)| *packets > 0) {
            let fate = match refusal.fate() {
                Fate::Pass => "  to the stack as it came",
                Fate::Drop | Fate::Hold => "  dropped",
            };
            count(refusal.name(), *packets, fate);
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calm() -> Status {
        Status {
            interface: "eth0".into(),
            presence: Presence::Here,
            settings: Settings { gue_ports: [6080, 0, 0, 0, 0, 0, 0, 0], ..Settings::default() },
            from: vec!["10.0.0.1/32".parse().unwrap(), "fd00::/64".parse().unwrap()],
            opened: vec![(Tunnel::Ipip, 12), (Tunnel::Gue, 0)],
            refused: vec![(Refusal::Fragment, 0)],
        }
    }

    #[test]
    fn when_all_is_well_little_is_said() {
        assert_eq!(
            calm().text(),
            "\
interface    eth0, native XDP
from         10.0.0.1/32, fd00::/64
gue ports    6080
  ipip                           12  decapsulated
  gue                             0  decapsulated
"
        );
    }

    #[test]
    fn what_is_wrong_stands_out() {
        let mut status = calm();
        status.presence = Presence::Renumbered;
        status.settings.is_generic = 1;
        status.refused = vec![(Refusal::SourceNotAllowed, 3), (Refusal::InnerMalformed, 1)];
        let text = status.text();
        for line in [
            "interface    eth0, GENERIC XDP: several times slower than native; ANOTHER MAC ADDRESS than at its start, nothing is opened: start it again\n",
            "  source_not_allowed              3  to the stack as it came\n",
            "  inner_malformed                 1  dropped\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }
}
