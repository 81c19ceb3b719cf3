//! Public keys of clients: JWK sets (RFC 7517) of which only what can verify RS384 or ES384 is kept. Parsed by hand, because
//! the general types accept private members and keep what this server never uses. Fetching is [`super::jwks`].

use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, ParsedPublicKey};
use serde_json::{Map, Value, json};

use super::jose;

/// Most keys in a set.
pub const MAX_KEYS: usize = 20;

/// Most bytes of a set.
pub const MAX_SET_BYTES: usize = 64 * 1024;

/// Longest `kid`, in bytes.
pub const MAX_KID_BYTES: usize = 128;

/// Algorithms of client assertions (SMART App Launch 2.2, client-confidential-asymmetric: RS384 and ES384, no others here).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// ECDSA on P-384 with SHA-384.
    Es384,
}

impl Algorithm {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Rs384, Self::Es384];

    /// The registered name (RFC 7518 §3.1).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rs384 => "RS384",
            Self::Es384 => "ES384",
        }
    }

    /// Reads the registered name, letter by letter.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }
}

/// Why a set as a whole is not taken. The texts complete "the key set …".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetFault {
    /// Over [`MAX_SET_BYTES`].
    TooLarge,
    /// Not a JSON object with a `keys` array of objects, or a member twice.
    Malformed,
    /// Over [`MAX_KEYS`].
    TooManyKeys,
    /// A private or symmetric key lies in it.
    PrivateMember,
    /// Two keys with one `kid`.
    RepeatedKid,
}

impl SetFault {
    /// The fault in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "is larger than 64 KiB",
            Self::Malformed => "is not a JSON object with an array of keys, each name once",
            Self::TooManyKeys => "has more than 20 keys",
            Self::PrivateMember => "holds a private or symmetric key",
            Self::RepeatedKid => "has two keys with the same kid",
        }
    }
}

/// A key that can verify one algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    kid: String,
    material: Material,
}

/// Public members in the one base64url spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa { n: String, e: String },
    P384 { x: String, y: String },
}

/// The usable keys of a client.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeySet {
    keys: Vec<Key>,
    skipped: usize,
}

/// Members that only private or symmetric keys have (RFC 7518 §6.2.2, §6.3.2, §6.4.1).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

impl KeySet {
    /// Reads a set. Keys that this server cannot use (another type, curve or use, malformed, without `kid`) are left out one
    /// by one.
    ///
    /// # Errors
    /// What makes the whole set unfit.
    pub fn parse(bytes: &[u8]) -> Result<Self, SetFault> {
        if bytes.len() > MAX_SET_BYTES {
            return Err(SetFault::TooLarge);
        }
        let object = jose::parse_object(bytes).ok_or(SetFault::Malformed)?;
        let entries = object.get("keys").and_then(Value::as_array).ok_or(SetFault::Malformed)?;
        if entries.len() > MAX_KEYS {
            return Err(SetFault::TooManyKeys);
        }
        let entries: Vec<_> = entries.iter().map(Value::as_object).collect::<Option<_>>().ok_or(SetFault::Malformed)?;
        if entries.iter().any(|entry| PRIVATE_MEMBERS.iter().any(|name| entry.contains_key(*name))) {
            return Err(SetFault::PrivateMember);
        }
        let mut kids: Vec<_> = entries.iter().filter_map(|entry| text(entry, "kid")).collect();
        kids.sort_unstable();
        if kids.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(SetFault::RepeatedKid);
        }
        let keys: Vec<_> = entries.iter().filter_map(|entry| Key::of(entry)).collect();
        Ok(Self { skipped: entries.len() - keys.len(), keys })
    }

    /// The one key with this `kid` that fits the algorithm. None and several are the same: `None`.
    pub fn find(&self, kid: &str, algorithm: Algorithm) -> Option<&Key> {
        let mut fitting = self.keys.iter().filter(|key| key.kid == kid && key.algorithm() == algorithm);
        fitting.next().filter(|_| fitting.next().is_none())
    }

    /// Whether any key has this `kid`.
    pub fn knows(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid == kid)
    }

    /// The usable keys.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// How many keys of the set could not be used.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// The set as it is kept: usable keys, public members only.
    pub fn to_json(&self) -> String {
        json!({ "keys": self.keys.iter().map(Key::to_json).collect::<Vec<_>>() }).to_string()
    }
}

