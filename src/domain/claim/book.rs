//! What moves: the attempts of this process on one file for one recipient. Whoever holds a book brings time and what connections show, and
//! takes from it what is to be settled in the store. Until the store has taken a [`Settlement`] it stands in the book, and every call of the
//! store brings all that stand there, so that no answer rests on less than is known.

use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use super::{ATTEMPTS_MOST, Asked, AttemptNumber, Claim, ClaimNumber, Ending, Look, Parting, RETRY, Reset, SpentClaim};
use crate::domain::coverage::Coverage;

/// What became of an attempt, for the store. Each has its effect once, however often it is brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// It ended.
    Ended(Ending),
    /// After it had ended whole its connection was reset.
    Reset(Reset),
}

/// Where an attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Moving,
    /// All of it was acknowledged; its connection may still be reset.
    Acknowledged,
    /// Nothing more can come of it.
    Over,
}

#[derive(Debug)]
struct Part {
    attempt: AttemptNumber,
    claim: ClaimNumber,
    from: IpAddr,
    begun: Duration,
    start: u64,
    at: u64,
    end: u64,
    /// From here on another attempt was asked for: the reader has, or will have, what comes before it.
    taken_over: Option<u64>,
    seen: u64,
    moved: Duration,
    marked: bool,
    stage: Stage,
}

impl Part {
    fn length(&self) -> u64 {
        self.end - self.start
    }
}

/// A use that was spent: its reader may mend what it has.
#[derive(Debug)]
struct Spent {
    claim: ClaimNumber,
    from: IpAddr,
    at: Duration,
    left: u64,
    mended: u64,
}

/// The attempts of one file and recipient.
#[derive(Debug)]
pub struct Book {
    size: u64,
    grace: Duration,
    mending: i64,
    parts: Vec<Part>,
    /// What claims under way had received when their newest attempt began.
    received: Vec<(ClaimNumber, Coverage)>,
    spent: Vec<Spent>,
    /// Claims of which some connection was reset after it had arrived: nothing of them is mended.
    reset: Vec<ClaimNumber>,
    unsettled: Vec<Settlement>,
}

impl Book {
    /// For a file of `size` bytes whose attempts end when nothing moved for `grace`.
    pub fn new(size: u64, grace: Duration) -> Self {
        Self {
            size,
            grace,
            mending: 0,
            parts: Vec::new(),
            received: Vec::new(),
            spent: Vec::new(),
            reset: Vec::new(),
            unsettled: Vec::new(),
        }
    }

    /// Attempts whose connections are to be looked at.
    pub fn watched(&self) -> Vec<AttemptNumber> {
        let is_watched = |part: &&Part| part.stage != Stage::Over && part.attempt.0 >= 0;
        self.parts.iter().filter(is_watched).map(|part| part.attempt).collect()
    }

    /// Takes in what a connection shows, where there is one that shows anything. Whether the attempt ended because nothing moved: then its connection is to be cut.
    pub fn looked(&mut self, attempt: AttemptNumber, look: Option<&Look>, now: Duration) -> bool {
        let grace = self.grace;
        let Some(part) = self.parts.iter_mut().find(|part| part.attempt == attempt) else { return false };
        let seen = look.map_or(0, |look| look.least.saturating_add(look.most));
        if seen > part.seen {
            (part.seen, part.moved) = (seen, now);
        }
        let is_silent = now.saturating_sub(part.moved) > grace;
        // What nobody can see counts as handed out.
        let unseen = Look { most: u64::MAX, ..Look::default() };
        let look = look.unwrap_or(&unseen);
        match (part.stage, look.parting, look.all) {
            (Stage::Moving, Parting::Reset, _) => self.end(attempt, 0, look.most, false),
            (Stage::Moving, _, true) => self.acknowledge(attempt),
            (Stage::Moving, Parting::Ended, false) => self.end(attempt, look.least, look.most, false),
            (Stage::Moving, _, false) if is_silent => {
                self.end(attempt, look.least, look.most, false);
                return true;
            }
            (Stage::Acknowledged, Parting::Reset, _) => self.reset(attempt),
            _ => {}
        }
        false
    }

    /// A transfer is over: what its connection showed last, and whether the server stopped before it could be told.
    pub fn over(&mut self, attempt: AttemptNumber, look: &Look, is_stopped: bool, now: Duration) {
        self.looked(attempt, Some(look), now);
        if self.parts.iter().any(|part| part.attempt == attempt && part.stage == Stage::Moving) {
            self.end(attempt, look.least, look.most, is_stopped);
        }
        self.parts.retain(|part| part.attempt != attempt);
    }

