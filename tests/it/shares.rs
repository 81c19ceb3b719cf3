//! One caller cannot stop the others: of whatever there is only so much of, a caller takes its share and others are served all the
//! same. Each test has one caller that takes all it can, in one way, and another that does what it always does.

mod many;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use daylily::config::{Limits, Settings};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::*;

/// Places of each kind.
const PLACES: usize = 8;
/// Requests of the hostile caller at a time.
const MANY: usize = 3 * PLACES;
/// Longer than what a connection's buffers hold.
const LONG: usize = 2 << 20;
/// A body of which the memory holds one for a client, and one more for another.
const BODY: u64 = 200_000;

fn small(settings: &mut Settings) {
    let limits: &mut Limits = &mut settings.limits;
    (limits.downloads, limits.uploads, limits.waits, limits.searches) = (PLACES, PLACES, PLACES, PLACES);
    limits.body_memory = 1 << 20;
}

/// An answer must come within this, or within so many times what one takes while nobody disturbs, on a machine that is slow now.
const LEAST: Duration = Duration::from_secs(2);
const TIMES: u32 = 20;
/// What the other waits for itself, where it waits.
const WAIT: Duration = Duration::from_secs(1);

/// Shares alone keep the hostile caller within bounds.
fn without_rates(settings: &mut Settings) {
    small(settings);
    settings.limits.client_requests = 0;
}

/// What one caller does to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Downloads of one link that are not read.
    Readers,
    /// Uploads that do not come.
    Uploads,
    /// `$lifecycle` with a `wait`.
    Waits,
    /// JSON bodies that announce their length and do not come.
    Bodies,
    /// JSON bodies in chunks that grow and do not end.
    Chunks,
    /// Uploads that wait to be asked for their bytes.
    Expectations,
    /// Documents with more elements than anyone needs.
    Elements,
    /// Searches that walk everything, many on one connection.
    WideSearches,
    /// Searches for one document, many on one connection.
    SelectiveSearches,
    /// Assertions that are looked at and refused, many on one connection.
    Tokens,
    /// Connections that say nothing.
    Silence,
}

const WAYS: [Way; 11] = [
    Way::Readers,
    Way::Uploads,
    Way::Waits,
    Way::Bodies,
    Way::Chunks,
    Way::Expectations,
    Way::Elements,
    Way::WideSearches,
    Way::SelectiveSearches,
    Way::Tokens,
    Way::Silence,
];

/// What the other always does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Read,
    SelectiveSearch,
    WideSearch,
    Download,
    Upload,
    Create,
    Wait,
    Token,
}

const DEEDS: [Deed; 8] = [
    Deed::Read,
    Deed::SelectiveSearch,
    Deed::WideSearch,
    Deed::Download,
    Deed::Upload,
    Deed::Create,
    Deed::Wait,
    Deed::Token,
];

/// A server with two callers, each with a document and a link.
struct Two {
    daylily: TestDaylily,
    hostile: Actor,
    other: Actor,
    id: String,
    link: String,
    others_id: String,
    others_link: String,
    others_bytes: Vec<u8>,
}

/// A connection that reads little, with what came first of the answer to its request, and reads no more.
async fn begun(address: SocketAddr, request: &[u8]) -> (TcpStream, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    // What is refused before it has come may be reset.
    let _ = stream.write_all(request).await;
    let mut first = vec![0; 2048];
    let came = stream.read(&mut first).await.unwrap_or(0);
    (stream, String::from_utf8_lossy(&first[..came]).into_owned())
}

impl Two {
    async fn start() -> Self {
        Self::start_with(small).await
    }

