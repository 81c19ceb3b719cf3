//! The engine `clamd`: bytes go to ClamAV's daemon over a socket (`INSTREAM`), in pieces, and its one answer is read strictly. It gets no path, no
//! name and no key. One connection a file, each with a deadline; how many there may be at once is bounded.
//!
//! clamd's defaults call an archive that it did not look into clean, so that no such clamd is asked: [`Scanner::probe`] finds out with files
//! of its own. Who counts on verdicts asks for that first; `delivery` does.

mod reply;
mod samples;
#[cfg(test)]
mod tests;
mod version;
mod wire;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::digest;

use self::reply::Answer;
pub use self::wire::Address;

/// What a reply to `INSTREAM` is taken for, for `fuzz/` alone: `None` for no answer, `Some(None)` for clean, else what was found
/// or refused with the name that is kept.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub fn judged(reply: &[u8]) -> Option<Option<String>> {
    Some(match reply::answer(reply)? {
        Answer::Clean => None,
        Answer::Found(signature) => Some(signature.as_str().to_owned()),
        Answer::SizeLimit => Some("size limit".to_owned()),
        Answer::Error => Some("error".to_owned()),
    })
}

/// Program and date of the signatures as a reply to `VERSION` says them, for `fuzz/` alone.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub fn stated_version(reply: &[u8]) -> Option<(String, Option<crate::domain::clock::Timestamp>)> {
    let version = version::parse(reply::text(reply)?)?;
    Some((version.program, version.signatures))
}
use self::wire::{Deadline, Wire};
use super::{Condition, EngineFailure, Fault, ReadSeek, ScanError, Scanner, Subject};
use crate::domain::clock::Clock;
use crate::domain::verdict::{Engine, Finding, Verdict};

/// Bytes that go out in one piece.
const CHUNK: usize = 64 * 1024;
/// Time for any file, and for each million bytes on top; `[scan] timeout` bounds the sum.
const BASE: Duration = Duration::from_secs(30);
const MILLION: u64 = 1_000_000;
/// Connections at once: fewer than clamd's `MaxThreads` of 10, more than files are looked at side by side.
const CONNECTIONS: usize = 8;
/// Time for a whole probe.
const PROBE: Duration = Duration::from_secs(4);

/// clamd at an address.
#[derive(Debug)]
pub struct ClamdScanner {
    address: Address,
    timeout: Duration,
    clock: Arc<dyn Clock>,
    running: AtomicUsize,
    /// As the last probe heard it, for the record of findings.
    version: RwLock<String>,
}

impl ClamdScanner {
    /// `timeout`: longest time for one file.
    pub fn new(address: Address, timeout: Duration, clock: Arc<dyn Clock>) -> Self {
        Self { address, timeout, clock, running: AtomicUsize::new(0), version: RwLock::default() }
    }

    fn time_for(&self, size: u64) -> Duration {
        BASE.saturating_add(Duration::from_secs(size / MILLION)).min(self.timeout)
    }

    fn place(&self, words: &str) -> String {
        let version = self.version.read().unwrap_or_else(PoisonError::into_inner);
        format!("{version} {words}").trim_start().to_owned()
    }

    fn permit(&self) -> Option<Permit<'_>> {
        let one_more = |running: usize| (running < CONNECTIONS).then_some(running + 1);
        let taken = self.running.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more);
        taken.is_ok().then(|| Permit(&self.running))
    }

    /// One command with one answer of one text.
    fn command(&self, command: &[u8], deadline: &Deadline) -> Result<String, EngineFailure> {
        let mut wire = Wire::connect(&self.address, deadline.clone()).map_err(|_| EngineFailure::Unreachable)?;
        wire.write(command).map_err(|error| failure(&error))?;
        let reply = wire.reply().map_err(|error| failure(&error))?;
        if reply.is_empty() {
            return Err(EngineFailure::Broken);
        }
        reply::text(&reply).map(str::to_owned).ok_or(EngineFailure::Nonsense)
    }

    /// Sends a small file, and answers what was said of it.
    fn try_sample(&self, sample: &[u8], deadline: &Deadline) -> Result<Answer, EngineFailure> {
        let mut exchange = Exchange::open(&self.address, deadline.clone())?;
        exchange.send(sample);
        exchange.end()
    }

    fn try_all(&self) -> Result<Condition, EngineFailure> {
        let deadline = Deadline::after(&self.clock, PROBE.min(self.timeout));
        if self.command(b"zPING\0", &deadline)? != "PONG" {
            return Err(EngineFailure::Nonsense);
        }
        let version = self.command(b"zVERSION\0", &deadline)?;
        let version = version::parse(&version).ok_or(EngineFailure::Nonsense)?;
        self.version.write().unwrap_or_else(PoisonError::into_inner).clone_from(&version.program);
        let samples = [
            (Fault::TestVirus, samples::test_virus()),
            (Fault::Locked, samples::locked_zip()),
            (Fault::Deep, samples::deep_zip()),
        ];
        for (fault, sample) in samples {
            match self.try_sample(&sample, &deadline)? {
                Answer::Found(_) => {}
                Answer::Clean => return Ok(Condition::Unfit(fault)),
                Answer::SizeLimit | Answer::Error => return Err(EngineFailure::Error),
            }
        }
        Ok(Condition::Ready { version: version.program, signatures: version.signatures })
    }

    /// Sends all of it. The digest is that of all bytes, also when clamd has refused to take more.
    fn stream(&self, subject: &Subject<'_>, content: &mut dyn ReadSeek) -> Result<([u8; 32], Answer), ScanError> {
        let failed = |failure| ScanError::Engine { engine: Engine::Clamd, failure };
        let deadline = Deadline::after(&self.clock, self.time_for(subject.size));
        let mut exchange = Exchange::open(&self.address, deadline.clone()).map_err(failed)?;
        let mut hash = digest::Context::new(&digest::SHA256);
        let (mut chunk, mut size) = (vec![0; CHUNK], 0_u64);
        loop {
            deadline.left().map_err(|_| failed(EngineFailure::Late))?;
            let count = fill(content, &mut chunk).map_err(|error| ScanError::Read(error.kind()))?;
            let bytes = chunk.get(..count).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            size = size.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
            hash.update(bytes);
            exchange.send(bytes);
            if let Some(failure) = exchange.failed() {
                return Err(failed(failure));
            }
        }
        if size != subject.size {
            return Err(ScanError::Size { recorded: subject.size, read: size });
        }
        let answer = exchange.end().map_err(failed)?;
        Ok((hash.finish().as_ref().try_into().unwrap_or_default(), answer))
    }
}

