//! UTF-16 as the rules read it: every unit as one byte. The rules look for ASCII words only, so that any other unit is
//! as good as `~`.

use std::io::{self, Read};

use super::forward::Forward;

/// Gives one byte per UTF-16 unit, without the byte order mark.
#[derive(Debug)]
pub(super) struct Narrow<'a, 'r> {
    forward: &'a mut Forward<'r>,
    high_first: bool,
}

impl<'a, 'r> Narrow<'a, 'r> {
    pub(super) fn new(forward: &'a mut Forward<'r>, high_first: bool) -> Self {
        Self { forward, high_first }
    }

    fn unit(&mut self) -> io::Result<Option<u16>> {
        let (Some(first), second) = (self.forward.next_byte()?, self.forward.next_byte()?) else { return Ok(None) };
        let pair = [first, second.unwrap_or_default()];
        Ok(Some(if self.high_first { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }))
    }
}

impl Read for Narrow<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        while let Some(slot) = buffer.get_mut(count) {
            match self.unit()? {
                None => break,
                Some(0xfeff) => {}
                Some(unit) => {
                    *slot = u8::try_from(unit).ok().filter(u8::is_ascii).unwrap_or(b'~');
                    count += 1;
                }
            }
        }
        Ok(count)
    }
}
