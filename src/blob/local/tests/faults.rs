//! A disk that fails at a chosen step.

use std::io;
use std::sync::Mutex;

use super::super::disk::Step;

/// Lets the `nth` coming occurrence (0 = the next) of a step fail, once.
#[derive(Debug, Default)]
pub(in super::super) struct Faults(Mutex<Option<(Step, u32, rustix::io::Errno)>>);

impl Faults {
    pub(in super::super) fn plan(&self, step: Step, nth: u32, error: rustix::io::Errno) {
        *self.0.lock().unwrap() = Some((step, nth, error));
    }

    /// Whether what was planned has not happened yet.
    pub(in super::super) fn pending(&self) -> bool {
        self.0.lock().unwrap().is_some()
    }

    pub(in super::super) fn meet(&self, step: Step) -> io::Result<()> {
        let mut plan = self.0.lock().unwrap();
        match &mut *plan {
            Some((planned, 0, error)) if *planned == step => {
                let error = *error;
                *plan = None;
                Err(error.into())
            }
            Some((planned, left, _)) if *planned == step => {
                *left -= 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
