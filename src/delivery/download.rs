//! Bytes to whoever may have them: by link, or by handle with a token. The audit entry is durable before the first byte can
//! leave; each piece is checked against revocation, state and time before it is handed on; how it ended is a second entry.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use moka::sync::Cache;

use super::confirming::{Confirm, ConfirmedLink, is_confirmed};
use super::cutting::Running;
use super::failure::{blob_failure, store_failure};
use super::judged::Judged;
use super::offers::{about, not_found};
use super::still_open::StillOpen;
use super::{Caller, Delivery};
use crate::blob::{CHUNK, ContentRef, OpenContent, Placement, READ_MOST};
use crate::domain::audit::{Action, Entry, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::content::WrappedKey;
use crate::domain::coverage::Pieced;
use crate::domain::epoch::Subject;
use crate::domain::id::{ClientId, FileId, LinkId, RequestId};
use crate::domain::link::{LinkError, Purpose, VerifiedLink};
use crate::domain::principal::ClientNumber;
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::domain::resource::FileFacts;
use crate::store::{LinkRow, Receipt};

/// Downloads whose parts are put together, and for how long after the last part.
const RESUMED_MOST: u64 = 10_000;
const RESUMED_FOR: Duration = Duration::from_secs(3600);

/// A request for bytes by link.
#[derive(Debug, Clone)]
pub struct Download {
    /// Text behind `/d/`.
    pub token: String,
    /// The request's id.
    pub request: RequestId,
    /// Where it comes from.
    pub address: IpAddr,
    /// `HEAD`: nothing is sent, nothing is used, and the entry says so.
    pub head: bool,
    /// Value of the cookie that a confirm page set, where the request brought one.
    pub confirmation: Option<String>,
}

/// What following a link comes to.
#[derive(Debug)]
pub enum Followed {
    /// Its file.
    File(Opened),
    /// A person must press the button first: 403 `link-confirm-required`, or the page for a browser. Recorded.
    Confirm(Confirm),
}

/// By whom and how an authentic link is followed.
pub(super) struct Found {
    pub(super) facts: Arc<FileFacts>,
    pub(super) access: Access,
    still: StillOpen,
    link: VerifiedLink,
    expired: bool,
    row: Option<Arc<LinkRow>>,
}

impl Found {
    /// Whether it leads to the page with the button.
    pub(super) fn is_to_confirm(&self) -> bool {
        self.row.as_deref().is_some_and(|row| row.confirm) && self.link.claims().purpose == Purpose::Download
    }
}

/// A file that may be sent.
#[derive(Debug)]
pub struct Opened {
    /// What it is.
    pub facts: Arc<FileFacts>,
    /// Its bytes.
    pub(super) content: Arc<dyn OpenContent>,
    /// Its first chunk, opened already.
    pub(super) first: Bytes,
    /// Whether that still holds.
    pub(super) still: StillOpen,
    /// Who gets it and how.
    pub(super) access: Access,
    /// The row of the link that opened it.
    pub(super) row: Option<Arc<LinkRow>>,
    /// The link's last second.
    pub(super) until: Option<Timestamp>,
}

/// By what right a file is sent, and what its entries say.
#[derive(Debug, Clone)]
pub(super) struct Access {
    pub(super) action: Action,
    pub(super) reader: ClientNumber,
    pub(super) client: Option<ClientId>,
    pub(super) link: Option<LinkId>,
    /// The newest revocation that concerned the reader and the file when the right was given.
    pub(super) epoch: u32,
    pub(super) request: RequestId,
    pub(super) address: IpAddr,
    pub(super) head: bool,
}

/// How a transfer ended on the wire, as far as the connection can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The peer has taken everything that was handed on (contract, Links, Uses).
    Taken,
    /// It has not: it broke off, or nothing moved for too long.
    Unknown,
    /// Nobody can tell: the server stopped first.
    Stopped,
}

