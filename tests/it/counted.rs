//! Counted, bound and confirmed links (contract, Links: Uses, Confirm), over HTTP where a client's program can show it, and by the
//! use cases where a second address or a broken connection is needed.

use std::net::IpAddr;
use std::time::Duration;

use daylily::delivery::{Arrival, Download, Followed, Transfer};
use daylily::domain::claim::Asked;
use daylily::domain::id::RequestId;
use daylily::domain::refusal::Code;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::*;

/// What [`pdf`] makes of the length below.
const SIZE: usize = 400_427;
const LENGTH: usize = 400_000;
const ONCE: &str = "[[rule]]\nname = \"once\"\nlink = { uses = 1, max-uses = 2 }\n";
const HERE: &str = "127.0.0.1";
const THERE: &str = "192.0.2.9";

struct Rig {
    daylily: TestDaylily,
    source: Actor,
    id: String,
    bytes: Vec<u8>,
}

impl Rig {
    async fn with(policy: &str) -> Self {
        let daylily = TestDaylily::start_with(policy, |_| {}).await;
        let source = daylily.source().await;
        let bytes = pdf(1, LENGTH);
        assert_eq!(bytes.len(), SIZE);
        let id = daylily.ready(&source, &document("p1", &[inline("application/pdf", &bytes)])).await;
        Self { daylily, source, id, bytes }
    }

    async fn asked_for(&self, parts: &[(&str, &str, Value)]) -> Answer {
        self.source.post(&format!("DocumentReference/{}/$issue-link", self.id), &parameters(parts)).await
    }

    async fn issue(&self, parts: &[(&str, &str, Value)]) -> String {
        let issued = self.asked_for(parts).await.ok(200);
        text(parameter(&issued, "url"), "/valueUrl")
    }

    async fn get(&self, link: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, link, headers).await
    }

    async fn send(&self, method: Method, link: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.daylily.http.request(method, link);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(request).await
    }

    /// Waits until a link answers a HEAD so: the end of a transfer is written after its answer.
    async fn until(&self, link: &str, status: u16) {
        let asked = async || (self.send(Method::HEAD, link, &[]).await.status == status).then_some(());
        self.daylily.until("the use", asked).await;
    }

    async fn follow(&self, link: &str, from: &str, asked: Asked) -> Result<Transfer, Code> {
        let delivery = self.daylily.running().delivery();
        match delivery.open_link(request(link, from, None)).await.map_err(|refusal| refusal.code())? {
            Followed::File(opened) => delivery.begin(opened, asked, None).await.map_err(|refusal| refusal.code()),
            Followed::Confirm(_) => Err(Code::LinkConfirmRequired),
        }
    }

    async fn claims(&self) -> i64 {
        self.daylily.stored_rows("SELECT count(*) AS n FROM link_claim WHERE spent = 0")
    }
}

fn request(link: &str, from: &str, confirmation: Option<&str>) -> Download {
    Download {
        token: link.rsplit('/').next().unwrap().to_owned(),
        request: RequestId::parse("test").unwrap(),
        address: from.parse::<IpAddr>().unwrap(),
        head: false,
        confirmation: confirmation.map(str::to_owned),
    }
}

fn size() -> u64 {
    u64::try_from(SIZE).unwrap()
}

fn resume(from: u64, tagged: bool) -> Asked {
    Asked { range: from..size(), partial: true, tagged }
}

