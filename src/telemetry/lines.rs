//! Where log lines go: standard error. A log that cannot be written (a full volume, a pipe whose reader is gone) must not end or hinder the
//! service: the line is dropped and counted. The audit log is another thing and fails closed.

use std::io::{self, Write};

use ::metrics::counter;
use tracing_subscriber::fmt::MakeWriter;

use super::metrics;

/// Makes writers to standard error that never fail.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lines;

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Counting<io::Stderr>;

    fn make_writer(&'a self) -> Self::Writer {
        Counting(io::stderr())
    }
}

/// Drops what cannot be written, and counts it.
#[derive(Debug)]
pub(super) struct Counting<W>(W);

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    /// A line comes in one piece.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.0.write_all(bytes).is_err() {
            counter!(metrics::LOG_LINES_LOST).increment(1);
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing(io::ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn f106_a_line_that_cannot_be_written_is_no_failure() {
        for kind in [io::ErrorKind::BrokenPipe, io::ErrorKind::StorageFull, io::ErrorKind::WriteZero] {
            let mut line = Counting(Failing(kind));
            assert!(line.write_all(b"a line\n").is_ok() && line.flush().is_ok());
            assert_eq!(line.write(b"a line\n").unwrap(), 7);
        }
        let mut line = Counting(Vec::new());
        line.write_all(b"a line\n").unwrap();
        assert_eq!(line.0, b"a line\n");
    }
}
