//! What was withdrawn leaves this machine no more, though its last byte was handed on before: real sockets, and readers that take little.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use daylily::config::Tls;
use daylily::control::{ClientChange, Request, RevocationAim};
use daylily::domain::audit::{Action, Entry, Outcome};
use daylily::domain::id::FileId;
use daylily::domain::lifecycle::{self, Actor as By, Stamp};
use daylily::domain::refusal::Code;
use daylily::domain::resource::FileFacts;
use daylily::domain::verdict::Finding;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::json;
use tokio::net::TcpSocket;

use crate::support::*;

/// What may still come after the answer: what was under way, and what the reader's own system held.
const MOST: usize = 64 * 1024;
/// A file that the system takes whole, and one of which part waits in this process.
const SIZES: [usize; 2] = [110_000, 1_000_000];
/// What a reader has read when access ends.
const READ: usize = 8 * 1024;

/// A certificate for `localhost` and its key, for these tests alone.
const CERTIFICATE: &str = include_str!("support/localhost.pem");

trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// A reader whose system takes 4 KiB at a time, behind its first bytes.
struct Slow(Box<dyn Stream>);

fn encrypted(socket: std::net::TcpStream) -> Box<dyn Stream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let session = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    Box::new(StreamOwned::new(session, socket))
}

impl Slow {
    async fn at(address: SocketAddr, link: &str, tls: bool) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let socket = socket.connect(address).await.unwrap().into_std().unwrap();
        let path = format!("/d/{}", link.rsplit('/').next().unwrap());
        let ask = move || {
            socket.set_nonblocking(false).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut stream = if tls { encrypted(socket) } else { Box::new(socket) };
            stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
            let mut first = vec![0; READ];
            stream.read_exact(&mut first).unwrap();
            assert!(first.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&first[..200]));
            Self(stream)
        };
        tokio::task::spawn_blocking(ask).await.unwrap()
    }

    async fn of(daylily: &TestDaylily, link: &str) -> Self {
        Self::at(daylily.running().address(), link, false).await
    }

    /// Reads to the end: how much still came, and whether the end was a reset.
    async fn rest(self) -> (usize, bool) {
        let Self(mut stream) = self;
        let read = move || {
            let (mut piece, mut came) = (vec![0; 4096], 0);
            loop {
                match stream.read(&mut piece) {
                    Ok(0) => return (came, false),
                    Ok(length) => came += length,
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("no end after {came} bytes"),
                    Err(_) => return (came, true),
                }
            }
        };
        tokio::task::spawn_blocking(read).await.unwrap()
    }

    async fn ends_cut(self, what: &str) {
        let (came, was_reset) = self.rest().await;
        assert!(came <= MOST && was_reset, "{what}: {came} bytes more, reset: {was_reset}");
    }
}

/// The code with which a download by link ended in the log.
async fn ended(daylily: &TestDaylily, from: u64) -> Option<String> {
    daylily
        .until("the end of the download", async || {
            let entries = daylily.log_since(from).await;
            let end = entries.into_iter().find(|entry| entry.what() == "link.redeem error")?;
            Some(end.get("code").and_then(|code| code.as_str()).map(str::to_owned))
        })
        .await
}

/// Waits until no transfer is left: what is judged in rounds takes a moment, in which a reader could read on.
async fn gone(daylily: &TestDaylily) {
    let left = || (daylily.running().delivery().running_downloads() == 0).then_some(());
    daylily.until("the end of the transfer", async || left()).await;
}

async fn facts(daylily: &TestDaylily, link: &str) -> Arc<FileFacts> {
    let file: FileId = daylily::domain::link::named_file(link.rsplit('/').next().unwrap()).unwrap();
    daylily.running().delivery().store().file(file).await.unwrap().unwrap()
}

