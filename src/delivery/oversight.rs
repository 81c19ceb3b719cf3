//! What people oversee: who may act, and what was held back. An act and its entry are one transaction; releasing what an engine
//! called dirty takes two people ([`crate::domain::operator::Override`]). Who may give which command is decided before this.

mod holds;

use super::Delivery;
use super::administration::by;
use super::failure::store_failure;
use super::offers::about_subject;
use crate::domain::audit::effect::REGISTRATION;
use crate::domain::audit::{Action, Entry};
use crate::domain::clock::Timestamp;
use crate::domain::id::{OperatorId, ResourceId};
use crate::domain::lifecycle::{self, Stamp, State};
use crate::domain::operator::{Act, Assent, Override};
use crate::domain::principal::Operator;
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::domain::resource::{DocumentFacts, Kind, Stored};
use crate::store::{Approval, Quarantined, StoreError, StoredOperator};

/// Rows that a list shows at most.
pub const LISTED: usize = 1_000;

/// A release that took place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    /// The two who agreed, the one who asked first.
    pub by: [OperatorId; 2],
}

impl Delivery {
    /// Registers an operator.
    ///
    /// # Errors
    /// `identifier-duplicate` when the id is taken, also by one who is switched off: an id in the record is one person for ever.
    pub async fn add_operator(&self, operator: &Operator, new: StoredOperator) -> Result<(), Refusal> {
        let entry = by(operator, Action::OperatorAdd).with("registered", new.id.as_str());
        let entry = entry.with(REGISTRATION, new.registration());
        let sealed = self.recorder.seal(&entry.with("role", new.role.as_str()))?;
        match self.store.add_operator(new, sealed).await {
            Err(StoreError::AlreadyExists) => Err(Issue::new(Code::IdentifierDuplicate).fill("path", "--id").into()),
            done => done.map_err(store_failure),
        }
    }

    /// Switches an operator off; approvals that it gave end.
    ///
    /// # Errors
    /// `resource-not-found` when there is none, or it is off.
    pub async fn disable_operator(&self, operator: &Operator, id: &OperatorId) -> Result<(), Refusal> {
        let sealed = self.recorder.seal(&by(operator, Action::OperatorDisable).with("registered", id.as_str()))?;
        if self.store.disable_operator(id, sealed).await.map_err(store_failure)? {
            return Ok(());
        }
        let issue = Issue::new(Code::ResourceNotFound).message_text("no operator who may act has this id");
        Err(issue.cure_text("see `daylily operator list`").into())
    }

    /// What is held back, the longest first, and whether there is more.
    ///
    /// # Errors
    /// Failures of the store; `audit-unavailable`.
    pub async fn quarantine(&self, operator: &Operator) -> Result<(Vec<Quarantined>, bool), Refusal> {
        self.recorder.record(&by(operator, Action::CommandRun).with("command", "quarantine list")).await?;
        let mut rows = self.store.quarantined(LISTED + 1).await.map_err(store_failure)?;
        let more = rows.len() > LISTED;
        rows.truncate(LISTED);
        Ok((rows, more))
    }

    /// One document that is held back.
    ///
    /// # Errors
    /// `resource-not-found`; `state-refused` when it is not held back; `audit-unavailable`.
    pub async fn quarantined(&self, operator: &Operator, id: &ResourceId) -> Result<Quarantined, Refusal> {
        let (held, _) = self.held_back(operator, id, "quarantine show").await?;
        let entry = by(operator, Action::CommandRun).with("command", "quarantine show");
        self.recorder.record(&about(entry, &held)).await?;
        Ok(held)
    }