    async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        let daylily = TestDaylily::start_with("", change).await;
        let hostile = daylily.client("hostile", FULL, &["own"]).await;
        let other = daylily.client("other", FULL, &["own"]).await;
        let stored = hostile.upload("application/pdf", &pdf(1, LONG)).await.ok(201);
        let url = format!("Binary/{}", text(&stored, "/id"));
        let id = daylily.ready(&hostile, &document("p1", &[named("application/pdf", &url)])).await;
        let link = daylily.link(&hostile, &id).await;
        let others_bytes = pdf(2, 5_000);
        let (others_id, others_link) = daylily.ready_link(&other, &others_bytes).await;
        let database = daylily.data().join("daylily.db");
        many::make(&database, &id);
        Self { daylily, hostile, other, id, link, others_id, others_link, others_bytes }
    }

    /// A request of the hostile caller as far as it sends it.
    async fn request(&self, way: Way) -> Vec<u8> {
        let (host, token) = (host(&self.daylily), self.hostile.token().await);
        let head = |method: &str, path: &str, rest: &str| {
            format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n{rest}\r\n")
        };
        let patient = "{\"resourceType\":\"Patient\",\"id\":\"";
        match way {
            Way::Readers => head("GET", &self.link[self.daylily.base().len()..], ""),
            Way::Uploads => {
                head("POST", "/fhir/Binary", "Content-Type: application/pdf\r\nContent-Length: 100000\r\n") + "%PDF-1.7"
            }
            Way::Waits => head("GET", &format!("/fhir/DocumentReference/{}/$lifecycle?wait=30s", self.id), ""),
            Way::Bodies => {
                let length = format!("Content-Type: {FHIR}\r\nContent-Length: {BODY}\r\n");
                head("POST", "/fhir/Patient", &length) + patient
            }
            Way::Chunks => {
                let chunk = "a".repeat(usize::try_from(BODY).unwrap());
                let head =
                    head("POST", "/fhir/Patient", &format!("Content-Type: {FHIR}\r\nTransfer-Encoding: chunked\r\n"));
                format!("{head}{:x}\r\n{patient}\r\n{:x}\r\n{chunk}\r\n", patient.len(), chunk.len())
            }
            Way::Expectations => {
                let rest = "Content-Type: application/pdf\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n";
                head("POST", "/fhir/Binary", rest)
            }
            Way::Elements => {
                let authors: Vec<_> =
                    (0..2_000).map(|at| json!({"reference": format!("Practitioner/a{at}")})).collect();
                let mut body = document("p1", &[named("application/pdf", "Binary/none")]);
                body["author"] = authors.into();
                let body = body.to_string();
                let length = format!("Content-Type: {FHIR}\r\nContent-Length: {}\r\n", body.len());
                head("POST", "/fhir/DocumentReference", &length) + &body
            }
            Way::WideSearches => head("GET", "/fhir/DocumentReference?status=superseded", "").repeat(PLACES),
            Way::SelectiveSearches => {
                head("GET", &format!("/fhir/DocumentReference?_id={}", self.id), "").repeat(PLACES)
            }
            Way::Tokens => {
                let form = format!("grant_type=client_credentials&client_assertion={}x", self.hostile.assertion());
                let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
                let length = format!("{kind}Content-Length: {}\r\n", form.len());
                (head("POST", "/auth/token", &length) + &form).repeat(PLACES)
            }
            Way::Silence => String::new(),
        }
        .into_bytes()
    }

    /// Takes all that there is to take in a way, and keeps it. The refusals that came, once nothing more does: `held` are left.
    async fn take(&self, way: Way, held: usize) -> (Vec<TcpStream>, Vec<String>) {
        let request = self.request(way).await;
        let (mut kept, mut refused, mut asking) = (Vec::new(), Vec::new(), JoinSet::new());
        for _ in 0..MANY {
            let (request, address) = (request.clone(), self.daylily.running().address());
            asking.spawn(async move { begun(address, &request).await });
        }
        // Readers are answered too; what holds a place otherwise is silent.
        let answers = if way == Way::Readers { MANY } else { MANY - held };
        for _ in 0..answers {
            let asked = timeout(PATIENCE, asking.join_next()).await.unwrap_or_else(|_| panic!("{way:?}: silence"));
            let (stream, answer) = asked.unwrap().unwrap();
            if answer.starts_with("HTTP/1.1 200") { kept.push(stream) } else { refused.push(answer) }
        }
        // What holds a place goes on until the test ends.
        asking.detach_all();
        (kept, refused)
    }

    /// Readers of one link that stand still; those that were answered.
    async fn take_by(&self, link: &str) -> Vec<TcpStream> {
        let request =
            format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", &link[self.daylily.base().len()..], host(&self.daylily));
        let mut asking = JoinSet::new();
        for _ in 0..MANY {
            let (request, address) = (request.clone(), self.daylily.running().address());
            asking.spawn(async move { begun(address, request.as_bytes()).await });
        }
        let begun = asking.join_all().await.into_iter();
        begun.filter(|(_, answer)| answer.starts_with("HTTP/1.1 200")).map(|(stream, _)| stream).collect()
    }

    async fn answer(&self, deed: Deed) -> Answer {
        let (other, id) = (&self.other, &self.others_id);
        match deed {
            Deed::Read => other.get(&format!("DocumentReference/{id}")).await,
            Deed::SelectiveSearch => other.get(&format!("DocumentReference?_id={id}")).await,
            Deed::WideSearch => other.get("DocumentReference?status=current").await,
            Deed::Download => self.daylily.get(&self.others_link).await,
            Deed::Upload => other.upload("application/pdf", &pdf(3, 3_000)).await,
            Deed::Create => other.post("Patient", &json!({"resourceType": "Patient"})).await,
            Deed::Wait => other.get(&format!("DocumentReference/{id}/$lifecycle?wait={}s", WAIT.as_secs())).await,
            Deed::Token => other.ask_token(&other.assertion(), &other.scope).await,
        }
    }

    /// Within what time each answer must come: measured while nobody disturbs, on this machine as busy as it is.
    async fn bound(&self) -> Duration {
        let mut slowest = Duration::ZERO;
        for deed in DEEDS.into_iter().filter(|deed| *deed != Deed::Wait) {
            let began = tokio::time::Instant::now();
            self.answer(deed).await;
            slowest = slowest.max(began.elapsed());
        }
        LEAST.max(slowest * TIMES)
    }

    /// The other is never refused, and each answer comes in time.
    async fn others_are_served(&self, bound: Duration, case: &str) {
        for deed in DEEDS {
            let own = if deed == Deed::Wait { WAIT } else { Duration::ZERO };
            let answer = timeout(bound + own, self.answer(deed)).await;
            let answer = answer.unwrap_or_else(|_| panic!("{case}: {deed:?}: no answer within {bound:?}"));
            let status = if matches!(deed, Deed::Upload | Deed::Create) { 201 } else { 200 };
            assert_eq!(answer.said(), (status, ""), "{case}: {deed:?}");
            if deed == Deed::Download {
                assert_eq!(answer.bytes, self.others_bytes, "{case}");
            }
        }
    }
}

