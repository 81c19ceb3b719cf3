//! The two indexes beside the log, kept true: the look-up by patient is made a block at a time, once its entries are there, and both are
//! compared with the entries in rounds. What is not as the entries say is made anew from them, and that is an entry.

use std::sync::atomic::Ordering;

use super::Delivery;
use super::failure::store_failure;
use crate::domain::audit::given::Given;
use crate::domain::audit::groups::Groups;
use crate::domain::audit::index::{BLOCK, Block, IndexKey};
use crate::domain::audit::{Action, CellKey, Entry, Hash, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::id::LinkId;
use crate::domain::link::MAX_AHEAD;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::resource::DocumentNumber;
use crate::store::{AuditBlock, AuditRow, GivenLink, KeptLink};

/// Blocks that are made in one round.
const MADE_AT_ONCE: usize = 16;
/// Blocks and rows that are compared in one round.
const COMPARED_AT_ONCE: usize = 64;
/// The newest entries, among which one that tells of a block must be.
const NEWEST: u64 = 4 * BLOCK;
/// Entries whose links are looked for in one round.
const ENTRIES_AT_ONCE: usize = 512;

/// Where the rounds stand.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// Whether blocks that an earlier process made were looked for.
    begun: bool,
    /// The first entry of the next block to compare.
    block: u64,
    /// The last row of given links that was compared.
    row: Option<(DocumentNumber, LinkId)>,
    /// The next entry whose links are looked for; entries are gone through from the newest back.
    entry: u64,
}

