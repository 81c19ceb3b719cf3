//! What holds of an outbox whatever happens in whatever order (reference, tables): numbers are 1..counter without holes, a document's
//! version is one event, an event's first body never changes, order is kept, old claims change nothing, the counter never falls.

use std::collections::BTreeMap;
use std::time::Duration;

use daylily::domain::lifecycle::State;
use daylily::domain::principal::ClientNumber;
use daylily::domain::refusal::Code;
use daylily::domain::resource::{DocumentNumber, Kind};
use daylily::domain::subscription::{Form, SubscriptionStatus};
use daylily::store::sqlite::{Settings, SqliteStore};
use daylily::store::{Sent, Store, SubscriptionChange, Subscriptions, Turn, Work};
use proptest::prelude::*;

use crate::store_build::*;
use crate::store_contract::{subscription, terms};

const PLAIN: Form = Form::Plain { payload: true };
const LEASE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
enum Step {
    Create,
    Release,
    Revoke,
    Purge,
    Claim,
    Deliver,
    Later(u8),
    GiveUp,
    Withhold,
    Off,
    Ask,
    Stale,
    Wait,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Create),
        4 => Just(Step::Release),
        2 => Just(Step::Revoke),
        1 => Just(Step::Purge),
        6 => Just(Step::Claim),
        4 => Just(Step::Deliver),
        3 => any::<u8>().prop_map(Step::Later),
        1 => Just(Step::GiveUp),
        1 => Just(Step::Withhold),
        1 => Just(Step::Off),
        2 => Just(Step::Ask),
        2 => Just(Step::Stale),
        2 => Just(Step::Wait),
        1 => Just(Step::Reopen),
    ]
}

struct World {
    dir: tempfile::TempDir,
    store: std::sync::Arc<SqliteStore>,
    owner: ClientNumber,
    now: i64,
    documents: Vec<(DocumentNumber, State)>,
    turn: Option<Turn>,
    lost: Vec<Turn>,
    counter: u64,
    last_delivered: u64,
    events: BTreeMap<u64, (DocumentNumber, u32)>,
    bodies: BTreeMap<u64, Vec<u8>>,
}

