//! Going on although the log did not verify: the first person's word is kept, the second person's same command acknowledges. What was
//! found is copied aside; the entry names it and both.

use std::io;
use std::path::Path;

use super::super::acknowledged::Pending;
use super::Commands;
use crate::control::{AcknowledgementView, Response};
use crate::domain::audit::{Action, Entry, Outcome};
use crate::domain::log_acknowledgement::{LogAcknowledgement, Word};
use crate::domain::operator::Act;
use crate::domain::principal::Operator;
use crate::domain::refusal::{Code, Issue, Refusal};

impl Commands {
    pub(super) async fn acknowledge(&self, operator: &Operator, reason: &str) -> Result<Response, Refusal> {
        let Some(pending) = &self.pending else {
            let issue = Issue::new(Code::StateRefused)
                .message_text("nothing is found in the log, so there is nothing to acknowledge");
            return Err(issue
                .cure_text("run `daylily audit verify`; what is found is acknowledged while the server is stopped")
                .into());
        };
        let own = Word::given(operator, pending.digest(), self.delivery.now(), reason)?;
        match self.agreement(pending, &own).await? {
            Some(agreed) => self.go_on(operator, pending, &agreed).await,
            None => Err(self.ask_second(operator, pending, &own).await?),
        }
    }

    /// The agreement with a word that waits, if it is one that counts: of another person, who may still act, about the same finding.
    async fn agreement(&self, pending: &Pending, own: &Word) -> Result<Option<LogAcknowledgement>, Refusal> {
        let Some(waiting) = pending.asked() else { return Ok(None) };
        let known = self.delivery.store().operator(waiting.by()).await.map_err(crate::delivery::store_failure)?;
        let Some(first) = known.filter(|known| !known.disabled) else { return Ok(None) };
        let first = Operator::Named { id: first.id, role: first.role };
        let first = Word::given(&first, waiting.finding(), waiting.at(), waiting.reason());
        Ok(first.ok().and_then(|first| LogAcknowledgement::agree(first, own.clone()).ok()))
    }

    async fn ask_second(&self, operator: &Operator, pending: &Pending, own: &Word) -> Result<Refusal, Refusal> {
        let entry = Entry::new(Action::ApprovalAsk, Outcome::Ok).by(operator).with("command", "audit acknowledge");
        self.delivery.record(&about(entry, pending).reason(own.reason())).await?;
        pending.ask(own).map_err(|error| unwritten(&error))?;
        let issue = Issue::new(Code::SecondPersonRequired).fill("roles", Act::Acknowledge.roles_in_words());
        Ok(issue.fill("when", own.until()).into())
    }

    async fn go_on(
        &self,
        operator: &Operator,
        pending: &Pending,
        agreed: &LogAcknowledgement,
    ) -> Result<Response, Refusal> {
        let (first, second) = (agreed.first(), agreed.second());
        let entry = Entry::new(Action::AuditAcknowledge, Outcome::Ok).by(operator).reason(second.reason());
        let entry = about(entry, pending).with("asked-by", first.by().as_str()).with("asked-reason", first.reason());
        self.delivery.record(&entry).await?;
        let evidence = pending.confirm().map_err(|error| unwritten(&error))?;
        Ok(Response::Acknowledgement(view(pending, agreed, &evidence)))
    }
}

fn about(entry: Entry, pending: &Pending) -> Entry {
    let found = pending.words().first().cloned().unwrap_or_default();
    entry.with("finding", hex::encode(pending.digest())).with("found", found)
}

fn view(pending: &Pending, agreed: &LogAcknowledgement, evidence: &Path) -> AcknowledgementView {
    AcknowledgementView {
        finding: hex::encode(pending.digest()),
        found: pending.words().to_vec(),
        by: vec![agreed.first().by().to_string(), agreed.second().by().to_string()],
        evidence: evidence.display().to_string(),
    }
}

fn unwritten(error: &io::Error) -> Refusal {
    let issue = Issue::new(Code::FolderUnsafe).fill("file", "the folder of the evidence");
    issue
        .fill("fault", format!("cannot be written: {}", error.kind()))
        .fill("cure", "make room, then run it again")
        .into()
}