    /// Releases what an engine called dirty, where the document's decision allows it and a second person agrees: the first call is
    /// kept as that person's word, the second person's same call releases.
    ///
    /// # Errors
    /// `second-person-required` after the first call; `state-refused` when it is not held back or policy does not allow it;
    /// `role-insufficient`; `resource-not-found`.
    pub async fn release_quarantined(
        &self,
        operator: &Operator,
        id: &ResourceId,
        reason: &str,
    ) -> Result<Released, Refusal> {
        let (held, _) = self.held_back(operator, id, "quarantine release").await?;
        if !held.decision.allow_override {
            return Err(not_allowed(&held));
        }
        let own = Assent::given(operator, held.subject, self.clock.now(), reason)?;
        match self.agreement(&held, &own).await? {
            Some(agreed) => self.overrule(operator, &held, &agreed).await,
            None => Err(self.ask_second(operator, &held, &own).await?),
        }
    }

    /// The agreement of `own` with a word that waits, if there is one that counts: of another person, who may still act.
    async fn agreement(&self, held: &Quarantined, own: &Assent) -> Result<Option<Override>, Refusal> {
        for waiting in &held.approvals {
            let Some(first) = self.store.operator(&waiting.by).await.map_err(store_failure)?.filter(|o| !o.disabled)
            else {
                continue;
            };
            let first = Operator::Named { id: first.id, role: first.role };
            let Ok(first) = Assent::given(&first, waiting.subject, waiting.at, &waiting.reason) else {
                continue;
            };
            if let Ok(agreed) = Override::agree(first, own.clone(), held.decision.allow_override, &held.reason) {
                return Ok(Some(agreed));
            }
        }
        Ok(None)
    }

    /// Keeps the first word, and answers what the person is told.
    async fn ask_second(&self, operator: &Operator, held: &Quarantined, own: &Assent) -> Result<Refusal, Refusal> {
        let entry = by(operator, Action::ApprovalAsk).with("command", "quarantine release").reason(own.reason());
        let sealed = self.recorder.seal(&about(entry, held).with("verdict", held.reason.as_str()))?;
        let approval =
            Approval { subject: own.subject(), by: own.by().clone(), at: own.at(), reason: own.reason().to_owned() };
        match self.store.ask_approval(approval, sealed).await {
            Ok(()) => {
                let issue = Issue::new(Code::SecondPersonRequired).fill("roles", Act::Quarantine.roles_in_words());
                Ok(issue.fill("when", own.until()).into())
            }
            Err(StoreError::Changed) => Err(self.moved_on(operator, &held.id, "quarantine release").await),
            Err(error) => Err(store_failure(error)),
        }
    }

    async fn overrule(&self, operator: &Operator, held: &Quarantined, agreed: &Override) -> Result<Released, Refusal> {
        let at = self.clock.now();
        let due = Some(held.decision.due(held.created, at));
        let stamp = Stamp { at, actor: operator.actor(), due };
        let transition = lifecycle::release_by_override(State::Quarantined, agreed, stamp)?;
        let sealed = self.recorder.seal(&release_entry(operator, held, agreed))?;
        match self.store.release_overruled(agreed, transition, vec![sealed]).await {
            Ok(_) => Ok(Released { by: [agreed.first().by().clone(), agreed.second().by().clone()] }),
            Err(StoreError::Changed) => Err(self.moved_on(operator, &held.id, "quarantine release").await),
            Err(error) => Err(store_failure(error)),
        }
    }

    /// Destroys what is held back before its time: keys first, then bytes. Answers how many files. With `preview` it only says so.
    ///
    /// # Errors
    /// `hold-active`; `state-refused` when it is not held back; `resource-not-found`.
    pub async fn purge_quarantined(
        &self,
        operator: &Operator,
        id: &ResourceId,
        (reason, preview): (&str, bool),
    ) -> Result<u64, Refusal> {
        let (held, files) = self.held_back(operator, id, "quarantine purge").await?;
        if held.held {
            return Err(Refusal::of(Code::HoldActive));
        }
        if preview {
            return Ok(files);
        }
        let stamp = Stamp { at: self.clock.now(), actor: operator.actor(), due: None };
        let transition = lifecycle::purge_quarantined(State::Quarantined, stamp)?;
        let entry = about(by(operator, Action::DocumentPurge), &held).reason(reason);
        let entry = entry.states(Some(transition.from().as_str()), transition.to().as_str());
        let sealed = self.recorder.seal(&entry.with("verdict", held.reason.as_str()))?;
        match self.store.purge(held.subject.document, transition, sealed).await {
            Ok(elsewhere) => self.delete_bytes(&elsewhere).await.map(|()| files),
            Err(StoreError::Changed) => Err(self.moved_on(operator, id, "quarantine purge").await),
            Err(error) => Err(store_failure(error)),
        }
    }

