//! Bytes at rest that change: every flipped bit and every cut is found, in files and in contents that lie with their rows, and nothing
//! of it is given out. The moments come from a fixed seed; a failure names file, bit or length.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use daylily::blob::{BlobError, Blobs, CHUNK, ContentRef, LocalBlobs, Placement, Stored};
use daylily::domain::clock::Entropy;
use daylily::domain::id::FileId;
use daylily::vault::{KeySource, SystemEntropy, Vault};

const FLIPS: usize = 10_000;
const SEED: u64 = 0x2026_1124;
const HEADER: usize = 32;
const TAG: usize = 16;

fn blobs(data: &Path, inline_most: usize) -> LocalBlobs {
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let vault = Vault::open(&KeySource::Folder, data, false, Arc::clone(&entropy)).unwrap();
    LocalBlobs::open(data, inline_most, Arc::new(vault), entropy).unwrap()
}

/// SplitMix64 (public domain, by Vigna): a fixed sequence without a dependency.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(end).unwrap()).unwrap()
    }
}

fn bytes_of(dice: &mut Dice, length: usize) -> Vec<u8> {
    (0..length).map(|_| u8::try_from(dice.below(256)).unwrap()).collect()
}

async fn put(blobs: &dyn Blobs, bytes: &[u8]) -> Stored {
    blobs.put_bytes(FileId::random(&SystemEntropy), Bytes::copy_from_slice(bytes), u64::MAX).await.unwrap()
}

fn path_of(data: &Path, stored: &Stored) -> PathBuf {
    let name = stored.file.to_string();
    data.join("blobs").join(&name[..2]).join(&name[2..4]).join(&name)
}

/// All that is given out until an error, and the error.
async fn read(blobs: &dyn Blobs, content: &ContentRef) -> (Vec<u8>, Option<BlobError>) {
    let open = match blobs.open(content).await {
        Ok(open) => open,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut all = Vec::new();
    while u64::try_from(all.len()).unwrap() < open.size() {
        match open.read(u64::try_from(all.len()).unwrap(), CHUNK) {
            Ok(bytes) => all.extend_from_slice(&bytes),
            Err(error) => return (all, Some(error)),
        }
    }
    (all, None)
}

/// Damage was found, and what was given out before it is the beginning of the original.
async fn found(blobs: &dyn Blobs, content: &ContentRef, original: &[u8], what: &str) {
    let (given, error) = read(blobs, content).await;
    assert!(matches!(error, Some(BlobError::Damaged(_))), "seed={SEED:x} {what}: {error:?}");
    assert!(
        given.len() < original.len().max(1) && original.starts_with(&given),
        "seed={SEED:x} {what}: other bytes came"
    );
}

#[tokio::test]
async fn f36_ten_thousand_flipped_bits_are_all_found_and_none_is_served() {
    let data = tempfile::tempdir().unwrap();
    let (files, rows) = (blobs(data.path(), 0), blobs(data.path(), CHUNK));
    let mut dice = Dice(SEED);
    let mut kept = Vec::new();
    for length in [0, 1, 500, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 200_000] {
        let original = bytes_of(&mut dice, length);
        kept.push((put(&files, &original).await, original));
    }
    let mut with_rows = Vec::new();
    for length in [0, 1, 300, 4_000, 60_000] {
        let original = bytes_of(&mut dice, length);
        with_rows.push((put(&rows, &original).await, original));
    }
    for flip in 0..FLIPS {
        // Two of three in files, one in a content that lies with its row.
        if flip % 3 == 2 {
            let (stored, original) = &with_rows[dice.below(with_rows.len())];
            let Placement::Inline(sealed) = &stored.placement else { panic!("small contents lie with their rows") };
            let mut changed = sealed.clone();
            let bit = dice.below(8 * changed.len());
            changed[bit / 8] ^= 1 << (bit % 8);
            let content = ContentRef { placement: Placement::Inline(changed), ..stored.content() };
            found(&rows, &content, original, &format!("flip {flip}, row of {}, bit {bit}", original.len())).await;
        } else {
            let (stored, original) = &kept[dice.below(kept.len())];
            let file = fs::OpenOptions::new().read(true).write(true).open(path_of(data.path(), stored)).unwrap();
            let bit = dice.below(8 * usize::try_from(file.metadata().unwrap().len()).unwrap());
            let (mut byte, at) = ([0], u64::try_from(bit / 8).unwrap());
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ (1 << (bit % 8))], at).unwrap();
            found(&files, &stored.content(), original, &format!("flip {flip}, file of {}, bit {bit}", original.len()))
                .await;
            file.write_all_at(&byte, at).unwrap();
        }
    }
    for (stored, original) in &kept {
        let (given, error) = read(&files, &stored.content()).await;
        assert!(error.is_none() && &given == original, "put back, it is whole again");
    }
}

