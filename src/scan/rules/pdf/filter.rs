//! Filters of streams (ISO 32000-1, 7.4) that carry bytes unchanged: deflate, hexadecimal and base 85. Picture formats
//! are no way to attach a file; the other two, LZW and run lengths, are not read here.

use std::io::{self, Read};

use super::super::forward::Forward;

/// Most filters one after the other.
pub(super) const STEPS: usize = 4;

/// One filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Flate,
    Hex,
    Base85,
    /// A format of pictures: what comes out are pixels.
    Picture,
    /// Encryption of its own, LZW, run lengths and unknown ones.
    Other,
}

impl Step {
    /// The filter of this name, long or short as viewers accept both (tables 6 and 94).
    pub(super) fn of(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"FlateDecode" | b"Fl" => Self::Flate,
            b"ASCIIHexDecode" | b"AHx" => Self::Hex,
            b"ASCII85Decode" | b"A85" => Self::Base85,
            b"DCTDecode" | b"DCT" | b"JPXDecode" | b"CCITTFaxDecode" | b"CCF" | b"JBIG2Decode" => Self::Picture,
            b"Crypt" | b"LZW" | b"RL" => Self::Other,
            other if other.ends_with(b"Decode") => Self::Other,
            _ => return None,
        })
    }
}

/// Decodes hexadecimal digits (7.4.2) or base 85 (7.4.3) up to the end mark.
pub(super) struct Letters<'a, 'r> {
    forward: &'a mut Forward<'r>,
    hex: bool,
    ready: Vec<u8>,
    ended: bool,
}

impl<'a, 'r> Letters<'a, 'r> {
    pub(super) fn new(forward: &'a mut Forward<'r>, hex: bool) -> Self {
        Self { forward, hex, ready: Vec::new(), ended: false }
    }

    /// The next group: two digits, or five letters; fewer at the end.
    fn group(&mut self) -> io::Result<()> {
        let (base, wanted) = if self.hex { (16, 2) } else { (85, 5) };
        let (mut value, mut count) = (0u32, 0);
        while count < wanted && !self.ended {
            match self.forward.next_byte()? {
                None | Some(b'>' | b'~') => self.ended = true,
                Some(b'z') if !self.hex && count == 0 => return self.give([0; 4], 4),
                Some(byte) => {
                    if let Some(digit) = self.digit(byte) {
                        value = value.wrapping_mul(base).wrapping_add(digit);
                        count += 1;
                    }
                }
            }
        }
        if count == 0 || (!self.hex && count == 1) {
            return Ok(());
        }
        for _ in count..wanted {
            value = value.wrapping_mul(base).wrapping_add(if self.hex { 0 } else { 84 });
        }
        if self.hex { self.give((value << 24).to_be_bytes(), 1) } else { self.give(value.to_be_bytes(), count - 1) }
    }

    fn give(&mut self, bytes: [u8; 4], count: usize) -> io::Result<()> {
        self.ready.extend(bytes.iter().take(count));
        Ok(())
    }

    fn digit(&self, byte: u8) -> Option<u32> {
        if self.hex { char::from(byte).to_digit(16) } else { byte.checked_sub(b'!').filter(|d| *d < 85).map(u32::from) }
    }
}

impl Read for Letters<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.ready.len() < buffer.len() && !self.ended {
            self.group()?;
        }
        let count = self.ready.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(self.ready.drain(..count)) {
            *to = from;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::limits::{Account, Limits};
    use super::*;

    fn decoded(hex: bool, text: &str) -> Vec<u8> {
        let limits = Limits::default();
        let account = Account::new(&limits, 0);
        let mut bytes = text.as_bytes();
        let mut forward = Forward::plain(&account, &mut bytes);
        let mut out = Vec::new();
        Letters::new(&mut forward, hex).read_to_end(&mut out).expect("bytes");
        out
    }

    /// Expected values by Python's `base64.a85encode` and `bytes.hex`.
    #[test]
    fn letters_decode_as_written_elsewhere() {
        assert_eq!(decoded(false, "87cUR\nD]i,\"Ebo80~>"), b"Hello World!");
        assert_eq!(decoded(false, "87cURDZ~>"), b"Hello");
        assert_eq!(decoded(false, "z87cUR~>"), b"\0\0\0\0Hell");
        assert_eq!(decoded(true, "48 65\n6C6c6F>77"), b"Hello");
        assert_eq!(decoded(true, "487>"), b"Hp");
        assert_eq!(decoded(true, ""), b"");
    }
}
