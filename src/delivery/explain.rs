//! `daylily explain`: why a file can or cannot be opened now, what became of a link, why a request was refused. Answered from
//! records alone; no content, no patient, no title and no file name is in an answer, whoever asks.

use super::Delivery;
use super::failure::store_failure;
use super::log_view::{LOOKED_AT_MOST, Recorded};
use crate::domain::audit::{Action, Entry, Outcome};
use crate::domain::clock::{Timestamp, write_span};
use crate::domain::epoch::Subject;
use crate::domain::id::{FileId, LinkId, RequestId, ResourceId};
use crate::domain::lifecycle::State;
use crate::domain::link::{LinkError, Purpose, VerifiedLink};
use crate::domain::principal::Operator;
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::domain::resource::{DocumentFacts, FileFacts, Kind, Stored};

/// What is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// A document.
    Document(ResourceId),
    /// A file, by its Binary's id.
    File(FileId),
    /// A request, by its id.
    Request(RequestId),
    /// A link, by the text behind `/d/`.
    Link(String),
}

/// One thing that the records say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// Its name: one word.
    pub name: &'static str,
    /// What is so, in words.
    pub text: String,
    /// When.
    pub at: Option<Timestamp>,
    /// Who.
    pub by: Option<String>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What it is about, as a person may say it on the phone.
    pub subject: String,
    /// Whether the file can be opened now; `None` for a request.
    pub can_open: Option<bool>,
    /// Why not.
    pub code: Option<Code>,
    /// What the records say, in order.
    pub facts: Vec<Fact>,
    /// What to do.
    pub next: Option<String>,
}

fn fact(name: &'static str, text: impl Into<String>) -> Fact {
    Fact { name, text: text.into(), at: None, by: None }
}

impl Fact {
    fn at(mut self, at: Timestamp) -> Self {
        self.at = Some(at);
        self
    }

    fn by(mut self, by: Option<String>) -> Self {
        self.by = by;
        self
    }
}

/// Downloads of one link or document, counted from the log.
#[derive(Debug, Default)]
struct Tries {
    whole: u64,
    broken: u64,
    refused: u64,
    last_whole: Option<Timestamp>,
    last_refused: Option<(Timestamp, String)>,
}

impl Tries {
    /// Entries come newest first.
    fn take(&mut self, entry: &Recorded) {
        match entry.outcome {
            Outcome::Ok if entry.number("begun").is_some() => {
                self.whole += 1;
                self.last_whole = self.last_whole.or(Some(entry.at));
            }
            Outcome::Error => self.broken += 1,
            Outcome::Denied => {
                self.refused += 1;
                let why = entry.subject("code").unwrap_or("refused").to_owned();
                self.last_refused.get_or_insert((entry.at, why));
            }
            Outcome::Ok | Outcome::Attempted => {}
        }
    }

    fn facts(self) -> Vec<Fact> {
        let mut facts = Vec::new();
        let opened =
            fact("opened", format!("{} whole or in part, {} broke off", times(self.whole), times(self.broken)));
        facts.push(self.last_whole.map_or(opened.clone(), |at| opened.at(at)));
        if let Some((at, why)) = self.last_refused {
            facts.push(fact("refused", format!("{}, last with {why}", times(self.refused))).at(at));
        }
        facts
    }
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

impl Delivery {
    /// Answers a question of an operator. Asking is recorded first.
    ///
    /// # Errors
    /// `resource-not-found`; `link-invalid` for a link that was not made here; `audit-unavailable`.
    pub async fn explain(&self, operator: Operator, question: &Question) -> Result<Explanation, Refusal> {
        let entry = Entry::new(Action::ExplainRead, Outcome::Ok).os_user(operator.uid);
        match question {
            Question::Document(id) => {
                self.recorder.record(&entry.resource("DocumentReference", id, 0)).await?;
                let found = self.store.read(Kind::DocumentReference, id, &operator.scope()).await;
                let stored = found.map_err(store_failure)?.ok_or_else(|| not_kept("document"))?;
                self.explain_document(&stored).await
            }
            Question::File(file) => {
                self.recorder.record(&entry.file(*file)).await?;
                let facts = self.store.file(*file).await.map_err(store_failure)?.ok_or_else(|| not_kept("file"))?;
                let Some(document) = &facts.document else {
                    return Ok(unclaimed(*file));
                };
                let found = self.store.read(Kind::DocumentReference, &document.id, &operator.scope()).await;
                let stored = found.map_err(store_failure)?.ok_or_else(|| not_kept("document"))?;
                self.explain_document(&stored).await
            }
            Question::Request(request) => {
                self.recorder.record(&entry.with("asked", request.as_str())).await?;
                self.explain_request(request).await
            }
            Question::Link(token) => {
                let (link, expired) = match self.link_keys().verify(token, Purpose::Download, self.clock.now()) {
                    Ok(link) => (link, false),
                    Err(LinkError::Expired(link)) => (link, true),
                    Err(LinkError::Invalid) => return Err(foreign()),
                };
                self.recorder.record(&entry.link(link.id())).await?;
                self.explain_link(&link, expired).await
            }
        }
    }