#[tokio::test]
async fn f32_f37_every_cut_is_found_also_when_the_row_was_made_to_fit() {
    let data = tempfile::tempdir().unwrap();
    let files = blobs(data.path(), 0);
    let mut dice = Dice(SEED);
    for length in [0, 100, CHUNK, 3 * CHUNK, 3 * CHUNK + 777] {
        let original = bytes_of(&mut dice, length);
        let stored = put(&files, &original).await;
        let path = path_of(data.path(), &stored);
        let whole = fs::read(&path).unwrap();
        let edges = (0..=3).flat_map(|chunk| {
            let edge = HEADER + chunk * (CHUNK + TAG);
            edge.saturating_sub(32)..=edge + 32
        });
        // All short lengths, those around each edge, and a torn last page (F32).
        let torn = whole.len().saturating_sub(4_096)..whole.len();
        let cuts = (0..=512).chain(edges).chain(torn).filter(|cut| *cut < whole.len());
        for cut in cuts.collect::<std::collections::BTreeSet<usize>>() {
            fs::write(&path, &whole[..cut]).unwrap();
            found(&files, &stored.content(), &original, &format!("cut of {length} at {cut}")).await;
            for size in fitting(cut) {
                let content = ContentRef { size, ..stored.content() };
                found(&files, &content, &original, &format!("cut of {length} at {cut}, row of {size}")).await;
            }
        }
        fs::write(&path, &whole).unwrap();
        assert_eq!(read(&files, &stored.content()).await.0, original);
    }
}

/// The sizes of content whose sealed form has this length: what a row would have to say for the cut to go unnoticed by length.
fn fitting(sealed: usize) -> Vec<u64> {
    let sizes = (1..=4).filter_map(|chunks: usize| sealed.checked_sub(HEADER + chunks * TAG));
    let fits = |size: &usize| size.div_ceil(CHUNK).max(1) * TAG + HEADER + size == sealed;
    sizes.filter(fits).map(|size| u64::try_from(size).unwrap()).collect()
}

#[tokio::test]
async fn f39_no_file_opens_in_the_place_of_another() {
    let data = tempfile::tempdir().unwrap();
    let files = blobs(data.path(), 0);
    let mut dice = Dice(SEED);
    let mut kept = Vec::new();
    for _ in 0..6 {
        let original = bytes_of(&mut dice, 70_000);
        let stored = put(&files, &original).await;
        let whole = fs::read(path_of(data.path(), &stored)).unwrap();
        kept.push((stored, original, whole));
    }
    for (one, original, own) in &kept {
        for (other, _, foreign) in kept.iter().filter(|(other, ..)| other.file != one.file) {
            fs::write(path_of(data.path(), one), foreign).unwrap();
            found(&files, &one.content(), original, "another whole file").await;
            // With the other's header mended to this file's, the chunks still belong to the other.
            let mended = [&own[..HEADER], &foreign[HEADER..]].concat();
            fs::write(path_of(data.path(), one), mended).unwrap();
            found(&files, &one.content(), original, "another's chunks under this header").await;
            let with_key = ContentRef { wrapped_key: other.wrapped_key.clone(), ..one.content() };
            found(&files, &with_key, original, "another's chunks and key under this header").await;
        }
        fs::write(path_of(data.path(), one), own).unwrap();
    }
}
