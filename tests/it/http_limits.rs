//! Every limit of the settings, from their own table: at it, one above, ten times above, over the whole server's surface; or by the
//! test that holds it elsewhere. A limit that is added without either fails here.

use std::path::Path;

use daylily::config::{LIMITS, Limits};

use crate::support::*;

/// How a limit is shown to hold.
enum Held {
    /// Tried here with this value: what an amount within it is answered with, and one above it.
    Tried(u64, u16, u16),
    /// By a test of this name.
    By(&'static str),
}

use Held::{By, Tried};

fn held(limit: &str) -> Option<Held> {
    Some(match limit {
        "uri-length" => Tried(8 << 10, 200, 414),
        "head-length" => Tried(8 << 10, 200, 431),
        "headers" => Tried(20, 200, 431),
        "query-parameters" => Tried(100, 200, 414),
        "json-body" => Tried(64 << 10, 201, 413),
        "form-body" => Tried(4 << 10, 400, 413),
        "refused-requests" => Tried(10, 401, 429),
        "connections" => By("a211_connections_have_a_number_and_a_new_one_takes_the_place_of_one_that_idles"),
        "keep-alive" => By("a211_a_connection_that_idles_is_closed"),
        "head-timeout" => By("a204_a_head_has_ten_seconds_however_busily_it_drips"),
        "body-timeout" => By("a205_a_whole_body_has_its_time_and_what_its_length_takes_at_the_least_rate"),
        "body-grace" | "body-rate" => By("a205_a_body_keeps_its_rate_after_its_grace"),
        "write-stall" | "write-rate" => By("a206_readers_that_stand_still_or_sip_are_cut_and_slow_ones_are_not"),
        "uploads" | "downloads" | "searches" | "waits" => By("a200_where_all_places_are_taken_one_is_told_to_wait"),
        "caller-share" | "turn-wait" => By("a_turn_is_waited_for_a_second_and_the_one_that_exceeds_is_told"),
        "link-share" => By("a_link_has_a_quarter_and_the_links_of_one_client_have_its_half"),
        "body-memory" => By("bodies_of_one_client_stay_within_their_memory_and_stop_no_other"),
        "search-time" => By("a_search_reads_for_a_quarter_of_a_second_and_no_longer"),
        "drain" => By("what_runs_at_a_stop_has_its_time_and_no_more"),
        "wait-max" => By("a_wait_is_never_longer_than_its_limit"),
        "binary-form" => By("a_file_over_its_limit_comes_as_bytes_alone"),
        "client-requests" => By("one_client_that_runs_wild_is_told_to_wait_and_the_others_are_not"),
        "token-lifetime" => By("a009_a_token_ends_on_time_also_when_it_is_remembered"),
        "idempotency-key-lifetime" => By("an_idempotency_key_makes_one_of_many_and_no_two_of_one"),
        "unclaimed-binary" => By("a_binary_that_no_document_claims_is_its_creators_alone_and_gone_after_an_hour"),
        "refusal-entries" => {
            By("a113_what_waits_is_bounded_and_what_is_over_is_one_entry_a_code_and_minute_with_its_count")
        }
        "archive-depth" | "archive-entries" | "archive-unpacked" | "archive-ratio" => By("a133_archive_bombs"),
        "content-cache" => By("the_least_recently_used_goes_first_and_the_weight_holds"),
        // Of storage, not of HTTP: how it is laid out, and where writing stops.
        "inline-threshold" | "disk-stop" | "database-readers" | "write-queue" => {
            By("every_default_is_within_its_range_and_comes_back")
        }
        _ => return None,
    })
}

/// Whether a test of this name stands in a folder of sources.
fn stands(folder: &Path, name: &str) -> bool {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).any(|path| match path.is_dir() {
        true => stands(&path, name),
        false => {
            path.extension().is_some_and(|end| end == "rs")
                && std::fs::read_to_string(&path).unwrap().contains(&format!("fn {name}("))
        }
    })
}

#[test]
fn every_limit_is_tried_or_held_by_a_test_that_there_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for row in LIMITS {
        let held = held(row.name).unwrap_or_else(|| panic!("nothing tries the limit `{}`", row.name));
        if let By(name) = held {
            assert!(stands(&root.join("src"), name) || stands(&root.join("tests"), name), "{}: {name}", row.name);
        }
    }
}

