//! Base64 within markup: documents travel like that in CDA bodies and FHIR content, and a reader will unpack them.

use std::io::{self, Read};

use super::forward::Forward;
use super::inspect::{Outcome, entry};

/// Bytes that all have to be of the alphabet before a run is taken for base64.
const SURE: usize = 80;

/// Inspects the run at the position of `forward`, if there is one. Stops before the first byte that is not of it.
pub(super) fn inspect(forward: &mut Forward<'_>, number: u64) -> Outcome<()> {
    let ahead = forward.peek(SURE + 64)?;
    let letters = ahead.iter().filter(|byte| !byte.is_ascii_whitespace());
    // Prose has spaces between its words; base64 has line ends only.
    let prose = ahead.trim_ascii().contains(&b' ');
    if prose || letters.clone().count() < SURE || !letters.clone().take(SURE).all(|byte| value(*byte).is_some()) {
        return Ok(());
    }
    let account = forward.account;
    let mut run = Run { forward, bits: 0, held: 0 };
    entry(number, &mut Forward::unpacking(account, &mut run), None).map(drop)
}

fn value(byte: u8) -> Option<u32> {
    Some(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    }))
}

/// Decodes until the first foreign byte, which it leaves.
struct Run<'a, 'r> {
    forward: &'a mut Forward<'r>,
    bits: u32,
    held: u32,
}

impl Run<'_, '_> {
    fn next(&mut self) -> io::Result<Option<u8>> {
        while self.held < 8 {
            let Some(byte) = self.forward.peek(1)?.first().copied() else { return Ok(None) };
            match value(byte) {
                Some(value) => {
                    self.bits = (self.bits << 6) | value;
                    self.held += 6;
                }
                None if byte.is_ascii_whitespace() => {}
                None => return Ok(None),
            }
            self.forward.skip(1)?;
        }
        self.held -= 8;
        let byte = self.bits >> self.held;
        self.bits &= (1 << self.held) - 1;
        Ok(u8::try_from(byte & 0xff).ok())
    }
}

impl Read for Run<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        while let Some(slot) = buffer.get_mut(count) {
            let Some(byte) = self.next()? else { break };
            *slot = byte;
            count += 1;
        }
        Ok(count)
    }
}
