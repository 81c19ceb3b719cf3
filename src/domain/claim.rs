//! Claims of counted links: one use under way, the parts that belong to it, and how it ends (contract, Links, Uses). Pure: whoever
//! holds a [`Book`] brings time and tells it what happened; the count of uses itself is the store's, in one conditional write.
//!
//! A claim is open from that write on. Ranges of its file from its address belong to it, never two over the same bytes: one that
//! asks for what a running part is still to send takes it over from there (the reader has given that connection up, or will), and
//! what was received is not sent again. It closes when the whole was received. It ends, and is given back, when nothing moved
//! for `grace`; and at once, when its last part broke off, as soon as somebody asks for the whole again.

use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use super::coverage::Coverage;

/// Parts of one claim that run at once.
pub const PARTS_MOST: usize = 4;

/// `Retry-After` of `link-busy`, in seconds.
pub const RETRY: (u32, u32) = (1, 30);

/// The store's number of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClaimNumber(pub i64);

/// A part of a file on its way, in one book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PartNumber(u64);

/// How the peer of a transfer's connection parted from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Parting {
    /// Not yet, or without a word.
    #[default]
    None,
    /// Everything was acknowledged, and then it ended in order or asked for something else.
    InOrder,
    /// The connection is over in another way: it may have left bytes unread.
    Reset,
}

/// What a transfer's connection shows of it: bytes of the file that the peer's system has acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Look {
    /// At least so many, from the part's first on.
    pub least: u64,
    /// At most so many.
    pub most: u64,
    /// All that was to be sent was handed on and acknowledged.
    pub all: bool,
    /// How the peer parted.
    pub parting: Parting,
}

impl Look {
    /// Of a connection of which nothing can be known any more.
    pub fn lost() -> Self {
        Self { parting: Parting::Reset, ..Self::default() }
    }
}

/// What a GET asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// These bytes of the file.
    pub range: Range<u64>,
    /// Whether that is a Range request (206); a whole-file GET otherwise.
    pub partial: bool,
    /// Whether `If-Range` came with the file's strong ETag.
    pub tagged: bool,
}

impl Asked {
    /// The whole of a file.
    pub fn whole(size: u64) -> Self {
        Self { range: 0..size, partial: false, tagged: false }
    }

    /// Whether it carries a claim's ETag: `curl -C -` and `wget -c` send none, but never begin at 0.
    fn resumes(&self) -> bool {
        self.partial && (self.tagged || self.range.start > 0)
    }
}

/// What is to be done about a GET.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It belongs to a claim of this address; the part has begun.
    Joined(PartNumber),
    /// It needs a claim of its own. These have ended meanwhile: the same write gives them back.
    Claim(Vec<ClaimNumber>),
    /// Not now; ask again after these seconds.
    Busy(u32),
}

/// What the end of a part means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Nothing yet.
    Open,
    /// The whole was received: the use counts.
    Whole(ClaimNumber),
    /// It broke off after its claim was marked as about to be whole: the mark goes.
    Unmark(ClaimNumber),
}

#[derive(Debug)]
struct Part {
    number: PartNumber,
    begun: Duration,
    start: u64,
    at: u64,
    end: u64,
    /// From here on another part was asked for: the reader has, or will have, what comes before it.
    taken_over: Option<u64>,
}

#[derive(Debug)]
struct Claim {
    number: ClaimNumber,
    from: IpAddr,
    received: Coverage,
    /// Handed over on connections that broke: received as far as the reader itself goes on from there.
    loose: Vec<Range<u64>>,
    parts: Vec<Part>,
    moved: Duration,
    marked: bool,
    /// The mark is being taken away: nothing joins until that is durable, or it would be taken away after the next one.
    unmarking: bool,
    broke: bool,
}

/// A claim that closed: its reader may mend what it has.
#[derive(Debug)]
struct Closed {
    from: IpAddr,
    at: Duration,
    left: u64,
    parts: Vec<Part>,
}

/// The claims of one file and recipient.
#[derive(Debug)]
pub struct Book {
    size: u64,
    grace: Duration,
    next: u64,
    claims: Vec<Claim>,
    closed: Vec<Closed>,
    /// Ended here, and perhaps not yet in the store.
    over: Vec<ClaimNumber>,
}

impl Book {
    /// For a file of `size` bytes whose claims stay open for `grace` without traffic.
    pub fn new(size: u64, grace: Duration) -> Self {
        Self { size, grace, next: 0, claims: Vec::new(), closed: Vec::new(), over: Vec::new() }
    }

