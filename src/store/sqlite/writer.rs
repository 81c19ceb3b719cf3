//! The one writer: a thread with the one connection that writes, fed by a bounded queue. It takes what waits (at most
//! [`BATCH`]), runs it in one transaction, writes the audit log's frontier once, commits, renews what is kept in memory, and
//! then answers. Gathering needs no pause: what arrives during a commit is the next batch.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use diesel::prelude::*;
use tokio::sync::oneshot;

use super::endings::Outlet;
use super::log::Log;
use super::memory::Memory;
use super::open::{Location, OpenError, writer};
use super::reserve::Reserve;
use super::statement::sql;
use super::tx::{Effects, Tx};
use crate::domain::clock::{Clock, Timestamp};
use crate::failpoint::{self, Point};
use crate::store::StoreError;

/// Most jobs of one transaction.
const BATCH: usize = 256;
/// The log's size at which the writer itself empties it: a passive checkpoint never resets the log under steady writing.
const LOG_LIMIT: u64 = 256 << 20;

/// A piece of work and whoever waits for it.
trait Job: Send {
    /// Runs it inside the batch. An error here gives up the whole batch.
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError>;
    /// Answers, after the commit or instead of it.
    fn answer(self: Box<Self>, failure: Option<&Failure>);
}

enum Message {
    Work(Box<dyn Job>),
    Stop,
}

/// Why nothing of a batch was committed, or nobody knows.
#[derive(Debug, Clone)]
enum Failure {
    Full,
    Busy,
    Unavailable(Arc<str>),
    Unknown(Arc<str>),
}

impl Failure {
    fn of(error: &StoreError, in_commit: bool) -> Self {
        let cause = || Arc::from(format!("{error:?}"));
        match error {
            StoreError::Full => Self::Full,
            StoreError::Busy => Self::Busy,
            _ if in_commit => Self::Unknown(cause()),
            _ => Self::Unavailable(cause()),
        }
    }

    fn error(&self) -> StoreError {
        match self {
            Self::Full => StoreError::Full,
            Self::Busy => StoreError::Busy,
            Self::Unavailable(cause) => StoreError::Unavailable(cause.to_string().into()),
            Self::Unknown(cause) => StoreError::Unknown(cause.to_string().into()),
        }
    }
}

struct Work<T, F> {
    run: Option<F>,
    /// Whether it can fail by itself, and so needs a savepoint.
    may_fail: bool,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Work<T, F>
where
    T: Send,
    F: FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let Some(run) = self.run.take() else { return Ok(()) };
        // Nobody waits any more: what was not begun is not done.
        if self.reply.is_closed() && self.may_fail {
            return Ok(());
        }
        let result = if self.may_fail { tx.attempt(run)? } else { Ok(run(tx)?) };
        self.result = Some(result);
        Ok(())
    }

    fn answer(self: Box<Self>, failure: Option<&Failure>) {
        let result = match (failure, self.result) {
            (None, Some(result)) => result,
            // An own refusal stands whatever became of the others.
            (Some(_), Some(Err(own))) => Err(own),
            (Some(failure), _) => Err(failure.error()),
            (None, None) => Err(StoreError::Busy),
        };
        // Whoever asked may have gone away.
        let _ = self.reply.send(result);
    }
}

/// The queue's near end.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Mutex<Option<SyncSender<Message>>>,
    broken: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the writer's thread needs.
pub(super) struct Start {
    pub location: Location,
    pub conn: SqliteConnection,
    pub log: Log,
    pub last_updated: Timestamp,
    pub clock: Arc<dyn Clock>,
    pub tenant: String,
    pub memory: Arc<Memory>,
    pub truncate: Arc<AtomicBool>,
    pub reserve: Arc<Reserve>,
    pub queue: usize,
    pub outlet: Outlet,
}

impl Writer {
    pub(super) fn start(start: Start) -> Result<Self, OpenError> {
        let (sender, receiver) = sync_channel(start.queue.max(1));
        let broken = Arc::new(AtomicBool::new(false));
        let state = State {
            location: start.location,
            conn: start.conn,
            log: start.log,
            last_updated: start.last_updated,
            clock: start.clock,
            tenant: start.tenant,
            memory: start.memory,
            truncate: start.truncate,
            reserve: start.reserve,
            broken: Arc::clone(&broken),
            outlet: start.outlet,
            in_commit: false,
        };
        let thread =
            std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || serve_or_abort(state, &receiver));
        let thread = Mutex::new(Some(thread.map_err(OpenError::File)?));
        Ok(Self { queue: Mutex::new(Some(sender)), broken, thread })
    }

    /// Whether a commit failed in a way after which nothing more is written.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// Runs a job that may fail by itself, in a savepoint of its own.
    pub(super) async fn run<T, F>(&self, run: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.submit(run, true).await
    }

    /// Runs a job that only fails when the database does.
    pub(super) async fn run_plain<T, F>(&self, run: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.submit(run, false).await
    }

    async fn submit<T, F>(&self, run: F, may_fail: bool) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.send(Box::new(Work { run: Some(run), may_fail, result: None, reply }))?;
        answer.await.unwrap_or_else(|_| Err(StoreError::Unknown("the writer has ended".into())))
    }

    fn send(&self, job: Box<dyn Job>) -> Result<(), StoreError> {
        if self.is_broken() {
            return Err(StoreError::Unavailable("an earlier commit failed; restart needed".into()));
        }
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        match queue.as_ref().map(|queue| queue.try_send(Message::Work(job))) {
            Some(Ok(())) => Ok(()),
            Some(Err(TrySendError::Full(_))) | None => Err(StoreError::Busy),
            Some(Err(TrySendError::Disconnected(_))) => Err(StoreError::Unavailable("the writer has ended".into())),
        }
    }

    /// Takes nothing more, writes what waits, and ends. Blocks until then.
    pub(super) fn stop(&self) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(queue) = queue {
            // Fails only when the thread has ended already.
            let _ = queue.send(Message::Stop);
        }
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

