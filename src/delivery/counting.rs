//! Uses of counted links: in memory what moves ([`Book`], and the connections that it moves over), in the store what counts. Each question
//! is answered by what connections show at that moment, never by when somebody last looked: a request first looks at the transfers of
//! its file and recipient, and brings what it saw into the write that decides.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::download::Arrival;
use super::failure::store_failure;
use super::{Delivery, Line};
use crate::domain::claim::{Asked, AttemptNumber, Book, Choice, Look, Parting, Settlement};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::refusal::{Code, Issue, Reason, Refusal};
use crate::domain::resource::FileFacts;
use crate::failpoint::{self, Point};
use crate::store::{Begin, BeginOutcome, BegunAttempt, Counted, LinkRow, SealedEntry, StoreError};

/// Files and recipients whose uses are under way at once; more are refused as busy.
const BOOKS_MOST: usize = 20_000;

/// How long an acknowledgement that is due is waited for, and the first look in between.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_millis(250);
const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// What is under way, by file and recipient.
#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<HashMap<Counted, Arc<Running>>>);

/// The attempts at one file for one recipient, with their connections.
#[derive(Debug)]
struct Running {
    counted: Counted,
    size: u64,
    grace: Duration,
    live: Mutex<Live>,
    /// One settles at a time: what the others would bring is brought by the one before.
    settling: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Live {
    book: Book,
    lines: HashMap<AttemptNumber, Arc<dyn Line>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Counts {
    fn of(&self, counted: &Counted, size: u64, grace: Duration) -> Option<Arc<Running>> {
        let mut all = lock(&self.0);
        if let Some(running) = all.get(counted) {
            return Some(Arc::clone(running));
        }
        if all.len() >= BOOKS_MOST {
            // What may only be mended gives way.
            all.retain(|_, running| Arc::strong_count(running) > 1 || !lock(&running.live).book.is_idle());
        }
        if all.len() >= BOOKS_MOST {
            return None;
        }
        let live = Mutex::new(Live { book: Book::new(size, grace), lines: HashMap::new() });
        let running =
            Arc::new(Running { counted: counted.clone(), size, grace, live, settling: tokio::sync::Mutex::default() });
        all.insert(counted.clone(), Arc::clone(&running));
        Some(running)
    }

    fn known(&self, counted: &Counted) -> Option<Arc<Running>> {
        lock(&self.0).get(counted).map(Arc::clone)
    }

    fn all(&self) -> Vec<Arc<Running>> {
        lock(&self.0).values().map(Arc::clone).collect()
    }

    /// Forgets where nothing is under way; not what somebody has open.
    fn tidy(&self, now: Duration) {
        lock(&self.0).retain(|_, running| {
            let mut live = lock(&running.live);
            live.book.tidy(now);
            Arc::strong_count(running) > 1 || !live.book.is_empty()
        });
    }
}

impl Running {
    /// Looks at every connection; answers all that the store has not taken yet.
    fn look(&self, now: Duration) -> Vec<Settlement> {
        let mut live = lock(&self.live);
        let Live { book, lines } = &mut *live;
        for attempt in book.watched() {
            let line = lines.get(&attempt);
            let look = line.map(|line| line.look());
            if book.looked(attempt, look.as_ref(), now)
                && let Some(line) = line
            {
                line.cut();
            }
        }
        book.unsettled()
    }

    /// As [`Running::look`], once the last acknowledgements that are on their way have come: a system may hold them back for 40 ms
    /// although its reader has everything (RFC 9293 §3.8.6.3). What they say decides; that none came does not.
    async fn look_closely(&self, clock: &dyn Clock) -> Vec<Settlement> {
        let (mut waited, mut pause) = (Duration::ZERO, FIRST_PAUSE);
        loop {
            let settlements = self.look(clock.monotonic());
            if waited >= ACKNOWLEDGED_WITHIN || !lock(&self.live).book.is_about_to_end() {
                return settlements;
            }
            tokio::time::sleep(pause).await;
            (waited, pause) = (waited + pause, pause * 2);
        }
    }

    fn begun(&self, begun: &BegunAttempt, asked: &Asked, line: Option<&Arc<dyn Line>>, now: Duration) {
        let mut live = lock(&self.live);
        live.book.begun(&begun.claim, begun.attempt, asked, begun.closing, now);
        if let Some(line) = line {
            live.lines.insert(begun.attempt, Arc::clone(line));
        }
    }
}

/// One part of a counted delivery. Dropped without an end, it broke off.
#[derive(Debug)]
pub(super) struct Use {
    delivery: Arc<Delivery>,
    running: Arc<Running>,
    attempt: AttemptNumber,
    line: Option<Arc<dyn Line>>,
    is_last: bool,
    is_open: bool,
}

/// A GET by a counted link that may send: its part, and the number of the entry that says that it begins, where that is written.
pub(super) type Taken = (Use, Option<u64>);

impl Use {
    /// Whether no further use could begin when this one did.
    pub(super) fn is_last(&self) -> bool {
        self.is_last
    }

    /// Bytes that may still go; `None`: another took over, or nothing moved for too long.
    pub(super) fn may_send(&self) -> Option<u64> {
        lock(&self.running.live).book.may_send(self.attempt)
    }

    /// The mark to make before the next `length` bytes leave, if they complete the file.
    pub(super) fn completes(&self, length: u64) -> Option<Marking> {
        if !lock(&self.running.live).book.completes(self.attempt, length) {
            return None;
        }
        let (delivery, running, attempt) = (Arc::clone(&self.delivery), Arc::clone(&self.running), self.attempt);
        Some(Box::pin(async move {
            match delivery.store.mark_closing(attempt).await {
                Ok(true) => {
                    failpoint::here(Point::UseMarked);
                    lock(&running.live).book.marked(attempt);
                    Ok(())
                }
                Ok(false) => Err(Code::ContentPurged),
                Err(error) => Err(store_failure(error).code()),
            }
        }))
    }

    /// Bytes were handed over.
    pub(super) fn handed(&self, length: u64) {
        lock(&self.running.live).book.handed(self.attempt, length, self.delivery.clock.monotonic());
    }

    /// Everything was acknowledged: the use is spent, though its connection may still be reset.
    pub(super) fn acknowledged(&self) {
        if self.running.look(self.delivery.clock.monotonic()).is_empty() {
            return;
        }
        let (delivery, running) = (Arc::clone(&self.delivery), Arc::clone(&self.running));
        self.delivery.endings.spawn(async move { delivery.settle_in_passing(&running).await });
    }

    /// Ends it at once, so that whoever asks next finds it ended; what that means is written by what is answered.
    pub(super) fn end(mut self, arrival: Arrival) -> Settling {
        self.is_open = false;
        self.over(arrival);
        let (delivery, running) = (Arc::clone(&self.delivery), Arc::clone(&self.running));
        Box::pin(async move { delivery.settle(&running).await })
    }

    fn over(&self, arrival: Arrival) {
        let look = self.last_look(arrival);
        let mut live = lock(&self.running.live);
        live.lines.remove(&self.attempt);
        let is_stopped = arrival == Arrival::Stopped;
        live.book.over(self.attempt, &look, is_stopped, self.delivery.clock.monotonic());
    }

    /// What its connection shows at the end. What did not arrive must not arrive later, when it is counted already: so it is cut first.
    fn last_look(&self, arrival: Arrival) -> Look {
        let Some(line) = &self.line else { return believed(arrival) };
        let look = line.look();
        // Whoever says that it was taken has seen that all of it was acknowledged.
        let look = Look { all: look.all || arrival == Arrival::Taken, ..look };
        let is_untouched = lock(&self.running.live).book.handed_over(self.attempt) == 0;
        if arrival != Arrival::Unknown || look.all || is_untouched {
            return look;
        }
        line.cut();
        Look { most: line.look().most, ..look }
    }
}

/// What an end means where no connection shows it.
fn believed(arrival: Arrival) -> Look {
    match arrival {
        Arrival::Taken => Look { least: u64::MAX, most: u64::MAX, all: true, parting: Parting::InOrder },
        Arrival::Unknown | Arrival::Stopped => Look { most: u64::MAX, ..Look::default() },
    }
}

/// The end of a part on its way into the store.
pub(super) type Settling = std::pin::Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

/// A mark on its way into the store.
pub(super) type Marking = std::pin::Pin<Box<dyn Future<Output = Result<(), Code>> + Send>>;

impl Drop for Use {
    fn drop(&mut self) {
        if !self.is_open {
            return;
        }
        self.over(Arrival::Unknown);
        let (delivery, running) = (Arc::clone(&self.delivery), Arc::clone(&self.running));
        self.delivery.endings.spawn(async move { delivery.settle_in_passing(&running).await });
    }
}

/// Where the uses of a link stand at this moment.
#[derive(Debug, Default)]
pub(super) struct UsesNow {
    /// Uses that are spent.
    pub(super) used: u32,
    /// Uses whose bytes move.
    pub(super) moving: u32,
    /// When the newest spent one began.
    pub(super) last: Option<Timestamp>,
    /// Why a GET of the whole would be refused.
    pub(super) refusal: Option<Refusal>,
}

/// What a GET brings to begin with.
pub(super) struct Wanted<'a> {
    /// The link.
    pub(super) row: &'a Arc<LinkRow>,
    /// Its file.
    pub(super) facts: &'a FileFacts,
    /// What it asks for.
    pub(super) asked: &'a Asked,
    /// Where it comes from.
    pub(super) from: IpAddr,
    /// Its connection.
    pub(super) line: Option<&'a Arc<dyn Line>>,
    /// Its first piece holds all that it asks for.
    pub(super) is_one_piece: bool,
    /// The entry that says that it begins.
    pub(super) entry: SealedEntry,
}

impl Delivery {
    /// Begins an attempt for a GET by a counted link; `None` for a link without a limit.
    ///
    /// # Errors
    /// `link-busy`, `link-used`; `server-busy`.
    pub(super) async fn take_use(self: &Arc<Self>, wanted: Wanted<'_>) -> Result<Option<Taken>, Refusal> {
        if wanted.row.uses == 0 {
            return Ok(None);
        }
        let running = self.counts.of(&wanted.row.counted, wanted.facts.size, grace_of(wanted.facts));
        let running = running.ok_or_else(|| Refusal::of(Code::ServerBusy).retry_after(2))?;
        let begin = Begin {
            counted: wanted.row.counted.clone(),
            most: wanted.row.uses,
            size: wanted.facts.size,
            asked: wanted.asked.clone(),
            from: wanted.from.to_canonical(),
            is_one_piece: wanted.is_one_piece,
            settlements: Vec::new(),
            entry: wanted.entry,
            at: self.clock.now(),
            grace: grace_of(wanted.facts),
        };
        let (delivery, line) = (Arc::clone(self), wanted.line.map(Arc::clone));
        // In a task of its own: a reader that goes away meanwhile must not leave an attempt that nobody ends.
        let taken = self.endings.run(async move { delivery.begin_use(running, begin, line).await });
        taken.await.unwrap_or_else(|_| Err(Refusal::of(Code::ServerFault))).map(Some)
    }

