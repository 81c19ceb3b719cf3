//! `channel.header`: lines that go with each message. Values are secrets: shown once to who sent them, kept sealed, else masked.

use secrecy::{ExposeSecret, SecretSlice, SecretString};

use super::Findings;
use crate::domain::refusal::{Code, Issue};
use crate::fhir::json::{Object, Value};

/// What a read shows in place of a value; an update that sends it back keeps the value.
pub const MASK: &str = "********";
/// Most header lines.
pub const MAX_HEADERS: usize = 20;
/// Most bytes of all header lines.
pub const MAX_HEADER_BYTES: usize = 8 * 1024;

const PATH: &str = "Subscription.channel.header";
/// Headers of HTTP itself and of the sender.
const OWNED: [&str; 16] = [
    "host",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "trailers",
    "transfer-encoding",
    "upgrade",
    "expect",
    "cookie",
    "set-cookie",
    "date",
    "user-agent",
    "forwarded",
    "via",
    "accept-encoding",
];
const OWNED_PREFIXES: [&str; 5] = ["content-", "x-forwarded-", "proxy-", "sec-", "webhook-"];

/// One header line.
#[derive(Clone)]
pub struct HeaderLine {
    /// Name as written.
    pub name: String,
    /// Its value; `None`: masked, so the stored one is meant.
    pub value: Option<SecretString>,
}

impl std::fmt::Debug for HeaderLine {
    /// Without the value.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {MASK}", self.name)
    }
}

impl HeaderLine {
    /// The line as a read shows it.
    pub fn masked(&self) -> String {
        format!("{}: {MASK}", self.name)
    }

    /// The line as it was sent; masked where it came so.
    pub fn plain(&self) -> String {
        self.value.as_ref().map_or_else(|| self.masked(), |value| format!("{}: {}", self.name, value.expose_secret()))
    }
}

pub(super) fn read(channel: &Object<'static>, found: &mut Findings) -> Vec<HeaderLine> {
    let lines = channel.items("header");
    let bytes: usize = lines.iter().filter_map(Value::as_str).map(str::len).sum();
    if lines.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
        let limit = format!("{MAX_HEADERS} lines of {MAX_HEADER_BYTES} bytes in all");
        found.add(Issue::new(Code::ValueTooLong).at(PATH).fill("limit", limit));
        return Vec::new();
    }
    let mut read = Vec::new();
    for (at, line) in lines.iter().enumerate().filter_map(|(at, line)| Some((at, line.as_str()?))) {
        let path = format!("{PATH}[{at}]");
        match split(line) {
            None => found.malformed(&path, "header line", "Authorization: Bearer 0a1b2c"),
            Some((name, _)) if is_owned(name) => {
                found.add(Issue::new(Code::ChannelHeaderRefused).at(&path).fill("n", at + 1));
            }
            Some((name, value)) => {
                let value = (value != MASK).then(|| SecretString::from(value));
                read.push(HeaderLine { name: name.to_owned(), value });
            }
        }
    }
    read
}

/// Name and value of a line: split at the first colon, a token in front of it, visible ASCII and blanks behind (RFC 9110 §5).
fn split(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(':')?;
    let value = value.trim_matches([' ', '\t']);
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let visible = |byte: u8| (b' '..=b'~').contains(&byte);
    (!name.is_empty() && name.bytes().all(token) && value.bytes().all(visible)).then_some((name, value))
}

fn is_owned(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    OWNED.contains(&name.as_str()) || OWNED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Puts stored values in the place of masked ones: the first line of that name that was not used yet. Where the host of the endpoint
/// changed nothing is kept, or the secret would go to a new host.
///
/// # Errors
/// `channel-header-refused` for a masked line without a stored value.
pub fn keep(lines: &mut [HeaderLine], mut stored: Vec<HeaderLine>) -> Result<(), Issue> {
    for (at, line) in lines.iter_mut().enumerate().filter(|(_, line)| line.value.is_none()) {
        let same = stored.iter().position(|old| old.value.is_some() && old.name.eq_ignore_ascii_case(&line.name));
        let Some(old) = same.map(|found| stored.remove(found)) else {
            let issue = Issue::new(Code::ChannelHeaderRefused).at(&format!("{PATH}[{at}]")).fill("n", at + 1);
            return Err(issue
                .message_text(format!("Header line {} is masked, and no value is stored for it at this host.", at + 1))
                .cure_text("Send the value itself."));
        };
        line.value = old.value;
    }
    Ok(())
}

/// Host and port that an endpoint names, for comparing.
pub fn host_of(endpoint: &str) -> Option<String> {
    let url = url::Url::parse(endpoint).ok()?;
    let host = url.host_str()?.to_ascii_lowercase();
    Some(format!("{}://{host}:{}", url.scheme(), url.port_or_known_default().unwrap_or(0)))
}

/// Header lines as they are sealed: UTF-8, each `Name: value` ended by LF. A masked line has nothing to seal.
pub fn to_sealed(lines: &[HeaderLine]) -> SecretSlice<u8> {
    let whole = lines.iter().filter(|line| line.value.is_some());
    let mut text = String::with_capacity(MAX_HEADER_BYTES);
    for line in whole {
        text.push_str(&line.plain());
        text.push('\n');
    }
    SecretSlice::from(text.into_bytes())
}

/// What [`to_sealed`] made, once opened.
pub fn from_sealed(opened: &SecretSlice<u8>) -> Vec<HeaderLine> {
    let text = std::str::from_utf8(opened.expose_secret()).unwrap_or_default();
    let line = |line: &str| {
        let (name, value) = split(line)?;
        Some(HeaderLine { name: name.to_owned(), value: Some(SecretString::from(value)) })
    };
    text.split('\n').filter_map(line).collect()
}
