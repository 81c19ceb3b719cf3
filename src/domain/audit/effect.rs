//! What an entry did to the rows that say who may see what: links issued and withdrawn, a client or an operator registered, switched
//! off or on, a document taken in or closed, a legal hold. The rows can be held against it.

use super::action::{Action, Outcome};
use super::cell::{CellKey, Cells, Group};
use super::detail::{Detail, Object};
use super::leaf::Leaf;
use super::tree::{Hash, sha256};
use crate::domain::clock::Timestamp;
use crate::domain::epoch::Revocation;
use crate::domain::id::{ClientId, FileId, LinkId, OperatorId, ResourceId};
use crate::domain::lifecycle::State;
use crate::domain::link::recipient_digest;
use crate::domain::operator::Role;

/// The name under which an entry says which revocation it is.
pub const REVOCATION: &str = "revocation";

/// What one entry did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Links were withdrawn.
    Revocation {
        /// Its number.
        number: u32,
        /// When.
        at: Timestamp,
        /// What it covers, as [`crate::domain::epoch::Scope::to_text`] has it.
        scope: String,
    },
    /// A client was registered, changed, switched off (`true`) or on.
    Client {
        /// Which.
        id: ClientId,
        /// Whether it is off now, where the entry says so.
        disabled: Option<bool>,
        /// What is registered of it, as far as the entry says so.
        registered: Option<Registered>,
    },
    /// An operator was registered, or switched off.
    Operator(OperatorId, OperatorStands),
    /// A document was taken in.
    Created(ResourceId),
    /// A document came into a state.
    Document(ResourceId, State),
    /// A legal hold was laid on a document.
    HoldLaid(ResourceId),
    /// One was taken off.
    HoldReleased(ResourceId),
    /// A link was issued that has terms of its own.
    Link(Box<Issued>),
}

/// What an entry says is registered of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registered {
    /// The digest of all that decides what it may do ([`registration`]).
    Digest(String),
    /// Its scopes: entries of before said no more.
    Scope(String),
}

/// How an operator stands after an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperatorStands {
    /// May act, in this role. With the digest of role and password ([`registration`]), which entries of before did not say.
    On(Role, Option<String>),
    /// Is switched off.
    Off,
}

/// A row that an entry must have made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Recorded {
    /// A revocation, by its number.
    Revocation(i64),
    /// An operator, by id.
    Operator(String),
}

/// The name under which an entry says the digest of what is registered.
pub const REGISTRATION: &str = "registration";

/// The digest of what is registered, from its canonical text.
pub fn registration(text: &str) -> String {
    hex::encode(sha256(&[text.as_bytes()]))
}

/// Stands for an operator's id where that is not to be told.
pub fn operator_digest(id: &str) -> Hash {
    sha256(&[b"daylily-operator".as_slice(), id.as_bytes()])
}

/// The terms of a link, as the entry that issued it says them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// Its id.
    pub id: LinkId,
    /// To which file.
    pub file: FileId,
    /// For which client.
    pub client: ClientId,
    /// For whom: a digest, empty where nobody was named.
    pub recipient: Vec<u8>,
    /// Whole deliveries that it allows; 0: not limited.
    pub uses: u32,
    /// The network that it is bound to.
    pub network: Option<String>,
    /// Whether it shows a page first.
    pub confirm: bool,
    /// The number of its row; entries of before did not say it.
    pub row: Option<u32>,
    /// Its last moment.
    pub expires: Timestamp,
}

/// What the rows must show of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// The revocation is there; with a time and a scope, it is of then and covers that.
    Revocation(u32, Option<(Timestamp, String)>),
    /// The client is there, and switched off (`true`) or on.
    Client(ClientId, bool),
    /// The client is there, with this registered of it.
    Registered(ClientId, Registered),
    /// The operator is there, and stands so.
    Operator(OperatorId, OperatorStands),
    /// The document is there, with its index row as long as it is not destroyed.
    Created(ResourceId),
    /// The document is in this state, or in one that may follow.
    Document(ResourceId, State),
    /// The document has as many legal holds, or more.
    Holds(ResourceId, u64),
    /// The link's row says what the entry does, as long as its file is there.
    Link(Box<Issued>),
    /// As many uses are spent, or more, as long as the file is there.
    Use {
        /// Of which file.
        file: FileId,
        /// By whom.
        client: ClientId,
        /// For whom: a digest, empty where nobody was named.
        recipient: Vec<u8>,
        /// How many.
        used: u64,
    },
}

