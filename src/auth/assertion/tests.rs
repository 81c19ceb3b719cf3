//! Tests of `assertion`, apart so that both files can be read.

use serde_json::json;

use super::*;
use crate::auth::fakes::{self, FakeClients};
use crate::auth::jwks::{FetchFailed, FetchKeys, Fetched};
use crate::domain::clock::Clock;

fn header() -> Value {
    json!({"alg": "ES384", "typ": "JWT", "kid": fakes::signer().kid()})
}

fn claims() -> Value {
    let now = fakes::clock().now().seconds();
    json!({"iss": "a", "sub": "a", "aud": "https://docs.example/auth/token", "exp": now + 240, "jti": "1"})
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

fn without(mut object: Value, name: &str) -> Value {
    object.as_object_mut().unwrap().remove(name);
    object
}

fn sign(header: &Value, claims: &Value) -> String {
    fakes::signer().sign(header, claims).unwrap()
}

fn read_it(text: &str) -> Result<Stated<'_>, Denied> {
    read(text, None, &fakes::endpoints(), fakes::clock().now())
}

fn case(header: &Value, claims: &Value) -> &'static str {
    let denied = read_it(&sign(header, claims)).unwrap_err();
    assert_eq!((denied.refusal.code(), denied.refusal.status()), (Code::AssertionRefused, 401));
    assert_eq!(denied.refusal.oauth().as_str(), "invalid_client");
    assert!(!denied.refusal.first().message().contains('{'));
    denied.case
}

#[derive(Debug)]
struct Unreachable;

#[async_trait::async_trait]
impl FetchKeys for Unreachable {
    async fn fetch(&self, _: &str) -> Result<Fetched, FetchFailed> {
        Err(FetchFailed("refused".to_owned()))
    }
}

async fn prove_with(text: &str, clients: &FakeClients) -> Result<Proven, Denied> {
    prove(read_it(text).unwrap(), clients, &KeyCache::new(Arc::new(Unreachable), fakes::clock())).await
}

#[tokio::test]
async fn a_good_assertion_proves_its_client() {
    let clients = FakeClients::with([fakes::client("a")]);
    let proven = prove_with(&sign(&header(), &claims()), &clients).await.unwrap();
    assert_eq!((proven.client.id.as_str(), proven.kid.as_str()), ("a", fakes::signer().kid()));
    assert_eq!(proven.until, fakes::clock().now().plus(Duration::from_secs(270)));
    let newer_type = with(header(), "typ", json!("client-authentication+jwt"));
    assert!(read_it(&sign(&newer_type, &claims())).is_ok());
    assert!(read_it(&sign(&without(header(), "typ"), &claims())).is_ok());
    assert!(read_it(&sign(&header(), &with(claims(), "aud", json!("https://docs.example")))).is_ok());
}

#[test]
fn a001_a002_other_algorithms_are_refused() {
    for alg in ["none", "None", "nOnE", "HS256", "HS384", "ES256", "RS256", "PS384", "es384", ""] {
        assert_eq!(case(&with(header(), "alg", json!(alg)), &claims()), "alg", "{alg}");
    }
    assert_eq!(case(&with(header(), "alg", json!(["ES384"])), &claims()), "alg");
    assert_eq!(case(&without(header(), "alg"), &claims()), "alg");
}

#[test]
fn a003_a004_a015_keys_and_extensions_in_the_header_are_refused() {
    for name in ["jwk", "x5c", "x5u", "crit", "b64", "zip", "enc"] {
        assert_eq!(case(&with(header(), name, json!([])), &claims()), name);
    }
}

#[test]
fn a005_a_kid_must_be_a_short_string() {
    assert_eq!(case(&without(header(), "kid"), &claims()), "kid");
    for kid in [json!(1), json!(""), json!("k".repeat(129)), json!(null)] {
        assert_eq!(case(&with(header(), "kid", kid), &claims()), "kid");
    }
}

#[test]
fn a007_times_of_another_type_are_faults_and_not_absent() {
    let wrong = [json!("1"), json!(-1), json!(true), json!(null), json!([]), json!({}), json!(1.5), json!(1e300)];
    for name in ["exp", "nbf", "iat"] {
        for value in &wrong {
            assert_eq!(case(&header(), &with(claims(), name, value.clone())), name, "{value}");
        }
    }
}

#[test]
fn a008_a026_every_claim_is_required() {
    for name in ["iss", "sub", "aud", "exp", "jti"] {
        assert_eq!(case(&header(), &without(claims(), name)), name);
    }
    assert_eq!(case(&header(), &with(claims(), "sub", json!("b"))), "sub");
    for jti in [json!(""), json!(7), json!("j".repeat(257))] {
        assert_eq!(case(&header(), &with(claims(), "jti", jti)), "jti");
    }
}

