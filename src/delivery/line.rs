//! The connection that a transfer goes over, as far as its system can tell: what its peer has, and the means to end it at once.
//! The transport fulfils it; a transfer without one (another system, a test) is believed what its reader says of it.

use std::fmt;

use crate::domain::claim::Look;

/// The connection of one transfer, from before its first byte.
pub trait Line: Send + Sync + fmt::Debug {
    /// What the peer's system has acknowledged of the file's bytes by now.
    fn look(&self) -> Look;

    /// Resets the connection: what still waits to be sent never leaves. What was acknowledged before stays known. `false`: the peer's system
    /// has all of this transfer, and the connection, which may carry another by now, is left alone.
    fn cut(&self) -> bool;
}
