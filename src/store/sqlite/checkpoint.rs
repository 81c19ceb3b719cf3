//! The checkpointer: a thread with a connection of its own that copies the log into the file, so that no commit has to, and lets the
//! log begin anew. It goes by frames, as SQLite counts them: by those not yet copied, and by those of the whole log. After something
//! was destroyed it also empties the log, in which the old pages would else still stand.
//!
//! To begin anew it takes the place of the writer for a moment, and waits for readers of older pictures: so it is tried only when
//! next to nothing is left to copy, for as long as [`super::open::checkpointer`] lets it wait, and ever more seldom while a reader stays.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use diesel::prelude::*;

use super::open::{Location, OpenError};
use super::reserve::Reserve;
use super::statement::sql;
use crate::store::{LogCopies, StoreError};

/// Shorter gains nothing, longer lets the log grow (measured).
const PAUSE: Duration = Duration::from_millis(250);

/// Rounds after which it is tried to make the reserve again.
const RENEW: u32 = 20;

/// Frames not yet copied at which they are: each copying is two syncs, which so many frames share.
const COPY_AT: i64 = 1_000;
/// Frames of the log at which it is to begin anew.
const RESET_AT: i64 = 2_048;
/// Frames that may be left to copy when it does, because writers wait meanwhile. More are left where a reader is in the way.
const LEFT_AT_RESET: i64 = 1_000;
/// Bytes of the file beyond which it is cut to nothing; below that it is written over, which spares the disk from making it longer.
const KEPT_BYTES: u64 = 32 << 20;
/// Most rounds between two tries while readers are in the way.
const MOST_ROUNDS_OFF: u32 = 8;

/// The thread, until it is stopped.
#[derive(Debug)]
pub(super) struct Checkpointer {
    running: Mutex<Option<(Sender<()>, JoinHandle<()>)>>,
    failed: Arc<Failed>,
}

impl Checkpointer {
    /// `truncate` is set by the writer when something was destroyed.
    pub(super) fn start(
        location: Location,
        conn: SqliteConnection,
        truncate: Arc<AtomicBool>,
        reserve: Arc<Reserve>,
    ) -> Result<Self, OpenError> {
        let (stop, stopped) = channel();
        let failed = Arc::new(Failed::default());
        let mut rounds = Rounds::new(location, conn, truncate, Arc::clone(&failed));
        let work = move || {
            let mut count = 0_u32;
            while stopped.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
                rounds.go();
                count = count.wrapping_add(1);
                if count.is_multiple_of(RENEW) && reserve.is_missing() {
                    reserve.renew();
                }
            }
        };
        let thread = std::thread::Builder::new().name("store-checkpoint".to_owned()).spawn(work);
        Ok(Self { running: Mutex::new(Some((stop, thread.map_err(OpenError::File)?))), failed })
    }

    /// How often a round failed: ever, and since the last that did not.
    pub(super) fn failed(&self) -> LogCopies {
        let (failed, in_a_row) = (&self.failed.ever, &self.failed.in_a_row);
        LogCopies { failed: failed.load(Ordering::Acquire), in_a_row: in_a_row.load(Ordering::Acquire) }
    }

    /// Ends it and waits for its end.
    pub(super) fn stop(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((stop, thread)) = running {
            drop(stop);
            let _ = thread.join();
        }
    }
}

/// Rounds that failed.
#[derive(Debug, Default)]
struct Failed {
    ever: AtomicU64,
    /// Since the last that did not.
    in_a_row: AtomicU64,
}

/// What SQLite answers to a checkpoint, or to the question alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frames {
    /// Whether someone was in the way.
    busy: bool,
    /// Frames of the log.
    all: i64,
    /// Those that are in the file as well.
    copied: i64,
}

impl Frames {
    fn left(self) -> i64 {
        self.all.saturating_sub(self.copied)
    }
}

/// One round after the other.
struct Rounds {
    location: Location,
    conn: SqliteConnection,
    truncate: Arc<AtomicBool>,
    failed: Arc<Failed>,
    /// As they were at the last look.
    seen: Option<Frames>,
    /// Frames of the log when it was last let begin anew: they stand there until the next commit writes over them.
    reset: Option<i64>,
    /// Rounds until the next try to let it begin anew, and how many it was put off last.
    wait: u32,
    put_off: u32,
}

