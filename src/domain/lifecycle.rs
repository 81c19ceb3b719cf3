//! The life of a document, as states and the only ways between them. A [`Transition`] cannot be made but by the functions
//! here, and the store takes nothing else; the way to `ready` asks for the proof that each file was found clean.
//!
//! `created → scanned → ready → delivered → expired → purged`, with `quarantined` (held back after the safety check) and
//! `revoked` (final, from any state before `purged`). Source: contract, Lifecycle.

use std::fmt;

use super::clock::Timestamp;
use super::id::{ClientId, FileId, OperatorId};
use super::operator::Override;
use super::refusal::{Code, Issue, Refusal};
use super::verdict::{CleanScan, Finding};

macro_rules! states {
    ($($(#[$meta:meta])* $variant:ident = $text:literal,)*) => {
        /// Where a document stands.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum State { $($(#[$meta])* $variant,)* }

        impl State {
            /// Every state.
            pub const ALL: &[State] = &[$(State::$variant,)*];

            /// Its code, as the `lifecycle` extension and search parameter spell it.
            pub fn as_str(self) -> &'static str {
                match self { $(State::$variant => $text,)* }
            }

            /// State of a code.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(State::$variant),)* _ => None }
            }
        }
    };
}

states! {
    /// Accepted and stored, or waiting for its bytes; not looked into yet.
    Created = "created",
    /// Every file was found clean.
    Scanned = "scanned",
    /// Readers may open it.
    Ready = "ready",
    /// The policy's delivery rule is met; readers may still open it.
    Delivered = "delivered",
    /// Its window is over.
    Expired = "expired",
    /// Keys and bytes are destroyed; the record stays.
    Purged = "purged",
    /// Held back after the safety check.
    Quarantined = "quarantined",
    /// Withdrawn for good.
    Revoked = "revoked",
}

impl State {
    /// Whether readers may open its files now.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Ready | Self::Delivered)
    }

    /// Whether arriving in this state makes a new version of the DocumentReference (contract, Documents).
    pub fn makes_version(self) -> bool {
        matches!(self, Self::Ready | Self::Quarantined | Self::Expired | Self::Revoked)
    }

    /// Why files cannot be opened in this state; `None` while they can.
    pub fn closed_because(self) -> Option<Code> {
        match self {
            Self::Created | Self::Scanned => Some(Code::ContentNotReady),
            Self::Ready | Self::Delivered => None,
            Self::Quarantined => Some(Code::ContentQuarantined),
            Self::Expired => Some(Code::ContentExpired),
            Self::Revoked => Some(Code::ContentRevoked),
            Self::Purged => Some(Code::ContentPurged),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// This server, by itself.
    Server,
    /// A client by its token.
    Client(ClientId),
    /// Whoever ran a command, by user id of the operating system.
    OsUser(u32),
    /// A person who may act, by registered id.
    Operator(OperatorId),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server => f.write_str("server"),
            Self::Client(id) => write!(f, "client/{id}"),
            Self::OsUser(uid) => write!(f, "os:{uid}"),
            Self::Operator(id) => write!(f, "operator/{id}"),
        }
    }
}

impl Actor {
    /// Reads what `Display` wrote.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "server" {
            return Some(Self::Server);
        }
        match text.split_once([':', '/'])? {
            ("client", id) => ClientId::parse(id).map(Self::Client),
            ("operator", id) => OperatorId::parse(id).map(Self::Operator),
            ("os", uid) => uid.parse().ok().map(Self::OsUser),
            _ => None,
        }
    }
}

/// What an engine found and in which bytes, kept beside a document that is held back: it is what an override overrules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The file.
    pub file: FileId,
    /// SHA-256 of the bytes that the engine saw.
    pub sha256: [u8; 32],
    /// The engine's name and where inside the file, in the engine's own words (`rules entry 3, level 2`).
    pub place: String,
}

/// One lawful change of state. Made here only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    from: State,
    to: State,
    at: Timestamp,
    actor: Actor,
    reason: String,
    due: Option<Timestamp>,
    evidence: Option<Evidence>,
}

impl Transition {
    /// The same, with what was found where; for operators, never shown to clients.
    #[must_use]
    pub fn with_evidence(self, evidence: Evidence) -> Self {
        Self { evidence: Some(evidence), ..self }
    }

    /// What was found where, for a change to `quarantined` that an engine caused.
    pub fn evidence(&self) -> Option<&Evidence> {
        self.evidence.as_ref()
    }

    /// State before; the store refuses the change if it is not the state any more.
    pub fn from(&self) -> State {
        self.from
    }

    /// State after.
    pub fn to(&self) -> State {
        self.to
    }

    /// When.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Who.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Why: a stable code or the rule's name, with the words of whoever asked after a colon.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// When the document is due for its next step by itself (expiry, purge); `None`: nothing is due.
    pub fn due(&self) -> Option<Timestamp> {
        self.due
    }
}

/// A change that the state does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidTransition {
    /// State that it is in.
    pub from: State,
    /// State that was asked for.
    pub to: State,
}

