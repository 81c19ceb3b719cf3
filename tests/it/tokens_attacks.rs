//! Attacks on tokens as the whole server answers them (threats A001–A005, A012–A014, A018, A019, A022, A023, A025, A030, A031), and on a
//! secret given for one host (A098): what is answered, and what of it stands in the audit log.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::*;

/// Entries since then, without the server's own.
async fn entries(daylily: &TestDaylily, size: u64) -> Vec<String> {
    let log = daylily.log_since(size).await;
    log.iter().filter(|entry| entry.action != "audit.heartbeat").map(LogEntry::what).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a018_a_token_in_the_query_or_the_form_is_no_token() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (id, _) = daylily.ready_link(&source, &pdf(1, 100)).await;
    let token = source.token().await;
    for path in [
        format!("/fhir/DocumentReference/{id}?access_token={token}"),
        format!("/fhir/DocumentReference?access_token={token}&patient=p1"),
    ] {
        let refused = daylily.get(&path).await;
        assert_eq!(refused.status, 401, "{}", refused.text());
        assert!(refused.header("www-authenticate").starts_with("Bearer"));
        assert!(!refused.text().contains(&token) && !refused.text().contains("18842-5"));
    }
    let form = format!("patient=p1&access_token={token}");
    let request = daylily.http.post(format!("{}/fhir/DocumentReference/_search", daylily.base()));
    let refused = Answer::of(request.header("Content-Type", "application/x-www-form-urlencoded").body(form)).await;
    assert_eq!(refused.status, 401);
    assert!(!refused.text().contains(&token));
    // A cookie is nothing here either (A019).
    let request = daylily.http.get(format!("{}/fhir/DocumentReference/{id}", daylily.base()));
    assert_eq!(
        Answer::of(request.header("Cookie", format!("access_token={token}"))).await.said(),
        (401, "token-missing")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a019_two_authorization_headers_are_none() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let other = daylily.client("other", FULL, &["all"]).await;
    let (id, _) = daylily.ready_link(&source, &pdf(1, 100)).await;
    let (good, bad) = (source.token().await, other.token().await);
    for pair in [[good.as_str(), bad.as_str()], [bad.as_str(), good.as_str()], [good.as_str(), good.as_str()]] {
        let request = daylily.http.get(format!("{}/fhir/DocumentReference/{id}", daylily.base()));
        let refused = Answer::of(request.bearer_auth(pair[0]).bearer_auth(pair[1])).await;
        assert_eq!(refused.said(), (400, "credentials-misplaced"), "{}", refused.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a022_a023_a_patients_scope_gives_a_backend_nothing_and_the_log_says_who_tried() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let size = daylily.log_size().await;
    let tricks = [
        "patient/*.rs",
        "user/*.rs",
        "system/*.*.*",
        "system/Document*.r",
        "system/DocumentReference.r\t",
        "launch/patient",
    ];
    for scope in tricks {
        let refused = source.ask_token(&source.assertion(), scope).await;
        assert_eq!((refused.status, refused.json()["error"].as_str()), (400, Some("invalid_scope")), "{scope}");
        assert_eq!(refused.header("cache-control"), "no-store");
    }
    let log = daylily.log_since(size).await;
    let refusals: Vec<_> = log.iter().filter(|entry| entry.what() == "token.refuse denied").collect();
    assert_eq!(refusals.len(), tricks.len(), "{:?}", entries(&daylily, size).await);
    assert!(refusals.iter().all(|entry| entry.get("client").is_some_and(|client| client == "source")));
    assert!(refusals.iter().all(|entry| entry.get("code").is_some_and(|code| code == "scope-unsupported")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a025_every_replay_of_an_assertion_is_in_the_log() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let assertion = source.assertion();
    let size = daylily.log_size().await;
    let tries = (0..20).map(|_| source.ask_token(&assertion, FULL));
    let answers = futures_util::future::join_all(tries).await;
    let (granted, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!((granted.len(), refused.len()), (1, 19));
    assert!(refused.iter().all(|answer| answer.status == 401 && answer.json()["error"] == "invalid_client"));
    let log = entries(&daylily, size).await;
    assert_eq!(log.iter().filter(|what| *what == "token.grant ok").count(), 1, "{log:?}");
    assert_eq!(log.iter().filter(|what| *what == "token.refuse denied").count(), 19, "{log:?}");
    daylily.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a030_there_is_no_oracle_for_tokens() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let token = source.token().await;
    for path in ["/auth/introspect", "/auth/userinfo", "/auth/revoke"] {
        let mut answers = Vec::new();
        for body in [format!("token={token}"), "token=none".to_owned()] {
            let request = daylily.http.post(format!("{}{path}", daylily.base())).header("X-Request-Id", "same");
            let request = request.header("Content-Type", "application/x-www-form-urlencoded");
            let answer = Answer::of(request.body(body)).await;
            assert_eq!(answer.status, 404, "{path}");
            answers.push(answer.bytes);
        }
        assert_eq!(answers[0], answers[1], "{path}");
    }
    let refused = Answer::of(daylily.http.request(Method::GET, format!("{}/auth/token", daylily.base()))).await;
    assert_eq!((refused.status, refused.header("allow")), (405, "POST"));
}

/// RUSTSEC-2023-0071: no private-key operation of RSA by code that is not constant in time.
#[test]
fn a031_the_rsa_crate_is_not_in_the_program_and_cannot_come_in() {
    let root = env!("CARGO_MANIFEST_DIR");
    let lock = std::fs::read_to_string(format!("{root}/Cargo.lock")).unwrap();
    assert!(!lock.contains("\nname = \"rsa\"\n"));
    let deny = std::fs::read_to_string(format!("{root}/deny.toml")).unwrap();
    assert!(deny.contains("name = \"rsa\"") || deny.contains("crate = \"rsa\""), "deny.toml must ban it");
}

/// A secret header goes to the exact scheme, host and port that it was given for (prefix matches: CVE-2026-34359, CVE-2026-34361).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a098_a_secret_for_one_host_does_not_go_to_one_that_looks_like_it() {
    let allow = "127.0.0.0/8".parse().unwrap();
    let daylily = TestDaylily::start_with("", |settings| settings.egress.allow = vec![allow]).await;
    let source = daylily.source().await;
    let subscription = json!({
        "resourceType": "Subscription", "status": "requested", "reason": "import",
        "criteria": "urn:daylily:fhir/SubscriptionTopic/document-ready",
        "channel": {
            "type": "rest-hook", "endpoint": "https://127.0.0.1:44321/hooks", "payload": "application/fhir+json",
            "_payload": { "extension": [{
                "url": "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-payload-content",
                "valueCode": "id-only",
            }] },
            "header": ["Authorization: Bearer secret"],
        },
    });
    let id = text(&source.post("Subscription", &subscription).await.ok(201), "/id");
    let path = format!("Subscription/{id}");
    let mut back = source.get(&path).await.ok(200);
    assert_eq!(back["channel"]["header"], json!(["Authorization: ********"]), "what is sent back is the mask");
    back["status"] = json!("off");
    for endpoint in [
        "https://127.0.0.1:443/hooks",
        "https://127.0.0.1:4432/hooks",
        "https://127.0.0.10:44321/hooks",
        "https://127.0.0.2:44321/hooks",
    ] {
        back["channel"]["endpoint"] = json!(endpoint);
        assert_eq!(source.put(&path, &back).await.said(), (422, "channel-header-refused"), "{endpoint}");
    }
    for endpoint in [
        "https://127.0.0.1.evil.example:44321/hooks",
        "https://127.0.0.1:44321@evil.example/hooks",
        "http://127.0.0.1:44321/hooks",
    ] {
        back["channel"]["endpoint"] = json!(endpoint);
        let refused = source.put(&path, &back).await;
        assert_eq!(refused.status, 422, "{endpoint}: {}", refused.text());
    }
    back["channel"]["endpoint"] = json!("https://127.0.0.1:44321/elsewhere");
    source.put(&path, &back).await.ok(200);
}

/// A token put together by hand: any header, any claims, any signature.
fn token_of(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let signed = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
    let signature = sign(signed.as_bytes());
    format!("{signed}.{}", encode(&signature))
}

fn part(token: &str, at: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(at).unwrap()).unwrap()).unwrap()
}

/// Forgeries that a verifier takes which trusts the header, reads keys out of it, or takes one kind of token for another. Each has
/// the claims of a token that is good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a001_a002_a003_a004_a005_a012_a013_a014_forged_tokens_are_one_refusal_and_fetch_nothing() {
    let daylily =
        TestDaylily::start_with("", |settings| settings.egress.allow = vec!["127.0.0.0/8".parse().unwrap()]).await;
    let source = daylily.source().await;
    let (id, link) = daylily.ready_link(&source, &pdf(1, 100)).await;
    let canary = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let elsewhere = format!("http://{}/keys", canary.local_addr().unwrap());
    let good = source.token().await;
    let (header, claims) = (part(&good, 0), part(&good, 1));
    let with = |name: &str, value: Value| {
        let mut header = header.clone();
        header[name] = value;
        header
    };
    let mut forged = Vec::new();
    for none in ["none", "None", "nOnE", "NONE", ""] {
        forged.push(token_of(&with("alg", json!(none)), &claims, |_| Vec::new()));
        forged.push(token_of(&with("alg", json!(none)), &claims, |_| b"x".to_vec()));
    }
    // The public key as a secret, in the spellings in which a program may have it at hand.
    let keys = daylily.get("/auth/jwks").await;
    let key = keys.json()["keys"][0].clone();
    let coordinate = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
    let point = [vec![4], coordinate("x"), coordinate("y")].concat();
    for secret in [key.to_string().into_bytes(), keys.bytes.clone(), point, coordinate("x"), Vec::new()] {
        let hmac = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let sign = |text: &[u8]| hmac::sign(&hmac, text).as_ref().to_vec();
        forged.push(token_of(&with("alg", json!("HS256")), &claims, sign));
    }
    // Signed by somebody's own key that the header brings along or points at.
    let own = serde_json::from_str::<Value>(&source.key.public_set()).unwrap()["keys"][0].clone();
    for (name, value) in
        [("jwk", own.clone()), ("jku", json!(elsewhere)), ("x5u", json!(elsewhere)), ("kid", own["kid"].clone())]
    {
        let mut bent = with(name, value);
        bent["alg"] = own["alg"].clone();
        forged.push(source.key.sign(&bent, &claims).unwrap());
    }
    for kid in ["../../dev/null", "' OR 1=1--", "\u{0}", &"k".repeat(65_536), elsewhere.as_str()] {
        forged.push(token_of(&with("kid", json!(kid)), &claims, |_| vec![0; 64]));
    }
    // Of another kind: a client's assertion, a link, encrypted, a member twice.
    forged.push(source.assertion());
    forged.push(link.rsplit('/').next().unwrap().to_owned());
    let bomb =
        json!({ "alg": "PBES2-HS512+A256KW", "enc": "A256GCM", "zip": "DEF", "p2c": 2_147_483_647, "p2s": "AAAA" });
    forged.push(format!("{}.AAAA.AAAA.AAAA.AAAA", URL_SAFE_NO_PAD.encode(bomb.to_string())));
    let twice = format!("{{\"alg\":\"none\",{}", header.to_string().trim_start_matches('{'));
    let (_, rest) = good.split_once('.').unwrap();
    forged.push(format!("{}.{rest}", URL_SAFE_NO_PAD.encode(twice)));
    let mut told = Vec::new();
    for token in &forged {
        let request = daylily.http.get(format!("{}/fhir/DocumentReference/{id}", daylily.base()));
        let answer = Answer::of(request.header("X-Request-Id", "same").bearer_auth(token)).await;
        // What does not fit into a head is refused before anybody reads it.
        if token.len() > 32 * 1024 {
            assert_eq!(answer.status, 431);
            continue;
        }
        assert_eq!(answer.said(), (401, "token-invalid"), "{token}");
        assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""));
        told.push(answer.bytes);
    }
    assert!(told.len() > 20 && told.iter().all(|bytes| *bytes == told[0]), "which it was is told to nobody");
    // The other way round: an access token is no assertion and no link.
    let refused = source.ask_token(&good, FULL).await;
    assert_eq!((refused.status, refused.json()["error"].as_str()), (401, Some("invalid_client")));
    assert_eq!(daylily.get(&format!("/d/{good}")).await.status, 403);
    // An assertion that names its own key set (A004).
    let mut claims = part(&source.assertion(), 1);
    claims["jti"] = json!("another");
    let bent = json!({ "alg": own["alg"], "kid": own["kid"], "typ": "JWT", "jku": elsewhere });
    let refused = source.ask_token(&source.key.sign(&bent, &claims).unwrap(), FULL).await;
    assert_eq!((refused.status, refused.json()["error"].as_str()), (401, Some("invalid_client")));
    let came = tokio::time::timeout(std::time::Duration::ZERO, canary.accept()).await;
    assert!(came.is_err(), "nothing was fetched");
    let request = daylily.http.get(format!("{}/fhir/DocumentReference/{id}", daylily.base()));
    assert_eq!(Answer::of(request.bearer_auth(&good)).await.status, 200, "the token that all are made from is good");
}