/// Downloads that are running, and those that may be resumed.
#[derive(Debug)]
pub(super) struct Transfers {
    next: AtomicU64,
    running: Mutex<HashMap<u64, Arc<Running>>>,
    /// Changes of state up to which the running ones were looked at.
    seen: AtomicU64,
    resumed: Cache<(ClientNumber, FileId), Arc<Mutex<Pieced>>>,
}

impl Default for Transfers {
    fn default() -> Self {
        let resumed = Cache::builder().max_capacity(RESUMED_MOST).time_to_idle(RESUMED_FOR).build();
        Self { next: AtomicU64::new(0), running: Mutex::default(), seen: AtomicU64::new(0), resumed }
    }
}

impl Transfers {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Running>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(&self, running: &Arc<Running>) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(number, Arc::clone(running));
        number
    }

    pub(super) fn leave(&self, number: u64) {
        self.lock().remove(&number);
    }

    /// All that run now.
    pub(super) fn all(&self) -> Vec<Arc<Running>> {
        self.lock().values().map(Arc::clone).collect()
    }

    /// Whether some document changed its state after what was looked at.
    pub(super) fn has_changed(&self, count: u64) -> bool {
        self.seen.load(Ordering::Acquire) != count
    }

    /// The running ones were looked at as they were after `count` changes.
    pub(super) fn seen(&self, count: u64) {
        self.seen.store(count, Ordering::Release);
    }

    /// How many running downloads concern what `covers` says.
    pub(super) fn count(&self, covers: impl Fn(&Running) -> bool) -> usize {
        self.lock().values().filter(|running| covers(running)).count()
    }
}

impl Delivery {
    /// Opens what a link names, if the link is good and its content may be had now. The order of the checks decides what a
    /// holder learns: authenticity, time, revocation, network, state, confirmation; uses are looked at when sending begins
    /// (contract, Links).
    ///
    /// # Errors
    /// The codes of the contract's table. For all but `link-invalid` an entry is written.
    pub async fn open_link(&self, download: Download) -> Result<Followed, Refusal> {
        let found = self.open_found(&download).await;
        found.map_err(|refusal| self.works_until(refusal, &download.token))
    }

    async fn open_found(&self, download: &Download) -> Result<Followed, Refusal> {
        let found = self.find_link(download).await?;
        let asks = found.is_to_confirm();
        let Found { facts, access, still, link, row, .. } = found;
        match (link.claims().purpose, row) {
            (_, Some(row)) if asks => {
                let page = self.confirm_page(&facts, &link, &row).await?;
                let refusal = page.spent.clone().unwrap_or_else(|| Refusal::of(Code::LinkConfirmRequired));
                self.deny(&access, &facts, &refusal).await?;
                Ok(Followed::Confirm(page))
            }
            (Purpose::Confirmed, _) if !is_confirmed(&link, download) => {
                let refusal = Refusal::of(Code::LinkConfirmRequired);
                self.deny(&access, &facts, &refusal).await?;
                Err(refusal)
            }
            (_, row) => {
                let opened = self.open_content(facts, access, still).await?;
                Ok(Followed::File(Opened { row, until: Some(link.claims().expires), ..opened }))
            }
        }
    }

    /// A refusal for which this server is the reason, with until when the link works.
    fn works_until(&self, refusal: Refusal, token: &str) -> Refusal {
        match self.link_keys().verify_any(token, self.clock.now()) {
            Ok(link) => unwell_until(refusal, Some(link.claims().expires)),
            Err(_) => refusal,
        }
    }

