//! `audit export`: who saw what, when. The export is itself an entry, recorded before anything is handed out.

use serde_json::{Map, Value};

use super::super::arguments::{AuditExport, ExportFormat};
use super::super::message::{Failure, said};
use super::super::terminal::Terminal;
use super::super::words::rfc3339_micros;
use super::super::{backend, input};
use super::OpenLog;
use crate::app::{Nature, StartFailure, log_check, log_index};
use crate::control::{Request, Response};
use crate::domain::audit::cell::Cells;
use crate::domain::audit::verify::Finding;
use crate::domain::audit::{CellKey, Group, Leaf};
use crate::domain::clock::Timestamp;
use crate::store::AuditRow;

/// Rows that are read at once.
const PAGE: usize = 1_000;

/// Columns of a table.
const COLUMNS: [&str; 8] = ["entry", "time", "action", "outcome", "actor", "key", "subject", "tech"];

/// The part of the log that is asked for.
struct Wanted {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    end: u64,
}

/// Runs it.
pub(super) async fn run(export: AuditExport, terminal: &Terminal, nature: &Nature) -> Result<u8, Failure> {
    let settings = input::settings(&export.place, Vec::new(), false)?;
    let (from, to) = (moment("--from", export.from.as_deref())?, moment("--to", export.to.as_deref())?);
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
    let cells = log.keys.cells()?;
    let about = match &patient {
        Some(patient) => Some(log_index::about(&log.reader, &cells, patient, size).await.map_err(StartFailure::from)?),
        None => None,
    };
    let wanted = Wanted { from, to, end: size };
    if export.format == ExportFormat::Csv {
        terminal.say(&COLUMNS.join(","));
    }
    if let Some(about) = about {
        for seq in &about.entries {
            let rows = log.reader.rows(*seq, 1).await.map_err(StartFailure::from)?;
            rows.iter()
                .filter_map(|row| line_of(row, &cells, &wanted, export.format))
                .for_each(|line| terminal.say(&line));
        }
        return Ok(tell_of(&about.wrong, terminal));
    }
    let mut next = 0;
    while next < wanted.end {
        let rows = log.reader.rows(next, PAGE).await.map_err(StartFailure::from)?;
        let Some(last) = rows.last().map(|row| row.seq) else { break };
        for line in rows.iter().filter_map(|row| line_of(row, &cells, &wanted, export.format)) {
            terminal.say(&line);
        }
        next = last.saturating_add(1);
    }
    Ok(0)
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

fn line_of(row: &AuditRow, key: &CellKey, wanted: &Wanted, format: ExportFormat) -> Option<String> {
    let leaf = Leaf::decode(&row.body).ok()?;
    let at = Timestamp::from_millis(i64::try_from(leaf.time_micros / 1_000).unwrap_or(i64::MAX));
    let within =
        row.seq < wanted.end && wanted.from.is_none_or(|from| at >= from) && wanted.to.is_none_or(|to| at < to);
    if !within {
        return None;
    }
    let cells = Cells::decode(&row.cells);
    let group = |group: Group| {
        let object = cells.as_ref().and_then(|cells| cells.open(group, key))?;
        serde_json::from_slice::<Value>(&object.to_canonical()).ok()
    };
    let groups = Group::ALL.map(|one| (one.name(), group(one)));
    let time = rfc3339_micros(leaf.time_micros);
    match format {
        ExportFormat::Ndjson => {
            let mut line = Map::new();
            line.insert("entry".to_owned(), row.seq.into());
            line.insert("time".to_owned(), time.into());
            line.insert("action".to_owned(), leaf.action.code().into());
            line.insert("outcome".to_owned(), leaf.outcome.code().into());
            for (name, value) in groups {
                if let Some(value) = value {
                    line.insert(name.to_owned(), value);
                }
            }
            Some(Value::Object(line).to_string())
        }
        ExportFormat::Csv => {
            let text = |value: Option<Value>| value.map_or_else(String::new, |value| value.to_string());
            let fixed = [row.seq.to_string(), time, leaf.action.code().to_owned(), leaf.outcome.code().to_owned()];
            let cells = groups.into_iter().map(|(_, value)| text(value));
            Some(fixed.into_iter().chain(cells).map(|text| field(&text)).collect::<Vec<_>>().join(","))
        }
    }
}

/// A field of RFC 4180. One that a table program could take for a formula begins with an apostrophe (OWASP, CSV injection).
fn field(text: &str) -> String {
    let guarded = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() };
    if guarded.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", guarded.replace('"', "\"\"")) } else { guarded }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_and_no_formula_gets_through() {
        assert_eq!(field("plain"), "plain");
        assert_eq!(field("a,\"b\""), "\"a,\"\"b\"\"\"");
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"] {
            assert!(field(formula).starts_with('\''), "{formula}");
        }
        assert_eq!(field("=HYPERLINK(\"x\",\"y\")"), "\"'=HYPERLINK(\"\"x\"\",\"\"y\"\")\"");
    }

    #[test]
    fn times_need_an_offset() {
        assert!(moment("--from", Some("2026-11-23T14:02:05+01:00")).unwrap().is_some());
        assert_eq!(moment("--from", Some("2026-11-23")).unwrap_err().exit, 2);
        assert_eq!(moment("--from", None).unwrap(), None);
    }
}
