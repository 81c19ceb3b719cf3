//! The look-up beside the log, by which entries about a patient are found, against what the entries themselves say. No leaf covers it: who
//! takes a row out hides an entry from a patient's list without touching the log, who adds one shows a strange entry there.
//! Reads in pages; nothing is kept.

use super::log_check::PAGE;
use crate::domain::audit::cell::{Cells, Group};
use crate::domain::audit::detail::{Detail, Object};
use crate::domain::audit::verify::{Finding, MAX_FINDINGS, Report};
use crate::domain::audit::{CellKey, Leaf};
use crate::store::sqlite::LogReader;
use crate::store::{AuditRow, IndexRow, StoreError};

/// Checks the look-up in both directions, and adds what is wrong to the report. An entry whose text about its subject is erased or does
/// not open says nothing of it: rows that name such an entry are let stand.
///
/// # Errors
/// The store cannot be read.
pub async fn check(log: &LogReader, key: &CellKey, report: &mut Report) -> Result<(), StoreError> {
    let size = log.head().await?.size;
    entries_are_found(log, key, size, report).await?;
    rows_are_true(log, key, report).await?;
    report.valid = report.findings.is_empty();
    Ok(())
}

async fn entries_are_found(log: &LogReader, key: &CellKey, size: u64, report: &mut Report) -> Result<(), StoreError> {
    let mut next = 0;
    while next < size {
        let rows = log.rows(next, PAGE).await?;
        let Some(last) = rows.last() else { break };
        next = last.seq.saturating_add(1);
        let named: Vec<(u64, String)> = rows.iter().flat_map(|row| pairs(row, key)).collect();
        let known = log.indexed(named.clone()).await?;
        let absent = named.iter().zip(known).filter(|(_, known)| !known);
        let mut hidden: Vec<u64> = absent.map(|((seq, _), _)| *seq).collect();
        hidden.dedup();
        hidden.into_iter().for_each(|seq| add(report, Finding::Hidden { seq }));
    }
    Ok(())
}

async fn rows_are_true(log: &LogReader, key: &CellKey, report: &mut Report) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let rows = log.index(after, PAGE).await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = Some((last.patient, last.seq));
        for row in &rows {
            if !is_true(log, key, row).await? {
                add(report, Finding::Strange { seq: row.seq });
            }
        }
    }
}

async fn is_true(log: &LogReader, key: &CellKey, row: &IndexRow) -> Result<bool, StoreError> {
    let Ok(seq) = u64::try_from(row.seq) else { return Ok(false) };
    let entry = log.rows(seq, 1).await?.into_iter().find(|entry| entry.seq == seq);
    let Some(entry) = entry else { return Ok(false) };
    let named = patients(&entry, key);
    Ok(named.is_none_or(|named| row.reference.as_ref().is_some_and(|reference| named.contains(reference))))
}

fn pairs(row: &AuditRow, key: &CellKey) -> Vec<(u64, String)> {
    patients(row, key).unwrap_or_default().into_iter().map(|patient| (row.seq, patient)).collect()
}

/// Whom an entry names; `None` where that is erased or does not open.
fn patients(row: &AuditRow, key: &CellKey) -> Option<Vec<String>> {
    let cells = Cells::decode(&row.cells)?;
    // An entry whose cells are not its own says nothing; the check of the log tells of it.
    let own = Leaf::decode(&row.body).is_ok_and(|leaf| cells.commitment(key) == Ok(leaf.commitment));
    match cells.open(Group::Subject, key) {
        _ if !own => None,
        Some(subject) => Some(named(&subject)),
        None => (!cells.has_erased()).then(Vec::new),
    }
}

fn named(subject: &Object) -> Vec<String> {
    let one = subject.get("patient").into_iter();
    let all = match subject.get("patients") {
        Some(Detail::List(all)) => all.iter(),
        _ => [].iter(),
    };
    let text = |detail: &Detail| match detail {
        Detail::Text(text) => Some(text.clone()),
        _ => None,
    };
    let mut named: Vec<String> = one.chain(all).filter_map(text).collect();
    named.sort_unstable();
    named.dedup();
    named
}

fn add(report: &mut Report, finding: Finding) {
    if report.findings.len() < MAX_FINDINGS {
        report.findings.push(finding);
    } else {
        report.more = report.more.saturating_add(1);
    }
}
