//! Claims and books against a plain second reading of the contract, in which every byte that was handed out is counted.

use proptest::prelude::*;

use super::*;
use std::time::Duration;

const SIZE: u64 = 12;
const GRACE: Duration = Duration::from_secs(60);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn stamp(at: Duration) -> Timestamp {
    Timestamp::from_millis(i64::try_from(at.as_millis()).unwrap())
}

fn from(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn range(start: u64, end: u64, tagged: bool) -> Asked {
    Asked { range: start..end, partial: true, tagged }
}

/// What was answered to a GET.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Sends(AttemptNumber),
    Busy,
    Used { twice: bool },
}

/// A transfer and its connection.
#[derive(Debug, Clone)]
struct Wire {
    attempt: AttemptNumber,
    range: Range<u64>,
    handed: u64,
    acked: u64,
    parting: Parting,
}

impl Wire {
    fn look(&self) -> Look {
        let all = self.acked == self.range.end - self.range.start;
        Look { least: self.acked, most: self.acked, all, parting: self.parting }
    }
}

/// A book with the store behind it.
struct Served {
    book: Book,
    standing: Standing,
    spent: Vec<Claim>,
    wires: Vec<Wire>,
    numbers: i64,
    /// What the store has done, and has not answered yet.
    answers: Vec<(Vec<Settlement>, Vec<SpentClaim>)>,
}

impl Served {
    fn new(most: u32) -> Self {
        let standing = Standing { size: SIZE, most, used: 0, claims: Vec::new() };
        Self {
            book: Book::new(SIZE, GRACE),
            standing,
            spent: Vec::new(),
            wires: Vec::new(),
            numbers: 0,
            answers: Vec::new(),
        }
    }

    fn number(&mut self) -> i64 {
        self.numbers += 1;
        self.numbers
    }

    fn settle(&mut self, now: Duration) {
        let (settlements, newly) = self.stored(now);
        self.book.settled(&settlements, &newly, now);
    }

    /// As the store does it, in one transaction; its answer comes later.
    fn stored(&mut self, now: Duration) -> (Vec<Settlement>, Vec<SpentClaim>) {
        for attempt in self.book.watched() {
            let Some(wire) = self.wires.iter().find(|wire| wire.attempt == attempt) else { continue };
            self.book.looked(attempt, Some(&wire.look()), now);
        }
        let (settlements, mut newly) = (self.book.unsettled(), Vec::new());
        for settlement in &settlements {
            match settlement {
                Settlement::Ended(ending) => {
                    for claim in &mut self.spent {
                        claim.ended(ending, SIZE, stamp(now + GRACE));
                    }
                    let claims = &mut self.standing.claims;
                    let found =
                        claims.iter_mut().find(|claim| claim.running.iter().any(|a| a.number == ending.attempt));
                    let Some(claim) = found else { continue };
                    if claim.ended(ending, SIZE, stamp(now + GRACE)) == Some(After::Spent) {
                        let number = claim.number;
                        newly.push(claim.spent(SIZE));
                        self.spend(number);
                    }
                }
                Settlement::Reset(reset) => {
                    if let Some(claim) = self.standing.claims.iter_mut().find(|claim| claim.number == reset.claim) {
                        claim.reset(reset, SIZE, false);
                    } else if let Some(place) = self.spent.iter().position(|claim| claim.number == reset.claim)
                        && self.spent[place].reset(reset, SIZE, true)
                    {
                        self.standing.claims.push(self.spent.remove(place));
                        self.standing.used -= 1;
                        newly.retain(|spent: &SpentClaim| spent.claim != reset.claim);
                    }
                }
            }
        }
        (settlements, newly)
    }

    fn spend(&mut self, number: ClaimNumber) {
        let place = self.standing.claims.iter().position(|claim| claim.number == number).unwrap();
        self.spent.push(self.standing.claims.remove(place));
        self.standing.used += 1;
    }

    fn get(&mut self, asked: &Asked, who: u8, now: Duration) -> Answer {
        self.settle(now);
        let place = match self.standing.choose(asked, from(who), stamp(now)) {
            Choice::Busy => {
                assert!((RETRY.0..=RETRY.1).contains(&self.book.busy_for(now)));
                return Answer::Busy;
            }
            Choice::Used { twice } => {
                return match self.book.mend(asked, from(who), now) {
                    Some(attempt) => self.sends(attempt, asked),
                    None => Answer::Used { twice },
                };
            }
            Choice::Claim => {
                let number = ClaimNumber(self.number());
                self.standing.claims.push(Claim::begin(number, from(who)));
                self.standing.claims.len() - 1
            }
            Choice::Attempt(number) => self.standing.claims.iter().position(|claim| claim.number == number).unwrap(),
        };
        let number = AttemptNumber(self.number());
        let claim = &mut self.standing.claims[place];
        claim.began(Attempt { number, range: asked.range.clone(), closing: false }, from(who));
        let claim = claim.clone();
        self.book.begun(&claim, number, asked, false, now);
        self.sends(number, asked)
    }

