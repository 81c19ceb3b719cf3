//! Reading and writing compact JWS (RFC 7515 §3.1) the one strict way: unpadded base64url in its only spelling, JSON objects without a
//! member twice, bounded sizes. Used for client assertions, access tokens and key sets; no claim has a meaning here.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// Longest compact JWS that is looked at, in bytes; headers of common servers end at 8 KiB too.
pub const MAX_COMPACT_BYTES: usize = 8 * 1024;

/// Deepest nesting of JSON in a token or key set.
const MAX_DEPTH: usize = 8;

/// A compact JWS taken apart; nothing about it is verified.
#[derive(Debug, Clone)]
pub struct Compact<'a> {
    /// JOSE header.
    pub header: Map<String, Value>,
    /// Claims set.
    pub claims: Map<String, Value>,
    /// What is signed: the first two parts with their dot.
    pub signed: &'a str,
    /// The signature as it stands, in base64url that decodes.
    pub signature: &'a str,
}

/// Takes a compact JWS apart. `None` when it is anything else: too long, not three parts, padding or another alphabet, bits set
/// after the last whole byte, not a JSON object, a member twice, a JWE (five parts).
pub fn parse_compact(text: &str) -> Option<Compact<'_>> {
    if text.len() > MAX_COMPACT_BYTES {
        return None;
    }
    let (signed, signature) = text.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    if claims.contains('.') || signature.is_empty() {
        return None;
    }
    decode(signature)?;
    Some(Compact {
        header: parse_object(&decode(header)?)?,
        claims: parse_object(&decode(claims)?)?,
        signed,
        signature,
    })
}

/// Joins header and claims to the text that is signed.
pub fn signing_input(header: &Value, claims: &Value) -> String {
    format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()))
}

/// base64url without padding (RFC 7515 §2).
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads what [`encode`] writes; every other spelling is `None`.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(digest::digest(&digest::SHA256, bytes).as_ref()) {
        *to = *from;
    }
    out
}

/// Reads one JSON object whose members, at every level, stand once. `None` for anything else.
pub fn parse_object(bytes: &[u8]) -> Option<Map<String, Value>> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth: MAX_DEPTH }.deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    match value {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

/// `serde_json` keeps the last of two members with one name; who signs and who checks could then read two tokens.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Strict {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        self.depth.checked_sub(1).map(|depth| Self { depth }).ok_or_else(|| E::custom("nested too deep"))
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without repeated members")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(inner)?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a member stands twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 7515 appendix A.3 (ES256).
    const A3: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

    #[test]
    fn the_example_of_rfc_7515_is_read_and_verified() {
        let jws = parse_compact(A3).unwrap();
        assert_eq!(jws.header.get("alg").unwrap(), "ES256");
        assert_eq!(jws.claims.get("exp").unwrap(), 1_300_819_380);
        let key = jsonwebtoken::DecodingKey::from_ec_components(
            "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        )
        .unwrap();
        let verify = |signed: &str| {
            jsonwebtoken::crypto::verify(jws.signature, signed.as_bytes(), &key, jsonwebtoken::Algorithm::ES256)
        };
        assert!(verify(jws.signed).unwrap());
        assert!(!verify(&jws.signed.replace("eyJhbGci", "eyJhbGcj")).unwrap());
    }

    #[test]
    fn a017_other_spellings_of_a_token_are_refused() {
        let (signed, signature) = A3.rsplit_once('.').unwrap();
        for wrong in [
            format!("{A3}="),
            format!("{A3}\n"),
            format!(" {A3}"),
            format!("{A3}."),
            format!(".{A3}"),
            format!("{signed}.{}", signature.replace('-', "+").replace('_', "/")),
            // The last character of 86 carries two bits beyond the 64th byte: "Q" is zero there, "R" is not.
            format!("{signed}.{}R", signature.strip_suffix('Q').unwrap()),
            signed.to_owned(),
            format!("{signed}."),
            format!("{A3}.a.b"),
            String::new(),
            "..".to_owned(),
        ] {
            assert!(parse_compact(&wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a014_a_member_that_stands_twice_is_refused_at_every_level() {
        for wrong in [r#"{"a":1,"a":1}"#, r#"{"b":{"a":1,"a":2}}"#, r#"{"b":[{"a":1,"\u0061":2}]}"#] {
            assert!(parse_object(wrong.as_bytes()).is_none(), "{wrong}");
        }
        assert!(parse_object(br#"{"a":{"a":1},"b":[1,2]}"#).is_some());
        let deep = format!("{}1{}", r#"{"a":"#.repeat(9), "}".repeat(9));
        assert!(parse_object(deep.as_bytes()).is_none());
        assert!(parse_object(br#"{"a":1} x"#).is_none() && parse_object(br#"{"a":1e400}"#).is_none());
    }

    proptest! {
        #[test]
        fn a017_what_is_accepted_encodes_to_the_same_text(text in "[A-Za-z0-9_=+/-]{0,40}") {
            if let Some(bytes) = decode(&text) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }

        #[test]
        fn reading_never_panics(text in "\\PC{0,200}") {
            let _ = parse_compact(&text);
            let _ = parse_object(text.as_bytes());
        }
    }
}
