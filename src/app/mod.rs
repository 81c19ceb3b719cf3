//! Composition root: settings → parts → server and workers. The only room that names concrete parts.

mod clock;
mod failure;
mod folder;
mod keyring;
mod log_check;
mod process;

pub use clock::SystemClock;
pub use failure::StartFailure;
pub use folder::{DataFolder, LockedFolder};