/// Takes pieces up to a length.
async fn take(transfer: &mut Transfer, most: u64) -> u64 {
    let mut taken = 0;
    while taken < most {
        match transfer.next_piece().await.unwrap() {
            Some(piece) => taken += u64::try_from(piece.len()).unwrap(),
            None => break,
        }
    }
    taken
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a110_one_use_is_one_whole_file_and_head_uses_nothing() {
    let rig = Rig::with(ONCE).await;
    let (link, other) = (rig.issue(&[]).await, rig.issue(&[]).await);
    for _ in 0..3 {
        assert_eq!(rig.send(Method::HEAD, &link, &[]).await.status, 200);
    }
    assert_eq!(rig.get(&link, &[]).await.bytes, rig.bytes);
    rig.until(&link, 410).await;
    for used in [&link, &other] {
        let answer = rig.get(used, &[]).await;
        assert_eq!(answer.said(), (410, "link-used"), "two links of one file share its use");
    }
    assert_eq!(rig.send(Method::HEAD, &link, &[]).await.said(), (410, "link-used"));
    // Whom the link names counts apart, and so does another use that the policy allows.
    let named = rig.issue(&[("recipient", "valueReference", json!({"reference": "Practitioner/7"}))]).await;
    assert_eq!(rig.get(&named, &[]).await.status, 200);
    let twice = rig.issue(&[("uses", "valuePositiveInt", json!(2))]).await;
    assert_eq!(rig.get(&twice, &[]).await.status, 200);
    rig.until(&twice, 410).await;
    rig.daylily.clock.advance(Duration::from_secs(901));
    assert_eq!(rig.get(&link, &[]).await.said(), (410, "link-expired"), "its time is told before its uses");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a111_of_64_at_once_one_gets_the_file() {
    let rig = Rig::with(ONCE).await;
    for round in 0..4 {
        let whom = json!({"reference": format!("Practitioner/{round}")});
        let (one, two) = (
            rig.issue(&[("recipient", "valueReference", whom.clone())]).await,
            rig.issue(&[("recipient", "valueReference", whom)]).await,
        );
        let asked = (0..64).map(|at| {
            let (http, link) = (rig.daylily.http.clone(), if at % 2 == 0 { one.clone() } else { two.clone() });
            tokio::spawn(async move { Answer::of(http.get(link)).await })
        });
        let mut whole = 0;
        for answer in asked.collect::<Vec<_>>() {
            let answer = answer.await.unwrap();
            match answer.said() {
                (200, _) => whole += usize::from(answer.bytes == rig.bytes),
                (409, "link-busy") => {
                    assert!((1..=30).contains(&answer.header("retry-after").parse::<u32>().unwrap()));
                }
                (410, "link-used") => {}
                said => panic!("{said:?}"),
            }
        }
        assert_eq!(whole, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a112_a_use_that_broke_off_is_given_back() {
    let rig = Rig::with(ONCE).await;
    for most in [1, size() / 2, size()] {
        let whom = json!({"reference": format!("Practitioner/{most}")});
        let link = rig.issue(&[("recipient", "valueReference", whom)]).await;
        let mut transfer = rig.follow(&link, THERE, Asked::whole(size())).await.unwrap();
        take(&mut transfer, most).await;
        let busy = rig.get(&link, &[]).await;
        assert_eq!(busy.said(), (409, "link-busy"), "{most}");
        assert!((1..=30).contains(&busy.header("retry-after").parse::<u32>().unwrap()));
        transfer.settle(Arrival::Unknown);
        // Whoever comes next gets it, at once: here from another address, whole.
        let whole = rig.get(&link, &[]).await;
        assert_eq!((whole.status, whole.bytes.len()), (200, SIZE), "{most}: {:?}", whole.said());
        assert_eq!(rig.get(&link, &[]).await.said(), (410, "link-used"), "{most}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a112_a_broken_download_goes_on_under_its_claim() {
    let rig = Rig::with(ONCE).await;
    for (round, tagged) in [(1, true), (2, false)] {
        let whom = json!({"reference": format!("Practitioner/{round}")});
        let link = rig.issue(&[("recipient", "valueReference", whom)]).await;
        let mut first = rig.follow(&link, THERE, Asked::whole(size())).await.unwrap();
        let taken = take(&mut first, 100_000).await;
        // Not from elsewhere, and not from 0 without the tag.
        assert_eq!(rig.follow(&link, HERE, resume(taken, true)).await.unwrap_err(), Code::LinkBusy);
        let again = Asked { range: 0..10, partial: true, tagged: false };
        assert_eq!(rig.follow(&link, THERE, again).await.unwrap_err(), Code::LinkBusy);
        // The reader gives the first connection up before the server sees it: what it would still send ends.
        let mut rest = rig.follow(&link, THERE, resume(taken, tagged)).await.unwrap();
        assert!(first.next_piece().await.is_err());
        drop(first);
        assert_eq!(take(&mut rest, u64::MAX).await, size() - taken);
        rest.settle(Arrival::Taken);
        rig.until(&link, 410).await;
        assert_eq!(rig.claims().await, 0, "none is under way");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_closing_only_mending_ranges_of_that_address_are_served() {
    let rig = Rig::with(ONCE).await;
    let link = rig.issue(&[]).await;
    let whole = rig.get(&link, &[]).await;
    let tag = whole.header("etag").to_owned();
    rig.daylily.until("closed", async || (rig.get(&link, &[]).await.said() == (410, "link-used")).then_some(())).await;
    let ranged = async |range: &str, tag: &str| rig.get(&link, &[("Range", range), ("If-Range", tag)]).await;
    let part = ranged("bytes=300000-", &tag).await;
    assert_eq!((part.status, part.bytes.len()), (206, SIZE - 300_000));
    assert_eq!(rig.get(&link, &[("Range", "bytes=5-9")]).await.said(), (410, "link-used"), "without the tag");
    assert_eq!(ranged("bytes=0-9", &tag).await.said(), (410, "link-used"), "from 0");
    assert_eq!(rig.follow(&link, THERE, resume(5, true)).await.unwrap_err(), Code::LinkUsed, "from elsewhere");
    assert_eq!(ranged("bytes=1-", &tag).await.said(), (410, "link-used"), "more than one length in sum");
    assert_eq!(ranged("bytes=100000-399999", &tag).await.status, 206);
    assert_eq!(ranged("bytes=399999-", &tag).await.said(), (410, "link-used"), "nothing is left");
    let late = rig.issue(&[("recipient", "valueReference", json!({"reference": "Practitioner/1"}))]).await;
    assert_eq!(rig.get(&late, &[]).await.status, 200);
    rig.daylily.until("closed", async || (rig.get(&late, &[]).await.said() == (410, "link-used")).then_some(())).await;
    rig.daylily.clock.advance(Duration::from_secs(61));
    assert_eq!(rig.follow(&late, HERE, resume(5, true)).await.unwrap_err(), Code::LinkUsed, "the grace is over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_that_make_a_whole_are_one_use_and_a_silent_claim_ends() {
    let rig = Rig::with(ONCE).await;
    let link = rig.issue(&[]).await;
    let half = rig.get(&link, &[("Range", "bytes=0-199999")]).await;
    assert_eq!(half.status, 206);
    let tag = half.header("etag").to_owned();
    // Elsewhere it is busy; the rest belongs to the claim.
    assert_eq!(rig.follow(&link, THERE, Asked::whole(size())).await.unwrap_err(), Code::LinkBusy);
    let rest = async || {
        let answer = rig.get(&link, &[("Range", "bytes=200000-"), ("If-Range", &tag)]).await;
        (answer.status == 206).then_some(answer.bytes.len())
    };
    assert_eq!(rig.daylily.until("the rest", rest).await, SIZE - 200_000);
    rig.until(&link, 410).await;
    rig.daylily.clock.advance(Duration::from_secs(61));
    assert_eq!(rig.get(&link, &[]).await.said(), (410, "link-used"));

    let link = rig.issue(&[("recipient", "valueReference", json!({"reference": "Practitioner/1"}))]).await;
    let mut stalled = rig.follow(&link, THERE, Asked::whole(size())).await.unwrap();
    take(&mut stalled, 1).await;
    rig.daylily.clock.advance(Duration::from_secs(61));
    assert_eq!(rig.get(&link, &[]).await.bytes.len(), SIZE, "nothing moved for the grace");
    assert!(stalled.next_piece().await.is_err(), "and what was under way ends: never two whole files");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_use_outlives_a_restart_and_an_open_claim_is_given_back() {
    let mut rig = Rig::with(ONCE).await;
    let used = rig.issue(&[]).await;
    assert_eq!(rig.get(&used, &[]).await.status, 200);
    rig.until(&used, 410).await;
    let open = rig.issue(&[("recipient", "valueReference", json!({"reference": "Practitioner/1"}))]).await;
    let closing = rig.issue(&[("recipient", "valueReference", json!({"reference": "Practitioner/2"}))]).await;
    let mut begun = rig.follow(&open, HERE, Asked::whole(size())).await.unwrap();
    take(&mut begun, 1).await;
    let mut all = rig.follow(&closing, HERE, Asked::whole(size())).await.unwrap();
    take(&mut all, u64::MAX).await;
    assert_eq!(rig.daylily.stored_rows("SELECT count(*) AS n FROM link_attempt WHERE closing = 1"), 1);
    // As a crash: nobody settles them. Their last words would come through the store, which is closed by then.
    rig.daylily.stop().await;
    std::mem::forget((begun, all));
    rig.daylily.start_again().await.unwrap();
    assert_eq!(rig.get(&used, &[]).await.said(), (410, "link-used"));
    assert_eq!(rig.get(&closing, &[]).await.said(), (410, "link-used"), "its last byte may have arrived");
    assert_eq!(rig.get(&open, &[]).await.bytes, rig.bytes, "its last byte never left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a120_a_bound_link_works_from_its_network_alone() {
    let rig = Rig::with("[[rule]]\nname = \"bound\"\nlink = { bind-address = true }\n").await;
    let elsewhere = rig.issue(&[("address", "valueString", json!("192.0.2.0/24"))]).await;
    let refused = rig.send(Method::GET, &elsewhere, &[("X-Forwarded-For", "192.0.2.1")]).await;
    assert_eq!(refused.said(), (403, "link-wrong-network"));
    assert!(rig.follow(&elsewhere, THERE, Asked::whole(size())).await.is_ok());
    assert!(rig.follow(&elsewhere, "::ffff:192.0.2.77", Asked::whole(size())).await.is_ok());
    let here = rig.issue(&[]).await;
    assert_eq!(rig.get(&here, &[]).await.status, 200, "the caller's own address");
    assert_eq!(rig.follow(&here, "127.0.0.2", Asked::whole(size())).await.unwrap_err(), Code::LinkWrongNetwork);
    let all = rig.asked_for(&[("address", "valueString", json!("0.0.0.0/0"))]).await;
    assert_eq!(all.status, 422, "{}", all.text());
    rig.daylily.clock.advance(Duration::from_secs(901));
    assert_eq!(rig.get(&elsewhere, &[]).await.said(), (410, "link-expired"), "its time is told first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a110_a_link_to_confirm_gives_no_bytes_to_a_get() {
    let rig = Rig::with("[[rule]]\nname = \"page\"\nlink = { confirm = true, uses = 1 }\n").await;
    let link = rig.issue(&[]).await;
    for _ in 0..3 {
        let answer = rig.get(&link, &[("Accept", "*/*")]).await;
        assert_eq!(answer.said(), (403, "link-confirm-required"));
    }
    let delivery = rig.daylily.running().delivery();
    let Followed::Confirm(page) = delivery.open_link(request(&link, HERE, None)).await.unwrap() else {
        panic!("a file without a person");
    };
    assert_eq!((page.media_type.as_str(), page.size, page.uses_left), ("application/pdf", size(), Some(1)));
    let code = async |download| delivery.confirm_link(download).await.unwrap_err().code();
    assert_eq!(code(request(&link, HERE, None)).await, Code::LinkConfirmRequired);
    let confirmed = delivery.confirm_link(request(&link, HERE, Some(&page.cookie))).await.unwrap().url;
    assert_eq!(code(request(&confirmed, HERE, Some(&page.cookie))).await, Code::MethodNotAllowed);
    for wrong in [None, Some("AAAAAAAAAAAAAAAAAAAAAA")] {
        let refused = delivery.open_link(request(&confirmed, HERE, wrong)).await.unwrap_err();
        assert_eq!(refused.code(), Code::LinkConfirmRequired);
    }
    let Followed::File(opened) = delivery.open_link(request(&confirmed, HERE, Some(&page.cookie))).await.unwrap()
    else {
        panic!("asked again");
    };
    let mut transfer = delivery.begin(opened, Asked::whole(size()), None).await.unwrap();
    assert_eq!(take(&mut transfer, u64::MAX).await, size());
    transfer.settle(Arrival::Taken);
    let left = async || match delivery.open_link(request(&link, HERE, None)).await.unwrap() {
        Followed::Confirm(page) => (page.uses_left == Some(0)).then_some(()),
        Followed::File(_) => panic!("a file without a person"),
    };
    rig.daylily.until("used", left).await;
    rig.daylily.clock.advance(Duration::from_secs(61));
    let late = delivery.open_link(request(&confirmed, HERE, Some(&page.cookie))).await.unwrap_err();
    assert_eq!(late.code(), Code::LinkExpired);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_confirmed_link_ends_with_the_link_that_was_confirmed() {
    let rig = Rig::with("").await;
    let issued = rig.asked_for(&[("confirm", "valueBoolean", json!(true))]).await.ok(200);
    let link = text(parameter(&issued, "url"), "/valueUrl");
    let id = parameter(&issued, "link")["valueString"].clone();
    assert_eq!(parameter(&issued, "uses")["valueInteger"], json!(0));
    let delivery = rig.daylily.running().delivery();
    let confirmed = delivery.confirm_link(request(&link, HERE, Some("secret"))).await.unwrap().url;
    let body = parameters(&[("link", "valueString", id)]);
    let revoked = rig.source.post(&format!("DocumentReference/{}/$revoke", rig.id), &body).await.ok(200);
    assert_eq!(
        parameter(&revoked, "revoked")["valueInteger"],
        json!(1),
        "one link, and what was confirmed of it is the same one"
    );
    for (link, cookie) in [(&link, None), (&confirmed, Some("secret"))] {
        let refused = delivery.open_link(request(link, HERE, cookie)).await.unwrap_err();
        assert_eq!(refused.code(), Code::LinkRevoked);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_links_are_made_by_request_only_reads_show_the_handle() {
    let rig = Rig::with(ONCE).await;
    let shown = rig.daylily.link(&rig.source, &rig.id).await;
    assert!(shown.contains("/Binary/") && shown.ends_with("/_history/1"), "{shown}");
    let token = rig.source.token().await;
    let bearer = format!("Bearer {token}");
    let part = rig.get(&shown, &[("Authorization", &bearer), ("Range", "bytes=1-4"), ("Accept", "*/*")]).await;
    assert_eq!((part.status, part.bytes), (206, rig.bytes[1..=4].to_vec()));
    let found = rig.source.get("DocumentReference?subject=Patient/p1").await.ok(200);
    assert!(text(&found, "/entry/0/resource/content/0/attachment/url").ends_with("/_history/1"));
    // Both forms come back as the content that they name.
    let issued = rig.issue(&[]).await;
    for url in [shown, issued] {
        let copy = document("p1", &[named("application/pdf", &url)]);
        let made = rig.daylily.ready(&rig.source, &copy).await;
        let handle = rig.daylily.link(&rig.source, &made).await;
        let whole = rig.get(&handle, &[("Authorization", &bearer), ("Accept", "*/*")]).await;
        assert_eq!(whole.bytes, rig.bytes);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_for_is_held_to_the_policy() {
    let rig = Rig::with(ONCE).await;
    let code = async |name: &str, kind: &str, value: Value| {
        let answer = rig.asked_for(&[(name, kind, value)]).await;
        answer.code().to_owned()
    };
    assert_eq!(code("uses", "valuePositiveInt", json!(3)).await, "policy-limit-exceeded");
    assert_eq!(code("uses", "valuePositiveInt", json!(0)).await, "parameter-malformed");
    assert_eq!(code("address", "valueString", json!("x")).await, "parameter-malformed");
    assert_eq!(code("lifetime", "valueString", json!("25h")).await, "policy-limit-exceeded");
    let link = rig.issue(&[("file-name", "valueString", json!("../Brief \"Müller\".pdf"))]).await;
    let answer = rig.send(Method::HEAD, &link, &[]).await;
    let named = answer.header("content-disposition");
    assert!(named.starts_with("attachment; filename=\"") && !named.contains("../") && named.contains("M%C3%BCller"));
    let written = rig.daylily.log_since(0).await;
    assert!(written.iter().all(|entry| !format!("{entry:?}").contains("ller")), "never in the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_go_with_their_file() {
    let rig = Rig::with(ONCE).await;
    let link = rig.issue(&[]).await;
    assert_eq!(rig.get(&link, &[]).await.status, 200);
    rig.until(&link, 410).await;
    let body = parameters(&[("state", "valueBoolean", json!(true))]);
    rig.source.post(&format!("DocumentReference/{}/$revoke", rig.id), &body).await.ok(200);
    rig.daylily.pass(Duration::from_secs(25 * 3_600)).await;
    for table in ["link", "link_use", "link_claim", "link_attempt"] {
        let query = format!("SELECT count(*) AS n FROM {table}");
        assert_eq!(rig.daylily.stored_rows(&query), 0, "{table}");
    }
}
