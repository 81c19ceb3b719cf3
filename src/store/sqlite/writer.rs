//! The one writer: a thread with the one connection that writes, fed by a bounded queue. It takes what waits (at most
//! [`BATCH`]), runs it in one transaction, writes the audit log's frontier once, commits, renews what is kept in memory, and
//! then answers. Gathering needs no pause: what arrives during a commit is the next batch.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use diesel::prelude::*;
use tokio::sync::oneshot;

use super::endings::{self, Outlet};
use super::log::Log;
use super::memory::Memory;
use super::open::{Location, OpenError, writer};
use super::reserve::Reserve;
use super::statement::{is_disk_failure, sql};
use super::tx::{Effects, Tx};
use crate::domain::clock::{Clock, Timestamp};
use crate::failpoint::{self, Point};
use crate::store::StoreError;

/// Most jobs of one transaction.
const BATCH: usize = 256;
/// How long a batch that failed shows: whatever writes by itself writes again within that time.
const FAILED_SHOWS: Duration = Duration::from_secs(5);

/// A piece of work and whoever waits for it.
trait Job: Send {
    /// Runs it inside the batch, in a savepoint. An error here means that the transaction is lost, with all of the batch.
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError>;
    /// Answers, after the commit or instead of it.
    fn answer(self: Box<Self>, failure: Option<&Failure>);
}

enum Message {
    /// A job, and since when it waits.
    Work(Box<dyn Job>, Duration),
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
    /// Whether it is left out when nobody waits for it any more.
    may_lapse: bool,
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
        if self.reply.is_closed() && self.may_lapse {
            return Ok(());
        }
        self.result = Some(tx.attempt(run)?);
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

/// What the writer shows of itself, without a lock and without the database.
#[derive(Debug, Default)]
struct Pulse {
    /// It takes nothing more: nobody knows what a commit left on the disk.
    broken: AtomicBool,
    /// Its thread has ended.
    gone: AtomicBool,
    /// Since when the oldest job of the running batch waits; 0: none runs.
    oldest: AtomicU64,
    /// When a batch failed last; 0: the last one did not.
    failed: AtomicU64,
}

impl Pulse {
    /// A moment as it is kept, never 0.
    fn stamp(moment: Duration) -> u64 {
        u64::try_from(moment.as_micros()).unwrap_or(u64::MAX - 1).saturating_add(1)
    }

