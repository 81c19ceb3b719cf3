//! The checkpointer: a thread with a connection of its own that copies the log into the file, so that no commit has to. After
//! something was destroyed it also empties the log, in which the old pages would else still stand.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use diesel::prelude::*;

use super::open::OpenError;
use super::reserve::Reserve;
use super::statement::sql;

/// Shorter gains nothing, longer lets the log grow (measured).
const PAUSE: Duration = Duration::from_millis(250);

/// Rounds after which it is tried to make the reserve again.
const RENEW: u32 = 20;

/// The thread, until it is stopped.
#[derive(Debug)]
pub(super) struct Checkpointer {
    running: Mutex<Option<(Sender<()>, JoinHandle<()>)>>,
}

impl Checkpointer {
    /// `truncate` is set by the writer when something was destroyed.
    pub(super) fn start(
        mut conn: SqliteConnection,
        truncate: Arc<AtomicBool>,
        reserve: Arc<Reserve>,
    ) -> Result<Self, OpenError> {
        let (stop, stopped) = channel();
        let work = move || {
            let mut rounds = 0_u32;
            while stopped.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
                step(&mut conn, &truncate);
                rounds = rounds.wrapping_add(1);
                if rounds.is_multiple_of(RENEW) && reserve.is_missing() {
                    reserve.renew();
                }
            }
        };
        let thread = std::thread::Builder::new().name("store-checkpoint".to_owned()).spawn(work);
        Ok(Self { running: Mutex::new(Some((stop, thread.map_err(OpenError::File)?))) })
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

fn step(conn: &mut SqliteConnection, truncate: &AtomicBool) {
    let wanted = truncate.swap(false, Ordering::AcqRel);
    let pragma = if wanted { "PRAGMA wal_checkpoint(TRUNCATE)" } else { "PRAGMA wal_checkpoint(PASSIVE)" };
    let done = match sql(pragma, []).row::<(i64, i64, i64)>(conn) {
        Ok(row) => row.is_some_and(|(busy, _, _)| busy == 0),
        Err(error) => {
            tracing::debug!(?error, "checkpoint put off");
            false
        }
    };
    // A reader was in the way; it is not made to wait, the next round tries again.
    if wanted && !done {
        truncate.store(true, Ordering::Release);
    }
}
