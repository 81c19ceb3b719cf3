//! Who may have a connection, decided right after it was taken and before TLS: an address has a share of the places, and one that has
//! its share, or a caller to whom others left nothing, gets the place of a connection on which nothing is being answered. Where
//! there is none its turn is waited for a moment, then it is closed. A request that is being answered is never broken off.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use actix_web::rt::net::{ActixStream, Ready, TcpStream};
use futures_util::task::AtomicWaker;
use ipnet::IpNet;
use metrics::{Counter, Gauge, counter, gauge};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::register::{Gone, Register};
use crate::config::Limits;
use crate::domain::holder::{Holder, Shares};
use crate::shares::{Place, Places, Turned};
use crate::telemetry::metrics as names;

mod answers;
mod register;

pub(super) use answers::{Answering, Answers, Counted};
pub(super) use register::Standing;

/// Connections that wait for a place at a time, at most.
pub(super) const WAITING_MOST: usize = 1_024;

/// How a connection learns that its place went to another.
#[derive(Debug, Default)]
struct Notice {
    is_given: AtomicBool,
    waker: AtomicWaker,
}

impl Notice {
    fn give(&self) {
        self.is_given.store(true, Ordering::Release);
        self.waker.wake();
    }

    fn is_given(&self, context: &Context<'_>) -> bool {
        self.waker.register(context.waker());
        self.is_given.load(Ordering::Acquire)
    }
}

struct Held {
    place: Place,
    notice: Arc<Notice>,
}

/// All connections of a listener. See the module.
pub(super) struct Admission {
    places: Places,
    most: usize,
    /// Networks whose connections have no share.
    trusted: Vec<IpNet>,
    register: Mutex<Register<Held>>,
    standings: [Gauge; 3],
    evicted: Counter,
    turned_away: Counter,
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").field("most", &self.most).finish_non_exhaustive()
    }
}

impl Admission {
    /// Of `most` connections at a time; those of `trusted` networks have no share.
    pub(super) fn new(most: usize, limits: &Limits, trusted: Vec<IpNet>) -> Self {
        let count = |number| u64::try_from(number).unwrap_or(u64::MAX);
        let shares = Shares { caller: limits.caller_share, link: limits.link_share };
        let state = |name: &'static str| gauge!(names::CONNECTIONS, "state" => name);
        Self {
            places: Places::with_room(count(most), shares, Some(limits.turn_wait), count(Self::waiting(most))),
            most,
            trusted,
            register: Mutex::new(Register::new()),
            standings: [state("silent"), state("head"), state("busy")],
            evicted: counter!(names::CONNECTIONS_EVICTED),
            turned_away: counter!(names::CONNECTIONS_TURNED_AWAY),
        }
    }

    fn waiting(most: usize) -> usize {
        most.min(WAITING_MOST)
    }

    /// Connections that the listener takes at a time: those with a place, those that wait for one, and as many again that are just
    /// being closed, so that it never stops taking them.
    pub(super) fn taken_most(&self) -> usize {
        self.most.saturating_add(2 * Self::waiting(self.most))
    }

    fn register(&self) -> MutexGuard<'_, Register<Held>> {
        self.register.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gauge(&self, standing: Standing) -> &Gauge {
        let [silent, head, busy] = &self.standings;
        match standing {
            Standing::Silent => silent,
            Standing::Head => head,
            Standing::Busy => busy,
        }
    }

    /// Whose share a connection counts in: its address for IPv4, /64 for IPv6; `None`: nobody's.
    fn network(&self, address: IpAddr) -> Option<IpNet> {
        let address = address.to_canonical();
        let length = if address.is_ipv4() { 32 } else { 64 };
        let own = IpNet::new(address, length).map_or_else(|_| IpNet::from(address), |network| network.trunc());
        (!self.trusted.iter().any(|network| network.contains(&address))).then_some(own)
    }

