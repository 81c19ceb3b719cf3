//! The header of an object (`7 0 obj`) in bytes that go by, as viewers read one at the byte that a cross-reference table
//! names: white space and comments between the words, none needed before `obj` (ISO 32000-1, 7.2.3 and 7.3.10).

/// All readings of the bytes so far that could still become a header; one bit each.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Watch(u8);

/// In the first number, behind it, and in a comment behind it; the same for the second; then the letters.
const FIRST: u8 = 1;
const BEHIND_FIRST: u8 = 2;
const COMMENT_FIRST: u8 = 4;
const SECOND: u8 = 8;
const BEHIND_SECOND: u8 = 16;
const COMMENT_SECOND: u8 = 32;
const O: u8 = 64;
const B: u8 = 128;

impl Watch {
    /// Whether this byte ends the header of an object.
    pub(super) fn sees(&mut self, byte: u8) -> bool {
        if self.0 == 0 && !byte.is_ascii_digit() {
            return false;
        }
        let now = self.0;
        let from = |states: u8, to: u8| if now & states == 0 { 0 } else { to };
        let line_end = matches!(byte, 10 | 13);
        let comments = if line_end {
            from(COMMENT_FIRST, BEHIND_FIRST) | from(COMMENT_SECOND, BEHIND_SECOND)
        } else {
            now & (COMMENT_FIRST | COMMENT_SECOND)
        };
        let words = match byte {
            b'0'..=b'9' => FIRST | from(BEHIND_FIRST | SECOND, SECOND),
            b'+' | b'-' => from(BEHIND_FIRST, BEHIND_FIRST),
            0 | 9 | 10 | 12 | 13 | b' ' => {
                from(FIRST | BEHIND_FIRST, BEHIND_FIRST) | from(SECOND | BEHIND_SECOND, BEHIND_SECOND)
            }
            b'%' => from(FIRST | BEHIND_FIRST, COMMENT_FIRST) | from(SECOND | BEHIND_SECOND, COMMENT_SECOND),
            b'o' => from(SECOND | BEHIND_SECOND, O),
            b'b' => from(O, B),
            _ => 0,
        };
        self.0 = comments | words;
        byte == b'j' && now & B != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sees(bytes: &[u8]) -> bool {
        let mut watch = Watch::default();
        bytes.iter().any(|byte| watch.sees(*byte))
    }

    #[test]
    fn headers_are_seen_in_every_spelling_and_other_words_are_not() {
        for header in [
            &b"7 0 obj"[..],
            b"\xff12\r\n0\tobj",
            b"7 0obj",
            b"7 0%x\nobj",
            b"7%y 8\r0 obj",
            b"7 %\n +0 obj",
            b"7 %8 0 obj",
            b"1 2 3 obj",
        ] {
            assert!(sees(header), "{header:?}");
        }
        for other in [&b"7 obj"[..], b"7 0 endobj", b"7 0 ob j", b"7 0 R obj", b"70obj", b"7 0 %obj", b""] {
            assert!(!sees(other), "{other:?}");
        }
    }
}
