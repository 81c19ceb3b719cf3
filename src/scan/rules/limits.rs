//! What looking into one file may cost, and the account that all its parts share. Nothing here depends on time: the same
//! file gets the same verdict on a slow machine.

use std::cell::{Cell, RefCell};

use memchr::memmem::Finder;

use super::pdf::lock::Lock;

/// Limits of one scan. Beyond them a file is not clean: it is an archive bomb, or unreadable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Archives within archives: the file itself is level 0. A docx in a zip in a zip has its deepest archive at level 2.
    pub depth: u32,
    /// Entries over all archives of the file, and attachments of PDFs.
    pub entries: u64,
    /// Bytes that all decompression together may give. Twice the largest default upload is what DICOM series need.
    pub unpacked: u64,
    /// Decompressed bytes per byte of the whole file. Office files and scans stay below 100; deflate's own end is 1032.
    pub ratio: u64,
    /// Below this many decompressed bytes the ratio is not looked at: blank pages compress well.
    pub ratio_floor: u64,
    /// Bytes that one object stream of a PDF may inflate to.
    pub object_stream: u64,
    /// Bytes of one document type declaration with its internal subset; a longer one makes the file unreadable.
    pub token: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: 5,
            entries: 10_000,
            unpacked: 2 << 30,
            ratio: 250,
            ratio_floor: 32 << 20,
            object_stream: 64 << 20,
            token: 64 << 10,
        }
    }
}

/// Where the inspection is: which entry at which level. Numbers only, so that no name of a document gets out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    /// Entry within its archive, from 1; 0 at level 0.
    pub(super) entry: u64,
    /// Level; 0 is the file itself.
    pub(super) level: u32,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.level {
            0 => f.write_str("the file itself"),
            level => write!(f, "entry {}, level {level}", self.entry),
        }
    }
}

/// The account of one scan, shared by every part of the file. One thread uses it.
#[derive(Debug)]
pub(super) struct Account<'l> {
    pub(super) limits: &'l Limits,
    pub(super) eicar: Finder<'static>,
    /// Bytes of the whole file, for the ratio.
    size: u64,
    /// Opens the file itself, when it is a PDF that is encrypted for nobody.
    pub(super) lock: Option<&'l Lock>,
    unpacked: Cell<u64>,
    entries: Cell<u64>,
    /// What stopped the inspection from below a reader, where only an I/O error can be returned.
    pub(super) tripped: Cell<Option<Trip>>,
    /// Where the inspection is.
    pub(super) place: Cell<Place>,
    /// Buffers that ended their service, for the next reader of any level.
    spare: RefCell<Vec<Vec<u8>>>,
}

/// What a reader found while bytes went through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trip {
    /// The account is overdrawn.
    Bomb,
    /// The EICAR string went by.
    Eicar,
}

impl<'l> Account<'l> {
    pub(super) fn new(limits: &'l Limits, size: u64) -> Self {
        Self {
            limits,
            eicar: Finder::new(&super::harmless_test_file()).into_owned(),
            size,
            lock: None,
            unpacked: Cell::new(0),
            entries: Cell::new(0),
            tripped: Cell::new(None),
            place: Cell::new(Place::default()),
            spare: RefCell::new(Vec::new()),
        }
    }

    /// Books `bytes` that came out of a decompressor.
    pub(super) fn unpacked(&self, bytes: u64) -> std::io::Result<()> {
        let total = self.unpacked.get().saturating_add(bytes);
        self.unpacked.set(total);
        let dense = total > self.limits.ratio_floor && total > self.size.saturating_mul(self.limits.ratio);
        if total > self.limits.unpacked || dense { Err(self.trip(Trip::Bomb)) } else { Ok(()) }
    }

    /// Whether something that claims to unpack to `bytes` could stay within the account.
    pub(super) fn affords(&self, bytes: u64) -> bool {
        self.unpacked.get().saturating_add(bytes) <= self.limits.unpacked
    }

    /// Books one more entry.
    pub(super) fn entry(&self) -> std::io::Result<()> {
        self.entries.set(self.entries.get().saturating_add(1));
        if self.entries.get() > self.limits.entries { Err(self.trip(Trip::Bomb)) } else { Ok(()) }
    }

    /// Notes what stops the inspection and gives the error that carries it up through foreign readers.
    pub(super) fn trip(&self, trip: Trip) -> std::io::Error {
        if self.tripped.get().is_none() {
            self.tripped.set(Some(trip));
        }
        std::io::Error::other("stopped")
    }

    /// A buffer to fill; come back with [`Account::give_back`].
    pub(super) fn buffer(&self) -> Vec<u8> {
        self.spare.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes a buffer back for later use; keeps a few.
    pub(super) fn give_back(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut spare = self.spare.borrow_mut();
        if spare.len() < 8 {
            spare.push(buffer);
        }
    }
}
