//! Uses as the holders of several links see them, over HTTP; and what `explain` says of such links.

use daylily::control::{ExplainAim, ExplanationView, Request, Response};
use daylily::delivery::{Arrival, Download, Followed, Transfer};
use daylily::domain::claim::Asked;
use daylily::domain::id::RequestId;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::*;

const ONCE: &str = "[[rule]]\nname = \"once\"\nlink = { uses = 1, max-uses = 2 }\n";

async fn issue(source: &Actor, id: &str, parts: &[(&str, &str, Value)]) -> String {
    let issued = source.post(&format!("DocumentReference/{id}/$issue-link"), &parameters(parts)).await.ok(200);
    text(parameter(&issued, "url"), "/valueUrl")
}

async fn asked(daylily: &TestDaylily, method: Method, link: &str, accept: &str) -> Answer {
    Answer::of(daylily.http.request(method, link).header("Accept", accept)).await
}

/// A transfer of a range from an address, as one connection of a reader.
async fn follow(daylily: &TestDaylily, link: &str, from: &str, range: Asked) -> Transfer {
    let download = Download {
        token: link.rsplit('/').next().unwrap().to_owned(),
        request: RequestId::parse("test").unwrap(),
        address: from.parse().unwrap(),
        head: false,
        confirmation: None,
    };
    let Followed::File(opened) = daylily.running().delivery().open_link(download).await.unwrap() else { panic!() };
    daylily.running().delivery().begin(opened, range, None).await.unwrap()
}

async fn take(transfer: &mut Transfer, most: u64) -> u64 {
    let mut taken = 0;
    while let Some(piece) = if taken < most { transfer.next_piece().await.unwrap() } else { None } {
        taken += u64::try_from(piece.len()).unwrap();
    }
    taken
}

async fn explained(daylily: &TestDaylily, link: &str) -> ExplanationView {
    match daylily.command(Request::Explain { aim: ExplainAim::Link(link.to_owned()) }).await.unwrap() {
        Response::Explanation(view) => view,
        other => panic!("{other:?}"),
    }
}

