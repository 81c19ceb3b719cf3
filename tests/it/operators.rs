//! People who may act: what each may do, how two of them release what an engine called dirty, and what a legal hold keeps.

use std::time::Duration;

use daylily::app::DataFolder;
use daylily::control::{
    CallError, ClientChange, HoldView, QuarantineView, Request, Response, RevocationAim, Secret, call, find,
};
use daylily::domain::refusal::{Code, Refusal};
use daylily::vault::SystemEntropy;
use serde_json::json;
use zeroize::Zeroizing;

use crate::support::*;

const HOUR: Duration = Duration::from_secs(3_600);
const PASSWORD: &str = "violet oil on the window";
const OVERRIDE: &str =
    "[[rule]]\nname = \"test\"\nallow-override = true\nwhen = { type = [\"http://loinc.org|18842-5\"] }\n";

fn secret(text: &str) -> Secret {
    Secret::new(Zeroizing::new(text.to_owned()))
}

fn release(document: &str) -> Request {
    Request::QuarantineRelease { document: format!("DocumentReference/{document}"), reason: "false alarm".to_owned() }
}

fn purge(document: &str, preview: bool) -> Request {
    Request::QuarantinePurge { document: document.to_owned(), reason: "malware".to_owned(), preview }
}

fn hold(document: &str) -> Request {
    let authority = Some("Regional court".to_owned());
    Request::HoldAdd { document: document.to_owned(), reason: "case 12/26".to_owned(), authority }
}

fn unhold(document: &str, hold: Option<&str>) -> Request {
    let (document, hold) = (document.to_owned(), hold.map(str::to_owned));
    Request::HoldRelease { document, reason: "case closed".to_owned(), hold }
}

impl TestDaylily {
    async fn operator(&self, id: &str, role: &str) {
        let new = Request::OperatorAdd { id: id.to_owned(), role: role.to_owned(), password: secret(PASSWORD) };
        self.command(new).await.unwrap();
    }

    async fn by(&self, id: &str, request: Request) -> Result<Response, Refusal> {
        self.by_with(id, PASSWORD, request).await
    }

    async fn by_with(&self, id: &str, password: &str, request: Request) -> Result<Response, Refusal> {
        self.command(Request::As { id: id.to_owned(), password: secret(password), request: Box::new(request) }).await
    }

    /// A document that is held back.
    async fn infected(&self, source: &Actor) -> String {
        let created =
            source.post("DocumentReference", &document("patient-seventeen", &[inline("text/plain", &eicar())])).await;
        let id = text(&created.ok(201), "/id");
        self.wait(source, &id, "quarantined").await;
        id
    }

    async fn shown(&self, id: &str) -> QuarantineView {
        match self.command(Request::QuarantineShow { document: id.to_owned() }).await.unwrap() {
            Response::Quarantine(view) => view,
            other => panic!("{other:?}"),
        }
    }
}

fn code(outcome: Result<Response, Refusal>) -> Code {
    outcome.expect_err("a refusal").code()
}

