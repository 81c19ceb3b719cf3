//! Search: the query and the caller's scope become one question to the store; links are offered with what is found; one audit
//! entry says which documents that was.

use super::failure::store_failure;
use super::{Caller, Delivery, ReadResource};
use crate::domain::audit::{Action, Outcome};
use crate::domain::principal::Interaction;
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::domain::resource::Kind;
use crate::fhir::search::{self, ParsedSearch};

/// A search as it was asked.
#[derive(Debug, Clone)]
pub struct SearchRequest {
    /// Type that is searched.
    pub kind: Kind,
    /// Parameters, percent-decoded, in order.
    pub parameters: Vec<(String, String)>,
    /// `Prefer: handling=strict`.
    pub strict: bool,
}

/// What was found.
#[derive(Debug)]
pub struct Searched {
    /// Matches of this page, with their urls.
    pub rows: Vec<ReadResource>,
    /// All matches within the caller's reach.
    pub total: u64,
    /// Parameters that were used, for the self link.
    pub used: Vec<(String, String)>,
    /// Seal of the next page, if there is one.
    pub next: Option<String>,
    /// What was ignored.
    pub ignored: Vec<Issue>,
}

impl Delivery {
    /// Searches documents.
    ///
    /// # Errors
    /// `scope-insufficient`, `parameter-…`, `page-expired`, `search-too-costly`, `audit-unavailable`.
    pub async fn search(&self, caller: &Caller, request: &SearchRequest) -> Result<Searched, Refusal> {
        let scope = caller.principal.may(Interaction::Search, request.kind)?;
        if request.kind != Kind::DocumentReference {
            let issue = Issue::new(Code::InteractionUnsupported).fill("interaction", "search");
            return Err(issue.fill("type", request.kind.as_str()).into());
        }
        let now = self.clock.now();
        let parsed = search::parse(request, &self.terms, &self.cursors, caller.principal.number, now)?;
        let ParsedSearch { query, used, ignored } = parsed;
        let page = self.store.search(&query, &scope).await.map_err(store_failure)?;
        let (epochs, keys) = (self.store.epochs(), self.link_keys());
        let offers = self.offers(&caller.principal, &keys, &epochs);
        let mut offered = Vec::new();
        let mut entry = caller.entry(Action::Search, Outcome::Ok);
        let mut rows = Vec::with_capacity(page.rows.len());
        for stored in page.rows {
            let (urls, links) = offers.of(&stored);
            offered.extend(links);
            if let Some(subject) = stored.document.as_ref().and_then(|document| document.subject.as_ref()) {
                entry = entry.patient(&subject.0);
            }
            rows.push(ReadResource { stored, urls });
        }
        entry = entry.returned(rows.iter().map(|row| &row.stored.id)).offered(offered);
        self.recorder.record(&entry).await?;
        let next = page.next.map(|after| search::next_page(&self.cursors, &query, &used, after, caller.principal.number, now));
        Ok(Searched { rows, total: page.total, used, next, ignored })
    }
}
