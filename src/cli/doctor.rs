//! `doctor`: everything that a server needs, each looked at by itself, all at once, each for at most five seconds.

mod disk;
mod loops;
mod proxy;
mod scanner;

pub(super) use scanner::cure;

use std::path::Path;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::future::join_all;
use reqwest::Client;
use serde_json::{Value, json};

use super::arguments::Doctor;
use super::audit::OpenLog;
use super::input;
use super::message::{Failure, Tone, said};
use super::terminal::Terminal;
use super::words::{number, size, span};
use crate::app::{DataFolder, Nature, StartFailure, lies_within};
use crate::config::Settings;
use crate::control::{self, Request, Response, StatusView};
use crate::domain::audit::Leaf;
use crate::domain::clock::Timestamp;
use crate::domain::clock_watch::Jump;
use crate::domain::refusal::{Code, Issue};

/// How long one check may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the pages of the database are looked at.
const LOOK: Duration = Duration::from_secs(3);
/// How far the newest entry may lie ahead of the clock: another clock, set a little differently.
const AHEAD: Duration = Duration::from_secs(60);

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Ok,
    Fail,
    Skip,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Fail => "fail",
            Self::Skip => "skip",
        }
    }
}

/// One line.
#[derive(Debug, Clone)]
pub(super) struct Check {
    name: &'static str,
    state: State,
    message: String,
    cure: Option<String>,
}

impl Check {
    pub(super) fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, state: State::Ok, message: message.into(), cure: None }
    }

    pub(super) fn fail(name: &'static str, message: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { name, state: State::Fail, message: message.into(), cure: Some(cure.into()) }
    }

    pub(super) fn skip(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, state: State::Skip, message: message.into(), cure: None }
    }

    fn of_issue(name: &'static str, issue: Option<&Issue>) -> Self {
        match issue {
            Some(issue) => Self::fail(name, said(issue.message()), said(issue.cure())),
            None => Self::fail(name, "failed without saying why", "look at the log lines of the server"),
        }
    }

    fn of_failure(name: &'static str, failure: &Failure) -> Self {
        Self::of_issue(name, failure.issues.first())
    }

    fn to_json(&self) -> Value {
        json!({ "name": self.name, "state": self.state.word(), "message": self.message, "cure": self.cure })
    }
}

/// What the checks look at.
struct Patient<'a> {
    settings: &'a Settings,
    nature: &'a Nature,
    server: Option<StatusView>,
    http: Client,
}

/// Runs it.
pub(super) async fn run(doctor: Doctor, terminal: &Terminal, nature: &Nature) -> Result<u8, Failure> {
    let settings = input::settings(&doctor.place, Vec::new(), false)?;
    let http = Client::builder().timeout(PATIENCE).no_proxy().redirect(reqwest::redirect::Policy::none()).build();
    let http = http.map_err(|_| {
        Failure::other(crate::domain::refusal::Code::ServerFault, "install the system's root certificates")
    })?;
    let patient = Patient { settings: &settings, nature, server: server(&settings).await, http };
    let through = doctor.through.as_deref();
    let checks: Vec<(&'static str, BoxFuture<'_, Check>)> = vec![
        ("keys", Box::pin(keys(&patient))),
        ("clock", Box::pin(clock(&patient))),
        ("database", Box::pin(database(&patient))),
        ("files", Box::pin(files(&patient))),
        ("audit", Box::pin(async { checkpoints(&settings) })),
        ("endings", Box::pin(async { endings(patient.server.as_ref()) })),
        ("loops", Box::pin(loops::check(&settings))),
        ("scanner", Box::pin(scanner::check(&settings, nature))),
        ("disk", Box::pin(disk::check(&settings))),
        ("base URL", Box::pin(base_url(&patient))),
        ("proxy", Box::pin(proxy::check(&patient, through))),
    ];
    let timed = checks.into_iter().map(|(name, check)| async move {
        let late = || Check::fail(name, "did not answer within 5 s", "look at the load of this machine and its disk");
        tokio::time::timeout(PATIENCE, check).await.unwrap_or_else(|_late| late())
    });
    let checks = join_all(timed).await;
    Ok(tell(&checks, terminal))
}

fn tell(checks: &[Check], terminal: &Terminal) -> u8 {
    let failed = checks.iter().filter(|check| check.state == State::Fail).count();
    if terminal.json {
        let list: Vec<Value> = checks.iter().map(Check::to_json).collect();
        terminal.say_json(&json!({ "checks": list, "failed": failed }));
        return u8::from(failed > 0);
    }
    for check in checks {
        let (tone, word) = match check.state {
            State::Ok => (Tone::Good, "ok  "),
            State::Fail => (Tone::Bad, "FAIL"),
            State::Skip => (Tone::Dim, "skip"),
        };
        terminal.say(&format!("{}   {:9} {}", terminal.out(tone, word), check.name, check.message));
        if let Some(cure) = &check.cure {
            terminal.say(&format!("         = {}: {cure}", terminal.out(Tone::Help, "cure")));
        }
    }
    terminal.say(&format!("{} checks, {failed} failed", checks.len()));
    u8::from(failed > 0)
}

