//! What is looked up beside the log, against what the entries themselves say: the look-up by patient, and the index of given links.
//! Reads in pages; nothing is kept.

use std::collections::{BTreeMap, BTreeSet};

use super::log_check::PAGE;
use crate::domain::audit::given::{Given, Named};
use crate::domain::audit::groups::Groups;
use crate::domain::audit::index::{BLOCK, Block, IndexKey, Names, Tag};
use crate::domain::audit::verify::{Finding, Report};
use crate::domain::audit::{CellKey, Leaf};
use crate::domain::clock::Timestamp;
use crate::domain::id::ClientId;
use crate::store::sqlite::LogReader;
use crate::store::{AuditBlock, AuditRow, LinkRecord, StoreError};

/// Lost entries that an export names one by one.
const MOST_LOST: usize = 1_000;
/// Blocks that are read at once.
const BLOCKS: usize = 64;
/// Entries among which one that tells of a block must be: one is made as soon as so many are there, and some time passes.
const NEWEST: u64 = 4 * BLOCK;

/// Who looks up: the log as it is open, and what opens its entries.
struct Lookup<'a> {
    log: &'a LogReader,
    cells: &'a CellKey,
    key: IndexKey,
}

/// What could not be compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unread {
    /// The database is of an older version, and has not all tables and columns yet.
    pub is_older: bool,
    /// Entries below it may have given links that are not in the index yet: a start, or a mend, has not gathered them all.
    pub given_until: u64,
}

/// The entries about a patient.
#[derive(Debug, Default)]
pub struct About {
    /// Their numbers, in order.
    pub entries: Vec<u64>,
    /// Where the look-up was not what the log says; those entries were read themselves, so that none is missing here.
    pub wrong: Vec<Finding>,
    /// Entries that are not there, or not what was recorded, as far as they were looked at: what they said of the patient is not known.
    pub lost: Vec<Finding>,
    /// Groups of the log's tree, as the entries say them that vouch for blocks.
    pub groups: Vec<Groups>,
}

/// Every entry below `end` about a patient, and every revocation of a client's links or of all that ended one which such an entry gave.
/// What blocks cover is found by them, after each was compared with the entry that vouches for it; all others are looked at one by one.
///
/// # Errors
/// The store cannot be read.
pub async fn about(log: &LogReader, cells: &CellKey, patient: &str, end: u64) -> Result<About, StoreError> {
    let lookup = Lookup::new(log, cells)?;
    let mut found = Found::new(&lookup.key, patient, end);
    let mut about = About::default();
    let (mut next, mut covered) = (0, 0);
    while covered < end {
        let page = log.blocks(next, BLOCKS).await?;
        let Some(last) = page.last() else { break };
        next = last.block.first.saturating_add(1);
        for kept in page {
            let Block { first, after, .. } = kept.block;
            let Some(voucher) = lookup.voucher(&kept).await? else {
                about.wrong.push(Finding::Lookup { first, after });
                continue;
            };
            about.groups.extend(Groups::read(&voucher.cells, cells));
            if first >= covered {
                if first > covered {
                    about.wrong.push(Finding::Lookup { first: covered, after: first });
                }
                found.read(&lookup, (covered, first)).await?;
                found.in_block(&kept.block);
                covered = after;
            }
        }
    }
    let made = lookup.made_until((covered, end)).await?;
    if covered < made {
        about.wrong.push(Finding::Lookup { first: covered, after: made });
    }
    found.read(&lookup, (covered, end)).await?;
    (about.entries, about.lost) = found.entries(&lookup, patient).await?;
    Ok(about)
}

/// What was found for one patient, before each entry is looked at.
struct Found {
    patient: Tag,
    wide: Tag,
    end: u64,
    about: BTreeSet<u64>,
    everybody: BTreeSet<u64>,
    lost: Vec<Finding>,
}

impl Found {
    fn new(key: &IndexKey, patient: &str, end: u64) -> Self {
        let (about, everybody) = <(BTreeSet<u64>, BTreeSet<u64>)>::default();
        Self { patient: key.patient(patient), wide: key.wide(), end, about, everybody, lost: Vec::new() }
    }

