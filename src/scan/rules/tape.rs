//! Tar archives (POSIX.1-2017 pax, ustar): entries one after the other, no directory to contradict them.

use std::io::Read;

use super::executable;
use super::forward::{Forward, LOOK_AHEAD, Part};
use super::inspect::{Outcome, entry};
use crate::domain::verdict::Finding;

const BLOCK: u64 = 512;

/// Walks the entries; ends at the first empty block, as readers do.
pub(super) fn inspect(forward: &mut Forward<'_>) -> Outcome<()> {
    let account = forward.account;
    let mut number = 0;
    loop {
        let header = forward.peek(512)?;
        if header.is_empty() || header.iter().all(|byte| *byte == 0) {
            return after_end(forward);
        }
        let header: [u8; 512] = header.try_into().map_err(|_| Finding::Unreadable)?;
        forward.skip(BLOCK)?;
        let (name, size, kind) = read(&header).ok_or(Finding::Unreadable)?;
        number += 1;
        if matches!(kind, 0 | b'0' | b'7') && executable::is_run_by_name(name) {
            return Err(Finding::Executable.into());
        }
        if matches!(kind, b'L' | b'x') && size > 0 {
            long_name(forward, size)?;
        }
        let mut part = Part { forward: &mut *forward, left: size };
        entry(number, &mut Forward::plain(account, &mut part), None)?;
        let padding = (BLOCK - size % BLOCK) % BLOCK;
        forward.skip(padding)?;
    }
}

/// Whether this is a header, also of archives from before they had a magic (V7): its checksum says so.
pub(super) fn starts(head: &[u8]) -> bool {
    let header = head.first_chunk::<512>();
    header.and_then(read).is_some_and(|(name, ..)| !name.is_empty() && !name.contains(&b'\n'))
}

/// Names that do not fit into a header come in an entry before it: whole (GNU), or as `path` among other records (pax).
fn long_name(forward: &mut Forward<'_>, size: u64) -> Outcome<()> {
    let size = usize::try_from(size).ok().filter(|size| *size <= LOOK_AHEAD).ok_or(Finding::Unreadable)?;
    let records = forward.peek(size)?;
    let mut names = records.split(|byte| matches!(byte, 0 | b'\n'));
    if names.any(executable::is_run_by_name) { Err(Finding::Executable.into()) } else { Ok(()) }
}

/// Name, size and kind of an entry, when its checksum holds and its size is written in octal or base 256.
fn read(header: &[u8; 512]) -> Option<(&[u8], u64, u8)> {
    let name = header.get(..100)?.split(|byte| *byte == 0).next()?;
    let sum: u64 =
        header.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u64::from(*byte) }).sum();
    let number = |field: &[u8]| {
        let text = field.trim_ascii();
        let text = text.split(|byte| matches!(byte, 0 | b' ')).next()?;
        text.iter().try_fold(0u64, |value, digit| match digit {
            b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
            _ => None,
        })
    };
    let size = header.get(124..136)?;
    let size = match size {
        [0x80, rest @ ..] => {
            rest.iter().try_fold(0u64, |value, byte| value.checked_mul(256)?.checked_add(u64::from(*byte)))?
        }
        _ => number(size)?,
    };
    (number(header.get(148..156)?)? == sum).then_some((name, size, *header.get(156)?))
}

/// Behind the end there is padding only; anything else would be seen by readers that go on.
fn after_end(forward: &mut Forward<'_>) -> Outcome<()> {
    let mut buffer = [0; 4096];
    loop {
        match forward.read(&mut buffer)? {
            0 => return Ok(()),
            count if buffer.iter().take(count).any(|byte| *byte != 0) => return Err(Finding::Unreadable.into()),
            _ => {}
        }
    }
}
