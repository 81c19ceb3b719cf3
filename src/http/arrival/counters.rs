//! A connection's TCP counters, read through a duplicate of its descriptor; on systems other than Linux there are none. Nothing is
//! decided here.

#[cfg(target_os = "linux")]
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use actix_web::rt::net::TcpStream;

use super::Sample;

/// A connection beside the framework's own hold on it: it goes with the connection, or with the last watch of it.
#[derive(Debug)]
pub(in crate::http) struct Connection {
    /// Bytes of a peer's `close_notify` under TLS; 0 without.
    pub(super) goodbye: u64,
    /// Whether the end of a download over it is awaited.
    is_watched: AtomicBool,
    /// The last counters of a connection that was cut: cutting clears those of the system.
    last: Mutex<Option<Sample>>,
    #[cfg(target_os = "linux")]
    descriptor: OwnedFd,
}

#[cfg(target_os = "linux")]
mod tcp_info {
    //! The socket option that no other crate wraps in safe Rust.
    use nix::{getsockopt_impl, sockopt_impl};

    sockopt_impl!(
        /// `TCP_INFO` of `tcp(7)`.
        TcpInfo,
        GetOnly,
        libc::IPPROTO_TCP,
        libc::TCP_INFO,
        libc::tcp_info
    );
}

impl Connection {
    /// Whether a goodbye of this server would blur what its peer's end says.
    pub(in crate::http) fn is_watched_under_tls(&self) -> bool {
        self.goodbye > 0 && self.is_watched.load(Ordering::Acquire)
    }

    /// Notes whether the end of a download over it is awaited.
    pub(super) fn watched(&self, is_watched: bool) {
        self.is_watched.store(is_watched, Ordering::Release);
    }
}

#[cfg(target_os = "linux")]
impl Connection {
    /// Of a new connection. `goodbye`: bytes of a `close_notify` on it.
    pub(in crate::http) fn of(stream: &TcpStream, goodbye: u64) -> Option<Self> {
        stream.as_fd().try_clone_to_owned().ok().map(|descriptor| Self {
            goodbye,
            is_watched: AtomicBool::new(false),
            last: Mutex::new(None),
            descriptor,
        })
    }

    /// The counters now, or as they were when it was cut.
    pub(in crate::http) fn sample(&self) -> Option<Sample> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).or_else(|| self.counters())
    }

    /// Ends the connection with a reset and drops what the system still holds of it. Closing sends none while a duplicate of the descriptor
    /// lives; a connect to no address does at once (`connect(2)`, `AF_UNSPEC`).
    pub(in crate::http) fn cut(&self) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some() {
            return;
        }
        *last = self.counters().map(Sample::cut);
        if let Err(error) = rustix::net::connect_unspec(&self.descriptor) {
            tracing::warn!(kind = ?error.kind(), "a connection could not be reset");
        }
    }

    fn counters(&self) -> Option<Sample> {
        /// `TCP_CLOSE` of Linux's `tcp_states.h`.
        const CLOSE: u8 = 7;
        /// `TCP_TIME_WAIT`, `TCP_CLOSE_WAIT`, `TCP_LAST_ACK`, `TCP_CLOSING`: the peer's FIN has come.
        const HALF_CLOSED: [u8; 4] = [6, 8, 9, 11];
        let info = nix::sys::socket::getsockopt(&self.descriptor, tcp_info::TcpInfo).ok()?;
        Some(Sample {
            sent: info.tcpi_bytes_sent.saturating_sub(info.tcpi_bytes_retrans),
            acked: info.tcpi_bytes_acked,
            received: info.tcpi_bytes_received,
            unsent: u64::from(info.tcpi_notsent_bytes),
            closed: info.tcpi_state == CLOSE,
            is_half_closed: HALF_CLOSED.contains(&info.tcpi_state),
            is_cut: false,
        })
    }

    /// The framework lets go of the connection: its peer sees the end now, and not when the last watch of it is over.
    pub(in crate::http) fn end(&self) {
        // One that is over already says so; nothing is to be done then.
        let _over = rustix::net::shutdown(&self.descriptor, rustix::net::Shutdown::Write);
    }
}

#[cfg(not(target_os = "linux"))]
impl Connection {
    pub(in crate::http) fn of(_: &TcpStream, _: u64) -> Option<Self> {
        None
    }

    pub(in crate::http) fn sample(&self) -> Option<Sample> {
        None
    }

    pub(in crate::http) fn cut(&self) {}

    pub(in crate::http) fn end(&self) {}
}
