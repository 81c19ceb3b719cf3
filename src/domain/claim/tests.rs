//! Books against a plain second reading of the contract, in which every byte is looked at.

use proptest::prelude::*;

use super::*;

const SIZE: u64 = 12;
const GRACE: Duration = Duration::from_secs(60);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn from(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

/// A book with the store behind it, for one use.
struct Served {
    book: Book,
    open: Vec<ClaimNumber>,
    used: u32,
    made: i64,
}

impl Served {
    fn new() -> Self {
        Self { book: Book::new(SIZE, GRACE), open: Vec::new(), used: 0, made: 0 }
    }

    fn get(&mut self, asked: &Asked, who: u8, now: Duration) -> Option<PartNumber> {
        match self.book.ask(asked, from(who), now) {
            Answer::Joined(part) => Some(part),
            Answer::Busy(seconds) => {
                assert!((RETRY.0..=RETRY.1).contains(&seconds));
                None
            }
            Answer::Claim(over) => {
                self.open.retain(|number| !over.contains(number));
                self.book.given_up(&over);
                if self.used > 0 || !self.open.is_empty() {
                    assert!((RETRY.0..=RETRY.1).contains(&self.book.busy_for(now)));
                    return None;
                }
                self.made += 1;
                self.open.push(ClaimNumber(self.made));
                Some(self.book.open(ClaimNumber(self.made), asked, from(who), now))
            }
        }
    }

    fn end(&mut self, part: PartNumber, taken: bool, now: Duration) {
        match self.book.ended(part, taken, now) {
            Ended::Open => {}
            Ended::Whole(number) => {
                assert!(self.open.contains(&number));
                self.open.retain(|open| *open != number);
                self.used += 1;
            }
            Ended::Unmark(number) => self.book.unmarked(number, true),
        }
    }

    fn send(&mut self, part: PartNumber, most: u64, now: Duration) -> u64 {
        let Some(may) = self.book.may_send(part) else { return 0 };
        let length = may.min(most);
        if let Some(number) = self.book.completes(part, length) {
            self.book.marked(number);
        }
        self.book.handed(part, length, now);
        length
    }
}

#[derive(Debug, Clone)]
enum Move {
    Get { who: u8, start: u64, partial: bool, tagged: bool },
    Send { which: usize, most: u64 },
    End { which: usize, taken: bool },
    Wait { seconds: u64 },
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        3 => (0u8..2, 0..SIZE, any::<bool>(), any::<bool>())
            .prop_map(|(who, start, partial, tagged)| Move::Get { who, start, partial, tagged }),
        4 => (0usize..6, 1u64..9).prop_map(|(which, most)| Move::Send { which, most }),
        3 => (0usize..6, any::<bool>()).prop_map(|(which, taken)| Move::End { which, taken }),
        1 => (1u64..80).prop_map(|seconds| Move::Wait { seconds }),
    ]
}

/// What the plain reading knows of an answer that was begun.
#[derive(Debug)]
struct Seen {
    part: PartNumber,
    who: u8,
    whole: bool,
    start: u64,
    sent: u64,
    after: bool,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn a111_one_use_is_never_two_whole_files(moves in prop::collection::vec(moves(), 1..60)) {
        let (mut served, mut now) = (Served::new(), at(100));
        let (mut running, mut wholes, mut after): (Vec<Seen>, u32, u64) = (Vec::new(), 0, 0);
        let mut closed: Option<(u8, Duration)> = None;
        for step in moves {
            match step {
                Move::Wait { seconds } => now += at(seconds),
                Move::Get { who, start, partial, tagged } => {
                    let range = if partial { start..SIZE } else { 0..SIZE };
                    let asked = Asked { range: range.clone(), partial, tagged };
                    let used = served.used;
                    if let Some(part) = served.get(&asked, who, now) {
                        if used > 0 {
                            let (closer, when) = closed.unwrap();
                            prop_assert!(partial && tagged && start > 0 && who == closer && now - when <= GRACE);
                            after += SIZE - start;
                        }
                        running.push(Seen { part, who, whole: !partial, start: range.start, sent: 0, after: used > 0 });
                    } else if used == 0 && !partial {
                        prop_assert!(!running.is_empty() || !served.open.is_empty(), "refused though nothing is open");
                    }
                }
                Move::Send { which, most } => {
                    if let Some(seen) = running.get_mut(which) {
                        seen.sent += served.send(seen.part, most, now);
                    }
                }
                Move::End { which, taken } if which < running.len() => {
                    let seen = running.remove(which);
                    let all = seen.start + seen.sent == SIZE;
                    let before = served.used;
                    served.end(seen.part, taken && all, now);
                    if served.used > before {
                        closed = Some((seen.who, now));
                    }
                    if taken && all && seen.whole && !seen.after {
                        wholes += 1;
                        prop_assert_eq!(served.used, 1, "a whole file that was received is a use");
                    }
                }
                Move::End { .. } => {}
            }
            prop_assert!(served.used <= 1 && wholes <= 1 && after <= SIZE);
            prop_assert!(served.open.len() <= 1 && running.iter().filter(|seen| served.book.may_send(seen.part).is_some()).count() <= 2 * PARTS_MOST);
        }
        // Whoever waits out the grace gets the file where no use counted, and only there.
        running.drain(..).for_each(|seen| served.end(seen.part, false, now));
        let got = served.get(&Asked::whole(SIZE), 9, now + GRACE + at(1));
        prop_assert_eq!(got.is_some(), served.used == 0, "never a lost use");
    }
}

#[test]
fn the_mark_comes_before_the_byte_that_completes_the_file() {
    let mut served = Served::new();
    let first = served.get(&Asked { range: 0..6, partial: true, tagged: false }, 1, at(0)).unwrap();
    let second = served.get(&Asked { range: 6..12, partial: true, tagged: true }, 1, at(0)).unwrap();
    assert_eq!(served.book.completes(first, 6), None);
    served.book.handed(first, 6, at(0));
    assert_eq!(served.book.completes(second, 5), None);
    assert_eq!(served.book.completes(second, 6), Some(ClaimNumber(1)));
}

#[test]
fn four_parts_at_once_and_no_byte_that_was_received_again() {
    let mut served = Served::new();
    let range = |start: u64| Asked { range: start..start + 2, partial: true, tagged: true };
    let parts: Vec<PartNumber> = (0..4).map(|at_| served.get(&range(at_ * 2), 1, at(0)).unwrap()).collect();
    assert_eq!(served.get(&range(8), 1, at(0)), None, "a fifth");
    served.send(parts[0], 2, at(1));
    served.end(parts[0], true, at(1));
    assert_eq!(served.get(&range(0), 1, at(1)), None, "received already");
    assert!(served.get(&range(8), 1, at(1)).is_some());
}

#[test]
fn busy_says_when_at_the_present_rate() {
    let mut served = Served::new();
    let part = served.get(&Asked::whole(SIZE), 1, at(0)).unwrap();
    served.send(part, 4, at(4));
    assert_eq!(served.book.busy_for(at(4)), 8, "a byte a second, eight are left");
    assert!(served.book.knows(from(1), at(4)) && !served.book.knows(from(2), at(4)));
}
