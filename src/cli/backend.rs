//! Where a command is performed: by the server that holds the folder, over its socket; with none running, here, with the folder's lock.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::message::Failure;
use super::terminal::Terminal;
use crate::app::{DataFolder, Instance, LockedFolder, Nature, OnFinding, StartFailure, local_commands, look_at_folder};
use crate::config::Settings;
use crate::control::{self, CallError, Operations, Request, Response};
use crate::domain::refusal::{Code, Issue};

/// How long a command waits before it looks again whether the folder is free.
const PAUSE: Duration = Duration::from_millis(50);
/// How often it looks: for five minutes, in which a server that begins without a note of a check has looked at some ten million entries.
const LOOKS: u32 = 6_000;

impl From<StartFailure> for Failure {
    fn from(failure: StartFailure) -> Self {
        Self { issues: failure.issues, exit: failure.exit }
    }
}

/// Performs one request, in the name of whom `--as` names.
///
/// # Errors
/// What the use case refuses; `server-unreachable` when a server holds the folder and does not answer.
pub(super) async fn perform(
    settings: &Settings,
    nature: &Nature,
    terminal: &Terminal,
    request: Request,
) -> Result<Response, Failure> {
    let request = match &terminal.acting {
        Some(acting) => {
            Request::As { id: acting.id.clone(), password: acting.password.clone(), request: Box::new(request) }
        }
        None => request,
    };
    let folder = DataFolder::open(&settings.data_dir)?;
    match reach(&folder, &settings.audit.checkpoints, nature, terminal, &request).await? {
        Reached::Server(response) => Ok(*response),
        Reached::Folder(locked) => perform_here(locked, settings, nature, request).await,
    }
}

/// Who performs the request.
enum Reached {
    /// The server has.
    Server(Box<Response>),
    /// This command is to, on the folder that it holds now.
    Folder(LockedFolder),
}

/// Asks the server, or holds the folder. Where another command holds it, or a server that does not listen yet or any more, this waits
/// until that has ended or answers; only the waiting is bounded, a server has its own time to answer.
async fn reach(
    folder: &DataFolder,
    checkpoints: &Path,
    nature: &Nature,
    terminal: &Terminal,
    request: &Request,
) -> Result<Reached, Failure> {
    for look in 0..LOOKS {
        match control::call(&control::find(folder.path()), request).await {
            Ok(response) => return Ok(Reached::Server(Box::new(response))),
            Err(CallError::Refused(refusal)) => return Err(refusal.into()),
            Err(CallError::NoAnswer) => return Err(unreachable()),
            Err(CallError::NotListening) => {}
        }
        look_at_folder(folder.path(), checkpoints).map_err(StartFailure::from)?;
        if !sets_up(request) && !folder.database().exists() {
            return Err(StartFailure::from(not_set_up(&folder.database())).into());
        }
        match folder.clone().lock(nature.entropy.as_ref()) {
            Ok(locked) => return Ok(Reached::Folder(locked)),
            Err(issue) if issue.code() == Code::FolderLocked => {}
            Err(issue) => return Err(issue.into()),
        }
        if look == 0 {
            terminal.tell(&format!("waiting for {}, which holds the data folder", holder(folder)));
        }
        tokio::time::sleep(PAUSE).await;
    }
    let issue = Issue::new(Code::FolderLocked);
    let issue =
        issue.message_text(format!("{} holds the data folder, and did not let go of it in time", holder(folder)));
    Err(issue
        .cure_text("a command ends by itself, and a server that starts answers soon: run this again; else stop it")
        .into())
}

/// Who holds the folder, in words.
fn holder(folder: &DataFolder) -> String {
    folder.held_by().map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

async fn perform_here(
    locked: LockedFolder,
    settings: &Settings,
    nature: &Nature,
    request: Request,
) -> Result<Response, Failure> {
    let port = settings.server.listen.port();
    let base = settings.base_url(port);
    let instance =
        Box::pin(Instance::open_with(locked, settings.clone(), base, nature.clone(), on_finding(&request))).await?;
    let commands: Arc<dyn Operations> = local_commands(&instance)?;
    let uid = rustix::process::getuid().as_raw();
    let outcome = commands.perform(uid, request).await;
    instance.close().await;
    Ok(outcome?)
}

/// Two operators acknowledge a finding, and where there are none they are registered first.
fn on_finding(request: &Request) -> OnFinding {
    match request {
        Request::As { request, .. } => on_finding(request),
        Request::AuditAcknowledge { .. } | Request::OperatorAdd { .. } | Request::OperatorList {} => {
            OnFinding::Acknowledge
        }
        _ => OnFinding::Refuse,
    }
}

/// Whether a command may be the first in an empty folder. Any other was meant for a folder that is somewhere else.
fn sets_up(request: &Request) -> bool {
    match request {
        Request::As { request, .. } => sets_up(request),
        Request::ClientAdd { .. } | Request::OperatorAdd { .. } => true,
        _ => false,
    }
}

fn not_set_up(database: &Path) -> Issue {
    let issue = Issue::new(Code::FolderUnsafe).fill("file", database.display());
    let issue = issue.fill("fault", "is not there: nothing was set up in this folder");
    issue.fill(
        "cure",
        "look whether the volume is mounted and `--data-dir` is right; `serve`, `client add` and `operator add` set a folder up",
    )
}

/// A server holds the folder, but does not answer.
pub(super) fn unreachable() -> Failure {
    Issue::new(Code::ServerUnreachable).into()
}

/// An answer of another kind than the request asks for: a server of another version.
pub(super) fn unexpected() -> Failure {
    let cure = "start the server and this command from the same version of daylily";
    Issue::new(Code::ServerUnreachable).cure_text(cure).into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use super::*;
    use crate::app::SystemClock;
    use crate::cli::arguments::{Color, Global};
    use crate::config::Surroundings;
    use crate::vault::SystemEntropy;

    fn quiet() -> Terminal {
        let global =
            Global { json: false, quiet: true, utc: true, color: Color::Never, acting: None, password_stdin: false };
        Terminal::new(&global, &Surroundings::default())
    }

    #[tokio::test(start_paused = true)]
    async fn a_folder_that_stays_held_is_refused_with_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let nature = Nature { clock: Arc::new(SystemClock::new()), entropy: Arc::new(SystemEntropy) };
        let folder = DataFolder::open(folder.path()).unwrap();
        let held = folder.clone().lock(&SystemEntropy).unwrap();
        let request = Request::OperatorAdd {
            id: "anna".to_owned(),
            role: "operator".to_owned(),
            password: crate::control::Secret::new(zeroize::Zeroizing::new("any".to_owned())),
        };
        let Err(refused) = reach(&folder, folder.path(), &nature, &quiet(), &request).await else {
            panic!("it was held")
        };
        assert_eq!((refused.issues[0].code(), refused.exit), (Code::FolderLocked, 1));
        let named = format!("process {} holds the data folder", std::process::id());
        assert!(refused.issues[0].message().starts_with(&named), "{refused:?}");
        drop(held);
        let reached = reach(&folder, folder.path(), &nature, &quiet(), &request).await;
        assert!(matches!(reached, Ok(Reached::Folder(_))));
    }
}