impl Two {
    /// The metrics tell of each kind of places, and of nobody.
    async fn is_told(&self, way: Way) {
        let answer = self.daylily.get("/metrics").await;
        for kind in ["download", "upload", "wait", "search", "body", "body-byte", "watch"] {
            for name in ["daylily_places", "daylily_places_taken", "daylily_places_waiting"] {
                assert!(answer.text().contains(&format!("{name}{{kind=\"{kind}\"}} ")), "{way:?}: {name} {kind}");
            }
        }
        let kind = match way {
            Way::Uploads => "upload",
            Way::Waits => "wait",
            _ => "body-byte",
        };
        // The recorder is one for all servers of this process, so only what never sinks is looked at.
        let refused = format!("daylily_places_refused_total{{kind=\"{kind}\",why=\"share\"}} ");
        let line = answer.text().lines().find_map(|line| line.strip_prefix(&refused));
        assert!(line.is_some_and(|count| count.parse::<u64>().unwrap() >= 1), "{way:?}: {}", answer.text());
    }
}

fn all_are_told_to_wait(refused: &[String], number: usize, way: Way) {
    assert_eq!(refused.len(), number, "{way:?}");
    for answer in refused {
        assert!(answer.starts_with("HTTP/1.1 429"), "{way:?}: {answer}");
        let lower = answer.to_ascii_lowercase();
        assert!(lower.contains("daylily-error: rate-limited") && lower.contains("retry-after: "), "{way:?}: {answer}");
    }
}

