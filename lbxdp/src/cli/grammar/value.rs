//! Values of options, read as ipvsadm reads them: with strtol, `inet_aton` and the services database.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use crate::cli::names::{Names, Transport};

/// A decimal number in a range: leading blanks and a sign may stand before it, nothing behind it.
pub(super) fn number(text: &str, range: RangeInclusive<u32>) -> Option<u32> {
    let digits = text.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    if !unsigned.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let number = u32::try_from(digits.parse::<i64>().ok()?).ok()?;
    range.contains(&number).then_some(number)
}

/// The leading number of a text, 0 if there is none: C's `atoi`.
pub(super) fn leading_number(text: &str) -> i64 {
    let text = text.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let sign = usize::from(text.starts_with(['+', '-']));
    let end = text[sign..].find(|c: char| !c.is_ascii_digit()).map_or(text.len(), |end| sign + end);
    text[..end].parse().unwrap_or(0)
}

/// `ADDRESS[:PORT]`, `[ADDRESS]:PORT` or a bare IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) address: IpAddr,
    pub(super) port: Option<u16>,
}

/// `transport` decides which service names are known as ports; without one there are none.
pub(super) fn endpoint(text: &str, transport: Option<Transport>, names: &dyn Names) -> Option<Endpoint> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']')?;
            (host, Some(rest.strip_prefix(':')?))
        }
        None => (text, None),
    };
    if let Ok(address) = host.parse::<Ipv6Addr>() {
        let port = port.map(|port| port_number(port, transport, names));
        return Some(Endpoint {
            address: address.into(),
            port: port.map_or(Some(None), |port| port.map(Some))?,
        });
    }
    // As in ipvsadm a port behind the brackets counts for IPv6 only.
    match host.rsplit_once(':') {
        Some((host, port)) => {
            let address = ipv4(host, names)?.into();
            Some(Endpoint { address, port: Some(port_number(port, transport, names)?) })
        }
        None => Some(Endpoint { address: ipv4(host, names)?.into(), port: None }),
    }
}

/// An IPv4 address in any of `inet_aton`'s forms, or a host's name.
pub(super) fn ipv4(text: &str, names: &dyn Names) -> Option<Ipv4Addr> {
    address_number(text).or_else(|| names.address(text))
}

fn port_number(text: &str, transport: Option<Transport>, names: &dyn Names) -> Option<u16> {
    let number = number(text, 0..=u32::from(u16::MAX)).and_then(|port| u16::try_from(port).ok());
    number.or_else(|| names.port(text, transport?))
}

/// `inet_aton`: one to four parts, decimal, octal or hexadecimal, the last one filling what is left; blanks end it.
fn address_number(text: &str) -> Option<Ipv4Addr> {
    let text = text.split(|c: char| c.is_ascii_whitespace() || c == '\x0b').next()?;
    let mut parts = text.split('.').map(part).collect::<Option<Vec<u32>>>()?;
    let last = parts.pop().filter(|_| parts.len() < 4)?;
    let mut address = 0_u32;
    for (place, &part) in parts.iter().enumerate() {
        address |= u32::from(u8::try_from(part).ok()?) << (24 - 8 * place);
    }
    let room = u32::MAX >> (8 * parts.len());
    (last <= room).then(|| Ipv4Addr::from_bits(address | last))
}

fn part(text: &str) -> Option<u32> {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = match hexadecimal {
        Some(digits) => (digits, 16),
        None if text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    // `from_str_radix` would take a sign.
    if digits.starts_with(['+', '-']) { None } else { u32::from_str_radix(digits, radix).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::names::FixedNames;

    fn read(text: &str) -> Option<String> {
        let endpoint = endpoint(text, Some(Transport::Tcp), &FixedNames)?;
        Some(
            endpoint.port.map_or(endpoint.address.to_string(), |port| format!("{}:{port}", endpoint.address)),
        )
    }

    #[test]
    fn numbers_are_decimal_and_whole() {
        assert_eq!(number(" +7", 0..=10), Some(7));
        assert_eq!(number("-0", 0..=10), Some(0));
        for text in ["", " ", "7 ", "0x7", "1.5", "11", "-1", "+-1", "99999999999999999999"] {
            assert_eq!(number(text, 0..=10), None, "{text}");
        }
    }

    #[test]
    fn a_leading_number_is_enough_for_a_prefix_length() {
        assert_eq!(["64", " 64x", "-3", "x", "", "255.0"].map(leading_number), [64, 64, -3, 0, 0, 255]);
    }

    #[test]
    fn addresses_have_many_forms() {
        for (text, meaning) in [
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("192.0.2:80", "192.0.0.2:80"),
            ("192.0.2.1:http", "192.0.2.1:80"),
            ("192.0.2.1:+80", "192.0.2.1:80"),
            ("0x10.010:80", "16.0.0.8:80"),
            ("12:80", "0.0.0.12:80"),
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1 x:80", "192.0.2.1:80"),
            ("localhost:80", "127.0.0.1:80"),
            ("fd00::1:80", "fd00::1:80"),
            ("[fd00::1]:80", "fd00::1:80"),
            ("[192.0.2.1]:80", "192.0.2.1"),
        ] {
            assert_eq!(read(text).as_deref(), Some(meaning), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "12",
            ":80",
            "192.0.2.1:",
            "192.0.2.1:65536",
            "192.0.2.1:-1",
            "192.0.2.1:nosuch",
            "192.0.2.256:80",
            "192.0.2.1.:80",
            "08.1:80",
            "1.2.3.4.5:80",
            "1.+2:80",
            "nosuch.invalid:80",
            "[fd00::1]",
            "[fd00::1:80",
            "192.0.2.1:80:81",
            "[fd00::1]:x",
            "0x:80",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
