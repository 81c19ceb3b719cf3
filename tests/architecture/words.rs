//! What may not be written: calls that panic or bypass a guard, migrations without their way back, and places that exist on
//! one machine only.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::TokenTree;

use crate::source::{Tree, every_level, is_punct};

/// Identifiers that are banned wherever they stand, with the cure. Prefixes count.
const BANNED_WORDS: &[(&str, &str)] = &[
    ("PreEscaped", "maud escapes; text that is put in unescaped is how pages are injected"),
    ("danger_accept_invalid", "certificates are always checked"),
    ("todo", "no stubs"),
    ("unimplemented", "no stubs"),
];

/// Written in pieces, so that this file does not name them itself.
const PLACES: &[(&str, &str)] = &[
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("/.lib", "rary"), "a path of one machine"),
    (concat!("registry.", "npmjs"), "a registry host; clients know theirs"),
    (concat!("registry.", "yarnpkg"), "a registry host; clients know theirs"),
    (concat!("pypi", ".org"), "a registry host; clients know theirs"),
    (concat!("python", "hosted.org"), "a registry host; clients know theirs"),
    (concat!("static.", "crates.io"), "a registry host; clients know theirs"),
    (concat!("index.", "crates.io"), "a registry host; clients know theirs"),
    (concat!("deb.", "debian.org"), "a registry host; clients know theirs"),
];

pub(crate) fn banned_calls(tree: &Tree) -> Vec<String> {
    let mut breaches = Vec::new();
    for file in tree.sources() {
        every_level(&file.tokens(), &mut |run| {
            for (index, token) in run.iter().enumerate() {
                let TokenTree::Ident(word) = token else { continue };
                let before = index.checked_sub(1).and_then(|before| run.get(before));
                let reason = reason_to_ban(&word.to_string(), before, run.get(index + 1));
                if let Some(reason) = reason {
                    breaches.push(format!("{}:{}: {word}: {reason}", file.path, word.span().start().line));
                }
            }
        });
    }
    breaches
}

fn reason_to_ban(word: &str, before: Option<&TokenTree>, after: Option<&TokenTree>) -> Option<&'static str> {
    if panics(word, before, after) {
        return Some("a failure is answered, not a crash");
    }
    if word == "sql_query"
        && matches!(after, Some(TokenTree::Group(group)) if group.stream().to_string().contains("format !"))
    {
        return Some("values are bound, never formatted into SQL");
    }
    if ["todo", "unimplemented"].contains(&word) && !is_punct(after, '!') {
        return None;
    }
    BANNED_WORDS.iter().find(|(banned, _)| word.starts_with(banned)).map(|(_, reason)| *reason)
}

/// `.unwrap()`, `.expect("…")`, and both as paths handed on. Own methods of these names (a vault unwraps keys) take other things.
fn panics(word: &str, before: Option<&TokenTree>, after: Option<&TokenTree>) -> bool {
    let arguments = match after {
        Some(TokenTree::Group(group)) => Some(group.stream().to_string()),
        _ => None,
    };
    match (word, arguments) {
        ("unwrap_unchecked", _) => true,
        ("unwrap", Some(arguments)) => is_punct(before, '.') && arguments.is_empty(),
        ("expect", Some(arguments)) => {
            is_punct(before, '.') && (arguments.starts_with('"') || arguments.contains("format !"))
        }
        ("unwrap" | "expect", None) => is_punct(before, ':'),
        _ => false,
    }
}

