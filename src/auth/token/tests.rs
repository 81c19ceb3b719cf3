//! Tests of `token`, apart so that both files can be read.

use secrecy::ExposeSecret;

use super::*;
use crate::auth::fakes::{self, FakeClients, FakeClock};
use crate::domain::principal::Interaction;
use crate::domain::resource::Kind;

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

struct Room {
    clock: Arc<FakeClock>,
    tokens: Arc<Tokens>,
    clients: Arc<FakeClients>,
}

fn room() -> Room {
    let clock = fakes::clock();
    Room { tokens: fakes::tokens(&clock), clock, clients: FakeClients::with([fakes::client("a")]) }
}

impl Room {
    fn issue(&self, scope: &str) -> String {
        self.tokens.issue(&fakes::client("a"), scope).unwrap().token.expose_secret().to_owned()
    }

    fn ask(&self, token: &str) -> Result<Principal, (Code, u16)> {
        let asked = self.tokens.principal(token, self.clients.as_ref(), PEER);
        asked.map_err(|denied| (denied.refusal.code(), denied.refusal.status()))
    }

    fn claims(&self) -> Value {
        let token = self.issue("system/Binary.r");
        Value::Object(jose::parse_compact(&token).unwrap().claims)
    }

    fn sign_with(&self, header: &Value, claims: &Value) -> String {
        let signed = jose::signing_input(header, claims);
        let signature = self.tokens.keys.current.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", jose::encode(signature.as_ref()))
    }

    fn header(&self) -> Value {
        json!({"typ": "at+jwt", "alg": "ES256", "kid": self.tokens.keys.current.kid})
    }
}

const INVALID: (Code, u16) = (Code::TokenInvalid, 401);

#[test]
fn a_token_names_its_client_and_carries_its_scope() {
    let room = room();
    let token = room.issue("system/DocumentReference.rs");
    for _ in 0..2 {
        let principal = room.ask(&token).unwrap();
        assert_eq!((principal.client.as_str(), principal.number.0), ("a", 7));
        assert!(principal.may(Interaction::Search, Kind::DocumentReference).is_ok());
        assert!(principal.may(Interaction::Create, Kind::DocumentReference).is_err());
    }
    assert_eq!(room.tokens.verified.iter().count(), 1);
}

/// RFC 9068 §2.
#[test]
fn a_token_has_the_form_of_rfc_9068_and_its_key_is_published() {
    let room = room();
    let token = room.issue("system/Binary.r");
    let jwt = jose::parse_compact(&token).unwrap();
    assert_eq!(jwt.header.get("typ").unwrap(), "at+jwt");
    for claim in ["iss", "exp", "aud", "sub", "client_id", "iat", "jti", "scope"] {
        assert!(jwt.claims.contains_key(claim), "{claim}");
    }
    let set: jsonwebtoken::jwk::JwkSet = serde_json::from_str(&room.tokens.jwks()).unwrap();
    let jwk = set.find(jwt.header.get("kid").unwrap().as_str().unwrap()).unwrap();
    // An implementation of others accepts it with the published key.
    let key = jsonwebtoken::DecodingKey::from_jwk(jwk).unwrap();
    let verified =
        jsonwebtoken::crypto::verify(jwt.signature, jwt.signed.as_bytes(), &key, jsonwebtoken::Algorithm::ES256);
    assert!(verified.unwrap());
    assert!(!room.tokens.jwks().contains("\"d\""));
}

#[test]
fn a001_a002_a003_a015_headers_that_this_server_did_not_write_are_refused() {
    let room = room();
    let claims = room.claims();
    let with = |name: &str, value: Value| {
        let mut header = room.header();
        header[name] = value;
        room.sign_with(&header, &claims)
    };
    assert!(room.ask(&room.sign_with(&room.header(), &claims)).is_ok(), "the table's base is good");
    for wrong in [
        with("alg", json!("none")),
        with("alg", json!("HS256")),
        with("alg", json!("ES384")),
        with("typ", json!("JWT")),
        with("typ", json!("application/at+jwt")),
        with("kid", json!("other")),
        with("kid", json!(1)),
        with("crit", json!(["x"])),
        with("jwk", json!({})),
        with("jku", json!("https://evil.example")),
    ] {
        assert_eq!(room.ask(&wrong), Err(INVALID));
    }
}

