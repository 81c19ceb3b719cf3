//! A whole server in this process: port 0, a folder of its own, a clock that stands until a test moves it, real keys and chance.
//! Everything goes over HTTP, as a client's program would do it; only registration, waiting and the log use the library.

mod actor;
mod clock;
mod documents;
pub mod fault_proxy;
pub mod links;
mod log;
mod sent;
pub mod stopped;
mod wire;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use daylily::app::{Nature, Running, Start, StartFailure};
use daylily::auth::key_file::KeyFile;
use daylily::config::{Settings, policy_text};
use daylily::control::{KeysGiven, NewClient, Request, Response, RevocationAim};
use daylily::domain::refusal::Refusal;
use daylily::vault::SystemEntropy;
use tempfile::TempDir;

pub use actor::{Actor, Answer, FHIR};
pub use clock::TestClock;
pub use documents::*;
pub use log::{LogEntry, altered, counted, held_for_writing};
pub use sent::{holds, host, raw, status};
pub use wire::{Heard, RawConnection, Talk, talk};

/// How long a condition may take to come true before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Every right that a backend can have here.
pub const FULL: &str = "system/*.cruds";

/// A server, and what is needed to start it again.
pub struct TestDaylily {
    folder: Arc<TempDir>,
    settings: Settings,
    pub clock: Arc<TestClock>,
    pub http: reqwest::Client,
    running: Option<Running>,
}

/// A client of programs: no proxy, no redirects, no connection kept.
pub fn http() -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    client.pool_max_idle_per_host(0).timeout(PATIENCE).build().unwrap()
}

impl TestDaylily {
    /// With the shipped policy.
    pub async fn start() -> Self {
        Self::start_with("", |_| {}).await
    }

    /// With rules behind the shipped `[default]`, or, where the text has a `[default]`, with that text alone.
    pub async fn start_with(policy: &str, change: impl FnOnce(&mut Settings)) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let mut settings = Settings::default_for_data_dir(&folder.path().join("data"));
        settings.server.listen = "127.0.0.1:0".parse().unwrap();
        settings.limits.refused_requests = 10_000;
        let text = if policy.contains("[default]") {
            policy.to_owned()
        } else {
            format!("{}\n{policy}", policy_text::SHIPPED)
        };
        let file = folder.path().join("policy.toml");
        std::fs::write(&file, text).unwrap();
        settings.policy.file = Some(file);
        change(&mut settings);
        let mut daylily = Self { folder, settings, clock: Arc::new(TestClock::default()), http: http(), running: None };
        daylily.start_again().await.unwrap_or_else(|failure| panic!("{failure:?}"));
        daylily
    }

    /// Starts on the same folder.
    pub async fn start_again(&mut self) -> Result<(), StartFailure> {
        assert!(self.running.is_none(), "it runs");
        let start = Start { settings: self.settings.clone(), nature: self.nature(), runtime_dir: None };
        let running = Running::start(start).await?;
        // The address stays, as a server's does: what was handed out before must still lead here.
        self.settings.server.listen = running.address();
        self.running = Some(running);
        Ok(())
    }

    /// Changes the settings of the next start.
    pub fn change(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
    }

    /// Ends in order.
    pub async fn stop(&mut self) {
        let running = self.running.take().unwrap();
        tokio::time::timeout(PATIENCE, running.stop()).await.expect("a stop in time");
    }

    pub fn nature(&self) -> Nature {
        Nature { clock: Arc::clone(&self.clock) as _, entropy: Arc::new(SystemEntropy) }
    }

    pub fn running(&self) -> &Running {
        self.running.as_ref().expect("a running server")
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn data(&self) -> &Path {
        &self.settings.data_dir
    }

    /// A folder beside the data that goes with the test.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn base(&self) -> String {
        self.running().base().as_str().to_owned()
    }

    /// A command, as the control socket would bring it.
    pub async fn command(&self, request: Request) -> Result<Response, Refusal> {
        self.running().operations().perform(1000, request).await
    }

    /// Withdraws links, as an operator would.
    pub async fn revoke(&self, aim: RevocationAim, state: bool) -> Response {
        let request = Request::LinksRevoke { aim, reason: "sent in error".to_owned(), state, preview: false };
        self.command(request).await.unwrap()
    }

    /// Registers a client with a new key.
    pub async fn client(&self, id: &str, scope: &str, reach: &[&str]) -> Actor {
        self.client_with(id, scope, reach, |_| {}).await
    }

    pub async fn client_with(
        &self,
        id: &str,
        scope: &str,
        reach: &[&str],
        change: impl FnOnce(&mut NewClient),
    ) -> Actor {
        let key = KeyFile::generate(self.clock.as_ref(), &[]).unwrap();
        let mut new = NewClient {
            id: id.to_owned(),
            name: None,
            scope: scope.to_owned(),
            keys: KeysGiven::Jwks(key.public_set()),
            reach: reach.iter().map(|reach| (*reach).to_owned()).collect(),
            allow_ip: Vec::new(),
            handles: false,
        };
        change(&mut new);
        self.command(Request::ClientAdd(new)).await.unwrap_or_else(|refusal| panic!("{refusal:?}"));
        Actor::new(id, key, scope, self)
    }

    /// A client with every right on what it delivered and receives.
    pub async fn source(&self) -> Actor {
        self.client("source", FULL, &["own"]).await
    }

    /// A request without credentials.
    pub async fn get(&self, url: &str) -> Answer {
        let url = if url.starts_with("http") { url.to_owned() } else { format!("{}{url}", self.base()) };
        Answer::of(self.http.get(url)).await
    }

    /// Moves the clock, and lets what fell due happen.
    pub async fn pass(&self, span: Duration) {
        self.clock.advance(span);
        self.running().delivery().retain_round(&|| false).await.unwrap();
    }

    /// Waits until a condition holds; asked again whenever a document's state changed, and now and then.
    pub async fn until<T>(&self, what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
        let store = self.running().delivery().store();
        let waiting = async {
            loop {
                let seen = store.state_changes();
                if let Some(value) = condition().await {
                    return value;
                }
                let _ = tokio::time::timeout(Duration::from_millis(50), store.state_changed(seen)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"))
    }

    /// Waits until a document is in a state, as `actor` sees it.
    pub async fn wait(&self, actor: &Actor, id: &str, state: &str) {
        self.until(state, async || {
            let answer = actor.get(&format!("DocumentReference/{id}/$lifecycle")).await;
            (answer.status == 200 && states(&answer.json()).last().is_some_and(|last| last == state)).then_some(())
        })
        .await;
    }
}

impl Drop for TestDaylily {
    fn drop(&mut self) {
        // A test that failed half-way leaves its server to the runtime's end.
        self.running.take();
    }
}
