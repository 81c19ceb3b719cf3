//! Which bytes of a connection may pass: heads that were judged, and bodies exactly as long as their heads say. Pure; what is not
//! understood in the one way in which everyone understands it does not pass.

use super::head::{Fault, Framing, Measures, Scan, judge};

/// Longest line that gives a chunk's size, extensions and all.
const SIZE_LINE_MOST: usize = 256;
/// Digits of a chunk's size: 16 EiB are more than any body.
const SIZE_DIGITS_MOST: usize = 15;

/// Where in its requests a connection stands.
#[derive(Debug)]
enum State {
    Head(Scan),
    /// So many bytes of a body are left.
    Length(u64),
    /// Before a chunk's size line.
    Size,
    /// So many bytes of a chunk are left.
    Data(u64),
    /// Before the line end behind a chunk.
    DataEnd,
    /// Behind the last chunk: an empty line and nothing else.
    End,
}

/// What is wrong, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// In a head: it can still be answered in its turn.
    Head(Fault),
    /// In a body: what is behind it is nobody's request.
    Body,
}

/// Follows the bytes of one connection.
#[derive(Debug)]
pub(super) struct Passage {
    state: State,
    most: Measures,
    heads: u64,
}

impl Passage {
    /// Before the first head.
    pub(super) fn new(most: Measures) -> Self {
        Self { state: State::Head(Scan::default()), most, heads: 0 }
    }

    /// Whether a head comes next.
    pub(super) fn is_before_head(&self) -> bool {
        matches!(self.state, State::Head(_))
    }

    /// Heads that have passed.
    pub(super) fn heads(&self) -> u64 {
        self.heads
    }

    /// How many of these bytes may pass, from the first on, and what stops those behind. Bytes that neither pass nor are
    /// stopped are to be shown again, with more behind them.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> (usize, Option<Stop>) {
        let mut passed = 0;
        while let Some(rest) = bytes.get(passed..).filter(|rest| !rest.is_empty()) {
            match self.step(rest) {
                Ok(0) => break,
                Ok(length) => passed += length,
                Err(stop) => return (passed, Some(stop)),
            }
        }
        (passed, None)
    }

    fn step(&mut self, bytes: &[u8]) -> Result<usize, Stop> {
        let (length, next) = match &mut self.state {
            State::Head(scan) => {
                let Some(length) = scan.look(bytes, &self.most).map_err(Stop::Head)? else { return Ok(0) };
                let framing = judge(bytes.get(..length).unwrap_or_default()).map_err(Stop::Head)?;
                self.heads += 1;
                (length, behind(framing))
            }
            State::Length(left) => {
                let (taken, left) = take(*left, bytes);
                (taken, if left == 0 { State::Head(Scan::default()) } else { State::Length(left) })
            }
            State::Size => {
                let Some((length, size)) = size_line(bytes)? else { return Ok(0) };
                (length, if size == 0 { State::End } else { State::Data(size) })
            }
            State::Data(left) => {
                let (taken, left) = take(*left, bytes);
                (taken, if left == 0 { State::DataEnd } else { State::Data(left) })
            }
            State::DataEnd => (line_end(bytes)?, State::Size),
            State::End => (line_end(bytes)?, State::Head(Scan::default())),
        };
        if length > 0 {
            self.state = next;
        }
        Ok(length)
    }
}

fn behind(framing: Framing) -> State {
    match framing {
        Framing::None => State::Head(Scan::default()),
        Framing::Length(length) => State::Length(length),
        Framing::Chunked => State::Size,
    }
}

fn take(left: u64, bytes: &[u8]) -> (usize, u64) {
    let there = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let taken = left.min(there);
    (usize::try_from(taken).unwrap_or(bytes.len()), left - taken)
}

/// 2 where CRLF stands here, 0 where it may still come.
fn line_end(bytes: &[u8]) -> Result<usize, Stop> {
    match bytes {
        [b'\r', b'\n', ..] => Ok(2),
        [b'\r'] => Ok(0),
        _ => Err(Stop::Body),
    }
}

