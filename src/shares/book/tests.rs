//! The book against what a user of it knows: shares, turns, and that nobody waits for what is there.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::domain::id::LinkId;
use crate::domain::principal::ClientNumber;

/// Clients 0 to 3, and links of client 3.
fn holder(number: u32) -> Holder {
    match number {
        0..=3 => Holder::Client(ClientNumber(number)),
        _ => Holder::Link(LinkId::of_digest(&[u8::try_from(number).unwrap(); 32]), ClientNumber(3)),
    }
}

fn book(size: u64) -> Book<u64> {
    Book::new(size, Shares::default(), 1_024)
}

/// How many units one holder gets when it takes all that it may.
fn most(book: &mut Book<u64>, holder: &Holder) -> u64 {
    let mut taken = 0;
    while book.take(holder, 1) {
        taken += 1;
    }
    taken
}

#[test]
fn one_alone_has_half_and_two_a_third_each_and_something_is_left() {
    let mut book = book(512);
    assert_eq!(most(&mut book, &holder(0)), 256);
    assert_eq!(most(&mut book, &holder(1)), 128);
    assert_eq!(most(&mut book, &holder(2)), 64);
    // Client 0 gives back what is over its part of the rest, and takes it again: a third, then.
    for _ in 0..256 {
        book.give_back(&holder(0), 1);
    }
    assert!(most(&mut book, &holder(1)) > 0);
    assert_eq!(book.why(&holder(1), 1), Turned::OverShare);
    assert!(book.free > 0 && book.take(&holder(0), 1));
}

#[test]
fn a_link_has_a_quarter_and_the_links_of_one_client_have_its_half() {
    let mut book = book(512);
    assert_eq!(most(&mut book, &holder(4)), 128);
    let others: u64 = (5..8).map(|link| most(&mut book, &holder(link))).sum();
    assert_eq!(128 + others, 256 + 1, "the last of them held nothing");
    assert_eq!(book.why(&holder(5), 1), Turned::OverShare);
    assert_eq!(book.why(&holder(3), 1), Turned::OverShare);
    assert!(book.take(&holder(0), 1));
}

#[test]
fn links_that_hold_nothing_have_a_place_beyond_their_clients_share_and_others_still_have_theirs() {
    let mut book = book(512);
    // Readers of three links that stand still.
    let still: u64 = (4..7).map(|link| most(&mut book, &holder(link))).sum();
    assert_eq!(still, 256);
    let more = (7..250).filter(|link| book.take(&holder(*link), 1)).count();
    assert_eq!(256 + more, 384, "three quarters, however many links there are");
    assert!(!book.take(&holder(7), 1) && !book.take(&holder(251), 1));
    assert_eq!(book.why(&holder(251), 1), Turned::Full, "it exceeds nothing itself");
    assert_eq!(most(&mut book, &holder(0)), 64);
}

#[test]
fn the_smallest_pools_still_give() {
    for size in 1..5 {
        let mut book = book(size);
        assert!(book.take(&holder(0), size.min(1)));
        assert_eq!(book.take(&holder(1), 1), size > 1, "{size}");
    }
    // Who holds nothing may have all there is, and then nobody else gets any.
    let mut book = book(10);
    assert!(book.take(&holder(0), 10) && !book.take(&holder(1), 1));
    assert_eq!((book.why(&holder(1), 1), book.why(&holder(0), 1)), (Turned::Full, Turned::OverShare));
}

#[test]
fn turns_go_round_between_holders_and_in_order_within_one() {
    let mut book = book(1);
    assert!(book.take(&holder(9), 1));
    // Client 0 has asked a hundred times before the others come.
    for number in 0..100 {
        book.wait(&holder(0), 1, number).unwrap();
    }
    book.wait(&holder(1), 1, 1_000).unwrap();
    book.wait(&holder(2), 1, 2_000).unwrap();
    let (mut order, mut last) = (Vec::new(), holder(9));
    for _ in 0..5 {
        book.give_back(&last, 1);
        let granted = book.serve().pop().unwrap();
        (last, _) = (granted.holder, order.push(granted.wake));
    }
    assert_eq!(order, [0, 1_000, 2_000, 1, 2]);
}

