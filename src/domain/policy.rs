//! Policy: which rule a document falls under and what it decides. One pure function, [`Policy::decide`], is the only place
//! where lifetimes, limits, scans and recipients come from; its [`Decision`] is stored with the document and a later policy
//! does not change it (contract, Policy). The TOML text is read in `config::policy_text`.

use std::time::Duration;

use super::clock::Timestamp;
use super::verdict::Engine;

mod bounds;
mod explain;
mod record;
#[cfg(test)]
mod tests;

pub use bounds::{ANY, AntivirusTerms, BoundNetwork, EngineVersion, Unsuited, WIDEST};
pub use explain::{ConditionKey, Explanation, Held, Outcome, RuleReport};
pub use record::{RECORD_VERSION, RecordError};

/// What a policy text says: the rules in order, and what holds where a rule is silent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// `[default]`, whole.
    pub default: Decision,
    /// `[[rule]]`, in order; the first that matches decides.
    pub rules: Vec<Rule>,
}

/// One `[[rule]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// `name`, unique.
    pub name: String,
    /// `when`.
    pub when: Condition,
    /// What the rule decides: `[default]` with the rule's own keys over it, `rule` set to its name.
    pub decision: Decision,
}

/// `when`: any value within a key, all keys together, an empty key is no condition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    /// Codings of `DocumentReference.type`.
    pub kind: Vec<CodeTest>,
    /// Codings of `DocumentReference.category`.
    pub category: Vec<CodeTest>,
    /// Codings of `DocumentReference.securityLabel`.
    pub security_label: Vec<CodeTest>,
    /// Codings of `DocumentReference.context.practiceSetting`.
    pub department: Vec<CodeTest>,
    /// Ids of clients that deliver.
    pub client: Vec<String>,
}

/// `system|code`; `code` alone (any system), `system|` (any code of it), `|code` (no system).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeTest {
    /// `None`: any system. `Some("")`: no system.
    pub system: Option<String>,
    /// `None`: any code.
    pub code: Option<String>,
}

/// A coding of a document, as policy sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Coding {
    /// `system`, if any.
    pub system: Option<String>,
    /// `code`, if any.
    pub code: Option<String>,
}

/// What a policy may look at when it decides about a document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// `DocumentReference.type`.
    pub kind: Vec<Coding>,
    /// `DocumentReference.category`.
    pub category: Vec<Coding>,
    /// `DocumentReference.securityLabel`.
    pub security_label: Vec<Coding>,
    /// `DocumentReference.context.practiceSetting`.
    pub department: Vec<Coding>,
    /// The delivering client's id.
    pub client: String,
}

/// Where the retention window starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetainFrom {
    /// When it became ready.
    Ready,
    /// When it was created.
    Created,
    /// At the first complete delivery.
    FirstDelivery,
    /// At the last complete access.
    LastAccess,
    /// When the first recipient said that it has imported it.
    Acknowledged,
}

/// When a document counts as delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveredWhen {
    /// At the first complete download by anyone but its source.
    First,
    /// When every named recipient has a complete download.
    All,
    /// When every named recipient, or with none named any reader but its source, said that it has imported it.
    Acknowledged,
}

impl RetainFrom {
    /// Every start, in the order of the contract.
    pub const ALL: [Self; 5] = [Self::Ready, Self::Created, Self::FirstDelivery, Self::LastAccess, Self::Acknowledged];

    /// The word of a policy text and of a stored decision.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Created => "created",
            Self::FirstDelivery => "first-delivery",
            Self::LastAccess => "last-access",
            Self::Acknowledged => "acknowledged",
        }
    }

    /// The start of a word.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|start| start.name() == name)
    }
}

impl DeliveredWhen {
    /// Every rule.
    pub const ALL: [Self; 3] = [Self::First, Self::All, Self::Acknowledged];

    /// The word of a policy text and of a stored decision.
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::All => "all",
            Self::Acknowledged => "acknowledged",
        }
    }

    /// The rule of a word.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.name() == name)
    }
}

/// What links of a document may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkTerms {
    /// Default lifetime.
    pub lifetime: Duration,
    /// Most that `$issue-link` may ask for.
    pub max_lifetime: Duration,
    /// How long a transfer that began in time may run.
    pub max_transfer: Duration,
    /// Whole deliveries that a link allows; 0: not limited.
    pub uses: u32,
    /// Most that `$issue-link` may ask for; 0: not limited.
    pub max_uses: u32,
    /// Whether a link is bound to the network that it was asked from.
    pub bind_address: bool,
    /// How wide that network is where the caller names none.
    pub network: BoundNetwork,
    /// Whether a person must press a button first.
    pub confirm: bool,
    /// How long a claim stays open without traffic.
    pub grace: Duration,
}

impl LinkTerms {
    /// Whether reads and searches show the handle instead of a link: one that is spent, bound or confirmed is made by
    /// `$issue-link` alone (contract, Links).
    pub fn by_request_only(&self) -> bool {
        self.uses > 0 || self.bind_address || self.confirm
    }
}

/// What full-resource notifications may show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotifyContent {
    /// What an import job needs; no title, no name.
    Metadata,
    /// Titles and names too.
    Complete,
}

impl NotifyContent {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Metadata, Self::Complete];

    /// The word of a policy text and of a stored decision.
    pub fn name(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Complete => "complete",
        }
    }

    /// The content of a word.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|content| content.name() == name)
    }
}

