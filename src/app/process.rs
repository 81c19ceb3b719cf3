//! What this process asks of the operating system before it touches data: nothing that it makes can be read by others, and no core dump
//! holds keys.

use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, Resource, Rlimit};

/// Sets the umask, and forbids core dumps and tracing by other processes of this user. Failures are told in the log and no reason
/// to stop: a container may forbid the calls and the dumps alike.
pub fn harden() {
    rustix::process::umask(Mode::from_raw_mode(0o077));
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if rustix::process::setrlimit(Resource::Core, none).is_err() {
        tracing::warn!("core dumps could not be limited");
    }
    if rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).is_err() {
        tracing::warn!("the process could not be made undumpable");
    }
}
