//! `explain`: why a file can or cannot be opened now, what became of a link, what a request was; from records, without content, and
//! without patient, title or file name. Values only: the words of a terminal are in `cli`.

mod record;
mod trail;
mod withdrawals;

use std::net::{IpAddr, Ipv4Addr};

use self::record::Record;
use self::trail::{Seen, Trail};
use self::withdrawals::Concerned;
use super::Delivery;
use super::clock_rules::clock_issue;
use super::counting::UsesNow;
use super::failure::store_failure;
use super::judged::Judged;
use crate::domain::audit::cell::Cells;
use crate::domain::audit::{Action, Entry, Group, Leaf, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::id::{FileId, LinkId, ResourceId};
use crate::domain::lifecycle::State;
use crate::domain::link::MAX_AHEAD;
use crate::domain::link::{LinkError, VerifiedLink};
use crate::domain::principal::Operator;
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::domain::resource::{DocumentFacts, Kind, Step};
use crate::store::{AuditRow, Hold, LinkRow};

/// Entries of the log that are looked at, newest first.
const LOOKED_AT_MOST: usize = 200_000;
/// Entries read at once.
const PAGE: usize = 1_000;
/// Lines of one explanation that come from the log.
const LINES_MOST: usize = 50;

/// An address that no network is bound to.
const ANYWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// What is to be explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// A document.
    Document(ResourceId),
    /// A file.
    File(FileId),
    /// A link, by its token.
    Link(String),
    /// A link, by the reference that pages show.
    Reference(LinkId),
    /// A request, by the id in its answer.
    Request(String),
}

/// One line of an explanation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fact {
    /// What it is about: `made`, `state`, ….
    pub name: &'static str,
    /// When.
    pub at: Option<Timestamp>,
    /// Who: `client/ID`, `os:UID`, `server`.
    pub by: Option<String>,
    /// The rest.
    pub text: String,
}

/// An explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Whether it can be opened now; `None` for a request.
    pub can_open: Option<bool>,
    /// Why not, or why the request was refused, with its cure.
    pub issue: Option<Issue>,
    /// What is known, in order.
    pub facts: Vec<Fact>,
    /// Whether the whole log was looked at as far as it matters; `false`: older entries were not.
    pub whole: bool,
}

impl Delivery {
    /// Explains, and records that it was asked.
    ///
    /// # Errors
    /// `resource-not-found` for what is not there, `link-invalid` for a link of another server, `audit-unavailable`.
    pub async fn explain(&self, operator: &Operator, question: &Question) -> Result<Explanation, Refusal> {
        let entry = Entry::new(Action::ExplainRead, Outcome::Ok).by(operator);
        match question {
            Question::Document(id) => {
                self.recorder.record(&entry.resource("DocumentReference", id, 0)).await?;
                self.explain_document(operator, id).await
            }
            Question::File(file) => {
                self.recorder.record(&entry.file(*file)).await?;
                self.explain_file(operator, *file).await
            }
            Question::Link(token) => {
                let link = self.own_link(token);
                let entry = match &link {
                    Some((link, _)) => entry.link(link.id()).file(link.claims().file),
                    None => entry.with("asked", "a link of another server"),
                };
                self.recorder.record(&entry).await?;
                let (link, expired) = link.ok_or_else(not_ours)?;
                self.explain_link(&Judged::by_text((&link, expired))).await
            }
            Question::Reference(id) => {
                let given = self.given(id).await?;
                let entry = given.iter().fold(entry.link(id), |entry, given| entry.file(given.file));
                self.recorder.record(&entry).await?;
                self.explain_link(&Judged::given(&given.ok_or_else(not_given)?, self.clock.now())).await
            }
            Question::Request(id) => {
                self.recorder.record(&entry.with("asked", id.as_str())).await?;
                self.explain_request(id).await
            }
        }
    }

    fn own_link(&self, token: &str) -> Option<(VerifiedLink, bool)> {
        // As a browser shows it: what follows the path means nothing to a link.
        let token = token.trim().split(['?', '#']).next().unwrap_or_default();
        let token = token.rsplit('/').next().unwrap_or(token);
        match self.link_keys().verify_any(token, self.clock.now()) {
            Ok(link) => Some((link, false)),
            Err(LinkError::Expired(link)) => Some((link, true)),
            Err(LinkError::Invalid) => None,
        }
    }

    async fn explain_document(&self, operator: &Operator, id: &ResourceId) -> Result<Explanation, Refusal> {
        let (explained, fits) = self.document_as_recorded(operator, id).await?;
        if fits {
            return Ok(explained);
        }
        // It may have changed between the entries and the rows.
        let (mut explained, fits) = self.document_as_recorded(operator, id).await?;
        explained.facts.extend((!fits).then(Record::contradiction));
        Ok(explained)
    }

