//! How a service treats its connections: all that `-A` and `-E` say beside the service itself.

use std::net::Ipv4Addr;

use lbxdp_common::{Scheduler, named_enum};
use serde::{Deserialize, Serialize};

use super::Family;

named_enum! {
    /// A persistence engine, by which more than a client's address may tell what belongs together.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Engine: u8 {
        Sip = 1 => "sip",
    }
}

/// The options of a service; an edit replaces them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    #[serde(with = "crate::words::scheduler")]
    pub scheduler: Scheduler,
    /// The flags of `-b`: [`FLAG_1`], [`FLAG_2`], [`FLAG_3`].
    pub sched_flags: u8,
    /// Each UDP packet is scheduled by itself, and leaves no connection behind.
    pub one_packet: bool,
    /// `None` if each connection is scheduled by itself.
    pub persistence: Option<Persistence>,
    /// Kept and listed; clients are told apart by their addresses all the same.
    #[serde(default)]
    pub engine: Option<Engine>,
}

/// Connections from a client, or from a network of clients, go to one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Persistence {
    /// Seconds after the last new connection: 1 to 31 days.
    pub timeout_s: u32,
    /// Which bits of a client's address count. IPv4: as a number in host order, 255.255.255.255 for each client by itself; it
    /// need not be a prefix, as in IPVS. IPv6: how many, 1 to 128.
    pub netmask: u32,
}

/// `flag-1`; for sh and mh: fallback to another server if the hashed one cannot be used.
pub const FLAG_1: u8 = 0x08;
/// `flag-2`; for sh and mh: the client's port is hashed, too.
pub const FLAG_2: u8 = 0x10;
/// `flag-3`; no scheduler uses it.
pub const FLAG_3: u8 = 0x20;

/// A flag by one of its words.
#[derive(Clone, Copy, Debug)]
pub struct SchedulerFlag {
    pub name: &'static str,
    pub bit: u8,
    /// The scheduler that it needs; `None` for all.
    pub scheduler: Option<&'static str>,
}

impl SchedulerFlag {
    fn is_of(&self, scheduler: Scheduler) -> bool {
        self.scheduler == Some(scheduler.name())
    }
}

/// The words of all flags, in the order of their bits.
pub const SCHEDULER_FLAGS: &[SchedulerFlag] = &[
    SchedulerFlag { name: "flag-1", bit: FLAG_1, scheduler: None },
    SchedulerFlag { name: "flag-2", bit: FLAG_2, scheduler: None },
    SchedulerFlag { name: "flag-3", bit: FLAG_3, scheduler: None },
    SchedulerFlag { name: "sh-fallback", bit: FLAG_1, scheduler: Some("sh") },
    SchedulerFlag { name: "sh-port", bit: FLAG_2, scheduler: Some("sh") },
    SchedulerFlag { name: "mh-fallback", bit: FLAG_1, scheduler: Some("mh") },
    SchedulerFlag { name: "mh-port", bit: FLAG_2, scheduler: Some("mh") },
];

impl Options {
    /// Nothing but a scheduler.
    pub const fn of(scheduler: Scheduler) -> Self {
        Self { scheduler, sched_flags: 0, one_packet: false, persistence: None, engine: None }
    }
}

impl Options {
    /// The flags as a listing shows them: those of a scheduler that has words of its own by these alone, as in ipvsadm.
    pub fn flag_names(&self) -> String {
        let own: Vec<_> = SCHEDULER_FLAGS.iter().filter(|flag| flag.is_of(self.scheduler)).collect();
        if own.is_empty() { self.flag_words() } else { self.set_names(own) }
    }

    /// The flags that [`Options::flag_names`] names.
    pub fn named_flags(&self) -> u8 {
        let own = SCHEDULER_FLAGS.iter().filter(|flag| flag.is_of(self.scheduler));
        match own.fold(0, |bits, flag| bits | flag.bit) {
            0 => self.sched_flags,
            own => self.sched_flags & own,
        }
    }

    /// Words for all flags that are set, as `-b` reads them: those that the scheduler has no word for by their general ones.
    pub fn flag_words(&self) -> String {
        let bits = [FLAG_1, FLAG_2, FLAG_3].into_iter();
        self.set_names(bits.filter_map(|bit| {
            let mut of_bit = SCHEDULER_FLAGS.iter().filter(|flag| flag.bit == bit);
            let own = of_bit.clone().find(|flag| flag.is_of(self.scheduler));
            own.or_else(|| of_bit.find(|flag| flag.scheduler.is_none()))
        }))
    }

    fn set_names(&self, flags: impl IntoIterator<Item = &'static SchedulerFlag>) -> String {
        let set = flags.into_iter().filter(|flag| self.sched_flags & flag.bit != 0);
        set.map(|flag| flag.name).collect::<Vec<_>>().join(",")
    }
}

impl Persistence {
    /// Each IPv4 client by itself.
    pub const ALL_BITS: u32 = u32::MAX;
    /// Each IPv6 client by itself.
    pub const ALL_BITS_V6: u32 = 128;

    /// Each client of a family by itself.
    pub const fn all_bits(family: Family) -> u32 {
        match family {
            Family::V4 => Self::ALL_BITS,
            Family::V6 => Self::ALL_BITS_V6,
        }
    }

    /// Whether the netmask is one of a family.
    pub fn is_of(self, family: Family) -> bool {
        family == Family::V4 || (1..=Self::ALL_BITS_V6).contains(&self.netmask)
    }

    /// The netmask of a family as it is written; `None` where it need not be: each client by itself.
    pub fn mask(self, family: Family) -> Option<String> {
        (self.netmask != Self::all_bits(family)).then(|| match family {
            Family::V4 => Ipv4Addr::from_bits(self.netmask).to_string(),
            Family::V6 => self.netmask.to_string(),
        })
    }
}