    async fn begin_use(
        self: Arc<Self>,
        running: Arc<Running>,
        mut begin: Begin,
        line: Option<Arc<dyn Line>>,
    ) -> Result<Taken, Refusal> {
        let settlements = running.look_closely(&*self.clock).await;
        begin.settlements.clone_from(&settlements);
        let (asked, from, most) = (begin.asked.clone(), begin.from, begin.most);
        let begun = self.store.begin_attempt(begin).await.map_err(store_failure)?;
        let now = self.clock.monotonic();
        lock(&running.live).book.settled(&settlements, &begun.spent, now);
        let (attempt, is_last, seq) = match begun.outcome {
            BeginOutcome::Yes(begun) => {
                failpoint::here(Point::UseClaimed);
                running.begun(&begun, &asked, line.as_ref(), now);
                (begun.attempt, begun.is_last, Some(begun.seq))
            }
            BeginOutcome::Busy => return Err(busy(lock(&running.live).book.busy_for(now))),
            BeginOutcome::Used { last, twice } => {
                let mended = lock(&running.live).book.mend(&asked, from, now);
                (mended.ok_or_else(|| used(most, last, twice))?, true, None)
            }
        };
        Ok((Use { delivery: self, running, attempt, line, is_last, is_open: true }, seq))
    }

