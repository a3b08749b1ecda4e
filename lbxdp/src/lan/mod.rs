//! Frames on an Ethernet, by hand: announcing where an address is, and asking who else says so.

mod arp;
mod frame;
mod ndp;
mod port;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

pub(crate) use frame::Packet;
pub(crate) use port::Port;

/// A hardware address of Ethernet.
pub(crate) type Mac = [u8; 6];

/// As it is usually written.
pub(crate) fn written(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// How often an announcement is sent: one frame is easily lost.
const ANNOUNCEMENTS: u32 = 3;

/// Between two announcements. Neighbours take no two within a second from each other anyway (`locktime`), but the first that
/// comes through.
const BETWEEN: Duration = Duration::from_millis(100);

/// Tells all neighbours that an address is at an interface: gratuitous ARP, or an unsolicited neighbour advertisement.
pub(crate) fn announce(interface: &str, address: IpAddr) -> io::Result<()> {
    let port = Port::open(interface)?;
    let frame = match address {
        IpAddr::V4(address) => arp::announcement(port.mac(), address),
        IpAddr::V6(address) => ndp::announcement(port.mac(), address),
    };
    for number in 0..ANNOUNCEMENTS {
        if number > 0 {
            std::thread::sleep(BETWEEN);
        }
        port.send(&frame)?;
    }
    Ok(())
}

/// What was heard on an interface in a while.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Who says to have an address.
    pub(crate) answers: BTreeSet<(IpAddr, Mac)>,
    /// Bare packets (in no tunnel) for an address that came here, with who sent their frame.
    pub(crate) packets: BTreeSet<(IpAddr, Mac)>,
}

/// Asks by ARP and NDP who has these addresses, and listens for a time. The question names no address of the asker's, so
/// nobody learns anything by it.
pub(crate) fn ask(interface: &str, addresses: &[IpAddr], time: Duration) -> io::Result<Heard> {
    let port = Port::open(interface)?;
    let mut heard = Heard::default();
    let end = Instant::now() + time;
    // Twice: one may be lost.
    let mut questions = vec![Instant::now() + time / 2, Instant::now()];
    let mut bytes = [0; 2048];
    loop {
        let now = Instant::now();
        if now >= end {
            return Ok(heard);
        }
        if questions.pop_if(|due| *due <= now).is_some() {
            for address in addresses {
                match address {
                    IpAddr::V4(address) => port.send(&arp::question(port.mac(), *address))?,
                    IpAddr::V6(address) => port.send(&ndp::question(port.mac(), *address))?,
                }
            }
        }
        let Some(frame) = port.receive(&mut bytes)? else { continue };
        let claim = arp::claim(frame).or_else(|| ndp::claim(frame));
        if let Some((address, mac)) = claim.filter(|(address, _)| addresses.contains(address)) {
            heard.answers.insert((address, mac));
        }
        if let Some(packet) = Packet::of(frame)
            && packet.to_mac == port.mac()
            && addresses.contains(&packet.destination)
        {
            heard.packets.insert((packet.destination, packet.from_mac));
        }
    }
}

#[cfg(test)]
mod tests;
