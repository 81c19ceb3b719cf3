//! Every way to touch a stored log, tried on logs of the real encoder.

use proptest::prelude::*;

use super::*;
use crate::domain::audit::sample::{Counted, Log, cell_key, reading, signing_key, trust};
use crate::domain::audit::{Action, Entry, Outcome};
use crate::domain::refusal::Code;

fn only(report: &Report) -> &Finding {
    let [finding] = report.findings.as_slice() else { panic!("{:?}", report.findings) };
    finding
}

fn wrong(report: &Report) -> (u64, Wrong) {
    let Finding::Entry { seq, wrong, .. } = only(report) else { panic!("{:?}", report.findings) };
    (*seq, *wrong)
}

#[test]
fn an_untouched_log_is_valid() {
    let log = Log::of(300, 64);
    let report = log.verify_with(trust(), &[&log.checkpoints[2].note]);
    assert_eq!(report.findings, []);
    assert!(report.valid && report.opened && report.tree_fits && report.silences.is_empty());
    assert_eq!((report.size, report.root), (300, log.tree.root()));
    assert_eq!(report.newest.map(|fitting| fitting.size), Some(256));
    assert_eq!(report.outside.iter().map(|fitting| fitting.size).collect::<Vec<_>>(), [192]);
    assert_eq!(Log::default().verify().root, crate::domain::audit::tree::empty_root());
}

/// Changes each byte of each thing in turn; each time the check sees everything stored before and after as it was.
#[test]
fn every_byte_of_a_log_of_300_entries_is_watched() {
    let log = Log::of(300, 64);
    let (mut checked, mut unseen) = (0u32, Vec::new());
    for at in 0..log.rows.len() {
        for part in 0..3 {
            let length = [log.rows[at].body.len(), log.rows[at].hash.len(), log.rows[at].cells.len()][part];
            for byte in 0..length {
                // A row's own checks do not depend on others; its neighbours on both sides are enough for order and time.
                let mut row = log.rows[at].clone();
                [&mut row.body, &mut row.hash, &mut row.cells][part][byte] ^= 1 + (byte as u8 & 0x7e);
                let mut verifier = Verifier::new(trust());
                verifier.next = at as u64;
                verifier.row(Row { seq: row.seq, body: &row.body, leaf_hash: &row.hash, cells: &row.cells });
                let found =
                    matches!(verifier.report.findings.as_slice(), [Finding::Entry { seq, .. }] if *seq == at as u64);
                if !found {
                    unseen.push((at, part, byte));
                }
                checked += 1;
            }
        }
    }
    assert_eq!(unseen, []);
    assert!(checked > 100_000, "{checked}");
}

#[test]
fn every_byte_of_tree_and_checkpoints_is_watched_by_the_whole_check() {
    let log = Log::of(30, 8);
    for byte in 0..log.frontier.len() {
        let mut changed = log.clone();
        changed.frontier[byte] ^= 1;
        assert!(!changed.verify().valid, "tree {byte}");
    }
    for (at, kept) in log.checkpoints.iter().enumerate() {
        for byte in 0..kept.note.len() {
            for bit in 0..8 {
                let mut changed = log.clone();
                changed.checkpoints[at].note[byte] ^= 1 << bit;
                assert!(!changed.verify().valid, "note {at} {byte} {bit}");
                assert!(!log.verify_with(trust(), &[&changed.checkpoints[at].note]).valid, "outside {at} {byte} {bit}");
            }
        }
        for byte in 0..32 {
            let mut changed = log.clone();
            changed.checkpoints[at].root[byte] ^= 0x10;
            assert!(!changed.verify().valid, "root {at} {byte}");
        }
        let mut changed = log.clone();
        changed.checkpoints[at].size += 1;
        assert!(!changed.verify().valid);
    }
}

