//! The export for a person: which period and how many entries, whether the log holds, then document by document who received what, when,
//! and whether it was withdrawn or held.

use std::collections::BTreeMap;

use super::super::super::words::{counted, number, of_micros};
use super::legend::{Legend, document};
use super::opened::Opened;
use super::sentences::{has_all, has_received, what, who, withdrawn};
use crate::config::TimeZoneName;
use crate::domain::audit::{Action, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::text::is_control;

/// Width of the words before what they say.
const WORDS: usize = 18;
/// Widest column of who it was; a longer one pushes its line only.
const WIDEST: usize = 36;

/// Whether what stands in the table can be relied on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Soundness {
    /// The whole log was verified, and has this many entries.
    Whole(u64),
    /// Only the entries that are shown were compared with what was sealed, and with the tree that was signed.
    Shown {
        /// Entries of the log.
        size: u64,
        /// Up to which one they were signed; 0: not at all.
        signed: u64,
        /// Whether newer ones are shown.
        newer: bool,
    },
    /// What is wrong.
    Broken(String),
}

/// What a table is made of.
#[derive(Debug)]
pub(super) struct Sheet<'a> {
    pub(super) entries: &'a [Opened],
    /// Entries before the period that gave links.
    pub(super) before: &'a [Opened],
    /// Whether only entries about one patient are asked for.
    pub(super) one_patient: bool,
    /// As asked; open ends are those of the entries.
    pub(super) period: (Option<Timestamp>, Option<Timestamp>),
    pub(super) soundness: Soundness,
    pub(super) zone: &'a TimeZoneName,
}

/// An entry with the one that says how it ended.
struct Act<'a> {
    entry: &'a Opened,
    end: Option<&'a Opened>,
}

/// The table, line by line.
pub(super) fn lines(sheet: &Sheet<'_>) -> Vec<String> {
    let legend = Legend::of(sheet.entries, sheet.before);
    let acts = acts(sheet.entries);
    let withdrawals = withdrawals(&acts);
    let (own, others) = by_document(&legend, &acts);
    let mut lines = vec![first_line(sheet)];
    lines.push(match sheet.zone.as_str() {
        "UTC" => "Times are UTC.".to_owned(),
        zone => format!("Times are those of {zone}; behind each stands its distance from UTC."),
    });
    if sheet.one_patient && sheet.entries.iter().all(|entry| entry.action == Action::AuditExport) {
        lines.push(
            "Nothing else names this patient: see whether the reference is written as in the documents.".to_owned(),
        );
    }
    for (place, own) in own.iter().enumerate() {
        lines.extend([String::new(), capitalized(&document(place))]);
        lines.extend(summary(sheet, &legend, (place, own), &withdrawals));
        lines.push(String::new());
        lines.extend(rows(sheet, &legend, own));
    }
    if !others.is_empty() {
        lines.extend([String::new(), "Not about one of these documents alone".to_owned()]);
        lines.extend(rows(sheet, &legend, &others));
    }
    if legend.documents() > 0 {
        lines.extend([String::new(), "What the short names stand for".to_owned()]);
        lines.extend(legend.lines());
        lines.push("\"Read the document\" means what is said about it (kind, title, dates), not its file.".to_owned());
        lines.push("A link works for whoever holds it: a line about one names whom it was given to, who may not be who opened it.".to_owned());
    }
    lines.iter().map(|line| visible(line.trim_end())).collect()
}

/// What concerns each document, by its place, and what concerns none.
fn by_document<'a, 'b>(legend: &Legend, acts: &'b [Act<'a>]) -> (Vec<Vec<&'b Act<'a>>>, Vec<&'b Act<'a>>) {
    let (mut own, mut others) = (vec![Vec::new(); legend.documents()], Vec::new());
    for act in acts {
        let places = legend.concerned(act.entry);
        if places.is_empty() {
            others.push(act);
        }
        for place in places {
            if let Some(own) = own.get_mut(place) {
                own.push(act);
            }
        }
    }
    (own, others)
}