/// `migrations/<database>/<stamp>_<name>/{up,down}.sql`, the same names for every database.
pub(crate) fn unpaired_migrations(tree: &Tree) -> Vec<String> {
    let mut scripts: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for file in tree.files() {
        let parts: Vec<&str> = file.path.split('/').collect();
        if let ["migrations", database, name, script] = parts.as_slice() {
            scripts.entry((database, name)).or_default().insert(script);
        }
    }
    let both = BTreeSet::from(["down.sql", "up.sql"]);
    let mut breaches: Vec<String> = scripts
        .iter()
        .filter(|(_, found)| **found != both)
        .map(|((database, name), found)| format!("migrations/{database}/{name} has {found:?}"))
        .collect();
    let databases: BTreeSet<&str> = scripts.keys().map(|(database, _)| *database).collect();
    let names: BTreeSet<&str> = scripts.keys().map(|(_, name)| *name).collect();
    for database in databases {
        let missing = names.iter().filter(|name| !scripts.contains_key(&(database, **name)));
        breaches.extend(missing.map(|name| format!("migrations/{database} lacks {name}")));
    }
    breaches
}

/// `Cargo.lock` names the crate index as cargo itself writes it, and is left out, as is the one of the fuzz targets.
pub(crate) fn places(tree: &Tree) -> Vec<String> {
    let mut breaches = Vec::new();
    for file in tree.files().filter(|file| !["Cargo.lock", "fuzz/Cargo.lock"].contains(&file.path.as_str())) {
        for (number, line) in file.text.lines().enumerate() {
            let named = PLACES.iter().find(|(place, _)| line.contains(place));
            breaches.extend(named.map(|(_, reason)| format!("{}:{}: {reason}", file.path, number + 1)));
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches(rule: fn(&Tree) -> Vec<String>, path: &str, text: &str) -> usize {
        rule(&Tree::of_texts(&[(path, text)])).len()
    }

    #[test]
    fn calls_that_panic_are_found() {
        for text in [
            "fn a() { b.unwrap(); }",
            "fn a() { b.expect(\"c\"); }",
            "fn a() { d.map(Option::unwrap) }",
            "fn a() { log!(b.unwrap()) }",
            "fn a() { todo!() }",
            "fn a() { Client::builder().danger_accept_invalid_certs(true) }",
            "fn a() { maud::PreEscaped(b) }",
            "fn a() { sql_query(format!(\"select {b}\")) }",
            "fn a() { diesel::sql_query(&format!(\"select {b}\")) }",
        ] {
            assert_eq!(breaches(banned_calls, "src/a.rs", text), 1, "{text}");
        }
    }

    #[test]
    fn calls_that_do_not_are_not() {
        for text in [
            "fn a() { b.unwrap_or_default(); }",
            "fn a() { vault.unwrap(file, &key); parser.expect(Token::Comma) }",
            "#[expect(dead_code, reason = \"x\")] fn a() {}",
            "fn a() { sql_query(\"select 1\") }",
            "#[cfg(test)] mod tests { #[test] fn a() { b.unwrap() } }",
            "/// Never `unwrap()`.\nfn a() { \"b.unwrap()\" }",
        ] {
            assert_eq!(breaches(banned_calls, "src/a.rs", text), 0, "{text}");
        }
    }

    #[test]
    fn migrations_without_their_pair_are_found() {
        let found = |files: &[(&str, &str)]| unpaired_migrations(&Tree::of_texts(files)).len();
        assert_eq!(found(&[("migrations/sqlite/1_a/up.sql", ""), ("migrations/sqlite/1_a/down.sql", "")]), 0);
        assert_eq!(found(&[("migrations/sqlite/1_a/up.sql", "")]), 1);
        let two = [
            ("migrations/sqlite/1_a/up.sql", ""),
            ("migrations/sqlite/1_a/down.sql", ""),
            ("migrations/postgres/2_b/up.sql", ""),
            ("migrations/postgres/2_b/down.sql", ""),
        ];
        assert_eq!(found(&two), 2, "each lacks the other's");
    }

    #[test]
    fn places_are_found_in_any_file() {
        for (place, _) in PLACES {
            assert_eq!(breaches(places, "docs/a.md", &format!("see https:/{place}x")), 1, "{place}");
        }
        assert_eq!(breaches(places, "docs/a.md", "see /etc/daylily and crates.io"), 0);
    }
}
