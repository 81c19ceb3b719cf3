//! What a rule asks of an antivirus engine before its verdict counts, and how wide the network is that a bound link works from.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::domain::clock::Timestamp;

/// The word of a policy text for "whatever it is".
pub const ANY: &str = "any";

/// The widest network that a link may be bound to, as prefix lengths: the largest blocks that registries give to one provider.
/// What is wider holds so many that it binds to nobody.
pub const WIDEST: BoundNetwork = BoundNetwork { v4: 8, v6: 32 };

/// Prefix lengths of the network around the address that asked for a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoundNetwork {
    /// 8 to 32.
    pub v4: u8,
    /// 32 to 128.
    pub v6: u8,
}

impl Default for BoundNetwork {
    /// The one address.
    fn default() -> Self {
        Self { v4: 32, v6: 128 }
    }
}

impl BoundNetwork {
    /// The network of an address. An IPv4 address in IPv6's clothes (`::ffff:…`) is an IPv4 address.
    pub fn around(self, address: IpAddr) -> IpNet {
        let address = address.to_canonical();
        let prefix = if address.is_ipv4() { self.v4 } else { self.v6 };
        IpNet::new(address, prefix).map_or_else(|_| IpNet::from(address), |network| network.trunc())
    }

    /// Whether a network is no wider than this.
    pub fn holds(self, network: IpNet) -> bool {
        network.prefix_len() >= if network.addr().is_ipv4() { self.v4 } else { self.v6 }
    }
}

/// A program's version: up to three numbers, compared one by one; what follows them (`-rc1`) counts for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EngineVersion([u32; 3]);

impl EngineVersion {
    /// Reads `1.4.3`, `1.5` or `1.5.0-rc1`.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = text.split(['-', '+', '~', '_']).next()?;
        let mut numbers = [0; 3];
        let mut parts = plain.split('.');
        for (at, number) in numbers.iter_mut().enumerate() {
            match parts.next() {
                Some(part) if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) => {
                    *number = part.parse().ok()?;
                }
                None if at > 0 => {}
                _ => return None,
            }
        }
        parts.next().is_none().then_some(Self(numbers))
    }
}

impl fmt::Display for EngineVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([major, minor, patch]) = self;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// What an antivirus engine must be so that its verdict counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AntivirusTerms {
    /// How old its official signatures may be; `None`: it does not matter, nor whether it has any.
    pub signatures_within: Option<Duration>,
    /// The oldest version of the program; `None`: any.
    pub version: Option<EngineVersion>,
}

/// Why an engine that works is not asked under a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unsuited {
    /// Its program is older than the rule asks for, or does not tell its version.
    Version,
    /// Its signatures are older than the rule asks for, or it tells of none.
    Signatures,
}

impl Unsuited {
    /// What `/readyz` says.
    pub fn words(self) -> &'static str {
        match self {
            Self::Version => "the antivirus engine is older than the policy allows, new documents wait",
            Self::Signatures => "antivirus signatures are older than the policy allows, new documents wait",
        }
    }
}

impl AntivirusTerms {
    /// Whether an engine of this version with these signatures may be asked at `now`.
    ///
    /// # Errors
    /// What it lacks.
    pub fn suit(&self, version: &str, signatures: Option<Timestamp>, now: Timestamp) -> Result<(), Unsuited> {
        if let Some(least) = self.version
            && EngineVersion::parse(version).is_none_or(|version| version < least)
        {
            return Err(Unsuited::Version);
        }
        match self.signatures_within {
            Some(span) if signatures.is_none_or(|made| now > made.plus(span)) => Err(Unsuited::Signatures),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a121_a_network_around_an_address_by_the_policys_prefixes() {
        let around = |v4, v6, address: &str| BoundNetwork { v4, v6 }.around(address.parse().unwrap()).to_string();
        // By hand: 203.0.113.77 in /24 and /20, 2001:db8:1:2:… in /64 and /56.
        assert_eq!(around(24, 64, "203.0.113.77"), "203.0.113.0/24");
        assert_eq!(around(20, 64, "203.0.113.77"), "203.0.112.0/20");
        assert_eq!(around(24, 64, "::ffff:203.0.113.77"), "203.0.113.0/24");
        assert_eq!(around(24, 64, "2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(around(24, 56, "2001:db8:1:2:3:4:5:6"), "2001:db8:1::/56");
        let exact = BoundNetwork::default();
        assert_eq!(exact.around("203.0.113.77".parse().unwrap()).to_string(), "203.0.113.77/32");
        assert_eq!(exact.around("2001:db8::1".parse().unwrap()).to_string(), "2001:db8::1/128");
        for (network, holds) in [("10.0.0.0/8", true), ("0.0.0.0/7", false), ("2001:db8::/32", true), ("::/1", false)] {
            assert_eq!(WIDEST.holds(network.parse().unwrap()), holds, "{network}");
        }
    }

    #[test]
    fn a139_versions_compare_by_number() {
        let version = |text| EngineVersion::parse(text);
        assert!(version("1.4.10") > version("1.4.9"));
        assert!(version("1.5") > version("1.4.99"));
        assert_eq!(version("1.5"), version("1.5.0-rc1"));
        for wrong in ["", "1", "1.", "a.b", "1.4.3.2", "1.-4", "1.99999999999", "v1.2"] {
            assert!(version(wrong).is_none() || wrong == "1", "{wrong}");
        }
    }

    #[test]
    fn a137_a139_an_engine_that_is_too_old_does_not_suit() {
        let (day, now) = (Duration::from_secs(86_400), Timestamp::from_millis(1_795_000_000_000));
        let ago = |days: i64| Some(Timestamp::from_millis(now.millis() - days * 86_400_000));
        let terms = |days: Option<u32>, version: Option<&str>| AntivirusTerms {
            signatures_within: days.map(|days| day * days),
            version: version.and_then(EngineVersion::parse),
        };
        for (terms, version, signatures, said) in [
            (terms(None, None), "1.4.6", None, Ok(())),
            (terms(Some(2), None), "1.4.6", ago(2), Ok(())),
            (terms(Some(2), None), "1.4.6", ago(3), Err(Unsuited::Signatures)),
            (terms(Some(2), None), "1.4.6", None, Err(Unsuited::Signatures)),
            (terms(None, Some("1.4.3")), "1.4.3", None, Ok(())),
            (terms(None, Some("1.4.3")), "1.4.2", None, Err(Unsuited::Version)),
            (terms(None, Some("1.4.3")), "devel-2026", None, Err(Unsuited::Version)),
            (terms(Some(2), Some("1.4.3")), "1.0.9", ago(9), Err(Unsuited::Version)),
        ] {
            assert_eq!(terms.suit(version, signatures, now), said, "{version}");
        }
    }
}