    /// What the rows say of a document, and whether the log says the same.
    async fn document_as_recorded(&self, operator: &Operator, id: &ResourceId) -> Result<(Explanation, bool), Refusal> {
        let scope = operator.scope();
        let (mut record, mut trail) = (Record::of(id), Trail::default());
        let subject = self.store.read(Kind::DocumentReference, id, &scope).await.map_err(store_failure)?;
        let subject = subject.and_then(|stored| stored.document?.subject).map(|subject| subject.0);
        let about = Concerned { document: Some(id.as_str()), patient: subject.as_deref(), client: None };
        let looked = self
            .look_at_log(&mut |seen| {
                trail.take_of(seen, about);
                record.take(seen)
            })
            .await?;
        let found = self.store.read(Kind::DocumentReference, id, &scope).await.map_err(store_failure)?;
        let document = found.and_then(|stored| stored.document).ok_or_else(nothing)?;
        let now = self.clock.now();
        let issue = self.closed(&document, now).map(|refusal| for_operators(refusal.first(), &document));
        let mut facts = self.document_facts(&document, now);
        let holds = self.store.holds(Some(document.number), LINES_MOST).await.map_err(store_failure)?;
        facts.extend(holds.iter().map(hold_fact));
        let steps = self.store.steps(id, &scope).await.map_err(store_failure)?.unwrap_or_default();
        facts.extend(steps.iter().map(step_fact));
        facts.extend(trail.lines());
        let held = u64::try_from(holds.len()).unwrap_or(u64::MAX);
        // More holds than are listed cannot be counted here.
        let fits = holds.len() >= LINES_MOST || record.fits(document.state, &steps, held);
        facts.extend(looked.distrust());
        Ok((Explanation { can_open: Some(issue.is_none()), issue, facts, whole: looked.whole }, fits))
    }

    async fn explain_file(&self, operator: &Operator, file: FileId) -> Result<Explanation, Refusal> {
        let facts = self.store.file(file).await.map_err(store_failure)?.ok_or_else(nothing)?;
        if let Some(document) = &facts.document {
            return self.explain_document(operator, &document.id).await;
        }
        let by = self.store.client_by_number(facts.owner).map(|client| format!("client/{}", client.id));
        let text = "no document claims it: its client alone may read it, and it is destroyed soon".to_owned();
        let fact = Fact { name: "file", at: Some(facts.created), by, text };
        Ok(Explanation { can_open: Some(true), issue: None, facts: vec![fact], whole: true })
    }

    fn document_facts(&self, document: &DocumentFacts, now: Timestamp) -> Vec<Fact> {
        let decision = &document.decision;
        let state = document.state_at(now);
        let owner = self.store.client_by_number(document.owner).map(|client| format!("client/{}", client.id));
        let reference = format!("DocumentReference/{}, version {}", document.id, document.version);
        let engines: Vec<&str> = decision.scan.iter().map(|engine| engine.name()).collect();
        let mut facts = vec![
            Fact { name: "document", by: owner, text: reference, ..Fact::default() },
            Fact { name: "state", at: Some(document.since), text: state.to_string(), ..Fact::default() },
            Fact { name: "rule", text: decision.rule.clone(), ..Fact::default() },
            Fact { name: "scan", text: format!("engines asked for: {}", engines.join(", ")), ..Fact::default() },
        ];
        if let Some(due) = document.due {
            let fact = Fact { name: "due", at: Some(due), text: next_step(state).to_owned(), ..Fact::default() };
            facts.push(fact);
        }
        let clock = self.clock_standing().and_then(clock_issue);
        facts.extend(clock.map(|issue| Fact { name: "clock", text: issue.message().to_owned(), ..Fact::default() }));
        facts
    }

