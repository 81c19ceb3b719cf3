//! Sealing of short secrets. Layout: version (1 byte), id of the key-encryption key (8), salt (24), ciphertext, tag (16). All
//! before the ciphertext, the purpose and its context are authenticated; the nonce is zero, as each derived key seals once.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::key::Kek;
use crate::domain::clock::Entropy;
use crate::domain::content::{KeyError, KeyId};

const VERSION: u8 = 1;
const SALT: usize = 24;
const HEADER: usize = 1 + KeyId::LEN + SALT;
const TAG: usize = 16;

/// Seals `secret` for `label` (a word of ours) and `context` (which one).
pub(super) fn seal(
    kek: &Kek,
    label: &str,
    context: &[u8],
    secret: &[u8],
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, KeyError> {
    let mut salt = [0; SALT];
    entropy.fill(&mut salt);
    let mut out = Vec::with_capacity(HEADER + secret.len() + TAG);
    out.push(VERSION);
    out.extend_from_slice(kek.id().as_bytes());
    out.extend_from_slice(&salt);
    let aad = aad(&out, label, context);
    out.extend_from_slice(secret);
    let body = out.get_mut(HEADER..).unwrap_or_default();
    let tag = cipher(kek, &salt)?
        .seal_in_place_separate_tag(zero_nonce(), Aad::from(aad), body)
        .map_err(|_unspecified| KeyError::Cipher)?;
    out.extend_from_slice(tag.as_ref());
    Ok(out)
}

/// Opens what [`seal`] made, with whichever of `keks` it names.
pub(super) fn open<'a>(
    mut keks: impl Iterator<Item = &'a Kek>,
    label: &str,
    context: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let (header, rest) = sealed.split_at_checked(HEADER).ok_or(KeyError::Damaged)?;
    let (version, named) = header.split_first().ok_or(KeyError::Damaged)?;
    let (id, salt) = named.split_first_chunk::<{ KeyId::LEN }>().ok_or(KeyError::Damaged)?;
    let (body, tag) = rest.split_last_chunk::<TAG>().ok_or(KeyError::Damaged)?;
    if *version != VERSION {
        return Err(KeyError::Damaged);
    }
    let id = KeyId::from_bytes(*id);
    let kek = keks.find(|kek| kek.id() == id).ok_or(KeyError::Missing(id))?;
    let mut plain = Zeroizing::new(body.to_vec());
    cipher(kek, salt)?
        .open_in_place_separate_tag(zero_nonce(), Aad::from(aad(header, label, context)), tag, &mut plain)
        .map_err(|_unspecified| KeyError::Damaged)?;
    Ok(plain)
}

fn cipher(kek: &Kek, salt: &[u8]) -> Result<LessSafeKey, KeyError> {
    let key = kek.derive(salt)?;
    let key = UnboundKey::new(&AES_256_GCM, key.as_slice()).map_err(|_unspecified| KeyError::Cipher)?;
    Ok(LessSafeKey::new(key))
}

fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

/// Header (of fixed length), length of the label, label, context: no two inputs give the same bytes.
fn aad(header: &[u8], label: &str, context: &[u8]) -> Vec<u8> {
    let length = u8::try_from(label.len()).unwrap_or(u8::MAX);
    [header, &[length], label.as_bytes(), context].concat()
}
