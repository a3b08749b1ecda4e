//! Which services send packets to an address: whoever has news of an address asks only those.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use crate::state::ServiceKey;

/// Of each address the services that have servers there, and how many (at different ports).
#[derive(Clone, Debug, Default)]
pub(super) struct Users(HashMap<IpAddr, BTreeMap<ServiceKey, usize>>);

impl Users {
    /// A service has a server more at an address.
    pub(super) fn begin(&mut self, address: IpAddr, service: ServiceKey) {
        *self.0.entry(address).or_default().entry(service).or_default() += 1;
    }

    /// One less.
    pub(super) fn end(&mut self, address: IpAddr, service: ServiceKey) {
        let Some(services) = self.0.get_mut(&address) else { return };
        if let Entry::Occupied(mut servers) = services.entry(service) {
            *servers.get_mut() -= 1;
            if *servers.get() == 0 {
                servers.remove();
            }
        }
        if services.is_empty() {
            self.0.remove(&address);
        }
    }

    /// The services with a server at an address.
    pub(super) fn of(&self, address: IpAddr) -> impl Iterator<Item = ServiceKey> {
        self.0.get(&address).into_iter().flat_map(BTreeMap::keys).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_told_of_for_as_long_as_it_has_a_server_there() {
        let (address, services) = (IpAddr::from([10, 0, 0, 1]), [1, 2].map(ServiceKey::marked));
        let mut users = Users::default();
        for service in [services[0], services[0], services[1]] {
            users.begin(address, service);
        }
        users.end(address, services[0]);
        assert_eq!(users.of(address).collect::<Vec<_>>(), services);
        users.end(address, services[0]);
        assert_eq!(users.of(address).collect::<Vec<_>>(), services[1..]);
        users.end(address, services[1]);
        assert!(users.0.is_empty());
    }
}
