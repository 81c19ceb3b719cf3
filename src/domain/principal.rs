//! Who asks, and what they may see. A [`Principal`] is made by `auth` from a verified token; an [`AccessScope`] is made here,
//! from a principal whose permission was checked, and has no default: a query without one does not compile.

use super::id::ClientId;
use super::refusal::{Code, Refusal};
use super::resource::Kind;

/// What a client may do with a type (SMART v2 letters).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Interaction {
    /// `c`
    Create,
    /// `r`
    Read,
    /// `u`
    Update,
    /// `d`
    Delete,
    /// `s`
    Search,
}

impl Interaction {
    /// Every interaction, in the order of the letters `cruds`.
    pub const ALL: [Self; 5] = [Self::Create, Self::Read, Self::Update, Self::Delete, Self::Search];

    /// The SMART v2 letter.
    pub fn letter(self) -> char {
        match self {
            Self::Create => 'c',
            Self::Read => 'r',
            Self::Update => 'u',
            Self::Delete => 'd',
            Self::Search => 's',
        }
    }
}

/// The interactions that scopes allow, per type. Starts empty: nothing is allowed that was not granted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions {
    granted: Vec<(Kind, Interaction)>,
}

impl Permissions {
    /// Adds one.
    pub fn grant(&mut self, kind: Kind, interaction: Interaction) {
        if !self.allows(kind, interaction) {
            self.granted.push((kind, interaction));
        }
    }

    /// Whether it was granted.
    pub fn allows(&self, kind: Kind, interaction: Interaction) -> bool {
        self.granted.contains(&(kind, interaction))
    }

    /// Whether nothing was granted.
    pub fn is_empty(&self) -> bool {
        self.granted.is_empty()
    }
}

/// What a client sees: always what it delivered and what names it as recipient; beside that what its registration adds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// Every document.
    pub all: bool,
    /// Documents of these custodians, as references (`Organization/1`).
    pub custodians: Vec<String>,
}

/// How attachment urls are shown to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AttachmentUrl {
    /// Signed links.
    #[default]
    Link,
    /// The handle `[base]/Binary/{id}/_history/{v}`, which needs a token.
    Handle,
}

/// The number that the store gave a client; links name their reader by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientNumber(pub u32);

/// An authenticated client with what its token allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Registered id.
    pub client: ClientId,
    /// The store's number for it.
    pub number: ClientNumber,
    /// What it sees.
    pub reach: Reach,
    /// What its token's scopes allow.
    pub permissions: Permissions,
    /// How it wants urls.
    pub attachment_url: AttachmentUrl,
}

impl Principal {
    /// The access scope for an interaction on a type.
    ///
    /// # Errors
    /// `scope-insufficient` (403) when the token's scopes do not allow it; decided without looking at any data.
    pub fn may(&self, interaction: Interaction, kind: Kind) -> Result<AccessScope, Refusal> {
        if self.permissions.allows(kind, interaction) {
            return Ok(AccessScope { client: self.number, reach: self.reach.clone() });
        }
        let scope = format!("system/{}.{}", kind.as_str(), interaction.letter());
        Err(Refusal::of(Code::ScopeInsufficient).with_scope(&scope))
    }

    /// The access scope for what this client has just made itself, to show it what was made; a `c` scope alone does not let
    /// it read (the answer is then minimal, which `http` decides).
    pub fn own_scope(&self) -> AccessScope {
        AccessScope { client: self.number, reach: Reach::default() }
    }

    /// The access scope for the bytes of a document: `Binary.r`, or `DocumentReference.r` alone, because clients that
    /// follow `attachment.url` rarely ask for Binary scopes (docs/decisions).
    ///
    /// # Errors
    /// `scope-insufficient` (403).
    pub fn may_open_content(&self) -> Result<AccessScope, Refusal> {
        self.may(Interaction::Read, Kind::Binary).or_else(|_| self.may(Interaction::Read, Kind::DocumentReference))
    }
}

/// The part of the data that a query may touch. Every query of the store takes one; [`Principal`] makes it, and for matching alone [`AccessScope::standing`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessScope {
    client: ClientNumber,
    reach: Reach,
}

impl AccessScope {
    /// What a client sees by its registration, where no token is at hand: for the matching of its Subscriptions, whose creation
    /// needed the right to read what they tell (contract, Notifications). It gives nobody an answer by itself.
    pub fn standing(client: ClientNumber, reach: Reach) -> Self {
        Self { client, reach }
    }

    /// The client whose own documents, and those that name it as recipient, are visible.
    pub fn client(&self) -> ClientNumber {
        self.client
    }

    /// What is visible beside them.
    pub fn reach(&self) -> &Reach {
        &self.reach
    }
}

/// Whoever runs a command on this machine with the right to the data folder, by user id of the operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operator {
    /// User id.
    pub uid: u32,
}

impl Operator {
    /// Operators act on every document; each act is recorded under their id.
    pub fn scope(self) -> AccessScope {
        AccessScope { client: ClientNumber(0), reach: Reach { all: true, custodians: Vec::new() } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_allowed_that_was_not_granted() {
        let mut permissions = Permissions::default();
        permissions.grant(Kind::DocumentReference, Interaction::Search);
        let principal = Principal {
            client: ClientId::parse("a").unwrap(),
            number: ClientNumber(1),
            reach: Reach::default(),
            permissions,
            attachment_url: AttachmentUrl::Link,
        };
        assert!(principal.may(Interaction::Search, Kind::DocumentReference).is_ok());
        let refused = principal.may(Interaction::Read, Kind::DocumentReference).unwrap_err();
        assert_eq!((refused.status(), refused.scope()), (403, Some("system/DocumentReference.r")));
        assert!(principal.may_open_content().is_err());
    }
}
