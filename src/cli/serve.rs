//! `serve`: starts, says what it found, waits for a signal, ends in order.

use tokio::signal::unix::{SignalKind, signal};

use serde_json::json;

use super::arguments::Serve;
use super::message::{Failure, Tone};
use super::terminal::Terminal;
use super::words::{counted, span};
use super::{input, policy_terms};
use crate::app::{Ended, Nature, Running, Seeded, Start};
use crate::auth::key_file::KeyFile;
use crate::config::{FlagValue, LogFormat, Settings, surroundings};
use crate::control::{KeysGiven, NewClient, Request};
use crate::domain::refusal::Code;
use crate::domain::verdict::Engine;
use crate::scan::Condition;
use crate::telemetry;

/// The client of `--dev`, and its key file in the data folder.
const DEV: &str = "dev";
const DEV_KEY: &str = "dev.key";

/// Runs it.
pub(super) async fn run(serve: Serve, terminal: &Terminal, nature: Nature) -> Result<u8, Failure> {
    let settings = settings(&serve)?;
    let format = settings.logs.format;
    telemetry::init(&settings.logs)
        .map_err(|_| Failure::other(Code::ServerFault, "start it again; logging could not be set up"))?;
    if serve.dev {
        terminal.tell(&terminal.err(Tone::Doubt, "DEVELOPMENT: loopback receivers and plain http are allowed"));
    }
    outlive_file_limits();
    let began = nature.clock.monotonic();
    let start = Start { settings, nature: nature.clone(), runtime_dir: surroundings().runtime_dir };
    let running = Running::start(start).await?;
    let took = span(nature.clock.monotonic().saturating_sub(began));
    announce(&running, &took, format, terminal);
    if serve.dev {
        make_dev_client(&running, terminal, &nature).await?;
    }
    let failed = tokio::select! {
        () = wait_for_signal() => None,
        ended = running.failed() => Some(ended),
    };
    if failed == Some(Ended::Disk) {
        let cure = "start it again once the disk is well (a supervisor does); what was acknowledged is read back from the disk";
        terminal.warn("the disk failed a commit: nothing more is written until a restart", cure);
    }
    stop(running, terminal, &nature).await;
    match failed {
        Some(Ended::Log(failure)) => Err(failure.into()),
        failed => Ok(u8::from(failed.is_some())),
    }
}

fn settings(serve: &Serve) -> Result<Settings, Failure> {
    let mut flags = Vec::new();
    if let Some(listen) = &serve.listen {
        flags.push(FlagValue { flag: "--listen", setting: "server.listen", value: listen.clone() });
    }
    if let Some(base) = &serve.base_url {
        flags.push(FlagValue { flag: "--base-url", setting: "server.base-url", value: base.clone() });
    }
    input::settings(&serve.place, flags, serve.dev)
}

/// The lines of a start, or one JSON line where logs are JSON.
fn announce(running: &Running, took: &str, format: LogFormat, terminal: &Terminal) {
    let found = running.found();
    let warnings = warnings(running);
    if format == LogFormat::Json {
        let codes: Vec<&str> = warnings.iter().map(|(code, ..)| *code).collect();
        let ready = json!({
            "event": "ready", "base": running.base().as_str(), "schema": found.health.schema, "policy": found.policy.0,
            "warnings": codes,
        });
        terminal.complain(&format!("{ready}\n"));
        return;
    }
    terminal.tell(&format!("Daylily {}", env!("CARGO_PKG_VERSION")));
    lines(running).iter().for_each(|(name, text)| terminal.tell(&format!("  {name:9} {text}")));
    for (_, what, cure) in &warnings {
        terminal.warn(what, cure);
    }
    let clients = running.delivery().store().clients().len();
    if clients == 0 {
        terminal.tell(&format!("ready in {took}; no client is registered yet"));
        terminal.cure("next", "daylily client add --help");
    } else {
        let clients = counted(u64::try_from(clients).unwrap_or(u64::MAX), "client");
        terminal.tell(&format!("ready in {took}; {clients}"));
    }
}

