//! The client's side: the private key file that `client add --generate-key` writes, and assertions signed with it, for
//! `daylily token`, the demo and tests. The server never keeps what is in such a file.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::jose;
use crate::domain::clock::{Clock, Entropy};
use crate::domain::id::{ClientId, FreshId};

/// How long an assertion made here lasts: well within the five minutes that SMART allows, so that clocks may differ.
const LIFETIME: Duration = Duration::from_secs(240);

/// The text is no key file of this form, or no key could be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a private P-384 key as JWK")]
pub struct BadKeyFile;

/// An ES384 key pair of a client: a JWK (RFC 7517) with its private member.
pub struct KeyFile {
    pair: EcdsaKeyPair,
    kid: String,
    x: String,
    y: String,
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFile").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl KeyFile {
    /// A new pair. Its `kid` is the day and a letter (`2026-11-23-a`), the first that is not among `taken`.
    ///
    /// # Errors
    /// The cryptographic module failed, or all letters of the day are taken.
    pub fn generate(clock: &dyn Clock, taken: &[&str]) -> Result<Self, BadKeyFile> {
        let day = clock.now().to_utc().format("%Y-%m-%d").to_string();
        let free = ('a'..='z').map(|letter| format!("{day}-{letter}")).find(|kid| !taken.contains(&kid.as_str()));
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).map_err(|_| BadKeyFile)?;
        Self::of(pair, free.ok_or(BadKeyFile)?)
    }

    fn of(pair: EcdsaKeyPair, kid: String) -> Result<Self, BadKeyFile> {
        let point = pair.public_key().as_ref().strip_prefix(&[4]);
        let (x, y) = point.and_then(|both| both.split_at_checked(48)).ok_or(BadKeyFile)?;
        let (x, y) = (jose::encode(x), jose::encode(y));
        Ok(Self { pair, kid, x, y })
    }

    /// Reads the text of a key file.
    ///
    /// # Errors
    /// It is not one.
    pub fn parse(text: &str) -> Result<Self, BadKeyFile> {
        let object = jose::parse_object(text.as_bytes()).ok_or(BadKeyFile)?;
        let member = |name: &str| object.get(name).and_then(Value::as_str).ok_or(BadKeyFile);
        let bytes = |name: &str| {
            let bytes = member(name).map(jose::decode)?.map(Zeroizing::new);
            bytes.filter(|bytes| bytes.len() == 48).ok_or(BadKeyFile)
        };
        if (member("kty")?, member("crv")?) != ("EC", "P-384") {
            return Err(BadKeyFile);
        }
        let point = [&[4][..], &bytes("x")?, &bytes("y")?].concat();
        let algorithm = &ECDSA_P384_SHA384_FIXED_SIGNING;
        let pair = EcdsaKeyPair::from_private_key_and_public_key(algorithm, &bytes("d")?, &point);
        Self::of(pair.map_err(|_| BadKeyFile)?, member("kid")?.to_owned())
    }

    /// The text of the file, private member included; to be written so that only its owner can read it.
    ///
    /// # Errors
    /// The cryptographic module failed.
    pub fn to_text(&self) -> Result<Zeroizing<String>, BadKeyFile> {
        let private: EcPrivateKeyBin<'_> = self.pair.private_key().as_be_bytes().map_err(|_| BadKeyFile)?;
        let d = Zeroizing::new(jose::encode(private.as_ref()));
        let (kid, x, y) = (&self.kid, &self.x, &self.y);
        // Every value is base64url or a kid made of digits, so nothing needs an escape.
        let kid = json!(kid);
        Ok(Zeroizing::new(format!(
            "{{\"kty\":\"EC\",\"crv\":\"P-384\",\"kid\":{kid},\"use\":\"sig\",\"alg\":\"ES384\",\"x\":\"{x}\",\"y\":\"{y}\",\"d\":\"{}\"}}\n",
            d.as_str()
        )))
    }

    /// The public half as a JWK set, for the registration.
    pub fn public_set(&self) -> String {
        let (kid, x, y) = (&self.kid, &self.x, &self.y);
        let key = json!({"kty": "EC", "crv": "P-384", "kid": kid, "use": "sig", "alg": "ES384", "x": x, "y": y});
        json!({ "keys": [key] }).to_string()
    }

    /// Its `kid`.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Signs header and claims as they are.
    ///
    /// # Errors
    /// The cryptographic module failed.
    pub fn sign(&self, header: &Value, claims: &Value) -> Result<String, BadKeyFile> {
        let signed = jose::signing_input(header, claims);
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).map_err(|_| BadKeyFile)?;
        Ok(format!("{signed}.{}", jose::encode(signature.as_ref())))
    }

    /// A new assertion for a client, with the token endpoint as audience.
    ///
    /// # Errors
    /// The cryptographic module failed.
    pub fn assertion(
        &self,
        client: &ClientId,
        audience: &str,
        clock: &dyn Clock,
        entropy: &dyn Entropy,
    ) -> Result<String, BadKeyFile> {
        let now = clock.now();
        let header = json!({"alg": "ES384", "typ": "JWT", "kid": self.kid});
        let claims = json!({
            "iss": client.as_str(), "sub": client.as_str(), "aud": audience, "iat": now.seconds(),
            "exp": now.plus(LIFETIME).seconds(), "jti": FreshId::random(entropy).to_string(),
        });
        self.sign(&header, &claims)
    }
}