    async fn explain_link(&self, link: &Judged<'_>) -> Result<Explanation, Refusal> {
        let file = self.store.file(link.file).await.map_err(store_failure)?;
        let (row, uses) = self.row_and_uses(link, file.as_ref().map_or(0, |facts| facts.size)).await?;
        let issue = match &file {
            Some(facts) => {
                // Asked from within the network that it is bound to: whoever explains is elsewhere.
                let within = row.as_ref().and_then(|row| row.network).map_or(ANYWHERE, |network| network.addr());
                self.link_closed(link, row.as_ref(), facts, within).map(|refusal| refusal.first().clone())
            }
            None => Some(Issue::new(Code::ContentPurged).fill("when", self.clock.now())),
        };
        let issue = issue.or_else(|| uses.refusal.as_ref().map(|refusal| refusal.first().clone()));
        // A confirmed link is recorded as the one that was confirmed.
        let id = row.as_ref().map_or(link.id, |row| &row.id);
        let mut trail = Trail::default();
        let oldest = link.expires.minus(MAX_AHEAD);
        let reader = self.store.client_by_number(link.reader);
        let document = file.as_ref().and_then(|facts| facts.document.as_ref());
        let about = Concerned {
            document: document.map(|document| document.id.as_str()),
            patient: document.and_then(|document| document.subject.as_ref()).map(|subject| subject.0.as_str()),
            client: reader.as_ref().map(|client| client.id.as_str()),
        };
        let looked = self.look_at_log(&mut |seen| trail.take(seen, (id, about), oldest)).await?;
        let by = reader.map(|client| format!("client/{}", client.id));
        let mut facts = vec![Fact { name: "link", by, text: id.to_string(), ..Fact::default() }];
        facts.extend(row.as_ref().into_iter().flat_map(|row| terms_of(row, &uses)));
        facts.extend(trail.made.take());
        let until = Fact { name: "until", at: Some(link.expires), ..Fact::default() };
        facts.push(until);
        facts.extend(trail.lines());
        if let Some(document) = file.as_ref().and_then(|facts| facts.document.as_ref()) {
            facts.extend(self.document_facts(document, self.clock.now()));
        }
        facts.extend(looked.distrust());
        Ok(Explanation { can_open: Some(issue.is_none()), issue, facts, whole: looked.whole })
    }

    /// What a link with a row says, and where its uses stand.
    async fn row_and_uses(&self, link: &Judged<'_>, size: u64) -> Result<(Option<LinkRow>, UsesNow), Refusal> {
        let Some(number) = link.row else { return Ok((None, UsesNow::default())) };
        let row = self.store.link(number).await.map_err(store_failure)?;
        let Some(row) = row.filter(|row| link.has(row)) else { return Ok((None, UsesNow::default())) };
        let uses = if row.uses > 0 { self.uses_now(&row, size, None).await? } else { UsesNow::default() };
        Ok((Some(row), uses))
    }

    async fn explain_request(&self, id: &str) -> Result<Explanation, Refusal> {
        let (mut facts, mut issue) = (Vec::new(), None);
        let looked = self
            .look_at_log(&mut |seen| {
                if seen.tech("request") != Some(id) {
                    return facts.len() < LINES_MOST;
                }
                let code = seen.text("code").and_then(Code::from_name);
                if seen.outcome == Outcome::Denied || seen.outcome == Outcome::Error {
                    issue = issue.take().or(code.map(general));
                }
                facts.push(Fact { name: "request", at: Some(seen.at), by: seen.by(), text: seen.what() });
                facts.len() < LINES_MOST
            })
            .await?;
        if facts.is_empty() {
            let issue = Issue::new(Code::ResourceNotFound).message_text("no entry of the record has this request id");
            let cure =
                "copy it from the answer's X-Request-Id; refusals of unknown callers are counted, not kept one by one";
            return Err(issue.cure_text(cure).into());
        }
        facts.reverse();
        facts.extend(looked.distrust());
        Ok(Explanation { can_open: None, issue, facts, whole: looked.whole })
    }

    /// Shows entries, newest first, until `take` has enough. What is not there, or not what was recorded, is noted and not shown.
    async fn look_at_log(&self, take: &mut (dyn FnMut(&Seen) -> bool + Send)) -> Result<Looked, Refusal> {
        let mut end = self.store.audit_head().await.map_err(store_failure)?.size;
        let mut looked = Looked { whole: true, wrong: None };
        let mut count = 0;
        while end > 0 {
            looked.whole = count < LOOKED_AT_MOST;
            if !looked.whole {
                break;
            }
            let rows = self.store.audit_rows_before(end, PAGE).await.map_err(store_failure)?;
            let first = rows.first().map_or(0, |row| row.seq);
            count += rows.len();
            for row in rows.iter().rev() {
                end = end.saturating_sub(1);
                if row.seq != end {
                    looked.wrong = looked.wrong.or(Some(end));
                    end = row.seq;
                }
                match self.seen(row) {
                    Some(seen) if !take(&seen) => return Ok(looked),
                    Some(_) => {}
                    None => looked.wrong = looked.wrong.or(Some(row.seq)),
                }
            }
            if end > first {
                looked.wrong = looked.wrong.or(Some(end - 1));
            }
            end = first;
        }
        Ok(looked)
    }