    fn age(kept: &AtomicU64, now: Duration) -> Option<Duration> {
        let kept = kept.load(Ordering::Acquire);
        (kept > 0).then(|| Duration::from_micros(Self::stamp(now).saturating_sub(kept)))
    }
}

/// The queue's near end.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Mutex<Option<SyncSender<Message>>>,
    clock: Arc<dyn Clock>,
    pulse: Arc<Pulse>,
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
        let (pulse, clock) = (Arc::new(Pulse::default()), Arc::clone(&start.clock));
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
            pulse: Arc::clone(&pulse),
            outlet: start.outlet,
            committing: None,
        };
        let thread =
            std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || serve_or_abort(state, &receiver));
        let thread = Mutex::new(Some(thread.map_err(OpenError::File)?));
        Ok(Self { queue: Mutex::new(Some(sender)), clock, pulse, thread })
    }

    /// Whether nothing more is written by this process: a commit failed so that nobody knows what is on the disk, or the thread
    /// has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.is_broken() || self.pulse.gone.load(Ordering::Acquire)
    }

    /// How long the oldest job that the writer has in hand waits; what waits behind it is younger.
    pub(super) fn oldest(&self) -> Option<Duration> {
        Pulse::age(&self.pulse.oldest, self.clock.monotonic())
    }

    /// Whether the last batch failed as a whole, a moment ago.
    pub(super) fn is_failing(&self) -> bool {
        Pulse::age(&self.pulse.failed, self.clock.monotonic()).is_some_and(|age| age <= FAILED_SHOWS)
    }

    fn is_broken(&self) -> bool {
        self.pulse.broken.load(Ordering::Acquire)
    }

    /// Runs a job, unless whoever asked has gone before it is begun.
    pub(super) async fn run<T, F>(&self, run: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.submit(run, true).await
    }

    /// Runs a job whether anyone still waits for it or not.
    pub(super) async fn run_plain<T, F>(&self, run: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.submit(run, false).await
    }

    async fn submit<T, F>(&self, run: F, may_lapse: bool) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.send(Box::new(Work { run: Some(run), may_lapse, result: None, reply }))?;
        answer.await.unwrap_or_else(|_| Err(StoreError::Unknown("the writer has ended".into())))
    }

    fn send(&self, job: Box<dyn Job>) -> Result<(), StoreError> {
        if self.is_broken() {
            return Err(StoreError::Unavailable("an earlier commit failed; restart needed".into()));
        }
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let since = self.clock.monotonic();
        match queue.as_ref().map(|queue| queue.try_send(Message::Work(job, since))) {
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
    pulse: Arc<Pulse>,
    outlet: Outlet,
    /// What the running commit brings; from the commit until its outcome is known.
    committing: Option<Committing>,
}

/// What holds once a commit is done.
struct Committing {
    log: Log,
    last_updated: Timestamp,
    effects: Effects,
    /// Endings that are forgotten with it.
    forgotten: endings::Done,
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
            let (mut jobs, mut oldest, mut stop) = (Vec::new(), None, false);
            for message in std::iter::once(first).chain(queue.try_iter().take(BATCH - 1)) {
                match message {
                    Message::Work(job, since) => {
                        oldest = oldest.or(Some(since));
                        jobs.push(job);
                    }
                    Message::Stop => stop = true,
                }
            }
            if let Some(oldest) = oldest {
                self.pulse.oldest.store(Pulse::stamp(oldest), Ordering::Release);
                self.batch(jobs);
                self.pulse.oldest.store(0, Ordering::Release);
            }
            if stop {
                break;
            }
        }
        self.pulse.gone.store(true, Ordering::Release);
        // Nobody is served any more; until here checkpoints are another thread's.
        if let Err(error) = sql("PRAGMA wal_checkpoint(TRUNCATE)", []).rows::<(i64, i64, i64)>(&mut self.conn) {
            tracing::warn!(?error, "the write-ahead log could not be emptied at the end; the next start reads it");
        }
    }

    fn batch(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        let done = catch_unwind(AssertUnwindSafe(|| self.transact(&mut jobs)));
        let done = done.unwrap_or_else(|_| Err(StoreError::Unavailable("panicked".into())));
        let failure = done.and_then(|()| self.take_over()).or_else(|error| self.recover(&error)).err();
        let failed = if failure.is_some() { Pulse::stamp(self.clock.monotonic()) } else { 0 };
        self.pulse.failed.store(failed, Ordering::Release);
        jobs.into_iter().for_each(|job| job.answer(failure.as_ref()));
    }

    /// All jobs in one transaction, each in a savepoint of its own: what fails by itself leaves the others alone.
    fn transact(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
        self.committing = None;
        if self.pulse.broken.load(Ordering::Acquire) {
            return Err(StoreError::Unavailable("an earlier commit failed".into()));
        }
        sql("BEGIN IMMEDIATE", []).run(&mut self.conn)?;
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
        let forgotten = self.outlet.forget(tx.conn)?;
        jobs.iter_mut().try_for_each(|job| job.run(&mut tx))?;
        if tx.log.size() != size {
            tx.log.save(tx.conn)?;
        }
        let (log, last_updated, effects) = (tx.log, tx.last_updated, tx.effects);
        failpoint::or_fail(Point::CommitBegun).map_err(|error| StoreError::Unavailable(error.into()))?;
        self.committing = Some(Committing { log, last_updated, effects, forgotten });
        sql("COMMIT", []).run(&mut self.conn)?;
        failpoint::or_fail(Point::CommitDone).map_err(|error| StoreError::Unavailable(error.into()))
    }

    /// Makes what is committed count: here, in memory, and in the ledger. Before any waiter is answered.
    fn take_over(&mut self) -> Result<(), StoreError> {
        let Some(done) = self.committing.take() else { return Ok(()) };
        (self.log, self.last_updated) = (done.log, done.last_updated);
        self.outlet.forgot(done.forgotten);
        if done.effects.full {
            self.reserve.give_up();
        }
        done.effects.apply(&self.memory, &self.truncate);
        self.outlet.hand_over(&mut self.conn, self.clock.as_ref());
        Ok(())
    }

    /// Leaves the failed transaction, and goes on where it is known what it left: `Ok`, where all of it is there after all.
    ///
    /// A disk that fails a commit may have dropped what it was given before, and says so once (a failed sync marks its pages
    /// clean): then nothing that is read back proves anything, and the process ends, so that its successor reads the disk itself.
    /// A disk without room fails in a write, before the frame that makes a commit: that one is undone.
    fn recover(&mut self, error: &StoreError) -> Result<(), Failure> {
        tracing::error!(?error, "a batch of writes failed");
        if matches!(error, StoreError::Full) {
            self.reserve.give_up();
        }
        let is_open = sql("ROLLBACK", []).run(&mut self.conn).is_ok();
        if self.committing.is_some() && is_disk_failure(error) {
            return Err(self.end(error));
        }
        if is_open {
            // It was never committed.
            self.committing = None;
            return Err(Failure::of(error, false));
        }
        match writer(&self.location) {
            Ok(conn) => self.conn = conn,
            Err(cause) => {
                tracing::error!(%cause, "the database cannot be opened again");
                return Err(self.end(error));
            }
        }
        if self.committing.is_none() || matches!(error, StoreError::Full) {
            self.committing = None;
            return Err(Failure::of(error, false));
        }
        match self.is_committed() {
            Some(true) => self.take_over().map_err(|error| Failure::of(&error, true)),
            Some(false) => Err(Failure::of(error, false)),
            None => Err(self.end(error)),
        }
    }

    /// Whether the commit in question is there, by the log as a new connection reads it; `None`: that does not say.
    fn is_committed(&mut self) -> Option<bool> {
        let found = Log::load(&mut self.conn).ok()?;
        let hoped = &self.committing.as_ref()?.log;
        let (is_new, is_old) = (found.is(hoped), found.is(&self.log));
        // A batch without an entry leaves nothing to tell it by.
        (is_new != is_old).then_some(is_new)
    }

    /// Nothing more is written by this process.
    fn end(&self, error: &StoreError) -> Failure {
        self.pulse.broken.store(true, Ordering::Release);
        tracing::error!("nothing more is written: the process is to end, and a new one reads what is on the disk");
        Failure::of(error, self.committing.is_some())
    }
}