#[test]
fn the_whole_check_sees_a_change_of_any_row_tree_or_checkpoint() {
    let log = Log::of(300, 64);
    // Without opening cells the check is quick enough to be run whole for each byte.
    let tree_only = || Trust { cell_key: None, ..trust() };
    for byte in 0..log.frontier.len() {
        let mut changed = log.clone();
        changed.frontier[byte] ^= 0x81;
        assert!(!changed.verify_with(tree_only(), &[]).valid, "tree {byte}");
    }
    for byte in 0..log.checkpoints[3].note.len() {
        let mut changed = log.clone();
        changed.checkpoints[3].note[byte] ^= 2;
        assert!(!changed.verify_with(tree_only(), &[]).valid, "note {byte}");
    }
    let log = Log::of(60, 16);
    for at in 0..60 {
        for part in 0..4 {
            let mut changed = log.clone();
            let row = &mut changed.rows[at];
            match part {
                0 => row.body[at] ^= 1,
                1 => row.hash[at % 32] ^= 1,
                2 => row.cells[at] ^= 1,
                _ => row.seq ^= 1 << at,
            }
            changed.rows.sort_by_key(|row| row.seq);
            assert!(!changed.verify().valid, "row {at} {part}");
        }
    }
}

#[test]
fn a_changed_text_is_told_from_a_changed_hash() {
    for every in [8, 1000] {
        let log = Log::of(30, every);
        let mut text = log.clone();
        text.rows[9].body[5] ^= 1;
        let report = text.verify();
        assert_eq!(wrong(&report), (9, Wrong::Body));
        let start = crate::domain::audit::sample::START;
        let around = Finding::Entry {
            seq: 9,
            wrong: Wrong::Body,
            after: Some(start + 8_000_000),
            before: Some(start + 10_000_000),
        };
        assert_eq!(report.findings, [around]);
        assert!(report.others_intact() && report.findings[0].code() == Code::AuditMismatch);
        let mut hash = log.clone();
        hash.rows[9].hash[5] ^= 1;
        assert_eq!(wrong(&hash.verify()), (9, Wrong::StoredHash));
    }
    // One of each, with a signed root between them: each is told by itself.
    let mut both = Log::of(30, 8);
    both.rows[3].body[30] ^= 1;
    both.rows[12].hash[5] ^= 1;
    let found: Vec<_> = both.verify().findings.iter().map(Finding::entry).collect();
    assert_eq!(found, [Some(3), Some(12)]);
    assert!(matches!(both.verify().findings[1], Finding::Entry { wrong: Wrong::StoredHash, .. }));
    both.rows[5].hash[5] ^= 1;
    assert!(matches!(both.verify().findings[0], Finding::Entry { wrong: Wrong::BodyOrStoredHash, .. }));
}

#[test]
fn cells_that_were_touched_or_exchanged_are_named() {
    let log = Log::of(20, 8);
    let mut damaged = log.clone();
    let last = damaged.rows[4].cells.len() - 1;
    damaged.rows[4].cells[last] ^= 1;
    assert_eq!(wrong(&damaged.verify()), (4, Wrong::CellDamaged(Group::Tech)));
    assert!(damaged.verify().others_intact());
    let mut exchanged = log.clone();
    exchanged.rows[4].cells = log.rows[5].cells.clone();
    assert_eq!(wrong(&exchanged.verify()), (4, Wrong::CellsDiffer));
    exchanged.rows[4].cells.clear();
    assert_eq!(wrong(&exchanged.verify()), (4, Wrong::CellsUnreadable));
    let without = Trust { cell_key: None, ..trust() };
    let report = damaged.verify_with(without, &[]);
    assert!(report.valid && !report.opened, "without the key the tree is checked and the report says no more");
}

#[test]
fn rows_removed_swapped_or_doubled_are_found() {
    for at in 0..20 {
        let mut removed = Log::of(20, 8);
        removed.rows.remove(at);
        let report = removed.verify();
        let first = report.findings.first().and_then(Finding::entry);
        assert_eq!((report.valid, first), (false, Some(at as u64)));
        // Renumbered so that no gap shows.
        for (seq, row) in (0..).zip(&mut removed.rows) {
            row.seq = seq;
        }
        let report = removed.verify();
        assert_eq!((report.valid, report.findings[0].entry()), (false, Some(at as u64)));
        let mut doubled = Log::of(20, 8);
        doubled.rows.insert(at, doubled.rows[at].clone());
        assert_eq!(only(&doubled.verify()), &Finding::Repeated { seq: at as i64 });
    }
    let mut swapped = Log::of(20, 8);
    swapped.rows.swap(3, 7);
    (swapped.rows[3].seq, swapped.rows[7].seq) = (3, 7);
    let report = swapped.verify();
    let named: Vec<_> = report.findings.iter().map(Finding::entry).collect();
    assert_eq!(named, [Some(3), Some(7)]);
    assert!(matches!(report.findings[0], Finding::Entry { wrong: Wrong::Misplaced { names: 7 }, .. }));
    assert!(!report.others_intact());
    let mut negative = Log::of(20, 8);
    negative.rows[0].seq = -1;
    assert!(!negative.verify().valid);
}

