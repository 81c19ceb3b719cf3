//! clamd as a second engine, from outside: a scripted clamd that works, fails and comes back, and what becomes of documents meanwhile.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use daylily::config::{ClamdAddress, Settings, policy_text};
use daylily::domain::verdict::Engine;
use serde_json::json;

use crate::support::*;

/// What makes the scripted clamd break off.
const POISON: &[u8] = b"this breaks the scanner";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Fit,
    /// As its defaults are: what it cannot look into is clean.
    Careless,
    Garbage,
    Silent,
    /// Closes every connection.
    Closing,
}

struct FakeClamd {
    port: u16,
    mood: Arc<Mutex<Mood>>,
    streams: Arc<Mutex<Vec<Vec<u8>>>>,
    /// What it answers to `VERSION`.
    version: Arc<Mutex<String>>,
    /// Every command that it was given.
    commands: Arc<Mutex<Vec<Vec<u8>>>>,
    /// Connections that are being served.
    busy: Arc<AtomicUsize>,
}

impl FakeClamd {
    fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mood, streams) = (Arc::new(Mutex::new(mood)), Arc::new(Mutex::new(Vec::new())));
        let busy = Arc::new(AtomicUsize::new(0));
        let version = Arc::new(Mutex::new("ClamAV 1.4.6".to_owned()));
        let commands = Arc::new(Mutex::new(Vec::new()));
        let (now, seen, at_work) = (Arc::clone(&mood), Arc::clone(&streams), Arc::clone(&busy));
        let told = (Arc::clone(&version), Arc::clone(&commands));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (now, seen, at_work) = (Arc::clone(&now), Arc::clone(&seen), Arc::clone(&at_work));
                let told = told.clone();
                at_work.fetch_add(1, Ordering::AcqRel);
                std::thread::spawn(move || {
                    serve(stream, &now, &seen, &told);
                    at_work.fetch_sub(1, Ordering::AcqRel);
                });
            }
        });
        Self { port, mood, streams, version, commands, busy }
    }

    fn turn(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn settings(&self) -> impl FnOnce(&mut Settings) + use<> {
        let port = self.port;
        move |settings| {
            settings.scan.engines = vec![Engine::Rules, Engine::Clamd];
            settings.scan.clamd = Some(ClamdAddress::Tcp("127.0.0.1".to_owned(), port));
        }
    }

    /// Whether time may go on without ending a look that is under way.
    fn is_idle(&self) -> bool {
        self.busy.load(Ordering::Acquire) == 0
    }

    fn saw(&self, bytes: &[u8]) -> usize {
        self.streams.lock().unwrap().iter().filter(|stream| *stream == bytes).count()
    }
}

/// Its version, and the commands that came.
type Told = (Arc<Mutex<String>>, Arc<Mutex<Vec<Vec<u8>>>>);

fn serve(mut stream: TcpStream, mood: &Mutex<Mood>, seen: &Mutex<Vec<Vec<u8>>>, told: &Told) {
    let mood = *mood.lock().unwrap();
    let mut command = Vec::new();
    let mut byte = [0];
    while stream.read_exact(&mut byte).is_ok() && byte != [0] {
        command.push(byte[0]);
    }
    told.1.lock().unwrap().push(command.clone());
    let version = format!("{}\0", told.0.lock().unwrap());
    match mood {
        Mood::Closing => return,
        Mood::Silent => {
            // Until the other side gives up.
            let _ = stream.read_to_end(&mut Vec::new());
            return;
        }
        _ => {}
    }
    let reply: &[u8] = match command.as_slice() {
        b"zPING" => b"PONG\0",
        b"zVERSION" => version.as_bytes(),
        _ => {
            let bytes = pieces(&mut stream);
            let has = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
            let locked = bytes.starts_with(b"PK\x03\x04") && bytes[6] & 1 == 1;
            let reply: &[u8] = if mood == Mood::Garbage {
                b"stream: OK\nstream: OK\0"
            } else if has(POISON) {
                b""
            } else if has(&eicar()) {
                b"stream: Eicar-Test-Signature.UNOFFICIAL FOUND\0"
            } else if locked && mood == Mood::Fit {
                b"stream: Heuristics.Encrypted.Zip FOUND\0"
            } else {
                b"stream: OK\0"
            };
            seen.lock().unwrap().push(bytes);
            reply
        }
    };
    let _ = stream.write_all(reply);
}

