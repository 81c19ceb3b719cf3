//! Uses of counted links: a claim for each delivery, in memory what moves ([`Book`]), in the store what counts. The store's one
//! conditional write decides who has the last use; here is decided what belongs to it and when it is over.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Delivery;
use super::failure::store_failure;
use crate::domain::claim::{Answer, Asked, Book, ClaimNumber, Ended, PartNumber};
use crate::domain::clock::Timestamp;
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::domain::resource::FileFacts;
use crate::failpoint::{self, Point};
use crate::store::{Claimed, Counted, LinkRow, StoreError};

/// Files and recipients whose uses are under way at once; more are refused as busy.
const BOOKS_MOST: usize = 20_000;

/// Books of what is under way.
#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<HashMap<Counted, Arc<Mutex<Book>>>>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Counts {
    fn book(&self, counted: &Counted, size: u64, grace: Duration) -> Option<Arc<Mutex<Book>>> {
        let mut books = lock(&self.0);
        if let Some(book) = books.get(counted) {
            return Some(Arc::clone(book));
        }
        if books.len() >= BOOKS_MOST {
            return None;
        }
        let book = Arc::new(Mutex::new(Book::new(size, grace)));
        books.insert(counted.clone(), Arc::clone(&book));
        Some(book)
    }

    fn known(&self, counted: &Counted) -> Option<Arc<Mutex<Book>>> {
        lock(&self.0).get(counted).map(Arc::clone)
    }

    fn all(&self) -> Vec<Arc<Mutex<Book>>> {
        lock(&self.0).values().map(Arc::clone).collect()
    }

    /// Closes books in which nothing stands; not those that somebody has open.
    fn tidy(&self) {
        lock(&self.0).retain(|_, book| Arc::strong_count(book) > 1 || !lock(book).is_empty());
    }
}

/// One part of a counted delivery. Dropped without an end, it broke off.
#[derive(Debug)]
pub(super) struct Use {
    delivery: Arc<Delivery>,
    book: Arc<Mutex<Book>>,
    part: PartNumber,
    open: bool,
}

impl Use {
    /// Bytes that may still go; `None`: another took over, or it was silent for too long.
    pub(super) fn may_send(&self) -> Option<u64> {
        lock(&self.book).may_send(self.part)
    }

    /// The claim to mark before the next `length` bytes leave, if they complete it.
    pub(super) fn completes(&self, length: u64) -> Option<Marking> {
        let claim = lock(&self.book).completes(self.part, length)?;
        let (delivery, book) = (Arc::clone(&self.delivery), Arc::clone(&self.book));
        Some(Box::pin(async move {
            match delivery.store.mark_claim(claim, true).await {
                Ok(true) => {
                    failpoint::here(Point::UseMarked);
                    lock(&book).marked(claim);
                    Ok(())
                }
                Ok(false) => Err(Code::ContentPurged),
                Err(error) => Err(store_failure(error).code()),
            }
        }))
    }

    /// Bytes were handed over.
    pub(super) fn handed(&self, length: u64) {
        lock(&self.book).handed(self.part, length, self.delivery.clock.monotonic());
    }

    /// Ends it at once, so that whoever asks next finds it ended; what that means is written by what is answered: whether the
    /// file was thereby received whole.
    pub(super) fn end(mut self, taken: bool) -> Settling {
        self.open = false;
        let ended = lock(&self.book).ended(self.part, taken, self.delivery.clock.monotonic());
        let (delivery, book) = (Arc::clone(&self.delivery), Arc::clone(&self.book));
        Box::pin(async move { delivery.settle_use(&book, ended).await })
    }
}

/// The end of a part on its way into the store.
pub(super) type Settling = std::pin::Pin<Box<dyn Future<Output = Result<bool, StoreError>> + Send>>;

/// A mark on its way into the store.
pub(super) type Marking = std::pin::Pin<Box<dyn Future<Output = Result<(), Code>> + Send>>;

impl Drop for Use {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let ended = lock(&self.book).ended(self.part, false, self.delivery.clock.monotonic());
        let (delivery, book) = (Arc::clone(&self.delivery), Arc::clone(&self.book));
        if let (Ended::Unmark(_), Ok(runtime)) = (ended, tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { delivery.settle_use(&book, ended).await });
        }
    }
}

