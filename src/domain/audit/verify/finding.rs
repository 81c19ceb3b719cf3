//! What a check can find, and the report of one check. No text of an entry's cells reaches a finding.

use super::MAX_FINDINGS;
use crate::domain::audit::cell::Group;
use crate::domain::audit::leaf::LeafError;
use crate::domain::audit::tree::Hash;
use crate::domain::refusal::Code;

/// Where a checkpoint came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// Kept beside the log.
    Stored,
    /// The note of the last full check.
    FullCheck,
    /// Kept elsewhere; the number is the place among those given, from 0.
    Outside(usize),
}

/// What is wrong with one entry that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// Its text was changed: the stored hash still fits a signed root or the stored tree, the text does not.
    Body,
    /// Its stored hash was changed: the text still fits.
    StoredHash,
    /// Text and stored hash differ, and nothing that vouches for either is left.
    BodyOrStoredHash,
    /// Its text is no entry, though the hash fits.
    Leaf(LeafError),
    /// It is the entry of another place: swapped or renumbered.
    Misplaced {
        /// The place that its text names.
        names: u64,
    },
    /// It is older than the entry before.
    TimeBackwards,
    /// Its cells are not there or not readable as cells.
    CellsUnreadable,
    /// This cell does not open: salt or ciphertext was changed.
    CellDamaged(Group),
    /// Its cells open but are not what the entry committed to: cells of another entry, or of none.
    CellsDiffer,
}

/// What is wrong with a checkpoint by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteFault {
    /// Not a signed checkpoint.
    Malformed,
    /// The signature of a known key does not fit.
    BadSignature,
    /// No known key of this log signed it.
    UnknownSigner,
    /// Of another log.
    OtherLog,
    /// Size or root beside a stored note are not the note's.
    RowDiffers,
}

/// What an entry did that a row does not show any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Undone {
    /// Links were withdrawn.
    Revocation,
    /// A client was switched off or on.
    Client,
    /// A client was registered, or changed.
    Registered,
    /// An operator was registered, or switched off.
    Operator,
    /// A document was taken in.
    Created,
    /// A document was closed.
    Document,
    /// A link was issued.
    Link,
    /// Legal holds were laid; as many are on the document after it.
    Holds(u64),
}

/// One thing found. Numbers of entries count from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// An entry is not what was recorded.
    Entry {
        /// Its number.
        seq: u64,
        /// What is wrong.
        wrong: Wrong,
        /// Time of the last good entry before, microseconds since 1970.
        after: Option<u64>,
        /// Time of the next good entry.
        before: Option<u64>,
    },
    /// Entries are not there, though later ones are.
    Missing {
        /// First number missing.
        first: u64,
        /// Last number missing.
        last: u64,
    },
    /// A row too many: its number was there already, or is no number.
    Repeated {
        /// Number as stored.
        seq: i64,
    },
    /// A signed checkpoint's root is not that of the entries: entries and hashes were replaced together.
    Rewritten {
        /// Entries up to here are vouched for by another checkpoint and fit; the first false one is here or later.
        intact: u64,
        /// Size at which the roots differ.
        size: u64,
        /// Whose checkpoint shows it.
        source: Source,
    },
    /// A signed checkpoint vouches for more entries than there are: a cut, or an older copy put back.
    Shortened {
        /// Entries that are there.
        have: u64,
        /// Entries that were.
        vouched: u64,
        /// Whose checkpoint shows it; `None`: the stored tree does.
        source: Option<Source>,
    },
    /// A checkpoint was published, and where checkpoints are published there is none as new: the folder was emptied, or is older.
    Unpublished {
        /// Size of the newest that the log knows of.
        known: u64,
        /// Size of the newest that is there.
        found: Option<u64>,
    },
    /// Two signed checkpoints of one size with different roots: the key signed two histories. Keep both, they are the proof.
    Fork {
        /// Size.
        size: u64,
        /// The two roots.
        roots: [Hash; 2],
        /// Where they came from.
        sources: [Source; 2],
    },
    /// A checkpoint is not to be believed.
    Checkpoint {
        /// Size as far as it can be read.
        size: Option<u64>,
        /// Where it came from.
        source: Source,
        /// What is wrong.
        fault: NoteFault,
    },
    /// The stored tree is not that of the entries, though checkpoints say nothing against these.
    Tree,
    /// Cells are erased and no later erasure entry says so.
    ErasureUnrecorded {
        /// First entry.
        first: u64,
        /// Last entry of a run.
        last: u64,
    },
    /// More separate runs of erased cells than are checked.
    ErasuresTooMany,
    /// An entry about a patient is not found under that patient: the look-up beside the log was changed.
    Hidden {
        /// Its number.
        seq: u64,
    },
    /// The look-up by patient is not what was recorded of it, for these entries.
    Lookup {
        /// The first.
        first: u64,
        /// The one after the last.
        after: u64,
    },
    /// A link that an entry gave and that is alive is not in the index of given links.
    LinkHidden {
        /// Its number.
        seq: u64,
    },
    /// The index of given links has a row that the entry which it names does not say.
    LinkStrange {
        /// The entry; `None`: it names none.
        seq: Option<u64>,
    },
    /// The file of endings is not what was written.
    EndingsChanged {
        /// From this line on, counted from 1.
        line: u64,
        /// SHA-256 of what stands behind the last signed line.
        rest: Hash,
    },
    /// The file of endings ends before the last that it was given, or is not there.
    EndingsShortened {
        /// The last that it has.
        have: u64,
        /// The last that it was given.
        kept: u64,
    },
    /// Endings that wait in the database for the file of endings are not what was written there.
    EndingsUnread {
        /// How many.
        count: u64,
        /// The number of the first.
        first: u64,
    },
    /// What an entry did to a row that says who may see what is not in that row any more.
    Undone {
        /// Its number.
        seq: u64,
        /// What it did.
        what: Undone,
    },
    /// The log's end was not what its summary says, and it was opened as its rows are so that this can be acknowledged.
    EndChanged {
        /// When it was found, milliseconds since 1970.
        at: i64,
    },
    /// Withdrawals of links that the file of endings tells of are not in the database.
    RevocationsGone {
        /// How many.
        count: u64,
        /// The least number among them.
        first: u32,
        /// The greatest.
        last: u32,
    },
    /// A withdrawal of links is in the database that no entry made.
    UnrecordedRevocation {
        /// Its number.
        number: i64,
    },
    /// An operator is in the database whom no entry registered.
    UnrecordedOperator {
        /// Stands for the id.
        digest: Hash,
    },
    /// Spent uses of links that the file of endings tells of are not in the database.
    UsesGone {
        /// Of how many files and readers.
        count: u64,
        /// SHA-256 of what the file tells of them.
        digest: Hash,
    },
    /// An entry is found under a patient whom it does not name, or that is no entry.
    Strange {
        /// Number as the look-up names it.
        seq: i64,
    },
}

