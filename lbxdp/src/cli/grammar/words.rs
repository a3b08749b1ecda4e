//! The words of ipvsadm: every verb and option, with its long and short form, in one table.

use lbxdp_common::{Forward, named_enum};

use crate::cli::names::Transport;

named_enum! {
    /// What a line does, by the name that stands in messages.
    pub enum Verb: u8 {
        AddService = 1 => "add-service",
        EditService = 2 => "edit-service",
        DeleteService = 3 => "delete-service",
        Flush = 4 => "flush",
        List = 5 => "list",
        AddServer = 6 => "add-server",
        DeleteServer = 7 => "delete-server",
        EditServer = 8 => "edit-server",
        SetTimeouts = 9 => "set",
        StartDaemon = 10 => "start-daemon",
        StopDaemon = 11 => "stop-daemon",
        Restore = 12 => "restore",
        Save = 13 => "save",
        Zero = 14 => "zero",
    }
}

named_enum! {
    /// What an option decides, by the name that stands in messages; in the order of ipvsadm's checks.
    pub enum Choice: u8 {
        Numeric = 0 => "numeric",
        Connection = 1 => "connection",
        Service = 2 => "service-address",
        Scheduler = 3 => "scheduler",
        Persistent = 4 => "persistent",
        Netmask = 5 => "netmask",
        RealServer = 6 => "real-server",
        Forward = 7 => "forwarding-method",
        Weight = 8 => "weight",
        UpperThreshold = 9 => "u-threshold",
        LowerThreshold = 10 => "l-threshold",
        MulticastInterface = 11 => "mcast-interface",
        Timeout = 12 => "timeout",
        Daemon = 13 => "daemon",
        Stats = 14 => "stats",
        Rate = 15 => "rate",
        Thresholds = 16 => "thresholds",
        PersistentConnections = 17 => "persistent-conn",
        NoSort = 18 => "nosort",
        SyncId = 19 => "syncid",
        Exact = 20 => "exact",
        OnePacket = 21 => "ops",
        PersistenceEngine = 22 => "pe",
        SchedulerFlags = 23 => "sched-flags",
        MulticastGroup = 24 => "mcast-group",
        MulticastPort = 25 => "mcast-port",
        MulticastTtl = 26 => "mcast-ttl",
        SyncMaxLength = 27 => "sync-maxlen",
        TunnelInfo = 28 => "tun-info",
        TunnelType = 29 => "tun-type",
        TunnelPort = 30 => "tun-port",
        TunnelNoChecksum = 31 => "tun-nocsum",
        TunnelChecksum = 32 => "tun-csum",
        TunnelRemoteChecksum = 33 => "tun-remcsum",
    }
}

/// What one word means to the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Verb(Verb),
    Help,
    Version,
    /// A service by address and port.
    Address(Transport),
    Mark,
    Ipv6,
    Method(Forward),
    /// Accepted and without effect.
    Sort,
    /// An option that decides one thing, with a value or without.
    Choice(Choice),
}

/// Whether a word takes an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Argument {
    None,
    /// The next argument, unless that begins with `-`.
    Optional,
    Required,
}

pub(super) struct Row {
    pub(super) long: &'static str,
    pub(super) short: Option<char>,
    pub(super) argument: Argument,
    pub(super) word: Word,
}

const fn both(short: char, long: &'static str, argument: Argument, word: Word) -> Row {
    Row { long, short: Some(short), argument, word }
}

const fn long(long: &'static str, argument: Argument, word: Word) -> Row {
    Row { long, short: None, argument, word }
}

use Argument::{None as Plain, Optional, Required};
use Word::{Choice as Of, Verb as Do};

