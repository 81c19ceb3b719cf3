//! How much of an answer may wait in the system before it is on its way: a withdrawn file has left this machine by no more than what its
//! reader's window took, and a reader that stands still holds little of the system's memory.

use std::net::TcpListener;

/// Bytes that wait unsent on one connection, beside one write that is taken whole (`TCP_NOTSENT_LOWAT`, `tcp(7)`). Measured: a reader that reads
/// as fast as it can is no slower for it; at half of this it is.
#[cfg(target_os = "linux")]
const UNSENT_MOST: u32 = 64 * 1024;

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
    if nix::sys::socket::setsockopt(listener, sockopt::NotSentLowat, &UNSENT_MOST).is_err() {
        tracing::warn!("what waits to be sent cannot be kept small on this system");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = listener;
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn connections_inherit_it_from_their_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        keep_small(&listener);
        let _reader = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (connection, _) = listener.accept().unwrap();
        assert_eq!(nix::sys::socket::getsockopt(&connection, sockopt::NotSentLowat), Ok(UNSENT_MOST));
    }
}
