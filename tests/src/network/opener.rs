//! Takes packets out of tunnels on a real server, as the kernel's devices would: ipip, GRE and GUE, over and in both families. It
//! shares no code with lbxdp, and what is wrong with an outer header it notes as a fault.
//!
//! Raw sockets hear the tunnels; the packets inside go to the host's stack by a veth pair whose both ends are here.

use std::io::{self, Read};
use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use etherparse::Ipv4HeaderSlice;
use nix::sys::socket::setsockopt;
use nix::{setsockopt_impl, sockopt_impl};
use socket2::{Domain, Protocol, Socket, Type};

use super::family::Family;
use super::method::GUE_PORT;
use crate::background::{Background, Stop};
use crate::link::{End, mac};
use crate::namespace::Namespace;
use crate::traffic::{Macs, Sender};

const IPIP: u8 = 4;
const IPV6_IN: u8 = 41;
const GRE: u8 = 47;

/// How often a listener looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(50);

/// Bytes that may wait to be read: a window of TCP, many times.
const BUFFER: usize = 8 << 20;

sockopt_impl!(
    /// Datagrams without a checksum are taken over IPv6 too (RFC 6935 allows it for tunnels).
    NoChecksumOverIpv6,
    SetOnly,
    libc::IPPROTO_UDP,
    UDP_NO_CHECK6_RX,
    bool
);

/// From the kernel's include/uapi/linux/udp.h.
const UDP_NO_CHECK6_RX: libc::c_int = 102;

/// The program, at work until this is dropped.
#[derive(Debug)]
pub struct Opener {
    faults: Arc<Mutex<Vec<String>>>,
    _listeners: Vec<Background<()>>,
}

/// What a listener hears, and how it is wrapped.
enum Wrapped {
    /// A raw socket of this family and protocol.
    Raw(Family, u8, Socket),
    Gue(UdpSocket),
}

impl Opener {
    pub fn start(host: &Namespace) -> Result<Self> {
        // Of an opener that was here before.
        let _ = host.ip("link del opened");
        host.ip("link add opened mtu 9000 type veth peer name opener mtu 9000")?;
        for end in ["opened", "opener"] {
            host.ip(&format!("link set {end} up"))?;
        }
        let macs = Macs {
            from: mac(End { namespace: host, interface: "opener" })?,
            to: mac(End { namespace: host, interface: "opened" })?,
        };
        let faults = Arc::new(Mutex::new(Vec::new()));
        let mut listeners = Vec::new();
        for wrapped in host.inside(listen)?.context("listening for tunnels")? {
            let noted = Arc::clone(&faults);
            let work = move |stop: &Stop| open(wrapped, macs, &noted, stop);
            listeners.push(Background::start(host, "opener", work)?);
        }
        Ok(Self { faults, _listeners: listeners })
    }

    /// All that was wrong so far.
    pub fn faults(&self) -> Vec<String> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn listen() -> Result<Vec<Wrapped>> {
    let mut all = Vec::new();
    for (family, domain) in [(Family::V4, Domain::IPV4), (Family::V6, Domain::IPV6)] {
        for protocol in [IPIP, IPV6_IN, GRE] {
            let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(protocol))))?;
            socket.set_read_timeout(Some(LOOK))?;
            socket.set_recv_buffer_size(BUFFER)?;
            all.push(Wrapped::Raw(family, protocol, socket));
        }
    }
    let (v4, v6) =
        (Socket::new(Domain::IPV4, Type::DGRAM, None)?, Socket::new(Domain::IPV6, Type::DGRAM, None)?);
    v4.bind(&std::net::SocketAddr::from((Ipv4Addr::UNSPECIFIED, GUE_PORT)).into())?;
    v6.set_only_v6(true)?;
    v6.bind(&std::net::SocketAddr::from((Ipv6Addr::UNSPECIFIED, GUE_PORT)).into())?;
    setsockopt(&v6, NoChecksumOverIpv6, &true)?;
    for socket in [v4, v6] {
        socket.set_read_timeout(Some(LOOK))?;
        socket.set_recv_buffer_size(BUFFER)?;
        all.push(Wrapped::Gue(socket.into()));
    }
    Ok(all)
}

