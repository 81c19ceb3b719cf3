//! Room on the disk of the data folder, and whether its volume is encrypted, as far as the system tells.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Check, free};
use crate::config::Settings;

/// How many layers of block devices are looked through (crypt below LVM below RAID).
const LAYERS: usize = 8;

/// Room and encryption.
pub(super) async fn check(settings: &Settings) -> Check {
    let Ok(room) = rustix::fs::statvfs(&settings.data_dir) else {
        return Check::fail("disk", "the data folder's disk cannot be asked", "give the right `--data-dir`");
    };
    let (all, left) = (room.f_blocks.saturating_mul(room.f_frsize), room.f_bavail.saturating_mul(room.f_frsize));
    let used = left.saturating_mul(100).checked_div(all).map_or(0, |left| 100_u64.saturating_sub(left));
    let stop = u64::from(settings.limits.disk_stop);
    let encrypted = match is_encrypted(&settings.data_dir) {
        Some(true) => "volume encrypted (dm-crypt)",
        Some(false) => "volume not encrypted by dm-crypt",
        None => "volume encryption unknown",
    };
    let words = format!("{} free, {encrypted}, uploads stop at {stop} %", free(left));
    if used >= stop {
        return Check::fail(
            "disk",
            words,
            "make room on the disk of the data folder; uploads are refused, reading goes on",
        );
    }
    Check::ok("disk", words)
}

/// Whether a layer below the folder's file system is dm-crypt; `None` where no block device is known (overlay, network).
fn is_encrypted(folder: &Path) -> Option<bool> {
    let device = std::fs::metadata(folder).ok()?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let node = std::fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    Some(has_crypt(&node, LAYERS))
}

fn has_crypt(node: &Path, layers: usize) -> bool {
    let uuid = std::fs::read_to_string(node.join("dm/uuid")).unwrap_or_default();
    if uuid.starts_with("CRYPT-") {
        return true;
    }
    let below = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let slaves: Vec<PathBuf> = below(node.join("slaves")).map(|entry| entry.path()).collect();
    layers > 0 && slaves.iter().any(|slave| has_crypt(slave, layers - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crypt_layer_is_found_below_others() {
        let root = tempfile::tempdir().unwrap();
        let lower = root.path().join("slaves/dm-0/dm");
        std::fs::create_dir_all(&lower).unwrap();
        assert!(!has_crypt(root.path(), LAYERS));
        std::fs::write(lower.join("uuid"), "CRYPT-LUKS2-0-x\n").unwrap();
        assert!(has_crypt(root.path(), LAYERS) && !has_crypt(root.path(), 0));
    }
}
