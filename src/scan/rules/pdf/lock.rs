//! PDFs that open without a password and ask only not to be changed or printed (ISO 32000-2, 7.6.4): laboratories send
//! nearly all reports like this. Whoever opens one has the key, and so have these rules: they read what the reader will.
//! What asks for a password stays unread, and so does what has two answers to which key it is.

use std::collections::BTreeSet;
use std::io::{self, Read, SeekFrom};

use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
use aws_lc_rs::iv::FixedLength;

use super::super::super::ReadSeek;
use super::cipher::{Cipher, Rc4, aes_decrypt, md5};

/// The password that stands for none (7.6.4.3.2).
const PADDING: [u8; 32] = *b"\x28\xBF\x4E\x5E\x4E\x75\x8A\x41\x64\x00\x4E\x56\xFF\xFA\x01\x08\x2E\x2E\x00\xB6\xD0\x68\x3E\x80\x2F\x0C\xA9\xFE\x64\x53\x69\x7A";

/// Longest encryption dictionary or trailer that is read; real ones have less than 1 KiB.
const DICTIONARY: usize = 8 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Rc4,
    /// AES with a key for each object.
    Aes,
    /// AES with one key.
    AesOne,
}

/// The key of a file that the empty password opens.
pub(in super::super) struct Lock {
    key: Vec<u8>,
    method: Method,
    /// Metadata streams are not encrypted.
    pub(super) clear_metadata: bool,
}

impl std::fmt::Debug for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lock").field("method", &self.method).finish_non_exhaustive()
    }
}

impl Lock {
    /// The lock of a file, when the empty password opens it. Reads the file from its start, twice at most.
    pub(in super::super) fn find(content: &mut dyn ReadSeek) -> io::Result<Option<Self>> {
        let (mut values, mut ids) = (BTreeSet::new(), BTreeSet::new());
        windows(content, &[b"/Encrypt", b"/ID"], |name, after| {
            let direct = after.trim_ascii_start();
            match name {
                b"/Encrypt" if !after.first().is_some_and(|byte| super::is_regular(*byte)) => {
                    let value = reference(direct).unwrap_or_else(|| direct.to_vec());
                    values.insert(value);
                }
                b"/ID" if direct.starts_with(b"[") => drop(ids.insert(string(direct.get(1..).unwrap_or_default()))),
                _ => {}
            }
        })?;
        let (1, Some(value)) = (values.len(), values.pop_first()) else { return Ok(None) };
        let dictionary = if value.starts_with(b"<<") {
            value
        } else {
            let mut found = Vec::new();
            windows(content, &[&value], |_, after| found.push(after.to_vec()))?;
            // At the start of a line or behind white space, so that "15 0 obj" is not "5 0 obj": `windows` saw to it.
            let (1, Some(dictionary)) = (found.len(), found.pop()) else { return Ok(None) };
            dictionary
        };
        let id = ids.pop_first().flatten().unwrap_or_default();
        Ok(if ids.is_empty() { Self::open(&dictionary, &id) } else { None })
    }

    /// The lock of this encryption dictionary.
    fn open(dictionary: &[u8], id: &[u8]) -> Option<Self> {
        let dictionary = dictionary.split_at_checked(end_of(dictionary)?)?.0;
        let number = |name: &[u8]| after(dictionary, name).and_then(integer);
        let named = |name: &[u8], value: &[u8]| after(dictionary, name).is_some_and(|rest| rest.starts_with(value));
        let text = |name: &[u8]| after(dictionary, name).and_then(string);
        let (version, revision) = (number(b"/V")?, number(b"/R")?);
        let filters =
            version < 4 || (named(b"/StmF", b"/StdCF") && memchr::memmem::find(dictionary, b"/EFF").is_none());
        if !named(b"/Filter", b"/Standard") || !filters {
            return None;
        }
        let method = match (version, revision) {
            (1 | 2, 2 | 3) => Method::Rc4,
            (4, 4) if named(b"/CFM", b"/V2") => Method::Rc4,
            (4, 4) if named(b"/CFM", b"/AESV2") => Method::Aes,
            (5, 5 | 6) if named(b"/CFM", b"/AESV3") => Method::AesOne,
            _ => return None,
        };
        let clear_metadata = named(b"/EncryptMetadata", b"false");
        let (owner, user) = (text(b"/O")?, text(b"/U")?);
        let key = if version == 5 {
            new_key(revision, &user, &text(b"/UE")?)?
        } else {
            let length = match version {
                1 => 5,
                2 => usize::try_from(number(b"/Length").unwrap_or(40) / 8).ok().filter(|n| (5..=16).contains(n))?,
                _ => 16,
            };
            // 32-bit permissions are a signed number in some files and an unsigned one in others.
            let permissions = number(b"/P")? as u32;
            let last: &[u8] = if revision >= 4 && clear_metadata { &[0xff; 4] } else { &[] };
            let start = [&PADDING, owner.get(..32)?, &permissions.to_le_bytes(), id, last].concat();
            old_key(revision, length, &start, &user, id)?
        };
        Some(Self { key, method, clear_metadata })
    }

