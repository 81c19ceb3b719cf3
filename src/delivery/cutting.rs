//! Ends transfers that may not go on, those too whose last piece was handed on long ago: what waits in the framework's buffer or in the
//! kernel's queue has not left yet. A revocation cuts at once; time and state are judged in rounds.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::still_open::still_open;
use super::{Delivery, Line};
use crate::domain::epoch::Subject;
use crate::domain::id::{FileId, LinkId};
use crate::domain::refusal::Code;

/// A transfer from its entry in the log to its end on the wire.
#[derive(Debug)]
pub(super) struct Running {
    /// What it sends.
    pub(super) file: FileId,
    /// What it is about; `None` for a Binary that no document has claimed.
    pub(super) subject: Option<Subject>,
    /// The link that opened it; `None` for a handle with a token, which only a wider revocation cuts.
    pub(super) link: Option<LinkId>,
    /// The newest revocation that concerned reader and file when the right was given.
    pub(super) epoch: u32,
    /// The monotonic time at which it has lasted too long.
    pub(super) ends: Option<Duration>,
    /// Its connection, where that can be told of.
    pub(super) line: Option<Arc<dyn Line>>,
    /// Why it was cut, once it was.
    pub(super) cut: Mutex<Option<Code>>,
}

impl Running {
    /// Ends it at once: nothing that the peer's system does not have yet reaches it. One that has arrived whole stays what it is.
    pub(super) fn cut(&self, code: Code) {
        // Held until both is done: the reset alone ends the transfer, which then asks for the reason.
        let mut cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        if cut.is_none() && self.line.as_ref().is_none_or(|line| line.cut()) {
            *cut = Some(code);
        }
    }

    /// For which code it was cut.
    pub(super) fn why_cut(&self) -> Option<Code> {
        *self.cut.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Delivery {
    /// Why a transfer may not go on, as far as memory tells: cut already, out of time, revoked.
    pub(super) fn cut_because(&self, running: &Running) -> Option<Code> {
        let late = running.ends.is_some_and(|ends| self.clock.monotonic() > ends);
        running
            .why_cut()
            .or(late.then_some(Code::RequestTimeout))
            .or_else(|| self.is_revoked(running).then_some(Code::LinkRevoked))
    }

    fn is_revoked(&self, running: &Running) -> bool {
        let Some(subject) = &running.subject else { return false };
        let epochs = self.store.epochs();
        let revoked = match &running.link {
            Some(link) => epochs.revoked_at(subject, running.epoch, link),
            None => epochs.revoked_since(subject, running.epoch),
        };
        revoked.is_some()
    }

    /// Cuts every transfer that time is over for or that is revoked.
    pub(super) fn cut_ended(&self) {
        for running in self.transfers.all() {
            if running.why_cut().is_none()
                && let Some(code) = self.cut_because(&running)
            {
                running.cut(code);
            }
        }
    }

    /// One round over all transfers: time, revocation and, where the state of some document has changed since the last round, that.
    pub async fn cut_closed(&self) {
        self.cut_ended();
        let count = self.store.state_changes();
        if !self.transfers.has_changed(count) {
            return;
        }
        let mut is_known = true;
        for running in self.transfers.all() {
            match still_open(&self.store, running.file).await {
                Ok(()) => {}
                // Nobody can tell now: the next round asks again, and no piece goes meanwhile that was not read already.
                Err(Code::DependencyUnavailable) => is_known = false,
                Err(code) => running.cut(code),
            }
        }
        if is_known {
            self.transfers.seen(count);
        }
    }
}