    /// The link that a person confirmed on the page: bound to the page's cookie, for a minute at most.
    ///
    /// # Errors
    /// As [`Delivery::open_link`]; `link-confirm-required` without a cookie; `method-not-allowed` for a link that asks for no
    /// confirmation, however it stands.
    pub async fn confirm_link(&self, download: Download) -> Result<ConfirmedLink, Refusal> {
        let known = self.known_link(&download).await?;
        let refused = if known.is_to_confirm() {
            let found = self.still_good(known, &download).await?;
            if let Some(secret) = &download.confirmation {
                let entry = entry_of(&found.access, &found.facts, Outcome::Ok).with("confirmed", "yes");
                return self.confirmed(&found.link, secret, &entry).await;
            }
            (found, Refusal::of(Code::LinkConfirmRequired))
        } else {
            (known, Refusal::of(Code::MethodNotAllowed))
        };
        let (found, refusal) = refused;
        self.deny(&found.access, &found.facts, &refusal).await?;
        Err(refusal)
    }

    /// A link that opens now.
    pub(super) async fn find_link(&self, download: &Download) -> Result<Found, Refusal> {
        let known = self.known_link(download).await?;
        self.still_good(known, download).await
    }

    /// An authentic link, however it stands.
    pub(super) async fn known_link(&self, download: &Download) -> Result<Found, Refusal> {
        let now = self.clock.now();
        let (link, expired) = match self.link_keys().verify_any(&download.token, now) {
            Ok(link) => (link, false),
            Err(LinkError::Expired(link)) => (link, true),
            Err(LinkError::Invalid) => return Err(Refusal::of(Code::LinkInvalid)),
        };
        let still = StillOpen::new(&self.store, link.claims().file);
        let facts = self.store.file(link.claims().file).await.map_err(store_failure)?;
        // A link to a file that never had a document is none of ours.
        let Some(facts) = facts.filter(|facts| facts.document.is_some()) else {
            return Err(Refusal::of(Code::LinkInvalid));
        };
        let row = match link.claims().row {
            Some(number) => self.store.link(number).await.map_err(store_failure)?,
            None => None,
        };
        // Numbers come again once a row is forgotten; a row belongs to the link whose file and reader it has.
        let row = row.filter(|row| row.is_of(link.claims()));
        let access = self.link_access(&link, row.as_ref(), download);
        Ok(Found { facts, access, still, link, expired, row: row.map(Arc::new) })
    }

    async fn still_good(&self, found: Found, download: &Download) -> Result<Found, Refusal> {
        let judged = Judged::by_text((&found.link, found.expired));
        let closed = self.link_closed(&judged, found.row.as_deref(), &found.facts, download.address);
        let Some(refusal) = closed else { return Ok(found) };
        self.deny(&found.access, &found.facts, &refusal).await?;
        Err(refusal)
    }

    pub(super) async fn deny(&self, access: &Access, facts: &FileFacts, refusal: &Refusal) -> Result<(), Refusal> {
        let entry = entry_of(access, facts, Outcome::Denied).code(refusal.code());
        self.recorder.record(&entry).await.map(drop)
    }

    fn link_access(&self, link: &VerifiedLink, row: Option<&LinkRow>, download: &Download) -> Access {
        let reader = link.claims().reader;
        Access {
            action: Action::LinkRedeem,
            reader,
            client: self.store.client_by_number(reader).map(|client| client.id.clone()),
            // A confirmed link is recorded, and revoked, as the link that was confirmed.
            link: Some(row.map_or_else(|| link.id().clone(), |row| row.id.clone())),
            epoch: link.claims().epoch,
            request: download.request.clone(),
            address: download.address,
            head: download.head,
        }
    }