/// Length of the line and the size that it gives (RFC 9112 §7.1); `None` while it is not whole. Extensions are passed over, in
/// visible letters and within the line's limit.
fn size_line(bytes: &[u8]) -> Result<Option<(usize, u64)>, Stop> {
    let Some(end) = bytes.iter().take(SIZE_LINE_MOST).position(|byte| *byte == b'\n') else {
        return if bytes.len() < SIZE_LINE_MOST { Ok(None) } else { Err(Stop::Body) };
    };
    let line = bytes.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(Stop::Body)?;
    let (size, extensions) =
        line.split_at_checked(line.iter().take_while(|b| b.is_ascii_hexdigit()).count()).ok_or(Stop::Body)?;
    let sound = extensions.is_empty()
        || (extensions.starts_with(b";") && extensions.iter().all(|byte| (b' '..=b'~').contains(byte)));
    let size = std::str::from_utf8(size).ok().filter(|size| (1..=SIZE_DIGITS_MOST).contains(&size.len()) && sound);
    let size = size.and_then(|size| u64::from_str_radix(size, 16).ok()).ok_or(Stop::Body)?;
    Ok(Some((end + 1, size)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOST: Measures = Measures { line: 1000, head: 1000, headers: 10 };
    const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

    fn followed(bytes: &[u8]) -> (usize, Option<Stop>) {
        Passage::new(MOST).follow(bytes)
    }

    #[test]
    fn requests_one_behind_the_other_pass_whole() {
        let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let sized = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n\n\0\n\r";
        let chunks = format!("{CHUNKED}4\r\n\n\0\n\r\r\n00a;x=\"y\"\r\n0123456789\r\n0\r\n\r\n");
        let all = format!("{get}{sized}{chunks}{get}");
        assert_eq!(followed(all.as_bytes()), (all.len(), None));
        assert_eq!(followed(format!("{all}GET /").as_bytes()), (all.len(), None));
        assert_eq!(
            followed(format!("{all}GET /\n").as_bytes()),
            (all.len(), Some(Stop::Head(Fault::Malformed("line end"))))
        );
    }

    #[test]
    fn a207_chunks_have_one_form() {
        for (chunks, passed) in [
            ("5\nhello\r\n0\r\n\r\n", 0),
            ("+5\r\nhello\r\n0\r\n\r\n", 0),
            ("0x5\r\nhello\r\n0\r\n\r\n", 0),
            (" 5\r\nhello\r\n0\r\n\r\n", 0),
            ("5 \r\nhello\r\n0\r\n\r\n", 0),
            ("\r\nhello\r\n0\r\n\r\n", 0),
            ("ffffffffffffffff\r\nhello", 0),
            ("5;a\nb\r\nhello\r\n0\r\n\r\n", 0),
            ("5;a\x0bb\r\nhello\r\n0\r\n\r\n", 0),
            ("5\r\nhelloX\r\n0\r\n\r\n", 8),
            ("5\r\nhello\n0\r\n\r\n", 8),
            ("5\r\nhello\r\n0\r\n\n", 13),
            ("5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n", 13),
            ("5\r\nhello\r\n0\r\nX: y\r\n\r\n", 13),
        ] {
            let all = format!("{CHUNKED}{chunks}");
            assert_eq!(followed(all.as_bytes()), (CHUNKED.len() + passed, Some(Stop::Body)), "{chunks:?}");
        }
        let endless = format!("{CHUNKED}5;{}", "a".repeat(SIZE_LINE_MOST));
        assert_eq!(followed(endless.as_bytes()), (CHUNKED.len(), Some(Stop::Body)));
    }

    proptest! {
        /// However a connection's bytes are cut, the same ones pass.
        #[test]
        fn pieces_change_nothing(tail in "([0-9a-f;\r\n]|5\r\n|\r\n|hello|GET / HTTP/1.1\r\nHost: a\r\n\r\n){0,12}", cuts in proptest::collection::vec(1usize..9, 0..80)) {
            let all = format!("{CHUNKED}{tail}").into_bytes();
            let mut passage = Passage::new(MOST);
            let (mut passed, mut shown, mut cuts) = (0, 0, cuts.into_iter());
            let stop = loop {
                shown = (shown + cuts.next().unwrap_or(all.len())).min(all.len());
                let (more, stop) = passage.follow(&all[passed..shown]);
                passed += more;
                if stop.is_some() || shown == all.len() { break stop }
            };
            prop_assert_eq!((passed, stop), followed(&all));
        }
    }
}
