//! What `explain` and `clock confirm` ask and tell.

use serde::{Deserialize, Serialize};

/// What is to be explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExplainAim {
    /// `DocumentReference/ID`, `Binary/ID`, or the reference of a link, `lk_…`.
    Reference(String),
    /// A request's id.
    Request(String),
    /// A link, by its address or token.
    Link(String),
}

/// The clock, as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClockView {
    /// `sound`, `settling`, `jumped`, `behind`.
    pub standing: String,
    /// What is wrong with it, where an operator's word is needed.
    pub said: Option<String>,
    /// Whether the confirmation set the highest time seen back, and so withdrew all links.
    pub links_withdrawn: bool,
}

/// A background loop that does not do its work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LoopView {
    /// Its name, as in metrics.
    pub name: String,
    /// Turns that failed one after the other.
    pub failures: Option<u32>,
    /// Seconds without a sign.
    pub silent: Option<u64>,
}

/// An explanation, as shown. Nothing of content, patient, title or file name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExplanationView {
    /// Whether it can be opened now; absent for a request.
    pub can_open: Option<bool>,
    /// Why not.
    pub code: Option<String>,
    /// The same in words.
    pub message: Option<String>,
    /// What to do.
    pub cure: Option<String>,
    /// What is known.
    pub facts: Vec<FactView>,
    /// Whether all of the record that matters was looked at.
    pub whole: bool,
}

/// One line of an explanation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FactView {
    /// What it is about.
    pub name: String,
    /// When (RFC 3339).
    pub at: Option<String>,
    /// Who.
    pub by: Option<String>,
    /// The rest.
    pub text: String,
}