impl Scanner for ClamdScanner {
    fn engine(&self) -> Engine {
        Engine::Clamd
    }

    fn probe(&self) -> Condition {
        self.try_all().unwrap_or_else(Condition::Failing)
    }

    fn scan(&self, subject: &Subject<'_>, content: &mut dyn ReadSeek) -> Result<Verdict, ScanError> {
        let failed = |failure| ScanError::Engine { engine: Engine::Clamd, failure };
        let Some(_permit) = self.permit() else { return Err(failed(EngineFailure::Busy)) };
        let (sha256, answer) = self.stream(subject, content)?;
        let (finding, place) = match answer {
            Answer::Clean => (None, String::new()),
            Answer::Found(signature) => (Some(signature.finding()), self.place(signature.as_str())),
            Answer::SizeLimit => (Some(Finding::TooLarge), self.place("StreamMaxLength")),
            Answer::Error => return Err(failed(EngineFailure::Error)),
        };
        Ok(Verdict { engine: Engine::Clamd, file: subject.file, sha256, finding, place })
    }
}

/// One of the connections that there may be.
#[derive(Debug)]
struct Permit<'a>(&'a AtomicUsize);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One `INSTREAM`: pieces with their length before them, an empty one at the end, one answer.
#[derive(Debug)]
struct Exchange {
    wire: Wire,
    /// What ended it before its end.
    early: Option<Result<Answer, EngineFailure>>,
}

impl Exchange {
    fn open(address: &Address, deadline: Deadline) -> Result<Self, EngineFailure> {
        let mut wire = Wire::connect(address, deadline).map_err(|_| EngineFailure::Unreachable)?;
        wire.write(b"zINSTREAM\0").map_err(|error| failure(&error))?;
        Ok(Self { wire, early: None })
    }

    /// Sends a piece, unless clamd has refused to take more.
    fn send(&mut self, bytes: &[u8]) {
        if self.early.is_some() {
            return;
        }
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
        if let Err(error) = self.wire.write(&length).and_then(|()| self.wire.write(bytes)) {
            self.early = Some(self.why(&error));
        }
    }

    /// Over its `StreamMaxLength` clamd answers and closes while bytes are on their way: the reason waits to be read behind the error.
    fn why(&mut self, error: &io::Error) -> Result<Answer, EngineFailure> {
        if error.kind() == io::ErrorKind::TimedOut {
            return Err(EngineFailure::Late);
        }
        let reply = self.wire.reply().map_err(|_| EngineFailure::Broken)?;
        match reply::answer(&reply) {
            Some(answer @ (Answer::SizeLimit | Answer::Error)) => Ok(answer),
            Some(Answer::Clean | Answer::Found(_)) => Err(EngineFailure::Nonsense),
            None if reply.is_empty() => Err(EngineFailure::Broken),
            None => Err(EngineFailure::Nonsense),
        }
    }

    /// Why there will be no answer, if that is known already.
    fn failed(&self) -> Option<EngineFailure> {
        self.early.as_ref().and_then(|early| early.as_ref().err().copied())
    }

    fn end(mut self) -> Result<Answer, EngineFailure> {
        if self.early.is_none()
            && let Err(error) = self.wire.write(&[0; 4])
        {
            self.early = Some(self.why(&error));
        }
        if let Some(early) = self.early {
            return early;
        }
        let reply = self.wire.reply().map_err(|error| failure(&error))?;
        if reply.is_empty() {
            return Err(EngineFailure::Broken);
        }
        reply::answer(&reply).ok_or(EngineFailure::Nonsense)
    }
}

fn failure(error: &io::Error) -> EngineFailure {
    if error.kind() == io::ErrorKind::TimedOut { EngineFailure::Late } else { EngineFailure::Broken }
}

/// Reads until the piece is full or the file ends.
fn fill(content: &mut dyn ReadSeek, chunk: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = chunk.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match content.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
