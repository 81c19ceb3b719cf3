//! `demo`: the whole journey on a server of its own, every step real and over HTTP. What a step checks is in [`journey`].

mod actor;
mod journey;
mod pdf;
mod record;
mod steps;
mod told;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use reqwest::Client;

use self::actor::Actor;
use self::steps::{Held, Steps};
use super::arguments::Demo;
use super::message::Failure;
use super::serve::wait_for_signal;
use super::terminal::Terminal;
use super::{input, words};
use crate::app::{Nature, Running, Start};
use crate::auth::key_file::KeyFile;
use crate::config::{FlagValue, Settings, Sources, policy_text, surroundings};
use crate::control::{KeysGiven, NewClient, Operations, Request};
use crate::domain::id::{ClientId, FreshId};
use crate::domain::refusal::{Code, Issue};
use crate::http::receiver::Receiver;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(40);

/// What the demo's policy has beside the shipped text: a kind of document whose time is over at once, so that its end can be watched.
const SHORT_RULE: &str = "\n[[rule]]\nname = \"over-at-once\"\nwhen = { type = [\"http://loinc.org|11506-3\"] }\nretain = \"1s\"\n\
    purge-after = \"1s\"\nlink = { lifetime = \"1s\", max-lifetime = \"1s\" }\n";

/// The folder of a demo.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// The server and the programs that use it.
struct Scene {
    running: Running,
    http: Client,
    source: Actor,
    receiver: Actor,
    stranger: Actor,
    /// Where the receiver is told, once it has asked to be.
    listening: Option<Receiver>,
    /// The document that is held back.
    infected: String,
}

/// Runs it.
pub(super) async fn run(demo: Demo, terminal: &Terminal, nature: Nature) -> Result<u8, Failure> {
    let mut folder = folder(&demo, &nature)?;
    if !terminal.json {
        let place = if folder.keep { "that is kept" } else { "that is gone at the end" };
        let version = env!("CARGO_PKG_VERSION");
        terminal.say(&format!(
            "Daylily {version} demo: every step is real and runs on this machine, in a folder {place}\n"
        ));
    }
    let mut steps = Steps::new(terminal, &nature);
    let mut scene = Box::pin(set_up(&demo, &folder.path, &nature, &mut steps)).await?;
    if let Err(broken) = journey::run(&mut scene, &nature, &mut steps).await {
        steps.broken(&broken);
        folder.keep = true;
        scene.running.stop().await;
        terminal.tell(&format!("the folder is kept: {}", folder.path.display()));
        return Ok(1);
    }
    steps.finish(scene.running.base().as_str());
    if !demo.exit {
        invite(&scene, &folder, terminal);
        wait_for_signal().await;
    }
    if let Some(listening) = scene.listening.take() {
        listening.stop().await;
    }
    scene.running.stop().await;
    Ok(0)
}

fn folder(demo: &Demo, nature: &Nature) -> Result<Folder, Failure> {
    let (path, keep) = match &demo.keep {
        Some(path) => (path.clone(), true),
        None => {
            let name = FreshId::random(nature.entropy.as_ref()).to_string();
            (std::env::temp_dir().join(format!("daylily-demo-{name}")), false)
        }
    };
    let used = std::fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_some());
    if used {
        return Err(Failure::flag("--keep", "names a folder that is not empty", "give the path of a new folder"));
    }
    let made = std::fs::create_dir_all(&path);
    made.map_err(|_| Failure::flag("--keep", "names a folder that cannot be made", "give the path of a new folder"))?;
    let path = std::fs::canonicalize(&path).unwrap_or(path);
    Ok(Folder { path, keep })
}

/// Steps 1 to 3: server, programs, tokens.
async fn set_up(demo: &Demo, folder: &Path, nature: &Nature, steps: &mut Steps<'_>) -> Result<Scene, Failure> {
    let running = start(demo, folder, nature).await?;
    let base = running.base().as_str().to_owned();
    let http = Client::builder().timeout(PATIENCE).no_proxy().redirect(reqwest::redirect::Policy::none()).build();
    let http = http.map_err(|_| Failure::other(Code::ServerFault, "TLS could not be set up on this machine"))?;
    let line = "Started a server with an empty database, new keys and a policy";
    steps.held(&Held::new("started", line, format!("FHIR R4 at {base}/fhir")));
    let operations = running.operations();
    let mut actors = Vec::new();
    for (id, scope) in [
        ("source", "system/DocumentReference.cruds system/Binary.cr"),
        ("receiver", "system/DocumentReference.rs system/Binary.r system/Subscription.cruds"),
        ("stranger", "system/DocumentReference.rs system/Binary.r"),
    ] {
        actors.push(register(operations.as_ref(), (id, scope), folder, (&base, &http), nature).await?);
    }
    let line = "Registered three programs: a source, a receiver and a stranger";
    steps.held(&Held::new("registered", line, "SMART clients"));
    for actor in &mut actors {
        actor.sign_in(nature).await?;
    }
    let line = "Each proved who it is with its own key; no password was sent";
    steps.held(&Held::new("signed-in", line, "private_key_jwt"));
    let mut actors = actors.into_iter();
    let (Some(source), Some(receiver), Some(stranger)) = (actors.next(), actors.next(), actors.next()) else {
        return Err(Failure::other(Code::ServerFault, "run the demo again"));
    };
    Ok(Scene { running, http, source, receiver, stranger, listening: None, infected: String::new() })
}

