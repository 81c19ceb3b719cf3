//! Whether a download was really taken: the connection's TCP counters, watched from the last byte handed on until the peer's own
//! system has acknowledged everything and the peer then ended in order or asked for something else. "Handed to the kernel" says
//! nothing: a reader that quits after 64 KiB leaves the rest in buffers. Here stands the task that waits for it; reading the counters
//! stands in [`counters`], what they say of a transfer in [`line`], what a taken download means elsewhere.

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use tokio::sync::watch;

use super::ports::{Arrival, Pieces};
use crate::delivery::Line as _;
use crate::domain::claim::{Look, Parting};
use crate::domain::clock::Clock;
use crate::domain::holder::Holder;
use crate::shares::{Place, Places};

mod counters;
mod line;

pub(super) use counters::Connection;
pub(super) use line::Line;

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
    /// Bytes that wait to be sent.
    unsent: u64,
    /// Whether the connection is over, by a reset or in order.
    closed: bool,
    /// Whether the peer has ended its own half.
    is_half_closed: bool,
    /// Whether this server ended it with a reset.
    is_cut: bool,
}

impl Sample {
    /// Bytes that the peer's system has acknowledged, over the whole connection.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acked
    }

    /// As it stays of a connection that this server cut.
    fn cut(self) -> Self {
        Self { closed: true, is_cut: true, ..self }
    }
}

/// How far a stop has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopping {
    No,
    /// Nobody's silence is waited for any more; acknowledgements are.
    Draining,
    /// What is known by now is all that will be.
    Ended,
}

/// All watches of a server: how many there may be, and when they must end.
#[derive(Debug)]
pub(super) struct Watches {
    places: Places,
    stopping: watch::Sender<Stopping>,
    /// Where the end of a transfer is recorded: a runtime that outlives the workers'.
    runtime: Option<tokio::runtime::Handle>,
    clock: Arc<dyn Clock>,
}

impl Watches {
    /// As many at a time as there are `places`; beyond that, and beyond a link's share, a download counts as taken when it was
    /// handed on, so that no use is given back twice.
    pub(super) fn new(places: Places, clock: Arc<dyn Clock>) -> Self {
        let (stopping, _) = watch::channel(Stopping::No);
        Self { places, stopping, runtime: tokio::runtime::Handle::try_current().ok(), clock }
    }

    /// Watches that there may be at a time.
    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    /// From now on nobody's silence is waited for: a watch ends once everything is acknowledged.
    pub(super) fn stop(&self) {
        self.stopping.send_replace(Stopping::Draining);
    }

    /// Waits until the watches that are left have ended, a little while at most; then they end by what is known.
    pub(super) async fn ended(&self) {
        if tokio::time::timeout(STOP_MOST, self.places.idle()).await.is_ok() {
            return;
        }
        self.stopping.send_replace(Stopping::Ended);
        if tokio::time::timeout(STOP_MOST, self.places.idle()).await.is_err() {
            tracing::warn!("ends of downloads not seen before the stop");
        }
    }

    /// Runs a watch where it outlives the worker of its connection.
    fn run(&self, watching: impl Future<Output = ()> + Send + 'static) {
        match &self.runtime {
            Some(runtime) => drop(runtime.spawn(watching)),
            None => drop(actix_web::rt::spawn(watching)),
        }
    }

    /// Settles within the runtime that outlives this worker.
    fn settle(&self, pieces: Box<dyn Pieces>, arrival: Arrival) {
        self.within(|| pieces.settle(arrival));
    }

    fn within(&self, act: impl FnOnce()) {
        let _within = self.runtime.as_ref().map(tokio::runtime::Handle::enter);
        act();
    }
}

/// A transfer's eye on its connection, from before its first byte.
#[derive(Debug)]
pub(super) struct Eye {
    watches: Arc<Watches>,
    line: Option<Arc<Line>>,
    grace: Duration,
    holder: Holder,
}

