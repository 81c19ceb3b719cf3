//! One turn of a Subscription: its handshake, or its events in order. Before every attempt everything is asked again that was asked
//! when the Subscription was made: is the client still there and may it still read documents, does it still see this one, may this one
//! still be told. What became of each attempt is recorded in the commit that remembers it. When to look, how many at once and on
//! whose turn it is, is the worker's business; addresses and signatures are the way out's ([`Hooks`]).

mod breaker;
mod entries;
mod hooks;
mod message;
mod schedule;

pub use breaker::{Breaker, Permit};
pub use hooks::{Answer, Hooks, Parcel, Part, Standing};

use std::sync::Arc;
use std::time::Duration;

use super::Delivery;
use super::failure::store_failure;
use crate::domain::audit::{Entry, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::lifecycle::State;
use crate::domain::principal::{AccessScope, Interaction};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::resource::{Kind, Stored};
use crate::domain::subscription::{Event, Form, SubscriptionStatus, Topic};
use crate::failpoint::{self, Point};
use crate::store::{Sent, StoredSubscription, Turn, Waiting, Work};

/// How long a claim lasts; a worker that dies gives its turns back after it. Longer than the longest attempt.
const LEASE: Duration = Duration::from_secs(60);
/// Events that are claimed at once.
const EVENTS_AT_ONCE: usize = 32;
/// What was sent is remembered at least this often, which also tells whether the Subscription was changed meanwhile.
const REMEMBERED_EVERY: Duration = Duration::from_secs(1);

/// Sends.
#[derive(Debug)]
pub struct Notifier {
    delivery: Arc<Delivery>,
    hooks: Arc<dyn Hooks>,
    standing: Arc<dyn Standing>,
}

/// What a turn came to, for the breaker of its host and for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ran {
    /// Messages that were taken.
    pub taken: u32,
    /// Events that are not sent any more.
    pub withheld: u32,
    /// The attempt that failed, and ended the turn.
    pub failed: Option<Failed>,
    /// Whether an event or a handshake was given up.
    pub given_up: bool,
}

/// How an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// No answer.
    Silent,
    /// The receiver says that it will not: a redirect or 4xx.
    Refused,
    /// The receiver says that it cannot: 5xx, 429.
    Unable,
}

impl Failed {
    fn of(answer: Answer) -> Self {
        match answer {
            Answer::Status(429 | 500.., _) => Self::Unable,
            Answer::Status(..) => Self::Refused,
            Answer::Silent | Answer::Taken | Answer::Gone => Self::Silent,
        }
    }
}

/// Whose right and time a Subscription stands on.
enum Basis {
    /// Both hold.
    Holds(AccessScope),
    /// Its time is over: its `end`, or too long in `error`, with what it is in `error` for.
    Ended(Option<Code>),
    /// Its owner is gone or may not read documents any more.
    Withdrawn,
}

/// Results that are not remembered yet.
struct Pending<'a> {
    turn: &'a Turn,
    results: Vec<Sent>,
    entries: Vec<Entry>,
    since: Duration,
    ran: Ran,
    /// Its basis does not hold any more.
    ended: bool,
}

impl Notifier {
    /// Over the use cases.
    pub fn new(delivery: Arc<Delivery>, hooks: Arc<dyn Hooks>, standing: Arc<dyn Standing>) -> Self {
        Self { delivery, hooks, standing }
    }

    /// The use cases.
    pub fn delivery(&self) -> &Arc<Delivery> {
        &self.delivery
    }

