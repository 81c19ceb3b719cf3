//! Attacks on who sees what that are one request each (threats A064–A094, as far as their subject exists): beside the answer,
//! that nothing was learnt or changed, and that the log has what was refused.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::*;

/// A server with a document of `source` and a stranger who has every scope and no reach.
struct Rig {
    daylily: TestDaylily,
    source: Actor,
    stranger: Actor,
    id: String,
    absent: String,
}

impl Rig {
    async fn new() -> Self {
        let daylily = TestDaylily::start().await;
        let source = daylily.source().await;
        let stranger = daylily.client("stranger", FULL, &["own"]).await;
        let mut body = document("p1", &[inline("application/pdf", &pdf(1, 100))]);
        body["description"] = json!("MARK");
        body["identifier"] = json!([{ "system": "urn:x", "value": "one" }]);
        let id = daylily.ready(&source, &body).await;
        source
            .put("Patient/p1", &json!({ "resourceType": "Patient", "id": "p1", "name": [{ "family": "MARK" }] }))
            .await
            .ok(201);
        let absent = id.chars().rev().collect();
        Self { daylily, source, stranger, id, absent }
    }

    /// Sends the same to what is another's and to what is not there; answers what both were told.
    async fn alike(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Answer {
        let mut answers = Vec::new();
        for id in [&self.id, &self.absent] {
            let method: Method = method.parse().unwrap();
            let mut request =
                self.stranger.request(method, &path.replace("{id}", id)).await.header("X-Request-Id", "same");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            if let Some(body) = body {
                let body = body.to_string().replace("{id}", id);
                request = request.header("Content-Type", "application/fhir+json").body(body);
            }
            answers.push(Answer::of(request).await);
        }
        let said = |answer: &Answer, id: &str| {
            let headers = answer.headers.iter().filter(|(name, _)| *name != "date");
            let mut headers: Vec<_> =
                headers.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
            // The framework keeps them in a table that is shuffled anew for each answer.
            headers.sort();
            (answer.status, headers, answer.text().replace(id, "{id}"))
        };
        assert_eq!(said(&answers[0], &self.id), said(&answers[1], &self.absent), "{method} {path} {headers:?}");
        answers.remove(0)
    }
}

fn nothing_of(answer: &Answer) {
    assert!(!answer.text().contains("MARK"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a064_a087_every_type_and_operation_that_is_published_and_many_that_are_not() {
    let rig = Rig::new().await;
    let metadata = rig.daylily.get("/fhir/metadata").await.ok(200);
    let types: Vec<String> =
        metadata["rest"][0]["resource"].as_array().unwrap().iter().map(|resource| text(resource, "/type")).collect();
    assert!(types.len() > 5, "{types:?}");
    let more = ["Observation", "Composition", "AuditEvent", "Group", "List", "Bundle", "Parameters"].map(str::to_owned);
    for name in types.iter().chain(&more) {
        for path in [
            name.clone(),
            format!("{name}?_count=1000"),
            format!("{name}/{}", rig.id),
            format!("{name}/p1"),
            format!("{name}/{}/_history", rig.id),
            format!("{name}/{}/_history/1", rig.id),
            format!("{name}/_history"),
            format!("{name}/{}/$everything", rig.id),
            format!("{name}/p1/$everything"),
            format!("{name}/$export"),
            format!("{name}/$docref?patient=p1"),
            format!("{name}/$validate"),
            format!("{name}/{}/$graphql?query=x", rig.id),
        ] {
            let answer = rig.stranger.get(&path).await;
            nothing_of(&answer);
            assert!(answer.status < 500, "{path}: {}", answer.text());
            if answer.status == 200 && name == "DocumentReference" {
                assert_eq!(answer.json()["total"], 0, "{path}");
            }
            assert!(answer.status != 200 || !path.contains('$'), "{path}");
        }
    }
    for path in ["", "_history", "$export", "$graphql?query=x", "?_type=DocumentReference", "$everything"] {
        let answer = rig.stranger.get(path).await;
        nothing_of(&answer);
        assert!(matches!(answer.status, 400..=405), "{path}: {}", answer.status);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a065_a078_conditions_and_versions_of_anothers_are_404() {
    let rig = Rig::new().await;
    for path in ["DocumentReference/{id}", "DocumentReference/{id}/$lifecycle", "Binary/{id}"] {
        for headers in [
            &[("If-None-Match", "W/\"1\"")][..],
            &[("If-None-Match", "*")],
            &[("If-Modified-Since", "Wed, 24 Nov 2100 00:00:00 GMT")],
            &[("If-Match", "W/\"9\"")],
            &[("Range", "bytes=0-1")],
            &[("Accept", "*/*")],
            &[("Accept-Encoding", "gzip")],
        ] {
            for method in ["GET", "HEAD"] {
                assert_eq!(rig.alike(method, path, headers, None).await.status, 404, "{method} {path} {headers:?}");
            }
        }
    }
    for path in ["DocumentReference/{id}/_history", "DocumentReference/{id}/_history/1"] {
        let refused = rig.alike("GET", path, &[], None).await;
        assert!(matches!(refused.status, 404 | 405), "{path}: {}", refused.status);
    }
    let size = rig.daylily.log_size().await;
    rig.alike("GET", "DocumentReference/{id}", &[("If-None-Match", "W/\"1\"")], None).await;
    let log = rig.daylily.log_since(size).await;
    assert_eq!(log.iter().filter(|entry| entry.what() == "document.read denied").count(), 2, "one of each, alike");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a076_a077_conditional_writes_say_nothing_of_what_is_anothers() {
    let rig = Rig::new().await;
    let body = document("p9", &[inline("application/pdf", &pdf(5, 100))]);
    let mut answers = Vec::new();
    for condition in ["identifier=urn:x|one", "identifier=urn:x|never"] {
        let request = rig.stranger.request(Method::POST, "DocumentReference").await;
        let request = request.header("If-None-Exist", condition).header("Content-Type", "application/fhir+json");
        answers.push(Answer::of(request.body(body.to_string())).await);
    }
    assert_eq!(answers[0].said(), answers[1].said());
    for (method, path) in [
        ("PUT", "DocumentReference?identifier=urn:x|one"),
        ("DELETE", "DocumentReference?identifier=urn:x|one"),
        ("PATCH", "DocumentReference?identifier=urn:x|one"),
        ("PUT", "Patient?_id=p1"),
        ("DELETE", "Patient?_id=p1"),
    ] {
        let mut said = Vec::new();
        for path in [path.to_owned(), path.replace("one", "never").replace("p1", "never")] {
            let request = rig.stranger.request(method.parse().unwrap(), &path).await;
            let answer = Answer::of(
                request.header("X-Request-Id", "same").header("Content-Type", "application/fhir+json").body("{}"),
            )
            .await;
            assert_eq!(answer.status, 405, "{method} {path}");
            said.push(answer.bytes);
        }
        assert_eq!(said[0], said[1], "{method} {path}");
    }
    rig.source.get(&format!("DocumentReference/{}", rig.id)).await.ok(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a079_a080_ids_and_server_fields_are_not_the_callers() {
    let rig = Rig::new().await;
    let mut body = document("p1", &[inline("application/pdf", &pdf(6, 100))]);
    body["id"] = json!("{id}");
    for method in ["PUT", "PATCH", "DELETE"] {
        let refused = rig.alike(method, "DocumentReference/{id}", &[], Some(&body)).await;
        assert_eq!(refused.status, 405, "{method}: {}", refused.text());
    }
    let theirs = json!({ "resourceType": "Patient", "id": "p1", "name": [{ "family": "Mallory" }] });
    assert_eq!(rig.stranger.put("Patient/p1", &theirs).await.said(), (404, "resource-not-found"));
    let read = rig.source.get("Patient/p1").await.ok(200);
    assert_eq!(read["name"][0]["family"], "MARK", "nobody else's words");
    // What the server says of a resource, a sender cannot say: id, version, time.
    let mut body = document("p2", &[inline("application/pdf", &pdf(7, 100))]);
    body["id"] = json!(rig.id);
    body["meta"] = json!({ "versionId": "77", "lastUpdated": "1999-01-01T00:00:00Z" });
    let answer = rig.source.post("DocumentReference", &body).await;
    if answer.status == 201 {
        let made = answer.json();
        assert_ne!(made["id"], json!(rig.id));
        assert_ne!(made["meta"]["versionId"], "77");
        assert!(!text(&made, "/meta/lastUpdated").starts_with("1999"));
    } else {
        assert!(matches!(answer.status, 400 | 422), "{}", answer.text());
    }
    assert_eq!(rig.source.get(&format!("DocumentReference/{}", rig.id)).await.ok(200)["description"], "MARK");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a081_a_document_that_points_at_anothers_opens_nothing() {
    let rig = Rig::new().await;
    let unclaimed = text(&rig.source.upload("application/pdf", &pdf(8, 100)).await.ok(201), "/id");
    let link = rig.daylily.link(&rig.source, &rig.id).await;
    for url in [format!("Binary/{unclaimed}"), "Binary/none".to_owned(), link] {
        let refused = rig.stranger.post("DocumentReference", &document("p1", &[named("application/pdf", &url)])).await;
        assert!(matches!(refused.status, 422 | 400 | 404), "{url}: {} {}", refused.status, refused.text());
        nothing_of(&refused);
    }
    // Naming another's patient is allowed, for data comes in any order; it opens nothing and replaces nothing.
    let own = rig.daylily.ready(&rig.stranger, &document("p1", &[inline("application/pdf", &pdf(9, 100))])).await;
    assert_eq!(rig.stranger.get("Patient/p1").await.said(), (404, "resource-not-found"));
    let found = rig.stranger.get("DocumentReference?patient=p1").await.ok(200);
    assert_eq!((matches(&found), &found["total"]), (vec![own], &json!(1)));
    // The source may still claim its own: nothing was spent by trying.
    let claimed = document("p1", &[named("application/pdf", &format!("Binary/{unclaimed}"))]);
    rig.source.post("DocumentReference", &claimed).await.ok(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a082_an_attachment_elsewhere_is_refused() {
    let rig = Rig::new().await;
    for url in [
        "file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data",
        "data:text/plain;base64,TUFSSw==",
        "javascript:alert(1)",
        "//evil.example/x",
        "https://evil.example/fhir/Binary/1",
        "ftp://evil.example/x",
        "../Binary/1",
    ] {
        let refused = rig.source.post("DocumentReference", &document("p1", &[named("application/pdf", url)])).await;
        assert_eq!(refused.status, 422, "{url}: {}", refused.text());
        assert!(!refused.text().contains(url), "{url} comes back");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a072_a088_a092_headers_and_spellings_change_nothing_of_who_one_is() {
    let rig = Rig::new().await;
    let base = rig.daylily.base();
    for (subject, found) in [
        (format!("{base}/fhir/Patient/p1"), 1),
        ("Patient/p1".to_owned(), 1),
        ("https://other.example/fhir/Patient/p1".to_owned(), 0),
        (format!("{base}.evil.example/fhir/Patient/p1"), 0),
    ] {
        let answer = rig.source.get(&format!("DocumentReference?subject={subject}")).await.ok(200);
        assert_eq!(answer["total"], found, "{subject}");
        assert_eq!(rig.stranger.get(&format!("DocumentReference?subject={subject}")).await.ok(200)["total"], 0);
    }
    for (name, value) in [
        ("X-Tenant", "source"),
        ("X-Tenant-Id", "source"),
        ("X-User", "source"),
        ("X-Forwarded-User", "source"),
        ("X-Original-URL", "/fhir/DocumentReference"),
        ("X-Rewrite-URL", "/fhir/DocumentReference"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-Method-Override", "PUT"),
    ] {
        let refused = rig.alike("GET", "DocumentReference/{id}", &[(name, value)], None).await;
        assert_eq!(refused.said(), (404, "resource-not-found"), "{name}");
        let request = rig.source.request(Method::GET, &format!("DocumentReference/{}?_method=DELETE", rig.id)).await;
        Answer::of(request.header(name, value)).await.ok(200);
    }
    rig.source.get(&format!("DocumentReference/{}", rig.id)).await.ok(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a091_parameters_of_url_and_form_hold_together() {
    let rig = Rig::new().await;
    let post = async |query: &str, form: &str, media_type: &str| {
        let request = rig.source.request(Method::POST, &format!("DocumentReference/_search?{query}")).await;
        Answer::of(request.header("Content-Type", media_type).body(form.to_owned())).await
    };
    let form = "application/x-www-form-urlencoded";
    assert_eq!(post("patient=p1", "status=current", form).await.ok(200)["total"], 1);
    for (query, body) in
        [("patient=p1", "patient=p2"), ("patient=p2", "patient=p1"), ("status=superseded", "patient=p1")]
    {
        assert_eq!(post(query, body, form).await.ok(200)["total"], 0, "{query} and {body}: both, never one of them");
    }
    assert_eq!(post("", "{\"patient\":\"p1\"}", "application/json").await.status, 415);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a073_a093_values_are_values_and_never_statements() {
    let rig = Rig::new().await;
    let names = [
        "_id",
        "patient",
        "identifier",
        "type",
        "status",
        "_sort",
        "_format",
        "custodian",
        "patient.identifier",
        "_count",
    ];
    let values = [
        "' OR 1=1 --",
        "1) OR (1=1",
        "%",
        "_",
        "%25",
        "p_",
        "\"; DROP TABLE res; --",
        "urn:x|' OR '1'='1",
        "$.a",
        "*",
        "\u{0}",
        "a\u{0}b",
        "\\",
    ];
    for name in names {
        for value in values {
            let query = url::form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
            let answer = rig.stranger.get(&format!("DocumentReference?{query}")).await;
            assert!(
                matches!(answer.status, 200 | 400 | 406 | 422),
                "{name}={value:?}: {} {}",
                answer.status,
                answer.text()
            );
            nothing_of(&answer);
            if answer.status == 200 {
                assert_eq!(answer.json()["total"], 0, "{name}={value:?}");
            }
        }
    }
    for modifier in [
        "patient:not",
        "patient:missing",
        "type:not",
        "type:text",
        "identifier:of-type",
        "subject:identifier",
        "_filter",
        "_content",
        "_text",
        "_has:Observation:patient:code",
        "status:not",
        "_id:not",
    ] {
        for value in ["true", "false", "x", "eq p1"] {
            let query = url::form_urlencoded::Serializer::new(String::new()).append_pair(modifier, value).finish();
            let answer = rig.stranger.get(&format!("DocumentReference?{query}")).await;
            assert!(
                answer.status == 400 || (answer.status == 200 && answer.json()["total"] == 0),
                "{modifier}={value}: {}",
                answer.text()
            );
            nothing_of(&answer);
        }
    }
    rig.source.get(&format!("DocumentReference/{}", rig.id)).await.ok(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a075_a_long_list_of_ids_is_no_oracle() {
    let rig = Rig::new().await;
    let list = [rig.id.as_str(); 3].join(",");
    assert_eq!(rig.stranger.get(&format!("DocumentReference?_id={list}")).await.ok(200)["total"], 0);
    let ids: Vec<String> = (0..600).map(|at| format!("{at}")).collect();
    let request = rig.stranger.request(Method::POST, "DocumentReference/_search").await;
    let form = format!("_id={}", ids.join(","));
    let refused = Answer::of(request.header("Content-Type", "application/x-www-form-urlencoded").body(form)).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a094_without_the_scope_good_and_bad_values_are_one_answer() {
    let rig = Rig::new().await;
    let weak = rig.daylily.client("weak", "system/Encounter.u", &["all"]).await;
    let size = rig.daylily.log_size().await;
    let mut said = Vec::new();
    for query in ["patient=p1", "date=nonsense", "_count=x", "nonsense=1", "_page=x", "_sort=nonsense", ""] {
        let request = weak.request(Method::GET, &format!("DocumentReference?{query}")).await;
        let refused = Answer::of(request.header("X-Request-Id", "same")).await;
        assert_eq!(refused.said(), (403, "scope-insufficient"), "{query}");
        said.push(refused.bytes);
    }
    assert!(said.iter().all(|bytes| *bytes == said[0]));
    let log = rig.daylily.log_since(size).await;
    let refused: Vec<_> = log.iter().filter(|entry| entry.what() == "access.refused denied").collect();
    assert_eq!(refused.len(), said.len(), "refused searches are entries");
    assert!(refused.iter().all(|entry| entry.get("client").is_some_and(|client| client == "weak")));
    assert!(refused.iter().all(|entry| entry.get("code").is_some_and(|code| code == "scope-insufficient")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a097_open_answers_name_no_machine_and_no_parts() {
    let rig = Rig::new().await;
    for path in [
        "/fhir/metadata",
        "/fhir/.well-known/smart-configuration",
        "/auth/jwks",
        "/nothing",
        "/fhir/Nothing",
        "/errors/link-expired",
        "/livez",
    ] {
        let answer = rig.daylily.get(path).await;
        let data = rig.daylily.data().to_str().unwrap();
        let lower = answer.text().to_lowercase();
        for word in ["sqlite", "actix", "diesel", "rustc", "src/", ".rs:", "panicked", data] {
            assert!(!lower.contains(word), "{path} says {word}");
        }
        assert!(!answer.headers.contains_key("server") && !answer.headers.contains_key("x-powered-by"), "{path}");
        if path == "/auth/jwks" {
            let keys = answer.json();
            let private = ["d", "p", "q", "dp", "dq", "qi", "k"];
            assert!(keys["keys"].as_array().unwrap().iter().all(|key| private.iter().all(|name| key[*name].is_null())));
        }
    }
}

/// Implemented once for every type, and once more for those with a default: asking for it is ambiguous, and does not compile, where
/// there is one.
trait WithoutDefault<Marker> {
    fn holds() {}
}
impl<T> WithoutDefault<()> for T {}
impl<T: Default> WithoutDefault<u8> for T {}

fn sources(folder: &std::path::Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
        }
    }
}

/// Rule R1, fail closed: no query without a scope, no scope without somebody whose right was looked at.
#[test]
fn a022_a064_no_query_goes_without_an_access_scope() {
    use daylily::domain::principal::AccessScope;
    <AccessScope as WithoutDefault<_>>::holds();
    let mut found = Vec::new();
    sources(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 100);
    let is_test = |path: &str| path.ends_with("tests.rs") || path.contains("/tests/");
    for (path, text) in found.iter().filter(|(path, _)| !is_test(path)) {
        let text = text.split("#[cfg(test)]").next().unwrap();
        // Asked for or kept; answering that there is none is another thing.
        for left_out in [": Option<&AccessScope>", ": Option<AccessScope>", ": &Option<AccessScope>"] {
            assert!(!text.contains(left_out), "{path}: a scope to leave out");
        }
        // Scopes that need no token: matching of Subscriptions by their owner's registration, and nothing else.
        if text.contains("AccessScope::standing(") {
            let known = ["subscription", "notif", "outbox"];
            assert!(known.iter().any(|known| path.contains(known)), "{path} makes a scope without a token");
        }
    }
    // What the store answers of resources takes one.
    let (_, store) = found.iter().find(|(path, _)| path.ends_with("src/store/mod.rs")).unwrap();
    for call in ["async fn read(", "async fn search(", "async fn put_context("] {
        let signature =
            store.split(call).nth(1).unwrap_or_else(|| panic!("{call} has gone")).split(';').next().unwrap();
        assert!(signature.contains("scope: &AccessScope"), "{call} {signature}");
    }
}
