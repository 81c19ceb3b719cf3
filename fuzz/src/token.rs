//! Tokens and scopes. Access tokens are signed with the true key before they are read, so that claims are reached; assertions are read as far
//! as they show themselves, which is before anything is known of their client.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use daylily::auth::discovery::Endpoints;
use daylily::auth::token::{TokenKeys, Tokens};
use daylily::auth::{Clients, assertion, jose, jwk, scope};
use daylily::domain::clock::{Clock, Entropy, Timestamp};
use daylily::domain::id::ClientId;
use daylily::domain::principal::{AttachmentUrl, ClientNumber, Interaction, Reach};
use daylily::domain::resource::Kind;
use daylily::store::{Client, ClientKeys, SealedEntry, StoreError};
use serde_json::Value;

use crate::secret;

const MICROS: u64 = 1_795_435_200_000_000;
const NOW: Timestamp = Timestamp::from_millis(1_795_435_200_000);

#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now_micros(&self) -> u64 {
        MICROS
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

impl Entropy for Still {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(1);
    }
}

#[derive(Debug)]
struct One(Arc<Client>);

#[async_trait::async_trait]
impl Clients for One {
    fn registered(&self, id: &ClientId) -> Option<Arc<Client>> {
        (self.0.id == *id).then(|| self.0.clone())
    }

    async fn spend(&self, _: ClientNumber, _: [u8; 32], _: Timestamp, _: SealedEntry) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn note(&self, _: SealedEntry) -> Result<(), StoreError> {
        Ok(())
    }
}

struct Room {
    endpoints: Arc<Endpoints>,
    tokens: Tokens,
    pair: EcdsaKeyPair,
    kid: String,
    clients: One,
}

static ROOM: LazyLock<Room> = LazyLock::new(|| {
    let endpoints = Arc::new(Endpoints::at("https://docs.example"));
    let pkcs8 = TokenKeys::generate().expect("a key");
    let keys = TokenKeys::from_pkcs8(&pkcs8, &[]).expect("a key");
    let shown: Value = serde_json::from_str(&keys.jwks()).expect("a key set");
    let kid = shown["keys"][0]["kid"].as_str().expect("a kid").to_owned();
    let client = Client {
        number: ClientNumber(7),
        id: ClientId::parse("ehr").expect("an id"),
        name: None,
        scope: "system/DocumentReference.cruds system/Binary.r".to_owned(),
        reach: Reach::default(),
        attachment_url: AttachmentUrl::Link,
        allow_ip: Vec::new(),
        keys: ClientKeys::Inline("{\"keys\":[]}".to_owned()),
        disabled: false,
        generation: 1,
        created: Timestamp::from_millis(0),
    };
    let tokens = Tokens::new(keys, endpoints.clone(), Duration::from_secs(300), Arc::new(Still), Arc::new(Still));
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8).expect("a key");
    Room { endpoints, tokens, pair, kid, clients: One(Arc::new(client)) }
});

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));

/// `header LF claims`, signed with the true key, and the input as a token itself. What is taken says, read by the other reader, that it
/// is this server's, this client's and not over; what is not signed by the key is never taken.
pub fn access(data: &[u8]) {
    let room = &*ROOM;
    if let Ok(text) = std::str::from_utf8(data) {
        apart(text);
        assert!(room.tokens.principal(text, &room.clients, PEER).is_err(), "nobody signed it");
    }
    let body = secret::planted(data);
    let Some(at) = body.iter().position(|byte| *byte == b'\n') else { return };
    let header = String::from_utf8_lossy(&body[..at]).replace("$KID", &room.kid);
    let claims = &body[at + 1..];
    let signed = format!("{}.{}", jose::encode(header.as_bytes()), jose::encode(claims));
    let signature = room.pair.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature");
    let text = format!("{signed}.{}", jose::encode(signature.as_ref()));
    apart(&text);
    match room.tokens.principal(&text, &room.clients, PEER) {
        Err(denied) => {
            secret::not_in(&denied.refusal);
            assert!([401, 403].contains(&denied.refusal.status()));
        }
        Ok(principal) => {
            crate::taken();
            let header: Value = serde_json::from_str(&header).expect("a header");
            let claims: Value = serde_json::from_slice(claims).expect("claims");
            assert_eq!((&header["typ"], &header["alg"]), (&Value::from("at+jwt"), &Value::from("ES256")));
            assert_eq!(
                (&claims["iss"], &claims["aud"]),
                (&"https://docs.example".into(), &"https://docs.example/fhir".into())
            );
            assert_eq!((&claims["sub"], &claims["client_id"]), (&"ehr".into(), &"ehr".into()));
            assert!(claims["exp"].as_u64().is_some_and(|exp| exp > MICROS / 1_000_000), "it is over");
            assert_eq!(claims["daylily_generation"], 1);
            assert_eq!(principal.client.as_str(), "ehr");
            let altered = format!("{text}A");
            assert!(room.tokens.principal(&altered, &room.clients, PEER).is_err());
        }
    }
}

