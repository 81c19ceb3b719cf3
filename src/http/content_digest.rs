//! What a sender says the digest of its bytes is: `Content-Digest` and `Repr-Digest` (RFC 9530), and `Digest` of before (RFC 3230).
//! Only SHA-256 is compared. A check that cannot be made is refused and not passed over: who asks for one counts on it.

use actix_web::http::header::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::domain::refusal::{Code, Issue, Refusal};

/// The headers, and whether their values stand between colons (RFC 8941 §3.3.5).
const HEADERS: [(&str, bool); 3] = [("content-digest", true), ("repr-digest", true), ("digest", false)];
/// MD5 proves nothing any more; RFC 9110 knows the header no longer.
const MD5: &str = "content-md5";
/// What a header looks like, for people.
const EXAMPLE: &str = "Content-Digest: sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";

/// The SHA-256 that was said, if any.
///
/// # Errors
/// `parameter-malformed` for a header that names no SHA-256, names two that differ, or is none.
pub(super) fn announced(headers: &HeaderMap) -> Result<Option<[u8; 32]>, Refusal> {
    if headers.contains_key(MD5) {
        return Err(refused("Content-MD5", "is not checked here"));
    }
    let mut said = None;
    for (name, colons) in HEADERS {
        for value in headers.get_all(name) {
            let text = value.to_str().map_err(|_| refused(name, "is not text"))?;
            let found = sha256(text, colons).ok_or_else(|| refused(name, "names no SHA-256, or one that is none"))?;
            if said.is_some_and(|said| said != found) {
                return Err(refused(name, "says another digest than the one before"));
            }
            said = Some(found);
        }
    }
    Ok(said)
}

fn refused(header: &'static str, fault: &str) -> Refusal {
    Issue::new(Code::ParameterMalformed).at_http(header).fill("fault", fault).fill("example", EXAMPLE).into()
}

/// The one SHA-256 among `algorithm=value` members.
fn sha256(text: &str, colons: bool) -> Option<[u8; 32]> {
    let mut found = text.split(',').filter_map(|member| {
        let (algorithm, value) = member.trim().split_once('=')?;
        algorithm.eq_ignore_ascii_case("sha-256").then_some(value)
    });
    let (value, None) = (found.next()?, found.next()) else { return None };
    let plain = if colons { value.strip_prefix(':')?.strip_suffix(':')? } else { value };
    STANDARD.decode(plain).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    /// RFC 9530 §B.1: `{"hello": "world"}` and a line end.
    const HELLO: &str = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:";

    fn of(lines: &[(&'static str, &str)]) -> Result<Option<[u8; 32]>, Code> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        announced(&headers).map_err(|refusal| refusal.code())
    }

    #[test]
    fn a142_the_examples_of_rfc_9530_are_read() {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"{\"hello\": \"world\"}\n");
        let hello = Ok(Some(<[u8; 32]>::try_from(digest.as_ref()).unwrap()));
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&[("content-digest", HELLO)]), hello);
        assert_eq!(of(&[("repr-digest", &format!("sha-512=:YQ==:, {HELLO}"))]), hello);
        assert_eq!(of(&[("digest", &HELLO.replace(':', ""))]), hello);
        assert_eq!(of(&[("content-digest", HELLO), ("repr-digest", HELLO)]), hello);
    }

    #[test]
    fn a142_a_check_that_cannot_be_made_is_refused() {
        let other = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";
        for lines in [
            &[("content-digest", "sha-512=:YQ==:")][..],
            &[("content-digest", "sha-256=RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=")],
            &[("content-digest", "sha-256=:YQ==:")],
            &[("content-digest", "sha-256=:::")],
            &[("content-digest", "")],
            &[("digest", "md5=HUXZLQLMuI/KZ5KDcJPcOA==")],
            &[("content-md5", "HUXZLQLMuI/KZ5KDcJPcOA==")],
            &[("content-digest", HELLO), ("repr-digest", other)],
            &[("content-digest", HELLO), ("content-digest", other)],
            &[("content-digest", &format!("{HELLO}, {other}"))],
        ] {
            assert_eq!(of(lines), Err(Code::ParameterMalformed), "{lines:?}");
        }
    }
}
