//! How much of an answer may wait in the system before it is on its way: a withdrawn file has left this machine by no more than what its
//! reader's window took, and a reader that stands still holds little of the system's memory.

use std::net::TcpListener;

/// Bytes that wait unsent on one connection, beside one write that is taken whole (`TCP_NOTSENT_LOWAT`, `tcp(7)`). A fast reader loses nothing by it: the
/// system wakes the connection's task when half of it is gone.
#[cfg(target_os = "linux")]
const UNSENT_MOST: u32 = 128 * 1024;

#[cfg(target_os = "linux")]
mod sockopt {
    //! The socket option that no other crate wraps in safe Rust.
    use nix::{getsockopt_impl, setsockopt_impl, sockopt_impl};

    sockopt_impl!(
        /// `TCP_NOTSENT_LOWAT` of Linux.
        NotSentLowat,
        Both,
        libc::IPPROTO_TCP,
        libc::TCP_NOTSENT_LOWAT,
        u32
    );
}

/// Connections inherit it from the listener, those under TLS too.
pub(super) fn keep_small(listener: &TcpListener) {
    #[cfg(target_os = "linux")]
    {
        let most = std::env::var("LOWAT").ok().and_then(|v| v.parse().ok()).unwrap_or(UNSENT_MOST);
        if nix::sys::socket::setsockopt(listener, sockopt::NotSentLowat, &most).is_err() {
            tracing::warn!("what waits to be sent cannot be kept small on this system");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = listener;
}