/// A token that is taken apart has one spelling, and no member twice.
fn apart(text: &str) {
    let Some(token) = jose::parse_compact(text) else { return };
    let parts: Vec<&str> = text.split('.').collect();
    assert_eq!(parts.len(), 3);
    for part in parts {
        assert_eq!(jose::encode(&jose::decode(part).expect("it does not decode")), part, "two spellings");
    }
    assert_eq!(format!("{}.{}", token.signed, token.signature), text);
    for (part, object) in token.signed.split('.').zip([&token.header, &token.claims]) {
        let bytes = jose::decode(part).expect("it does not decode");
        let ours = daylily::fhir::json::parse(&bytes).expect("a member twice, or no JSON");
        assert_eq!(ours.as_object().map(|object| object.iter().len()), Some(object.len()));
    }
}

/// `header LF claims` as an assertion: what is taken names a client and ends within five and a half minutes; key sets never keep a
/// private member.
pub fn assertion(data: &[u8]) {
    let body = secret::planted(data);
    if let Ok(set) = jwk::KeySet::parse(&body) {
        assert!(set.keys().len() <= jwk::MAX_KEYS);
        let text = set.to_json();
        assert_eq!(jwk::KeySet::parse(text.as_bytes()).expect("a set that was kept").to_json(), text);
    }
    let Some(at) = body.iter().position(|byte| *byte == b'\n') else { return };
    let (header, claims) = (&body[..at], &body[at + 1..]);
    let text = format!("{}.{}.{}", jose::encode(header), jose::encode(claims), jose::encode(&[1; 96]));
    match assertion::read(&text, None, &ROOM.endpoints, NOW) {
        Err(denied) => {
            secret::not_in(&denied.refusal);
            assert_eq!(denied.refusal.status(), 401);
        }
        Ok(stated) => {
            crate::taken();
            let claims: Value = serde_json::from_slice(claims).expect("claims");
            let header: Value = serde_json::from_slice(header).expect("a header");
            assert_eq!(claims["iss"], stated.client.as_str());
            assert_eq!(claims["sub"], claims["iss"]);
            assert!(["RS384", "ES384"].contains(&header["alg"].as_str().expect("alg")));
            let now = i64::try_from(MICROS / 1_000_000).expect("a time");
            assert!(claims["exp"].as_i64().is_some_and(|exp| exp > now - 30 && exp <= now + 330));
            assert!(claims["jti"].as_str().is_some_and(|jti| !jti.is_empty()));
            assert!(assertion::read(&text, Some("another"), &ROOM.endpoints, NOW).is_err());
        }
    }
}

/// `registered LF requested`: never more than both strings allow; a grant that is read again says the same.
pub fn scope(data: &[u8]) {
    let Some(text) = secret::planted_text(data) else { return };
    let (held, asked) = text.split_once('\n').unwrap_or(("system/*.cruds", &text));
    let Ok(registered) = scope::Registered::parse(held) else { return };
    match registered.grant(asked) {
        Err(refusal) => {
            secret::not_in(&refusal);
            assert_eq!(refusal.status(), 400);
        }
        Ok(granted) => {
            crate::taken();
            let (of_held, of_asked) = (scope::permissions(held), scope::permissions(asked));
            for kind in Kind::ALL {
                for interaction in Interaction::ALL {
                    let both = of_held.allows(*kind, interaction) && of_asked.allows(*kind, interaction);
                    assert_eq!(granted.permissions.allows(*kind, interaction), both, "not what both say");
                }
            }
            assert_eq!(scope::permissions(&granted.scope), granted.permissions);
            assert_eq!(registered.grant(&granted.scope).expect("a grant is refused").permissions, granted.permissions);
        }
    }
}
