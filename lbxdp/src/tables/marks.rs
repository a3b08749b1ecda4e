//! Where the rules for the marks of packets to a destination stand: a table for each family.

use std::collections::BTreeMap;

use aya::maps::MapError;
use aya::maps::lpm_trie::Key as Prefix;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use lbxdp_common::mark::MarkRun;

use super::{TableError, Tables, failed};

/// The table that has the run of a destination.
pub(crate) const fn mark_runs(destination: IpNet) -> &'static str {
    match destination {
        IpNet::V4(_) => "mark_runs",
        IpNet::V6(_) => "mark_runs_v6",
    }
}

impl Tables {
    /// The runs of rules for marks, by the destinations they are for.
    pub fn mark_runs(&self) -> Result<BTreeMap<IpNet, MarkRun>, TableError> {
        let length = |bits: u32| u8::try_from(bits).unwrap_or(u8::MAX);
        let run = |run: u64| zerocopy::transmute!(run);
        let mut runs = BTreeMap::new();
        for entry in &self.MARK_RUNS {
            let (key, value) = entry.map_err(|source| failed("read", "mark_runs", source))?;
            let net = Ipv4Net::new(key.data().into(), length(key.prefix_len()));
            runs.extend(net.ok().map(|net| (IpNet::from(net), run(value))));
        }
        for entry in &self.MARK_RUNS_V6 {
            let (key, value) = entry.map_err(|source| failed("read", "mark_runs_v6", source))?;
            let net = Ipv6Net::new(key.data().into(), length(key.prefix_len()));
            runs.extend(net.ok().map(|net| (IpNet::from(net), run(value))));
        }
        Ok(runs)
    }

    /// Gives packets to a destination another run of rules.
    pub fn put_mark_run(&mut self, destination: IpNet, run: MarkRun) -> Result<(), TableError> {
        let (bits, run): (u32, u64) = (destination.prefix_len().into(), zerocopy::transmute!(run));
        let put = match destination {
            IpNet::V4(net) => self.MARK_RUNS.insert(&Prefix::new(bits, net.addr().octets()), run, 0),
            IpNet::V6(net) => self.MARK_RUNS_V6.insert(&Prefix::new(bits, net.addr().octets()), run, 0),
        };
        put.map_err(|source| failed("write", mark_runs(destination), source))
    }

    /// Gives packets to a destination no rules any more.
    pub fn remove_mark_run(&mut self, destination: IpNet) -> Result<(), TableError> {
        let bits = destination.prefix_len().into();
        let removed = match destination {
            IpNet::V4(net) => self.MARK_RUNS.remove(&Prefix::new(bits, net.addr().octets())),
            IpNet::V6(net) => self.MARK_RUNS_V6.remove(&Prefix::new(bits, net.addr().octets())),
        };
        match removed {
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            Err(source) => Err(failed("write", mark_runs(destination), source)),
        }
    }
}
