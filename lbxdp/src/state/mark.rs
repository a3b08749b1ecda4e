//! Which packets have which firewall mark. XDP runs before netfilter, so these rules stand for its MARK target.
//!
//! The most specific rule that fits gives a packet its mark. Most specific is: the longest destination prefix; then the
//! longest source prefix (none counts as /0); then with an interface before without; then with a protocol before without;
//! then the narrower range of ports (none counts as all); then the lower first port. What still ties cannot fit the same
//! packet, and stands in any fixed order.

use std::cmp::{Ordering, Reverse};
use std::fmt;

use ipnet::IpNet;
use lbxdp_common::Protocol;
use serde::{Deserialize, Serialize};

/// One rule: packets that fit all it says have its mark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkRule {
    /// Not 0: that is no mark.
    pub mark: u32,
    /// The packet's destination.
    pub destination: IpNet,
    /// The packet's source, of the same family; `None` for any.
    pub source: Option<IpNet>,
    /// `None` for any.
    #[serde(with = "crate::words::any_protocol")]
    pub protocol: Option<Protocol>,
    /// The packet's destination port: the first and the last; `None` for any.
    pub ports: Option<(u16, u16)>,
    /// The name of the interface it came in by; `None` for any.
    pub interface: Option<String>,
}

/// Why something is no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum MarkRuleError {
    #[error("a mark is a number from 1 to 4294967295")]
    NoMark,
    #[error("the prefix {0} has bits behind its length: write {1}")]
    HostBits(IpNet, IpNet),
    #[error("source and destination are of one family, IPv4 or IPv6")]
    Families,
    #[error("ports are two numbers from 1 to 65535, the first not greater than the last")]
    Ports,
    #[error("an interface has a name of 1 to 15 characters, without blanks, slashes and colons")]
    Interface,
}

/// The longest name of an interface (`IFNAMSIZ` less the end).
const LONGEST_INTERFACE: usize = 15;

impl MarkRule {
    /// Whether it means something.
    pub fn check(&self) -> Result<(), MarkRuleError> {
        if self.mark == 0 {
            return Err(MarkRuleError::NoMark);
        }
        for prefix in std::iter::once(self.destination).chain(self.source) {
            if prefix != prefix.trunc() {
                return Err(MarkRuleError::HostBits(prefix, prefix.trunc()));
            }
        }
        if self.source.is_some_and(|source| source.addr().is_ipv4() != self.destination.addr().is_ipv4()) {
            return Err(MarkRuleError::Families);
        }
        if self.ports.is_some_and(|(first, last)| first == 0 || first > last) {
            return Err(MarkRuleError::Ports);
        }
        if self.interface.as_deref().is_some_and(|name| !Self::is_interface(name)) {
            return Err(MarkRuleError::Interface);
        }
        Ok(())
    }

    /// Whether an interface can be called so.
    pub fn is_interface(name: &str) -> bool {
        (1..=LONGEST_INTERFACE).contains(&name.len())
            && !matches!(name, "." | "..")
            && !name.contains(|c: char| matches!(c, '/' | ':') || c.is_whitespace() || c.is_control())
    }

    /// Whether both fit the same packets: with two marks they contradict each other.
    pub fn fits_the_same(&self, other: &Self) -> bool {
        self.order() == other.order()
    }

    /// All but the mark, so that more specific rules are less.
    fn order(&self) -> impl Ord {
        let Self { mark: _, destination, source, protocol, ports, interface } = self;
        let (first, last) = ports.unwrap_or((0, u16::MAX));
        (
            Reverse(destination.prefix_len()),
            Reverse(source.map_or(0, |source| source.prefix_len())),
            interface.is_none(),
            protocol.is_none(),
            last.saturating_sub(first),
            first,
            // What is left only makes the order one.
            (*destination, source.unwrap_or_default(), *protocol, interface.clone()),
        )
    }
}

impl Ord for MarkRule {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order()).then(self.mark.cmp(&other.mark))
    }
}

impl PartialOrd for MarkRule {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for MarkRule {
    /// The arguments of `lbxdp mark add` and `lbxdp mark delete`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mark, destination, source, protocol, ports, interface } = self;
        write!(f, "{mark} --destination {destination}")?;
        if let Some(source) = source {
            write!(f, " --source {source}")?;
        }
        if let Some(protocol) = protocol {
            write!(f, " --protocol {}", protocol.name().to_lowercase())?;
        }
        match ports {
            Some((first, last)) if first == last => write!(f, " --port {first}")?,
            Some((first, last)) => write!(f, " --port {first}-{last}")?,
            None => {}
        }
        if let Some(interface) = interface {
            write!(f, " --interface {interface}")?;
        }
        Ok(())
    }
}