    /// Claims what is due.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn claim(&self, limit: usize) -> Result<Vec<Turn>, Refusal> {
        let claimed = self.delivery.store.claim_turns(self.delivery.clock.now(), LEASE, limit, EVENTS_AT_ONCE).await;
        claimed.map_err(store_failure)
    }

    /// Whether a claim leaves time for an attempt.
    pub fn in_time(&self, turn: &Turn) -> bool {
        self.delivery.clock.now().plus(turn.subscription.terms.timeout) < turn.until
    }

    /// Does what is due. Begins nothing more once `stopping` says so.
    ///
    /// # Errors
    /// Failures of the store: what was sent meanwhile is sent again, with the same id, when the claim has ended.
    pub async fn run(&self, turn: &Turn, stopping: &(dyn Fn() -> bool + Send + Sync)) -> Result<Ran, Refusal> {
        let since = self.delivery.clock.monotonic();
        let (results, entries, ran) = <(Vec<Sent>, Vec<Entry>, Ran)>::default();
        let mut pending = Pending { turn, results, entries, since, ran, ended: false };
        match &turn.work {
            Work::Handshake { attempts } => self.shake_hands(&mut pending, *attempts).await?,
            // Without events it is the end of the Subscription that is due.
            Work::Events(waiting) if waiting.is_empty() => drop(self.still_stands(&mut pending)),
            Work::Events(waiting) => {
                for each in waiting {
                    if stopping() || !self.in_time(turn) || !self.tell(&mut pending, each).await? {
                        break;
                    }
                }
            }
        }
        let (ran, ended) = (pending.ran, pending.ended);
        if pending.results.is_empty() {
            pending.results.push(Sent::LetGo);
        }
        if self.remember(&mut pending, false).await? && ended {
            self.say_that_it_is_off(&turn.subscription).await?;
        }
        Ok(ran)
    }

    fn basis(&self, subscription: &StoredSubscription, now: Timestamp) -> Basis {
        if subscription.is_over(now) {
            return Basis::Ended(subscription.error);
        }
        let client = self.delivery.store.client_by_number(subscription.owner).filter(|client| !client.disabled);
        let principal = client.and_then(|client| self.standing.principal(&client));
        let scope = principal.and_then(|principal| {
            principal.may(Interaction::Search, Kind::DocumentReference).ok()?;
            principal.may(Interaction::Read, Kind::DocumentReference).ok()
        });
        scope.map_or(Basis::Withdrawn, Basis::Holds)
    }

    /// The right to be told, or the end of the Subscription as a result.
    fn still_stands(&self, pending: &mut Pending<'_>) -> Option<AccessScope> {
        let subscription = &pending.turn.subscription;
        let code = match self.basis(subscription, self.delivery.clock.now()) {
            Basis::Holds(scope) => return Some(scope),
            Basis::Ended(code) => code,
            Basis::Withdrawn => Some(Code::ScopeInsufficient),
        };
        pending.ended = true;
        pending.push(Sent::Off { code });
        None
    }

    async fn shake_hands(&self, pending: &mut Pending<'_>, attempts: u32) -> Result<(), Refusal> {
        let subscription = &*pending.turn.subscription;
        if self.still_stands(pending).is_none() {
            return Ok(());
        }
        let Some(body) = self.delivery.handshake_body(subscription) else {
            pending.push(Sent::Activated);
            return Ok(());
        };
        let part = Part::Handshake(subscription.activation);
        let answer = self.send(subscription, part, None, body).await?;
        let pause = |wished| schedule::pause(schedule::HANDSHAKE, attempts, wished, self.delivery.entropy.as_ref());
        let result = match answer {
            Answer::Taken => Sent::Activated,
            Answer::Gone => Sent::Off { code: Some(Code::DeliveryErrorResponse) },
            Answer::Status(..) | Answer::Silent => match pause(wish(answer)) {
                Some(pause) => Sent::HandshakeLater(self.delivery.clock.now().plus(pause)),
                None => Sent::HandshakeGivenUp,
            },
        };
        pending.count(answer, result == Sent::HandshakeGivenUp);
        pending
            .entries
            .push(entries::sent(subscription, self.receiver(subscription), answer).with("message", "handshake"));
        pending.push(result);
        Ok(())
    }

    /// One event; `false`: the turn is over.
    async fn tell(&self, pending: &mut Pending<'_>, waiting: &Waiting) -> Result<bool, Refusal> {
        let (subscription, event) = (&*pending.turn.subscription, &waiting.event);
        let Some(scope) = self.still_stands(pending) else { return Ok(false) };
        let stored = self.delivery.store.read(Kind::DocumentReference, &event.document_id, &scope).await;
        let stored = stored.map_err(store_failure)?;
        let body = match stored.as_ref().filter(|stored| self.may_be_told(subscription, event, stored)) {
            Some(_) => self.body(subscription, waiting, &scope).await?,
            None => None,
        };
        let part = Part::Event(event.number);
        let entry = |entry: Entry| entries::about(entry, event, stored.as_ref());
        let Some(body) = body else {
            pending.ran.withheld += 1;
            pending.results.push(Sent::Withheld { number: event.number });
            pending.entries.push(entry(entries::withheld(subscription, self.receiver(subscription))));
            return self.remember_now_and_then(pending).await;
        };
        let answer = self.send(subscription, part, Some(event), body.clone()).await?;
        let result = self.judge(subscription, waiting, answer, body);
        pending.count(answer, matches!(result, Sent::GivenUp { .. }));
        pending.entries.push(entry(entries::sent(subscription, self.receiver(subscription), answer)));
        pending.push(result);
        if answer == Answer::Taken { self.remember_now_and_then(pending).await } else { Ok(false) }
    }

    /// Whether an event may still be told of a document that its receiver still sees. That a document can be opened is told only
    /// while it can; that it no longer can is always told.
    fn may_be_told(&self, subscription: &StoredSubscription, event: &Event, stored: &Stored) -> bool {
        let now = self.delivery.clock.now();
        let state = stored.document.as_ref().map_or(State::Purged, |facts| facts.state_at(now));
        match topic_of(subscription, event) {
            Some(Topic::Ready) => state.is_open() && event.expires.is_none_or(|expires| now < expires),
            Some(Topic::Expired | Topic::Revoked | Topic::Quarantined) => true,
            None => matches!(state, State::Created | State::Scanned) || state.is_open(),
        }
    }

    async fn body(
        &self,
        subscription: &StoredSubscription,
        waiting: &Waiting,
        scope: &AccessScope,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        match &waiting.body {
            Some(body) => Ok(Some(body.clone())),
            None => self.delivery.event_body(subscription, &waiting.event, scope).await,
        }
    }

    fn judge(&self, subscription: &StoredSubscription, waiting: &Waiting, answer: Answer, body: Vec<u8>) -> Sent {
        let number = waiting.event.number;
        let code = match answer {
            Answer::Taken => return Sent::Delivered { number },
            Answer::Gone => return Sent::Off { code: Some(Code::DeliveryErrorResponse) },
            Answer::Status(..) => Code::DeliveryErrorResponse,
            Answer::Silent => Code::DeliveryNoResponse,
        };
        let pause = schedule::pause(schedule::EVENT, waiting.attempts, wish(answer), self.delivery.entropy.as_ref());
        let Some(pause) = pause else { return Sent::GivenUp { number, code } };
        let at = self.delivery.clock.now().plus(pause);
        // What cannot be told any more is let go at that moment, so that what comes after it need not wait.
        let ready = topic_of(subscription, &waiting.event) == Some(Topic::Ready);
        let at = waiting.event.expires.filter(|_| ready).map_or(at, |expires| at.min(expires));
        Sent::Later { number, at, body }
    }

    async fn send(
        &self,
        subscription: &StoredSubscription,
        part: Part,
        event: Option<&Event>,
        body: Vec<u8>,
    ) -> Result<Answer, Refusal> {
        match self.delivery.parcel(subscription, part, event, body)? {
            Some(parcel) => {
                failpoint::here(Point::HookReady);
                let answer = self.hooks.send(parcel).await;
                failpoint::here(Point::HookTaken);
                Ok(answer)
            }
            None => Ok(Answer::Silent),
        }
    }

    fn receiver(&self, subscription: &StoredSubscription) -> Option<Arc<crate::store::Client>> {
        self.delivery.store.client_by_number(subscription.owner)
    }

    /// Remembers what is pending when it has become much or old; `false`: the claim is lost, or the Subscription was changed.
    async fn remember_now_and_then(&self, pending: &mut Pending<'_>) -> Result<bool, Refusal> {
        let now = self.delivery.clock.monotonic();
        if now.saturating_sub(pending.since) < REMEMBERED_EVERY {
            return Ok(true);
        }
        pending.since = now;
        self.remember(pending, true).await
    }

    async fn remember(&self, pending: &mut Pending<'_>, keep: bool) -> Result<bool, Refusal> {
        let (results, entries) = (std::mem::take(&mut pending.results), std::mem::take(&mut pending.entries));
        let sealed = entries.iter().map(|entry| self.delivery.recorder.seal(entry)).collect::<Result<Vec<_>, _>>()?;
        let now = self.delivery.clock.now();
        let settled = self.delivery.store.settle_turn(pending.turn, results, keep, now, sealed).await;
        settled.map_err(store_failure)
    }

    /// Told once, best effort: it is off already, and nothing is sent after it.
    async fn say_that_it_is_off(&self, subscription: &StoredSubscription) -> Result<(), Refusal> {
        if !matches!(subscription.status, SubscriptionStatus::Active | SubscriptionStatus::Error) {
            return Ok(());
        }
        let Some(body) = self.delivery.deactivation_body(subscription, self.delivery.clock.now()) else {
            return Ok(());
        };
        let answer = self.send(subscription, Part::Deactivation(subscription.activation), None, body).await?;
        let entry = entries::sent(subscription, self.receiver(subscription), answer).with("message", "deactivation");
        self.delivery.record(&entry).await
    }
}

impl Pending<'_> {
    /// Takes a result, with the entry of the change of status that it makes.
    fn push(&mut self, result: Sent) {
        self.entries.extend(entries::change(&self.turn.subscription, &result));
        self.results.push(result);
    }

    fn count(&mut self, answer: Answer, given_up: bool) {
        self.ran.given_up |= given_up;
        match answer {
            // The receiver spoke: it is there, and its wish is heard.
            Answer::Taken | Answer::Gone => self.ran.taken += 1,
            Answer::Status(..) | Answer::Silent => self.ran.failed = Some(Failed::of(answer)),
        }
    }
}

/// A receiver's wish to be left alone counts where it says that it is too busy.
fn wish(answer: Answer) -> Option<Duration> {
    match answer {
        Answer::Status(429 | 502..=504, wished) => wished,
        _ => None,
    }
}

fn topic_of(subscription: &StoredSubscription, event: &Event) -> Option<Topic> {
    match subscription.terms.form {
        Form::Topic(topic, _) => Some(topic),
        Form::Plain { .. } => event.topic,
    }
}

/// The outcome of an attempt, for its entry.
fn outcome(answer: Answer) -> Outcome {
    if answer == Answer::Taken { Outcome::Ok } else { Outcome::Error }
}