/// A request that is as large as `amount` in what a limit counts.
fn sized(limit: &str, amount: usize, host: &str, token: &str) -> String {
    let get = |target: &str, lines: &str| format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n");
    let post = |path: &str, kind: &str, body: String| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    match limit {
        "uri-length" => get(&format!("/livez?{}", "a".repeat(amount - 7)), ""),
        // A header counts its name, its value, and the four bytes around them.
        "head-length" => get("/livez", &format!("X: {}\r\n", "a".repeat(amount - (8 + host.len()) - 5))),
        "headers" => get("/livez", &"X: a\r\n".repeat(amount - 1)),
        "query-parameters" => get(&format!("/livez?{}", vec!["a=b"; amount].join("&")), ""),
        "json-body" => {
            let patient = "{\"resourceType\":\"Patient\"}";
            post("/fhir/Patient", "application/fhir+json", format!("{patient}{}", " ".repeat(amount - patient.len())))
        }
        "form-body" => {
            post("/auth/token", "application/x-www-form-urlencoded", format!("a={}", "b".repeat(amount - 2)))
        }
        "refused-requests" => get("/fhir/Patient/x", "").repeat(amount),
        other => panic!("no request for `{other}`"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a197_a208_each_limit_holds_at_it_above_it_and_far_above_it() {
    for row in LIMITS {
        let Some(Tried(limit, within, above)) = held(row.name) else { continue };
        let set = |limits: &mut Limits| assert!(row.set(limits, limit), "{}", row.name);
        let daylily = TestDaylily::start_with("", |settings| set(&mut settings.limits)).await;
        let host = daylily.running().address().to_string();
        let token = if row.name == "json-body" { daylily.source().await.token().await } else { "none".to_owned() };
        for (amount, status) in [(limit, within), (limit + 1, above), (limit * 10, above)] {
            let amount = usize::try_from(amount).unwrap();
            let answers = if row.name == "refused-requests" { amount } else { 1 };
            let mut connection = RawConnection::to(&daylily).await;
            connection.send(sized(row.name, amount, &host, &token).as_bytes()).await;
            let talk = connection.hear(answers).await;
            let last = talk.answers.last().unwrap_or_else(|| panic!("{} at {amount}: no answer", row.name));
            assert_eq!(last.status, status, "{} at {amount}: {}", row.name, String::from_utf8_lossy(&last.body));
            if status == above {
                let code = if above == 429 { "rate-limited" } else { "request-too-large" };
                assert_eq!(last.code(), code, "{} at {amount}", row.name);
                let body: serde_json::Value = serde_json::from_slice(&last.body).unwrap();
                assert!(!body.to_string().contains("aaaa"), "a refusal repeats nothing of the request");
                assert_eq!(above == 429, !last.header("retry-after").is_empty());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a197_parameters_of_a_form_count_with_those_of_the_query() {
    let daylily = TestDaylily::start_with("", |settings| settings.limits.query_parameters = 10).await;
    let source = daylily.source().await;
    for (form, status) in [(5, 200), (6, 413), (100, 413)] {
        let request =
            source.request(reqwest::Method::POST, "Patient/_search?_count=1&_count=1&_id=a&_id=b&_id=c").await;
        let request = request.header("Content-Type", "application/x-www-form-urlencoded");
        let answer = Answer::of(request.body(vec!["_id=a"; form].join("&"))).await;
        // What is within the limit may still be refused for saying one thing twice.
        assert_eq!(answer.code() == "request-too-large", status == 413, "{form}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a197_searches_have_a_number_of_values_and_single_ones_once() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let values = |number: usize| (0..number).map(|at| format!("http://loinc.org|{at}")).collect::<Vec<_>>().join(",");
    for (query, said) in [
        (format!("type={}", values(100)), (200, "")),
        (format!("type={}", values(101)), (400, "parameter-malformed")),
        (format!("type={}", values(350)), (400, "parameter-malformed")),
        ("_count=1&_count=2".to_owned(), (400, "parameter-malformed")),
        ("_format=json&_format=xml".to_owned(), (400, "parameter-malformed")),
        ("_pretty=true&_pretty=false".to_owned(), (400, "parameter-malformed")),
    ] {
        let answer = source.get(&format!("DocumentReference?{query}")).await;
        assert_eq!(answer.said(), said, "{query:.80}");
        if said.0 != 200 {
            assert_eq!(answer.json()["resourceType"], "OperationOutcome");
        }
        // A form says the same as a query.
        let request = source.request(reqwest::Method::POST, "DocumentReference/_search").await;
        let form = request.header("Content-Type", "application/x-www-form-urlencoded").body(query.clone());
        assert_eq!(Answer::of(form).await.said(), said, "{query:.80}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a211_a_connection_that_idles_is_closed() {
    let keep =
        |settings: &mut daylily::config::Settings| settings.limits.keep_alive = std::time::Duration::from_secs(1);
    let daylily = TestDaylily::start_with("", keep).await;
    let host = daylily.running().address().to_string();
    let talk = talk(&daylily, format!("GET /livez HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await;
    assert!(talk.is_closed && talk.statuses() == [200]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_is_never_longer_than_its_limit() {
    let daylily =
        TestDaylily::start_with("", |settings| settings.limits.wait_max = std::time::Duration::from_secs(1)).await;
    let source = daylily.source().await;
    let (id, _) = daylily.ready_link(&source, &pdf(1, 100)).await;
    // A client of these tests waits for half a minute at most.
    for wait in ["1s", "2s", "3600s"] {
        let answer = source.get(&format!("DocumentReference/{id}/$lifecycle?wait={wait}")).await;
        assert_eq!(states(&answer.ok(200)).last().map(String::as_str), Some("ready"), "{wait}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_at_a_stop_has_its_time_and_no_more() {
    let mut daylily = TestDaylily::start_with("", |settings| {
        settings.limits.wait_max = std::time::Duration::from_secs(300);
        settings.limits.drain = std::time::Duration::from_secs(1);
    })
    .await;
    let source = daylily.source().await;
    let (id, _) = daylily.ready_link(&source, &pdf(1, 100)).await;
    let (host, token) = (daylily.running().address().to_string(), source.token().await);
    let mut connection = RawConnection::to(&daylily).await;
    let path = format!("/fhir/DocumentReference/{id}/$lifecycle?wait=300s");
    connection
        .send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n").as_bytes())
        .await;
    daylily
        .until("a waiting request", async || {
            daylily.log_since(0).await.iter().any(|entry| entry.action == "lifecycle.read").then_some(())
        })
        .await;
    daylily.stop().await;
    assert!(connection.hear(2).await.is_closed);
}
