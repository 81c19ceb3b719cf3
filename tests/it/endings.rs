//! What has ended is told outside the database too: in the file `endings` of the checkpoint folder (F105).

use std::path::{Path, PathBuf};
use std::time::Duration;

use daylily::app::Ended as End;
use daylily::app::endings::{self, ENDINGS};
use daylily::control::{Request, Response, RevocationAim};
use daylily::domain::audit::VerifyingKey;
use daylily::domain::audit::endings::{Ended, Endings, LinksOf, Place, Reading};
use daylily::domain::audit::verify::Finding;
use daylily::domain::id::ResourceId;
use daylily::domain::lifecycle::State;
use daylily::store::EndingsStanding;
use serde_json::json;

use crate::support::stopped::*;
use crate::support::*;

fn key(daylily: &TestDaylily) -> VerifyingKey {
    let line = std::fs::read_to_string(daylily.settings().audit.checkpoints.join("checkpoint-key")).unwrap();
    VerifyingKey::parse(line.trim()).unwrap()
}

fn told(daylily: &TestDaylily) -> Endings {
    endings::read(&daylily.settings().audit.checkpoints, &key(daylily), Place::default(), usize::MAX).unwrap()
}

async fn standing(daylily: &TestDaylily) -> EndingsStanding {
    daylily.running().delivery().store().endings().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f105_whatever_ends_is_told_outside_before_it_is_answered_and_every_change_of_that_is_found() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (id, _) = daylily.ready_link(&source, &pdf(1, 400)).await;
    let document = ResourceId::parse(&id).unwrap();
    daylily.revoke(RevocationAim::Client("source".to_owned()), false).await;
    daylily.revoke(RevocationAim::Document(id.clone()), true).await;
    let ended: Vec<Ended> = told(&daylily).endings.into_iter().map(|ending| ending.ended).collect();
    assert!(
        matches!(ended.as_slice(), [
            Ended::Links(_, LinksOf::Client(_)),
            Ended::Links(_, LinksOf::Document(one)),
            Ended::Document(two, State::Revoked),
        ] if *one == document && *two == document),
        "{ended:?}"
    );
    let (_, counted) = daylily.ready_link(&source, &pdf(2, 400)).await;
    assert_eq!(daylily.get(&counted).await.status, 200);
    let other =
        daylily.ready(&source, &crate::support::document("p2", &[inline("application/pdf", &pdf(3, 400))])).await;
    let once = parameters(&[("uses", "valuePositiveInt", json!(1))]);
    let once = source.post(&format!("DocumentReference/{other}/$issue-link"), &once).await.ok(200);
    assert_eq!(daylily.get(&text(parameter(&once, "url"), "/valueUrl")).await.status, 200);
    let is_use = |ended: &Ended| matches!(ended, Ended::Use { used: 1, .. });
    daylily
        .until("the use", async || told(&daylily).endings.iter().any(|ending| is_use(&ending.ended)).then_some(()))
        .await;
    daylily.clock.advance(Duration::from_secs(40 * 86_400));
    let purged = Ended::Document(document, State::Purged);
    daylily
        .until("the purge", async || {
            daylily.running().delivery().retain_round(&|| false).await.unwrap();
            told(&daylily).endings.iter().any(|ending| ending.ended == purged).then_some(())
        })
        .await;
    let standing = standing(&daylily).await;
    let whole = told(&daylily);
    assert_eq!(endings::check(&whole, standing), None);
    let file = daylily.settings().audit.checkpoints.join(ENDINGS);
    let text = std::fs::read_to_string(&file).unwrap();
    for hidden in ["Patient/", "sent in error"] {
        assert!(!text.contains(hidden), "ids only: {hidden}");
    }
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for (what, changed) in [
        ("shortened by its last line", lines[..lines.len() - 1].concat()),
        ("only its beginning", lines[..2].concat()),
        ("empty", String::new()),
        ("a line out of its midst", [&lines[..1], &lines[2..]].concat().concat()),
        ("a changed line", text.replacen("source", "other1", 1)),
        ("a line of another", format!("{text}{{\"ending\":1}}\n")),
    ] {
        let mut reading = Reading::begin(&key(&daylily), Place::default());
        reading.feed(changed.as_bytes());
        let read = reading.finish();
        let found = endings::check(&read, standing);
        let is = matches!(found, Some(Finding::EndingsShortened { .. } | Finding::EndingsChanged { .. }));
        assert!(is, "{what}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f105_where_the_folder_cannot_be_written_access_is_cut_and_the_endings_come_after() {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (id, link) = daylily.ready_link(&source, &pdf(1, 400)).await;
    let folder = daylily.settings().audit.checkpoints.clone();
    let aside = daylily.beside("checkpoints-aside");
    std::fs::rename(&folder, &aside).unwrap();
    std::fs::write(&folder, b"full").unwrap();
    daylily.revoke(RevocationAim::Document(id), false).await;
    assert_eq!(daylily.get(&link).await.said(), (410, "link-revoked"));
    assert_eq!(standing(&daylily).await.waiting, 1, "it waits");
    assert_eq!(daylily.running().delivery().store().endings_left(), 1);
    let Ok(Response::Status(status)) = daylily.command(Request::Status {}).await else { panic!("no status") };
    assert_eq!(status.endings_left, 1, "doctor tells of it");
    let ready = daylily.get("/readyz").await;
    let degraded = "degraded: what ended is not told outside the database\n";
    assert_eq!((ready.status, ready.text()), (200, degraded));
    std::fs::remove_file(&folder).unwrap();
    std::fs::rename(&aside, &folder).unwrap();
    daylily.stop().await;
    daylily.start_again().await.unwrap();
    assert_eq!(told(&daylily).endings.len(), 1);
    assert_eq!(endings::check(&told(&daylily), standing(&daylily).await), None);
}

/// Stops after a full check that covers what has ended so far.
async fn stop_checked(daylily: &mut TestDaylily) {
    let ended = told(daylily).length.to_string();
    daylily.stop().await;
    daylily.start_again().await.unwrap();
    let note = daylily.data().join("log-check");
    let covers = |note: &str| note.lines().nth(6).is_some_and(|line| line.starts_with(&format!("{ended} ")));
    let checked = async || covers(&std::fs::read_to_string(&note).unwrap_or_default()).then_some(());
    daylily.until("a full check in the background", checked).await;
    daylily.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f105_a_start_reads_the_endings_after_the_last_full_check_and_the_background_reads_all() {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (id, _) = daylily.ready_link(&source, &pdf(1, 400)).await;
    for _ in 0..3 {
        daylily.revoke(RevocationAim::Document(id.clone()), false).await;
    }
    stop_checked(&mut daylily).await;
    let file = daylily.settings().audit.checkpoints.join(ENDINGS);
    let text = std::fs::read_to_string(&file).unwrap();
    let altered = text.replacen("document", "Document", 1);
    std::fs::write(&file, &altered).unwrap();
    daylily.start_again().await.expect("what was checked before is not read again at the start");
    let ended = tokio::time::timeout(PATIENCE, daylily.running().failed()).await.expect("an end in time");
    let End::Log(failure) = ended else { panic!("{ended:?}") };
    assert_eq!(said(&failure), (3, "audit-mismatch"));
    assert!(failure.issues[0].message().contains("from line 1 on"), "{failure:?}");
    daylily.stop().await;
    assert_eq!(daylily.start_again().await.unwrap_err(), failure, "the next start reads all of it");
    // What comes behind the check is read at every start.
    std::fs::write(&file, &text).unwrap();
    daylily.start_again().await.unwrap();
    stop_checked(&mut daylily).await;
    std::fs::write(&file, format!("{text}{{\"ending\":1}}\n")).unwrap();
    assert_eq!(said(&daylily.start_again().await.unwrap_err()), (3, "audit-mismatch"));
    std::fs::write(&file, &text[..text.len() - 1]).unwrap();
    assert_eq!(said(&daylily.start_again().await.unwrap_err()), (3, "audit-mismatch"));
    std::fs::write(&file, &text).unwrap();
    daylily.start_again().await.unwrap();
    daylily.revoke(RevocationAim::Document(id), false).await;
    assert_eq!((told(&daylily).wrong, told(&daylily).chain.number), (None, 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f105_an_ending_that_cannot_be_read_holds_up_no_other_and_is_a_finding() {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (id, _) = daylily.ready_link(&source, &pdf(1, 400)).await;
    let strange = "INSERT INTO ending (what, at) VALUES ('{}', 0)";
    assert_eq!(altered(&daylily.data().join("daylily.db"), strange), 1);
    for _ in 0..2 {
        daylily.revoke(RevocationAim::Document(id.clone()), false).await;
    }
    assert_eq!(told(&daylily).endings.len(), 2, "those behind it are told");
    assert_eq!(daylily.running().delivery().store().endings_left(), 1);
    assert_eq!(daylily.get("/readyz").await.text(), "degraded: what ended is not told outside the database\n");
    daylily.stop().await;
    for (id, role) in [("anna", "operator"), ("ben", "security")] {
        operator(&daylily, id, role).await;
    }
    let failure = daylily.start_again().await.unwrap_err();
    assert_eq!(said(&failure), (3, "audit-mismatch"));
    assert!(failure.issues[0].message().contains("cannot be read"), "{failure:?}");
    assert_eq!(code(&acknowledge(&daylily, "anna").await), "second-person-required");
    acknowledge(&daylily, "ben").await.unwrap();
    for number in [3, 4] {
        daylily.start_again().await.unwrap();
        daylily.revoke(RevocationAim::Document(id.clone()), false).await;
        assert_eq!(told(&daylily).endings.len(), number);
        assert_eq!(endings::check(&told(&daylily), standing(&daylily).await), None);
        daylily.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f105_a_file_that_is_not_what_was_written_is_refused_until_two_operators_say_so_and_then_goes_on() {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (id, _) = daylily.ready_link(&source, &pdf(1, 400)).await;
    for _ in 0..3 {
        daylily.revoke(RevocationAim::Document(id.clone()), false).await;
    }
    daylily.stop().await;
    for (id, role) in [("anna", "operator"), ("ben", "security")] {
        operator(&daylily, id, role).await;
    }
    let file = daylily.settings().audit.checkpoints.join(ENDINGS);
    let mut last = 3;
    type Change = fn(&str) -> Option<String>;
    let changes: [(&str, Change); 4] = [
        ("a changed line", |text| Some(text.replacen("document", "Document", 1))),
        ("cut", |text| Some(text.split_inclusive('\n').take(2).collect())),
        ("removed", |_| None),
        ("a line of another", |text| Some(format!("{text}{{\"ending\":1}}\n"))),
    ];
    for (what, change) in changes {
        let text = std::fs::read_to_string(&file).unwrap();
        match change(&text) {
            Some(changed) => std::fs::write(&file, changed).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        let before = std::fs::read(&file).ok();
        // What lies before the last full check is otherwise left to the check in the background.
        let _ = std::fs::remove_file(daylily.data().join("log-check"));
        let failure = daylily.start_again().await.unwrap_err();
        assert_eq!(said(&failure), (3, "audit-mismatch"), "{what}: {failure:?}");
        assert!(failure.issues[0].message().contains("the file `endings`"), "{what}: {failure:?}");
        assert_eq!(code(&acknowledge(&daylily, "anna").await), "second-person-required", "{what}");
        assert!(daylily.start_again().await.is_err(), "{what}: one is not two");
        let Response::Acknowledgement(view) = acknowledge(&daylily, "ben").await.unwrap() else { panic!("{what}") };
        let evidence = std::fs::read(std::path::Path::new(&view.evidence).join(ENDINGS)).ok();
        assert_eq!(evidence, before, "{what}: kept as it was found");
        for _ in 0..2 {
            daylily.start_again().await.unwrap_or_else(|failure| panic!("{what}: {failure:?}"));
            daylily.revoke(RevocationAim::Document(id.clone()), false).await;
            let told = told(&daylily);
            assert_eq!((told.wrong, endings::check(&told, standing(&daylily).await)), (None, None), "{what}");
            let numbers: Vec<u64> = told.endings.iter().map(|ending| ending.number).collect();
            assert!(numbers.is_sorted_by(|one, next| one < next), "{what}: {numbers:?}");
            assert!(numbers.last() > Some(&last), "{what}: {numbers:?} after {last}");
            last = *numbers.last().unwrap();
            daylily.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f105_a_revocation_that_the_database_does_not_take_is_told_outside_before_its_answer_and_once() {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (id, link) = daylily.ready_link(&source, &pdf(1, 400)).await;
    daylily.revoke(RevocationAim::Client("source".to_owned()), false).await;
    let writing = held_for_writing(&daylily.data().join("daylily.db"));
    daylily.revoke(RevocationAim::Document(id.clone()), false).await;
    assert!(daylily.data().join("revocations.spool").exists());
    let of_document = |told: &Endings| {
        told.endings.iter().filter(|one| matches!(one.ended, Ended::Links(_, LinksOf::Document(_)))).count()
    };
    assert_eq!((told(&daylily).chain.number, of_document(&told(&daylily))), (2, 1));
    drop(writing);
    daylily.until("the merge", async || daylily.running().delivery().merge_spool().await.ok()).await;
    assert!(!daylily.data().join("revocations.spool").exists());
    daylily.revoke(RevocationAim::Client("source".to_owned()), false).await;
    for _ in 0..2 {
        let now = told(&daylily);
        assert_eq!((now.chain.number, of_document(&now)), (3, 1));
        assert_eq!(endings::check(&now, standing(&daylily).await), None);
        assert_eq!(daylily.get(&link).await.said(), (410, "link-revoked"));
        daylily.stop().await;
        daylily.start_again().await.unwrap();
    }
}

fn copy_files(from: &Path, to: &Path, names: &[&str]) {
    std::fs::create_dir_all(to).unwrap();
    for name in names {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

/// Every file of a folder that has no others; answers the copy.
fn copy_all(from: &Path, to: &Path) -> PathBuf {
    let names = std::fs::read_dir(from).unwrap().flatten().map(|file| file.file_name().into_string().unwrap());
    let names: Vec<String> = names.collect();
    copy_files(from, to, &names.iter().map(String::as_str).collect::<Vec<_>>());
    to.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f105_a_revocation_in_the_spool_of_a_process_that_died_is_told_once_after_the_merge() {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (id, _) = daylily.ready_link(&source, &pdf(1, 400)).await;
    let writing = held_for_writing(&daylily.data().join("daylily.db"));
    daylily.revoke(RevocationAim::Document(id.clone()), false).await;
    let spool = daylily.data().join("revocations.spool");
    // As a process leaves it that is killed now: the line is there, and told of; the database has nothing of it.
    let (aside, checkpoints) = (daylily.beside("aside"), daylily.settings().audit.checkpoints.clone());
    let parts = ["daylily.db", "daylily.db-wal", "revocations.spool"];
    copy_files(daylily.data(), &aside, &parts);
    let kept = copy_all(&checkpoints, &daylily.beside("checkpoints-aside"));
    drop(writing);
    daylily.until("the merge", async || daylily.running().delivery().merge_spool().await.ok()).await;
    daylily.stop().await;
    assert!(!spool.exists());
    for gone in ["daylily.db-wal", "daylily.db-shm", "log-check"] {
        let _ = std::fs::remove_file(daylily.data().join(gone));
    }
    copy_files(&aside, daylily.data(), &parts);
    std::fs::remove_dir_all(&checkpoints).unwrap();
    copy_all(&kept, &checkpoints);
    daylily.start_again().await.unwrap();
    daylily.running().delivery().merge_spool().await.unwrap();
    daylily.revoke(RevocationAim::Client("source".to_owned()), false).await;
    let told = told(&daylily);
    assert_eq!(told.endings.iter().map(|ending| ending.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((told.wrong, endings::check(&told, standing(&daylily).await)), (None, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f105_an_older_database_goes_on_behind_the_numbers_that_were_told() {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (id, _) = daylily.ready_link(&source, &pdf(1, 400)).await;
    for _ in 0..3 {
        daylily.revoke(RevocationAim::Document(id.clone()), false).await;
    }
    daylily.stop().await;
    // As if what the database knows of endings were older than the file; its log is another test's.
    altered(&daylily.data().join("daylily.db"), "UPDATE sqlite_sequence SET seq = 1 WHERE name = 'ending'");
    altered(&daylily.data().join("daylily.db"), "DELETE FROM ending");
    daylily.start_again().await.unwrap();
    daylily.revoke(RevocationAim::Document(id.clone()), false).await;
    let told = told(&daylily);
    assert_eq!((told.wrong, told.chain.number), (None, 4));
    assert_eq!(told.endings.iter().map(|ending| ending.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
}
