//! What an export says of one letter, written out by hand.

use super::opened::Opened;
use super::table::{Sheet, Soundness, lines};
use super::*;
use crate::domain::audit::tree::leaf_hash;
use crate::domain::audit::{Action, Entry, Outcome, Prepared};
use crate::domain::id::{ClientId, FileId, LinkId, ResourceId};
use crate::domain::refusal::Code;
use crate::vault::SystemEntropy;

/// 2026-11-23T13:02:00Z.
const BEGIN: u64 = 1_795_438_920_000_000;
/// The link of [`letter`].
pub(super) const LETTER_LINK: &str = "lk_012345678";

/// An entry as it is read back: sealed, stored, opened.
pub(super) fn entry_of(seq: u64, entry: &Entry) -> Opened {
    let key = CellKey::new(&[9; 32]);
    Opened::of(&row_of(seq, entry, &key), &key).unwrap()
}

fn row_of(seq: u64, entry: &Entry, key: &CellKey) -> AuditRow {
    let prepared = Prepared::new(entry, &SystemEntropy).unwrap();
    let body = prepared.leaf(seq, BEGIN + seq * 1_000_000, "t1").encode();
    let (hash, cells) = (leaf_hash(&body).to_vec(), prepared.seal(key).unwrap());
    AuditRow { seq, body, hash, cells }
}

pub(super) fn file() -> FileId {
    FileId::from_bytes([1; 16])
}

fn link() -> LinkId {
    LinkId::parse(LETTER_LINK).unwrap()
}

fn about(action: Action, outcome: Outcome) -> Entry {
    Entry::new(action, outcome).document(&ResourceId::parse("9f31").unwrap(), 1).patient("Patient/p1")
}

/// A letter that is delivered, given to one, opened, held and withdrawn.
pub(super) fn letter() -> Vec<Opened> {
    let (source, ward) = (ClientId::parse("source").unwrap(), ClientId::parse("ward-viewer").unwrap());
    let opening = |outcome| {
        about(Action::LinkRedeem, outcome).client(&ward).file(file()).link(&link()).ip([203, 0, 113, 9].into())
    };
    let entries = [
        about(Action::DocumentCreate, Outcome::Ok).client(&source).file(file()),
        about(Action::LinkIssue, Outcome::Ok).client(&ward).file(file()).link(&link()).recipient("Practitioner/7"),
        opening(Outcome::Attempted),
        opening(Outcome::Ok).begun(2).bytes(70_000).with("size", 70_000_u64),
        about(Action::DocumentRead, Outcome::Ok).client(&ward).on_behalf_of("Practitioner/8"),
        about(Action::HoldAdd, Outcome::Ok).operator("anna.berg").reason("case 12").with("authority", "court"),
        about(Action::LinkRevoke, Outcome::Ok).client(&source).reason("wrong ward"),
        about(Action::LinkRevoke, Outcome::Ok)
            .client(&source)
            .reason("wrong ward")
            .states(Some("delivered"), "revoked"),
        opening(Outcome::Denied).code(Code::LinkRevoked),
        Entry::new(Action::AuditExport, Outcome::Ok).os_user(1000).patient("Patient/p1"),
    ];
    (0..).zip(&entries).map(|(seq, entry)| entry_of(seq, entry)).collect()
}

fn told(entries: &[Opened], soundness: Soundness) -> String {
    let zone = TimeZoneName::parse("Europe/Berlin").unwrap();
    let sheet = Sheet { entries, before: &[], one_patient: true, period: (None, None), soundness, zone: &zone };
    lines(&sheet).join("\n")
}

