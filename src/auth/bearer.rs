//! The `Authorization` header of a FHIR request (RFC 6750 §2.1), the only place where an access token is read.

use super::Denied;
use super::token::Tokens;
use crate::domain::refusal::{Code, Refusal};

/// The token among all `Authorization` headers of a request, given as their raw values.
///
/// # Errors
/// `token-missing` (401) without one; `credentials-misplaced` (400) with more than one; `token-invalid` (401) when it is
/// of another scheme or not `b64token` (RFC 6750 §2.1).
pub fn token<'a>(headers: &[&'a [u8]], tokens: &Tokens) -> Result<&'a str, Denied> {
    let value = match headers {
        [] => return Err(tokens.missing()),
        [value] => value,
        _ => return Err(Denied::new(Refusal::of(Code::CredentialsMisplaced), "two headers")),
    };
    let text = std::str::from_utf8(value).map_err(|_| tokens.invalid("header"))?;
    let (scheme, token) = text.split_once(' ').ok_or_else(|| tokens.invalid("header"))?;
    // RFC 9110 §11.1: schemes have no case; one or more spaces.
    let token = token.trim_start_matches(' ');
    let plain = token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte));
    if scheme.eq_ignore_ascii_case("bearer") && plain && !token.is_empty() {
        Ok(token)
    } else {
        Err(tokens.invalid("header"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::fakes;

    #[test]
    fn a019_exactly_one_header_is_read() {
        let tokens = fakes::tokens(&fakes::clock());
        assert_eq!(token(&[b"Bearer abc"], &tokens).unwrap(), "abc");
        assert_eq!(token(&[b"bearer  a.b-c_d"], &tokens).unwrap(), "a.b-c_d");
        let code = |headers: &[&'static [u8]]| {
            let refusal = token(headers, &tokens).unwrap_err().refusal;
            (refusal.code(), refusal.status())
        };
        assert_eq!(code(&[]), (Code::TokenMissing, 401));
        assert_eq!(code(&[b"Bearer a", b"Bearer a"]), (Code::CredentialsMisplaced, 400));
        for wrong in
            [&b"Bearer"[..], b"Bearer ", b"Basic YTpi", b"Bearer a b", b"Bearer a,Bearer b", b"", b"Bearer \xff"]
        {
            assert_eq!(code(&[wrong]), (Code::TokenInvalid, 401), "{wrong:?}");
        }
    }
}
