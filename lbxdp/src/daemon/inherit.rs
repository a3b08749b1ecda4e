//! What a director begins with: nothing, a saved configuration, or the tables of a daemon before it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use lbxdp_common::settings::Settings;

use super::clock::Clock;
use super::director::{ChangeError, Director};
use super::next_hops::NextHops;
use super::settings;
use crate::layout::{Hop, TakenOver, Write};
use crate::state::{Options, Service, State};
use crate::tables::Tables;

/// Slots of the device map.
const PORTS: u16 = 64;

impl Director {
    /// Makes empty tables mean a saved configuration.
    pub(super) async fn restore(&mut self, saved: State) -> Result<(), ChangeError> {
        for address in saved.server_addresses() {
            self.next_hops.watch(address).await;
        }
        self.install(&saved, &[])?;
        tracing::info!(services = saved.services.len(), "the saved configuration is restored");
        self.state = saved;
        Ok(())
    }

    /// Goes on where a daemon before this one has stopped; `tables` forward all the while. If a configuration is saved, that
    /// is what they are to mean.
    pub(super) async fn go_on(
        &mut self,
        unfinished: &[Write],
        saved: Option<State>,
    ) -> Result<(), ChangeError> {
        let ports = (0..PORTS).filter_map(|slot| Some((slot, self.tables.port(slot)?)));
        self.next_hops.inherit_ports(ports);
        let hops: BTreeMap<IpAddr, Hop> = self.layout.hops().collect();
        for (address, hop) in &hops {
            self.next_hops.inherit(*address, *hop).await;
        }
        self.carry_out(unfinished)?;
        let services = self.state.services.len();
        if let Some(saved) = saved {
            let differing = differing(&self.state, &saved);
            if !differing.is_empty() {
                tracing::warn!(
                    differing,
                    "the tables did not mean what the saved configuration says; now they do"
                );
            }
            for address in saved.server_addresses() {
                self.next_hops.watch(address).await;
            }
            self.install(&saved, &[])?;
            self.state = saved;
        } else {
            tracing::warn!("no configuration is saved: the one that the tables mean is taken");
            let state = self.state.clone();
            self.install(&state, &[])?;
        }
        // Without news of a hop nothing is written: what was known before is as good.
        let addresses: Vec<IpAddr> = self.state.server_addresses().into_iter().collect();
        self.follow_hops(&addresses)?;
        self.put_right();
        tracing::info!(services, "taken over from a daemon before this one");
        Ok(())
    }
}

/// The state that tables taken over mean.
pub(super) fn state(tables: &Tables, taken: &TakenOver, links: &NextHops, clock: &Clock) -> State {
    let name_of = |index| links.link(index).map(|link| link.name.clone());
    let marks = taken.layout.mark_rules(&name_of);
    let (timeouts, sysctls) = settings::meaning(&settings_row(tables), clock);
    State { services: taken.services.clone(), marks, timeouts, sysctls, ..State::default() }
}

/// The row of settings as it is.
pub(super) fn settings_row(tables: &Tables) -> Settings {
    use lbxdp_common::Cells;
    let row = tables.SETTINGS.row(0);
    Settings::from_cells(std::array::from_fn(|at| row.map_or(0, |row| row.load(at))))
}

/// What is not the same in two states, for the log.
fn differing(found: &State, wanted: &State) -> String {
    let keys = found.services.keys().chain(wanted.services.keys());
    // An engine is in no table.
    let in_tables =
        |service: &Service| (Options { engine: None, ..service.options }, service.servers.clone());
    let keys =
        keys.filter(|key| found.services.get(key).map(in_tables) != wanted.services.get(key).map(in_tables));
    let mut names: Vec<String> = keys.map(ToString::to_string).collect();
    names.sort_unstable();
    names.dedup();
    if found.marks != wanted.marks {
        names.push("marks".into());
    }
    if found.timeouts != wanted.timeouts {
        names.push("timeouts".into());
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::ServiceKey;
    use lbxdp_common::{Protocol, Scheduler};

    #[test]
    fn each_difference_is_named_once() {
        let key = |port| ServiceKey::at(Protocol::Tcp, [10, 0, 0, 100].into(), port);
        let service = |scheduler| Service { options: Options::of(scheduler), servers: Vec::new() };
        let mut found = State::default();
        found.services.insert(key(80), service(Scheduler::RoundRobin));
        found.services.insert(key(81), service(Scheduler::RoundRobin));
        let mut wanted = found.clone();
        assert_eq!(differing(&found, &wanted), "");
        wanted.services.insert(key(80), service(Scheduler::WeightedRoundRobin));
        wanted.services.remove(&key(81));
        wanted.timeouts.udp += 1;
        assert_eq!(differing(&found, &wanted), "TCP 10.0.0.100:80, TCP 10.0.0.100:81, timeouts");
    }
}
