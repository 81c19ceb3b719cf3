//! What stands behind `/d/`: a link's text in its one spelling, or none. No spelling of a path below `/d/` is told apart from an
//! altered link: all of them are `link-invalid`.

/// Longest text behind `/d/` that is looked at.
const TOKEN_MOST: usize = 256;

/// Whether a path, below the base, is one of a link.
pub(super) fn is_one(path: &str) -> bool {
    path.starts_with("/d/")
}

/// The link's text in a path below the base: base64url, without encoding. A letter that was percent-encoded although it needs none is
/// that letter (RFC 3986 §6.2.2.2); everything else that is not of the alphabet makes it no link.
pub(super) fn token(path: &str) -> Option<String> {
    let text = path.strip_prefix("/d/").filter(|text| !text.is_empty() && text.len() <= 3 * TOKEN_MOST)?;
    let mut token = String::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        let (letter, tail) = if *byte == b'%' { encoded(tail)? } else { (*byte, tail) };
        if !(letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'_')) {
            return None;
        }
        token.push(char::from(letter));
        rest = tail;
    }
    (token.len() <= TOKEN_MOST).then_some(token)
}

fn encoded(digits: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, tail) = digits.split_at_checked(2)?;
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
    Some((u8::from_str_radix(text, 16).ok()?, tail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_links_text_has_one_spelling_and_its_equivalent_by_rfc_3986() {
        for path in ["/d/aB3-_", "/d/%61B3-_", "/d/a%423%2D%5F", "/d/aB3%2d%5f"] {
            assert_eq!(token(path).as_deref(), Some("aB3-_"), "{path}");
        }
        for odd in [
            "/d/",
            "/d/a=",
            "/d/a%3D",
            "/d/a%20",
            "/d/a+",
            "/d/a%2B",
            "/d/a/",
            "/d//a",
            "/d/a/b",
            "/d/.",
            "/d/a.",
            "/d/../a",
            "/d/a;x",
            "/d/a~",
            "/d/é",
            "/d/%C3%A9",
            "/d/%00",
            "/d/a%0a",
            "/d/a%",
            "/d/a%4",
            "/d/a%zz",
            "/d/a%+1",
            "/d/%2561",
            "/d",
            "/e/a",
            "/sub/a",
        ] {
            assert_eq!(token(odd), None, "{odd}");
        }
        assert!(token(&format!("/d/{}", "a".repeat(256))).is_some());
        assert_eq!(token(&format!("/d/{}", "a".repeat(257))), None);
        assert_eq!(token(&format!("/d/{}", "%61".repeat(257))), None);
    }

    proptest! {
        #[test]
        fn a_token_is_of_the_alphabet_whatever_the_path(path in "/d/[ -~é]{0,40}") {
            if let Some(token) = token(&path) {
                let of_it = token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
                prop_assert!(of_it && !token.is_empty());
            }
        }
    }
}
