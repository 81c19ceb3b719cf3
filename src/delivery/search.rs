//! Search: the query and the caller's scope become one question to the store; links are offered with what is found; one audit
//! entry says which documents that was.

use aws_lc_rs::digest;

use super::failure::store_failure;
use super::rendering::rendered;
use super::{Caller, Delivery, ReadResource};
use crate::domain::audit::{Action, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::cursor::{self, Cursor, ScopeDigest};
use crate::domain::id::RequestId;
use crate::domain::principal::{Interaction, Principal};
use crate::domain::query::Position;
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::domain::resource::Kind;
use crate::fhir::base::Base;
use crate::fhir::bundle::{Head, SearchSet};
use crate::fhir::search::{self, Asked, Search};
use crate::shares::{Place, Places};
use crate::store::{AnswerMemory, TOTAL_LIMIT};

/// Bytes that a row takes in the answer beside its text, for the first size of the buffer.
const ROW_BYTES: usize = 1024;

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
    /// The searchset Bundle as JSON text.
    pub text: String,
    /// Matches on this page.
    pub count: usize,
    /// What was taken for its texts, where they are long.
    pub memory: Option<Place>,
}

/// A search with the place where its page begins.
struct Paged {
    search: Search,
    began: Timestamp,
    first: bool,
}

/// All that stands in the answer.
struct Found {
    base: Base,
    self_url: String,
    is_first: bool,
    next: Option<String>,
    total: Option<u64>,
    at: Timestamp,
    warnings: Vec<Issue>,
    request: RequestId,
    rows: Vec<ReadResource>,
}

impl Delivery {
    /// Searches documents.
    ///
    /// # Errors
    /// `scope-insufficient`, `parameter-…`, `page-expired`, `search-too-costly`, `audit-unavailable`; `rate-limited`, `server-busy`
    /// where `bytes` has no room for its texts.
    pub async fn search(&self, caller: &Caller, request: &SearchRequest, bytes: &Places) -> Result<Searched, Refusal> {
        let scope = caller.principal.may(Interaction::Search, request.kind)?;
        if request.kind != Kind::DocumentReference {
            let issue = Issue::new(Code::InteractionUnsupported).fill("interaction", "search");
            return Err(issue.fill("type", request.kind.as_str()).into());
        }
        let paged = self.page_asked(caller, request)?;
        let memory = AnswerMemory { bytes, holder: &caller.holder() };
        let page = self.store.search(&paged.search.query, &scope, memory).await.map_err(store_failure)?;
        let (epochs, keys) = (self.store.epochs(), self.link_keys());
        let offers = self.offers(&caller.principal, &keys, &epochs);
        let (mut offered, mut rows) = (Vec::new(), Vec::with_capacity(page.rows.len()));
        let mut entry = caller.entry(Action::Search, Outcome::Ok);
        for stored in page.rows {
            let (addresses, links) = offers.of(&stored);
            offered.extend(links);
            rows.push(ReadResource { stored, addresses, memory: None });
        }
        let began = page.newest.map_or(paged.began, |newest| paged.began.max(newest));
        let next = page.next.map(|after| self.next_page(&caller.principal, &paged, (began, after))).transpose()?;
        let subjects = rows.iter().filter_map(|row| row.stored.document.as_ref()?.subject.as_ref());
        entry =
            entry.patients(subjects.map(|subject| subject.0.as_str())).returned(rows.iter().map(|row| &row.stored.id));
        self.recorder.record_offering(entry, offered).await?;
        let count = rows.len();
        let found = self.found(caller, paged, page.total, (next, rows));
        let text = rendered(found.texts(), move || found.write()).await?;
        Ok(Searched { text, count, memory: page.memory })
    }

    /// The search that was asked, or the one that a page link goes on with.
    fn page_asked(&self, caller: &Caller, request: &SearchRequest) -> Result<Paged, Refusal> {
        let now = self.clock.now();
        let is_page = request.parameters.iter().any(|(name, _)| name == search::PAGE);
        if !is_page {
            let asked = Asked { base: &self.terms.base, now, strict: request.strict };
            return Ok(Paged { search: search::read(&request.parameters, &asked)?, began: now, first: true });
        }
        let text = search::page_text(&request.parameters)
            .ok_or_else(|| Refusal::new(Issue::new(Code::PageExpired).fill("lifetime", "an hour")))?;
        let cursor = self.cursors.open(text, &scope_digest(&caller.principal), now)?;
        let asked = Asked { base: &self.terms.base, now: cursor.began, strict: false };
        let mut search = search::read(&cursor.pairs, &asked)?;
        search.query.after = Some(cursor.position);
        search.query.as_of = Some(cursor.began);
        Ok(Paged { search, began: cursor.began, first: false })
    }

    fn next_page(
        &self,
        reader: &Principal,
        paged: &Paged,
        (began, position): (Timestamp, Position),
    ) -> Result<String, Refusal> {
        let expires = self.clock.now().plus(cursor::LIFETIME);
        let cursor = Cursor { pairs: paged.search.used.clone(), position, began, expires };
        let text = self.cursors.seal(&cursor, &scope_digest(reader), self.entropy.as_ref())?;
        Ok(search::page_url(&self.terms.base, &text))
    }

    fn found(
        &self,
        caller: &Caller,
        paged: Paged,
        total: u64,
        (next, rows): (Option<String>, Vec<ReadResource>),
    ) -> Found {
        let base = self.terms.base.clone();
        Found {
            self_url: search::url(&base, &paged.search.used),
            base,
            is_first: paged.first,
            next,
            // Beyond the limit the store only knows that there are more; a number that is not exact is not told.
            total: (paged.search.total && total <= TOTAL_LIMIT).then_some(total),
            at: self.clock.now(),
            warnings: paged.search.warnings,
            request: caller.request.clone(),
            rows,
        }
    }
}

impl Found {
    /// Bytes of the texts that it shows.
    fn texts(&self) -> usize {
        self.rows.iter().map(|row| row.stored.body.text.len()).sum()
    }

    /// The searchset Bundle.
    fn write(&self) -> String {
        let head = Head {
            self_url: &self.self_url,
            first: (!self.is_first).then_some(self.self_url.as_str()),
            next: self.next.as_deref(),
            total: self.total,
            at: self.at,
        };
        let mut set = SearchSet::begin(&head, self.texts() + self.rows.len() * ROW_BYTES);
        for row in &self.rows {
            set.matched(&self.base, row.stored.kind, &row.stored.id, &row.stored.body, &row.shown());
        }
        set.warn(&self.warnings, &self.request);
        set.finish()
    }
}

/// Whom a page link is for: client and reach, so that a link from before a change of reach ends with it.
fn scope_digest(reader: &Principal) -> ScopeDigest {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(reader.client.as_str().as_bytes());
    context.update(&[0, u8::from(reader.reach.all)]);
    for custodian in &reader.reach.custodians {
        context.update(custodian.as_bytes());
        context.update(&[0]);
    }
    ScopeDigest(context.finish().as_ref().try_into().unwrap_or_default())
}
