//! `explain`: what was asked, read, and the answer as the socket carries it.

use super::Commands;
use crate::control::{ExplainQuestion, ExplanationView, FactView, Response};
use crate::delivery::explain::{Explanation, Question};
use crate::domain::id::{FileId, RequestId, ResourceId};
use crate::domain::principal::Operator;
use crate::domain::refusal::{Code, Issue, Refusal};

impl Commands {
    pub(super) async fn explain(&self, uid: u32, asked: &ExplainQuestion) -> Result<Response, Refusal> {
        let question = question(asked)?;
        let told = self.delivery.explain(Operator { uid }, &question).await?;
        Ok(Response::Explanation(view(told)))
    }
}

fn question(asked: &ExplainQuestion) -> Result<Question, Refusal> {
    let read = match asked {
        ExplainQuestion::Reference(text) => match text.split_once('/') {
            Some(("DocumentReference", id)) => ResourceId::parse(id).map(Question::Document),
            Some(("Binary", id)) => FileId::parse(id).map(Question::File),
            _ => None,
        },
        ExplainQuestion::Request(text) => RequestId::parse(text).map(Question::Request),
        ExplainQuestion::Link(text) => {
            Some(Question::Link(text.trim().rsplit('/').next().unwrap_or_default().to_owned()))
        }
    };
    read.ok_or_else(|| {
        let issue = Issue::new(Code::FlagMalformed).fill("flag", "what to explain");
        let issue = issue.fill("fault", "must be a reference, a request id or `-`");
        issue.fill("cure", "write it like DocumentReference/9f31; a link goes to standard input, with `-`").into()
    })
}

fn view(told: Explanation) -> ExplanationView {
    let facts = told.facts.into_iter().map(|fact| FactView {
        name: fact.name.to_owned(),
        text: fact.text,
        at: fact.at.map(|at| at.to_string()),
        by: fact.by,
    });
    ExplanationView {
        subject: told.subject,
        can_open: told.can_open,
        code: told.code.map(|code| code.name().to_owned()),
        facts: facts.collect(),
        next: told.next,
    }
}