impl Finding {
    /// Stable code to report it under.
    pub fn code(&self) -> Code {
        match self {
            Self::Shortened { .. } => Code::AuditShortened,
            Self::Unpublished { .. } => Code::AuditCheckpointMissing,
            Self::Checkpoint { fault: NoteFault::UnknownSigner | NoteFault::OtherLog, .. } => {
                Code::AuditSignatureUnknown
            }
            _ => Code::AuditMismatch,
        }
    }

    /// The entry to name: the first that is, or may be, false. `None` when it is about no entry.
    pub fn entry(&self) -> Option<u64> {
        match self {
            Self::Entry { seq, .. } | Self::Hidden { seq } | Self::LinkHidden { seq } | Self::Undone { seq, .. } => {
                Some(*seq)
            }
            Self::LinkStrange { seq } => *seq,
            Self::Missing { first, .. } | Self::Lookup { first, .. } | Self::ErasureUnrecorded { first, .. } => {
                Some(*first)
            }
            Self::Repeated { seq } | Self::Strange { seq } => u64::try_from(*seq).ok(),
            Self::Rewritten { intact, .. } => Some(*intact),
            Self::Shortened { have, .. } => Some(*have),
            Self::Unpublished { .. }
            | Self::Fork { .. }
            | Self::Checkpoint { .. }
            | Self::Tree
            | Self::ErasuresTooMany
            | Self::RevocationsGone { .. }
            | Self::UsesGone { .. }
            | Self::UnrecordedRevocation { .. }
            | Self::UnrecordedOperator { .. }
            | Self::EndChanged { .. }
            | Self::EndingsUnread { .. }
            | Self::EndingsChanged { .. }
            | Self::EndingsShortened { .. } => None,
        }
    }
}

/// More than ten minutes without an entry while the server had not said that it stops: not a mistake by itself, but to be
/// explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence {
    /// Entry after the silence.
    pub seq: u64,
    /// Time of the entry before, microseconds since 1970.
    pub from: u64,
    /// Time of the entry after.
    pub to: u64,
}

/// A checkpoint that the log fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fitting {
    /// Entries that it vouches for.
    pub size: u64,
    /// Where it came from.
    pub source: Source,
    /// The note.
    pub note: String,
    /// Time of its last entry, microseconds since 1970; `None` at size 0.
    pub time: Option<u64>,
}

/// The outcome of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whether nothing was found.
    pub valid: bool,
    /// Number of entries.
    pub size: u64,
    /// Root of the tree over them, as far as signed roots and texts agree on it; meaningless where entries are missing.
    pub root: Hash,
    /// What was found, in the order of finding; at most [`MAX_FINDINGS`].
    pub findings: Vec<Finding>,
    /// How many more were found.
    pub more: u64,
    /// Time of the first entry, microseconds since 1970.
    pub first: Option<u64>,
    /// Time of the last entry.
    pub last: Option<u64>,
    /// Whether the last root that was compared (newest checkpoint, stored tree) fits the entries.
    pub tree_fits: bool,
    /// Entries with erased cells.
    pub erased: u64,
    /// Whether cells were opened. Without the cell key only the tree was checked, not what the entries say of people.
    pub opened: bool,
    /// Newest checkpoint that fits.
    pub newest: Option<Fitting>,
    /// Outside checkpoints that fit.
    pub outside: Vec<Fitting>,
    /// Size and place of every believed checkpoint whose root is not that of the entries, also where an earlier finding explains it.
    pub unfit: Vec<(u64, Source)>,
    /// Silences, at most 100.
    pub silences: Vec<Silence>,
}

impl Report {
    /// Adds what was found beside the entries.
    pub fn add(&mut self, findings: impl IntoIterator<Item = Finding>) {
        for finding in findings {
            if self.findings.len() < MAX_FINDINGS {
                self.findings.push(finding);
            } else {
                self.more = self.more.saturating_add(1);
            }
        }
        self.valid = self.findings.is_empty() && self.more == 0;
    }

    /// Whether one entry is not what was recorded and all others are known to be intact.
    pub fn others_intact(&self) -> bool {
        let [Finding::Entry { wrong, .. }] = self.findings.as_slice() else { return false };
        self.more == 0 && self.tree_fits && !matches!(wrong, Wrong::BodyOrStoredHash)
    }
}
