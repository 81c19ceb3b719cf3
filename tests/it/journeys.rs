//! A document from its source to its receiver, by each way in.

use serde_json::json;

use crate::support::*;

const LARGE: usize = 200_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_in_leads_to_the_same_bytes_and_to_delivered() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let receiver = daylily.client("receiver", FULL, &["own"]).await;
    for (seed, length) in [(1, 900), (2, LARGE)] {
        let bytes = pdf(seed, length);
        let raw = source.upload("application/pdf", &bytes).await;
        let raw = text(&raw.ok(201), "/id");
        let whole = json!({ "resourceType": "Binary", "contentType": "application/pdf",
            "data": inline("", &bytes)["data"] });
        let whole = text(&source.post("Binary", &whole).await.ok(201), "/id");
        let ways = [
            inline("application/pdf", &bytes),
            named("application/pdf", &format!("Binary/{raw}")),
            named("application/pdf", &format!("{}/fhir/Binary/{whole}", daylily.base())),
        ];
        for way in ways {
            let patient = format!("p{length}");
            let created = source.post("DocumentReference", &to_recipient(document(&patient, &[way]), "receiver")).await;
            assert_eq!(created.header("etag"), "W/\"1\"");
            let created = created.ok(201);
            let id = text(&created, "/id");
            assert!(created.pointer("/content/0/attachment/data").is_none(), "bytes are not kept in the resource");
            daylily.wait(&source, &id, "ready").await;
            let bundle = receiver.get(&format!("DocumentReference?patient={patient}&lifecycle=ready&_id={id}")).await;
            let bundle = bundle.ok(200);
            assert_eq!(matches(&bundle), [id.as_str()]);
            let attachment = &bundle["entry"][0]["resource"]["content"][0]["attachment"];
            assert_eq!(attachment["size"], bytes.len());
            let answer = daylily.get(&text(attachment, "/url")).await;
            assert_eq!((answer.status, sha256(&answer.bytes)), (200, sha256(&bytes)));
            daylily.wait(&source, &id, "delivered").await;
            let read = receiver.get(&format!("DocumentReference/{id}")).await;
            assert_eq!(read.header("etag"), "W/\"2\"", "a delivery makes no version");
            let read = read.ok(200);
            assert_eq!(state_of(&read), "delivered");
            assert_eq!(read["status"], "current", "the author's status is the author's");
        }
    }
    daylily.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_with_several_forms_is_released_when_all_are_clean() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (one, two) = (pdf(3, 500), b"plain text of the letter\n".to_vec());
    let forms = [inline("application/pdf", &one), inline("text/plain", &two)];
    let id = daylily.ready(&source, &document("p1", &forms)).await;
    let read = source.get(&format!("DocumentReference/{id}")).await.ok(200);
    for (at, bytes) in [one, two].iter().enumerate() {
        let url = text(&read, &format!("/content/{at}/attachment/url"));
        assert_eq!(&daylily.get(&url).await.bytes, bytes);
    }
    let infected = [inline("application/pdf", &pdf(4, 500)), inline("text/plain", &eicar())];
    let created = source.post("DocumentReference", &document("p1", &infected)).await.ok(201);
    let id = text(&created, "/id");
    daylily.wait(&source, &id, "quarantined").await;
    let read = source.get(&format!("DocumentReference/{id}")).await.ok(200);
    for at in 0..2 {
        let absent = format!("/content/{at}/attachment/_url/extension/0/valueCode");
        assert_eq!(text(&read, &absent), "masked");
        assert!(read.pointer(&format!("/content/{at}/attachment/url")).is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_release_there_is_no_link_and_the_reason_is_told() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let created = source.post("DocumentReference", &document("p1", &[inline("application/pdf", &pdf(1, 100))])).await;
    let created = created.ok(201);
    assert_eq!(state_of(&created), "created");
    assert_eq!(text(&created, "/content/0/attachment/_url/extension/0/valueCode"), "temp-unknown");
    assert!(created.pointer("/content/0/attachment/url").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_named_by_a_second_document_is_a_copy_with_a_key_of_its_own() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let bytes = pdf(5, LARGE);
    let (first, link) = daylily.ready_link(&source, &bytes).await;
    let issued = source.post(&format!("DocumentReference/{first}/$issue-link"), &parameters(&[])).await.ok(200);
    let issued = text(parameter(&issued, "url"), "/valueUrl");
    let mut copies = Vec::new();
    for url in [link, issued] {
        let id = daylily.ready(&source, &document("p1", &[named("application/pdf", &url)])).await;
        copies.push((id.clone(), daylily.link(&source, &id).await));
    }
    // The first one's end is not the end of the others.
    let ended = parameters(&[("state", "valueBoolean", json!(true))]);
    source.post(&format!("DocumentReference/{first}/$revoke"), &ended).await.ok(200);
    for (_, link) in &copies {
        assert_eq!(daylily.get(link).await.bytes, bytes);
    }
    let other_patient = document("p2", &[named("application/pdf", &copies[0].1)]);
    let refused = source.post("DocumentReference", &other_patient).await;
    assert_eq!(refused.said(), (422, "reference-not-found"), "another patient's content is not this one's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_of_long_ago_still_names_its_content_but_only_for_who_may_read_it() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let stranger = daylily.client("stranger", FULL, &["own"]).await;
    let bytes = pdf(6, 800);
    let (_, link) = daylily.ready_link(&source, &bytes).await;
    daylily.clock.advance(std::time::Duration::from_secs(3 * 3_600));
    assert_eq!(daylily.get(&link).await.said(), (410, "link-expired"));
    let again = document("p1", &[named("application/pdf", &link)]);
    let refused = stranger.post("DocumentReference", &again).await;
    assert_eq!(refused.said(), (422, "reference-not-found"));
    let id = daylily.ready(&source, &again).await;
    let fresh = daylily.link(&source, &id).await;
    assert_eq!(daylily.get(&fresh).await.bytes, bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn urls_of_other_hosts_and_refused_types_change_nothing() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    for url in ["https://files.example/x.pdf", "http://169.254.169.254/latest", "file:///etc/passwd"] {
        let refused = source.post("DocumentReference", &document("p1", &[named("application/pdf", url)])).await;
        assert_eq!(refused.said(), (422, "source-refused"), "{url}");
    }
    let html = document("p1", &[inline("text/html", b"<p>hello</p>")]);
    let refused = source.post("DocumentReference", &html).await;
    assert_eq!(refused.said(), (422, "content-type-refused"));
    let bundle = source.get("DocumentReference?patient=p1").await.ok(200);
    assert_eq!(bundle["total"], 0);
}
