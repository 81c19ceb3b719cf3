//! What only the store in local files can show: damage on disk, sick disks, dropped futures, modes, no plaintext.

pub(super) mod faults;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::poll;
use rustix::io::Errno;
use tempfile::TempDir;

use super::disk::Step;
use super::*;
use crate::blob::{CHUNK, READ_MOST, Stored};
use crate::vault::{KeySource, SystemEntropy, Vault};

struct Rig {
    data: TempDir,
    blobs: LocalBlobs,
}

impl Rig {
    fn new(inline_most: usize) -> Self {
        let data = tempfile::tempdir().unwrap();
        let vault = Vault::open(&KeySource::Folder, data.path(), false, Arc::new(SystemEntropy)).unwrap();
        let blobs = LocalBlobs::open(data.path(), inline_most, Arc::new(vault), Arc::new(SystemEntropy)).unwrap();
        Self { data, blobs }
    }

    fn dynamic(&self) -> &dyn Blobs {
        &self.blobs
    }

    async fn put(&self, file: FileId, bytes: &[u8]) -> Result<Stored, BlobError> {
        self.dynamic().put_bytes(file, Bytes::copy_from_slice(bytes), u64::MAX).await
    }

    /// All of a content, or the error that stops reading.
    async fn read(&self, content: &ContentRef) -> Result<Vec<u8>, BlobError> {
        let open = self.blobs.open(content).await?;
        let mut all = Vec::new();
        while all.len() < usize::try_from(open.size()).unwrap() {
            all.extend_from_slice(&open.read(super::super::to_u64(all.len()), CHUNK)?);
        }
        Ok(all)
    }

    /// Every regular file under `blobs`.
    fn files(&self) -> BTreeSet<PathBuf> {
        files_under(&self.data.path().join("blobs"))
    }
}

fn files_under(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_under(&path)) } else { found.extend([path]) }
    }
    found
}

fn fresh() -> FileId {
    FileId::random(&SystemEntropy)
}

/// Bytes without a pattern that repeats at the chunk size.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((at * 31 + at / 251) % 256).unwrap()).collect()
}

fn is_damaged(result: &Result<Vec<u8>, BlobError>) -> bool {
    matches!(result, Err(BlobError::Damaged(_)))
}

#[tokio::test]
async fn a_file_lies_under_its_id_private_and_without_plaintext() {
    let rig = Rig::new(0);
    let canary = b"Eleonora Beispielfrau, geb. 1950-01-01";
    let bytes = canary.repeat(9_000);
    let stored = rig.put(fresh(), &bytes).await.unwrap();
    let name = stored.file.to_string();
    let path = rig.data.path().join("blobs").join(&name[..2]).join(&name[2..4]).join(&name);
    assert_eq!(rig.files(), BTreeSet::from([path.clone()]));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    for folder in path.ancestors().skip(1).take(3) {
        assert_eq!(fs::metadata(folder).unwrap().permissions().mode() & 0o7777, 0o700, "{}", folder.display());
    }
    for file in files_under(rig.data.path()) {
        let found = fs::read(&file).unwrap();
        assert!(!found.windows(12).any(|window| window == &canary[..12]), "{}", file.display());
    }
    assert_eq!(rig.read(&stored.content()).await.unwrap(), bytes);
}

#[tokio::test]
async fn content_that_lies_with_its_row_has_no_plaintext_and_no_file() {
    let rig = Rig::new(CHUNK);
    let stored = rig.put(fresh(), b"Eleonora Beispielfrau").await.unwrap();
    let Placement::Inline(sealed) = &stored.placement else { panic!("21 bytes belong with the row") };
    assert!(!sealed.windows(6).any(|window| b"Eleonora Beispielfrau".windows(6).any(|plain| plain == window)));
    assert!(rig.files().is_empty());
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let content = ContentRef { placement: Placement::Inline(changed), ..stored.content() };
        assert!(is_damaged(&rig.read(&content).await), "bit {bit}");
    }
    for length in 0..sealed.len() {
        let placement = Placement::Inline(sealed[..length].to_vec());
        assert!(is_damaged(&rig.read(&ContentRef { placement, ..stored.content() }).await), "length {length}");
    }
}

