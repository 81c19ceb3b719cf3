//! Refusals: what went wrong, where, and what mends it. Every room refuses with an [`Issue`] or a [`Refusal`]; how one is
//! written on the wire (OperationOutcome, OAuth error, problem+json, page, exit status) is decided in one place per surface.
//!
//! No text here may hold a value that a caller sent: placeholders take names from our own lists, limits, and element paths.

mod codes;
mod page;
mod reason;

pub use codes::{ALL, Code};
pub use page::errors_markdown;
pub use reason::Reason;

use std::fmt;

use super::clock::Timestamp;

/// One row of the table of codes.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Stable name, kebab-case.
    pub name: &'static str,
    /// HTTP status; 0 where the code is a reason and never an answer.
    pub status: u16,
    /// Exit status of a command that ends with it.
    pub exit: u8,
    /// FHIR `issue-type`.
    pub issue_type: IssueType,
    /// `error` under `/auth`.
    pub oauth: OauthError,
    /// Who can mend it.
    pub by: By,
    /// Message with `{placeholders}`.
    pub message: &'static str,
    /// Cure with `{placeholders}`.
    pub cure: &'static str,
}

/// Who can mend a refusal; decides the log level (a caller's mistake is information, the rest a warning).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The caller.
    Caller,
    /// The operator.
    Operator,
    /// This server.
    Server,
    /// Another system.
    Other,
}

macro_rules! text_codes {
    ($(#[$meta:meta])* $name:ident { $($variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $(#[doc = concat!("`", $text, "`")] $variant,)* }

        impl $name {
            /// The code as it stands on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }
    };
}

text_codes! {
    /// `http://hl7.org/fhir/issue-type` (FHIR R4, required binding of `OperationOutcome.issue.code`).
    IssueType {
        BusinessRule = "business-rule", CodeInvalid = "code-invalid", Conflict = "conflict", Deleted = "deleted",
        Duplicate = "duplicate", Exception = "exception", Expired = "expired", Extension = "extension",
        Forbidden = "forbidden", Incomplete = "incomplete", Informational = "informational", Invalid = "invalid", Invariant = "invariant",
        Login = "login", NoStore = "no-store", NotFound = "not-found", NotSupported = "not-supported",
        Processing = "processing", Required = "required", Security = "security", Structure = "structure",
        Suppressed = "suppressed",
        Throttled = "throttled", Timeout = "timeout", TooCostly = "too-costly", TooLong = "too-long", Transient = "transient",
        Unknown = "unknown", Value = "value",
    }
}

text_codes! {
    /// RFC 6749 §5.2, RFC 6750 §3.1, RFC 7591 §3.2.2; `None` where the code is never told under `/auth`.
    OauthError {
        None = "", InsufficientScope = "insufficient_scope", InvalidClient = "invalid_client",
        InvalidClientMetadata = "invalid_client_metadata", InvalidRequest = "invalid_request",
        InvalidScope = "invalid_scope", InvalidToken = "invalid_token", ServerError = "server_error",
        TemporarilyUnavailable = "temporarily_unavailable", UnauthorizedClient = "unauthorized_client",
        UnsupportedGrantType = "unsupported_grant_type",
    }
}

/// How bad an issue is (`http://hl7.org/fhir/issue-severity`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Nothing could be read.
    Fatal,
    /// Refused.
    Error,
    /// Done, with a remark.
    Warning,
    /// Worth knowing.
    Information,
}

/// Where an issue is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Place {
    /// No place can be named.
    #[default]
    None,
    /// Simple FHIRPath, zero-based index on each repeating element (`DocumentReference.content[0].attachment.size`).
    Element(String),
    /// URL parameter or header by name, written `http.{name}`.
    Http(String),
    /// Form parameter or claim of an OAuth request.
    Form(&'static str),
    /// Line and column (1-based) of a file.
    Line {
        /// File as it was given.
        file: String,
        /// 1-based.
        line: usize,
        /// 1-based, in characters.
        column: usize,
    },
    /// A command-line flag as typed.
    Flag(String),
}

/// One thing that is wrong: code, filled texts, place.
#[derive(Clone, PartialEq, Eq)]
pub struct Issue {
    code: Code,
    severity: Severity,
    message: String,
    cure: String,
    place: Place,
}

impl Issue {
    /// An error with the table's texts, placeholders still open.
    pub fn new(code: Code) -> Self {
        let entry = code.entry();
        Self {
            code,
            severity: Severity::Error,
            message: entry.message.to_owned(),
            cure: entry.cure.to_owned(),
            place: Place::None,
        }
    }

    /// Fills `{name}` in message and cure. `text` is one of our own words, a limit, an element path or a name that
    /// matches `[A-Za-z_$][A-Za-z0-9_.:$-]{0,63}`: never a value that a caller sent (`reference` rule 7, docs/errors.md).
    #[must_use]
    pub fn fill(mut self, name: &str, text: impl fmt::Display) -> Self {
        let (slot, text) = (format!("{{{name}}}"), text.to_string());
        self.message = self.message.replace(&slot, &text);
        self.cure = self.cure.replace(&slot, &text);
        self
    }

    /// Puts the issue at a FHIR element, and fills `{path}` with it.
    #[must_use]
    pub fn at(self, path: &str) -> Self {
        let mut filled = self.fill("path", path);
        filled.place = Place::Element(path.to_owned());
        filled
    }

    /// Puts the issue at a URL parameter or header, and fills `{parameter}` and `{header}`. A name that does not look
    /// like a name is not repeated.
    #[must_use]
    pub fn at_http(self, name: &str) -> Self {
        let shown = if is_plain_name(name) { name } else { "A parameter" };
        let mut filled = self.fill("parameter", shown).fill("header", shown);
        if is_plain_name(name) {
            filled.place = Place::Http(name.to_owned());
        }
        filled
    }

    /// Puts the issue somewhere else.
    #[must_use]
    pub fn place(mut self, place: Place) -> Self {
        self.place = place;
        self
    }

    /// Another severity than error.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// A message of its own instead of the table's, for one that was filled elsewhere (the other end of the control socket).
    #[must_use]
    pub fn message_text(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// A cure of its own instead of the table's.
    #[must_use]
    pub fn cure_text(mut self, cure: impl Into<String>) -> Self {
        self.cure = cure.into();
        self
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// How bad it is.
    pub fn how_bad(&self) -> Severity {
        self.severity
    }

    /// What is wrong, one sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What mends it, one sentence.
    pub fn cure(&self) -> &str {
        &self.cure
    }

    /// Where it is.
    pub fn where_is(&self) -> &Place {
        &self.place
    }
}

impl fmt::Debug for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:?}: {}", self.code.name(), self.place, self.message)
    }
}

