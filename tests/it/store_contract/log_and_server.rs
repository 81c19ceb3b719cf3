//! The audit log, the server's own state, and the store as a whole.

use std::collections::BTreeSet;
use std::time::Duration;

use daylily::domain::audit::index::Block;
use daylily::domain::epoch::{Revocation, Scope, Subject};
use daylily::domain::id::LinkId;
use daylily::domain::principal::Reach;
use daylily::domain::resource::DocumentNumber;
use daylily::store::{ActivePolicy, AuditBlock, NewDocument, SealedKey, Store, StoreError};
use futures_util::future::join_all;

use super::*;

pub async fn an_entry_is_numbered_without_gaps_under_concurrent_writers(store: &dyn Store) {
    let writer = |_| async {
        let mut seen = Vec::new();
        for _ in 0..40 {
            seen.push(store.record(entry_of("search")).await.unwrap());
        }
        assert!(seen.is_sorted(), "numbers rise in the order of a caller's own calls");
        seen
    };
    let all: BTreeSet<u64> = join_all((0..8).map(writer)).await.into_iter().flatten().collect();
    assert!(all.into_iter().eq(0..320));
    let rows = store.audit_rows(0, 1_000).await.unwrap();
    assert!(rows.iter().map(|row| row.seq).eq(0..320));
    assert_eq!(store.audit_rows(300, 5).await.unwrap().len(), 5);
    assert_eq!(audit_size(store).await, 320);
    let hashes = rows.iter().map(|row| <[u8; 32]>::try_from(row.hash.as_slice()).unwrap());
    let frontier: daylily::domain::audit::Frontier = hashes.collect();
    assert_eq!(store.audit_head().await.unwrap().frontier, frontier.encode());
    for row in &rows {
        let leaf = daylily::domain::audit::Leaf::decode(&row.body).unwrap();
        assert_eq!((leaf.seq, leaf.commitment, row.cells.as_slice()), (row.seq, [9; 32], [1u8, 2, 3].as_slice()));
    }
}

/// Several entries in one call follow each other, and one that can be none keeps all of them out.
pub async fn entries_that_are_recorded_together_are_all_there_or_none(store: &dyn Store) {
    store.record(entry()).await.unwrap();
    assert_eq!(store.record_all(vec![entry_of("search"), entry_of("document.read")]).await.unwrap(), 1);
    assert!(store.record_all(vec![entry_of("search"), entry_of("nothing")]).await.is_err());
    let rows = store.audit_rows(0, 10).await.unwrap();
    let actions = rows.iter().map(|row| daylily::domain::audit::Leaf::decode(&row.body).unwrap().action.code());
    assert_eq!(actions.skip(1).collect::<Vec<_>>(), ["search", "document.read"]);
    assert_eq!(audit_size(store).await, 3);
}

/// Cuts and makes durable, and answers the number.
async fn revoked(store: &dyn Store, scope: Scope, millis: i64) -> u32 {
    let revocation = store.cut(scope, None, at(millis));
    let number = revocation.number;
    assert!(store.revoke(revocation, "why", entry_of("link.revoke"), false).await.unwrap());
    number
}

pub async fn a_revocation_is_one_however_often_it_is_written(store: &dyn Store) {
    let cut = store.cut(Scope::All, None, at(1));
    let other = store.cut(Scope::All, None, at(2));
    assert!(other.number > cut.number);
    let size = audit_size(store).await;
    assert!(store.revoke(cut.clone(), "why", entry_of("link.revoke"), false).await.unwrap());
    assert!(!store.revoke(cut.clone(), "why", entry_of("link.revoke"), false).await.unwrap());
    assert_eq!(audit_size(store).await, size + 1, "recorded once");
    let durable = store.durable_revocations(vec![cut.number, other.number]).await.unwrap();
    assert_eq!(durable, BTreeSet::from([cut.number]));
    // As an earlier process left it: numbers go on behind it.
    let left = Revocation { number: other.number + 5_000, ..other };
    store.cut_again(&left);
    assert!(store.cut(Scope::All, None, at(3)).number > left.number);
}

pub async fn a_revocation_is_seen_when_it_returns(store: &dyn Store) {
    let (reader, _) = register(store, "lab", Reach::default()).await;
    let subject = Subject { reader, document: DocumentNumber(1), patient: None };
    let link = LinkId::of_digest(b"one");
    let before = store.epochs();
    let epoch = before.current(&subject);
    let first = revoked(store, Scope::Document(DocumentNumber(1)), 5).await;
    assert_eq!(store.epochs().revoked_at(&subject, epoch, &link), Some(at(5)));
    assert_eq!(before.revoked_at(&subject, epoch, &link), None, "a value in hand does not change");
    let now = store.epochs().current(&subject);
    assert_eq!(store.epochs().revoked_at(&subject, now, &link), None, "links made afterwards live");
    let second = revoked(store, Scope::Link(link.clone()), 6).await;
    assert!(second > first);
    assert_eq!(store.epochs().revoked_at(&subject, now, &link), Some(at(6)));
    let years = Duration::from_secs(500 * 86_400);
    store.forget_expired(at(6).plus(years)).await.unwrap();
    assert_eq!(store.epochs().revoked_at(&subject, now, &link), None, "forgotten when no such link can be alive");
    let third = revoked(store, Scope::All, 7).await;
    assert!(third > second, "a number is never given again");
    assert_eq!(store.epochs().revoked_at(&subject, now, &link), Some(at(7)));
}

