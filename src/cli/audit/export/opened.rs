//! An entry with its cells opened, as the table and the CSV read it.

use crate::domain::audit::cell::{Cells, Group};
use crate::domain::audit::detail::{Detail, Object};
use crate::domain::audit::{Action, CellKey, Leaf, Outcome};
use crate::domain::clock::Timestamp;
use crate::store::AuditRow;

/// Kind of a reference to a document.
const DOCUMENT: &str = "DocumentReference/";

/// What an entry says. Cells that were erased or do not open say nothing.
#[derive(Debug, Clone)]
pub(super) struct Opened {
    pub(super) seq: u64,
    pub(super) micros: u64,
    pub(super) action: Action,
    pub(super) outcome: Outcome,
    pub(super) actor: Object,
    pub(super) subject: Object,
    pub(super) tech: Object,
    /// Whether what is other people's was left out.
    pub(super) shortened: bool,
}

impl Opened {
    /// `None` where the row is no entry.
    pub(super) fn of(row: &AuditRow, key: &CellKey) -> Option<Self> {
        let leaf = Leaf::decode(&row.body).ok()?;
        let cells = Cells::decode(&row.cells);
        let open = |group| cells.as_ref().and_then(|cells| cells.open(group, key)).unwrap_or_default();
        Some(Self {
            seq: row.seq,
            micros: leaf.time_micros,
            action: leaf.action,
            outcome: leaf.outcome,
            actor: open(Group::Actor),
            subject: open(Group::Subject),
            tech: open(Group::Tech),
            shortened: false,
        })
    }

    /// A text about the subject.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        text(&self.subject, name)
    }

    /// A number about the subject.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        match self.subject.get(name)? {
            Detail::Whole(number) => u64::try_from(number.get()).ok(),
            _ => None,
        }
    }

    /// The client that acted, or that the link was given to.
    pub(super) fn client(&self) -> Option<&str> {
        text(&self.actor, "client")
    }

    /// The operator who acted.
    pub(super) fn operator(&self) -> Option<&str> {
        text(&self.actor, "operator")
    }

    /// Whom the client's token spoke for.
    pub(super) fn spoken_for(&self) -> Option<&str> {
        text(&self.actor, "sub")
    }

    /// Something of the machinery: `ip`, `request`.
    pub(super) fn tech(&self, name: &str) -> Option<&str> {
        text(&self.tech, name)
    }

    /// Id of the one document that it is about.
    pub(super) fn document(&self) -> Option<&str> {
        self.text("document").or_else(|| self.text("resource")?.strip_prefix(DOCUMENT))
    }

    /// Ids that a search found.
    pub(super) fn returned(&self) -> impl Iterator<Item = &str> {
        list(&self.subject, "returned").iter().filter_map(as_text)
    }

    /// Links that were handed out with an answer, each with its file.
    pub(super) fn offered(&self) -> impl Iterator<Item = (&str, &str)> {
        list(&self.subject, "offered").iter().filter_map(|one| match one {
            Detail::List(parts) => Some((parts.first().and_then(as_text)?, parts.get(1).and_then(as_text)?)),
            _ => None,
        })
    }

    /// Patients whom it names.
    pub(super) fn patients(&self) -> Vec<&str> {
        let all: Vec<&str> = list(&self.subject, "patients").iter().filter_map(as_text).collect();
        if all.is_empty() { self.text("patient").into_iter().collect() } else { all }
    }
}

impl Opened {
    /// A list about the subject.
    pub(super) fn list(&self, name: &str) -> &[Detail] {
        list(&self.subject, name)
    }

    /// Whether `to` is a state to which a document moved; of an export it is the end of the period that was asked for.
    pub(super) fn tells_state(&self) -> bool {
        self.document().is_some()
    }

    /// Whether it gave or names a link, which later entries may be about.
    pub(super) fn names_links(&self) -> bool {
        self.text("link").is_some() || !self.list("offered").is_empty()
    }

    /// Links that it gave, each with its file and the second in which its time is over.
    pub(super) fn given(&self) -> Vec<(&str, &str, Option<i64>)> {
        let second = |detail: Option<&Detail>| match detail {
            Some(Detail::Whole(second)) => Some(second.get()),
            _ => None,
        };
        let offered = self.list("offered").iter().filter_map(|one| match one {
            Detail::List(parts) => {
                Some((parts.first().and_then(as_text)?, parts.get(1).and_then(as_text)?, second(parts.get(2))))
            }
            _ => None,
        });
        let expires = self.text("expires").and_then(Timestamp::parse).map(Timestamp::seconds);
        let issued = || Some((self.text("link")?, self.text("file")?, expires));
        let issued = if self.action == Action::LinkIssue { issued() } else { None };
        offered.chain(issued).collect()
    }
}

fn text<'a>(object: &'a Object, name: &str) -> Option<&'a str> {
    object.get(name).and_then(as_text)
}

fn as_text(detail: &Detail) -> Option<&str> {
    match detail {
        Detail::Text(text) => Some(text),
        _ => None,
    }
}

fn list<'a>(object: &'a Object, name: &str) -> &'a [Detail] {
    match object.get(name) {
        Some(Detail::List(all)) => all,
        _ => &[],
    }
}
