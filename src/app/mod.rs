//! Composition root: settings → parts → server and workers. The only room that names concrete parts.

mod clock;
mod failure;
mod folder;
mod instance;
mod keyring;
pub mod log_check;
mod operations;
mod process;

pub use clock::SystemClock;
pub use failure::StartFailure;
pub use folder::{DataFolder, LockedFolder};
pub use instance::{Found, Instance, Nature, Seeded, open_vault};
pub use keyring::{KeyRing, Purpose};
pub use operations::Commands;
pub use process::harden;
