//! The URL that everything generated begins with. It comes from settings or from the port listened on, never from a request.

use std::fmt;
use std::net::SocketAddr;

use url::{Host, Url};

/// `http` or `https`, host, port, and a path without its last `/`; no credentials, query or fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    /// Without a last `/`.
    text: String,
    origin: Origin,
    /// Empty, or `/` and more.
    path: String,
}

/// What has to be equal for two URLs to be of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    https: bool,
    /// `None`: loopback, however it is spelled.
    host: Option<String>,
    port: u16,
}

impl BaseUrl {
    /// Reads a base URL. A path is kept, a last `/` is not; dot segments and the like are refused.
    pub fn parse(text: &str) -> Option<Self> {
        let (origin, path) = split(text)?;
        if path.contains(['?', '#']) {
            return None;
        }
        let path = path.trim_end_matches('/').to_owned();
        let url = Url::parse(text).ok()?;
        let text = format!("{}{path}", url.origin().ascii_serialization());
        Some(Self { text, origin, path })
    }

    /// The base of a server that was given none: `localhost` and the port it listens on.
    pub fn of_loopback(port: u16, https: bool) -> Self {
        let scheme = if https { "https" } else { "http" };
        let usual = if https { 443 } else { 80 };
        let text = if port == usual { format!("{scheme}://localhost") } else { format!("{scheme}://localhost:{port}") };
        Self { text, origin: Origin { https, host: None, port }, path: String::new() }
    }

    /// The whole, without a last `/`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path before ours, empty or `/…` without a last `/`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether the scheme is `https`.
    pub fn is_https(&self) -> bool {
        self.origin.https
    }

    /// Whether the host is `localhost` or a loopback address.
    pub fn is_loopback(&self) -> bool {
        self.origin.host.is_none()
    }

    /// This and more: `path` begins with `/`.
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.text)
    }

    /// Path and query of an absolute URL below this base, beginning with `/` (or empty for the base itself); `None` for
    /// another server's URL. Loopback spellings are one. The path is given back as it was written, and only where it is
    /// written plainly: a URL that a parser would rewrite (dot segments, backslashes, credentials) is not ours.
    pub fn strip<'a>(&self, url: &'a str) -> Option<&'a str> {
        let (origin, path) = split(url)?;
        let rest = path.strip_prefix(&*self.path)?;
        (origin == self.origin && !rest.contains('#') && (rest.is_empty() || rest.starts_with(['/', '?'])))
            .then_some(rest)
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Origin, and everything after it as written.
fn split(text: &str) -> Option<(Origin, &str)> {
    let url = Url::parse(text).ok()?;
    let https = match url.scheme() {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let (_, after_scheme) = text.split_once("://")?;
    let path = after_scheme.find(['/', '?', '#']).map_or("", |at| after_scheme.get(at..).unwrap_or_default());
    let mut parsed = url.path().to_owned();
    for (mark, part) in [('?', url.query()), ('#', url.fragment())] {
        if let Some(part) = part {
            parsed.push(mark);
            parsed.push_str(part);
        }
    }
    let plain = parsed == path || (path.is_empty() && parsed == "/");
    let host = match url.host()? {
        Host::Domain("localhost") => None,
        Host::Ipv4(address) if address.is_loopback() => None,
        Host::Ipv6(address) if address.is_loopback() => None,
        other => Some(other.to_string()),
    };
    let alone = url.username().is_empty() && url.password().is_none() && !after_scheme.contains('@');
    (plain && alone).then_some((Origin { https, host, port: url.port_or_known_default()? }, path))
}

/// An address to listen on; `localhost` is 127.0.0.1.
pub(super) fn parse_listen(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => Some(SocketAddr::from(([127, 0, 0, 1], port.parse().ok()?))),
        None => text.parse().ok(),
    }
}

/// Whether an address can be reached from this machine only.
pub(super) fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_is_kept_and_a_last_slash_is_not() {
        let base = BaseUrl::parse("https://Documents.Hospital.example/daylily/").unwrap();
        assert_eq!(base.as_str(), "https://documents.hospital.example/daylily");
        assert_eq!(base.path(), "/daylily");
        assert_eq!(base.join("/fhir"), "https://documents.hospital.example/daylily/fhir");
        assert!(base.is_https() && !base.is_loopback());
        for wrong in [
            "",
            "documents.example",
            "ftp://a.example",
            "http://a.example?x",
            "http://a.example/#x",
            "http://u:p@a.example",
            "http://@a.example",
            "http://a.example/a/../b",
            "http:a.example",
            "http://",
        ] {
            assert_eq!(BaseUrl::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn loopback_spellings_are_one_server() {
        let base = BaseUrl::of_loopback(8080, false);
        assert_eq!(base.as_str(), "http://localhost:8080");
        for ours in [
            "http://localhost:8080/d/x",
            "http://127.0.0.1:8080/d/x",
            "http://[::1]:8080/d/x",
            "HTTP://LOCALHOST:8080/d/x",
        ] {
            assert_eq!(base.strip(ours), Some("/d/x"), "{ours}");
        }
        for theirs in [
            "https://localhost:8080/d/x",
            "http://localhost/d/x",
            "http://localhost.example:8080/d/x",
            "http://localhost:8080/a/../d/x",
            "http://localhost:8080\\d\\x",
            "http://a@localhost:8080/d/x",
            "http://localhost:8080/d/x#y",
            "/d/x",
        ] {
            assert_eq!(base.strip(theirs), None, "{theirs}");
        }
        assert_eq!(BaseUrl::of_loopback(443, true).as_str(), "https://localhost");
    }

    #[test]
    fn only_whole_path_segments_are_below_a_base() {
        let base = BaseUrl::parse("https://a.example/x").unwrap();
        assert_eq!(base.strip("https://a.example:443/x/fhir?_id=1"), Some("/fhir?_id=1"));
        assert_eq!(base.strip("https://a.example/x"), Some(""));
        assert_eq!(base.strip("https://a.example/xy/fhir"), None);
        assert_eq!(base.strip("https://a.example/fhir"), None);
    }

    #[test]
    fn addresses_to_listen_on() {
        assert_eq!(parse_listen("localhost:80"), parse_listen("127.0.0.1:80"));
        assert_eq!(parse_listen("8080"), None);
        assert!(is_loopback(parse_listen("[::ffff:127.0.0.1]:1").unwrap()));
        assert!(!is_loopback(parse_listen("0.0.0.0:1").unwrap()) && !is_loopback(parse_listen("[::]:1").unwrap()));
    }

    proptest! {
        #[test]
        fn any_text_is_a_base_or_none_and_a_base_is_read_back(text in "https?://[a-z./:@?#\\\\%0-9]{0,30}") {
            if let Some(base) = BaseUrl::parse(&text) {
                prop_assert_eq!(BaseUrl::parse(base.as_str()), Some(base.clone()));
                let below = base.join("/d/x");
                prop_assert_eq!(base.strip(&below), Some("/d/x"));
            }
        }
    }
}