    fn in_block(&mut self, block: &Block) {
        self.about.extend(block.found(self.patient).filter(|seq| *seq < self.end));
        self.everybody.extend(block.found(self.wide).filter(|seq| *seq < self.end));
    }

    /// Entries that no block covers.
    async fn read(&mut self, lookup: &Lookup<'_>, (first, after): (u64, u64)) -> Result<(), StoreError> {
        let (mut next, after) = (first, after.min(self.end));
        while next < after {
            let rows = lookup.log.rows(next, PAGE).await?;
            for row in rows.iter().filter(|row| row.seq < after) {
                self.is_next(next, row.seq);
                next = row.seq.saturating_add(1);
                self.lose(row.fault(lookup.cells));
                let tags = lookup.key.tags(&lookup.key.names(&row.body, &row.cells));
                self.about.extend(tags.contains(&self.patient).then_some(row.seq));
                self.everybody.extend(tags.contains(&self.wide).then_some(row.seq));
            }
            if rows.last().is_none_or(|last| last.seq >= after) {
                break;
            }
        }
        self.is_next(next, after);
        Ok(())
    }

    /// Notes what is missing between two entries.
    fn is_next(&mut self, next: u64, seq: u64) {
        self.lose((seq > next).then(|| Finding::Missing { first: next, last: seq.saturating_sub(1) }));
    }

    fn lose(&mut self, found: Option<Finding>) {
        let known = self.lost.len() >= MOST_LOST || found.as_ref().is_some_and(|found| self.lost.contains(found));
        self.lost.extend(found.filter(|_| !known));
    }

    /// The entries that do name the patient, or no longer say whom, and the wide revocations that ended a link of theirs. What a block
    /// names and is not found under that name is lost: an entry of other people may have the same tag, but then it has that tag.
    async fn entries(mut self, lookup: &Lookup<'_>, patient: &str) -> Result<(Vec<u64>, Vec<Finding>), StoreError> {
        let (mut entries, mut held) = (Vec::new(), Vec::new());
        for seq in std::mem::take(&mut self.about) {
            let Some((row, names)) = self.named(lookup, seq, self.patient).await? else { continue };
            let is_about = match names {
                Names::Said { patients, .. } => patients.iter().any(|named| named == patient),
                Names::Silent => true,
            };
            if is_about {
                entries.push(seq);
                held.extend(Given::read(&row.body, &row.cells, lookup.cells).map(|given| (seq, given)));
            }
        }
        for seq in std::mem::take(&mut self.everybody) {
            let Some((row, _)) = self.named(lookup, seq, self.wide).await? else { continue };
            if held.iter().any(|(gave, given)| *gave < seq && lookup.ended(&row, given)) {
                entries.push(seq);
            }
        }
        entries.sort_unstable();
        entries.dedup();
        Ok((entries, self.lost))
    }

    /// An entry that is found under a tag, and whom it names. `None` where it is not there or does not say. One that is not what was
    /// recorded is lost, and shown where its cells are its own.
    async fn named(
        &mut self,
        lookup: &Lookup<'_>,
        seq: u64,
        tag: Tag,
    ) -> Result<Option<(AuditRow, Names)>, StoreError> {
        let Some(row) = lookup.row(seq).await? else {
            self.lose(Some(Finding::Missing { first: seq, last: seq }));
            return Ok(None);
        };
        let (found, names) = (row.fault(lookup.cells), lookup.key.names(&row.body, &row.cells));
        let (is_false, is_silent) = (found.is_some(), names == Names::Silent);
        let is_other = !is_silent && !lookup.key.tags(&names).contains(&tag);
        self.lose(found.or_else(|| is_other.then(|| strange(seq))));
        // Cells that are not the entry's own may be about anybody.
        Ok((!is_false || !is_silent).then_some((row, names)))
    }
}

impl<'a> Lookup<'a> {
    fn new(log: &'a LogReader, cells: &'a CellKey) -> Result<Self, StoreError> {
        let key = IndexKey::new(cells).ok_or_else(|| StoreError::Unavailable("no key of tags".into()))?;
        Ok(Self { log, cells, key })
    }

