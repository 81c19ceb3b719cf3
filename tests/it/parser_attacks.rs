//! Readers under attack, over the wire: what is refused is refused with its code and leaves nothing, and the server goes on.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::*;

async fn post(actor: &Actor, bytes: Vec<u8>) -> Answer {
    let request = actor.request(Method::POST, "DocumentReference").await;
    Answer::of(request.header("Content-Type", "application/fhir+json").body(bytes)).await
}

async fn total(actor: &Actor, query: &str) -> u64 {
    let found = actor.get(&format!("DocumentReference?_summary=count&{query}")).await.ok(200);
    found["total"].as_u64().unwrap()
}

fn bytes_of(value: &Value) -> String {
    value.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a190_a_deep_body_is_refused_and_the_server_goes_on() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    for depth in [200, 10_000, 1_000_000] {
        for text in [format!("{}{}", "[".repeat(depth), "]".repeat(depth)), "{\"a\":".repeat(depth)] {
            assert_eq!(post(&source, text.into_bytes()).await.said(), (400, "nesting-too-deep"), "{depth}");
        }
        let extension = format!("{}{}", "{\"extension\":[".repeat(depth), "]}".repeat(depth));
        let body =
            format!("{{\"resourceType\":\"DocumentReference\",\"status\":\"current\",\"extension\":[{extension}]}}");
        assert_eq!(post(&source, body.into_bytes()).await.said(), (400, "nesting-too-deep"), "{depth}");
    }
    // Where a token's JSON is read, nobody is known yet.
    let part = |text: &str| daylily::auth::jose::encode(text.as_bytes());
    for depth in [200, 2_000] {
        let deep = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        let token = format!("{}.{}.{}", part("{\"alg\":\"ES384\",\"kid\":\"k\"}"), part(&deep), part("x"));
        assert_eq!(source.ask_token(&token, "system/*.rs").await.status, 401);
        let request = daylily.http.get(format!("{}/fhir/DocumentReference", daylily.base()));
        assert_eq!(Answer::of(request.bearer_auth(&token)).await.said(), (401, "token-invalid"));
    }
    assert_eq!(total(&source, "").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a191_a_name_that_stands_twice_stores_neither() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let whole = bytes_of(&document("p1", &[inline("text/plain", b"a")]));
    let end = whole.len() - 1;
    for (extra, shown) in [
        (r#","subject":{"reference":"Patient/p2"}"#, "DocumentReference.subject"),
        (r#","\u0073ubject":{"reference":"Patient/p2"}"#, "DocumentReference.subject"),
        (r#","resourceType":"Patient""#, ""),
        (r#","context":{"encounter":[],"encounter":[]}"#, "DocumentReference.context.encounter"),
    ] {
        let body = format!("{}{extra}}}", whole.get(..end).unwrap());
        let refused = post(&source, body.into_bytes()).await;
        assert_eq!(refused.said(), (400, "name-repeated"), "{extra}");
        let place = refused.json()["issue"][0]["expression"][0].as_str().unwrap_or_default().to_owned();
        assert_eq!(place, shown);
        assert!(!refused.text().contains("Patient/p2"));
    }
    assert_eq!(total(&source, "").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a192_decimals_are_kept_digit_for_digit_or_refused() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let with = |number: &str| {
        let mut body = bytes_of(&document("p1", &[inline("text/plain", b"a")]));
        body.pop();
        format!("{body},\"extension\":[{{\"url\":\"urn:x\",\"valueDecimal\":{number}}}]}}").into_bytes()
    };
    for number in ["1.00", "0.10", "-0.0", "123456789012345678", "0.12345678901234567", "1.0E-22", "100e3"] {
        let made = post(&source, with(number)).await;
        let id = text(&made.ok(201), "/id");
        let read = source.get(&format!("DocumentReference/{id}")).await;
        assert!(read.text().contains(&format!("\"valueDecimal\":{number}}}")), "{number}: {}", read.text());
        let found = source.get(&format!("DocumentReference?_id={id}")).await;
        assert!(found.text().contains(&format!("\"valueDecimal\":{number}}}")), "{number}");
    }
    let before = total(&source, "").await;
    for number in ["NaN", "Infinity", "01", "1.", ".5", "+1", "0x10", "\"1.0\"", "1e", "--1"] {
        let refused = post(&source, with(number)).await;
        assert!([400, 422].contains(&refused.status), "{number}: {}", refused.text());
    }
    for number in
        ["9".repeat(400), format!("-{}", "9".repeat(400)), "1e400".to_owned(), format!("1e{}", "9".repeat(300))]
    {
        let answer = post(&source, with(&number)).await;
        if answer.status == 201 {
            let id = text(&serde_json::from_str(&answer.text().replace(&number, "0")).unwrap(), "/id");
            let read = source.get(&format!("DocumentReference/{id}")).await;
            assert!(read.text().contains(&format!(":{number}}}")), "it is another number now");
        } else {
            assert_eq!(answer.status, 422, "{}", answer.text());
        }
    }
    assert!(total(&source, "").await <= before + 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a193_bytes_that_are_no_text_are_refused_and_leave_nothing() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let whole = bytes_of(&document("p1", &[inline("text/plain", b"a")]));
    let (before, after) = whole.split_once("Patient/p1").unwrap();
    for bytes in
        [b"\xff".as_slice(), b"\xc0\xaf", b"\xed\xa0\x80", b"\0", b"\\ud800", b"\\udc00", b"\\ud83d\\u0041", b"\\x41"]
    {
        let body = [before.as_bytes(), b"Patient/", bytes, after.as_bytes()].concat();
        assert_eq!(post(&source, body).await.said(), (400, "body-malformed"), "{bytes:?}");
    }
    for start in [b"\xEF\xBB\xBF".as_slice(), b"\xFF\xFE"] {
        assert_eq!(post(&source, [start, whole.as_bytes()].concat()).await.said(), (400, "body-malformed"));
    }
    for escape in ["\\u0000", "\\u0001"] {
        let body = whole.replacen("\"status\"", &format!("\"description\":\"a{escape}b\",\"status\""), 1);
        assert_eq!(post(&source, body.into_bytes()).await.status, 422, "{escape}");
    }
    for query in ["identifier=a%00b", "identifier=%FF", "patient=%C0%AF", "type=%ED%A0%80|x"] {
        let answer = source.get(&format!("DocumentReference?{query}")).await;
        assert!([200, 400].contains(&answer.status), "{query}");
        if answer.status == 200 {
            assert_eq!(answer.json()["total"], 0, "{query}");
        }
    }
    assert_eq!(total(&source, "").await, 0);
}

/// There is no operator of patterns: what looks like one is a letter like any other, and costs what any other letter costs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a198_signs_of_patterns_match_themselves_alone() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    for (patient, value) in [("p1", "a%b"), ("p2", "a_b"), ("p3", "axb"), ("p4", "a\\b"), ("p5", "a*b"), ("p6", "a'b")]
    {
        let mut body = document(patient, &[inline("text/plain", b"a")]);
        body["identifier"] = json!([{ "system": "urn:s", "value": value }]);
        source.post("DocumentReference", &body).await.ok(201);
    }
    for (asked, expected) in [
        ("a%25b", 1),
        ("a_b", 1),
        ("a*b", 1),
        ("a%27b", 1),
        ("%25", 0),
        ("_", 0),
        ("a%25", 0),
        ("%25b", 0),
        ("a%3Fb", 0),
        ("urn:s|%25", 0),
        ("%25|axb", 0),
        ("a.b", 0),
        ("(a%2B)%2Bb", 0),
        ("'%20OR%20'1'='1", 0),
        ("A%25B", 0),
    ] {
        assert_eq!(total(&source, &format!("identifier={asked}")).await, expected, "{asked}");
    }
    let long = "%25".repeat(2_000);
    for name in ["identifier", "type", "patient.identifier"] {
        assert_eq!(total(&source, &format!("{name}={long}")).await, 0, "{name}");
    }
    for modifier in
        ["identifier:contains=a", "type:text=a", "patient.name:contains=a", "identifier:exact=a", "_filter=a%20co%20b"]
    {
        let answer = source.get(&format!("DocumentReference?{modifier}")).await;
        assert_eq!(answer.said(), (400, "parameter-unsupported"), "{modifier}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a199_count_is_a_whole_number_up_to_the_most() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    source.post("DocumentReference", &document("p1", &[inline("text/plain", b"a")])).await.ok(201);
    for huge in ["1001", "2147483647", "2147483648", "18446744073709551616", &"9".repeat(400)] {
        let found = source.get(&format!("DocumentReference?_count={huge}")).await.ok(200);
        assert!(text(&found, "/link/0/url").contains("_count=1000"), "{huge}: {}", found["link"]);
        assert_eq!(found["total"], 1);
    }
    let none = source.get("DocumentReference?_count=0").await.ok(200);
    assert_eq!((&none["total"], none["entry"].as_array().map_or(0, Vec::len)), (&json!(1), 0));
    for wrong in ["-1", "1e3", "1.5", "0x10", "%2B5", "5%20", "five", "%D9%A5", "1,2", "-0", "NaN"] {
        let refused = source.get(&format!("DocumentReference?_count={wrong}")).await;
        assert_eq!(refused.said(), (400, "parameter-malformed"), "{wrong}");
    }
    assert_eq!(source.get("DocumentReference?_count=1&_count=2").await.status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a201_dates_at_the_ends_of_time_are_exact_or_refused() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    for date in [
        "0001",
        "9999-12-31",
        "9999-12-31T23:59:59.999999999+14:00",
        "0001-01-01T00:00:00-12:00",
        "2024-06-30T12:00:00+14:00",
    ] {
        let mut body = document("p1", &[inline("text/plain", b"a")]);
        body["date"] = json!(if date.contains('T') {
            date.to_owned()
        } else {
            format!("{}T00:00:00Z", if date.len() == 4 { "0001-01-01" } else { date })
        });
        source.post("DocumentReference", &body).await.ok(201);
    }
    for (asked, expected) in [
        ("9999-12-31", 2),
        ("ge9999", 2),
        ("gt9999-12-31", 0),
        ("0001", 2),
        ("le0001", 2),
        ("lt0001-01-01", 0),
        ("eb0001", 0),
        ("sa9999", 0),
        ("ne2024", 4),
        // +14:00 at noon is 22:00 of the day before.
        ("2024-06-29T22:00:00Z", 1),
        ("2024-06-30T12:00:00%2B14:00", 1),
    ] {
        assert_eq!(total(&source, &format!("date={asked}")).await, expected, "{asked}");
    }
    for near in ["ap0001", "ap9999-12-31T23:59:59.999Z", "ap2024"] {
        for name in ["date", "_lastUpdated"] {
            source.get(&format!("DocumentReference?{name}={near}")).await.ok(200);
        }
    }
    for wrong in [
        "0000",
        "0000-01-01",
        "9999-12-31T23:59:60Z",
        "9999-12-32",
        "10000",
        "-0001",
        "%2B2024",
        "ge2023-99",
        "2023-02-29",
        "2024-01-01T24:00:00Z",
        "2024-01-01T10:00:00%2B14:01",
        "2024-01-01T10:00:00-99:99",
        "Sat,%2001%20Jan%202000%2000:00:00%20GMT",
        "2024-01-01T10:00:00.Z",
        "gege2024",
        "ap",
        "٢٠٢٤",
    ] {
        for name in ["date", "_lastUpdated"] {
            let refused = source.get(&format!("DocumentReference?{name}={wrong}")).await;
            assert_eq!(refused.said(), (400, "parameter-malformed"), "{name}={wrong}");
        }
    }
    for wrong in [
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:61Z",
        "2023-02-29T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "2024-01-01T10:00:00+15:00",
    ] {
        let mut body = document("p1", &[inline("text/plain", b"a")]);
        body["date"] = json!(wrong);
        assert_eq!(source.post("DocumentReference", &body).await.status, 422, "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a202_very_many_names_are_refused_by_their_number() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let query: Vec<String> = (0..700).map(|at| format!("p{at}=1")).collect();
    let refused = source.get(&format!("DocumentReference?{}", query.join("&"))).await;
    assert!([400, 414].contains(&refused.status), "{}", refused.text());
    let form: Vec<String> = (0..100_000).map(|at| format!("p{at}=1")).collect();
    let request = source.request(Method::POST, "DocumentReference/_search").await;
    let request = request.header("Content-Type", "application/x-www-form-urlencoded").body(form.join("&"));
    assert!([400, 413].contains(&Answer::of(request).await.status));
    let names: Vec<String> = (0..100_000).map(|at| format!("\"n{at}\":1")).collect();
    let refused =
        post(&source, format!("{{\"resourceType\":\"DocumentReference\",{}}}", names.join(",")).into_bytes()).await;
    assert_eq!(refused.said(), (400, "element-unknown"));
    assert!(refused.bytes.len() < 32 * 1024, "an answer of {} bytes", refused.bytes.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a198_a_list_that_is_too_long_is_refused_at_its_place_and_one_at_the_limit_is_taken() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let authors = |number: usize| {
        let mut whole = document("p1", &[inline("text/plain", b"a")]);
        whole["author"] = (0..number).map(|at| json!({"reference": format!("Practitioner/a{at}")})).collect();
        bytes_of(&whole).into_bytes()
    };
    for number in [100_000, 4_097, 2_048] {
        let refused = post(&source, authors(number)).await;
        assert_eq!(refused.said(), (422, "list-too-long"), "{number}");
        assert!(refused.text().contains("DocumentReference.author"), "{}", refused.text());
    }
    assert_eq!(total(&source, "").await, 0);
    // The subject is a reference too.
    let request = source.request(Method::POST, "DocumentReference").await.header("Prefer", "return=OperationOutcome");
    let request = request.header("Content-Type", "application/fhir+json").body(authors(2_047));
    let taken = Answer::of(request).await.ok(201);
    let issues = taken["issue"].as_array().unwrap();
    assert_eq!(issues.len(), 21, "each dangles; twenty are listed, and how many more there are");
    assert_eq!(total(&source, "").await, 1);
}
