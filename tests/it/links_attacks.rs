//! Attacks on links by their numbers (A099 to A127), over HTTP; on a bare socket where a client's program would mend what is sent.

use std::net::IpAddr;
use std::time::Duration;

use daylily::control::{ClientChange, Request, RevocationAim};
use daylily::delivery::{Download, Followed};
use daylily::domain::claim::Asked;
use daylily::domain::id::RequestId;
use daylily::domain::refusal::Code;
use reqwest::Method;
use serde_json::json;

use crate::support::links::*;
use crate::support::*;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

fn download(link: &str, from: &str) -> Download {
    Download {
        token: link.rsplit('/').next().unwrap().to_owned(),
        request: RequestId::parse("test").unwrap(),
        address: from.parse::<IpAddr>().unwrap(),
        head: false,
        confirmation: None,
    }
}

/// Whether a link opens for an address.
async fn opens(daylily: &TestDaylily, link: &str, from: &str) -> Result<(), Code> {
    let opened = daylily.running().delivery().open_link(download(link, from)).await;
    opened.map(drop).map_err(|refusal| refusal.code())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a103_another_spelling_of_a_links_path_opens_nothing() {
    let (daylily, source, id, bytes) = released("", 3_000).await;
    let link = daylily.link(&source, &id).await;
    let token = link.rsplit('/').next().unwrap();
    let (first, rest) = token.split_at(1);
    let encoded = format!("%{:02X}{rest}", first.as_bytes()[0]);
    for target in [
        format!("//d/{token}"),
        format!("/./d/{token}"),
        format!("/d/./{token}"),
        format!("/x/../d/{token}"),
        format!("/d//{token}"),
        format!("/d/{token}/"),
        format!("/d/{token}/."),
        format!("/d%2f{token}"),
        format!("/d%2F{token}"),
        format!("/%2e%2e/d/{token}"),
        format!("/%64/{token}"),
        format!("/D/{token}"),
        format!("/d/{encoded}"),
        format!("/d/{token};x=1"),
        format!("/d/{token}%00"),
        format!("/d/{token}%20"),
        format!("/d/{token}."),
        format!("/d/{token}="),
        format!("/d\\{token}"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", host(&daylily));
        let answer = raw(&daylily, &request).await;
        let expected = if target.starts_with("/d/") { 403..=403 } else { 400..=404 };
        assert!(expected.contains(&status(&answer)), "{target}: {}", status(&answer));
        assert!(!holds(&answer, b"%PDF"), "{target}");
    }
    let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", path(&link), host(&daylily));
    let good = raw(&daylily, &request).await;
    assert!(status(&good) == 200 && good.ends_with(&bytes), "its one spelling does");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a106_no_text_of_a_lifetime_gets_a_link_beyond_the_policy() {
    let (daylily, source, id, _) = released("", 100).await;
    for odd in [
        "-5m",
        "0s",
        "86401s",
        "25h",
        "2d",
        "99999999999d",
        "18446744073709551616s",
        "9223372036854775807s",
        "1e9s",
        "24h1s",
        " 1h",
        "900000ms",
        "2051-12-31T00:00:00Z",
        "",
    ] {
        let answer = issue(&source, &id, &[("lifetime", "valueString", json!(odd))]).await;
        assert!(matches!(answer.status, 400 | 422), "{odd}: {} {}", answer.status, answer.text());
    }
    let most = issue(&source, &id, &[("lifetime", "valueString", json!("24h"))]).await.ok(200);
    assert_eq!(text(parameter(&most, "expires"), "/valueInstant"), "2026-11-24T10:00:00.000Z");
    let link = text(parameter(&most, "url"), "/valueUrl");
    daylily.clock.advance(DAY + Duration::from_secs(1));
    assert_eq!(daylily.get(&link).await.said(), (410, "link-expired"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a108_a_transfer_that_began_in_time_ends_with_its_own_time() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let bytes = vec![b'x'; 8 << 20];
    let file = text(&source.upload("text/plain", &bytes).await.ok(201), "/id");
    let id = daylily.ready(&source, &document("p1", &[named("text/plain", &format!("Binary/{file}"))])).await;
    let link = issued(&source, &id, &[]).await;
    let delivery = daylily.running().delivery();
    let Followed::File(opened) = delivery.open_link(download(&link, "127.0.0.1")).await.unwrap() else {
        panic!("asked first")
    };
    let mut transfer = delivery.begin(opened, Asked::whole(bytes.len() as u64), None).await.unwrap();
    assert!(transfer.next_piece().await.unwrap().is_some());
    daylily.clock.advance(16 * MINUTE);
    assert_eq!(daylily.get(&link).await.said(), (410, "link-expired"), "for whoever comes now");
    assert!(transfer.next_piece().await.unwrap().is_some(), "what runs goes on");
    daylily.clock.advance(15 * MINUTE);
    let mut after = 0;
    let cut = loop {
        match transfer.next_piece().await {
            Ok(Some(piece)) => after += piece.len(),
            Ok(None) => break None,
            Err(refused) => break Some(refused),
        }
    };
    assert!(cut.is_some() && after <= 1 << 20, "31 minutes are over the 30 of max-transfer: {after} bytes came on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a109_links_outlive_a_new_key_and_an_emergency_ends_them_all_at_once() {
    let rule = "[[rule]]\nname = \"long\"\nretain = \"90d\"\nlink = { lifetime = \"50d\", max-lifetime = \"60d\" }\n";
    let (mut daylily, source, id, bytes) = released(rule, 100).await;
    let old = issued(&source, &id, &[]).await;
    daylily.stop().await;
    daylily.clock.advance(31 * DAY);
    daylily.start_again().await.unwrap();
    let new = issued(&source, &id, &[]).await;
    // Bytes 1 to 4 name the key: letters 2 to 6 of the text hold nothing else of it.
    let key = |link: &str| link.rsplit('/').next().unwrap()[2..6].to_owned();
    assert_ne!(key(&old), key(&new), "another key signs now");
    for link in [&old, &new] {
        assert_eq!(daylily.get(link).await.bytes, bytes, "both are accepted");
    }
    let all =
        Request::LinksRevoke { aim: RevocationAim::All, reason: "key leaked".to_owned(), state: false, preview: false };
    daylily.command(all).await.unwrap();
    for link in [&old, &new] {
        assert_eq!(daylily.get(link).await.said(), (410, "link-revoked"), "from the next request on");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a110_options_and_probes_use_nothing_up() {
    let rule = "[[rule]]\nname = \"once\"\nlink = { uses = 1, max-uses = 1 }\n";
    let (daylily, source, id, bytes) = released(rule, 200_000).await;
    let link = issued(&source, &id, &[]).await;
    for _ in 0..3 {
        let answer = asked(&daylily, Method::OPTIONS, &link, &[("Origin", "https://a.example")]).await;
        assert!(answer.bytes.is_empty() || !holds(&answer.bytes, b"%PDF"), "{}", answer.status);
        let head = asked(&daylily, Method::HEAD, &link, &[]).await;
        assert_eq!((head.status, head.bytes.len()), (200, 0));
        let probe = asked(&daylily, Method::GET, &link, &[("Range", "bytes=0-0")]).await;
        assert!(matches!((probe.status, probe.bytes.len()), (206, 1) | (409, _)), "{}", probe.status);
    }
    // The probe's turn ends with its answer, or at the latest with the grace.
    daylily.clock.advance(61 * Duration::from_secs(1));
    let whole = async || {
        let answer = daylily.get(&link).await;
        (answer.status == 200).then_some(answer.bytes)
    };
    assert_eq!(daylily.until("the whole file", whole).await, bytes);
    let used = async || (daylily.get(&link).await.said() == (410, "link-used")).then_some(());
    daylily.until("used", used).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a113_guessing_is_slowed_down_and_tells_nothing() {
    let daylily = TestDaylily::start_with("", |settings| settings.limits.refused_requests = 50).await;
    let source = daylily.source().await;
    let (_, link) = daylily.ready_link(&source, &pdf(1, 100)).await;
    let mut number = 7_u64;
    let mut letter = || {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[(number >> 58) as usize])
    };
    let (mut refused, mut slowed) = (0, 0);
    for _ in 0..150 {
        let token: String = (0..84).map(|_| letter()).collect();
        let answer = daylily.get(&format!("/d/{token}")).await;
        match answer.said() {
            (403, "link-invalid") => refused += 1,
            (429, "too-many-requests" | "rate-limited") | (429, _) => {
                slowed += 1;
                assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);
            }
            said => panic!("{said:?}"),
        }
    }
    assert!((50..=60).contains(&refused) && slowed >= 90, "{refused} refused, {slowed} slowed down");
    daylily.clock.advance(2 * MINUTE);
    assert_eq!(daylily.get(&link).await.status, 200, "an honest link from there works when the minute is over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a114_a115_a_link_ends_with_the_right_of_whom_it_was_made_for() {
    let (daylily, source, id, _) = released("", 100).await;
    let reader = daylily.client("reader", FULL, &["all"]).await;
    let foreign = daylily.client("foreign", FULL, &["own"]).await;
    let searcher = daylily.client("searcher", "system/DocumentReference.s", &["all"]).await;
    assert_eq!(issue(&foreign, &id, &[]).await.said(), (404, "resource-not-found"), "as if it were not there");
    assert_eq!(issue(&searcher, &id, &[]).await.status, 403, "search is no right to read");
    let (of_reader, shown) = (issued(&reader, &id, &[]).await, daylily.link(&reader, &id).await);
    let of_source = issued(&source, &id, &[]).await;
    for link in [&of_reader, &shown, &of_source] {
        assert_eq!(daylily.get(link).await.status, 200);
    }
    let disable = Request::ClientChange { id: "reader".to_owned(), change: ClientChange::Disable };
    daylily.command(disable).await.unwrap();
    for link in [&of_reader, &shown] {
        assert_eq!(daylily.get(link).await.said(), (410, "link-revoked"), "its issuer may nothing any more");
    }
    assert_eq!(daylily.get(&of_source).await.status, 200);
    let enable = Request::ClientChange { id: "reader".to_owned(), change: ClientChange::Enable };
    daylily.command(enable).await.unwrap();
    assert_eq!(daylily.get(&of_reader).await.status, 410, "and what ended stays so");
    let ended = parameters(&[("state", "valueBoolean", json!(true))]);
    source.post(&format!("DocumentReference/{id}/$revoke"), &ended).await.ok(200);
    assert!(matches!(daylily.get(&of_source).await.said(), (410, "link-revoked" | "content-revoked")));
    assert!(matches!(issue(&source, &id, &[]).await.said(), (410 | 409 | 422, _)), "and no new ones");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a120_a121_a_link_bound_to_a_network_by_policy_behind_shared_addresses() {
    let rule = "[[rule]]\nname = \"bound\"\nlink = { bind-address = true, network-v4 = 24, network-v6 = 64 }\n";
    let daylily = TestDaylily::start_with(rule, |settings| {
        settings.server.behind_proxy = true;
        settings.server.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let source = daylily.source().await;
    let id = daylily.ready(&source, &document("p1", &[inline("application/pdf", &pdf(1, 100))])).await;
    let issued_from = async |from: &str| {
        let request = source.request(Method::POST, &format!("DocumentReference/{id}/$issue-link")).await;
        let request = request.header("Content-Type", "application/fhir+json").header("X-Forwarded-For", from);
        let answer = Answer::of(request.body(parameters(&[]).to_string())).await.ok(200);
        text(parameter(&answer, "url"), "/valueUrl")
    };
    let said = async |link: &str, from: &str| asked(&daylily, Method::GET, link, &[("X-Forwarded-For", from)]).await;
    let link = issued_from("203.0.113.77").await;
    for inside in ["203.0.113.77", "203.0.113.1", "203.0.113.255", "::ffff:203.0.113.9", "198.51.100.1, 203.0.113.8"] {
        assert_eq!(said(&link, inside).await.status, 200, "{inside}");
    }
    for outside in [
        "203.0.114.77",
        "127.0.0.1",
        "198.51.100.1",
        "2001:db8::1",
        // What a sender writes stands to the left of what the proxy adds.
        "203.0.113.77, 198.51.100.1",
        "203.0.113.77, unknown",
        "_hidden",
    ] {
        let answer = said(&link, outside).await;
        assert_eq!(answer.said(), (403, "link-wrong-network"), "{outside}");
    }
    let link = issued_from("2001:db8:1:2:aaaa::1").await;
    // A privacy address of the next day, in the same /64 (RFC 8981).
    assert_eq!(said(&link, "2001:db8:1:2:1234:5678:9abc:def0").await.status, 200);
    assert_eq!(said(&link, "2001:db8:1:3:aaaa::1").await.said(), (403, "link-wrong-network"));
    for (wide, allowed) in [("0.0.0.0/0", false), ("0.0.0.0/1", false), ("::/16", false), ("10.0.0.0/8", true)] {
        let answer = issue(&source, &id, &[("address", "valueString", json!(wide))]).await;
        assert_eq!(answer.status == 200, allowed, "{wide}: {}", answer.text());
    }
    let entries = daylily.log_since(0).await;
    let networks: Vec<_> =
        entries.iter().filter_map(|entry| entry.get("network")?.as_str().map(str::to_owned)).collect();
    assert!(networks.contains(&"203.0.113.0/24".to_owned()), "the record says what it is bound to: {networks:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a121_without_a_network_in_the_policy_the_one_address_is_meant() {
    let (daylily, source, id, _) = released("[[rule]]\nname = \"b\"\nlink = { bind-address = true }\n", 100).await;
    let link = issued(&source, &id, &[]).await;
    assert_eq!(opens(&daylily, &link, "127.0.0.1").await, Ok(()));
    assert_eq!(opens(&daylily, &link, "127.0.0.2").await, Err(Code::LinkWrongNetwork));
    // A weak wall is never the only one: bound or not, it ends.
    daylily.clock.advance(16 * MINUTE);
    assert_eq!(opens(&daylily, &link, "127.0.0.1").await, Err(Code::LinkExpired));
}