    /// What `HEAD` answers for a counted link: as GET would, but nothing begins.
    ///
    /// # Errors
    /// `link-busy`, `link-used`.
    pub(super) async fn look_at_use(&self, row: &LinkRow, size: u64, from: IpAddr) -> Result<(), Refusal> {
        if row.uses == 0 {
            return Ok(());
        }
        match self.uses_now(row, size, Some(from.to_canonical())).await?.refusal {
            Some(refusal) => Err(refusal),
            None => Ok(()),
        }
    }

    /// Where the uses of a counted link stand, all that can be known looked at first. `from`: who asks.
    pub(super) async fn uses_now(&self, row: &LinkRow, size: u64, from: Option<IpAddr>) -> Result<UsesNow, Refusal> {
        let running = self.counts.known(&row.counted);
        if let Some(running) = &running {
            running.look_closely(&*self.clock).await;
            self.settle(running).await.map_err(store_failure)?;
        }
        let (standing, last) = self.store.standing(&row.counted, row.uses, size).await.map_err(store_failure)?;
        let now = self.clock.now();
        let moving = standing.claims.iter().filter(|claim| claim.is_under_way(now));
        let seconds = || running.as_ref().map_or(1, |r| lock(&r.live).book.busy_for(self.clock.monotonic()));
        let refusal = match standing.choose(&Asked::whole(size), from.unwrap_or(NOWHERE), now) {
            Choice::Attempt(_) | Choice::Claim => None,
            Choice::Busy => Some(busy(seconds())),
            Choice::Used { twice } => Some(used(row.uses, last, twice)),
        };
        let moving = u32::try_from(moving.count()).unwrap_or(u32::MAX);
        Ok(UsesNow { used: standing.used, moving, last, refusal })
    }

