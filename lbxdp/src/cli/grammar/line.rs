//! A line as it was given: read from left to right, each word with its effect at once, as in ipvsadm.
//!
//! The order matters: a netmask is read by the family known so far, a server takes over the port of a service that
//! stands before it.

use std::net::{IpAddr, Ipv4Addr};

use lbxdp_common::{Forward, TunnelChecksum, TunnelKind};

use super::error::GrammarError;
use super::popt::{Found, Words};
use super::words::{Choice, Verb, Word};
use super::{sync, value};
use crate::cli::names::{Names, Transport};
use crate::command::timeouts::MAX_TIMEOUT_S;
use crate::state::{Persistence, SyncDaemon, Tunnel};

const MAX_NUMBER: u32 = i32::MAX.unsigned_abs();

/// Seconds of `-p` without a value: what the program does, though its manual says 300.
const DEFAULT_PERSISTENCE_S: u32 = 360;

/// The address family a service or server has so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Unknown,
    V4,
    V6,
}

impl From<IpAddr> for Family {
    fn from(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// The service a line speaks of; all zero as long as none was named.
#[derive(Clone, Debug)]
pub(super) struct NamedService {
    pub(super) family: Family,
    pub(super) transport: Option<Transport>,
    pub(super) address: IpAddr,
    pub(super) port: u16,
    pub(super) mark: Option<u32>,
}

/// The server a line speaks of.
#[derive(Clone, Debug)]
pub(super) struct NamedServer {
    pub(super) family: Family,
    pub(super) address: IpAddr,
    pub(super) port: u16,
    pub(super) method: Forward,
    pub(super) tunnel: Tunnel,
    pub(super) weight: u32,
    pub(super) upper: u32,
    pub(super) lower: u32,
}

/// All that a line says.
pub(super) struct Line<'a> {
    pub(super) verb: Verb,
    given: u64,
    pub(super) service: NamedService,
    pub(super) server: NamedServer,
    pub(super) scheduler: &'a str,
    pub(super) scheduler_flags: &'a str,
    /// `--pe`.
    pub(super) engine: &'a str,
    /// The bits of the flags, once they are checked.
    pub(super) sched_flags: u8,
    /// Seconds of `-p`.
    pub(super) persistence_s: u32,
    /// `-M`, as in [`Persistence`].
    pub(super) netmask: u32,
    /// The three values of `--set`.
    pub(super) timeouts: [u32; 3],
    pub(super) daemon: SyncDaemon,
}

impl<'a> Line<'a> {
    /// Reads a line whose first word must be the command.
    pub(super) fn read(words: &mut Words<'a>, verb: Verb, names: &dyn Names) -> Result<Self, GrammarError> {
        let mut line = Self::new(verb);
        while let Some(found) = words.next()? {
            line.take(&found, names)?;
        }
        Ok(line)
    }

    fn new(verb: Verb) -> Self {
        let unspecified = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Self {
            verb,
            given: 0,
            service: NamedService {
                family: Family::Unknown,
                transport: None,
                address: unspecified,
                port: 0,
                mark: None,
            },
            server: NamedServer {
                family: Family::Unknown,
                address: unspecified,
                port: 0,
                method: Forward::Direct,
                tunnel: Tunnel::IPIP,
                weight: 1,
                upper: 0,
                lower: 0,
            },
            scheduler: "",
            scheduler_flags: "",
            engine: "",
            sched_flags: 0,
            persistence_s: DEFAULT_PERSISTENCE_S,
            netmask: Persistence::ALL_BITS,
            timeouts: [0; 3],
            daemon: sync::unspecified(),
        }
    }

    pub(super) fn has(&self, choice: Choice) -> bool {
        self.given & (1 << choice.raw()) != 0
    }

    /// Remembers that something was decided; nothing may be decided twice.
    fn set(&mut self, choice: Choice) -> Result<(), GrammarError> {
        if self.has(choice) {
            return Err(GrammarError::Repeated(choice));
        }
        self.given |= 1 << choice.raw();
        Ok(())
    }

    fn take(&mut self, found: &Found<'a>, names: &dyn Names) -> Result<(), GrammarError> {
        let value = found.argument.unwrap_or_default();
        match found.word {
            Word::Verb(_) | Word::Help | Word::Version => {
                return Err(GrammarError::MisplacedVerb(found.text.to_owned()));
            }
            Word::Sort => {}
            Word::Address(transport) => self.take_service(value, transport, names)?,
            Word::Mark => self.take_mark(value)?,
            Word::Ipv6 if self.service.mark.is_some() => self.take_v6(),
            Word::Ipv6 => return Err(GrammarError::Ipv6BeforeMark),
            Word::Method(method) => {
                self.set(Choice::Forward)?;
                self.server.method = method;
            }
            Word::Choice(choice) => {
                self.set(choice)?;
                self.take_value(choice, value, found.argument.is_some(), names)?;
            }
        }
        Ok(())
    }

    fn take_service(
        &mut self,
        text: &str,
        transport: Transport,
        names: &dyn Names,
    ) -> Result<(), GrammarError> {
        self.set(Choice::Service)?;
        let endpoint = value::endpoint(text, Some(transport), names).ok_or(GrammarError::ServiceAddress)?;
        self.service = NamedService {
            family: endpoint.address.into(),
            transport: Some(transport),
            address: endpoint.address,
            port: endpoint.port.unwrap_or(0),
            mark: None,
        };
        if self.service.family == Family::V6 {
            self.take_v6();
        }
        Ok(())
    }

