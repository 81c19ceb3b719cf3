//! Every limit: name, unit, default, allowed range and one sentence, in one table. `docs/limits.md` is made from it, the
//! `[limits]` section of the settings is read by it, and [`Limits`] is how the rest of the program sees it.

use std::fmt::Write;
use std::time::Duration;

use super::quantity::{parse_size, write_size};
use crate::domain::clock::{parse_span, write_span};

/// Unit of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitKind {
    /// A number of things; written as a number.
    Count,
    /// Bytes; written `24MiB`.
    Size,
    /// Whole seconds; written `30s`.
    Span,
    /// Per cent; written as a number.
    Percent,
}

impl LimitKind {
    /// As a person reads it in a table.
    pub fn words(self) -> &'static str {
        match self {
            Self::Count => "number",
            Self::Size => "size",
            Self::Span => "span",
            Self::Percent => "per cent",
        }
    }

    /// A raw value (number, bytes, seconds, per cent) as settings write it.
    pub fn write(self, raw: u64) -> String {
        match self {
            Self::Count | Self::Percent => raw.to_string(),
            Self::Size => write_size(raw),
            Self::Span => write_span(Duration::from_secs(raw)),
        }
    }

    /// A raw value from its text.
    pub(super) fn read(self, text: &str) -> Option<u64> {
        match self {
            Self::Count | Self::Percent => text.parse().ok(),
            Self::Size => parse_size(text),
            Self::Span => parse_span(text).map(|span| span.as_secs()),
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct LimitRow {
    /// Heading it stands under.
    pub group: &'static str,
    /// Key in `[limits]`.
    pub name: &'static str,
    /// Unit of the numbers below.
    pub kind: LimitKind,
    /// Where settings are silent.
    pub default: u64,
    /// Least that settings may say.
    pub least: u64,
    /// Most that settings may say.
    pub most: u64,
    /// What it limits.
    pub doc: &'static str,
    get: fn(&Limits) -> u64,
    set: fn(&mut Limits, u64),
}

impl LimitRow {
    /// The value that holds in `limits`, in the row's unit.
    pub fn get(&self, limits: &Limits) -> u64 {
        (self.get)(limits)
    }

    /// Sets the value; `false`, and nothing changed, where it lies outside the range.
    pub fn set(&self, limits: &mut Limits, raw: u64) -> bool {
        let allowed = (self.least..=self.most).contains(&raw);
        if allowed {
            (self.set)(limits, raw);
        }
        allowed
    }
}

trait Raw {
    fn of(raw: u64) -> Self;
    fn raw(&self) -> u64;
}

impl Raw for u64 {
    fn of(raw: u64) -> Self {
        raw
    }
    fn raw(&self) -> u64 {
        *self
    }
}

impl Raw for usize {
    fn of(raw: u64) -> Self {
        Self::try_from(raw).unwrap_or(Self::MAX)
    }
    fn raw(&self) -> u64 {
        u64::try_from(*self).unwrap_or(u64::MAX)
    }
}

impl Raw for u8 {
    fn of(raw: u64) -> Self {
        Self::try_from(raw).unwrap_or(Self::MAX)
    }
    fn raw(&self) -> u64 {
        u64::from(*self)
    }
}

impl Raw for Duration {
    fn of(raw: u64) -> Self {
        Self::from_secs(raw)
    }
    fn raw(&self) -> u64 {
        self.as_secs()
    }
}

macro_rules! type_of {
    (Count) => {
        usize
    };
    (Size) => {
        u64
    };
    (Span) => {
        Duration
    };
    (Percent) => {
        u8
    };
}

macro_rules! limits {
    ($($group:literal { $($field:ident $name:literal: $kind:ident = $default:expr, $least:expr => $most:expr; $doc:literal)* })*) => {
        /// Every limit as it holds for this process.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Limits { $($(#[doc = $doc] pub $field: type_of!($kind),)*)* }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($($field: Raw::of($default),)*)* }
            }
        }

        /// Every limit, in the order of `docs/limits.md`.
        pub const LIMITS: &[LimitRow] = &[$($(LimitRow {
            group: $group, name: $name, kind: LimitKind::$kind, default: $default, least: $least, most: $most, doc: $doc,
            get: |limits| limits.$field.raw(),
            set: |limits, raw| limits.$field = Raw::of(raw),
        },)*)*];
    };
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const MINUTE: u64 = 60;
const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;

limits! {
    "Connections and requests" {
        connections "connections": Count = 4_096, 16 => 100_000;
            "Connections open at a time; start lowers it to what the limit on open files leaves. Where an address has its share of them (`caller-share`), or all are taken, a new one gets the place of one on which nothing is being answered."
        uri_length "uri-length": Size = 8 * KIB, KIB => 32 * KIB;
            "Path and query of a request; longer is answered 414."
        head_length "head-length": Size = 32 * KIB, 8 * KIB => 64 * KIB;
            "All headers of a request; longer is answered 431."
        headers "headers": Count = 64, 16 => 96;
            "Headers of a request; more is answered 431."
        head_timeout "head-timeout": Span = 10, 1 => MINUTE;
            "From the first byte of a connection or request until its headers are complete."
        keep_alive "keep-alive": Span = 15, 1 => 5 * MINUTE;
            "How long a connection without a request stays open."
        body_timeout "body-timeout": Span = 30, 5 => 10 * MINUTE;
            "For the whole of a JSON or form body, beside what its length takes at `body-rate`."
        body_grace "body-grace": Span = 10, 1 => MINUTE;
            "How long a body may be slower than `body-rate`."
        body_rate "body-rate": Size = KIB, 1 => MIB;
            "Least bytes a second of any body after its grace; slower is answered 408."
        write_stall "write-stall": Span = 30, 1 => 10 * MINUTE;
            "How long a reader may take less than `write-rate` before its answer is cut."
        write_rate "write-rate": Size = KIB, 1 => MIB;
            "Least bytes a second that a reader must take, over each `write-stall`."
        json_body "json-body": Size = 24 * MIB, 64 * KIB => 256 * MIB;
            "A JSON body; base64 in it makes a file a third larger, a larger file goes as raw bytes."
        form_body "form-body": Size = 64 * KIB, 4 * KIB => MIB;
            "A form body under `/auth`."
        uploads "uploads": Count = 64, 1 => 10_000;
            "Uploads running at a time."
        downloads "downloads": Count = 512, 1 => 100_000;
            "Downloads running at a time."
        body_memory "body-memory": Size = 256 * MIB, 16 * MIB => 64 * GIB;
            "Memory for JSON and form bodies, for answers of stored texts over 64 KiB, and for files given as Binary resources; each counts twice, with what it is made into or from."
        caller_share "caller-share": Percent = 50, 10 => 90;
            "Of uploads, downloads, searches, waits and memory for bodies, and of connections: what one client, or one network without a client, or of connections one address, may hold of what it holds itself and what is free."
        link_share "link-share": Percent = 25, 5 => 90;
            "The same of downloads by one link, within its client's share."
        turn_wait "turn-wait": Span = 1, 0 => 10;
            "How long a request, or a new connection, waits for its turn; then the connection is closed, and 429 with `Retry-After` goes to a request of a caller that has its share, 503 where others have all there is."
        drain "drain": Span = 30, 1 => HOUR;
            "How long running transfers may go on after SIGTERM."
    }
    "Search" {
        query_parameters "query-parameters": Count = 100, 10 => 1_000;
            "Parameters of a query."
        search_time "search-time": Count = 250, 10 => 60_000;
            "Milliseconds that one search may read; longer is answered 400 `search-too-costly`."
        searches "searches": Count = 0, 0 => 1_000;
            "Searches running at a time, so that what is short does not wait behind many. 0: two for each processor, four at least."
    }
    "Documents and files" {
        binary_form "binary-form": Size = 16 * MIB, 64 * KIB => 64 * MIB;
            "The largest file that is given as a Binary resource; a larger one comes as plain bytes only, else 406."
        inline_threshold "inline-threshold": Size = 64 * KIB, 0 => MIB;
            "A file up to this size is kept, encrypted, in the database instead of in a file of its own."
        content_cache "content-cache": Size = 16 * MIB, 0 => GIB;
            "Opened files of up to 1 MiB that are fetched again and again are kept in memory up to this; overwritten when dropped. 0: none."
        unclaimed_binary "unclaimed-binary": Span = HOUR, MINUTE => 7 * DAY;
            "A Binary that no document claims is purged after this."
        disk_stop "disk-stop": Percent = 90, 50 => 99;
            "Uploads stop when this much of the disk is used, so that reading and auditing go on."
        idempotency_key_lifetime "idempotency-key-lifetime": Span = DAY, HOUR => 7 * DAY;
            "How long an `Idempotency-Key` is remembered."
        wait_max "wait-max": Span = 30, 1 => 5 * MINUTE;
            "The longest `wait` of `$lifecycle`."
        waits "waits": Count = 256, 1 => 10_000;
            "`$lifecycle` requests running or waiting at a time."
    }
    "Access" {
        token_lifetime "token-lifetime": Span = 300, MINUTE => HOUR;
            "An access token; SMART Backend Services recommends at most five minutes."
        refused_requests "refused-requests": Count = 120, 0 => 100_000;
            "Requests a minute without a good token or link from one address prefix; more are answered 429. 0: not limited, for closed networks and benchmarks."
        client_requests "client-requests": Count = 6_000, 0 => 1_000_000;
            "Requests a minute of one client; more are answered 429 with `Retry-After`. 0: not limited, for closed networks and benchmarks."
    }
    "Safety check" {
        archive_depth "archive-depth": Count = 4, 1 => 16;
            "Archives within archives; deeper is an archive bomb."
        archive_entries "archive-entries": Count = 10_000, 10 => 1_000_000;
            "Entries of an archive, those of inner ones included."
        archive_unpacked "archive-unpacked": Size = GIB, MIB => 64 * GIB;
            "What an archive may unpack to, inner ones included."
        archive_ratio "archive-ratio": Count = 200, 10 => 2_000;
            "How many times larger than itself an archive may unpack, once that is over 16 MiB."
    }
    "Storage, expiry and audit" {
        database_readers "database-readers": Count = 4, 1 => 64;
            "Connections that read the database."
        write_queue "write-queue": Count = 1_024, 16 => 65_536;
            "Changes waiting for the one writer; more are answered 503."
        refusal_entries "refusal-entries": Count = 600, 10 => 100_000;
            "Audit entries a minute for refusals without a known caller; what is over is counted in one entry."
    }
}

impl Limits {
    /// The row of a key of `[limits]`.
    pub fn row(name: &str) -> Option<&'static LimitRow> {
        LIMITS.iter().find(|row| row.name == name)
    }
}