fn first_line(sheet: &Sheet<'_>) -> String {
    let ends = (sheet.entries.first(), sheet.entries.last());
    let whom = match ends.0.and_then(|first| first.text("patient")).filter(|_| sheet.one_patient) {
        Some(patient) => format!(" about {patient}"),
        None if sheet.one_patient => " about this patient".to_owned(),
        None => String::new(),
    };
    let moment = |asked: Option<Timestamp>, entry: Option<&Opened>| {
        asked.or_else(|| entry.map(|entry| of_micros(entry.micros))).map(|at| sheet.zone.stamp(at))
    };
    let period = match (moment(sheet.period.0, ends.0), moment(sheet.period.1, ends.1)) {
        (Some(from), Some(to)) => format!(" from {from} to {to}"),
        (Some(from), None) => format!(" from {from} on"),
        (None, Some(to)) => format!(" before {to}"),
        (None, None) => String::new(),
    };
    let count = u64::try_from(sheet.entries.len()).unwrap_or(u64::MAX);
    let noun = if count == 1 { "entry" } else { "entries" };
    let sound = match &sheet.soundness {
        Soundness::Whole(size) => {
            format!("the log was verified: none of its {} entries was changed, none is missing", number(*size))
        }
        Soundness::Shown { size, signed, newer } => {
            let each = match (*signed, *newer) {
                (0, _) => "each fits its own hash, and nothing that was signed says more".to_owned(),
                (_, false) => "each is part of the log as it was signed".to_owned(),
                (signed, true) => format!(
                    "each is part of the log as it was signed, or came after the {} signed entries and fits its own hash",
                    number(signed)
                ),
            };
            format!(
                "{each}; the whole log of {} entries was not verified now: see `daylily audit verify`",
                number(*size)
            )
        }
        Soundness::Broken(what) => format!("THE LOG DOES NOT VERIFY: {what}; do not rely on this table"),
    };
    format!("{} {noun}{whom}{period}; {sound}", number(count))
}

/// Entries in their order, each beginning with its end.
fn acts(entries: &[Opened]) -> Vec<Act<'_>> {
    let ends: BTreeMap<u64, &Opened> =
        entries.iter().filter_map(|entry| Some((entry.number("begun")?, entry))).collect();
    let begun = |seq: u64| entries.binary_search_by_key(&seq, |entry| entry.seq).is_ok();
    let own = entries.iter().filter(|entry| !entry.number("begun").is_some_and(begun));
    own.map(|entry| Act { entry, end: ends.get(&entry.seq).copied() }).collect()
}

fn rows(sheet: &Sheet<'_>, legend: &Legend, acts: &[&Act<'_>]) -> Vec<String> {
    let width = acts.iter().map(|act| who(act.entry).chars().count()).max().unwrap_or_default().min(WIDEST);
    let row = |act: &&Act<'_>| {
        let at = sheet.zone.stamp(of_micros(act.entry.micros));
        format!("  {at}  {:<width$}  {}", who(act.entry), what(act.entry, act.end, legend))
    };
    acts.iter().map(row).collect()
}

