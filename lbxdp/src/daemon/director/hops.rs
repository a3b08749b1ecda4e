//! What the network says comes into the tables: next hops, interfaces to send out by, VLANs.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use lbxdp_common::client_hop::{Wanted, Wish};
use lbxdp_common::settings::Rules;

use super::Director;
use crate::daemon::load::chain;
use crate::daemon::next_hops::{Event, Link};
use crate::layout::Hop;
use crate::tables::TableError;

/// How long an answer may wait for a new server's next hop; so that whoever adds a server and sends at once finds it.
const PATIENCE: Duration = Duration::from_millis(100);
/// Time between two such waits.
const PATIENCE_EVERY: Duration = Duration::from_secs(1);

impl Director {
    /// The next event of the network; give it to [`Director::digest`].
    pub(in crate::daemon) async fn event(&mut self) -> Option<Event> {
        self.next_hops.event().await
    }

    /// Takes in an event of the network.
    pub(in crate::daemon) async fn digest(&mut self, event: Event) {
        let changed = self.next_hops.digest(event).await;
        self.take_over_hops(&changed);
    }

    pub(super) fn take_over_hops(&mut self, changed: &[IpAddr]) {
        self.write_ports();
        if let Err(error) = self.follow_hops(changed) {
            tracing::error!(error = %chain(&error), "cannot write next hops");
        }
    }

    pub(in crate::daemon) fn follow_hops(&mut self, changed: &[IpAddr]) -> Result<(), TableError> {
        let next_hops = &self.next_hops;
        for address in changed {
            report(*address, next_hops.hop(*address));
        }
        let writes = self.layout.change_hops(changed, &|address| next_hops.hop(address));
        self.carry_out(&writes)
    }

    pub(in crate::daemon) fn write_ports(&mut self) {
        for (slot, ifindex) in self.next_hops.new_ports() {
            if let Err(error) = self.tables.put_port(slot, ifindex) {
                // The interface may be gone already; if not, its next event brings it up again.
                self.next_hops.forget_port(ifindex);
                tracing::error!(ifindex, error = %chain(&error), "no packet can be sent out by this interface");
            }
        }
    }

    /// Packets learn which interfaces are VLANs: replies to clients may be routed there.
    pub(super) fn write_vlans(&mut self) {
        if !self.may_have_wishes() {
            return;
        }
        let wanted = self.next_hops.vlans();
        let written = self.tables.vlans().and_then(|known| {
            let gone = known.keys().filter(|ifindex| !wanted.contains_key(ifindex));
            gone.copied().try_for_each(|ifindex| self.tables.remove_vlan(ifindex))?;
            let mut others = wanted.iter().filter(|(ifindex, below)| known.get(ifindex) != Some(below));
            others.try_for_each(|(ifindex, below)| self.tables.put_vlan(*ifindex, *below))
        });
        if let Err(error) = written {
            tracing::error!(error = %chain(&error), "clients behind VLANs may not be reached");
        }
    }

    /// An interface as it is now.
    pub(in crate::daemon) fn link(&self, ifindex: u32) -> Option<&Link> {
        self.next_hops.link(ifindex)
    }

    /// The interface that is called so now.
    pub(in crate::daemon) fn link_named(&self, name: &str) -> Option<(u32, &Link)> {
        self.next_hops.link_named(name)
    }

    /// Whether the packet path may have wishes.
    pub(in crate::daemon) fn may_have_wishes(&self) -> bool {
        self.kinds.has_any(Rules::MASQUERADE.and(Rules::TUNNELS))
    }

    /// Does what the packet path has wished for: next hops are found that replies wait for, and what routers have said of
    /// ways to servers is taken in.
    pub(in crate::daemon) async fn grant_wishes(&mut self) {
        let wanted = self.tables.WANTED;
        let mut changed = Vec::new();
        for place in (0..wanted.rows()).filter_map(|index| wanted.row(index)) {
            match Wanted(place).take() {
                Some(Wish::NextHop(client)) => self.next_hops.look_for(client).await,
                Some(Wish::PathMtu(server, mtu)) if self.next_hops.lower_mtu(server, mtu) => {
                    changed.push(server);
                }
                Some(Wish::PathMtu(..)) | None => {}
            }
        }
        self.take_over_hops(&changed);
    }

    /// Waits until the next hops of new servers are known, or some have turned out not to answer at once.
    pub(super) async fn wait_for_hops(&mut self, addresses: &[IpAddr]) {
        if self.waited_last.is_some_and(|last| last.elapsed() < PATIENCE_EVERY) {
            return;
        }
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while addresses.iter().any(|address| !self.next_hops.hop(*address).is_usable()) {
            if let Ok(Some(event)) = tokio::time::timeout_at(deadline, self.next_hops.event()).await {
                self.digest(event).await;
            } else {
                self.waited_last = Some(Instant::now());
                return;
            }
        }
    }
}

/// Logs what became of a next hop.
fn report(address: IpAddr, hop: Hop) {
    match hop.mac {
        Some(mac) => {
            tracing::info!(%address, mac = mac_text(mac), ifindex = hop.ifindex, mtu = hop.mtu, "next hop");
        }
        None if hop.is_local => tracing::info!(%address, "the server is the director itself"),
        None => tracing::warn!(%address, "next hop unknown: the server gets no connections while others can"),
    }
}

pub(super) fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
