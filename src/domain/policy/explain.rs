//! Why a rule decided: per rule the condition that failed, for the one that matched the conditions and which value of the
//! policy's own text matched. Nothing here holds a value of the document: names of rules, names of keys, texts of the policy.

use super::{CodeTest, Coding, Condition, Facts, Policy};

/// A key of `when`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConditionKey {
    /// `type`.
    Type,
    /// `category`.
    Category,
    /// `security-label`.
    SecurityLabel,
    /// `department`.
    Department,
    /// `client`.
    Client,
}

impl ConditionKey {
    /// Every key, in the order in which they are tried.
    pub const ALL: [Self; 5] = [Self::Type, Self::Category, Self::SecurityLabel, Self::Department, Self::Client];

    /// As a policy text writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Category => "category",
            Self::SecurityLabel => "security-label",
            Self::Department => "department",
            Self::Client => "client",
        }
    }

    /// The key of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }

    /// Where a person finds the values in a DocumentReference (simple FHIRPath); the client is not in it.
    pub fn element(self) -> Option<&'static str> {
        match self {
            Self::Type => Some("DocumentReference.type"),
            Self::Category => Some("DocumentReference.category"),
            Self::SecurityLabel => Some("DocumentReference.securityLabel"),
            Self::Department => Some("DocumentReference.context.practiceSetting"),
            Self::Client => None,
        }
    }
}

/// A condition that held, and the value of the policy text by which it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Key of `when`.
    pub key: ConditionKey,
    /// The first value of that key that matched, as the policy writes it.
    pub by: String,
}

/// What became of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It decides. Empty: it has no conditions.
    Matched(Vec<Held>),
    /// The first key of `when` of which no value was found, and what it asks for, as the policy writes it.
    Failed {
        /// Key of `when`.
        key: ConditionKey,
        /// Its values.
        asked: Vec<String>,
        /// Whether the document has any coding there at all (always true for the client).
        present: bool,
    },
    /// A rule before it decides.
    NotReached,
}

/// One rule of an [`Explanation`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleReport {
    /// Name of the rule.
    pub rule: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// Which rule decides about a document, and why not the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Name of the rule that decides; the name of `[default]`'s decision where none matched.
    pub rule: String,
    /// Every rule, in order.
    pub rules: Vec<RuleReport>,
}

impl Policy {
    /// Which rule [`Policy::decide`] takes for these facts, and why.
    pub fn explain(&self, facts: &Facts) -> Explanation {
        let mut decided = None;
        let mut rules = Vec::with_capacity(self.rules.len());
        for rule in &self.rules {
            let outcome = match decided {
                Some(_) => Outcome::NotReached,
                None => rule.when.try_on(facts),
            };
            if matches!(outcome, Outcome::Matched(_)) {
                decided = Some(rule.decision.rule.clone());
            }
            rules.push(RuleReport { rule: rule.name.clone(), outcome });
        }
        Explanation { rule: decided.unwrap_or_else(|| self.default.rule.clone()), rules }
    }
}

impl Condition {
    fn try_on(&self, facts: &Facts) -> Outcome {
        let mut held = Vec::new();
        for key in ConditionKey::ALL {
            match self.try_key(key, facts) {
                None => {}
                Some(Ok(by)) => held.push(Held { key, by }),
                Some(Err((asked, present))) => return Outcome::Failed { key, asked, present },
            }
        }
        Outcome::Matched(held)
    }

    /// `None`: no condition. `Err`: what was asked for, and whether the document has anything there.
    fn try_key(&self, key: ConditionKey, facts: &Facts) -> Option<Result<String, (Vec<String>, bool)>> {
        let (tests, codings) = match key {
            ConditionKey::Type => (&self.kind, &facts.kind),
            ConditionKey::Category => (&self.category, &facts.category),
            ConditionKey::SecurityLabel => (&self.security_label, &facts.security_label),
            ConditionKey::Department => (&self.department, &facts.department),
            ConditionKey::Client => return try_client(&self.client, &facts.client),
        };
        (!tests.is_empty()).then(|| first_match(tests, codings))
    }
}

fn first_match(tests: &[CodeTest], codings: &[Coding]) -> Result<String, (Vec<String>, bool)> {
    let matched = tests.iter().find(|test| codings.iter().any(|coding| test.matches(coding)));
    matched.map(CodeTest::to_text).ok_or_else(|| (tests.iter().map(CodeTest::to_text).collect(), !codings.is_empty()))
}

fn try_client(clients: &[String], client: &String) -> Option<Result<String, (Vec<String>, bool)>> {
    let asked = || (clients.to_vec(), true);
    (!clients.is_empty()).then(|| clients.iter().find(|known| *known == client).cloned().ok_or_else(asked))
}
