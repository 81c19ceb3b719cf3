//! A connection's TCP counters, read through a duplicate of its descriptor; on systems other than Linux there are none. Nothing is
//! decided here.

use std::any::Any;
#[cfg(target_os = "linux")]
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;

use super::Sample;

/// A connection beside the framework's own hold on it: it goes with the connection, or with the last watch of it.
#[derive(Debug)]
pub(in crate::http) struct Connection {
    #[cfg(target_os = "linux")]
    descriptor: OwnedFd,
}

/// Notes a new connection for the requests that come over it.
pub(in crate::http) fn on_connect(stream: &dyn Any, noted: &mut Extensions) {
    let plain = stream.downcast_ref::<TcpStream>();
    let tcp = plain.or_else(|| stream.downcast_ref::<TlsStream<TcpStream>>().map(|tls| tls.get_ref().0));
    if let Some(connection) = tcp.and_then(Connection::of) {
        noted.insert(Rc::new(connection));
    }
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

#[cfg(target_os = "linux")]
impl Connection {
    fn of(stream: &TcpStream) -> Option<Self> {
        stream.as_fd().try_clone_to_owned().ok().map(|descriptor| Self { descriptor })
    }

    /// The counters now.
    pub(super) fn sample(&self) -> Option<Sample> {
        /// `TCP_CLOSE` of Linux's `tcp_states.h`.
        const CLOSE: u8 = 7;
        let info = nix::sys::socket::getsockopt(&self.descriptor, tcp_info::TcpInfo).ok()?;
        Some(Sample {
            sent: info.tcpi_bytes_sent.saturating_sub(info.tcpi_bytes_retrans),
            acked: info.tcpi_bytes_acked,
            received: info.tcpi_bytes_received,
            waiting: info.tcpi_notsent_bytes > 0 || info.tcpi_unacked > 0,
            closed: info.tcpi_state == CLOSE,
        })
    }
}

#[cfg(not(target_os = "linux"))]
impl Connection {
    fn of(_: &TcpStream) -> Option<Self> {
        None
    }

    pub(super) fn sample(&self) -> Option<Sample> {
        None
    }
}
