//! Bytes against rows, after each start and daily: a page, a pause, the next page, so that a large store is compared beside its work.

use std::sync::Arc;
use std::time::Duration;

use super::supervisor::{Running, Supervisor, guarded};
use crate::delivery::{Delivery, Reconciled};

/// Between two pages.
const PAUSE: Duration = Duration::from_millis(100);
/// Between the ends of two comparisons.
const EVERY: Duration = Duration::from_secs(86_400);
/// After a page that failed.
const AGAIN: Duration = Duration::from_secs(60);

/// Compares until stopped.
pub(super) async fn compare_all(delivery: Arc<Delivery>, supervisor: Supervisor, mut running: Running) {
    let mut so_far = Reconciled::default();
    while !running.is_stopped() {
        let page = guarded(delivery.reconcile_page(so_far)).await;
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
            Some(Err(_)) | None => AGAIN,
        };
        let turn = if pause == AGAIN { Err("files could not be compared with their rows".to_owned()) } else { Ok(()) };
        supervisor.note(&running, turn);
        running.rest(pause).await;
    }
}

fn tell(compared: Reconciled) {
    let Reconciled { orphans, kept, missing, .. } = compared;
    if orphans + kept + missing > 0 {
        tracing::warn!(orphans, kept, missing, "files were compared with their rows");
    }
}