    /// How the streams of an object are encrypted; `None` when that takes its number, which is not known.
    pub(super) fn cipher(&self, object: Option<(u32, u16)>) -> Option<Cipher> {
        if self.method == Method::AesOne {
            return Some(Cipher::Aes(self.key.clone(), None));
        }
        let (number, generation) = object?;
        let salt: &[u8] = if self.method == Method::Aes { b"sAlT" } else { b"" };
        let number = number.to_le_bytes();
        let seed = [&self.key, number.get(..3)?, &generation.to_le_bytes(), salt].concat();
        let key = md5(&seed).get(..(self.key.len() + 5).min(16))?.to_vec();
        Some(if self.method == Method::Aes { Cipher::Aes(key, None) } else { Cipher::Rc4(Box::new(Rc4::new(&key))) })
    }
}

/// The file key of revisions 2 to 4 (algorithm 2), if the empty password is right (algorithms 4 to 6).
fn old_key(revision: i64, length: usize, start: &[u8], user: &[u8], id: &[u8]) -> Option<Vec<u8>> {
    let mut key = md5(start);
    if revision >= 3 {
        for _ in 0..50 {
            key = md5(key.get(..length)?);
        }
    }
    let key = key.get(..length)?.to_vec();
    let right = if revision == 2 {
        let mut proof = PADDING;
        Rc4::new(&key).apply(&mut proof);
        user.get(..32)? == proof
    } else {
        let mut proof = md5(&[&PADDING, id].concat());
        for round in 0..20u8 {
            Rc4::new(&key.iter().map(|byte| byte ^ round).collect::<Vec<_>>()).apply(&mut proof);
        }
        user.get(..16)? == proof
    };
    right.then_some(key)
}

/// The file key of revisions 5 and 6 (algorithm 2.A), if the empty password is right (algorithm 11).
fn new_key(revision: i64, user: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let hash =
        |salt: &[u8]| if revision == 5 { Some(digest(&SHA256, salt).as_ref().to_vec()) } else { hard_hash(salt) };
    if hash(user.get(32..40)?)? != user.get(..32)? {
        return None;
    }
    let mut key = sealed.get(..32)?.to_vec();
    aes_decrypt(&hash(user.get(40..48)?)?, [0; 16], &mut key)?;
    Some(key)
}

/// Algorithm 2.B for the empty password.
fn hard_hash(salt: &[u8]) -> Option<Vec<u8>> {
    let mut hash = digest(&SHA256, salt).as_ref().to_vec();
    // It ends after 64 rounds and a few more by chance; 300 have never been seen, and there is no end without a bound.
    for round in 0..300usize {
        let mut data = hash.repeat(64);
        let key = EncryptingKey::cbc(UnboundCipherKey::new(&AES_128, hash.get(..16)?).ok()?).ok()?;
        let iv: [u8; 16] = hash.get(16..32)?.try_into().ok()?;
        key.less_safe_encrypt(&mut data, EncryptionContext::Iv128(FixedLength::from(iv))).ok()?;
        let algorithm = match data.iter().take(16).map(|byte| u32::from(*byte)).sum::<u32>() % 3 {
            0 => &SHA256,
            1 => &SHA384,
            _ => &SHA512,
        };
        hash = digest(algorithm, &data).as_ref().to_vec();
        if round >= 63 && usize::from(*data.last()?) <= round - 31 {
            return hash.get(..32).map(<[u8]>::to_vec);
        }
    }
    None
}

/// Calls `found` with each of `needles` and what follows it, for every place in the file where a word begins with it.
fn windows(content: &mut dyn ReadSeek, needles: &[&[u8]], mut found: impl FnMut(&[u8], &[u8])) -> io::Result<()> {
    const STEP: usize = 1 << 20;
    content.seek(SeekFrom::Start(0))?;
    let mut source = content;
    let mut window = vec![b'\n'];
    loop {
        let read = Read::by_ref(&mut source).take(STEP as u64).read_to_end(&mut window)?;
        let last = read == 0;
        let end = if last { window.len() } else { window.len().saturating_sub(DICTIONARY) };
        for needle in needles {
            for at in
                memchr::memmem::find_iter(window.get(1..).unwrap_or_default(), needle).take_while(|at| at + 1 < end)
            {
                let word = needle.starts_with(b"/") || !window.get(at).is_some_and(|byte| super::is_regular(*byte));
                let after = window.get(at + 1 + needle.len()..).unwrap_or_default();
                if word {
                    found(needle, after.get(..DICTIONARY).unwrap_or(after));
                }
            }
        }
        if last {
            return Ok(());
        }
        // One byte before what comes next stays, to see whether a word begins there.
        window.drain(..end.saturating_sub(1));
    }
}