    fn sends(&mut self, attempt: AttemptNumber, asked: &Asked) -> Answer {
        let range = asked.range.clone();
        self.wires.push(Wire { attempt, range, handed: 0, acked: 0, parting: Parting::None });
        Answer::Sends(attempt)
    }

    /// Hands on and acknowledges up to `most` bytes; how many.
    fn send(&mut self, which: usize, most: u64, now: Duration) -> u64 {
        let Some(wire) = self.wires.get_mut(which) else { return 0 };
        let length = self.book.may_send(wire.attempt).unwrap_or(0).min(most);
        self.book.handed(wire.attempt, length, now);
        wire.handed += length;
        wire.acked += length;
        length
    }

    fn part(&mut self, which: usize, parting: Parting, now: Duration) {
        let mut wire = self.wires.remove(which);
        wire.parting = if wire.look().all { parting } else { Parting::Reset };
        self.book.over(wire.attempt, &wire.look(), false, now);
    }

    /// Takes the whole and ends as said.
    fn take(&mut self, asked: &Asked, who: u8, parting: Parting) -> bool {
        let Answer::Sends(attempt) = self.get(asked, who, at(0)) else { return false };
        let which = self.wires.iter().position(|wire| wire.attempt == attempt).unwrap();
        self.send(which, u64::MAX, at(0));
        self.part(which, parting, at(0));
        self.settle(at(0));
        true
    }
}