/// What is to be seen at a glance.
fn summary(
    sheet: &Sheet<'_>,
    legend: &Legend,
    (place, own): (usize, &[&Act<'_>]),
    withdrawals: &[&Opened],
) -> Vec<String> {
    let received = own.iter().filter(|act| has_received(act.entry, act.end));
    let read = own.iter().filter(|act| {
        matches!(act.entry.action, Action::DocumentRead | Action::Search) && act.entry.outcome == Outcome::Ok
    });
    let received = received.map(|act| {
        let part = if has_all(act.entry, act.end) { "" } else { " (a part, or how it ended is not known)" };
        (format!("{}{part}", reader(act.entry, legend)), act.entry)
    });
    let mut lines = said("file received by", "nobody", times(sheet, received));
    lines.extend(said("read by", "nobody", times(sheet, read.map(|act| (who(act.entry), act.entry)))));
    let withdrawals = withdrawals.iter().filter(|entry| legend.has_ended(entry, place));
    lines.extend(said("withdrawn", "no", withdrawals.map(|entry| withdrawal(sheet, legend, entry)).collect()));
    lines.extend(said("legal hold", "none", holds(sheet, own)));
    let state = own.iter().rev().find_map(|act| Some((act.entry, act.entry.text("to")?)));
    if let Some((entry, state)) = state {
        lines.extend(said("state", "", vec![format!("{state}, since {}", stamp(sheet, entry))]));
    }
    lines
}

/// Words, and behind them one thing or several.
fn said(words: &str, none: &str, things: Vec<String>) -> Vec<String> {
    let things = if things.is_empty() { vec![none.to_owned()] } else { things };
    let words = std::iter::once(words).chain(std::iter::repeat(""));
    words.zip(things).map(|(words, thing)| format!("  {words:<WORDS$}{thing}")).collect()
}

fn stamp(sheet: &Sheet<'_>, entry: &Opened) -> String {
    sheet.zone.stamp(of_micros(entry.micros))
}

/// Who has the file: the client, and whom its link was meant for.
fn reader(entry: &Opened, legend: &Legend) -> String {
    match entry.text("link").and_then(|link| legend.recipient(link)) {
        Some(recipient) => format!("{}, by a link meant for {recipient}", who(entry)),
        None => who(entry),
    }
}

/// Each by name with how often and when, in the order of the first time.
fn times<'a>(sheet: &Sheet<'_>, seen: impl Iterator<Item = (String, &'a Opened)>) -> Vec<String> {
    let mut people: Vec<(String, u64, &Opened, &Opened)> = Vec::new();
    for (name, entry) in seen {
        match people.iter_mut().find(|(known, ..)| *known == name) {
            Some((_, count, _, last)) => {
                *count = count.saturating_add(1);
                *last = entry;
            }
            None => people.push((name, 1, entry, entry)),
        }
    }
    let line = |(name, count, first, last): &(String, u64, &Opened, &Opened)| match count {
        1 => format!("{name}: once, {}", stamp(sheet, first)),
        _ => format!("{name}: {}, first {}, last {}", counted(*count, "time"), stamp(sheet, first), stamp(sheet, last)),
    };
    people.iter().map(line).collect()
}

/// Every withdrawal. Withdrawing a document first ends its links, which is an entry of its own and left out here.
fn withdrawals<'a>(acts: &[Act<'a>]) -> Vec<&'a Opened> {
    let done = |entry: &&Opened| entry.action == Action::LinkRevoke && entry.outcome == Outcome::Ok;
    let all: Vec<&Opened> = acts.iter().map(|act| act.entry).filter(done).collect();
    let is_part = |entry: &Opened, next: &Opened| {
        let of_one = entry.document().is_some() && next.document() == entry.document();
        of_one && entry.text("to").is_none() && next.text("to").is_some() && next.text("reason") == entry.text("reason")
    };
    let next = all.iter().skip(1).map(Some).chain([None]);
    all.iter()
        .zip(next)
        .filter(|(entry, next)| !next.is_some_and(|next| is_part(entry, next)))
        .map(|(entry, _)| *entry)
        .collect()
}

fn withdrawal(sheet: &Sheet<'_>, legend: &Legend, entry: &Opened) -> String {
    let reason = entry.text("reason").map_or_else(String::new, |reason| format!(": {reason}"));
    // Links only: a document that was closed moved to a state.
    let open = match (entry.text("to").or(entry.text("link")), entry.document()) {
        (Some(_), _) => "",
        (None, Some(_)) => " (those given until then; the document stayed open)",
        (None, None) => " (those given until then)",
    };
    format!("{}, {} {}{open}{reason}", stamp(sheet, entry), who(entry), withdrawn(entry, legend))
}

fn holds(sheet: &Sheet<'_>, own: &[&Act<'_>]) -> Vec<String> {
    let held = own.iter().map(|act| act.entry).filter(|entry| entry.outcome == Outcome::Ok);
    let line = |entry: &Opened| {
        let word = match entry.action {
            Action::HoldAdd => "laid",
            Action::HoldRelease => "taken off",
            _ => return None,
        };
        let by = entry.text("authority").map_or_else(String::new, |authority| format!(", ordered by {authority}"));
        let reason = entry.text("reason").map_or_else(String::new, |reason| format!(": {reason}"));
        Some(format!("{word} {} by {}{by}{reason}", stamp(sheet, entry), who(entry)))
    };
    held.filter_map(line).collect()
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// What people wrote can hold characters that move the cursor, hide text or turn its direction; they are shown by their numbers.
fn visible(line: &str) -> String {
    line.chars().map(|c| if is_control(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}
