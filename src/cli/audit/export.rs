//! `audit export`: who saw what, when. The export is itself an entry, recorded before anything is handed out; what is handed out is
//! compared with what was sealed, and where that does not fit the command says so and fails.

mod csv;
mod legend;
mod opened;
mod own;
mod sentences;
mod table;
#[cfg(test)]
mod tests;

use std::path::Path;

use serde_json::{Map, Value};

use self::csv::Csv;
use self::opened::Opened;
use self::own::Own;
use self::table::{Sheet, Soundness};
use super::super::arguments::{AuditExport, ExportFormat};
use super::super::message::{Failure, said};
use super::super::terminal::Terminal;
use super::super::words::{Zone, number, of_micros, rfc3339_micros};
use super::super::{backend, input};
use super::OpenLog;
use crate::app::log_index::About;
use crate::app::log_proof::{Proof, Signed, Whole};
use crate::app::{Nature, StartFailure, log_check, log_index, log_proof};
use crate::config::{Settings, TimeZoneName};
use crate::control::{Request, Response};
use crate::domain::audit::cell::Cells;
use crate::domain::audit::verify::{Finding, Report};
use crate::domain::audit::{CellKey, Group};
use crate::domain::clock::Timestamp;
use crate::store::AuditRow;

/// Rows that are read at once.
const PAGE: usize = 1_000;
/// The longest log that an export verifies whole, so that none waits long for it.
const VERIFIED: u64 = 20_000;
/// Most entries of a table, which is made in memory.
const TABLE: usize = 20_000;

/// The part of the log that is asked for.
struct Wanted<'a> {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    /// Whom it is about, where one patient is asked for.
    patient: Option<&'a str>,
    end: u64,
}

/// Runs it.
pub(super) async fn run(export: AuditExport, terminal: &Terminal, nature: &Nature) -> Result<u8, Failure> {
    let settings = input::settings(&export.place, Vec::new(), false)?;
    let (from, to) = (moment("--from", export.from.as_deref())?, moment("--to", export.to.as_deref())?);
    let format = format_of(&export, terminal);
    let patient = match export.patient {
        Some(_) => Some(input::stdin_patient()?),
        None => None,
    };
    let request = Request::AuditExport {
        patient: patient.clone(),
        from: from.map(|at| at.to_string()),
        to: to.map(|at| at.to_string()),
    };
    let Response::Export { size } = backend::perform(&settings, nature, terminal, request).await? else {
        return Err(backend::unexpected());
    };
    let log = OpenLog::open(&settings, nature).await?;
    let report = if size <= VERIFIED { Some(verified(&settings, nature, &log).await?) } else { None };
    let about = match &patient {
        Some(patient) => Some(of_patient(&log, patient, size).await?),
        None => None,
    };
    let gap = about.as_ref().map(|about| about.wrong.clone()).unwrap_or_default();
    let wanted = Wanted { from, to, patient: patient.as_deref(), end: size };
    let mut out = Out::new(format, terminal, log.keys.cells()?);
    let (signed, mut found) = log_proof::signed_last(&log.reader, &log.keys, folders(&settings)).await?;
    out.vouched.0 = signed.map_or(0, |signed| signed.size);
    let handed = match about {
        Some(about) => hand_out_of(&log, about, signed, &wanted, &mut out).await?,
        None => hand_out_all(&log, signed, &wanted, &mut out).await?,
    };
    found = handed.or(found);
    let broken = report.filter(|report| !report.valid);
    let first = broken.as_ref().and_then(|report| report.findings.first().cloned());
    let first = first.or_else(|| found.clone()).or_else(|| gap.first().cloned());
    if format == ExportFormat::Table {
        out.table(&wanted, soundness(first.as_ref(), size, out.vouched), &settings)?;
    }
    tell_of(&gap, found.is_none(), terminal);
    match (broken, found, first) {
        (Some(report), ..) => {
            super::complain(&report, terminal);
            Ok(1)
        }
        (None, Some(finding), _) => Err(Failure::from(log_check::issue_of(&finding)).with_exit(1)),
        (None, None, first) => Ok(u8::from(first.is_some())),
    }
}

fn folders(settings: &Settings) -> (&Path, &Path) {
    (&settings.data_dir, &settings.audit.checkpoints)
}

/// As asked; else a table where a person looks at one patient's entries.
fn format_of(export: &AuditExport, terminal: &Terminal) -> ExportFormat {
    let for_a_person = export.patient.is_some() && terminal.is_watched() && !terminal.json;
    let default = if for_a_person { ExportFormat::Table } else { ExportFormat::Ndjson };
    export.format.unwrap_or(default)
}