fn fact(view: &ExplanationView, name: &str) -> String {
    view.facts.iter().find(|fact| fact.name == name).map(|fact| fact.text.clone()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_links_of_one_file_share_one_use_and_each_answer_says_so() {
    let daylily = TestDaylily::start_with(ONCE, |_| {}).await;
    let source = daylily.source().await;
    let bytes = pdf(1, 400_000);
    let size = u64::try_from(bytes.len()).unwrap();
    let id = daylily.ready(&source, &document("p1", &[inline("application/pdf", &bytes)])).await;
    let links = [issue(&source, &id, &[]).await, issue(&source, &id, &[]).await];
    let mut running = follow(&daylily, &links[0], "192.0.2.9", Asked::whole(size)).await;
    take(&mut running, 1).await;
    for link in &links {
        for (method, accept) in [(Method::GET, "*/*"), (Method::GET, "text/html"), (Method::HEAD, "*/*")] {
            let busy = asked(&daylily, method, link, accept).await;
            assert_eq!((busy.status, busy.header("daylily-error")), (409, "link-busy"));
            let after: u32 = busy.header("retry-after").parse().unwrap();
            assert!((1..=30).contains(&after), "{after}");
        }
        let view = explained(&daylily, link).await;
        assert_eq!((view.can_open, view.code.as_deref()), (Some(false), Some("link-busy")));
        assert!(fact(&view, "uses").starts_with("0 of 1, 1 under way"), "{view:?}");
    }
    let page = asked(&daylily, Method::GET, &links[1], "text/html").await;
    assert!(page.text().contains("<h1>A download is already under way</h1>"), "{}", page.text());
    assert_eq!(take(&mut running, u64::MAX).await + 65_536, size);
    running.settle(Arrival::Taken);
    for link in &links {
        let used = async || {
            let answer = asked(&daylily, Method::GET, link, "*/*").await;
            (answer.said() == (410, "link-used")).then_some(answer)
        };
        let answer = daylily.until("used", used).await;
        assert!(answer.text().contains("as often as it may be (1)"), "{}", answer.text());
        let page = asked(&daylily, Method::GET, link, "text/html").await;
        let said = "It was made to be used once, and that was on <time";
        assert!(page.status == 410 && page.text().contains(said), "{}", page.text());
        // As it stands in a browser's address line.
        let view = explained(&daylily, &format!("{link}?from=mail#x")).await;
        assert_eq!((view.can_open, view.code.as_deref()), (Some(false), Some("link-used")));
        assert!(fact(&view, "uses").starts_with("1 of 1"), "{view:?}");
    }
    // A link of two uses has the one that is left; a recipient of its own has its own.
    let named = [("recipient", "valueReference", json!({"reference": "Practitioner/1"}))];
    for parts in [&[("uses", "valuePositiveInt", json!(2))], &named] {
        let link = issue(&source, &id, parts).await;
        let answer = asked(&daylily, Method::GET, &link, "*/*").await;
        assert_eq!((answer.status, answer.bytes.len()), (200, bytes.len()));
        let used = async || (asked(&daylily, Method::HEAD, &link, "*/*").await.status == 410).then_some(());
        daylily.until("used", used).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spent_link_to_confirm_says_when_and_how_often_it_was_used() {
    let daylily = TestDaylily::start_with(ONCE, |_| {}).await;
    let source = daylily.source().await;
    let (id, _) = (daylily.ready(&source, &document("p1", &[inline("application/pdf", &pdf(1, 100))])).await, ());
    let confirm = ("confirm", "valueBoolean", json!(true));
    let link = issue(&source, &id, &[confirm, ("uses", "valuePositiveInt", json!(2))]).await;
    for round in 0..2 {
        let page = asked(&daylily, Method::GET, &link, "text/html").await;
        let cookie = page.header("set-cookie").split(';').next().unwrap().to_owned();
        let left = if round == 0 { "<dd>2 more times</dd>" } else { "<dd>once</dd>" };
        assert!(page.text().contains(left), "{}", page.text());
        let press = daylily.http.post(&link).header("Cookie", &cookie);
        let pressed = Answer::of(press).await;
        let to = format!("{}{}", daylily.base(), pressed.header("location"));
        // The link of a minute is the one that was confirmed, in the record and to whoever asks about it.
        let view = explained(&daylily, &to).await;
        assert_eq!(fact(&view, "link"), daylily::domain::link::id_of(link.rsplit('/').next().unwrap()).to_string());
        assert_eq!(Answer::of(daylily.http.get(&to).header("Cookie", &cookie)).await.status, 200);
        let counted = async || fact(&explained(&daylily, &link).await, "uses").starts_with(&(round + 1).to_string());
        daylily.until("counted", async || counted().await.then_some(())).await;
    }
    let page = asked(&daylily, Method::GET, &link, "text/html").await;
    assert_eq!(page.status, 410);
    let said = "It was made to be used 2 times, and that was on <time";
    assert!(page.text().contains(said), "{}", page.text());
    assert_eq!(asked(&daylily, Method::GET, &link, "*/*").await.said(), (403, "link-confirm-required"), "a program");
    assert_eq!(asked(&daylily, Method::HEAD, &link, "*/*").await.status, 410);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_broke_off_and_was_resumed_is_one_delivery() {
    for (again, delivered) in [(vec![(100_000, "192.0.2.9")], true), (vec![(100_000, "192.0.2.8")], false)] {
        let daylily = TestDaylily::start_with("", |_| {}).await;
        let source = daylily.source().await;
        let receiver = daylily.client("receiver", FULL, &["all"]).await;
        let bytes = pdf(1, 400_000);
        let size = u64::try_from(bytes.len()).unwrap();
        let id = daylily.ready(&source, &document("p1", &[inline("application/pdf", &bytes)])).await;
        let link = daylily.link(&receiver, &id).await;
        let ended = daylily.log_size().await;
        let mut broken = follow(&daylily, &link, "192.0.2.9", Asked::whole(size)).await;
        take(&mut broken, 131_072).await;
        drop(broken);
        let outcome = async |wanted: &'static str| {
            let log = daylily.log_since(ended).await;
            log.iter().any(|entry| entry.what() == wanted).then_some(())
        };
        daylily.until("the break", async || outcome("link.redeem error").await).await;
        for (from, address) in again {
            let mut rest =
                follow(&daylily, &link, address, Asked { range: from..size, partial: true, tagged: false }).await;
            take(&mut rest, u64::MAX).await;
            rest.settle(Arrival::Taken);
        }
        daylily.until("the end", async || outcome("link.redeem ok").await).await;
        if delivered {
            daylily.wait(&source, &id, "delivered").await;
        } else {
            let state = state_of(&source.get(&format!("DocumentReference/{id}")).await.ok(200));
            assert_eq!(state, "ready", "nobody said that the first part arrived");
        }
    }
}