#[test]
fn a007_a008_a010_a011_claims_must_be_there_and_ours() {
    let room = room();
    for name in ["iss", "aud", "sub", "client_id", "iat", "exp", "jti", "scope", GENERATION] {
        let mut claims = room.claims();
        let value = claims.as_object_mut().unwrap().remove(name).unwrap();
        assert_eq!(room.ask(&room.sign_with(&room.header(), &claims)), Err(INVALID), "without {name}");
        for wrong in [json!(null), json!([value]), json!({}), json!(true), json!(-1)] {
            claims[name] = wrong.clone();
            assert_eq!(room.ask(&room.sign_with(&room.header(), &claims)), Err(INVALID), "{name} = {wrong}");
        }
    }
    for (name, wrong) in [
        ("iss", "https://docs.example/"),
        ("iss", "https://docs.example:443"),
        ("aud", "https://docs.example/fhi"),
        ("aud", "https://docs.example/fhir/"),
        ("aud", "https://DOCS.example/fhir"),
        ("sub", "b"),
    ] {
        let mut claims = room.claims();
        claims[name] = json!(wrong);
        assert_eq!(room.ask(&room.sign_with(&room.header(), &claims)), Err(INVALID), "{name} = {wrong}");
    }
}

#[test]
fn a012_other_kinds_of_token_are_refused() {
    let room = room();
    let (id, clock) = (ClientId::parse("a").unwrap(), fakes::clock());
    let audience = &fakes::endpoints().fhir;
    let assertion = fakes::signer().assertion(&id, audience, clock.as_ref(), &fakes::Counting::default()).unwrap();
    assert_eq!(room.ask(&assertion), Err(INVALID));
    let other = fakes::tokens(&room.clock).issue(&fakes::client("a"), "system/*.cruds").unwrap();
    assert_eq!(room.ask(other.token.expose_secret()), Err(INVALID));
}

#[test]
fn a013_a016_a017_altered_tokens_are_refused_alike() {
    let room = room();
    let token = room.issue("system/Binary.r");
    let mut seen = Vec::new();
    let (signed, _) = token.rsplit_once('.').unwrap();
    let zero = format!("{signed}.{}", jose::encode(&[0; 64]));
    let wrong = [
        format!("{token}="),
        format!("{token}.a.b"),
        zero,
        format!("{signed}.AAAA"),
        "x".repeat(9_000),
        "a.b.c".to_owned(),
    ];
    for wrong in wrong {
        seen.push(room.tokens.principal(&wrong, room.clients.as_ref(), PEER).unwrap_err().refusal);
    }
    assert!(seen.iter().all(|refusal| *refusal == seen[0] && refusal.code() == Code::TokenInvalid));
    // Every single character counts.
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(bytes).unwrap();
        assert_eq!(room.ask(&altered), Err(INVALID), "character {at}");
    }
    assert_eq!(room.tokens.verified.iter().count(), 0, "only good tokens are remembered");
}

#[test]
fn a009_a_token_ends_on_time_also_when_it_is_remembered() {
    let room = room();
    let token = room.issue("system/Binary.r");
    room.clock.advance(Duration::from_secs(299));
    assert!(room.ask(&token).is_ok());
    room.clock.advance(Duration::from_secs(1));
    assert_eq!(room.ask(&token), Err((Code::TokenExpired, 401)));
}

#[test]
fn a020_a021_a_change_of_the_client_ends_its_tokens_at_the_next_request() {
    let changes: [fn(&mut Client); 2] = [|client| client.disabled = true, |client| client.generation += 1];
    for change in changes {
        let room = room();
        let token = room.issue("system/Binary.r");
        assert!(room.ask(&token).is_ok());
        room.clients.change("a", change);
        assert_eq!(room.ask(&token), Err((Code::TokenRevoked, 401)));
    }
    let room = room();
    let token = room.issue("system/Binary.r");
    room.clients.clients.lock().unwrap().clear();
    assert_eq!(room.ask(&token), Err((Code::TokenRevoked, 401)));
}

#[test]
fn the_network_is_checked_at_every_use() {
    let room = room();
    let token = room.issue("system/Binary.r");
    assert!(room.ask(&token).is_ok());
    room.clients.change("a", |client| client.allow_ip = vec!["198.51.100.0/24".to_owned()]);
    assert_eq!(room.ask(&token), Err((Code::NetworkNotAllowed, 403)));
}

#[test]
fn a_token_of_the_key_before_is_accepted_and_both_are_published() {
    let clock = fakes::clock();
    let (old, new) = (TokenKeys::generate().unwrap(), TokenKeys::generate().unwrap());
    let before = fakes::tokens_with(TokenKeys::from_pkcs8(&old, &[]).unwrap(), fakes::endpoints(), &clock);
    let after = fakes::tokens_with(TokenKeys::from_pkcs8(&new, &[&old]).unwrap(), fakes::endpoints(), &clock);
    let token = before.issue(&fakes::client("a"), "system/Binary.r").unwrap().token;
    let clients = FakeClients::with([fakes::client("a")]);
    assert!(after.principal(token.expose_secret(), clients.as_ref(), PEER).is_ok());
    let set: Value = serde_json::from_str(&after.jwks()).unwrap();
    assert_eq!(set["keys"].as_array().unwrap().len(), 2);
    let debug = format!("{after:?}{:?}", after.issue(&fakes::client("a"), "system/Binary.r"));
    assert!(!debug.contains("eyJ"));
}