#[tokio::test]
async fn every_flipped_bit_is_found() {
    let rig = Rig::new(0);
    let bytes = content(3 * CHUNK + 100);
    let stored = rig.put(fresh(), &bytes).await.unwrap();
    let path = rig.blobs.disk.object(stored.file);
    let whole = fs::read(&path).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let spread = whole.len() * 8 / 200;
    // The header, the first tag and the last bytes, bit by bit; 200 bits over the rest.
    let edges =
        (0..32 * 8).chain((32 + CHUNK) * 8..(32 + CHUNK + 16) * 8).chain((whole.len() - 16) * 8..whole.len() * 8);
    for bit in edges.chain((0..200).map(|nth| nth * spread + nth % 8)) {
        let at = bit / 8;
        let offset = super::super::to_u64(at);
        file.write_all_at(&[whole[at] ^ (1 << (bit % 8))], offset).unwrap();
        assert!(is_damaged(&rig.read(&stored.content()).await), "bit {bit}");
        file.write_all_at(&[whole[at]], offset).unwrap();
    }
    assert_eq!(rig.read(&stored.content()).await.unwrap(), bytes);
}

#[tokio::test]
async fn every_cut_and_every_addition_is_found_also_after_opening() {
    let rig = Rig::new(0);
    let stored = rig.put(fresh(), &content(2 * CHUNK + 10)).await.unwrap();
    let path = rig.blobs.disk.object(stored.file);
    let whole = fs::read(&path).unwrap();
    let sealed_chunk = CHUNK + 16;
    let edges = [0, 32, 32 + CHUNK, 32 + sealed_chunk, 32 + 2 * CHUNK + 16, 32 + 2 * sealed_chunk, whole.len()];
    let lengths: BTreeSet<usize> = edges.iter().flat_map(|edge| edge.saturating_sub(18)..=edge + 18).collect();
    let open = rig.blobs.open(&stored.content()).await.unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    for length in lengths.into_iter().filter(|length| *length != whole.len()) {
        file.set_len(super::super::to_u64(length)).unwrap();
        file.write_all_at(&whole[..length.min(whole.len())], 0).unwrap();
        assert!(is_damaged(&rig.read(&stored.content()).await), "length {length}");
        if length < whole.len() {
            assert!(matches!(open.read(2 * 65_536, 10), Err(BlobError::Damaged(_))), "open, length {length}");
        }
    }
}

#[tokio::test]
async fn a_row_that_lies_about_the_length_opens_nothing() {
    let rig = Rig::new(0);
    let stored = rig.put(fresh(), &content(3 * CHUNK)).await.unwrap();
    let path = rig.blobs.disk.object(stored.file);
    // Cut at the edge of a chunk, and the row changed to match: the last flag tells.
    let cut = super::super::seal::sealed_length(2 * 65_536);
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(cut).unwrap();
    assert!(is_damaged(&rig.read(&ContentRef { size: 2 * 65_536, ..stored.content() }).await));
}

#[tokio::test]
async fn chunks_and_files_open_only_at_their_own_place() {
    let rig = Rig::new(0);
    let (one, two) = (rig.put(fresh(), &content(2 * CHUNK)).await, rig.put(fresh(), &content(2 * CHUNK)).await);
    let (one, two) = (one.unwrap(), two.unwrap());
    let (path, other) = (rig.blobs.disk.object(one.file), rig.blobs.disk.object(two.file));
    let (whole, foreign) = (fs::read(&path).unwrap(), fs::read(&other).unwrap());
    let (head, chunks) = whole.split_at(32);
    let (first, second) = chunks.split_at(CHUNK + 16);
    let foreign_chunks = &foreign[32..];
    for (what, changed) in [
        ("swapped files", foreign.clone()),
        ("reordered", [head, second, first].concat()),
        ("repeated", [head, first, first].concat()),
        ("another's chunks", [head, foreign_chunks].concat()),
        ("one chunk of another", [head, first, &foreign_chunks[CHUNK + 16..]].concat()),
    ] {
        fs::write(&path, changed).unwrap();
        assert!(is_damaged(&rig.read(&one.content()).await), "{what}");
    }
    fs::write(&path, &whole).unwrap();
    let of_two = ContentRef { file: one.file, ..two.content() };
    assert!(is_damaged(&rig.read(&of_two).await), "another file's key");
}

