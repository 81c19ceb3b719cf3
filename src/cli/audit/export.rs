//! `audit export`: who saw what, when. The export is itself an entry, recorded before anything is handed out; what is handed out is
//! compared with what was sealed, and where that does not fit the command says so and fails.

mod csv;
mod legend;
mod opened;
mod sentences;
mod table;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use self::csv::Csv;
use self::opened::Opened;
use self::table::{Sheet, Soundness};
use super::super::arguments::{AuditExport, ExportFormat};
use super::super::message::{Failure, said};
use super::super::terminal::Terminal;
use super::super::words::{Zone, number, of_micros, rfc3339_micros};
use super::super::{backend, input};
use super::OpenLog;
use crate::app::{Nature, StartFailure, log_check, log_index};
use crate::config::{Settings, TimeZoneName};
use crate::control::{Request, Response};
use crate::domain::audit::cell::Cells;
use crate::domain::audit::tree::leaf_hash;
use crate::domain::audit::verify::{Finding, Report, Wrong};
use crate::domain::audit::{CellKey, Group, Leaf};
use crate::domain::clock::Timestamp;
use crate::store::AuditRow;

/// Rows that are read at once.
const PAGE: usize = 1_000;
/// The longest log that an export verifies whole, so that none waits long for it.
const VERIFIED: u64 = 20_000;
/// Most entries of a table, which is made in memory.
const TABLE: usize = 20_000;

/// The part of the log that is asked for.
struct Wanted {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    /// Numbers of the entries about one patient, in order.
    only: Option<Vec<u64>>,
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
    let (only, gap) = match &patient {
        Some(patient) => of_patient(&log, patient, size).await.map(|(only, gap)| (Some(only), gap))?,
        None => (None, Vec::new()),
    };
    let wanted = Wanted { from, to, only, end: size };
    let mut out = Out::new(format, terminal, log.keys.cells()?);
    let found = hand_out(&log, &wanted, &mut out).await?;
    let broken = report.filter(|report| !report.valid);
    let first = broken.as_ref().and_then(|report| report.findings.first().cloned()).or(gap.first().cloned()).or(found);
    if format == ExportFormat::Table {
        out.table(&wanted, soundness(first.as_ref(), size), &settings)?;
    }
    let is_gap = tell_of(&gap, terminal) > 0;
    match (broken, first) {
        (Some(report), _) => {
            super::complain(&report, terminal);
            Ok(1)
        }
        (None, Some(_)) if is_gap => Ok(1),
        (None, Some(finding)) => Err(Failure::from(log_check::issue_of(&finding)).with_exit(1)),
        (None, None) => Ok(0),
    }
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
    let now = || nature.clock.now();
    log_index::check(&log.reader, &log.keys.cells()?, &now, &mut report).await.map_err(StartFailure::from)?;
    Ok(report)
}

/// Numbers of the entries about a patient, in order and complete, and what is wrong with the look-up where that shows.
async fn of_patient(log: &OpenLog, patient: &str, size: u64) -> Result<(Vec<u64>, Vec<Finding>), Failure> {
    let about = log_index::about(&log.reader, &log.keys.cells()?, patient, size).await.map_err(StartFailure::from)?;
    Ok((about.entries, about.wrong))
}

/// Hands out what is wanted, page by page or, for one patient, entry by entry. Answers the first entry that is not what was recorded.
async fn hand_out(log: &OpenLog, wanted: &Wanted, out: &mut Out<'_>) -> Result<Option<Finding>, Failure> {
    let mut found = None;
    if let Some(only) = &wanted.only {
        for seq in only.iter().copied().filter(|seq| *seq < wanted.end) {
            let rows = log.reader.rows(seq, 1).await.map_err(StartFailure::from)?;
            match rows.first().filter(|row| row.seq == seq) {
                Some(row) => found = found.or(out.row(row, wanted)),
                None => found = found.or(Some(Finding::Missing { first: seq, last: seq })),
            }
        }
        return Ok(found);
    }
    let mut next = 0;
    while next < wanted.end {
        let rows = log.reader.rows(next, PAGE).await.map_err(StartFailure::from)?;
        let Some(last) = rows.last().map(|row| row.seq) else { break };
        for row in rows.iter().filter(|row| row.seq < wanted.end) {
            found = found.or(out.row(row, wanted));
        }
        next = last.saturating_add(1);
    }
    Ok(found)
}

