//! Subscriptions: who is told of what, how much, and where it stands. Types only; the FHIR form is read in `fhir::subscription`, the
//! rows are the store's, sending is `delivery::notifying`. Source: contract, Notifications; FHIR R4 Subscription; Subscriptions R5
//! Backport guide for R4.

use std::time::Duration;

use super::clock::Timestamp;
use super::id::ResourceId;
use super::lifecycle::State;
use super::resource::DocumentNumber;

macro_rules! topics {
    ($($(#[$meta:meta])* $variant:ident = $number:literal $name:literal,)*) => {
        /// What happened to a document, as a topic of its own. The number is what the store writes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Topic { $($(#[$meta])* $variant,)* }

        impl Topic {
            /// Every topic that is served.
            pub const ALL: &'static [Topic] = &[$(Topic::$variant,)*];

            /// Its name, the last step of its canonical URL and its id as a Basic resource.
            pub fn name(self) -> &'static str {
                match self { $(Topic::$variant => $name,)* }
            }

            /// Topic of a name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Topic::$variant),)* _ => None }
            }

            /// The number that the store writes.
            pub fn number(self) -> i32 {
                match self { $(Topic::$variant => $number,)* }
            }

            /// Topic of a number.
            pub fn from_number(number: i32) -> Option<Self> {
                match number { $($number => Some(Topic::$variant),)* _ => None }
            }
        }
    };
}

topics! {
    /// A document can be opened.
    Ready = 1 "document-ready",
    /// Its window is over.
    Expired = 2 "document-expired",
    /// Access was withdrawn for good.
    Revoked = 3 "document-revoked",
    /// It is held back after the safety check.
    Quarantined = 4 "document-quarantined",
}

/// What canonical URLs of topics begin with.
pub const TOPIC_PREFIX: &str = "urn:daylily:fhir/SubscriptionTopic/";

impl Topic {
    /// Canonical URL.
    pub fn canonical(self) -> String {
        format!("{TOPIC_PREFIX}{}", self.name())
    }

    /// The topic that arriving in a state raises, if any.
    pub fn of_state(state: State) -> Option<Self> {
        match state {
            State::Ready => Some(Self::Ready),
            State::Expired => Some(Self::Expired),
            State::Revoked => Some(Self::Revoked),
            State::Quarantined => Some(Self::Quarantined),
            State::Created | State::Scanned | State::Delivered | State::Purged => None,
        }
    }
}

/// How much a notification holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Number and time.
    Empty,
    /// A reference to the document as well.
    IdOnly,
    /// The cut-down DocumentReference as well.
    FullResource,
}

impl Level {
    /// Every level.
    pub const ALL: [Self; 3] = [Self::Empty, Self::IdOnly, Self::FullResource];

    /// Code of the backport guide's payload content code system.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::IdOnly => "id-only",
            Self::FullResource => "full-resource",
        }
    }

    /// Level of a code.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }
}

/// Which of R4's two forms a Subscription has, by its `criteria`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A topic's canonical URL: notification Bundles.
    Topic(Topic, Level),
    /// A search: every new version of a DocumentReference that matches; an empty POST, or with `payload` a PUT of the cut-down
    /// resource to `[endpoint]/DocumentReference/[id]`.
    Plain {
        /// Whether the resource goes along.
        payload: bool,
    },
}

/// `Subscription.status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SubscriptionStatus {
    /// Asked for; the handshake has not been answered.
    Requested,
    /// Told of each event.
    Active,
    /// An event or the handshake was given up; events are kept and numbered, none is sent.
    Error,
    /// Not told, and nothing is collected.
    Off,
}

impl SubscriptionStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Requested, Self::Active, Self::Error, Self::Off];

    /// Its code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Active => "active",
            Self::Error => "error",
            Self::Off => "off",
        }
    }

    /// Status of a code.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Whether events are numbered for it.
    pub fn collects(self) -> bool {
        self != Self::Off
    }
}

/// How long a Subscription stays in `error` before it goes `off`: as long as its events are kept.
pub const ERROR_GRACE: Duration = Duration::from_secs(7 * 86_400);

/// The store's number for a Subscription. Never shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionNumber(pub i64);

/// One event as one Subscription numbers it. What it says never changes, so that its message is the same at every attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its number within the Subscription, from 1 without gaps.
    pub number: u64,
    /// What happened; `None` for a plain Subscription's new version that is none of the topics (a creation).
    pub topic: Option<Topic>,
    /// When it happened.
    pub at: Timestamp,
    /// The document.
    pub document: DocumentNumber,
    /// Its id.
    pub document_id: ResourceId,
    /// The version that the event made.
    pub version: u32,
    /// When the document's access ends, as it was known at the event; no attempt after that for `document-ready`.
    pub expires: Option<Timestamp>,
}
