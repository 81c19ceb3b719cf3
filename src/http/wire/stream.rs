//! A connection between the socket (or its TLS) and the framework: heads reach the framework only whole and judged, bodies only as
//! long as they said, and a reader that stands still is let go.
//!
//! A head that is refused is replaced by one of this server's own, whose request the exchange answers with the refusal in the
//! connection's order, with id, headers and shape as every other; then the connection ends. In the middle of a body nothing can
//! be replaced: the body breaks off.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::head::Fault;
use super::passage::{Passage, Stop};
use super::stall::Stall;
use super::{Doubt, Patience};
use crate::http::admission::{Seat, Standing};
use crate::http::arrival::Connection;

/// How long a connection that was refused may go on sending, so that it can still read why (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(1);
/// How many bytes of it are read at a time, and thrown away.
const LINGER_PIECE: usize = 4096;
/// How long a peer under TLS may take to end by itself after a download whose arrival is watched. A goodbye of this server that it has
/// not read when it closes would make its end a reset, which looks like that of a reader that left bytes unread.
const PARTING: Duration = Duration::from_millis(250);
/// How often that may be done in one turn.
const LINGER_PIECES: usize = 16;

/// What becomes of the bytes that come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    /// They are followed.
    Open,
    /// They are no requests any more; the answer is on its way.
    Refused,
    /// There are none any more.
    Over,
}

/// See the module. Not `Sync` by design: a connection stays on its worker.
#[derive(Debug)]
pub(in crate::http) struct Wire<S> {
    inner: S,
    patience: Patience,
    passage: Passage,
    /// Bytes that came and were not given on; the first `cleared` of them may pass.
    held: Vec<u8>,
    cleared: usize,
    course: Course,
    /// A first head was whole.
    is_known: bool,
    deadline: Option<Pin<Box<Sleep>>>,
    stall: Stall,
    linger: Option<Pin<Box<Sleep>>>,
    parting: Option<Pin<Box<Sleep>>>,
    doubt: Rc<Doubt>,
    connection: Option<Arc<Connection>>,
    seat: Option<Rc<Seat>>,
}

impl<S> Wire<S> {
    /// Around a new connection; `connection`: its counters, where the system has some; `seat`: its place among all.
    pub(in crate::http) fn new(
        inner: S,
        patience: Patience,
        connection: Option<Connection>,
        seat: Option<Rc<Seat>>,
    ) -> Self {
        Self {
            inner,
            passage: Passage::new(patience.measures),
            stall: Stall::new(patience.write_stall, patience.write_least),
            patience,
            held: Vec::new(),
            cleared: 0,
            course: Course::Open,
            is_known: false,
            deadline: None,
            linger: None,
            parting: None,
            doubt: Rc::default(),
            connection: connection.map(Arc::new),
            seat,
        }
    }

    /// Waits until the peer has ended, where its end is watched and a goodbye would blur it.
    fn poll_parting(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.connection.as_ref().is_some_and(|connection| connection.is_watched_under_tls()) {
            return Poll::Ready(());
        }
        self.parting.get_or_insert_with(|| Box::pin(tokio::time::sleep(PARTING))).as_mut().poll(context)
    }

    /// What requests that come over it may know of it.
    pub(in crate::http) fn note(&self, noted: &mut actix_web::dev::Extensions) {
        noted.insert(Rc::clone(&self.doubt));
        if let Some(connection) = &self.connection {
            noted.insert(Arc::clone(connection));
        }
        if let Some(seat) = &self.seat {
            noted.insert(Rc::clone(seat.answers()));
        }
    }

    #[cfg(test)]
    pub(super) fn fault(&self) -> Option<Fault> {
        self.doubt.0.get()
    }

    /// Gives on what was cleared. `false`: there was nothing.
    fn give(&mut self, out: &mut ReadBuf<'_>) -> bool {
        let length = self.cleared.min(out.remaining());
        let Some(bytes) = self.held.get(..length).filter(|bytes| !bytes.is_empty()) else { return false };
        out.put_slice(bytes);
        self.held.drain(..length);
        self.cleared -= length;
        // A connection that waits keeps no room for what it once held.
        if self.held.is_empty() {
            self.held = Vec::new();
        }
        true
    }