    async fn explain_document(&self, stored: &Stored) -> Result<Explanation, Refusal> {
        let document = stored.document.as_ref().ok_or_else(|| not_kept("document"))?;
        let now = self.clock.now();
        let state = document.state_at(now);
        let mut facts = vec![state_fact(document, now)];
        facts.push(fact("rule", rule_words(document)));
        if !stored.files.is_empty() {
            let engines: Vec<&str> = document.decision.scan.iter().map(|engine| engine.name()).collect();
            facts.push(fact("checks", format!("{} must say clean", engines.join(" and "))));
        }
        let steps = self.step_facts(&document.id).await?;
        let created = steps.iter().find_map(|step| step.at);
        facts.extend(steps);
        let mut tries = Tries::default();
        let id = document.id.as_str();
        let mut look = |entry: &Recorded| {
            let opening = matches!(entry.action, Action::LinkRedeem | Action::BinaryRead);
            if opening && entry.subject("document") == Some(id) {
                tries.take(entry);
            }
            // Nobody opened it before it was there.
            created.is_none_or(|created| entry.at >= created)
        };
        let whole = self.newest_first(&mut look).await?;
        facts.extend(tries.facts());
        facts.extend(bound(whole));
        Ok(Explanation {
            subject: format!("DocumentReference/{id}"),
            can_open: Some(state.is_open()),
            code: state.closed_because(),
            facts,
            next: state.closed_because().map(|code| cure(code).to_owned()),
        })
    }

    async fn step_facts(&self, id: &ResourceId) -> Result<Vec<Fact>, Refusal> {
        let scope = Operator { uid: 0 }.scope();
        let steps = self.store.steps(id, &scope).await.map_err(store_failure)?.unwrap_or_default();
        let words = |step: &crate::domain::resource::Step| {
            let text = format!("{} ({})", step.to.as_str(), step.reason);
            fact("step", text).at(step.at).by(Some(step.actor.clone()))
        };
        Ok(steps.iter().map(words).collect())
    }

    async fn explain_link(&self, link: &VerifiedLink, expired: bool) -> Result<Explanation, Refusal> {
        let facts = self.store.file(link.claims().file).await.map_err(store_failure)?;
        let document = facts.as_ref().and_then(|facts| facts.document.as_ref());
        let now = self.clock.now();
        let code = self.link_ends(link, expired, facts.as_deref(), now);
        let mut said = vec![fact("link", link_words(link.id(), document))];
        let (made, tries, whole) = self.of_link(link.id()).await?;
        said.extend(made);
        let worked = if expired { "worked" } else { "works" };
        said.push(fact(worked, "until").at(link.claims().expires));
        said.extend(tries.facts());
        if let Some(document) = document {
            said.push(Fact { name: "file", ..state_fact(document, now) });
            said.push(fact("rule", rule_words(document)));
        }
        said.extend(bound(whole));
        Ok(Explanation {
            subject: format!("link {}", link.id()),
            can_open: Some(code.is_none()),
            code,
            facts: said,
            next: code.map(|code| cure(code).to_owned()),
        })
    }

    /// Why a link does not open now, in the order of the contract's table.
    fn link_ends(&self, link: &VerifiedLink, expired: bool, facts: Option<&FileFacts>, now: Timestamp) -> Option<Code> {
        let Some(document) = facts.and_then(|facts| facts.document.as_ref()) else { return Some(Code::LinkInvalid) };
        if expired {
            return Some(Code::LinkExpired);
        }
        let reader = link.claims().reader;
        let subject = Subject { reader, document: document.number, patient: document.patient };
        let revoked = self.store.epochs().revoked_at(&subject, link.claims().epoch, link.id()).is_some();
        if revoked || self.store.client_by_number(reader).is_some_and(|client| client.disabled) {
            return Some(Code::LinkRevoked);
        }
        document.state_at(now).closed_because()
    }

