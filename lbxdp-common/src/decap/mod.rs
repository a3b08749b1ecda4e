//! The real server's side of VS/TUN: takes off what a director put around a packet.
//!
//! Read the Ethernet and the outer header, know the tunnel, ask whether its sender may, open it, look at what is inside:
//! `outer → recognise → is_allowed → open → inner → bare`. Nothing of the frame is written before all is decided, so what
//! is left to the stack is left as it came.

mod ecn;
mod inner;
mod link;
mod open;
mod outer;
mod refusal;
mod remote_checksum;
mod settings;
mod source;

/// Parts of the way, as [`Tables`] offers them.
pub mod parts {
    pub use super::remote_checksum::{NO_CHECKSUM, checksum};
    pub use super::settings::is_gue_port;
}

pub use refusal::Refusal;
pub use settings::{MAX_GUE_PORTS, Settings};
pub use source::{Sender, Source};

use crate::named_enum;
use crate::walk::Walker;
use crate::wire::udp::Udp;
use crate::wire::{Frame, gre};
use outer::Outer;

named_enum! {
    /// What was around a packet.
    pub enum Tunnel: u32 {
        /// An IP header alone (RFC 2003, RFC 2473, RFC 4213).
        Ipip = 0 => "ipip",
        /// UDP and GUE.
        Gue = 1 => "gue",
        /// GRE (RFC 2784).
        Gre = 2 => "gre",
    }
}

/// IANA number of an IPv4 packet within another packet.
const IPV4_INSIDE: u8 = 4;
/// IANA number of an IPv6 packet within another packet.
const IPV6_INSIDE: u8 = 41;
/// IANA number of UDP.
const UDP: u8 = crate::protocol::Protocol::Udp.raw();

/// The most entries of the table of allowed sources.
pub const MAX_SOURCES: u32 = 1024;

/// All that decapsulating may ask beside the packet.
pub trait Tables<F: Frame>: Walker {
    /// The settings; `None` if there are none yet.
    fn settings(&self) -> Option<Settings>;
    /// Whether tunnel packets from this address are opened.
    fn is_allowed(&self, sender: Sender) -> bool;

    // What follows speaks in numbers, so that in the kernel each can be a function of its own, verified once for all that
    // can come in.

    /// Not 0 if GUE is spoken on this UDP port (host order).
    fn is_gue_port(&self, port: u32) -> u64 {
        parts::is_gue_port(self, port)
    }
    /// The checksum of so many bytes of a frame from an offset on, as it stands in a packet; [`parts::NO_CHECKSUM`] if the
    /// frame, as far as it is seen, ends before.
    fn checksum(&self, frame: &F, offset: u32, bytes: u32) -> u64 {
        parts::checksum(self, frame, offset, bytes)
    }
}

/// Takes the tunnel's headers off a frame, and says which tunnel it was. A frame that is refused is as it was.
#[inline(always)]
pub fn decapsulate<F: Frame, T: Tables<F>>(mut frame: F, tables: &T) -> Result<Tunnel, Refusal> {
    let link = link::read(&frame)?;
    let outer = outer::read(&frame, &link)?;
    let tunnel = recognise(&frame, tables, &outer)?;
    // XDP sees frames for others too (a promiscuous interface, a bridge's port): they are not ours to open.
    if link.destination_mac != tables.settings().ok_or(Refusal::NotReady)?.mac {
        return Err(Refusal::OtherHost);
    }
    if !tables.is_allowed(outer.sender) {
        return Err(Refusal::SourceNotAllowed);
    }
    outer::check(&frame, &outer)?;
    let opened = match tunnel {
        Tunnel::Ipip => open::ipip(&outer),
        Tunnel::Gue => open::gue(&frame, &outer),
        Tunnel::Gre => open::gre(&frame, &outer),
    }?;
    let inner = inner::read(&frame, &opened)?;
    let class = ecn::combined(outer.traffic_class, inner.traffic_class).ok_or(Refusal::CongestionUnheard)?;
    let checksum = remote_checksum::of(&frame, tables, &opened)?;
    link::bare(&mut frame, &link, &opened)?;
    inner::finish(&mut frame, &link, &inner, class, checksum).ok_or(Refusal::InnerMalformed)?;
    Ok(tunnel)
}

/// Which tunnel's packet this is.
#[inline(always)]
fn recognise<F: Frame, T: Tables<F>>(frame: &F, tables: &T, outer: &Outer) -> Result<Tunnel, Refusal> {
    match outer.protocol {
        IPV4_INSIDE | IPV6_INSIDE => Ok(Tunnel::Ipip),
        gre::PROTOCOL => Ok(Tunnel::Gre),
        UDP => {
            // A later fragment has no ports: nobody can tell whose it is.
            if outer.is_later_fragment {
                return Err(Refusal::NotATunnel);
            }
            let udp: Udp = frame.read(outer.payload).ok_or(Refusal::NotATunnel)?;
            let is_gue = tables.is_gue_port(u16::from_be_bytes(udp.destination).into()) != 0;
            is_gue.then_some(Tunnel::Gue).ok_or(Refusal::NotATunnel)
        }
        _ => Err(Refusal::NotATunnel),
    }
}
