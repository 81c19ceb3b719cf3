//! A search, understood: what `fhir::search` makes of a query string and what the store answers. All filters hold together;
//! the values within one filter are alternatives.

use super::clock::Timestamp;
use super::id::ResourceId;
use super::lifecycle::State;
use super::policy::CodeTest;
use super::resource::{Kind, Span, Target};

/// Most rows of a page.
pub const MAX_COUNT: usize = 1_000;

/// A prefix of a date parameter (FHIR R4 search, prefixes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefix {
    /// The parameter's span contains the element's.
    Eq,
    /// It does not.
    Ne,
    /// The element reaches beyond the span.
    Gt,
    /// The element begins before the span.
    Lt,
    /// `gt` or `eq`.
    Ge,
    /// `lt` or `eq`.
    Le,
    /// The element starts after the span ends.
    Sa,
    /// The element ends before the span starts.
    Eb,
    /// They overlap, with a tenth of the distance to now as tolerance (the span holds it already).
    Ap,
}

/// One date value of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateTest {
    /// How to compare.
    pub prefix: Prefix,
    /// The value's span, `[from, until)` by its precision.
    pub span: Span,
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// `_id`
    Id(Vec<ResourceId>),
    /// `patient`: the subject, and it is a Patient. A bare id has been given its type.
    Patient(Vec<Target>),
    /// `subject`: the subject. A bare id stands as one target per allowed type.
    Subject(Vec<Target>),
    /// `patient.identifier`: the subject is a Patient of this server with such an identifier, visible to the searcher.
    PatientIdentifier(Vec<CodeTest>),
    /// `encounter`
    Encounter(Vec<Target>),
    /// `custodian`
    Custodian(Vec<Target>),
    /// `status` (the system of the binding has been checked and dropped)
    Status(Vec<String>),
    /// `type`
    Type(Vec<CodeTest>),
    /// `category`
    Category(Vec<CodeTest>),
    /// `identifier`: identifier or masterIdentifier; `code` of the test is the value.
    Identifier(Vec<CodeTest>),
    /// `date`
    Date(Vec<DateTest>),
    /// `_lastUpdated`
    Updated(Vec<DateTest>),
    /// `lifecycle`
    Lifecycle(Vec<State>),
}

/// What results are ordered by. Equal keys are ordered by arrival, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SortKey {
    /// Order of arrival, which never changes: the default, newest first.
    #[default]
    Arrival,
    /// `date`; documents without one come last.
    Date,
    /// `_lastUpdated`
    Updated,
}

/// A sort key with its direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sort {
    /// By what.
    pub key: SortKey,
    /// `-key` of `_sort`.
    pub descending: bool,
}

impl Default for Sort {
    fn default() -> Self {
        Self { key: SortKey::Arrival, descending: true }
    }
}

/// A place in the ordered results: the last row of a page. The next page begins right after it, whatever was inserted since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The row's sort key in the store's terms (milliseconds, or arrival number).
    pub key: i64,
    /// The row's arrival number.
    pub arrival: i64,
}

/// A search of one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// What is searched.
    pub kind: Kind,
    /// All must hold.
    pub filters: Vec<Filter>,
    /// Order.
    pub sort: Sort,
    /// Most rows of a page; 0 asks for the total alone.
    pub count: usize,
    /// Where the page begins; `None`: at the start.
    pub after: Option<Position>,
    /// For `_sort=_lastUpdated` downwards: rows changed after the first page was read are left to the next search.
    pub as_of: Option<Timestamp>,
}