    /// Who was given a link, and what became of it.
    async fn of_link(&self, id: &LinkId) -> Result<(Option<Fact>, Tries, bool), Refusal> {
        let (mut made, mut tries) = (None, Tries::default());
        let mut look = |entry: &Recorded| {
            if entry.subject("link") == Some(id.as_str()) {
                match entry.action {
                    Action::LinkRedeem => tries.take(entry),
                    Action::LinkIssue if entry.outcome == Outcome::Ok => {
                        made = Some(fact("made", "by $issue-link").at(entry.at).by(entry.actor()));
                        // Nothing of a link is older than itself.
                        return false;
                    }
                    _ => {}
                }
            } else if entry.offered(id.as_str()) {
                // The oldest offer of the same text is when it was made.
                made = Some(fact("made", "offered in a read or search").at(entry.at).by(entry.actor()));
            }
            true
        };
        let whole = self.newest_first(&mut look).await?;
        Ok((made, tries, whole))
    }

    async fn explain_request(&self, request: &RequestId) -> Result<Explanation, Refusal> {
        let (mut facts, mut code) = (Vec::new(), None);
        let mut look = |entry: &Recorded| {
            if entry.request() == Some(request.as_str()) {
                facts.push(request_fact(entry));
                code = code.or_else(|| entry.subject("code").and_then(Code::from_name));
            }
            true
        };
        let whole = self.newest_first(&mut look).await?;
        if facts.is_empty() {
            let issue = Issue::new(Code::ResourceNotFound).message_text("no entry has this request id");
            let cure = "look for it in the log lines: refusals without a known caller are counted there and in the record, \
                not recorded one by one";
            return Err(issue.cure_text(cure).into());
        }
        facts.reverse();
        if let Some(code) = code {
            facts.push(fact("means", code.entry().message));
        }
        facts.extend(bound(whole));
        Ok(Explanation {
            subject: format!("request {request}"),
            can_open: None,
            code,
            facts,
            next: code.map(|code| cure(code).to_owned()),
        })
    }
}

/// What one entry says of its request: what was done to what, and how it ended.
fn request_fact(entry: &Recorded) -> Fact {
    let about = match (entry.subject("document"), entry.subject("resource"), entry.subject("link")) {
        (Some(document), _, _) => format!(" of DocumentReference/{document}"),
        (None, Some(resource), _) => format!(" of {resource}"),
        (None, None, Some(link)) => format!(" of link {link}"),
        (None, None, None) => String::new(),
    };
    let code = entry.subject("code").map(|code| format!(", {code}")).unwrap_or_default();
    let text = format!("{}{about}: {}{code}", entry.action.code(), entry.outcome.code());
    fact("entry", text).at(entry.at).by(entry.actor())
}

fn state_fact(document: &DocumentFacts, now: Timestamp) -> Fact {
    let state = document.state_at(now);
    let until = match (state, document.due) {
        (State::Ready | State::Delivered, Some(due)) => format!(", can be opened until {due}"),
        (State::Purged, _) | (_, None) => String::new(),
        (State::Created, Some(due)) => format!(", held back or destroyed at {due} if nothing changes"),
        (_, Some(due)) => format!(", destroyed from {due} on"),
    };
    fact("state", format!("{state}{until}")).at(document.since)
}

fn rule_words(document: &DocumentFacts) -> String {
    let decision = &document.decision;
    let (keep, link) = (write_span(decision.retain), write_span(decision.link.lifetime));
    let uses = match decision.link.uses {
        0 => "any number of uses".to_owned(),
        count => times(count.into()),
    };
    format!("{}: kept {keep}, links last {link}, {uses}", decision.rule)
}

fn link_words(id: &LinkId, document: Option<&DocumentFacts>) -> String {
    match document {
        Some(document) => format!("{id} for DocumentReference/{}, version {}", document.id, document.version),
        None => format!("{id} for a file that is not kept here any more"),
    }
}

fn bound(whole: bool) -> Option<Fact> {
    let text = format!("only the newest {LOOKED_AT_MOST} entries were looked at; `daylily audit export` has all");
    (!whole).then(|| fact("record", text))
}

fn unclaimed(file: FileId) -> Explanation {
    Explanation {
        subject: format!("Binary/{file}"),
        can_open: Some(false),
        code: Some(Code::ContentNotReady),
        facts: vec![fact(
            "file",
            "no document names it yet; its creator alone may read it, and it is destroyed if none does",
        )],
        next: Some("create the DocumentReference that names it".to_owned()),
    }
}

fn cure(code: Code) -> &'static str {
    code.entry().cure
}

fn not_kept(what: &str) -> Refusal {
    let issue = Issue::new(Code::ResourceNotFound).message_text(format!("no {what} has this id here"));
    issue.cure_text("copy the id from the DocumentReference, or find it in `daylily audit export`").into()
}

fn foreign() -> Refusal {
    let issue = Issue::new(Code::LinkInvalid).message_text("this link was not made here");
    issue.cure_text("paste the whole link, as it was handed out; one letter more or less makes it another").into()
}
