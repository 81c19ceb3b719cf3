//! A [`Decision`] as text, for keeping it with its document: `daylily-decision 3`, then `key value` lines in a fixed order, a
//! list as one line per value. Canonical (equal decisions have equal texts), strict (an unknown, missing, repeated or misplaced
//! line is an error, never a guess) and versioned: a later version adds its lines at the end and gives texts of a version
//! before the values that it had by not serving them.

use std::fmt;
use std::iter::Peekable;
use std::str::Lines;
use std::time::Duration;

use super::{
    ANY, AntivirusTerms, BoundNetwork, Decision, DeliveredWhen, EngineVersion, LinkTerms, NotifyContent, RetainFrom,
    WIDEST,
};
use crate::domain::verdict::Engine;

/// The version that [`Decision::encode`] writes.
pub const RECORD_VERSION: u32 = 3;

/// The first version: without the lines from `notify` on.
const FIRST_VERSION: u32 = 1;
/// The second: without the lines from `signatures-within` on.
const SECOND_VERSION: u32 = 2;

/// Why a stored decision cannot be read. It holds no value of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordError {
    /// It does not begin as a decision does.
    NoDecision,
    /// It was written by a newer version of this program.
    Newer,
    /// The line of this key is missing, out of order or not well formed.
    Line(&'static str),
    /// Something follows the last line.
    Trailing,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDecision => f.write_str("not a stored decision"),
            Self::Newer => f.write_str("a decision of a newer version"),
            Self::Line(key) => write!(f, "the line `{key}` of a stored decision is missing or not well formed"),
            Self::Trailing => f.write_str("text after the end of a stored decision"),
        }
    }
}

impl std::error::Error for RecordError {}

impl Decision {
    /// The decision as canonical text, UTF-8, every line ended by LF; spans in seconds, sizes in bytes.
    pub fn encode(&self) -> String {
        self.encode_as(RECORD_VERSION)
    }

    fn encode_as(&self, version: u32) -> String {
        let mut out = self.first_lines(version);
        if version >= SECOND_VERSION {
            self.second_lines(&mut out);
        }
        if version >= RECORD_VERSION {
            self.third_lines(&mut out);
        }
        out
    }

    fn second_lines(&self, out: &mut String) {
        let mut line = |key: &str, value: &str| out.extend([key, " ", value, "\n"]);
        line("notify", self.notify.name());
        line("allow-override", if self.allow_override { "true" } else { "false" });
        line("link.uses", &self.link.uses.to_string());
        line("link.max-uses", &self.link.max_uses.to_string());
        line("link.bind-address", if self.link.bind_address { "true" } else { "false" });
        line("link.confirm", if self.link.confirm { "true" } else { "false" });
        line("link.grace", &seconds(self.link.grace));
    }

    fn third_lines(&self, out: &mut String) {
        let mut line = |key: &str, value: &str| out.extend([key, " ", value, "\n"]);
        let any = || ANY.to_owned();
        line("signatures-within", &self.antivirus.signatures_within.map_or_else(any, seconds));
        line("antivirus-version", &self.antivirus.version.map_or_else(any, |version| version.to_string()));
        line("link.network-v4", &self.link.network.v4.to_string());
        line("link.network-v6", &self.link.network.v6.to_string());
    }

    /// The lines that every version has.
    fn first_lines(&self, version: u32) -> String {
        let mut out = format!("daylily-decision {version}\n");
        let mut line = |key: &str, value: &str| {
            out.push_str(key);
            out.push(' ');
            out.extend(value.chars().flat_map(escaped));
            out.push('\n');
        };
        line("rule", &self.rule);
        line("store", &self.store);
        self.scan.iter().for_each(|engine| line("scan", engine.name()));
        line("require-antivirus", if self.require_antivirus { "true" } else { "false" });
        self.accept.iter().for_each(|media_type| line("accept", media_type));
        line("max-size", &self.max_size.to_string());
        line("upload-within", &seconds(self.upload_within));
        line("scan-within", &seconds(self.scan_within));
        line("quarantine-keep", &seconds(self.quarantine_keep));
        line("retain", &seconds(self.retain));
        line("retain-from", self.retain_from.name());
        line("purge-after", &seconds(self.purge_after));
        line("delivered-when", self.delivered_when.name());
        self.recipients.iter().for_each(|client| line("recipients", client));
        line("link.lifetime", &seconds(self.link.lifetime));
        line("link.max-lifetime", &seconds(self.link.max_lifetime));
        line("link.max-transfer", &seconds(self.link.max_transfer));
        out
    }

    /// Reads what [`Decision::encode`] wrote, and nothing else.
    ///
    /// # Errors
    /// [`RecordError`], with the first line that is wrong.
    pub fn decode(text: &str) -> Result<Self, RecordError> {
        let mut lines = Record { lines: text.lines().peekable() };
        let version = match lines.one("daylily-decision")?.parse::<u32>() {
            Ok(version @ FIRST_VERSION..=RECORD_VERSION) => version,
            Ok(version) if version > RECORD_VERSION => return Err(RecordError::Newer),
            _ => return Err(RecordError::NoDecision),
        };
        let mut decision = lines.first_version()?;
        if version >= SECOND_VERSION {
            lines.second_version(&mut decision)?;
        }
        if version >= RECORD_VERSION {
            lines.third_version(&mut decision)?;
        }
        // Also catches a missing last LF, CRLF and every spelling that is not the canonical one.
        if lines.lines.next().is_some() || decision.encode_as(version) != text {
            return Err(RecordError::Trailing);
        }
        Ok(decision)
    }
}

