//! Who holds how much of something limited, and who waits for it. Pure: what a grant sets going stands in [`super`].

use std::collections::{HashMap, VecDeque};

use crate::domain::holder::{Holder, Shares};

/// One that waits its turn. `T` is what wakes it.
#[derive(Debug)]
struct Waiting<T> {
    ticket: u64,
    amount: u64,
    wake: T,
}

/// What one that waited gets.
#[derive(Debug)]
pub(super) struct Granted<T> {
    pub(super) holder: Holder,
    pub(super) amount: u64,
    pub(super) wake: T,
}

/// Why nothing is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// The caller has its share.
    OverShare,
    /// Others have all there is.
    Full,
}

/// The book of one pool. Only holders that hold something or wait are in it.
#[derive(Debug)]
pub(super) struct Book<T> {
    size: u64,
    free: u64,
    shares: Shares,
    held: HashMap<Holder, u64>,
    /// One line a holder; a line in it has someone waiting.
    lines: HashMap<Holder, VecDeque<Waiting<T>>>,
    /// Holders with a line; the first has the next turn.
    ring: VecDeque<Holder>,
    room: u64,
    waiting: u64,
    tickets: u64,
}

impl<T> Book<T> {
    /// Of `size` units, with room for `room` that wait.
    pub(super) fn new(size: u64, shares: Shares, room: u64) -> Self {
        let (held, lines, ring) = (HashMap::new(), HashMap::new(), VecDeque::new());
        Self { size, free: size, shares, held, lines, ring, room, waiting: 0, tickets: 0 }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn taken(&self) -> u64 {
        self.size.saturating_sub(self.free)
    }

    pub(super) fn waiting(&self) -> u64 {
        self.waiting
    }

    pub(super) fn is_idle(&self) -> bool {
        self.free == self.size
    }

    fn held(&self, holder: &Holder) -> u64 {
        self.held.get(holder).copied().unwrap_or(0)
    }

    /// The holder that has too much already for `amount` more, if there is one: itself, or its client. Whoever holds nothing yet
    /// may have all that is free.
    fn has_its_share(&self, holder: &Holder, amount: u64) -> bool {
        let over = |one: &Holder| {
            let held = self.held(one);
            held > 0 && !self.shares.allow(one, held.saturating_add(amount), self.free.saturating_sub(amount))
        };
        let first = self.held(holder) == 0;
        let over_with_links = |client: &Holder| {
            let held = self.held(client).saturating_add(amount);
            held > amount && !self.shares.allow_another_link(held, self.free.saturating_sub(amount))
        };
        over(holder)
            || holder.within().is_some_and(|client| if first { over_with_links(&client) } else { over(&client) })
    }

    fn fits(&self, holder: &Holder, amount: u64) -> bool {
        amount <= self.free && !self.has_its_share(holder, amount)
    }

    fn note(&mut self, holder: &Holder, amount: u64) {
        self.free = self.free.saturating_sub(amount);
        for one in [Some(holder.clone()), holder.within()].into_iter().flatten() {
            *self.held.entry(one).or_default() += amount;
        }
    }

    /// Takes at once; `false` where it must wait: for others, or behind its own that came before it.
    pub(super) fn take(&mut self, holder: &Holder, amount: u64) -> bool {
        let at_once = !self.lines.contains_key(holder) && self.fits(holder, amount);
        if at_once {
            self.note(holder, amount);
        }
        at_once
    }

    /// Joins the line of its holder; the ticket to leave it with.
    ///
    /// # Errors
    /// [`Turned`] where no one more may wait. A holder's line has its share of the room too.
    pub(super) fn wait(&mut self, holder: &Holder, amount: u64, wake: T) -> Result<u64, Turned> {
        let own = self.lines.get(holder).map_or(0, VecDeque::len);
        let (own, room) = (u64::try_from(own).unwrap_or(u64::MAX), self.room.saturating_sub(self.waiting));
        if room == 0 || (own > 0 && !self.shares.allow(holder, own.saturating_add(1), room - 1)) {
            return Err(if own > 0 { Turned::OverShare } else { self.why(holder, amount) });
        }
        self.tickets += 1;
        if own == 0 {
            self.ring.push_back(holder.clone());
        }
        let line = self.lines.entry(holder.clone()).or_default();
        line.push_back(Waiting { ticket: self.tickets, amount, wake });
        self.waiting += 1;
        Ok(self.tickets)
    }

    /// Why a holder gets nothing now. One that holds nothing itself exceeds nothing, whatever else its client holds.
    pub(super) fn why(&self, holder: &Holder, amount: u64) -> Turned {
        if self.held(holder) > 0 && self.has_its_share(holder, amount) { Turned::OverShare } else { Turned::Full }
    }

    /// Gives up a turn; `false` where it was granted already.
    pub(super) fn leave(&mut self, holder: &Holder, ticket: u64) -> bool {
        let Some(line) = self.lines.get_mut(holder) else { return false };
        // A line is in the order of its tickets.
        let Ok(at) = line.binary_search_by_key(&ticket, |waiting| waiting.ticket) else { return false };
        line.remove(at);
        self.waiting = self.waiting.saturating_sub(1);
        if line.is_empty() {
            self.lines.remove(holder);
            self.ring.retain(|one| one != holder);
        }
        true
    }

    /// Gives back what was taken.
    pub(super) fn give_back(&mut self, holder: &Holder, amount: u64) {
        self.free = self.free.saturating_add(amount).min(self.size);
        for one in [Some(holder.clone()), holder.within()].into_iter().flatten() {
            let held = self.held(&one).saturating_sub(amount);
            if held == 0 {
                self.held.remove(&one)
            } else {
                self.held.insert(one, held)
            };
        }
    }

    /// Gives to those who wait, holder by holder in turns, what they now may have. To be called whenever something was given back
    /// and whenever someone has left a line.
    pub(super) fn serve(&mut self) -> Vec<Granted<T>> {
        let (mut granted, mut passed) = (Vec::new(), 0);
        while self.free > 0 && passed < self.ring.len() {
            let Some(holder) = self.ring.pop_front() else { break };
            match self.next_of(&holder) {
                Some(one) => {
                    granted.push(one);
                    passed = 0;
                }
                None => passed += 1,
            }
            if self.lines.contains_key(&holder) {
                self.ring.push_back(holder);
            }
        }
        granted
    }

    fn next_of(&mut self, holder: &Holder) -> Option<Granted<T>> {
        let amount = self.lines.get(holder)?.front()?.amount;
        if !self.fits(holder, amount) {
            return None;
        }
        let line = self.lines.get_mut(holder)?;
        let Waiting { amount, wake, .. } = line.pop_front()?;
        if line.is_empty() {
            self.lines.remove(holder);
        }
        self.waiting = self.waiting.saturating_sub(1);
        self.note(holder, amount);
        Some(Granted { holder: holder.clone(), amount, wake })
    }
}

#[cfg(test)]
mod tests;
