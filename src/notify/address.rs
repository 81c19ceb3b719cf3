//! Which addresses may be called: the public internet, and what the operator named. An address that carries another one inside
//! (mapped, translated, tunnelled) is judged by both.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Whether the guard lets an address through: allowed by the operator, or public in every reading.
pub fn may_call(address: IpAddr, allow: &[IpNet]) -> bool {
    is_named(address, allow) || is_public(address)
}

/// Whether the operator let the address through by name of its network. Networks never open what hands out a machine's own
/// credentials: link-local addresses and the metadata services of cloud platforms.
pub fn is_named(address: IpAddr, allow: &[IpNet]) -> bool {
    let plain = address.to_canonical();
    allow.iter().any(|network| network.contains(&plain)) && !is_metadata(plain)
}

/// Link-local addresses (RFC 3927, RFC 4291 §2.5.6), and metadata services that lie elsewhere.
fn is_metadata(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            address.is_link_local()
                || matches!(address.octets(), [100, 100, 100, 200] | [192, 0, 0, 192] | [168, 63, 129, 16])
        }
        IpAddr::V6(address) => matches!(address.segments(), [0xfe80..=0xfebf, ..] | [0xfd00, 0xec2, .., 0x254]),
    }
}

/// Whether an address lies on the public internet.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// IANA IPv4 special-purpose registry (RFC 6890), and two addresses of cloud platforms outside of it.
fn is_public_v4(address: Ipv4Addr) -> bool {
    const PLATFORM: [Ipv4Addr; 1] = [Ipv4Addr::new(168, 63, 129, 16)];
    let special = match address.octets() {
        [0 | 10 | 127, ..] => true,
        [100, second, ..] => (64..128).contains(&second), // shared address space, 100.100.100.200 in it
        [169, 254, ..] | [192, 168, ..] => true,
        [172, second, ..] => (16..32).contains(&second),
        [192, 0, 0 | 2, _] | [192, 88, 99, _] | [192, 31, 196, _] | [192, 52, 193, _] | [192, 175, 48, _] => true,
        [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _] => true,
        [224..=255, ..] => true, // multicast, reserved, broadcast
        _ => false,
    };
    !special && !PLATFORM.contains(&address)
}

/// Only global unicast 2000::/3, without its special parts (IANA IPv6 special-purpose registry).
fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // NAT64 (RFC 6052): the embedded address is where it ends up, and the translator is inside.
        [0x64, 0xff9b, ..] => false,
        // Teredo, ORCHID, benchmarking and the rest of 2001::/23; documentation; 6to4, which embeds an IPv4 address.
        [0x2001, second, ..] if second < 0x200 => false,
        [0x2001, 0xdb8, ..] | [0x2002, ..] => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        [0x2620, 0x4f, 0x8000, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn public(text: &str) -> bool {
        is_public(text.parse().unwrap())
    }

    #[test]
    fn a158_addresses_inside_are_refused() {
        for inside in [
            "127.0.0.1",
            "127.255.255.254",
            "0.0.0.0",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "169.254.169.254",
            "168.63.129.16",
            "100.100.100.200",
            "192.0.0.192",
            "198.18.0.1",
            "198.19.255.255",
            "192.0.2.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fd00:ec2::254",
            "fc00::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "3fff::1",
            "100::1",
            "5f00::1",
        ] {
            assert!(!public(inside), "{inside}");
        }
        for outside in [
            "1.1.1.1",
            "8.8.8.8",
            "172.15.255.255",
            "172.32.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "192.167.1.1",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450:4001:80b::200e",
            "2001:4860:4860::8888",
        ] {
            assert!(public(outside), "{outside}");
        }
    }

    #[test]
    fn a159_addresses_that_carry_another_are_refused() {
        for carrier in [
            "::ffff:169.254.169.254",
            "::ffff:127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b::808:808",
            "64:ff9b:1::a9fe:a9fe",
            "2002:a9fe:a9fe::",
            "2002:0808:0808::1",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "::127.0.0.1",
            "::8.8.8.8",
        ] {
            assert!(!public(carrier), "{carrier}");
        }
        assert!(public("::ffff:8.8.8.8"));
    }

    #[test]
    fn the_operator_can_let_addresses_through() {
        let allow: Vec<IpNet> = vec!["127.0.0.0/8".parse().unwrap()];
        assert!(
            may_call("127.0.0.1".parse().unwrap(), &allow) && may_call("::ffff:127.0.0.1".parse().unwrap(), &allow)
        );
        assert!(!may_call("10.0.0.1".parse().unwrap(), &allow) && may_call("8.8.8.8".parse().unwrap(), &[]));
    }

    #[test]
    fn a158_no_network_of_the_operator_opens_metadata_services() {
        let allow: Vec<IpNet> = ["0.0.0.0/0", "::/0"].map(|net| net.parse().unwrap()).to_vec();
        for metadata in [
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "192.0.0.192",
            "168.63.129.16",
            "fd00:ec2::254",
            "fe80::1",
            "::ffff:169.254.169.254",
        ] {
            assert!(!may_call(metadata.parse().unwrap(), &allow), "{metadata}");
        }
        assert!(may_call("10.0.0.1".parse().unwrap(), &allow) && may_call("fd00::1".parse().unwrap(), &allow));
    }

    proptest! {
        #[test]
        fn a_mapped_address_is_judged_like_the_one_in_it(bits in any::<u32>()) {
            let plain = Ipv4Addr::from(bits);
            prop_assert_eq!(is_public(IpAddr::V6(plain.to_ipv6_mapped())), is_public(IpAddr::V4(plain)));
        }

        #[test]
        fn nothing_but_global_unicast_is_public(bits in any::<u128>()) {
            let address = Ipv6Addr::from(bits);
            prop_assume!(address.to_ipv4_mapped().is_none());
            prop_assert!(!is_public(IpAddr::V6(address)) || bits >> 125 == 1);
        }
    }
}
