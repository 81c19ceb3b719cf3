//! Rows committed in groups: a thread that writes, and others that wait for it, as the server does it but without a server.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use serde_json::{Value, json};

use crate::{Failure, each_line, now, percentile};

/// The server's own: `src/store/sqlite/open.rs`.
const PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
    PRAGMA wal_autocheckpoint = 0; PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -65536;";
/// The most rows of a group, and how often a checkpoint is made: the server's own.
const GROUP_MOST: usize = 256;
const CHECKPOINT_EVERY: Duration = Duration::from_millis(250);

diesel::table! {
    entry (number) {
        number -> BigInt,
        body -> Binary,
    }
}

/// A row to be committed, and whom to tell.
type Job = (Arc<Vec<u8>>, Sender<()>);

/// Answers commands about one database in `folder`.
pub(crate) fn serve(folder: &str) -> Result<(), Failure> {
    let path = Path::new(folder).join("bare.db").to_string_lossy().into_owned();
    let mut connection = SqliteConnection::establish(&path)?;
    connection.batch_execute(PRAGMAS)?;
    connection.batch_execute("CREATE TABLE IF NOT EXISTS entry (number INTEGER PRIMARY KEY, body BLOB NOT NULL)")?;
    let stop = Arc::new(AtomicBool::new(false));
    let checkpoints = std::thread::spawn({
        let (stop, path) = (Arc::clone(&stop), path.clone());
        move || checkpoint(&path, &stop)
    });
    each_line(|words| match words {
        ["run", clients, milliseconds, bytes] => {
            run(&mut connection, clients.parse()?, Duration::from_millis(milliseconds.parse()?), bytes.parse()?)
        }
        ["probe", times, bytes] => probe(&mut connection, times.parse()?, bytes.parse()?),
        _ => Err("run CLIENTS MILLISECONDS BYTES | probe TIMES BYTES".into()),
    })?;
    stop.store(true, Ordering::Relaxed);
    checkpoints.join().map_err(|_| "the checkpoints' thread failed")?
}

fn checkpoint(path: &str, stop: &AtomicBool) -> Result<(), Failure> {
    let mut connection = SqliteConnection::establish(path)?;
    connection.batch_execute("PRAGMA busy_timeout = 5000; PRAGMA synchronous = FULL;")?;
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(CHECKPOINT_EVERY);
        connection.batch_execute("PRAGMA wal_checkpoint(PASSIVE)")?;
    }
    Ok(())
}

fn insert(connection: &mut SqliteConnection, body: &[u8]) -> QueryResult<usize> {
    diesel::insert_into(entry::table).values(entry::body.eq(body)).execute(connection)
}

/// Nothing that compresses or repeats; the same each time.
fn row(bytes: usize) -> Arc<Vec<u8>> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    Arc::new((0..bytes).map(|_| next()).collect())
}

/// Clients that each wait for their row before they give the next one.
fn run(connection: &mut SqliteConnection, clients: usize, time: Duration, bytes: usize) -> Result<Value, Failure> {
    let (jobs, waiting) = channel::<Job>();
    let (body, begin) = (row(bytes), now());
    let threads: Vec<_> = (0..clients)
        .map(|_| {
            let (jobs, body) = (jobs.clone(), Arc::clone(&body));
            std::thread::spawn(move || {
                let (mut took, (done, told)) = (Vec::new(), channel());
                while begin.elapsed() < time {
                    let at = now();
                    if jobs.send((Arc::clone(&body), done.clone())).is_err() || told.recv().is_err() {
                        break;
                    }
                    took.push(micros(at.elapsed()));
                }
                took
            })
        })
        .collect();
    drop(jobs);
    let groups = write(connection, &waiting)?;
    let seconds = begin.elapsed().as_secs_f64();
    let mut took = Vec::new();
    for thread in threads {
        took.extend(thread.join().map_err(|_| "a client's thread failed")?);
    }
    took.sort_unstable();
    Ok(
        json!({"rows": took.len(), "seconds": seconds, "groups": groups, "p50": percentile(&took, 50), "p99": percentile(&took, 99)}),
    )
}

/// Commits what waits, as one group, until nobody can give more. Answers how many groups that were.
fn write(connection: &mut SqliteConnection, waiting: &Receiver<Job>) -> Result<u64, Failure> {
    let mut groups = 0;
    while let Ok(first) = waiting.recv() {
        let mut group = vec![first];
        group.extend(waiting.try_iter().take(GROUP_MOST - 1));
        connection.immediate_transaction(|connection| {
            group.iter().try_for_each(|(body, _)| insert(connection, body).map(|_| ()))
        })?;
        groups += 1;
        for (_, done) in group {
            done.send(()).map_err(|_| "a client's thread did not wait for its row")?;
        }
    }
    Ok(groups)
}

fn probe(connection: &mut SqliteConnection, times: usize, bytes: usize) -> Result<Value, Failure> {
    let (body, mut took) = (row(bytes), Vec::with_capacity(times));
    for _ in 0..times {
        let at = now();
        connection.immediate_transaction(|connection| insert(connection, &body))?;
        took.push(micros(at.elapsed()));
    }
    took.sort_unstable();
    Ok(json!({"p50": percentile(&took, 50), "p99": percentile(&took, 99)}))
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
