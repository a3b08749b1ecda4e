//! Packets sent by hand from the client's host, and ears for what comes back.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::build::{Network, Site};
use super::ear::Ear;
use super::family::Family;
use super::packet::{IcmpError, IcmpKind, Packet};
use super::plan::Spot;
use crate::link::mac;
use crate::traffic::{Macs, Sender};

/// How long an answer may take.
const SOON: Duration = Duration::from_secs(3);

/// A hand and an ear on a host's first interface.
#[derive(Debug)]
pub struct Probe {
    macs: Macs,
    sender: Sender,
    pub ear: Ear,
}

impl Probe {
    /// At the client, towards the director.
    pub fn at_client(network: &Network) -> Result<Self> {
        let client = network.client();
        let next_hop = client.plan.routes.first().map_or(network.director().plan.spots[0], |route| route.via);
        Self::at(network, client, next_hop)
    }

    /// At a host, towards a neighbour of its first interface.
    pub fn at(network: &Network, site: &Site, next_hop: Spot) -> Result<Self> {
        let neighbour = network.sites().find(|site| site.plan.spots.contains(&next_hop));
        let neighbour = neighbour.context("nobody is at the next hop")?;
        let number = neighbour.plan.spots.iter().position(|spot| *spot == next_hop).unwrap_or_default();
        let macs = Macs { from: mac(site.end("eth0"))?, to: mac(neighbour.end(&format!("eth{number}")))? };
        let sender = site.namespace.inside(|| Sender::open("eth0"))??;
        Ok(Self { macs, sender, ear: Ear::open(site.end("eth0"))? })
    }

    /// Sends packets, in this order.
    pub fn send(&self, packets: &[Packet]) -> Result<()> {
        let frames: Vec<Vec<u8>> = packets.iter().map(|packet| self.framed(packet)).collect();
        self.sender.send(&frames)
    }

    /// The next ICMP error that has come to the host.
    pub fn error(&self, about: &str) -> Result<IcmpError> {
        self.ear.hear(&format!("an ICMP error about {about}"), SOON, IcmpError::of_frame)?
    }

    /// The next ICMP error to the host about a packet between these ends, as the host sees them. It is of this kind, and its sender
    /// is one of these.
    pub fn must_hear(
        &self,
        kind: IcmpKind,
        ends: (SocketAddr, SocketAddr),
        senders: &[IpAddr],
    ) -> Result<IcmpError> {
        let error = self.error(&format!("{} to {}", ends.0, ends.1))?;
        ensure!(error.kind == kind, "{kind:?} should have come, not {error:?}");
        ensure!(error.quoted.ends() == Some(ends), "it quotes {:?}, not {ends:?}", error.quoted.ends());
        ensure!(senders.contains(&error.from), "it comes from {}, not from one of {senders:?}", error.from);
        ensure!(error.to == ends.0.ip(), "it goes to {}, not to {}", error.to, ends.0.ip());
        Ok(error)
    }

    /// Waits for a packet that has come to the host and means something.
    pub fn hear<T>(&self, what: &str, mut understand: impl FnMut(&Packet) -> Option<T>) -> Result<T> {
        self.ear.hear(what, SOON, |frame| understand(&Packet::of_frame(frame)?))
    }

    fn framed(&self, packet: &Packet) -> Vec<u8> {
        let kind: [u8; 2] = match packet.family() {
            Family::V4 => [0x08, 0x00],
            Family::V6 => [0x86, 0xdd],
        };
        [&self.macs.to[..], &self.macs.from, &kind, &packet.0].concat()
    }
}
