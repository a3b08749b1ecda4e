//! Which packets a watcher wants to see, in words: `tcp client 192.0.2.0/24 service 10.0.0.100:80`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;
use lbxdp_common::service::octets;
use lbxdp_common::watch::Wish;
use serde::{Deserialize, Serialize};

/// What a packet must carry; what is not said may be anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// IANA number; 1 is ICMP's, of both families.
    pub protocol: Option<u8>,
    /// Where it comes from or goes to.
    pub client: Option<IpNet>,
    /// Where it goes to.
    pub service: Option<IpAddr>,
    /// The port it goes to.
    pub port: Option<u16>,
}

const PROTOCOLS: [(&str, u8); 4] = [("tcp", 6), ("udp", 17), ("sctp", 132), ("icmp", 1)];

/// Why words are no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFilter {
    #[error(
        "`{0}` is no word of a filter: tcp, udp, sctp, icmp, client ADDRESS[/BITS], service ADDRESS[:PORT], port PORT"
    )]
    Word(String),
    #[error("`{0}` is there twice")]
    Twice(String),
    #[error("`{0}` is no address or net")]
    Net(String),
    #[error("`{0}` is no address, with or without a port (10.0.0.100:80, [2001:db8::1]:80)")]
    Service(String),
    #[error("`{0}` is no port: 1 to 65535")]
    Port(String),
    #[error("behind `{0}` something is missing")]
    Missing(String),
    #[error("client and service are of different families of addresses")]
    Families,
}

impl FromStr for Filter {
    type Err = BadFilter;

    fn from_str(text: &str) -> Result<Self, BadFilter> {
        let mut filter = Self::default();
        let mut words = text.split_whitespace();
        while let Some(word) = words.next() {
            let mut argument = || words.next().ok_or_else(|| BadFilter::Missing(word.into()));
            let twice = || BadFilter::Twice(word.into());
            match word {
                "client" => set(&mut filter.client, net(argument()?)?, twice)?,
                "service" => {
                    let (address, port) = service(argument()?)?;
                    set(&mut filter.service, address, twice)?;
                    if let Some(port) = port {
                        set(&mut filter.port, port, twice)?;
                    }
                }
                "port" => set(&mut filter.port, port(argument()?)?, twice)?,
                _ => {
                    let known = PROTOCOLS.iter().find(|(name, _)| *name == word);
                    let (_, number) = known.ok_or_else(|| BadFilter::Word(word.into()))?;
                    set(&mut filter.protocol, *number, twice)?;
                }
            }
        }
        match (filter.client, filter.service) {
            (Some(client), Some(service)) if client.addr().is_ipv4() != service.is_ipv4() => {
                Err(BadFilter::Families)
            }
            _ => Ok(filter),
        }
    }
}

fn set<T>(place: &mut Option<T>, value: T, twice: impl Fn() -> BadFilter) -> Result<(), BadFilter> {
    if place.replace(value).is_some() { Err(twice()) } else { Ok(()) }
}

fn net(word: &str) -> Result<IpNet, BadFilter> {
    let net = word.parse::<IpNet>().or_else(|_| word.parse::<IpAddr>().map(IpNet::from));
    net.map_err(|_| BadFilter::Net(word.into()))
}

fn service(word: &str) -> Result<(IpAddr, Option<u16>), BadFilter> {
    let alone = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')).unwrap_or(word);
    if let Ok(address) = alone.parse() {
        return Ok((address, None));
    }
    match word.parse::<SocketAddr>() {
        Ok(end) if end.port() != 0 => Ok((end.ip(), Some(end.port()))),
        _ => Err(BadFilter::Service(word.into())),
    }
}

