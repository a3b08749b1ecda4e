//! Why a line is no command, in ipvsadm's exact words.

use super::words::Choice;

/// What is wrong with a line; nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrammarError {
    #[error("Try `{0} -h' or '{0} --help' for more information.")]
    TryHelp(String),
    #[error("{0}: unknown option")]
    UnknownOption(String),
    #[error("{0}: missing argument")]
    MissingArgument(String),
    #[error("{0}: option does not take an argument")]
    UnwantedArgument(String),
    #[error("invalid option `{0}'")]
    MisplacedVerb(String),
    #[error("unexpected argument {0}")]
    UnexpectedArgument(String),
    #[error("multiple '{0}' options specified")]
    Repeated(Choice),
    /// `place` is a command or a tunnel type, as in `'add-service' command`.
    #[error("You need to supply the '{choice}' option for the {place}")]
    Needed { choice: Choice, place: String },
    #[error("Illegal '{choice}' option with the {place}")]
    Illegal { choice: Choice, place: String },
    #[error("The option '{later}' conflicts with the '{earlier}' option in the {place}")]
    Exclusive { later: Choice, earlier: Choice, place: String },
    #[error("options conflicts in the list command")]
    ListConflict,
    #[error("illegal virtual server address[:port] specified")]
    ServiceAddress,
    #[error("illegal real server address[:port] specified")]
    ServerAddress,
    #[error("illegal virtual server persistent mask specified")]
    Netmask,
    #[error("illegal ipv6 netmask specified")]
    PrefixLength,
    /// The value of `option` is no number, or out of range.
    #[error("illegal {option} specified")]
    Number { option: &'static str },
    #[error("invalid timeout value `{0}' specified")]
    Timeout(String),
    #[error("--set option requires 3 timeout values")]
    TooFewTimeouts,
    #[error("invalid fwmark value `{0}' specified")]
    Mark(String),
    /// ipvsadm prints an empty line after it.
    #[error("-6 used before -f\n")]
    Ipv6BeforeMark,
    #[error("Zero port specified for non-persistent service")]
    ZeroPort,
    #[error("One-Packet Scheduling is only for UDP virtual services")]
    OnePacket,
    #[error("invalid scheduler flag `{0}'")]
    UnknownFlag(String),
    #[error("incompatible scheduler flag `{0}'")]
    IncompatibleFlag(String),
    #[error("Different address family is allowed only for tunneling servers")]
    MixedFamily,
    #[error("Tunnel options conflict with forward method")]
    NotTunnel,
    #[error("invalid {family} mcast-group `{group}'")]
    MulticastGroup { family: &'static str, group: String },
}

impl GrammarError {
    /// ipvsadm's exit code: 255 when not even the words are right, 2 when its checks fail.
    pub fn exit_code(&self) -> u8 {
        if matches!(self, Self::TryHelp(_)) || self.is_in_words() { 255 } else { 2 }
    }

    /// Errors of the words themselves: the only ones that do not end a `-R`.
    pub fn is_in_words(&self) -> bool {
        matches!(self, Self::UnknownOption(_) | Self::MissingArgument(_) | Self::UnwantedArgument(_))
    }
}
