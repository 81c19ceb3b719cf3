//! Settings: the one struct that says how this process runs. [`Settings::load`] is its only maker; it reads texts that it is
//! given and opens nothing. Secrets are not settings: only paths of files, or commands, that hold them.

mod gather;
mod keys;
mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use jiff::tz::TimeZone;

pub use keys::settings_markdown;

use super::base_url::{BaseUrl, is_loopback};
use super::limits::Limits;
use crate::domain::clock::Timestamp;
use crate::domain::refusal::Issue;
use crate::domain::verdict::Engine;

/// A flag that sets a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagValue {
    /// As typed (`--listen`).
    pub flag: &'static str,
    /// Path of the setting (`server.listen`).
    pub setting: &'static str,
    /// Its text.
    pub value: String,
}

/// Where settings come from; later ones win.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// Name and text of the settings file. The name's folder is where relative paths in it start.
    pub file: Option<(String, String)>,
    /// Variables, as [`crate::config::environment`] gives them.
    pub environment: BTreeMap<String, String>,
    /// Flags.
    pub flags: Vec<FlagValue>,
    /// `--data-dir`; empty: `./daylily-data`.
    pub data_dir: PathBuf,
    /// `--dev`: loopback only; loopback egress and http are allowed.
    pub dev: bool,
}

/// Every setting and every limit of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The data folder.
    pub data_dir: PathBuf,
    /// `--dev`.
    pub dev: bool,
    /// `[server]`.
    pub server: Server,
    /// `[keys]`.
    pub keys: Keys,
    /// `[links]`.
    pub links: Links,
    /// `[scan]`.
    pub scan: Scan,
    /// `[egress]`.
    pub egress: Egress,
    /// `[fhir]`.
    pub fhir: Fhir,
    /// `[policy]`.
    pub policy: PolicySource,
    /// `[audit]`.
    pub audit: Audit,
    /// `[pages]`.
    pub pages: Pages,
    /// `[logs]`.
    pub logs: Logs,
    /// `[limits]`.
    pub limits: Limits,
}

/// `[server]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Where to listen.
    pub listen: SocketAddr,
    /// As set; see [`Settings::base_url`] for the one that holds.
    pub base_url: Option<BaseUrl>,
    /// A reverse proxy in front ends TLS.
    pub behind_proxy: bool,
    /// Whose forwarding header is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The one that is read.
    pub forwarded_header: ForwardedHeader,
    /// A listener of its own for metrics.
    pub metrics_listen: Option<SocketAddr>,
    /// TLS by this server itself.
    pub tls: Option<Tls>,
}

/// The header that names the caller behind a trusted proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Paths of PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Certificate chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// `[keys]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// Where the encryption key comes from.
    pub encryption: SecretSource,
}

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A file in the data folder, made at the first start.
    DataFolder,
    /// This file.
    File(PathBuf),
    /// What this program (and its arguments) prints; run without a shell. Never empty.
    Command(Vec<String>),
}

/// A browser origin in its one spelling (RFC 6454 §6.2): `https://host[:port]`, or `http` for loopback.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WebOrigin(String);

impl WebOrigin {
    /// Accepts an origin in its one spelling only, as a browser sends it; `http` only for loopback hosts.
    pub fn parse(text: &str) -> Option<Self> {
        let base = BaseUrl::parse(text)?;
        (base.as_str() == text && base.path().is_empty() && (base.is_https() || base.is_loopback()))
            .then(|| Self(text.to_owned()))
    }

    /// The text to compare with `Origin`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `[links]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Links {
    /// For links that no client's registration covers.
    pub origins: Vec<WebOrigin>,
}

/// `[scan]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// Never empty; none twice.
    pub engines: Vec<Engine>,
    /// Where clamd listens; there when `engines` has it.
    pub clamd: Option<ClamdAddress>,
    /// How long one engine may look into one file.
    pub timeout: Duration,
}

/// Where clamd listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClamdAddress {
    /// `unix:` and the absolute path of its socket.
    Unix(PathBuf),
    /// `tcp:`, a host (a name, an IPv4 address, or an IPv6 address in brackets) and a port.
    Tcp(String, u16),
}