fn open(mut wrapped: Wrapped, macs: Macs, faults: &Mutex<Vec<String>>, stop: &Stop) -> Result<()> {
    let sender = Sender::open("opener")?;
    let mut bytes = vec![0; 1 << 16];
    while !stop.is_wanted() {
        let read = match &mut wrapped {
            Wrapped::Raw(.., socket) => socket.read(&mut bytes),
            Wrapped::Gue(socket) => socket.recv(&mut bytes),
        };
        let length = match read {
            Ok(length) => length,
            Err(error) if is_nothing(&error) => continue,
            Err(error) => return Err(error).context("reading tunnels"),
        };
        let bytes = bytes.get(..length).unwrap_or_default();
        let inner = match &wrapped {
            Wrapped::Raw(family, protocol, _) => open_raw(*family, *protocol, bytes),
            Wrapped::Gue(_) => open_gue(bytes),
        };
        match inner {
            Ok((family, packet)) => sender.send(&[framed(macs, family, packet)])?,
            Err(error) => {
                let begin = bytes.get(..length.min(64)).unwrap_or_default();
                let fault = format!("{error:#}: {begin:02x?}");
                faults.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
            }
        }
    }
    Ok(())
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

fn framed(macs: Macs, family: Family, packet: &[u8]) -> Vec<u8> {
    let ether_type: [u8; 2] = match family {
        Family::V4 => [0x08, 0x00],
        Family::V6 => [0x86, 0xdd],
    };
    [&macs.to[..], &macs.from, &ether_type, packet].concat()
}

/// What a raw socket gives: over IPv4 with the outer header, over IPv6 without.
fn open_raw(outer: Family, protocol: u8, bytes: &[u8]) -> Result<(Family, &[u8])> {
    let payload = match outer {
        Family::V4 => {
            let header = Ipv4HeaderSlice::from_slice(bytes).context("the outer header")?;
            ensure!(header.ihl() == 5, "the outer header has options");
            bytes.get(header.slice().len()..).unwrap_or_default()
        }
        Family::V6 => bytes,
    };
    match protocol {
        IPIP => inner(Family::V4, payload),
        IPV6_IN => inner(Family::V6, payload),
        _ => open_gre(payload),
    }
}

fn open_gre(bytes: &[u8]) -> Result<(Family, &[u8])> {
    let word = |at: usize| bytes.get(at..at + 2).map(|word| u16::from_be_bytes([word[0], word[1]]));
    let (flags, kind) = word(0).zip(word(2)).context("GRE is cut short")?;
    let length = match flags {
        0 => 4,
        0x8000 => {
            ensure!(sum(bytes) == 0xffff, "GRE's checksum is wrong");
            ensure!(word(6) == Some(0), "GRE's reserved field is not 0");
            8
        }
        other => bail!("GRE has flags or a version: {other:04x}"),
    };
    let family = match kind {
        0x0800 => Family::V4,
        0x86dd => Family::V6,
        other => bail!("GRE carries {other:04x}"),
    };
    inner(family, bytes.get(length..).unwrap_or_default())
}

/// The kernel has verified UDP's checksum, if there was one.
fn open_gue(bytes: &[u8]) -> Result<(Family, &[u8])> {
    let [first, protocol, flags @ ..] = bytes.get(..4).context("GUE is cut short")? else {
        return Err(anyhow!("GUE is cut short"));
    };
    ensure!(*first == 0 && flags == [0, 0], "GUE has fields, flags or a version");
    let family = match *protocol {
        IPIP => Family::V4,
        IPV6_IN => Family::V6,
        other => bail!("GUE carries protocol {other}"),
    };
    inner(family, bytes.get(4..).unwrap_or_default())
}

/// The packet inside, if it is one of this family and whole.
fn inner(family: Family, packet: &[u8]) -> Result<(Family, &[u8])> {
    let length = match family {
        Family::V4 => {
            let header = Ipv4HeaderSlice::from_slice(packet).context("the inner header")?;
            let right = header.to_header().calc_header_checksum();
            ensure!(header.header_checksum() == right, "the inner header's checksum is wrong");
            usize::from(header.total_len())
        }
        Family::V6 => {
            let header = etherparse::Ipv6HeaderSlice::from_slice(packet).context("the inner header")?;
            40 + usize::from(header.payload_length())
        }
    };
    ensure!(
        length == packet.len(),
        "the inner packet has {length} bytes, the outer one carries {}",
        packet.len()
    );
    Ok((family, packet))
}

/// The sum of 16-bit words in one's complement (RFC 1071); of something with a right checksum in it 0xffff.
pub(super) fn sum(bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0)));
    let mut sum: u64 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or(0xffff)
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    fn packet() -> Vec<u8> {
        let mut bytes = Vec::new();
        PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).udp(1, 2).write(&mut bytes, b"odd").unwrap();
        bytes
    }

    #[test]
    fn gre_with_a_right_checksum_is_opened_and_with_a_wrong_one_not() {
        let mut bytes = [&[0x80, 0, 8, 0, 0, 0, 0, 0][..], &packet()].concat();
        let checksum = !sum(&bytes);
        bytes[4..6].copy_from_slice(&checksum.to_be_bytes());
        assert_eq!(open_gre(&bytes).unwrap(), (Family::V4, &packet()[..]));
        bytes[20] ^= 1;
        assert!(open_gre(&bytes).unwrap_err().to_string().contains("checksum"));
    }

    #[test]
    fn gue_with_flags_or_another_packet_inside_is_a_fault() {
        let gue = |header: [u8; 4]| [&header[..], &packet()].concat();
        assert_eq!(open_gue(&gue([0, 4, 0, 0])).unwrap(), (Family::V4, &packet()[..]));
        for header in [[1, 4, 0, 0], [0, 4, 0, 1], [0, 41, 0, 0], [0, 17, 0, 0], [0x40, 4, 0, 0]] {
            assert!(open_gue(&gue(header)).is_err(), "{header:?}");
        }
    }

    #[test]
    fn bytes_that_are_too_many_or_too_few_are_a_fault() {
        let packet = packet();
        assert!(inner(Family::V4, &packet).is_ok());
        assert!(inner(Family::V4, &packet[..packet.len() - 1]).is_err());
        assert!(inner(Family::V4, &[&packet[..], &[0]].concat()).is_err());
    }
}