struct State {
    location: Location,
    conn: SqliteConnection,
    log: Log,
    last_updated: Timestamp,
    clock: Arc<dyn Clock>,
    tenant: String,
    memory: Arc<Memory>,
    truncate: Arc<AtomicBool>,
    reserve: Arc<Reserve>,
    broken: Arc<AtomicBool>,
    outlet: Outlet,
    /// From the commit until its effects are known.
    in_commit: bool,
}

/// What is kept in memory of committed rows decides who may read. When the thread that keeps it dies, it cannot be trusted any
/// more, and neither can be said which writes stand: the process ends, as by a kill, and a new one reads what is there.
fn serve_or_abort(state: State, queue: &Receiver<Message>) {
    if catch_unwind(AssertUnwindSafe(|| state.serve(queue))).is_err() {
        tracing::error!("the writer panicked: the process ends, to be started anew");
        std::process::abort();
    }
}

impl State {
    fn serve(mut self, queue: &Receiver<Message>) {
        while let Ok(first) = queue.recv() {
            let mut jobs = Vec::new();
            let mut stop = false;
            for message in std::iter::once(first).chain(queue.try_iter().take(BATCH - 1)) {
                match message {
                    Message::Work(job) => jobs.push(job),
                    Message::Stop => stop = true,
                }
            }
            if !jobs.is_empty() {
                self.batch(jobs);
            }
            if stop {
                break;
            }
            if self.location.log_bytes() > LOG_LIMIT {
                self.checkpoint("PRAGMA wal_checkpoint(RESTART)");
            }
        }
        self.checkpoint("PRAGMA wal_checkpoint(TRUNCATE)");
    }

    fn batch(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        // Nothing outlives a transaction that is given up, so a job that panics is a batch that failed; in the commit nobody knows.
        let done = catch_unwind(AssertUnwindSafe(|| self.transact(&mut jobs)));
        let failure = match done.unwrap_or_else(|_| Err(self.panicked())) {
            Ok(effects) => {
                effects.apply(&self.memory, &self.truncate);
                self.outlet.hand_over(&mut self.conn, self.clock.as_ref());
                None
            }
            Err(failure) => {
                self.recover(&failure);
                Some(failure)
            }
        };
        jobs.into_iter().for_each(|job| job.answer(failure.as_ref()));
    }

    /// All jobs in one transaction. Afterwards `log` and `last_updated` are those of the committed rows.
    fn transact(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<Effects, Failure> {
        if self.broken.load(Ordering::Acquire) {
            return Err(Failure::Unavailable("an earlier commit failed".into()));
        }
        self.in_commit = false;
        sql("BEGIN IMMEDIATE", []).run(&mut self.conn).map_err(|error| Failure::of(&error, false))?;
        let mut tx = Tx {
            conn: &mut self.conn,
            log: self.log.clone(),
            last_updated: self.last_updated,
            clock: self.clock.as_ref(),
            tenant: &self.tenant,
            memory: &self.memory,
            effects: Effects::default(),
        };
        let size = tx.log.size();
        let forgotten = self.outlet.forget(tx.conn).map_err(|error| Failure::of(&error, false))?;
        let mut run = jobs.iter_mut().try_for_each(|job| job.run(&mut tx));
        if run.is_ok() && tx.log.size() != size {
            run = tx.log.save(tx.conn);
        }
        let (log, last_updated, effects) = (tx.log, tx.last_updated, tx.effects);
        if let Err(error) = run {
            return Err(Failure::of(&error, false));
        }
        failpoint::or_fail(Point::CommitBegun).map_err(|error| Failure::Unavailable(error.to_string().into()))?;
        self.in_commit = true;
        sql("COMMIT", []).run(&mut self.conn).map_err(|error| Failure::of(&error, true))?;
        failpoint::or_fail(Point::CommitDone).map_err(|error| Failure::Unknown(error.to_string().into()))?;
        self.in_commit = false;
        (self.log, self.last_updated) = (log, last_updated);
        self.outlet.forgot(forgotten);
        Ok(effects)
    }

    fn panicked(&self) -> Failure {
        if self.in_commit { Failure::Unknown("panicked".into()) } else { Failure::Unavailable("panicked".into()) }
    }

    /// Leaves the failed transaction. After a commit without an answer the connection cannot be trusted, and neither can what
    /// the disk says of earlier writes: nothing more is written until a restart has read what is there.
    fn recover(&mut self, failure: &Failure) {
        tracing::error!(?failure, "a batch of writes failed");
        if matches!(failure, Failure::Full) {
            self.reserve.give_up();
        }
        let rolled_back = sql("ROLLBACK", []).run(&mut self.conn).is_ok();
        if let Failure::Unknown(_) = failure {
            self.broken.store(true, Ordering::Release);
        }
        if !rolled_back || matches!(failure, Failure::Unknown(_)) {
            match writer(&self.location) {
                Ok(conn) => self.conn = conn,
                Err(error) => {
                    tracing::error!(%error, "the database cannot be opened again");
                    self.broken.store(true, Ordering::Release);
                }
            }
        }
    }

    fn checkpoint(&mut self, pragma: &'static str) {
        if let Err(error) = sql(pragma, []).rows::<(i64, i64, i64)>(&mut self.conn) {
            tracing::warn!(?error, "checkpoint failed");
        }
    }
}
