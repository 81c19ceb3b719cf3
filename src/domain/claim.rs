//! Uses of counted links (contract, Links, Uses). Pure. A *claim* is one use under way: what its reader's system has acknowledged, added
//! up over its *attempts*, each of which is one GET. The store keeps claims and attempts and calls [`Standing::choose`] and
//! [`Claim::ended`] within its transactions; what moves in between stands in a [`Book`].
//!
//! A use is spent once every byte of the file was acknowledged and no reset was seen. What a claim was handed out is bounded as well: no
//! attempt begins that would take the sum past twice the file's length, except for what is missing.

mod book;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::ops::Range;

pub use book::{Book, Settlement};

use super::clock::Timestamp;
use super::coverage::Coverage;

/// Attempts of one claim that run at once.
pub const ATTEMPTS_MOST: usize = 4;

/// `Retry-After` of `link-busy`, in seconds.
pub const RETRY: (u32, u32) = (1, 30);

/// A range that asks how a file begins, and whether it can be had in pieces, ends here at most: `bytes=0-1`.
const PROBE: u64 = 2;

/// The store's number of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClaimNumber(pub i64);

/// The store's number of an attempt. Those below zero are no attempts of a claim: they mend what was handed out already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptNumber(pub i64);

/// How the peer of a transfer's connection parted from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Parting {
    /// Not yet, or without a word.
    #[default]
    None,
    /// Everything was acknowledged, and then it ended in order or asked for something else.
    InOrder,
    /// It reset the connection: it may have left bytes unread.
    Reset,
    /// The connection is over, and nobody can tell how it parted: this server cut it, or it had ended its own half before.
    Ended,
}

/// What a transfer's connection shows of it: bytes of the file that the peer's system has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Look {
    /// Acknowledged, at least, from the part's first on.
    pub least: u64,
    /// Sent, at most: it may have them although it did not say so.
    pub most: u64,
    /// All that was to be sent was handed on and acknowledged.
    pub all: bool,
    /// How the peer parted.
    pub parting: Parting,
}

impl Look {
    /// Of a connection of which nothing can be known any more.
    pub fn lost() -> Self {
        Self { parting: Parting::Ended, ..Self::default() }
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

    /// Bytes that are asked for.
    pub fn length(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }

    /// Whether it belongs to a claim of its address: it carries the ETag (`curl -C -` and `wget -c` send none, but never begin at 0), or
    /// it only asks how the file begins.
    fn joins(&self) -> bool {
        self.partial && (self.tagged || self.range.start > 0 || self.range.end <= PROBE)
    }
}

/// One GET of a claim that is under way, as the store knows it. Its whole length is reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its number.
    pub number: AttemptNumber,
    /// What it is to send.
    pub range: Range<u64>,
    /// The piece that makes the file whole may have left.
    pub closing: bool,
}

/// One use under way, as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Its number.
    pub number: ClaimNumber,
    /// Where its newest attempt came from.
    pub from: IpAddr,
    /// Acknowledged, and no reset was seen; or asked on from.
    pub received: Coverage,
    /// The same by a second attempt too.
    pub again: Coverage,
    /// Sent at most, whatever came afterwards.
    pub reached: Coverage,
    /// Bytes of all attempts that ended that were handed out, each as often as it was.
    pub sum: u64,
    /// A reset after the last byte gave it back already.
    pub given_back: bool,
    /// Numbers of attempts whose connections were reset after they had ended whole.
    pub resets: Coverage,
    /// Its newest attempt ended whole: until then its address may go on with the rest, and nobody else.
    pub kept_until: Option<Timestamp>,
    /// What is under way.
    pub running: Vec<Attempt>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Which one.
    pub attempt: AttemptNumber,
    /// Bytes that its reader's system has, at least; 0 after a reset.
    pub least: u64,
    /// Bytes that it may have.
    pub most: u64,
    /// Nobody can tell: the server stopped first. What may have become whole is spent.
    pub is_unknown: bool,
}

