//! Who gives a command: the owner of the folder, or a registered person who knows the password. Wrong passwords make the next
//! try of the same id slower, up to a bound: guessing gets slow, and nobody can be locked out by another's guesses. An id that is not
//! there, one that is switched off and a wrong password have one answer, after the same work.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::auth::password;
use crate::control::Secret;
use crate::delivery::Delivery;
use crate::domain::audit::{Action, Entry, Outcome};
use crate::domain::clock::{Entropy, Timestamp};
use crate::domain::id::OperatorId;
use crate::domain::operator::Password;
use crate::domain::principal::Operator;
use crate::domain::refusal::{Code, Issue, Refusal};

/// Wrong passwords in a row that cost nothing but their hash.
const FREE: u32 = 3;
/// The longest that a try is made to wait.
const LONGEST_WAIT: Duration = Duration::from_secs(8);
/// Without a further one, wrong tries are forgotten after this.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// Ids whose tries are remembered; above, the oldest is forgotten.
const REMEMBERED: usize = 256;

/// Counts wrong tries and bounds the work of checking.
#[derive(Debug)]
pub(super) struct Door {
    wrong: Mutex<HashMap<String, (u32, Timestamp)>>,
    /// One hash at a time: each takes 64 MiB.
    hashing: Semaphore,
}

impl Default for Door {
    fn default() -> Self {
        Self { wrong: Mutex::default(), hashing: Semaphore::new(1) }
    }
}

impl Door {
    /// The operator, if the password is right and it may act.
    ///
    /// # Errors
    /// `login-failed`, the same in every case; failures of the store; `audit-unavailable`.
    pub(super) async fn enter(
        &self,
        delivery: &Delivery,
        uid: u32,
        (id, given): (&str, &Secret),
    ) -> Result<Operator, Refusal> {
        tokio::time::sleep(self.wait(id, delivery.now())).await;
        let known = match OperatorId::parse(id) {
            Some(id) => delivery.store().operator(&id).await.map_err(crate::delivery::store_failure)?,
            None => None,
        };
        let hash = known.as_ref().filter(|operator| !operator.disabled).map(|operator| operator.password.clone());
        let given = Password::claimed(given.reveal());
        let is_right = self.work(move || password::is_right(&given, hash.as_deref())).await?;
        match known {
            Some(known) if is_right => {
                self.forget(id);
                Ok(Operator::Named { id: known.id, role: known.role })
            }
            known => {
                self.note(id, delivery.now());
                let entry = Entry::new(Action::CommandRun, Outcome::Denied).os_user(uid).code(Code::LoginFailed);
                // What is no id of ours may be anything, a password typed in the wrong place too.
                let entry = match known {
                    Some(known) => entry.with("claimed", known.id.as_str()),
                    None => entry,
                };
                delivery.record(&entry).await?;
                let issue = Issue::new(Code::LoginFailed).message_text("The operator's id or password is not right.");
                Err(issue.cure_text("Check both and try again; see `daylily operator list`.").into())
            }
        }
    }

    /// The hash of a new password.
    ///
    /// # Errors
    /// What a new password must hold to; `server-fault`.
    pub(super) async fn hash(&self, given: &Secret, entropy: &dyn Entropy) -> Result<String, Refusal> {
        let password = Password::chosen(given.reveal())?;
        let mut seed = Seed([0; 16]);
        entropy.fill(&mut seed.0);
        self.work(move || password::hash(&password, &seed)).await?
    }

    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
        let broken = || Refusal::of(Code::ServerFault);
        let _one = self.hashing.acquire().await.map_err(|_| broken())?;
        tokio::task::spawn_blocking(work).await.map_err(|_| broken())
    }

    fn wait(&self, id: &str, now: Timestamp) -> Duration {
        let wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.get(id).filter(|(_, last)| now < last.plus(FORGOTTEN)).map_or(Duration::ZERO, |(count, _)| wait(*count))
    }

    fn note(&self, id: &str, now: Timestamp) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.retain(|_, (_, last)| now < last.plus(FORGOTTEN));
        if wrong.len() >= REMEMBERED && !wrong.contains_key(id) {
            let oldest = wrong.iter().min_by_key(|(_, (_, last))| *last).map(|(id, _)| id.clone());
            oldest.map(|id| wrong.remove(&id));
        }
        let (count, last) = wrong.entry(id.chars().take(64).collect()).or_insert((0, now));
        (*count, *last) = (count.saturating_add(1), now);
    }

    fn forget(&self, id: &str) {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

/// Chance that was drawn before, for a thread that has no source of its own.
#[derive(Debug)]
struct Seed([u8; 16]);

impl Entropy for Seed {
    fn fill(&self, bytes: &mut [u8]) {
        for (byte, drawn) in bytes.iter_mut().zip(self.0) {
            *byte = drawn;
        }
    }
}

/// How long a try waits after so many wrong ones.
fn wait(wrong: u32) -> Duration {
    match wrong.checked_sub(FREE) {
        None => Duration::ZERO,
        Some(more) => Duration::from_secs(1 << more.min(8)).min(LONGEST_WAIT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guessing_gets_slow_and_nobody_is_locked_out() {
        let seconds: Vec<u64> = (0..9).map(|wrong| wait(wrong).as_secs()).collect();
        assert_eq!(seconds, [0, 0, 0, 1, 2, 4, 8, 8, 8]);
        assert_eq!(wait(u32::MAX), LONGEST_WAIT);
    }

    #[test]
    fn wrong_tries_count_for_their_id_alone_and_are_forgotten() {
        let (door, now) = (Door::default(), Timestamp::from_millis(1_000_000));
        (0..5).for_each(|_| door.note("anna", now));
        assert_eq!((door.wait("anna", now).as_secs(), door.wait("ben", now).as_secs()), (4, 0));
        assert_eq!(door.wait("anna", now.plus(FORGOTTEN)), Duration::ZERO);
        door.forget("anna");
        assert_eq!(door.wait("anna", now), Duration::ZERO);
        for number in 0..1_000 {
            door.note(&format!("guess-{number}"), now);
        }
        assert!(door.wrong.lock().unwrap().len() <= REMEMBERED);
    }
}
