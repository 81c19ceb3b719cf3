//! `audit verify`, `audit export`: on the folder itself, opened for reading, beside a running server or without one.

mod acknowledge;
mod export;

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::arguments::{Audit, AuditVerify};
use super::input;
use super::message::{Failure, Tone, said};
use super::terminal::Terminal;
use super::words::{number, of_micros};
use crate::app::log_check::{self, Against, Checked, LogSource};
use crate::app::log_index::Unread;
use crate::app::{DataFolder, KeyRing, Nature, StartFailure, open_log, open_vault};
use crate::app::{endings, log_index, start_check};
use crate::config::Settings;
use crate::domain::audit::endings::Settled;
use crate::domain::audit::note::SignedCheckpoint;
use crate::domain::audit::verify::{Finding, Report, Wrong};
use crate::domain::clock::Timestamp;
use crate::domain::refusal::Code;
use crate::store::sqlite::LogReader;

/// Runs one of them.
pub(super) async fn run(command: Audit, terminal: &Terminal, nature: &Nature) -> Result<u8, Failure> {
    match command {
        Audit::Verify(verify) => self::verify(verify, terminal, nature).await,
        Audit::Acknowledge { place, reason } => acknowledge::run(&place, reason, terminal, nature).await,
        Audit::Export(export) => export::run(export, terminal, nature).await,
    }
}

/// A log opened for reading, with what opens its entries.
pub(super) struct OpenLog {
    /// Its rows.
    pub(super) reader: LogReader,
    /// Its keys.
    pub(super) keys: KeyRing,
    /// Its name.
    pub(super) origin: String,
}

impl OpenLog {
    /// Opens the log of the settings' folder.
    pub(super) async fn open(settings: &Settings, nature: &Nature) -> Result<Self, Failure> {
        let folder = DataFolder::open(&settings.data_dir)?;
        let origin = folder.instance()?;
        let vault = open_vault(settings, folder.path(), &nature.entropy)?;
        let reader = open_log(&folder.database())?;
        let sealed = reader.keys().await.map_err(StartFailure::from)?;
        let keys = KeyRing::open(&sealed, &vault, &origin, 0)?;
        Ok(Self { reader, keys, origin })
    }

    /// What it is checked against, with checkpoints from outside.
    pub(super) fn against(&self, outside: Vec<Vec<u8>>) -> Result<Against, Failure> {
        let key = self.keys.checkpoint()?.verifying_key().clone();
        Ok(Against { origin: self.origin.clone(), key, cells: self.keys.cells()?, outside })
    }
}

