//! Operators, approvals, overrides, holds.

use daylily::domain::clock_watch::Destroyable;
use daylily::domain::id::OperatorId;
use daylily::domain::lifecycle::{self, Evidence, State, Transition};
use daylily::domain::operator::{Assent, HeldBack, Override, Role};
use daylily::domain::principal::{Operator, Reach};
use daylily::domain::resource::DocumentNumber;
use daylily::domain::verdict::Finding;
use daylily::store::{Approval, NewDocument, NewHold, Store, StoreError, StoredOperator};

use super::*;

fn operator_id(text: &str) -> OperatorId {
    OperatorId::parse(text).unwrap()
}

fn operator(text: &str) -> StoredOperator {
    let password = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAA".to_owned();
    StoredOperator { id: operator_id(text), role: Role::Security, password, disabled: false, created: at(0) }
}

/// Held back at `millis`, with what was found.
fn held(millis: i64) -> Transition {
    let evidence = Evidence { file: file_id(1), sha256: [1; 32], place: "rules entry 3".to_owned() };
    let transition = lifecycle::quarantine(State::Created, Finding::Macro, stamp(millis, Some(at(millis + 1_000))));
    transition.unwrap().with_evidence(evidence)
}

/// A store with two operators and a document that is held back since 5.
async fn quarantined(store: &dyn Store) -> HeldBack {
    let (owner, scope) = register(store, "lab", Reach::default()).await;
    let new = NewDocument { files: vec![file(1, Some(b"sealed".to_vec()))], ..document("d1", owner) };
    store.create_document(new, entry()).await.unwrap();
    let number = number_of(store, "d1", &scope).await;
    store.transition(number, vec![held(5)], vec![entry()]).await.unwrap();
    for name in ["anna", "ben"] {
        store.add_operator(operator(name), entry_of("operator.add")).await.unwrap();
    }
    HeldBack { document: number, since: at(5) }
}

fn approval(subject: HeldBack, by: &str, millis: i64) -> Approval {
    Approval { subject, by: operator_id(by), at: at(millis), reason: "looked at it".to_owned() }
}

fn assent(subject: HeldBack, by: &str, millis: i64) -> Assent {
    let by = Operator::Named { id: operator_id(by), role: Role::Security };
    Assent::given(&by, subject, at(millis), "looked at it").unwrap()
}

pub async fn an_operator_has_an_id_for_ever(store: &dyn Store) {
    store.add_operator(operator("anna"), entry_of("operator.add")).await.unwrap();
    let (size, anna) = (audit_size(store).await, operator_id("anna"));
    assert!(matches!(store.add_operator(operator("anna"), entry()).await, Err(StoreError::AlreadyExists)));
    assert_eq!(store.operator(&anna).await.unwrap(), Some(operator("anna")));
    assert_eq!(store.operator(&operator_id("ben")).await.unwrap(), None);
    assert!(!store.disable_operator(&operator_id("ben"), entry()).await.unwrap());
    assert_eq!(audit_size(store).await, size, "what did nothing left nothing");
    assert!(store.disable_operator(&anna, entry_of("operator.disable")).await.unwrap());
    assert!(!store.disable_operator(&anna, entry()).await.unwrap());
    assert!(matches!(store.add_operator(operator("anna"), entry()).await, Err(StoreError::AlreadyExists)));
    assert_eq!(store.operators().await.unwrap(), [StoredOperator { disabled: true, ..operator("anna") }]);
}

pub async fn an_approval_is_one_persons_word_about_one_quarantine(store: &dyn Store) {
    let subject = quarantined(store).await;
    let row = store.quarantined_document(subject.document).await.unwrap().unwrap();
    assert_eq!((row.subject, row.reason.as_str(), row.due), (subject, "scan-detected: macro", Some(at(1_005))));
    assert_eq!(row.evidence.unwrap().place, "rules entry 3");
    assert!(!row.held && row.approvals.is_empty() && row.created == at(0));
    for (by, moment) in [("anna", 10), ("anna", 20), ("ben", 15)] {
        store.ask_approval(approval(subject, by, moment), entry_of("approval.ask")).await.unwrap();
    }
    let list = store.quarantined(10).await.unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!(
        list[0].approvals,
        [approval(subject, "ben", 15), approval(subject, "anna", 20)],
        "one each, the latest"
    );
    let other = HeldBack { since: at(6), ..subject };
    let nobody = HeldBack { document: DocumentNumber(999), ..subject };
    for (subject, by) in [(other, "anna"), (nobody, "anna"), (subject, "carl")] {
        let refused = store.ask_approval(approval(subject, by, 30), entry()).await;
        assert!(matches!(refused, Err(StoreError::Changed)), "{subject:?} {by}");
    }
    store.disable_operator(&operator_id("anna"), entry_of("operator.disable")).await.unwrap();
    assert!(matches!(store.ask_approval(approval(subject, "anna", 30), entry()).await, Err(StoreError::Changed)));
    let row = store.quarantined_document(subject.document).await.unwrap().unwrap();
    assert_eq!(row.approvals, [approval(subject, "ben", 15)], "who is switched off has no word");
    store.forget_expired(at(15 + 24 * 3_600_000)).await.unwrap();
    let row = store.quarantined_document(subject.document).await.unwrap().unwrap();
    assert!(row.approvals.is_empty(), "and a word waits for a day");
}

