//! What `FAILPOINTS` says, and doing it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Signal, getpid, kill_process};

use super::Point;

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Kill,
    Abort,
    Panic,
    Error,
    Stop,
}

/// One order of `FAILPOINTS`.
#[derive(Debug)]
pub(super) struct Order {
    point: Point,
    action: Action,
    /// `None`: each time.
    nth: Option<u64>,
    /// Beginning of the key that it is for.
    key: String,
    met: AtomicU64,
}

impl Order {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.trim().split_once('=')?;
        let (rest, key) = rest.split_once('#').unwrap_or((rest, ""));
        let (action, nth) = rest.split_once('@').unwrap_or((rest, "1"));
        let action = match action {
            "kill" => Action::Kill,
            "abort" => Action::Abort,
            "panic" => Action::Panic,
            "error" => Action::Error,
            "stop" => Action::Stop,
            _ => return None,
        };
        let nth = if nth == "*" { None } else { Some(nth.parse().ok()?) };
        let point = Point::ALL.iter().copied().find(|point| point.name() == name)?;
        Some(Self { point, action, nth, key: key.to_owned(), met: AtomicU64::new(0) })
    }

    /// What to do now that a place was met.
    pub(super) fn meet(&self, point: Point, key: &str) -> Option<Action> {
        if self.point != point || !key.starts_with(&self.key) {
            return None;
        }
        let met = self.met.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        self.nth.is_none_or(|nth| nth == met).then_some(self.action)
    }
}

static ORDERS: OnceLock<Vec<Order>> = OnceLock::new();

#[expect(clippy::disallowed_methods, reason = "no setting of a product: read by builds for tests only")]
fn orders() -> &'static [Order] {
    ORDERS.get_or_init(|| {
        let text = std::env::var("FAILPOINTS").unwrap_or_default();
        text.split(';')
            .filter(|order| !order.trim().is_empty())
            .map(|order| Order::parse(order).unwrap_or_else(unread))
            .collect()
    })
}

/// A mistake in `FAILPOINTS` would be a test that tests nothing.
fn unread() -> Order {
    tracing::error!("FAILPOINTS cannot be read");
    std::process::abort();
}

/// Does what was ordered for a place; `true`: it is to fail.
pub(super) fn meet(point: Point, key: &str) -> bool {
    let mut fails = false;
    for action in orders().iter().filter_map(|order| order.meet(point, key)) {
        tracing::warn!(point = point.name(), ?action, "failpoint");
        match action {
            Action::Kill => signal(Signal::KILL),
            Action::Abort => std::process::abort(),
            Action::Panic => broken(),
            Action::Error => fails = true,
            Action::Stop => signal(Signal::STOP),
        }
    }
    fails
}

#[expect(clippy::panic, reason = "that it panics is what was ordered")]
fn broken() {
    panic!("a failpoint");
}

fn signal(signal: Signal) {
    if kill_process(getpid(), signal).is_err() {
        std::process::abort();
    }
}
