//! By which names the site is asked for. A page from elsewhere in somebody's browser may have its own name lead here (DNS rebinding),
//! and would then read all of this as if it were its own: but the name that it asks for is still its own.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::{HeaderMap, Uri, header};

/// Names that are answered, beside addresses and `localhost`: nobody can have these lead elsewhere.
#[derive(Clone, Debug)]
pub(super) struct Hosts(Vec<String>);

impl Hosts {
    /// The machine's own name, and those that were given.
    pub(super) fn new(own: &str, given: &[String]) -> Self {
        let names = given.iter().map(String::as_str).chain([own.trim()]);
        Self(names.filter(|name| !name.is_empty()).map(plain).collect())
    }

    /// Whether a request may be answered. One that names nobody (of HTTP/1.0) is no browser's.
    pub(super) fn take(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let mut named = headers.get_all(header::HOST).iter();
        let (first, second) = (named.next(), named.next());
        if second.is_some() {
            return false;
        }
        let named = first.map(|host| host.to_str().unwrap_or_default());
        // Of an address in full its own name counts too.
        let authority = uri.authority().map(axum::http::uri::Authority::as_str);
        [named, authority].into_iter().flatten().all(|host| self.knows(host))
    }

    fn knows(&self, host: &str) -> bool {
        if let Some(rest) = host.strip_prefix('[') {
            let Some((address, port)) = rest.split_once(']') else { return false };
            return address.parse::<Ipv6Addr>().is_ok() && (port.is_empty() || port.starts_with(':'));
        }
        let name = plain(host.split_once(':').map_or(host, |(name, _)| name));
        name.parse::<Ipv4Addr>().is_ok()
            || name == "localhost"
            || name.ends_with(".localhost")
            || self.0.contains(&name)
    }
}

/// Small letters, and without the dot that a full name may end in.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn addresses_and_own_names_are_answered_and_no_others() {
        let hosts = Hosts::new("Director1.example.org\n", &["lb.example.com".into()]);
        for host in [
            "127.0.0.1:9812",
            "10.0.0.10",
            "[::1]:9812",
            "[2001:db8::1]",
            "localhost:1",
            "LOCALHOST",
            "a.localhost:9812",
            "director1.example.org:9812",
            "lb.example.com.:9812",
            "LB.example.com",
        ] {
            assert!(hosts.knows(host), "{host}");
        }
        for host in [
            "",
            "evil.example:9812",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "director1.evil.example",
            "example.com",
            "[evil.example]:9812",
            "[::1]evil.example",
            "[::1",
            "::1",
        ] {
            assert!(!hosts.knows(host), "{host}");
        }
        assert!(!Hosts::new("", &[]).knows(""), "a machine without a name");
    }

    #[test]
    fn every_name_of_a_request_counts() {
        let hosts = Hosts::new("director1", &[]);
        let take = |uri: &'static str, names: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for name in names {
                headers.append(header::HOST, HeaderValue::from_static(name));
            }
            hosts.take(&Uri::from_static(uri), &headers)
        };
        assert!(take("/", &["director1:9812"]) && take("/", &[]));
        assert!(!take("/", &["evil.example"]));
        assert!(!take("/", &["director1", "evil.example"]), "one name at most");
        assert!(!take("http://evil.example/", &["director1"]));
        assert!(take("http://director1/", &["director1"]));
    }
}