/// The server that holds the folder, if one answers.
async fn server(settings: &Settings) -> Option<StatusView> {
    match control::call(&control::find(&settings.data_dir), &Request::Status {}).await {
        Ok(Response::Status(status)) => Some(status),
        _ => None,
    }
}

async fn keys(patient: &Patient<'_>) -> Check {
    match OpenLog::open(patient.settings, patient.nature).await {
        Ok(_) => Check::ok("keys", "the encryption key opens every secret of this server"),
        Err(failure) => Check::of_failure("keys", &failure),
    }
}

async fn clock(patient: &Patient<'_>) -> Check {
    let before = patient.nature.clock.now();
    let newest = match newest_entry(patient).await {
        Ok(newest) => newest,
        Err(failure) => return Check::of_failure("clock", &failure),
    };
    if patient.nature.clock.now() < before {
        return Check::fail("clock", "runs backwards", "look at the time service of this machine");
    }
    if newest.since(before) > AHEAD {
        let ahead = span(Duration::from_secs(newest.since(before).as_secs()));
        return Check::fail(
            "clock",
            format!("is {ahead} behind the newest entry of the record"),
            "set the clock right (chrony, systemd-timesyncd), then start the server again",
        );
    }
    let asked = control::call(&control::find(&patient.settings.data_dir), &Request::ClockShow {}).await;
    if let Ok(Response::Clock(view)) = asked {
        let cure = said(Code::ClockUnconfirmed.entry().cure);
        return match (view.said, view.standing.as_str()) {
            (Some(wrong), _) => Check::fail("clock", said(&wrong), cure),
            (None, "settling") => {
                Check::ok("clock", "moves forward; what fell due unwatched waits until it has agreed for an hour")
            }
            _ => Check::ok("clock", "moves forward, agrees with the database's; destruction may run"),
        };
    }
    if let Some(jump) = kept_jump(patient).await {
        let span = span(Duration::from_secs(jump.to.since(jump.from).as_secs()));
        let cure = said(Code::ClockUnconfirmed.entry().cure);
        return Check::fail("clock", format!("jumped by {span}; nothing is destroyed until it is confirmed"), cure);
    }
    Check::ok("clock", "moves forward, agrees with the database's")
}

/// Where the checkpoints lie, as far as that decides what a rollback can hide.
fn checkpoints(settings: &Settings) -> Check {
    if lies_within(&settings.audit.checkpoints, &settings.data_dir) {
        let cannot = "the checkpoints lie in the data folder: a rollback of the whole folder cannot be seen";
        return Check::ok("audit", format!("{cannot}; set [audit] checkpoints to a folder on another volume"));
    }
    Check::ok("audit", "the checkpoints lie outside the data folder: a rollback of that folder is seen")
}

/// Whether what ended is told where a backup that is put back does not reach.
fn endings(server: Option<&StatusView>) -> Check {
    match server.map(|server| server.endings_left) {
        None => Check::skip("endings", "no server runs on this data folder"),
        Some(0) => Check::ok("endings", "what ended is told in the checkpoint folder"),
        Some(left) => Check::fail(
            "endings",
            format!("{} wait in the database: a backup put back now would bring back what ended", number(left)),
            "make the checkpoint folder writable; look at the log lines of the server",
        ),
    }
}

/// The jump that waits for an operator, as it was kept by a server that does not run now.
async fn kept_jump(patient: &Patient<'_>) -> Option<Jump> {
    let log = OpenLog::open(patient.settings, patient.nature).await.ok()?;
    // A folder that an older version wrote has no row of it yet.
    log.reader.clock_record().await.ok().flatten()?.jump
}

async fn newest_entry(patient: &Patient<'_>) -> Result<Timestamp, Failure> {
    let log = OpenLog::open(patient.settings, patient.nature).await?;
    let size = log.reader.head().await.map_err(StartFailure::from)?.size;
    let rows = log.reader.rows(size.saturating_sub(1), 1).await.map_err(StartFailure::from)?;
    let leaf = rows.last().and_then(|row| Leaf::decode(&row.body).ok().map(|leaf| leaf.time_micros));
    Ok(leaf.map_or(Timestamp::default(), super::words::of_micros))
}