/// What the policy decided about one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Name of the rule, `default` where none matched.
    pub rule: String,
    /// Named blob store.
    pub store: String,
    /// Engines that must all say clean.
    pub scan: Vec<Engine>,
    /// Files wait while no antivirus engine is configured.
    pub require_antivirus: bool,
    /// What an antivirus engine must be so that it is asked.
    pub antivirus: AntivirusTerms,
    /// Media types that are accepted, lower case, without parameters.
    pub accept: Vec<String>,
    /// Largest file in bytes.
    pub max_size: u64,
    /// Created without bytes: purged after this.
    pub upload_within: Duration,
    /// No verdict: quarantined after this.
    pub scan_within: Duration,
    /// How long a quarantined file is kept.
    pub quarantine_keep: Duration,
    /// From `retain_from` until expired.
    pub retain: Duration,
    /// Start of the window.
    pub retain_from: RetainFrom,
    /// From expired or revoked until purged.
    pub purge_after: Duration,
    /// When it counts as delivered.
    pub delivered_when: DeliveredWhen,
    /// Clients that are named as recipients.
    pub recipients: Vec<String>,
    /// What full-resource notifications show.
    pub notify: NotifyContent,
    /// Whether operators may release what an engine called dirty.
    pub allow_override: bool,
    /// Links.
    pub link: LinkTerms,
}

impl Policy {
    /// The decision for a document: the first rule whose every condition holds, else the default.
    pub fn decide(&self, facts: &Facts) -> &Decision {
        self.rules.iter().find(|rule| rule.when.holds(facts)).map_or(&self.default, |rule| &rule.decision)
    }

    /// The largest file that any rule takes: what an upload may have before its document, and so its rule, is known.
    pub fn largest_size(&self) -> u64 {
        self.rules.iter().map(|rule| rule.decision.max_size).fold(self.default.max_size, u64::max)
    }
}

impl Condition {
    /// Whether every key that names something finds one of its values among the facts.
    pub fn holds(&self, facts: &Facts) -> bool {
        any_of(&self.kind, &facts.kind)
            && any_of(&self.category, &facts.category)
            && any_of(&self.security_label, &facts.security_label)
            && any_of(&self.department, &facts.department)
            && (self.client.is_empty() || self.client.contains(&facts.client))
    }

    /// Whether this condition holds wherever `other` does, so that a rule with `other` after one with this can never
    /// decide. Sound, not complete: what it calls covered is covered; two rules that only together cover a third are not seen.
    pub fn covers(&self, other: &Self) -> bool {
        let codes = |mine: &[CodeTest], theirs: &[CodeTest]| {
            let each = |test: &CodeTest| mine.iter().any(|wider| wider.covers(test));
            mine.is_empty() || (!theirs.is_empty() && theirs.iter().all(each))
        };
        codes(&self.kind, &other.kind)
            && codes(&self.category, &other.category)
            && codes(&self.security_label, &other.security_label)
            && codes(&self.department, &other.department)
            && (self.client.is_empty()
                || (!other.client.is_empty() && other.client.iter().all(|client| self.client.contains(client))))
    }
}

fn any_of(tests: &[CodeTest], codings: &[Coding]) -> bool {
    tests.is_empty() || tests.iter().any(|test| codings.iter().any(|coding| test.matches(coding)))
}

impl CodeTest {
    /// Reads `system|code` and its shorter forms; `None` for the empty text and for `|`.
    pub fn parse(text: &str) -> Option<Self> {
        let (system, code) = match text.split_once('|') {
            None => (None, text),
            Some((system, code)) => (Some(system.to_owned()), code),
        };
        let code = (!code.is_empty()).then(|| code.to_owned());
        let names_something = code.is_some() || system.as_deref().is_some_and(|system| !system.is_empty());
        names_something.then_some(Self { system, code })
    }

    /// Whether a coding passes; codes and systems compare exactly (FHIR R4 search, token).
    pub fn matches(&self, coding: &Coding) -> bool {
        let system = match self.system.as_deref() {
            None => true,
            Some("") => coding.system.is_none(),
            Some(system) => coding.system.as_deref() == Some(system),
        };
        system && self.code.as_ref().is_none_or(|code| coding.code.as_ref() == Some(code))
    }

    /// Whether every coding that passes `other` passes this too.
    pub fn covers(&self, other: &Self) -> bool {
        (self.system.is_none() || self.system == other.system) && (self.code.is_none() || self.code == other.code)
    }

    /// As a policy text writes it; [`CodeTest::parse`] reads it back.
    pub fn to_text(&self) -> String {
        let code = self.code.as_deref().unwrap_or_default();
        self.system.as_ref().map_or_else(|| code.to_owned(), |system| format!("{system}|{code}"))
    }
}

impl Decision {
    /// When the window of a document ends that becomes ready now. Where policy lets it begin with something that may never happen
    /// (a delivery, an access, an acknowledgement), it runs from ready until that happens: a file that nobody fetches must not stay
    /// for ever. What happens then begins it anew ([`Decision::retain`] from that moment).
    pub fn due(&self, created: Timestamp, ready: Timestamp) -> Timestamp {
        let start = match self.retain_from {
            RetainFrom::Created => created,
            RetainFrom::Ready | RetainFrom::FirstDelivery | RetainFrom::LastAccess | RetainFrom::Acknowledged => ready,
        };
        start.plus(self.retain)
    }

    /// Whether the engines asked for include what `require-antivirus` waits for.
    pub fn waits_for_antivirus(&self, configured: &[Engine]) -> bool {
        self.require_antivirus && !configured.iter().any(|engine| engine.is_antivirus())
    }

    /// Whether a media type, without its parameters and in any case, is accepted.
    pub fn accepts(&self, media_type: &str) -> bool {
        let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        self.accept.contains(&essence)
    }
}