impl Effect {
    /// Reads an entry. `None` where it did nothing of the kind, or its text is erased.
    pub fn read(body: &[u8], cells: &[u8], key: &CellKey) -> Option<Self> {
        let leaf = Leaf::decode(body).ok()?;
        if leaf.outcome != Outcome::Ok || !may_have_one(leaf.action) {
            return None;
        }
        let cells = Cells::decode(cells)?;
        let subject = cells.open(Group::Subject, key)?;
        match leaf.action {
            Action::ClientAdd | Action::ClientEnable | Action::ClientDisable | Action::ClientRotate => {
                let disabled = match leaf.action {
                    Action::ClientRotate => None,
                    action => Some(action == Action::ClientDisable),
                };
                let scope = || cells.open(Group::Actor, key).and_then(|actor| Some(text(&actor, "scope")?.to_owned()));
                let of_scope = || (leaf.action == Action::ClientAdd).then(scope).flatten().map(Registered::Scope);
                let digest = text(&subject, REGISTRATION).map(|digest| Registered::Digest(digest.to_owned()));
                Some(Self::Client { id: client(&subject)?, disabled, registered: digest.or_else(of_scope) })
            }
            Action::OperatorAdd => {
                let digest = text(&subject, REGISTRATION).map(str::to_owned);
                let stands = OperatorStands::On(Role::parse(text(&subject, "role")?)?, digest);
                Some(Self::Operator(operator(&subject)?, stands))
            }
            Action::OperatorDisable => Some(Self::Operator(operator(&subject)?, OperatorStands::Off)),
            Action::DocumentCreate => Some(Self::Created(document(&subject)?)),
            Action::HoldAdd => Some(Self::HoldLaid(document(&subject)?)),
            Action::HoldRelease => Some(Self::HoldReleased(document(&subject)?)),
            Action::LinkIssue => {
                issued(&subject, &cells.open(Group::Actor, key)?).map(|link| Self::Link(Box::new(link)))
            }
            _ => match text(&subject, REVOCATION) {
                Some(text) => revocation(text),
                None => Some(Self::Document(document(&subject)?, State::parse(text(&subject, "to")?)?)),
            },
        }
    }
}

/// How an entry names the revocation that it is.
pub fn revocation_text(revocation: &Revocation) -> String {
    format!("{} {} {}", revocation.number, revocation.at.millis(), revocation.scope.to_text())
}

/// When links were withdrawn, by the clock that their ends go by, as the subject of the entry says it. The entry's own time may be later:
/// entries stay in order where a clock was set back.
pub fn revoked_at(subject: &Object) -> Option<Timestamp> {
    match revocation(text(subject, REVOCATION)?)? {
        Effect::Revocation { at, .. } => Some(at),
        _ => None,
    }
}

fn revocation(text: &str) -> Option<Effect> {
    let mut parts = text.splitn(3, ' ');
    let (number, at) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some(Effect::Revocation { number, at: Timestamp::from_millis(at), scope: parts.next()?.to_owned() })
}

/// Whether a document that came into one state may be in the other now.
pub fn may_follow(state: State, now: State) -> bool {
    match state {
        State::Purged => now == State::Purged,
        State::Revoked => matches!(now, State::Revoked | State::Purged),
        State::Expired => matches!(now, State::Expired | State::Revoked | State::Purged),
        State::Quarantined => matches!(now, State::Quarantined | State::Revoked | State::Purged),
        State::Created | State::Scanned | State::Ready | State::Delivered => true,
    }
}

/// The name under which an entry says the number of a link's row.
pub const ROW: &str = "row";

/// A link that has a row, as far as the entry says so.
fn issued(subject: &Object, actor: &Object) -> Option<Issued> {
    let file = FileId::parse(text(subject, "file")?)?;
    let row = match subject.get(ROW) {
        Some(Detail::Whole(row)) => u32::try_from(row.get()).ok(),
        _ => None,
    };
    let link = Issued {
        id: LinkId::parse(text(subject, "link")?)?,
        file,
        client: ClientId::parse(text(actor, "client")?)?,
        recipient: text(subject, "recipient").map_or_else(Vec::new, |named| recipient_digest(file, named).to_vec()),
        uses: text(subject, "uses")?.parse().ok()?,
        network: text(subject, "network").map(str::to_owned),
        confirm: text(subject, "confirm").is_some(),
        row,
        expires: Timestamp::parse(text(subject, "expires")?)?,
    };
    (link.uses > 0 || link.network.is_some() || link.confirm || link.row.is_some()).then_some(link)
}

fn may_have_one(action: Action) -> bool {
    matches!(
        action,
        Action::ClientAdd
            | Action::ClientRotate
            | Action::OperatorAdd
            | Action::OperatorDisable
            | Action::DocumentCreate
            | Action::ClientDisable
            | Action::ClientEnable
            | Action::HoldAdd
            | Action::HoldRelease
            | Action::LinkIssue
            | Action::LinkRevoke
            | Action::LifecycleTransition
            | Action::DocumentPurge
            | Action::DocumentRelease
            | Action::DocumentAcknowledge
    )
}

fn client(subject: &Object) -> Option<ClientId> {
    ClientId::parse(text(subject, "registered")?)
}

fn operator(subject: &Object) -> Option<OperatorId> {
    OperatorId::parse(text(subject, "registered")?)
}

fn document(subject: &Object) -> Option<ResourceId> {
    let of_resource = || text(subject, "resource")?.strip_prefix("DocumentReference/");
    ResourceId::parse(text(subject, "document").or_else(of_resource)?)
}

fn text<'a>(object: &'a Object, name: &str) -> Option<&'a str> {
    match object.get(name) {
        Some(Detail::Text(text)) => Some(text),
        _ => None,
    }
}
