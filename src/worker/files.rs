//! Bytes against rows, after each start and daily: a page, a pause, the next page, so that a large store is compared beside its work.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::runner;
use crate::delivery::{Delivery, Reconciled};

/// Between two pages.
const PAUSE: Duration = Duration::from_millis(100);
/// Between the ends of two comparisons.
const EVERY: Duration = Duration::from_secs(86_400);
/// After a page that failed.
const AGAIN: Duration = Duration::from_secs(60);

/// Compares until stopped.
pub(super) async fn compare_all(delivery: Arc<Delivery>, mut stopped: watch::Receiver<bool>) {
    let mut so_far = Reconciled::default();
    while !*stopped.borrow() {
        let page = runner::guarded(delivery.reconcile_page(so_far)).await;
        let pause = match page {
            Some(Ok(next)) if next.is_done() => {
                tell(next);
                so_far = Reconciled::default();
                EVERY
            }
            Some(Ok(next)) => {
                so_far = next;
                PAUSE
            }
            Some(Err(_)) | None => {
                tracing::warn!("files could not be compared with their rows; trying again");
                AGAIN
            }
        };
        tokio::select! {
            _ = stopped.changed() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

fn tell(compared: Reconciled) {
    if compared.orphans + compared.missing > 0 {
        let (orphans, missing) = (compared.orphans, compared.missing);
        tracing::warn!(orphans, missing, "files were compared with their rows");
    }
}
