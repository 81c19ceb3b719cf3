//! Tests of `hosts`: who may run beside whom.

use std::sync::Arc;

use super::*;
use crate::delivery::notifying::Failed;
use crate::domain::clock::Timestamp;
use crate::domain::id::ResourceId;
use crate::domain::principal::ClientNumber;
use crate::domain::resource::Body;
use crate::domain::subscription::{Form, SubscriptionNumber, SubscriptionStatus};
use crate::store::{StoredSubscription, SubscriptionTerms};
use crate::vault::SystemEntropy;

fn turn(number: i64, endpoint: &str, work: Work) -> Turn {
    let now = Timestamp::from_millis(0);
    let terms = SubscriptionTerms {
        form: Form::Plain { payload: false },
        filters: Vec::new(),
        endpoint: endpoint.to_owned(),
        payload: None,
        headers: Vec::new(),
        end: None,
        timeout: Duration::from_secs(15),
        body: Body { text: String::new(), splices: Vec::new() },
    };
    let subscription = StoredSubscription {
        number: SubscriptionNumber(number),
        id: ResourceId::random(&SystemEntropy),
        version: 1,
        updated: now,
        owner: ClientNumber(1),
        status: SubscriptionStatus::Active,
        error: None,
        counter: 0,
        activation: 1,
        terms,
        secrets: Vec::new(),
    };
    Turn { subscription: Arc::new(subscription), fence: 1, until: now, work }
}

fn events(number: i64, endpoint: &str) -> Turn {
    turn(number, endpoint, Work::Events(Vec::new()))
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn begun(hosts: &mut Hosts, now: u64) -> (Vec<i64>, Option<Duration>) {
    let (turns, again) = hosts.begin(256, at(now), &|_| true);
    let mut numbers: Vec<_> = turns.iter().map(|turn| turn.subscription.number.0).collect();
    numbers.sort_unstable();
    (numbers, again)
}

fn ended(hosts: &mut Hosts, host: &str, number: i64, ran: Option<Ran>, now: u64) {
    hosts.ended(&Ended { host: host.to_owned(), subscription: SubscriptionNumber(number), ran }, at(now));
}

const SILENT: Option<Ran> = Some(Ran { taken: 0, withheld: 0, failed: Some(Failed::Silent), given_up: false });
const REFUSED: Option<Ran> = Some(Ran { taken: 0, withheld: 0, failed: Some(Failed::Refused), given_up: false });
const TAKEN: Option<Ran> = Some(Ran { taken: 1, withheld: 0, failed: None, given_up: false });

#[test]
fn a169_a_host_has_four_places_and_no_other_host_waits_for_it() {
    let mut hosts = Hosts::default();
    (1..=10).for_each(|number| hosts.add(events(number, "https://slow.example/hook")));
    hosts.add(events(11, "https://fast.example/hook"));
    hosts.add(events(12, "https://slow.example:8443/hook"));
    assert_eq!(begun(&mut hosts, 0).0, [1, 2, 3, 4, 11, 12]);
    assert_eq!(begun(&mut hosts, 0).0, [0; 0]);
    ended(&mut hosts, "slow.example:443", 1, TAKEN, 0);
    assert_eq!(begun(&mut hosts, 0).0, [5]);
}

#[test]
fn a169_while_a_host_is_left_alone_nothing_of_it_begins_and_then_one_turn() {
    let mut hosts = Hosts::default();
    for number in 1..=5 {
        hosts.add(events(number, "https://dead.example/"));
        assert_eq!(begun(&mut hosts, 0).0, [number]);
        ended(&mut hosts, "dead.example:443", number, SILENT, 0);
    }
    assert_eq!(hosts.open_breakers(), 1);
    (6..=9).for_each(|number| hosts.add(events(number, "https://dead.example/")));
    hosts.add(events(10, "https://well.example/"));
    assert_eq!(begun(&mut hosts, 0), (vec![10], Some(at(30))));
    assert_eq!(begun(&mut hosts, 30), (vec![6], None));
    ended(&mut hosts, "dead.example:443", 6, TAKEN, 31);
    assert_eq!(begun(&mut hosts, 31).0, [7, 8, 9]);
}

#[test]
fn a169_one_that_refuses_or_hangs_does_not_hold_back_others_of_its_host() {
    let mut hosts = Hosts::default();
    for now in 0..20 {
        for (number, ran) in [(1, SILENT), (2, REFUSED)] {
            hosts.add(events(number, "https://shared.example/"));
            assert_eq!(begun(&mut hosts, now).0, [number]);
            ended(&mut hosts, "shared.example:443", number, ran, now);
        }
    }
    // So do many that are refused: they are answered.
    for number in 3..=40 {
        hosts.add(events(number, "https://shared.example/"));
        assert_eq!(begun(&mut hosts, 20).0, [number]);
        ended(&mut hosts, "shared.example:443", number, REFUSED, 20);
    }
    assert_eq!(hosts.open_breakers(), 0);
}

#[test]
fn a_turn_that_is_claimed_again_replaces_the_older_claim_and_a_late_one_is_forgotten() {
    let mut hosts = Hosts::default();
    (1..=5).for_each(|number| hosts.add(events(number, "https://slow.example/")));
    assert_eq!(begun(&mut hosts, 0).0, [1, 2, 3, 4]);
    hosts.add(Turn { fence: 2, ..events(5, "https://slow.example/") });
    ended(&mut hosts, "slow.example:443", 1, TAKEN, 0);
    let (turns, _) = hosts.begin(256, at(0), &|_| true);
    assert_eq!(turns.iter().map(|turn| turn.fence).collect::<Vec<_>>(), [2]);
    hosts.add(events(6, "https://slow.example/"));
    ended(&mut hosts, "slow.example:443", 1, TAKEN, 0);
    assert!(hosts.begin(256, at(0), &|_| false).0.is_empty());
    assert_eq!(hosts.waiting, 0);
}

#[test]
fn a170_handshakes_with_one_host_are_paced_and_events_overtake_them() {
    let mut hosts = Hosts::default();
    let (mut now, mut done) = (0, Vec::new());
    (1..=23).for_each(|number| hosts.add(turn(number, "https://one.example/", Work::Handshake { attempts: 0 })));
    for _ in 0..40 {
        let (numbers, again) = begun(&mut hosts, now);
        numbers.iter().for_each(|number| ended(&mut hosts, "one.example:443", *number, TAKEN, now));
        done.extend(numbers.iter().map(|_| now));
        if let (true, Some(again)) = (numbers.is_empty(), again) {
            assert!(again > at(now));
            now = again.as_secs();
        }
    }
    assert_eq!(done.len(), 23);
    assert_eq!(done.iter().filter(|second| **second == 0).count(), 20);
    assert_eq!(&done[20..], [1, 2, 3]);
    hosts.add(turn(24, "https://one.example/", Work::Handshake { attempts: 0 }));
    hosts.add(events(25, "https://one.example/"));
    assert_eq!(begun(&mut hosts, 3).0, [25]);
}

#[test]
fn what_waits_is_bounded_and_forgotten_hosts_leave_nothing() {
    let mut hosts = Hosts::default();
    for number in 0..=WAITING_MOST {
        hosts.add(events(i64::try_from(number).unwrap(), "https://slow.example/"));
    }
    assert_eq!(hosts.waiting, WAITING_MOST);
    let mut hosts = Hosts::default();
    hosts.add(events(1, "https://one.example/"));
    begun(&mut hosts, 0);
    ended(&mut hosts, "one.example:443", 1, TAKEN, 0);
    assert!(hosts.hosts.is_empty());
}
