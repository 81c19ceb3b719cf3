//! What the tests of this room stand on: a clock that is moved by hand, counted chance, and clients in memory.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use super::Clients;
use super::discovery::Endpoints;
use super::jwk::KeySet;
use super::key_file::KeyFile;
use super::token::{TokenKeys, Tokens};
use crate::domain::clock::{Clock, Entropy, Timestamp};
use crate::domain::id::ClientId;
use crate::domain::principal::{AttachmentUrl, ClientNumber, Reach};
use crate::store::{Client, ClientKeys, SealedEntry, StoreError};

#[derive(Debug)]
pub struct FakeClock {
    micros: AtomicU64,
    start: u64,
}

impl Default for FakeClock {
    fn default() -> Self {
        // 2026-11-23T12:00:00Z
        let start = 1_795_435_200_000_000;
        Self { micros: AtomicU64::new(start), start }
    }
}

impl FakeClock {
    pub fn advance(&self, span: Duration) {
        self.micros.fetch_add(u64::try_from(span.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for FakeClock {
    fn now_micros(&self) -> u64 {
        self.micros.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.now_micros() - self.start)
    }
}

#[derive(Debug, Default)]
pub struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let n = self.0.fetch_add(1, Ordering::SeqCst).to_be_bytes();
        bytes.iter_mut().zip(n.iter().cycle()).for_each(|(to, from)| *to = *from);
    }
}

#[derive(Debug, Default)]
pub struct FakeClients {
    pub clients: Mutex<Vec<Arc<Client>>>,
    pub spent: Mutex<HashSet<(ClientNumber, [u8; 32])>>,
    pub entries: Mutex<Vec<SealedEntry>>,
    pub fails: Mutex<Option<StoreError>>,
}

impl FakeClients {
    pub fn with(clients: impl IntoIterator<Item = Client>) -> Arc<Self> {
        let clients = clients.into_iter().map(Arc::new).collect();
        Arc::new(Self { clients: Mutex::new(clients), ..Self::default() })
    }

    pub fn change(&self, id: &str, change: impl FnOnce(&mut Client)) {
        let mut clients = self.clients.lock().unwrap();
        let slot = clients.iter_mut().find(|client| client.id.as_str() == id).unwrap();
        change(Arc::make_mut(slot));
    }
}

#[async_trait]
impl Clients for FakeClients {
    fn registered(&self, id: &ClientId) -> Option<Arc<Client>> {
        self.clients.lock().unwrap().iter().find(|client| client.id == *id).cloned()
    }

    async fn spend(
        &self,
        client: ClientNumber,
        jti: [u8; 32],
        _: Timestamp,
        entry: SealedEntry,
    ) -> Result<bool, StoreError> {
        if let Some(error) = self.fails.lock().unwrap().take() {
            return Err(error);
        }
        let fresh = self.spent.lock().unwrap().insert((client, jti));
        if fresh {
            self.entries.lock().unwrap().push(entry);
        }
        Ok(fresh)
    }

    async fn note(&self, entry: SealedEntry) -> Result<(), StoreError> {
        if let Some(error) = self.fails.lock().unwrap().take() {
            return Err(error);
        }
        self.entries.lock().unwrap().push(entry);
        Ok(())
    }
}

pub fn clock() -> Arc<FakeClock> {
    Arc::default()
}

pub fn endpoints() -> Arc<Endpoints> {
    Arc::new(Endpoints::at("https://docs.example"))
}

/// One key pair for the whole run.
pub fn signer() -> &'static KeyFile {
    static SIGNER: std::sync::OnceLock<KeyFile> = std::sync::OnceLock::new();
    SIGNER.get_or_init(|| KeyFile::generate(clock().as_ref(), &[]).unwrap())
}

pub fn tokens(clock: &Arc<FakeClock>) -> Arc<Tokens> {
    tokens_with(TokenKeys::from_pkcs8(&TokenKeys::generate().unwrap(), &[]).unwrap(), endpoints(), clock)
}

pub fn tokens_with(keys: TokenKeys, endpoints: Arc<Endpoints>, clock: &Arc<FakeClock>) -> Arc<Tokens> {
    let lifetime = Duration::from_secs(300);
    Arc::new(Tokens::new(keys, endpoints, lifetime, clock.clone(), Arc::new(Counting::default())))
}

/// A registered client with the key of [`signer`].
pub fn client(id: &str) -> Client {
    let set = KeySet::parse(signer().public_set().as_bytes()).unwrap();
    Client {
        number: ClientNumber(7),
        id: ClientId::parse(id).unwrap(),
        name: None,
        scope: "system/DocumentReference.cruds system/Binary.r".to_owned(),
        reach: Reach::default(),
        attachment_url: AttachmentUrl::Link,
        allow_ip: Vec::new(),
        keys: ClientKeys::Inline(set.to_json()),
        disabled: false,
        generation: 1,
        created: Timestamp::from_millis(0),
    }
}
