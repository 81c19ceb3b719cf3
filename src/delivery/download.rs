//! Bytes to whoever may have them: by link, or by handle with a token. The audit entry is durable before the first byte can
//! leave; each piece is checked against revocation, state and time before it is handed on; how it ended is a second entry.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use moka::sync::Cache;

use super::failure::{blob_failure, store_failure};
use super::offers::{about, closed, not_found};
use super::still_open::StillOpen;
use super::{Caller, Delivery};
use crate::blob::{ContentRef, OpenContent, Placement, READ_MOST};
use crate::domain::audit::{Action, Entry, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::content::WrappedKey;
use crate::domain::coverage::Coverage;
use crate::domain::epoch::Subject;
use crate::domain::id::{ClientId, FileId, LinkId, RequestId};
use crate::domain::link::{LinkError, Purpose, VerifiedLink};
use crate::domain::principal::ClientNumber;
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::domain::resource::FileFacts;
use crate::store::Receipt;

/// Plaintext that is handed on at once: the server keeps its write buffer only for pieces up to this.
const PIECE: usize = 64 * 1024;

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
}

/// A file that may be sent.
#[derive(Debug)]
pub struct Opened {
    /// What it is.
    pub facts: Arc<FileFacts>,
    /// Its bytes.
    content: Arc<dyn OpenContent>,
    /// Whether that still holds.
    still: StillOpen,
    /// Who gets it and how.
    access: Access,
}

/// By what right a file is sent, and what its entries say.
#[derive(Debug, Clone)]
struct Access {
    action: Action,
    reader: ClientNumber,
    client: Option<ClientId>,
    link: Option<LinkId>,
    /// The newest revocation that concerned the reader and the file when the right was given.
    epoch: u32,
    request: RequestId,
    address: IpAddr,
    head: bool,
}

/// How a transfer ended on the wire, as far as the connection can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The peer has taken everything that was handed on (contract, Links, Uses).
    Taken,
    /// It has not, or nobody can tell.
    Unknown,
}

/// Downloads that are running, and those that may be resumed.
#[derive(Debug)]
pub(super) struct Transfers {
    next: AtomicU64,
    running: Mutex<HashMap<u64, Running>>,
    resumed: Cache<(ClientNumber, FileId), Arc<Mutex<Coverage>>>,
}

/// A running download.
#[derive(Debug)]
pub(super) struct Running {
    /// What it is about.
    pub(super) subject: Subject,
    /// The link that opened it; `None` for a handle with a token, which only a wider revocation cuts.
    pub(super) link: Option<LinkId>,
}

impl Default for Transfers {
    fn default() -> Self {
        let resumed = Cache::builder().max_capacity(RESUMED_MOST).time_to_idle(RESUMED_FOR).build();
        Self { next: AtomicU64::new(0), running: Mutex::default(), resumed }
    }
}

impl Transfers {
    fn enter(&self, running: Option<Running>) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if let Some(running) = running {
            self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(number, running);
        }
        number
    }

    fn leave(&self, number: u64) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }

    /// How many running downloads concern what `covers` says.
    pub(super) fn count(&self, covers: impl Fn(&Running) -> bool) -> usize {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).values().filter(|running| covers(running)).count()
    }
}

