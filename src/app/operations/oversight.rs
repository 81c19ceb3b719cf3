//! `operator …`, `quarantine …`, `hold …`.

use super::Commands;
use crate::control::{ApprovalView, HoldView, OperatorView, QuarantineView, Response, Secret, VerdictView};
use crate::domain::clock::Timestamp;
use crate::domain::id::{OperatorId, ResourceId};
use crate::domain::lifecycle::{State, held_back_for};
use crate::domain::operator::{ASSENT_HOLDS, Role};
use crate::domain::principal::Operator;
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::domain::text::is_plain;
use crate::store::{Hold, Quarantined, StoredOperator};

/// Longest reason or name of an authority, in bytes: it is kept for ever.
const LONGEST_WORDS: usize = 2_000;

impl Commands {
    pub(super) async fn operator_add(
        &self,
        operator: &Operator,
        (id, role): (&str, &str),
        password: &Secret,
    ) -> Result<Response, Refusal> {
        let id = OperatorId::parse(id)
            .ok_or_else(|| wrong("--id", "must be 1 to 64 of A-Z a-z 0-9 . _ -", "write it like `--id anna.berg`"))?;
        let role = Role::parse(role)
            .ok_or_else(|| wrong("--role", "is not known", "use operator, security, privacy or auditor"))?;
        let password = self.door.hash(password, self.delivery.entropy.as_ref()).await?;
        let new = StoredOperator { id, role, password, disabled: false, created: self.delivery.now() };
        let view = operator_view(&new);
        self.delivery.add_operator(operator, new).await?;
        Ok(Response::Operator(view))
    }

    pub(super) async fn operator_list(&self) -> Result<Response, Refusal> {
        let all = self.delivery.store().operators().await.map_err(crate::delivery::store_failure)?;
        Ok(Response::Operators { operators: all.iter().map(operator_view).collect() })
    }

    pub(super) async fn operator_disable(&self, operator: &Operator, id: &str) -> Result<Response, Refusal> {
        let id = OperatorId::parse(id)
            .ok_or_else(|| wrong("ID", "is not an operator's id", "see `daylily operator list`"))?;
        self.delivery.disable_operator(operator, &id).await?;
        let now = self.delivery.store().operator(&id).await.map_err(crate::delivery::store_failure)?;
        now.map(|now| Response::Operator(operator_view(&now))).ok_or_else(|| Refusal::of(Code::ServerFault))
    }

    pub(super) async fn quarantine_list(&self, operator: &Operator) -> Result<Response, Refusal> {
        let (rows, more) = self.delivery.quarantine(operator).await?;
        let now = self.delivery.now();
        Ok(Response::Quarantines { quarantined: rows.iter().map(|row| quarantine_view(row, now)).collect(), more })
    }

    pub(super) async fn quarantine_show(&self, operator: &Operator, document: &str) -> Result<Response, Refusal> {
        let held = self.delivery.quarantined(operator, &document_id(document)?).await?;
        Ok(Response::Quarantine(quarantine_view(&held, self.delivery.now())))
    }

    pub(super) async fn quarantine_release(
        &self,
        operator: &Operator,
        (document, reason): (&str, &str),
    ) -> Result<Response, Refusal> {
        let (id, reason) = (document_id(document)?, words("--reason", reason)?);
        let released = self.delivery.release_quarantined(operator, &id, reason).await?;
        Ok(Response::Verdict(VerdictView {
            document: reference(&id),
            state: State::Ready.as_str().to_owned(),
            files: 0,
            released_by: released.by.iter().map(ToString::to_string).collect(),
        }))
    }

    pub(super) async fn quarantine_purge(
        &self,
        operator: &Operator,
        (document, reason): (&str, &str),
        preview: bool,
    ) -> Result<Response, Refusal> {
        let (id, reason) = (document_id(document)?, words("--reason", reason)?);
        let files = self.delivery.purge_quarantined(operator, &id, (reason, preview)).await?;
        let state = if preview { State::Quarantined } else { State::Purged };
        let (document, state) = (reference(&id), state.as_str().to_owned());
        Ok(Response::Verdict(VerdictView { document, state, files, released_by: Vec::new() }))
    }

    pub(super) async fn hold_list(&self, operator: &Operator) -> Result<Response, Refusal> {
        let (rows, more) = self.delivery.holds(operator).await?;
        Ok(Response::Holds { holds: rows.into_iter().map(|hold| hold_view(hold, true)).collect(), more })
    }

