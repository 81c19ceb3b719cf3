//! The messages. Closed enums: a line that is none of them is refused. Field names are kebab-case, as in the contract's JSON.

use serde::{Deserialize, Serialize};

use super::oversight::{HoldView, OperatorView, QuarantineView, VerdictView};
use super::secret::Secret;
use super::telling::{ClockView, ExplainAim, ExplanationView, LoopView};
use crate::domain::refusal::{Code, Issue, Refusal};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Whether the server is there, and what it serves.
    Status {},
    /// Registers a client.
    ClientAdd(NewClient),
    /// All clients.
    ClientList {},
    /// One client.
    ClientShow {
        /// Its id.
        id: String,
    },
    /// Changes a client.
    ClientChange {
        /// Its id.
        id: String,
        /// How.
        change: ClientChange,
    },
    /// Makes a policy the active one.
    PolicyApply {
        /// Its text.
        text: String,
        /// What mistakes call the file.
        file: String,
        /// Why.
        reason: String,
    },
    /// The active policy.
    PolicyShow {},
    /// Withdraws links.
    LinksRevoke {
        /// Which.
        aim: RevocationAim,
        /// Why.
        reason: String,
        /// The document to `revoked` as well.
        #[serde(default)]
        state: bool,
        /// Only say what it would do.
        #[serde(default)]
        preview: bool,
    },
    /// Records that the log is about to be handed out, before it is.
    AuditExport {
        /// About this patient only.
        patient: Option<String>,
        /// From this moment (RFC 3339).
        from: Option<String>,
        /// Before this moment.
        to: Option<String>,
    },
    /// Goes on although the log did not verify; two people say so.
    AuditAcknowledge {
        /// Why.
        reason: String,
    },
    // ---- operators and what they oversee
    /// Another request in the name of a registered operator; never inside itself.
    As {
        /// The operator's id.
        id: String,
        /// The operator's password.
        password: Secret,
        /// What is asked for.
        request: Box<Request>,
    },
    /// Registers an operator.
    OperatorAdd {
        /// Id.
        id: String,
        /// `operator`, `security`, `privacy`, `auditor`.
        role: String,
        /// Password.
        password: Secret,
    },
    /// All operators.
    OperatorList {},
    /// Switches an operator off.
    OperatorDisable {
        /// Its id.
        id: String,
    },
    /// Everything that is held back.
    QuarantineList {},
    /// One document that is held back.
    QuarantineShow {
        /// Reference or id.
        document: String,
    },
    /// Releases what an engine called dirty.
    QuarantineRelease {
        /// Reference or id.
        document: String,
        /// Why.
        reason: String,
    },
    /// Destroys what is held back.
    QuarantinePurge {
        /// Reference or id.
        document: String,
        /// Why.
        reason: String,
        /// Only say what it would do.
        #[serde(default)]
        preview: bool,
    },
    /// All active holds.
    HoldList {},
    /// Lays a legal hold on a document.
    HoldAdd {
        /// Reference or id.
        document: String,
        /// Why.
        reason: String,
        /// Who orders it.
        authority: Option<String>,
    },
    /// Takes a hold off.
    HoldRelease {
        /// Reference or id.
        document: String,
        /// Why.
        reason: String,
        /// Which, where the document has several (`hd_…`).
        hold: Option<String>,
    },
    /// Opens a test download, which shows what a proxy does with one.
    ProbeBegin {},
    /// How much of it was acknowledged.
    ProbeShow {},
    /// Which background loops do not do their work.
    LoopsShow {},
    // ---- clock and explain
    /// How the clock stands.
    ClockShow {},
    /// Takes the clock as right.
    ClockConfirm {
        /// Why.
        reason: String,
    },
    /// Why something can or cannot be opened.
    Explain {
        /// What.
        aim: ExplainAim,
    },
}

/// What a client registers with; `auth` checks it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NewClient {
    /// Id.
    pub id: String,
    /// Name for people.
    pub name: Option<String>,
    /// Scopes.
    pub scope: String,
    /// Public keys.
    pub keys: KeysGiven,
    /// `own`, `custodian=REF`, `all`.
    pub reach: Vec<String>,
    /// CIDRs.
    pub allow_ip: Vec<String>,
    /// Handles instead of links.
    pub handles: bool,
}

/// Where public keys come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeysGiven {
    /// A JWK set of public keys, as text.
    Jwks(String),
    /// An address that gives one.
    JwksUri(String),
}

/// A change to a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientChange {
    /// Switch off.
    Disable,
    /// Switch on.
    Enable,
    /// Other keys.
    Rotate(KeysGiven),
}

