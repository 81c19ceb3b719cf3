//! Both ends against each other over a real socket.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::domain::refusal::{Code, Issue};

#[derive(Debug)]
struct Answering;

#[async_trait]
impl Operations for Answering {
    async fn perform(&self, uid: u32, request: Request) -> Result<Response, Refusal> {
        match request {
            Request::Status {} => Ok(Response::Status(StatusView {
                version: "0".to_owned(),
                base: "http://localhost".to_owned(),
                listen: "127.0.0.1:1".to_owned(),
                pid: uid,
                writing: None,
                endings_left: 0,
                log_not_copied: false,
            })),
            Request::PolicyApply { .. } => Err(Refusal::of_all(vec![
                Issue::new(Code::PolicyMistake).fill("file", "p").fill("what", "wrong").fill("cure", "mend"),
                Issue::new(Code::PolicyMistake).fill("file", "p").fill("what", "also").fill("cure", "mend"),
            ])
            .unwrap()),
            _ => Err(Refusal::of(Code::ResourceNotFound)),
        }
    }
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn started(folder: &std::path::Path) -> (Listener, std::path::PathBuf) {
    let place = Place::choose(folder, None, folder).unwrap();
    let socket = place.socket.clone();
    (
        Listener::start(folder, place, (own_uid(), Arc::new(Answering)), |_, accept| tokio::spawn(accept())).unwrap(),
        socket,
    )
}

#[tokio::test]
async fn a_command_is_answered_and_the_socket_is_gone_afterwards() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (listener, socket) = started(folder.path());
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(find(folder.path()), socket);
    match call(&socket, &Request::Status {}).await {
        Ok(Response::Status(status)) => assert_eq!(status.pid, own_uid()),
        other => panic!("{other:?}"),
    }
    let request = Request::PolicyApply { text: "x".repeat(300_000), file: "p".to_owned(), reason: "r".to_owned() };
    match call(&socket, &request).await {
        Err(CallError::Refused(refusal)) => {
            assert_eq!((refusal.code(), refusal.issues().count()), (Code::PolicyMistake, 2));
            assert!(refusal.first().message().contains("wrong"));
        }
        other => panic!("{other:?}"),
    }
    listener.stop().await;
    assert!(!socket.exists());
    assert!(matches!(call(&socket, &Request::Status {}).await, Err(CallError::NotListening)));
}

#[tokio::test]
async fn a_line_that_is_no_request_is_refused_and_the_next_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let (listener, socket) = started(folder.path());
    for line in ["{\"command\":\"format-disk\"}\n", "nonsense\n", "{\"command\":\"status\",\"extra\":1}\n"] {
        let mut stream = tokio::net::UnixStream::connect(&socket).await.unwrap();
        stream.write_all(line.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("request-malformed") && !answer.contains("nonsense"), "{line}: {answer}");
    }
    assert!(call(&socket, &Request::Status {}).await.is_ok());
    listener.stop().await;
}

#[tokio::test]
async fn a_socket_that_a_crash_left_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (listener, socket) = started(folder.path());
    listener.task.abort();
    assert!(socket.exists());
    let (again, socket) = started(folder.path());
    assert!(call(&socket, &Request::Status {}).await.is_ok());
    again.stop().await;
}

#[test]
fn a_folder_with_a_long_name_has_its_socket_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let long = folder.path().join("a".repeat(120));
    std::fs::create_dir(&long).unwrap();
    let place = Place::choose(&long, Some(folder.path()), folder.path()).unwrap();
    assert!(place.socket.starts_with(folder.path()) && place.socket.as_os_str().len() <= 107);
    place.prepare(&long).unwrap();
    assert_eq!(find(&long), place.socket);
    forget(&place);
    assert_eq!(find(&long), long.join(SOCKET_NAME));
    assert!(Place::choose(&long, Some(&long), folder.path()).is_err());
}

#[test]
fn only_the_owner_and_root_may_command() {
    assert!(Peer(1000).may_command(1000) && Peer(0).may_command(1000));
    assert!(!Peer(1001).may_command(1000) && !Peer(1001).may_command(0));
}

#[test]
fn requests_read_back_as_they_were() {
    let requests = [
        Request::Status {},
        Request::ClientList {},
        Request::ClientChange {
            id: "a".to_owned(),
            change: ClientChange::Rotate(KeysGiven::JwksUri("https://a".to_owned())),
        },
        Request::LinksRevoke { aim: RevocationAim::All, reason: "r".to_owned(), state: false, preview: true },
        Request::AuditExport { patient: Some("Patient/1".to_owned()), from: None, to: None },
    ];
    for request in requests {
        let text = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), request, "{text}");
    }
}

#[test]
fn answers_read_back_as_they_were() {
    let client = ClientView {
        id: "lab".to_owned(),
        name: None,
        kind: "backend".to_owned(),
        scope: "system/DocumentReference.rs".to_owned(),
        reach: vec!["own".to_owned()],
        keys: vec![],
        attachment_url: "link".to_owned(),
        allow_ip: vec![],
        disabled: false,
        created: "2026-11-23T00:00:00Z".to_owned(),
        token_endpoint: "http://localhost:8080/auth/token".to_owned(),
        warning: None,
    };
    // A client has a kind of its own: the name of an answer must not be mistaken for it.
    for response in
        [Response::Client(client.clone()), Response::Clients { clients: vec![client] }, Response::Export { size: 3 }]
    {
        let line = serde_json::to_string(&Reply::of(Ok(response.clone()))).unwrap();
        let read: Reply = serde_json::from_str(&line).unwrap();
        assert_eq!(read.into_result(), Ok(response), "{line}");
    }
}
