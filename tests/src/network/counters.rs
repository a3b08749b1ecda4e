//! What a host's stack has counted: checksums that were wrong, above all. A segment that is sent again hides them from a transfer.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, ensure};

use crate::namespace::Namespace;

/// Counters by name, such as `TcpInCsumErrors` or `Udp6InCsumErrors`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(BTreeMap<String, u64>);

/// The counters of a wrong checksum.
const CHECKSUMS: [&str; 5] =
    ["TcpInCsumErrors", "UdpInCsumErrors", "IcmpInCsumErrors", "Udp6InCsumErrors", "Icmp6InCsumErrors"];

impl Counters {
    /// Those of a host, as they stand now.
    pub fn read(host: &Namespace) -> Result<Self> {
        let file = |name: &str| {
            let path = format!("/proc/thread-self/net/{name}");
            host.inside(|| fs::read_to_string(&path))?.with_context(|| format!("reading {path}"))
        };
        let mut counters = BTreeMap::new();
        // Pairs of lines: names, numbers.
        for text in [file("snmp")?, file("netstat")?] {
            let lines: Vec<&str> = text.lines().collect();
            for pair in lines.chunks_exact(2) {
                let (names, numbers) = (pair[0].split_once(": "), pair[1].split_once(": "));
                let ((group, names), (_, numbers)) = names.zip(numbers).context("a line without a group")?;
                let named = names.split(' ').zip(numbers.split(' '));
                counters.extend(
                    named.filter_map(|(name, number)| Some((format!("{group}{name}"), number.parse().ok()?))),
                );
            }
        }
        // A line each: name, number.
        for line in file("snmp6")?.lines() {
            let (name, number) = line.split_once(char::is_whitespace).context("a line without a number")?;
            counters.insert(name.to_owned(), number.trim().parse()?);
        }
        Ok(Self(counters))
    }

    /// One of them; 0 if the kernel does not have it.
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// No checksum was wrong up to now.
    pub fn must_be_clean(&self, host: &str) -> Result<()> {
        for name in CHECKSUMS {
            ensure!(self.get(name) == 0, "{host} has got wrong checksums: {name} is {}", self.get(name));
        }
        Ok(())
    }
}
