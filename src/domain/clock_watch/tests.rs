//! The watch against the contract, by example and against a plain second reading of its rules.

use proptest::prelude::*;

use super::*;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const BEGIN: i64 = 1_000 * DAY;

fn look(wall: i64, monotonic: i64) -> Look {
    Look { wall: Timestamp::from_millis(wall), monotonic: Duration::from_millis(u64::try_from(monotonic).unwrap()) }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn kept(highest: i64) -> Option<ClockRecord> {
    Some(ClockRecord { highest: at(highest), cleared: at(highest), jump: None })
}

#[test]
fn what_was_watched_is_destroyed_when_due_and_what_was_not_after_an_hour() {
    let mut watch = ClockWatch::begin(kept(BEGIN), look(BEGIN + 2 * DAY, 0));
    assert!(watch.destroyable().allows(at(BEGIN)), "due before the stop");
    assert!(!watch.destroyable().allows(at(BEGIN + DAY)), "due while stopped");
    watch.look(look(BEGIN + 2 * DAY + MINUTE, MINUTE));
    assert!(watch.destroyable().allows(at(BEGIN + 2 * DAY + MINUTE)), "watched");
    assert!(!watch.destroyable().allows(at(BEGIN + 2 * DAY + 2 * MINUTE)), "not due yet");
    assert!(!watch.destroyable().allows(at(BEGIN + DAY)));
    watch.look(look(BEGIN + 2 * DAY + HOUR - 1, HOUR - 1));
    assert!(!watch.destroyable().allows(at(BEGIN + DAY)));
    watch.look(look(BEGIN + 2 * DAY + HOUR, HOUR));
    assert!(watch.destroyable().allows(at(BEGIN + DAY)));
    assert_eq!(watch.standing(), Standing::Sound);
}

#[test]
fn f48_a_jump_while_running_stops_all_destruction_until_it_is_confirmed() {
    let mut watch = ClockWatch::begin(None, look(BEGIN, 0));
    watch.look(look(BEGIN + 25 * HOUR + MINUTE, MINUTE));
    assert_eq!(
        watch.standing(),
        Standing::Jumped(Jump { from: at(BEGIN + MINUTE), to: at(BEGIN + 25 * HOUR + MINUTE) })
    );
    for hour in 1..50 {
        watch.look(look(BEGIN + 25 * HOUR + MINUTE + hour * HOUR, MINUTE + hour * HOUR));
        assert!(!watch.destroyable().allows(at(BEGIN)), "agreement is no confirmation");
    }
    // The record outlives a restart.
    let again = ClockWatch::begin(Some(watch.record()), look(BEGIN + 80 * HOUR, 0));
    assert!(matches!(again.standing(), Standing::Jumped(_)));
    watch.confirm(look(BEGIN + 80 * HOUR, 80 * HOUR));
    assert!(watch.destroyable().allows(at(BEGIN + 80 * HOUR)));
    assert!(!watch.destroyable().allows(at(BEGIN + 80 * HOUR + 1)));
}

#[test]
fn a_jump_in_two_steps_is_a_jump_and_a_smaller_one_waits_an_hour() {
    let mut watch = ClockWatch::begin(None, look(BEGIN, 0));
    watch.look(look(BEGIN + 24 * HOUR, 0));
    assert!(matches!(watch.standing(), Standing::Settling { .. }));
    assert!(!watch.destroyable().allows(at(BEGIN + 20 * HOUR)));
    let mut patient = watch.clone();
    watch.look(look(BEGIN + 26 * HOUR, MINUTE));
    assert!(matches!(watch.standing(), Standing::Jumped(_)), "the steps add up");
    patient.look(look(BEGIN + 25 * HOUR, HOUR));
    assert!(patient.destroyable().allows(at(BEGIN + 20 * HOUR)));
}

#[test]
fn a_stop_of_seven_days_is_a_jump_and_one_of_less_is_not() {
    assert!(matches!(ClockWatch::begin(kept(BEGIN), look(BEGIN + 7 * DAY, 0)).standing(), Standing::Jumped(_)));
    assert!(matches!(
        ClockWatch::begin(kept(BEGIN), look(BEGIN + 7 * DAY - 1, 0)).standing(),
        Standing::Settling { .. }
    ));
}

#[test]
fn a_clock_that_is_set_back_is_behind_and_destroys_nothing_before_its_time() {
    let mut watch = ClockWatch::begin(None, look(BEGIN, 0));
    watch.look(look(BEGIN + 2 * HOUR, 2 * HOUR));
    watch.look(look(BEGIN - DAY, 2 * HOUR + 1));
    assert_eq!(watch.standing(), Standing::Behind { by: Duration::from_secs(26 * 3_600) });
    assert_eq!(watch.record().highest, at(BEGIN + 2 * HOUR));
    assert!(!watch.destroyable().allows(at(BEGIN + HOUR)));
    watch.confirm(look(BEGIN - DAY, 2 * HOUR + 2));
    assert_eq!(watch.record().highest, at(BEGIN - DAY));
    assert_eq!(watch.standing(), Standing::Sound);
}

/// The rules of the contract read a second time, over the whole history and without any state kept in between.
fn plainly(before: Option<ClockRecord>, looks: &[Look], due: Timestamp) -> bool {
    let Some((first, last)) = looks.first().zip(looks.last()) else { return false };
    let off = |from: &Look, to: &Look| {
        (to.wall.millis() - from.wall.millis()) - i64::try_from((to.monotonic - from.monotonic).as_millis()).unwrap()
    };
    let stopped = before.is_some_and(|before| first.wall.millis() - before.highest.millis() >= 7 * DAY);
    // Stretches of agreement, as the numbers of their first looks.
    let mut begins = vec![0];
    for (number, look) in looks.iter().enumerate() {
        if off(&looks[*begins.last().unwrap()], look).abs() > 5_000 {
            begins.push(number);
        }
    }
    let of = |number: usize| *begins.iter().rev().find(|begin| **begin <= number).unwrap();
    let settled = |number: usize| looks[number].monotonic - looks[of(number)].monotonic >= Duration::from_secs(3_600);
    let trusted = |number: usize| (0..number).rev().find(|n| settled(*n)).unwrap_or(0);
    let jumped = begins.iter().skip(1).any(|begin| off(&looks[trusted(*begin)], &looks[*begin]) >= 25 * HOUR);
    if stopped || jumped || due > last.wall {
        return false;
    }
    // The newest look at which all was allowed, and every lower clock since then, bound what is allowed still.
    let whole = (0..looks.len()).rev().find(|number| settled(*number));
    let start = whole.map_or_else(|| before.map_or(first.wall, |before| before.cleared), |number| looks[number].wall);
    let lower = begins.iter().filter(|begin| whole.is_none_or(|whole| **begin > whole)).map(|begin| looks[*begin].wall);
    due <= lower.fold(start, Timestamp::min) || due > looks[of(looks.len() - 1)].wall
}

proptest! {
    #[test]
    fn the_watch_says_what_the_contract_says(
        gap in prop::option::of(-2 * DAY..10 * DAY),
        moves in prop::collection::vec(
            (1i64..3 * HOUR, prop_oneof![6 => Just(0i64), 1 => -6_000i64..6_000, 1 => -30 * HOUR..30 * HOUR]), 0..12),
        due in -12 * DAY..5 * DAY,
    ) {
        let before = gap.map(|gap| kept(BEGIN - gap).unwrap());
        let mut looks = vec![look(BEGIN, 0)];
        let mut watch = ClockWatch::begin(before, looks[0]);
        let (mut wall, mut monotonic) = (BEGIN, 0);
        for (passed, shift) in moves {
            wall += passed + shift;
            monotonic += passed;
            looks.push(look(wall, monotonic));
            watch.look(look(wall, monotonic));
        }
        let due = at(BEGIN + due);
        prop_assert_eq!(watch.destroyable().allows(due), plainly(before, &looks, due));
        let highest = looks.iter().map(|look| look.wall).chain(before.map(|before| before.highest)).max().unwrap();
        prop_assert_eq!(watch.record().highest, highest);
    }
}