impl From<InvalidTransition> for Refusal {
    fn from(wrong: InvalidTransition) -> Self {
        let possible = match wrong.from {
            State::Purged => "none",
            State::Revoked => "$lifecycle",
            _ => "$lifecycle, $revoke",
        };
        let operation = match wrong.to {
            State::Revoked => "$revoke",
            _ => "This",
        };
        Issue::new(Code::StateRefused)
            .fill("operation", operation)
            .fill("state", wrong.from)
            .fill("operations", possible)
            .into()
    }
}

/// What every change has: when, by whom, and when the next step is due.
#[derive(Debug, Clone)]
pub struct Stamp {
    /// Now.
    pub at: Timestamp,
    /// Who acts.
    pub actor: Actor,
    /// When the next step by itself is due in the new state.
    pub due: Option<Timestamp>,
}

fn change(
    from: State,
    to: State,
    allowed: &[State],
    stamp: Stamp,
    reason: String,
) -> Result<Transition, InvalidTransition> {
    if !allowed.contains(&from) {
        return Err(InvalidTransition { from, to });
    }
    Ok(Transition { from, to, at: stamp.at, actor: stamp.actor, reason, due: stamp.due, evidence: None })
}

/// `created → scanned → ready`: every file of the document, named with the digest that is recorded for it, must have its
/// proof. The proofs are used up.
///
/// # Errors
/// The state is not `created`, or a file has no proof for exactly its bytes, or there is no file.
pub fn release(
    from: State,
    files: &[(FileId, [u8; 32])],
    proofs: Vec<CleanScan>,
    stamp: Stamp,
) -> Result<[Transition; 2], InvalidTransition> {
    let proven =
        |file: &(FileId, [u8; 32])| proofs.iter().any(|proof| proof.file() == file.0 && *proof.sha256() == file.1);
    if files.is_empty() || !files.iter().all(proven) {
        return Err(InvalidTransition { from, to: State::Ready });
    }
    let scanned = change(from, State::Scanned, &[State::Created], stamp.clone(), "scan: clean".to_owned())?;
    let ready = change(State::Scanned, State::Ready, &[State::Scanned], stamp, "policy: no approval asked".to_owned())?;
    Ok([scanned, ready])
}

/// `→ quarantined`, because a file was found harmful or cannot be looked into.
///
/// # Errors
/// The document is no longer in a state that could be opened or become so.
pub fn quarantine(from: State, finding: Finding, stamp: Stamp) -> Result<Transition, InvalidTransition> {
    let code = if finding.is_uninspectable() { Code::ScanUninspectable } else { Code::ScanDetected };
    hold_back(from, format!("{}: {}", code.name(), finding.name()), stamp)
}

/// `→ quarantined`, because no verdict came within the policy's `scan-within`.
///
/// # Errors
/// As [`quarantine`].
pub fn quarantine_unscanned(from: State, stamp: Stamp) -> Result<Transition, InvalidTransition> {
    hold_back(from, Code::ScanFailing.name().to_owned(), stamp)
}

fn hold_back(from: State, reason: String, stamp: Stamp) -> Result<Transition, InvalidTransition> {
    let allowed = [State::Created, State::Scanned, State::Ready, State::Delivered];
    change(from, State::Quarantined, &allowed, stamp, reason)
}

/// What a reason for holding back says, read back: the code, and the finding where an engine named one. `None` for other texts.
pub fn held_back_for(reason: &str) -> Option<(Code, Option<Finding>)> {
    let (code, finding) = reason.split_once(": ").unwrap_or((reason, ""));
    let code = Code::from_name(code)?;
    let held = matches!(code, Code::ScanDetected | Code::ScanUninspectable | Code::ScanFailing);
    held.then(|| (code, Finding::from_name(finding)))
}

/// `quarantined → ready` without a clean verdict: two people agreed on it ([`Override`] cannot be had otherwise), and it is
/// the verdict that they agreed on. `due` of the stamp is the end of the window that begins now.
///
/// # Errors
/// It is not `quarantined`.
pub fn release_by_override(from: State, agreed: &Override, stamp: Stamp) -> Result<Transition, InvalidTransition> {
    let reason = format!("override: {} overruled by two operators", agreed.overruled());
    change(from, State::Ready, &[State::Quarantined], stamp, reason)
}

/// `quarantined → purged` before its time, on an operator's word.
///
/// # Errors
/// It is not `quarantined`.
pub fn purge_quarantined(from: State, stamp: Stamp) -> Result<Transition, InvalidTransition> {
    let reason = "destroyed by an operator".to_owned();
    change(from, State::Purged, &[State::Quarantined], Stamp { due: None, ..stamp }, reason)
}

/// `ready → delivered`.
///
/// # Errors
/// It is not `ready`.
pub fn deliver(from: State, stamp: Stamp) -> Result<Transition, InvalidTransition> {
    change(from, State::Delivered, &[State::Ready], stamp, "delivered".to_owned())
}

/// `ready` or `delivered` `→ expired`: its window is over.
///
/// # Errors
/// It is in another state.
pub fn expire(from: State, rule: &str, stamp: Stamp) -> Result<Transition, InvalidTransition> {
    change(from, State::Expired, &[State::Ready, State::Delivered], stamp, format!("rule {rule}"))
}

