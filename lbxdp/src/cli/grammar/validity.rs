//! Which options go with which command, and with which tunnel type: tables, and the one way to read them.

use lbxdp_common::TunnelKind;

use super::error::GrammarError;
use super::line::Line;
use super::words::{Choice, Verb};

/// What may stand beside a command or a tunnel type.
struct Validity {
    needed: &'static [Choice],
    allowed: &'static [Choice],
    /// At most one of these.
    exclusive: &'static [Choice],
}

impl Validity {
    const NOTHING: Self = Self { needed: &[], allowed: &[], exclusive: &[] };
    const SERVICE: Self = Self {
        needed: &[Choice::Service],
        allowed: &[
            Choice::Scheduler,
            Choice::Persistent,
            Choice::Netmask,
            Choice::OnePacket,
            Choice::PersistenceEngine,
            Choice::SchedulerFlags,
        ],
        exclusive: &[],
    };
    const SERVER: Self = Self {
        needed: &[Choice::Service, Choice::RealServer],
        allowed: &[
            Choice::Forward,
            Choice::Weight,
            Choice::UpperThreshold,
            Choice::LowerThreshold,
            Choice::TunnelType,
            Choice::TunnelPort,
            Choice::TunnelNoChecksum,
            Choice::TunnelChecksum,
            Choice::TunnelRemoteChecksum,
        ],
        exclusive: &[],
    };
    const LIST: Self = Self {
        needed: &[],
        allowed: &[
            Choice::Numeric,
            Choice::Stats,
            Choice::Rate,
            Choice::Thresholds,
            Choice::PersistentConnections,
            Choice::NoSort,
            Choice::SyncId,
            Choice::Exact,
            Choice::TunnelInfo,
        ],
        exclusive: &[Choice::Connection, Choice::Service, Choice::Timeout, Choice::Daemon],
    };
    const START_DAEMON: Self = Self {
        allowed: &[
            Choice::MulticastInterface,
            Choice::SyncId,
            Choice::MulticastGroup,
            Choice::MulticastPort,
            Choice::MulticastTtl,
            Choice::SyncMaxLength,
        ],
        ..Self::NOTHING
    };

    fn of_verb(verb: Verb) -> Self {
        match verb {
            Verb::AddService | Verb::EditService => Self::SERVICE,
            Verb::DeleteService => Self { needed: &[Choice::Service], ..Self::NOTHING },
            Verb::AddServer | Verb::EditServer => Self::SERVER,
            Verb::DeleteServer => Self { needed: &[Choice::Service, Choice::RealServer], ..Self::NOTHING },
            Verb::List => Self::LIST,
            Verb::Zero => Self { allowed: &[Choice::Service], ..Self::NOTHING },
            Verb::Save => Self { allowed: &[Choice::Numeric], ..Self::NOTHING },
            Verb::StartDaemon => Self::START_DAEMON,
            Verb::StopDaemon => Self { allowed: &[Choice::SyncId], ..Self::NOTHING },
            Verb::Flush | Verb::Restore | Verb::SetTimeouts => Self::NOTHING,
        }
    }

    fn of_tunnel(tunnel: TunnelKind) -> Self {
        match tunnel {
            TunnelKind::Ipip => Self::NOTHING,
            TunnelKind::Gue => Self {
                needed: &[Choice::TunnelPort],
                exclusive: &[Choice::TunnelNoChecksum, Choice::TunnelChecksum, Choice::TunnelRemoteChecksum],
                ..Self::NOTHING
            },
            TunnelKind::Gre => {
                Self { exclusive: &[Choice::TunnelNoChecksum, Choice::TunnelChecksum], ..Self::NOTHING }
            }
        }
    }

    /// The first of `choices` that is missing or too much.
    fn check(&self, line: &Line<'_>, choices: &[Choice], place: &str) -> Result<(), GrammarError> {
        let mut earlier = None;
        for &choice in choices {
            let place = || place.to_owned();
            if !line.has(choice) {
                if self.needed.contains(&choice) {
                    return Err(GrammarError::Needed { choice, place: place() });
                }
            } else if self.exclusive.contains(&choice) {
                if let Some(earlier) = earlier.replace(choice) {
                    return Err(GrammarError::Exclusive { later: choice, earlier, place: place() });
                }
            } else if !self.needed.contains(&choice) && !self.allowed.contains(&choice) {
                return Err(GrammarError::Illegal { choice, place: place() });
            }
        }
        Ok(())
    }
}

/// Options of a tunnel beside its type, in the order of the checks.
const TUNNEL_OPTIONS: &[Choice] =
    &[Choice::TunnelPort, Choice::TunnelNoChecksum, Choice::TunnelChecksum, Choice::TunnelRemoteChecksum];

/// Whether the options go with the command.
pub(super) fn check_verb(line: &Line<'_>) -> Result<(), GrammarError> {
    Validity::of_verb(line.verb).check(line, Choice::ALL, &format!("'{}' command", line.verb))
}

/// Whether the tunnel options go with the tunnel type.
pub(super) fn check_tunnel(line: &Line<'_>) -> Result<(), GrammarError> {
    let kind = line.server.tunnel.kind;
    Validity::of_tunnel(kind).check(line, TUNNEL_OPTIONS, &format!("'{kind}' tunnel type"))
}

/// Whether any tunnel option was given.
pub(super) fn has_tunnel_options(line: &Line<'_>) -> bool {
    line.has(Choice::TunnelType) || TUNNEL_OPTIONS.iter().any(|&choice| line.has(choice))
}