pub async fn an_override_uses_up_the_word_that_it_rests_on(store: &dyn Store) {
    let subject = quarantined(store).await;
    let agree = |first, second| Override::agree(first, second, true, "scan-detected: macro").unwrap();
    let agreed = agree(assent(subject, "anna", 10), assent(subject, "ben", 20));
    let ready = || lifecycle::release_by_override(State::Quarantined, &agreed, stamp(20, Some(at(99)))).unwrap();
    let size = audit_size(store).await;
    let early = store.release_overruled(&agreed, ready(), vec![entry()]).await;
    assert!(matches!(early, Err(StoreError::Changed)), "no word waits");
    assert_eq!(audit_size(store).await, size);
    store.ask_approval(approval(subject, "anna", 10), entry_of("approval.ask")).await.unwrap();
    let unknown = agree(assent(subject, "anna", 10), assent(subject, "carl", 20));
    assert!(matches!(store.release_overruled(&unknown, ready(), vec![]).await, Err(StoreError::Changed)));
    let done = store.release_overruled(&agreed, ready(), vec![entry_of("document.release")]).await.unwrap();
    assert_eq!(done.version, 3, "created, quarantined, ready");
    let facts = store.file(file_id(1)).await.unwrap().unwrap();
    let facts = facts.document.as_ref().unwrap();
    assert_eq!((facts.state, facts.due), (State::Ready, Some(at(99))));
    assert!(store.quarantined_document(subject.document).await.unwrap().is_none());
    assert!(matches!(store.release_overruled(&agreed, ready(), vec![]).await, Err(StoreError::Changed)), "once");
}

pub async fn a_hold_keeps_a_document_from_being_due_for_destruction_and_from_being_destroyed(store: &dyn Store) {
    let subject = quarantined(store).await;
    let laid = |authority: Option<&str>| NewHold {
        document: subject.document,
        authority: authority.map(str::to_owned),
        reason: "case 12/26".to_owned(),
        actor: "operator/anna".to_owned(),
        at: at(6),
    };
    let due = || async {
        store.due_documents((at(0), at(2_000)), Destroyable::all(at(2_000)), 10).await.unwrap().documents.len()
    };
    assert_eq!(due().await, 1);
    let first = store.add_hold(laid(None), entry_of("hold.add")).await.unwrap();
    let second = store.add_hold(laid(Some("court")), entry_of("hold.add")).await.unwrap();
    let holds = store.holds(Some(subject.document), 10).await.unwrap();
    assert_eq!(holds.iter().map(|hold| hold.number).collect::<Vec<_>>(), [first, second]);
    assert_eq!((holds[1].id.as_str(), &holds[1].laid), ("d1", &laid(Some("court"))));
    assert!(store.quarantined_document(subject.document).await.unwrap().unwrap().held);
    let purge = lifecycle::purge_quarantined(State::Quarantined, stamp(9, None)).unwrap();
    for number in [first, second] {
        assert_eq!(due().await, 0, "each keeps it");
        let refused = store.purge(subject.document, purge.clone(), entry()).await;
        assert!(matches!(refused, Err(StoreError::Changed)));
        assert!(store.release_hold(number, at(50), entry_of("hold.release")).await.unwrap());
        assert!(!store.release_hold(number, at(51), entry()).await.unwrap(), "once");
    }
    assert_eq!(due().await, 1, "what fell due meanwhile is due again");
    assert!(store.holds(None, 10).await.unwrap().is_empty());
    store.purge(subject.document, purge, entry_of("document.purge")).await.unwrap();
    assert!(matches!(store.add_hold(laid(None), entry()).await, Err(StoreError::Changed)), "nothing left to keep");
    // What a hold is on still ends for its readers.
    let (_, scope) = register(store, "other", Reach::default()).await;
    let owner = scope.client();
    let waiting = NewDocument { files: vec![file(2, None)], due: Some(at(1)), ..document("d2", owner) };
    store.create_document(waiting, entry()).await.unwrap();
    let empty = NewDocument { due: Some(at(1)), ..document("d3", owner) };
    store.create_document(empty, entry()).await.unwrap();
    for name in ["d2", "d3"] {
        let document = number_of(store, name, &scope).await;
        store.add_hold(NewHold { document, ..laid(None) }, entry_of("hold.add")).await.unwrap();
    }
    let due = store.due_documents((at(0), at(2_000)), Destroyable::all(at(2_000)), 10).await.unwrap().documents;
    let due: Vec<_> = due.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(due, ["d2"], "it is held back when no verdict comes; what would be destroyed is not due");
}