impl Key {
    /// A key that no client has: assertions of unknown clients are verified against it, so that they take as long as others.
    pub fn of_nobody() -> Self {
        Self {
            kid: String::new(),
            // The base point of P-384 (FIPS 186-4 D.1.2.4). Its private key is 1, so what verifies against it proves nothing.
            material: Material::P384 {
                x: "qofKIr6LBTeOscce8yCtdG4dO2KLp5uYWfdB4IJUKjhVAvJdv1UpbDpUXjhydgq3".to_owned(),
                y: "NhfeSpYmLG9dnpi_kpLcKfj0Hb0omhR86doxE7XwuMAKYLHOHX6BnXpDHXyQ6g5f".to_owned(),
            },
        }
    }

    fn of(entry: &Map<String, Value>) -> Option<Self> {
        let kid = text(entry, "kid").filter(|kid| (1..=MAX_KID_BYTES).contains(&kid.len()))?;
        let signs = entry.get("use").is_none_or(|value| value == "sig")
            && entry
                .get("key_ops")
                .is_none_or(|ops| ops.as_array().is_some_and(|ops| ops.iter().any(|operation| operation == "verify")));
        let material = match text(entry, "kty")? {
            "RSA" => rsa(text(entry, "n")?, text(entry, "e")?)?,
            "EC" if text(entry, "crv") == Some("P-384") => p384(text(entry, "x")?, text(entry, "y")?)?,
            _ => return None,
        };
        let key = Self { kid: kid.to_owned(), material };
        let fits = entry.get("alg").is_none_or(|name| name == key.algorithm().as_str());
        (signs && fits).then_some(key)
    }

    /// Its `kid`.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The one algorithm that it verifies.
    pub fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Rsa { .. } => Algorithm::Rs384,
            Material::P384 { .. } => Algorithm::Es384,
        }
    }

    /// Verifies a JWS signature (base64url) over a text, with this key's algorithm and no other.
    pub fn verify(&self, signed: &str, signature: &str) -> bool {
        let (key, algorithm) = match &self.material {
            Material::Rsa { n, e } => {
                (jsonwebtoken::DecodingKey::from_rsa_components(n, e), jsonwebtoken::Algorithm::RS384)
            }
            Material::P384 { x, y } => {
                (jsonwebtoken::DecodingKey::from_ec_components(x, y), jsonwebtoken::Algorithm::ES384)
            }
        };
        key.is_ok_and(|key| {
            jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &key, algorithm).unwrap_or(false)
        })
    }

    /// SHA-256 thumbprint in base64url (RFC 7638): what two people compare over the phone.
    pub fn thumbprint(&self) -> String {
        // The members of RFC 7638 §3.2 in lexical order, without white space; none of the values needs an escape.
        let canonical = match &self.material {
            Material::Rsa { n, e } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
            Material::P384 { x, y } => format!(r#"{{"crv":"P-384","kty":"EC","x":"{x}","y":"{y}"}}"#),
        };
        jose::encode(&jose::sha256(canonical.as_bytes()))
    }

    fn to_json(&self) -> Value {
        let (kid, alg) = (&self.kid, self.algorithm().as_str());
        match &self.material {
            Material::Rsa { n, e } => json!({"kty": "RSA", "kid": kid, "use": "sig", "alg": alg, "n": n, "e": e}),
            Material::P384 { x, y } => {
                json!({"kty": "EC", "crv": "P-384", "kid": kid, "use": "sig", "alg": alg, "x": x, "y": y})
            }
        }
    }
}

fn text<'a>(entry: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    entry.get(name).and_then(Value::as_str)
}

/// RSA of 2048 to 8192 bits (RFC 7518 §3.3 asks for at least 2048) with an odd exponent of at most four bytes.
fn rsa(n: &str, e: &str) -> Option<Material> {
    let (modulus, exponent) = (jose::decode(n)?, jose::decode(e)?);
    let first = modulus.first().copied().filter(|first| *first != 0)?;
    let bits = modulus.len() * 8 - usize::try_from(first.leading_zeros()).ok()?;
    let odd = |bytes: &[u8]| bytes.last().is_some_and(|last| last & 1 == 1);
    let exponent_fits = (1..=4).contains(&exponent.len()) && exponent.first() != Some(&0) && exponent != [1];
    ((2048..=8192).contains(&bits) && odd(&modulus) && odd(&exponent) && exponent_fits)
        .then(|| Material::Rsa { n: n.to_owned(), e: e.to_owned() })
}

