//! The contract of `Blobs`, for any implementation: a list of cases over `&dyn Blobs`, run here against each that is built in.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest;
use bytes::Bytes;
use daylily::blob::{
    BlobError, Blobs, CHUNK, ContentReader, ContentRef, INLINE_MOST, LocalBlobs, OpenContent, Placement, READ_MOST,
    Stored,
};
use daylily::domain::clock::Entropy;
use daylily::domain::id::FileId;
use daylily::vault::{KeySource, SystemEntropy, Vault};
use futures_util::stream;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Both placements of the local store: small contents with their rows, and everything in files.
fn local(data: &Path, inline_most: usize) -> LocalBlobs {
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let vault = Vault::open(&KeySource::Folder, data, false, Arc::clone(&entropy)).unwrap();
    LocalBlobs::open(data, inline_most, Arc::new(vault), entropy).unwrap()
}

macro_rules! contract {
    ($($case:ident,)*) => {
        mod local_with_rows {
            $(#[tokio::test] async fn $case() {
                let data = tempfile::tempdir().unwrap();
                super::$case(&super::local(data.path(), super::INLINE_MOST)).await;
            })*
        }
        mod local_files_only {
            $(#[tokio::test] async fn $case() {
                let data = tempfile::tempdir().unwrap();
                super::$case(&super::local(data.path(), 0)).await;
            })*
        }
    };
}

contract! {
    what_is_stored_is_read_back_with_its_length_and_digests,
    a_stream_may_come_in_any_pieces,
    any_range_is_that_of_the_original,
    the_limit_is_the_last_length_that_passes,
    a_stream_that_fails_leaves_nothing,
    an_attempt_that_is_dropped_leaves_nothing,
    deleting_is_final_and_may_be_repeated,
    a_second_file_under_the_same_id_is_refused_and_the_first_kept,
    listing_goes_through_all_files_in_order,
    a_copy_has_a_key_of_its_own_and_outlives_its_original,
    equal_contents_have_nothing_in_common,
    a_key_opens_its_own_file_only,
    a_reader_reads_and_seeks_like_a_file,
    many_files_may_come_and_be_read_at_a_time,
}

const NO_LIMIT: u64 = 1 << 40;

/// Lengths around the edges of chunks, batches and the threshold.
const LENGTHS: [usize; 11] =
    [0, 1, 65_535, 65_536, 65_537, 131_071, 131_072, 131_073, READ_MOST, READ_MOST + 1, (1 << 20) + 1];

fn fresh() -> FileId {
    FileId::random(&SystemEntropy)
}

/// Bytes in which no two places look alike.
fn content(length: usize) -> Bytes {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

async fn put(blobs: &dyn Blobs, bytes: &Bytes) -> Stored {
    blobs.put_bytes(fresh(), bytes.clone(), NO_LIMIT).await.unwrap()
}

fn read_all(content: &dyn OpenContent) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let bytes = content.read(u64::try_from(all.len()).unwrap(), READ_MOST).unwrap();
        if bytes.is_empty() {
            return all;
        }
        all.extend_from_slice(&bytes);
    }
}

async fn what_is_stored_is_read_back_with_its_length_and_digests(blobs: &dyn Blobs) {
    for length in LENGTHS {
        let bytes = content(length);
        let stored = put(blobs, &bytes).await;
        assert_eq!(stored.size, u64::try_from(length).unwrap());
        assert_eq!(stored.sha256, digest::digest(&digest::SHA256, &bytes).as_ref());
        assert_eq!(stored.sha1, digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &bytes).as_ref());
        let open = blobs.open(&stored.content()).await.unwrap();
        assert_eq!(open.size(), stored.size);
        assert!(read_all(open.as_ref()) == bytes, "length {length}");
    }
}

async fn a_stream_may_come_in_any_pieces(blobs: &dyn Blobs) {
    let bytes = content(2 * CHUNK + 7);
    for piece in [1_000, 4_096, CHUNK - 1, CHUNK, CHUNK + 1, bytes.len()] {
        let empty = Bytes::new();
        let pieces = bytes.chunks(piece).flat_map(|piece| [Ok(Bytes::copy_from_slice(piece)), Ok(empty.clone())]);
        let stored = blobs.put(fresh(), &mut stream::iter(pieces), NO_LIMIT).await.unwrap();
        assert_eq!(stored.sha256, digest::digest(&digest::SHA256, &bytes).as_ref());
        let open = blobs.open(&stored.content()).await.unwrap();
        assert!(read_all(open.as_ref()) == bytes, "pieces of {piece}");
    }
}

