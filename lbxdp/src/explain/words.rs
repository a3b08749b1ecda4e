//! The words of a packet: `tcp 10.0.0.5:4242 -> 10.0.0.100:80`, `udp [2001:db8::5]:53 to [2001:db8::100]:53`,
//! `icmp 10.0.0.5 -> 10.0.0.100`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use lbxdp_common::Protocol;

/// A packet in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Words {
    /// What it carries.
    pub(super) kind: Kind,
    /// Who sends it; without ports the port is 0.
    pub(super) from: SocketAddr,
    /// Who is to get it.
    pub(super) to: SocketAddr,
}

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A transport protocol.
    Transport(Protocol),
    /// An echo request.
    Echo,
}

/// Words that say no packet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadWords {
    #[error(
        "a packet is said as `PROTOCOL FROM -> TO` (in quotes) or PROTOCOL FROM to TO, as tcp 10.0.0.5:4242 to 10.0.0.100:80"
    )]
    Form,
    #[error(
        "nothing stands behind `-`: the shell takes `>` for itself, so put the packet in quotes or write `to`"
    )]
    Redirected,
    #[error("`{0}` is no protocol: tcp, udp, sctp or icmp")]
    Protocol(String),
    #[error("`{0}` is no ADDRESS:PORT, as 10.0.0.5:4242 or [2001:db8::5]:4242")]
    End(String),
    #[error("`{0}` is no address; packets of ICMP have no ports")]
    Address(String),
    #[error("{0} and {1} are of two families of addresses")]
    Families(IpAddr, IpAddr),
    #[error("`{0}` are no flags: letters of SAFRPU (SYN, ACK, FIN, RST, PSH, URG), or `none`")]
    Flags(String),
}

impl Words {
    /// The packet of words that came in one argument or in several.
    pub(super) fn of(arguments: &[String]) -> Result<Self, BadWords> {
        let words: Vec<&str> = arguments.iter().flat_map(|argument| argument.split_whitespace()).collect();
        let (protocol, from, to) = match words[..] {
            [protocol, from, "->" | "to", to] => (protocol, from, to),
            [_, _, "-"] => return Err(BadWords::Redirected),
            _ => return Err(BadWords::Form),
        };
        let kind = match protocol.to_lowercase().as_str() {
            "icmp" | "icmpv6" | "icmp6" => Kind::Echo,
            name => Kind::Transport(protocol_of(name).ok_or_else(|| BadWords::Protocol(protocol.into()))?),
        };
        let (from, to) = (end(kind, from)?, end(kind, to)?);
        if from.is_ipv4() != to.is_ipv4() {
            return Err(BadWords::Families(from.ip(), to.ip()));
        }
        Ok(Self { kind, from, to })
    }
}

fn protocol_of(name: &str) -> Option<Protocol> {
    Protocol::ALL.iter().copied().find(|protocol| protocol.name().eq_ignore_ascii_case(name))
}

fn end(kind: Kind, word: &str) -> Result<SocketAddr, BadWords> {
    match kind {
        Kind::Transport(_) => word.parse().map_err(|_| BadWords::End(word.into())),
        Kind::Echo => {
            let address = word.parse().map_err(|_| BadWords::Address(word.into()))?;
            Ok(SocketAddr::new(address, 0))
        }
    }
}

/// Flags of TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TcpFlags {
    /// Of each letter of [`TcpFlags::LETTERS`] whether it is set.
    set: [bool; 6],
}

impl TcpFlags {
    const LETTERS: [char; 6] = ['S', 'A', 'F', 'R', 'P', 'U'];
    /// What begins a connection.
    pub const SYN: Self = Self { set: [true, false, false, false, false, false] };
    /// What goes on with one.
    pub const ACK: Self = Self { set: [false, true, false, false, false, false] };

    /// Of each letter of `SAFRPU` whether it is set.
    pub(super) fn set(self) -> [bool; 6] {
        self.set
    }
}

impl FromStr for TcpFlags {
    type Err = BadWords;

