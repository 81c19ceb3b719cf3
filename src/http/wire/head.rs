//! The head of a request as its bytes stand on the wire (RFC 9112 §2–§6), judged whole before anything else reads it. Pure.
//!
//! Where the grammar lets receivers be lenient (a bare LF, a folded line, a list of lengths), two of them can read two different
//! requests from the same bytes; so none of it is taken.

use actix_web::http::Uri;
use memchr::memchr;

/// How the body behind a head is delimited (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// No body.
    None,
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// What is wrong with a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Fault {
    /// Against the grammar; the part is named.
    Malformed(&'static str),
    /// Another major version of HTTP.
    Version,
    /// Longer than an address may be.
    Address,
    /// Longer than all headers may be.
    Head,
    /// More headers than there may be.
    Headers,
    /// Not whole in time.
    Slow,
}

/// What a head may measure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measures {
    /// Bytes of the request line; a longer one is `Fault::Address`.
    pub(super) line: usize,
    /// Bytes in all.
    pub(super) head: usize,
    /// Header lines.
    pub(super) headers: usize,
}

/// Looks for the end of a head as its bytes come; every byte is looked at once.
#[derive(Debug, Default)]
pub(super) struct Scan {
    line: usize,
    seen: usize,
    lines: usize,
    blank: bool,
}

impl Scan {
    /// The head's length once it is whole. `bytes` begins where it began the last time.
    ///
    /// # Errors
    /// What shows before the end: a line that ends otherwise than in CRLF, more than there may be.
    pub(super) fn look(&mut self, bytes: &[u8], most: &Measures) -> Result<Option<usize>, Fault> {
        if bytes.first().is_some_and(|first| *first != b'\r' && !is_token(*first)) {
            return Err(Fault::Malformed("request line"));
        }
        while let Some(at) = bytes.get(self.seen..).and_then(|rest| memchr(b'\n', rest)) {
            let end = self.seen + at;
            let line = bytes.get(self.line..end).and_then(|line| line.strip_suffix(b"\r"));
            let line = line.ok_or(Fault::Malformed("line end"))?;
            (self.line, self.seen) = (end + 1, end + 1);
            match (line.is_empty(), self.lines) {
                // RFC 9112 §2.2: one empty line before a request is passed over.
                (true, 0) if !self.blank => self.blank = true,
                (true, 0) => return Err(Fault::Malformed("request line")),
                (true, _) => return Ok(Some(end + 1)),
                (false, 0) if line.len() > most.line => return Err(Fault::Address),
                (false, lines) if lines > most.headers => return Err(Fault::Headers),
                (false, _) => self.lines += 1,
            }
        }
        self.seen = bytes.len();
        match self.lines {
            0 if bytes.len() > most.line => Err(Fault::Address),
            _ if bytes.len() > most.head => Err(Fault::Head),
            _ => Ok(None),
        }
    }
}

/// Judges a whole head, its last empty line with it.
///
/// # Errors
/// [`Fault::Malformed`], [`Fault::Version`].
pub(super) fn judge(head: &[u8]) -> Result<Framing, Fault> {
    let mut lines = Lines(head.strip_prefix(b"\r\n").unwrap_or(head));
    let first = lines.next().ok_or(Fault::Malformed("request line"))?;
    let is_1_1 = request_line(first)?;
    let (mut host, mut length, mut chunked) = (false, None, false);
    for line in lines {
        let (name, value) = header(line)?;
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                once(!std::mem::replace(&mut host, true), "header host")?;
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                once(length.is_none(), "header content-length")?;
                length = Some(digits(value).ok_or(Fault::Malformed("header content-length"))?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                once(!chunked && is_1_1 && value.eq_ignore_ascii_case(b"chunked"), "header transfer-encoding")?;
                chunked = true;
            }
            _ => {}
        }
    }
    once(host || !is_1_1, "header host")?;
    // RFC 1945 §7.2.2; without it nobody knows where the body ends.
    once(is_1_1 || length.is_some() || !first.starts_with(b"POST "), "header content-length")?;
    match (length, chunked) {
        (Some(_), true) => Err(Fault::Malformed("header transfer-encoding")),
        (None, true) => Ok(Framing::Chunked),
        (None | Some(0), false) => Ok(Framing::None),
        (Some(length), false) => Ok(Framing::Length(length)),
    }
}

fn once(holds: bool, part: &'static str) -> Result<(), Fault> {
    if holds { Ok(()) } else { Err(Fault::Malformed(part)) }
}

/// Lines that end in CRLF; the empty one ends them.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (line, rest) = self.0.split_at_checked(memchr(b'\n', self.0)? + 1)?;
        self.0 = rest;
        line.strip_suffix(b"\r\n").filter(|line| !line.is_empty())
    }
}

/// `method SP target SP version`; whether the version is 1.1.
fn request_line(line: &[u8]) -> Result<bool, Fault> {
    let malformed = Fault::Malformed("request line");
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(malformed);
    };
    if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) || !is_target(target) {
        return Err(malformed);
    }
    match version {
        b"HTTP/1.1" => Ok(true),
        b"HTTP/1.0" => Ok(false),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            Err(Fault::Version)
        }
        _ => Err(malformed),
    }
}

