//! A file of endings as it is read: in pieces, from the beginning or from a place behind a signed line, with no more in memory than one
//! group of lines.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::{Chain, Ended, Ending, Endings};
use crate::domain::audit::tree::{array_of, sha256};
use crate::domain::audit::vkey::VerifyingKey;
use crate::domain::clock::Timestamp;

/// A line is shorter than this.
const LONGEST: usize = 64 << 10;
/// Endings that one line signs; no more are ever written.
const MOST_SIGNED: usize = 65_536;

/// Bytes of what is kept of one reading, so that the note of a check has room for the rest of it.
const MOST_KEPT: usize = 48 << 10;

/// A place in a file of endings, behind a signed line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Bytes before it.
    pub length: u64,
    /// Where the chain stands.
    pub chain: Chain,
}

impl Place {
    /// As it is kept.
    pub fn to_text(&self) -> String {
        format!("{} {} {}", self.length, self.chain.number, hex::encode(self.chain.hash))
    }

    /// Reads what [`Self::to_text`] writes.
    pub fn from_text(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let (length, number) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let hash = hex::decode(parts.next()?).ok()?.try_into().ok()?;
        parts.next().is_none().then_some(Self { length, chain: Chain { number, hash } })
    }
}

/// Up to where a file was found whole, and the revocations told of before whose rows are never forgotten: that they stand is looked at by
/// every start, as far as they are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settled {
    /// The place.
    pub place: Place,
    /// The numbers.
    pub revocations: BTreeSet<u32>,
}

impl Settled {
    /// As it is kept. Of more numbers than there is room for, the latest are: the background looks at all.
    pub fn to_text(&self) -> String {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for number in &self.revocations {
            match ranges.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(*number) => *last = *number,
                _ => ranges.push((*number, *number)),
            }
        }
        let place = self.place.to_text();
        let (mut kept, mut length) = (Vec::new(), place.len());
        for range in ranges.iter().rev().map(|(first, last)| format!("{first}-{last}")) {
            length = length.saturating_add(range.len()).saturating_add(1);
            if length > MOST_KEPT {
                break;
            }
            kept.push(range);
        }
        kept.reverse();
        format!("{place} {}", kept.join(","))
    }

    /// Reads what [`Self::to_text`] writes.
    pub fn from_text(text: &str) -> Option<Self> {
        let (place, ranges) = text.rsplit_once(' ')?;
        let mut revocations = BTreeSet::new();
        for range in ranges.split(',').filter(|range| !range.is_empty()) {
            let (first, last) = range.split_once('-')?;
            revocations.extend(first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?);
        }
        Some(Self { place: Place::from_text(place)?, revocations })
    }
}

/// A file under way. What stands behind the first line that is not what was written is not believed.
pub struct Reading {
    key: VerifyingKey,
    /// Behind the last signed line.
    good: Place,
    /// Behind the last signed line that signs no ending behind the number that was asked for.
    settled: Place,
    settled_until: u64,
    /// The chain with the lines that nobody signed yet, and the bytes up to there.
    chain: Chain,
    length: u64,
    lines: u64,
    group: Vec<Ending>,
    /// A line whose end was not read yet.
    open: Vec<u8>,
    wrong: Option<u64>,
    beyond: u64,
    is_cut: bool,
    rest: Context,
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").field("good", &self.good).field("wrong", &self.wrong).finish_non_exhaustive()
    }
}

impl Reading {
    /// Begins at a place of the file. Lines are counted from there.
    pub fn begin(key: &VerifyingKey, from: Place) -> Self {
        Self {
            key: key.clone(),
            good: from,
            settled: from,
            settled_until: u64::MAX,
            chain: from.chain,
            length: from.length,
            lines: 0,
            group: Vec::new(),
            open: Vec::new(),
            wrong: None,
            beyond: 0,
            is_cut: false,
            rest: Context::new(&SHA256),
        }
    }

    /// Has [`Self::settled`] lie before every ending behind this number.
    #[must_use]
    pub fn settling(self, until: u64) -> Self {
        Self { settled_until: until, ..self }
    }

    /// Takes the next bytes, and answers the endings that are signed by now.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Ending> {
        let mut signed = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.wrong.is_some() {
                self.pass(piece);
                continue;
            }
            self.open.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.open.len() > LONGEST {
                let line = std::mem::take(&mut self.open);
                self.line(&line, &mut signed);
            }
        }
        signed
    }

    /// A place from which a later reading may go on.
    pub fn settled(&self) -> Place {
        self.settled
    }

    /// What was read, but for the endings.
    pub fn finish(mut self) -> Endings {
        let open = std::mem::take(&mut self.open);
        self.pass(&open);
        Endings {
            endings: Vec::new(),
            chain: self.good.chain,
            length: self.good.length,
            wrong: self.wrong,
            beyond: self.beyond,
            rest: array_of(&self.rest.finish()),
        }
    }

    fn line(&mut self, line: &[u8], signed: &mut Vec<Ending>) {
        self.lines = self.lines.saturating_add(1);
        self.length = self.length.saturating_add(u64::try_from(line.len()).unwrap_or_default());
        match read_line(line, &mut self.chain, &self.key) {
            Some(Line::Ending(ending)) if self.group.len() < MOST_SIGNED => {
                self.group.push(ending);
                self.pass(line);
            }
            Some(Line::Signed) => {
                signed.append(&mut self.group);
                self.good = Place { length: self.length, chain: self.chain };
                if self.chain.number <= self.settled_until {
                    self.settled = self.good;
                }
                (self.beyond, self.is_cut, self.rest) = (0, false, Context::new(&SHA256));
            }
            _ => {
                self.wrong = Some(self.lines);
                self.group = Vec::new();
                self.pass(line);
            }
        }
    }

    /// Counts what stands behind the last signed line.
    fn pass(&mut self, piece: &[u8]) {
        self.rest.update(piece);
        if !piece.is_empty() && !self.is_cut {
            self.beyond = self.beyond.saturating_add(1);
        }
        self.is_cut = if piece.is_empty() { self.is_cut } else { !piece.ends_with(b"\n") };
    }
}

enum Line {
    Ending(Ending),
    Signed,
}

fn read_line(line: &[u8], chain: &mut Chain, key: &VerifyingKey) -> Option<Line> {
    let line = line.strip_suffix(b"\n")?;
    let value: Map<String, Value> = serde_json::from_slice(line).ok()?;
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    if let Some(signed) = value.get("signed") {
        let signature = STANDARD.decode(text("signature")?).ok()?;
        let fits = signed.as_u64()? == chain.number && key.verifies(&chain.message(key.name()), &signature);
        chain.hash = sha256(&[line]);
        return fits.then_some(Line::Signed);
    }
    if let Some(resumed) = value.get("resumed") {
        let next = Chain { number: resumed.as_u64()?, hash: chain.hash };
        let signature = STANDARD.decode(text("signature")?).ok()?;
        let fits = next.number >= chain.number && key.verifies(&next.message_of_resumption(key.name()), &signature);
        *chain = Chain { number: next.number, hash: sha256(&[line]) };
        return fits.then_some(Line::Signed);
    }
    let number = value.get("ending")?.as_u64()?;
    let at = Timestamp::parse(text("at")?)?;
    let follows = number == chain.number.checked_add(1)? && text("before")? == hex::encode(chain.hash);
    let ended = Ended::from_json(&Value::Object(value.clone())).filter(|_| follows)?;
    *chain = Chain { number, hash: sha256(&[line]) };
    Some(Line::Ending(Ending { number, at, ended }))
}