/// `→ revoked`, from any state before `purged`; `why` is the reason that the caller or operator gave.
///
/// # Errors
/// It is revoked or purged already.
pub fn revoke(from: State, why: &str, stamp: Stamp) -> Result<Transition, InvalidTransition> {
    let allowed = [State::Created, State::Scanned, State::Ready, State::Delivered, State::Quarantined, State::Expired];
    change(from, State::Revoked, &allowed, stamp, format!("revoked: {why}"))
}

/// `→ purged`: after expiry, revocation or quarantine, or because no bytes came. `due` of the stamp is not used.
///
/// # Errors
/// It can still be opened or is purged already.
pub fn purge(from: State, rule: &str, stamp: Stamp) -> Result<Transition, InvalidTransition> {
    let allowed = [State::Created, State::Expired, State::Revoked, State::Quarantined];
    change(from, State::Purged, &allowed, Stamp { due: None, ..stamp }, format!("rule {rule}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::verdict::{Engine, Verdict};

    fn stamp() -> Stamp {
        Stamp { at: Timestamp::from_millis(1), actor: Actor::Server, due: None }
    }

    fn proof(file: FileId) -> CleanScan {
        let verdict = Verdict { engine: Engine::Rules, file, sha256: [2; 32], finding: None, place: String::new() };
        Verdict::clean_for(file, [2; 32], &[Engine::Rules], &[verdict]).unwrap()
    }

    #[test]
    fn release_asks_for_a_proof_for_the_exact_bytes_of_every_file() {
        let (one, two) = (FileId::from_bytes([1; 16]), FileId::from_bytes([2; 16]));
        assert!(release(State::Created, &[(one, [2; 32])], vec![proof(one)], stamp()).is_ok());
        assert!(release(State::Created, &[(one, [2; 32]), (two, [2; 32])], vec![proof(one)], stamp()).is_err());
        assert!(release(State::Created, &[(one, [3; 32])], vec![proof(one)], stamp()).is_err(), "other bytes");
        assert!(release(State::Created, &[], vec![], stamp()).is_err(), "nothing to release");
        assert!(release(State::Quarantined, &[(one, [2; 32])], vec![proof(one)], stamp()).is_err());
    }

    #[test]
    fn revoked_and_purged_are_final() {
        for to in State::ALL {
            let attempts = [
                quarantine(State::Purged, Finding::Macro, stamp()),
                deliver(State::Purged, stamp()),
                expire(State::Purged, "r", stamp()),
                revoke(State::Purged, "x", stamp()),
                purge(State::Purged, "r", stamp()),
                quarantine(State::Revoked, Finding::Macro, stamp()),
                deliver(State::Revoked, stamp()),
                expire(State::Revoked, "r", stamp()),
                revoke(State::Revoked, "x", stamp()),
            ];
            assert!(attempts.iter().all(Result::is_err), "{to}");
        }
        assert!(purge(State::Revoked, "r", stamp()).is_ok());
        assert!(purge(State::Ready, "r", stamp()).is_err(), "what can be opened is not destroyed");
    }

    #[test]
    fn codes_and_actors_read_back() {
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(*state));
        }
        let operator = Actor::Operator(OperatorId::parse("anna.b").unwrap());
        for actor in [Actor::Server, Actor::OsUser(7), Actor::Client(ClientId::parse("lab-1").unwrap()), operator] {
            assert_eq!(Actor::parse(&actor.to_string()), Some(actor));
        }
        assert_eq!(Actor::parse("operator/os:1"), None);
    }

    #[test]
    fn why_it_was_held_back_reads_back() {
        let held = |reason: &Transition| held_back_for(reason.reason());
        let macros = quarantine(State::Created, Finding::Macro, stamp()).unwrap();
        assert_eq!(held(&macros), Some((Code::ScanDetected, Some(Finding::Macro))));
        let locked = quarantine(State::Ready, Finding::Encrypted, stamp()).unwrap();
        assert_eq!(held(&locked), Some((Code::ScanUninspectable, Some(Finding::Encrypted))));
        let silent = quarantine_unscanned(State::Created, stamp()).unwrap();
        assert_eq!(held(&silent), Some((Code::ScanFailing, None)));
        assert_eq!(held_back_for("revoked: scan-failing"), None);
    }

    #[test]
    fn only_what_is_held_back_is_destroyed_at_once_or_released_by_two() {
        let agreed = crate::domain::operator::tests::sample_override();
        for from in State::ALL {
            let is_held = *from == State::Quarantined;
            assert_eq!(purge_quarantined(*from, stamp()).is_ok(), is_held, "{from}");
            assert_eq!(release_by_override(*from, &agreed, stamp()).is_ok(), is_held, "{from}");
        }
        let released = release_by_override(State::Quarantined, &agreed, stamp()).unwrap();
        assert_eq!(
            (released.to(), released.reason()),
            (State::Ready, "override: scan-detected: macro overruled by two operators")
        );
    }
}