    /// What to do about a GET from an address.
    pub fn ask(&mut self, asked: &Asked, from: IpAddr, now: Duration) -> Answer {
        self.end_silent(now);
        if asked.resumes() {
            if let Some(answer) = self.join(asked, from, now) {
                return answer;
            }
            if let Some(part) = self.mend(asked, from, now) {
                return Answer::Joined(part);
            }
        } else {
            // Nothing is under way in it: who asks for the whole begins again.
            self.end_where(|claim| claim.parts.is_empty() && (claim.broke || claim.from == from));
        }
        Answer::Claim(self.over.clone())
    }

    /// The store has given those up, whatever else it answered.
    pub fn given_up(&mut self, numbers: &[ClaimNumber]) {
        self.over.retain(|number| !numbers.contains(number));
    }

    /// The store made a claim; its first part begins.
    pub fn open(&mut self, number: ClaimNumber, asked: &Asked, from: IpAddr, now: Duration) -> PartNumber {
        let part = self.part(&asked.range, now);
        let first = part.number;
        self.claims.push(Claim {
            number,
            from,
            received: Coverage::default(),
            loose: Vec::new(),
            parts: vec![part],
            moved: now,
            marked: false,
            unmarking: false,
            broke: false,
        });
        first
    }

    /// Whether an address has a claim open (`HEAD` from there is not busy). What closed is used, and `HEAD` says so.
    pub fn knows(&self, from: IpAddr, now: Duration) -> bool {
        self.claims.iter().any(|claim| claim.from == from && !self.is_silent(claim, now))
    }

    /// After how many seconds to ask again: what is under way will be done at its present rate, or `grace` will be over.
    pub fn busy_for(&self, now: Duration) -> u32 {
        let left = self.claims.iter().map(|claim| self.left(claim, now)).min().unwrap_or_default();
        let seconds = u32::try_from(left.as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
        seconds.clamp(RETRY.0, RETRY.1)
    }

    /// Bytes that a part may still hand over; `None`: it is over, taken over or given back.
    pub fn may_send(&self, number: PartNumber) -> Option<u64> {
        let part = self.parts().find(|part| part.number == number)?;
        (part.at < part.end).then_some(part.end - part.at)
    }

    /// Whether the next `length` bytes of a part are the last that its claim's whole needs: then the store marks the claim
    /// before they leave, so that after a crash nobody gets the file twice.
    pub fn completes(&self, number: PartNumber, length: u64) -> Option<ClaimNumber> {
        let claim = self.claims.iter().find(|claim| claim.parts.iter().any(|part| part.number == number))?;
        if claim.marked {
            return None;
        }
        let mut handed = claim.received.clone();
        claim.loose.iter().for_each(|piece| handed.add(piece.clone()));
        for part in &claim.parts {
            let more = if part.number == number { length } else { 0 };
            handed.add(part.start..part.at.saturating_add(more).min(part.end));
        }
        handed.is_whole(self.size).then_some(claim.number)
    }

    /// The store has marked a claim.
    pub fn marked(&mut self, number: ClaimNumber) {
        self.claims.iter_mut().filter(|claim| claim.number == number).for_each(|claim| claim.marked = true);
    }

    /// Bytes of a part were handed over.
    pub fn handed(&mut self, number: PartNumber, length: u64, now: Duration) {
        for claim in &mut self.claims {
            for part in claim.parts.iter_mut().filter(|part| part.number == number) {
                part.at = part.at.saturating_add(length).min(part.end);
                claim.moved = now;
            }
        }
        for part in self.closed.iter_mut().flat_map(|closed| &mut closed.parts).filter(|part| part.number == number) {
            part.at = part.at.saturating_add(length).min(part.end);
        }
    }

    /// A part ended. `taken`: the peer has all that it was to get.
    pub fn ended(&mut self, number: PartNumber, taken: bool, now: Duration) -> Ended {
        self.closed.iter_mut().for_each(|closed| closed.parts.retain(|part| part.number != number));
        let found = self.claims.iter().position(|claim| claim.parts.iter().any(|part| part.number == number));
        let Some((index, claim)) = found.and_then(|index| self.claims.get_mut(index).map(|claim| (index, claim)))
        else {
            return Ended::Open;
        };
        let Some(at) = claim.parts.iter().position(|part| part.number == number) else { return Ended::Open };
        let part = claim.parts.remove(at);
        claim.moved = now;
        match part.taken_over {
            _ if taken => claim.received.add(part.start..part.at),
            Some(from) => claim.received.add(part.start..part.at.min(from)),
            None => {
                claim.loose.push(part.start..part.at);
                claim.broke = true;
            }
        }
        if claim.received.is_whole(self.size) {
            let claim = self.claims.remove(index);
            self.closed.push(Closed { from: claim.from, at: now, left: self.size, parts: claim.parts });
            return Ended::Whole(claim.number);
        }
        if taken || !claim.marked {
            return Ended::Open;
        }
        claim.unmarking = true;
        Ended::Unmark(claim.number)
    }

    /// The store has taken a mark away, or (`gone` false) failed to.
    pub fn unmarked(&mut self, number: ClaimNumber, gone: bool) {
        for claim in self.claims.iter_mut().filter(|claim| claim.number == number) {
            claim.unmarking = false;
            claim.marked = !gone;
        }
    }

    /// Ends what is silent; answers what is to be given back in the store.
    pub fn sweep(&mut self, now: Duration) -> Vec<ClaimNumber> {
        self.end_silent(now);
        let grace = self.grace;
        self.closed.retain(|closed| !closed.parts.is_empty() || now.saturating_sub(closed.at) <= grace);
        self.over.clone()
    }

    /// Whether there is nothing to remember.
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty() && self.closed.is_empty() && self.over.is_empty()
    }

