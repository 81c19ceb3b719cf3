//! The form of a token request: which parameters there must be, each once, before anything is looked at closely.

use super::Denied;
use crate::domain::refusal::{Code, Issue, OauthError, Place, Refusal};

/// The one assertion type (RFC 7523 §2.2).
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What a token request by client credentials holds.
#[derive(Clone)]
pub(super) struct TokenForm<'a> {
    pub(super) scope: Option<&'a str>,
    pub(super) client_id: Option<&'a str>,
    pub(super) assertion: &'a str,
}

/// Reads a form; parameters that are not known are ignored (RFC 6749 §3.2).
///
/// # Errors
/// `parameter-malformed`, `parameter-missing` (400 `invalid_request`; a `grant_type` that is not served: 400
/// `unsupported_grant_type`); `credentials-misplaced` (400) when a second way of authenticating is used.
pub(super) fn read<'a>(form: &'a [(String, String)], authorization_header: bool) -> Result<TokenForm<'a>, Denied> {
    let grant_type = needed(form, "grant_type", "client_credentials")?;
    if grant_type != "client_credentials" {
        let refused = Refusal::new(malformed("grant_type", "must be client_credentials", "client_credentials"));
        return Err(Denied::new(refused.with_oauth(OauthError::UnsupportedGrantType), "grant type"));
    }
    if authorization_header || once(form, "client_secret")?.is_some() {
        return Err(Denied::new(Refusal::of(Code::CredentialsMisplaced), "two ways"));
    }
    if needed(form, "client_assertion_type", ASSERTION_TYPE)? != ASSERTION_TYPE {
        let issue = malformed("client_assertion_type", "must name a JWT bearer assertion", ASSERTION_TYPE);
        return Err(Denied::new(Refusal::new(issue), "assertion type"));
    }
    let assertion = needed(form, "client_assertion", "a signed JWT")?;
    Ok(TokenForm { scope: once(form, "scope")?, client_id: once(form, "client_id")?, assertion })
}

/// A parameter that may be absent; an empty one is absent (RFC 6749 §3.2), a repeated one refused.
fn once<'a>(form: &'a [(String, String)], name: &'static str) -> Result<Option<&'a str>, Denied> {
    let mut values = form.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let first = values.next().filter(|value| !value.is_empty());
    match values.next() {
        Some(_) => Err(Denied::new(Refusal::new(malformed(name, "occurs twice", "one value")), "repeated")),
        None => Ok(first),
    }
}

fn needed<'a>(form: &'a [(String, String)], name: &'static str, example: &str) -> Result<&'a str, Denied> {
    once(form, name)?.ok_or_else(|| {
        let issue = Issue::new(Code::ParameterMissing).fill("parameter", name).fill("example", example);
        Denied::new(Refusal::new(issue.place(Place::Form(name))), "missing")
    })
}

fn malformed(name: &'static str, fault: &str, example: &str) -> Issue {
    let issue = Issue::new(Code::ParameterMalformed).fill("parameter", name).fill("fault", fault);
    issue.fill("example", example).place(Place::Form(name))
}
