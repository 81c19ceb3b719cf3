//! Commands on a folder that no server holds.

use std::path::{Path, PathBuf};

use daylily::app::{DataFolder, Instance, OnFinding, StartFailure, local_commands};
use daylily::control::{Request, Response, Secret};
use daylily::domain::refusal::Refusal;
use zeroize::Zeroizing;

use super::*;

/// Exit status and code of a start that failed.
pub fn said(failure: &StartFailure) -> (u8, &'static str) {
    (failure.exit, failure.issues[0].code().name())
}

/// A password as it is handed over.
pub fn secret(text: &str) -> Secret {
    Secret::new(Zeroizing::new(text.to_owned()))
}

const PASSWORD: &str = "violet oil on the window";

/// A command on the stopped folder.
pub async fn command(daylily: &TestDaylily, request: Request) -> Result<Response, Refusal> {
    let nature = daylily.nature();
    let locked = DataFolder::open(daylily.data()).unwrap().lock(nature.entropy.as_ref()).unwrap();
    let settings = daylily.settings().clone();
    let base = settings.base_url(settings.server.listen.port());
    let instance = Instance::open_with(locked, settings, base, nature, OnFinding::Acknowledge).await.unwrap();
    let outcome = local_commands(&instance).unwrap().perform(1000, request).await;
    instance.close().await;
    outcome
}

/// Registers an operator on a stopped folder.
pub async fn operator(daylily: &TestDaylily, id: &str, role: &str) {
    let new = Request::OperatorAdd { id: id.to_owned(), role: role.to_owned(), password: secret(PASSWORD) };
    command(daylily, new).await.unwrap();
}

/// One operator acknowledges what was found in the log of a stopped folder.
pub async fn acknowledge(daylily: &TestDaylily, id: &str) -> Result<Response, Refusal> {
    let request = Box::new(Request::AuditAcknowledge { reason: "ticket 4711".to_owned() });
    command(daylily, Request::As { id: id.to_owned(), password: secret(PASSWORD), request }).await
}

/// The code of a command that was refused.
pub fn code(outcome: &Result<Response, Refusal>) -> &'static str {
    outcome.as_ref().unwrap_err().code().name()
}

/// A copy of the stopped database, log and all.
pub fn database_of(daylily: &TestDaylily, name: &str) -> PathBuf {
    let copy = daylily.beside(name);
    std::fs::copy(daylily.data().join("daylily.db"), &copy).unwrap();
    copy
}

/// Puts a copy in the place of the stopped database.
pub fn set_database(daylily: &TestDaylily, from: &Path) {
    for log in ["daylily.db-wal", "daylily.db-shm"] {
        let _ = std::fs::remove_file(daylily.data().join(log));
    }
    std::fs::copy(from, daylily.data().join("daylily.db")).unwrap();
}

/// Has the next start read the whole log.
pub fn forget_the_last_check(daylily: &TestDaylily) {
    let _ = std::fs::remove_file(daylily.data().join("log-check"));
}

/// Registers two people who may acknowledge.
pub async fn two_operators(daylily: &TestDaylily) {
    for (id, role) in [("anna", "operator"), ("ben", "security")] {
        operator(daylily, id, role).await;
    }
}

/// Both of them acknowledge.
pub async fn both_acknowledge(daylily: &TestDaylily) {
    assert_eq!(code(&acknowledge(daylily, "anna").await), "second-person-required");
    acknowledge(daylily, "ben").await.unwrap();
}

/// What a start that reads the whole log says of a statement on the stopped database.
pub async fn said_of(daylily: &mut TestDaylily, statement: &str) -> String {
    assert!(altered(&daylily.data().join("daylily.db"), statement) > 0, "{statement}");
    forget_the_last_check(daylily);
    let failure = daylily.start_again().await.expect_err(statement);
    assert_eq!(said(&failure), (3, "audit-mismatch"), "{statement}: {failure:?}");
    failure.issues[0].message().to_owned()
}
