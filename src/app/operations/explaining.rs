//! `clock confirm` and `explain`: from the wire to the use cases and back.

use super::Commands;
use crate::control::{ClockView, ExplainAim, ExplanationView, FactView, LoopView, Response};
use crate::delivery::{Ailment, Explanation, Question, clock_issue};
use crate::domain::clock_watch::Standing;
use crate::domain::id::{FileId, LinkId, ResourceId};
use crate::domain::principal::Operator;
use crate::domain::refusal::{Code, Issue, Refusal};

impl Commands {
    pub(super) fn loops(&self) -> Response {
        let ailing = self.delivery.loops().ailing().into_iter().map(|(which, ailment)| {
            let (failures, silent) = match ailment {
                Ailment::Failing(failures) => (Some(failures), None),
                Ailment::Silent(silent) => (None, Some(silent.as_secs())),
            };
            LoopView { name: which.name().to_owned(), failures, silent }
        });
        Response::Loops { ailing: ailing.collect() }
    }

    pub(super) fn clock(&self) -> Response {
        let standing = self.delivery.clock_standing().unwrap_or(Standing::Sound);
        Response::Clock(clock_view(standing, false))
    }

    pub(super) async fn confirm_clock(&self, operator: &Operator, reason: &str) -> Result<Response, Refusal> {
        let confirmed = self.delivery.confirm_clock(operator, reason).await?;
        Ok(Response::Clock(clock_view(confirmed.before, confirmed.lowered)))
    }

    pub(super) async fn explain(&self, operator: &Operator, aim: ExplainAim) -> Result<Response, Refusal> {
        let question = question(aim)?;
        let explanation = self.delivery.explain(operator, &question).await?;
        Ok(Response::Explanation(view(explanation)))
    }
}

fn question(aim: ExplainAim) -> Result<Question, Refusal> {
    match aim {
        ExplainAim::Link(text) => Ok(Question::Link(text)),
        ExplainAim::Request(id) => Ok(Question::Request(id)),
        ExplainAim::Reference(text) => {
            let document = text.strip_prefix("DocumentReference/").and_then(ResourceId::parse).map(Question::Document);
            let file = || text.strip_prefix("Binary/").and_then(FileId::parse).map(Question::File);
            let link = || LinkId::parse(&text).map(Question::Reference);
            document.or_else(file).or_else(link).ok_or_else(|| {
                let issue = Issue::new(Code::ResourceNotFound).message_text("nothing here has this reference");
                issue.cure_text("write it like DocumentReference/9f31, Binary/… or lk_…").into()
            })
        }
    }
}

fn clock_view(standing: Standing, links_withdrawn: bool) -> ClockView {
    let issue = clock_issue(standing);
    let standing = match standing {
        Standing::Sound => "sound",
        Standing::Settling { .. } => "settling",
        Standing::Jumped(_) => "jumped",
        Standing::Behind { .. } => "behind",
    };
    let said = issue.map(|issue| issue.message().to_owned());
    ClockView { standing: standing.to_owned(), said, links_withdrawn }
}

fn view(explanation: Explanation) -> ExplanationView {
    let fact = |fact: crate::delivery::Fact| FactView {
        name: fact.name.to_owned(),
        at: fact.at.map(|at| at.to_string()),
        by: fact.by,
        text: fact.text,
    };
    let issue = explanation.issue;
    ExplanationView {
        can_open: explanation.can_open,
        code: issue.as_ref().map(|issue| issue.code().name().to_owned()),
        message: issue.as_ref().map(|issue| issue.message().to_owned()),
        cure: issue.map(|issue| issue.cure().to_owned()),
        facts: explanation.facts.into_iter().map(fact).collect(),
        whole: explanation.whole,
    }
}
