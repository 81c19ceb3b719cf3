//! A file on its way out: the entry before its first byte, each piece checked before it is handed on, and what its end means.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::counting::{Marking, Settling, Use, Wanted};
use super::cutting::Running;
use super::download::{Access, Arrival, Opened, entry_of, subject_of, unwell_until};
use super::failure::{blob_failure, store_failure};
use super::still_open::StillOpen;
use super::{Delivery, Line};
use crate::blob::{OpenContent, READ_MOST};
use crate::domain::audit::Outcome;
use crate::domain::claim::Asked;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::resource::FileFacts;
use crate::failpoint::{self, Point};
use crate::store::Receipt;

/// Plaintext that is handed on at once: the server keeps its write buffer only for pieces up to this.
const PIECE: usize = 64 * 1024;
/// [`READ_MOST`] as a length of files.
const SPAN: u64 = READ_MOST as u64;

impl Delivery {
    /// Begins to send what was asked for of an opened file: claims a use where the link is counted, writes the entry that says
    /// so, then gives the transfer.
    ///
    /// # Errors
    /// `link-busy`, `link-used`; `audit-unavailable`: then no byte may leave.
    pub async fn begin(
        self: &Arc<Self>,
        opened: Opened,
        asked: Asked,
        line: Option<Arc<dyn Line>>,
    ) -> Result<Transfer, Refusal> {
        let until = opened.until;
        self.begun(opened, asked, line).await.map_err(|refusal| unwell_until(refusal, until))
    }

    async fn begun(
        self: &Arc<Self>,
        opened: Opened,
        asked: Asked,
        line: Option<Arc<dyn Line>>,
    ) -> Result<Transfer, Refusal> {
        let Opened { facts, content, first, still, access, row, .. } = opened;
        let batch = begun_with(first, &asked.range);
        let outcome = if access.head { Outcome::Ok } else { Outcome::Attempted };
        let entry = entry_of(&access, &facts, outcome);
        let counted = match &row {
            None => Ok(None),
            Some(row) if access.head => self.look_at_use(row, facts.size, access.address).await.map(|()| None),
            Some(row) => {
                let is_one_piece = length(&batch) == asked.length() && batch.len() <= PIECE;
                let (from, line, entry) = (access.address, line.as_ref(), self.recorder.seal(&entry)?);
                self.take_use(Wanted { row, facts: &facts, asked: &asked, from, line, is_one_piece, entry }).await
            }
        };
        let counted = match counted {
            Ok(counted) => counted,
            Err(refusal) => {
                self.deny(&access, &facts, &refusal).await?;
                return Err(refusal);
            }
        };
        let range = asked.range;
        let (counted, seq) = counted.map_or((None, None), |(counted, seq)| (Some(counted), seq));
        let seq = match seq {
            Some(seq) => seq,
            None => self.recorder.record(&entry).await?,
        };
        failpoint::here(Point::DownloadRecorded);
        let running = Arc::new(self.running(&facts, &access, line));
        let number = self.transfers.enter(&running);
        let record = !access.head;
        Ok(Transfer {
            delivery: Arc::clone(self),
            facts,
            content,
            still,
            access,
            running,
            number,
            seq,
            at: range.start,
            batch,
            range,
            counted,
            held: None,
            marking: None,
            record,
            arrival: Arrival::Unknown,
        })
    }

    fn running(&self, facts: &FileFacts, access: &Access, line: Option<Arc<dyn Line>>) -> Running {
        let max_transfer = facts.document.as_ref().map(|document| document.decision.link.max_transfer);
        Running {
            file: facts.file,
            subject: subject_of(facts, access.reader),
            link: access.link.clone(),
            epoch: access.epoch,
            ends: max_transfer.map(|most| self.clock.monotonic() + most),
            line,
            cut: Mutex::default(),
        }
    }

    /// Ends a transfer: the entry, and what a whole delivery means for the document.
    async fn conclude(&self, ended: Ended) -> Result<(), Refusal> {
        let Ended { facts, access, seq, range, sent, cut, complete, counted } = ended;
        let outcome = if complete { Outcome::Ok } else { Outcome::Error };
        let mut entry = entry_of(&access, &facts, outcome).begun(seq).bytes(sent).with("size", facts.size);
        if let Some(code) = cut {
            entry = entry.code(code);
        }
        // Before anything else: what was received whole is used, whatever becomes of its entry.
        let settled = match counted {
            Some(counted) => counted.await.map_err(store_failure),
            None => Ok(()),
        };
        let whole = self.note_received(&access, &facts, range.start..range.start + sent, complete);
        match (&facts.document, whole) {
            (Some(document), true) if document.owner != access.reader => {
                let receipt = Receipt { document: document.number, reader: access.reader, at: self.clock.now() };
                self.received(&facts, receipt, &entry).await
            }
            _ => self.recorder.record(&entry).await.map(|_| ()),
        }?;
        settled
    }
}

