//! The links that an entry gave, offered with an answer or issued by request, as its own cells say.

use super::cell::{CellKey, Cells, Group};
use super::detail::{Detail, Object};
use super::leaf::Leaf;
use crate::domain::clock::Timestamp;
use crate::domain::id::{ClientId, FileId, LinkId};

/// A link as an entry names it: its id, its file, its last second.
pub type Named = (LinkId, FileId, Timestamp);

/// What one entry gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// When.
    pub at: Timestamp,
    /// Whom.
    pub client: ClientId,
    /// The links.
    pub links: Vec<Named>,
}

impl Given {
    /// Reads an entry. `None` where it gave nothing, its text is erased, or its cells are not its own.
    pub fn read(body: &[u8], cells: &[u8], key: &CellKey) -> Option<Self> {
        let (leaf, cells) = (Leaf::decode(body).ok()?, Cells::decode(cells)?);
        let subject = cells.open(Group::Subject, key)?;
        let links: Vec<Named> = offered_by(&subject).into_iter().chain(issued_by(&subject)).collect();
        if links.is_empty() || cells.commitment(key) != Ok(leaf.commitment) {
            return None;
        }
        let client = ClientId::parse(text(&cells.open(Group::Actor, key)?, "client")?)?;
        let at = Timestamp::from_millis(i64::try_from(leaf.time_micros / 1_000).unwrap_or(i64::MAX));
        Some(Self { at, client, links })
    }

    /// Whether it gave this link to this client.
    pub fn gave(&self, (id, file, expires): &Named, client: &ClientId) -> bool {
        let same = |(other, of, end): &Named| other == id && of == file && end.seconds() == expires.seconds();
        self.client == *client && self.links.iter().any(same)
    }
}

fn text<'a>(object: &'a Object, name: &str) -> Option<&'a str> {
    match object.get(name) {
        Some(Detail::Text(text)) => Some(text),
        _ => None,
    }
}

fn offered_by(subject: &Object) -> Vec<Named> {
    let Some(Detail::List(offered)) = subject.get("offered") else {
        return Vec::new();
    };
    let link = |detail: &Detail| match detail {
        Detail::List(parts) => match parts.as_slice() {
            [Detail::Text(id), Detail::Text(file), Detail::Whole(second)] => {
                let expires = Timestamp::from_millis(second.get().saturating_mul(1_000));
                Some((LinkId::parse(id)?, FileId::parse(file)?, expires))
            }
            _ => None,
        },
        _ => None,
    };
    offered.iter().filter_map(link).collect()
}

fn issued_by(subject: &Object) -> Option<Named> {
    let expires = text(subject, "expires").and_then(Timestamp::parse)?;
    Some((LinkId::parse(text(subject, "link")?)?, FileId::parse(text(subject, "file")?)?, expires))
}
