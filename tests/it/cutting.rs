//! What began to leave and must not go on, and what time closes by itself.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use daylily::delivery::{Caller, Transfer};
use daylily::domain::id::{FileId, RequestId};
use daylily::domain::principal::{AttachmentUrl, Interaction, Permissions, Principal, Reach};
use daylily::domain::refusal::Code;
use daylily::domain::resource::Kind;
use serde_json::json;

use crate::support::*;

const LARGE: usize = 400_000;

fn caller(daylily: &TestDaylily, actor: &Actor) -> Caller {
    let number = daylily.running().delivery().store().client(&actor.id).unwrap().number;
    let mut permissions = Permissions::default();
    permissions.grant(Kind::Binary, Interaction::Read);
    let principal = Principal {
        client: actor.id.clone(),
        number,
        reach: Reach::default(),
        permissions,
        attachment_url: AttachmentUrl::Handle,
    };
    let request = RequestId::parse("test").unwrap();
    Caller { principal: Arc::new(principal), request, address: IpAddr::V4(Ipv4Addr::LOCALHOST) }
}

/// A transfer by handle, its first piece sent.
async fn by_handle(daylily: &TestDaylily, actor: &Actor, file: FileId) -> Transfer {
    let delivery = daylily.running().delivery();
    let opened = delivery.open_handle(&caller(daylily, actor), file, false).await.unwrap();
    let size = opened.facts.size;
    let mut transfer = delivery.begin(opened, daylily::domain::claim::Asked::whole(size), None).await.unwrap();
    assert!(transfer.next_piece().await.unwrap().is_some());
    transfer
}

async fn two_transfers(daylily: &TestDaylily, source: &Actor) -> (String, String, Transfer) {
    let (id, link) = daylily.ready_link(source, &pdf(9, LARGE)).await;
    let token = link.rsplit('/').next().unwrap();
    let file = daylily::domain::link::named_file(token).unwrap();
    let transfer = by_handle(daylily, source, file).await;
    (id, link, transfer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_by_handle_is_cut_when_its_document_is_revoked() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    for (state, code) in [(true, Code::LinkRevoked), (false, Code::LinkRevoked)] {
        let (id, _, mut transfer) = two_transfers(&daylily, &source).await;
        let body = parameters(&[("state", "valueBoolean", json!(state))]);
        source.post(&format!("DocumentReference/{id}/$revoke"), &body).await.ok(200);
        assert_eq!(transfer.next_piece().await, Err(code));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_began_in_time_goes_on_past_expiry_but_nothing_new_begins() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (id, _, mut transfer) = two_transfers(&daylily, &source).await;
    // The shipped policy keeps for 72 hours; ten minutes of a transfer are less than its longest.
    daylily.clock.advance(Duration::from_secs(72 * 3_600 - 60));
    let file = transfer_file(&daylily, &source, &id).await;
    let mut late = by_handle(&daylily, &source, file).await;
    daylily.pass(Duration::from_secs(600)).await;
    assert!(late.next_piece().await.unwrap().is_some());
    assert_eq!(transfer.next_piece().await, Err(Code::RequestTimeout));
    let fresh = daylily.running().delivery().open_handle(&caller(&daylily, &source), file, false).await;
    assert_eq!(fresh.unwrap_err().code(), Code::ContentExpired);
}

async fn transfer_file(daylily: &TestDaylily, actor: &Actor, id: &str) -> FileId {
    let link = daylily.link(actor, id).await;
    daylily::domain::link::named_file(link.rsplit('/').next().unwrap()).unwrap()
}
