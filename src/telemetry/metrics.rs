//! Metrics in Prometheus' text format: the one list of names, and the recorder. `docs/operations.md` has the same list; a test
//! compares. Labels are route templates, methods, statuses, codes and our own words: never ids, paths or addresses.

use std::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// Requests by `route`, `method`, `status`.
pub const REQUESTS: &str = "daylily_http_requests_total";
/// Seconds until the head of the answer, by `route`, `method`.
pub const REQUEST_SECONDS: &str = "daylily_http_request_duration_seconds";
/// Connections by `state`: `silent` (no byte of a request), `head` (part of one), `busy` (a request is answered).
pub const CONNECTIONS: &str = "daylily_connections";
/// Connections on which nothing was answered, closed because their place went to another.
pub const CONNECTIONS_EVICTED: &str = "daylily_connections_evicted_total";
/// New connections closed because no place could be had.
pub const CONNECTIONS_TURNED_AWAY: &str = "daylily_connections_turned_away_total";
/// Places that there are, by `kind`.
pub const PLACES: &str = "daylily_places";
/// Places that are held, by `kind`.
pub const PLACES_TAKEN: &str = "daylily_places_taken";
/// Requests that wait for a place, by `kind`.
pub const PLACES_WAITED_FOR: &str = "daylily_places_waiting";
/// Requests that got no place, by `kind` and `why` (`share`, `full`).
pub const PLACES_REFUSED: &str = "daylily_places_refused_total";
/// Requests being answered.
pub const REQUESTS_RUNNING: &str = "daylily_http_requests_running";
/// Refusals by `code`.
pub const REFUSALS: &str = "daylily_refusals_total";
/// Downloads by `outcome` (`complete`, `part`, `broken`, `cut`).
pub const DOWNLOADS: &str = "daylily_downloads_total";
/// Downloads under way.
pub const DOWNLOADS_RUNNING: &str = "daylily_downloads_running";
/// Bytes of files handed to connections.
pub const DOWNLOADED_BYTES: &str = "daylily_downloaded_bytes_total";
/// Bytes of files taken in raw.
pub const UPLOADED_BYTES: &str = "daylily_uploaded_bytes_total";
/// Connections cut because their reader took too little.
pub const READERS_CUT: &str = "daylily_readers_cut_total";
/// Uploads under way.
pub const UPLOADS_RUNNING: &str = "daylily_uploads_running";
/// Panics caught in handlers: each is a defect.
pub const PANICS: &str = "daylily_panics_total";
/// Turns of background loops that failed, panicked or broke off, by `loop`.
pub const LOOP_FAILURES: &str = "daylily_loop_failures_total";
/// When the newest checkpoint of the audit log reached the checkpoint folder, in seconds since 1970.
pub const CHECKPOINT_TIME: &str = "daylily_checkpoint_timestamp_seconds";
/// Tries that failed to copy the database's write-ahead log into the database.
pub const FAILED_LOG_COPIES: &str = "daylily_database_log_copies_failed_total";
/// Endings that wait in the database for the file outside.
pub const ENDINGS_LEFT: &str = "daylily_endings_left";
/// Log lines that could not be written.
pub const LOG_LINES_LOST: &str = "daylily_log_lines_lost_total";
/// Refusals that no audit entry could be kept for, because too many prefixes were counted.
pub const REFUSALS_TOGETHER: &str = "daylily_refusals_together_total";
/// Notifications by `outcome` (`taken`, `withheld`, `no-answer`, `refused`, `unable`, `given-up`).
pub const NOTIFICATIONS: &str = "daylily_notifications_total";
/// Events that wait to be sent.
pub const NOTIFICATIONS_WAITING: &str = "daylily_notifications_waiting";
/// Age of the oldest event that waits, in seconds.
pub const NOTIFICATIONS_OLDEST: &str = "daylily_notifications_oldest_age_seconds";
/// Hosts of receivers that are left alone for now, because they failed again and again.
pub const NOTIFICATIONS_HOSTS_LEFT_ALONE: &str = "daylily_notifications_hosts_left_alone";

/// Looks of an engine at a file by `engine` and `verdict` (`clean`, the name of a finding, `none`).
pub const SCANS: &str = "daylily_scans_total";
/// Seconds that an engine looked at a file, by `engine`.
pub const SCAN_SECONDS: &str = "daylily_scan_duration_seconds";
/// Documents that wait for their verdict.
pub const SCANS_WAITING: &str = "daylily_scans_waiting";
/// Age of the oldest document that waits for its verdict, in seconds.
pub const SCANS_OLDEST: &str = "daylily_scans_oldest_age_seconds";

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Counter,
    Gauge,
    Histogram,
}