impl Code {
    /// Stable name, kebab-case.
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// The code of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        ALL.iter().copied().find(|code| code.name() == name)
    }
}

/// A request refused: at least one issue, the first of which decides status and `Daylily-Error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(Box<Parts>);

/// Boxed, so that a `Result` with a refusal in it stays small on the good path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Parts {
    first: Issue,
    others: Vec<Issue>,
    status: u16,
    retry_after: Option<u32>,
    scope: Option<String>,
    allow: Option<&'static str>,
    length: Option<u64>,
    moment: Option<Timestamp>,
    oauth: Option<OauthError>,
    reason: Option<Reason>,
}

impl Refusal {
    /// A refusal with one issue and the table's status.
    pub fn new(issue: Issue) -> Self {
        Self::with_others(issue, Vec::new())
    }

    /// A refusal of the bare code, for codes without placeholders.
    pub fn of(code: Code) -> Self {
        Self::new(Issue::new(code))
    }

    /// All mistakes of one body in document order; `None` when there is no error among them. The worst status decides:
    /// 400 (cannot be read) before 422 (breaks a rule).
    pub fn of_all(issues: Vec<Issue>) -> Option<Self> {
        let mut sorted = issues;
        let main = sorted
            .iter()
            .enumerate()
            .filter(|(_, issue)| matches!(issue.severity, Severity::Error | Severity::Fatal))
            .min_by_key(|(at, issue)| (issue.code.entry().status, *at))
            .map(|(at, _)| at)?;
        let first = sorted.remove(main);
        Some(Self::with_others(first, sorted))
    }

    fn with_others(first: Issue, others: Vec<Issue>) -> Self {
        let status = first.code.entry().status;
        Self(Box::new(Parts {
            first,
            others,
            status,
            retry_after: None,
            scope: None,
            allow: None,
            length: None,
            moment: None,
            oauth: None,
            reason: None,
        }))
    }

    fn fill_first(&mut self, name: &str, text: impl fmt::Display) {
        self.0.first = self.0.first.clone().fill(name, text);
    }