fn pieces(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let mut length = [0; 4];
    while stream.read_exact(&mut length).is_ok() && length != [0; 4] {
        let mut piece = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut piece).unwrap();
        all.extend(piece);
    }
    all
}

/// The shipped policy with other engines.
fn asking(engines: &str) -> String {
    policy_text::SHIPPED.replace("scan = [\"rules\"] ", &format!("scan = {engines} "))
}

fn letter(bytes: &[u8]) -> serde_json::Value {
    document("p1", &[inline("text/plain", bytes)])
}

async fn created(source: &Actor, bytes: &[u8]) -> String {
    text(&source.post("DocumentReference", &letter(bytes)).await.ok(201), "/id")
}

/// Waits for a state while time goes on, except while clamd looks at something: engines have their deadlines by the same clock.
async fn settles(daylily: &TestDaylily, clamd: &FakeClamd, source: &Actor, id: &str, state: &str) {
    daylily
        .until(state, async || {
            if clamd.is_idle() || *clamd.mood.lock().unwrap() == Mood::Silent {
                daylily.clock.advance(Duration::from_secs(2));
            }
            let now = state_of(&source.get(&format!("DocumentReference/{id}")).await.ok(200));
            (now == state).then_some(())
        })
        .await;
}

async fn readiness(daylily: &TestDaylily) -> String {
    daylily.get(&format!("{}/readyz", daylily.base())).await.text().to_owned()
}

async fn degraded(daylily: &TestDaylily) {
    daylily
        .until("degraded", async || {
            (readiness(daylily).await == "degraded: a scan engine fails, new documents wait\n").then_some(())
        })
        .await;
}