    /// Why an authentic link does not open now, if it does not.
    pub(super) fn link_closed(
        &self,
        link: &Judged<'_>,
        row: Option<&LinkRow>,
        facts: &FileFacts,
        address: IpAddr,
    ) -> Option<Refusal> {
        if link.expired {
            return Some(Issue::new(Code::LinkExpired).fill("when", link.expires).into());
        }
        let subject = subject_of(facts, link.reader)?;
        let id = row.map_or(link.id, |row| &row.id);
        if let Some(at) = self.store.epochs().revoked_at(&subject, link.epoch, id) {
            return Some(Issue::new(Code::LinkRevoked).fill("when", at).into());
        }
        let now = self.clock.now();
        // A link that was made while its client was being switched off.
        if self.store.client_by_number(subject.reader).is_some_and(|client| client.disabled) {
            return Some(Issue::new(Code::LinkRevoked).fill("when", now).into());
        }
        // A dual-stack listener shows IPv4 callers as ::ffff:a.b.c.d; the link says a.b.c.d.
        let network = row.and_then(|row| row.network);
        if network.is_some_and(|network| !network.contains(&address.to_canonical())) {
            return Some(Refusal::of(Code::LinkWrongNetwork));
        }
        let closed = facts.document.as_ref().and_then(|document| self.closed(document, now));
        // The row goes with the content: where that is there and the row is not, what it said cannot be held to.
        let lost = || (link.row.is_some() && row.is_none()).then(|| Refusal::of(Code::LinkInvalid));
        closed.or_else(lost)
    }

    /// Opens a file for a client with a token: the handle, or the Binary.
    ///
    /// # Errors
    /// `scope-insufficient`; `resource-not-found`; `content-…` for a document that the caller's reach covers.
    pub async fn open_handle(&self, caller: &Caller, file: FileId, head: bool) -> Result<Opened, Refusal> {
        let scope = caller.principal.may_open_content()?;
        let still = StillOpen::new(&self.store, file);
        let covered = self.store.covers(file, &scope).await.map_err(store_failure)?;
        let facts = if covered { self.store.file(file).await.map_err(store_failure)? } else { None };
        let Some(facts) = facts else {
            self.record_missing(caller, Action::BinaryRead, crate::domain::resource::Kind::Binary, &file.into())
                .await?;
            return Err(not_found());
        };
        let reader = caller.principal.number;
        let epoch = subject_of(&facts, reader).map_or(0, |subject| self.store.epochs().current(&subject));
        let access = Access {
            action: Action::BinaryRead,
            reader,
            client: Some(caller.principal.client.clone()),
            link: None,
            epoch,
            request: caller.request.clone(),
            address: caller.address,
            head,
        };
        let now = self.clock.now();
        if let Some(refusal) = facts.document.as_ref().and_then(|document| self.closed(document, now)) {
            let entry = entry_of(&access, &facts, Outcome::Denied).code(refusal.code());
            self.recorder.record(&entry).await?;
            return Err(refusal);
        }
        self.open_content(facts, access, still).await
    }

    async fn open_content(&self, facts: Arc<FileFacts>, access: Access, still: StillOpen) -> Result<Opened, Refusal> {
        let (content, first) = match self.sound_content(&facts).await {
            Ok(sound) => sound,
            Err(refusal) => {
                // That stored bytes are not what they were, or cannot be had, belongs in the log, like a transfer that is cut for it.
                self.recorder.record(&entry_of(&access, &facts, Outcome::Error).code(refusal.code())).await?;
                return Err(refusal);
            }
        };
        Ok(Opened { facts, content, first, still, access, row: None, until: None })
    }

    /// The open content of a file and its first chunk, opened now: the commonest damage becomes a clean answer instead of a broken
    /// transfer.
    async fn sound_content(&self, facts: &FileFacts) -> Result<(Arc<dyn OpenContent>, Bytes), Refusal> {
        let content = self.content_of(facts).await?;
        let first = content.read(0, CHUNK).map_err(blob_failure)?;
        Ok((content, first))
    }

    /// The open content of a file.
    pub(super) async fn content_of(&self, facts: &FileFacts) -> Result<Arc<dyn OpenContent>, Refusal> {
        let damaged = || Refusal::of(Code::ContentDamaged);
        let wrapped = facts.wrapped_key.clone().and_then(WrappedKey::from_stored).ok_or_else(damaged)?;
        let placement = if facts.is_inline {
            let sealed = self.store.inline_content(facts.file).await.map_err(store_failure)?;
            Placement::Inline(sealed.ok_or_else(damaged)?)
        } else {
            Placement::File
        };
        let content = ContentRef { file: facts.file, placement, wrapped_key: wrapped, size: facts.size };
        let opened = self.blobs.open(&content).await.map_err(blob_failure)?;
        Ok(Arc::from(opened))
    }