#[test]
fn a_cut_tail_is_shortened_by_tree_or_checkpoint() {
    let whole = Log::of(20, 8);
    let mut cut = whole.clone();
    cut.rows.truncate(18);
    let shortened = |vouched, source| Finding::Shortened { have: 18, vouched, source };
    assert_eq!(only(&cut.verify()), &shortened(20, None));
    // Tree and stored checkpoints cut as well: only what is kept elsewhere tells.
    let older = Log::of(9, 8);
    assert!(older.verify().valid, "an older copy is a valid log by itself");
    let report = older.verify_with(trust(), &[&whole.checkpoints[1].note]);
    let expected = Finding::Shortened { have: 9, vouched: 16, source: Some(Source::Outside(0)) };
    assert_eq!((only(&report), expected.code()), (&expected, Code::AuditShortened));
}

#[test]
fn an_older_copy_that_grew_again_is_rewritten_and_forked() {
    let whole = Log::of(20, 8);
    let (mut older, entropy) = (Log::of(9, 8), Counted::default());
    for seq in 9..30 {
        older.append(&reading(seq).reason("another history"), &entropy);
    }
    let report = older.verify_with(trust(), &[&whole.checkpoints[1].note]);
    let expected = Finding::Rewritten { intact: 8, size: 16, source: Source::Outside(0) };
    assert_eq!(only(&report), &expected);
    let mut signed = Log::of(9, 8);
    for seq in 9..16 {
        signed.append(&reading(seq).reason("another history"), &entropy);
    }
    signed.checkpoint(&[&signing_key(1)]);
    let report = signed.verify_with(trust(), &[&whole.checkpoints[1].note]);
    assert!(matches!(only(&report), Finding::Fork { size: 16, .. }));
}

#[test]
fn entries_rehashed_together_with_the_tree_are_found_by_what_is_signed() {
    let mut log = Log::of(30, 8);
    let leaf = Leaf { outcome: Outcome::Denied, ..Leaf::decode(&log.rows[10].body).unwrap() }.encode();
    log.rows[10].body = leaf;
    log.rebuild();
    assert_eq!(only(&log.verify()), &Finding::Rewritten { intact: 8, size: 16, source: Source::Stored });
    log.checkpoints.clear();
    assert!(log.verify().valid, "without any checkpoint nothing vouches for the old text");
}

#[test]
fn time_that_runs_backwards_and_foreign_texts_are_named() {
    let mut log = Log::of(12, 100);
    let early = Leaf { time_micros: 5, ..Leaf::decode(&log.rows[10].body).unwrap() }.encode();
    log.rows[10].body = early;
    log.rebuild();
    assert_eq!(wrong(&log.verify()), (10, Wrong::TimeBackwards));
    log.rows[10].body.push(0);
    log.rebuild();
    assert_eq!(wrong(&log.verify()), (10, Wrong::Leaf(crate::domain::audit::leaf::LeafError::Trailing)));
}

#[test]
fn a_checkpoint_of_another_key_or_log_is_not_believed() {
    let mut log = Log::of(8, 100);
    log.checkpoint(&[&signing_key(2)]);
    let expected = Finding::Checkpoint { size: Some(8), source: Source::Stored, fault: NoteFault::UnknownSigner };
    assert_eq!((only(&log.verify()), expected.code()), (&expected, Code::AuditSignatureUnknown));
    let other = crate::domain::audit::SigningKey::from_seed("other.example/1", &[9; 32]).unwrap();
    let foreign = crate::domain::audit::Checkpoint::of("other.example/1", &log.tree).sign(&[&other]);
    let report = Log::of(8, 100).verify_with(trust(), &[foreign.as_bytes()]);
    let expected = Finding::Checkpoint { size: Some(8), source: Source::Outside(0), fault: NoteFault::OtherLog };
    assert_eq!(only(&report), &expected);
}