fn open(dir: &tempfile::TempDir) -> std::sync::Arc<SqliteStore> {
    SqliteStore::open(&dir.path().join("daylily.db"), HandClock::new(), "t1", Settings::default()).unwrap()
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let (owner, _) = register(store.as_ref(), "lab", all()).await;
        let new = subscription("s1", owner, PLAIN, vec![]);
        store.create_subscription(new, entry_of("subscription.create")).await.unwrap();
        let (documents, lost, events, bodies) = Default::default();
        let (turn, now, counter, last_delivered) = (None, 500, 0, 0);
        Self { dir, store, owner, now, documents, turn, lost, counter, last_delivered, events, bodies }
    }

    async fn status(&self) -> SubscriptionStatus {
        self.store.subscription(&id("s1"), self.owner).await.unwrap().unwrap().status
    }

    async fn move_document(&mut self, from: State) -> Option<usize> {
        self.documents.iter().position(|(_, state)| *state == from)
    }

    async fn apply(&mut self, step: Step) {
        self.now += 10;
        match step {
            Step::Create => {
                let name = format!("d{}", self.documents.len());
                self.store.create_document(document(&name, self.owner), entry()).await.unwrap();
                let scope = scope("lab", self.owner, all());
                let stored = self.store.read(Kind::DocumentReference, &id(&name), &scope).await.unwrap().unwrap();
                self.documents.push((stored.document.unwrap().number, State::Created));
            }
            Step::Release => {
                let Some(place) = self.move_document(State::Created).await else { return };
                let (number, state) = &mut self.documents[place];
                self.store.transition(*number, released(&[1], self.now), vec![]).await.unwrap();
                *state = State::Ready;
            }
            Step::Revoke => {
                let Some(place) = self.move_document(State::Ready).await else { return };
                let (number, state) = &mut self.documents[place];
                self.store.transition(*number, revoked(State::Ready, self.now), vec![]).await.unwrap();
                *state = State::Revoked;
            }
            Step::Purge => {
                let Some(place) = self.move_document(State::Revoked).await else { return };
                let (number, state) = &mut self.documents[place];
                let stamp = stamp(self.now, None);
                let purge = daylily::domain::lifecycle::purge(State::Revoked, "default", stamp).unwrap();
                self.store.purge(*number, purge, entry()).await.unwrap();
                *state = State::Purged;
            }
            Step::Claim => {
                let turns = self.store.claim_turns(at(self.now), LEASE, 5, 3).await.unwrap();
                assert!(turns.len() <= 1);
                for turn in turns {
                    self.lost.extend(self.turn.replace(turn));
                }
                self.check_turn().await;
            }
            Step::Deliver => {
                let Some(number) = self.head() else { return self.answer_handshake().await };
                if self.settle(vec![Sent::Delivered { number }]).await {
                    assert!(number > self.last_delivered, "in order");
                    self.last_delivered = number;
                }
            }
            Step::Later(byte) => {
                let Some(number) = self.head() else { return };
                let (when, body) = (at(self.now + 1_000), vec![byte; 3]);
                if self.settle(vec![Sent::Later { number, at: when, body: body.clone() }]).await {
                    self.bodies.entry(number).or_insert(body);
                }
            }
            Step::GiveUp => {
                let Some(number) = self.head() else { return };
                let code = Code::DeliveryNoResponse;
                if self.settle(vec![Sent::GivenUp { number, code }]).await {
                    // Not where a purge withheld it meanwhile.
                    assert!(matches!(self.status().await, SubscriptionStatus::Error | SubscriptionStatus::Active));
                }
            }
            Step::Withhold => {
                let Some(number) = self.head() else { return };
                self.settle(vec![Sent::Withheld { number }]).await;
            }
            Step::Off => self.change(SubscriptionStatus::Off).await,
            Step::Ask => self.change(SubscriptionStatus::Requested).await,
            Step::Stale => {
                let Some(turn) = self.lost.pop() else { return };
                let size = self.store.audit_head().await.unwrap().size;
                let results = vec![Sent::Activated, Sent::Delivered { number: self.counter }, Sent::Off { code: None }];
                let stands = self.status().await;
                assert!(!self.store.settle_turn(&turn, results, false, at(self.now), vec![entry()]).await.unwrap());
                assert_eq!(self.store.audit_head().await.unwrap().size, size);
                assert_eq!(self.status().await, stands);
            }
            Step::Wait => self.now += 61_000,
            Step::Reopen => {
                self.lost.extend(self.turn.take());
                self.store.close().await;
                self.store = open(&self.dir);
            }
        }
    }

    fn head(&self) -> Option<u64> {
        match &self.turn.as_ref()?.work {
            Work::Events(events) => events.first().map(|waiting| waiting.event.number),
            Work::Handshake { .. } => None,
        }
    }

    async fn answer_handshake(&mut self) {
        if self.turn.is_some() && self.settle(vec![Sent::Activated]).await {
            assert_eq!(self.status().await, SubscriptionStatus::Active);
        }
    }

    async fn settle(&mut self, results: Vec<Sent>) -> bool {
        let Some(turn) = self.turn.take() else { return false };
        let held = self.store.settle_turn(&turn, results, false, at(self.now), vec![]).await.unwrap();
        self.lost.push(turn);
        held
    }

    async fn change(&mut self, status: SubscriptionStatus) {
        let terms = terms(PLAIN, vec![]);
        let moment = at(self.now);
        let change = SubscriptionChange { terms, status, handshake_at: moment, if_match: None, at: moment };
        let entry = entry_of("subscription.update");
        self.store.update_subscription(&id("s1"), self.owner, change, entry).await.unwrap();
    }

    async fn check_turn(&self) {
        let Some(Turn { work: Work::Events(events), .. }) = &self.turn else { return };
        assert!(events.windows(2).all(|pair| pair[0].event.number < pair[1].event.number));
        for waiting in events {
            assert!(waiting.event.number > self.last_delivered);
            if waiting.body.is_some() {
                assert_eq!(waiting.body.as_ref(), self.bodies.get(&waiting.event.number), "the first body stays");
            }
        }
    }

    async fn check(&mut self) {
        let stored = self.store.subscription(&id("s1"), self.owner).await.unwrap().unwrap();
        assert!(stored.counter >= self.counter, "never falls");
        self.counter = stored.counter;
        for number in 1..=self.counter {
            let event = self.store.referenced_event(&id("s1"), self.owner, number).await.unwrap();
            match event.map(|found| (found.event.document, found.event.version)) {
                Some(what) => assert_eq!(*self.events.entry(number).or_insert(what), what, "an event stays what it is"),
                None => {
                    let (document, _) = self.events.get(&number).expect("seen before it was purged");
                    assert!(self.documents.contains(&(*document, State::Purged)), "no holes");
                }
            }
        }
        assert!(self.store.referenced_event(&id("s1"), self.owner, self.counter + 1).await.unwrap().is_none());
        let once = self.events.values().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(once.len(), self.events.len(), "a version is one event");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn an_outbox_keeps_its_promises(steps in proptest::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in steps {
                world.apply(step).await;
                world.check().await;
            }
        });
    }
}

