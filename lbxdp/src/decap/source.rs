//! A director's address on the command line.

use std::net::IpAddr;

use ipnet::IpNet;

/// An address, or a network without anything behind its prefix: what is meant must not be guessed.
pub(crate) fn prefix(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.into());
    }
    let prefix: IpNet = text
        .parse()
        .map_err(|_| "a source looks like 10.0.0.1, 10.0.0.0/24, 2001:db8::1 or 2001:db8::/64".to_owned())?;
    let net = prefix.trunc();
    if prefix != net {
        return Err(format!("{prefix} has bits behind its prefix: write {net} or {}", prefix.addr()));
    }
    Ok(prefix)
}

#[cfg(test)]
mod tests {
    use super::prefix;

    #[test]
    fn an_address_is_a_prefix_of_all_its_bits() {
        for (text, printed) in [
            ("10.0.0.1", "10.0.0.1/32"),
            ("10.0.0.0/24", "10.0.0.0/24"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("fd00::/8", "fd00::/8"),
        ] {
            assert_eq!(prefix(text).unwrap().to_string(), printed);
        }
    }

    #[test]
    fn what_is_no_source_is_told_in_one_line() {
        for (text, why) in [
            ("10.0.0.1/24", "write 10.0.0.0/24 or 10.0.0.1"),
            ("2001:db8::1/64", "write 2001:db8::/64"),
            ("10.0.0.0/33", "looks like"),
            ("director", "looks like"),
            ("", "looks like"),
        ] {
            let error = prefix(text).unwrap_err();
            assert!(error.contains(why) && error.lines().count() == 1, "{text}: {error}");
        }
    }
}