    /// A document that is held back, and how many files it has.
    async fn held_back(
        &self,
        operator: &Operator,
        id: &ResourceId,
        command: &'static str,
    ) -> Result<(Quarantined, u64), Refusal> {
        let (stored, facts) = self.overseen(operator, id).await?;
        let held = self.store.quarantined_document(facts.number).await.map_err(store_failure)?;
        let held = held.ok_or_else(|| not_held_back(&facts, command, self.clock.now()))?;
        Ok((held, u64::try_from(stored.files.len()).unwrap_or(u64::MAX)))
    }

    /// What to say when somebody else was faster.
    async fn moved_on(&self, operator: &Operator, id: &ResourceId, command: &'static str) -> Refusal {
        match self.held_back(operator, id, command).await {
            Ok((held, _)) if held.held => Refusal::of(Code::HoldActive),
            Ok(_) => Refusal::of(Code::ServerBusy).retry_after(1),
            Err(refusal) => refusal,
        }
    }

    /// A document as operators see it, in any state.
    async fn overseen(&self, operator: &Operator, id: &ResourceId) -> Result<(Stored, DocumentFacts), Refusal> {
        let stored = self.store.read(Kind::DocumentReference, id, &operator.scope()).await.map_err(store_failure)?;
        let found = stored.and_then(|mut stored| stored.document.take().map(|facts| (stored, facts)));
        found.ok_or_else(|| {
            let issue = Issue::new(Code::ResourceNotFound).message_text("no document has this id");
            issue.cure_text("copy the id from the DocumentReference, or find it in `daylily audit export`").into()
        })
    }
}

/// An entry about a document that is held back.
fn about(entry: Entry, held: &Quarantined) -> Entry {
    let entry = entry.resource("DocumentReference", &held.id, u64::from(held.version));
    about_subject(entry, held.about.as_ref())
}

/// Operators, reasons and the verdict that was overruled (contract, Lifecycle), with the bytes that it was about.
fn release_entry(operator: &Operator, held: &Quarantined, agreed: &Override) -> Entry {
    let (first, second) = (agreed.first(), agreed.second());
    let entry = about(by(operator, Action::DocumentRelease), held)
        .states(Some(State::Quarantined.as_str()), State::Ready.as_str())
        .reason(second.reason())
        .with("first-operator", first.by().as_str())
        .with("first-reason", first.reason())
        .with("first-at", first.at().to_string())
        .with("rule", held.decision.rule.as_str())
        .with("verdict", agreed.overruled());
    match &held.evidence {
        Some(found) => {
            entry.file(found.file).with("sha256", hex::encode(found.sha256)).with("place", found.place.as_str())
        }
        None => entry,
    }
}

fn not_held_back(facts: &DocumentFacts, command: &str, now: Timestamp) -> Refusal {
    Issue::new(Code::StateRefused)
        .fill("operation", format!("`{command}`"))
        .fill("state", facts.state_at(now))
        .cure_text("See `daylily quarantine list` for what is held back.")
        .into()
}

fn not_allowed(held: &Quarantined) -> Refusal {
    let message = format!("Rule {} does not allow to release what the safety check held back.", held.decision.rule);
    let cure = "Have its source send it again, mended; `allow-override` in a policy counts for documents that come later. \
        Possible now: `daylily quarantine purge`.";
    Issue::new(Code::StateRefused).message_text(&message).cure_text(cure).into()
}
