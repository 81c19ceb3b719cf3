//! What an export says of one letter, written out by hand.

use super::opened::Opened;
use super::table::{Sheet, Soundness, lines};
use super::*;
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
    let sheet = Sheet { entries, one_patient: true, period: (None, None), soundness, zone: &zone };
    lines(&sheet).join("\n")
}

#[test]
fn a_stranger_reads_who_saw_the_letter_when_and_that_it_was_withdrawn() {
    let expected = format!(
        "\
10 entries about Patient/p1 from 2026-11-23 14:02:00+01:00 to 2026-11-23 14:02:09+01:00; the log was verified: none of its 57 \
entries was changed, none is missing
Times are those of Europe/Berlin, with their distance from UTC.

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
\"Read the document\" means what is said about it (kind, title, dates), not its file.",
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
    let shown = told(&[], Soundness::Shown(1_204_331));
    assert_eq!(
        shown.lines().next().unwrap(),
        "0 entries about this patient; each is as it was recorded; the whole log of 1,204,331 entries was not verified now: see \
         `daylily audit verify`"
    );
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

#[test]
fn an_entry_that_was_changed_is_found_before_it_is_handed_out() {
    let key = CellKey::new(&[9; 32]);
    let sound = row_of(3, &about(Action::DocumentRead, Outcome::Ok), &key);
    assert_eq!(fault_of(&sound, &key), None);
    let other = row_of(3, &about(Action::DocumentRead, Outcome::Ok), &key);
    let cells = AuditRow { cells: other.cells, ..sound.clone() };
    let hash = AuditRow { hash: other.hash, ..sound.clone() };
    let moved = AuditRow { seq: 4, ..sound };
    for (row, found) in
        [(cells, Wrong::CellsDiffer), (hash, Wrong::BodyOrStoredHash), (moved, Wrong::Misplaced { names: 3 })]
    {
        let seq = row.seq;
        assert_eq!(fault_of(&row, &key), Some(Finding::Entry { seq, wrong: found, after: None, before: None }));
    }
}

#[test]
fn times_need_an_offset() {
    assert!(moment("--from", Some("2026-11-23T14:02:05+01:00")).unwrap().is_some());
    assert_eq!(moment("--from", Some("2026-11-23")).unwrap_err().exit, 2);
    assert_eq!(moment("--from", None).unwrap(), None);
}
