//! The clock's rules at work: watched by the retention loop, kept by the store, confirmed by an operator. What the rules are stands in
//! [`crate::domain::clock_watch`].

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Delivery;
use super::failure::store_failure;
use crate::domain::audit::{Action, Entry, Outcome};
use crate::domain::clock::{Timestamp, write_span};
use crate::domain::clock_watch::{ClockRecord, ClockWatch, Destroyable, Jump, Look, Standing};
use crate::domain::epoch::Scope;
use crate::domain::principal::Operator;
use crate::domain::refusal::{Code, Issue, Refusal};

/// The longest time that a change of the record waits for being kept, unless it is a jump.
const KEEP_EVERY: Duration = Duration::from_secs(60);

/// The watch and what was kept of it last.
#[derive(Debug, Default)]
pub(super) struct Watching {
    inner: Mutex<Inner>,
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Inner {
    watch: Option<ClockWatch>,
    kept: Option<(ClockRecord, Duration)>,
    /// Rows that could not be read, told once.
    unreadable: BTreeSet<String>,
}

impl Watching {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs rows of the retention queue that cannot be read, each once.
    pub(super) fn tell_unreadable(&self, rows: &[String]) {
        let mut inner = self.lock();
        for row in rows {
            // Bounded: what is not told after this many is not what somebody waits for.
            if inner.unreadable.len() < 1_000 && inner.unreadable.insert(row.clone()) {
                tracing::error!(row, "a document that is due cannot be read; it stays as it is, the others go on");
            }
        }
    }
}

/// What a confirmation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmed {
    /// How the clock stood before; [`Standing::Sound`] and [`Standing::Settling`]: there was nothing to confirm.
    pub before: Standing,
    /// Whether the highest time seen went back, which withdrew all links.
    pub lowered: bool,
}

impl Delivery {
    /// Looks at both clocks, keeps what changed, and says what may be destroyed. The first call begins to watch.
    ///
    /// # Errors
    /// Failures of the store: then nothing may be destroyed.
    pub async fn watch_clock(&self) -> Result<Destroyable, Refusal> {
        let _turn = self.watching.turn.lock().await;
        self.begin_watch().await?;
        let (record, may, due) = {
            let mut inner = self.watching.lock();
            let look = self.look();
            let watch = inner.watch.get_or_insert_with(|| ClockWatch::begin(None, look));
            watch.look(look);
            let (record, may) = (watch.record(), watch.destroyable());
            let due = inner.kept.is_none_or(|(kept, when)| {
                kept.jump != record.jump || (kept != record && look.monotonic.saturating_sub(when) >= KEEP_EVERY)
            });
            (record, may, due)
        };
        if due {
            self.keep(record).await?;
        }
        Ok(may)
    }

    /// Keeps the record as it is now, before a stop in order.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn keep_clock(&self) -> Result<(), Refusal> {
        self.watch_clock().await?;
        let record = self.watching.lock().watch.as_ref().map(ClockWatch::record);
        let _turn = self.watching.turn.lock().await;
        match record {
            Some(record) => self.keep(record).await,
            None => Ok(()),
        }
    }

    /// How the clock stands; `None` before the first look.
    pub fn clock_standing(&self) -> Option<Standing> {
        self.watching.lock().watch.as_ref().map(ClockWatch::standing)
    }

    /// Takes the wall clock as right, on an operator's word: destruction goes on, and access goes by it. Where that sets the highest
    /// time seen back, all links are withdrawn first: none that the wrong time closed opens again, none made under it lives on.
    ///
    /// # Errors
    /// Failures of the store; then nothing was confirmed.
    pub async fn confirm_clock(&self, operator: &Operator, reason: &str) -> Result<Confirmed, Refusal> {
        self.watch_clock().await?;
        let _turn = self.watching.turn.lock().await;
        let look = self.look();
        let Some(mut watch) = self.watching.lock().watch.clone() else {
            return Err(Refusal::of(Code::ServerFault));
        };
        let (before, highest) = (watch.standing(), watch.record().highest);
        if matches!(before, Standing::Sound | Standing::Settling { .. }) {
            return Ok(Confirmed { before, lowered: false });
        }
        let lowered = look.wall < highest;
        let entry = Entry::new(Action::ClockConfirm, Outcome::Ok).by(operator).reason(reason);
        let entry = entry.with("seen", highest.to_string()).with("confirmed", look.wall.to_string());
        if lowered {
            let withdrawn = Entry::new(Action::LinkRevoke, Outcome::Ok).by(operator).with("aim", "all");
            self.cut((Scope::All, None), "clock set back", &withdrawn.reason("clock set back")).await?;
        }
        watch.confirm(look);
        let sealed = self.recorder.seal(&entry)?;
        let record = watch.record();
        self.store.keep_clock(record, lowered, Some(sealed)).await.map_err(store_failure)?;
        self.clock.accept_wall();
        let mut inner = self.watching.lock();
        inner.watch = Some(watch);
        inner.kept = Some((record, look.monotonic));
        Ok(Confirmed { before, lowered })
    }

    /// When to destroy what is closed now because its time fell due at `due` ([`Destroyable::end_of_keeping`]), as the clock was last
    /// looked at.
    pub(super) fn end_of_keeping(&self, due: Timestamp, keep: Duration) -> Timestamp {
        let may = self.watching.lock().watch.as_ref().map_or(Destroyable::nothing(), ClockWatch::destroyable);
        may.end_of_keeping(due, self.clock.now(), keep)
    }

    fn look(&self) -> Look {
        Look { wall: self.clock.wall(), monotonic: self.clock.monotonic() }
    }

    async fn begin_watch(&self) -> Result<(), Refusal> {
        if self.watching.lock().watch.is_some() {
            return Ok(());
        }
        let before = self.store.clock_record().await.map_err(store_failure)?;
        let watch = ClockWatch::begin(before, self.look());
        let mut inner = self.watching.lock();
        inner.kept = before.map(|before| (before, Duration::ZERO));
        inner.watch = Some(watch);
        Ok(())
    }

    async fn keep(&self, record: ClockRecord) -> Result<(), Refusal> {
        let known = self.watching.lock().kept.and_then(|(kept, _)| kept.jump);
        let news = record.jump.filter(|jump| known != Some(*jump));
        let entry = news.map(|jump| self.recorder.seal(&jumped(&jump))).transpose()?;
        if let Some(jump) = news {
            tracing::error!(from = %jump.from, to = %jump.to, "the clock jumped; nothing is destroyed until it is confirmed");
        }
        self.store.keep_clock(record, false, entry).await.map_err(store_failure)?;
        self.watching.lock().kept = Some((record, self.clock.monotonic()));
        Ok(())
    }
}

fn jumped(jump: &Jump) -> Entry {
    let entry = Entry::new(Action::ClockJump, Outcome::Ok).server().code(Code::ClockUnconfirmed);
    entry.with("seen", jump.from.to_string()).with("shown", jump.to.to_string())
}

/// What is to be said about a clock that is not as it should be.
pub fn clock_issue(standing: Standing) -> Option<Issue> {
    match standing {
        Standing::Sound | Standing::Settling { .. } => None,
        Standing::Jumped(jump) => {
            Some(Issue::new(Code::ClockUnconfirmed).fill("span", write_span(jump.to.since(jump.from))))
        }
        Standing::Behind { by } => Some(Issue::new(Code::ClockUnconfirmed).message_text(format!(
            "The clock shows {} less than was seen before; access goes by the highest time seen.",
            write_span(by)
        ))),
    }
}