/// Prints what an event costs with and without Subscriptions, and how many deliveries are settled in a second.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
#[expect(clippy::disallowed_methods, reason = "it measures real time and asserts nothing about it")]
async fn what_an_outbox_costs() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let (owner, scope) = register(store.as_ref(), "lab", all()).await;
    let made = std::sync::atomic::AtomicU64::new(0);
    let release = async |count: u64| {
        let mut numbers = Vec::new();
        for _ in 0..count {
            let name = format!("d{}", made.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
            store.create_document(document(&name, owner), entry()).await.unwrap();
            let stored = store.read(Kind::DocumentReference, &id(&name), &scope).await.unwrap().unwrap();
            numbers.push(stored.document.unwrap().number);
        }
        let begun = std::time::Instant::now();
        let writes = numbers.into_iter().map(|number| store.transition(number, released(&[1], 1_000), vec![entry()]));
        futures_util::future::join_all(writes).await.into_iter().for_each(|written| assert!(written.is_ok()));
        begun.elapsed() / u32::try_from(count).unwrap()
    };
    eprintln!("a release, no Subscription: {:?}", release(500).await);
    for number in 0..2_000 {
        let filters = vec![daylily::domain::query::Filter::Patient(vec![target(&format!("Patient/9{number}"))])];
        let new = subscription(&format!("p{number}"), owner, crate::store_contract::ready(), filters);
        store.create_subscription(new, entry_of("subscription.create")).await.unwrap();
    }
    eprintln!("a release, 2,000 Subscriptions to other patients: {:?}", release(500).await);
    for number in 0..200 {
        let new = subscription(&format!("s{number}"), owner, crate::store_contract::ready(), vec![]);
        store.create_subscription(new, entry_of("subscription.create")).await.unwrap();
    }
    eprintln!("a release, 200 Subscriptions that match: {:?}", release(200).await);
    let begun = std::time::Instant::now();
    let mut delivered = 0u64;
    loop {
        let turns = store.claim_turns(at(2_000), LEASE, 256, 50).await.unwrap();
        if turns.is_empty() {
            break;
        }
        let settled = turns.iter().map(|turn| {
            let results: Vec<Sent> = match &turn.work {
                Work::Handshake { .. } => vec![Sent::Activated],
                Work::Events(events) => {
                    events.iter().map(|waiting| Sent::Delivered { number: waiting.event.number }).collect()
                }
            };
            delivered += u64::try_from(results.len()).unwrap();
            let entries = vec![entry(); results.len()];
            store.settle_turn(turn, results, false, at(2_000), entries)
        });
        let settled = settled.collect::<Vec<_>>();
        futures_util::future::join_all(settled).await.into_iter().for_each(|held| assert!(held.unwrap()));
    }
    eprintln!("{delivered} deliveries in {:?}", begun.elapsed());
}
