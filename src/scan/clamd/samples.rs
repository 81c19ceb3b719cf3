//! What the probe sends: three harmless files that a clamd fit for this work does not call clean. Made in memory; no archive of another
//! maker is needed, and none that a scanner would find lies in the program.

use flate2::Crc;

use crate::scan::rules::harmless_test_file;

/// Levels of the nested archive: beyond clamd's `MaxRecursion` (17), as beyond any honest document.
const LEVELS: usize = 20;
/// Bit 0 of the general purpose flags (APPNOTE 4.4.4): encrypted.
const ENCRYPTED: u16 = 1;

/// The EICAR test file.
pub(super) fn test_virus() -> Vec<u8> {
    harmless_test_file()
}

/// A zip whose one file asks for a password: what is inside cannot be looked into, and is noise.
pub(super) fn locked_zip() -> Vec<u8> {
    let noise: Vec<u8> = (0..64_u8).map(|at| at.wrapping_mul(151).wrapping_add(83)).collect();
    zip("note.txt", &noise, ENCRYPTED)
}

/// The test file below twenty zips: looked into, it is found; not looked into, that must be said.
pub(super) fn deep_zip() -> Vec<u8> {
    (0..LEVELS).fold(test_virus(), |inner, _| zip("a.zip", &inner, 0))
}

/// A zip (APPNOTE 4.3) of one stored file.
fn zip(name: &str, data: &[u8], flags: u16) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(data);
    let size = u32::try_from(data.len()).unwrap_or(u32::MAX).to_le_bytes();
    let length = u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes();
    let mut shared = Vec::new();
    // Version 2.0, flags, stored, 1 January 1980.
    for field in [20, flags, 0, 0, 0x21] {
        shared.extend_from_slice(&u16::to_le_bytes(field));
    }
    shared.extend_from_slice(&crc.sum().to_le_bytes());
    shared.extend_from_slice(&size);
    shared.extend_from_slice(&size);
    shared.extend_from_slice(&length);
    shared.extend_from_slice(&[0; 2]);
    let local = [b"PK\x03\x04", shared.as_slice(), name.as_bytes(), data].concat();
    let central = [b"PK\x01\x02\x14\x00", shared.as_slice(), &[0; 14], name.as_bytes()].concat();
    let at = |place: usize| u32::try_from(place).unwrap_or(u32::MAX).to_le_bytes();
    let end = [b"PK\x05\x06\0\0\0\0\x01\0\x01\0".as_slice(), &at(central.len()), &at(local.len()), &[0; 2]].concat();
    [local, central, end].concat()
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read};

    use super::*;

    /// Judged by another reader of zips.
    #[test]
    fn the_samples_are_what_they_are_called() {
        let mut data = deep_zip();
        for level in 0..LEVELS {
            let mut archive = zip::ZipArchive::new(Cursor::new(&data)).unwrap_or_else(|e| panic!("level {level}: {e}"));
            let mut inner = Vec::new();
            archive.by_index(0).unwrap().read_to_end(&mut inner).unwrap();
            data = inner;
        }
        assert_eq!(data, test_virus());
        let locked = locked_zip();
        let mut archive = zip::ZipArchive::new(Cursor::new(&locked)).unwrap();
        assert!(archive.by_index_raw(0).unwrap().encrypted());
        assert!(archive.by_index(0).is_err(), "it asks for a password");
    }
}
