//! Values of search parameters: lists, escapes, tokens, references (FHIR R4 search.html, 3.1.1.4).

use crate::domain::id::ResourceId;
use crate::domain::policy::CodeTest;
use crate::domain::resource::Target;
use crate::fhir::base::Base;
use crate::fhir::tables::ResourceType;

/// Splits at each `at` that no backslash escapes; the pieces keep their escapes.
pub fn split(text: &str, at: char) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (index, c) in text.char_indices() {
        if c == at && !escaped {
            parts.extend(text.get(start..index));
            start = index + c.len_utf8();
        }
        escaped = c == '\\' && !escaped;
    }
    parts.extend(text.get(start..));
    parts
}

/// Takes the backslash from `\,` `\|` `\$` `\\`; any other backslash stands for itself.
pub fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match chars.peek() {
            Some(next) if c == '\\' && matches!(next, ',' | '|' | '$' | '\\') => out.extend(chars.next()),
            _ => out.push(c),
        }
    }
    out
}

/// The alternatives of a value; empty ones are dropped.
pub fn alternatives(value: &str) -> Vec<&str> {
    split(value, ',').into_iter().filter(|part| !part.is_empty()).collect()
}

/// `[system]|[code]`, `[code]`, `[system]|`, `|[code]`.
pub fn token(text: &str) -> Option<CodeTest> {
    let filled = |text: &str| (!text.is_empty()).then(|| unescape(text));
    match split(text, '|').as_slice() {
        [code] => Some(CodeTest { system: None, code: Some(filled(code)?) }),
        [system, code] if !(system.is_empty() && code.is_empty()) => {
            Some(CodeTest { system: Some(unescape(system)), code: filled(code) })
        }
        _ => None,
    }
}

/// The codes of `code` elements, whose system is implied by their binding; a test of another system, or of none, can match
/// nothing and becomes the code that no resource has (the empty one).
pub fn codes(text: &str, system: &str, all: &[&str]) -> Option<Vec<String>> {
    let test = token(text)?;
    Some(match (test.system.as_deref(), test.code) {
        (None, Some(code)) => vec![code],
        (Some(named), Some(code)) if named == system => vec![code],
        (Some(named), None) if named == system => all.iter().map(|code| (*code).to_owned()).collect(),
        _ => vec![String::new()],
    })
}

/// A reference: a bare id (one target for each of `types`), `Type/id`, an absolute URL, a URN.
pub fn reference(text: &str, base: &Base, types: &[&str]) -> Option<Vec<Target>> {
    let text = unescape(text);
    if ResourceId::parse(&text).is_some() {
        return Some(types.iter().map(|kind| Target(format!("{kind}/{text}"))).collect());
    }
    let target = base.target(&text);
    let known = |kind, id| ResourceType::parse(kind).is_some() && ResourceId::parse(id).is_some();
    let local = target.local().is_some_and(|(kind, id)| known(kind, id));
    let absolute = ["http://", "https://", "urn:"].iter().any(|scheme| text.starts_with(scheme));
    (local || absolute).then(|| vec![target])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn escape(text: &str) -> String {
        text.chars().flat_map(|c| if ",|$\\".contains(c) { vec!['\\', c] } else { vec![c] }).collect()
    }

    proptest! {
        #[test]
        fn an_escaped_value_comes_back_whole(system in ".{1,20}", code in ".{1,20}", other in ".{1,20}") {
            let list = format!("{}|{},{}", escape(&system), escape(&code), escape(&other));
            let parts = alternatives(&list);
            prop_assert_eq!(parts.len(), 2);
            prop_assert_eq!(token(parts[0]), Some(CodeTest { system: Some(system), code: Some(code) }));
            prop_assert_eq!(token(parts[1]), Some(CodeTest { system: None, code: Some(other) }));
        }

        #[test]
        fn splitting_loses_nothing(text in ".{0,60}") {
            prop_assert_eq!(split(&text, ',').join(","), text);
        }
    }

    #[test]
    fn the_four_token_forms() {
        let test = |system: Option<&str>, code: Option<&str>| {
            Some(CodeTest { system: system.map(str::to_owned), code: code.map(str::to_owned) })
        };
        assert_eq!(token("a"), test(None, Some("a")));
        assert_eq!(token("s|a"), test(Some("s"), Some("a")));
        assert_eq!(token("|a"), test(Some(""), Some("a")));
        assert_eq!(token("s|"), test(Some("s"), None));
        assert_eq!((token("|"), token(""), token("a|b|c")), (None, None, None));
    }

    #[test]
    fn references_in_every_spelling() {
        let base = Base::new("https://h.example");
        let one = |text: &str| reference(text, &base, &["Patient"]).map(|targets| targets[0].0.clone());
        for text in ["1", "Patient/1", "Patient/1/_history/2", "https://h.example/fhir/Patient/1"] {
            assert_eq!(one(text).as_deref(), Some("Patient/1"), "{text}");
        }
        assert_eq!(one("https://other.example/Patient/1").as_deref(), Some("https://other.example/Patient/1"));
        assert_eq!((one("Patient/"), one("Nothing/1"), one("a b")), (None, None, None));
        assert_eq!(reference("7", &base, &["Patient", "Group"]).unwrap().len(), 2);
    }
}
