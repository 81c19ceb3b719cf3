//! What entries did to the rows that say who may see what, held against those rows while the log is read: links withdrawn, clients switched
//! off, documents closed, legal holds.

use std::collections::BTreeMap;
use std::time::Duration;

use super::log_check::{LogSource, PAGE};
use crate::domain::audit::effect::{Effect, Expected};
use crate::domain::audit::verify::{Finding, Undone};
use crate::domain::audit::{CellKey, Leaf};
use crate::domain::clock::Timestamp;
use crate::domain::lifecycle::State;
use crate::store::{AuditRow, LINK_REVOCATIONS_KEPT, StoreError};

/// Most things of which the last entry decides (clients, documents held back, holds); further ones are not compared.
const MOST: usize = 100_000;
/// How often rows that changed while they were compared are compared again.
const AGAIN: usize = 8;
/// Rows of single links go with time; this much before, they may be gone.
const EARLY: Duration = Duration::from_secs(3_600);

/// What was read so far.
pub(super) struct Effects {
    key: CellKey,
    /// Time of the last entry.
    newest: Timestamp,
    /// Revocations of single links, whose rows may be forgotten once they are old.
    links: Vec<(u64, Timestamp, Expected)>,
    next: u64,
    /// By what it is about: the last entry, and what the rows must show after it.
    last: BTreeMap<String, (u64, Expected)>,
    found: Vec<Finding>,
}

impl Effects {
    pub(super) fn new(key: CellKey) -> Self {
        let (newest, links) = (Timestamp::from_millis(0), Vec::new());
        Self { key, newest, links, next: 0, last: BTreeMap::new(), found: Vec::new() }
    }

    /// Takes a page, and compares what no later entry takes back.
    pub(super) async fn read(
        &mut self,
        source: &dyn LogSource,
        rows: &[AuditRow],
        size: u64,
    ) -> Result<(), StoreError> {
        let mut asked = Vec::new();
        for row in rows.iter().filter(|row| row.seq < size) {
            asked.extend(self.take(row));
        }
        if let Some(leaf) = rows.last().and_then(|row| Leaf::decode(&row.body).ok()) {
            self.newest = Timestamp::from_millis(i64::try_from(leaf.time_micros / 1_000).unwrap_or(i64::MAX));
        }
        self.next = rows.last().map_or(self.next, |row| row.seq.saturating_add(1)).min(size);
        for (seq, what) in missing(source, asked).await? {
            self.found.push(Finding::Undone { seq, what });
        }
        Ok(())
    }

    /// Takes one entry; answers what can be compared at once.
    fn take(&mut self, row: &AuditRow) -> Option<(u64, Expected)> {
        let (key, expected) = match Effect::read(&row.body, &row.cells, &self.key)? {
            Effect::Revocation { number, at, scope } => {
                let of_link = scope.starts_with("link ");
                let expected = Expected::Revocation(number, Some(scope));
                if !of_link {
                    return Some((row.seq, expected));
                }
                if self.links.len() < MOST {
                    self.links.push((row.seq, at, expected));
                }
                return None;
            }
            Effect::Client(client, disabled) => (format!("client {client}"), Expected::Client(client, disabled)),
            Effect::Document(document, state) => {
                let key = format!("document {document}");
                let last = self.last.remove(&key);
                match state {
                    // What is held back may be released by a later entry.
                    State::Quarantined => (key, Expected::Document(document, state)),
                    State::Expired | State::Revoked | State::Purged => {
                        return Some((row.seq, Expected::Document(document, state)));
                    }
                    // An entry taken away again that was never compared would hide nothing: the row decides.
                    State::Created | State::Scanned | State::Ready | State::Delivered => return last.and(None),
                }
            }
            Effect::HoldLaid(document) => {
                let key = format!("hold {document}");
                let held = self.holds(&key).saturating_add(1);
                (key, Expected::Holds(document, held))
            }
            Effect::HoldReleased(document) => {
                let key = format!("hold {document}");
                let held = self.holds(&key).saturating_sub(1);
                (key, Expected::Holds(document, held))
            }
        };
        if self.last.len() < MOST || self.last.contains_key(&key) {
            self.last.insert(key, (row.seq, expected));
        }
        None
    }

    fn holds(&self, key: &str) -> u64 {
        match self.last.get(key) {
            Some((_, Expected::Holds(_, held))) => *held,
            _ => 0,
        }
    }

    /// Compares what the last entries say. Entries that came meanwhile are read too: a row is never older than its entry.
    pub(super) async fn finish(mut self, source: &dyn LogSource) -> Result<Vec<Finding>, StoreError> {
        let kept_since = self.newest.minus(LINK_REVOCATIONS_KEPT.saturating_sub(EARLY));
        let links = std::mem::take(&mut self.links).into_iter().filter(|(_, at, _)| *at >= kept_since);
        let asked = links.map(|(seq, _, expected)| (seq, expected)).collect();
        self.found.extend(missing(source, asked).await?.into_iter().map(|(seq, what)| Finding::Undone { seq, what }));
        for _ in 0..AGAIN {
            let asked: Vec<(u64, Expected)> = self.last.values().cloned().collect();
            let wrong = missing(source, asked).await?;
            if wrong.is_empty() {
                break;
            }
            let size = source.head().await?.size;
            while self.next < size {
                let rows = source.rows(self.next, PAGE).await?;
                if rows.is_empty() {
                    break;
                }
                self.read(source, &rows, size).await?;
            }
            let stand: Vec<u64> = self.last.values().map(|(seq, _)| *seq).collect();
            let (real, changed): (Vec<_>, Vec<_>) = wrong.into_iter().partition(|(seq, _)| stand.contains(seq));
            self.found.extend(real.iter().map(|(seq, what)| Finding::Undone { seq: *seq, what: *what }));
            self.last.retain(|_, (seq, _)| !real.iter().any(|(wrong, _)| wrong == seq));
            if changed.is_empty() {
                break;
            }
        }
        Ok(self.found)
    }
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

/// What an entry did that the rows do not show: by its number, what they must show, and when it was done.
pub(super) type ToRedo = (u64, Undone, Expected, Timestamp);

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
        let recorded = Timestamp::from_millis(i64::try_from(leaf.time_micros / 1_000).unwrap_or(i64::MAX));
        let (expected, at) = match (effect, what) {
            (Effect::Revocation { number, at, scope }, _) => (Expected::Revocation(number, Some(scope)), at),
            (Effect::Client(client, disabled), _) => (Expected::Client(client, disabled), recorded),
            (Effect::Document(document, state), _) => (Expected::Document(document, state), recorded),
            (Effect::HoldLaid(document) | Effect::HoldReleased(document), Undone::Holds(held)) => {
                (Expected::Holds(document, *held), recorded)
            }
            (Effect::HoldLaid(_) | Effect::HoldReleased(_), _) => continue,
        };
        done.push((*seq, *what, expected, at));
    }
    Ok(done)
}

fn kind_of(expected: &Expected) -> Undone {
    match expected {
        Expected::Revocation(..) => Undone::Revocation,
        Expected::Client(..) => Undone::Client,
        Expected::Document(..) => Undone::Document,
        Expected::Holds(_, held) => Undone::Holds(*held),
    }
}
