//! `explain`: why a file can or cannot be opened now, what became of a link, what a request was; from records, without content, and
//! without patient, title or file name. Values only: the words of a terminal are in `cli`.

use std::net::{IpAddr, Ipv4Addr};

use super::Delivery;
use super::clock_rules::clock_issue;
use super::counting::UsesNow;
use super::failure::store_failure;
use super::judged::Judged;
use crate::domain::audit::cell::Cells;
use crate::domain::audit::detail::{Detail, Object};
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
        let scope = operator.scope();
        let found = self.store.read(Kind::DocumentReference, id, &scope).await.map_err(store_failure)?;
        let document = found.and_then(|stored| stored.document).ok_or_else(nothing)?;
        let now = self.clock.now();
        let issue = self.closed(&document, now).map(|refusal| for_operators(refusal.first(), &document));
        let mut facts = self.document_facts(&document, now);
        let holds = self.store.holds(Some(document.number), LINES_MOST).await.map_err(store_failure)?;
        facts.extend(holds.iter().map(hold_fact));
        let steps = self.store.steps(id, &scope).await.map_err(store_failure)?.unwrap_or_default();
        facts.extend(steps.iter().map(step_fact));
        Ok(Explanation { can_open: Some(issue.is_none()), issue, facts, whole: true })
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
        let whole = self.look_at_log(&mut |seen| trail.take(seen, id, oldest)).await?;
        let reader = self.store.client_by_number(link.reader).map(|client| format!("client/{}", client.id));
        let mut facts = vec![Fact { name: "link", by: reader, text: id.to_string(), ..Fact::default() }];
        facts.extend(row.as_ref().into_iter().flat_map(|row| terms_of(row, &uses)));
        facts.extend(trail.made.take());
        let until = Fact { name: "until", at: Some(link.expires), ..Fact::default() };
        facts.push(until);
        facts.extend(trail.lines());
        if let Some(document) = file.as_ref().and_then(|facts| facts.document.as_ref()) {
            facts.extend(self.document_facts(document, self.clock.now()));
        }
        Ok(Explanation { can_open: Some(issue.is_none()), issue, facts, whole })
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
        let whole = self
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
        Ok(Explanation { can_open: None, issue, facts, whole })
    }

    /// Shows entries, newest first, until `take` has enough. `false`: the bound was hit before the log's beginning.
    async fn look_at_log(&self, take: &mut (dyn FnMut(&Seen) -> bool + Send)) -> Result<bool, Refusal> {
        let mut end = self.store.audit_head().await.map_err(store_failure)?.size;
        let mut looked = 0;
        while end > 0 {
            if looked >= LOOKED_AT_MOST {
                return Ok(false);
            }
            let first = end.saturating_sub(u64::try_from(PAGE).unwrap_or(u64::MAX));
            let count = usize::try_from(end - first).unwrap_or(PAGE);
            let rows = self.store.audit_rows(first, count).await.map_err(store_failure)?;
            looked += rows.len();
            for row in rows.iter().rev() {
                if self.seen(row).is_some_and(|seen| !take(&seen)) {
                    return Ok(true);
                }
            }
            end = first;
        }
        Ok(true)
    }

    fn seen(&self, row: &AuditRow) -> Option<Seen> {
        let leaf = Leaf::decode(&row.body).ok()?;
        let cells = Cells::decode(&row.cells)?;
        let key = self.recorder.cell_key();
        let open = |group| cells.open(group, key).unwrap_or_default();
        Some(Seen {
            at: Timestamp::from_millis(i64::try_from(leaf.time_micros / 1_000).unwrap_or(i64::MAX)),
            action: leaf.action,
            outcome: leaf.outcome,
            actor: open(Group::Actor),
            subject: open(Group::Subject),
            tech: open(Group::Tech),
        })
    }
}

/// An entry, opened.
struct Seen {
    at: Timestamp,
    action: Action,
    outcome: Outcome,
    actor: Object,
    subject: Object,
    tech: Object,
}

impl Seen {
    fn text(&self, name: &str) -> Option<&str> {
        text(&self.subject, name)
    }

