//! Revocation by epoch: each revocation has a number that only rises, and counts for one scope. A link carries the newest
//! number that concerned it when it was made; it is revoked as soon as a newer one concerns it, and a link made afterwards has
//! another text. A single link is revoked by its id; its number is carried by the links that its reader gets to its document
//! from then on, so that they have another text too, and ends none of the others.
//!
//! No number is given out twice, across restarts too: see [`Numbers`].

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

impl Scope {
    /// What it covers, in one line for the record; the numbers are those of the rows.
    pub fn to_text(&self) -> String {
        match self {
            Self::All => "all".to_owned(),
            Self::Client(number) => format!("client {}", number.0),
            Self::Document(number) => format!("document {}", number.0),
            Self::Patient(number) => format!("patient {}", number.0),
            Self::Link(link) => format!("link {link}"),
        }
    }

    /// Reads what [`Scope::to_text`] wrote.
    pub fn from_text(text: &str) -> Option<Self> {
        Some(match text.split_once(' ') {
            None => (text == "all").then_some(Self::All)?,
            Some(("client", number)) => Self::Client(ClientNumber(number.parse().ok()?)),
            Some(("document", number)) => Self::Document(DocumentNumber(number.parse().ok()?)),
            Some(("patient", number)) => Self::Patient(PatientNumber(number.parse().ok()?)),
            Some(("link", link)) => Self::Link(LinkId::parse(link)?),
            Some(_) => return None,
        })
    }
}

/// A revocation as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Its number, taken when access was cut.
    pub number: u32,
    /// What it covers.
    pub scope: Scope,
    /// When.
    pub at: Timestamp,
    /// For a single link: whom it was given to, and for what, where that is known.
    pub holder: Option<Holder>,
}

/// Who holds a link, and to which document: whose next link has another text once it is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Holder {
    /// The reader that it was given to.
    pub reader: ClientNumber,
    /// The file's document.
    pub document: DocumentNumber,
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

impl Subject {
    /// Whose link it is.
    pub fn holder(&self) -> Holder {
        Holder { reader: self.reader, document: self.document }
    }
}

/// Numbers that are reserved at once. A start begins behind the whole block, so a block is what a restart costs of 2^32.
const BLOCK: u32 = 256;

/// Where the numbers stand. A block of them is reserved durably before one of it is given out, and a start goes on behind
/// everything that was reserved or is seen in a row or in the spool: whatever an earlier process gave out lies before that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Numbers {
    /// The last that was given out or seen.
    last: u32,
    /// Up to here a restart knows that they were given out.
    sure: u32,
}

impl Numbers {
    fn take(&mut self) -> u32 {
        self.last = self.last.saturating_add(1);
        self.last
    }
}

/// The newest revocation of each scope. Small: one entry per scope that was ever revoked; single links are dropped when the
/// last link of their time is over.
#[derive(Debug, Clone, Default)]
pub struct Epochs {
    newest: HashMap<Scope, (u32, Timestamp)>,
    /// The newest revocation of a single link of each holder.
    renewed: HashMap<Holder, (u32, Timestamp)>,
    numbers: Numbers,
}

impl Epochs {
    /// Takes in a revocation that is durable.
    pub fn add(&mut self, revocation: Revocation) {
        self.numbers.sure = self.numbers.sure.max(revocation.number);
        self.cut_again(&revocation);
    }

    /// Takes in a revocation that is not durable yet, under a number of its own: it counts from now on.
    pub fn cut(&mut self, scope: Scope, holder: Option<Holder>, at: Timestamp) -> Revocation {
        let revocation = Revocation { number: self.numbers.take(), scope, at, holder };
        self.cut_again(&revocation);
        revocation
    }

    /// Takes in a revocation under the number that it has: once or more, it is one.
    pub fn cut_again(&mut self, revocation: &Revocation) {
        let Revocation { number, scope, at, holder } = revocation;
        self.numbers.last = self.numbers.last.max(*number);
        raise(&mut self.newest, scope.clone(), (*number, *at));
        if let Some(holder) = holder {
            raise(&mut self.renewed, *holder, (*number, *at));
        }
    }

    /// Up to which number the next block is to be reserved; `None` while there is enough.
    pub fn block_due(&self) -> Option<u32> {
        let Numbers { last, sure } = self.numbers;
        (sure.saturating_sub(last) < BLOCK / 2).then(|| last.saturating_add(BLOCK))
    }

