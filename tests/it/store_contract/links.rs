//! Links with rows, and their uses.

use std::time::Duration;

use daylily::domain::claim::{Asked, AttemptNumber, Ending, Reset, Settlement, SpentClaim};
use daylily::domain::clock::Timestamp;
use daylily::domain::id::LinkId;
use daylily::domain::lifecycle::{self, State};
use daylily::domain::link::LinkNumber;
use daylily::domain::principal::{ClientNumber, Reach};
use daylily::domain::resource::NewFile;
use daylily::store::{Begin, BeginOutcome, BegunAttempt, Counted, LinkRow, Store, StoreError};
use futures_util::future::join_all;

use super::*;

fn counted(file: u32, reader: ClientNumber, recipient: Option<u8>) -> Counted {
    Counted { file: file_id(file), reader, recipient: recipient.map(|byte| [byte; 32]) }
}

fn row(number: u32, counted: Counted) -> LinkRow {
    LinkRow {
        number: LinkNumber::new(number).unwrap(),
        id: LinkId::of_digest(&[u8::try_from(number).unwrap(); 32]),
        counted,
        uses: 2,
        network: Some("192.0.2.0/24".parse().unwrap()),
        confirm: true,
        file_name: Some("Befund.pdf".to_owned()),
        expires: at(60_000),
    }
}

/// A document with two files.
async fn two_files(store: &dyn Store) -> (ClientNumber, AccessScope) {
    let (lab, scope) = register(store, "lab", Reach::default()).await;
    let mut new = document("d1", lab);
    new.files = vec![file(1, Some(b"sealed".to_vec())), NewFile { content: 1, ..file(2, Some(b"sealed".to_vec())) }];
    store.create_document(new, entry()).await.unwrap();
    (lab, scope)
}

/// Bytes of the file whose uses are counted.
const SIZE: u64 = 100;

fn begin(counted: &Counted, most: u32, millis: i64) -> Begin {
    Begin {
        counted: counted.clone(),
        most,
        size: SIZE,
        asked: Asked::whole(SIZE),
        from: "192.0.2.9".parse().unwrap(),
        is_one_piece: false,
        settlements: Vec::new(),
        entry: entry_of("link.redeem"),
        at: at(millis),
        grace: Duration::ZERO,
    }
}

async fn take(store: &dyn Store, counted: &Counted, most: u32, millis: i64) -> BeginOutcome {
    store.begin_attempt(begin(counted, most, millis)).await.unwrap().outcome
}

async fn begun(store: &dyn Store, counted: &Counted, most: u32, millis: i64) -> BegunAttempt {
    match take(store, counted, most, millis).await {
        BeginOutcome::Yes(begun) => *begun,
        other => panic!("{other:?}"),
    }
}

async fn settle(store: &dyn Store, counted: &Counted, settlements: Vec<Settlement>) -> Vec<SpentClaim> {
    store.settle(counted, SIZE, settlements, at(0)).await.unwrap()
}

fn ended(attempt: AttemptNumber, acknowledged: u64) -> Settlement {
    Settlement::Ended(Ending { attempt, least: acknowledged, most: acknowledged, is_unknown: false })
}

async fn used(store: &dyn Store, counted: &Counted) -> (u32, usize, Option<Timestamp>) {
    let (standing, last) = store.standing(counted, 1, SIZE).await.unwrap();
    (standing.used, standing.claims.len(), last)
}

pub async fn a_link_reads_back_and_its_number_is_taken_once(store: &dyn Store) {
    let (lab, _) = two_files(store).await;
    let kept = row(7, counted(1, lab, Some(3)));
    let size = audit_size(store).await;
    store.add_link(kept.clone(), entry_of("link.issue")).await.unwrap();
    assert!(store.link(kept.number).await.unwrap() == Some(kept.clone()));
    assert_eq!(audit_size(store).await, size + 1);
    let other = LinkRow { network: None, file_name: None, ..row(7, counted(2, lab, None)) };
    assert!(matches!(store.add_link(other.clone(), entry_of("link.issue")).await, Err(StoreError::AlreadyExists)));
    assert!(store.link(kept.number).await.unwrap() == Some(kept), "the first stays");
    assert_eq!(audit_size(store).await, size + 1, "nothing is written for the second");
    let other = LinkRow { number: LinkNumber::new(8).unwrap(), ..other };
    store.add_link(other.clone(), entry_of("link.issue")).await.unwrap();
    assert!(store.link(other.number).await.unwrap() == Some(other));
}