    /// Looks at what is under way, and makes durable what is known of it.
    async fn settle(&self, running: &Running) -> Result<(), StoreError> {
        let _one = running.settling.lock().await;
        let settlements = running.look(self.clock.monotonic());
        if settlements.is_empty() {
            return Ok(());
        }
        failpoint::here(Point::UseTaken);
        let kept_until = self.clock.now().plus(running.grace);
        let spent = self.store.settle(&running.counted, running.size, settlements.clone(), kept_until).await?;
        lock(&running.live).book.settled(&settlements, &spent, self.clock.monotonic());
        Ok(())
    }

    async fn settle_in_passing(&self, running: &Running) {
        if let Err(error) = self.settle(running).await {
            tracing::warn!(cause = %error, "the end of a counted download waits to be recorded");
        }
    }

    /// Ends attempts in which nothing moved for their grace, and forgets what is over. Called now and then; a reader who comes
    /// earlier does the same for its own file.
    /// What could not be settled is tried again.
    pub async fn end_silent_attempts(&self) {
        for running in self.counts.all() {
            self.settle_in_passing(&running).await;
        }
        self.counts.tidy(self.clock.monotonic());
    }
}

/// An address that nobody calls from.
const NOWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

fn grace_of(facts: &FileFacts) -> Duration {
    facts.document.as_ref().map(|document| document.decision.link.grace).unwrap_or_default()
}

fn busy(seconds: u32) -> Refusal {
    Refusal::of(Code::LinkBusy).retry_after(seconds)
}

/// A link of `most` uses of which none is left, the newest of them begun at a moment; `twice`: because its bytes were handed out twice.
fn used(most: u32, last: Option<Timestamp>, twice: bool) -> Refusal {
    let refusal = Refusal::new(Issue::new(Code::LinkUsed).fill("uses", most));
    let refusal = if twice { refusal.with_reason(Reason::HandedOutTwice) } else { refusal };
    match last {
        Some(moment) => refusal.with_moment(moment),
        None => refusal,
    }
}