    fn acknowledge(&mut self, attempt: AttemptNumber) {
        let length = self.parts.iter().find(|part| part.attempt == attempt).map_or(0, Part::length);
        self.end(attempt, length, length, false);
        self.parts.iter_mut().filter(|part| part.attempt == attempt).for_each(|part| part.stage = Stage::Acknowledged);
    }

    fn end(&mut self, attempt: AttemptNumber, least: u64, most: u64, is_unknown: bool) {
        let Some(part) = self.parts.iter_mut().find(|part| part.attempt == attempt) else { return };
        part.stage = Stage::Over;
        if attempt.0 < 0 {
            return;
        }
        let most = most.min(part.at - part.start);
        // The reader asked on from there itself.
        let had = part.taken_over.map_or(0, |place| place.saturating_sub(part.start).min(most));
        let least = least.max(had).min(most);
        if let Some((_, received)) = self.received.iter_mut().find(|(number, _)| *number == part.claim) {
            received.add(part.start..part.start + least);
        }
        self.unsettled.push(Settlement::Ended(Ending { attempt, least, most, is_unknown }));
    }

    fn reset(&mut self, attempt: AttemptNumber) {
        let Some(part) = self.parts.iter_mut().find(|part| part.attempt == attempt) else { return };
        part.stage = Stage::Over;
        let (claim, range) = (part.claim, part.start..part.end);
        if let Some((_, received)) = self.received.iter_mut().find(|(number, _)| *number == claim) {
            received.remove(&range);
        }
        // Perhaps it is not spent any more, or will not be.
        self.reset.push(claim);
        let spent = self.spent.iter_mut().find(|spent| spent.claim == claim);
        let mended = spent.map_or(0, |spent| {
            spent.left = 0;
            spent.mended
        });
        self.unsettled.push(Settlement::Reset(Reset { attempt, claim, range, mended }));
    }

    /// Whether everything that some attempt was to send was handed on, and its reader's system has still to acknowledge it.
    pub fn is_about_to_end(&self) -> bool {
        let is_handed = |part: &Part| part.stage == Stage::Moving && part.at >= part.end && part.attempt.0 >= 0;
        self.parts.iter().any(is_handed)
    }

    /// What is to be settled in the store.
    pub fn unsettled(&self) -> Vec<Settlement> {
        self.unsettled.clone()
    }

    /// The store has taken them; these claims are `spent` thereby.
    pub fn settled(&mut self, settlements: &[Settlement], spent: &[SpentClaim], now: Duration) {
        self.unsettled.retain(|settlement| !settlements.contains(settlement));
        for SpentClaim { claim, from, left } in spent {
            self.received.retain(|(number, _)| number != claim);
            let left = if self.reset.contains(claim) { 0 } else { *left };
            self.spent.push(Spent { claim: *claim, from: *from, at: now, left, mended: 0 });
        }
    }

    /// The store has begun an attempt of a claim.
    pub fn begun(&mut self, claim: &Claim, attempt: AttemptNumber, asked: &Asked, closing: bool, now: Duration) {
        let (range, from) = (&asked.range, claim.from);
        let is_over_it = |part: &&mut Part| {
            part.claim == claim.number && part.stage == Stage::Moving && part.at < range.end && range.start < part.end
        };
        // A part that was still to send what is asked for now stops there: the reader has given it up, or will.
        for part in self.parts.iter_mut().filter(is_over_it).filter(|_| asked.partial && range.start > 0) {
            part.end = part.at.max(range.start);
            part.taken_over = Some(range.start);
        }
        self.received.retain(|(number, _)| *number != claim.number);
        self.received.push((claim.number, claim.received.clone()));
        self.parts.push(part(attempt, claim.number, from, range, closing, now));
    }