#[test]
fn a_line_has_its_share_of_the_room_too() {
    let mut book = Book::new(1, Shares::default(), 8);
    assert!(book.take(&holder(9), 1));
    let waiting = (0..8).filter(|number| book.wait(&holder(0), 1, *number).is_ok()).count();
    assert_eq!(waiting, 4);
    assert_eq!(book.wait(&holder(0), 1, 9), Err(Turned::OverShare));
    assert!(book.wait(&holder(1), 1, 10).is_ok());
}

#[derive(Debug, Clone)]
enum Step {
    Ask(u32, u64),
    GiveBack(usize),
    Leave(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0u32..7, 1u64..6).prop_map(|(holder, amount)| Step::Ask(holder, amount)),
        3 => any::<usize>().prop_map(Step::GiveBack),
        1 => any::<usize>().prop_map(Step::Leave),
    ];
    proptest::collection::vec(step, 0..200)
}

/// What a user of the book knows.
#[derive(Default)]
struct Known {
    held: Vec<(Holder, u64)>,
    waiting: Vec<(Holder, u64, u64)>,
}

impl Known {
    fn do_step(&mut self, book: &mut Book<u64>, step: Step, number: u64) {
        match step {
            Step::Ask(of, amount) => {
                let one = holder(of);
                let before = self.waiting.iter().any(|(other, ..)| *other == one);
                let nothing = !self.held.iter().any(|(other, _)| *other == one || other.within() == Some(one.clone()));
                let client = one.within().is_some_and(|client| book.held(&client) > 0);
                if book.take(&one, amount) {
                    assert!(!before, "nobody passes those of its own who came before");
                    self.held.push((one, amount));
                } else {
                    assert!(before || !nothing || client || amount > book.free, "who has nothing gets what is free");
                    let ticket = book.wait(&one, amount, number).unwrap();
                    self.waiting.push((one, ticket, number));
                }
            }
            Step::GiveBack(at) if !self.held.is_empty() => {
                let (one, amount) = self.held.swap_remove(at % self.held.len());
                book.give_back(&one, amount);
            }
            Step::Leave(at) if !self.waiting.is_empty() => {
                let (one, ticket, _) = self.waiting.remove(at % self.waiting.len());
                assert!(book.leave(&one, ticket) && !book.leave(&one, ticket));
            }
            Step::GiveBack(_) | Step::Leave(_) => {}
        }
    }

    fn serve(&mut self, book: &mut Book<u64>) {
        for granted in book.serve() {
            let first = self.waiting.iter().position(|(one, ..)| *one == granted.holder).unwrap();
            assert_eq!(self.waiting.remove(first).2, granted.wake, "in order");
            self.held.push((granted.holder, granted.amount));
        }
    }
}

proptest! {
    #[test]
    fn whatever_comes_the_book_is_right_and_nobody_waits_for_what_is_there(size in 1u64..40, steps in steps()) {
        let (mut book, mut known) = (book(size), Known::default());
        for (number, step) in (0u64..).zip(steps) {
            known.do_step(&mut book, step, number);
            known.serve(&mut book);
            let held: u64 = known.held.iter().map(|(_, amount)| amount).sum();
            prop_assert_eq!(book.free, size - held);
            prop_assert_eq!(usize::try_from(book.waiting).unwrap(), known.waiting.len());
            let waiting: HashSet<&Holder> = known.waiting.iter().map(|(one, ..)| one).collect();
            prop_assert_eq!((book.ring.len(), book.lines.len()), (waiting.len(), waiting.len()));
            for (one, line) in &book.lines {
                prop_assert!(!book.fits(one, line[0].amount), "{:?} waits for what it may have", one);
            }
        }
        // Nothing is remembered of those that have gone.
        while let Some((one, amount)) = known.held.pop() {
            book.give_back(&one, amount);
            known.serve(&mut book);
        }
        while let Some((one, ticket, _)) = known.waiting.pop() {
            book.leave(&one, ticket);
            known.serve(&mut book);
        }
        while let Some((one, amount)) = known.held.pop() {
            book.give_back(&one, amount);
        }
        prop_assert!(book.is_idle() && book.held.is_empty() && book.lines.is_empty() && book.ring.is_empty());
    }

    #[test]
    fn with_places_of_one_there_is_always_one_more_for_who_has_none(size in 2u64..200, hostile in 1u32..4) {
        let mut book = book(size);
        for _ in 0..size {
            for of in 0..hostile {
                book.take(&holder(of), 1);
            }
        }
        prop_assert!(book.free > 0 || size <= u64::from(hostile));
        prop_assert!(book.take(&holder(9), 1) || size <= u64::from(hostile));
    }
}
