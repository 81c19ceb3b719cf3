//! Links: a text opens only when the same claims sign to the same text. Inputs of 47 bytes and more are signed with the true key first,
//! so that what stands behind the signature is reached as well.

use std::sync::LazyLock;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use daylily::domain::clock::Timestamp;
use daylily::domain::link::{LinkError, LinkKey, LinkKeys, MAX_AHEAD, Purpose, id_of, named_file};

const SECRET: [u8; 32] = [7; 32];
const BODY: usize = 47;
const NOW: Timestamp = Timestamp::from_millis(1_795_435_200_000);
static KEYS: LazyLock<LinkKeys> = LazyLock::new(|| LinkKeys::new(LinkKey::new(&SECRET), Vec::new()));

pub fn run(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        opens(text);
    }
    if let Some((body, _)) = data.split_at_checked(BODY) {
        let mut body = body.to_vec();
        // A zero where the key is named stands for the key that signs.
        if body[1..5] == [0; 4] {
            body[1..5].copy_from_slice(&key_id());
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, &SECRET);
        let tag = hmac::sign(&key, &body);
        body.extend_from_slice(&tag.as_ref()[..16]);
        opens(&URL_SAFE_NO_PAD.encode(body));
    }
}

fn opens(text: &str) {
    let verified = KEYS.verify_any(text, NOW);
    let (link, over) = match &verified {
        Ok(link) => (link, false),
        Err(LinkError::Expired(link)) => (link, true),
        Err(LinkError::Invalid) => {
            assert!(KEYS.verify(text, Purpose::Download, NOW).is_err());
            let _ = named_file(text);
            return;
        }
    };
    crate::taken();
    assert_eq!(KEYS.mint(link.claims()).as_str(), text, "two texts for one link");
    assert_eq!(named_file(text), Some(link.claims().file));
    assert_eq!(link.id(), &id_of(text));
    assert_eq!(over, NOW > link.claims().expires);
    assert!(link.claims().expires <= NOW.plus(MAX_AHEAD));
    for purpose in [Purpose::Download, Purpose::Confirmed] {
        let answer = KEYS.verify(text, purpose, NOW);
        assert_eq!(answer != Err(LinkError::Invalid), link.claims().purpose == purpose, "it serves another purpose");
    }
}

/// As the key names itself in what it signs.
fn key_id() -> [u8; 4] {
    let named =
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &[b"daylily-link-key-id".as_slice(), &SECRET].concat());
    let mut id = [0; 4];
    id.copy_from_slice(&named.as_ref()[..4]);
    id
}