/// A file on its way out. Dropping it ends it; how far it came is recorded either way.
pub struct Transfer {
    delivery: Arc<Delivery>,
    facts: Arc<FileFacts>,
    content: Arc<dyn OpenContent>,
    still: StillOpen,
    access: Access,
    running: Arc<Running>,
    number: u64,
    seq: u64,
    range: Range<u64>,
    at: u64,
    batch: Bytes,
    /// Its part of a counted delivery.
    counted: Option<Use>,
    /// A piece that waits for the mark.
    held: Option<Bytes>,
    marking: Option<Marking>,
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
    /// All of it was handed over, and the peer has taken it.
    complete: bool,
    counted: Option<Settling>,
}

impl fmt::Debug for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transfer").field("seq", &self.seq).field("at", &self.at).finish_non_exhaustive()
    }
}

impl Transfer {
    /// Bytes that this transfer sends.
    pub fn length(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// The peer's system has acknowledged all of it.
    pub fn acknowledged(&mut self) {
        if let Some(counted) = &self.counted {
            counted.acknowledged();
        }
    }

    /// Whether this is the last use of its link: its reader need not keep the connection.
    pub fn is_last(&self) -> bool {
        self.counted.as_ref().is_some_and(Use::is_last)
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
        failpoint::here(Point::PieceReady);
        let still = ready!(self.still.poll(context));
        let left = match &self.counted {
            None => Some(self.range.end - self.at),
            // Taken over by another part of its claim, or given back because nothing moved.
            Some(counted) => counted.may_send(),
        };
        let cut =
            self.delivery.cut_because(&self.running).or(still.err()).or(left.is_none().then_some(Code::RequestTimeout));
        if let Some(code) = cut {
            return Poll::Ready(Err(self.break_off(code)));
        }
        if self.held.is_none() {
            let piece = self.read_piece(left.unwrap_or(0))?;
            self.marking = self.counted.as_ref().and_then(|counted| counted.completes(length(&piece)));
            self.held = Some(piece);
        }
        if let Some(marking) = &mut self.marking {
            let marked = ready!(marking.as_mut().poll(context));
            self.marking = None;
            marked.map_err(|code| self.break_off(code))?;
        }
        let piece = self.held.take().unwrap_or_default();
        self.at += length(&piece);
        if let Some(counted) = &self.counted {
            counted.handed(length(&piece));
        }
        Poll::Ready(Ok(Some(piece)))
    }

    fn break_off(&mut self, code: Code) -> Code {
        self.held = None;
        self.marking = None;
        self.running.cut(code);
        code
    }

    /// As [`Transfer::poll_piece`], for who can wait.
    ///
    /// # Errors
    /// As there.
    pub async fn next_piece(&mut self) -> Result<Option<Bytes>, Code> {
        std::future::poll_fn(|context| self.poll_piece(context)).await
    }

    /// The next piece, of at most `most` bytes.
    fn read_piece(&mut self, most: u64) -> Result<Bytes, Code> {
        if self.batch.is_empty() {
            let left = usize::try_from(self.range.end - self.at).unwrap_or(usize::MAX);
            // To the end of the span in which it lies: such reads open no chunk twice, and are what the store keeps.
            let behind = usize::try_from(self.at % SPAN).unwrap_or_default();
            self.batch = self
                .content
                .read(self.at, left.min(READ_MOST - behind))
                .map_err(|error| self.break_off(blob_failure(error).code()))?;
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Ok(self.batch.split_to(self.batch.len().min(PIECE).min(most)))
    }
}

/// What of a range lies in the chunk that was opened first.
fn begun_with(first: Bytes, range: &Range<u64>) -> Bytes {
    let within = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(first.len());
    first.slice(within(range.start)..within(range.end.max(range.start)))
}

fn length(piece: &Bytes) -> u64 {
    u64::try_from(piece.len()).unwrap_or(u64::MAX)
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.delivery.transfers.leave(self.number);
        if !self.record {
            return;
        }
        let sent = self.at - self.range.start;
        let arrival = if sent == self.length() { self.arrival } else { Arrival::Unknown };
        let complete = arrival == Arrival::Taken;
        let ended = Ended {
            facts: Arc::clone(&self.facts),
            access: self.access.clone(),
            seq: self.seq,
            range: self.range.clone(),
            sent,
            cut: self.running.why_cut().filter(|_| !complete),
            complete,
            counted: self.counted.take().map(|counted| counted.end(arrival)),
        };
        let delivery = Arc::clone(&self.delivery);
        self.delivery.endings.spawn(async move {
            if let Err(refusal) = delivery.conclude(ended).await {
                tracing::error!(code = refusal.code().name(), "end of a download not recorded");
            }
        });
    }
}