async fn any_range_is_that_of_the_original(blobs: &dyn Blobs) {
    for length in LENGTHS {
        let bytes = content(length);
        let stored = put(blobs, &bytes).await;
        let open = blobs.open(&stored.content()).await.unwrap();
        let check = |offset: usize, len: usize| {
            let found = open.read(u64::try_from(offset).unwrap(), len).unwrap();
            let start = offset.min(length);
            found == bytes[start..start.saturating_add(len.min(READ_MOST)).min(length)]
        };
        let edges = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, length.saturating_sub(1), length, length + 1];
        for offset in edges {
            for len in [0, 1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 1, READ_MOST, READ_MOST + 1, usize::MAX] {
                assert!(check(offset, len), "{offset}, {len} of {length}");
            }
        }
        assert!(open.read(u64::MAX, 1).unwrap().is_empty());
        let mut runner = TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() });
        runner
            .run(&(0..=length + 10, 0..=READ_MOST + 10), |(offset, len)| {
                prop_assert!(check(offset, len), "{} {}", offset, len);
                Ok(())
            })
            .unwrap();
    }
}

async fn the_limit_is_the_last_length_that_passes(blobs: &dyn Blobs) {
    for length in LENGTHS {
        let (bytes, limit) = (content(length), u64::try_from(length).unwrap());
        assert_eq!(blobs.put_bytes(fresh(), bytes.clone(), limit).await.unwrap().size, limit);
        if length > 0 {
            let refused = blobs.put_bytes(fresh(), bytes, limit - 1).await.unwrap_err();
            assert!(matches!(refused, BlobError::TooLarge { limit: told } if told == limit - 1));
        }
    }
    // A stream without end is stopped by the limit, not by memory or disk.
    let endless = stream::repeat_with(|| Ok(Bytes::from_static(&[0; 4_096])));
    let before = blobs.list(None, 100).await.unwrap();
    assert!(matches!(blobs.put(fresh(), &mut Box::pin(endless), 1 << 20).await, Err(BlobError::TooLarge { .. })));
    assert_eq!(blobs.list(None, 100).await.unwrap(), before);
}

async fn a_stream_that_fails_leaves_nothing(blobs: &dyn Blobs) {
    for pieces in [0, 1, 40] {
        let before = (0..pieces).map(|_| Ok(content(10_000)));
        let mut source = stream::iter(before.chain([Err(io::ErrorKind::UnexpectedEof.into())]));
        let refused = blobs.put(fresh(), &mut source, NO_LIMIT).await.unwrap_err();
        assert!(matches!(refused, BlobError::Source(io::ErrorKind::UnexpectedEof)));
    }
    assert_eq!(blobs.list(None, 10).await.unwrap(), []);
}

async fn an_attempt_that_is_dropped_leaves_nothing(blobs: &dyn Blobs) {
    for length in LENGTHS {
        let mut incoming = blobs.begin(fresh(), NO_LIMIT).unwrap();
        incoming.write(content(length)).await.unwrap();
        drop(incoming);
    }
    assert_eq!(blobs.list(None, 10).await.unwrap(), []);
}

async fn deleting_is_final_and_may_be_repeated(blobs: &dyn Blobs) {
    let (gone, stays) = (put(blobs, &content(CHUNK + 1)).await, put(blobs, &content(CHUNK + 1)).await);
    assert_eq!((&gone.placement, &stays.placement), (&Placement::File, &Placement::File));
    for _ in 0..2 {
        blobs.delete(gone.file).await.unwrap();
        assert!(matches!(blobs.open(&gone.content()).await, Err(BlobError::Missing)));
    }
    blobs.delete(fresh()).await.unwrap();
    assert_eq!(blobs.list(None, 10).await.unwrap(), [stays.file]);
    assert!(blobs.open(&stays.content()).await.is_ok());
}

async fn a_second_file_under_the_same_id_is_refused_and_the_first_kept(blobs: &dyn Blobs) {
    let bytes = content(CHUNK + 1);
    let first = put(blobs, &bytes).await;
    let second = blobs.put_bytes(first.file, content(CHUNK + 2), NO_LIMIT).await;
    assert!(matches!(second, Err(BlobError::Exists)));
    assert!(read_all(blobs.open(&first.content()).await.unwrap().as_ref()) == bytes);
}

async fn listing_goes_through_all_files_in_order(blobs: &dyn Blobs) {
    let bytes = content(CHUNK + 1);
    // Neighbours in one folder, in the next one, and far away.
    let mut files: Vec<FileId> = (0..12).map(|_| fresh()).collect();
    for near in [[0, 0, 0x00, 1], [0, 0, 0x00, 2], [0, 0, 0x10, 0], [0, 0xff, 0, 0], [0xff, 0xff, 0xff, 0xff]] {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&near);
        files.push(FileId::from_bytes(id));
    }
    for file in &files {
        blobs.put_bytes(*file, bytes.clone(), NO_LIMIT).await.unwrap();
    }
    files.sort_unstable();
    for most in [1, 2, 5, 17, 100] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = blobs.list(after, most).await.unwrap();
            assert!(page.len() <= most);
            found.extend_from_slice(&page);
            after = page.last().copied();
            if page.len() < most {
                break;
            }
        }
        assert_eq!(found, files, "{most} at a time");
    }
}