    /// Goes on behind `reserved`, which an earlier process may have given out, with what a start then reserves.
    pub fn resume(&mut self, reserved: u32) -> u32 {
        self.numbers.last = self.numbers.last.max(reserved);
        let block = self.numbers.last.saturating_add(BLOCK);
        self.reserved(block);
        block
    }

    /// Numbers up to `block` are reserved durably.
    pub fn reserved(&mut self, block: u32) {
        self.numbers.sure = self.numbers.sure.max(block);
    }

    /// Forgets revocations of single links before `moment`, when no link from before it is alive.
    pub fn forget_links_before(&mut self, moment: Timestamp) {
        self.newest.retain(|scope, (_, at)| !matches!(scope, Scope::Link(_)) || *at >= moment);
        self.renewed.retain(|_, (_, at)| *at >= moment);
    }

    /// The number that a link made now carries. Never one that a restart might give out again: such a link would outlive the
    /// revocation that gets it. It does not open instead, until a block is reserved.
    pub fn current(&self, subject: &Subject) -> u32 {
        let renewed = self.renewed.get(&subject.holder()).copied();
        let newest = self.concerning(subject).chain(renewed).map(|(number, _)| number).max();
        newest.unwrap_or(0).min(self.numbers.sure)
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

    /// Whether something given at `at` cannot carry `epoch`: a revocation that came later has that number or a lower one.
    pub fn is_after(&self, subject: &Subject, epoch: u32, at: Timestamp) -> bool {
        self.concerning(subject).any(|(number, revoked)| number <= epoch && revoked > at)
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

/// The newest of a key stays.
fn raise<K: Eq + std::hash::Hash>(newest: &mut HashMap<K, (u32, Timestamp)>, key: K, new: (u32, Timestamp)) {
    let entry = newest.entry(key).or_insert(new);
    if new.0 > entry.0 {
        *entry = new;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn link(text: &str) -> LinkId {
        LinkId::of_digest(text.as_bytes())
    }

    #[test]
    fn what_a_scope_says_of_itself_reads_back() {
        let numbers =
            [Scope::Client(ClientNumber(7)), Scope::Document(DocumentNumber(-1)), Scope::Patient(PatientNumber(9))];
        for scope in numbers.into_iter().chain([Scope::All, Scope::Link(link("one"))]) {
            assert_eq!(Scope::from_text(&scope.to_text()), Some(scope));
        }
        for strange in ["", "all 1", "client", "client x", "client 1 2", "link", "Document 1"] {
            assert_eq!(Scope::from_text(strange), None, "{strange}");
        }
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
            epochs.add(Revocation { number: 7, scope: scope.clone(), at: at(5), holder: None });
            assert_eq!(epochs.revoked_at(&mine, before, &link("one-link")), Some(at(5)), "{scope:?}");
            assert_eq!(epochs.revoked_at(&mine, epochs.current(&mine), &link("one-link")), None, "made afterwards");
            let expected = (scope == Scope::All).then(|| at(5));
            assert_eq!(epochs.revoked_at(&other, 0, &link("one-link")), expected, "{scope:?}");
        }
    }

    #[test]
    fn what_is_cut_is_revoked_before_it_is_durable() {
        let mine = Subject { reader: ClientNumber(1), document: DocumentNumber(1), patient: None };
        let mut epochs = Epochs::default();
        epochs.add(Revocation { number: 4, scope: Scope::All, at: at(1), holder: None });
        let before = epochs.current(&mine);
        epochs.resume(4);
        let cut = epochs.cut(Scope::Document(DocumentNumber(1)), None, at(2));
        assert_eq!(cut.number, 5);
        assert_eq!(epochs.revoked_at(&mine, before, &link("one")), Some(at(2)));
        assert_eq!(epochs.revoked_at(&mine, epochs.current(&mine), &link("one")), None);
    }

    #[test]
    fn a_single_link_ends_alone() {
        let subject = Subject { reader: ClientNumber(1), document: DocumentNumber(1), patient: None };
        let mut epochs = Epochs::default();
        epochs.add(Revocation { number: 1, scope: Scope::Link(link("AAAAAAAA")), at: at(9), holder: None });
        assert_eq!(epochs.revoked_at(&subject, 0, &link("AAAAAAAA")), Some(at(9)));
        assert_eq!(epochs.revoked_at(&subject, 0, &link("BBBBBBBB")), None);
        epochs.forget_links_before(at(10));
        assert_eq!(epochs.revoked_at(&subject, 0, &link("AAAAAAAA")), None);
    }

    #[test]
    fn a_single_link_that_is_revoked_gives_its_holders_next_link_another_epoch_and_ends_no_other() {
        let mine = Subject { reader: ClientNumber(1), document: DocumentNumber(1), patient: None };
        let (theirs, another) =
            (Subject { reader: ClientNumber(2), ..mine }, Subject { document: DocumentNumber(2), ..mine });
        let mut epochs = Epochs::default();
        epochs.resume(0);
        let before = epochs.current(&mine);
        epochs.cut(Scope::Link(link("revoked")), Some(mine.holder()), at(3));
        assert!(epochs.current(&mine) > before, "the next link has another text");
        assert_eq!(epochs.revoked_at(&mine, before, &link("revoked")), Some(at(3)));
        assert_eq!(epochs.revoked_at(&mine, before, &link("another of theirs")), None);
        assert_eq!(epochs.revoked_at(&mine, epochs.current(&mine), &link("the next")), None);
        assert_eq!((epochs.current(&theirs), epochs.current(&another)), (before, before));
        epochs.cut(Scope::Document(mine.document), None, at(4));
        assert_eq!(
            epochs.revoked_at(&mine, before + 1, &link("the next")),
            Some(at(4)),
            "which is a link as any other"
        );
    }

    /// What becomes of a revocation after it was cut in memory.
    #[derive(Debug, Clone, Copy)]
    enum Kept {
        Row,
        Spooled,
        Lost,
    }

    #[derive(Debug, Clone)]
    enum Step {
        Cut(usize, Kept),
        /// Many that no row and no spool took.
        LoseMany,
        Give,
        Restart,
    }

    fn step() -> impl Strategy<Value = Step> {
        let kept = prop_oneof![Just(Kept::Row), Just(Kept::Spooled), Just(Kept::Lost)];
        prop_oneof![
            5 => (0..3usize, kept).prop_map(|(scope, kept)| Step::Cut(scope, kept)),
            1 => Just(Step::LoseMany),
            4 => Just(Step::Give),
            2 => Just(Step::Restart),
        ]
    }

    /// What outlives a process.
    #[derive(Debug, Default)]
    struct Disk {
        reserved: u32,
        rows: Vec<Revocation>,
        spool: Vec<Revocation>,
    }

    impl Disk {
        fn start(&mut self) -> Epochs {
            let mut epochs = Epochs::default();
            self.rows.iter().for_each(|row| epochs.add(row.clone()));
            self.reserved = epochs.resume(self.reserved);
            self.spool.iter().for_each(|line| epochs.cut_again(line));
            epochs
        }

        fn keep(&mut self, epochs: &mut Epochs, revocation: Revocation) {
            if let Some(block) = epochs.block_due() {
                self.reserved = block;
                epochs.reserved(block);
            }
            epochs.add(revocation.clone());
            self.rows.push(revocation);
        }
    }

    proptest! {
        #[test]
        fn no_number_is_given_out_twice_and_no_link_outlives_a_later_revocation(
            steps in proptest::collection::vec(step(), 1..60),
        ) {
            let subject = Subject { reader: ClientNumber(1), document: DocumentNumber(1), patient: None };
            let scopes = [Scope::All, Scope::Client(ClientNumber(1)), Scope::Document(DocumentNumber(1))];
            let mut disk = Disk::default();
            let mut epochs = disk.start();
            // What a restart must not give out again, and the epochs of links that are alive.
            let (mut given_out, mut alive) = (std::collections::BTreeSet::new(), Vec::<u32>::new());
            for step in steps {
                match step {
                    Step::Cut(scope, kept) => {
                        let revocation = epochs.cut(scopes[scope].clone(), None, at(1));
                        let number = revocation.number;
                        for epoch in alive.drain(..) {
                            prop_assert!(number > epoch && epochs.revoked_since(&subject, epoch).is_some());
                        }
                        match kept {
                            Kept::Row => disk.keep(&mut epochs, revocation),
                            Kept::Spooled => disk.spool.push(revocation),
                            Kept::Lost if number > disk.reserved => continue,
                            Kept::Lost => {}
                        }
                        prop_assert!(given_out.insert(number), "{number} again");
                    }
                    Step::LoseMany => (0..BLOCK).for_each(|_| {
                        let number = epochs.cut(Scope::All, None, at(1)).number;
                        alive.clear();
                        if number <= disk.reserved {
                            assert!(given_out.insert(number), "{number} again");
                        }
                    }),
                    Step::Give => {
                        let epoch = epochs.current(&subject);
                        if epochs.revoked_since(&subject, epoch).is_none() {
                            alive.push(epoch);
                        }
                    }
                    Step::Restart => epochs = disk.start(),
                }
            }
        }
    }
}
