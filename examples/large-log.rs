//! A large audit log in a fresh data folder: true entries of documents, patients, searches, downloads and
//! withdrawals with what the file of endings tells of them, appended by the library as the
//! server would, so that they verify. The server that is started on the folder then signs its checkpoints.
//!
//! ```text
//! cargo run --release --example large-log -- FOLDER ENTRIES
//! ```
//!
//! `Patient/p1` has exactly 1,000 of the entries (or all of a smaller log), spread over the whole; the others are about as many patients as
//! have fifty entries each. Prints one line: the number of entries that the log has then.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use daylily::app::{Instance, LockedFolder, Nature, SystemClock};
use daylily::config::Settings;
use daylily::delivery::Recorder;
use daylily::domain::audit::effect::{REVOCATION, revocation_text};
use daylily::domain::audit::groups::Groups;
use daylily::domain::audit::index::{Block, IndexKey, Tag};
use daylily::domain::audit::{Action, Entry, Frontier, Outcome};
use daylily::domain::epoch::Scope;
use daylily::domain::id::{ClientId, FileId, LinkId, ResourceId};
use daylily::domain::resource::PatientNumber;
use daylily::store::{SealedEntry, Store};
use daylily::vault::SystemEntropy;
use daylily::worker::Checkpointer;

/// Entries of the one patient whose export is measured.
const OF_ONE: u64 = 1_000;
/// Entries that each other patient has, about.
const OF_OTHERS: u64 = 50;
/// Entries of one commit.
const BATCH: u64 = 16_384;
/// Withdrawals of links beside each commit, of a patient's and of a single one in turns, so that the numbers told of have gaps.
const REVOKED: u64 = 24;
/// Commits between two signed checkpoints.
const SIGN_EVERY: u64 = 64;