/// A point of P-384, proven to lie on the curve.
fn p384(x: &str, y: &str) -> Option<Material> {
    let (left, right) = (jose::decode(x)?, jose::decode(y)?);
    if left.len() != 48 || right.len() != 48 {
        return None;
    }
    let point = [&[4][..], &left, &right].concat();
    ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).ok()?;
    Some(Material::P384 { x: x.to_owned(), y: y.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7638 §3.1.
    const RFC7638_N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";

    /// P-384 generator (FIPS 186-4 D.1.2.4), a point that is on the curve.
    fn point() -> Value {
        let Material::P384 { x, y } = Key::of_nobody().material else { panic!("an EC key") };
        json!({"kty": "EC", "crv": "P-384", "x": x, "y": y, "kid": "ec"})
    }

    fn rsa_key() -> Value {
        json!({"kty": "RSA", "n": RFC7638_N, "e": "AQAB", "alg": "RS384", "kid": "2011-04-29"})
    }

    fn parse(keys: &[Value]) -> Result<KeySet, SetFault> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    fn with(mut key: Value, name: &str, value: Value) -> Value {
        key[name] = value;
        key
    }

    #[test]
    fn the_thumbprint_is_that_of_rfc_7638() {
        let set = parse(&[rsa_key()]).unwrap();
        assert_eq!(set.keys()[0].thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn keys_are_found_by_kid_and_algorithm() {
        let set = parse(&[rsa_key(), point()]).unwrap();
        assert!(set.find("ec", Algorithm::Es384).is_some());
        assert!(set.find("ec", Algorithm::Rs384).is_none());
        assert!(set.find("EC", Algorithm::Es384).is_none());
        assert_eq!(KeySet::parse(set.to_json().as_bytes()).unwrap().keys(), set.keys());
    }

    #[test]
    fn sets_with_what_must_not_be_there_are_refused() {
        for private in PRIVATE_MEMBERS {
            assert_eq!(parse(&[with(point(), private, json!("AQ"))]), Err(SetFault::PrivateMember), "{private}");
        }
        assert_eq!(parse(&[point(), with(rsa_key(), "kid", json!("ec"))]), Err(SetFault::RepeatedKid));
        let many: Vec<_> = (0..21).map(|n| with(point(), "kid", json!(n.to_string()))).collect();
        assert_eq!(parse(&many), Err(SetFault::TooManyKeys));
        assert_eq!(KeySet::parse(&vec![b' '; MAX_SET_BYTES + 1]), Err(SetFault::TooLarge));
        for wrong in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[1]}"#, r#"{"keys":[],"keys":[]}"#] {
            assert_eq!(KeySet::parse(wrong.as_bytes()), Err(SetFault::Malformed), "{wrong}");
        }
    }

    /// RS384 by the other side of the cryptographic module, and the same signature as RS256.
    #[test]
    fn rs384_is_verified_and_no_other_algorithm_of_the_key() {
        use aws_lc_rs::rand::SystemRandom;
        use aws_lc_rs::rsa::{KeyPair, KeySize};
        use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PSS_SHA384, RsaEncoding};
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let (n, e) = (pair.public_key().modulus(), pair.public_key().exponent());
        let n = jose::encode(n.big_endian_without_leading_zero());
        let e = jose::encode(e.big_endian_without_leading_zero());
        let set = parse(&[json!({"kty": "RSA", "kid": "r", "n": n, "e": e})]).unwrap();
        let key = set.find("r", Algorithm::Rs384).unwrap();
        let sign = |encoding: &'static dyn RsaEncoding| {
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(encoding, &SystemRandom::new(), b"a.b", &mut signature).unwrap();
            jose::encode(&signature)
        };
        assert!(key.verify("a.b", &sign(&RSA_PKCS1_SHA384)));
        assert!(!key.verify("a.c", &sign(&RSA_PKCS1_SHA384)));
        assert!(!key.verify("a.b", &sign(&RSA_PKCS1_SHA256)) && !key.verify("a.b", &sign(&RSA_PSS_SHA384)));
    }

    #[test]
    fn a016_keys_that_cannot_be_used_are_left_out_one_by_one() {
        let short = jose::encode(&[0xff; 127]);
        let unusable = [
            with(point(), "crv", json!("P-256")),
            with(point(), "y", point()["x"].clone()), // off the curve
            with(point(), "x", json!("AQAB")),
            with(point(), "alg", json!("ES256")),
            with(point(), "use", json!("enc")),
            with(point(), "key_ops", json!(["sign"])),
            with(point(), "kid", json!("")),
            with(point(), "kid", json!("k".repeat(129))),
            with(rsa_key(), "n", json!(short)),
            with(rsa_key(), "e", json!("Ag")),
            with(rsa_key(), "e", json!("AQ")),
            json!({"kty": "OKP", "crv": "Ed25519", "x": "AQ", "kid": "ed"}),
        ];
        for key in unusable {
            let set = parse(&[with(rsa_key(), "kid", json!("good")), key.clone()]).unwrap();
            assert_eq!((set.keys().len(), set.skipped()), (1, 1), "{key}");
        }
    }
}
