//! Reading forwards: the one way in which the rules read anything, at every level. A file is read once, each part of an
//! archive is inflated once, and memory is a few buffers per level however large the file is. What goes by is searched
//! for the EICAR string here, so that no inspection can forget to.

use std::io::{self, BufRead, Read};

use super::limits::{Account, Trip};

/// Bytes that [`Forward::peek`] can look ahead: as far as disk images keep their magic.
pub(super) const LOOK_AHEAD: usize = 40 << 10;

/// Bytes read at a time.
const CHUNK: usize = 64 << 10;

/// A reader with a view ahead.
pub(super) struct Forward<'r> {
    pub(super) account: &'r Account<'r>,
    inner: &'r mut dyn Read,
    /// Bytes read; those before `at` are consumed.
    buffer: Vec<u8>,
    at: usize,
    /// Bytes consumed before `buffer`.
    base: u64,
    ended: bool,
    unpacks: bool,
}

impl std::fmt::Debug for Forward<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forward").field("offset", &self.offset()).finish_non_exhaustive()
    }
}

impl Drop for Forward<'_> {
    fn drop(&mut self) {
        self.account.give_back(std::mem::take(&mut self.buffer));
    }
}

impl<'r> Forward<'r> {
    /// Over bytes that cost nothing: the file itself, stored entries.
    pub(super) fn plain(account: &'r Account<'r>, inner: &'r mut dyn Read) -> Self {
        Self { account, inner, buffer: account.buffer(), at: 0, base: 0, ended: false, unpacks: false }
    }

    /// Over the output of a decompressor, which the account pays for.
    pub(super) fn unpacking(account: &'r Account<'r>, inner: &'r mut dyn Read) -> Self {
        let mut forward = Self::plain(account, inner);
        forward.unpacks = true;
        forward
    }

    /// Bytes consumed so far.
    pub(super) fn offset(&self) -> u64 {
        self.base.saturating_add(self.at as u64)
    }

    /// Up to `count` next bytes, fewer only at the end. `count` is at most [`LOOK_AHEAD`].
    pub(super) fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        while self.buffer.len().saturating_sub(self.at) < count && !self.ended {
            self.more()?;
        }
        let rest = self.rest();
        Ok(rest.get(..count).unwrap_or(rest))
    }

    /// Next byte.
    pub(super) fn next_byte(&mut self) -> io::Result<Option<u8>> {
        if self.at == self.buffer.len() && !self.ended {
            self.fill_buf()?;
        }
        let byte = self.buffer.get(self.at).copied();
        if byte.is_some() {
            self.at += 1;
        }
        Ok(byte)
    }

    /// Exactly `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let bytes = self.peek(N)?.try_into().map_err(|_| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        self.consume(N);
        Ok(bytes)
    }

    /// Passes over `count` bytes.
    pub(super) fn skip(&mut self, count: u64) -> io::Result<()> {
        let mut left = count;
        while left > 0 {
            let ready = self.fill_buf()?.len();
            if ready == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let step = usize::try_from(left).unwrap_or(usize::MAX).min(ready);
            self.consume(step);
            left -= step as u64;
        }
        Ok(())
    }

    /// Reads to the end, so that everything went by.
    pub(super) fn drain(&mut self) -> io::Result<()> {
        loop {
            let ready = self.fill_buf()?.len();
            if ready == 0 {
                return Ok(());
            }
            self.consume(ready);
        }
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }

    /// Reads one chunk more behind what is there and searches it together with the end of what came before.
    fn more(&mut self) -> io::Result<()> {
        let overlap = self.account.eicar.needle().len().saturating_sub(1);
        // What is consumed goes, except what a search across the border needs.
        if self.at > CHUNK {
            let gone = self.at.saturating_sub(overlap);
            self.buffer.drain(..gone);
            self.at -= gone;
            self.base = self.base.saturating_add(gone as u64);
        }
        let before = self.buffer.len();
        self.buffer.resize(before + CHUNK, 0);
        let outcome = loop {
            match self.inner.read(self.buffer.get_mut(before..).unwrap_or_default()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => break outcome,
            }
        };
        let count = *outcome.as_ref().unwrap_or(&0);
        self.buffer.truncate(before + count.min(CHUNK));
        outcome?;
        self.ended = count == 0;
        if self.unpacks {
            self.account.unpacked(count as u64)?;
        }
        let fresh = self.buffer.get(before.saturating_sub(overlap)..).unwrap_or_default();
        if self.account.eicar.find(fresh).is_some() {
            return Err(self.account.trip(Trip::Eicar));
        }
        Ok(())
    }
}

impl BufRead for Forward<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.buffer.len() && !self.ended {
            self.more()?;
        }
        Ok(self.rest())
    }

    fn consume(&mut self, count: usize) {
        self.at = self.at.saturating_add(count).min(self.buffer.len());
    }
}

impl Read for Forward<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let ready = self.fill_buf()?;
        let count = ready.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), ready.get(..count)) {
            to.copy_from_slice(from);
        }
        self.consume(count);
        Ok(count)
    }
}

/// The next `left` bytes of a reader and nothing behind them.
#[derive(Debug)]
pub(super) struct Part<'a, 'r> {
    pub(super) forward: &'a mut Forward<'r>,
    pub(super) left: u64,
}

impl BufRead for Part<'_, '_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let ready = self.forward.fill_buf()?;
        if ready.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(ready.get(..left).unwrap_or(ready))
    }

    fn consume(&mut self, count: usize) {
        self.left = self.left.saturating_sub(count as u64);
        self.forward.consume(count);
    }
}

impl Read for Part<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let ready = self.fill_buf()?;
        let count = ready.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), ready.get(..count)) {
            to.copy_from_slice(from);
        }
        self.consume(count);
        Ok(count)
    }
}