#[derive(Debug, Clone)]
enum Move {
    Get {
        who: u8,
        start: u64,
        length: u64,
        partial: bool,
        tagged: bool,
    },
    Send {
        which: usize,
        most: u64,
    },
    End {
        which: usize,
        reset: bool,
    },
    Wait {
        seconds: u64,
    },
    /// Settles, and hears of it later.
    Store,
    Hear,
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        3 => (0u8..2, 0..SIZE, 1..=SIZE, any::<bool>(), any::<bool>())
            .prop_map(|(who, start, length, partial, tagged)| Move::Get { who, start, length, partial, tagged }),
        4 => (0usize..6, 1u64..14).prop_map(|(which, most)| Move::Send { which, most }),
        3 => (0usize..6, any::<bool>()).prop_map(|(which, reset)| Move::End { which, reset }),
        1 => (1u64..80).prop_map(|seconds| Move::Wait { seconds }),
        2 => Just(Move::Store),
        2 => Just(Move::Hear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn a111_one_use_is_never_two_whole_files_and_never_more_than_twice_its_length(moves in prop::collection::vec(moves(), 1..80)) {
        let (mut served, mut now) = (Served::new(1), at(100));
        let (mut handed, mut in_order, mut mends) = (0, 0, false);
        for step in moves {
            match step {
                Move::Wait { seconds } => now += at(seconds),
                Move::Store => {
                    let answer = served.stored(now);
                    served.answers.push(answer);
                }
                Move::Hear if !served.answers.is_empty() => {
                    let (settlements, newly) = served.answers.remove(0);
                    served.book.settled(&settlements, &newly, now);
                }
                Move::Hear => {}
                Move::Get { who, start, length, partial, tagged } => {
                    let asked = if partial { range(start, (start + length).min(SIZE), tagged) } else { Asked::whole(SIZE) };
                    let answer = served.get(&asked, who, now);
                    mends |= matches!(answer, Answer::Sends(attempt) if attempt.0 < 0);
                    let moves = served.standing.claims.iter().any(|claim| claim.is_under_way(stamp(now)));
                    prop_assert!(answer != Answer::Busy || moves, "busy, and nothing moves");
                }
                Move::Send { which, most } => handed += served.send(which, most, now),
                Move::End { which, reset } if which < served.wires.len() => {
                    let whole = served.wires[which].look().all && served.wires[which].range == (0..SIZE);
                    in_order += u32::from(whole && !reset);
                    let parting = if reset { Parting::Reset } else { Parting::InOrder };
                    served.part(which, parting, now);
                    if whole && !reset {
                        served.settle(now);
                        prop_assert_eq!(served.standing.used, 1, "a whole file that was received is a use");
                    }
                }
                Move::End { .. } => {}
            }
            prop_assert!(in_order <= 1 && served.standing.used <= 1);
            prop_assert!(handed <= 2 * SIZE, "{} bytes were handed out", handed);
        }
        // Whoever comes once nothing moves any more gets the file, as long as it was not handed out once already.
        while !served.wires.is_empty() {
            served.part(0, Parting::Reset, now);
        }
        served.settle(now);
        let answer = served.get(&Asked::whole(SIZE), 9, now + GRACE + at(1));
        let was_spent = served.standing.used > 0;
        let gets = matches!(answer, Answer::Sends(_));
        prop_assert!(gets || was_spent || mends || handed > SIZE, "a lost use after {} bytes: {:?}", handed, answer);
        prop_assert!(!(gets && was_spent));
    }

    /// After whatever order of settlements brought twice, the state is the same.
    #[test]
    fn what_is_settled_twice_is_settled_once(least in 0..=SIZE, more in 0..=SIZE) {
        let mut claim = Claim::begin(ClaimNumber(1), from(1));
        claim.began(Attempt { number: AttemptNumber(1), range: 0..SIZE, closing: false }, from(1));
        let ending = Ending { attempt: AttemptNumber(1), least, most: least.max(more), is_unknown: false };
        prop_assert!(claim.ended(&ending, SIZE, stamp(GRACE)).is_some());
        let once = claim.clone();
        prop_assert!(claim.ended(&ending, SIZE, stamp(GRACE)).is_none());
        prop_assert_eq!(claim, once);
    }
}

#[test]
fn a_reset_after_the_last_byte_gives_the_use_back_once() {
    let mut served = Served::new(1);
    let whole = Asked::whole(SIZE);
    assert!(served.take(&whole, 1, Parting::Reset), "the first");
    assert_eq!(served.standing.used, 0);
    assert!(served.take(&whole, 1, Parting::Reset), "the second");
    assert_eq!(served.get(&whole, 1, at(0)), Answer::Used { twice: true });
    // Seen as spent first, and reset afterwards, it is the same.
    let mut served = Served::new(1);
    for (round, used) in [(1, 0), (2, 1)] {
        let Answer::Sends(_) = served.get(&whole, 1, at(0)) else { panic!("round {round}") };
        served.send(0, SIZE, at(0));
        assert_eq!(served.get(&whole, 2, at(0)), Answer::Used { twice: false }, "all was acknowledged");
        served.part(0, Parting::Reset, at(0));
        served.settle(at(0));
        assert_eq!(served.standing.used, used, "round {round}");
    }
    assert_eq!(served.get(&whole, 1, at(0)), Answer::Used { twice: false });
}

#[test]
fn all_but_the_last_byte_again_and_again_is_bounded_and_the_last_byte_spends() {
    let mut served = Served::new(1);
    assert!(served.take(&range(SIZE - 1, SIZE, false), 1, Parting::InOrder));
    assert!(served.take(&range(0, SIZE - 1, false), 1, Parting::InOrder));
    assert_eq!(served.get(&range(0, SIZE - 1, false), 1, at(0)), Answer::Used { twice: false }, "that was all of it");
    let mut served = Served::new(1);
    let all_but_one = range(0, SIZE - 1, false);
    assert!(served.take(&all_but_one, 1, Parting::InOrder) && served.take(&all_but_one, 1, Parting::InOrder));
    for who in [1, 2] {
        assert_eq!(served.get(&all_but_one, who, at(0)), Answer::Used { twice: true });
        assert_eq!(served.get(&Asked::whole(SIZE), who, at(0)), Answer::Used { twice: true });
    }
    assert!(served.take(&range(SIZE - 1, SIZE, false), 1, Parting::InOrder), "what is missing may always be had");
    assert_eq!(served.standing.used, 1);
}

#[test]
fn a_probe_opens_the_claim_and_the_next_get_of_its_address_goes_on_under_it() {
    let mut served = Served::new(1);
    let Answer::Sends(_) = served.get(&range(0, 2, false), 1, at(0)) else { panic!() };
    assert_eq!(served.get(&Asked::whole(SIZE), 2, at(0)), Answer::Busy, "another address waits");
    let Answer::Sends(_) = served.get(&Asked::whole(SIZE), 1, at(0)) else { panic!("the same one goes on") };
    assert_eq!(served.get(&Asked::whole(SIZE), 1, at(0)), Answer::Busy, "a second whole does not");
    assert_eq!(served.standing.claims.len(), 1);
    (0..2).for_each(|which| assert!(served.send(which, SIZE, at(0)) > 0));
    assert_eq!(served.get(&Asked::whole(SIZE), 1, at(0)), Answer::Used { twice: false });
}

#[test]
fn three_uses_are_three_wholes_side_by_side_and_one_that_broke_off_takes_none() {
    let mut served = Served::new(3);
    for who in 1..=3 {
        assert!(matches!(served.get(&Asked::whole(SIZE), who, at(0)), Answer::Sends(_)), "{who}");
    }
    assert_eq!(served.get(&Asked::whole(SIZE), 4, at(0)), Answer::Busy);
    served.send(1, 5, at(0));
    served.part(1, Parting::Reset, at(0));
    assert!(matches!(served.get(&Asked::whole(SIZE), 4, at(0)), Answer::Sends(_)), "one broke off");
    (0..3).for_each(|which| assert_eq!(served.send(which, SIZE, at(0)), SIZE));
    assert_eq!(served.get(&Asked::whole(SIZE), 5, at(0)), Answer::Used { twice: false });
    assert_eq!(served.standing.used, 3);
}

#[test]
fn whoever_resumes_has_what_comes_before() {
    let mut served = Served::new(1);
    let Answer::Sends(_) = served.get(&Asked::whole(SIZE), 1, at(0)) else { panic!() };
    served.send(0, 7, at(0));
    served.part(0, Parting::Reset, at(0));
    // Two of the acknowledged bytes were not read.
    assert!(served.take(&range(5, SIZE, false), 1, Parting::InOrder));
    assert_eq!(served.standing.used, 1, "it has the whole");
    // Within the grace it may mend a part of it, once in sum what is left of twice the length.
    assert!(served.take(&range(3, SIZE, true), 1, Parting::InOrder));
    assert_eq!(served.get(&range(1, SIZE, true), 1, at(0)), Answer::Used { twice: false });
    assert_eq!(served.get(&range(9, SIZE, true), 2, at(0)), Answer::Used { twice: false }, "another address");
}

#[test]
fn the_mark_comes_before_the_byte_that_completes_the_file() {
    let mut served = Served::new(1);
    let Answer::Sends(first) = served.get(&range(0, 6, false), 1, at(0)) else { panic!() };
    let Answer::Sends(second) = served.get(&range(6, 12, true), 1, at(0)) else { panic!() };
    assert!(!served.book.completes(first, 6));
    served.send(0, 6, at(0));
    assert!(!served.book.completes(second, 5) && served.book.completes(second, 6));
    served.book.marked(second);
    assert!(!served.book.completes(second, 6), "it is marked");
}

#[test]
fn four_at_once_and_not_past_twice_the_length_in_all() {
    let mut served = Served::new(1);
    let two = |start: u64| range(start, start + 2, true);
    for start in 0..4 {
        assert!(matches!(served.get(&two(start * 2), 1, at(0)), Answer::Sends(_)));
    }
    assert_eq!(served.get(&two(8), 1, at(0)), Answer::Busy, "a fifth");
    served.send(0, 2, at(1));
    served.part(0, Parting::InOrder, at(1));
    assert!(matches!(served.get(&two(8), 1, at(1)), Answer::Sends(_)));
}

#[test]
fn a_claim_whose_part_arrived_waits_for_its_address() {
    let mut served = Served::new(1);
    assert!(served.take(&range(0, 6, false), 1, Parting::InOrder));
    assert_eq!(served.get(&Asked::whole(SIZE), 2, GRACE), Answer::Busy);
    assert!(served.take(&range(6, SIZE, false), 1, Parting::InOrder));
    assert_eq!(served.standing.used, 1);
    let mut served = Served::new(1);
    assert!(served.take(&range(0, 6, false), 1, Parting::InOrder));
    assert!(matches!(served.get(&Asked::whole(SIZE), 2, GRACE + at(1)), Answer::Sends(_)));
}

#[test]
fn what_is_silent_ends_after_the_grace_and_busy_says_when() {
    let mut served = Served::new(1);
    let Answer::Sends(_) = served.get(&Asked::whole(SIZE), 1, at(0)) else { panic!() };
    served.send(0, 4, at(4));
    served.settle(at(4));
    assert_eq!(served.book.busy_for(at(4)), 8, "a byte a second, eight are left");
    assert_eq!(served.get(&Asked::whole(SIZE), 2, at(4) + GRACE), Answer::Busy);
    assert!(matches!(served.get(&Asked::whole(SIZE), 2, at(5) + GRACE), Answer::Sends(_)));
    assert_eq!(served.book.may_send(served.wires[0].attempt), None, "the silent one is over");
}

#[test]
fn what_may_have_become_whole_when_the_server_stopped_is_spent() {
    for (closing, after) in [(true, After::Spent), (false, After::Open)] {
        let mut claim = Claim::begin(ClaimNumber(1), from(1));
        claim.began(Attempt { number: AttemptNumber(1), range: 0..SIZE, closing }, from(1));
        let ending = Ending { attempt: AttemptNumber(1), least: 3, most: 9, is_unknown: true };
        assert_eq!(claim.ended(&ending, SIZE, stamp(GRACE)), Some(after));
    }
}
