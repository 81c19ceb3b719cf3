//! Places of which there are only so many, shared between callers: nobody can take them all, and a burst waits its turn for a moment
//! before the one that exceeds is turned away. Who may have how much stands in [`book`]; here stands what waits and wakes.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use self::book::{Book, Granted};
use crate::domain::holder::{Holder, Shares};
use crate::domain::refusal::{Code, Refusal};

mod book;

pub use book::Turned;

/// Turns that may be waited for at a time in one pool; more are turned away at once.
const ROOM: u64 = 1_024;

/// What one that is turned away should wait, in seconds.
const AGAIN: u32 = 2;

impl From<Turned> for Refusal {
    fn from(turned: Turned) -> Self {
        let code = match turned {
            Turned::OverShare => Code::RateLimited,
            Turned::Full => Code::ServerBusy,
        };
        Self::of(code).retry_after(AGAIN)
    }
}

/// A pool of places, or of bytes.
#[derive(Clone)]
pub struct Places(Arc<Pool>);

struct Pool {
    book: Mutex<Book<oneshot::Sender<Place>>>,
    /// `None`: a turn is waited for as long as it takes.
    patience: Option<Duration>,
    idle: Notify,
    over_share: AtomicU64,
    full: AtomicU64,
}

/// How a pool does, without a word of who holds what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Units that there are.
    pub size: u64,
    /// Units that are held.
    pub taken: u64,
    /// Callers' requests that wait for their turn.
    pub waiting: u64,
    /// Requests turned away so far because their caller had its share.
    pub over_share: u64,
    /// Requests turned away so far because others held everything.
    pub full: u64,
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places").field("size", &self.book().size()).finish_non_exhaustive()
    }
}

impl Places {
    /// A pool of `size` (at least 1), in which a turn is waited for as long as `patience` says; `None`: as long as it takes.
    pub fn new(size: u64, shares: Shares, patience: Option<Duration>) -> Self {
        Self::with_room(size, shares, patience, ROOM)
    }

    /// The same, with room for so many that wait.
    pub fn with_room(size: u64, shares: Shares, patience: Option<Duration>, room: u64) -> Self {
        let book = Mutex::new(Book::new(size.max(1), shares, room));
        let (over_share, full) = (AtomicU64::new(0), AtomicU64::new(0));
        Self(Arc::new(Pool { book, patience, idle: Notify::new(), over_share, full }))
    }

    /// How it does now.
    pub fn figures(&self) -> Figures {
        let (size, taken, waiting) = {
            let book = self.book();
            (book.size(), book.taken(), book.waiting())
        };
        let so_far = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Figures { size, taken, waiting, over_share: so_far(&self.0.over_share), full: so_far(&self.0.full) }
    }

    fn count(&self, turned: Turned) -> Turned {
        let count = match turned {
            Turned::OverShare => &self.0.over_share,
            Turned::Full => &self.0.full,
        };
        count.fetch_add(1, Ordering::Relaxed);
        turned
    }

    fn book(&self) -> MutexGuard<'_, Book<oneshot::Sender<Place>>> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One place, at once or not at all.
    ///
    /// # Errors
    /// [`Turned`].
    pub fn try_take(&self, holder: &Holder) -> Result<Place, Turned> {
        let mut book = self.book();
        if book.take(holder, 1) {
            return Ok(self.place(holder.clone(), 1));
        }
        Err(self.count(book.why(holder, 1)))
    }

    /// One place, waited for in turn.
    ///
    /// # Errors
    /// [`Turned`].
    pub async fn take(&self, holder: &Holder) -> Result<Place, Turned> {
        self.take_many(holder, 1).await
    }

    /// So many units at once, or all there are where that is less. One that stops waiting gives up its turn.
    ///
    /// # Errors
    /// [`Turned`].
    pub async fn take_many(&self, holder: &Holder, amount: u64) -> Result<Place, Turned> {
        let (amount, turn, granted) = {
            let mut book = self.book();
            let amount = amount.min(book.size());
            if book.take(holder, amount) {
                drop(book);
                return Ok(self.place(holder.clone(), amount));
            }
            let (wake, granted) = oneshot::channel();
            let ticket = book.wait(holder, amount, wake).map_err(|turned| self.count(turned))?;
            (amount, Turn { places: self, holder, ticket }, granted)
        };
        let place = match self.0.patience {
            Some(patience) => tokio::time::timeout(patience, granted).await.ok(),
            None => Some(granted.await),
        };
        if let Some(Ok(place)) = place {
            return Ok(place);
        }
        let why = self.book().why(holder, amount);
        drop(turn);
        Err(self.count(why))
    }

    /// Waits until nobody holds anything.
    pub async fn idle(&self) {
        loop {
            let idle = self.0.idle.notified();
            tokio::pin!(idle);
            idle.as_mut().enable();
            if self.book().is_idle() {
                return;
            }
            idle.await;
        }
    }

    fn place(&self, holder: Holder, amount: u64) -> Place {
        Place { places: self.clone(), holder, amount }
    }

    /// Lets those go on who may now.
    fn serve(&self, mut book: MutexGuard<'_, Book<oneshot::Sender<Place>>>) {
        let granted = book.serve();
        let is_idle = book.is_idle();
        drop(book);
        if is_idle {
            self.0.idle.notify_waiters();
        }
        for Granted { holder, amount, wake } in granted {
            // One that has just stopped waiting does not take it; dropping it gives it to the next.
            drop(wake.send(self.place(holder, amount)));
        }
    }
}

/// A turn in a line, until it is granted or given up.
struct Turn<'a> {
    places: &'a Places,
    holder: &'a Holder,
    ticket: u64,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut book = self.places.book();
        if book.leave(self.holder, self.ticket) {
            self.places.serve(book);
        }
    }
}

/// What was taken of a pool; dropping it gives it back.
#[derive(Debug)]
pub struct Place {
    places: Places,
    holder: Holder,
    amount: u64,
}

impl Place {
    /// Makes it as large as `amount`, or as all there is where that is less.
    ///
    /// # Errors
    /// [`Turned`]: then it stays as it is.
    pub async fn grow_to(&mut self, amount: u64) -> Result<(), Turned> {
        let more = amount.min(self.places.book().size()).saturating_sub(self.amount);
        if more > 0 {
            let mut taken = self.places.take_many(&self.holder, more).await?;
            self.amount += std::mem::take(&mut taken.amount);
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.amount > 0 {
            let mut book = self.places.book();
            book.give_back(&self.holder, self.amount);
            self.places.serve(book);
        }
    }
}

#[cfg(test)]
mod tests;
