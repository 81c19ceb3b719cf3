//! Subscriptions over HTTP: who may, what is shown to whom, what is kept secret.

use std::collections::BTreeSet;

use daylily::control::{ClientChange, Request};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::*;

const EVERYTHING: &str = "system/*.cruds";
const SECRET: &str = "Authorization: Bearer canary-7f3a";

/// A server that may call receivers on this machine; nobody listens at the endpoints of these tests.
async fn server() -> TestDaylily {
    TestDaylily::start_with("", |settings| settings.egress.allow = vec!["127.0.0.0/8".parse().unwrap()]).await
}

fn subscription(header: &str) -> Value {
    json!({
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "to import what is ready",
        "criteria": "urn:daylily:fhir/SubscriptionTopic/document-ready",
        "channel": {
            "type": "rest-hook",
            "endpoint": "https://127.0.0.1:44321/hooks",
            "payload": "application/fhir+json",
            "_payload": {"extension": [{
                "url": "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-payload-content",
                "valueCode": "id-only",
            }]},
            "header": [header],
        },
    })
}

async fn delete(actor: &Actor, path: &str) -> Answer {
    Answer::of(actor.request(Method::DELETE, path).await).await
}

fn path(id: &str) -> String {
    format!("Subscription/{id}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_value_is_shown_to_its_writer_once_and_masked_ever_after() {
    let daylily = server().await;
    let owner = daylily.client("ris", EVERYTHING, &["own"]).await;
    let made = owner.post("Subscription", &subscription(SECRET)).await;
    let shown = made.ok(201);
    assert_eq!(shown["status"], "requested");
    assert_eq!(shown["channel"]["header"], json!([SECRET]));
    assert!(made.header("etag").starts_with("W/\"1\""));
    let id = text(&shown, "/id");
    let read = owner.get(&path(&id)).await;
    assert_eq!(read.ok(200)["channel"]["header"], json!(["Authorization: ********"]));
    // What was read is sent back: the value stays, and is not told again.
    let mut back = read.json();
    back["status"] = "off".into();
    let changed = owner.put(&path(&id), &back).await.ok(200);
    assert_eq!((&changed["status"], text(&changed, "/meta/versionId").as_str()), (&json!("off"), "2"));
    // A new host would be given the secret: it has to be sent again.
    back["channel"]["endpoint"] = "https://127.0.0.1:44322/hooks".into();
    assert_eq!(owner.put(&path(&id), &back).await.said(), (422, "channel-header-refused"));
    back["channel"]["header"] = json!([SECRET]);
    owner.put(&path(&id), &back).await.ok(200);
    let files = std::fs::read_dir(daylily.data()).unwrap().filter_map(Result::ok);
    let files: Vec<_> = files.map(|file| file.path()).filter(|path| path.is_file()).collect();
    let rows = |path: &std::path::Path| std::fs::read(path).unwrap();
    let holds = |bytes: &[u8], text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    assert!(files.iter().any(|path| holds(&rows(path), id.as_bytes())), "the database is among them");
    assert!(!files.iter().any(|path| holds(&rows(path), b"canary-7f3a")), "a header value at rest");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_its_owners_alone_and_another_clients_is_not_there() {
    let daylily = server().await;
    let owner = daylily.client("ris", EVERYTHING, &["own"]).await;
    let other = daylily.client("lab", EVERYTHING, &["all"]).await;
    let id = text(&owner.post("Subscription", &subscription("X-Key: 1")).await.ok(201), "/id");
    let mut put = subscription("X-Key: 1");
    put["id"] = id.clone().into();
    for (mine, absent) in [
        (other.get(&path(&id)).await, other.get(&path("none")).await),
        (delete(&other, &path(&id)).await, delete(&other, &path("none")).await),
    ] {
        assert_eq!((mine.said(), absent.said()), ((404, "resource-not-found"), (404, "resource-not-found")));
    }
    let secret = other.post(&format!("{}/$webhook-secret", path(&id)), &parameters(&[])).await;
    assert_eq!(secret.said(), (404, "resource-not-found"));
    assert_eq!(other.put(&path(&id), &put).await.said(), (405, "interaction-unsupported"));
    owner.get(&path(&id)).await.ok(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writing_takes_the_right_to_read_what_it_tells_of() {
    let daylily = server().await;
    let narrow = daylily.client("narrow", "system/Subscription.cruds system/DocumentReference.r", &["own"]).await;
    let refused = narrow.post("Subscription", &subscription("X-Key: 1")).await;
    assert_eq!(refused.said(), (403, "scope-insufficient"));
    let enough = daylily.client("enough", "system/Subscription.c system/DocumentReference.rs", &["own"]).await;
    enough.post("Subscription", &subscription("X-Key: 1")).await.ok(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_deleted_is_gone_for_its_owner_and_its_id_is_not_used_again() {
    let daylily = server().await;
    let owner = daylily.client("ris", EVERYTHING, &["own"]).await;
    let id = text(&owner.post("Subscription", &subscription("X-Key: 1")).await.ok(201), "/id");
    assert_eq!(delete(&owner, &path(&id)).await.status, 204);
    assert_eq!(delete(&owner, &path(&id)).await.status, 204);
    assert_eq!(owner.get(&path(&id)).await.said(), (410, "resource-deleted"));
    let mut put = subscription("X-Key: 1");
    put["id"] = id.clone().into();
    assert_eq!(owner.put(&path(&id), &put).await.said(), (410, "resource-deleted"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_text_of_a_patient_stays_that_only_a_subscription_named() {
    let daylily = server().await;
    let owner = daylily.client("ris", EVERYTHING, &["own"]).await;
    let about = |patient: &str| {
        let mut about = subscription("X-Key: 1");
        about["_criteria"] = json!({"extension": [{
            "url": "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-filter-criteria",
            "valueString": format!("DocumentReference?patient=Patient/{patient}"),
        }]});
        about
    };
    let named = |patient: &str| {
        daylily.stored_rows(&format!("SELECT count(*) AS n FROM target WHERE text = 'Patient/{patient}'"))
    };
    let id = text(&owner.post("Subscription", &about("p8")).await.ok(201), "/id");
    assert_eq!(named("p8"), 1);
    let mut other = about("p9");
    other["id"] = id.clone().into();
    owner.put(&path(&id), &other).await.ok(200);
    assert_eq!((named("p8"), named("p9")), (0, 1));
    assert_eq!(delete(&owner, &path(&id)).await.status, 204);
    assert_eq!(named("p9"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_version_is_refused_and_the_same_key_makes_one_subscription() {
    let daylily = server().await;
    let owner = daylily.client("ris", EVERYTHING, &["own"]).await;
    let post = async |body: &Value| {
        let request = owner.request(Method::POST, "Subscription").await;
        let request = request.header("content-type", "application/fhir+json").header("idempotency-key", "k-1");
        Answer::of(request.body(body.to_string())).await
    };
    let first = post(&subscription(SECRET)).await.ok(201);
    assert_eq!(post(&subscription(SECRET)).await.ok(201)["id"], first["id"]);
    assert_eq!(post(&subscription("X-Other: 1")).await.said(), (422, "idempotency-key-reused"));
    let id = text(&first, "/id");
    let mut put = subscription(SECRET);
    put["id"] = id.clone().into();
    let request = owner.request(Method::PUT, &path(&id)).await.header("if-match", "W/\"7\"");
    let request = request.header("content-type", "application/fhir+json").body(put.to_string());
    assert_eq!(Answer::of(request).await.said(), (412, "version-conflict"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_signing_secret_is_new_shown_once_and_not_kept_on_its_way() {
    use base64::Engine as _;
    let daylily = server().await;
    let owner = daylily.client("ris", EVERYTHING, &["own"]).await;
    let id = text(&owner.post("Subscription", &subscription("X-Key: 1")).await.ok(201), "/id");
    let place = format!("{}/$webhook-secret", path(&id));
    let mut seen = BTreeSet::new();
    for overlap in ["24h", "0s", "7d"] {
        let answer = owner.post(&place, &parameters(&[("overlap", "valueString", overlap.into())])).await;
        let body = answer.ok(200);
        assert_eq!(answer.header("cache-control"), "no-store");
        let secret = text(parameter(&body, "secret"), "/valueString");
        let key = base64::engine::general_purpose::STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        assert_eq!(key.len(), 32);
        assert!(seen.insert(secret));
    }
    for wrong in ["8d", "soon"] {
        let refused = owner.post(&place, &parameters(&[("overlap", "valueString", wrong.into())])).await;
        assert_eq!(refused.said(), (400, "parameter-malformed"), "{wrong}");
    }
    assert!(!owner.get(&path(&id)).await.text().contains("whsec_"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_may_not_be_called_and_a_flood_of_handshakes_are_refused() {
    let daylily = TestDaylily::start().await;
    let owner = daylily.client("ris", EVERYTHING, &["own"]).await;
    let mut texts = BTreeSet::new();
    for endpoint in ["https://10.0.0.5/x", "https://169.254.169.254/x", "https://no-such-name.invalid/x"] {
        let mut body = subscription("X-Key: 1");
        body["channel"]["endpoint"] = endpoint.into();
        let refused = owner.post("Subscription", &body).await;
        assert_eq!(refused.said(), (422, "endpoint-refused"), "{endpoint}");
        texts.insert(refused.json()["issue"][0]["details"].to_string());
    }
    assert_eq!(texts.len(), 1, "one text for every reason: {texts:?}");
    let mut last = (0, String::new());
    for _ in 0..8 {
        let answer = owner.post("Subscription", &subscription("X-Key: 1")).await;
        last = (answer.status, answer.code().to_owned());
    }
    assert_eq!(last, (429, "rate-limited".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_read_at_the_base_and_named_by_the_capability_statement() {
    let daylily = server().await;
    let metadata = daylily.get(&format!("{}/fhir/metadata", daylily.base())).await.ok(200);
    let resources = metadata["rest"][0]["resource"].as_array().unwrap();
    let entry = resources.iter().find(|one| one["type"] == "Subscription").unwrap();
    let topics = entry["extension"].as_array().unwrap();
    assert_eq!(topics.len(), 4);
    for topic in topics {
        let url = topic["valueCanonical"].as_str().unwrap();
        let name = url.rsplit('/').next().unwrap();
        let one = daylily.get(&format!("{}/fhir/Basic/{name}", daylily.base())).await.ok(200);
        let found = daylily.get(&format!("{}/fhir/Basic?url={url}", daylily.base())).await.ok(200);
        assert_eq!((&found["total"], &found["entry"][0]["resource"]), (&json!(1), &one));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_clients_subscriptions_go_off_and_enabling_does_not_bring_them_back() {
    let daylily = server().await;
    let owner = daylily.client("ris", EVERYTHING, &["own"]).await;
    let id = text(&owner.post("Subscription", &subscription("X-Key: 1")).await.ok(201), "/id");
    for change in [ClientChange::Disable, ClientChange::Enable] {
        daylily.command(Request::ClientChange { id: "ris".to_owned(), change }).await.unwrap();
    }
    // The tokens of before do not come back either.
    let token = text(&owner.ask_token(&owner.assertion(), EVERYTHING).await.ok(200), "/access_token");
    let url = format!("{}/fhir/{}", daylily.base(), path(&id));
    assert_eq!(Answer::of(daylily.http.get(url).bearer_auth(token)).await.ok(200)["status"], "off");
}
