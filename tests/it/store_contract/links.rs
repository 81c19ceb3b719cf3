//! Links with rows, and their uses.

use daylily::domain::id::LinkId;
use daylily::domain::lifecycle::{self, State};
use daylily::domain::link::LinkNumber;
use daylily::domain::principal::{ClientNumber, Reach};
use daylily::domain::resource::NewFile;
use daylily::store::{Claimed, Counted, LinkRow, Store, StoreError, Uses};
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

async fn take(store: &dyn Store, counted: &Counted, most: u32, millis: i64) -> Claimed {
    store.claim_use(counted, most, vec![], at(millis)).await.unwrap()
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
        let claims = join_all((0..64).map(|_| take(store, &one, most, 1_000))).await;
        let made = claims.iter().filter(|claimed| matches!(claimed, Claimed::Yes(_))).count();
        assert_eq!(made, 1, "of {most} uses one more than before");
        assert!(claims.iter().all(|claimed| !matches!(claimed, Claimed::Used(_))), "none is used yet");
    }
    assert_eq!(store.link_uses(&one).await.unwrap(), Uses { used: 0, open: 2, last: None });
    assert_eq!(store.link_uses(&other).await.unwrap(), Uses::default(), "another recipient's are its own");
    assert!(matches!(take(store, &other, 1, 1_000).await, Claimed::Yes(_)));
    assert!(matches!(take(store, &counted(2, lab, None), 1, 1_000).await, Claimed::Yes(_)), "and another file's");
}

pub async fn a_use_counts_once_and_one_that_is_given_back_does_not(store: &dyn Store) {
    let (lab, _) = two_files(store).await;
    let key = counted(1, lab, None);
    let Claimed::Yes(first) = take(store, &key, 1, 1_000).await else { panic!("the first") };
    assert_eq!(take(store, &key, 1, 1_500).await, Claimed::Busy);
    // Given back by itself, and by the write that claims anew.
    store.give_back(vec![first]).await.unwrap();
    assert!(!store.close_claim(first).await.unwrap() && !store.mark_claim(first, true).await.unwrap());
    let Claimed::Yes(second) = take(store, &key, 1, 2_000).await else { panic!("given back") };
    let again = store.claim_use(&key, 1, vec![second], at(3_000)).await.unwrap();
    let Claimed::Yes(third) = again else { panic!("{again:?}") };
    assert!(third > second && second > first, "no number comes again");
    assert!(store.mark_claim(third, true).await.unwrap() && store.mark_claim(third, false).await.unwrap());
    assert!(store.close_claim(third).await.unwrap());
    assert!(!store.close_claim(third).await.unwrap(), "once");
    assert_eq!(store.link_uses(&key).await.unwrap(), Uses { used: 1, open: 0, last: Some(at(3_000)) });
    assert_eq!(take(store, &key, 1, 4_000).await, Claimed::Used(Some(at(3_000))));
    // A link of two uses of the same file and recipient has one left; its use is the newest.
    let Claimed::Yes(fourth) = take(store, &key, 2, 5_000).await else { panic!("one is left") };
    assert!(store.close_claim(fourth).await.unwrap());
    assert_eq!(take(store, &key, 2, 6_000).await, Claimed::Used(Some(at(5_000))));
}

pub async fn links_and_uses_go_with_their_file(store: &dyn Store) {
    let (lab, scope) = two_files(store).await;
    let (one, two) = (counted(1, lab, None), counted(2, lab, Some(1)));
    store.add_link(row(1, one.clone()), entry_of("link.issue")).await.unwrap();
    let Claimed::Yes(used) = take(store, &one, 2, 1_000).await else { panic!("a use") };
    assert!(store.close_claim(used).await.unwrap());
    let Claimed::Yes(open) = take(store, &two, 1, 1_000).await else { panic!("a use") };
    let number = number_of(store, "d1", &scope).await;
    store.transition(number, revoked(State::Created, 2_000), vec![entry()]).await.unwrap();
    assert_eq!(store.link_uses(&one).await.unwrap().used, 1, "whatever its state");
    let purge = lifecycle::purge(State::Revoked, "default", stamp(3_000, None)).unwrap();
    store.purge(number, purge, entry_of("document.purge")).await.unwrap();
    assert!(store.link(LinkNumber::new(1).unwrap()).await.unwrap().is_none());
    for key in [&one, &two] {
        assert_eq!(store.link_uses(key).await.unwrap(), Uses::default());
    }
    assert!(!store.mark_claim(open, true).await.unwrap(), "its last byte must not leave");
    assert!(!store.close_claim(open).await.unwrap());
    assert_eq!(store.link_uses(&two).await.unwrap(), Uses::default());
}
