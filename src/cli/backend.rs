//! Where a command is performed: by the server that holds the folder, over its socket; with none running, here, with the folder's lock.

use std::sync::Arc;

use super::message::Failure;
use super::terminal::Terminal;
use crate::app::{DataFolder, Instance, LockedFolder, Nature, OnFinding, StartFailure, local_commands, look_at_folder};
use crate::config::Settings;
use crate::control::{self, CallError, Operations, Request, Response};
use crate::domain::refusal::{Code, Issue};

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
    match control::call(&control::find(folder.path()), &request).await {
        Ok(response) => return Ok(response),
        Err(CallError::Refused(refusal)) => return Err(refusal.into()),
        Err(CallError::NoAnswer) => return Err(unreachable()),
        Err(CallError::NotListening) => {}
    }
    look_at_folder(folder.path(), &settings.audit.checkpoints)?;
    let locked = match folder.lock(nature.entropy.as_ref()) {
        Ok(locked) => locked,
        Err(issue) if issue.code() == Code::FolderLocked => return Err(unreachable()),
        Err(issue) => return Err(issue.into()),
    };
    perform_here(locked, settings, nature, request).await
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

/// A server holds the folder, but does not answer.
pub(super) fn unreachable() -> Failure {
    Issue::new(Code::ServerUnreachable).into()
}

/// An answer of another kind than the request asks for: a server of another version.
pub(super) fn unexpected() -> Failure {
    let cure = "start the server and this command from the same version of daylily";
    Issue::new(Code::ServerUnreachable).cure_text(cure).into()
}
