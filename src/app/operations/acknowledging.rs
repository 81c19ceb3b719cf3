//! Going on although the log did not verify: the first person's word is kept, the second person's same command acknowledges. What was
//! found is copied aside; the entry names it and both.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::super::acknowledged::Pending;
use super::super::log_effects::ToRedo;
use super::Commands;
use crate::control::{AcknowledgementView, Response};
use crate::domain::audit::effect::Expected;
use crate::domain::audit::{Action, Entry, Outcome};
use crate::domain::log_acknowledgement::{LogAcknowledgement, Word};
use crate::domain::operator::Act;
use crate::domain::principal::Operator;
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::store::Client;

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
        if pending.distrusts(own.by()) {
            let text = "The database does not say of this person what the log does, so this word does not count.";
            let issue = Issue::new(Code::RoleInsufficient).message_text(text);
            return Err(issue.cure_text("have two others do it; `daylily operator add` registers people").into());
        }
        match self.agreement(pending, &own).await? {
            Some(agreed) => self.go_on(operator, pending, &agreed).await,
            None => Err(self.ask_second(operator, pending, &own).await?),
        }
    }

    /// The agreement with a word that waits, if it is one that counts: of another person, who may still act, about the same finding.
    async fn agreement(&self, pending: &Pending, own: &Word) -> Result<Option<LogAcknowledgement>, Refusal> {
        let Some(waiting) = pending.asked() else { return Ok(None) };
        let known = self.delivery.store().operator(waiting.by()).await.map_err(crate::delivery::store_failure)?;
        let known = known.filter(|known| !known.disabled && !pending.distrusts(&known.id));
        let Some(first) = known else { return Ok(None) };
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
        let redone = self.redo(pending).await?;
        self.switch_off(operator, pending).await?;
        let count = redone.len();
        let evidence = pending.confirm(redone).map_err(|error| unwritten(&error))?;
        Ok(Response::Acknowledgement(view(pending, agreed, (&evidence, count))))
    }

    /// Switches off whom the database has other things registered of than the log: what it was is not known.
    async fn switch_off(&self, operator: &Operator, pending: &Pending) -> Result<(), Refusal> {
        for one in pending.to_redo() {
            let Expected::Registered(id, _) = &one.expected else { continue };
            let Some(client) = self.delivery.store().client(id) else { continue };
            let client = Client { disabled: true, ..(*client).clone() };
            self.delivery.change_client(operator, client, Action::ClientDisable).await?;
        }
        let known = self.delivery.store().operators().await.map_err(crate::delivery::store_failure)?;
        for person in known.iter().filter(|person| !person.disabled && pending.distrusts(&person.id)) {
            self.delivery.disable_operator(operator, &person.id).await?;
        }
        Ok(())
    }

    /// Does again what the log did and rows do not show, so that nothing is open that was closed; answers the marks of what the rows show now.
    async fn redo(&self, pending: &Pending) -> Result<BTreeSet<String>, Refusal> {
        let failed = crate::delivery::store_failure;
        let done = pending.to_redo();
        if done.is_empty() {
            return Ok(BTreeSet::new());
        }
        let reason = "what entries did was not in the rows that decide access";
        let entry = Entry::new(Action::AuditMend, Outcome::Ok).server().reason(reason);
        let again = done.iter().map(|one| (one.expected.clone(), one.at)).collect();
        self.delivery.redo(again, &entry.with("entries", u64::try_from(done.len()).unwrap_or(u64::MAX))).await?;
        let expected = done.iter().map(|one| one.expected.clone()).collect();
        let shown = self.delivery.store().stand(expected).await.map_err(failed)?;
        // One finding may be of several things.
        let (shown, not): (Vec<_>, Vec<_>) = done.iter().zip(shown).partition(|(_, shown)| *shown);
        let marks = |of: Vec<(&ToRedo, bool)>| of.into_iter().map(|(one, _)| one.mark.clone()).collect::<BTreeSet<_>>();
        Ok(marks(shown).difference(&marks(not)).cloned().collect())
    }
}

fn about(entry: Entry, pending: &Pending) -> Entry {
    let found = pending.words().first().cloned().unwrap_or_default();
    entry.with("finding", hex::encode(pending.digest())).with("found", found)
}

fn view(pending: &Pending, agreed: &LogAcknowledgement, (evidence, redone): (&Path, usize)) -> AcknowledgementView {
    AcknowledgementView {
        finding: hex::encode(pending.digest()),
        found: pending.words().to_vec(),
        by: vec![agreed.first().by().to_string(), agreed.second().by().to_string()],
        evidence: evidence.display().to_string(),
        redone,
    }
}

fn unwritten(error: &io::Error) -> Refusal {
    let issue = Issue::new(Code::FolderUnsafe).fill("file", "the folder of the evidence");
    issue
        .fill("fault", format!("cannot be written: {}", error.kind()))
        .fill("cure", "make room, then run it again")
        .into()
}
