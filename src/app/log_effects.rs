//! What entries did to the rows that say who may see what, held against those rows while the log is read: links issued and withdrawn, clients
//! switched off, documents closed, legal holds. The rows are of the end of the log, so that what an entry did and they do not show waits for a
//! later entry that took it back; nothing else is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::acknowledged::undone_mark;
use super::log_check::{LogSource, PAGE};
use crate::domain::audit::effect::{Effect, Expected, Recorded, operator_digest};
use crate::domain::audit::verify::{Finding, Undone};
use crate::domain::audit::{Action, CellKey, Leaf, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::id::ResourceId;
use crate::domain::lifecycle::State;
use crate::store::{AuditRow, LINK_REVOCATIONS_KEPT, LINK_ROWS_KEPT, StoreError};

/// Most things that wait for a later entry, and most documents with holds; further ones are not compared, and counted.
const MOST: usize = 100_000;
/// How often rows that changed while they were compared are compared again.
const AGAIN: usize = 8;
/// Rows of single links go with time; this much before, they may be gone.
const EARLY: Duration = Duration::from_secs(3_600);

/// What was read so far.
pub(super) struct Effects {
    key: CellKey,
    next: u64,
    /// By what it is about: an entry after which the rows should be other than they are.
    waiting: BTreeMap<String, (u64, Expected)>,
    /// Holds of documents that have some.
    holds: BTreeMap<ResourceId, u64>,
    /// What entries made, where all are read.
    made: Option<Made>,
    uncompared: u64,
    found: Vec<Finding>,
}

/// What the entries of a page did.
#[derive(Default)]
struct Page {
    /// What no later entry takes back; with the time from which on its row may be gone.
    lasting: Vec<(u64, Expected, Option<Timestamp>)>,
    /// By what it is about, the last entry; `None`: it may be as it likes from there on.
    last: BTreeMap<String, Option<(u64, Expected)>>,
}

/// What a whole reading found, and how much it could not compare.
pub(super) struct Compared {
    pub(super) found: Vec<Finding>,
    pub(super) uncompared: u64,
}

impl Effects {
    /// Of a reading that begins behind entries.
    pub(super) fn since(key: CellKey) -> Self {
        let (waiting, holds) = (BTreeMap::new(), BTreeMap::new());
        Self { key, next: 0, waiting, holds, made: None, uncompared: 0, found: Vec::new() }
    }

    /// Of a reading of all entries.
    pub(super) fn of_all(key: CellKey) -> Self {
        Self { made: Some(Made::default()), ..Self::since(key) }
    }

    /// Takes a page, and compares what its entries did.
    pub(super) async fn read(
        &mut self,
        source: &dyn LogSource,
        rows: &[AuditRow],
        size: u64,
    ) -> Result<(), StoreError> {
        let mut page = Page::default();
        for row in rows.iter().filter(|row| row.seq < size) {
            self.take(row, &mut page);
        }
        self.next = rows.last().map_or(self.next, |row| row.seq.saturating_add(1)).min(size);
        self.compare_lasting(source, page.lasting).await?;
        let mut asked = Vec::new();
        for (key, last) in page.last {
            self.waiting.remove(&key);
            asked.extend(last.map(|(seq, expected)| (key, seq, expected)));
        }
        let wanted = asked.iter().map(|(_, seq, expected)| (*seq, expected.clone())).collect();
        let wrong: BTreeSet<u64> = missing(source, wanted).await?.into_iter().map(|(seq, _)| seq).collect();
        for (key, seq, expected) in asked {
            if wrong.contains(&seq) && self.waiting.len() < MOST {
                self.waiting.insert(key, (seq, expected));
            } else if wrong.contains(&seq) {
                self.uncompared = self.uncompared.saturating_add(1);
            }
        }
        Ok(())
    }

    /// Compares what no later entry takes back. The time is that of the log's end: rows are forgotten by it.
    async fn compare_lasting(
        &mut self,
        source: &dyn LogSource,
        mut lasting: Vec<(u64, Expected, Option<Timestamp>)>,
    ) -> Result<(), StoreError> {
        if lasting.iter().any(|(_, _, until)| until.is_some()) {
            let now = newest(source).await?;
            lasting.retain(|(_, _, until)| until.is_none_or(|until| now < until));
        }
        let asked = lasting.into_iter().map(|(seq, expected, _)| (seq, expected)).collect();
        let wrong = missing(source, asked).await?;
        self.found.extend(wrong.into_iter().map(|(seq, what)| Finding::Undone { seq, what }));
        Ok(())
    }

    /// Takes one entry.
    fn take(&mut self, row: &AuditRow, page: &mut Page) {
        let effect = Effect::read(&row.body, &row.cells, &self.key);
        if let Some(made) = &mut self.made {
            made.take(row, effect.as_ref());
        }
        let Some(effect) = effect else { return };
        let (key, expected) = match effect {
            Effect::Revocation { number, at, scope } => {
                let kept = LINK_REVOCATIONS_KEPT.saturating_sub(EARLY);
                let until = scope.starts_with("link ").then(|| at.plus(kept));
                return page.lasting.push((row.seq, Expected::Revocation(number, Some((at, scope))), until));
            }
            Effect::Link(link) => {
                let until = link.expires.plus(LINK_ROWS_KEPT.saturating_sub(EARLY));
                return page.lasting.push((row.seq, Expected::Link(link), Some(until)));
            }
            Effect::Client { id, disabled, registered } => {
                if let Some(registered) = registered {
                    let expected = Expected::Registered(id.clone(), registered);
                    page.last.insert(format!("registered {id}"), Some((row.seq, expected)));
                }
                let Some(disabled) = disabled else { return };
                (format!("client {id}"), Expected::Client(id, disabled))
            }
            Effect::Operator(id, stands) => (format!("operator {id}"), Expected::Operator(id, stands)),
            Effect::Created(document) => return page.lasting.push((row.seq, Expected::Created(document), None)),
            Effect::Document(document, state) => {
                let key = format!("document {document}");
                match state {
                    // What is held back may be released by a later entry.
                    State::Quarantined => (key, Expected::Document(document, state)),
                    State::Expired | State::Revoked | State::Purged => {
                        page.last.insert(key, None);
                        return page.lasting.push((row.seq, Expected::Document(document, state), None));
                    }
                    State::Created | State::Scanned | State::Ready | State::Delivered => {
                        page.last.insert(key, None);
                        return;
                    }
                }
            }
            Effect::HoldLaid(document) => (format!("hold {document}"), self.hold(document, 1)),
            Effect::HoldReleased(document) => (format!("hold {document}"), self.hold(document, -1)),
        };
        page.last.insert(key, Some((row.seq, expected)));
    }

    /// Counts a hold that was laid or taken off.
    fn hold(&mut self, document: ResourceId, by: i64) -> Expected {
        let held = self.holds.remove(&document).unwrap_or_default().saturating_add_signed(by);
        if held > 0 && self.holds.len() < MOST {
            self.holds.insert(document.clone(), held);
        } else if held > 0 {
            self.uncompared = self.uncompared.saturating_add(1);
        }
        Expected::Holds(document, held)
    }

    /// Compares what still waits. Entries that came meanwhile are read too: a row is never older than its entry.
    pub(super) async fn finish(mut self, source: &dyn LogSource) -> Result<Compared, StoreError> {
        for _ in 0..AGAIN {
            let asked: Vec<(u64, Expected)> = self.waiting.values().cloned().collect();
            let wrong = missing(source, asked).await?;
            if wrong.is_empty() {
                break;
            }
            self.catch_up(source).await?;
            let stand: BTreeSet<u64> = self.waiting.values().map(|(seq, _)| *seq).collect();
            let (real, changed): (Vec<_>, Vec<_>) = wrong.into_iter().partition(|(seq, _)| stand.contains(seq));
            self.found.extend(real.iter().map(|(seq, what)| Finding::Undone { seq: *seq, what: *what }));
            let real: BTreeSet<u64> = real.into_iter().map(|(seq, _)| seq).collect();
            self.waiting.retain(|_, (seq, _)| !real.contains(seq));
            if changed.is_empty() {
                break;
            }
        }
        self.find_unrecorded(source).await?;
        if self.uncompared > 0 {
            tracing::warn!(entries = self.uncompared, "not all that entries did was compared with the database");
        }
        Ok(Compared { found: self.found, uncompared: self.uncompared })
    }

    /// Finds rows that no entry made.
    async fn find_unrecorded(&mut self, source: &dyn LogSource) -> Result<(), StoreError> {
        let Some(made) = &self.made else { return Ok(()) };
        let (mut strange, mut after) = (Vec::new(), None);
        loop {
            let rows = source.recorded(after, PAGE).await?;
            let Some(last) = rows.last() else { break };
            after = Some(last.clone());
            strange.extend(rows.into_iter().filter(|row| !made.has(row)).take(MOST.saturating_sub(strange.len())));
            source.pause().await;
        }
        if strange.is_empty() {
            return Ok(());
        }
        // A row that came meanwhile has its entry by now.
        self.catch_up(source).await?;
        let Some(made) = &self.made else { return Ok(()) };
        self.uncompared = self.uncompared.saturating_add(made.left_out);
        self.found.extend(strange.iter().filter(|row| !made.has(row)).map(|row| match row {
            Recorded::Revocation(number) => Finding::UnrecordedRevocation { number: *number },
            Recorded::Operator(id) => Finding::UnrecordedOperator { digest: operator_digest(id) },
        }));
        Ok(())
    }

    /// Reads what came since.
    async fn catch_up(&mut self, source: &dyn LogSource) -> Result<(), StoreError> {
        let size = source.head().await?.size;
        while self.next < size {
            let rows = source.rows(self.next, PAGE).await?;
            if rows.is_empty() {
                break;
            }
            self.read(source, &rows, size).await?;
        }
        Ok(())
    }
}

/// What entries made, of which rows must be.
#[derive(Default)]
struct Made {
    /// Numbers of revocations, as ranges by their first: most follow each other.
    revocations: BTreeMap<i64, i64>,
    operators: BTreeSet<String>,
    /// What an entry made that does not say it, or was too much to be kept: then no row is known to be strange.
    left_out: u64,
}

impl Made {
    fn take(&mut self, row: &AuditRow, effect: Option<&Effect>) {
        match effect {
            Some(Effect::Revocation { number, .. }) => self.add(i64::from(*number)),
            Some(Effect::Operator(id, _)) if self.operators.len() < MOST => drop(self.operators.insert(id.to_string())),
            Some(Effect::Operator(..)) => self.left_out = self.left_out.saturating_add(1),
            Some(_) => {}
            None => {
                let leaf = Leaf::decode(&row.body).ok().filter(|leaf| leaf.outcome == Outcome::Ok);
                let makes = leaf.is_some_and(|leaf| matches!(leaf.action, Action::LinkRevoke | Action::OperatorAdd));
                self.left_out = self.left_out.saturating_add(u64::from(makes));
            }
        }
    }

    fn add(&mut self, number: i64) {
        let before = self.revocations.range(..=number).next_back().map(|(first, last)| (*first, *last));
        let first = match before {
            Some((_, last)) if last >= number => return,
            Some((first, last)) if last.saturating_add(1) == number => first,
            _ => number,
        };
        let last = self.revocations.remove(&number.saturating_add(1)).unwrap_or(number);
        if self.revocations.len() < MOST || self.revocations.contains_key(&first) {
            self.revocations.insert(first, last);
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    fn has(&self, row: &Recorded) -> bool {
        let is_made = match row {
            Recorded::Operator(id) => self.operators.contains(id),
            Recorded::Revocation(number) => {
                self.revocations.range(..=*number).next_back().is_some_and(|(_, last)| last >= number)
            }
        };
        is_made || self.left_out > 0
    }
}

/// Time of the log's last entry as it stands now.
async fn newest(source: &dyn LogSource) -> Result<Timestamp, StoreError> {
    let last = source.head().await?.size.saturating_sub(1);
    let row = source.rows(last, 1).await?.into_iter().next();
    let at = row.and_then(|row| Leaf::decode(&row.body).ok().map(|leaf| recorded_at(&leaf)));
    Ok(at.unwrap_or(Timestamp::from_millis(0)))
}

fn recorded_at(leaf: &Leaf) -> Timestamp {
    Timestamp::from_millis(i64::try_from(leaf.time_micros / 1_000).unwrap_or(i64::MAX))
}

/// Those that the rows do not show.
async fn missing(source: &dyn LogSource, asked: Vec<(u64, Expected)>) -> Result<Vec<(u64, Undone)>, StoreError> {
    let mut wrong = Vec::new();
    for part in asked.chunks(PAGE) {
        let stand = source.stand(part.iter().map(|(_, expected)| expected.clone()).collect()).await?;
        let false_ones = part.iter().zip(stand).filter(|(_, stands)| !stands);
        wrong.extend(false_ones.map(|((seq, expected), _)| (*seq, kind_of(expected))));
    }
    Ok(wrong)
}

/// What is to be done again: by the mark of its finding, what the rows must show, and when it was done.
#[derive(Debug, Clone)]
pub struct ToRedo {
    /// The mark.
    pub mark: String,
    /// What the rows must show.
    pub expected: Expected,
    /// When it was done.
    pub at: Timestamp,
}

/// Reads from the entries of findings what they did.
pub(super) async fn to_redo(
    source: &dyn LogSource,
    key: &CellKey,
    findings: &[Finding],
) -> Result<Vec<ToRedo>, StoreError> {
    let mut done = Vec::new();
    for finding in findings {
        let Finding::Undone { seq, what } = finding else { continue };
        let rows = source.rows(*seq, 1).await?;
        let Some(row) = rows.first().filter(|row| row.seq == *seq) else { continue };
        let Some((effect, leaf)) = Effect::read(&row.body, &row.cells, key).zip(Leaf::decode(&row.body).ok()) else {
            continue;
        };
        let recorded = recorded_at(&leaf);
        let (expected, at) = match (effect, what) {
            (Effect::Revocation { number, at, scope }, _) => (Expected::Revocation(number, Some((at, scope))), at),
            (Effect::Client { id, registered: Some(registered), .. }, Undone::Registered) => {
                (Expected::Registered(id, registered), recorded)
            }
            (Effect::Client { id, disabled: Some(disabled), .. }, _) => (Expected::Client(id, disabled), recorded),
            (Effect::Client { .. }, _) => continue,
            (Effect::Operator(id, stands), _) => (Expected::Operator(id, stands), recorded),
            (Effect::Created(document), _) => (Expected::Created(document), recorded),
            (Effect::Document(document, state), _) => (Expected::Document(document, state), recorded),
            (Effect::Link(link), _) => (Expected::Link(link), recorded),
            (Effect::HoldLaid(document) | Effect::HoldReleased(document), Undone::Holds(held)) => {
                (Expected::Holds(document, *held), recorded)
            }
            (Effect::HoldLaid(_) | Effect::HoldReleased(_), _) => continue,
        };
        done.push(ToRedo { mark: undone_mark(*seq, *what), expected, at });
    }
    Ok(done)
}

fn kind_of(expected: &Expected) -> Undone {
    match expected {
        Expected::Revocation(..) => Undone::Revocation,
        Expected::Client(..) => Undone::Client,
        Expected::Registered(..) => Undone::Registered,
        Expected::Operator(..) => Undone::Operator,
        Expected::Created(_) => Undone::Created,
        Expected::Document(..) => Undone::Document,
        Expected::Holds(_, held) => Undone::Holds(*held),
        // Uses are told of by the file of endings, as links are by their entries.
        Expected::Link(_) | Expected::Use { .. } => Undone::Link,
    }
}