#[tokio::test]
async fn an_older_attempt_put_back_does_not_open() {
    let rig = Rig::new(0);
    let file = fresh();
    let old = rig.put(file, &content(CHUNK)).await.unwrap();
    let path = rig.blobs.disk.object(file);
    let before = fs::read(&path).unwrap();
    rig.blobs.delete(file).await.unwrap();
    let new = rig.put(file, &content(CHUNK)).await.unwrap();
    assert!(old.wrapped_key != new.wrapped_key && fs::read(&path).unwrap()[32..] != before[32..]);
    fs::write(&path, before).unwrap();
    assert!(is_damaged(&rig.read(&new.content()).await));
}

#[tokio::test]
async fn what_is_no_file_is_damage_and_never_waited_for() {
    let rig = Rig::new(0);
    let stored = rig.put(fresh(), &content(10)).await.unwrap();
    let path = rig.blobs.disk.object(stored.file);
    let aside = rig.data.path().join("aside");
    fs::rename(&path, &aside).unwrap();
    assert!(matches!(rig.read(&stored.content()).await, Err(BlobError::Missing)));
    std::os::unix::fs::symlink(&aside, &path).unwrap();
    assert!(is_damaged(&rig.read(&stored.content()).await), "link");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(is_damaged(&rig.read(&stored.content()).await), "folder");
    fs::remove_dir(&path).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    assert!(is_damaged(&rig.read(&stored.content()).await), "pipe");
    fs::remove_file(&path).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert!(is_damaged(&rig.read(&stored.content()).await), "socket");
    fs::remove_file(&path).unwrap();
    fs::remove_dir(path.parent().unwrap()).unwrap();
    fs::write(path.parent().unwrap(), "").unwrap();
    assert!(is_damaged(&rig.read(&stored.content()).await), "a file where a folder was");
}

#[tokio::test]
async fn a_failing_disk_fails_the_attempt_and_leaves_nothing() {
    for (step, times) in [
        (Step::Create, 1),
        (Step::Write, 2),
        (Step::SyncFile, 1),
        (Step::MakeFolder, 2),
        (Step::Rename, 1),
        // Root, `ab`, `ab/cd` after the rename.
        (Step::SyncFolder, 3),
    ] {
        for nth in 0..times {
            for error in [Errno::IO, Errno::NOSPC, Errno::DQUOT, Errno::FBIG, Errno::ROFS, Errno::MFILE] {
                let rig = Rig::new(0);
                let file = fresh();
                rig.blobs.disk.faults.plan(step, nth, error);
                let failed = rig.put(file, &content(9 * CHUNK)).await.unwrap_err();
                let full = matches!(error, Errno::NOSPC | Errno::DQUOT | Errno::FBIG);
                assert_eq!(matches!(failed, BlobError::Full), full, "{step:?} {nth} {error}: {failed}");
                assert_eq!(matches!(failed, BlobError::Unavailable { .. }), !full, "{step:?} {nth} {error}: {failed}");
                assert!(!rig.blobs.disk.faults.pending(), "{step:?} {nth} was never reached");
                assert!(rig.files().is_empty(), "{step:?} {nth} {error}");
                // The next attempt stands on its own.
                let stored = rig.put(file, &content(9 * CHUNK)).await.unwrap();
                assert_eq!(rig.read(&stored.content()).await.unwrap(), content(9 * CHUNK));
            }
        }
    }
}

#[tokio::test]
async fn failing_reads_and_removals_are_told() {
    let rig = Rig::new(0);
    let stored = rig.put(fresh(), &content(10)).await.unwrap();
    rig.blobs.disk.faults.plan(Step::Open, 0, Errno::IO);
    assert!(matches!(rig.read(&stored.content()).await, Err(BlobError::Unavailable { .. })));
    rig.blobs.disk.faults.plan(Step::Remove, 0, Errno::IO);
    assert!(matches!(rig.blobs.delete(stored.file).await, Err(BlobError::Unavailable { .. })));
    assert_eq!(rig.read(&stored.content()).await.unwrap(), content(10));
    rig.blobs.disk.faults.plan(Step::SyncFolder, 0, Errno::IO);
    assert!(matches!(rig.blobs.delete(stored.file).await, Err(BlobError::Unavailable { .. })));
    rig.blobs.disk.faults.plan(Step::Read, 1, Errno::IO);
    assert!(matches!(rig.blobs.list(None, 10).await, Err(BlobError::Unavailable { .. })));
}

/// Runs `test` and then ends its runtime, which waits for the blocking threads: what they dropped is gone by then.
fn settled(rig: &Rig, test: impl AsyncFnOnce(&Rig)) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(test(rig));
}

