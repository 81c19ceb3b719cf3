//! What the record says of one link or request, entry by entry.

use super::withdrawals::Concerned;
use super::{Fact, LINES_MOST};
use crate::domain::audit::detail::{Detail, Object};
use crate::domain::audit::{Action, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::id::LinkId;

/// An entry, opened.
pub(super) struct Seen {
    pub(super) at: Timestamp,
    pub(super) action: Action,
    pub(super) outcome: Outcome,
    pub(super) actor: Object,
    pub(super) subject: Object,
    pub(super) tech: Object,
}

impl Seen {
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        text(&self.subject, name)
    }

    /// Id of the one document that it is about.
    pub(super) fn document(&self) -> Option<&str> {
        self.text("document").or_else(|| self.text("resource")?.strip_prefix("DocumentReference/"))
    }

    pub(super) fn tech(&self, name: &str) -> Option<&str> {
        text(&self.tech, name)
    }

    pub(super) fn by(&self) -> Option<String> {
        let client = text(&self.actor, "client").map(|client| format!("client/{client}"));
        client.or_else(|| text(&self.actor, "operator").map(str::to_owned))
    }

    /// `document.read ok`, with code and document where the entry has them; no name, no patient.
    pub(super) fn what(&self) -> String {
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
pub(super) struct Trail {
    pub(super) made: Option<Fact>,
    refused: u64,
    last_refused: Option<(Timestamp, String)>,
    uses: Vec<Fact>,
    more: u64,
}

impl Trail {
    /// Takes an entry, newest first; `false` when none before it can be about the link.
    pub(super) fn take(&mut self, seen: &Seen, (link, about): (&LinkId, Concerned<'_>), oldest: Timestamp) -> bool {
        if seen.at < oldest {
            return false;
        }
        self.withdrawn(seen, about);
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

    /// Takes an entry, newest first, about any link of a document.
    pub(super) fn take_of(&mut self, seen: &Seen, about: Concerned<'_>) {
        self.withdrawn(seen, about);
        if seen.action == Action::LinkRedeem && seen.document() == about.document {
            self.redeemed(seen);
            // Whoever holds it can open it.
            let given = seen.by().map(|by| format!(", by a link given to {by}"));
            if let (Some(given), Some(used)) = (given, self.uses.last_mut().filter(|used| used.at == Some(seen.at))) {
                used.text.push_str(&given);
            }
        }
    }

    fn withdrawn(&mut self, seen: &Seen, about: Concerned<'_>) {
        let room = self.uses.len() < LINES_MOST;
        self.uses.extend(about.withdrawn(seen).filter(|_| room));
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

    pub(super) fn lines(mut self) -> Vec<Fact> {
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

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}
