//! What is kept in memory for reading, and only renewed by the writer after its commit: clients, revocations, decisions, the
//! facts of files. No lock here is held over I/O.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::watch;

use crate::domain::epoch::Epochs;
use crate::domain::id::{ClientId, FileId};
use crate::domain::policy::Decision;
use crate::domain::principal::ClientNumber;
use crate::domain::resource::FileFacts;
use crate::store::Client;

/// Files whose facts are remembered; an entry is below a kilobyte.
const FILE_FACTS: u64 = 20_000;

/// Registered clients by both of their names.
#[derive(Debug, Default)]
pub(super) struct Clients {
    pub by_id: HashMap<ClientId, Arc<Client>>,
    pub by_number: HashMap<ClientNumber, Arc<Client>>,
}

impl Clients {
    /// From all that are registered.
    pub(super) fn new(clients: Vec<Client>) -> Self {
        let clients = clients.into_iter().map(Arc::new).collect::<Vec<_>>();
        Self {
            by_id: clients.iter().map(|client| (client.id.clone(), Arc::clone(client))).collect(),
            by_number: clients.iter().map(|client| (client.number, Arc::clone(client))).collect(),
        }
    }
}

/// A value that is replaced as a whole.
#[derive(Debug, Default)]
pub(super) struct Shared<T>(RwLock<Arc<T>>);

impl<T> Shared<T> {
    pub(super) fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes a copy and puts it in place; changes come one after the other.
    pub(super) fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> R
    where
        T: Clone,
    {
        let mut place = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut value = T::clone(&place);
        let answer = change(&mut value);
        *place = Arc::new(value);
        answer
    }

    pub(super) fn set(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
    }
}

/// Facts of files that were asked for lately.
#[derive(Debug)]
pub(super) struct Files {
    facts: moka::sync::Cache<FileId, Arc<FileFacts>>,
    /// Rises with every forgetting. What was read before the last one may be old, and is not kept.
    generation: Mutex<u64>,
}

impl Files {
    fn lock(&self) -> MutexGuard<'_, u64> {
        self.generation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, file: FileId) -> Option<Arc<FileFacts>> {
        self.facts.get(&file)
    }

    /// To be asked before the database is.
    pub(super) fn generation(&self) -> u64 {
        *self.lock()
    }

    /// Keeps what was read, unless something was forgotten since `generation`.
    pub(super) fn keep(&self, generation: u64, facts: Arc<FileFacts>) {
        let now = self.lock();
        if *now == generation {
            self.facts.insert(facts.file, facts);
        }
    }

    pub(super) fn forget(&self, files: &[FileId]) {
        let mut generation = self.lock();
        *generation += 1;
        files.iter().for_each(|file| self.facts.invalidate(file));
    }
}

/// All of it.
#[derive(Debug)]
pub(super) struct Memory {
    pub clients: Shared<Clients>,
    pub epochs: Shared<Epochs>,
    pub decisions: RwLock<HashMap<i64, Arc<Decision>>>,
    pub files: Files,
    pub changes: watch::Sender<u64>,
    pub outbox: watch::Sender<u64>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            clients: Shared::default(),
            epochs: Shared::default(),
            decisions: RwLock::default(),
            files: Files { facts: moka::sync::Cache::new(FILE_FACTS), generation: Mutex::default() },
            changes: watch::Sender::new(0),
            outbox: watch::Sender::new(0),
        }
    }
}

impl Memory {
    pub(super) fn decision(&self, number: i64) -> Option<Arc<Decision>> {
        self.decisions.read().unwrap_or_else(PoisonError::into_inner).get(&number).map(Arc::clone)
    }

    /// Few: one per rule and policy. Only committed ones come here, because only committed rows name them.
    pub(super) fn keep_decision(&self, number: i64, decision: &Arc<Decision>) {
        let mut decisions = self.decisions.write().unwrap_or_else(PoisonError::into_inner);
        decisions.insert(number, Arc::clone(decision));
    }
}