    /// Another status than the table's first one, where the table names several (414 for a URL that is too long).
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.0.status = status;
        self
    }

    /// Seconds for `Retry-After`; fills `{n}` too.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after = Some(seconds);
        self.fill_first("n", seconds);
        self
    }

    /// The scope that lacks, for `WWW-Authenticate` (RFC 6750 §3); fills `{scope}` too.
    #[must_use]
    pub fn with_scope(mut self, scope: &str) -> Self {
        self.0.scope = Some(scope.to_owned());
        self.fill_first("scope", scope);
        self
    }

    /// Methods for the `Allow` header; fills `{methods}` too.
    #[must_use]
    pub fn with_allow(mut self, methods: &'static str) -> Self {
        self.0.allow = Some(methods);
        self.fill_first("methods", methods);
        self
    }

    /// Whole length of what was asked for in ranges, for `Content-Range: bytes */N`; fills `{size}` too.
    #[must_use]
    pub fn with_length(mut self, length: u64) -> Self {
        self.0.length = Some(length);
        self.fill_first("size", length);
        self
    }

    /// Another OAuth error than the table's, where the table names several (`unsupported_grant_type` for a `grant_type`
    /// that is not served).
    #[must_use]
    pub fn with_oauth(mut self, error: OauthError) -> Self {
        self.0.oauth = Some(error);
        self
    }

    /// What stands in `error` under `/auth` (RFC 6749 §5.2).
    pub fn oauth(&self) -> OauthError {
        self.0.oauth.unwrap_or(self.code().entry().oauth)
    }

    /// The code that decides.
    pub fn code(&self) -> Code {
        self.0.first.code
    }

    /// HTTP status.
    pub fn status(&self) -> u16 {
        self.0.status
    }

    /// The issue that decides.
    pub fn first(&self) -> &Issue {
        &self.0.first
    }

    /// Every issue, the deciding one first.
    pub fn issues(&self) -> impl Iterator<Item = &Issue> {
        std::iter::once(&self.0.first).chain(&self.0.others)
    }

    /// Seconds for `Retry-After`.
    pub fn retry_after_seconds(&self) -> Option<u32> {
        self.0.retry_after
    }

    /// The scope that lacks.
    pub fn scope(&self) -> Option<&str> {
        self.0.scope.as_deref()
    }

    /// Methods for `Allow`.
    pub fn allow(&self) -> Option<&'static str> {
        self.0.allow
    }

    /// The moment that a page about this speaks of, where the message has none: when a link was used up; until when it still works.
    #[must_use]
    pub fn with_moment(mut self, moment: Timestamp) -> Self {
        self.0.moment = Some(moment);
        self
    }

    /// What [`Refusal::with_moment`] said.
    pub fn moment(&self) -> Option<Timestamp> {
        self.0.moment
    }

    /// Whole length for `Content-Range`.
    pub fn length(&self) -> Option<u64> {
        self.0.length
    }
}

impl From<Issue> for Refusal {
    fn from(issue: Issue) -> Self {
        Self::new(issue)
    }
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self::of(code)
    }
}

/// `[A-Za-z_$][A-Za-z0-9_.:$-]{0,63}`: a name that may be repeated to its sender.
pub fn is_plain_name(name: &str) -> bool {
    let mut chars = name.chars();
    let first = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_' || c == '$');
    first && name.len() <= 64 && chars.all(|c| c.is_ascii_alphanumeric() || "_.:$-".contains(c))
}

/// Issues that one answer lists.
pub const MAX_ISSUES: usize = 20;

/// The first [`MAX_ISSUES`], and how many more there were.
pub fn first_of(mut issues: Vec<Issue>) -> Vec<Issue> {
    if let Some(left) = issues.len().checked_sub(MAX_ISSUES).filter(|left| *left > 0) {
        issues.truncate(MAX_ISSUES);
        issues.push(Issue::new(Code::IssuesOmitted).fill("n", left).severity(Severity::Information));
    }
    issues
}

/// The one known name within edit distance 2 of `name`, if there is exactly one nearest (docs/errors.md, wording 5).
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut best: Option<(usize, &'a str)> = None;
    let mut tied = false;
    for candidate in known {
        let distance = edit_distance(name, candidate);
        match best {
            Some((least, _)) if distance > least => {}
            Some((least, _)) if distance == least => tied = true,
            _ => {
                best = Some((distance, candidate));
                tied = false;
            }
        }
    }
    best.filter(|(distance, _)| *distance <= 2 && !tied).map(|(_, candidate)| candidate)
}

fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(64).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (j, to) in b.iter().enumerate() {
            let above = row.get(j + 1).copied().unwrap_or(usize::MAX - 1);
            let cost = diagonal + usize::from(from != *to);
            left = cost.min(above + 1).min(left + 1);
            diagonal = above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