impl Record<'_> {
    /// What version 1 has, with the values that it had for all else by not serving it.
    fn first_version(&mut self) -> Result<Decision, RecordError> {
        let lines = self;
        Ok(Decision {
            rule: lines.one("rule")?,
            store: lines.one("store")?,
            scan: lines.many("scan", Engine::from_name)?,
            require_antivirus: lines.word("require-antivirus", flag)?,
            antivirus: AntivirusTerms::default(),
            accept: lines.many("accept", |text| Some(text.to_owned()))?,
            max_size: lines.word("max-size", whole)?,
            upload_within: lines.word("upload-within", span)?,
            scan_within: lines.word("scan-within", span)?,
            quarantine_keep: lines.word("quarantine-keep", span)?,
            retain: lines.word("retain", span)?,
            retain_from: lines.word("retain-from", RetainFrom::from_name)?,
            purge_after: lines.word("purge-after", span)?,
            delivered_when: lines.word("delivered-when", DeliveredWhen::from_name)?,
            recipients: lines.many("recipients", |text| Some(text.to_owned()))?,
            notify: NotifyContent::Metadata,
            allow_override: false,
            link: LinkTerms {
                lifetime: lines.word("link.lifetime", span)?,
                max_lifetime: lines.word("link.max-lifetime", span)?,
                max_transfer: lines.word("link.max-transfer", span)?,
                uses: 0,
                max_uses: 0,
                bind_address: false,
                network: BoundNetwork::default(),
                confirm: false,
                grace: FIRST_GRACE,
            },
        })
    }

    fn second_version(&mut self, decision: &mut Decision) -> Result<(), RecordError> {
        decision.notify = self.word("notify", NotifyContent::from_name)?;
        decision.allow_override = self.word("allow-override", flag)?;
        decision.link.uses = self.word("link.uses", count)?;
        decision.link.max_uses = self.word("link.max-uses", count)?;
        decision.link.bind_address = self.word("link.bind-address", flag)?;
        decision.link.confirm = self.word("link.confirm", flag)?;
        decision.link.grace = self.word("link.grace", span)?;
        Ok(())
    }

    fn third_version(&mut self, decision: &mut Decision) -> Result<(), RecordError> {
        let prefix = |text: &str, from: u8, to: u8| text.parse().ok().filter(|prefix| (from..=to).contains(prefix));
        decision.antivirus.signatures_within = self.word("signatures-within", |text| any_or(text, span))?;
        decision.antivirus.version = self.word("antivirus-version", |text| any_or(text, EngineVersion::parse))?;
        decision.link.network.v4 = self.word("link.network-v4", |text| prefix(text, WIDEST.v4, 32))?;
        decision.link.network.v6 = self.word("link.network-v6", |text| prefix(text, WIDEST.v6, 128))?;
        Ok(())
    }
}

/// The grace of links that version 1 had no word for.
const FIRST_GRACE: Duration = Duration::from_secs(60);

/// `Some(None)`: any.
fn any_or<T>(text: &str, read: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    if text == ANY { Some(None) } else { read(text).map(Some) }
}

fn count(text: &str) -> Option<u32> {
    text.parse().ok()
}

fn seconds(span: Duration) -> String {
    span.as_secs().to_string()
}

fn whole(text: &str) -> Option<u64> {
    text.parse().ok()
}

fn span(text: &str) -> Option<Duration> {
    whole(text).map(Duration::from_secs)
}

fn flag(text: &str) -> Option<bool> {
    text.parse().ok()
}

fn escaped(c: char) -> impl Iterator<Item = char> {
    let (first, second) = match c {
        '\\' => ('\\', Some('\\')),
        '\n' => ('\\', Some('n')),
        '\r' => ('\\', Some('r')),
        other => (other, None),
    };
    std::iter::once(first).chain(second)
}

fn unescaped(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next()? {
                '\\' => '\\',
                'n' => '\n',
                'r' => '\r',
                _ => return None,
            },
            other => other,
        });
    }
    Some(out)
}

struct Record<'a> {
    lines: Peekable<Lines<'a>>,
}

impl Record<'_> {
    fn take(&mut self, key: &str) -> Option<Option<String>> {
        let of_key = |line: &&str| line.split_once(' ').is_some_and(|(name, _)| name == key);
        let line = self.lines.next_if(of_key)?;
        Some(line.split_once(' ').and_then(|(_, value)| unescaped(value)))
    }

    fn one(&mut self, key: &'static str) -> Result<String, RecordError> {
        let missing = if key == "daylily-decision" { RecordError::NoDecision } else { RecordError::Line(key) };
        self.take(key).flatten().ok_or(missing)
    }

    fn word<T>(&mut self, key: &'static str, read: impl Fn(&str) -> Option<T>) -> Result<T, RecordError> {
        read(&self.one(key)?).ok_or(RecordError::Line(key))
    }

    fn many<T>(&mut self, key: &'static str, read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, RecordError> {
        let mut values = Vec::new();
        while let Some(value) = self.take(key) {
            values.push(value.and_then(|text| read(&text)).ok_or(RecordError::Line(key))?);
        }
        Ok(values)
    }
}