impl Delivery {
    /// Claims a use for a GET by a counted link, or finds the claim that it belongs to; `None` for a link without a limit.
    ///
    /// # Errors
    /// `link-busy`, `link-used`; `server-busy`.
    pub(super) async fn take_use(
        self: &Arc<Self>,
        row: &Arc<LinkRow>,
        facts: &FileFacts,
        asked: &Asked,
        from: IpAddr,
    ) -> Result<Option<Use>, Refusal> {
        if row.uses == 0 {
            return Ok(None);
        }
        let grace = facts.document.as_ref().map(|document| document.decision.link.grace).unwrap_or_default();
        let book = self.counts.book(&row.counted, facts.size, grace);
        let book = book.ok_or_else(|| Refusal::of(Code::ServerBusy).retry_after(2))?;
        let (delivery, row, asked) = (Arc::clone(self), Arc::clone(row), asked.clone());
        // In a task of its own: a reader that goes away meanwhile must not leave a claim that nobody ends.
        let taken = tokio::spawn(async move { delivery.claimed(&row, book, &asked, from.to_canonical()).await });
        taken.await.unwrap_or_else(|_| Err(Refusal::of(Code::ServerFault))).map(Some)
    }

    async fn claimed(
        self: Arc<Self>,
        row: &LinkRow,
        book: Arc<Mutex<Book>>,
        asked: &Asked,
        from: IpAddr,
    ) -> Result<Use, Refusal> {
        let answer = lock(&book).ask(asked, from, self.clock.monotonic());
        let part = match answer {
            Answer::Joined(part) => part,
            Answer::Busy(seconds) => return Err(busy(seconds)),
            Answer::Claim(over) => {
                let claimed = self.store.claim_use(&row.counted, row.uses, over.clone(), self.clock.now()).await;
                let claimed = claimed.map_err(store_failure)?;
                let now = self.clock.monotonic();
                let mut book = lock(&book);
                book.given_up(&over);
                match claimed {
                    Claimed::Yes(number) => {
                        failpoint::here(Point::UseClaimed);
                        book.open(number, asked, from, now)
                    }
                    Claimed::Busy => return Err(busy(book.busy_for(now))),
                    Claimed::Used(last) => return Err(used(row.uses, last)),
                }
            }
        };
        Ok(Use { delivery: self, book, part, open: true })
    }

    /// What `HEAD` answers for a counted link: as GET would, but nothing is claimed.
    ///
    /// # Errors
    /// `link-busy`, `link-used`.
    pub(super) async fn look_at_use(&self, row: &LinkRow, from: IpAddr) -> Result<(), Refusal> {
        if row.uses == 0 {
            return Ok(());
        }
        let now = self.clock.monotonic();
        let book = self.counts.known(&row.counted);
        if book.as_ref().is_some_and(|book| lock(book).knows(from.to_canonical(), now)) {
            return Ok(());
        }
        let uses = self.store.link_uses(&row.counted).await.map_err(store_failure)?;
        let ended = book.as_ref().map_or(0, |book| lock(book).sweep(now).len());
        let open = uses.open.saturating_sub(u32::try_from(ended).unwrap_or(u32::MAX));
        match (uses.used >= row.uses, uses.used.saturating_add(open) >= row.uses) {
            (true, _) => Err(used(row.uses, uses.last)),
            (_, true) => Err(busy(book.map_or(1, |book| lock(&book).busy_for(now)))),
            _ => Ok(()),
        }
    }

    async fn settle_use(&self, book: &Arc<Mutex<Book>>, ended: Ended) -> Result<bool, StoreError> {
        match ended {
            Ended::Open => Ok(false),
            // Marked already: whatever becomes of this write, the use counts.
            Ended::Whole(claim) => {
                failpoint::here(Point::UseTaken);
                self.store.close_claim(claim).await.map(|_| true)
            }
            Ended::Unmark(claim) => {
                let gone = self.store.mark_claim(claim, false).await;
                lock(book).unmarked(claim, gone.is_ok());
                gone.map(|_| false)
            }
        }
    }

    /// Gives back claims in which nothing moved for their grace, and forgets what is over. Called now and then; a reader who
    /// comes earlier does the same for its own file.
    ///
    /// # Errors
    /// Failures of the store; what could not be given back is tried again.
    pub async fn give_back_silent_claims(&self) -> Result<(), Refusal> {
        let now = self.clock.monotonic();
        for book in self.counts.all() {
            let over: Vec<ClaimNumber> = lock(&book).sweep(now);
            if over.is_empty() {
                continue;
            }
            self.store.give_back(over.clone()).await.map_err(store_failure)?;
            lock(&book).given_up(&over);
        }
        self.counts.tidy();
        Ok(())
    }
}

fn busy(seconds: u32) -> Refusal {
    Refusal::of(Code::LinkBusy).retry_after(seconds)
}

/// A link of `most` uses of which none is left, the newest of them begun at a moment.
pub(super) fn used(most: u32, last: Option<Timestamp>) -> Refusal {
    let refusal = Refusal::new(Issue::new(Code::LinkUsed).fill("uses", most));
    match last {
        Some(moment) => refusal.with_moment(moment),
        None => refusal,
    }
}
