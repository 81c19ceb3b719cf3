//! What the log says of a document, held against the rows that an explanation reads: what closed it, and its legal holds.

use super::Fact;
use super::trail::Seen;
use crate::domain::audit::effect::may_follow;
use crate::domain::audit::{Action, Outcome};
use crate::domain::id::ResourceId;
use crate::domain::lifecycle::State;
use crate::domain::resource::Step;

/// What was read so far, newest first.
pub(super) struct Record<'a> {
    document: &'a ResourceId,
    /// States that entries brought it into.
    states: Vec<State>,
    laid: u64,
    released: u64,
    /// Whether the entry that made it was read.
    pub(super) is_whole: bool,
}

impl<'a> Record<'a> {
    pub(super) fn of(document: &'a ResourceId) -> Self {
        Self { document, states: Vec::new(), laid: 0, released: 0, is_whole: false }
    }

    /// Takes an entry; `false` when none before it can be about the document.
    pub(super) fn take(&mut self, seen: &Seen) -> bool {
        if seen.outcome != Outcome::Ok || seen.document() != Some(self.document.as_str()) {
            return true;
        }
        match seen.action {
            Action::DocumentCreate => self.is_whole = true,
            Action::HoldAdd => self.laid += 1,
            Action::HoldRelease => self.released += 1,
            _ => self.states.extend(seen.text("to").and_then(State::parse)),
        }
        !self.is_whole
    }

    /// Whether the rows show what the entries say: the state, the steps that closed it, the holds.
    pub(super) fn fits(&self, state: State, steps: &[Step], holds: u64) -> bool {
        let last = self.states.first().copied();
        let is_open = |state: &State| !is_closing(*state);
        let follows = match last {
            Some(last) if is_closing(last) => may_follow(last, state),
            _ => !self.is_whole || is_open(&state),
        };
        let held = self.laid.saturating_sub(self.released);
        let stepped = |state| steps.iter().filter(|step| step.to == state).count();
        let recorded = |state| self.states.iter().filter(|recorded| **recorded == state).count();
        let fits =
            |state| if self.is_whole { stepped(state) == recorded(state) } else { stepped(state) >= recorded(state) };
        follows && CLOSING.into_iter().all(fits) && if self.is_whole { holds == held } else { holds >= held }
    }

    /// What is said where they do not.
    pub(super) fn contradiction() -> Fact {
        let text = "what the database has of its state, its steps and its holds is not what the log says: do not rely on this; see \
            `daylily audit verify`";
        Fact { name: "record", text: text.to_owned(), ..Fact::default() }
    }
}

/// States in which nothing opens.
const CLOSING: [State; 4] = [State::Quarantined, State::Expired, State::Revoked, State::Purged];

fn is_closing(state: State) -> bool {
    CLOSING.contains(&state)
}