/// A target that the framework can read too. Which paths there are is not asked here.
fn is_target(target: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/-._~$?&=%,:+;@!()*'".contains(byte);
    if target.starts_with(b"/") && target.iter().all(plain) {
        return true;
    }
    let sound = !target.iter().any(|byte| *byte <= b' ' || *byte == 0x7f || *byte == b'#');
    sound && Uri::try_from(target).is_ok()
}

/// `name ":" OWS value OWS`, on one line.
fn header(line: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let malformed = Fault::Malformed("header");
    let colon = memchr(b':', line).ok_or(malformed)?;
    let (name, value) = line.split_at_checked(colon).ok_or(malformed)?;
    let value = value.strip_prefix(b":").ok_or(malformed)?;
    let is_text = |byte: &u8| (*byte >= b' ' && *byte != 0x7f) || *byte == b'\t';
    if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) || !value.iter().all(is_text) {
        return Err(malformed);
    }
    Ok((name, value.trim_ascii()))
}

/// `tchar` of RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// `1*DIGIT` and nothing else: no sign, no list, no space.
fn digits(text: &[u8]) -> Option<u64> {
    let plain = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOST: Measures = Measures { line: 100, head: 1000, headers: 5 };

    fn judged(head: &[u8]) -> Result<Option<Framing>, Fault> {
        match Scan::default().look(head, &MOST)? {
            Some(length) => judge(&head[..length]).map(Some),
            None => Ok(None),
        }
    }

    #[test]
    fn heads_as_rfc_9112_writes_them_are_taken() {
        for (head, framing) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Framing::None),
            ("\r\nGET /a?b=c|d HTTP/1.1\r\nHost:a\r\n\r\n", Framing::None),
            ("GET http://a/ HTTP/1.1\r\nhOsT: a\r\nX:\t \r\n\r\n", Framing::None),
            ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Framing::None),
            ("GET / HTTP/1.0\r\n\r\n", Framing::None),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", Framing::None),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12 \r\n\r\n", Framing::Length(12)),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n", Framing::Chunked),
        ] {
            assert_eq!(judged(head.as_bytes()), Ok(Some(framing)), "{head:?}");
        }
    }

    #[test]
    fn a207_a209_what_two_readers_could_read_differently_is_refused() {
        let with = |line: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n");
        for line in [
            "Content-Length: +5",
            "Content-Length: 0x5",
            "Content-Length: 3, 3",
            "Content-Length: ",
            "Content-Length: 18446744073709551616",
            "Content-Length: 3\r\nContent-Length: 3",
            "Content-Length: 3\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: \x0bchunked",
            "Transfer-Encoding: identity",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Host: b",
            "X : y",
            "X\t: y",
            ": y",
            "X",
            "X: a\r\n folded",
            "X: a\0b",
            "X: a\rb",
            "X: a\x7fb",
            "X: a\nY: b",
        ] {
            assert!(matches!(judged(with(line).as_bytes()), Err(Fault::Malformed(_))), "{line:?}");
        }
        for head in [
            &b"GET / HTTP/1.1\nHost: a\n\n"[..],
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /\tHTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
            b"GET /\r\n\r\n",
            b"G\xc3\x84T / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
            b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"POST / HTTP/1.0\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"\x16\x03\x01",
        ] {
            assert!(matches!(judged(head), Err(Fault::Malformed(_))), "{head:?}");
        }
        assert_eq!(judged(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Err(Fault::Version));
    }

    #[test]
    fn a208_what_grows_without_end_is_refused_before_its_end() {
        let long = format!("GET /{}", "a".repeat(100));
        assert_eq!(judged(long.as_bytes()), Err(Fault::Address));
        assert_eq!(judged(format!("{long} HTTP/1.1\r\n").as_bytes()), Err(Fault::Address));
        let line = "GET / HTTP/1.1\r\n";
        assert_eq!(judged(format!("{line}X: {}", "a".repeat(1000)).as_bytes()), Err(Fault::Head));
        assert_eq!(judged(format!("{line}{}", "X: a\r\n".repeat(6)).as_bytes()), Err(Fault::Headers));
        assert_eq!(judged(format!("{line}{}", "X: a\r\n".repeat(5)).as_bytes()), Ok(None));
    }

    proptest! {
        /// Cut anywhere, a head is judged as it is whole, and nothing fails.
        #[test]
        fn pieces_change_nothing(bytes in "(GET|POST) /[a-z]{0,3} HTTP/1.1\r\n(Host: a\r?\n)?(X ?:[ -~]{0,4}\r?\n){0,3}\r?\n?[a-z]{0,3}", cut in 0usize..60) {
            let bytes = bytes.as_bytes();
            let whole = Scan::default().look(bytes, &MOST);
            let mut scan = Scan::default();
            let first = scan.look(&bytes[..cut.min(bytes.len())], &MOST);
            let pieces = if first == Ok(None) { scan.look(bytes, &MOST) } else { first };
            prop_assert_eq!(pieces, whole);
        }
    }
}
