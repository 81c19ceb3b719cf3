//! Whether the clock can be trusted with destruction. Pure: it is told what wall and monotonic clock show, and says up to which
//! time what is due may be destroyed. Access does not ask here: it ends by the wall clock, never earlier than the highest time seen.
//!
//! What fell due within the time that this process has itself watched pass is destroyed when due; what fell due while it was
//! stopped, or within a step of the clock, waits until both clocks have agreed for an hour; after a jump destruction waits for an
//! operator's word. Source: contract, Lifecycle.

use std::time::Duration;

use super::clock::Timestamp;

/// How far both clocks may drift apart and still agree: leap seconds and small corrections by a time service.
pub const TOLERANCE: Duration = Duration::from_secs(5);

/// How long they must agree before what was not watched may be destroyed.
pub const AGREEMENT: Duration = Duration::from_secs(3_600);

/// A step forward of this length while running is a jump.
pub const JUMP_RUNNING: Duration = Duration::from_secs(25 * 3_600);

/// A stop of this length, by the wall clock, is a jump.
pub const JUMP_STOPPED: Duration = Duration::from_secs(7 * 86_400);

/// A jump that nobody has confirmed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jump {
    /// What the clock should have shown: by the monotonic clock, or when the server was stopped.
    pub from: Timestamp,
    /// What it showed.
    pub to: Timestamp,
}

/// What outlives a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClockRecord {
    /// The highest wall time seen.
    pub highest: Timestamp,
    /// Everything due up to here might be destroyed.
    pub cleared: Timestamp,
    /// The jump that is to be confirmed.
    pub jump: Option<Jump>,
}

/// Which due times may be destroyed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Destroyable {
    /// All up to here.
    pub cleared: Timestamp,
    /// All after this …
    pub after: Timestamp,
    /// … and up to here: what was watched.
    pub until: Timestamp,
}

impl Destroyable {
    /// Everything that is due at `now`.
    pub fn all(now: Timestamp) -> Self {
        Self { cleared: now, after: now, until: now }
    }

    /// Nothing at all.
    pub fn nothing() -> Self {
        Self::all(Timestamp::from_millis(i64::MIN))
    }

    /// When to destroy what is closed now because its time fell due at `due`, and is kept for `keep` from now. Where nobody watched that
    /// time pass, the closing shares its doubt: a `keep` that would be over before both clocks have agreed for an hour ends with that hour.
    pub fn end_of_keeping(&self, due: Timestamp, now: Timestamp, keep: Duration) -> Timestamp {
        let end = now.plus(keep);
        if !self.allows(due) && end < self.after.plus(AGREEMENT) { due } else { end }
    }

    /// Whether what was due at `due` may be destroyed.
    pub fn allows(&self, due: Timestamp) -> bool {
        due <= self.cleared || (self.after < due && due <= self.until)
    }
}

/// One look at both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Wall clock, as the machine shows it.
    pub wall: Timestamp,
    /// Monotonic clock.
    pub monotonic: Duration,
}

impl Look {
    /// What the wall clock should show later, when the monotonic one shows `monotonic`.
    fn expects(&self, monotonic: Duration) -> Timestamp {
        self.wall.plus(monotonic.saturating_sub(self.monotonic))
    }
}

/// How the clock stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Both clocks have agreed for an hour.
    Sound,
    /// They agree for less than an hour: what was not watched waits.
    Settling {
        /// For how long still.
        left: Duration,
    },
    /// It jumped; an operator's word is missing.
    Jumped(Jump),
    /// It shows less than was seen before; access goes by the highest time seen.
    Behind {
        /// By how much.
        by: Duration,
    },
}

/// The watch over one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockWatch {
    /// Where the present stretch of agreement began.
    anchor: Look,
    /// The last look at which the clock was trusted; steps that do not settle in between add up against it.
    trusted: Look,
    last: Look,
    cleared: Timestamp,
    highest: Timestamp,
    jump: Option<Jump>,
}

impl ClockWatch {
    /// Begins to watch. `before`: what was kept of the last run; `None` on a new folder.
    pub fn begin(before: Option<ClockRecord>, look: Look) -> Self {
        let before = before.unwrap_or(ClockRecord { highest: look.wall, cleared: look.wall, jump: None });
        let stopped = look.wall.since(before.highest) >= JUMP_STOPPED;
        let jump = before.jump.or(stopped.then_some(Jump { from: before.highest, to: look.wall }));
        Self {
            anchor: look,
            trusted: look,
            last: look,
            cleared: before.cleared.min(look.wall),
            highest: before.highest.max(look.wall),
            jump,
        }
    }

    /// Takes another look.
    pub fn look(&mut self, look: Look) {
        let expected = self.anchor.expects(look.monotonic);
        if apart(expected, look.wall) > TOLERANCE {
            self.step(look);
        }
        self.last = look;
        self.highest = self.highest.max(look.wall);
        if self.agreed_for() >= AGREEMENT && self.jump.is_none() {
            self.cleared = look.wall;
            self.trusted = look;
        }
    }

    fn step(&mut self, look: Look) {
        let should = self.trusted.expects(look.monotonic);
        if look.wall.since(should) >= JUMP_RUNNING && self.jump.is_none() {
            self.jump = Some(Jump { from: should, to: look.wall });
        }
        self.cleared = self.cleared.min(look.wall);
        self.anchor = look;
    }

    /// An operator says that the clock is right as it stands: all that is due by it may be destroyed, and access goes by it.
    pub fn confirm(&mut self, look: Look) {
        let right = ClockRecord { highest: look.wall, cleared: look.wall, jump: None };
        // As after an hour of agreement.
        *self = Self::begin(Some(right), look);
    }

    /// What may be destroyed now.
    pub fn destroyable(&self) -> Destroyable {
        if self.jump.is_some() {
            return Destroyable::nothing();
        }
        Destroyable { cleared: self.cleared, after: self.anchor.wall, until: self.last.wall }
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        let behind = self.highest.since(self.last.wall);
        match self.jump {
            Some(jump) => Standing::Jumped(jump),
            None if behind > TOLERANCE => Standing::Behind { by: behind },
            None if self.cleared >= self.anchor.wall => Standing::Sound,
            None => Standing::Settling { left: AGREEMENT.saturating_sub(self.agreed_for()) },
        }
    }

    /// What is to be kept.
    pub fn record(&self) -> ClockRecord {
        ClockRecord { highest: self.highest, cleared: self.cleared, jump: self.jump }
    }

    /// The look taken last.
    pub fn last(&self) -> Look {
        self.last
    }

    fn agreed_for(&self) -> Duration {
        self.last.monotonic.saturating_sub(self.anchor.monotonic)
    }
}

fn apart(a: Timestamp, b: Timestamp) -> Duration {
    a.since(b).max(b.since(a))
}

#[cfg(test)]
mod tests;
