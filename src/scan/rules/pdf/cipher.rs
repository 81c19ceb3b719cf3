//! The ciphers of PDF's standard security handler (ISO 32000-2, 7.6.3). MD5 (RFC 1321) and RC4 serve to read what old
//! writers locked with the empty password, which protects nothing; nothing of Daylily's own is protected with them.

use std::io::{self, BufRead, Read};

use aws_lc_rs::cipher::{AES_128, AES_256, DecryptingKey, DecryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;

use super::super::forward::Forward;

/// MD5 of some short bytes.
pub(super) fn md5(bytes: &[u8]) -> [u8; 16] {
    const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    let mut message = bytes.to_vec();
    message.push(0x80);
    message.resize((message.len() + 8).next_multiple_of(64) - 8, 0);
    message.extend_from_slice(&((bytes.len() as u64) * 8).to_le_bytes());
    let mut state = [0x6745_2301u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in message.chunks_exact(64) {
        let words: Vec<u32> = block.chunks_exact(4).filter_map(|w| w.try_into().ok().map(u32::from_le_bytes)).collect();
        let [mut a, mut b, mut c, mut d] = state;
        for step in 0..64usize {
            let (mixed, word) = match step / 16 {
                0 => ((b & c) | (!b & d), step),
                1 => ((d & b) | (!d & c), 5 * step + 1),
                2 => (b ^ c ^ d, 3 * step + 5),
                _ => (c ^ (b | !d), 7 * step),
            };
            // RFC 1321 defines its table as these very numbers.
            let sine = ((step as f64 + 1.0).sin().abs() * 4_294_967_296.0) as u32;
            let word = words.get(word % 16).copied().unwrap_or_default();
            let shift = SHIFTS.get(step / 16).and_then(|row| row.get(step % 4)).copied().unwrap_or_default();
            let sum = a.wrapping_add(mixed).wrapping_add(sine).wrapping_add(word);
            (a, d, c, b) = (d, c, b, b.wrapping_add(sum.rotate_left(shift)));
        }
        let [s0, s1, s2, s3] = state;
        state = [s0.wrapping_add(a), s1.wrapping_add(b), s2.wrapping_add(c), s3.wrapping_add(d)];
    }
    let mut digest = [0; 16];
    for (to, from) in digest.iter_mut().zip(state.iter().flat_map(|word| word.to_le_bytes())) {
        *to = from;
    }
    digest
}

/// The key stream of RC4.
pub(super) struct Rc4 {
    state: [u8; 256],
    i: u8,
    j: u8,
}

impl Rc4 {
    pub(super) fn new(key: &[u8]) -> Self {
        let mut state = [0; 256];
        for (value, slot) in (0..=255).zip(state.iter_mut()) {
            *slot = value;
        }
        let mut rc4 = Self { state, i: 0, j: 0 };
        for (at, byte) in (0..=255u8).zip(key.iter().cycle()) {
            rc4.j = rc4.j.wrapping_add(rc4.at(at)).wrapping_add(*byte);
            rc4.state.swap(usize::from(at), usize::from(rc4.j));
        }
        rc4.j = 0;
        rc4
    }

    fn at(&self, index: u8) -> u8 {
        self.state.get(usize::from(index)).copied().unwrap_or_default()
    }

    pub(super) fn apply(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.i = self.i.wrapping_add(1);
            self.j = self.j.wrapping_add(self.at(self.i));
            self.state.swap(usize::from(self.i), usize::from(self.j));
            *byte ^= self.at(self.at(self.i).wrapping_add(self.at(self.j)));
        }
    }
}

/// AES in CBC mode without padding, in place; `bytes` are whole blocks. `None` for keys of other lengths.
pub(super) fn aes_decrypt(key: &[u8], iv: [u8; 16], bytes: &mut [u8]) -> Option<()> {
    let algorithm = if key.len() == 16 { &AES_128 } else { &AES_256 };
    let key = DecryptingKey::cbc(UnboundCipherKey::new(algorithm, key).ok()?).ok()?;
    key.decrypt(bytes, DecryptionContext::Iv128(FixedLength::from(iv))).ok().map(drop)
}

/// How one stream is encrypted.
pub(super) enum Cipher {
    Rc4(Box<Rc4>),
    /// Key, and the block before the next one once it is known: the stream begins with it.
    Aes(Vec<u8>, Option<[u8; 16]>),
}

/// Decrypts a stream while it is read.
pub(super) struct Decrypted<'a, 'r> {
    forward: &'a mut Forward<'r>,
    cipher: Cipher,
    ready: Vec<u8>,
}

impl<'a, 'r> Decrypted<'a, 'r> {
    pub(super) fn new(forward: &'a mut Forward<'r>, cipher: Cipher) -> Self {
        Self { forward, cipher, ready: Vec::new() }
    }

    fn more(&mut self) -> io::Result<()> {
        match &mut self.cipher {
            Cipher::Rc4(rc4) => {
                self.ready = self.forward.peek(4096)?.to_vec();
                rc4.apply(&mut self.ready);
                self.forward.consume(self.ready.len());
            }
            Cipher::Aes(key, before) => {
                let iv = match *before {
                    Some(block) => block,
                    None if self.forward.peek(16)?.len() < 16 => return Ok(()),
                    None => self.forward.array()?,
                };
                let ahead = self.forward.peek(4096)?;
                self.ready = ahead.chunks_exact(16).flatten().copied().collect();
                let count = self.ready.len();
                *before = self.ready.last_chunk().copied().or(Some(iv));
                aes_decrypt(key, iv, &mut self.ready).ok_or_else(|| io::Error::other("key"))?;
                self.forward.consume(count);
                // The padding of the last block (7.6.3.1); damaged padding is left.
                if count > 0 && self.forward.peek(16)?.len() < 16 {
                    let padding = self.ready.last().copied().filter(|n| (1..=16).contains(n)).unwrap_or_default();
                    self.ready.truncate(count - usize::from(padding));
                }
            }
        }
        Ok(())
    }
}

impl Read for Decrypted<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ready.is_empty() {
            self.more()?;
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
    use super::*;

    #[test]
    fn md5_as_in_rfc_1321_a5() {
        assert_eq!(hex::encode(md5(b"")), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(hex::encode(md5(b"message digest")), "f96b697d7cb7938d525a2f31aaf161d0");
        let long = b"12345678901234567890123456789012345678901234567890123456789012345678901234567890";
        assert_eq!(hex::encode(md5(long)), "57edf4a22be3c955ac49da2e2107b67a");
    }

    #[test]
    fn rc4_as_in_rfc_6229() {
        for (key, stream) in [
            ("0102030405", "b2396305f03dc027ccc3524a0a1118a8"),
            ("0102030405060708090a0b0c0d0e0f10", "9ac7cc9a609d1ef7b2932899cde41b97"),
        ] {
            let mut zeros = [0; 16];
            Rc4::new(&hex::decode(key).expect("hex")).apply(&mut zeros);
            assert_eq!(hex::encode(zeros), stream);
        }
    }
}
