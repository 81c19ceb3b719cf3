//! The operations of this version as text: `Parameters` in, `Parameters` out (FHIR R4 operations.html; contract, FHIR names).
//! Names, types and counts are held to: an unknown or repeated parameter is refused, because a misspelled limit must not be
//! taken for no limit.

mod parameters;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::domain::acknowledgement::Acknowledgement;
use crate::domain::clock::Timestamp;
use crate::domain::id::{LinkId, ResourceId};
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::domain::resource::Step;

use super::json::{Object, write_text};
use crate::domain::text::is_plain;
use parameters::{Form, Input, Reader};

/// Longest `reason`, in characters.
pub const MAX_REASON: usize = 1_000;

/// Longest `file-name`, in characters.
pub const MAX_NAME: usize = 200;

/// Longest `recipient` and `access-reference`, in characters.
const MAX_REFERENCE: usize = 512;

/// An operation on one DocumentReference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `$issue-link`
    IssueLink,
    /// `$revoke`
    Revoke,
    /// `$lifecycle`
    Lifecycle,
    /// `$acknowledge`
    Acknowledge,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 4] = [Self::IssueLink, Self::Revoke, Self::Lifecycle, Self::Acknowledge];

    /// Its name behind `$`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IssueLink => "issue-link",
            Self::Revoke => "revoke",
            Self::Lifecycle => "lifecycle",
            Self::Acknowledge => "acknowledge",
        }
    }

    /// The operation of a name, without `$`.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.as_str() == name)
    }

    /// Names of what goes in.
    pub fn input_names(self) -> impl Iterator<Item = &'static str> {
        self.inputs().iter().map(|input| input.name)
    }

    /// What goes in.
    fn inputs(self) -> &'static [Input] {
        match self {
            Self::IssueLink => &[
                Input { name: "content", form: Form::PositiveInt, example: "1" },
                Input { name: "lifetime", form: Form::Text, example: "15m" },
                Input { name: "uses", form: Form::PositiveInt, example: "1" },
                Input { name: "address", form: Form::Text, example: "192.0.2.0/24" },
                Input { name: "file-name", form: Form::Text, example: "letter.pdf" },
                Input { name: "recipient", form: Form::Reference, example: "Practitioner/7" },
                Input { name: "confirm", form: Form::Boolean, example: "true" },
                Input { name: "access-reference", form: Form::Text, example: "0123456789/17" },
            ],
            Self::Revoke => &[
                Input { name: "reason", form: Form::Text, example: "sent to the wrong ward" },
                Input { name: "link", form: Form::Text, example: "lk_0123456ab" },
                Input { name: "state", form: Form::Boolean, example: "true" },
            ],
            Self::Lifecycle => &[Input { name: "wait", form: Form::Text, example: "30s" }],
            Self::Acknowledge => &[
                Input { name: "outcome", form: Form::Code, example: "imported" },
                Input { name: "note", form: Form::Text, example: "filed under 4711" },
            ],
        }
    }
}

/// Input of `$issue-link`.
#[derive(Clone, PartialEq, Eq)]
pub struct IssueLink {
    /// Which content entry, counted from 1.
    pub content: u32,
    /// How long; `None`: the policy's lifetime.
    pub lifetime: Option<Duration>,
    /// How often the file may be received whole; `None`: as the policy has it.
    pub uses: Option<u32>,
    /// Where it is to work.
    pub network: Option<IpNet>,
    /// The file's name for whoever opens it. May be patient data.
    pub file_name: Option<String>,
    /// Whom it is meant for, as written. May be patient data.
    pub recipient: Option<String>,
    /// Whether a person must press a button first.
    pub confirm: bool,
    /// Subscription and event that told of the file.
    pub access_reference: Option<(ResourceId, u64)>,
}

impl std::fmt::Debug for IssueLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssueLink").field("content", &self.content).field("uses", &self.uses).finish_non_exhaustive()
    }
}

/// Input of `$revoke`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revoke {
    /// Why.
    pub reason: Option<String>,
    /// Only this link.
    pub link: Option<LinkId>,
    /// Move the document to `revoked` as well.
    pub state: bool,
}

/// Reads the body of `$issue-link`; no body is all defaults.
///
/// # Errors
/// 400 with every mistake: `parameter-unsupported`, `parameter-malformed`, `resource-mismatch`.
pub fn issue_link(body: Option<&Object<'_>>) -> Result<IssueLink, Refusal> {
    let mut reader = Reader::of_body(Operation::IssueLink, body)?;
    let content = reader.count("content").unwrap_or(1);
    let lifetime = reader.span("lifetime");
    let uses = reader.count("uses");
    let network = reader.text("address", 64, |text| network(text).is_some()).and_then(|text| network(&text));
    let file_name = reader.text("file-name", MAX_NAME, is_plain);
    let recipient = reader.text("recipient", MAX_REFERENCE, is_plain);
    let confirm = reader.flag("confirm");
    let reference = reader.text("access-reference", MAX_REFERENCE, |text| access_reference(text).is_some());
    let access_reference = reference.and_then(|text| access_reference(&text));
    reader.finish(IssueLink { content, lifetime, uses, network, file_name, recipient, confirm, access_reference })
}