async fn a_copy_has_a_key_of_its_own_and_outlives_its_original(blobs: &dyn Blobs) {
    for length in LENGTHS {
        let bytes = content(length);
        let original = put(blobs, &bytes).await;
        let copy = blobs.copy(&original.content(), fresh()).await.unwrap();
        assert_eq!((copy.sha256, copy.sha1, copy.size), (original.sha256, original.sha1, original.size));
        assert!(copy.wrapped_key != original.wrapped_key);
        blobs.delete(original.file).await.unwrap();
        assert!(read_all(blobs.open(&copy.content()).await.unwrap().as_ref()) == bytes);
    }
}

async fn equal_contents_have_nothing_in_common(blobs: &dyn Blobs) {
    let bytes = content(1_000);
    let (one, two) = (put(blobs, &bytes).await, put(blobs, &bytes).await);
    assert!(one.file != two.file && one.wrapped_key != two.wrapped_key);
    if let (Placement::Inline(one), Placement::Inline(two)) = (&one.placement, &two.placement) {
        let parts: std::collections::HashSet<&[u8]> = one[32..].windows(8).collect();
        assert!(two[32..].windows(8).all(|part| !parts.contains(part)));
    }
}

async fn a_key_opens_its_own_file_only(blobs: &dyn Blobs) {
    for length in [10, CHUNK + 1] {
        let (one, two) = (put(blobs, &content(length)).await, put(blobs, &content(length)).await);
        let (one, two) = (one.content(), two.content());
        for (what, mixed) in [
            ("another's key", ContentRef { wrapped_key: two.wrapped_key.clone(), ..one.clone() }),
            ("another's id", ContentRef { file: two.file, ..one.clone() }),
        ] {
            assert!(matches!(blobs.open(&mixed).await, Err(BlobError::Damaged(_))), "{what}, {length} bytes");
        }
        // A wrong length is found when opening or, at the latest, before a byte is given out.
        for size in [one.size - 1, one.size + 1, 0, u64::MAX] {
            let opened = blobs.open(&ContentRef { size, ..one.clone() }).await;
            let read = opened.and_then(|open| open.read(0, 1));
            assert!(matches!(read, Err(BlobError::Damaged(_))), "{size} instead of {}", one.size);
        }
    }
}

async fn a_reader_reads_and_seeks_like_a_file(blobs: &dyn Blobs) {
    let bytes = content(3 * CHUNK + 11);
    let stored = put(blobs, &bytes).await;
    let open: Arc<dyn OpenContent> = Arc::from(blobs.open(&stored.content()).await.unwrap());
    let mut reader = ContentReader::new(open);
    let mut like = io::Cursor::new(&bytes);
    let mut runner = TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() });
    let last = i64::try_from(bytes.len()).unwrap() + 20;
    let step = (0..3u8, -last..last, 0..2 * CHUNK);
    let both = std::cell::RefCell::new((&mut reader, &mut like));
    runner
        .run(&step, |(whence, by, len)| {
            let (reader, like) = &mut *both.borrow_mut();
            let to = match whence {
                0 => SeekFrom::Start(by.unsigned_abs()),
                1 => SeekFrom::End(by),
                _ => SeekFrom::Current(by),
            };
            prop_assert_eq!(reader.seek(to).ok(), like.seek(to).ok());
            let (mut found, mut expected) = (Vec::new(), Vec::new());
            let len = u64::try_from(len).unwrap();
            reader.by_ref().take(len).read_to_end(&mut found).unwrap();
            like.by_ref().take(len).read_to_end(&mut expected).unwrap();
            prop_assert!(found == expected);
            Ok(())
        })
        .unwrap();
}

async fn many_files_may_come_and_be_read_at_a_time(blobs: &dyn Blobs) {
    let attempts = (0..24).map(|nth| async move {
        let bytes = content(nth * 20_000);
        let pieces = bytes.chunks(7_000).map(|piece| Ok(Bytes::copy_from_slice(piece)));
        let stored = blobs.put(fresh(), &mut stream::iter(pieces), NO_LIMIT).await.unwrap();
        let open = blobs.open(&stored.content()).await.unwrap();
        read_all(open.as_ref()) == bytes
    });
    assert!(futures_util::future::join_all(attempts).await.into_iter().all(|same| same));
}
