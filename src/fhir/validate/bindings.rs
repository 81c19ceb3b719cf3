//! Codes that an element must use: lists, and the forms of the open sets (media types, language tags, currencies).

use super::report::{Nearest, Report, named};
use crate::domain::refusal::{Code, nearest};
use crate::fhir::tables::{CodeRule, Codes};

pub(super) fn check(codes: &Codes, text: &str, report: &mut Report<'_>) {
    let fits = match &codes.rule {
        CodeRule::Listed(list) => list.contains(&text),
        CodeRule::MediaType => is_media_type(text),
        CodeRule::Format => matches!(text, "xml" | "json" | "ttl") || is_media_type(text),
        CodeRule::Language => is_language_tag(text),
        CodeRule::Currency => text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase()),
    };
    if fits {
        return;
    }
    report.add(Code::CodeNotAllowed, |issue| {
        let (allowed, near) = allowed(codes, text);
        issue.fill("codes", allowed).fill("nearest", Nearest(near))
    });
}

/// What would be allowed, and the code that is nearest to `text`.
fn allowed<'c>(codes: &'c Codes, text: &str) -> (String, Option<&'c str>) {
    match &codes.rule {
        CodeRule::Listed(list) => (named(list, codes.name), nearest(text, list.iter().copied())),
        CodeRule::MediaType => ("the media types of BCP 13 (like `application/pdf`)".to_owned(), None),
        CodeRule::Format => ("xml, json, ttl or a media type (like `application/fhir+json`)".to_owned(), None),
        CodeRule::Language => ("the language tags of BCP 47 (like `de-CH`)".to_owned(), None),
        CodeRule::Currency => ("the currency codes of ISO 4217 (like `EUR`)".to_owned(), None),
    }
}

/// `type/subtype` with parameters, well formed (RFC 9110 §8.3.1, white space around `;`).
pub fn is_media_type(text: &str) -> bool {
    let (full, parameters) = text.split_once(';').map_or((text, None), |(full, rest)| (full, Some(rest)));
    let Some((kind, subtype)) = full.trim_end_matches(' ').split_once('/') else { return false };
    is_token(kind) && is_token(subtype) && parameters.is_none_or(are_parameters)
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn are_parameters(text: &str) -> bool {
    let mut rest = text;
    loop {
        let Some((name, value)) = rest.trim_start_matches(' ').split_once('=') else { return false };
        let after = match value.strip_prefix('"') {
            Some(quoted) => after_quoted(quoted),
            None => {
                let end = value.find([';', ' ']).unwrap_or(value.len());
                value.split_at_checked(end).filter(|(value, _)| is_token(value)).map(|(_, after)| after)
            }
        };
        let Some(after) = after.filter(|_| is_token(name)).map(|after| after.trim_start_matches(' ')) else {
            return false;
        };
        match after.strip_prefix(';') {
            Some(next) => rest = next,
            None => return after.is_empty(),
        }
    }
}

/// What follows a quoted string whose opening quote has been taken.
fn after_quoted(text: &str) -> Option<&str> {
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return Some(chars.as_str()),
            '\\' => _ = chars.next()?,
            c if c.is_control() => return None,
            _ => {}
        }
    }
}

/// Tags of RFC 5646 §2.2.8 that do not follow the grammar.
const IRREGULAR: &[&str] = &[
    "en-gb-oed",
    "i-ami",
    "i-bnn",
    "i-default",
    "i-enochian",
    "i-hak",
    "i-klingon",
    "i-lux",
    "i-mingo",
    "i-navajo",
    "i-pwn",
    "i-tao",
    "i-tay",
    "i-tsu",
    "sgn-be-fr",
    "sgn-be-nl",
    "sgn-ch-de",
];

/// A well-formed BCP 47 language tag (RFC 5646 §2.1); registration of its parts is not looked up.
pub fn is_language_tag(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    if IRREGULAR.contains(&lower.as_str()) {
        return true;
    }
    let parts: Vec<&str> = lower.split('-').collect();
    let plain = |part: &&str| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    parts.iter().all(plain) && follows_grammar(&parts)
}

fn follows_grammar(parts: &[&str]) -> bool {
    let alpha = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphabetic());
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let mut rest = parts.iter().copied().peekable();
    match rest.next() {
        Some("x") => return rest.next().is_some(),
        Some(language) if alpha(language) && language.len() >= 2 => {
            let extended = language.len() <= 3;
            for _ in 0..3 {
                _ = rest.next_if(|part| extended && part.len() == 3 && alpha(part));
            }
        }
        _ => return false,
    }
    _ = rest.next_if(|part| part.len() == 4 && alpha(part));
    _ = rest.next_if(|part| (part.len() == 2 && alpha(part)) || (part.len() == 3 && digits(part)));
    let variant = |part: &&str| part.len() >= 5 || (part.len() == 4 && part.starts_with(|c: char| c.is_ascii_digit()));
    while rest.next_if(variant).is_some() {}
    while let Some(singleton) = rest.next() {
        if singleton == "x" {
            return rest.next().is_some();
        }
        if singleton.len() != 1 || rest.next_if(|part| part.len() >= 2).is_none() {
            return false;
        }
        while rest.next_if(|part| part.len() >= 2).is_some() {}
    }
    true
}