impl Delivery {
    /// One round: makes the blocks that are due (of `least` entries or more), compares a piece of both indexes, and makes anew what is
    /// not as the entries say.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn keep_indexes(&self, least: u64) -> Result<(), Refusal> {
        let mut rounds = self.rounds.lock().await;
        if !rounds.begun {
            self.make_lost_blocks().await?;
            rounds.begun = true;
        }
        self.make_blocks(least).await?;
        self.compare_blocks(&mut rounds).await?;
        self.compare_given(&mut rounds).await?;
        if self.given_is_false.swap(false, Ordering::AcqRel) {
            *rounds = Rounds { begun: true, ..Rounds::default() };
            self.renew_given_links().await?;
        }
        Ok(())
    }

    /// Makes blocks anew that the newest entries tell of and that are not there: they were taken out while nobody looked.
    async fn make_lost_blocks(&self) -> Result<(), Refusal> {
        let (covered, size) = (self.covered().await?, self.store.audit_head().await.map_err(store_failure)?.size);
        let key = IndexKey::new(self.recorder.cell_key()).ok_or_else(|| Refusal::of(Code::AuditUnavailable))?;
        let (mut next, mut made) = (covered.max(size.saturating_sub(NEWEST)), 0);
        while next < size {
            let rows = self.store.audit_rows(next, COMPARED_AT_ONCE).await.map_err(store_failure)?;
            let Some(last) = rows.last() else { break };
            next = last.seq.saturating_add(1);
            let told = rows.iter().filter_map(|row| key.made_until(&row.body, &row.cells));
            made = told.fold(made, u64::max);
        }
        if covered < made { self.mend_blocks(covered, made).await } else { Ok(()) }
    }

    async fn make_blocks(&self, least: u64) -> Result<(), Refusal> {
        let size = self.store.audit_head().await.map_err(store_failure)?.size;
        let mut covered = self.covered().await?;
        for _ in 0..MADE_AT_ONCE {
            let after = covered.saturating_add(BLOCK).min(size);
            if after.saturating_sub(covered) < least.max(1) {
                return Ok(());
            }
            let block = self.block_of(covered, after).await?;
            self.put_block(block, false).await?;
            covered = after;
        }
        Ok(())
    }

    /// Up to which entry blocks lie without a gap.
    async fn covered(&self) -> Result<u64, Refusal> {
        let known = self.blocks_until.load(Ordering::Acquire);
        let mut covered = known;
        loop {
            let page = self.store.audit_blocks(covered, COMPARED_AT_ONCE).await.map_err(store_failure)?;
            let before = covered;
            for kept in page.iter().map(|kept| &kept.block) {
                if kept.first == covered && kept.after > covered {
                    covered = kept.after;
                }
            }
            if covered == before {
                self.blocks_until.store(covered, Ordering::Release);
                return Ok(covered);
            }
        }
    }

    /// A block made from its entries, with the groups of the tree that end in it.
    async fn block_of(&self, first: u64, after: u64) -> Result<(Block, Groups), Refusal> {
        let broken = || Refusal::of(Code::AuditUnavailable).retry_after(2);
        let begin = Groups::begin(first);
        let (mut block, mut leaves, mut next) = (Block::begin(first), Vec::new(), begin);
        while next < after {
            let count = usize::try_from(after.saturating_sub(next)).unwrap_or_default();
            let rows = self.store.audit_rows(next, count).await.map_err(store_failure)?;
            next = rows.last().ok_or_else(broken)?.seq.saturating_add(1);
            let cells = self.recorder.cell_key().clone();
            let made = tokio::task::spawn_blocking(move || add_entries((block, leaves), &rows, &cells));
            (block, leaves) = made.await.ok().flatten().ok_or_else(broken)?;
        }
        if block.after == after { Ok((block, Groups::of(begin, &leaves))) } else { Err(broken()) }
    }

    async fn put_block(&self, (block, groups): (Block, Groups), again: bool) -> Result<(), Refusal> {
        let entry = block.entry(&groups);
        let entry = if again { entry.reason("it was not what was recorded") } else { entry };
        let sealed = self.recorder.seal(&entry)?;
        self.store.put_audit_block(block, sealed).await.map_err(store_failure).map(drop)
    }

    /// Compares the next blocks with the entries that vouch for them; what is missing between two, or false, is made anew.
    async fn compare_blocks(&self, rounds: &mut Rounds) -> Result<(), Refusal> {
        let page = self.store.audit_blocks(rounds.block, COMPARED_AT_ONCE).await.map_err(store_failure)?;
        if page.is_empty() {
            rounds.block = 0;
            return Ok(());
        }
        for kept in page {
            let (first, after) = (kept.block.first, kept.block.after);
            if first > rounds.block {
                self.mend_blocks(rounds.block, first).await?;
            }
            if first < rounds.block || !self.is_vouched(&kept).await? {
                self.mend_blocks(first.max(rounds.block), first.saturating_add(1).max(after)).await?;
            }
            rounds.block = rounds.block.max(after);
        }
        Ok(())
    }

    async fn is_vouched(&self, kept: &AuditBlock) -> Result<bool, Refusal> {
        let rows = self.store.audit_rows(kept.leaf, 1).await.map_err(store_failure)?;
        let key = self.recorder.cell_key();
        Ok(rows.iter().any(|row| row.seq == kept.leaf && kept.block.is_vouched(&row.body, &row.cells, key)))
    }

    /// Makes the blocks of these entries anew, those that there are.
    async fn mend_blocks(&self, first: u64, after: u64) -> Result<(), Refusal> {
        let size = self.store.audit_head().await.map_err(store_failure)?.size;
        // What begins behind the last entry goes with any block that is made.
        let (mut first, after) = if first < size { (first, after.min(size)) } else { (0, size.min(BLOCK)) };
        tracing::error!(first, after, "the look-up by patient is not what was recorded: it is made anew");
        self.tell_of_mending("the look-up by patient is not what was recorded").await?;
        while first < after {
            let end = after.min(first.saturating_add(BLOCK));
            self.put_block(self.block_of(first, end).await?, true).await?;
            first = end;
        }
        Ok(())
    }

    /// Compares rows of given links with the entries that they name, and looks for the links of entries among the rows.
    async fn compare_given(&self, rounds: &mut Rounds) -> Result<(), Refusal> {
        let page = self.store.kept_links(rounds.row.take(), COMPARED_AT_ONCE).await.map_err(store_failure)?;
        for kept in &page {
            self.is_given(kept).await?;
        }
        rounds.row = page.last().map(|kept| (kept.link.subject.document, kept.link.id.clone()));
        if rounds.entry == 0 {
            rounds.entry = self.store.audit_head().await.map_err(store_failure)?.size;
        }
        let rows = self.store.audit_rows_before(rounds.entry, ENTRIES_AT_ONCE).await.map_err(store_failure)?;
        rounds.entry = rows.first().map_or(0, |row| row.seq);
        let now = self.clock.now();
        for row in &rows {
            let Some(given) = Given::read(&row.body, &row.cells, self.recorder.cell_key()) else { continue };
            if given.at < now.minus(MAX_AHEAD) {
                rounds.entry = 0;
                continue;
            }
            self.are_kept(&given, now).await?;
        }
        Ok(())
    }

    /// Whether the links of an entry that are alive, and whose files are, have their rows.
    async fn are_kept(&self, given: &Given, now: Timestamp) -> Result<(), Refusal> {
        for link in given.links.iter().filter(|(_, _, expires)| *expires > now) {
            let kept = self.store.given_link(&link.0).await.map_err(store_failure)?;
            if kept.is_none() && self.held_by(&given.client, link.clone()).await?.is_some() {
                self.given_is_false.store(true, Ordering::Release);
            }
        }
        Ok(())
    }

    /// A link that was given, as its own entry says.
    ///
    /// # Errors
    /// `server-busy` where the index says something else: it is made anew at once.
    pub(super) async fn given(&self, id: &LinkId) -> Result<Option<GivenLink>, Refusal> {
        let Some(kept) = self.store.given_link(id).await.map_err(store_failure)? else {
            return self.never_given(id).await;
        };
        if self.is_given(&kept).await? {
            return Ok(Some(kept.link));
        }
        Err(Refusal::of(Code::ServerBusy).retry_after(5))
    }

    /// What a row that is not there says: nothing, while the index is made, or where a recent entry gave that link.
    async fn never_given(&self, id: &LinkId) -> Result<Option<GivenLink>, Refusal> {
        let busy = || Err(Refusal::of(Code::ServerBusy).retry_after(5));
        if self.store.given_backlog().await.map_err(store_failure)? > 0 {
            return busy();
        }
        let mut end = self.store.audit_head().await.map_err(store_failure)?.size;
        let (mut left, now) = (ENTRIES_AT_ONCE, self.clock.now());
        while left > 0 && end > 0 {
            let rows = self.store.audit_rows_before(end, left).await.map_err(store_failure)?;
            (left, end) = (left.saturating_sub(rows.len()), rows.first().map_or(0, |row| row.seq));
            for row in rows {
                let Some(given) = Given::read(&row.body, &row.cells, self.recorder.cell_key()) else { continue };
                let named = given.links.iter().find(|(named, _, expires)| named == id && *expires > now).cloned();
                let Some(named) = named else { continue };
                if self.held_by(&given.client, named).await?.is_some()
                    && self.store.given_link(id).await.map_err(store_failure)?.is_none()
                {
                    self.given_is_false.store(true, Ordering::Release);
                    return busy();
                }
            }
        }
        Ok(None)
    }

    /// Whether the entry that a row names gave that link, of that file and document, to that reader, until then.
    async fn is_given(&self, kept: &KeptLink) -> Result<bool, Refusal> {
        let link = &kept.link;
        let leaf = kept.leaf.unwrap_or(u64::MAX);
        let rows = self.store.audit_rows(leaf, 1).await.map_err(store_failure)?;
        let row = rows.first().filter(|row| row.seq == leaf);
        let given = row.and_then(|row| Given::read(&row.body, &row.cells, self.recorder.cell_key()));
        let client = self.store.client_by_number(link.subject.reader);
        let file = self.store.file(link.file).await.map_err(store_failure)?;
        let document = file.and_then(|facts| facts.document.as_ref().map(|document| document.number));
        let named = (link.id.clone(), link.file, link.expires);
        let epochs = self.store.epochs();
        let is_given = given.zip(client).is_some_and(|(given, client)| {
            given.gave(&named, &client.id) && !epochs.is_after(&link.subject, link.epoch, given.at)
        }) && document == Some(link.subject.document);
        // A row may be forgotten while it is looked at; what is still there is false.
        if !is_given && self.store.given_link(&link.id).await.map_err(store_failure)?.as_ref() == Some(kept) {
            tracing::error!(link = link.id.as_str(), "a row of given links is not what its entry says");
            self.given_is_false.store(true, Ordering::Release);
            return Ok(false);
        }
        Ok(is_given)
    }

    /// What was changed is a finding, though it is mended at once.
    async fn tell_of_mending(&self, found: &'static str) -> Result<(), Refusal> {
        let entry = Entry::new(Action::AuditFinding, Outcome::Error).server().code(Code::AuditMismatch);
        self.record(&entry.with("found", found)).await
    }

    /// Makes the index of given links anew from the log.
    async fn renew_given_links(&self) -> Result<(), Refusal> {
        self.tell_of_mending("the index of given links is not what was recorded").await?;
        let entry =
            Entry::new(Action::AuditMend, Outcome::Ok).server().reason("given links were not what was recorded");
        let sealed = self.recorder.seal(&entry)?;
        self.store.renew_given(sealed).await.map_err(store_failure)?;
        self.gather_given_links().await
    }
}

/// Adds entries to a block, and their hashes to those of its groups.
fn add_entries(
    (mut block, mut leaves): (Block, Vec<Hash>),
    rows: &[AuditRow],
    cells: &CellKey,
) -> Option<(Block, Vec<Hash>)> {
    let key = IndexKey::new(cells)?;
    for row in rows {
        leaves.push(row.hash.as_slice().try_into().ok()?);
        if row.seq >= block.first {
            let tags = key.tags(&key.names(&row.body, &row.cells));
            block.add(row.seq, &tags).then_some(())?;
        }
    }
    Some((block, leaves))
}
