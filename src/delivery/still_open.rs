//! Whether what was opened may still be sent: a transfer asks before each piece. Costs one look at a counter; only after a state
//! of some document changed are the file's facts looked at again, from memory where its own did not.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::domain::id::FileId;
use crate::domain::refusal::Code;
use crate::domain::resource::FileFacts;
use crate::store::Store;

type Look = Pin<Box<dyn Future<Output = Result<(), Code>> + Send>>;

/// A watch on one file, from before its facts were read.
pub(super) struct StillOpen {
    store: Arc<dyn Store>,
    file: FileId,
    seen: u64,
    look: Option<Look>,
}

impl fmt::Debug for StillOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StillOpen").field("file", &self.file).field("seen", &self.seen).finish_non_exhaustive()
    }
}

impl StillOpen {
    /// Begins to watch. Before the facts are read on which opening depends: no change falls between.
    pub(super) fn new(store: &Arc<dyn Store>, file: FileId) -> Self {
        Self { store: Arc::clone(store), file, seen: store.state_changes(), look: None }
    }

    /// Whether the next piece may go.
    ///
    /// # Errors
    /// The code of the state that closed it; `dependency-unavailable` when nobody can tell (nothing goes then).
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Code>> {
        let count = self.store.state_changes();
        if count != self.seen {
            self.seen = count;
            let (store, file) = (Arc::clone(&self.store), self.file);
            self.look = Some(Box::pin(async move { still_open(&store, file).await }));
        }
        let Some(look) = &mut self.look else { return Poll::Ready(Ok(())) };
        let found = ready!(look.as_mut().poll(context));
        self.look = None;
        Poll::Ready(found)
    }
}

/// Whether what was opened of a file may go on.
///
/// # Errors
/// As [`StillOpen::poll`].
pub(super) async fn still_open(store: &Arc<dyn Store>, file: FileId) -> Result<(), Code> {
    match store.file(file).await {
        Ok(Some(facts)) => closed(&facts).map_or(Ok(()), Err),
        Ok(None) => Err(Code::ContentPurged),
        Err(_) => Err(Code::DependencyUnavailable),
    }
}

/// What began in time may finish (contract, Links, Time): expiry alone cuts nothing, `max-transfer` and the purge do.
fn closed(facts: &FileFacts) -> Option<Code> {
    let code = facts.document.as_ref().and_then(|document| document.state.closed_because());
    code.filter(|code| *code != Code::ContentExpired)
}