    /// The service turns out to be one of IPv6: a netmask that stands before that does not count.
    fn take_v6(&mut self) {
        self.service.family = Family::V6;
        self.netmask = Persistence::ALL_BITS_V6;
    }

    /// A mark has IPv4 until `-6`, and TCP where the name of a port is looked up.
    fn take_mark(&mut self, text: &str) -> Result<(), GrammarError> {
        self.set(Choice::Service)?;
        let mark = value::number(text, 1..=u32::MAX).ok_or_else(|| GrammarError::Mark(text.to_owned()))?;
        self.service.mark = Some(mark);
        self.service.family = Family::V4;
        self.service.transport = Some(Transport::Tcp);
        Ok(())
    }

    fn take_server(&mut self, text: &str, names: &dyn Names) -> Result<(), GrammarError> {
        let transport = self.service.transport;
        let endpoint = value::endpoint(text, transport, names).ok_or(GrammarError::ServerAddress)?;
        self.server.family = endpoint.address.into();
        self.server.address = endpoint.address;
        self.server.port = endpoint.port.unwrap_or(self.service.port);
        Ok(())
    }

    fn take_value(
        &mut self,
        choice: Choice,
        text: &'a str,
        is_given: bool,
        names: &dyn Names,
    ) -> Result<(), GrammarError> {
        match choice {
            Choice::Scheduler => self.scheduler = text,
            Choice::PersistenceEngine => self.engine = text,
            Choice::SchedulerFlags => self.scheduler_flags = text,
            Choice::Persistent if is_given => self.persistence_s = timeout(text, 1)?,
            Choice::Netmask => self.take_netmask(text, names)?,
            Choice::RealServer => self.take_server(text, names)?,
            Choice::Weight => self.server.weight = number(text, 0, MAX_NUMBER, "weight")?,
            Choice::UpperThreshold => self.server.upper = number(text, 0, MAX_NUMBER, "u_threshold")?,
            Choice::LowerThreshold => self.server.lower = number(text, 0, MAX_NUMBER, "l_threshold")?,
            Choice::TunnelType => self.server.tunnel.kind = tunnel_kind(text)?,
            Choice::TunnelPort => self.server.tunnel.port = tunnel_port(text)?,
            Choice::TunnelNoChecksum => self.server.tunnel.checksum = TunnelChecksum::None,
            Choice::TunnelChecksum => self.server.tunnel.checksum = TunnelChecksum::Full,
            Choice::TunnelRemoteChecksum => self.server.tunnel.checksum = TunnelChecksum::Remote,
            Choice::MulticastInterface => self.daemon.interface = sync::interface(text),
            Choice::SyncId => self.daemon.sync_id = small(text, 0, u8::MAX.into(), "syncid")?,
            Choice::MulticastPort => self.daemon.port = small(text, 1, u16::MAX.into(), "mcast-port")?,
            Choice::MulticastTtl => self.daemon.ttl = small(text, 1, u8::MAX.into(), "mcast-ttl")?,
            Choice::SyncMaxLength => self.daemon.max_length = small(text, 1, 65507, "sync-maxlen")?,
            Choice::MulticastGroup => self.daemon.group = Some(sync::group(text)?),
            _ => {}
        }
        Ok(())
    }

    fn take_netmask(&mut self, text: &str, names: &dyn Names) -> Result<(), GrammarError> {
        if self.service.family == Family::V6 {
            let length = u32::try_from(value::leading_number(text)).ok();
            let length = length.filter(|length| (1..=Persistence::ALL_BITS_V6).contains(length));
            self.netmask = length.ok_or(GrammarError::PrefixLength)?;
            return Ok(());
        }
        self.netmask = value::ipv4(text, names).ok_or(GrammarError::Netmask)?.to_bits();
        Ok(())
    }

    /// What was no option: the values of `--set`, else too much.
    pub(super) fn take_leftovers(&mut self, leftovers: &[&str]) -> Result<(), GrammarError> {
        let mut leftovers = leftovers.iter();
        if self.verb == Verb::SetTimeouts {
            let (Some(tcp), Some(tcp_fin), Some(udp)) =
                (leftovers.next(), leftovers.next(), leftovers.next())
            else {
                return Err(GrammarError::TooFewTimeouts);
            };
            self.timeouts = [timeout(tcp, 0)?, timeout(tcp_fin, 0)?, timeout(udp, 0)?];
        }
        leftovers.next().map_or(Ok(()), |more| Err(GrammarError::UnexpectedArgument((*more).to_owned())))
    }
}

fn number(text: &str, min: u32, max: u32, option: &'static str) -> Result<u32, GrammarError> {
    value::number(text, min..=max).ok_or(GrammarError::Number { option })
}

/// As [`number`], of a type that has room for the greatest one.
fn small<N: TryFrom<u32>>(text: &str, min: u32, max: u32, option: &'static str) -> Result<N, GrammarError> {
    N::try_from(number(text, min, max, option)?).map_err(|_| GrammarError::Number { option })
}

fn timeout(text: &str, min: u32) -> Result<u32, GrammarError> {
    value::number(text, min..=MAX_TIMEOUT_S).ok_or_else(|| GrammarError::Timeout(text.to_owned()))
}

fn tunnel_kind(text: &str) -> Result<TunnelKind, GrammarError> {
    TunnelKind::from_name(text).ok_or(GrammarError::Number { option: "tunnel type" })
}

fn tunnel_port(text: &str) -> Result<u16, GrammarError> {
    small(text, 1, u16::MAX.into(), "tunnel port")
}