    /// Records that a file was given whole in one answer, with what that means for its document.
    pub(super) async fn record_whole(&self, opened: &Opened) -> Result<(), Refusal> {
        let (facts, access) = (&opened.facts, &opened.access);
        let entry = entry_of(access, facts, Outcome::Ok).bytes(facts.size);
        match &facts.document {
            Some(document) if document.owner != access.reader && !access.head => {
                let receipt = Receipt { document: document.number, reader: access.reader, at: self.clock.now() };
                self.received(facts, receipt, &entry).await
            }
            _ => self.recorder.record(&entry).await.map(|_| ()),
        }
    }

    /// Notes how a download ended; whether, with what came before, the reader now has the whole file.
    pub(super) fn note_received(&self, access: &Access, facts: &FileFacts, piece: Range<u64>, taken: bool) -> bool {
        let key = (access.reader, facts.file);
        let known = self.transfers.resumed.get_with(key, Arc::default);
        let mut coverage = known.lock().unwrap_or_else(PoisonError::into_inner);
        coverage.ended(access.address.to_canonical(), piece, taken);
        let whole = coverage.is_whole(facts.size);
        drop(coverage);
        if whole {
            self.transfers.resumed.invalidate(&key);
        }
        whole
    }
}

/// Says until when a link still works, where the refusal lies with this server.
pub(super) fn unwell_until(refusal: Refusal, until: Option<Timestamp>) -> Refusal {
    match until {
        Some(until) if refusal.code().entry().status >= 500 && refusal.moment().is_none() => refusal.with_moment(until),
        _ => refusal,
    }
}

pub(super) fn entry_of(access: &Access, facts: &FileFacts, outcome: Outcome) -> Entry {
    let mut entry = Entry::new(access.action, outcome).request(&access.request).ip(access.address).file(facts.file);
    if let Some(client) = &access.client {
        entry = entry.client(client);
    }
    if let Some(link) = &access.link {
        entry = entry.link(link);
    }
    if access.head {
        entry = entry.bytes(0);
    }
    match &facts.document {
        Some(document) => about(entry.document(&document.id, u64::from(document.version)), document),
        None => entry,
    }
}

pub(super) fn subject_of(facts: &FileFacts, reader: ClientNumber) -> Option<Subject> {
    facts.document.as_ref().map(|document| Subject { reader, document: document.number, patient: document.patient })
}

/// The moment shown as the content's `Last-Modified`.
impl Opened {
    /// When the file was stored.
    pub fn stored_at(&self) -> Timestamp {
        self.facts.created
    }

    /// Whether its receipt must be watched: the link that opened it is counted.
    pub fn is_counted(&self) -> bool {
        self.row.as_ref().is_some_and(|row| row.uses > 0)
    }

    /// Name of the file that the link's maker chose; `None`: the content's title.
    pub fn file_name(&self) -> Option<&str> {
        self.row.as_ref().and_then(|row| row.file_name.as_deref())
    }

    /// The link's id, where a link opened it.
    pub fn link_id(&self) -> Option<&LinkId> {
        self.access.link.as_ref()
    }

    /// The whole content, for the FHIR form of small files.
    ///
    /// # Errors
    /// `content-damaged`, `dependency-unavailable`.
    pub fn read_all(&self) -> Result<Vec<u8>, Refusal> {
        let mut all = Vec::with_capacity(usize::try_from(self.facts.size).unwrap_or_default());
        while let Ok(at) = u64::try_from(all.len()) {
            let piece = self.content.read(at, READ_MOST).map_err(blob_failure)?;
            if piece.is_empty() {
                break;
            }
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }
}
