//! Collects what is wrong, with the place where the walk stands. The path becomes text only when there is an issue.

use crate::domain::refusal::{Code, Issue, MAX_ISSUES, Place, Severity};
use crate::fhir::path::Path;
use std::fmt;

/// Allowed values that one text names.
const MAX_NAMED: usize = 8;

/// Where the walk stands, and what it found.
pub(super) struct Report<'v> {
    path: Path<'v>,
    issues: Vec<Issue>,
    omitted: usize,
}

impl<'v> Report<'v> {
    pub(super) fn new() -> Self {
        Self { path: Path::new(), issues: Vec::new(), omitted: 0 }
    }

    pub(super) fn enter(&mut self, name: &'v str) {
        self.path.enter(name);
    }

    pub(super) fn enter_item(&mut self, at: usize) {
        self.path.enter_item(at);
    }

    pub(super) fn leave(&mut self) {
        self.path.leave();
    }

    pub(super) fn is_at_start(&self) -> bool {
        self.path.is_at_start()
    }

    /// Simple FHIRPath.
    pub(super) fn path(&self) -> String {
        self.path.text()
    }

    /// An issue where the walk stands; `fill` fills what is left open.
    pub(super) fn add(&mut self, code: Code, fill: impl FnOnce(Issue) -> Issue) {
        if self.issues.len() < MAX_ISSUES {
            let issue = fill(Issue::new(code).at(&self.path()));
            self.issues.push(issue);
        } else {
            self.omitted += 1;
        }
    }

    /// An issue one member below where the walk stands.
    pub(super) fn add_below(&mut self, name: &'v str, code: Code, fill: impl FnOnce(Issue) -> Issue) {
        self.enter(name);
        self.add(code, fill);
        self.leave();
    }

    /// An issue that knows its place.
    pub(super) fn add_issue(&mut self, issue: Issue) {
        if self.issues.len() < MAX_ISSUES {
            self.issues.push(issue);
        } else {
            self.omitted += 1;
        }
    }

    pub(super) fn wrong_shape(&mut self, shape: &str) {
        self.add(Code::ElementShapeWrong, |issue| issue.fill("shape", shape));
    }

    pub(super) fn malformed(&mut self, datatype: &str, example: &str) {
        self.add(Code::ValueMalformed, |issue| issue.fill("datatype", datatype).fill("example", example));
    }

    pub(super) fn breaks(&mut self, key: &str, rule: &str, cure: &str) {
        self.add(Code::InvariantFailed, |issue| issue.fill("key", key).fill("rule", rule).fill("cure", cure));
    }

    /// All issues, and how many more there were.
    pub(super) fn into_issues(mut self) -> Vec<Issue> {
        if self.omitted > 0 {
            let more = Issue::new(Code::IssuesOmitted).fill("n", self.omitted).severity(Severity::Information);
            self.issues.push(more.place(Place::None));
        }
        self.issues
    }
}

/// `, nearest: current`, or nothing.
pub(super) struct Nearest<'n>(pub(super) Option<&'n str>);

impl fmt::Display for Nearest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |name| write!(f, ", nearest: {name}"))
    }
}

/// At most [`MAX_NAMED`] codes, then the list they are from.
pub(super) fn named(codes: &[&str], list: &str) -> String {
    if codes.len() <= MAX_NAMED {
        return codes.join(", ");
    }
    let first: Vec<_> = codes.iter().copied().take(MAX_NAMED).collect();
    format!("{}, … (all {} codes of http://hl7.org/fhir/ValueSet/{list})", first.join(", "), codes.len())
}
