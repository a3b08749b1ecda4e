//! Links between hosts of the lab: veth pairs, and what these need for native XDP.

use anyhow::{Context, Result};

use crate::namespace::Namespace;
use crate::pass::Pass;

/// One end of a link: an interface in a namespace.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    pub namespace: &'a Namespace,
    /// At most 15 characters.
    pub interface: &'a str,
}

/// Joins two hosts by a veth pair and brings both ends up. `mtu` is in bytes.
pub fn join(one: End<'_>, other: End<'_>, mtu: u32) -> Result<()> {
    one.namespace.ip(&format!(
        "link add {} mtu {mtu} type veth peer name {} mtu {mtu} netns {}",
        one.interface,
        other.interface,
        other.namespace.name()
    ))?;
    for end in [one, other] {
        end.namespace.ip(&format!("link set {} up", end.interface))?;
    }
    Ok(())
}

/// Makes an end fit to be the peer of an interface that sends by native XDP, until the returned program is dropped.
///
/// - What the peer transmits by `XDP_TX` arrives only if this end has a program too; a redirect needs that or GRO.
/// - What this end transmits must carry its checksum: native XDP forgets that one is still to be filled in, and the
///   server would see a wrong one.
pub fn face_native_xdp(end: End<'_>) -> Result<Pass> {
    end.namespace.run(&format!("ethtool -K {} tx off gro on", end.interface))?;
    Pass::attach(end)
}

/// As [`face_native_xdp`], for an end where somebody wants to see the tags of frames ([`Pass::attach_unveiling`]).
pub fn face_tagged_native_xdp(end: End<'_>) -> Result<Pass> {
    end.namespace.run(&format!("ethtool -K {} tx off gro on", end.interface))?;
    Pass::attach_unveiling(end)
}

/// Lets an end take segments as they come. GRO, which a program brings with it, joins those inside ipip too, and leaves their
/// checksum to be filled in: a program that opens tunnels by a raw socket would hand a wrong one on.
pub fn leave_segments_apart(end: End<'_>) -> Result<()> {
    end.namespace.run(&format!("ethtool -K {} gro off", end.interface)).map(drop)
}

/// The hardware address of an end.
pub fn mac(end: End<'_>) -> Result<[u8; 6]> {
    let line = end.namespace.ip(&format!("-brief link show dev {}", end.interface))?;
    let word = line.split_whitespace().nth(2).context("a link without an address")?;
    let bytes: Vec<u8> = word
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect::<Result<_, _>>()
        .with_context(|| format!("reading the address {word}"))?;
    bytes.try_into().ok().with_context(|| format!("{word} is no address of Ethernet"))
}