/// The whole log and its look-up, verified as `audit verify` does.
async fn verified(settings: &Settings, nature: &Nature, log: &OpenLog) -> Result<Report, Failure> {
    let (checked, _) = super::check(settings, nature, Vec::new(), &|_, _| {}).await?;
    let mut report = checked.report;
    super::check_indexes(log, nature, &mut report).await?;
    Ok(report)
}

/// What the look-up says about a patient.
async fn of_patient(log: &OpenLog, patient: &str, size: u64) -> Result<About, Failure> {
    let about = log_index::about(&log.reader, &log.keys.cells()?, patient, size).await;
    Ok(about.map_err(StartFailure::from)?)
}

/// Hands out the entries about one patient. Answers the first thing that is not what was recorded.
async fn hand_out_of(
    log: &OpenLog,
    about: About,
    signed: Option<Signed>,
    wanted: &Wanted<'_>,
    out: &mut Out<'_>,
) -> Result<Option<Finding>, Failure> {
    let read = |error| Failure::from(StartFailure::from(error));
    let mut found = about.lost.into_iter().next();
    let mut proof = match signed {
        Some(signed) => Some(Proof::new(&log.reader, signed, &about.groups).await.map_err(read)?),
        None => None,
    };
    if let Some(finding) = proof.take_if(|proof| proof.is_err()).and_then(Result::err) {
        found = found.or(Some(finding));
    }
    let mut proof = proof.and_then(Result::ok);
    // Twice: what is the patient's own is known once all was read.
    for hands_out in [false, true] {
        for seq in about.entries.iter().copied().filter(|seq| *seq < wanted.end) {
            let rows = log.reader.rows(seq, 1).await.map_err(read)?;
            let Some(row) = rows.first().filter(|row| row.seq == seq) else {
                found = found.or(Some(Finding::Missing { first: seq, last: seq }));
                continue;
            };
            if !hands_out {
                out.learn(row, wanted);
                continue;
            }
            let shown = out.row(row, wanted);
            let false_tree = match &mut proof {
                Some(proof) => proof.compare(seq).await.map_err(read)?,
                None => None,
            };
            out.vouched.1 |= !proof.as_ref().is_some_and(|proof| proof.covers(seq));
            found = found.or(shown).or(false_tree);
        }
    }
    Ok(found)
}

/// Hands out all entries, page by page. Answers the first thing that is not what was recorded.
async fn hand_out_all(
    log: &OpenLog,
    signed: Option<Signed>,
    wanted: &Wanted<'_>,
    out: &mut Out<'_>,
) -> Result<Option<Finding>, Failure> {
    let (mut found, mut next, mut whole) = (None, 0, Whole::new(signed));
    // Beside a server a checkpoint may vouch for entries that came after this export was recorded.
    let end = signed.map_or(wanted.end, |signed| signed.size.max(wanted.end));
    while next < end {
        let rows = log.reader.rows(next, PAGE).await.map_err(StartFailure::from)?;
        let Some(last) = rows.last().map(|row| row.seq) else { break };
        for row in rows.iter().filter(|row| row.seq < end) {
            found = found.or(whole.take(row));
            if row.seq < wanted.end {
                found = found.or(out.row(row, wanted));
                out.vouched.1 |= signed.is_none_or(|signed| row.seq >= signed.size);
            }
        }
        next = last.saturating_add(1);
    }
    Ok(found.or(whole.finish(end)))
}

/// Where entries go.
struct Out<'a> {
    format: ExportFormat,
    terminal: &'a Terminal,
    key: CellKey,
    csv: Csv,
    /// What a table is made of in the end.
    kept: Vec<Opened>,
    /// Entries before the period that say whose a link is which the period tells of.
    before: Vec<Opened>,
    /// What is the one patient's own.
    own: Own,
    /// Up to which entry a signature vouches for what is handed out, and whether newer ones were.
    vouched: (u64, bool),
}

impl<'a> Out<'a> {
    fn new(format: ExportFormat, terminal: &'a Terminal, key: CellKey) -> Self {
        if format == ExportFormat::Csv {
            terminal.say_row(&Csv::header());
        }
        let (kept, before) = (Vec::new(), Vec::new());
        Self { format, terminal, key, csv: Csv::default(), kept, before, own: Own::default(), vouched: (0, false) }
    }

    /// Learns what is the one patient's own.
    fn learn(&mut self, row: &AuditRow, wanted: &Wanted<'_>) {
        if let (Some(patient), Some(entry)) = (wanted.patient, Opened::of(row, &self.key)) {
            self.own.learn(&entry, patient);
        }
    }

