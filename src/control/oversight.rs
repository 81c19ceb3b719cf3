//! What is answered about operators, quarantine and legal holds. No patient, no title, no file name stands in any of it.

use serde::{Deserialize, Serialize};

/// An operator, as shown. Never a password or its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OperatorView {
    /// Id.
    pub id: String,
    /// `operator`, `security`, `privacy`, `auditor`.
    pub role: String,
    /// Whether it is switched off.
    pub disabled: bool,
    /// When it was registered.
    pub created: String,
}

/// A document that is held back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct QuarantineView {
    /// `DocumentReference/…`.
    pub document: String,
    /// `scan-detected`, `scan-uninspectable`, `scan-failing`.
    pub code: String,
    /// Stable name of the finding; absent where no engine gave a verdict.
    pub finding: Option<String>,
    /// The same in words.
    pub words: String,
    /// Engine that found it.
    pub engine: Option<String>,
    /// Where inside the file, in the engine's words.
    pub place: Option<String>,
    /// Since when it is held back.
    pub since: String,
    /// When it is destroyed by itself.
    pub due: Option<String>,
    /// The policy's rule that decided for it.
    pub rule: String,
    /// Whether that rule lets two people release it.
    pub allow_override: bool,
    /// Whether a legal hold keeps it.
    pub held: bool,
    /// First people's words that wait for a second person.
    pub approvals: Vec<ApprovalView>,
}

/// A first person's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ApprovalView {
    /// Operator's id.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Until when a second person may confirm it.
    pub until: String,
}

/// What became of a document that was held back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VerdictView {
    /// `DocumentReference/…`.
    pub document: String,
    /// `ready`, `purged`, or, for a preview, `quarantined`.
    pub state: String,
    /// Files that were destroyed, or would be.
    pub files: u64,
    /// Operators who released it, by id.
    pub released_by: Vec<String>,
}

/// A legal hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HoldView {
    /// `hd_…`.
    pub hold: String,
    /// `DocumentReference/…`.
    pub document: String,
    /// Who ordered it.
    pub authority: Option<String>,
    /// Why.
    pub reason: String,
    /// Who laid it.
    pub by: String,
    /// When.
    pub at: String,
    /// Whether it is active.
    pub active: bool,
}