/// Waits for the same while time goes on, by which engines have their deadlines.
async fn degraded_in_time(daylily: &TestDaylily) {
    daylily
        .until("degraded", async || {
            daylily.clock.advance(Duration::from_secs(1));
            (readiness(daylily).await == "degraded: a scan engine fails, new documents wait\n").then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clamd_finds_is_held_back_also_when_it_came_as_base64() {
    let clamd = FakeClamd::start(Mood::Fit);
    let daylily = TestDaylily::start_with(&asking("[\"clamd\"]"), clamd.settings()).await;
    let source = daylily.source().await;
    assert_eq!(readiness(&daylily).await, "ok\n");
    let clean = created(&source, b"a letter").await;
    daylily.wait(&source, &clean, "ready").await;
    assert_eq!(clamd.saw(b"a letter"), 1, "every byte, as it is stored, once");
    let virus = [b"see below\n".as_slice(), &eicar()].concat();
    let first = daylily.log_size().await;
    let data = inline("text/plain", &virus)["data"].clone();
    let binary = json!({ "resourceType": "Binary", "contentType": "text/plain", "data": data });
    let binary = text(&source.post("Binary", &binary).await.ok(201), "/id");
    let found = document("p1", &[named("text/plain", &format!("Binary/{binary}"))]);
    let found = text(&source.post("DocumentReference", &found).await.ok(201), "/id");
    daylily.wait(&source, &found, "quarantined").await;
    assert_eq!(clamd.saw(&virus), 1, "decoded: clamd does not look into base64");
    let entries = daylily.log_since(first).await;
    let places: Vec<_> = entries.iter().filter_map(|entry| entry.get("place")).collect();
    assert_eq!(places, [&json!("clamd 1.4.6 Eicar-Test-Signature.UNOFFICIAL")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn engines_must_agree() {
    let clamd = FakeClamd::start(Mood::Fit);
    let daylily = TestDaylily::start_with(&asking("[\"rules\", \"clamd\"]"), clamd.settings()).await;
    let source = daylily.source().await;
    let clean = created(&source, b"a letter").await;
    daylily.wait(&source, &clean, "ready").await;
    // A program is what the rules find, and this clamd does not.
    let script = created(&source, b"#!/bin/sh\necho\n").await;
    daylily.wait(&source, &script, "quarantined").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_wait_for_an_engine_that_fails_and_go_on_when_it_is_back() {
    for mood in [Mood::Garbage, Mood::Silent, Mood::Closing, Mood::Careless] {
        let clamd = FakeClamd::start(mood);
        let rule = "[[rule]]\nname = \"plain\"\nscan = [\"rules\"]\nwhen = { type = [\"http://loinc.org|11488-4\"] }\n";
        let policy = format!("{}\n{rule}", asking("[\"rules\", \"clamd\"]"));
        let daylily = TestDaylily::start_with(&policy, |settings| {
            clamd.settings()(settings);
            // So that one that is silent is given up soon.
            settings.scan.timeout = Duration::from_secs(2);
        })
        .await;
        let source = daylily.source().await;
        degraded(&daylily).await;
        let waiting = created(&source, b"a letter").await;
        let mut other = letter(b"another letter");
        other["type"] = json!({ "coding": [{ "system": "http://loinc.org", "code": "11488-4" }] });
        let other = text(&source.post("DocumentReference", &other).await.ok(201), "/id");
        settles(&daylily, &clamd, &source, &other, "ready").await;
        let state = state_of(&source.get(&format!("DocumentReference/{waiting}")).await.ok(200));
        assert_eq!(state, "created", "{mood:?}: what needs the engine waits, what does not goes on");
        assert_eq!(clamd.saw(b"a letter"), 0, "{mood:?}: an engine that is not fit is not asked");
        clamd.turn(Mood::Fit);
        settles(&daylily, &clamd, &source, &waiting, "ready").await;
        assert_eq!(readiness(&daylily).await, "ok\n", "{mood:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_stops_in_the_middle_of_its_work_is_given_up_and_asked_again_when_it_goes_on() {
    let clamd = FakeClamd::start(Mood::Fit);
    let rule = "[[rule]]\nname = \"plain\"\nscan = [\"rules\"]\nwhen = { type = [\"http://loinc.org|11488-4\"] }\n";
    let policy = format!("{}\n{rule}", asking("[\"clamd\"]"));
    let daylily = TestDaylily::start_with(&policy, |settings| {
        clamd.settings()(settings);
        settings.scan.timeout = Duration::from_secs(2);
    })
    .await;
    let source = daylily.source().await;
    assert_eq!(readiness(&daylily).await, "ok\n");
    // As SIGSTOP does it: it accepts, and never answers.
    clamd.turn(Mood::Silent);
    let waiting = [created(&source, b"a letter").await, created(&source, b"a second letter").await];
    degraded_in_time(&daylily).await;
    let mut other = letter(b"another letter");
    other["type"] = json!({ "coding": [{ "system": "http://loinc.org", "code": "11488-4" }] });
    let other = text(&source.post("DocumentReference", &other).await.ok(201), "/id");
    settles(&daylily, &clamd, &source, &other, "ready").await;
    for id in &waiting {
        assert_eq!(state_of(&source.get(&format!("DocumentReference/{id}")).await.ok(200)), "created");
    }
    clamd.turn(Mood::Fit);
    for id in &waiting {
        settles(&daylily, &clamd, &source, id, "ready").await;
    }
    assert_eq!(readiness(&daylily).await, "ok\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_breaks_the_engine_each_time_is_given_up_and_others_flow() {
    let clamd = FakeClamd::start(Mood::Fit);
    let daylily = TestDaylily::start_with(&asking("[\"clamd\"]"), clamd.settings()).await;
    let source = daylily.source().await;
    let first = daylily.log_size().await;
    let poison = created(&source, POISON).await;
    let clean = created(&source, b"a letter").await;
    settles(&daylily, &clamd, &source, &clean, "ready").await;
    settles(&daylily, &clamd, &source, &poison, "quarantined").await;
    assert_eq!(clamd.saw(POISON), 3);
    let entries = daylily.log_since(first).await;
    let places: Vec<_> = entries.iter().filter_map(|entry| entry.get("place")).collect();
    assert_eq!(places, [&json!("clamd broke off each time")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_wait_for_an_engine_that_is_not_set_up() {
    let required = policy_text::SHIPPED.replace("require-antivirus = false", "require-antivirus = true");
    for policy in [asking("[\"rules\", \"clamd\"]"), required.clone()] {
        assert_ne!(policy, policy_text::SHIPPED);
        let daylily = TestDaylily::start_with(&policy, |_| {}).await;
        let source = daylily.source().await;
        let id = created(&source, b"a letter").await;
        daylily.pass(Duration::from_secs(23 * 3_600)).await;
        assert_eq!(state_of(&source.get(&format!("DocumentReference/{id}")).await.ok(200)), "created");
        daylily.pass(Duration::from_secs(3_700)).await;
        daylily.wait(&source, &id, "quarantined").await;
    }
    // With an engine, `require-antivirus` asks it though `scan` does not name it.
    let clamd = FakeClamd::start(Mood::Fit);
    let daylily = TestDaylily::start_with(&required, clamd.settings()).await;
    let source = daylily.source().await;
    let id = created(&source, b"a letter").await;
    daylily.wait(&source, &id, "ready").await;
    assert_eq!(clamd.saw(b"a letter"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a137_a139_documents_wait_for_an_engine_that_is_too_old_for_the_policy() {
    const SIGNATURES: &str = "degraded: antivirus signatures are older than the policy allows, new documents wait\n";
    const ENGINE: &str = "degraded: the antivirus engine is older than the policy allows, new documents wait\n";
    let strict = "[default]\nscan = [\"rules\", \"clamd\"]\nsignatures-within = \"48h\"\nantivirus-version = \"1.4.3\"\n\
        [[rule]]\nname = \"plain\"\nscan = [\"rules\"]\nwhen = { type = [\"http://loinc.org|11488-4\"] }\n";
    // The tests' clock stands at 2026-11-23T10:00Z.
    for (version, said) in [
        // No official database is loaded.
        ("ClamAV 1.4.6", SIGNATURES),
        ("ClamAV 1.4.6/27826/Fri Nov 20 09:12:01 2026", SIGNATURES),
        ("ClamAV 1.4.2/27826/Mon Nov 23 09:12:01 2026", ENGINE),
        ("ClamAV 0.103.11/27826/Mon Nov 23 09:12:01 2026", ENGINE),
    ] {
        let clamd = FakeClamd::start(Mood::Fit);
        version.clone_into(&mut clamd.version.lock().unwrap());
        let daylily = TestDaylily::start_with(strict, clamd.settings()).await;
        let source = daylily.source().await;
        daylily.until(version, async || (readiness(&daylily).await == said).then_some(())).await;
        let waiting = created(&source, b"a letter").await;
        let mut other = letter(b"another letter");
        other["type"] = json!({ "coding": [{ "system": "http://loinc.org", "code": "11488-4" }] });
        let other = text(&source.post("DocumentReference", &other).await.ok(201), "/id");
        settles(&daylily, &clamd, &source, &other, "ready").await;
        let state = state_of(&source.get(&format!("DocumentReference/{waiting}")).await.ok(200));
        assert_eq!((state.as_str(), clamd.saw(b"a letter")), ("created", 0), "{version}: it waits, unopened");
        "ClamAV 1.4.6/27830/Mon Nov 23 09:59:01 2026".clone_into(&mut clamd.version.lock().unwrap());
        // Looked at anew within five minutes.
        daylily.clock.advance(Duration::from_secs(301));
        settles(&daylily, &clamd, &source, &waiting, "ready").await;
        assert_eq!(readiness(&daylily).await, "ok\n", "{version}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a139_the_engine_gets_bytes_and_nothing_else() {
    let clamd = FakeClamd::start(Mood::Fit);
    let daylily = TestDaylily::start_with(&asking("[\"clamd\"]"), |settings| {
        clamd.settings()(settings);
        settings.limits.inline_threshold = 0;
    })
    .await;
    let source = daylily.source().await;
    let mut attachment = inline("text/plain", b"a letter");
    attachment["title"] = json!("$(touch evil); `id`.txt");
    let id = text(&source.post("DocumentReference", &document("canary-patient", &[attachment])).await.ok(201), "/id");
    daylily.wait(&source, &id, "ready").await;
    let commands = clamd.commands.lock().unwrap().clone();
    let known: [&[u8]; 3] = [b"zPING", b"zVERSION", b"zINSTREAM"];
    assert!(commands.iter().all(|command| known.contains(&command.as_slice())), "no SCAN of a path: {commands:?}");
    let data = daylily.data().to_str().unwrap().as_bytes().to_vec();
    for stream in clamd.streams.lock().unwrap().iter() {
        for never in [data.as_slice(), b"touch evil", id.as_bytes(), b"canary-patient", b"daylily-key"] {
            assert!(!stream.windows(never.len()).any(|window| window == never));
        }
    }
    let metrics = daylily.get("/metrics").await;
    for line in [
        "daylily_scans_total{engine=\"clamd\",verdict=\"clean\"}",
        "daylily_scan_duration_seconds_count{engine=\"clamd\"}",
    ] {
        assert!(metrics.text().contains(line), "{line}");
    }
}