    /// Hands an entry out, or keeps it for the table. Answers what is wrong with it, also where it is not asked for.
    fn row(&mut self, row: &AuditRow, wanted: &Wanted<'_>) -> Option<Finding> {
        let found = row.fault(&self.key);
        let Some(mut entry) = Opened::of(row, &self.key) else { return found };
        if let Some(patient) = wanted.patient {
            self.own.keep_only(&mut entry, patient);
        }
        let at = of_micros(entry.micros);
        if wanted.to.is_some_and(|to| at >= to) {
            return found;
        }
        if wanted.from.is_some_and(|from| at < from) {
            self.csv.remember(&entry);
            if self.format == ExportFormat::Table && entry.names_links() {
                self.before.push(entry);
            }
            return found;
        }
        match self.format {
            ExportFormat::Ndjson => self.terminal.say(&json_line(row, &self.key, &entry)),
            ExportFormat::Csv => self.terminal.say_row(&self.csv.line(&entry)),
            ExportFormat::Table => self.kept.push(entry),
        }
        found
    }

    fn table(&self, wanted: &Wanted<'_>, soundness: Soundness, settings: &Settings) -> Result<(), Failure> {
        if self.kept.len().saturating_add(self.before.len()) > TABLE {
            let fault =
                format!("would be made of more than {} entries", number(u64::try_from(TABLE).unwrap_or(u64::MAX)));
            let cure = "give `--from` and `--to`, or take `--format csv`";
            return Err(Failure::flag("--format table", &fault, cure));
        }
        let utc = self.terminal.zone == Zone::Utc;
        let zone = if utc { TimeZoneName::utc() } else { settings.pages.time_zone.clone() };
        let sheet = Sheet {
            entries: &self.kept,
            before: &self.before,
            one_patient: wanted.patient.is_some(),
            period: (wanted.from, wanted.to),
            soundness,
            zone: &zone,
        };
        table::lines(&sheet).iter().for_each(|line| self.terminal.say(line));
        Ok(())
    }
}

fn soundness(found: Option<&Finding>, size: u64, vouched: (u64, bool)) -> Soundness {
    match found {
        Some(finding) => Soundness::Broken(log_check::issue_of(finding).message().trim_end_matches('.').to_owned()),
        None if size <= VERIFIED => Soundness::Whole(size),
        None => Soundness::Shown { size, signed: vouched.0, newer: vouched.1 },
    }
}

/// Says where the look-up was not what was recorded. Nothing is missing in the export for it, but somebody changed it.
fn tell_of(wrong: &[Finding], complete: bool, terminal: &Terminal) {
    for finding in wrong.iter().take(8) {
        let issue = log_check::issue_of(finding);
        let is_complete = if complete { " and is complete" } else { "" };
        let more = format!("the export was made from the entries themselves{is_complete}");
        let cure = "run `daylily audit verify`, and find out who changed the database";
        terminal.warn(&format!("[{}] {}; {more}", issue.code().name(), said(issue.message())), cure);
    }
}

fn moment(flag: &str, text: Option<&str>) -> Result<Option<Timestamp>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let read = Timestamp::parse(text).map(Some);
    read.ok_or_else(|| {
        Failure::flag(
            flag,
            "must be a time with an offset",
            &format!("write it like `{flag} 2026-11-23T14:02:05+01:00`"),
        )
    })
}

/// One JSON object; groups that are erased, do not open, or are not there, are left out.
fn json_line(row: &AuditRow, key: &CellKey, entry: &Opened) -> String {
    let cells = Cells::decode(&row.cells);
    let mut line = Map::new();
    line.insert("entry".to_owned(), row.seq.into());
    line.insert("time".to_owned(), rfc3339_micros(entry.micros).into());
    line.insert("action".to_owned(), entry.action.code().into());
    line.insert("outcome".to_owned(), entry.outcome.code().into());
    if entry.shortened {
        // With what is other people's left out, the cells that are shown do not lead to the entry's hash.
        line.insert("shortened".to_owned(), true.into());
    }
    for group in Group::ALL {
        let object = cells.as_ref().and_then(|cells| cells.open(group, key));
        let object = if group == Group::Subject { object.map(|_| entry.subject.clone()) } else { object };
        let value = object.and_then(|object| serde_json::from_slice::<Value>(&object.to_canonical()).ok());
        if let Some(value) = value {
            line.insert(group.name().to_owned(), value);
        }
    }
    Value::Object(line).to_string()
}
