//! Ends of downloads on their way into the store. The answer is gone when a download ends, so how it ended is written by a task of its
//! own; a stop waits for those tasks.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::Delivery;

/// How long a stop waits for what is being written.
const STOP_MOST: Duration = Duration::from_secs(10);

/// The tasks.
#[derive(Debug, Default)]
pub(super) struct Endings(TaskTracker);

impl Endings {
    /// Begins to write, on the runtime of the caller; without one, at a process's end, there is nobody to write.
    pub(super) fn spawn(&self, writing: impl Future<Output = ()> + Send + 'static) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self.0.spawn_on(writing, &runtime);
        }
    }
}

impl Endings {
    /// Runs what must not break off when whoever asked for it is gone, and what a stop waits for.
    pub(super) fn run<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.0.spawn(task)
    }
}

impl Delivery {
    /// Waits until the ends of all downloads are written, a bounded time. Called once nothing is sent any more, before the store is closed.
    pub async fn downloads_ended(&self) {
        self.endings.0.close();
        if tokio::time::timeout(STOP_MOST, self.endings.0.wait()).await.is_err() {
            tracing::warn!(left = self.endings.0.len(), "ends of downloads not recorded before the stop");
        }
    }
}