type Failed = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words) {
        Ok(size) => {
            // Nobody is left to tell when the stream is closed.
            drop(writeln!(io::stdout(), "{size}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            drop(writeln!(io::stderr(), "{error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> Result<u64, Failed> {
    let [folder, entries] = words else { return Err("usage: large-log FOLDER ENTRIES".into()) };
    let entries: u64 = entries.parse()?;
    tokio::runtime::Runtime::new()?.block_on(fill(Path::new(folder), entries))
}

async fn fill(path: &Path, entries: u64) -> Result<u64, Failed> {
    let nature = Nature { clock: Arc::new(SystemClock::new()), entropy: Arc::new(SystemEntropy) };
    let folder = LockedFolder::prepare(path, &SystemEntropy).map_err(|issue| format!("{issue:?}"))?;
    if !folder.is_new() {
        return Err("the folder holds data; give a fresh one".into());
    }
    let settings = Settings::default_for_data_dir(path);
    let base = settings.base_url(settings.server.listen.port());
    let opened = Instance::open(folder, settings, base, nature).await;
    let instance = opened.map_err(|failure| format!("{failure:?}"))?;
    let maker = Arc::new(Maker::of(&instance, entries)?);
    let mut checkpointer = checkpointer(&instance)?;
    let mut blocks = maker.blocks_of_the_start().await?;
    let mut sealing = maker.seal(0);
    for batch in 0..entries.div_ceil(BATCH) {
        let (sealed, tags) = sealing.await??;
        // The next ones are sealed while these are written.
        sealing = maker.seal(batch + 1);
        let first = maker.store.record_all(sealed).await?;
        (first..).zip(tags).for_each(|(seq, tags)| blocks.add(seq, &tags));
        maker.revoke(&instance, &mut blocks).await?;
        maker.put(&mut blocks).await?;
        if (batch + 1) % SIGN_EVERY == 0 {
            checkpointer.finish().await?;
        }
    }
    checkpointer.finish().await?;
    let size = instance.store.audit_head().await?.size;
    instance.close().await;
    Ok(size)
}

fn checkpointer(instance: &Instance) -> Result<Checkpointer, Failed> {
    let key = instance.keys.checkpoint().map_err(|failure| format!("{failure:?}"))?;
    let (store, clock) = (Arc::clone(&instance.store), Arc::clone(&instance.nature.clock));
    Ok(Checkpointer::new(store, clock, key, instance.settings.audit.checkpoints.clone(), Frontier::new()))
}

/// Entries ready for the log, and the tags under which each is found.
type Batch = (Vec<SealedEntry>, Vec<Vec<Tag>>);

/// Makes entries, and the blocks by which they are found.
struct Maker {
    store: Arc<dyn Store>,
    recorder: Recorder,
    index: IndexKey,
    entries: u64,
}

impl Maker {
    fn of(instance: &Instance, entries: u64) -> Result<Self, Failed> {
        let cells = instance.keys.cells().map_err(|failure| format!("{failure:?}"))?;
        let (store, entropy) = (Arc::clone(&instance.store), Arc::clone(&instance.nature.entropy));
        let index = IndexKey::new(&cells).ok_or("no key of tags")?;
        Ok(Self { recorder: Recorder::new(cells, entropy, Arc::clone(&store)), store, index, entries })
    }

    /// Seals the entries of a batch on another thread.
    fn seal(self: &Arc<Self>, batch: u64) -> tokio::task::JoinHandle<Result<Batch, Failed>> {
        let maker = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let (first, after) = (batch * BATCH, maker.entries.min((batch + 1) * BATCH));
            (first..after).map(|number| maker.sealed(number)).collect()
        })
    }

    fn sealed(&self, number: u64) -> Result<(SealedEntry, Vec<Tag>), Failed> {
        let patient = patient(number, self.entries);
        let entry = entry(number, patient).ok_or("an id that is none")?;
        let sealed = self.recorder.seal(&entry).map_err(|refusal| format!("{refusal:?}"))?;
        Ok((sealed, vec![self.index.patient(&reference(patient))]))
    }

    /// Blocks that go on from the entries which the opening of the folder made.
    async fn blocks_of_the_start(&self) -> Result<Blocks, Failed> {
        let mut blocks = Blocks { open: Block::begin(0), full: Vec::new() };
        for row in self.store.audit_rows(0, usize::try_from(BATCH)?).await? {
            blocks.add(row.seq, &self.index.tags(&self.index.names(&row.body, &row.cells)));
        }
        Ok(blocks)
    }

    /// Withdraws links, which the file of endings is told of.
    async fn revoke(&self, instance: &Instance, blocks: &mut Blocks) -> Result<(), Failed> {
        for number in 0..REVOKED {
            let scope = match number % 2 {
                0 => Scope::Patient(PatientNumber(i64::try_from(number)?)),
                _ => Scope::Link(LinkId::of_digest(&number.to_be_bytes())),
            };
            let revocation = self.store.cut(scope, None, instance.nature.clock.now());
            let entry =
                Entry::new(Action::LinkRevoke, Outcome::Ok).server().with(REVOCATION, revocation_text(&revocation));
            let sealed = self.recorder.seal(&entry).map_err(|refusal| format!("{refusal:?}"))?;
            self.store.revoke(revocation, "a large log", sealed, false).await?;
            blocks.add(self.store.audit_head().await?.size - 1, &[]);
        }
        Ok(())
    }

    /// Keeps the blocks that are full, each with the entry that vouches for it.
    async fn put(&self, blocks: &mut Blocks) -> Result<(), Failed> {
        for block in std::mem::take(&mut blocks.full) {
            let begin = Groups::begin(block.first);
            let rows = self.store.audit_rows(begin, usize::try_from(block.after - begin)?).await?;
            let leaves: Result<Vec<_>, _> = rows.iter().map(|row| row.hash.as_slice().try_into()).collect();
            let entry = block.entry(&Groups::of(begin, &leaves?));
            let sealed = self.recorder.seal(&entry).map_err(|refusal| format!("{refusal:?}"))?;
            let leaf = self.store.put_audit_block(block, sealed).await?;
            blocks.add(leaf, &[]);
        }
        Ok(())
    }
}

/// The block that is filled, and those that are full.
struct Blocks {
    open: Block,
    full: Vec<Block>,
}

impl Blocks {
    fn add(&mut self, seq: u64, tags: &[Tag]) {
        if !self.open.add(seq, tags) {
            self.full.push(std::mem::replace(&mut self.open, Block::begin(seq)));
            self.open.add(seq, tags);
        }
    }
}

fn reference(patient: u64) -> String {
    format!("Patient/p{patient}")
}

/// Whom the entry of a number is about: every so many of them the one patient.
fn patient(number: u64, entries: u64) -> u64 {
    let every = (entries / OF_ONE).max(1);
    let is_of_one = number.is_multiple_of(every) && number / every < OF_ONE;
    if is_of_one { 1 } else { 2 + number % (entries / OF_OTHERS).max(1) }
}

/// The entry of a number about a patient.
fn entry(number: u64, patient: u64) -> Option<Entry> {
    let document = ResourceId::parse(&format!("d{patient}-{}", number % 4))?;
    let client = ClientId::parse(["ward-viewer", "archive", "pharmacy"].get(usize::try_from(number % 3).ok()?)?)?;
    let mut bytes = [0; 16];
    bytes.get_mut(..8)?.copy_from_slice(&patient.to_be_bytes());
    let (file, link) = (FileId::from_bytes(bytes), LinkId::of_digest(&number.to_be_bytes()));
    let about = |action, outcome| Entry::new(action, outcome).document(&document, 1).patient(&reference(patient));
    Some(match number % 5 {
        0 => about(Action::DocumentRead, Outcome::Ok).client(&client),
        1 => about(Action::LinkIssue, Outcome::Ok).client(&client).file(file).link(&link).recipient("Practitioner/7"),
        2 => about(Action::LinkRedeem, Outcome::Attempted).client(&client).file(file).link(&link),
        3 => about(Action::LinkRedeem, Outcome::Ok).client(&client).file(file).link(&link).bytes(70_000),
        _ => Entry::new(Action::Search, Outcome::Ok).client(&client).returned([&document]).patient(&reference(patient)),
    })
}
