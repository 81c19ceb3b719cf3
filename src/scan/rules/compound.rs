//! Compound files ([MS-CFB]): the old Office formats, encrypted new ones, and Windows installers. Their directory entries
//! are 128 bytes long and lie at multiples of 128 (2.6.1), so that each such record can be read as it goes by and no sector
//! chain, which may lie, has to be followed.

use std::io::BufRead;

use super::forward::Forward;
use super::inspect::Outcome;
use crate::domain::verdict::Finding;

/// Reads every record that could be a directory entry.
pub(super) fn inspect(forward: &mut Forward<'_>) -> Outcome<()> {
    loop {
        let record = forward.peek(128)?;
        if record.len() < 128 {
            return Ok(());
        }
        if let Some(finding) = directory_entry(record) {
            return Err(finding.into());
        }
        forward.consume(128);
    }
}

/// What a directory entry gives away: storages of macros ([MS-OVBA] 2.2.1), of encryption ([MS-OFFCRYPTO] 2.3), of
/// embedded programs, and the class of installers.
fn directory_entry(record: &[u8]) -> Option<Finding> {
    let length = usize::from(u16::from_le_bytes(record.get(64..66)?.try_into().ok()?));
    let kind = *record.get(66)?;
    if !matches!(kind, 1 | 2 | 5) || !(4..=64).contains(&length) || !length.is_multiple_of(2) {
        return None;
    }
    let (name, end) = record.get(..length)?.split_at_checked(length - 2)?;
    if end != [0, 0] {
        return None;
    }
    let units = name.chunks_exact(2).map(|pair| match pair {
        [low, 0] => *low,
        _ => b'~',
    });
    let name: Vec<u8> = units.map(|byte| byte.to_ascii_lowercase()).collect();
    match name.as_slice() {
        b"vba" | b"_vba_project" | b"macros" | b"_vba_project_cur" => Some(Finding::Macro),
        b"encryptedpackage" | b"encryptioninfo" | b"encryptedsummary" => Some(Finding::Encrypted),
        b"\x01ole10native" => Some(Finding::Executable),
        b"root entry" if is_installer(record.get(80..96)?) => Some(Finding::Executable),
        _ => None,
    }
}

/// Class ids of Windows Installer packages, transforms and patches: 000C1084, 000C1082 and 000C1086, rest alike.
fn is_installer(class: &[u8]) -> bool {
    matches!(class, [0x82 | 0x84 | 0x86, 0x10, 0x0c, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46])
}