/// The seven lines.
fn lines(running: &Running) -> Vec<(&'static str, String)> {
    let (found, folder, settings) = (running.found(), running.folder(), running.settings());
    let path = folder.folder().path().display();
    let made = |new: bool| if new { "made" } else { "found" };
    let documents = counted(found.health.documents, "document");
    let key_place = if running.key_beside_data() { "in the data folder" } else { "outside the data folder" };
    let (digest, seeded) = &found.policy;
    let policy = match seeded {
        Seeded::Shipped => format!("shipped default is now active ({digest}): daylily policy show"),
        Seeded::File => format!("the settings' file is now active ({digest}): daylily policy show"),
        Seeded::No => format!("active: {digest}, see daylily policy show"),
    };
    let log = if found.new_log { "new log" } else { "whole, log" };
    let reach = if settings.listens_on_loopback() { "this machine only" } else { "other machines too" };
    let base = running.base();
    vec![
        ("data", format!("{} {path}, readable by this user only", made(folder.made()))),
        ("database", format!("SQLite, schema {}, {documents}", found.health.schema)),
        ("keys", format!("{} an encryption key {key_place}", made(folder.is_new() && running.key_beside_data()))),
        ("policy", policy),
        ("scan", engines(running)),
        ("audit", format!("{log} {}; checkpoints in {}", folder.instance(), settings.audit.checkpoints.display())),
        ("listening", format!("{base}, {reach}; FHIR at {}", base.join("/fhir"))),
    ]
}

/// The engines of the safety check, as they were found.
fn engines(running: &Running) -> String {
    let words = |(engine, condition): (Engine, Condition)| match (engine, condition) {
        (Engine::Rules, _) => "built-in rules".to_owned(),
        (engine, Condition::Ready { version, .. }) => format!("{} {version}", engine.name()),
        (engine, other) => format!("{}, which {}", engine.name(), other.trouble().unwrap_or_default()),
    };
    let known: Vec<String> = running.delivery().engine_conditions().into_iter().map(words).collect();
    let antivirus = running.settings().scan.engines.iter().any(|engine| engine.is_antivirus());
    format!("{}{}", known.join(" and "), if antivirus { "" } else { "; no virus signatures" })
}

fn engine_warnings(running: &Running) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let engines = &running.settings().scan.engines;
    if !engines.iter().any(|engine| engine.is_antivirus()) {
        warnings.push((
            "no-antivirus",
            "without clamd only known dangerous forms are found, not viruses".to_owned(),
            "install clamd, then set [scan] engines = [\"rules\", \"clamd\"]".to_owned(),
        ));
    }
    for (engine, condition) in running.delivery().engine_conditions() {
        if let Some(trouble) = condition.trouble() {
            let what = format!("{} {trouble}; documents that it must look at wait", engine.name());
            warnings.push(("scan-failing", what, super::doctor::cure(&condition).to_owned()));
        }
    }
    let policy = running.delivery().policy();
    let decisions = std::iter::once(&policy.policy.default);
    let unused = |engine: &&Engine| {
        !decisions.clone().any(|decision| decision.scan.contains(engine) || decision.require_antivirus)
    };
    if let Some(engine) = engines.iter().filter(|engine| engine.is_antivirus()).find(unused) {
        warnings.push((
            "antivirus-unused",
            format!("{} is set up, but the policy's `[default]` does not ask it", engine.name()),
            "set scan = [\"rules\", \"clamd\"] in the policy, then daylily policy apply".to_owned(),
        ));
    }
    warnings.extend(policy_terms::doubts(&policy.policy, engines));
    warnings
}

/// Code, what, cure.
type Warning = policy_terms::Doubt;

