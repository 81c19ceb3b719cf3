//! Every kind of answer: shape, status and headers, over the real routes and layers.

use std::path::Path;
use std::sync::Arc;

use actix_web::body::BoxBody;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::header::HeaderMap;
use actix_web::test::{TestRequest, init_service, read_body};
use async_trait::async_trait;
use bytes::Bytes;

use crate::config::{BaseUrl, Settings};
use crate::domain::clock::{Entropy, Timestamp};
use crate::domain::holder::Holder;
use crate::domain::id::{ClientId, FileId, RequestId, ResourceId};
use crate::domain::principal::{AttachmentUrl, ClientNumber, Interaction, Permissions, Principal, Reach};
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::domain::resource::{FileFacts, Kind};
use crate::http::ports::*;
use crate::http::server::{HttpParts, application, shared};
use crate::shares::Places;
use crate::telemetry::Metrics;

const BYTES: &[u8] = b"%PDF-1.7 twenty bytes";

#[derive(Debug)]
struct Fixed;

impl Entropy for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

#[derive(Debug)]
struct OneFile;

#[derive(Debug)]
struct Held(Option<Bytes>);

#[async_trait(?Send)]
impl OpenBytes for Held {
    async fn as_resource(self: Box<Self>) -> Result<String, Refusal> {
        Ok("{\"resourceType\":\"Binary\"}".to_owned())
    }

    async fn begin(self: Box<Self>, asked: Asked, _: Option<Arc<dyn Line>>) -> Result<Box<dyn Pieces>, Refusal> {
        let range = usize::try_from(asked.range.start).unwrap()..usize::try_from(asked.range.end).unwrap();
        Ok(Box::new(Held(Some(Bytes::from_static(&BYTES[range])))))
    }

    async fn unchanged(self: Box<Self>) -> Result<(), Refusal> {
        Ok(())
    }

    async fn decline(self: Box<Self>, refusal: Refusal) -> Refusal {
        refusal
    }
}

impl Pieces for Held {
    fn poll_piece(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<Option<Bytes>, Code>> {
        std::task::Poll::Ready(Ok(self.0.take()))
    }

    fn acknowledged(&mut self) {}

    fn is_last(&self) -> bool {
        false
    }

    fn settle(self: Box<Self>, _: Arrival) {}
}

fn file() -> OpenFile {
    let facts = FileFacts {
        file: FileId::from_bytes([1; 16]),
        content: 0,
        media_type: "application/pdf".to_owned(),
        size: u64::try_from(BYTES.len()).unwrap(),
        sha256: [0; 32],
        sha1: [0; 20],
        wrapped_key: None,
        is_inline: true,
        title: Some("Brief für \"Ärztin\"".to_owned()),
        created: Timestamp::parse("1994-11-06T08:49:37Z").unwrap(),
        owner: ClientNumber(1),
        document: None,
    };
    OpenFile {
        facts: Arc::new(facts),
        link: None,
        holder: Holder::Client(ClientNumber(1)),
        file_name: None,
        counted: false,
        security_context: None,
        content: Box::new(Held(None)),
    }
}

fn written(kind: Kind) -> Written {
    let id = ResourceId::parse("new").unwrap();
    let resource = ResourceText {
        kind,
        id,
        version: 1,
        updated: Timestamp::default(),
        text: "{\"a\":1.00}".to_owned(),
        memory: None,
    };
    Written { resource, created: true, outcome: "{\"resourceType\":\"OperationOutcome\"}".to_owned() }
}

#[async_trait(?Send)]
impl Documents for OneFile {
    async fn create(&self, _: &Caller, kind: Kind, _: &Bytes, _: Option<&str>) -> Result<Written, Refusal> {
        Ok(written(kind))
    }
    async fn put(&self, _: &Caller, kind: Kind, _: &ResourceId, _: &Bytes, _: Option<u32>) -> Result<Written, Refusal> {
        Ok(written(kind))
    }
    async fn read(&self, caller: &Caller, kind: Kind, _: &ResourceId, _: &Places) -> Result<ResourceText, Refusal> {
        caller.principal.may(Interaction::Read, kind)?;
        Ok(written(kind).resource)
    }
    async fn search(
        &self,
        _: &Caller,
        _: Kind,
        parameters: Vec<(String, String)>,
        strict: bool,
        _: &Places,
    ) -> Result<HeldText, Refusal> {
        assert!(strict);
        Ok(serde_json::to_string(&parameters).unwrap().into())
    }
    async fn operate(
        &self,
        _: &Caller,
        _: &ResourceId,
        _: Operation,
        _: OperationInput<'_>,
        _: &Places,
    ) -> Result<HeldText, Refusal> {
        panic!("a defect");
    }
    async fn delete_subscription(&self, _: &Caller, _: &ResourceId) -> Result<(), Refusal> {
        Err(Code::ResourceNotFound.into())
    }
    async fn webhook_secret(&self, _: &Caller, _: &ResourceId, _: &Bytes) -> Result<String, Refusal> {
        Err(Code::ResourceNotFound.into())
    }
    async fn upload(&self, _: &Caller, head: NewUpload, body: &mut dyn RawBody) -> Result<Written, Refusal> {
        assert_eq!(head.media_type, "application/pdf");
        while body.next().await?.is_some() {}
        Ok(written(Kind::Binary))
    }
    async fn confirm_link(&self, _: Download) -> Result<ConfirmedLink, Refusal> {
        Err(Code::LinkInvalid.into())
    }
    async fn decline_prefetch(&self, request: Download) -> Refusal {
        if request.token == "good" { Code::LinkPrefetch.into() } else { Code::LinkInvalid.into() }
    }
    async fn decline_method(&self, request: Download) -> Result<bool, Refusal> {
        Ok(request.token == "confirm")
    }
    async fn open_link(&self, request: Download) -> Result<Followed, Refusal> {
        match &*request.token {
            "good" => Ok(Followed::File(file())),
            "late" => Err(Issue::new(Code::LinkExpired).fill("when", Timestamp::default()).into()),
            _ => Err(Code::LinkInvalid.into()),
        }
    }
    async fn open_handle(&self, _: &Caller, _: FileId, _: bool) -> Result<OpenFile, Refusal> {
        Ok(file())
    }
    async fn ready(&self) -> Result<Option<&'static str>, &'static str> {
        Err("store")
    }
    fn largest_file(&self) -> u64 {
        1_000
    }

