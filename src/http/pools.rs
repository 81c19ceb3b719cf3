//! What the pools of places tell of themselves in the metrics: by kind, never by caller.

use metrics::{counter, gauge};

use super::exchange::Shared;
use crate::shares::{Figures, Places};
use crate::telemetry::metrics as names;

/// The pools of one server, each with its kind.
#[derive(Debug, Clone)]
pub(super) struct Pools([(&'static str, Places); 7]);

impl Pools {
    /// Those that requests take from.
    pub(super) fn of(shared: &Shared) -> Self {
        Self([
            ("download", shared.downloads.clone()),
            ("upload", shared.uploads.clone()),
            ("wait", shared.waits.clone()),
            ("search", shared.searches.clone()),
            ("body", shared.bodies.clone()),
            ("body-byte", shared.body_memory.clone()),
            ("watch", shared.watches.places().clone()),
        ])
    }

    /// Brings their figures to the recorder; called before it is read.
    pub(super) fn tell(&self) {
        for (kind, places) in &self.0 {
            let Figures { size, taken, waiting, over_share, full } = places.figures();
            gauge!(names::PLACES, "kind" => *kind).set(number(size));
            gauge!(names::PLACES_TAKEN, "kind" => *kind).set(number(taken));
            gauge!(names::PLACES_WAITED_FOR, "kind" => *kind).set(number(waiting));
            counter!(names::PLACES_REFUSED, "kind" => *kind, "why" => "share").absolute(over_share);
            counter!(names::PLACES_REFUSED, "kind" => *kind, "why" => "full").absolute(full);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; places and bytes of memory stay far below 2^53")]
const fn number(count: u64) -> f64 {
    count as f64
}