    /// After a use was spent: with the ETag, from that address, not from 0, within `grace`, and no more than is left.
    pub fn mend(&mut self, asked: &Asked, from: IpAddr, now: Duration) -> Option<AttemptNumber> {
        let grace = self.grace;
        let running = self.parts.iter().filter(|part| part.attempt.0 < 0 && part.from == from).count();
        let fits = |spent: &&mut Spent| {
            spent.from == from && now.saturating_sub(spent.at) <= grace && asked.length() <= spent.left
        };
        let is_mending = asked.tagged && asked.partial && asked.range.start > 0 && running < ATTEMPTS_MOST;
        let spent = self.spent.iter_mut().find(fits).filter(|_| is_mending)?;
        spent.left -= asked.length();
        spent.mended += asked.length();
        self.mending -= 1;
        let attempt = AttemptNumber(self.mending);
        self.parts.push(part(attempt, ClaimNumber(self.mending), from, &asked.range, true, now));
        Some(attempt)
    }

    /// Bytes that an attempt may still hand over; `None`: it is over, or taken over.
    pub fn may_send(&self, attempt: AttemptNumber) -> Option<u64> {
        let part = self.parts.iter().find(|part| part.attempt == attempt && part.stage == Stage::Moving)?;
        (part.at < part.end).then_some(part.end - part.at)
    }

    /// Whether the next `length` bytes of an attempt are the last that its claim's whole needs: then the store marks the attempt before
    /// they leave, so that after a crash nobody gets the file twice.
    pub fn completes(&self, attempt: AttemptNumber, length: u64) -> bool {
        let Some(part) = self.parts.iter().find(|part| part.attempt == attempt && !part.marked) else { return false };
        let known = self.received.iter().find(|(number, _)| *number == part.claim);
        let mut handed = known.map(|(_, received)| received.clone()).unwrap_or_default();
        for other in self.parts.iter().filter(|other| other.claim == part.claim && other.stage != Stage::Over) {
            let more = if other.attempt == attempt { length } else { 0 };
            handed.add(other.start..other.at.saturating_add(more).min(other.end));
        }
        handed.is_whole(self.size)
    }

    /// The store has marked an attempt.
    pub fn marked(&mut self, attempt: AttemptNumber) {
        self.parts.iter_mut().filter(|part| part.attempt == attempt).for_each(|part| part.marked = true);
    }

    /// Bytes of an attempt were handed over.
    pub fn handed(&mut self, attempt: AttemptNumber, length: u64, now: Duration) {
        for part in self.parts.iter_mut().filter(|part| part.attempt == attempt) {
            part.at = part.at.saturating_add(length).min(part.end);
            part.moved = now;
        }
    }

    /// After how many seconds to ask again: what is under way will be done at its present rate, or `grace` will be over.
    pub fn busy_for(&self, now: Duration) -> u32 {
        let moving = self.parts.iter().filter(|part| part.stage == Stage::Moving && part.attempt.0 >= 0);
        let left = moving.map(|part| self.left(part, now)).min().unwrap_or_default();
        let seconds = u32::try_from(left.as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
        seconds.clamp(RETRY.0, RETRY.1)
    }

    fn left(&self, part: &Part, now: Duration) -> Duration {
        let (sent, rest) = (part.at - part.start, part.end - part.at);
        if rest == 0 {
            return self.grace.saturating_sub(now.saturating_sub(part.moved));
        }
        let run = now.saturating_sub(part.begun).as_millis().max(1);
        let millis = run.saturating_mul(u128::from(rest)) / u128::from(sent.max(1));
        Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    /// Forgets what can no longer be mended.
    pub fn tidy(&mut self, now: Duration) {
        let grace = self.grace;
        self.spent.retain(|spent| now.saturating_sub(spent.at) <= grace);
        if self.parts.is_empty() {
            self.received.clear();
            self.reset.clear();
        }
    }

    /// Whether nothing is under way: all that is remembered is what may be mended.
    pub fn is_idle(&self) -> bool {
        self.parts.is_empty() && self.unsettled.is_empty()
    }

    /// Bytes of an attempt that were handed over.
    pub fn handed_over(&self, attempt: AttemptNumber) -> u64 {
        self.parts.iter().find(|part| part.attempt == attempt).map_or(0, |part| part.at - part.start)
    }

    /// Whether there is nothing to remember.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.spent.is_empty() && self.unsettled.is_empty()
    }
}

fn part(
    attempt: AttemptNumber,
    claim: ClaimNumber,
    from: IpAddr,
    range: &Range<u64>,
    marked: bool,
    now: Duration,
) -> Part {
    Part {
        attempt,
        claim,
        from,
        begun: now,
        start: range.start,
        at: range.start,
        end: range.end,
        taken_over: None,
        seen: 0,
        moved: now,
        marked,
        stage: Stage::Moving,
    }
}
