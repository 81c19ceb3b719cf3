//! Sends notifications: woken by each commit that makes something due and by the clock, claims, and runs each turn as a task of its own.
//! One turn at a time for a Subscription (the claim), a few for a host ([`hosts`]), some hundreds in all; Subscriptions never wait
//! for each other.

mod hosts;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::delivery::Loop;
use crate::delivery::notifying::{Notifier, Ran};
use crate::domain::clock::Clock;
use crate::store::Turn;

use self::hosts::{Ended, Hosts, host_of};
use super::supervisor::{Running, Supervisor, guarded};

/// Turns that run at once.
const RUNNING_MOST: usize = 256;
/// Turns that are claimed at once.
const CLAIMED_MOST: usize = 64;
/// The longest sleep when nothing wakes it.
const POLL: Duration = Duration::from_secs(1);
/// The shortest sleep before something that is due by the clock.
const SHORTEST: Duration = Duration::from_millis(20);
/// How often the backlog is measured.
const MEASURED_EVERY: Duration = Duration::from_secs(10);

/// Something to be counted. Nothing in it names a receiver, a Subscription or a document.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Observed {
    /// A turn ended.
    Ran(Ran),
    /// What waits: events, age of the oldest, hosts that are left alone for now.
    Backlog(u64, Duration, usize),
}

/// Takes what is to be counted.
pub type Observe = Arc<dyn Fn(Observed) + Send + Sync>;

/// What the loop needs.
#[derive(Clone)]
pub struct Sending {
    /// Sends.
    pub notifier: Arc<Notifier>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// How long turns may still run once the server stops.
    pub drain: Duration,
    /// Counts.
    pub observe: Observe,
}

impl std::fmt::Debug for Sending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sending")
    }
}

struct Senders {
    sending: Sending,
    supervisor: Supervisor,
    running: Running,
    hosts: Hosts,
    tasks: JoinSet<Ended>,
    measured: Option<Duration>,
}

/// Sends until stopped; then lets what runs end, up to the drain time. What is cut off is sent again after the next start.
pub(super) async fn send_all(sending: Sending, supervisor: Supervisor, running: Running) {
    let (hosts, tasks) = (Hosts::default(), JoinSet::new());
    Senders { sending, supervisor, running, hosts, tasks, measured: None }.run().await;
}

impl Senders {
    async fn run(mut self) {
        let store = Arc::clone(self.sending.notifier.delivery().store());
        while !self.running.is_stopped() {
            let seen = store.outbox_changes();
            let full = self.claim().await;
            let again = self.begin();
            self.measure().await;
            if full && self.tasks.len() < RUNNING_MOST {
                // More may be due; what has ended meanwhile is taken note of first.
                self.note_ended();
                tokio::task::yield_now().await;
                continue;
            }
            let pause = self.pause(again).await;
            tokio::select! {
                () = self.running.stop() => {}
                () = tokio::time::sleep(pause) => {}
                _ = store.outbox_changed(seen) => {}
                Some(ended) = self.tasks.join_next() => self.note(ended),
            }
            self.note_ended();
        }
        let drain = self.sending.drain;
        let ending = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(drain, ending).await.is_err() {
            tracing::warn!("notifications were cut off; they are sent again");
        }
        self.tasks.shutdown().await;
    }

    /// Claims what is due; whether that was as much as could be claimed.
    async fn claim(&mut self) -> bool {
        let room = RUNNING_MOST.saturating_sub(self.tasks.len()).min(CLAIMED_MOST);
        if room == 0 {
            self.running.at_work();
            return false;
        }
        match self.sending.notifier.claim(room).await {
            Ok(turns) => {
                self.supervisor.note(&self.running, Ok(()));
                let full = turns.len() == room;
                turns.into_iter().for_each(|turn| self.hosts.add(turn));
                full
            }
            Err(refusal) => {
                self.supervisor.note(&self.running, Err(refusal.code().name().to_owned()));
                false
            }
        }
    }

    /// Begins what may run; answers the monotonic time at which more may.
    fn begin(&mut self) -> Option<Duration> {
        let limit = RUNNING_MOST.saturating_sub(self.tasks.len());
        let notifier = Arc::clone(&self.sending.notifier);
        let (begun, again) = self.hosts.begin(limit, self.sending.clock.monotonic(), &|turn| notifier.in_time(turn));
        for turn in begun {
            self.tasks.spawn(run_turn(self.sending.clone(), turn, self.supervisor.clone()));
        }
        again
    }

    async fn pause(&self, again: Option<Duration>) -> Duration {
        let store = self.sending.notifier.delivery().store();
        let due = match store.next_turn_at().await {
            Ok(due) => due.map(|due| due.since(self.sending.clock.now())),
            Err(_) => None,
        };
        let again = again.map(|again| again.saturating_sub(self.sending.clock.monotonic()));
        [due, again].into_iter().flatten().min().unwrap_or(POLL).clamp(SHORTEST, POLL)
    }

    fn note_ended(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            self.note(ended);
        }
    }

    fn note(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        match ended {
            Ok(ended) => self.hosts.ended(&ended, self.sending.clock.monotonic()),
            Err(_) => tracing::error!("a notification broke off"),
        }
    }

    async fn measure(&mut self) {
        let now = self.sending.clock.monotonic();
        if self.measured.is_some_and(|last| now.saturating_sub(last) < MEASURED_EVERY) {
            return;
        }
        self.measured = Some(now);
        let store = self.sending.notifier.delivery().store();
        if let Ok((events, oldest)) = store.outbox_backlog(self.sending.clock.now()).await {
            (self.sending.observe)(Observed::Backlog(events, oldest, self.hosts.open_breakers()));
        }
    }
}

async fn run_turn(sending: Sending, turn: Turn, supervisor: Supervisor) -> Ended {
    let ran = match guarded(sending.notifier.run(&turn, &|| supervisor.is_stopped())).await {
        // Its claim ends with its lease, and the same message goes again.
        None => {
            tracing::error!("a notification broke off");
            supervisor.broke_off(Loop::Notifications);
            None
        }
        Some(Ok(ran)) => {
            (sending.observe)(Observed::Ran(ran));
            Some(ran)
        }
        Some(Err(refusal)) => {
            tracing::warn!(code = refusal.code().name(), "a notification could not be sent or remembered");
            None
        }
    };
    Ended { host: host_of(&turn), subscription: turn.subscription.number, ran }
}