    pub(super) async fn hold_add(
        &self,
        operator: &Operator,
        (document, reason): (&str, &str),
        authority: Option<&str>,
    ) -> Result<Response, Refusal> {
        let (id, reason) = (document_id(document)?, words("--reason", reason)?);
        let authority = authority.map(|authority| words("--authority", authority)).transpose()?;
        Ok(Response::Hold(hold_view(self.delivery.add_hold(operator, &id, (reason, authority)).await?, true)))
    }

    pub(super) async fn hold_release(
        &self,
        operator: &Operator,
        (document, reason): (&str, &str),
        hold: Option<&str>,
    ) -> Result<Response, Refusal> {
        let (id, reason) = (document_id(document)?, words("--reason", reason)?);
        let number = |text: &str| text.strip_prefix("hd_").and_then(|number| number.parse().ok());
        let number = match hold {
            Some(text) => {
                Some(number(text).ok_or_else(|| wrong("--hold", "is no hold's id", "write it like `--hold hd_7`"))?)
            }
            None => None,
        };
        Ok(Response::Hold(hold_view(self.delivery.release_hold(operator, &id, (reason, number)).await?, false)))
    }
}

fn wrong(flag: &str, fault: &str, cure: &str) -> Refusal {
    Issue::new(Code::FlagMalformed).fill("flag", flag).fill("fault", fault).fill("cure", cure).into()
}

fn words<'a>(flag: &str, text: &'a str) -> Result<&'a str, Refusal> {
    match text.trim() {
        "" => Err(wrong(flag, "must say something", "write it like `--reason \"ticket 4711\"`")),
        text if text.len() > LONGEST_WORDS => Err(wrong(flag, "is too long", "say it in 2,000 bytes")),
        text => plain(flag, text),
    }
}

/// Words that are kept and shown: one line of text, which drives no terminal.
pub(super) fn plain<'a>(flag: &str, text: &'a str) -> Result<&'a str, Refusal> {
    let cure = "write it as plain words";
    if is_plain(text) { Ok(text) } else { Err(wrong(flag, "must be one line without control characters", cure)) }
}

fn document_id(reference: &str) -> Result<ResourceId, Refusal> {
    let id = ResourceId::parse(reference.strip_prefix("DocumentReference/").unwrap_or(reference));
    id.ok_or_else(|| wrong("REF", "must be a reference", "write it like DocumentReference/9f31"))
}

fn reference(id: &ResourceId) -> String {
    format!("DocumentReference/{id}")
}

fn operator_view(operator: &StoredOperator) -> OperatorView {
    OperatorView {
        id: operator.id.to_string(),
        role: operator.role.as_str().to_owned(),
        disabled: operator.disabled,
        created: operator.created.to_string(),
    }
}

fn quarantine_view(held: &Quarantined, now: Timestamp) -> QuarantineView {
    let (code, finding) = held_back_for(&held.reason).unwrap_or((Code::ScanDetected, None));
    let waiting = held.approvals.iter().filter(|approval| now < approval.at.plus(ASSENT_HOLDS));
    // The engine's name is the first word of the place.
    let (engine, place) = match held.evidence.as_ref().map(|found| found.place.as_str()) {
        Some(text) => text.split_once(' ').map_or((Some(text), None), |(engine, place)| (Some(engine), Some(place))),
        None => (None, None),
    };
    QuarantineView {
        document: reference(&held.id),
        code: code.name().to_owned(),
        finding: finding.map(|finding| finding.name().to_owned()),
        words: finding.map_or("no verdict came in time", |finding| finding.words()).to_owned(),
        engine: engine.map(str::to_owned),
        place: place.filter(|place| !place.is_empty()).map(str::to_owned),
        since: held.subject.since.to_string(),
        due: held.due.map(|due| due.to_string()),
        rule: held.decision.rule.clone(),
        allow_override: held.decision.allow_override,
        held: held.held,
        approvals: waiting
            .map(|approval| ApprovalView {
                by: approval.by.to_string(),
                reason: approval.reason.clone(),
                until: approval.at.plus(ASSENT_HOLDS).to_string(),
            })
            .collect(),
    }
}

fn hold_view(hold: Hold, active: bool) -> HoldView {
    HoldView {
        hold: format!("hd_{}", hold.number),
        document: reference(&hold.id),
        authority: hold.laid.authority,
        reason: hold.laid.reason,
        by: hold.laid.actor,
        at: hold.laid.at.to_string(),
        active,
    }
}