    fn tech(&self, name: &str) -> Option<&str> {
        text(&self.tech, name)
    }

    fn by(&self) -> Option<String> {
        let client = text(&self.actor, "client").map(|client| format!("client/{client}"));
        client.or_else(|| text(&self.actor, "operator").map(str::to_owned))
    }

    /// `document.read ok`, with code and document where the entry has them; no name, no patient.
    fn what(&self) -> String {
        let mut what = format!("{} {}", self.action, self.outcome);
        for part in [self.text("code"), self.text("document"), self.text("link")].into_iter().flatten() {
            what.push_str(", ");
            what.push_str(part);
        }
        what
    }

    fn offers(&self, link: &LinkId) -> bool {
        let Some(Detail::List(offered)) = self.subject.get("offered") else { return false };
        offered.iter().any(|one| match one {
            Detail::List(parts) => matches!(parts.first(), Some(Detail::Text(id)) if id.as_str() == link.as_str()),
            _ => false,
        })
    }
}

/// What the log says of a link.
#[derive(Default)]
struct Trail {
    made: Option<Fact>,
    refused: u64,
    last_refused: Option<(Timestamp, String)>,
    uses: Vec<Fact>,
    more: u64,
}

impl Trail {
    /// Takes an entry, newest first; `false` when none before it can be about the link.
    fn take(&mut self, seen: &Seen, link: &LinkId, oldest: Timestamp) -> bool {
        if seen.at < oldest {
            return false;
        }
        let named = seen.text("link") == Some(link.as_str());
        match seen.action {
            Action::LinkIssue if named && seen.outcome == Outcome::Ok => {
                let text = "by $issue-link".to_owned();
                self.made = Some(Fact { name: "made", at: Some(seen.at), by: seen.by(), text });
                return false;
            }
            Action::LinkRedeem if named => self.redeemed(seen),
            Action::LinkRevoke if named => {
                self.uses.push(Fact { name: "withdrawn", at: Some(seen.at), by: seen.by(), text: String::new() });
            }
            // Offered again with each answer of its time: the oldest is when it was made.
            _ if seen.offers(link) => {
                let text = format!("with the answer to {}", seen.action);
                self.made = Some(Fact { name: "made", at: Some(seen.at), by: seen.by(), text });
            }
            _ => {}
        }
        true
    }

    fn redeemed(&mut self, seen: &Seen) {
        let code = seen.text("code").unwrap_or("no code").to_owned();
        match seen.outcome {
            Outcome::Denied => {
                self.refused += 1;
                self.last_refused.get_or_insert((seen.at, code));
            }
            Outcome::Attempted => {}
            Outcome::Ok | Outcome::Error if self.uses.len() >= LINES_MOST => self.more += 1,
            Outcome::Ok | Outcome::Error => {
                let bytes = match seen.subject.get("bytes") {
                    Some(Detail::Whole(bytes)) => bytes.get(),
                    _ => 0,
                };
                let text = match seen.outcome {
                    Outcome::Ok => format!("{bytes} bytes went out"),
                    _ => format!("broke off after {bytes} bytes ({code})"),
                };
                self.uses.push(Fact { name: "used", at: Some(seen.at), by: None, text });
            }
        }
    }

    fn lines(mut self) -> Vec<Fact> {
        self.uses.reverse();
        let mut lines = self.uses;
        if !lines.iter().any(|line| line.name == "used") {
            lines.push(Fact { name: "used", text: "not yet".to_owned(), ..Fact::default() });
        }
        if self.more > 0 {
            lines.push(Fact {
                name: "used",
                text: format!("{} more before that", times(self.more)),
                ..Fact::default()
            });
        }
        if let Some((at, code)) = self.last_refused {
            let text = format!("refused {}, last with {code}", times(self.refused));
            lines.push(Fact { name: "tried", at: Some(at), by: None, text });
        }
        lines
    }
}

fn text<'a>(object: &'a Object, name: &str) -> Option<&'a str> {
    match object.get(name) {
        Some(Detail::Text(text)) => Some(text),
        _ => None,
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

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
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
