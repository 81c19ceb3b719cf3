//! Named places at which a server can be made to die, to fail or to panic, so that each step of what must be durable is tried
//! with a death just before and just after it (`conformance/deaths`). Only a build with the feature `failpoints` has them: without it
//! the calls here are empty functions. No product build has the feature, and nothing but the table below may name a place.
//!
//! Driven by `FAILPOINTS` in the environment: `name=action@n`, several separated by `;`. The action happens at the n-th time that
//! the place is met (`*`: each time), for the places with a key perhaps only for one: `scan.begun=kill@*#3f9a`. Actions:
//! `kill` (SIGKILL to itself), `abort`, `panic`, `error` (where the place can fail), `stop` (SIGSTOP to itself).

#[cfg(feature = "failpoints")]
mod armed;
#[cfg(all(test, feature = "failpoints"))]
mod tests;

macro_rules! points {
    ($($(#[doc = $doc:literal])+ $point:ident = $name:literal,)+) => {
        /// A place. Its name says room and step.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Point { $($(#[doc = $doc])+ $point,)+ }

        impl Point {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$point,)+];

            /// As it is written in `FAILPOINTS`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$point => $name,)+ }
            }
        }
    };
}

points! {
    /// An upload was asked for, and nothing of it is stored (F01).
    UploadBegun = "upload.begun",
    /// A part of a large file is written to its temporary name (F02).
    BlobWritten = "blob.written",
    /// It is about to be synced; `error`: the sync fails.
    BlobSyncing = "blob.syncing",
    /// All of it is synced, under its temporary name (F03).
    BlobSynced = "blob.synced",
    /// It has its name; the folder is not synced (F03).
    BlobRenamed = "blob.renamed",
    /// File and name are durable, and no row names it (F04).
    BlobPlaced = "blob.placed",
    /// Everything of a transaction is done but its commit (F05).
    CommitBegun = "commit.begun",
    /// The transaction is committed; nobody was told, and memory does not know (F05).
    CommitDone = "commit.done",
    /// A handler begins; its key is the method (F19).
    HandlerBegun = "http.handler",
    /// A request was done, and its answer is not sent; its key is the method (F06).
    AnswerReady = "http.before-answer",
    /// The entry of a download is durable, and no byte was sent (F12).
    DownloadRecorded = "download.recorded",
    /// A piece of a download is about to go (F12, F19).
    PieceReady = "download.piece",
    /// A use of a counted link is claimed, and nothing was sent.
    UseClaimed = "use.claimed",
    /// The use is marked as closing; its last piece was not sent.
    UseMarked = "use.marked",
    /// The last piece was taken; the use is not closed.
    UseTaken = "use.taken",
    /// A scan job is claimed (F08, F21).
    ScanClaimed = "scan.claimed",
    /// An engine is about to read a file; its key is the file's SHA-256 (F08, F19, F21).
    ScanBegun = "scan.begun",
    /// An engine has read a file, and its verdict is not used (F08).
    ScanRead = "scan.read",
    /// The verdicts release a document, and its state is the old one (F09).
    ScanReleasing = "scan.releasing",
    /// A document is to be held back, and its state is the old one (F10).
    ScanHolding = "scan.holding",
    /// It is held back; nobody was told (F10).
    ScanHeld = "scan.held",
    /// A message is signed, and not sent (F11, F19).
    HookReady = "hook.ready",
    /// The receiver has taken it, and that is not remembered (F11).
    HookTaken = "hook.taken",
    /// The log's new leaves are in the tree, and its checkpoint is not signed (F13).
    TreeGrown = "checkpoint.grown",
    /// The checkpoint is signed, and not written (F13).
    CheckpointSigned = "checkpoint.signed",
    /// The checkpoint is written beside its place (F13).
    CheckpointWritten = "checkpoint.written",
    /// The newest checkpoint is in its place; the day's and the row are not (F13).
    CheckpointPublished = "checkpoint.published",
    /// A round of retention begins (F19).
    RetentionBegun = "retention.begun",
    /// A document is due to be destroyed, and all of it is there (F14).
    PurgeBegun = "purge.begun",
    /// Its keys are struck out within the transaction (F14).
    PurgeKeys = "purge.keys",
    /// Tombstone, entry and end of the keys are committed; the bytes lie there (F14).
    PurgeCommitted = "purge.committed",
    /// A file is unlinked, its folder not synced (F14).
    PurgeUnlinked = "purge.unlinked",
    /// A revocation holds in memory, and is not durable.
    RevocationCut = "revocation.cut",
    /// Links are cut durably, and the document's state is the old one.
    RevocationDone = "revocation.done",
    /// A new key is made and sealed, and not committed (F15).
    KeyMade = "key.made",
    /// The new key is committed (F15).
    KeyCommitted = "key.committed",
    /// A statement of a migration is about to run (F16).
    MigrationStep = "migration.step",
    /// A start puts bytes in order after a death: one orphan is gone.
    OrphanRemoved = "start.orphan-removed",
    /// A start has put everything in order and serves nothing yet.
    StartTidied = "start.tidied",
}

/// A place that can be died at.
#[cfg(feature = "failpoints")]
pub fn here(point: Point) {
    // A place that cannot fail ignores `error`.
    let _ = armed::meet(point, "");
}

/// A place that can be died at.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub const fn here(_: Point) {}

/// As [`here`], for one key among those that come by.
#[cfg(feature = "failpoints")]
pub fn here_for(point: Point, key: &[u8]) {
    let _ = armed::meet(point, &hex::encode(key));
}

/// As [`here`], for one key among those that come by.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub const fn here_for(_: Point, _: &[u8]) {}

/// A place that can fail as well: as a disk or a database does.
///
/// # Errors
/// `ErrorKind::Other`, where `FAILPOINTS` says `error`.
#[cfg(feature = "failpoints")]
pub fn or_fail(point: Point) -> std::io::Result<()> {
    if armed::meet(point, "") { Err(std::io::Error::other("a failpoint")) } else { Ok(()) }
}

/// A place that can fail as well: as a disk or a database does.
///
/// # Errors
/// Never.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub const fn or_fail(_: Point) -> std::io::Result<()> {
    Ok(())
}