/// A new assertion from the text of a key file; see [`KeyFile::assertion`].
///
/// # Errors
/// The text is no key file.
pub fn assertion_for(
    client: &ClientId,
    key_file: &str,
    audience: &str,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<String, BadKeyFile> {
    KeyFile::parse(key_file)?.assertion(client, audience, clock, entropy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::fakes;
    use crate::auth::jwk::{Algorithm, KeySet};

    #[test]
    fn a_key_file_is_read_back_and_what_it_signs_its_public_half_verifies() {
        let clock = fakes::clock();
        let file = KeyFile::generate(clock.as_ref(), &[]).unwrap();
        let text = file.to_text().unwrap();
        let again = KeyFile::parse(&text).unwrap();
        assert_eq!((again.kid(), again.public_set()), (file.kid(), file.public_set()));
        assert!(!format!("{again:?}").contains("x") || !format!("{again:?}").contains(again.x.as_str()));
        let set = KeySet::parse(file.public_set().as_bytes()).unwrap();
        let jws = again.sign(&json!({}), &json!({})).unwrap();
        let (signed, signature) = jws.rsplit_once('.').unwrap();
        assert!(set.find(file.kid(), Algorithm::Es384).unwrap().verify(signed, signature));
        assert!(
            KeySet::parse(format!(r#"{{"keys":[{}]}}"#, text.trim()).as_bytes()).is_err(),
            "the private half is no registration"
        );
    }

    #[test]
    fn kids_are_the_day_and_the_next_letter() {
        let clock = fakes::clock();
        let first = KeyFile::generate(clock.as_ref(), &[]).unwrap();
        assert_eq!(first.kid(), "2026-11-23-a");
        assert_eq!(KeyFile::generate(clock.as_ref(), &[first.kid()]).unwrap().kid(), "2026-11-23-b");
    }

    #[test]
    fn a_text_that_is_no_key_file_is_refused() {
        for wrong in ["", "{}", "[]", r#"{"kty":"EC","crv":"P-384","kid":"a","x":"AQ","y":"AQ","d":"AQ"}"#] {
            assert_eq!(KeyFile::parse(wrong).err(), Some(BadKeyFile), "{wrong}");
        }
        let public = fakes::signer().public_set();
        assert_eq!(KeyFile::parse(&public).err(), Some(BadKeyFile));
    }
}
