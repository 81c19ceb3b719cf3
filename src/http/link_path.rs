//! What stands behind `/d/`: a link's text in its one spelling, or none. A second spelling, percent-encoded where it need not be, is
//! none: a link could be told by it from what was handed out. No path below `/d/` is answered otherwise than an altered link.

/// Longest text behind `/d/` that is looked at.
const TOKEN_MOST: usize = 256;

/// Whether a path, below the base, is one of a link.
pub(super) fn is_one(path: &str) -> bool {
    path.starts_with("/d/")
}

/// The link's text in a path below the base, if it can be one: base64url as it stands.
pub(super) fn token(path: &str) -> Option<&str> {
    let text = path.strip_prefix("/d/").filter(|text| (1..=TOKEN_MOST).contains(&text.len()))?;
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    plain.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a103_a104_a_links_text_has_one_spelling() {
        assert_eq!(token("/d/aB3-_"), Some("aB3-_"));
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
            "/d/%61",
            "/d/a;x",
            "/d/a~",
            "/d/é",
            "/d/%C3%A9",
            "/d/%00",
            "/d/a%0a",
            "/d/a%",
            "/d/a%4",
            "/d/a%zz",
            "/d/%2561",
            "/d",
            "/e/a",
        ] {
            assert_eq!(token(odd), None, "{odd}");
        }
        assert!(token(&format!("/d/{}", "a".repeat(256))).is_some());
        assert_eq!(token(&format!("/d/{}", "a".repeat(257))), None);
    }
}