/// Checks the log of a folder against its own checkpoints and those given.
pub(super) async fn check(
    settings: &Settings,
    nature: &Nature,
    given: Vec<Vec<u8>>,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<(Checked, usize), Failure> {
    // Before the log is opened: what lies in the folder then vouches for no more than is there.
    let mut outside = log_check::in_folder(&settings.audit.checkpoints).map_err(unreadable)?;
    let own = outside.len();
    outside.extend(given);
    let note = start_check::note_bytes(&settings.data_dir);
    let log = OpenLog::open(settings, nature).await?;
    let note = note.and_then(|note| start_check::open_note(&note, &log.keys));
    let (source, against) = (&log.reader as &dyn LogSource, log.against(outside)?);
    let checked = log_check::check_whole(source, against, note.as_ref(), progress).await;
    let mut checked = checked.map_err(StartFailure::from)?;
    let report = &mut checked.report;
    report.findings.extend(log_check::unpublished(source, &settings.audit.checkpoints).await?);
    report.valid = report.findings.is_empty();
    Ok((checked, own))
}

fn unreadable((path, error): (PathBuf, std::io::Error)) -> Failure {
    let why = format!("{} ({})", error.kind(), path.display());
    Failure::file("--checkpoint", &why, "give a checkpoint file that this user may read")
}

async fn verify(verify: AuditVerify, terminal: &Terminal, nature: &Nature) -> Result<u8, Failure> {
    let settings = input::settings(&verify.place, Vec::new(), false)?;
    let given: Result<Vec<_>, _> = verify.checkpoint.iter().map(|path| checkpoint(path)).collect();
    let given = given?;
    let quiet = |_: u64, _: u64| {};
    let (checked, own) = check(&settings, nature, given, &quiet).await?;
    let (mut report, uncompared) = (checked.report, checked.uncompared);
    let log = OpenLog::open(&settings, nature).await?;
    let unread = check_indexes(&log, nature, &mut report).await?;
    let key = log.keys.checkpoint()?;
    let beside = (settings.data_dir.as_path(), settings.audit.checkpoints.as_path());
    let (told, _) = endings::finding(&log.reader, beside, (key.verifying_key(), Settled::default())).await?;
    report.findings.extend(told.findings);
    report.valid = report.findings.is_empty();
    tell_unread(unread, uncompared, terminal);
    if terminal.json {
        terminal.say_json(&report_json(&report, unread, uncompared));
    } else if report.valid {
        say_valid(&report, own, terminal);
    } else {
        complain(&report, terminal);
    }
    Ok(u8::from(!report.valid))
}

/// Checks what is looked up beside the log, by the latest time that is known: links whose time was over by then are forgotten, also where the
/// clock was set back since. Answers what could not be compared.
async fn check_indexes(log: &OpenLog, nature: &Nature, report: &mut Report) -> Result<Unread, Failure> {
    let latest = latest(log, report.last, nature).await?;
    let now = || latest.max(nature.clock.now());
    let unread = log_index::check(&log.reader, &log.keys.cells()?, &now, report).await;
    Ok(unread.map_err(StartFailure::from)?)
}

/// The latest time that is known here: the clock's, the log's, or the highest that the server has seen.
async fn latest(log: &OpenLog, last: Option<u64>, nature: &Nature) -> Result<Timestamp, Failure> {
    let kept = log.reader.clock_record().await.map_err(StartFailure::from)?;
    let known = [last.map(of_micros), kept.map(|record| record.highest)];
    Ok(known.into_iter().flatten().fold(nature.clock.now(), Timestamp::max))
}

/// A file that was named as a checkpoint, and is one: the command was wrong otherwise, and nothing is said of the log.
fn checkpoint(path: &Path) -> Result<Vec<u8>, Failure> {
    let note = log_check::read_note(path).map_err(|(_, error)| input::unreadable("--checkpoint", &error))?;
    match SignedCheckpoint::parse(&note) {
        Ok(_) => Ok(note),
        Err(_) => Err(Failure::file(
            "--checkpoint",
            "it is no signed checkpoint",
            "give the file `checkpoint` of the checkpoint folder, or a copy of one, as it was written",
        )),
    }
}

fn say_valid(report: &Report, own: usize, terminal: &Terminal) {
    let day = |micros: Option<u64>| micros.map_or_else(String::new, |micros| terminal.zone.date(of_micros(micros)));
    let ok = terminal.out(Tone::Good, "ok");
    terminal.say(&format!(
        "{ok}: {} entries from {} to {}, none changed, none missing, none added out of order",
        number(report.size),
        day(report.first),
        day(report.last),
    ));
    terminal.say(&format!("  root        {}", STANDARD.encode(report.root)));
    for fitting in report.outside.iter().skip(own.min(report.outside.len())) {
        terminal.say(&format!(
            "  checkpoint  of {} ({} entries) is part of this log",
            day(fitting.time),
            number(fitting.size)
        ));
    }
    match &report.newest {
        Some(newest) => {
            terminal.say(&format!(
                "  signed      {} entries by its own key, {}",
                number(newest.size),
                day(newest.time)
            ));
        }
        None => terminal.say("  signed      nothing yet"),
    }
    if report.erased > 0 {
        let erased = number(report.erased);
        terminal
            .say(&format!("  erased      {erased} entries have erased personal cells, all covered by erasure entries"));
    }
    for silence in &report.silences {
        let (from, to) = (terminal.zone.moment(of_micros(silence.from)), terminal.zone.time(of_micros(silence.to)));
        terminal.tell(&format!(
            "note: no entry from {from} to {to}; the server was stopped without saying so, or the clock was set"
        ));
    }
}

/// Says what of the database could not be compared: it is older than this program, or a start made of it what it needs and did not end.
fn tell_unread(unread: Unread, uncompared: u64, terminal: &Terminal) {
    if unread.is_older {
        terminal.tell(
            "note: the database is of an older version: what its tables do not have yet was not checked; the next start of the \
             server adds it",
        );
    }
    if unread.given_until > 0 {
        terminal.tell(&format!(
            "note: the index of given links is being made: links of the first {} entries were not looked for in it",
            number(unread.given_until)
        ));
    }
    if uncompared > 0 {
        terminal.tell(&format!(
            "note: what {} entries did was too much to be compared with the database",
            number(uncompared)
        ));
    }
}

fn complain(report: &Report, terminal: &Terminal) {
    let paint = |tone, text: &str| terminal.err(tone, text);
    for finding in report.findings.iter().take(8) {
        let issue = log_check::issue_of(finding);
        let mut text = format!(
            "{}: {}{}\n",
            paint(Tone::Bad, &format!("error[{}]", issue.code().name())),
            said(issue.message()),
            between(finding, terminal),
        );
        if let Some(more) = what_was_changed(finding) {
            text.push_str(&format!("  {more}\n"));
        }
        terminal.complain(&text);
    }
    let hidden = report.findings.len().saturating_sub(8);
    if hidden > 0 || report.more > 0 {
        let more = u64::try_from(hidden).unwrap_or(u64::MAX).saturating_add(report.more);
        terminal.complain(&format!("  and {} more findings\n", number(more)));
    }
    if report.others_intact() {
        terminal.complain(&format!("  the other {} entries are intact\n", number(report.size.saturating_sub(1))));
    }
    if let Some(newest) = &report.newest {
        let at = newest.time.map_or_else(String::new, |time| terminal.zone.moment(of_micros(time)));
        terminal.complain(&format!("  newest checkpoint that fits: {at} ({} entries)\n", number(newest.size)));
    }
    let code = report.findings.first().map_or(Code::AuditMismatch, Finding::code);
    terminal.complain(&format!("  = {}: {}\n", paint(Tone::Help, "cure"), said(code.entry().cure)));
}

/// Between which good entries a false one stands.
fn between(finding: &Finding, terminal: &Terminal) -> String {
    let Finding::Entry { after: Some(after), before: Some(before), .. } = finding else { return String::new() };
    let (after, before) = (of_micros(*after), of_micros(*before));
    let zone = terminal.zone;
    format!(" ({}, between {} and {})", zone.date(after), zone.time(after), zone.time(before))
}

fn what_was_changed(finding: &Finding) -> Option<&'static str> {
    let Finding::Entry { wrong, .. } = finding else { return None };
    Some(match wrong {
        Wrong::Body => {
            "its stored hash still fits the signed root, so the text of this entry was changed and nothing else"
        }
        Wrong::StoredHash => "its text still fits the signed root, so the stored hash was changed and nothing else",
        Wrong::BodyOrStoredHash => "its text and its stored hash differ, and nothing signed says which was changed",
        Wrong::Leaf(_) => "its text is no entry",
        Wrong::Misplaced { .. } => "it is the entry of another place: swapped or renumbered",
        Wrong::TimeBackwards => "it is older than the entry before it",
        Wrong::CellsUnreadable | Wrong::CellDamaged(_) => "what it says of people does not open: it was changed",
        Wrong::CellsDiffer => "what it says of people is not what was recorded with it",
    })
}

fn report_json(report: &Report, unread: Unread, uncompared: u64) -> Value {
    let finding = report.findings.first().map(|finding| {
        let issue = log_check::issue_of(finding);
        json!({
            "code": issue.code().name(), "message": said(issue.message()), "entry": finding.entry(),
            "others-intact": report.others_intact(),
        })
    });
    json!({
        "valid": report.valid,
        "finding": finding,
        "size": report.size,
        "root": STANDARD.encode(report.root),
        "checkpoint": report.newest.as_ref().map(|newest| newest.note.clone()),
        "findings": report.findings.len(),
        "erased": report.erased,
        "silences": report.silences.len(),
        "not-compared": { "older-database": unread.is_older, "given-links-below": unread.given_until, "entries": uncompared },
    })
}