/// Starts the server: at the address asked for, else the usual one, else, when that is taken, a free one.
async fn start(demo: &Demo, folder: &Path, nature: &Nature) -> Result<Running, Failure> {
    let policy = folder.join("policy.toml");
    let text = format!("{}{SHORT_RULE}", policy_text::SHIPPED);
    let written = std::fs::write(&policy, text);
    written.map_err(|_| Failure::other(Code::StorageFull, "make room in the folder for temporary files"))?;
    let data = folder.join("data");
    match Running::start(at(&settings(demo, &data, &policy, None)?, nature)).await {
        Err(failure)
            if demo.listen.is_none() && failure.issues.iter().any(|issue| issue.code() == Code::ListenTaken) =>
        {
            let free = SocketAddr::from(([127, 0, 0, 1], 0));
            Ok(Running::start(at(&settings(demo, &data, &policy, Some(free))?, nature)).await?)
        }
        other => Ok(other?),
    }
}

fn at(settings: &Settings, nature: &Nature) -> Start {
    Start { settings: settings.clone(), nature: nature.clone(), runtime_dir: surroundings().runtime_dir }
}

/// Nothing of the environment or of a settings file: the demo is the same everywhere.
fn settings(demo: &Demo, data: &Path, policy: &Path, listen: Option<SocketAddr>) -> Result<Settings, Failure> {
    let listen = listen.map(|address| address.to_string()).or_else(|| demo.listen.clone());
    let flags = listen.map(|value| FlagValue { flag: "--listen", setting: "server.listen", value });
    let sources = Sources { flags: flags.into_iter().collect(), data_dir: data.to_owned(), ..Sources::default() };
    let mut settings = Settings::load(&sources).map_err(Failure::new)?;
    settings.policy.file = Some(policy.to_owned());
    // The demo's receiver is on this machine and without TLS; nothing else is let through.
    settings.egress.allow = vec![IpNet::from(IpAddr::V4(Ipv4Addr::LOCALHOST))];
    settings.egress.allow_http = true;
    Ok(settings)
}

async fn register(
    operations: &dyn Operations,
    (id, scope): (&str, &str),
    folder: &Path,
    (base, http): (&str, &Client),
    nature: &Nature,
) -> Result<Actor, Failure> {
    let client = ClientId::parse(id).ok_or_else(|| Failure::from(Issue::new(Code::ServerFault)))?;
    let failed = |_| Failure::other(Code::ServerFault, "try again; no key could be made");
    let key = KeyFile::generate(nature.clock.as_ref(), &[]).map_err(failed)?;
    let actor = Actor::new(client, folder, base, http.clone());
    input::new_secret_file("--keep", &actor.key, &key.to_text().map_err(failed)?)?;
    let request = Request::ClientAdd(NewClient {
        id: id.to_owned(),
        name: None,
        scope: scope.to_owned(),
        keys: KeysGiven::Jwks(key.public_set()),
        reach: Vec::new(),
        allow_ip: Vec::new(),
        handles: false,
    });
    operations.perform(rustix::process::getuid().as_raw(), request).await?;
    Ok(actor)
}

/// What to try next, in lines that work as they stand.
fn invite(scene: &Scene, folder: &Folder, terminal: &Terminal) {
    let base = scene.running.base();
    let program = std::env::current_exe().map_or_else(|_| "daylily".to_owned(), |path| quoted(&path));
    let end = if folder.keep { "stops it; the folder stays" } else { "stops it and removes the folder" };
    terminal.say(&format!("\nStill serving; Ctrl-C {end}. Try next, each line works as it stands:"));
    for line in [
        format!("cd {}", quoted(&folder.path)),
        format!(
            "TOKEN=$({program} token --data-dir data --client {} --key {}.key)",
            scene.receiver.id, scene.receiver.id
        ),
        format!("curl -s \"{base}/fhir/DocumentReference?patient=demo-1\" -H \"Authorization: Bearer $TOKEN\""),
        format!("curl -i {base}/d/not-a-link       # what a refusal looks like"),
        format!(
            "{program} explain DocumentReference/{} --data-dir data       # why the infected file cannot be opened",
            scene.infected
        ),
        format!("{program} audit verify --data-dir data"),
    ] {
        terminal.say(&format!("  {line}"));
    }
    terminal.say(&format!("Your own server: {program} serve     # no configuration needed"));
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c));
    if plain { text } else { format!("'{}'", words::shell(&text)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demos_policy_is_one() {
        let policy = policy_text::parse("demo", &format!("{}{SHORT_RULE}", policy_text::SHIPPED)).unwrap();
        assert_eq!(policy.rules.len(), 1);
    }

    #[test]
    fn paths_are_quoted_where_a_shell_would_part_them() {
        assert_eq!(quoted(Path::new("/tmp/a-b")), "/tmp/a-b");
        assert_eq!(quoted(Path::new("/tmp/a b's")), "'/tmp/a b'\\''s'");
    }
}