#[test]
fn a_stranger_reads_who_saw_the_letter_when_and_that_it_was_withdrawn() {
    let expected = format!(
        "\
10 entries about Patient/p1 from 2026-11-23 14:02:00+01:00 to 2026-11-23 14:02:09+01:00; the log was verified: none of its 57 \
entries was changed, none is missing
Times are those of Europe/Berlin; behind each stands its distance from UTC.

Document 1
  file received by  ward-viewer, by a link meant for Practitioner/7: once, 2026-11-23 14:02:02+01:00
  read by           ward-viewer for Practitioner/8: once, 2026-11-23 14:02:04+01:00
  withdrawn         2026-11-23 14:02:07+01:00, source withdrew the document: wrong ward
  legal hold        laid 2026-11-23 14:02:05+01:00 by anna.berg, ordered by court: case 12
  state             revoked, since 2026-11-23 14:02:07+01:00

  2026-11-23 14:02:00+01:00  source                          delivered the document with file 1
  2026-11-23 14:02:01+01:00  ward-viewer                     asked for link 1, meant for Practitioner/7
  2026-11-23 14:02:02+01:00  ward-viewer                     opened link 1: whole file (70,000 bytes), from 203.0.113.9
  2026-11-23 14:02:04+01:00  ward-viewer for Practitioner/8  read the document
  2026-11-23 14:02:05+01:00  anna.berg                       laid a legal hold on the document, ordered by court: case 12
  2026-11-23 14:02:06+01:00  source                          withdrew all links to the document: wrong ward
  2026-11-23 14:02:07+01:00  source                          withdrew the document: wrong ward
  2026-11-23 14:02:08+01:00  ward-viewer                     opened link 1: nothing, from 203.0.113.9, refused (link-revoked)

Not about one of these documents alone
  2026-11-23 14:02:09+01:00  folder's owner 1000  had this record handed out

What the short names stand for
  document 1   DocumentReference/9f31
  file 1       Binary/{}, of document 1
  link 1       {LETTER_LINK}, to file 1, given to ward-viewer, meant for Practitioner/7
\"Read the document\" means what is said about it (kind, title, dates), not its file.
A link works for whoever holds it: a line about one names whom it was given to, who may not be who opened it.",
        file()
    );
    assert_eq!(told(&letter(), Soundness::Whole(57)), expected);
}

#[test]
fn a_log_that_does_not_verify_says_so_first() {
    let broken = told(&letter(), Soundness::Broken("entry 13 is missing".to_owned()));
    assert!(
        broken
            .lines()
            .next()
            .unwrap()
            .ends_with("; THE LOG DOES NOT VERIFY: entry 13 is missing; do not rely on this table")
    );
    let rest = "the whole log of 1,204,331 entries was not verified now: see `daylily audit verify`";
    for (signed, newer, each) in [
        (1_204_331, false, "each is part of the log as it was signed"),
        (
            1_204_000,
            true,
            "each is part of the log as it was signed, or came after the 1,204,000 signed entries and fits its own hash",
        ),
        (0, true, "each fits its own hash, and nothing that was signed says more"),
    ] {
        let shown = told(&[], Soundness::Shown { size: 1_204_331, signed, newer });
        assert_eq!(shown.lines().next().unwrap(), format!("0 entries about this patient; {each}; {rest}"));
    }
}

#[test]
fn what_people_wrote_moves_no_cursor_and_turns_no_line() {
    let entry = about(Action::LinkRevoke, Outcome::Ok).os_user(1).reason("a\u{1b}[2J\u{9b}b\u{202e}c\nd");
    let told = told(&[entry_of(0, &entry)], Soundness::Whole(1));
    assert!(told.contains("a\\u{1b}[2J\\u{9b}b\\u{202e}c\\u{a}d"), "{told}");
    assert!(!told.contains(['\u{1b}', '\u{9b}', '\u{202e}']));
}

#[test]
fn a_search_names_only_the_documents_of_the_patient() {
    let ids = ["9f31", "other"].map(|id| ResourceId::parse(id).unwrap());
    let search = Entry::new(Action::Search, Outcome::Ok).client(&ClientId::parse("ward-viewer").unwrap());
    let search = search.patient("Patient/p1").patient("Patient/p2").returned(&ids);
    let told =
        told(&[entry_of(0, &about(Action::DocumentRead, Outcome::Ok)), entry_of(1, &search)], Soundness::Whole(2));
    assert!(told.contains("found the document by a search") && !told.contains("other"), "{told}");
}