/// `held`: what one caller has of [`PLACES`], or of the memory for bodies.
async fn one_way(way: Way, held: usize) {
    let two = Two::start().await;
    let bound = two.bound().await;
    let (_kept, refused) = two.take(way, held).await;
    all_are_told_to_wait(&refused, MANY - held, way);
    two.others_are_served(bound, &format!("{way:?}")).await;
    two.is_told(way).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_whose_readers_stand_still_stops_no_other_link() {
    let two = Two::start().await;
    let bound = two.bound().await;
    let (_kept, refused) = two.take(Way::Readers, 2).await;
    all_are_told_to_wait(&refused, MANY - 2, Way::Readers);
    two.others_are_served(bound, "readers").await;
    // Nor does it stop another link of the same client.
    let (_, link) = two.daylily.ready_link(&two.hostile, &pdf(4, 5_000)).await;
    assert_eq!(two.daylily.get(&link).await.said(), (200, ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_links_whose_readers_stand_still_stop_no_other_link_of_their_client() {
    let two = Two::start().await;
    let bound = two.bound().await;
    let mut kept = Vec::new();
    for number in 0..3 {
        let stored = two.hostile.upload("application/pdf", &pdf(10 + number, LONG)).await.ok(201);
        let url = format!("Binary/{}", text(&stored, "/id"));
        let id = two.daylily.ready(&two.hostile, &document("p1", &[named("application/pdf", &url)])).await;
        let link = two.daylily.link(&two.hostile, &id).await;
        kept.push(two.take_by(&link).await);
    }
    let (_, fourth) = two.daylily.ready_link(&two.hostile, &pdf(4, 5_000)).await;
    assert_eq!(two.daylily.get(&fourth).await.said(), (200, ""));
    two.others_are_served(bound, "three links").await;
}

/// Bodies of two bytes of which one comes, from one caller behind a proxy: each holds up a connection, and connections of a proxy have no
/// share.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_bodies_that_do_not_come_leave_connections_to_others_behind_a_proxy() {
    let two = Two::start_with(|settings| {
        without_rates(settings);
        settings.limits.connections = MANY;
        settings.server.behind_proxy = true;
        settings.server.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let request = format!(
        "POST /auth/token HTTP/1.1\r\nHost: {}\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 2\r\n\r\na",
        host(&two.daylily)
    );
    let mut asking = JoinSet::new();
    for _ in 0..2 * MANY {
        let (request, address) = (request.clone(), two.daylily.running().address());
        asking.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let _ = stream.write_all(request.as_bytes()).await;
            stream.read(&mut [0; 2048]).await.unwrap_or(0)
        });
    }
    // Once all were looked at, only those are left that hold half of the places.
    for _ in 0..2 * MANY - MANY / 2 {
        timeout(PATIENCE, asking.join_next()).await.expect("a refusal").unwrap().unwrap();
    }
    for _ in 0..4 {
        let answer = timeout(PATIENCE, two.answer(Deed::Read)).await.expect("an answer");
        assert_eq!(answer.said(), (200, ""));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_uploads_of_one_client_stop_no_other() {
    one_way(Way::Uploads, PLACES / 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waits_of_one_client_stop_no_other() {
    one_way(Way::Waits, PLACES / 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_one_client_stay_within_their_memory_and_stop_no_other() {
    one_way(Way::Bodies, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_in_chunks_stay_within_their_memory_and_stop_no_other() {
    let two = Two::start().await;
    // Which of them grows first is chance; that no more than one has grown is not.
    let bound = two.bound().await;
    let request = two.request(Way::Chunks).await;
    let mut connections = Vec::new();
    for _ in 0..MANY {
        let mut connection = RawConnection::to(&two.daylily).await;
        connection.send(&request).await;
        connections.push(connection);
    }
    two.others_are_served(bound, "chunks").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_over_many_connections_of_one_client_are_all_answered() {
    // As shipped, but for the wait: how fast this machine is now does not matter here.
    let two = Two::start_with(|settings| settings.limits.turn_wait = Duration::from_secs(10)).await;
    let token = two.hostile.token().await;
    let mut asking = JoinSet::new();
    for number in 0..64 {
        // Selective ones, and six that read everything.
        let query = if number % 10 == 0 { "status=current".to_owned() } else { format!("_id={}", two.id) };
        let url = format!("{}/fhir/DocumentReference?{query}", two.daylily.base());
        let request = two.daylily.http.get(url).bearer_auth(&token);
        asking.spawn(async move {
            let mut said = Vec::new();
            for _ in 0..4 {
                said.push(request.try_clone().unwrap().send().await.unwrap().status().as_u16());
            }
            said
        });
    }
    for _ in 0..4 {
        let read = two.other.get(&format!("DocumentReference/{}", two.others_id)).await;
        assert_eq!(read.said(), (200, ""));
        assert_eq!(two.other.get("DocumentReference?status=current").await.said(), (200, ""));
    }
    while let Some(said) = asking.join_next().await {
        assert_eq!(said.unwrap(), [200; 4]);
    }
}

/// A small generator (SplitMix64), so that a case is its seed.
fn chance(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// An address that is not the other's: connections come before any token.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

impl Two {
    /// One connection in a way, the request whole or broken off.
    async fn disturb(&self, way: Way, is_whole: bool) -> RawConnection {
        let request = self.request(way).await;
        let length = if is_whole { request.len() } else { request.len() / 2 };
        let mut connection = RawConnection::from(ELSEWHERE, self.daylily.running().address()).await;
        // What is refused may not be read to its end, and what is not read here must not stop the test.
        let _ = timeout(PATIENCE, connection.send(&request[..length])).await;
        connection
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_each_way_by_itself_the_other_is_never_refused() {
    let two = Two::start_with(without_rates).await;
    for way in WAYS {
        let bound = two.bound().await;
        let mut connections = Vec::new();
        for _ in 0..MANY {
            connections.push(two.disturb(way, true).await);
        }
        two.others_are_served(bound, &format!("{way:?}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_one_caller_does_the_other_is_never_refused() {
    let two = Two::start_with(without_rates).await;
    for case in 0..6u64 {
        let (mut seed, mut connections) = (case, Vec::new());
        let bound = two.bound().await;
        // Several ways at once, mixed, each as often as chance says; some break off, and some of those leave.
        for _ in 0..2 * MANY {
            let way = WAYS[usize::try_from(chance(&mut seed) % 11).unwrap()];
            let is_whole = !chance(&mut seed).is_multiple_of(4);
            let connection = two.disturb(way, is_whole).await;
            if !chance(&mut seed).is_multiple_of(3) {
                connections.push(connection);
            }
        }
        two.others_are_served(bound, &format!("case {case}")).await;
    }
}