    fn from_str(text: &str) -> Result<Self, BadWords> {
        let mut flags = Self::default();
        if text.eq_ignore_ascii_case("none") {
            return Ok(flags);
        }
        let bad = || BadWords::Flags(text.into());
        if text.is_empty() {
            return Err(bad());
        }
        for letter in text.chars().map(|letter| letter.to_ascii_uppercase()) {
            let at = Self::LETTERS.iter().position(|known| *known == letter).ok_or_else(bad)?;
            flags.set[at] = true;
        }
        Ok(flags)
    }
}

impl fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = Self::LETTERS.iter().zip(self.set).filter(|(_, is_set)| *is_set);
        let letters: String = letters.map(|(letter, _)| letter).collect();
        f.write_str(if letters.is_empty() { "none" } else { &letters })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &str) -> Result<Words, BadWords> {
        Words::of(&[words.to_owned()])
    }

    #[test]
    fn a_packet_is_said_in_one_argument_or_in_several() {
        let expected = Words {
            kind: Kind::Transport(Protocol::Tcp),
            from: "10.0.0.5:4242".parse().unwrap(),
            to: "10.0.0.100:80".parse().unwrap(),
        };
        let several = ["tcp", "10.0.0.5:4242", "to", "10.0.0.100:80"].map(str::to_owned);
        assert_eq!(Words::of(&several), Ok(expected));
        for words in ["tcp 10.0.0.5:4242 -> 10.0.0.100:80", " TCP  10.0.0.5:4242 to 10.0.0.100:80 "] {
            assert_eq!(of(words), Ok(expected), "{words}");
        }
        let v6 = of("udp [2001:db8::5]:53 -> [2001:db8::100]:53").unwrap();
        assert_eq!((v6.kind, v6.to.port()), (Kind::Transport(Protocol::Udp), 53));
        assert_eq!(of("icmp 10.0.0.5 -> 10.0.0.100").unwrap().kind, Kind::Echo);
        assert!(of("icmp fd00::5 -> fd00::100").unwrap().to.is_ipv6());
    }

    #[test]
    fn what_says_no_packet_is_told_why() {
        for words in ["", "tcp", "tcp 10.0.0.5:1 10.0.0.100:80", "tcp 10.0.0.5:1 -> 10.0.0.100:80 now"] {
            assert_eq!(of(words), Err(BadWords::Form), "{words}");
        }
        assert_eq!(of("tcp 10.0.0.5:4242 -"), Err(BadWords::Redirected));
        assert_eq!(of("gre 10.0.0.5:1 -> 10.0.0.100:80"), Err(BadWords::Protocol("gre".into())));
        assert_eq!(of("tcp 10.0.0.5 -> 10.0.0.100:80"), Err(BadWords::End("10.0.0.5".into())));
        assert_eq!(of("tcp 10.0.0.5:1 -> 10.0.0.100:65536"), Err(BadWords::End("10.0.0.100:65536".into())));
        assert_eq!(of("tcp fd00::5:1 -> [fd00::100]:80"), Err(BadWords::End("fd00::5:1".into())));
        assert_eq!(of("icmp 10.0.0.5:7 -> 10.0.0.100"), Err(BadWords::Address("10.0.0.5:7".into())));
        assert!(matches!(of("udp 10.0.0.5:1 -> [fd00::100]:80"), Err(BadWords::Families(..))));
    }

    #[test]
    fn flags_are_letters() {
        for (text, same) in [("S", "S"), ("sa", "SA"), ("UPRFAS", "SAFRPU"), ("none", "none"), ("SS", "S")] {
            assert_eq!(text.parse::<TcpFlags>().map(|flags| flags.to_string()).as_deref(), Ok(same));
        }
        for text in ["", "X", "SYN ", "S A"] {
            assert_eq!(text.parse::<TcpFlags>(), Err(BadWords::Flags(text.into())), "{text:?}");
        }
        assert_eq!((TcpFlags::SYN.to_string(), TcpFlags::ACK.to_string()), ("S".into(), "A".into()));
    }
}