impl Delivery {
    /// Opens what a link names, if the link is good and its content may be had now. The order of the checks decides what a
    /// holder learns: authenticity, time, revocation, state (contract, Links).
    ///
    /// # Errors
    /// The codes of the contract's table. For all but `link-invalid` an entry is written.
    pub async fn open_link(&self, download: Download) -> Result<Opened, Refusal> {
        let now = self.clock.now();
        let keys = self.link_keys();
        let (link, expired) = match keys.verify(&download.token, Purpose::Download, now) {
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
        let access = self.link_access(&link, &download);
        if let Some(refusal) = self.link_closed(&link, expired, &facts) {
            let entry = entry_of(&access, &facts, Outcome::Denied).code(refusal.code());
            self.recorder.record(&entry).await?;
            return Err(refusal);
        }
        self.open_content(facts, access, still).await
    }

    fn link_access(&self, link: &VerifiedLink, download: &Download) -> Access {
        let reader = link.claims().reader;
        Access {
            action: Action::LinkRedeem,
            reader,
            client: self.store.client_by_number(reader).map(|client| client.id.clone()),
            link: Some(link.id().clone()),
            epoch: link.claims().epoch,
            request: download.request.clone(),
            address: download.address,
            head: download.head,
        }
    }

    /// Why an authentic link does not open now, if it does not.
    pub(super) fn link_closed(&self, link: &VerifiedLink, expired: bool, facts: &FileFacts) -> Option<Refusal> {
        if expired {
            return Some(Issue::new(Code::LinkExpired).fill("when", link.claims().expires).into());
        }
        let subject = subject_of(facts, link.claims().reader)?;
        if let Some(at) = self.store.epochs().revoked_at(&subject, link.claims().epoch, link.id()) {
            return Some(Issue::new(Code::LinkRevoked).fill("when", at).into());
        }
        let now = self.clock.now();
        // A link that was made while its client was being switched off.
        if self.store.client_by_number(subject.reader).is_some_and(|client| client.disabled) {
            return Some(Issue::new(Code::LinkRevoked).fill("when", now).into());
        }
        facts.document.as_ref().and_then(|document| closed(document, now))
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
        if let Some(refusal) = facts.document.as_ref().and_then(|document| closed(document, now)) {
            let entry = entry_of(&access, &facts, Outcome::Denied).code(refusal.code());
            self.recorder.record(&entry).await?;
            return Err(refusal);
        }
        self.open_content(facts, access, still).await
    }

    async fn open_content(&self, facts: Arc<FileFacts>, access: Access, still: StillOpen) -> Result<Opened, Refusal> {
        let content = self.content_of(&facts).await?;
        // Opens the first chunk now: the commonest damage becomes a clean answer instead of a broken transfer.
        content.read(0, 1).map_err(blob_failure)?;
        Ok(Opened { facts, content, still, access })
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

    /// Begins to send `range` of an opened file: writes the entry that says so, then gives the transfer.
    ///
    /// # Errors
    /// `audit-unavailable`: then no byte may leave.
    pub async fn begin(self: &Arc<Self>, opened: Opened, range: Range<u64>) -> Result<Transfer, Refusal> {
        let Opened { facts, content, still, access } = opened;
        let outcome = if access.head { Outcome::Ok } else { Outcome::Attempted };
        let seq = self.recorder.record(&entry_of(&access, &facts, outcome)).await?;
        let subject = subject_of(&facts, access.reader);
        let link = access.link.clone();
        let number = self.transfers.enter(subject.map(|subject| Running { subject, link }));
        let max_transfer = facts.document.as_ref().map(|document| document.decision.link.max_transfer);
        let ends = max_transfer.map(|most| self.clock.monotonic() + most);
        let record = !access.head;
        Ok(Transfer {
            delivery: Arc::clone(self),
            facts,
            content,
            still,
            access,
            number,
            seq,
            ends,
            at: range.start,
            range,
            batch: Bytes::new(),
            cut: None,
            record,
            arrival: Arrival::Unknown,
        })
    }

    /// Ends a transfer: the entry, and what a whole delivery means for the document.
    async fn conclude(&self, ended: Ended) -> Result<(), Refusal> {
        let Ended { facts, access, seq, range, sent, cut, arrival } = ended;
        let complete = sent == range.end - range.start && arrival == Arrival::Taken;
        let outcome = if complete { Outcome::Ok } else { Outcome::Error };
        let mut entry = entry_of(&access, &facts, outcome).begun(seq).bytes(sent);
        if let Some(code) = cut {
            entry = entry.code(code);
        }
        let whole = complete && self.note_received(&access, &facts, range.start..range.start + sent);
        match (&facts.document, whole) {
            (Some(document), true) if document.owner != access.reader => {
                let receipt = Receipt { document: document.number, reader: access.reader, at: self.clock.now() };
                self.received(&facts, receipt, &entry).await
            }
            _ => self.recorder.record(&entry).await.map(|_| ()),
        }
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

    /// Whether, with what came before, the reader now has the whole file.
    fn note_received(&self, access: &Access, facts: &FileFacts, piece: Range<u64>) -> bool {
        let key = (access.reader, facts.file);
        let known = self.transfers.resumed.get_with(key, Arc::default);
        let mut coverage = known.lock().unwrap_or_else(PoisonError::into_inner);
        coverage.add(piece);
        let whole = coverage.is_whole(facts.size);
        drop(coverage);
        if whole {
            self.transfers.resumed.invalidate(&key);
        }
        whole
    }
}

/// A file on its way out. Dropping it ends it; how far it came is recorded either way.
#[derive(Debug)]
pub struct Transfer {
    delivery: Arc<Delivery>,
    facts: Arc<FileFacts>,
    content: Arc<dyn OpenContent>,
    still: StillOpen,
    access: Access,
    number: u64,
    seq: u64,
    ends: Option<Duration>,
    range: Range<u64>,
    at: u64,
    batch: Bytes,
    cut: Option<Code>,
    record: bool,
    arrival: Arrival,
}

/// What is left of a transfer that ended.
struct Ended {
    facts: Arc<FileFacts>,
    access: Access,
    seq: u64,
    range: Range<u64>,
    sent: u64,
    cut: Option<Code>,
    arrival: Arrival,
}

impl Transfer {
    /// Bytes that this transfer sends.
    pub fn length(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Ends the transfer and says how it ended on the wire; one that is merely dropped did not arrive.
    pub fn settle(mut self, arrival: Arrival) {
        self.arrival = arrival;
    }

    /// The next piece; `None` at the end. Waits only where the document's state changed since the last one.
    ///
    /// # Errors
    /// The code for which it was cut: revoked, held back, destroyed, out of time, damaged. There is no answer left to give; the
    /// connection breaks.
    pub fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Code>> {
        if self.at >= self.range.end {
            return Poll::Ready(Ok(None));
        }
        let still = std::task::ready!(self.still.poll(context));
        if let Some(code) = self.cut_because().or(still.err()) {
            self.cut = Some(code);
            return Poll::Ready(Err(code));
        }
        Poll::Ready(self.read_piece().map(Some))
    }

    /// As [`Transfer::poll_piece`], for who can wait.
    ///
    /// # Errors
    /// As there.
    pub async fn next_piece(&mut self) -> Result<Option<Bytes>, Code> {
        std::future::poll_fn(|context| self.poll_piece(context)).await
    }

    fn read_piece(&mut self) -> Result<Bytes, Code> {
        if self.batch.is_empty() {
            let left = usize::try_from(self.range.end - self.at).unwrap_or(usize::MAX);
            self.batch = self.content.read(self.at, left.min(READ_MOST)).map_err(|error| {
                let code = blob_failure(error).code();
                self.cut = Some(code);
                code
            })?;
        }
        let piece = self.batch.split_to(self.batch.len().min(PIECE));
        self.at += u64::try_from(piece.len()).unwrap_or(u64::MAX);
        Ok(piece)
    }

    fn cut_because(&self) -> Option<Code> {
        if self.ends.is_some_and(|ends| self.delivery.clock.monotonic() > ends) {
            return Some(Code::RequestTimeout);
        }
        let subject = subject_of(&self.facts, self.access.reader)?;
        let (epochs, epoch) = (self.delivery.store.epochs(), self.access.epoch);
        let revoked = match &self.access.link {
            Some(link) => epochs.revoked_at(&subject, epoch, link),
            None => epochs.revoked_since(&subject, epoch),
        };
        revoked.map(|_| Code::LinkRevoked)
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.delivery.transfers.leave(self.number);
        if !self.record {
            return;
        }
        let ended = Ended {
            facts: Arc::clone(&self.facts),
            access: self.access.clone(),
            seq: self.seq,
            range: self.range.clone(),
            sent: self.at - self.range.start,
            cut: self.cut,
            arrival: self.arrival,
        };
        let delivery = Arc::clone(&self.delivery);
        // The answer is gone already: how it ended is written by a task of its own. A stop waits for the store's queue.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(refusal) = delivery.conclude(ended).await {
                    tracing::error!(code = refusal.code().name(), "end of a download not recorded");
                }
            });
        }
    }
}

fn entry_of(access: &Access, facts: &FileFacts, outcome: Outcome) -> Entry {
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

fn subject_of(facts: &FileFacts, reader: ClientNumber) -> Option<Subject> {
    facts.document.as_ref().map(|document| Subject { reader, document: document.number, patient: document.patient })
}

/// The moment shown as the content's `Last-Modified`.
impl Opened {
    /// When the file was stored.
    pub fn stored_at(&self) -> Timestamp {
        self.facts.created
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
