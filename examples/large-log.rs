//! A large audit log in a fresh data folder: true entries of documents, patients, searches and downloads, appended by the library as the
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
use daylily::delivery::Delivery;
use daylily::domain::audit::{Action, Entry, Outcome};
use daylily::domain::id::{ClientId, FileId, LinkId, ResourceId};
use daylily::vault::SystemEntropy;
use tokio::task::JoinSet;

/// Entries of the one patient whose export is measured.
const OF_ONE: u64 = 1_000;
/// Entries that each other patient has, about.
const OF_OTHERS: u64 = 50;
/// Entries that wait for the log at once: the writer takes what waits into one commit.
const AT_ONCE: u64 = 2_000;
/// Entries that one task records, one behind the other.
const RUN: u64 = 8;

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
    let mut settings = Settings::default_for_data_dir(path);
    settings.limits.write_queue = usize::try_from(2 * AT_ONCE)?;
    let base = settings.base_url(settings.server.listen.port());
    let opened = Instance::open(folder, settings, base, nature).await;
    let instance = opened.map_err(|failure| format!("{failure:?}"))?;
    let mut next = 0;
    while next < entries {
        let until = entries.min(next + AT_ONCE * RUN);
        let mut running = JoinSet::new();
        while next < until {
            let (first, after) = (next, until.min(next + RUN));
            running.spawn(record(Arc::clone(&instance.delivery), first..after, entries));
            next = after;
        }
        while let Some(done) = running.join_next().await {
            done??;
        }
    }
    let size = instance.store.audit_head().await.map_err(|error| format!("{error:?}"))?.size;
    instance.close().await;
    Ok(size)
}

async fn record(delivery: Arc<Delivery>, numbers: std::ops::Range<u64>, entries: u64) -> Result<(), Failed> {
    for number in numbers {
        let entry = entry(number, entries).ok_or("an id that is none")?;
        delivery.record(&entry).await.map_err(|refusal| format!("{refusal:?}"))?;
    }
    Ok(())
}

/// The entry of a number: every so many of them about the one patient.
fn entry(number: u64, entries: u64) -> Option<Entry> {
    let every = (entries / OF_ONE).max(1);
    let is_of_one = number.is_multiple_of(every) && number / every < OF_ONE;
    let patient = if is_of_one { 1 } else { 2 + number % (entries / OF_OTHERS).max(1) };
    let document = ResourceId::parse(&format!("d{patient}-{}", number % 4))?;
    let client = ClientId::parse(["ward-viewer", "archive", "pharmacy"].get(usize::try_from(number % 3).ok()?)?)?;
    let mut bytes = [0; 16];
    bytes.get_mut(..8)?.copy_from_slice(&patient.to_be_bytes());
    let (file, link) = (FileId::from_bytes(bytes), LinkId::of_digest(&number.to_be_bytes()));
    let about =
        |action, outcome| Entry::new(action, outcome).document(&document, 1).patient(&format!("Patient/p{patient}"));
    Some(match number % 5 {
        0 => about(Action::DocumentRead, Outcome::Ok).client(&client),
        1 => about(Action::LinkIssue, Outcome::Ok).client(&client).file(file).link(&link).recipient("Practitioner/7"),
        2 => about(Action::LinkRedeem, Outcome::Attempted).client(&client).file(file).link(&link),
        3 => about(Action::LinkRedeem, Outcome::Ok).client(&client).file(file).link(&link).bytes(70_000),
        _ => Entry::new(Action::Search, Outcome::Ok)
            .client(&client)
            .returned([&document])
            .patient(&format!("Patient/p{patient}")),
    })
}