    fn part(&mut self, range: &Range<u64>, now: Duration) -> Part {
        self.next += 1;
        Part {
            number: PartNumber(self.next),
            begun: now,
            start: range.start,
            at: range.start,
            end: range.end,
            taken_over: None,
        }
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        let closed = self.closed.iter().flat_map(|closed| &closed.parts);
        self.claims.iter().flat_map(|claim| &claim.parts).chain(closed)
    }

    fn join(&mut self, asked: &Asked, from: IpAddr, now: Duration) -> Option<Answer> {
        let new = self.part(&asked.range, now);
        let claim = self.claims.iter_mut().rev().find(|claim| claim.from == from)?;
        if claim.unmarking || claim.received.overlaps(&asked.range) || claim.parts.len() >= PARTS_MOST {
            return Some(Answer::Busy(RETRY.0));
        }
        // Whoever asks on from a place has what comes before it.
        for piece in &mut claim.loose {
            claim.received.add(piece.start..piece.end.min(asked.range.start));
        }
        for part in claim.parts.iter_mut().filter(|part| part.at < asked.range.end && asked.range.start < part.end) {
            part.end = part.at.max(asked.range.start);
            part.taken_over = Some(asked.range.start);
        }
        let number = new.number;
        claim.parts.push(new);
        claim.moved = now;
        claim.broke = false;
        Some(Answer::Joined(number))
    }

    /// After closing: with the ETag, from that address, not from 0, one file length in sum.
    fn mend(&mut self, asked: &Asked, from: IpAddr, now: Duration) -> Option<PartNumber> {
        let new = self.part(&asked.range, now);
        let length = asked.range.end.saturating_sub(asked.range.start);
        let grace = self.grace;
        let fits = |closed: &&mut Closed| {
            closed.from == from
                && now.saturating_sub(closed.at) <= grace
                && length <= closed.left
                && closed.parts.len() < PARTS_MOST
        };
        let closed = self.closed.iter_mut().find(fits).filter(|_| asked.tagged && asked.range.start > 0)?;
        closed.left -= length;
        let number = new.number;
        closed.parts.push(new);
        Some(number)
    }

    fn is_silent(&self, claim: &Claim, now: Duration) -> bool {
        // What was handed over whole waits for its connection's word, which is bounded there.
        let waits = claim.parts.iter().any(|part| part.at >= part.end && part.taken_over.is_none());
        !waits && now.saturating_sub(claim.moved) > self.grace
    }

    fn end_silent(&mut self, now: Duration) {
        let silent: Vec<ClaimNumber> =
            self.claims.iter().filter(|claim| self.is_silent(claim, now)).map(|claim| claim.number).collect();
        self.end_where(|claim| silent.contains(&claim.number));
    }

    fn end_where(&mut self, ends: impl Fn(&Claim) -> bool) {
        let over = &mut self.over;
        self.claims.retain(|claim| {
            let ended = ends(claim);
            if ended {
                over.push(claim.number);
            }
            !ended
        });
    }

    fn left(&self, claim: &Claim, now: Duration) -> Duration {
        let left = |part: &Part| {
            let (sent, rest) = (part.at - part.start, part.end - part.at);
            let run = now.saturating_sub(part.begun).as_millis().max(1);
            let millis = run.saturating_mul(u128::from(rest)) / u128::from(sent.max(1));
            Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
        };
        let running = claim.parts.iter().map(left).max();
        running.unwrap_or_else(|| self.grace.saturating_sub(now.saturating_sub(claim.moved)))
    }
}

#[cfg(test)]
mod tests;
