//! Revocation by epoch: each revocation has a number that only rises, and counts for one scope. A link carries the newest
//! number that concerned it when it was made; it is revoked as soon as a newer one concerns it. One row a revocation, no list
//! of links, and a link made afterwards has another text.

use std::collections::HashMap;

use super::clock::Timestamp;
use super::id::LinkId;
use super::principal::ClientNumber;
use super::resource::{DocumentNumber, PatientNumber};

/// What a revocation covers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Every link there is.
    All,
    /// Links given to a client.
    Client(ClientNumber),
    /// Links of a document's files.
    Document(DocumentNumber),
    /// Links of files about a patient.
    Patient(PatientNumber),
    /// One link.
    Link(LinkId),
}

/// A revocation as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Its number; the store gives it.
    pub number: u32,
    /// What it covers.
    pub scope: Scope,
    /// When.
    pub at: Timestamp,
}

/// What of a link decides which revocations concern it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// The reader that it was given to.
    pub reader: ClientNumber,
    /// The file's document.
    pub document: DocumentNumber,
    /// The document's subject.
    pub patient: Option<PatientNumber>,
}

/// The newest revocation of each scope. Small: one entry per scope that was ever revoked; single links are dropped when the
/// last link of their time is over.
#[derive(Debug, Clone, Default)]
pub struct Epochs {
    newest: HashMap<Scope, (u32, Timestamp)>,
}

impl Epochs {
    /// Takes a revocation in.
    pub fn add(&mut self, revocation: Revocation) {
        let Revocation { number, scope, at } = revocation;
        let entry = self.newest.entry(scope).or_insert((number, at));
        if number > entry.0 {
            *entry = (number, at);
        }
    }

    /// Takes in a revocation that has no number yet, under the next one: it counts from now on. When it is durable it comes
    /// again with the store's number, which is this one or a later one; a link made in between may end once more, never live
    /// longer.
    pub fn cut(&mut self, scope: Scope, at: Timestamp) {
        let number = self.newest.values().map(|(number, _)| *number).max().unwrap_or(0) + 1;
        self.add(Revocation { number, scope, at });
    }

    /// Forgets revocations of single links before `moment`, when no link from before it is alive.
    pub fn forget_links_before(&mut self, moment: Timestamp) {
        self.newest.retain(|scope, (_, at)| !matches!(scope, Scope::Link(_)) || *at >= moment);
    }

    /// The number that a link made now carries.
    pub fn current(&self, subject: &Subject) -> u32 {
        self.concerning(subject).map(|(number, _)| number).max().unwrap_or(0)
    }

    /// When a link that carries `epoch` was revoked; `None` while it is not.
    pub fn revoked_at(&self, subject: &Subject, epoch: u32, link: &LinkId) -> Option<Timestamp> {
        let single = self.newest.get(&Scope::Link(link.clone())).map(|(_, at)| *at);
        single.into_iter().chain(self.revoked_since(subject, epoch)).min()
    }

    /// When what was given to the subject at `epoch` was revoked, single links aside.
    pub fn revoked_since(&self, subject: &Subject, epoch: u32) -> Option<Timestamp> {
        self.concerning(subject).filter(|(number, _)| *number > epoch).map(|(_, at)| at).min()
    }

    fn concerning(&self, subject: &Subject) -> impl Iterator<Item = (u32, Timestamp)> + '_ {
        let scopes = [
            Some(Scope::All),
            Some(Scope::Client(subject.reader)),
            Some(Scope::Document(subject.document)),
            subject.patient.map(Scope::Patient),
        ];
        scopes.into_iter().flatten().filter_map(|scope| self.newest.get(&scope).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn link(text: &str) -> LinkId {
        LinkId::of_digest(text.as_bytes())
    }

    #[test]
    fn a_revocation_ends_older_links_of_its_scope_and_no_others() {
        let mine = Subject { reader: ClientNumber(1), document: DocumentNumber(1), patient: Some(PatientNumber(1)) };
        let other = Subject { reader: ClientNumber(2), document: DocumentNumber(2), patient: None };
        for scope in [
            Scope::All,
            Scope::Client(ClientNumber(1)),
            Scope::Document(DocumentNumber(1)),
            Scope::Patient(PatientNumber(1)),
        ] {
            let mut epochs = Epochs::default();
            let before = epochs.current(&mine);
            epochs.add(Revocation { number: 7, scope: scope.clone(), at: at(5) });
            assert_eq!(epochs.revoked_at(&mine, before, &link("one-link")), Some(at(5)), "{scope:?}");
            assert_eq!(epochs.revoked_at(&mine, epochs.current(&mine), &link("one-link")), None, "made afterwards");
            let expected = (scope == Scope::All).then(|| at(5));
            assert_eq!(epochs.revoked_at(&other, 0, &link("one-link")), expected, "{scope:?}");
        }
    }

    #[test]
    fn what_is_cut_is_revoked_before_it_has_a_number() {
        let mine = Subject { reader: ClientNumber(1), document: DocumentNumber(1), patient: None };
        let mut epochs = Epochs::default();
        epochs.add(Revocation { number: 4, scope: Scope::All, at: at(1) });
        let before = epochs.current(&mine);
        epochs.cut(Scope::Document(DocumentNumber(1)), at(2));
        assert_eq!(epochs.revoked_at(&mine, before, &link("one")), Some(at(2)));
        assert_eq!(epochs.revoked_at(&mine, epochs.current(&mine), &link("one")), None);
    }

    #[test]
    fn a_single_link_ends_alone() {
        let subject = Subject { reader: ClientNumber(1), document: DocumentNumber(1), patient: None };
        let mut epochs = Epochs::default();
        epochs.add(Revocation { number: 1, scope: Scope::Link(link("AAAAAAAA")), at: at(9) });
        assert_eq!(epochs.revoked_at(&subject, 0, &link("AAAAAAAA")), Some(at(9)));
        assert_eq!(epochs.revoked_at(&subject, 0, &link("BBBBBBBB")), None);
        epochs.forget_links_before(at(10));
        assert_eq!(epochs.revoked_at(&subject, 0, &link("AAAAAAAA")), None);
    }
}
