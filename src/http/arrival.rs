//! Whether a download was really taken: the connection's TCP counters, watched from the last byte handed on until the peer's own
//! system has acknowledged everything and the peer then ended in order or asked for something else. "Handed to the kernel" says
//! nothing: a reader that quits after 64 KiB leaves the rest in buffers. Only the deciding stands here, and the task that waits for
//! it; reading the counters stands in [`counters`], what a taken download means elsewhere.
//!
//! What is compared are growths, so that it holds under TLS as well (there a `close_notify` alone says nothing): `bytes_acked` must have grown by all that `bytes_sent` without
//! `bytes_retrans` grew, and that by at least the body. A peer that closes with unread bytes sends a reset, which leaves
//! `bytes_received` as it was; its FIN counts one there, its next request more (Linux, `tcp_info`).

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::ports::{Arrival, Pieces};
use crate::domain::clock::Clock;

mod counters;

pub(super) use counters::Connection;

/// The first look after the last byte was handed on; later ones follow at a sixteenth of the time waited.
const FIRST_LOOK: Duration = Duration::from_micros(200);
/// Longest time between two looks.
const LOOK_MOST: Duration = Duration::from_millis(250);
/// Time without traffic after which a peer that has acknowledged everything and stays silent has taken it, where its document's
/// policy names none.
const GRACE: Duration = Duration::from_secs(60);
/// Longest watch: a reader that takes the last bytes drop by drop.
const WATCH_MOST: Duration = Duration::from_secs(1800);
/// How long a stop waits for the last looks.
const STOP_MOST: Duration = Duration::from_secs(2);

/// One look at a connection's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    /// Bytes sent for the first time.
    sent: u64,
    /// Bytes that the peer's system has acknowledged.
    acked: u64,
    /// Bytes that came from the peer, its FIN counted as one.
    received: u64,
    /// Bytes that wait to be sent, or for their acknowledgement.
    waiting: bool,
    /// Whether the connection is over, by a reset or in order.
    closed: bool,
}

impl Sample {
    /// Bytes that the peer's system has acknowledged, over the whole connection.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acked
    }
}

/// What a look says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// Settled.
    Decided(Arrival),
    /// Everything acknowledged, and since then silence.
    Silent,
    /// Not everything acknowledged yet.
    Waiting,
}

/// What a transfer is held against: the counters before its first byte, and what the peer had said when the last one was handed on.
#[derive(Debug, Clone, Copy)]
struct Expected {
    before: Sample,
    said: u64,
    body: u64,
    /// Bytes of a goodbye under TLS, which a peer says also when it leaves bytes unread; 0 without TLS.
    goodbye: u64,
}

impl Expected {
    fn judge(&self, now: &Sample) -> Seen {
        let sent = now.sent.saturating_sub(self.before.sent);
        let acked = now.acked.saturating_sub(self.before.acked);
        let all = sent >= self.body && acked >= sent && !now.waiting;
        // Before it had everything the peer had no reason to go on: only what it says afterwards counts.
        // A goodbye by itself is no such word: what follows it, FIN or reset, tells whether all was read.
        let more = now.received.saturating_sub(self.said);
        let went_on = more > 0 && more != self.goodbye;
        match (all, went_on, now.closed) {
            (true, true, _) => Seen::Decided(Arrival::Taken),
            (_, _, true) => Seen::Decided(Arrival::Unknown),
            (true, false, false) => Seen::Silent,
            (false, _, false) => Seen::Waiting,
        }
    }
}

/// All watches of a server: how many there may be, and when they must end.
#[derive(Debug)]
pub(super) struct Watches {
    places: Arc<Semaphore>,
    most: u32,
    stopping: watch::Sender<bool>,
    /// Where the end of a transfer is recorded: a runtime that outlives the workers'.
    runtime: Option<tokio::runtime::Handle>,
    clock: Arc<dyn Clock>,
}

impl Watches {
    /// `most` at a time; beyond that a download counts as taken when it was handed on, so that no use is given back twice.
    pub(super) fn new(most: usize, clock: Arc<dyn Clock>) -> Self {
        let most = u32::try_from(most.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX).max(1);
        let places = Arc::new(Semaphore::new(usize::try_from(most).unwrap_or(1)));
        let (stopping, _) = watch::channel(false);
        Self { places, most, stopping, runtime: tokio::runtime::Handle::try_current().ok(), clock }
    }

    /// From now on nobody's silence is waited for: a watch ends once everything is acknowledged, or with its worker, by a last look.
    pub(super) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Waits until the watches that are left have ended, a little while at most.
    pub(super) async fn ended(&self) {
        let all = self.places.acquire_many(self.most);
        if tokio::time::timeout(STOP_MOST, all).await.is_err() {
            tracing::warn!("ends of downloads not seen before the stop");
        }
    }

    /// Settles within the runtime that outlives this worker.
    fn settle(&self, pieces: Box<dyn Pieces>, arrival: Arrival) {
        let _within = self.runtime.as_ref().map(tokio::runtime::Handle::enter);
        pieces.settle(arrival);
    }
}

/// A transfer's eye on its connection, from before its first byte.
#[derive(Debug)]
pub(super) struct Eye {
    watches: Arc<Watches>,
    connection: Option<(Rc<Connection>, Expected)>,
    grace: Duration,
}

