//! The compiled half of `conformance/bench`: what would measure Python if Python did it. Reads commands from standard input, a line each,
//! and answers each with a line of JSON; ends with its input.
//!
//! ```text
//! bench-peer commit FOLDER     run CLIENTS MILLISECONDS BYTES    that many threads commit rows through one writer, in groups
//!                              probe TIMES BYTES                 one row a transaction, one after the other
//! bench-peer receive HOSTS     begin                             forgets what came
//!                              tell                              what came since, and how long each had been on its way
//! ```
//!
//! `commit` uses the crate's own SQLite, built with the crate's own flags, with the pragmas of the server's writer: what it reaches is
//! what this disk and this SQLite allow, with nothing of Daylily in between.

mod commit;
mod receive;

use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "usage: bench-peer commit FOLDER | bench-peer receive HOSTS";

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let run = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["commit", folder] => commit::serve(folder),
        ["receive", hosts] => hosts.parse().map_err(Failure::from).and_then(receive::serve),
        _ => Err(USAGE.into()),
    };
    match run {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nobody is left to tell when the error stream is closed as well.
            drop(writeln!(io::stderr(), "{failure}"));
            ExitCode::from(2)
        }
    }
}

/// Answers each line of standard input with what `answer` makes of its words.
fn each_line(mut answer: impl FnMut(&[&str]) -> Result<serde_json::Value, Failure>) -> Result<(), Failure> {
    for line in io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        say(&answer(&words)?)?;
    }
    Ok(())
}

fn say(told: &serde_json::Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{told}")?;
    out.flush()
}

#[expect(clippy::disallowed_methods, reason = "a program that measures; the server's clock is not in it")]
fn now() -> Instant {
    Instant::now()
}

/// The value at a share of an ordered list.
fn percentile(ordered: &[u64], hundredths: usize) -> u64 {
    let at = (ordered.len() * hundredths / 100).min(ordered.len().saturating_sub(1));
    ordered.get(at).copied().unwrap_or_default()
}