impl ClamdAddress {
    /// Reads either form; `None`: neither.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            // A socket's path has at most 107 bytes on Linux (unix(7)).
            let usable = path.starts_with('/') && path.len() <= 107 && !path.contains('\0');
            return usable.then(|| Self::Unix(PathBuf::from(path)));
        }
        let (host, port) = text.strip_prefix("tcp:")?.rsplit_once(':')?;
        let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        let port = port.parse::<u16>().ok().filter(|port| digits && *port != 0)?;
        if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let address = address.parse::<std::net::Ipv6Addr>().ok()?;
            return Some(Self::Tcp(address.to_string(), port));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        let name = !host.is_empty() && host.len() <= 253 && host.chars().all(plain);
        name.then(|| Self::Tcp(host.to_owned(), port))
    }
}

/// `[egress]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Egress {
    /// Networks that the guard lets through though they are not public.
    pub allow: Vec<IpNet>,
    /// Requests without TLS.
    pub allow_http: bool,
}

/// `[fhir]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fhir {
    /// Relative references that dangle.
    pub references: References,
}

/// What becomes of a relative reference that dangles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum References {
    /// A warning in the answer.
    Lenient,
    /// Refused.
    Strict,
}

/// `[policy]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySource {
    /// Seeds an empty store; `None`: [`crate::config::policy_text::SHIPPED`].
    pub file: Option<PathBuf>,
}

/// `[audit]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Folder for signed checkpoints.
    pub checkpoints: PathBuf,
}

/// `[pages]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pages {
    /// Who people see; 1 to 200 characters, none of them a control character.
    pub organisation: Option<String>,
    /// Whom they ask; the same.
    pub contact: Option<String>,
    /// Zone of the times on pages.
    pub time_zone: TimeZoneName,
}

/// A zone of the IANA time zone database: the system's where it has one, else the copy that is built in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeZoneName {
    name: String,
    zone: TimeZone,
}

impl TimeZoneName {
    /// UTC.
    pub fn utc() -> Self {
        Self { name: "UTC".to_owned(), zone: TimeZone::UTC }
    }

    /// A name that the database knows. Parts of letters, digits, `_`, `+`, `-` separated by `/`, so that no other file is looked at.
    pub fn parse(text: &str) -> Option<Self> {
        let part =
            |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "_+-".contains(c));
        let starts = text.starts_with(|c: char| c.is_ascii_alphabetic());
        let plain = starts && text.len() <= 64 && text.split('/').all(part);
        let zone = plain.then(|| TimeZone::get(text).ok()).flatten()?;
        Some(Self { name: text.to_owned(), zone })
    }

    /// A moment as people of the zone write it: `23 November 2026 at 14:02 (CET)`.
    pub fn write(&self, moment: Timestamp) -> String {
        let Ok(moment) = jiff::Timestamp::from_millisecond(moment.millis()) else { return moment.to_string() };
        moment.to_zoned(self.zone.clone()).strftime("%-d %B %Y at %H:%M (%Z)").to_string()
    }

    /// A moment to the second, with the zone's offset then: `2026-11-23 14:02:05+01:00`.
    pub fn stamp(&self, moment: Timestamp) -> String {
        let Ok(moment) = jiff::Timestamp::from_millisecond(moment.millis()) else { return moment.to_string() };
        moment.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S%:z").to_string()
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.name
    }
}

/// `[logs]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logs {
    /// How lines are written.
    pub format: LogFormat,
    /// The least grave lines that are written.
    pub level: LogLevel,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// How grave a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something may need a person.
    Warn,
    /// What happened.
    Info,
    /// For finding mistakes.
    Debug,
    /// Everything.
    Trace,
}

impl Settings {
    /// Puts the sources together, in their order, and checks the whole.
    ///
    /// # Errors
    /// Every mistake of all sources: `setting-unknown`, `setting-malformed`, `setting-conflict`, `listen-exposed`, all of exit
    /// status 2. A place in the file is a line; one in a variable or flag is its name ([`Place::Flag`]).
    ///
    /// [`Place::Flag`]: crate::domain::refusal::Place::Flag
    pub fn load(sources: &Sources) -> Result<Self, Vec<Issue>> {
        read::load(sources)
    }

    /// What holds without any settings, with data under `path`.
    pub fn default_for_data_dir(path: &Path) -> Self {
        read::defaults(path)
    }

    /// The base URL that holds: the one set, or `localhost` and the port that is really listened on.
    pub fn base_url(&self, port: u16) -> BaseUrl {
        let derived = || BaseUrl::of_loopback(port, self.server.tls.is_some());
        self.server.base_url.clone().unwrap_or_else(derived)
    }

    /// Whether only this machine can reach the listener.
    pub fn listens_on_loopback(&self) -> bool {
        is_loopback(self.server.listen)
    }
}