    /// Gives a new connection its place.
    ///
    /// # Errors
    /// None can be had, or the connection is gone: then it is to be closed.
    pub(super) async fn admit(self: &Arc<Self>, stream: TcpStream) -> io::Result<Admitted> {
        let network = self.network(stream.peer_addr()?.ip());
        let Some(place) = self.place(network).await else {
            self.turned_away.increment(1);
            return Err(io::ErrorKind::ConnectionRefused.into());
        };
        let notice = Arc::new(Notice::default());
        let id = self.register().enter(network, Held { place, notice: Arc::clone(&notice) });
        self.gauge(Standing::Silent).increment(1.0);
        let seat =
            Seat { admission: Arc::clone(self), id, standing: Cell::new(Standing::Silent), answers: Rc::default() };
        Ok(Admitted { stream, notice, seat: Rc::new(seat) })
    }

    async fn place(&self, network: Option<IpNet>) -> Option<Place> {
        let holder = network.map_or(Holder::TrustedProxies, Holder::Network);
        if let Some(place) = self.at_once(network, &holder) {
            return Some(place);
        }
        match self.places.take(&holder).await {
            Ok(place) => Some(place),
            // What was answered meanwhile may have become silent.
            Err(_) => self.at_once(network, &holder),
        }
    }

    fn at_once(&self, network: Option<IpNet>, holder: &Holder) -> Option<Place> {
        match self.places.try_take(holder) {
            Ok(place) => Some(place),
            // Within one network a place is handed over: its share stays as it is.
            Err(Turned::OverShare) => {
                let gone = self.register().evict_of(network);
                gone.map(|gone| self.evicted(gone))
            }
            Err(Turned::Full) => {
                let gone = self.register().evict_of_most();
                drop(gone.map(|gone| self.evicted(gone)));
                self.places.try_take(holder).ok()
            }
        }
    }

    fn evicted(&self, gone: Gone<Held>) -> Place {
        self.gauge(gone.standing).decrement(1.0);
        self.evicted.increment(1);
        gone.held.notice.give();
        gone.held.place
    }
}

/// The place of one connection, until it ends.
#[derive(Debug)]
pub(super) struct Seat {
    admission: Arc<Admission>,
    id: u64,
    standing: Cell<Standing>,
    answers: Rc<Answers>,
}

impl Seat {
    /// Notes what the connection does from now on. `false`: its place went to another.
    pub(super) fn stands(&self, standing: Standing) -> bool {
        if self.standing.get() == standing {
            return true;
        }
        let Some(before) = self.admission.register().stands(self.id, standing) else { return false };
        self.standing.set(standing);
        self.admission.gauge(before).decrement(1.0);
        self.admission.gauge(standing).increment(1.0);
        true
    }

    /// The count of its answers.
    pub(super) fn answers(&self) -> &Rc<Answers> {
        &self.answers
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let gone = self.admission.register().leave(self.id);
        if let Some(gone) = gone {
            self.admission.gauge(gone.standing).decrement(1.0);
        }
    }
}

/// A connection with a place. It breaks off once that went to another.
#[derive(Debug)]
pub(super) struct Admitted {
    stream: TcpStream,
    notice: Arc<Notice>,
    seat: Rc<Seat>,
}

impl Admitted {
    /// The socket.
    pub(super) fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// Its place.
    pub(super) fn seat(&self) -> &Rc<Seat> {
        &self.seat
    }
}

impl AsyncRead for Admitted {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.notice.is_given(context) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, out)
    }
}

impl AsyncWrite for Admitted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl ActixStream for Admitted {
    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_read_ready(&self.stream, context)
    }

    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_write_ready(&self.stream, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_counts_alone_in_ipv4_and_with_its_64_in_ipv6_and_a_trusted_proxy_not_at_all() {
        let trusted = vec!["10.0.0.0/8".parse().unwrap(), "2001:db8:ff::/48".parse().unwrap()];
        let admission = Admission::new(16, &Limits::default(), trusted);
        for (address, network) in [
            ("192.0.2.77", Some("192.0.2.77/32")),
            ("::ffff:192.0.2.77", Some("192.0.2.77/32")),
            ("2001:db8:1:2:3::4", Some("2001:db8:1:2::/64")),
            ("10.1.2.3", None),
            ("::ffff:10.1.2.3", None),
            ("2001:db8:ff::1", None),
        ] {
            let counted = admission.network(address.parse().unwrap()).map(|network| network.to_string());
            assert_eq!(counted.as_deref(), network, "{address}");
        }
    }
}