#[test]
fn an_attempt_dropped_between_writes_takes_its_file_with_it() {
    for writes in 0..4 {
        let rig = Rig::new(0);
        settled(&rig, async |rig| {
            let mut incoming = rig.blobs.begin(fresh(), u64::MAX).unwrap();
            for _ in 0..writes {
                incoming.write(Bytes::from(content(4 * CHUNK))).await.unwrap();
            }
        });
        assert!(rig.files().is_empty(), "{writes} writes");
    }
}

/// The future of `finish` is dropped after its first poll, with the work under way: also when the file got its name by then.
#[test]
fn an_attempt_dropped_while_it_finishes_takes_its_file_with_it() {
    for size in [1, CHUNK, 9 * CHUNK] {
        let rig = Rig::new(0);
        settled(&rig, async |rig| {
            let mut incoming = rig.blobs.begin(fresh(), u64::MAX).unwrap();
            incoming.write(Bytes::from(content(size))).await.unwrap();
            let mut finishing = incoming.finish();
            let _: std::task::Poll<_> = poll!(&mut finishing);
            // Dropped once the work is over, its outcome not yet fetched.
            while rig.blobs.list(None, 1).await.unwrap().is_empty() && size == CHUNK {
                tokio::task::yield_now().await;
            }
        });
        assert!(rig.files().is_empty(), "{size} bytes");
    }
}

#[test]
fn a_source_that_breaks_off_or_is_too_long_leaves_nothing() {
    let rig = Rig::new(CHUNK);
    settled(&rig, async |rig| {
        for before in [0, 1, 70, 400] {
            let pieces = (0..before).map(|_| Ok(Bytes::from(content(4_000))));
            let broken = pieces.chain([Err(io::ErrorKind::ConnectionReset.into())]);
            let result = rig.dynamic().put(fresh(), &mut futures_util::stream::iter(broken), u64::MAX).await;
            assert!(matches!(result, Err(BlobError::Source(io::ErrorKind::ConnectionReset))));
            let limit = super::super::to_u64(before * 4_000);
            let mut long = futures_util::stream::iter((0..=before).map(|_| Ok(Bytes::from(content(4_000)))));
            let result = rig.dynamic().put(fresh(), &mut long, limit).await;
            assert!(matches!(result, Err(BlobError::TooLarge { limit: told }) if told == limit));
        }
    });
    assert!(rig.files().is_empty());
}

#[tokio::test]
async fn a_sweep_takes_what_an_earlier_process_left_and_nothing_of_this_one() {
    let rig = Rig::new(0);
    let left = rig.data.path().join("blobs/tmp").join(format!("{}-{}", fresh(), fresh()));
    fs::write(&left, "half").unwrap();
    let mut incoming = rig.blobs.begin(fresh(), u64::MAX).unwrap();
    for _ in 0..2 {
        incoming.write(Bytes::from(content(4 * CHUNK))).await.unwrap();
    }
    assert_eq!(rig.blobs.sweep().await.unwrap(), 1);
    assert!(!left.exists());
    let stored = incoming.finish().await.unwrap();
    assert_eq!(rig.read(&stored.content()).await.unwrap().len(), 8 * CHUNK);
}

#[tokio::test]
async fn folders_that_vanish_are_made_again() {
    let rig = Rig::new(0);
    let file = fresh();
    rig.put(file, &content(10)).await.unwrap();
    rig.blobs.delete(file).await.unwrap();
    fs::remove_dir(rig.data.path().join("blobs/tmp")).unwrap();
    fs::remove_dir_all(rig.blobs.disk.object(file).ancestors().nth(2).unwrap()).unwrap();
    let stored = rig.put(file, &content(10)).await.unwrap();
    assert_eq!(rig.read(&stored.content()).await.unwrap(), content(10));
}

#[tokio::test]
async fn strangers_in_the_folders_are_not_listed() {
    let rig = Rig::new(0);
    let file = FileId::from_bytes([0x55; 16]);
    rig.put(file, b"x").await.unwrap();
    let folder = rig.blobs.disk.object(file).parent().unwrap().to_owned();
    fs::write(folder.join("notes.txt"), "").unwrap();
    // A name of the right shape in the wrong folder can be opened by nobody.
    fs::write(folder.join(FileId::from_bytes([0x77; 16]).to_string()), "").unwrap();
    fs::create_dir(rig.data.path().join("blobs/lost+found")).unwrap();
    assert_eq!(rig.blobs.list(None, 10).await.unwrap(), [file]);
}