fn port(word: &str) -> Result<u16, BadFilter> {
    word.parse().ok().filter(|port| *port != 0).ok_or_else(|| BadFilter::Port(word.into()))
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        let protocol = PROTOCOLS.iter().find(|(_, number)| Some(*number) == self.protocol);
        words.extend(protocol.map(|(name, _)| (*name).to_owned()));
        words.extend(self.client.map(|client| format!("client {client}")));
        words.extend(self.service.map(|service| format!("service {service}")));
        words.extend(self.port.map(|port| format!("port {port}")));
        f.write_str(&words.join(" "))
    }
}

impl Filter {
    /// Whether it fits every packet.
    pub fn is_of_all(&self) -> bool {
        *self == Self::default()
    }

    /// The part of a wish that it is.
    pub(crate) fn wish(&self) -> Wish {
        let mut wish = Wish::default();
        if let Some(protocol) = self.protocol {
            (wish.what.protocol, wish.what_mask.protocol) = (protocol, u8::MAX);
        }
        if let Some(port) = self.port {
            (wish.what.port, wish.what_mask.port) = (port, u16::MAX);
        }
        if let Some(address) = self.service.or(self.client.map(|client| client.addr())) {
            (wish.what.family, wish.what_mask.family) = (if address.is_ipv4() { 4 } else { 6 }, u8::MAX);
        }
        if let Some(client) = self.client {
            (wish.client, wish.client_mask) = (cells(client.network()), cells(client.netmask()));
        }
        if let Some(service) = self.service {
            (wish.service, wish.service_mask) = (cells(service), [u64::MAX; 2]);
        }
        wish
    }
}

fn cells(address: IpAddr) -> [u64; 2] {
    zerocopy::transmute!(octets(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_make_a_filter_and_a_filter_words() {
        for words in [
            "",
            "tcp",
            "icmp",
            "client 192.0.2.7/32",
            "udp client 2001:db8::/32 service 2001:db8:1::1 port 53",
            "sctp service 10.0.0.100",
            "port 443",
        ] {
            assert_eq!(words.parse::<Filter>().expect(words).to_string(), words);
        }
        let long: Filter = "service [2001:db8::1]:53 client 2001:db8::7".parse().expect("a filter");
        assert_eq!(long.to_string(), "client 2001:db8::7/128 service 2001:db8::1 port 53");
        assert!("".parse::<Filter>().expect("a filter").is_of_all() && !long.is_of_all());
    }

    #[test]
    fn what_is_no_filter_is_said() {
        for (words, expected) in [
            ("gre", BadFilter::Word("gre".into())),
            ("tcp udp", BadFilter::Twice("udp".into())),
            ("client", BadFilter::Missing("client".into())),
            ("client x", BadFilter::Net("x".into())),
            ("service 10.0.0.100:http", BadFilter::Service("10.0.0.100:http".into())),
            ("service 10.0.0.100:0", BadFilter::Service("10.0.0.100:0".into())),
            ("service 10.0.0.100:80 port 80", BadFilter::Twice("port".into())),
            ("port 0", BadFilter::Port("0".into())),
            ("client 10.0.0.1 service 2001:db8::1", BadFilter::Families),
        ] {
            assert_eq!(words.parse::<Filter>(), Err(expected), "{words}");
        }
    }

    #[test]
    fn a_net_is_a_wish_of_its_first_address_and_its_mask() {
        let filter: Filter = "client 192.0.2.77/24 service 10.0.0.100:80".parse().expect("a filter");
        let wish = filter.wish();
        assert_eq!(wish.client, cells([192, 0, 2, 0].into()));
        assert_eq!(wish.client_mask, cells([255, 255, 255, 0].into()));
        let what = (wish.what.family, wish.what.port, wish.what.protocol);
        let mask = (wish.what_mask.family, wish.what_mask.port, wish.what_mask.protocol);
        assert_eq!((what, mask), ((4, 80, 0), (u8::MAX, u16::MAX, 0)));
        assert_eq!((wish.service, wish.service_mask), (cells([10, 0, 0, 100].into()), [u64::MAX; 2]));
        assert_eq!(wish.outcomes, 0, "nobody's wish yet");
    }
}