/// `docs/limits.md`.
pub fn limits_markdown() -> String {
    let mut out = String::from(
        "# Limits\n\nMade from `src/config/limits.rs`; a test compares the two. Each is a key of the settings' `[limits]` section, or a\n\
         variable such as `DAYLILY_LIMITS__JSON_BODY`. Sizes are written `24MiB` (`B`, `KiB`, `MiB`, `GiB`), spans `30s` (`s`, `m`, `h`, `d`),\n\
         numbers and per cent without quotes. How large a file may be, which types are taken, and how long it is kept say the\n\
         policy's rules, not these.\n",
    );
    let mut group = "";
    for row in LIMITS {
        if row.group != group {
            group = row.group;
            let _ = write!(
                out,
                "\n## {group}\n\n| limit | default | least | most | unit | what it limits |\n| --- | --- | --- | --- | --- | --- |\n"
            );
        }
        let write = |raw| row.kind.write(raw);
        let (default, least, most) = (write(row.default), write(row.least), write(row.most));
        let _ = writeln!(out, "| `{}` | {default} | {least} | {most} | {} | {} |", row.name, row.kind.words(), row.doc);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_within_its_range_and_comes_back() {
        let defaults = Limits::default();
        for row in LIMITS {
            assert!(row.least <= row.default && row.default <= row.most, "{}", row.name);
            assert_eq!(row.get(&defaults), row.default, "{}", row.name);
            let mut limits = Limits::default();
            for raw in [row.least, row.most, row.default] {
                assert!(row.set(&mut limits, raw), "{}", row.name);
                assert_eq!((row.get(&limits), row.kind.read(&row.kind.write(raw))), (raw, Some(raw)), "{}", row.name);
            }
            assert_eq!(limits, defaults, "{} sets another field too", row.name);
            assert!(!row.set(&mut limits, row.most + 1) && (row.least == 0 || !row.set(&mut limits, row.least - 1)));
        }
    }

    #[test]
    fn names_are_unique_and_documented() {
        let mut names: Vec<_> = LIMITS.iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), LIMITS.len());
        assert!(LIMITS.iter().all(|row| row.doc.ends_with('.') && !row.doc.contains('|')));
    }

    #[test]
    fn the_committed_page_is_this_table() {
        let committed = include_str!("../../docs/limits.md");
        let hint = "docs/limits.md differs from src/config/limits.rs: run `cargo test write_the_pages -- --ignored` and commit what it writes";
        assert!(committed == limits_markdown(), "{hint}");
    }
}
