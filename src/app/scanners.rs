//! The engines of the safety check that the settings name.

use std::sync::Arc;
use std::time::Duration;

use ::metrics::{counter, gauge, histogram};

use crate::config::{ClamdAddress, Limits, Settings};
use crate::delivery::ScanWatch;
use crate::domain::clock::Clock;
use crate::domain::verdict::Engine;
use crate::scan::Scanner;
use crate::scan::clamd::{Address, ClamdScanner};
use crate::scan::rules::RuleScanner;
use crate::telemetry::metrics;

/// Scans as metrics.
#[derive(Debug)]
pub(super) struct Counted;

impl ScanWatch for Counted {
    fn scanned(&self, engine: Engine, said: &'static str, took: Duration) {
        counter!(metrics::SCANS, "engine" => engine.name(), "verdict" => said).increment(1);
        histogram!(metrics::SCAN_SECONDS, "engine" => engine.name()).record(took.as_secs_f64());
    }

    fn backlog(&self, documents: u64, oldest: Duration) {
        gauge!(metrics::SCANS_WAITING).set(u32::try_from(documents).unwrap_or(u32::MAX));
        gauge!(metrics::SCANS_OLDEST).set(oldest.as_secs_f64());
    }
}

/// In the order of the settings; none twice.
pub(super) fn of(settings: &Settings, clock: &Arc<dyn Clock>) -> Vec<Arc<dyn Scanner>> {
    let make = |engine: &Engine| match engine {
        Engine::Rules => Some(Arc::new(RuleScanner::new(scan_limits(&settings.limits))) as Arc<dyn Scanner>),
        Engine::Clamd => clamd(settings, clock).map(|clamd| Arc::new(clamd) as Arc<dyn Scanner>),
    };
    settings.scan.engines.iter().filter_map(make).collect()
}

/// clamd, where one is set up; for `doctor`, which probes it without a server.
pub fn clamd(settings: &Settings, clock: &Arc<dyn Clock>) -> Option<ClamdScanner> {
    let used = settings.scan.engines.contains(&Engine::Clamd);
    let address = match settings.scan.clamd.as_ref().filter(|_| used)? {
        ClamdAddress::Unix(path) => Address::Unix(path.clone()),
        ClamdAddress::Tcp(host, port) => Address::Tcp(host.clone(), *port),
    };
    Some(ClamdScanner::new(address, settings.scan.timeout, Arc::clone(clock)))
}

fn scan_limits(limits: &Limits) -> crate::scan::rules::Limits {
    crate::scan::rules::Limits {
        depth: u32::try_from(limits.archive_depth).unwrap_or(u32::MAX),
        entries: u64::try_from(limits.archive_entries).unwrap_or(u64::MAX),
        unpacked: limits.archive_unpacked,
        ratio: u64::try_from(limits.archive_ratio).unwrap_or(u64::MAX),
        ..crate::scan::rules::Limits::default()
    }
}