#[tokio::test]
async fn space_is_that_of_the_file_system() {
    let rig = Rig::new(0);
    let space = rig.blobs.space().await.unwrap().unwrap();
    assert!(space.total > 0 && space.available <= space.total && space.more_files);
    let full = |total, available| Space { total, available, more_files: true }.used_percent();
    assert_eq!((full(1000, 1000), full(1000, 101), full(1000, 99), full(1000, 0), full(0, 0)), (0, 90, 91, 100, 100));
    assert_eq!(Space { total: 1000, available: 1000, more_files: false }.used_percent(), 100);
}

#[tokio::test]
async fn a157_no_attempt_is_sealed_under_the_key_of_another() {
    // Chunks are numbered from 0 in every attempt: a key that came again would be a nonce used twice. As after a crash the same
    // content comes under the same id again and again.
    const ATTEMPTS: usize = 20_000;
    let (rig, file, bytes) = (Rig::new(CHUNK), fresh(), content(64));
    let mut seen = std::collections::HashSet::new();
    for attempt in 0..ATTEMPTS {
        let stored = rig.put(file, &bytes).await.unwrap();
        let Placement::Inline(sealed) = stored.placement else { panic!("small ones lie with their row") };
        assert!(seen.insert(sealed[sealed.len() - 64..].to_vec()), "attempt {attempt}");
        if attempt % 2 == 0 {
            let mut broken = rig.blobs.begin(file, u64::MAX).unwrap();
            broken.write(Bytes::from(bytes.clone())).await.unwrap();
        }
    }
    assert_eq!(seen.len(), ATTEMPTS);
}

#[tokio::test]
async fn what_is_kept_in_memory_is_what_lies_on_disk_and_goes_when_told() {
    let mut rig = Rig::new(0);
    rig.blobs = rig.blobs.with_cache(1 << 20);
    let (file, other) = (FileId::from_bytes([1; 16]), FileId::from_bytes([2; 16]));
    let bytes: Vec<u8> = (0..READ_MOST + CHUNK + 7).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let stored = rig.put(file, &bytes).await.unwrap();
    let content = stored.content();
    let open = rig.blobs.open(&content).await.unwrap();
    let spans = [
        (0, CHUNK),
        (CHUNK, READ_MOST - CHUNK),
        (READ_MOST, READ_MOST),
        (5, 10),
        (READ_MOST - 1, 2),
        (READ_MOST + 3, 9),
    ];
    for _ in 0..4 {
        for (offset, len) in spans {
            let end = bytes.len().min(offset + len);
            assert_eq!(open.read(super::super::to_u64(offset), len).unwrap(), bytes[offset..end], "{offset}");
        }
    }
    // Both spans are kept by now: what becomes of the bytes on disk is not seen until they are dropped.
    let [path] = <[PathBuf; 1]>::try_from(rig.files().into_iter().collect::<Vec<_>>()).unwrap();
    let sealed = fs::OpenOptions::new().write(true).open(&path).unwrap();
    sealed.write_all_at(&[0; 64], 1000).unwrap();
    assert_eq!(open.read(0, READ_MOST).unwrap(), bytes[..READ_MOST]);
    rig.blobs.forget(Some(other));
    assert!(open.read(0, READ_MOST).is_ok());
    rig.blobs.forget(Some(file));
    assert!(matches!(open.read(0, READ_MOST), Err(BlobError::Damaged(_))));
    assert!(matches!(rig.read(&content).await, Err(BlobError::Damaged(_))));
}

#[tokio::test]
async fn without_a_cache_each_reading_sees_the_disk() {
    let rig = Rig::new(0);
    let file = FileId::from_bytes([1; 16]);
    let stored = rig.put(file, &[7; CHUNK]).await.unwrap();
    let content = stored.content();
    let open = rig.blobs.open(&content).await.unwrap();
    for _ in 0..3 {
        open.read(0, CHUNK).unwrap();
    }
    let path = rig.files().into_iter().next().unwrap();
    fs::OpenOptions::new().write(true).open(&path).unwrap().write_all_at(&[0; 64], 1000).unwrap();
    assert!(matches!(open.read(0, CHUNK), Err(BlobError::Damaged(_))));
}