/// What a person should know.
fn warnings(running: &Running) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if running.key_beside_data() {
        warnings.push((
            "key-beside-data",
            "the encryption key lies beside the data that it protects".to_owned(),
            "set [keys] encryption-key-file to a file elsewhere, and keep a copy of it".to_owned(),
        ));
    }
    warnings.extend(engine_warnings(running));
    if let (true, Some(file)) = (running.found().differing_policy, &running.settings().policy.file) {
        let file = file.display();
        warnings.push((
            "policy-differs",
            format!("{file} differs from the active policy and is not used"),
            format!("daylily policy apply {file} --reason …"),
        ));
    }
    if running.checkpoints_within_data() {
        warnings.push((
            "checkpoints-within-data",
            "the checkpoints lie in the data folder: a rollback of the whole folder cannot be seen".to_owned(),
            "set [audit] checkpoints to a folder on another volume".to_owned(),
        ));
    }
    warnings
}

/// The client of `--dev`: made once, its key file beside the data.
async fn make_dev_client(running: &Running, terminal: &Terminal, nature: &Nature) -> Result<(), Failure> {
    let path = running.folder().folder().path().join(DEV_KEY);
    let known = running.delivery().store().clients().iter().any(|client| client.id.as_str() == DEV);
    if !known {
        let failed = |_| Failure::other(Code::ServerFault, "try again; no key could be made");
        let key = KeyFile::generate(nature.clock.as_ref(), &[]).map_err(failed)?;
        let _ = std::fs::remove_file(&path);
        input::new_secret_file("--dev", &path, &key.to_text().map_err(failed)?)?;
        let request = Request::ClientAdd(NewClient {
            id: DEV.to_owned(),
            name: Some("Development".to_owned()),
            scope: "system/*.cruds".to_owned(),
            keys: KeysGiven::Jwks(key.public_set()),
            reach: vec!["all".to_owned()],
            allow_ip: Vec::new(),
            handles: false,
        });
        let uid = rustix::process::getuid().as_raw();
        running.operations().perform(uid, request).await.map_err(Failure::from)?;
    }
    let path = path.display();
    terminal.tell(&format!("client `{DEV}` sees everything; its key is in {path}"));
    let dir = running.folder().folder().path().display();
    terminal.cure("next", &format!("TOKEN=$(daylily token --data-dir {dir} --client {DEV} --key {path})"));
    Ok(())
}

/// A write beyond the largest file that the process may make is to fail like any other, not to end it (SIGXFSZ).
fn outlive_file_limits() {
    let kind = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    // The handler stays when the stream goes.
    if let Err(error) = signal(kind) {
        tracing::warn!(%error, "a write beyond the limit of file sizes would end the server");
    }
}

/// Waits for SIGTERM or SIGINT.
pub(super) async fn wait_for_signal() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        // Without handlers the signals end the process by themselves.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Ends in order; a second signal ends at once.
async fn stop(running: Running, terminal: &Terminal, nature: &Nature) {
    let limit = span(running.settings().limits.drain);
    let downloads = u64::try_from(running.delivery().running_downloads()).unwrap_or(u64::MAX);
    if downloads == 0 {
        terminal.tell("stopping");
    } else {
        let verb = if downloads == 1 { "is" } else { "are" };
        terminal.tell(&format!("stopping: {} {verb} still running, up to {limit}", counted(downloads, "download")));
    }
    let drain = running.settings().limits.drain;
    let began = nature.clock.monotonic();
    tokio::select! {
        () = running.stop() => {
            // The server waits for what runs as long as it may, and only then cuts.
            if nature.clock.monotonic().saturating_sub(began) < drain {
                terminal.tell("stopped; nothing was cut off");
            } else {
                terminal.tell(&format!("stopped; what still ran after {limit} was cut off"));
            }
        }
        () = wait_for_signal() => {
            terminal.tell("stopped at once; what ran is cut off, and put in order at the next start");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_settings_and_their_mistakes_name_the_flag() {
        let serve =
            Serve { place: Default::default(), listen: Some("0.0.0.0:8080".to_owned()), base_url: None, dev: false };
        let failure = settings(&serve).unwrap_err();
        assert_eq!((failure.exit, failure.issues[0].code()), (2, Code::ListenExposed));
    }
}