pub async fn of_many_claims_at_once_no_more_are_made_than_uses_are_left(store: &dyn Store) {
    let (lab, _) = two_files(store).await;
    let (one, other) = (counted(1, lab, None), counted(1, lab, Some(1)));
    for most in [1, 2] {
        let size = audit_size(store).await;
        let claims = join_all((0..64).map(|_| take(store, &one, most, 1_000))).await;
        let made: Vec<_> = claims.iter().filter(|claimed| matches!(claimed, BeginOutcome::Yes(_))).collect();
        assert_eq!(made.len(), 1, "of {most} uses one more than before");
        assert!(claims.iter().all(|claimed| !matches!(claimed, BeginOutcome::Used { .. })), "none is used yet");
        assert_eq!(audit_size(store).await, size + 1, "an entry for the one that begins");
        let [BeginOutcome::Yes(begun)] = made.as_slice() else { panic!() };
        assert!(begun.is_last && begun.seq == size, "{begun:?}");
    }
    assert_eq!(used(store, &one).await, (0, 2, None));
    assert_eq!(used(store, &other).await, (0, 0, None), "another recipient's are its own");
    assert!(!begun(store, &other, 2, 1_000).await.is_last);
    begun(store, &counted(2, lab, None), 1, 1_000).await;
}

pub async fn a_use_is_spent_once_and_one_that_broke_off_is_not(store: &dyn Store) {
    let (lab, _) = two_files(store).await;
    let key = counted(1, lab, None);
    let first = begun(store, &key, 1, 1_000).await;
    assert_eq!(take(store, &key, 1, 1_500).await, BeginOutcome::Busy);
    // What is known of it is settled by itself, or by the write that begins anew; twice is once.
    assert_eq!(settle(store, &key, vec![ended(first.attempt, 40)]).await, []);
    assert_eq!(settle(store, &key, vec![ended(first.attempt, 40)]).await, []);
    assert!(!store.mark_closing(first.attempt).await.unwrap(), "it is over");
    let second = begun(store, &key, 1, 2_000).await;
    assert_eq!((second.claim.number, second.claim.sum), (first.claim.number, 40), "it goes on under the same claim");
    assert!(second.attempt > first.attempt, "no number comes again");
    assert!(store.mark_closing(second.attempt).await.unwrap());
    let all = vec![ended(second.attempt, SIZE)];
    let again = store.begin_attempt(Begin { settlements: all.clone(), ..begin(&key, 1, 3_000) }).await.unwrap();
    assert_eq!(again.outcome, BeginOutcome::Used { last: Some(at(1_000)), twice: false });
    assert_eq!((again.spent.len(), again.spent[0].left), (1, 60));
    assert_eq!(settle(store, &key, all).await, [], "once");
    assert_eq!(used(store, &key).await, (1, 0, Some(at(1_000))));
    // A reset gives it back, once, and what was handed out still counts.
    let reset = vec![Settlement::Reset(Reset {
        attempt: second.attempt,
        claim: second.claim.number,
        range: 0..SIZE,
        mended: 10,
    })];
    settle(store, &key, reset.clone()).await;
    settle(store, &key, reset).await;
    let (standing, _) = store.standing(&key, 1, SIZE).await.unwrap();
    assert_eq!((standing.used, standing.claims[0].sum, standing.claims[0].given_back), (0, 150, true));
    assert_eq!(take(store, &key, 1, 4_000).await, BeginOutcome::Used { last: None, twice: true });
    // A link of two uses of the same file and recipient has one left.
    let other = begun(store, &key, 2, 5_000).await;
    assert_ne!(other.claim.number, first.claim.number);
}

pub async fn links_and_uses_go_with_their_file(store: &dyn Store) {
    let (lab, scope) = two_files(store).await;
    let (one, two) = (counted(1, lab, None), counted(2, lab, Some(1)));
    store.add_link(row(1, one.clone()), entry_of("link.issue")).await.unwrap();
    let first = begun(store, &one, 2, 1_000).await;
    assert_eq!(settle(store, &one, vec![ended(first.attempt, SIZE)]).await.len(), 1);
    let open = begun(store, &two, 1, 1_000).await;
    let number = number_of(store, "d1", &scope).await;
    store.transition(number, revoked(State::Created, 2_000), vec![entry()]).await.unwrap();
    assert_eq!(used(store, &one).await.0, 1, "whatever its state");
    let purge = lifecycle::purge(State::Revoked, "default", stamp(3_000, None)).unwrap();
    store.purge(number, purge, entry_of("document.purge")).await.unwrap();
    assert!(store.link(LinkNumber::new(1).unwrap()).await.unwrap().is_none());
    for key in [&one, &two] {
        assert_eq!(used(store, key).await, (0, 0, None));
    }
    assert!(!store.mark_closing(open.attempt).await.unwrap(), "its last byte must not leave");
    assert_eq!(settle(store, &two, vec![ended(open.attempt, SIZE)]).await, []);
    assert_eq!(used(store, &two).await, (0, 0, None));
}
