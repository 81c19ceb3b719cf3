//! The safety check's rules on files of one's own, without a server:
//!
//! ```text
//! cargo run --example scan -- MEDIA_TYPE FILE…
//! cargo run --example scan -- -          # lines "MEDIA_TYPE<tab>FILE" from standard input
//! ```
//!
//! Prints one line a file, with tabs between: `clean` or the finding's name, where inside it was found, and the file.
//! Exits with 0 when every file is clean, with 1 when something was found, with 2 when a file could not be read.

use std::fs::File;
use std::io::{self, BufRead, Write};
use std::process::ExitCode;

use daylily::domain::id::FileId;
use daylily::scan::rules::RuleScanner;
use daylily::scan::{Scanner, Subject};

const USAGE: &str = "usage: scan MEDIA_TYPE FILE…  |  scan -   (lines of media type, tab, file)";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words) {
        Ok(code) => code,
        Err(error) => {
            // Nobody is left to tell when the error stream is closed as well.
            drop(writeln!(io::stderr(), "{error}"));
            ExitCode::from(2)
        }
    }
}

fn run(words: &[String]) -> io::Result<ExitCode> {
    let tasks: Vec<(String, String)> = match words {
        [dash] if dash == "-" => io::stdin().lock().lines().map(|line| task(&line?)).collect::<io::Result<_>>()?,
        [declared, files @ ..] if !files.is_empty() => files.iter().map(|f| (declared.clone(), f.clone())).collect(),
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, USAGE)),
    };
    let mut out = io::stdout().lock();
    let mut worst = 0;
    for (declared, path) in tasks {
        let (line, code) = match scan(&declared, &path) {
            Ok(None) => (format!("clean\t-\t{path}"), 0),
            Ok(Some(found)) => (format!("{found}\t{path}"), 1),
            Err(error) => (format!("error\t{error}\t{path}"), 2),
        };
        writeln!(out, "{line}")?;
        worst = worst.max(code);
    }
    Ok(ExitCode::from(worst))
}

fn task(line: &str) -> io::Result<(String, String)> {
    let parts = line.split_once('\t').ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, USAGE))?;
    Ok((parts.0.to_owned(), parts.1.to_owned()))
}

/// Finding and place, with a tab between; `None` for a clean file.
fn scan(declared: &str, path: &str) -> io::Result<Option<String>> {
    let mut file = File::open(path)?;
    // The digest is the store's to compare; an engine reports what it read.
    let (id, size) = (FileId::from_bytes([0; 16]), file.metadata()?.len());
    let subject = Subject { file: id, sha256: [0; 32], declared, size };
    let verdict = RuleScanner::default().scan(&subject, &mut file).map_err(io::Error::other)?;
    Ok(verdict.finding.map(|finding| format!("{}\t{}", finding.name(), verdict.place)))
}