/// The connection of an attempt was reset after all of it had been acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reset {
    /// Which attempt.
    pub attempt: AttemptNumber,
    /// Its claim.
    pub claim: ClaimNumber,
    /// What was sent over the connection.
    pub range: Range<u64>,
    /// Bytes that were handed out since the use was spent, to mend what its reader had.
    pub mended: u64,
}

/// A claim that was spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpentClaim {
    /// Its number.
    pub claim: ClaimNumber,
    /// Where its newest attempt came from.
    pub from: IpAddr,
    /// Bytes that may still be handed out to mend what its reader has.
    pub left: u64,
}

/// What an ending makes of its claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// It goes on, or waits for its next attempt.
    Open,
    /// The use is spent.
    Spent,
}

impl Claim {
    /// One that begins.
    pub fn begin(number: ClaimNumber, from: IpAddr) -> Self {
        let [received, again, reached, resets] = std::array::from_fn(|_| Coverage::default());
        Self {
            number,
            from,
            received,
            again,
            reached,
            sum: 0,
            given_back: false,
            resets,
            kept_until: None,
            running: Vec::new(),
        }
    }

    /// Whether an attempt may begin, for a file of `size` bytes.
    pub fn admits(&self, asked: &Asked, size: u64) -> bool {
        if self.running.len() >= ATTEMPTS_MOST {
            return false;
        }
        let is_running =
            |attempt: &Attempt| attempt.range.start < asked.range.end && asked.range.start < attempt.range.end;
        if asked.partial && self.reached.overlap(&asked.range) == 0 && !self.running.iter().any(is_running) {
            return true;
        }
        let mut received = self.received.clone();
        self.credit(&mut received, asked.range.start);
        let sum = self.handed_out();
        let twice = sum.saturating_sub(received.length()).saturating_add(received.overlap(&asked.range));
        sum.saturating_add(asked.length()) <= size.saturating_mul(2) && twice <= size
    }

    /// Bytes that were handed out, and those that are reserved.
    fn handed_out(&self) -> u64 {
        let reserved: u64 = self.running.iter().map(|attempt| attempt.range.end - attempt.range.start).sum();
        self.sum.saturating_add(reserved)
    }

    /// An attempt begins. Whoever asks on from a place has what comes before it.
    pub fn began(&mut self, attempt: Attempt, from: IpAddr) {
        let mut received = std::mem::take(&mut self.received);
        self.credit(&mut received, attempt.range.start);
        self.received = received;
        (self.from, self.kept_until) = (from, None);
        self.running.push(attempt);
    }

    fn credit(&self, received: &mut Coverage, place: u64) {
        if let Some(piece) = self.reached.piece_at(place) {
            received.add(piece.start..place);
        }
    }

    /// An attempt ended; `None` when it is none of those under way, because that was known already. One that ended whole keeps the claim
    /// for its address `until`.
    pub fn ended(&mut self, ending: &Ending, size: u64, until: Timestamp) -> Option<After> {
        let at = self.running.iter().position(|attempt| attempt.number == ending.attempt)?;
        let attempt = self.running.remove(at);
        let length = attempt.range.end - attempt.range.start;
        let (least, most) = (ending.least.min(length), ending.most.min(length));
        let from = attempt.range.start;
        self.kept_until = (least == length).then_some(until);
        self.sum = self.sum.saturating_add(most);
        let piece = from..from.saturating_add(least);
        self.received.within(&piece).for_each(|piece| self.again.add(piece));
        self.received.add(piece);
        self.reached.add(from..from.saturating_add(most));
        let starts: Vec<u64> = self.running.iter().map(|other| other.range.start).collect();
        let mut received = std::mem::take(&mut self.received);
        starts.into_iter().for_each(|start| self.credit(&mut received, start));
        self.received = received;
        let is_spent = self.received.is_whole(size) || (ending.is_unknown && attempt.closing);
        Some(if is_spent { After::Spent } else { After::Open })
    }