/// `5 0 R` as the header of the object that it names.
fn reference(text: &[u8]) -> Option<Vec<u8>> {
    let mut words = text.split(|byte| !super::is_regular(*byte)).filter(|word| !word.is_empty());
    let (number, generation) = (words.next()?, words.next()?);
    let digits = |word: &[u8]| word.len() <= 10 && word.iter().all(u8::is_ascii_digit);
    let whole = digits(number) && digits(generation) && words.next()? == b"R" && !text.starts_with(b"<");
    whole.then(|| [number, b" ", generation, b" obj"].concat())
}

/// Where the dictionary at the start of `text` ends. Strings are passed over.
fn end_of(text: &[u8]) -> Option<usize> {
    let (mut at, mut open) = (0, 0u32);
    loop {
        match text.get(at..)? {
            [b'<', b'<', ..] => (at, open) = (at + 2, open + 1),
            [b'>', b'>', ..] if open <= 1 => return Some(at),
            [b'>', b'>', ..] => (at, open) = (at + 2, open - 1),
            [b'(', rest @ ..] => at += 1 + literal(rest)?.1,
            [] => return None,
            _ => at += 1,
        }
    }
}

/// What follows the name in a dictionary: the only place where it stands, strings aside.
fn after<'t>(text: &'t [u8], name: &[u8]) -> Option<&'t [u8]> {
    let (mut at, mut found) = (0, None);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let behind = rest.strip_prefix(name).filter(|behind| !behind.first().is_some_and(|b| super::is_regular(*b)));
        match (rest, behind) {
            ([b'(', rest @ ..], _) => at += 1 + literal(rest)?.1,
            (_, Some(_)) if found.is_some() && name != b"/Length" => return None,
            // The dictionary's own length comes before or behind those of its filters; only version 2 asks for it.
            (_, Some(behind)) => {
                found = found.or(Some(behind.trim_ascii_start()));
                at += name.len();
            }
            _ => at += 1,
        }
    }
    found
}

fn integer(text: &[u8]) -> Option<i64> {
    let end = text.iter().position(|byte| !matches!(byte, b'-' | b'+' | b'0'..=b'9')).unwrap_or(text.len());
    std::str::from_utf8(text.get(..end)?).ok()?.parse().ok()
}

/// A string, literal or hexadecimal (7.3.4).
fn string(text: &[u8]) -> Option<Vec<u8>> {
    match text.trim_ascii_start() {
        [b'(', rest @ ..] => literal(rest).map(|(bytes, _)| bytes),
        [b'<', rest @ ..] => {
            let end = memchr::memchr(b'>', rest)?;
            let mut digits: Vec<u8> = rest.get(..end)?.iter().filter(|b| !b.is_ascii_whitespace()).copied().collect();
            if digits.len() % 2 == 1 {
                digits.push(b'0');
            }
            hex::decode(digits).ok()
        }
        _ => None,
    }
}

/// A literal string behind its parenthesis, and how many bytes it takes with the closing one.
fn literal(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut bytes, mut at, mut open) = (Vec::new(), 0, 1u32);
    loop {
        let byte = *text.get(at)?;
        at += 1;
        match byte {
            b'(' => open += 1,
            b')' if open == 1 => return Some((bytes, at)),
            b')' => open -= 1,
            b'\\' => {
                let (value, taken) = escape(text.get(at..)?)?;
                bytes.extend(value);
                at += taken;
                continue;
            }
            // A line end of two bytes reads as one.
            b'\r' => {
                at += usize::from(text.get(at) == Some(&b'\n'));
                bytes.push(b'\n');
                continue;
            }
            _ => {}
        }
        bytes.push(byte);
    }
}

/// What follows a backslash (table 3): its value, and the bytes that it takes.
fn escape(text: &[u8]) -> Option<(Option<u8>, usize)> {
    let digits = text.iter().take(3).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
    if digits > 0 {
        let value = text.iter().take(digits).fold(0u32, |value, digit| value * 8 + u32::from(digit - b'0'));
        return Some((u8::try_from(value & 0xff).ok(), digits));
    }
    Some(match text {
        [b'\r', b'\n', ..] => (None, 2),
        [b'\r' | b'\n', ..] => (None, 1),
        [b'n', ..] => (Some(b'\n'), 1),
        [b'r', ..] => (Some(b'\r'), 1),
        [b't', ..] => (Some(b'\t'), 1),
        [b'b', ..] => (Some(8), 1),
        [b'f', ..] => (Some(12), 1),
        [byte, ..] => (Some(*byte), 1),
        [] => return None,
    })
}