/// Where entries go.
struct Out<'a> {
    format: ExportFormat,
    terminal: &'a Terminal,
    key: CellKey,
    csv: Csv,
    /// What a table is made of in the end.
    kept: Vec<Opened>,
}

impl<'a> Out<'a> {
    fn new(format: ExportFormat, terminal: &'a Terminal, key: CellKey) -> Self {
        if format == ExportFormat::Csv {
            terminal.say_row(&Csv::header());
        }
        Self { format, terminal, key, csv: Csv::default(), kept: Vec::new() }
    }

    /// Hands an entry out, or keeps it for the table. Answers what is wrong with it.
    fn row(&mut self, row: &AuditRow, wanted: &Wanted) -> Option<Finding> {
        let found = fault_of(row, &self.key);
        let entry = Opened::of(row, &self.key)?;
        let at = of_micros(entry.micros);
        if wanted.from.is_some_and(|from| at < from) || wanted.to.is_some_and(|to| at >= to) {
            return None;
        }
        match self.format {
            ExportFormat::Ndjson => self.terminal.say(&json_line(row, &self.key, &entry)),
            ExportFormat::Csv => self.terminal.say_row(&self.csv.line(&entry)),
            ExportFormat::Table => self.kept.push(entry),
        }
        found
    }

    fn table(&self, wanted: &Wanted, soundness: Soundness, settings: &Settings) -> Result<(), Failure> {
        if self.kept.len() > TABLE {
            let fault = format!("would show more than {} entries", number(u64::try_from(TABLE).unwrap_or(u64::MAX)));
            let cure = "give `--from` and `--to`, or take `--format csv`";
            return Err(Failure::flag("--format table", &fault, cure));
        }
        let utc = self.terminal.zone == Zone::Utc;
        let zone = if utc { TimeZoneName::utc() } else { settings.pages.time_zone.clone() };
        let sheet = Sheet {
            entries: &self.kept,
            one_patient: wanted.only.is_some(),
            period: (wanted.from, wanted.to),
            soundness,
            zone: &zone,
        };
        table::lines(&sheet).iter().for_each(|line| self.terminal.say(line));
        Ok(())
    }
}

fn soundness(found: Option<&Finding>, size: u64) -> Soundness {
    match found {
        Some(finding) => Soundness::Broken(log_check::issue_of(finding).message().trim_end_matches('.').to_owned()),
        None if size <= VERIFIED => Soundness::Whole(size),
        None => Soundness::Shown(size),
    }
}

/// Whether an entry's text fits its hash and its cells fit its text.
fn fault_of(row: &AuditRow, key: &CellKey) -> Option<Finding> {
    let wrong = |wrong| Some(Finding::Entry { seq: row.seq, wrong, after: None, before: None });
    if leaf_hash(&row.body).as_slice() != row.hash {
        return wrong(Wrong::BodyOrStoredHash);
    }
    let leaf = match Leaf::decode(&row.body) {
        Ok(leaf) => leaf,
        Err(error) => return wrong(Wrong::Leaf(error)),
    };
    if leaf.seq != row.seq {
        return wrong(Wrong::Misplaced { names: leaf.seq });
    }
    let Some(cells) = Cells::decode(&row.cells) else { return wrong(Wrong::CellsUnreadable) };
    match cells.commitment(key) {
        Ok(commitment) if commitment == leaf.commitment => None,
        Ok(_) => wrong(Wrong::CellsDiffer),
        Err(group) => wrong(Wrong::CellDamaged(group)),
    }
}

/// Says where the look-up was not what was recorded. Nothing is missing in the export for it, but somebody changed it.
fn tell_of(wrong: &[Finding], terminal: &Terminal) -> u8 {
    for finding in wrong.iter().take(8) {
        let issue = log_check::issue_of(finding);
        let more = "the export was made from the entries themselves and is complete";
        let cure = "run `daylily audit verify`, and find out who changed the database";
        terminal.warn(&format!("[{}] {}; {more}", issue.code().name(), said(issue.message())), cure);
    }
    u8::from(!wrong.is_empty())
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
    for group in Group::ALL {
        let object = cells.as_ref().and_then(|cells| cells.open(group, key));
        let value = object.and_then(|object| serde_json::from_slice::<Value>(&object.to_canonical()).ok());
        if let Some(value) = value {
            line.insert(group.name().to_owned(), value);
        }
    }
    Value::Object(line).to_string()
}
