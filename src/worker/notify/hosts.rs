//! Whose turn it is: a few at once for each host, so that a slow receiver costs its own places only, and none while the host's breaker is
//! open. Turns that must wait do so here, claimed, without a task; where too many wait they are forgotten, and come back when
//! their claim has ended.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use url::Url;

use crate::delivery::notifying::{Breaker, Failed, Permit, Ran};
use crate::domain::subscription::SubscriptionNumber;
use crate::store::{Turn, Work};

/// Turns of one host that run at once.
const PER_HOST: usize = 4;
/// Turns that wait here at most, over all hosts.
const WAITING_MOST: usize = 4_096;
/// Handshakes with one host: so many at once, then one a second, over all clients. The server must not become somebody's scanner.
const HANDSHAKES_AT_ONCE: u32 = 20;
const HANDSHAKE_EVERY: Duration = Duration::from_secs(1);

/// What is known of one host.
#[derive(Debug, Default)]
struct Host {
    running: usize,
    waiting: VecDeque<Turn>,
    breaker: Breaker,
    /// When the bucket of handshakes will be full again.
    handshakes_full_at: Duration,
}

/// A turn that has ended.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    /// Its host ([`host_of`]).
    pub host: String,
    /// Its Subscription.
    pub subscription: SubscriptionNumber,
    /// What it came to; `None`: it could not be sent or remembered.
    pub ran: Option<Ran>,
}

/// All hosts that something runs or waits for.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    hosts: HashMap<String, Host>,
    waiting: usize,
}

/// Host and port of an endpoint; all that cannot be read are one.
pub(super) fn host_of(turn: &Turn) -> String {
    let url = Url::parse(&turn.subscription.terms.endpoint).ok();
    let named = url.as_ref().and_then(|url| Some((url.host_str()?, url.port_or_known_default()?)));
    named.map(|(host, port)| format!("{host}:{port}")).unwrap_or_default()
}

impl Host {
    /// When a handshake may begin; `None`: now, and it is counted.
    fn handshake(&mut self, now: Duration) -> Option<Duration> {
        let earliest = self.handshakes_full_at.saturating_sub(HANDSHAKE_EVERY * (HANDSHAKES_AT_ONCE - 1));
        if earliest > now {
            return Some(earliest);
        }
        self.handshakes_full_at = self.handshakes_full_at.max(now).saturating_add(HANDSHAKE_EVERY);
        None
    }

    /// Takes the next turn that may run now, or says when to ask again.
    fn next(&mut self, now: Duration) -> Result<Turn, Option<Duration>> {
        if self.running >= PER_HOST || self.waiting.is_empty() {
            return Err(None);
        }
        let (mut at, mut again): (usize, Option<Duration>) = (0, None);
        while let Some(turn) = self.waiting.get(at) {
            let held = matches!(turn.work, Work::Handshake { .. }).then(|| self.handshake(now)).flatten();
            match held {
                Some(earliest) => (at, again) = (at + 1, Some(earliest)),
                None => break,
            }
        }
        if at >= self.waiting.len() {
            return Err(again);
        }
        match self.breaker.ask(now) {
            Permit::Go => self.waiting.remove(at).ok_or(None),
            Permit::NotBefore(until) => Err(Some(until)),
            Permit::AfterProbe => Err(None),
        }
    }
}

impl Hosts {
    /// Takes in a claimed turn. An older claim of the same Subscription has ended, or it would not have been claimed again.
    pub(super) fn add(&mut self, turn: Turn) {
        let host = self.hosts.entry(host_of(&turn)).or_default();
        let number = turn.subscription.number;
        match host.waiting.iter_mut().find(|older| older.subscription.number == number) {
            Some(older) => *older = turn,
            None if self.waiting < WAITING_MOST => {
                host.waiting.push_back(turn);
                self.waiting += 1;
            }
            None => {}
        }
    }

    /// The turns that may begin now, at most `limit`, and when to ask again where the reason to wait is time. `in_time`: whether a
    /// claim leaves time for an attempt; one that does not is forgotten.
    pub(super) fn begin(
        &mut self,
        limit: usize,
        now: Duration,
        in_time: &dyn Fn(&Turn) -> bool,
    ) -> (Vec<Turn>, Option<Duration>) {
        let (mut begun, mut again) = (Vec::new(), None);
        for host in self.hosts.values_mut() {
            let before = host.waiting.len();
            host.waiting.retain(in_time);
            self.waiting = self.waiting.saturating_sub(before - host.waiting.len());
            while begun.len() < limit {
                match host.next(now) {
                    Ok(turn) => {
                        host.running += 1;
                        self.waiting = self.waiting.saturating_sub(1);
                        begun.push(turn);
                    }
                    Err(later) => {
                        again = [again, later].into_iter().flatten().min();
                        break;
                    }
                }
            }
        }
        (begun, again)
    }

    /// A turn has ended; without what it came to, nothing is known of its receiver.
    pub(super) fn ended(&mut self, Ended { host: name, subscription, ran }: &Ended, now: Duration) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        host.running = host.running.saturating_sub(1);
        match ran {
            Some(Ran { failed: Some(Failed::Silent), taken, .. }) => {
                if *taken > 0 {
                    host.breaker.answered();
                }
                host.breaker.silent(*subscription, now);
            }
            Some(Ran { failed: Some(_), .. } | Ran { taken: 1.., .. }) => host.breaker.answered(),
            _ => host.breaker.dropped(),
        }
        let idle = |host: &Host| {
            host.running == 0 && host.waiting.is_empty() && host.breaker.is_fresh() && host.handshakes_full_at <= now
        };
        if idle(host) {
            self.hosts.remove(name);
        }
    }

    /// Hosts that are left alone for now.
    pub(super) fn open_breakers(&self) -> usize {
        self.hosts.values().filter(|host| host.breaker.is_open()).count()
    }
}

#[cfg(test)]
mod tests;
