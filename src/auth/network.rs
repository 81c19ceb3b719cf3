//! From where a client may call: its registered networks against the address that the connection shows.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::store::Client;

/// Whether a client may call from an address. A list that cannot be read allows nothing: it was checked when it was registered.
pub fn may_call_from(client: &Client, peer: IpAddr) -> bool {
    // A dual-stack listener shows IPv4 callers as ::ffff:a.b.c.d; the registration says a.b.c.d.
    let peer = peer.to_canonical();
    client.allow_ip.is_empty()
        || client.allow_ip.iter().any(|text| parse_network(text).is_some_and(|network| network.contains(&peer)))
}

/// A network in CIDR notation, or one address.
pub fn parse_network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::fakes;

    #[test]
    fn an_empty_list_allows_all_and_a_list_only_what_it_names() {
        let mut client = fakes::client("a");
        assert!(may_call_from(&client, "203.0.113.9".parse().unwrap()));
        client.allow_ip = vec!["192.0.2.0/24".to_owned(), "2001:db8::1".to_owned()];
        for (peer, allowed) in [
            ("192.0.2.200", true),
            ("::ffff:192.0.2.200", true),
            ("192.0.3.1", false),
            ("2001:db8::1", true),
            ("2001:db8::2", false),
        ] {
            assert_eq!(may_call_from(&client, peer.parse().unwrap()), allowed, "{peer}");
        }
        client.allow_ip = vec!["nonsense".to_owned()];
        assert!(!may_call_from(&client, "192.0.2.1".parse().unwrap()));
    }
}