/// All words. Long names cannot be abbreviated; `-l` is the only one with two short forms.
#[rustfmt::skip]
pub(super) const WORDS: &[Row] = &[
    both('A', "add-service", Plain, Do(Verb::AddService)),
    both('E', "edit-service", Plain, Do(Verb::EditService)),
    both('D', "delete-service", Plain, Do(Verb::DeleteService)),
    both('C', "clear", Plain, Do(Verb::Flush)),
    both('L', "list", Plain, Do(Verb::List)),
    both('l', "list", Plain, Do(Verb::List)),
    both('Z', "zero", Plain, Do(Verb::Zero)),
    both('a', "add-server", Plain, Do(Verb::AddServer)),
    both('e', "edit-server", Plain, Do(Verb::EditServer)),
    both('d', "delete-server", Plain, Do(Verb::DeleteServer)),
    both('R', "restore", Plain, Do(Verb::Restore)),
    both('S', "save", Plain, Do(Verb::Save)),
    long("set", Plain, Do(Verb::SetTimeouts)),
    long("start-daemon", Required, Do(Verb::StartDaemon)),
    long("stop-daemon", Required, Do(Verb::StopDaemon)),
    both('h', "help", Plain, Word::Help),
    both('v', "version", Plain, Word::Version),
    both('t', "tcp-service", Required, Word::Address(Transport::Tcp)),
    both('u', "udp-service", Required, Word::Address(Transport::Udp)),
    long("sctp-service", Required, Word::Address(Transport::Sctp)),
    both('f', "fwmark-service", Required, Word::Mark),
    both('6', "ipv6", Plain, Word::Ipv6),
    both('s', "scheduler", Required, Of(Choice::Scheduler)),
    both('p', "persistent", Optional, Of(Choice::Persistent)),
    both('M', "netmask", Required, Of(Choice::Netmask)),
    both('r', "real-server", Required, Of(Choice::RealServer)),
    both('g', "gatewaying", Plain, Word::Method(Forward::Direct)),
    both('i', "ipip", Plain, Word::Method(Forward::Tunnel)),
    both('m', "masquerading", Plain, Word::Method(Forward::Masquerade)),
    both('w', "weight", Required, Of(Choice::Weight)),
    both('x', "u-threshold", Required, Of(Choice::UpperThreshold)),
    both('y', "l-threshold", Required, Of(Choice::LowerThreshold)),
    both('n', "numeric", Plain, Of(Choice::Numeric)),
    both('c', "connection", Plain, Of(Choice::Connection)),
    long("mcast-interface", Required, Of(Choice::MulticastInterface)),
    long("timeout", Plain, Of(Choice::Timeout)),
    long("daemon", Plain, Of(Choice::Daemon)),
    long("stats", Plain, Of(Choice::Stats)),
    long("rate", Plain, Of(Choice::Rate)),
    long("thresholds", Plain, Of(Choice::Thresholds)),
    long("persistent-conn", Plain, Of(Choice::PersistentConnections)),
    long("nosort", Plain, Of(Choice::NoSort)),
    long("sort", Plain, Word::Sort),
    both('X', "exact", Plain, Of(Choice::Exact)),
    both('o', "ops", Plain, Of(Choice::OnePacket)),
    long("pe", Required, Of(Choice::PersistenceEngine)),
    both('b', "sched-flags", Required, Of(Choice::SchedulerFlags)),
    long("syncid", Required, Of(Choice::SyncId)),
    long("mcast-group", Required, Of(Choice::MulticastGroup)),
    long("mcast-port", Required, Of(Choice::MulticastPort)),
    long("mcast-ttl", Required, Of(Choice::MulticastTtl)),
    long("sync-maxlen", Required, Of(Choice::SyncMaxLength)),
    long("tun-info", Plain, Of(Choice::TunnelInfo)),
    long("tun-type", Required, Of(Choice::TunnelType)),
    long("tun-port", Required, Of(Choice::TunnelPort)),
    long("tun-nocsum", Plain, Of(Choice::TunnelNoChecksum)),
    long("tun-csum", Plain, Of(Choice::TunnelChecksum)),
    long("tun-remcsum", Plain, Of(Choice::TunnelRemoteChecksum)),
];

impl Row {
    pub(super) fn of_long(name: &str) -> Option<&'static Self> {
        WORDS.iter().find(|row| row.long == name)
    }

    pub(super) fn of_short(name: char) -> Option<&'static Self> {
        WORDS.iter().find(|row| row.short == Some(name))
    }
}