/// A letter of p1 that only `ward-viewer` was given a link to, and what a withdrawal is said to have done to it.
fn withdrawn_line(withdrawal: Entry, period_begins: usize) -> String {
    let (ward, other) = (ClientId::parse("ward-viewer").unwrap(), ResourceId::parse("later").unwrap());
    let entries = [
        about(Action::DocumentCreate, Outcome::Ok).file(file()),
        about(Action::LinkIssue, Outcome::Ok)
            .client(&ward)
            .file(file())
            .link(&link())
            .with("expires", "2026-11-23T13:02:10Z"),
        withdrawal,
        Entry::new(Action::DocumentCreate, Outcome::Ok).document(&other, 1).patient("Patient/p1"),
        about(Action::DocumentRead, Outcome::Ok).client(&ward),
    ];
    let opened: Vec<Opened> = (0..).zip(&entries).map(|(seq, entry)| entry_of(seq, entry)).collect();
    let (before, entries) = opened.split_at(period_begins);
    let zone = TimeZoneName::utc();
    let soundness = Soundness::Whole(5);
    let sheet = Sheet { entries, before, one_patient: true, period: (None, None), soundness, zone: &zone };
    let lines: Vec<String> = lines(&sheet).into_iter().filter(|line| line.starts_with("  withdrawn")).collect();
    lines.join("\n").replace("         ", " ")
}

#[test]
fn a_wide_withdrawal_counts_for_a_document_only_where_it_ended_a_link_to_it() {
    let wide = || Entry::new(Action::LinkRevoke, Outcome::Ok).os_user(7);
    let one =
        |what: &str| format!("  withdrawn 2026-11-23 13:02:02+00:00, folder's owner 7 withdrew {what}\n  withdrawn no");
    // The document that came later is not withdrawn by any of them.
    assert_eq!(
        withdrawn_line(wide().with("registered", "ward-viewer"), 0),
        one("all links of ward-viewer (those given until then)")
    );
    assert_eq!(withdrawn_line(wide().with("aim", "all"), 0), one("all links of this server (those given until then)"));
    assert_eq!(
        withdrawn_line(wide().patient("Patient/p1"), 0),
        one("all links to documents of the patient (those given until then)")
    );
    // Who was never given a link has none to lose.
    let none = "  withdrawn no\n  withdrawn no";
    assert_eq!(withdrawn_line(wide().with("registered", "archive"), 0), none);
    // A link that an entry before the period gave is known all the same.
    let (later, first) = (
        withdrawn_line(wide().with("registered", "ward-viewer"), 2),
        one("all links of ward-viewer (those given until then)"),
    );
    assert_eq!(later.lines().filter(|line| !line.ends_with(" no")).count(), 1, "{later} {first}");
}

#[test]
fn a_search_of_several_patients_says_in_the_record_of_one_only_what_is_theirs() {
    let ids = ["9f31", "other"].map(|id| ResourceId::parse(id).unwrap());
    let theirs = LinkId::parse("lk_876543210").unwrap();
    let at = Timestamp::parse("2026-11-23T14:00:00Z").unwrap();
    let search = Entry::new(Action::Search, Outcome::Ok).patient("Patient/p2").patient("Patient/p1").returned(&ids);
    let offered = [(link(), file(), at), (theirs, FileId::from_bytes([2; 16]), at)];
    let mut search = entry_of(1, &search.offered(offered));
    let mut own = Own::default();
    own.learn(&search, "Patient/p1");
    own.learn(&entry_of(0, &about(Action::DocumentCreate, Outcome::Ok).file(file())), "Patient/p1");
    own.keep_only(&mut search, "Patient/p1");
    assert!(search.shortened && !entry_of(0, &about(Action::DocumentRead, Outcome::Ok)).shortened);
    assert_eq!(search.patients(), ["Patient/p1"]);
    assert_eq!(search.returned().collect::<Vec<_>>(), ["9f31"]);
    assert_eq!(search.offered().collect::<Vec<_>>(), [(LETTER_LINK, file().to_string().as_str())]);
    let said = String::from_utf8(search.subject.to_canonical()).unwrap();
    assert!(!said.contains("p2") && !said.contains("other") && !said.contains("lk_876543210"), "{said}");
}

#[test]
fn times_need_an_offset() {
    assert!(moment("--from", Some("2026-11-23T14:02:05+01:00")).unwrap().is_some());
    assert_eq!(moment("--from", Some("2026-11-23")).unwrap_err().exit, 2);
    assert_eq!(moment("--from", None).unwrap(), None);
}