#[test]
fn a009_a026_times_have_their_bounds() {
    let now = fakes::clock().now().seconds();
    let at = |name: &str, offset: i64| {
        read_it(&sign(&header(), &with(claims(), name, json!(now + offset)))).err().map(|d| d.case)
    };
    assert_eq!((at("exp", -29), at("exp", -30)), (None, Some("exp")));
    assert_eq!((at("exp", 330), at("exp", 331)), (None, Some("exp")));
    for name in ["nbf", "iat"] {
        assert_eq!((at(name, 30), at(name, 31)), (None, Some(name)));
    }
}

#[test]
fn a010_a027_the_audience_is_one_exact_text() {
    for aud in [
        json!(["https://docs.example/auth/token"]),
        json!(["https://docs.example/auth/token", "https://other.example"]),
        json!("https://other.example/auth/token"),
        json!("https://docs.example/auth/token/"),
        json!("https://docs.example/auth"),
        json!("HTTPS://docs.example/auth/token"),
        json!({}),
    ] {
        assert_eq!(case(&header(), &with(claims(), "aud", aud)), "aud");
    }
}

#[test]
fn a012_an_access_token_is_no_assertion() {
    assert_eq!(case(&with(header(), "typ", json!("at+jwt")), &claims()), "typ");
}

#[test]
fn a014_repeated_names_are_refused() {
    let (h, c) = (header().to_string(), claims().to_string());
    let doubled = |text: &str, name: &str| text.replacen('{', &format!("{{\"{name}\":\"a\","), 1);
    for (h, c) in [(doubled(&h, "alg"), c.clone()), (h.clone(), doubled(&c, "sub"))] {
        let text = format!("{}.{}.AAAA", jose::encode(h.as_bytes()), jose::encode(c.as_bytes()));
        assert_eq!(read_it(&text).unwrap_err().case, "form");
    }
}

#[test]
fn a028_the_form_must_name_the_same_client() {
    let text = sign(&header(), &claims());
    let read = |client| read(&text, Some(client), &fakes::endpoints(), fakes::clock().now());
    assert!(read("a").is_ok());
    assert_eq!(read("b").unwrap_err().case, "iss");
}

/// Set C of docs/errors.md: every case, one answer.
#[tokio::test]
async fn set_c_cannot_be_told_apart() {
    let disabled = Client { disabled: true, ..fakes::client("disabled") };
    let uri = "https://partner.example/jwks";
    let remote = Client { keys: ClientKeys::Uri(uri.to_owned()), ..fakes::client("remote") };
    let clients = FakeClients::with([fakes::client("a"), disabled, remote]);
    let of = |id: &str| with(with(claims(), "iss", json!(id)), "sub", json!(id));
    let good = sign(&header(), &claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let swapped = if signature.starts_with('A') { "B" } else { "A" };
    let zero = jose::encode(&[0; 96]);
    let cases = [
        (sign(&header(), &of("nobody")), "client unknown"),
        (sign(&header(), &of("disabled")), "client disabled"),
        (sign(&header(), &of("remote")), "key address not answering"),
        (sign(&with(header(), "kid", json!("../../dev/null")), &claims()), "kid unknown"),
        (sign(&with(header(), "kid", json!("' OR 1=1--")), &claims()), "kid unknown"),
        (sign(&with(header(), "alg", json!("RS384")), &claims()), "kid unknown"),
        (sign(&with(header(), "jku", json!(uri)), &claims()), "jku of a client without key address"),
        (
            sign(&with(header(), "jku", json!("http://169.254.169.254/")), &of("remote")),
            "jku is not the registered one",
        ),
        (format!("{signed}.{swapped}{}", &signature[1..]), "signature wrong"),
        (format!("{signed}.{zero}"), "signature wrong"),
        (format!("{signed}.AAAA"), "signature wrong"),
        (other_key().sign(&header(), &claims()).unwrap(), "signature wrong"),
    ];
    for (text, case) in cases {
        let denied = prove_with(&text, &clients).await.unwrap_err();
        assert_eq!(denied.case, case);
        assert_eq!(denied.refusal, Refusal::of(Code::ClientUnauthenticated), "{case}");
        assert!(denied.client.is_none());
    }
}

fn other_key() -> crate::auth::key_file::KeyFile {
    crate::auth::key_file::KeyFile::generate(fakes::clock().as_ref(), &[]).unwrap()
}