async fn database(patient: &Patient<'_>) -> Check {
    // The writer says itself how it does: that rows can be read tells nothing of it.
    if let Some(trouble) = patient.server.as_ref().and_then(|server| server.writing.as_deref()) {
        let trouble = trouble.strip_prefix("database: ").unwrap_or(trouble);
        let cure =
            "look at the disk that it lies on, and at the server's log lines; start the server again if it has ended";
        return Check::fail("database", trouble, cure);
    }
    if patient.server.as_ref().is_some_and(|server| server.log_not_copied) {
        let cure = "look at the disk that it lies on, and at the server's log lines";
        return Check::fail("database", "its write-ahead log cannot be copied into it, and grows", cure);
    }
    let clock = &patient.nature.clock;
    let log = match OpenLog::open(patient.settings, patient.nature).await {
        Ok(log) => log,
        Err(failure) => return Check::of_failure("database", &failure),
    };
    let began = clock.monotonic();
    let head = log.reader.head().await;
    let took = span(clock.monotonic().saturating_sub(began));
    let looked = tokio::time::timeout(LOOK, log.reader.quick_check()).await;
    match (head, looked) {
        (Ok(head), Ok(Ok(None))) => {
            Check::ok("database", format!("SQLite, whole; {} entries; answers in {took}", number(head.size)))
        }
        (Ok(head), Err(_late)) => {
            let entries = number(head.size);
            let large = "too large to be looked at whole here; `daylily audit verify` reads the record whole";
            Check::ok("database", format!("SQLite; {entries} entries; answers in {took}; {large}"))
        }
        (_, Ok(Ok(Some(_)))) => Check::fail(
            "database",
            "is damaged",
            "stop the server, keep a copy of the data folder as it is, restore the last good copy elsewhere",
        ),
        _ => Check::fail("database", "cannot be read", "look at the disk that it lies on"),
    }
}

async fn files(patient: &Patient<'_>) -> Check {
    let path = patient.settings.data_dir.clone();
    let entropy = std::sync::Arc::clone(&patient.nature.entropy);
    let clock = &patient.nature.clock;
    let began = clock.monotonic();
    let tried = tokio::task::spawn_blocking(move || {
        let mut bytes = vec![0; 64 * 1024];
        entropy.fill(&mut bytes);
        try_file(&path, &bytes)
    });
    match tried.await {
        Ok(Ok(true)) => {
            let took = span(clock.monotonic().saturating_sub(began));
            Check::ok("files", format!("main: made, read back and deleted a test file in {took}"))
        }
        Ok(Ok(false)) => Check::fail(
            "files",
            "main: a test file was read back as another",
            "replace the disk; it does not keep what is written",
        ),
        _ => Check::fail(
            "files",
            "main: a test file cannot be made",
            "look at the room and the rights of the data folder",
        ),
    }
}

/// Writes, syncs, reads back, removes.
fn try_file(folder: &Path, bytes: &[u8]) -> std::io::Result<bool> {
    use std::io::Write;
    let folder = DataFolder::open(folder).map_err(|_| std::io::ErrorKind::PermissionDenied)?;
    let path = folder.path().join(format!(".doctor-{}", std::process::id()));
    let outcome = (|| {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(std::fs::read(&path)? == bytes)
    })();
    let removed = std::fs::remove_file(&path);
    outcome.and_then(|same| removed.map(|()| same))
}

async fn base_url(patient: &Patient<'_>) -> Check {
    let Some(server) = &patient.server else {
        return Check::skip("base URL", "no server runs on this data folder");
    };
    let url = format!("{}/fhir/metadata", server.base);
    let answer = match patient.http.get(&url).send().await {
        Ok(answer) if answer.status().is_success() => answer,
        Ok(answer) => {
            let message = format!("{} answers {}", server.base, answer.status().as_u16());
            return Check::fail(
                "base URL",
                message,
                "point the name of `[server] base-url` at this server, or at the proxy in front",
            );
        }
        Err(_) => {
            let message = format!("{} does not answer from this machine", server.base);
            return Check::fail("base URL", message, "look at name, port and certificate of `[server] base-url`");
        }
    };
    let statement: Value = answer.json().await.unwrap_or(Value::Null);
    let url = statement.pointer("/implementation/url").and_then(Value::as_str).unwrap_or_default();
    if url.starts_with(&server.base) {
        Check::ok("base URL", format!("{} is this server", server.base))
    } else {
        let cure = "point the name of `[server] base-url` at this server";
        Check::fail("base URL", format!("{} is another server", server.base), cure)
    }
}

/// A size for a line.
pub(super) fn free(bytes: u64) -> String {
    size(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_test_file_is_read_back_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        assert!(try_file(folder.path(), b"bytes").unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(try_file(&folder.path().join("none"), b"bytes").is_err());
    }

    #[test]
    fn the_json_of_a_check_has_its_cure() {
        let json = Check::fail("disk", "is full", "make room").to_json();
        assert_eq!((&json["state"], &json["cure"]), (&Value::from("fail"), &Value::from("make room")));
    }
}