pub async fn an_assertion_is_spent_once(store: &dyn Store) {
    let (client, _) = register(store, "lab", Reach::default()).await;
    let (other, _) = register(store, "other", Reach::default()).await;
    let size = audit_size(store).await;
    let spend = |_| store.spend_assertion(client, [1; 32], at(300), entry_of("token.grant"));
    let results = join_all((0..50).map(spend)).await;
    assert_eq!(results.iter().filter(|result| *result.as_ref().unwrap()).count(), 1);
    assert_eq!(audit_size(store).await, size + 1, "one grant is on record");
    assert!(store.spend_assertion(other, [1; 32], at(300), entry_of("token.grant")).await.unwrap());
    store.forget_expired(at(300)).await.unwrap();
    assert!(!store.spend_assertion(client, [1; 32], at(300), entry_of("token.grant")).await.unwrap(), "still in time");
    store.forget_expired(at(301)).await.unwrap();
    assert!(store.spend_assertion(client, [1; 32], at(600), entry_of("token.grant")).await.unwrap());
}

pub async fn keys_policy_and_clients_read_back(store: &dyn Store) {
    let key = |number, created| SealedKey {
        purpose: "link".to_owned(),
        number,
        sealed: vec![7; 60],
        created: at(created),
        retires: None,
    };
    store.add_key(key(1, 0), None, entry_of("key.rotate")).await.unwrap();
    store.add_key(key(2, 10), Some(at(99)), entry_of("key.rotate")).await.unwrap();
    let again = store.add_key(key(2, 10), None, entry_of("key.rotate")).await;
    assert!(matches!(again, Err(StoreError::AlreadyExists)));
    let retired = SealedKey { retires: Some(at(99)), ..key(1, 0) };
    assert_eq!(store.keys().await.unwrap(), [retired, key(2, 10)]);

    assert_eq!(store.policy().await.unwrap(), None);
    let policy = |text: &str| ActivePolicy {
        text: text.to_owned(),
        digest: [8; 32],
        actor: "os:0".to_owned(),
        reason: "start".to_owned(),
        at: at(1),
    };
    for text in ["[default]\n", "[default]\nretain = \"7d\"\n"] {
        store.apply_policy(policy(text), entry_of("policy.apply")).await.unwrap();
        assert_eq!(store.policy().await.unwrap(), Some(policy(text)));
    }

    let mut lab = client("lab", custodians(&["Organization/1"]));
    lab.number = store.add_client(lab.clone(), entry_of("client.add")).await.unwrap();
    assert_eq!(*store.client(&lab.id).unwrap(), lab);
    assert_eq!(*store.client_by_number(lab.number).unwrap(), lab);
    let twice = store.add_client(lab.clone(), entry_of("client.add")).await;
    assert!(matches!(twice, Err(StoreError::AlreadyExists)));
    lab.disabled = true;
    store.update_client(lab.clone(), entry_of("client.disable")).await.unwrap();
    lab.generation = 2;
    assert_eq!(*store.client(&lab.id).unwrap(), lab, "the generation rises");
    let missing = store.update_client(client("none", Reach::default()), entry_of("client.disable")).await;
    assert!(matches!(missing, Err(StoreError::Changed)));
    assert!(store.client(&client_id("none")).is_none() && store.clients().len() == 1);

    store.add_checkpoint(5, "note five".to_owned()).await.unwrap();
    store.add_checkpoint(2, "note two".to_owned()).await.unwrap();
    assert_eq!(store.checkpoints().await.unwrap(), [(2, "note two".to_owned()), (5, "note five".to_owned())]);
    let block = |first, after| Block { first, after, pairs: vec![7; 16] };
    for one in [block(0, 4), block(4, 6), block(6, 9)] {
        store.put_audit_block(one, entry_of("audit.index")).await.unwrap();
    }
    let leaf = store.put_audit_block(block(3, 6), entry_of("audit.index")).await.unwrap();
    let kept = store.audit_blocks(0, 9).await.unwrap();
    assert_eq!(kept.iter().map(|one| one.block.first).collect::<Vec<_>>(), [3, 6], "what it overlaps is gone");
    assert_eq!(kept[0], AuditBlock { block: block(3, 6), leaf });
    assert_eq!(store.audit_blocks(4, 1).await.unwrap(), kept[1..]);
}

pub async fn stamps_of_versions_never_fall(store: &dyn Store) {
    let (owner, _) = register(store, "lab", Reach::default()).await;
    let mut last = at(-1);
    for (number, millis) in [100, 100, 50, 0, 300].into_iter().enumerate() {
        let new = NewDocument { at: at(millis), ..document(&format!("d{number}"), owner) };
        let written = store.create_document(new, entry()).await.unwrap();
        assert!(written.updated > last && written.updated >= at(millis));
        last = written.updated;
    }
    assert_eq!(last, at(300));
}

pub async fn a_change_of_state_wakes_who_waits(store: &dyn Store) {
    let (owner, _) = register(store, "lab", Reach::default()).await;
    let seen = store.state_changes();
    let create = async { store.create_document(document("d1", owner), entry()).await.unwrap() };
    let (now, _) = futures_util::future::join(store.state_changed(seen), create).await;
    assert!(now > seen && now == store.state_changes());
}

pub async fn a_closed_store_refuses(store: &dyn Store) {
    store.record(entry()).await.unwrap();
    store.close().await;
    assert!(matches!(store.record(entry()).await, Err(StoreError::Busy)));
    assert_eq!(store.audit_rows(0, 10).await.unwrap().len(), 1, "what was written can be read");
    store.close().await;
}
