//! Where a request comes from. Forwarding headers are believed only from trusted proxies, one header only, from the right; the
//! framework's own `connection_info` believes anyone and is banned by lint.

use std::net::{IpAddr, SocketAddr};

use actix_web::http::header::HeaderMap;
use ipnet::IpNet;

use crate::config::ForwardedHeader;

/// Hops of a forwarding header that are looked at.
const HOPS_MOST: usize = 32;

/// Whose word is taken, and where it stands.
#[derive(Debug, Clone)]
pub struct Proxies {
    /// Networks of proxies that are believed.
    pub trusted: Vec<IpNet>,
    /// The one header that is read.
    pub header: ForwardedHeader,
}

impl Proxies {
    /// The caller's address: the connection's, or, from a trusted proxy, the rightmost one in the header that is no trusted
    /// proxy. An entry that is no address ends the search at the proxy that wrote it. IPv4 in IPv6 is IPv4.
    pub fn caller(&self, socket: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut nearest = socket.to_canonical();
        if !self.trusts(nearest) {
            return nearest;
        }
        for hop in self.hops(headers).into_iter().rev().take(HOPS_MOST) {
            let Some(address) = hop else { break };
            nearest = address;
            if !self.trusts(nearest) {
                break;
            }
        }
        nearest
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// The hops from left to right; `None` where an entry names no address.
    fn hops(&self, headers: &HeaderMap) -> Vec<Option<IpAddr>> {
        let name = match self.header {
            ForwardedHeader::XForwardedFor => "x-forwarded-for",
            ForwardedHeader::Forwarded => "forwarded",
        };
        let lines = headers.get_all(name).map(|value| value.to_str().unwrap_or("unknown"));
        let hops = lines.flat_map(|line| line.split(',')).map(str::trim);
        hops.map(|hop| match self.header {
            ForwardedHeader::XForwardedFor => address(hop),
            ForwardedHeader::Forwarded => forwarded_for(hop).and_then(address),
        })
        .collect()
    }
}

/// The `for` of one element of `Forwarded` (RFC 7239 §4).
fn forwarded_for(element: &str) -> Option<&str> {
    let pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let mut named = pairs.filter(|(name, _)| name.eq_ignore_ascii_case("for")).map(|(_, value)| value);
    let value = named.next()?;
    // Two of them in one element: nobody knows which is meant.
    if named.next().is_some() {
        return None;
    }
    match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"'),
        None => Some(value),
    }
}

/// An address with or without port; IPv6 in brackets or bare. `unknown` and obfuscated names (RFC 7239 §6) are none.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let parsed = bare.parse::<IpAddr>().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    parsed.map(|address| address.to_canonical())
}

/// The network that refusals of an address are counted under: /24 of IPv4, /64 of IPv6.
pub fn prefix(address: IpAddr) -> IpNet {
    let address = address.to_canonical();
    let length = if address.is_ipv4() { 24 } else { 64 };
    IpNet::new(address, length).map_or_else(|_| IpNet::from(address), |network| network.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    fn caller(header: ForwardedHeader, socket: &str, lines: &[&str]) -> String {
        let proxies = Proxies { trusted: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()], header };
        let mut headers = HeaderMap::new();
        for line in lines {
            for name in ["x-forwarded-for", "forwarded"] {
                let is_read = (name == "forwarded") == (header == ForwardedHeader::Forwarded);
                let line = if is_read { line } else { "6.6.6.6" };
                headers.append(HeaderName::from_static(name), HeaderValue::from_str(line).unwrap());
            }
        }
        proxies.caller(socket.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn a120_the_header_counts_from_trusted_proxies_only_and_from_the_right() {
        let x = ForwardedHeader::XForwardedFor;
        for (socket, lines, expected) in [
            ("203.0.113.9", &["127.0.0.1"][..], "203.0.113.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["127.0.0.1, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["127.0.0.1", "198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["198.51.100.7, 10.0.0.2"], "198.51.100.7"),
            ("10.0.0.1", &["198.51.100.7, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7, unknown, 10.0.0.2"], "10.0.0.2"),
            ("::ffff:10.0.0.1", &["::ffff:198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["198.51.100.7:4711"], "198.51.100.7"),
            ("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("fd00::1", &["2001:db8::1"], "2001:db8::1"),
        ] {
            assert_eq!(caller(x, socket, lines), expected, "{socket} {lines:?}");
        }
    }

    #[test]
    fn a120_forwarded_is_read_as_rfc_7239_writes_it() {
        let f = ForwardedHeader::Forwarded;
        for (lines, expected) in [
            (&["for=192.0.2.43, for=\"[2001:db8:cafe::17]\""][..], "2001:db8:cafe::17"),
            (&["For=\"[2001:db8:cafe::17]:4711\""], "2001:db8:cafe::17"),
            (&["for=192.0.2.60;proto=http;by=203.0.113.43"], "192.0.2.60"),
            (&["for=192.0.2.60, for=_gazonk"], "10.0.0.1"),
            (&["for=192.0.2.60, for=unknown"], "10.0.0.1"),
            (&["for=192.0.2.60;for=127.0.0.1"], "10.0.0.1"),
            (&["host=evil"], "10.0.0.1"),
        ] {
            assert_eq!(caller(f, "10.0.0.1", lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn refusals_are_counted_by_network() {
        for (address, network) in [
            ("192.0.2.77", "192.0.2.0/24"),
            ("::ffff:192.0.2.77", "192.0.2.0/24"),
            ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ] {
            assert_eq!(prefix(address.parse().unwrap()).to_string(), network);
        }
    }

    proptest! {
        #[test]
        fn an_untrusted_peer_is_always_itself(line in "[ -~]{0,80}") {
            prop_assert_eq!(caller(ForwardedHeader::XForwardedFor, "203.0.113.9", &[&line]), "203.0.113.9");
        }
    }
}