fn revoke(aim: RevocationAim) -> Request {
    Request::LinksRevoke { aim, reason: "sent in error".to_owned(), state: false, preview: false }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_revoked_leaves_this_machine_no_more_and_others_get_theirs_whole() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    for size in SIZES {
        let (id, link) = daylily.ready_link(&source, &pdf(1, size)).await;
        let bytes = pdf(2, size);
        let (_, other) = daylily.ready_link(&source, &bytes).await;
        let from = daylily.log_size().await;
        let (reader, bystander) = (Slow::of(&daylily, &link).await, Slow::of(&daylily, &other).await);
        source.post(&format!("DocumentReference/{id}/$revoke"), &parameters(&[])).await.ok(200);
        reader.ends_cut("revoked").await;
        assert_eq!(ended(&daylily, from).await.as_deref(), Some("link-revoked"));
        // It asked to be kept, so that its end is no end of the connection.
        let mut bystander = bystander;
        let rest = tokio::task::spawn_blocking(move || {
            let mut rest = vec![0; bytes.len() - READ];
            bystander.0.read_exact(&mut rest).unwrap();
        });
        rest.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_revoked_leaves_this_machine_no_more_under_tls() {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (id, small) = daylily.ready_link(&source, &pdf(1, SIZES[0])).await;
    let (other, large) = daylily.ready_link(&source, &pdf(2, SIZES[1])).await;
    daylily.stop().await;
    let both = daylily.beside("localhost.pem");
    std::fs::write(&both, CERTIFICATE).unwrap();
    daylily.change(|settings| settings.server.tls = Some(Tls { certificate: both.clone(), key: both }));
    daylily.start_again().await.unwrap();
    for (id, link) in [(id, small), (other, large)] {
        let from = daylily.log_size().await;
        let reader = Slow::at(daylily.running().address(), &link, true).await;
        daylily.command(revoke(RevocationAim::Document(id))).await.unwrap();
        reader.ends_cut("revoked under TLS").await;
        assert_eq!(ended(&daylily, from).await.as_deref(), Some("link-revoked"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_aim_of_a_revocation_and_a_client_that_is_disabled_cut_what_was_handed_on() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let disable = Request::ClientChange { id: "source".to_owned(), change: ClientChange::Disable };
    for aim in ["link", "client", "all", "disable"] {
        let (_, link) = daylily.ready_link(&source, &pdf(1, SIZES[0])).await;
        let from = daylily.log_size().await;
        let reader = Slow::of(&daylily, &link).await;
        let request = match aim {
            "link" => revoke(RevocationAim::Link(link)),
            "client" => revoke(RevocationAim::Client("source".to_owned())),
            "all" => revoke(RevocationAim::All),
            _ => disable.clone(),
        };
        daylily.command(request).await.unwrap();
        reader.ends_cut(aim).await;
        assert_eq!(ended(&daylily, from).await.as_deref(), Some("link-revoked"), "{aim}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_back_after_its_release_is_cut_though_it_was_handed_on() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (_, link) = daylily.ready_link(&source, &pdf(1, SIZES[0])).await;
    let document = facts(&daylily, &link).await.document.clone().unwrap();
    let from = daylily.log_size().await;
    let reader = Slow::of(&daylily, &link).await;
    let stamp = Stamp { at: daylily.running().delivery().now(), actor: By::Server, due: None };
    let held = lifecycle::quarantine(document.state, Finding::Malware, stamp).unwrap();
    let entry = daylily.sealed(&Entry::new(Action::LifecycleTransition, Outcome::Ok).server()).await;
    daylily.running().delivery().store().transition(document.number, vec![held], vec![entry]).await.unwrap();
    gone(&daylily).await;
    reader.ends_cut("quarantined").await;
    assert_eq!(ended(&daylily, from).await.as_deref(), Some(Code::ContentQuarantined.name()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stands_still_is_cut_at_max_transfer_though_it_was_handed_on() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (_, link) = daylily.ready_link(&source, &pdf(1, SIZES[1])).await;
    let from = daylily.log_size().await;
    let reader = Slow::of(&daylily, &link).await;
    // The shipped policy's max-transfer is half an hour.
    daylily.clock.advance(Duration::from_secs(1801));
    gone(&daylily).await;
    reader.ends_cut("max-transfer").await;
    assert_eq!(ended(&daylily, from).await.as_deref(), Some(Code::RequestTimeout.name()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_was_given_up_gets_nothing_more() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (_, link) = daylily.ready_link(&source, &pdf(1, SIZES[0])).await;
    let from = daylily.log_size().await;
    let reader = Slow::of(&daylily, &link).await;
    // The shipped policy's grace is a minute after the last that moved: a use is given back then, so that the rest must not arrive.
    let given_up = async || {
        daylily.clock.advance(Duration::from_secs(61));
        (daylily.running().delivery().running_downloads() == 0).then_some(())
    };
    daylily.until("the end of the transfer", given_up).await;
    reader.ends_cut("given up").await;
    ended(&daylily, from).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_counted_use_that_was_cut_is_not_used_up() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let bytes = pdf(1, SIZES[0]);
    let (id, _) = daylily.ready_link(&source, &bytes).await;
    let once = parameters(&[("uses", "valuePositiveInt", json!(1))]);
    let issue = async || {
        let answer = source.post(&format!("DocumentReference/{id}/$issue-link"), &once).await.ok(200);
        text(parameter(&answer, "url"), "/valueUrl")
    };
    let link = issue().await;
    let from = daylily.log_size().await;
    let reader = Slow::of(&daylily, &link).await;
    daylily.command(revoke(RevocationAim::Link(link))).await.unwrap();
    reader.ends_cut("a counted link").await;
    assert_eq!(ended(&daylily, from).await.as_deref(), Some("link-revoked"));
    let again = issue().await;
    let answer = daylily.get(&again).await;
    assert_eq!((answer.status, answer.bytes.len()), (200, bytes.len()));
}
