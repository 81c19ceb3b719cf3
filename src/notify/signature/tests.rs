//! Tests of `signature`: known answers of the standard's library and of an independent implementation (`vectors.json`).

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::vault::SystemEntropy;

const VECTORS: &str = include_str!("vectors.json");

fn vectors() -> Value {
    serde_json::from_str(VECTORS).unwrap()
}

fn v1() -> Vec<Value> {
    let all = vectors()["vectors"].as_array().unwrap().clone();
    all.into_iter().filter(|vector| vector["signature"].as_str().unwrap().starts_with("v1,")).collect()
}

fn text<'a>(vector: &'a Value, name: &str) -> &'a str {
    vector[name].as_str().unwrap()
}

fn at(second: &str) -> Timestamp {
    Timestamp::from_millis(second.parse::<i64>().unwrap() * 1000 + 999)
}

#[test]
fn a171_known_answers_are_signed_and_verified() {
    assert_eq!(v1().len(), 3);
    for vector in v1() {
        let secrets = [Secret::parse(text(&vector, "secret")).unwrap()];
        let (id, second, body) =
            (text(&vector, "webhook_id"), text(&vector, "webhook_timestamp"), text(&vector, "body"));
        let signature = sign(&secrets, id, at(second), body.as_bytes());
        assert_eq!(signature, text(&vector, "signature"), "{}", text(&vector, "name"));
        assert_eq!(verify(&secrets, (id, second, &signature), body.as_bytes(), at(second)), Ok(()));
        assert_eq!(*secrets[0].to_text(), text(&vector, "secret"));
    }
}

#[test]
fn a171_during_an_overlap_both_secrets_sign_the_current_one_first() {
    let [_, current, previous]: [Value; 3] = v1().try_into().unwrap();
    let secrets = [&current, &previous].map(|vector| Secret::parse(text(vector, "secret")).unwrap());
    let (id, second, body) =
        (text(&current, "webhook_id"), text(&current, "webhook_timestamp"), text(&current, "body").as_bytes());
    let signature = sign(&secrets, id, at(second), body);
    assert_eq!(signature, vectors()["rotation_header_example"].as_str().unwrap());
    for secret in secrets {
        assert_eq!(verify(&[secret], (id, second, &signature), body, at(second)), Ok(()));
    }
}

#[test]
fn a171_what_was_changed_or_is_old_is_not_believed() {
    let vector = v1().remove(0);
    let secrets = [Secret::parse(text(&vector, "secret")).unwrap()];
    let (id, second, signature) =
        (text(&vector, "webhook_id"), text(&vector, "webhook_timestamp"), text(&vector, "signature"));
    let (body, now) = (text(&vector, "body").as_bytes(), at(second));
    let check = |head: (&str, &str, &str), body: &[u8], now| verify(&secrets, head, body, now);
    assert_eq!(check((id, second, signature), b"{}", now), Err(Unverified::Signature));
    assert_eq!(check(("msg_other", second, signature), body, now), Err(Unverified::Signature));
    assert_eq!(check((id, "1649367554", signature), body, now), Err(Unverified::Signature));
    assert_eq!(check((id, second, &signature.replace("v1,", "v2,")), body, now), Err(Unverified::Signature));
    assert_eq!(check((id, second, ""), body, now), Err(Unverified::Signature));
    assert_eq!(check((id, second, &signature[..20]), body, now), Err(Unverified::Signature));
    assert_eq!(check((id, "soon", signature), body, now), Err(Unverified::Headers));
    assert_eq!(check(("", second, signature), body, now), Err(Unverified::Headers));
    let minutes = |count: u64| std::time::Duration::from_secs(count * 60);
    assert_eq!(check((id, second, signature), body, now.plus(minutes(5))), Ok(()));
    assert_eq!(check((id, second, signature), body, now.plus(minutes(6))), Err(Unverified::Time));
    assert_eq!(check((id, second, signature), body, now.minus(minutes(6))), Err(Unverified::Time));
}

#[test]
fn secrets_have_24_to_64_bytes_and_are_never_printed() {
    let secret = Secret::generate(&SystemEntropy);
    assert_eq!(Secret::parse(&secret.to_text()).unwrap().as_bytes(), secret.as_bytes());
    assert_eq!(Secret::parse(secret.to_text().strip_prefix("whsec_").unwrap()).unwrap().as_bytes(), secret.as_bytes());
    assert_eq!(format!("{secret:?}"), "Secret");
    for wrong in ["", "whsec_", "whsec_AAAA", "whsec_not base64", "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="] {
        assert!(Secret::parse(wrong).is_none(), "{wrong}");
    }
    assert!(Secret::from_bytes(&[0; 23]).is_none() && Secret::from_bytes(&[0; 65]).is_none());
}

#[test]
fn f83_a_message_has_one_id_and_no_two_share_one() {
    let (one, other) = (ResourceId::random(&SystemEntropy), ResourceId::random(&SystemEntropy));
    let id = message_id(&one, Message::Event(7));
    assert_eq!(id, message_id(&one, Message::Event(7)));
    assert!(id.len() == 36 && id.starts_with("msg_") && !id.contains('.'));
    let all = [Message::Event(7), Message::Event(8), Message::Handshake(7), Message::Deactivation(7)];
    let mut ids: Vec<_> =
        all.into_iter().flat_map(|message| [message_id(&one, message), message_id(&other, message)]).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 8);
}

proptest! {
    #[test]
    fn what_is_signed_verifies_and_nothing_else_does(
        body in proptest::collection::vec(any::<u8>(), 0..200), flip in any::<prop::sample::Index>(), second in 0i64..4_000_000_000,
    ) {
        let (secret, now) = (Secret::from_bytes(&[7; 32]).unwrap(), Timestamp::from_millis(second * 1000));
        let signature = sign(std::slice::from_ref(&secret), "msg_1", now, &body);
        let head = second.to_string();
        prop_assert_eq!(verify(std::slice::from_ref(&secret), ("msg_1", &head, &signature), &body, now), Ok(()));
        let mut other = body.clone();
        other.push(0);
        let at = flip.index(other.len());
        other[at] ^= 1;
        prop_assert_eq!(verify(&[secret], ("msg_1", &head, &signature), &other, now), Err(Unverified::Signature));
    }

    #[test]
    fn arbitrary_headers_do_not_panic(id in ".{0,20}", second in ".{0,20}", signature in ".{0,80}") {
        let secret = Secret::from_bytes(&[7; 32]).unwrap();
        prop_assert!(verify(&[secret], (&id, &second, &signature), b"", Timestamp::from_millis(0)).is_err());
    }
}