/// Name, shape, unit, meaning.
const LIST: &[(&str, Shape, Unit, &str)] = &[
    (REQUESTS, Shape::Counter, Unit::Count, "Requests, by route, method and status"),
    (REQUEST_SECONDS, Shape::Histogram, Unit::Seconds, "Time until the head of the answer, by route and method"),
    (REQUESTS_RUNNING, Shape::Gauge, Unit::Count, "Requests being answered"),
    (CONNECTIONS, Shape::Gauge, Unit::Count, "Connections, by state"),
    (CONNECTIONS_EVICTED, Shape::Counter, Unit::Count, "Connections closed because their place went to another"),
    (CONNECTIONS_TURNED_AWAY, Shape::Counter, Unit::Count, "New connections closed because no place could be had"),
    (PLACES, Shape::Gauge, Unit::Count, "Places that there are, by kind"),
    (PLACES_TAKEN, Shape::Gauge, Unit::Count, "Places that are held, by kind"),
    (PLACES_WAITED_FOR, Shape::Gauge, Unit::Count, "Requests that wait for a place, by kind"),
    (PLACES_REFUSED, Shape::Counter, Unit::Count, "Requests that got no place, by kind and why"),
    (REFUSALS, Shape::Counter, Unit::Count, "Refusals, by code"),
    (DOWNLOADS, Shape::Counter, Unit::Count, "Downloads, by outcome"),
    (DOWNLOADS_RUNNING, Shape::Gauge, Unit::Count, "Downloads under way"),
    (DOWNLOADED_BYTES, Shape::Counter, Unit::Bytes, "Bytes of files handed to connections"),
    (UPLOADED_BYTES, Shape::Counter, Unit::Bytes, "Bytes of files taken in raw"),
    (READERS_CUT, Shape::Counter, Unit::Count, "Connections cut because their reader took too little"),
    (UPLOADS_RUNNING, Shape::Gauge, Unit::Count, "Uploads under way"),
    (PANICS, Shape::Counter, Unit::Count, "Panics caught in handlers"),
    (LOOP_FAILURES, Shape::Counter, Unit::Count, "Turns of background loops that failed, by loop"),
    (CHECKPOINT_TIME, Shape::Gauge, Unit::Seconds, "Time of the newest checkpoint in the checkpoint folder"),
    (FAILED_LOG_COPIES, Shape::Counter, Unit::Count, "Tries that failed to copy the write-ahead log into the database"),
    (ENDINGS_LEFT, Shape::Gauge, Unit::Count, "Endings that wait in the database for the file outside"),
    (LOG_LINES_LOST, Shape::Counter, Unit::Count, "Log lines that could not be written"),
    (REFUSALS_TOGETHER, Shape::Counter, Unit::Count, "Refusals that the audit log counts without their network"),
    (NOTIFICATIONS, Shape::Counter, Unit::Count, "Attempts to notify, by outcome"),
    (NOTIFICATIONS_WAITING, Shape::Gauge, Unit::Count, "Events that wait to be sent"),
    (NOTIFICATIONS_OLDEST, Shape::Gauge, Unit::Seconds, "Age of the oldest event that waits to be sent"),
    (NOTIFICATIONS_HOSTS_LEFT_ALONE, Shape::Gauge, Unit::Count, "Hosts of receivers that are left alone for now"),
    (SCANS, Shape::Counter, Unit::Count, "Files that an engine looked at, by engine and verdict"),
    (SCAN_SECONDS, Shape::Histogram, Unit::Seconds, "Time that an engine looked at a file, by engine"),
    (SCANS_WAITING, Shape::Gauge, Unit::Count, "Documents that wait for their verdict"),
    (SCANS_OLDEST, Shape::Gauge, Unit::Seconds, "Age of the oldest document that waits for its verdict"),
];

/// Upper bounds of the buckets of every metric in seconds.
const SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// What the recorder holds, as text on demand.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// Makes the recorder of this process, once; later calls get the same one.
    ///
    /// # Errors
    /// When another recorder was installed.
    pub fn install() -> Result<Self, BuildError> {
        static INSTALLED: OnceLock<PrometheusHandle> = OnceLock::new();
        static INSTALLING: Mutex<()> = Mutex::new(());
        let _one = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = INSTALLED.get() {
            return Ok(Self(handle.clone()));
        }
        // Without buckets a histogram would be a summary, which cannot be added up over nodes.
        let builder =
            PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?;
        let handle = builder.install_recorder()?;
        describe();
        Ok(Self(INSTALLED.get_or_init(|| handle).clone()))
    }

    /// The metrics as text (`text/plain; version=0.0.4`).
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Puts samples into their buckets. Called every minute, or memory grows with each request until someone scrapes.
    pub fn run_upkeep(&self) {
        self.0.run_upkeep();
    }
}

/// Describes every metric, and makes those without labels exist at zero.
fn describe() {
    for (name, shape, unit, meaning) in LIST {
        match shape {
            Shape::Counter => describe_counter!(*name, *unit, *meaning),
            Shape::Gauge => describe_gauge!(*name, *unit, *meaning),
            Shape::Histogram => describe_histogram!(*name, *unit, *meaning),
        }
    }
    for name in [DOWNLOADED_BYTES, UPLOADED_BYTES, READERS_CUT, PANICS, REFUSALS_TOGETHER] {
        counter!(name).absolute(0);
    }
    for name in [REQUESTS_RUNNING, DOWNLOADS_RUNNING, UPLOADS_RUNNING, ENDINGS_LEFT] {
        gauge!(name).set(0.0);
    }
    for outcome in ["complete", "part", "broken", "cut"] {
        counter!(DOWNLOADS, "outcome" => outcome).absolute(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorder_is_made_once_and_shows_what_has_not_happened_yet() {
        let first = Metrics::install().unwrap();
        Metrics::install().unwrap();
        first.run_upkeep();
        let text = first.render();
        for line in ["daylily_panics_total ", "daylily_downloads_total{outcome=\"cut\"} 0"] {
            assert!(text.contains(line), "{line} is missing in:\n{text}");
        }
    }

    #[test]
    fn the_page_for_operators_names_every_metric_and_field() {
        let page = include_str!("../../docs/operations.md");
        for (name, ..) in LIST {
            assert!(page.contains(&format!("`{name}`")), "{name}");
        }
        for field in super::super::fields::ALL {
            assert!(page.contains(&format!("`{field}`")), "{field}");
        }
    }
}