    /// Up to which entry blocks were made, as the newest entries say; more than these are not looked at for it.
    async fn made_until(&self, (covered, end): (u64, u64)) -> Result<u64, StoreError> {
        let (mut next, mut made) = (covered.max(end.saturating_sub(NEWEST)), 0);
        while next < end {
            let rows = self.log.rows(next, PAGE).await?;
            let Some(last) = rows.last() else { break };
            next = last.seq.saturating_add(1);
            for row in rows.iter().filter(|row| row.seq < end) {
                made = made.max(self.key.made_until(&row.body, &row.cells).unwrap_or(0));
            }
        }
        Ok(made)
    }

    async fn row(&self, seq: u64) -> Result<Option<AuditRow>, StoreError> {
        Ok(self.log.rows(seq, 1).await?.into_iter().find(|row| row.seq == seq))
    }

    /// The entry that vouches for a block.
    async fn voucher(&self, kept: &AuditBlock) -> Result<Option<AuditRow>, StoreError> {
        let row = self.row(kept.leaf).await?;
        Ok(row.filter(|row| kept.block.is_vouched(&row.body, &row.cells, self.cells)))
    }

    /// Whether a wide revocation ended a link that was given before it: one that was alive, of that client.
    fn ended(&self, revocation: &AuditRow, given: &Given) -> bool {
        let Ok(leaf) = Leaf::decode(&revocation.body) else { return false };
        let Some(ended) = self.key.ends_links_of(&revocation.cells) else { return false };
        let recorded = || Timestamp::from_millis(i64::try_from(leaf.time_micros / 1_000).unwrap_or(i64::MAX));
        let at = ended.at.unwrap_or_else(recorded);
        let concerns = ended.client.is_none_or(|client| ClientId::parse(&client).as_ref() == Some(&given.client));
        concerns && given.links.iter().any(|(_, _, expires)| *expires >= at)
    }
}

/// Checks both indexes in both directions, and adds what is wrong to the report. An entry whose text is erased or does not open says
/// nothing: what names such an entry is let stand. `now`: links whose time is over by then need no row. Beside a server rows go while this
/// reads: what seems wrong is looked at once more before it is said.
///
/// # Errors
/// The store cannot be read.
pub async fn check(
    log: &LogReader,
    cells: &CellKey,
    now: &(dyn Fn() -> Timestamp + Sync),
    report: &mut Report,
) -> Result<Unread, StoreError> {
    let lookup = Lookup::new(log, cells)?;
    // Before the blocks: an entry below it tells of a block that is among them.
    let size = log.head().await?.size;
    let blocks = lookup.check_blocks(report).await?;
    lookup.check_entries(&blocks, (size, now), report).await?;
    lookup.check_links(report).await?;
    report.valid = report.findings.is_empty();
    Ok(Unread { is_older: log.is_older(), given_until: log.given_backlog().await? })
}

