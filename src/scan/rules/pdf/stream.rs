//! Streams of a PDF: object streams are read as objects, embedded files as files; what else is inflated only to see
//! whether it is one of them in disguise. Pixels of images stay packed.

use std::io::{self, Read};

use flate2::bufread::DeflateDecoder;

use super::super::forward::{Forward, LOOK_AHEAD};
use super::super::inspect::{Outcome, Stop, entry};
use super::super::kind::{self, Kind};
use super::{Facts, Lexer, Watch};
use crate::domain::verdict::Finding;

/// Reads the stream whose dictionary was just read, and its data to the end.
pub(super) fn inspect(forward: &mut Forward<'_>, facts: &Facts, number: u64) -> Outcome<()> {
    // The keyword ends with a line feed, with or without a carriage return (7.3.8.1).
    if forward.peek(1)? == b"\r" {
        forward.skip(1)?;
    }
    if forward.peek(1)? == b"\n" {
        forward.skip(1)?;
    }
    let account = forward.account;
    let mut data = Data { forward, watch: Watch::default(), ended: false };
    let mut inside = Forward::plain(account, &mut data);
    let outcome = match (facts.filter, facts.flate, facts.other_filter) {
        (false, ..) => content(&mut inside, facts, number),
        (true, 1, false) if !facts.image || facts.embedded => inflate(&mut inside, facts, number),
        _ if facts.holds_objects() || facts.embedded => Err(Finding::Unreadable.into()),
        _ => Ok(()),
    };
    tolerate(&inside, outcome, facts)?;
    inside.drain()?;
    Ok(())
}

/// Damage is common in pages and fonts, and viewers show what there is; it hides nothing there.
fn tolerate(inside: &Forward<'_>, outcome: Outcome<()>, facts: &Facts) -> Outcome<()> {
    match outcome {
        Err(Stop::Broken) if inside.account.tripped.get().is_none() => {
            if facts.holds_objects() || facts.embedded {
                Err(Finding::Unreadable.into())
            } else {
                Ok(())
            }
        }
        outcome => outcome,
    }
}

/// Inflates without asking for the checksum at the end, which viewers do not ask for either.
fn inflate(packed: &mut Forward<'_>, facts: &Facts, number: u64) -> Outcome<()> {
    if facts.holds_objects() && facts.predictor {
        return Err(Finding::Unreadable.into());
    }
    let account = packed.account;
    if packed.peek(2)?.len() == 2 {
        packed.skip(2)?;
    }
    let limit = if facts.holds_objects() { account.limits.object_stream } else { u64::MAX };
    let mut decoder = Capped { inner: DeflateDecoder::new(packed), left: limit };
    content(&mut Forward::unpacking(account, &mut decoder), facts, number)
}

fn content(inside: &mut Forward<'_>, facts: &Facts, number: u64) -> Outcome<()> {
    if facts.holds_objects() {
        return Lexer { streams: 0, facts: Facts::default(), watch: Watch::default() }.run(inside);
    }
    if facts.embedded {
        return entry(number, inside).map(drop);
    }
    match kind::sniff(inside.peek(LOOK_AHEAD)?) {
        // An embedded file need not say that it is one, and forms (XFA) are markup.
        Kind::Executable | Kind::Markup | Kind::Zip | Kind::Compound | Kind::Gzip | Kind::Pdf(0) => {
            entry(number, inside).map(drop)
        }
        _ => Ok(inside.drain()?),
    }
}

/// Fails beyond its limit, as an archive bomb does.
struct Capped<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))?;
        Ok(count)
    }
}

/// The bytes up to `endstream`, whatever `/Length` says, or to the header of an object.
struct Data<'a, 'r> {
    forward: &'a mut Forward<'r>,
    watch: Watch,
    ended: bool,
}

impl Read for Data<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        const END: &[u8] = b"endstream";
        if self.ended || buffer.is_empty() {
            return Ok(0);
        }
        let ahead = self.forward.peek(LOOK_AHEAD)?;
        let last = ahead.len() < LOOK_AHEAD;
        let end = memchr::memmem::find(ahead, END);
        let margin = if last { 0 } else { END.len() };
        let ready = end.unwrap_or(ahead.len().saturating_sub(margin)).min(buffer.len());
        let header = ahead.iter().take(ready).position(|byte| self.watch.sees(*byte));
        let count = header.map_or(ready, |at| at + 1);
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), ahead.get(..count)) {
            to.copy_from_slice(from);
        }
        self.ended = header.is_some() || count == 0;
        self.forward.skip(count as u64)?;
        Ok(count)
    }
}