    fn metadata(&self) -> String {
        "{\"resourceType\":\"CapabilityStatement\"}".to_owned()
    }
    fn definition(&self, _: &str, _: &str) -> Option<String> {
        None
    }
    fn definitions(&self, _: &str, _: Option<&str>) -> Option<String> {
        Some("{}".to_owned())
    }
    fn outcome(&self, refusal: &Refusal, request: &RequestId) -> String {
        crate::fhir::outcome::of_refusal(refusal, request)
    }
}

#[async_trait(?Send)]
impl Gate for OneFile {
    fn principal(&self, authorization: &[&[u8]], _: std::net::IpAddr) -> Result<Arc<Principal>, Denied> {
        if authorization != [b"Bearer good"] {
            let issue = Issue::new(Code::TokenMissing).fill("token-endpoint", "https://docs.example/auth/token");
            return Err(Denied { refusal: issue.into(), case: "no header", client: None });
        }
        let mut permissions = Permissions::default();
        permissions.grant(Kind::DocumentReference, Interaction::Read);
        Ok(Arc::new(Principal {
            client: ClientId::parse("ehr").unwrap(),
            number: ClientNumber(1),
            reach: Reach::default(),
            permissions,
            attachment_url: AttachmentUrl::Link,
        }))
    }
    async fn token(&self, _: TokenForm<'_>) -> Result<String, Denied> {
        let issue = Issue::new(Code::AssertionRefused).fill("claim", "exp").fill("fault", "is \"past\"\\");
        let issue = issue.fill("token-endpoint", "https://docs.example/auth/token");
        Err(Denied { refusal: issue.into(), case: "past", client: None })
    }
    fn jwks(&self) -> String {
        "{\"keys\":[]}".to_owned()
    }
    fn smart_configuration(&self) -> String {
        "{}".to_owned()
    }
    fn authorization_server(&self) -> String {
        "{}".to_owned()
    }
}

pub(super) struct Seen {
    pub(super) status: u16,
    headers: HeaderMap,
    pub(super) body: String,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub(super) fn parts() -> HttpParts {
    let mut settings = Settings::default_for_data_dir(Path::new("x"));
    settings.limits.json_body = 1000;
    let clock = super::clock();
    HttpParts {
        probes: Arc::new(crate::http::Probes::new(clock.clone(), Arc::new(Fixed))),
        documents: Arc::new(OneFile),
        gate: Arc::new(OneFile),
        settings: Arc::new(settings),
        base_url: BaseUrl::parse("https://docs.example").unwrap(),
        metrics: Metrics::install().unwrap(),
        refusals: Arc::new(crate::http::Refusals::new(clock.clone(), 100, 100)),
        clock,
        entropy: Arc::new(Fixed),
    }
}

/// The patterns of all routes, as the framework's own table has them.
pub(super) async fn route_patterns() -> Vec<String> {
    let response = served().await.call(get("/livez").to_request()).await.unwrap();
    let table = format!("{:?}", response.request().resource_map());
    let patterns = table.split("patterns: Single(\"").skip(1).filter_map(|rest| rest.split("\")").next());
    patterns.filter(|pattern| pattern.starts_with('/')).map(|pattern| pattern.replace("\\\\", "\\")).collect()
}

pub(super) async fn ask(request: TestRequest) -> Seen {
    ask_from(request, "203.0.113.9:1").await
}

pub(super) async fn ask_from(request: TestRequest, address: &str) -> Seen {
    ask_of(&served().await, request, address).await
}

/// The application, for more than one request.
pub(super) async fn served()
-> impl Service<actix_http::Request, Response = ServiceResponse<BoxBody>, Error = actix_web::Error> {
    init_service(application(shared(&parts(), true))).await
}

pub(super) async fn ask_of(
    app: &impl Service<actix_http::Request, Response = ServiceResponse<BoxBody>, Error = actix_web::Error>,
    request: TestRequest,
    address: &str,
) -> Seen {
    let request = request.insert_header(("x-request-id", "req-1")).peer_addr(address.parse().unwrap());
    let response = app
        .call(request.to_request())
        .await
        .unwrap_or_else(|error| ServiceResponse::new(TestRequest::default().to_http_request(), error.error_response()));
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = String::from_utf8_lossy(&read_body(response).await).into_owned();
    Seen { status, headers, body }
}

pub(super) fn get(uri: &str) -> TestRequest {
    TestRequest::get().uri(uri).insert_header(("host", "docs.example"))
}

pub(super) fn with_token(request: TestRequest) -> TestRequest {
    request.insert_header(("authorization", "Bearer good"))
}

#[actix_web::test]
async fn refusals_have_the_shape_of_their_surface() {
    let fhir = ask(get("/fhir/Patient/1")).await;
    assert_eq!((fhir.status, fhir.header("www-authenticate")), (401, "Bearer realm=\"fhir\""));
    assert!(fhir.header("content-type").starts_with("application/fhir+json") && fhir.body.contains("\"id\":\"req-1\""));
    let scope = ask(with_token(get("/fhir/Patient/1"))).await;
    let challenge = "Bearer realm=\"fhir\", error=\"insufficient_scope\", scope=\"system/Patient.r\"";
    assert_eq!((scope.status, scope.header("www-authenticate")), (403, challenge));
    let form = TestRequest::post().uri("/auth/token").insert_header(("host", "docs.example"));
    let oauth = ask(form.insert_header(("content-type", "application/x-www-form-urlencoded")).set_payload("a=b")).await;
    let error: serde_json::Value = serde_json::from_str(&oauth.body).unwrap();
    assert_eq!((oauth.status, &error["error"]), (401, &"invalid_client".into()));
    assert!(
        !error["error_description"].as_str().unwrap().contains(['"', '\\', '`'])
            && oauth.header("pragma") == "no-cache"
    );
    let problem: serde_json::Value = serde_json::from_str(&ask(get("/d/late")).await.body).unwrap();
    assert_eq!(
        (&problem["code"], &problem["status"], &problem["request"]),
        (&"link-expired".into(), &410.into(), &"req-1".into())
    );
    let page = ask(get("/d/late").insert_header(("accept", "text/html"))).await;
    assert_eq!((page.status, page.header("daylily-error")), (410, "link-expired"));
    assert!(
        page.body.contains("<h1>This link has expired</h1>")
            && page.header("content-security-policy").contains("sha256-")
    );
}

#[actix_web::test]
async fn a_good_link_has_every_header_of_the_contract() {
    let seen =
        ask(get("/d/good?response-content-type=text/html&filename=x").insert_header(("authorization", "Bearer x")))
            .await;
    assert_eq!((seen.status, seen.body.as_bytes()), (200, BYTES));
    for (name, text) in [
        ("content-type", "application/pdf"),
        ("cache-control", "private, no-store"),
        ("accept-ranges", "bytes"),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        // RFC 9530: base64 of the 32 bytes between colons.
        ("repr-digest", "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"),
    ] {
        assert_eq!(seen.header(name), text);
    }
    assert!(
        seen.header("content-disposition")
            .starts_with("attachment; filename=\"Brief f_r _rztin.pdf\"; filename*=UTF-8''")
    );
    assert!(seen.header("etag").starts_with('"'));
}

#[actix_web::test]
async fn ranges_of_a_link() {
    let part = ask(get("/d/good").insert_header(("range", "bytes=0-3"))).await;
    assert_eq!((part.status, &*part.body, part.header("content-range")), (206, "%PDF", "bytes 0-3/21"));
    let outside = ask(get("/d/good").insert_header(("range", "bytes=21-"))).await;
    assert_eq!((outside.status, outside.header("content-range")), (416, "bytes */21"));
    let other = get("/d/good").insert_header(("range", "bytes=0-3")).insert_header(("if-range", "\"other\""));
    assert_eq!(ask(other).await.status, 200);
    let several = ask(get("/d/good").insert_header(("range", "bytes=0-1,4-5"))).await;
    assert_eq!((several.status, several.body.len()), (200, BYTES.len()));
}

#[actix_web::test]
async fn a_panic_is_a_fault_with_all_headers() {
    let request = with_token(get("/fhir/DocumentReference/1/$lifecycle"));
    let seen = ask(request).await;
    assert_eq!(
        (seen.status, seen.header("daylily-error"), seen.header("x-request-id")),
        (500, "server-fault", "req-1")
    );
    assert!(seen.header("content-type").starts_with("application/fhir+json") && !seen.body.contains("defect"));
}

#[actix_web::test]
async fn writes_answer_as_preferred_and_are_limited() {
    let post = |prefer: &str| {
        let request = with_token(
            TestRequest::post().uri("/fhir/DocumentReference?_pretty=true").insert_header(("host", "docs.example")),
        );
        request
            .insert_header(("content-type", "application/fhir+json"))
            .insert_header(("prefer", prefer))
            .set_payload("{}")
    };
    let shown = ask(post("return=representation")).await;
    assert_eq!((shown.status, &*shown.body), (201, "{\n  \"a\": 1.00\n}"));
    assert_eq!(shown.header("location"), "https://docs.example/fhir/DocumentReference/new/_history/1");
    assert_eq!(shown.header("etag"), "W/\"1\"");
    assert_eq!(ask(post("return=minimal")).await.body, "");
    assert!(ask(post("return=OperationOutcome")).await.body.contains("OperationOutcome"));
    let large = ask(post("").set_payload(vec![b' '; 1001])).await;
    assert_eq!((large.status, large.header("daylily-error")), (413, "request-too-large"));
    let xml = ask(post("").insert_header(("content-type", "application/fhir+xml"))).await;
    assert_eq!(xml.status, 415);
    let key = ask(post("").insert_header(("idempotency-key", "x".repeat(129)))).await;
    assert_eq!((key.status, key.header("daylily-error")), (400, "parameter-malformed"));
    let raw = with_token(TestRequest::post().uri("/fhir/Binary").insert_header(("host", "docs.example")));
    assert_eq!(ask(raw.insert_header(("content-type", "application/pdf")).set_payload(BYTES)).await.status, 201);
}

#[actix_web::test]
async fn a_search_by_form_joins_query_and_body() {
    let request = with_token(
        TestRequest::post()
            .uri("/fhir/DocumentReference/_search?status=current")
            .insert_header(("host", "docs.example")),
    );
    let request = request
        .insert_header(("content-type", "application/x-www-form-urlencoded"))
        .insert_header(("prefer", "handling=strict"));
    let seen = ask(request.set_payload("patient=Patient%2F1&date=ge2026&date=lt2027")).await;
    assert_eq!(seen.body, r#"[["status","current"],["patient","Patient/1"],["date","ge2026"],["date","lt2027"]]"#);
}

#[actix_web::test]
async fn the_page_of_an_authentic_link_gives_the_links_id_and_never_its_text() {
    let id = crate::domain::link::id_of("late");
    let page = ask(get("/d/late").insert_header(("accept", "text/html"))).await.body;
    assert!(page.contains(&format!("give this reference: <code>{}</code>.", id.as_str())), "{page}");
    // Of what is no link of ours nothing is told but the request.
    let page = ask(get("/d/odd").insert_header(("accept", "text/html"))).await.body;
    assert!(page.contains("req-1") && !page.contains("lk_"), "{page}");
}

/// Texts come from a table with open places; an open one that reaches a caller is a defect, and so is talking at them.
#[actix_web::test]
async fn no_refusal_has_an_open_place_or_says_you() {
    let post = |uri: &str| TestRequest::post().uri(uri).insert_header(("host", "docs.example"));
    let json = |request: TestRequest| request.insert_header(("content-type", "application/fhir+json"));
    let form = |request: TestRequest| request.insert_header(("content-type", "application/x-www-form-urlencoded"));
    let method = |name: &str, uri: &str| get(uri).method(name.parse().unwrap());
    let refused = [
        get("/nothing"),
        get("/d/bad"),
        get("/d/late"),
        get("/d/good").insert_header(("range", "bytes=900-")),
        get("/d/%00"),
        get("/d/good").insert_header(("host", "other.example")),
        get(&format!("/{}", "a".repeat(9_000))),
        get("/livez").insert_header(("x-much", "a".repeat(40_000))),
        get(&format!("/livez?{}", "a&".repeat(200))),
        get("/fhir"),
        get("/fhir/Observation/1"),
        get("/fhir/Patient/1/_history"),
        get("/fhir/Patient/1"),
        get("/fhir/metadata?_format=xml"),
        with_token(get("/fhir/Patient/1")),
        with_token(get("/fhir/Binary/00000000000000000000000000?_format=xml")),
        with_token(method("PUT", "/fhir/Binary/1")),
        with_token(method("DELETE", "/fhir/DocumentReference/1")),
        with_token(method("GET", "/fhir/DocumentReference/1/$revoke")),
        with_token(post("/fhir/DocumentReference/1/$other")),
        with_token(post("/fhir/DocumentReference")),
        with_token(json(post("/fhir/DocumentReference"))).set_payload("x".repeat(2_000)),
        with_token(json(post("/fhir/DocumentReference"))).insert_header(("content-encoding", "gzip")).set_payload("x"),
        with_token(json(post("/fhir/DocumentReference"))).insert_header(("idempotency-key", "a".repeat(200))),
        with_token(json(method("PUT", "/fhir/Patient/1"))).insert_header(("if-match", "3")),
        with_token(json(method("PUT", "/fhir/Patient/a~b"))),
        with_token(post("/fhir/Binary")),
        with_token(post("/fhir/DocumentReference/_search")).set_payload("a=b"),
        method("POST", "/livez"),
        form(post("/auth/token")).set_payload("a=b"),
        post("/auth/token").set_payload("a=b"),
        get("/errors/none"),
    ];
    for (number, request) in refused.into_iter().enumerate() {
        let seen = ask(request).await;
        assert!(seen.status >= 400 && !seen.header("daylily-error").is_empty(), "{number}: {}", seen.status);
        let body: serde_json::Value = serde_json::from_str(&seen.body).unwrap();
        let texts = ["/issue/0/details/text", "/issue/0/diagnostics", "/detail", "/cure", "/error_description"];
        let texts: Vec<&str> = texts.iter().filter_map(|place| body.pointer(place)?.as_str()).collect();
        assert!(!texts.is_empty(), "{number}: {}", seen.body);
        for text in texts {
            let words: Vec<String> = text.split(|c: char| !c.is_alphabetic()).map(str::to_lowercase).collect();
            let is_addressed = words.iter().any(|word| word == "you" || word == "your");
            assert!(!text.contains(['{', '}']) && !is_addressed, "{number}: {text}");
        }
    }
}