impl Lookup<'_> {
    /// Every block against its entries and the one that vouches for it. Answers the blocks that are there, by their first entries.
    async fn check_blocks(&self, report: &mut Report) -> Result<BTreeMap<u64, (u64, u64)>, StoreError> {
        let (mut kept, mut next, mut covered) = (BTreeMap::new(), 0, 0);
        loop {
            let page = self.log.blocks(next, BLOCKS).await?;
            let Some(last) = page.last() else { return Ok(kept) };
            next = last.block.first.saturating_add(1);
            for one in page {
                let Block { first, after, .. } = one.block;
                let is_next = first == covered && after > first && after - first <= BLOCK;
                if (!is_next || self.voucher(&one).await?.is_none()) && self.stands(&one).await? {
                    report.add([Finding::Lookup { first: covered.min(first), after }]);
                }
                if after > first && after - first <= BLOCK {
                    self.check_block(&one.block, report).await?;
                    covered = after;
                }
                kept.insert(first, (after, one.leaf));
            }
        }
    }

    /// Whether a block that was read still stands as it did: a new one may have taken its place.
    async fn stands(&self, read: &AuditBlock) -> Result<bool, StoreError> {
        let now = self.log.blocks(read.block.first, 1).await?;
        Ok(now.first().is_some_and(|now| (now.block.first, now.leaf) == (read.block.first, read.leaf)))
    }

    async fn check_block(&self, block: &Block, report: &mut Report) -> Result<(), StoreError> {
        let listed: BTreeSet<(u64, Tag)> = block.entries().collect();
        // What an entry says; one that cannot be opened may say anything.
        let (mut said, mut silent, mut next) = (BTreeSet::new(), BTreeSet::new(), block.first);
        while next < block.after {
            let rows = self.log.rows(next, PAGE).await?;
            let Some(last) = rows.last() else { break };
            next = last.seq.saturating_add(1);
            for row in rows.iter().filter(|row| row.seq < block.after) {
                let names = self.key.names(&row.body, &row.cells);
                if names == Names::Silent {
                    silent.insert(row.seq);
                    continue;
                }
                let tags: BTreeSet<(u64, Tag)> = self.key.tags(&names).into_iter().map(|tag| (row.seq, tag)).collect();
                if !tags.is_subset(&listed) {
                    report.add([Finding::Hidden { seq: row.seq }]);
                }
                said.extend(tags);
            }
        }
        let strangers = listed.difference(&said).map(|(seq, _)| *seq).filter(|seq| !silent.contains(seq));
        let strangers: BTreeSet<u64> = strangers.chain((!block.is_whole()).then_some(block.first)).collect();
        report.add(strangers.into_iter().map(strange));
        Ok(())
    }

    /// Every entry: blocks that were made are there, and links that are alive have their rows.
    async fn check_entries(
        &self,
        blocks: &BTreeMap<u64, (u64, u64)>,
        (size, now): (u64, &(dyn Fn() -> Timestamp + Sync)),
        report: &mut Report,
    ) -> Result<(), StoreError> {
        let (mut next, mut made) = (0, 0);
        while next < size {
            let rows = self.log.rows(next, PAGE).await?;
            let Some(last) = rows.last() else { break };
            next = last.seq.saturating_add(1);
            for row in rows.iter().filter(|row| row.seq < size) {
                made = made.max(self.key.made_until(&row.body, &row.cells).unwrap_or(0));
                let Some(given) = Given::read(&row.body, &row.cells, self.cells) else { continue };
                for link in given.links.iter().filter(|(_, _, expires)| *expires >= now()) {
                    if self.lacks(row.seq, link).await? && link.2 >= now() {
                        report.add([Finding::LinkHidden { seq: row.seq }]);
                    }
                }
            }
        }
        let covered = blocks.values().map(|(after, _)| *after).max().unwrap_or(0);
        if covered < made {
            report.add([Finding::Lookup { first: covered, after: made }]);
        }
        Ok(())
    }

    /// Whether a link of an entry has no row, and none is to be made yet. Looked at twice: what is gathered meanwhile has one.
    async fn lacks(&self, seq: u64, link: &Named) -> Result<bool, StoreError> {
        Ok(self.log.lacks_link(&link.0, link.1).await?
            && seq >= self.log.given_backlog().await?
            && self.log.lacks_link(&link.0, link.1).await?)
    }

    /// Whether a row of given links, which stands next behind `after`, still does: it goes with its document.
    async fn is_there(&self, after: Option<(i64, String)>, kept: &LinkRecord) -> Result<bool, StoreError> {
        let rows = self.log.given_links(after, 1).await?;
        Ok(rows.first().is_some_and(|row| (row.document, &row.id, row.leaf) == (kept.document, &kept.id, kept.leaf)))
    }

    /// Every row of given links against the entry that it names.
    async fn check_links(&self, report: &mut Report) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let page = self.log.given_links(after.clone(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            let mut before = after.replace((last.document, last.id.clone()));
            for kept in &page {
                let at = before.replace((kept.document, kept.id.clone()));
                let given = match kept.leaf {
                    Some(leaf) => self.row(leaf).await?.and_then(|row| Given::read(&row.body, &row.cells, self.cells)),
                    None => None,
                };
                // One of before the index named entries learns its own when that is gone through.
                let is_waiting = kept.leaf.is_none() && self.log.given_backlog().await? > 0;
                if !is_waiting && !given.is_some_and(|given| kept.is_of(&given)) && self.is_there(at, kept).await? {
                    report.add([Finding::LinkStrange { seq: kept.leaf }]);
                }
            }
        }
    }
}

fn strange(seq: u64) -> Finding {
    Finding::Strange { seq: i64::try_from(seq).unwrap_or(i64::MAX) }
}