impl Rounds {
    fn new(location: Location, conn: SqliteConnection, truncate: Arc<AtomicBool>, failed: Arc<Failed>) -> Self {
        let (seen, reset, wait, put_off) = (None, None, 0, 0);
        Self { location, conn, truncate, failed, seen, reset, wait, put_off }
    }

    /// A round, whatever becomes of it: the thread goes on.
    fn go(&mut self) {
        let panicked = || StoreError::Unavailable("a round of the checkpointer panicked".into());
        match catch_unwind(AssertUnwindSafe(|| self.round())).unwrap_or_else(|_| Err(panicked())) {
            // Another process checkpoints, or holds the database: the next round tries again.
            Err(StoreError::Busy) => {}
            Ok(()) => {
                if self.failed.in_a_row.swap(0, Ordering::AcqRel) > 0 {
                    tracing::warn!("the write-ahead log is copied into the database again");
                }
            }
            Err(error) => {
                self.failed.ever.fetch_add(1, Ordering::AcqRel);
                if self.failed.in_a_row.fetch_add(1, Ordering::AcqRel) == 0 {
                    tracing::warn!(?error, "the write-ahead log cannot be copied into the database, and grows");
                }
            }
        }
    }

    fn round(&mut self) -> Result<(), StoreError> {
        let Some(mut frames) = self.ask("PRAGMA wal_checkpoint(NOOP)")? else { return Ok(()) };
        let is_quiet = self.seen == Some(frames);
        self.seen = Some(frames);
        let destroyed = self.truncate.load(Ordering::Acquire);
        if frames.left() >= COPY_AT || (frames.left() > 0 && (is_quiet || destroyed)) {
            frames = self.ask("PRAGMA wal_checkpoint(PASSIVE)")?.unwrap_or(frames);
        }
        let is_long = self.location.log_bytes() > KEPT_BYTES;
        let is_due = (frames.all >= RESET_AT && self.reset != Some(frames.all)) || is_long || destroyed;
        self.wait = self.wait.saturating_sub(1);
        if is_due && self.wait == 0 {
            self.begin_anew(frames, is_long)?;
        }
        Ok(())
    }

    fn begin_anew(&mut self, frames: Frames, is_long: bool) -> Result<(), StoreError> {
        let done = if frames.left() > LEFT_AT_RESET {
            None
        } else {
            // Before it: what is destroyed from now on wants another.
            let destroyed = self.truncate.swap(false, Ordering::AcqRel);
            let empties = destroyed || is_long;
            let pragma = if empties { "PRAGMA wal_checkpoint(TRUNCATE)" } else { "PRAGMA wal_checkpoint(RESTART)" };
            let answer = self.ask(pragma);
            let done = answer.as_ref().ok().copied().flatten().filter(|frames| !frames.busy);
            if destroyed && done.is_none() {
                self.truncate.store(true, Ordering::Release);
            }
            answer?;
            done
        };
        match done {
            Some(frames) => (self.reset, self.wait, self.put_off) = (Some(frames.all), 0, 0),
            // A reader is in the way; neither it nor the writers are made to wait for long.
            None => {
                self.put_off = self.put_off.saturating_mul(2).clamp(1, MOST_ROUNDS_OFF);
                self.wait = self.put_off;
            }
        }
        Ok(())
    }

    /// `None`: there is no log to be counted.
    fn ask(&mut self, pragma: &'static str) -> Result<Option<Frames>, StoreError> {
        let row = sql(pragma, []).row::<(i64, i64, i64)>(&mut self.conn)?;
        Ok(row.filter(|(_, all, _)| *all >= 0).map(|(busy, all, copied)| Frames { busy: busy != 0, all, copied }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_cannot_be_copied_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("daylily.db");
        std::fs::write(&path, [7; 8_192]).unwrap();
        let location = Location::prepare(&path).unwrap();
        let conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
        let failed = Arc::new(Failed::default());
        let mut rounds = Rounds::new(location, conn, Arc::default(), Arc::clone(&failed));
        rounds.go();
        rounds.go();
        let counts = |failed: &Failed| [&failed.ever, &failed.in_a_row].map(|count| count.load(Ordering::Acquire));
        assert_eq!(counts(&failed), [2, 2]);
        rounds.conn = SqliteConnection::establish(":memory:").unwrap();
        rounds.go();
        assert_eq!(counts(&failed), [2, 0]);
    }
}