    /// An entry as it was recorded; `None` where it is not.
    fn seen(&self, row: &AuditRow) -> Option<Seen> {
        let key = self.recorder.cell_key();
        let (leaf, cells) = (Leaf::decode(&row.body).ok()?, Cells::decode(&row.cells)?);
        let open = |group| cells.open(group, key).unwrap_or_default();
        row.fault(key).is_none().then(|| Seen {
            at: Timestamp::from_millis(i64::try_from(leaf.time_micros / 1_000).unwrap_or(i64::MAX)),
            action: leaf.action,
            outcome: leaf.outcome,
            actor: open(Group::Actor),
            subject: open(Group::Subject),
            tech: open(Group::Tech),
        })
    }
}

/// How the record was looked at.
struct Looked {
    /// As far as it matters; `false`: older entries were not.
    whole: bool,
    /// The newest entry that is not there, or not what was recorded.
    wrong: Option<u64>,
}

impl Looked {
    /// What is said where the record cannot be relied on.
    fn distrust(&self) -> Option<Fact> {
        let text =
            |seq| format!("entry {seq} is not what was recorded: do not rely on this; see `daylily audit verify`");
        self.wrong.map(|seq| Fact { name: "record", text: text(seq), ..Fact::default() })
    }
}

/// A step without the words of whoever asked for it, which may name anything.
fn step_fact(step: &Step) -> Fact {
    let from = step.from.map_or_else(String::new, |from| format!("{from} → "));
    let reason = if step.reason.starts_with("revoked:") { "revoked" } else { &step.reason };
    let reason = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
    let text = format!("{from}{}{reason}", step.to);
    Fact { name: "step", at: Some(step.at), by: Some(step.actor.clone()), text }
}

/// A hold, without the words of whoever laid it.
fn hold_fact(hold: &Hold) -> Fact {
    let text = format!("hd_{}, nothing is destroyed", hold.number);
    Fact { name: "hold", at: Some(hold.laid.at), by: Some(hold.laid.actor.clone()), text }
}

/// What happens to a document by itself when it is due.
fn next_step(state: State) -> &'static str {
    match state {
        State::Created | State::Scanned => "without a verdict it is held back; without bytes, destroyed",
        State::Ready | State::Delivered => "it expires",
        State::Quarantined | State::Expired | State::Revoked | State::Purged => "it is destroyed",
    }
}

/// Why a document is closed, for those who may do something about it.
fn for_operators(issue: &Issue, document: &DocumentFacts) -> Issue {
    match document.state {
        State::Quarantined => {
            issue.clone().cure_text(format!("See `daylily quarantine show DocumentReference/{}`.", document.id))
        }
        _ => issue.clone(),
    }
}

/// What a code means whatever the request was: the record keeps the code, not what the answer's words were filled with.
fn general(code: Code) -> Issue {
    let issue = Issue::new(code);
    let (has_gap, cure_has_gap) = (issue.message().contains('{'), issue.cure().contains('{'));
    let issue = if has_gap { issue.message_text("") } else { issue };
    if cure_has_gap { issue.cure_text(format!("See /errors/{} on this server.", code.name())) } else { issue }
}

fn nothing() -> Refusal {
    let issue = Issue::new(Code::ResourceNotFound).message_text("nothing here has this id");
    issue.cure_text("write it like DocumentReference/9f31 or Binary/…, as the answer had it").into()
}

fn not_ours() -> Refusal {
    let issue = Issue::new(Code::LinkInvalid).message_text("this link was not made here");
    issue.cure_text("paste the whole link, as it was handed out, on the server that made it").into()
}

/// What is not in the index may have been a link all the same: only its text says more.
fn not_given() -> Refusal {
    let issue = Issue::new(Code::ResourceNotFound).message_text("no link that can be open has this reference");
    let cure =
        "its time is over, its file was destroyed, or it was mistyped; with the link itself, give `daylily explain -`";
    issue.cure_text(cure).into()
}

/// The terms of a link with a row: its uses, where it works, whether a person must press a button.
fn terms_of(row: &LinkRow, uses: &UsesNow) -> Vec<Fact> {
    let mut facts = Vec::new();
    if row.uses > 0 {
        let under_way = if uses.moving > 0 { format!(", {} under way", uses.moving) } else { String::new() };
        let text = format!("{} of {}{under_way}; counted per file and recipient", uses.used, row.uses);
        facts.push(Fact { name: "uses", at: uses.last, text, ..Fact::default() });
    }
    if let Some(network) = row.network {
        facts.push(Fact { name: "network", text: network.to_string(), ..Fact::default() });
    }
    if row.confirm {
        facts.push(Fact { name: "confirm", text: "a person must press Download".to_owned(), ..Fact::default() });
    }
    facts
}