impl Eye {
    /// Takes the first sample. `body`: bytes that will be handed on; `grace`: as the document's decision says; `holder`: whose
    /// transfer it is.
    pub(super) fn open(
        watches: &Arc<Watches>,
        request: &HttpRequest,
        body: u64,
        grace: Option<Duration>,
        holder: Holder,
    ) -> Self {
        let connection = request.conn_data::<Arc<Connection>>().map(Arc::clone);
        let line = connection.and_then(|connection| Line::begin(connection, body)).map(Arc::new);
        let grace = grace.unwrap_or(GRACE).min(WATCH_MOST);
        Self { watches: Arc::clone(watches), line, grace, holder }
    }

    /// The connection, where it can be told what its peer has.
    pub(super) fn line(&self) -> Option<&Arc<Line>> {
        self.line.as_ref()
    }

    /// To be called before the last byte is handed on.
    pub(super) fn last_piece(&self) {
        if let Some(line) = &self.line {
            line.last_piece();
        }
    }

    /// The whole was handed on: watches until it is settled.
    pub(super) fn watch(self, pieces: Box<dyn Pieces>) {
        let Self { watches, line, grace, holder } = self;
        let place = watches.places.try_take(&holder).ok();
        match (line, place) {
            (Some(line), Some(place)) => {
                line.connection().watched(true);
                let watching = Arc::clone(&watches);
                let held = Held { watches, pieces: Some(pieces), line, _place: place };
                watching.run(held.watch(grace));
            }
            // Another system, or no room: handed on is all that is known, and a use that may have arrived is not given back.
            (_, _) => watches.settle(pieces, Arrival::Taken),
        }
    }

    /// Not everything was handed on: what the system still holds of it goes nowhere either, since nobody would know of it any more.
    pub(super) fn broken(self, pieces: Box<dyn Pieces>) {
        if let Some(line) = &self.line {
            line.cut();
        }
        self.watches.settle(pieces, Arrival::Unknown);
    }
}

/// A watch under way. Dropped before it has decided (its runtime ends), it decides by a last look.
struct Held {
    watches: Arc<Watches>,
    pieces: Option<Box<dyn Pieces>>,
    line: Arc<Line>,
    _place: Place,
}

impl Held {
    async fn watch(mut self, grace: Duration) {
        let clock = Arc::clone(&self.watches.clock);
        let mut stopping = self.watches.stopping.subscribe();
        let (mut waited, begun) = (Duration::ZERO, clock.monotonic());
        let (mut since, mut moved, mut told) = (begun, (0, 0), false);
        loop {
            let look = self.line.look();
            if look.all && !told {
                self.acknowledged();
                told = true;
            }
            if look.parting != Parting::None {
                return self.decide(arrival(&look));
            }
            let (time, now) = (clock.monotonic(), self.line.moved());
            if now != moved {
                (since, moved) = (time, now);
            }
            let is_over = time.saturating_sub(since) >= grace || time.saturating_sub(begun) >= WATCH_MOST;
            let stage = *stopping.borrow_and_update();
            match (look.all, is_over) {
                // At a stop silence is enough.
                (true, is_over) if is_over || stage != Stopping::No => return self.decide(Arrival::Taken),
                (false, true) => return self.decide(Arrival::Unknown),
                (false, false) if stage == Stopping::Ended => return self.decide(Arrival::Stopped),
                _ => {}
            }
            let pause = (waited / 16).clamp(FIRST_LOOK, LOOK_MOST);
            let _ = tokio::time::timeout(pause, stopping.changed()).await;
            waited += pause;
        }
    }

    fn acknowledged(&mut self) {
        if let Some(pieces) = &mut self.pieces {
            self.watches.within(|| pieces.acknowledged());
        }
    }

    fn decide(&mut self, arrival: Arrival) {
        self.line.connection().watched(false);
        // A transfer that is given up leaves nothing behind that could still arrive; one that nobody can tell of is spent.
        if arrival == Arrival::Unknown {
            self.line.cut();
        }
        if let Some(pieces) = self.pieces.take() {
            self.watches.settle(pieces, arrival);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.pieces.is_some() {
            let look = self.line.look();
            self.decide(if look.all && look.parting != Parting::Reset { Arrival::Taken } else { Arrival::Stopped });
        }
    }
}

/// How a transfer ended whose peer has ended or gone on.
fn arrival(look: &Look) -> Arrival {
    if look.parting == Parting::InOrder { Arrival::Taken } else { Arrival::Unknown }
}
