//! Bytes that no client's library would send, over real sockets to the whole server: what is refused is refused once, with all that
//! every answer has, and nothing behind it is heard.

use crate::support::*;

/// What must come of a vector, with a good request sent right behind it.
#[derive(Debug, Clone, Copy)]
enum Then {
    /// One answer, this status and code; then the end: the request behind it is never answered.
    Refused(u16, &'static str),
    /// The same, unless the connection ends without an answer.
    Cut,
    /// These answers, that of the request behind it being the last.
    Goes(&'static [u16]),
    /// This answer; then the end, since a body was left unread.
    Last(u16),
}

use Then::{Cut, Goes, Last, Refused};

const BAD: Then = Refused(400, "request-malformed");
/// Stands for the server's own name.
const HOST: &str = "Host: {host}\r\n";

/// A GET of a path that everyone may read, with lines in its head.
fn get(lines: &str) -> String {
    format!("GET /livez HTTP/1.1\r\n{HOST}{lines}\r\n")
}

/// A form with lines in its head, and its body.
fn form(lines: &str, body: &str) -> String {
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
    format!("POST /auth/token HTTP/1.1\r\n{HOST}{kind}{lines}\r\n{body}")
}

fn chunked(body: &str) -> String {
    form("Transfer-Encoding: chunked\r\n", body)
}

fn target(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\n{HOST}\r\n")
}

/// Line ends and line breaks (A207).
fn line_ends() -> Vec<(&'static str, String, Then)> {
    vec![
        ("every line ends bare", get("").replace("\r\n", "\n"), BAD),
        ("the request line ends bare", get("").replacen("\r\n", "\n", 1), BAD),
        ("a header ends bare", get("X: a\n"), BAD),
        ("the head ends bare", format!("GET /livez HTTP/1.1\r\n{HOST}\n"), BAD),
        ("a bare LF hides a header", get("X: a\nContent-Length: 5\r\n"), BAD),
        ("a CR within", get("X: a\rb\r\n"), BAD),
        ("a CR hides a header", get("X: a\rTransfer-Encoding: chunked\r\n"), BAD),
        ("a folded line", get("X: a\r\n b\r\n"), BAD),
        ("a folded line by tab", get("X: a\r\n\tb\r\n"), BAD),
        ("a folded first header", "GET /livez HTTP/1.1\r\n X: a\r\nHost: {host}\r\n\r\n".to_owned(), BAD),
        ("one empty line before", format!("\r\n{}", get("")), Goes(&[200, 200])),
        ("two empty lines before", format!("\r\n\r\n{}", get("")), BAD),
    ]
}

/// How long a body is (A207).
fn lengths() -> Vec<(&'static str, String, Then)> {
    let with = |lines: &str| form(lines, "a=b");
    vec![
        ("a length", with("Content-Length: 3\r\n"), Goes(&[400, 200])),
        ("two lengths", with("Content-Length: 3\r\nContent-Length: 3\r\n"), BAD),
        ("two different lengths", with("Content-Length: 3\r\nContent-Length: 0\r\n"), BAD),
        ("a list of lengths", with("Content-Length: 3, 3\r\n"), BAD),
        ("a signed length", with("Content-Length: +3\r\n"), BAD),
        ("a negative length", with("Content-Length: -3\r\n"), BAD),
        ("a hexadecimal length", with("Content-Length: 0x3\r\n"), BAD),
        ("an empty length", with("Content-Length: \r\n"), BAD),
        ("a length in words", with("Content-Length: three\r\n"), BAD),
        ("a length with a space within", with("Content-Length: 3 0\r\n"), BAD),
        ("a length beyond all", with("Content-Length: 18446744073709551616\r\n"), BAD),
        ("a length with a space before the colon", with("Content-Length : 3\r\n"), BAD),
        ("a length and chunks", form("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), BAD),
        ("chunks and a length", form("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "0\r\n\r\n"), BAD),
        (
            "a GET with a body that is a request",
            get(&format!("Content-Length: {}\r\n", INNER.len())) + INNER,
            Goes(&[200, 200]),
        ),
        ("chunks in HTTP/1.0", chunked("0\r\n\r\n").replace("HTTP/1.1", "HTTP/1.0"), BAD),
        ("no length in HTTP/1.0", form("", "").replace("HTTP/1.1", "HTTP/1.0"), BAD),
    ]
}

/// A request that must never be heard as one.
const INNER: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// Transfer codings (A207).
fn codings() -> Vec<(&'static str, String, Then)> {
    let with = |value: &str| form(&format!("Transfer-Encoding: {value}\r\n"), "3\r\na=b\r\n0\r\n\r\n");
    vec![
        ("chunked", with("chunked"), Goes(&[400, 200])),
        ("chunked in capitals", with("CHUNKED"), Goes(&[400, 200])),
        ("xchunked", with("xchunked"), BAD),
        ("a control character before", with("\x0bchunked"), BAD),
        ("a control character behind", with("chunked\x0c"), BAD),
        ("identity", with("identity"), BAD),
        ("two codings", with("gzip, chunked"), BAD),
        ("chunked twice in one", with("chunked, chunked"), BAD),
        ("chunked twice", with("chunked\r\nTransfer-Encoding: chunked"), BAD),
        ("chunked and another", with("chunked\r\nTransfer-Encoding: cow"), BAD),
        ("quoted", with("\"chunked\""), BAD),
        ("a space before the colon", form("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), BAD),
        (
            "an underscore is another name",
            form("Transfer_Encoding: chunked\r\nContent-Length: 3\r\n", "a=b"),
            Goes(&[400, 200]),
        ),
    ]
}

/// Chunks (A207).
fn chunks() -> Vec<(&'static str, String, Then)> {
    vec![
        ("an extension", chunked("3;a=b\r\na=b\r\n0\r\n\r\n"), Goes(&[400, 200])),
        ("an LF in an extension", chunked("3;a\nb\r\na=b\r\n0\r\n\r\n"), Cut),
        ("a size line that ends bare", chunked("3\na=b\r\n0\r\n\r\n"), Cut),
        ("a chunk that ends bare", chunked("3\r\na=b\n0\r\n\r\n"), Cut),
        ("a chunk longer than it says", chunked("3\r\na=bc\r\n0\r\n\r\n"), Cut),
        ("a size with 0x", chunked("0x3\r\na=b\r\n0\r\n\r\n"), Cut),
        ("a signed size", chunked("+3\r\na=b\r\n0\r\n\r\n"), Cut),
        ("a size with an underscore", chunked("0_3\r\na=b\r\n0\r\n\r\n"), Cut),
        ("a size beyond all", chunked("fffffffffffffffff\r\na=b\r\n0\r\n\r\n"), Cut),
        ("a size that wraps around", chunked("10000000000000003\r\na=b\r\n0\r\n\r\n"), Cut),
        ("no size", chunked("\r\na=b\r\n0\r\n\r\n"), Cut),
        ("a trailer that is a length", chunked("3\r\na=b\r\n0\r\nContent-Length: 40\r\n\r\n"), Cut),
        ("a trailer", chunked("3\r\na=b\r\n0\r\nX: y\r\n\r\n"), Cut),
        ("a last line that ends bare", chunked("3\r\na=b\r\n0\r\n\n"), Cut),
    ]
}

/// What stands in request lines and names (A207, A209).
fn lines() -> Vec<(&'static str, String, Then)> {
    let line = |line: &str| format!("{line}\r\n{HOST}\r\n");
    vec![
        ("a NUL in a header", get("X: a\0b\r\n"), BAD),
        ("a NUL in a name", get("X\0: a\r\n"), BAD),
        ("DEL in a header", get("X: a\x7f\r\n"), BAD),
        ("an escape in a header", get("X: \x1b[2J\r\n"), BAD),
        ("a header without a colon", get("X\r\n"), BAD),
        ("a header without a name", get(": a\r\n"), BAD),
        ("a space in a name", get("X Y: a\r\n"), BAD),
        ("a name that is not ASCII", get("Ä: a\r\n"), BAD),
        ("a value that is not ASCII", get("X: Ä\r\n"), Goes(&[200, 200])),
        ("a method that is not ASCII", line("GÄT /livez HTTP/1.1"), BAD),
        ("a method with a control character", line("G\x01T /livez HTTP/1.1"), BAD),
        ("no method", line(" /livez HTTP/1.1"), BAD),
        ("two spaces", line("GET  /livez HTTP/1.1"), BAD),
        ("a tab", line("GET\t/livez HTTP/1.1"), BAD),
        ("no version", line("GET /livez"), BAD),
        ("a version in small letters", line("GET /livez http/1.1"), BAD),
        ("a version with more digits", line("GET /livez HTTP/1.10"), BAD),
        ("another version", line("GET /livez HTTP/1.2"), Refused(505, "request-malformed")),
        ("another major version", line("GET /livez HTTP/2.0"), Refused(505, "request-malformed")),
        ("a space behind the version", line("GET /livez HTTP/1.1 "), BAD),
        (
            "a preface of HTTP/2 (A210)",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
            Refused(505, "request-malformed"),
        ),
        ("the hello of TLS", "\x16\x03\x01\x02\x00\x01".to_owned(), BAD),
    ]
}

/// Targets and hosts (A209).
fn targets() -> Vec<(&'static str, String, Then)> {
    let host = |lines: &str| format!("GET /livez HTTP/1.1\r\n{lines}\r\n");
    vec![
        ("an asterisk", target("*"), Goes(&[400, 200])),
        ("an asterisk with OPTIONS", target("*").replace("GET", "OPTIONS"), Goes(&[400, 200])),
        ("an authority with CONNECT", target("{host}").replace("GET", "CONNECT"), Last(400)),
        ("a path with CONNECT", target("/livez").replace("GET", "CONNECT"), Last(405)),
        ("an absolute form of this server", target("http://{host}/livez"), Goes(&[200, 200])),
        ("an absolute form under TLS of this server", target("https://{host}/livez"), Goes(&[200, 200])),
        ("an absolute form of FTP", target("ftp://{host}/livez"), Goes(&[400, 200])),
        ("an absolute form of no scheme that is known", target("a+b://{host}/livez"), Goes(&[400, 200])),
        ("an absolute form of another", target("http://evil.example/livez"), Goes(&[400, 200])),
        ("an absolute form with a user", target("http://{host}@evil.example/livez"), Goes(&[400, 200])),
        ("a path without a slash", target("livez"), Goes(&[400, 200])),
        ("a NUL in the path", target("/livez\0"), BAD),
        ("a control character in the path", target("/li\x01vez"), BAD),
        ("a space in the path", target("/li vez"), BAD),
        ("a fragment", target("/livez#a"), BAD),
        ("an encoded NUL", target("/livez/%00"), Goes(&[400, 200])),
        ("an encoded line break", target("/livez/%0d%0aX:y"), Goes(&[400, 200])),
        ("an encoded byte of no letter", target("/livez/%ff"), Goes(&[400, 200])),
        ("an encoded NUL in a link", target("/d/%00"), Goes(&[403, 200])),
        ("an encoded line break in a link", target("/d/%0d%0aX:y"), Goes(&[403, 200])),
        ("an encoded byte of no letter in a link", target("/d/%ff"), Goes(&[403, 200])),
        ("dots", target("/fhir/../livez"), Goes(&[404, 200])),
        ("encoded dots", target("/fhir/%2e%2e/livez"), Goes(&[404, 200])),
        ("an encoded slash", target("/livez%2fb"), Goes(&[404, 200])),
        ("an encoded slash in a link", target("/d/a%2fb"), Goes(&[403, 200])),
        ("an encoded letter", target("/%6civez"), Goes(&[404, 200])),
        ("two slashes", target("//livez"), Goes(&[404, 200])),
        ("a parameter of the path (A214)", target("/livez;.js"), Goes(&[404, 200])),
        ("a file's ending (A214)", target("/livez/x.css"), Goes(&[404, 200])),
        ("a backslash", target("/fhir\\..\\livez"), Goes(&[404, 200])),
        ("no host", host(""), BAD),
        ("two hosts", host("Host: {host}\r\nHost: {host}\r\n"), BAD),
        ("an empty host", host("Host: \r\n"), Goes(&[421, 200])),
        ("another host", host("Host: evil.example\r\n"), Goes(&[421, 200])),
        ("a list of hosts", host("Host: {host}, evil.example\r\n"), Goes(&[400, 200])),
        ("a host with a user", host("Host: a@{host}\r\n"), Goes(&[400, 200])),
        ("a host with a path", host("Host: {host}/a\r\n"), Goes(&[400, 200])),
        ("a host with too many brackets", host("Host: [[::1]]]\r\n"), Goes(&[400, 200])),
        ("a host with an empty label", host("Host: a..example\r\n"), Goes(&[400, 200])),
        ("a host with a port too high", host("Host: 127.0.0.1:65536\r\n"), Goes(&[400, 200])),
        ("a host with a port of letters", host("Host: 127.0.0.1:http\r\n"), Goes(&[400, 200])),
        ("a host that is nearly an address", host("Host: 127.0.0.256\r\n"), Goes(&[400, 200])),
    ]
}

/// What asks for another protocol (A213): passed over, since that is what a client expects that only tries.
fn upgrades() -> Vec<(&'static str, String, Then)> {
    let h2c = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n";
    let socket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    vec![
        ("h2c", get(h2c), Goes(&[200, 200])),
        ("h2c with a body", form(&format!("{h2c}Content-Length: 3\r\n"), "a=b"), Goes(&[400, 200])),
        ("a web socket", get(socket), Last(200)),
        ("expect", form("Expect: 100-continue\r\nContent-Length: 3\r\n", "a=b"), Goes(&[400, 200])),
    ]
}

/// The headers without which no answer leaves, whoever made it.
fn has_all_headers(name: &str, answer: &Heard) {
    for header in ["x-request-id", "content-security-policy", "referrer-policy", "cache-control", "date"] {
        assert!(!answer.header(header).is_empty(), "{name}: no {header} in {}", answer.head);
    }
    assert_eq!(answer.header("x-content-type-options"), "nosniff", "{name}");
    assert_eq!(answer.header("server"), "", "{name}");
    if answer.status >= 400 {
        assert!(!answer.code().is_empty() && answer.header("link").contains("rel=\"help\""), "{name}: {}", answer.head);
        assert!(answer.header("content-type").contains("json"), "{name}: {}", answer.head);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a207_a209_a210_a213_a214_raw_bytes_have_one_reading_or_none() {
    let daylily = TestDaylily::start().await;
    let host = daylily.running().address().to_string();
    let tables = [line_ends(), lengths(), codings(), chunks(), lines(), targets(), upgrades()];
    assert!(tables.iter().map(Vec::len).sum::<usize>() >= 100);
    let behind = format!("GET /livez HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nX-Request-Id: behind\r\n\r\n");
    let mut failures = Vec::new();
    for (name, vector, then) in tables.into_iter().flatten() {
        let mut bytes = vector.replace("{host}", &host).into_bytes();
        bytes.extend_from_slice(behind.as_bytes());
        let talk = talk(&daylily, &bytes).await;
        assert!(talk.is_closed, "{name}");
        talk.answers.iter().for_each(|answer| has_all_headers(name, answer));
        if !fits(&talk, then) {
            failures.push(format!("{name}: {:?}, wanted {then:?}", talk.statuses()));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

fn fits(talk: &Talk, then: Then) -> bool {
    let behind = talk.answers.iter().filter(|answer| answer.header("x-request-id") == "behind").count();
    let (statuses, last) = (talk.statuses(), talk.answers.last());
    match then {
        Refused(status, code) => {
            let told = last.is_some_and(|last| last.code() == code && last.header("connection") == "close");
            statuses == [status] && behind == 0 && told
        }
        Cut => matches!(statuses.as_slice(), [] | [400]) && behind == 0,
        Goes(wanted) => statuses == wanted && behind == 1,
        Last(status) => statuses == [status] && behind == 0,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a207_refusals_on_the_wire_have_the_shape_of_their_surface() {
    let daylily = TestDaylily::start().await;
    for (path, kind, member) in [
        ("/fhir/Patient/1", "application/fhir+json; charset=utf-8", "resourceType"),
        ("/auth/token", "application/json", "error"),
        ("/d/x", "application/problem+json", "title"),
    ] {
        let talk = talk(&daylily, format!("GET {path} HTTP/1.1\nHost: a\n\n").as_bytes()).await;
        let [answer] = talk.answers.as_slice() else { panic!("{path}: {:?}", talk.statuses()) };
        assert_eq!((answer.status, answer.code(), answer.header("content-type")), (400, "request-malformed", kind));
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert!(body[member].is_string(), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a197_a208_what_is_too_large_is_refused_while_it_comes() {
    let daylily = TestDaylily::start().await;
    let host = daylily.running().address().to_string();
    let head = |lines: &str| format!("GET /livez HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n");
    let address = |length: usize| format!("GET /livez?{} HTTP/1.1\r\nHost: {host}\r\n\r\n", "a".repeat(length));
    for (name, bytes, status) in [
        ("an address of 9 KiB", address(9 << 10), 414),
        ("an address of 90 KiB", address(90 << 10), 414),
        ("an address of 1 MiB", address(1 << 20), 414),
        ("an address without an end", address(1 << 20).replace(" HTTP/1.1\r\n", ""), 414),
        ("10,000 parameters", format!("GET /livez?{} HTTP/1.1\r\nHost: {host}\r\n\r\n", "a=b&".repeat(10_000)), 414),
        ("101 parameters", format!("GET /livez?{} HTTP/1.1\r\nHost: {host}\r\n\r\n", ["a=b"; 101].join("&")), 414),
        ("a header of 40 KiB", head(&format!("X: {}\r\n", "a".repeat(40 << 10))), 431),
        ("a header of 1 MiB", head(&format!("X: {}\r\n", "a".repeat(1 << 20))), 431),
        ("a header without an end", format!("GET /livez HTTP/1.1\r\nX: {}", "a".repeat(1 << 20)), 431),
        ("65 headers", head(&"X: a\r\n".repeat(64)), 431),
        ("100 headers", head(&"X: a\r\n".repeat(99)), 431),
        ("10,000 headers", head(&"X: a\r\n".repeat(10_000)), 431),
        ("100 cookies", head(&"Cookie: a=b\r\n".repeat(100)), 431),
        ("cookies of 40 KiB", head(&format!("Cookie: {}\r\n", "a=b; ".repeat(8 << 10))), 431),
        ("headers without an end", format!("GET /livez HTTP/1.1\r\n{}", "X: a\r\n".repeat(100_000)), 431),
    ] {
        let mut connection = RawConnection::to(&daylily).await;
        connection.send(bytes.as_bytes()).await;
        let talk = connection.hear(1).await;
        assert_eq!(talk.statuses(), [status], "{name}");
        assert_eq!(talk.answers[0].code(), "request-too-large", "{name}");
        has_all_headers(name, &talk.answers[0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a212_a_thousand_requests_at_once_are_answered_in_order_each_by_its_own_token() {
    let daylily = TestDaylily::start().await;
    let (source, host) = (daylily.source().await, daylily.running().address().to_string());
    let token = source.token().await;
    let mut bytes = String::new();
    for number in 0..1_000 {
        // A good token, none, a wrong one, another route: by turns.
        let (path, bearer) = match number % 4 {
            0 => ("/fhir/Patient/none", format!("Authorization: Bearer {token}\r\n")),
            1 => ("/fhir/Patient/none", String::new()),
            2 => ("/fhir/Patient/none", "Authorization: Bearer dly_wrong\r\n".to_owned()),
            _ => ("/livez", String::new()),
        };
        bytes += &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Request-Id: number-{number}\r\n{bearer}\r\n");
    }
    let mut connection = RawConnection::to(&daylily).await;
    connection.send(bytes.as_bytes()).await;
    let talk = connection.hear(1_000).await;
    for (number, answer) in talk.answers.iter().enumerate() {
        assert_eq!(answer.header("x-request-id"), format!("number-{number}"));
        let expected = [(404, "resource-not-found"), (401, "token-missing"), (401, "token-invalid"), (200, "")];
        assert_eq!((answer.status, answer.code()), expected[number % 4], "{number}");
    }
    assert_eq!(talk.answers.len(), 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a204_a_late_head_is_told_so_and_a_silent_connection_is_closed() {
    let daylily =
        TestDaylily::start_with("", |settings| settings.limits.head_timeout = std::time::Duration::from_secs(1)).await;
    let host = daylily.running().address().to_string();
    let silent = talk(&daylily, b"").await;
    assert!(silent.is_closed && silent.answers.is_empty());
    for begun in ["G", "GET /livez HTTP/1.1\r\n", &format!("GET /livez HTTP/1.1\r\nHost: {host}\r\nX: a")] {
        let late = talk(&daylily, begun.as_bytes()).await;
        assert_eq!((late.statuses(), late.answers[0].code()), (vec![408], "request-timeout"), "{begun:?}");
        has_all_headers(begun, &late.answers[0]);
    }
    // The second head of a connection has no more time than the first.
    let second = talk(&daylily, format!("GET /livez HTTP/1.1\r\nHost: {host}\r\n\r\nGET /").as_bytes()).await;
    assert_eq!(second.statuses(), [200, 408]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a205_a_body_that_drips_is_told_so_and_cut() {
    let daylily =
        TestDaylily::start_with("", |settings| settings.limits.body_grace = std::time::Duration::from_secs(1)).await;
    let source = daylily.source().await;
    let (host, token) = (daylily.running().address().to_string(), source.token().await);
    for (path, kind) in [
        ("/fhir/Patient", "application/fhir+json"),
        ("/fhir/Binary", "application/pdf"),
        ("/auth/token", "application/x-www-form-urlencoded"),
    ] {
        let authorization =
            if path == "/auth/token" { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\n{authorization}Content-Type: {kind}\r\nContent-Length: 50000\r\n\r\n{{"
        );
        let talk = talk(&daylily, head.as_bytes()).await;
        assert_eq!((talk.statuses(), talk.answers[0].code()), (vec![408], "request-timeout"), "{path}");
        assert_eq!(talk.answers[0].header("connection"), "close");
        has_all_headers(path, &talk.answers[0]);
    }
}
