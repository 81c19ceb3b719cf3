//! Content that can be taken away from its reader: an engine whose time is over finds an error at its next read, so that the thread it runs on
//! ends, whatever the engine is about.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Takes the content away when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Hold(Arc<AtomicBool>);

impl Hold {
    /// `content`, as long as this lives.
    pub(super) fn lend<C>(&self, content: C) -> Lent<C> {
        Lent { content, over: Arc::clone(&self.0) }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Content until its [`Hold`] goes.
#[derive(Debug)]
pub(super) struct Lent<C> {
    content: C,
    over: Arc<AtomicBool>,
}

impl<C> Lent<C> {
    fn still(&mut self) -> io::Result<&mut C> {
        if self.over.load(Ordering::Acquire) { Err(io::ErrorKind::TimedOut.into()) } else { Ok(&mut self.content) }
    }
}

impl<C: Read> Read for Lent<C> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.still()?.read(out)
    }
}

impl<C: Seek> Seek for Lent<C> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.still()?.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_goes_on_too_long_finds_an_error() {
        let hold = Hold::default();
        let mut lent = hold.lend(io::Cursor::new(vec![7_u8; 8]));
        let mut two = [0; 2];
        lent.read_exact(&mut two).unwrap();
        drop(hold);
        assert_eq!(lent.read(&mut two).unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(lent.rewind().unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