    /// As it is told of once it is spent.
    pub fn spent(&self, size: u64) -> SpentClaim {
        let left = size.min(size.saturating_mul(2).saturating_sub(self.handed_out()));
        SpentClaim { claim: self.number, from: self.from, left }
    }

    /// The connection of an attempt that had ended whole was reset: it may have left bytes unread. Whether a use that was spent comes
    /// back thereby, which it does once.
    pub fn reset(&mut self, reset: &Reset, size: u64, spent: bool) -> bool {
        let number = u64::try_from(reset.attempt.0).unwrap_or_default();
        if self.resets.overlap(&(number..number + 1)) > 0 || (spent && self.given_back) {
            return false;
        }
        self.resets.add(number..number + 1);
        let kept: Vec<_> = self.again.within(&reset.range).collect();
        self.received.remove(&reset.range);
        kept.into_iter().for_each(|piece| self.received.add(piece));
        self.again.remove(&reset.range);
        let comes_back = spent && !self.received.is_whole(size);
        if comes_back {
            self.given_back = true;
            self.sum = self.sum.saturating_add(reset.mended);
        }
        comes_back
    }
}

/// All that stands against a GET by a counted link: uses of its file and recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Bytes of the file.
    pub size: u64,
    /// Uses that the link allows.
    pub most: u32,
    /// Uses that are spent.
    pub used: u32,
    /// Uses under way.
    pub claims: Vec<Claim>,
}

/// What is to be done about a GET.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// It belongs to this claim.
    Attempt(ClaimNumber),
    /// It begins a use.
    Claim,
    /// Not now.
    Busy,
    /// There is none left. `twice`: because what there was, was handed out twice without a whole download.
    Used {
        /// See there.
        twice: bool,
    },
}

impl Standing {
    /// What to do about a GET from an address.
    pub fn choose(&self, asked: &Asked, from: IpAddr, now: Timestamp) -> Choice {
        let own = |claim: &&Claim| claim.from == from && !claim.running.is_empty();
        if asked.joins()
            && asked.length() < self.size
            && let Some(claim) = self.claims.iter().rev().find(own)
        {
            return if claim.admits(asked, self.size) { Choice::Attempt(claim.number) } else { Choice::Busy };
        }
        let continues = |claim: &&Claim| {
            let is_free = !claim.is_under_way(now) || (claim.from == from && claim.only_probed());
            is_free && claim.admits(asked, self.size)
        };
        if self.used < self.most
            && let Some(claim) = self.claims.iter().rev().find(continues)
        {
            return Choice::Attempt(claim.number);
        }
        let open = u32::try_from(self.claims.len()).unwrap_or(u32::MAX);
        if self.used.saturating_add(open) < self.most {
            return Choice::Claim;
        }
        // A claim that waits for its address is in the way of what it would admit.
        let is_waiting = |claim: &Claim| claim.is_under_way(now) && claim.admits(asked, self.size);
        let is_moving = self.claims.iter().any(|claim| !claim.running.is_empty() || is_waiting(claim));
        match self.used < self.most {
            true if is_moving => Choice::Busy,
            is_left => Choice::Used { twice: is_left },
        }
    }

    /// Whether a use under way, or a spent one, leaves none to begin.
    pub fn is_last(&self) -> bool {
        let open = u32::try_from(self.claims.len()).unwrap_or(u32::MAX);
        self.used.saturating_add(open) >= self.most
    }
}

impl Claim {
    /// Whether bytes of it move, or its address is waited for.
    pub fn is_under_way(&self, now: Timestamp) -> bool {
        !self.running.is_empty() || self.kept_until.is_some_and(|until| now <= until)
    }

    fn only_probed(&self) -> bool {
        self.running.iter().all(|attempt| attempt.range.end <= PROBE)
    }
}