/// Which links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RevocationAim {
    /// One, by its address or token.
    Link(String),
    /// A document's, by reference or id.
    Document(String),
    /// A client's, by id.
    Client(String),
    /// A patient's, by reference.
    Patient(String),
    /// All.
    All,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Response {
    /// For [`Request::Status {}`].
    Status(StatusView),
    /// For one client.
    Client(ClientView),
    /// For all of them.
    Clients {
        /// By id.
        clients: Vec<ClientView>,
    },
    /// For policies.
    Policy(PolicyView),
    /// For withdrawals.
    Revocation(RevocationView),
    /// For exports: entries below this number may be handed out.
    Export {
        /// Size of the log when the export was recorded, that entry included.
        size: u64,
    },
    /// For what two people acknowledged.
    Acknowledgement(AcknowledgementView),
    // ---- operators and what they oversee
    /// For one operator.
    Operator(OperatorView),
    /// For all of them.
    Operators {
        /// By id.
        operators: Vec<OperatorView>,
    },
    /// For one document that is held back.
    Quarantine(QuarantineView),
    /// For all of them.
    Quarantines {
        /// The longest held first.
        quarantined: Vec<QuarantineView>,
        /// Whether there are more than are listed.
        more: bool,
    },
    /// For a release or destruction.
    Verdict(VerdictView),
    /// For one hold.
    Hold(HoldView),
    /// For all of them.
    Holds {
        /// By number.
        holds: Vec<HoldView>,
        /// Whether there are more than are listed.
        more: bool,
    },
    /// For a test download.
    Probe {
        /// Its path, behind the base URL's.
        path: Option<String>,
        /// Its bytes.
        bytes: u64,
        /// Bytes that were acknowledged; nothing where the system does not tell.
        acknowledged: Option<u64>,
    },
    /// For background loops that do not do their work.
    Loops {
        /// Which, and why.
        ailing: Vec<LoopView>,
    },
    // ---- clock and explain
    /// For the clock; after a confirmation, as it stood before.
    Clock(ClockView),
    /// For explanations.
    Explanation(ExplanationView),
}

/// What two people acknowledged of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AcknowledgementView {
    /// Digest of everything that was found.
    pub finding: String,
    /// The same in words.
    pub found: Vec<String>,
    /// Who asked, and who confirmed.
    pub by: Vec<String>,
    /// Folder of the report and of the checkpoints as they were.
    pub evidence: String,
    /// Of how many entries what they did was done again, since the database did not show it.
    #[serde(default)]
    pub redone: usize,
}

/// The server as commands see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StatusView {
    /// Version of the program.
    pub version: String,
    /// Base URL that it serves.
    pub base: String,
    /// Address that it listens on.
    pub listen: String,
    /// Process id.
    pub pid: u32,
    /// Why its database takes no writes, where it does not.
    #[serde(default)]
    pub writing: Option<String>,
    /// How many endings wait in the database for the file outside.
    #[serde(default)]
    pub endings_left: u64,
    /// Whether the write-ahead log cannot be copied into the database.
    #[serde(default)]
    pub log_not_copied: bool,
}

/// A client, as shown. Never a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClientView {
    /// Id.
    pub id: String,
    /// Name for people.
    pub name: Option<String>,
    /// `backend`.
    pub kind: String,
    /// Scopes that it may ask for.
    pub scope: String,
    /// `own`, `custodian=REF`, `all`.
    pub reach: Vec<String>,
    /// Its keys, by id and algorithm, or the address that they come from.
    pub keys: Vec<String>,
    /// `link` or `handle`.
    pub attachment_url: String,
    /// Networks that it may call from; empty: any.
    pub allow_ip: Vec<String>,
    /// Whether it is switched off.
    pub disabled: bool,
    /// When it was registered.
    pub created: String,
    /// Where it gets tokens.
    pub token_endpoint: String,
    /// What could not be done for it now (its key address did not answer).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// A policy, as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PolicyView {
    /// Its text.
    pub text: String,
    /// SHA-256 of the text, hexadecimal.
    pub digest: String,
    /// Who applied it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: String,
}

/// A withdrawal, done or previewed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RevocationView {
    /// `rv_…`; empty for a preview, and when nothing matched.
    pub revocation: String,
    /// Links that were alive and ended.
    pub links: u64,
    /// Running downloads that were cut.
    pub cut: u64,
    /// Clients that held the links.
    pub recipients: Vec<String>,
    /// What the revocation leaves as it was, where that may not be what was meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The line that answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// Done.
    Done(Box<Response>),
    /// Refused: issues in order.
    Refused(Vec<Told>),
}

/// An issue on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Told {
    code: String,
    message: String,
    cure: String,
}

impl Reply {
    /// From what a use case answered.
    pub fn of(outcome: Result<Response, Refusal>) -> Self {
        match outcome {
            Ok(response) => Self::Done(Box::new(response)),
            Err(refusal) => Self::Refused(refusal.issues().map(Told::of).collect()),
        }
    }

    /// Back to what the use case answered.
    ///
    /// # Errors
    /// The refusal; `server-fault` for one whose code is not known here (a server of another version).
    pub fn into_result(self) -> Result<Response, Refusal> {
        match self {
            Self::Done(response) => Ok(*response),
            Self::Refused(told) => {
                let issues: Vec<Issue> = told.iter().map(Told::to_issue).collect();
                Err(Refusal::of_all(issues).unwrap_or_else(|| Refusal::of(Code::ServerFault)))
            }
        }
    }
}

impl Told {
    fn of(issue: &Issue) -> Self {
        Self {
            code: issue.code().name().to_owned(),
            message: issue.message().to_owned(),
            cure: issue.cure().to_owned(),
        }
    }

    fn to_issue(&self) -> Issue {
        Code::from_name(&self.code).map_or_else(
            || Issue::new(Code::ServerFault),
            |code| Issue::new(code).message_text(&self.message).cure_text(&self.cure),
        )
    }
}