#[test]
fn a_rotated_key_is_believed_after_the_old_one_vouched_for_its_entry() {
    let rotated = |vouchers: &[&crate::domain::audit::SigningKey]| {
        let (mut log, entropy) = (Log::of(5, 100), Counted::default());
        let (_, new) = (signing_key(1), signing_key(2));
        log.append(&Entry::new(Action::AuditKey, Outcome::Ok).server().new_key(new.verifying_key()), &entropy);
        log.checkpoint(vouchers);
        log.append(&reading(6), &entropy);
        log.checkpoint(&[&new]);
        log
    };
    let (old, new) = (signing_key(1), signing_key(2));
    let report = rotated(&[&old, &new]).verify();
    assert_eq!((report.findings, report.newest.map(|fitting| fitting.size)), (vec![], Some(7)));
    assert_eq!(rotated(&[&new]).verify().findings.len(), 2, "a key cannot vouch for itself");
}

#[test]
fn erased_cells_are_fine_where_a_later_entry_says_so() {
    let (mut log, key) = (Log::of(10, 8), cell_key());
    for at in [3, 4] {
        log.rows[at].cells =
            Cells::decode(&log.rows[at].cells).unwrap().erase(&[Group::Subject], &key).unwrap().encode();
    }
    let report = log.verify();
    assert_eq!(only(&report), &Finding::ErasureUnrecorded { first: 3, last: 4 });
    assert_eq!(report.erased, 2);
    log.append(&Entry::new(Action::AuditErase, Outcome::Ok).os_user(1000).erased(&[(3, 4)]), &Counted::default());
    assert!(log.verify().valid);
    // The commitment that stays behind is watched too.
    for byte in 0..log.rows[3].cells.len() {
        let mut changed = log.clone();
        changed.rows[3].cells[byte] ^= 1;
        assert!(!changed.verify().valid, "{byte}");
    }
}

#[test]
fn silence_is_listed_unless_the_server_said_that_it_stops() {
    let (mut log, entropy) = (Log::of(3, 100), Counted::default());
    let late = |log: &mut Log, action| {
        log.append(&Entry::new(action, Outcome::Ok), &entropy);
        let row = log.rows.last_mut().unwrap();
        let leaf = Leaf::decode(&row.body).unwrap();
        row.body = Leaf { time_micros: leaf.time_micros + leaf.seq * 3_600_000_000, ..leaf }.encode();
        log.rebuild();
    };
    late(&mut log, Action::ServerStop);
    late(&mut log, Action::ServerStart);
    let report = log.verify();
    assert_eq!(report.silences.iter().map(|silence| silence.seq).collect::<Vec<_>>(), [3]);
    assert!(report.valid);
}

#[test]
fn a_checkpoint_that_comes_too_late_is_refused_not_passed_over() {
    let log = Log::of(9, 4);
    let mut verifier = Verifier::new(trust());
    for row in &log.rows {
        verifier.row(Row { seq: row.seq, body: &row.body, leaf_hash: &row.hash, cells: &row.cells });
    }
    assert_eq!(verifier.outside_checkpoint(&log.checkpoints[1].note), Err(TooLate));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_rows_do_not_panic_and_are_not_valid(
        seq in any::<i64>(), body in proptest::collection::vec(any::<u8>(), 0..90),
        cells in proptest::collection::vec(any::<u8>(), 0..90), hash in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut verifier = Verifier::new(trust());
        verifier.row(Row { seq, body: &body, leaf_hash: &hash, cells: &cells });
        verifier.row(Row { seq: 0, body: &body, leaf_hash: &hash, cells: &cells });
        prop_assert!(!verifier.finish(Some(&body)).valid);
    }
}