    /// Follows bytes that have just come into `out`, or wait in `held`.
    fn sort(&mut self, out: &mut ReadBuf<'_>, before: usize) {
        let came = out.filled().get(before..).unwrap_or_default();
        let (passed, stop) = if self.held.is_empty() {
            let (passed, stop) = self.passage.follow(came);
            self.held.extend_from_slice(came.get(passed..).unwrap_or_default());
            out.set_filled(before + passed);
            (passed, stop)
        } else {
            self.held.extend_from_slice(came);
            out.set_filled(before);
            let (passed, stop) = self.passage.follow(&self.held);
            self.cleared = passed;
            (passed, stop)
        };
        if passed > 0 {
            self.is_known = true;
            self.deadline = None;
        }
        let standing = if passed > 0 { Standing::Busy } else { Standing::Head };
        if (passed > 0 || self.is_quiet()) && !self.stands(standing) {
            // Its place went to another before this was read: nothing of it is begun.
            out.set_filled(before);
            self.give_up();
            return;
        }
        match stop {
            Some(Stop::Head(fault)) => self.refuse(fault),
            Some(Stop::Body) => {
                self.held.truncate(self.cleared);
                self.course = Course::Over;
            }
            None => {}
        }
    }

    /// Puts a request for the refusal where the refused head stands.
    fn refuse(&mut self, fault: Fault) {
        let head = super::substitute(self.held.get(self.cleared..).unwrap_or_default());
        self.held.truncate(self.cleared);
        self.held.extend_from_slice(head);
        self.cleared = self.held.len();
        self.course = Course::Refused;
        self.deadline = None;
        self.doubt.0.set(Some(fault));
        if !self.stands(Standing::Busy) {
            self.give_up();
        }
    }

    fn stands(&self, standing: Standing) -> bool {
        self.seat.as_ref().is_none_or(|seat| seat.stands(standing))
    }

    /// Whether everything that was asked is answered. What was refused is not asked, and ends by itself.
    fn is_quiet(&self) -> bool {
        let ended = self.seat.as_ref().map(|seat| seat.answers().ended());
        self.course == Course::Open && self.passage.is_before_head() && ended == Some(self.passage.heads())
    }

    fn give_up(&mut self) {
        (self.held, self.cleared, self.course) = (Vec::new(), 0, Course::Over);
    }

    /// Whether a head that was awaited did not come in time. A connection that never said a word gets none either: an answer
    /// could be taken for that of a request which is just being sent.
    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        let awaits = self.passage.is_before_head() && (!self.is_known || !self.held.is_empty());
        if !awaits {
            return false;
        }
        let patience = self.patience.head;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        if deadline.as_mut().poll(context).is_pending() {
            return false;
        }
        if self.held.is_empty() {
            self.course = Course::Over;
        } else {
            self.refuse(Fault::Slow);
        }
        true
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.give(out) {
                return Poll::Ready(Ok(()));
            }
            match this.course {
                Course::Open => {}
                Course::Over => return Poll::Ready(Ok(())),
                // An end here would make the framework drop the answer; it closes by itself when that was sent.
                Course::Refused => return Poll::Pending,
            }
            let before = out.filled().len();
            match Pin::new(&mut this.inner).poll_read(context, out) {
                Poll::Ready(Ok(())) if out.filled().len() == before => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => this.sort(out, before),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if this.is_late(context) => {}
                Poll::Pending => return Poll::Pending,
            }
            if out.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Reads on for a little while, so that what was sent is not lost with the reset that unread bytes would cause.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let linger = self.linger.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        if linger.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let mut piece = [0; LINGER_PIECE];
        for _ in 0..LINGER_PIECES {
            let mut out = ReadBuf::new(&mut piece);
            match ready!(Pin::new(&mut self.inner).poll_read(context, &mut out)) {
                Ok(()) if !out.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match Pin::new(&mut this.inner).poll_write(context, bytes) {
            Poll::Ready(Ok(length)) => {
                this.stall.accepted(length);
                Poll::Ready(Ok(length))
            }
            Poll::Pending if this.stall.is_over(context, this.connection.as_deref()) => {
                metrics::counter!(crate::telemetry::metrics::READERS_CUT).increment(1);
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            other => other,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = ready!(Pin::new(&mut this.inner).poll_flush(context));
        this.stall.caught_up();
        if this.is_quiet() {
            let standing = if this.held.is_empty() { Standing::Silent } else { Standing::Head };
            // One whose place went to another breaks off when it is read.
            let _ = this.stands(standing);
        }
        Poll::Ready(flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            ready!(this.poll_parting(context));
            ready!(Pin::new(&mut this.inner).poll_shutdown(context))?;
        }
        if this.course != Course::Open {
            ready!(this.poll_linger(context));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S> Drop for Wire<S> {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            connection.end();
        }
    }
}
