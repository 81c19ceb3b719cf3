//! From a query string to a [`Query`]: what is served, what is ignored and said so, what is refused (FHIR R4 search.html).
//! Mistakes in names are ignored unless `Prefer: handling=strict`; a value or modifier that cannot be understood is always
//! refused, because a search without it would answer another question.

pub mod date;
mod read;
pub mod served;
#[cfg(test)]
mod tests;
pub mod value;

use crate::domain::clock::Timestamp;
use crate::domain::query::Query;
use crate::domain::refusal::{Issue, Refusal};

use super::base::Base;

/// Most parameters of one search.
pub const MAX_PARAMETERS: usize = 100;
/// Most alternatives within one parameter.
pub const MAX_ALTERNATIVES: usize = 100;
/// Rows of a page where `_count` is absent.
pub const DEFAULT_COUNT: usize = 20;
/// The parameter of page links.
pub const PAGE: &str = "_page";

/// What a search is read against.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Own addresses.
    pub base: &'a Base,
    /// When the first page was read: for `ap`, and for pages of `_lastUpdated`.
    pub now: Timestamp,
    /// `Prefer: handling=strict`.
    pub strict: bool,
}

/// A search, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// For the store; `after` is for the caller to set.
    pub query: Query,
    /// The parameters that were used, defaults included, in order: for the `self` link and the page cursor.
    pub used: Vec<(String, String)>,
    /// What was ignored, for an `outcome` entry.
    pub warnings: Vec<Issue>,
    /// Whether `Bundle.total` is to be told (unless `_total=none`).
    pub total: bool,
}

/// Reads the parameters of a DocumentReference search, percent-decoded, from URL and form alike.
///
/// # Errors
/// 400 with every mistake (at most 20 are listed): `parameter-unsupported`, `parameter-malformed`, `search-too-costly`.
pub fn read(pairs: &[(String, String)], asked: &Asked<'_>) -> Result<Search, Refusal> {
    read::read(pairs, asked)
}

/// The text of a page link, where a request is one. It stands alone but for `_format`, `_pretty`, and `_count`, which some clients
/// add to every request (`@medplum/core`); the page keeps the size that its search began with.
pub fn page_text(pairs: &[(String, String)]) -> Option<&str> {
    let mut pages = pairs.iter().filter(|(name, _)| name == PAGE);
    let text = pages.next().map(|(_, text)| text.as_str())?;
    let alone = pairs.iter().all(|(name, _)| [PAGE, "_format", "_pretty", "_count"].contains(&name.as_str()));
    (alone && pages.next().is_none()).then_some(text)
}

/// The URL of a search with these parameters.
pub fn url(base: &Base, used: &[(String, String)]) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(used);
    let query = form.finish();
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{}/DocumentReference{mark}{query}", base.fhir())
}

/// The URL of a page.
pub fn page_url(base: &Base, text: &str) -> String {
    format!("{}/DocumentReference?{PAGE}={text}", base.fhir())
}