fn the_hold(outcome: Result<Response, Refusal>) -> HoldView {
    match outcome.unwrap() {
        Response::Hold(view) => view,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_release_what_an_engine_called_dirty_and_one_does_not() {
    let daylily = TestDaylily::start_with(OVERRIDE, |_| {}).await;
    let source = daylily.source().await;
    for (id, role) in [("anna", "security"), ("ben", "operator"), ("carl", "security"), ("dora", "auditor")] {
        daylily.operator(id, role).await;
    }
    let id = daylily.infected(&source).await;
    let link = daylily.link_by_hand("source", &id).await;
    assert_eq!(daylily.get(&link).await.said(), (403, "content-quarantined"));
    assert_eq!(
        code(daylily.command(release(&id)).await),
        Code::RoleInsufficient,
        "the folder's owner is nobody by name"
    );
    assert_eq!(code(daylily.by("dora", release(&id)).await), Code::RoleInsufficient);
    for _ in 0..2 {
        let told = daylily.by("anna", release(&id)).await.unwrap_err();
        assert_eq!(told.code(), Code::SecondPersonRequired);
        let cure = told.issues().next().unwrap().cure().to_owned();
        assert!(cure.contains("operator or security") && cure.contains("2026-11-24T10:00:00"), "{cure}");
    }
    assert_eq!(daylily.shown(&id).await.approvals.len(), 1, "the same person twice is one");
    assert_eq!(daylily.get(&link).await.said(), (403, "content-quarantined"));
    // A day later the word is over, and so is that of who was switched off.
    daylily.pass(24 * HOUR).await;
    assert_eq!(code(daylily.by("ben", release(&id)).await), Code::SecondPersonRequired);
    daylily.command(Request::OperatorDisable { id: "ben".to_owned() }).await.unwrap();
    assert_eq!(code(daylily.by("carl", release(&id)).await), Code::SecondPersonRequired);
    assert_eq!(code(daylily.by("ben", release(&id)).await), Code::LoginFailed);
    let first = daylily.log_size().await;
    let Response::Verdict(done) = daylily.by("anna", release(&id)).await.unwrap() else { panic!("no verdict") };
    assert_eq!((done.state.as_str(), done.released_by), ("ready", vec!["carl".to_owned(), "anna".to_owned()]));
    let read = source.get(&format!("DocumentReference/{id}")).await.ok(200);
    assert_eq!(state_of(&read), "ready");
    assert_eq!(daylily.get(&text(&read, "/content/0/attachment/url")).await.bytes, eicar());
    let log = daylily.log_since(first).await;
    let entry = log.iter().find(|entry| entry.action == "document.release").expect("the override is on record");
    assert_eq!(entry.cells["actor"]["operator"], "anna");
    for (name, value) in [
        ("first-operator", "carl"),
        ("first-reason", "false alarm"),
        ("reason", "false alarm"),
        ("verdict", "scan-detected: malware"),
        ("from", "quarantined"),
        ("to", "ready"),
    ] {
        assert_eq!(entry.cells["subject"][name], value, "{name}");
    }
    assert_eq!(entry.cells["subject"]["sha256"], hex::encode(sha256(&eicar())));
    assert_eq!(code(daylily.by("anna", release(&id)).await), Code::StateRefused, "it is not held back any more");
    // The window begins with the release.
    daylily.pass(72 * HOUR).await;
    daylily.wait(&source, &id, "expired").await;
    daylily.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_allow_override_nobody_releases() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    daylily.operator("anna", "security").await;
    let id = daylily.infected(&source).await;
    let told = daylily.by("anna", release(&id)).await.unwrap_err();
    assert_eq!(told.code(), Code::StateRefused);
    assert!(told.issues().next().unwrap().cure().contains("quarantine purge"));
    let view = daylily.shown(&id).await;
    assert_eq!((view.code.as_str(), view.finding.as_deref()), ("scan-detected", Some("malware")));
    assert_eq!((view.engine.as_deref(), view.words.as_str()), (Some("rules"), "a harmful program"));
    assert!(!view.allow_override && !view.held && view.approvals.is_empty());
    let Response::Quarantines { quarantined, more } = daylily.command(Request::QuarantineList {}).await.unwrap() else {
        panic!("no list")
    };
    assert_eq!((quarantined, more), (vec![view.clone()], false));
    assert!(!serde_json::to_string(&view).unwrap().contains("seventeen"), "no patient");
    let ready = daylily.ready_link(&source, &pdf(1, 500)).await.0;
    assert_eq!(code(daylily.by("anna", release(&ready)).await), Code::StateRefused);
    assert_eq!(code(daylily.command(purge(&ready, false)).await), Code::StateRefused);
    assert_eq!(code(daylily.command(purge("none", false)).await), Code::ResourceNotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_bounds_its_person_and_passwords_tell_nothing() {
    let daylily = TestDaylily::start().await;
    daylily.source().await;
    for (id, role) in [("op", "operator"), ("sec", "security"), ("pri", "privacy"), ("aud", "auditor")] {
        daylily.operator(id, role).await;
    }
    let disable = || Request::ClientChange { id: "source".to_owned(), change: ClientChange::Disable };
    let all =
        || Request::LinksRevoke { aim: RevocationAim::All, reason: "leak".to_owned(), state: false, preview: false };
    let export = || Request::AuditExport { patient: None, from: None, to: None };
    let first = daylily.log_size().await;
    for (id, request) in [
        ("aud", disable()),
        ("pri", disable()),
        ("op", all()),
        ("op", export()),
        ("sec", hold("d1")),
        ("aud", purge("d1", true)),
        ("sec", Request::OperatorDisable { id: "op".to_owned() }),
    ] {
        assert_eq!(code(daylily.by(id, request.clone()).await), Code::RoleInsufficient, "{id} {request:?}");
    }
    let denied = daylily.log_since(first).await;
    assert!(denied.iter().all(|entry| (entry.action.as_str(), entry.outcome.as_str()) == ("command.run", "denied")));
    assert_eq!(denied.len(), 7, "each refusal is on record");
    assert_eq!(denied[2].cells["actor"]["operator"], "op");
    for (id, request) in [("op", disable()), ("sec", all()), ("aud", export()), ("pri", export())] {
        daylily.by(id, request).await.unwrap_or_else(|refusal| panic!("{id} {refusal:?}"));
    }
    for id in ["op", "sec", "pri", "aud"] {
        daylily.by(id, Request::QuarantineList {}).await.unwrap();
    }
    let size = daylily.log_size().await;
    let wrong = daylily.by_with("op", "not the password", all()).await.unwrap_err();
    let unknown = daylily.by_with("nobody", PASSWORD, all()).await.unwrap_err();
    assert_eq!((wrong.code(), format!("{wrong:?}")), (Code::LoginFailed, format!("{unknown:?}")));
    let log = daylily.log_since(size).await;
    assert_eq!(log[0].cells["subject"]["claimed"], "op");
    assert!(log[1].cells["subject"].get("claimed").is_none(), "what is no id of ours may be a password");
    let nested = Request::As { id: "op".to_owned(), password: secret(PASSWORD), request: Box::new(disable()) };
    assert_eq!(code(daylily.by("sec", nested).await), Code::RequestMalformed);
    let again = |password| Request::OperatorAdd { id: "op".to_owned(), role: "security".to_owned(), password };
    assert_eq!(code(daylily.command(again(secret(PASSWORD))).await), Code::IdentifierDuplicate);
    assert_eq!(code(daylily.command(again(secret("short"))).await), Code::FlagMalformed);
    let request = Request::As { id: "op".to_owned(), password: secret(PASSWORD), request: Box::new(all()) };
    assert!(!format!("{request:?}").contains(PASSWORD));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_back_is_destroyed_on_an_operators_word_but_not_under_a_hold() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    daylily.operator("pri", "privacy").await;
    let id = daylily.infected(&source).await;
    let first = the_hold(daylily.by("pri", hold(&id)).await);
    assert_eq!((first.by.as_str(), first.authority.as_deref()), ("operator/pri", Some("Regional court")));
    assert_eq!(code(daylily.command(purge(&id, false)).await), Code::HoldActive);
    // Its time of thirty days is over, and nothing is destroyed.
    daylily.pass(31 * 24 * HOUR).await;
    assert!(daylily.shown(&id).await.held);
    assert_eq!(code(daylily.command(purge(&id, true)).await), Code::HoldActive);
    the_hold(daylily.by("pri", unhold(&id, Some(&first.hold))).await);
    let Response::Verdict(preview) = daylily.command(purge(&id, true)).await.unwrap() else { panic!("no preview") };
    assert_eq!((preview.state.as_str(), preview.files), ("quarantined", 1));
    assert!(!daylily.shown(&id).await.held, "the preview destroyed nothing");
    let Response::Verdict(done) = daylily.command(purge(&id, false)).await.unwrap() else { panic!("no verdict") };
    assert_eq!((done.state.as_str(), done.files), ("purged", 1));
    assert_eq!(source.get(&format!("DocumentReference/{id}")).await.said(), (410, "content-purged"));
    assert_eq!(daylily.stored_rows("SELECT count(*) AS n FROM file WHERE key IS NOT NULL"), 0, "no key is left");
    assert_eq!(code(daylily.by("pri", hold(&id)).await), Code::ContentPurged, "nothing left to keep");
    daylily.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_a_hold_access_ends_and_bytes_stay_until_it_is_taken_off() {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (id, link) = daylily.ready_link(&source, &pdf(1, 900)).await;
    let one = the_hold(daylily.command(hold(&id)).await);
    let two = the_hold(daylily.command(hold(&id)).await);
    daylily.pass(72 * HOUR).await;
    daylily.wait(&source, &id, "expired").await;
    assert_eq!(daylily.get(&link).await.status, 410, "access ended in its time");
    daylily.pass(24 * HOUR).await;
    let keys = "SELECT count(*) AS n FROM file WHERE key IS NOT NULL";
    assert_eq!(daylily.stored_rows(keys), 1, "the bytes are kept");
    daylily.stop().await;
    daylily.start_again().await.unwrap();
    assert_eq!(code(daylily.command(unhold(&id, None)).await), Code::FlagMalformed, "there are two");
    the_hold(daylily.command(unhold(&id, Some(&one.hold))).await);
    daylily.pass(Duration::from_secs(1)).await;
    assert_eq!(daylily.stored_rows(keys), 1, "the other authority's hold keeps it");
    let Response::Holds { holds, .. } = daylily.command(Request::HoldList {}).await.unwrap() else { panic!("no list") };
    assert_eq!(holds, [two]);
    assert!(!the_hold(daylily.command(unhold(&id, None)).await).active);
    assert_eq!(code(daylily.command(unhold(&id, None)).await), Code::StateRefused);
    daylily.pass(Duration::from_secs(1)).await;
    assert_eq!(source.get(&format!("DocumentReference/{id}")).await.said(), (410, "content-purged"));
    assert_eq!(daylily.stored_rows(keys), 0);
    daylily.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f103_a_hold_and_a_purge_at_once_are_one_or_the_other() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    for round in 0..12 {
        let id = daylily.infected(&source).await;
        let (first, second) = (daylily.command(purge(&id, false)), daylily.command(hold(&id)));
        // Either may be polled first.
        let (purged, held) = if round % 2 == 0 {
            tokio::join!(first, second)
        } else {
            let (held, purged) = tokio::join!(second, first);
            (purged, held)
        };
        let keys = format!(
            "SELECT count(*) AS n FROM file f JOIN res r ON r.rid = f.rid WHERE r.id = '{id}' AND f.key IS NOT NULL"
        );
        match (purged, held) {
            (Ok(_), Err(told)) => {
                assert_eq!(told.code(), Code::ContentPurged);
                assert_eq!(daylily.stored_rows(&keys), 0);
            }
            (Err(told), Ok(_)) => {
                assert_eq!(told.code(), Code::HoldActive);
                assert_eq!(daylily.stored_rows(&keys), 1, "what is held is there");
            }
            both => panic!("{both:?}"),
        }
    }
    daylily.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_the_socket_a_named_person_acts_and_the_record_names_them() {
    let daylily = TestDaylily::start_with(OVERRIDE, |_| {}).await;
    let source = daylily.source().await;
    for (id, role) in [("anna", "security"), ("ben", "operator"), ("dora", "auditor")] {
        daylily.operator(id, role).await;
    }
    let socket = find(daylily.data());
    let sent = async |id: &str, password: &str, request: Request| {
        let wrapped = Request::As { id: id.to_owned(), password: secret(password), request: Box::new(request) };
        call(&socket, &wrapped).await
    };
    let refused = |outcome: Result<Response, CallError>| match outcome {
        Err(CallError::Refused(refusal)) => refusal.code(),
        other => panic!("{other:?}"),
    };
    let id = daylily.infected(&source).await;
    let first = daylily.log_size().await;
    assert_eq!(refused(sent("anna", "not that one at all", release(&id)).await), Code::LoginFailed);
    assert_eq!(refused(sent("nobody", PASSWORD, release(&id)).await), Code::LoginFailed);
    assert_eq!(refused(sent("dora", PASSWORD, release(&id)).await), Code::RoleInsufficient);
    // Nobody acts as one person in the name of another.
    let inner = Request::As { id: "anna".to_owned(), password: secret(PASSWORD), request: Box::new(release(&id)) };
    assert!(sent("ben", PASSWORD, inner).await.is_err());
    assert!(daylily.shown(&id).await.approvals.is_empty(), "none of them has agreed");
    assert_eq!(refused(sent("anna", PASSWORD, release(&id)).await), Code::SecondPersonRequired);
    let Ok(Response::Verdict(done)) = sent("ben", PASSWORD, release(&id)).await else { panic!("not released") };
    assert_eq!(done.released_by, ["anna", "ben"]);
    let log = daylily.log_since(first).await;
    let by: Vec<_> = log.iter().filter(|entry| entry.action == "document.release").collect();
    assert_eq!(by.len(), 1);
    assert_eq!(by[0].cells["actor"]["operator"], "ben");
    daylily.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_clients_token_holds_or_releases() {
    let daylily = TestDaylily::start().await;
    let source = daylily.client("source", FULL, &["all"]).await;
    let (id, _) = daylily.ready_link(&source, &pdf(1, 500)).await;
    for path in [format!("DocumentReference/{id}/$hold"), "DocumentReference/none/$release-hold".to_owned()] {
        let told = source.post(&path, &json!({ "resourceType": "Parameters" })).await;
        assert_eq!(told.said(), (403, "role-insufficient"), "{path}");
        assert!(told.text().contains("privacy"), "{}", told.text());
        let request = daylily.http.post(format!("{}/fhir/{path}", daylily.base()));
        assert_eq!(Answer::of(request).await.said(), (401, "token-missing"));
        assert_eq!(source.get(&path).await.status, 405);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_itself_asks_who_acts_and_works_without_a_server() {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut daylily = TestDaylily::start().await;
    daylily.stop().await;
    let data = daylily.data().to_owned();
    let run = |arguments: &[&str], input: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_daylily"));
        command.args(arguments).args(["--json", "--data-dir"]).arg(&data);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A command that needs no input may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code().unwrap(), answer)
    };
    let password = format!("{PASSWORD}\n");
    let add = ["operator", "add", "--id", "anna", "--role", "auditor", "--password-stdin"];
    let (exit, answer) = run(&add, &password);
    assert_eq!((exit, &answer["role"]), (0, &json!("auditor")), "{answer}");
    let (exit, answer) = run(&["quarantine", "list", "--as", "anna", "--password-stdin"], &password);
    assert_eq!((exit, answer), (0, json!({ "quarantined": [], "more": false })));
    let (exit, answer) = run(&["quarantine", "list", "--as", "anna", "--password-stdin"], "something else\n");
    assert_eq!((exit, &answer["error"]["code"]), (1, &json!("login-failed")));
    let (exit, answer) = run(&["hold", "add", "d1", "--reason", "case", "--as", "anna", "--password-stdin"], &password);
    assert_eq!((exit, &answer["error"]["code"]), (1, &json!("role-insufficient")));
    let (exit, answer) = run(&["hold", "list", "--as", "anna"], "");
    assert_eq!((exit, &answer["error"]["code"]), (2, &json!("flag-malformed")), "no terminal to ask at");
    let (exit, answer) = run(&["quarantine", "purge", "d1", "--reason", "malware"], "");
    assert_eq!((exit, &answer["error"]["code"]), (1, &json!("resource-not-found")));
    // The first line is the password, the second the value that stands for `-`.
    let two = format!("{PASSWORD}\nPatient/p1\n");
    let (exit, _) = run(&["audit", "export", "--patient", "-", "--as", "anna", "--password-stdin"], &two);
    assert_eq!(exit, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_commands_at_once_on_a_stopped_folder_wait_for_each_other() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    let mut daylily = TestDaylily::start().await;
    daylily.stop().await;
    let held = DataFolder::open(daylily.data()).unwrap().lock(&SystemEntropy).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_daylily"));
    command.args(["hold", "list", "--json", "--data-dir"]).arg(daylily.data());
    let mut second = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = String::new();
    BufReader::new(second.stderr.take().unwrap()).read_line(&mut told).unwrap();
    assert_eq!(told, format!("waiting for process {}, which holds the data folder\n", std::process::id()));
    assert!(second.try_wait().unwrap().is_none(), "it waits");
    drop(held);
    let output = second.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer, json!({ "holds": [], "more": false }));
}
