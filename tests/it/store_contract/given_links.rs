//! The index of given links.

use daylily::domain::epoch::{Scope, Subject};
use daylily::domain::id::LinkId;
use daylily::domain::lifecycle::{self, State};
use daylily::domain::link::LinkNumber;
use daylily::domain::principal::{ClientNumber, Reach};
use daylily::domain::resource::PatientNumber;
use daylily::store::{Counted, Gathered, GivenLink, LinkRow, NewDocument, Store};

use super::*;

fn link(seed: u16, subject: Subject, expires: i64) -> GivenLink {
    let id = LinkId::of_digest(&[[0; 6].as_slice(), &seed.to_be_bytes()].concat().repeat(4)[3..]);
    GivenLink { id, file: file_id(1), subject, epoch: 3, row: None, expires: at(expires) }
}

async fn give(store: &dyn Store, links: &[GivenLink]) {
    store.record(daylily::store::SealedEntry { given: links.to_vec(), ..entry_of("search") }).await.unwrap();
}

/// A document of a patient, as a link's subject for a reader.
async fn subject(store: &dyn Store, text: &str, owner: ClientNumber, scope: &AccessScope) -> Subject {
    let mut new = NewDocument { files: vec![file(1, Some(b"sealed".to_vec()))], ..document(text, owner) };
    new.files[0].file = file_id(u32::from_be_bytes(text.as_bytes()[..4].try_into().unwrap()));
    store.create_document(new, entry()).await.unwrap();
    let number = number_of(store, text, scope).await;
    let stored = store.read(Kind::DocumentReference, &id(text), scope).await.unwrap().unwrap();
    let patient = stored.document.unwrap().subject.unwrap();
    let patient = store.patient_number(&patient).await.unwrap();
    Subject { reader: owner, document: number, patient }
}

async fn found_by(store: &dyn Store, scope: Scope, page: usize) -> Vec<GivenLink> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let found = store.given_links(&scope, at(100), after.clone(), page).await.unwrap();
        assert!(found.len() <= page);
        let Some(last) = found.last() else { return all };
        after = Some((last.subject.document, last.id.clone()));
        all.extend(found);
    }
}

pub async fn given_links_come_with_their_entry_and_are_found_by_what_ends_them(store: &dyn Store) {
    let (lab, scope) = register(store, "lab", Reach::default()).await;
    let (ward, _) = register(store, "ward", Reach::default()).await;
    let (one, two) = (subject(store, "doc1", lab, &scope).await, subject(store, "doc2", lab, &scope).await);
    let mut links: Vec<GivenLink> = (0..7).map(|n| link(n, one, 1_000)).collect();
    links.extend((7..10).map(|n| link(n, Subject { reader: ward, ..two }, 1_000)));
    links[0].row = LinkNumber::new(9);
    give(store, &links).await;
    // Offered again within the step: the same link.
    give(store, &links).await;
    give(store, &[link(10, one, 99)]).await;
    for link in &links {
        assert_eq!(store.given_link(&link.id).await.unwrap().map(|kept| kept.link).as_ref(), Some(link));
    }
    assert_eq!(store.given_link(&LinkId::of_digest(b"never given")).await.unwrap(), None);
    links.sort_by(|a, b| (a.subject.document, &a.id).cmp(&(b.subject.document, &b.id)));
    let of = |keep: &dyn Fn(&GivenLink) -> bool| links.iter().filter(|link| keep(link)).cloned().collect::<Vec<_>>();
    for page in [1, 3, 100] {
        assert_eq!(found_by(store, Scope::All, page).await, links, "those whose time is not over");
        assert_eq!(found_by(store, Scope::Client(ward), page).await, of(&|link| link.subject.reader == ward));
        let document = Scope::Document(one.document);
        assert_eq!(found_by(store, document, page).await, of(&|link| link.subject.document == one.document));
        assert_eq!(found_by(store, Scope::Patient(one.patient.unwrap()), page).await, links);
        assert!(found_by(store, Scope::Patient(PatientNumber(i64::MAX)), page).await.is_empty());
        let single = links[4].clone();
        assert_eq!(found_by(store, Scope::Link(single.id.clone()), page).await, [single]);
    }
    // Those whose time is over are forgotten, and those of what is destroyed.
    store.forget_expired(at(100)).await.unwrap();
    assert_eq!(store.given_link(&link(10, one, 99).id).await.unwrap(), None);
    assert_eq!(found_by(store, Scope::All, 100).await.len(), 10);
    let revoke = lifecycle::revoke(State::Created, "test", stamp(200, None)).unwrap();
    store.transition(one.document, vec![revoke], vec![entry()]).await.unwrap();
    let purge = lifecycle::purge(State::Revoked, "default", stamp(300, None)).unwrap();
    store.purge(one.document, purge, entry_of("document.purge")).await.unwrap();
    assert_eq!(found_by(store, Scope::All, 100).await.len(), 3);
    // And a link that is not kept is not in the index either.
    let row = |id: &LinkId, number| LinkRow {
        number: LinkNumber::new(number).unwrap(),
        id: id.clone(),
        counted: Counted { file: file_id(1), reader: lab, recipient: None },
        uses: 1,
        network: None,
        confirm: false,
        file_name: None,
        expires: at(1_000),
    };
    let given = |link: &GivenLink| daylily::store::SealedEntry { given: vec![link.clone()], ..entry_of("link.issue") };
    let (kept, refused) = (link(20, two, 1_000), link(21, two, 1_000));
    store.add_link(row(&kept.id, 5), given(&kept)).await.unwrap();
    assert!(store.add_link(row(&refused.id, 5), given(&refused)).await.is_err());
    assert!(store.given_link(&kept.id).await.unwrap().is_some());
    assert!(store.given_link(&refused.id).await.unwrap().is_none());
}

pub async fn given_links_of_before_the_index_are_gathered_once(store: &dyn Store) {
    let (lab, scope) = register(store, "lab", Reach::default()).await;
    let one = subject(store, "doc1", lab, &scope).await;
    assert_eq!(store.given_backlog().await.unwrap(), 0, "a new store has none");
    let cut = |millis| store.cut(Scope::All, None, at(millis));
    let (first, second) = (cut(10), cut(30));
    for revocation in [&first, &second] {
        store.revoke(revocation.clone(), "why", entry_of("link.revoke"), false).await.unwrap();
    }
    let known = GivenLink { epoch: second.number, ..link(1, one, 1_000) };
    give(store, std::slice::from_ref(&known)).await;
    let before =
        |seed, moment| Gathered { link: GivenLink { epoch: 0, ..link(seed, one, 1_000) }, at: at(moment), leaf: 3 };
    let gathered = vec![before(1, 20), before(2, 20), before(3, 30), before(4, 31)];
    store.gather(gathered, 0).await.unwrap();
    for (seed, epoch) in [(1, second.number), (2, first.number), (3, first.number), (4, second.number)] {
        let found = store.given_link(&link(seed, one, 1_000).id).await.unwrap().unwrap();
        assert_eq!(found.link.epoch, epoch, "{seed}: what was revoked after its entry ends it");
    }
}
