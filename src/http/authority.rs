//! `host [":" port]` as targets and `Host` write it (RFC 3986 §3.2, RFC 9110 §7.2). Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Of a name (RFC 1035 §2.3.4).
const NAME_MOST: usize = 253;
/// Of each of its labels.
const LABEL_MOST: usize = 63;

/// A host that can be one, with its port. No user, no path, no escapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Authority<'a> {
    /// As written, brackets included.
    pub(super) host: &'a str,
    /// `None` where none is written.
    pub(super) port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// `None`: this names no host.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let bracket = text.starts_with('[').then(|| text.find(']')).flatten();
        let (host, rest) = match bracket {
            Some(end) => text.split_at_checked(end + 1)?,
            None => text.split_at_checked(text.find(':').unwrap_or(text.len()))?,
        };
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => None,
            // RFC 3986 §3.2.3 lets the digits be left out.
            Some("") => None,
            Some(digits) => Some(port(digits)?),
            None => return None,
        };
        is_host(host).then_some(Self { host, port })
    }

    /// The address that it is, if it is one.
    pub(super) fn address(&self) -> Option<IpAddr> {
        let bare = self.host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(self.host);
        bare.parse().ok()
    }

    /// Whether both name one host and port under a scheme; its port may be left out.
    pub(super) fn is_same(&self, other: &Authority<'_>, scheme_port: u16) -> bool {
        let port = |one: &Authority<'_>| one.port.unwrap_or(scheme_port);
        self.host.eq_ignore_ascii_case(other.host) && port(self) == port(other)
    }
}

fn port(digits: &str) -> Option<u16> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten().filter(|port| *port > 0)
}

fn is_host(host: &str) -> bool {
    if let Some(literal) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return literal.parse::<Ipv6Addr>().is_ok();
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let label = |label: &str| {
        let plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        plain && (1..=LABEL_MOST).contains(&label.len())
    };
    // What ends in a number is an address (RFC 3986 §3.2.2 reads it as one first), so it must be one.
    let is_number = |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit());
    let is_address = name.rsplit('.').next().is_some_and(is_number);
    let sound = name.len() <= NAME_MOST && name.split('.').all(label);
    sound && (!is_address || host.parse::<Ipv4Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a209_hosts_that_are_none_are_told_from_those_that_are() {
        for (text, host, port) in [
            ("localhost", "localhost", None),
            ("Localhost:8080", "Localhost", Some(8080)),
            ("a.example.:443", "a.example.", Some(443)),
            ("a_b.example:", "a_b.example", None),
            ("127.0.0.1:1", "127.0.0.1", Some(1)),
            ("[::1]", "[::1]", None),
            ("[2001:db8::1]:65535", "[2001:db8::1]", Some(65_535)),
            ("[::ffff:192.0.2.1]", "[::ffff:192.0.2.1]", None),
        ] {
            assert_eq!(Authority::parse(text), Some(Authority { host, port }), "{text}");
        }
        let long = [&"a".repeat(64), ".example"].concat();
        let longer = "a.".repeat(128);
        for text in [
            "",
            ":80",
            ".",
            "..",
            ".a",
            "a..b",
            "a..",
            "[::1]]]",
            "[[::1]]]",
            "[::1",
            "::1",
            "[::1]a",
            "[]",
            "[1.2.3.4]",
            "[v1.a]",
            "[::1%25eth0]",
            "a:65536",
            "a:0",
            "a:-1",
            "a:+1",
            "a:8 0",
            "a:80:80",
            "a:http",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.256",
            "127.1",
            "0x7f.1",
            "a b",
            "a,b",
            "a/b",
            "a@b",
            "a%2eb",
            "a\\b",
            "ä.example",
            &long,
            &longer,
        ] {
            assert_eq!(Authority::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_port_may_be_left_out_where_it_is_the_schemes() {
        let is_same = |a: &str, b: &str| Authority::parse(a).unwrap().is_same(&Authority::parse(b).unwrap(), 80);
        assert!(is_same("A.example:80", "a.example") && is_same("[::1]", "[::1]:80") && is_same("a:8080", "a:8080"));
        assert!(!is_same("a:81", "a") && !is_same("a", "b") && !is_same("a:80", "a:81"));
    }

    proptest! {
        #[test]
        fn whatever_is_a_host_for_url_parsers_too(text in "[a-c0-9.:\\[\\]_-]{1,12}") {
            if Authority::parse(&text).is_some() && !text.contains('_') {
                prop_assert!(url::Url::parse(&format!("http://{text}/")).is_ok(), "{}", text);
            }
        }
    }
}