impl Eye {
    /// Takes the first sample. `body`: bytes that will be handed on; `grace`: as the document's decision says.
    pub(super) fn open(watches: &Arc<Watches>, request: &HttpRequest, body: u64, grace: Option<Duration>) -> Self {
        let connection = request.conn_data::<Rc<Connection>>().and_then(|connection| {
            let before = connection.sample()?;
            Some((Rc::clone(connection), Expected { before, said: before.received, body, goodbye: connection.goodbye }))
        });
        let grace = grace.unwrap_or(GRACE).min(WATCH_MOST);
        Self { watches: Arc::clone(watches), connection, grace }
    }

    /// To be called before the last byte is handed on.
    pub(super) fn last_piece(&mut self) {
        if let Some((connection, expected)) = &mut self.connection
            && let Some(now) = connection.sample()
        {
            expected.said = now.received;
        }
    }

    /// The whole was handed on: watches until it is settled.
    pub(super) fn watch(self, pieces: Box<dyn Pieces>) {
        let Self { watches, connection, grace } = self;
        let place = Arc::clone(&watches.places).try_acquire_owned();
        match (connection, place) {
            (Some((connection, expected)), Ok(place)) => {
                connection.is_watched.set(true);
                let held = Held { watches, pieces: Some(pieces), connection, expected, _place: place };
                actix_web::rt::spawn(held.watch(grace));
            }
            // Another system, or no room: handed on is all that is known, and a use that may have arrived is not given back.
            (_, _) => watches.settle(pieces, Arrival::Taken),
        }
    }

    /// Not everything was handed on.
    pub(super) fn broken(self, pieces: Box<dyn Pieces>) {
        self.watches.settle(pieces, Arrival::Unknown);
    }
}

/// A watch under way. Dropped before it has decided (the worker ends), it decides by a last look.
struct Held {
    watches: Arc<Watches>,
    pieces: Option<Box<dyn Pieces>>,
    connection: Rc<Connection>,
    expected: Expected,
    _place: OwnedSemaphorePermit,
}

impl Held {
    async fn watch(mut self, grace: Duration) {
        let clock = Arc::clone(&self.watches.clock);
        let mut stopping = self.watches.stopping.subscribe();
        let (mut waited, begun) = (Duration::ZERO, clock.monotonic());
        let (mut moved, mut last) = (begun, self.expected.before);
        loop {
            let Some(now) = self.connection.sample() else { return self.decide(Arrival::Unknown) };
            let seen = self.expected.judge(&now);
            if let Seen::Decided(arrival) = seen {
                return self.decide(arrival);
            }
            let time = clock.monotonic();
            if (now.acked, now.sent) != (last.acked, last.sent) {
                (moved, last) = (time, now);
            }
            let is_over = time.saturating_sub(moved) >= grace || time.saturating_sub(begun) >= WATCH_MOST;
            // At a stop silence is enough; what is still on its way out is let go on for as long as its connection may.
            if is_over || (seen == Seen::Silent && *stopping.borrow()) {
                return self.decide(if seen == Seen::Silent { Arrival::Taken } else { Arrival::Unknown });
            }
            let pause = (waited / 16).clamp(FIRST_LOOK, LOOK_MOST);
            let _ = tokio::time::timeout(pause, stopping.changed()).await;
            waited += pause;
        }
    }

    fn decide(&mut self, arrival: Arrival) {
        self.connection.is_watched.set(false);
        if let Some(pieces) = self.pieces.take() {
            self.watches.settle(pieces, arrival);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let seen = self.connection.sample().map(|now| self.expected.judge(&now));
        let taken = matches!(seen, Some(Seen::Silent | Seen::Decided(Arrival::Taken)));
        self.decide(if taken { Arrival::Taken } else { Arrival::Unknown });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: Sample = Sample { sent: 500, acked: 500, received: 300, waiting: false, closed: false };

    fn judged(sent: u64, acked: u64, received: u64, waiting: bool, closed: bool) -> Seen {
        let expected = Expected { before: BEFORE, said: 300, body: 1000, goodbye: 24 };
        expected.judge(&Sample { sent, acked, received, waiting, closed })
    }

    #[test]
    fn only_what_was_acknowledged_whole_and_answered_is_taken() {
        use Arrival::{Taken, Unknown};
        for (seen, expected) in [
            // 1,000 bytes of body behind 200 of head: all acknowledged, then the peer's FIN, or its next request.
            (judged(1700, 1700, 301, false, false), Seen::Decided(Taken)),
            (judged(1700, 1700, 301, false, true), Seen::Decided(Taken)),
            (judged(1700, 1700, 700, false, false), Seen::Decided(Taken)),
            (judged(1700, 1700, 300, false, false), Seen::Silent),
            // A goodbye under TLS, then FIN, or a reset: it left bytes unread.
            (judged(1700, 1700, 324, false, false), Seen::Silent),
            (judged(1700, 1700, 325, false, false), Seen::Decided(Taken)),
            (judged(1700, 1700, 325, false, true), Seen::Decided(Taken)),
            (judged(1700, 1700, 324, false, true), Seen::Decided(Unknown)),
            // A reset: closed, and nothing said.
            (judged(1700, 1700, 300, false, true), Seen::Decided(Unknown)),
            (judged(1700, 1200, 301, false, true), Seen::Decided(Unknown)),
            (judged(1700, 1200, 300, true, false), Seen::Waiting),
            (judged(1700, 1699, 301, true, false), Seen::Waiting),
            // The last bytes are still in the server's own buffer.
            (judged(1400, 1400, 301, false, false), Seen::Waiting),
        ] {
            assert_eq!(seen, expected);
        }
    }
}