/// CIDR, or one address.
fn network(text: &str) -> Option<IpNet> {
    let found = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    found.map(|network| network.trunc())
}

/// `<subscription id>/<event number>` (contract, Notifications).
fn access_reference(text: &str) -> Option<(ResourceId, u64)> {
    let (id, number) = text.split_once('/')?;
    let plain = number.bytes().all(|b| b.is_ascii_digit()) && !number.starts_with('0');
    Some((ResourceId::parse(id)?, number.parse().ok().filter(|_| plain)?))
}

/// Reads the body of `$revoke`; no body ends every link given so far.
///
/// # Errors
/// As [`issue_link`].
pub fn revoke(body: Option<&Object<'_>>) -> Result<Revoke, Refusal> {
    let mut reader = Reader::of_body(Operation::Revoke, body)?;
    let reason = reader.text("reason", MAX_REASON, is_plain);
    let link = reader.text("link", 64, |text| LinkId::parse(text).is_some()).and_then(|text| LinkId::parse(&text));
    let state = reader.flag("state");
    reader.finish(Revoke { reason, link, state })
}

/// Reads `wait` of `$lifecycle` from a body (POST) and a query (GET), percent-decoded.
///
/// # Errors
/// As [`issue_link`].
pub fn lifecycle(body: Option<&Object<'_>>, query: &[(String, String)]) -> Result<Option<Duration>, Refusal> {
    let mut reader = Reader::of_body(Operation::Lifecycle, body)?;
    reader.add_query(query);
    let wait = reader.span("wait");
    reader.finish(wait)
}

/// Reads the body of `$acknowledge`: what became of the document, and the note.
///
/// # Errors
/// As [`issue_link`]; `outcome` is required.
pub fn acknowledge(body: Option<&Object<'_>>) -> Result<(Acknowledgement, Option<String>), Refusal> {
    let mut reader = Reader::of_body(Operation::Acknowledge, body)?;
    let known = |text: &str| Acknowledgement::parse(text).is_some();
    let outcome = reader.text("outcome", 64, known).and_then(|text| Acknowledgement::parse(&text));
    let note = reader.text("note", MAX_REASON, is_plain);
    let wanted = reader.finish(outcome.map(|outcome| (outcome, note)))?;
    wanted.ok_or_else(|| {
        let issue = Issue::new(Code::ParameterMalformed).at_http("outcome");
        Refusal::new(issue.fill("fault", "is missing").fill("example", "imported"))
    })
}

/// The answer of `$issue-link`.
pub fn issued(url: &str, expires: Timestamp, uses: u32, link: &LinkId) -> String {
    let mut out = String::from("{\"resourceType\":\"Parameters\",\"parameter\":[{\"name\":\"url\",\"valueUrl\":");
    write_text(url, &mut out);
    // Writing to a String cannot fail. 0 uses: not limited, as policies write it.
    let _ = write!(
        out,
        "}},{{\"name\":\"expires\",\"valueInstant\":\"{expires}\"}},{{\"name\":\"uses\",\"valueInteger\":{uses}}},{{\"name\":\"link\",\"valueString\":\"{link}\"}}]}}"
    );
    out
}

/// The answer of `$revoke`: how many links were alive.
pub fn revoked(count: u64) -> String {
    // `integer` of R4 has 32 bits.
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    format!("{{\"resourceType\":\"Parameters\",\"parameter\":[{{\"name\":\"revoked\",\"valueInteger\":{count}}}]}}")
}

/// The answer of `$lifecycle`, oldest step first.
pub fn steps(steps: &[Step]) -> String {
    let mut out = String::with_capacity(64 + 256 * steps.len());
    out.push_str("{\"resourceType\":\"Parameters\"");
    for (at, step) in steps.iter().enumerate() {
        out.push_str(if at == 0 { ",\"parameter\":[" } else { "," });
        out.push_str("{\"name\":\"transition\",\"part\":[");
        if let Some(from) = step.from {
            let _ = write!(out, "{{\"name\":\"from\",\"valueCode\":\"{from}\"}},");
        }
        let _ = write!(
            out,
            "{{\"name\":\"to\",\"valueCode\":\"{}\"}},{{\"name\":\"at\",\"valueInstant\":\"{}\"}}",
            step.to, step.at
        );
        for (name, text) in [("actor", &step.actor), ("reason", &step.reason)] {
            if !text.trim().is_empty() {
                let _ = write!(out, ",{{\"name\":\"{name}\",\"valueString\":");
                write_text(text, &mut out);
                out.push('}');
            }
        }
        out.push_str("]}");
    }
    out.push_str(if steps.is_empty() { "}" } else { "]}" });
    out
}
