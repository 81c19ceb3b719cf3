//! The tree on disk, read once: every file with its text, the room it stands in, whether it is test code, and, where it is
//! Rust, its tokens without the parts that are compiled for tests only.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// Folders that hold nothing that is committed.
const NOT_OURS: &[&str] = &["target", ".git", "node_modules", ".venv", "__pycache__", "daylily-data"];

/// One file.
#[derive(Debug)]
pub(crate) struct File {
    /// Path from the root of the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// Whether all of it is compiled for tests only.
    pub(crate) is_test: bool,
}

impl File {
    /// The room: the folder or file directly under `src/`.
    pub(crate) fn room(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        let first = inside.split('/').next()?;
        Some(first.strip_suffix(".rs").unwrap_or(first))
    }

    /// How many modules deep this file is: 1 for `src/a.rs` and `src/a/mod.rs`, 2 for `src/a/b.rs`.
    pub(crate) fn depth(&self) -> usize {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let names = inside.split('/').count();
        if inside.ends_with("/mod.rs") { names - 1 } else { names }
    }

    /// Its tokens without items marked `#[cfg(test)]`; none at all for a file of tests.
    pub(crate) fn tokens(&self) -> Vec<TokenTree> {
        if self.is_test {
            return Vec::new();
        }
        let tokens =
            TokenStream::from_str(&self.text).unwrap_or_else(|error| panic!("{} does not lex: {error}", self.path));
        without_tests(tokens)
    }
}

/// All files.
#[derive(Debug)]
pub(crate) struct Tree {
    files: Vec<File>,
}

impl Tree {
    /// The repository that this test was built from.
    pub(crate) fn of_the_crate() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut found = Vec::new();
        walk(root, root, &mut found);
        found.sort();
        Self::of(found)
    }

    /// A made-up tree, to show a rule a breach.
    pub(crate) fn of_texts(files: &[(&str, &str)]) -> Self {
        Self::of(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
    }

    fn of(found: Vec<(String, String)>) -> Self {
        let tests: BTreeSet<String> = found.iter().flat_map(|(path, text)| modules_of_tests(path, text)).collect();
        let is_test = |path: &str| {
            path.starts_with("tests/")
                || tests.iter().any(|stem| {
                    path.strip_prefix(stem.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
                })
        };
        let files = found.into_iter().map(|(path, text)| File { is_test: is_test(&path), path, text }).collect();
        Self { files }
    }

    /// Every text file.
    pub(crate) fn files(&self) -> impl Iterator<Item = &File> {
        self.files.iter()
    }

    /// Rust under `src/`.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.starts_with("src/") && file.path.ends_with(".rs"))
    }

    /// Rust under `src/` and `tests/`.
    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files
            .iter()
            .filter(|file| file.path.ends_with(".rs"))
            .filter(|file| file.path.starts_with("src/") || file.path.starts_with("tests/"))
    }
}

fn walk(root: &Path, folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if NOT_OURS.contains(&name.as_str()) || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            walk(root, &path, found);
        } else if let Ok(text) = fs::read_to_string(&path) {
            let inside = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
            found.push((inside, text));
        }
    }
}

/// Paths without `.rs` of the modules that a file declares as `#[cfg(test)] mod name;`.
fn modules_of_tests(path: &str, text: &str) -> Vec<String> {
    let Some(stem) = path.strip_suffix(".rs").filter(|_| path.starts_with("src/")) else {
        return Vec::new();
    };
    let folder = match stem.rsplit_once('/') {
        Some((folder, "mod" | "lib" | "main")) => folder.to_owned(),
        _ => stem.to_owned(),
    };
    let mut names = Vec::new();
    let mut marked = false;
    for line in text.lines().map(str::trim) {
        let declared = ["mod ", "pub mod ", "pub(crate) mod ", "pub(super) mod "]
            .iter()
            .find_map(|start| line.strip_prefix(start)?.strip_suffix(';'));
        match declared {
            Some(name) if marked => names.push(format!("{folder}/{name}")),
            _ => {}
        }
        marked = is_test_mark(line) || (marked && line.starts_with("#["));
    }
    names
}

fn is_test_mark(line: &str) -> bool {
    line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test")
}

/// Drops what follows `#[cfg(test)]`, up to the end of that item, at every level.
fn without_tests(stream: TokenStream) -> Vec<TokenTree> {
    let mut tokens = stream.into_iter().peekable();
    let mut kept = Vec::new();
    while let Some(token) = tokens.next() {
        let is_mark = matches!(&token, TokenTree::Punct(hash) if hash.as_char() == '#')
            && matches!(tokens.peek(), Some(TokenTree::Group(group)) if marks_tests(group));
        if is_mark {
            skip_item(&mut tokens);
            continue;
        }
        kept.push(match token {
            TokenTree::Group(group) => {
                let inside: TokenStream = without_tests(group.stream()).into_iter().collect();
                let mut cleaned = Group::new(group.delimiter(), inside);
                cleaned.set_span(group.span());
                TokenTree::Group(cleaned)
            }
            other => other,
        });
    }
    kept
}

fn marks_tests(group: &Group) -> bool {
    let text = group.stream().to_string().replace(' ', "");
    group.delimiter() == Delimiter::Bracket
        && (text == "cfg(test)" || text.starts_with("cfg(all(test") || text == "test")
}

/// An item ends with `;` or `,`, or with its braces unless it is one that goes on after them (`use`, `const`, `static`, `let`).
fn skip_item(tokens: &mut impl Iterator<Item = TokenTree>) {
    let mut goes_on = false;
    for token in tokens.by_ref() {
        match &token {
            TokenTree::Ident(word) if ["use", "const", "static", "let"].iter().any(|item| word == item) => {
                goes_on = true
            }
            TokenTree::Ident(word) if word == "fn" => goes_on = false,
            TokenTree::Punct(end) if end.as_char() == ';' => return,
            TokenTree::Group(body) if body.delimiter() == Delimiter::Brace && !goes_on => return,
            _ => {}
        }
    }
}

/// Calls `see` with every run of tokens that share one pair of brackets, the outermost first.
pub(crate) fn every_level(tokens: &[TokenTree], see: &mut dyn FnMut(&[TokenTree])) {
    see(tokens);
    for token in tokens {
        if let TokenTree::Group(group) = token {
            let inside: Vec<TokenTree> = group.stream().into_iter().collect();
            every_level(&inside, see);
        }
    }
}

/// A path written in the source, `use` groups taken apart, and the line it begins on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) parts: Vec<String>,
    pub(crate) line: usize,
}

/// Every path that begins with a word of its own (not the tail of another path, not a method).
pub(crate) fn paths(tokens: &[TokenTree]) -> Vec<Written> {
    let mut found = Vec::new();
    paths_of(tokens, &mut found);
    found
}

fn paths_of(run: &[TokenTree], found: &mut Vec<Written>) {
    let mut at = 0;
    while let Some(token) = run.get(at) {
        at += 1;
        match token {
            // What follows a point is a method or a field.
            TokenTree::Punct(point) if point.as_char() == '.' => {
                at += usize::from(matches!(run.get(at), Some(TokenTree::Ident(_))));
            }
            TokenTree::Ident(word) => {
                let line = word.span().start().line;
                at = follow(run, at, vec![word.to_string()], line, found);
            }
            TokenTree::Group(group) => paths_of(&group.stream().into_iter().collect::<Vec<_>>(), found),
            _ => {}
        }
    }
}

/// Follows `:: word` and `:: { group }` from `at`; answers where the path ended.
fn follow(run: &[TokenTree], mut at: usize, mut parts: Vec<String>, line: usize, found: &mut Vec<Written>) -> usize {
    while is_punct(run.get(at), ':') && is_punct(run.get(at + 1), ':') {
        match run.get(at + 2) {
            Some(TokenTree::Ident(word)) => {
                parts.push(word.to_string());
                at += 3;
            }
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let inside: Vec<TokenTree> = group.stream().into_iter().collect();
                for branch in inside.split(|token| is_punct(Some(token), ',')) {
                    if let Some(TokenTree::Ident(word)) = branch.first() {
                        let mut longer = parts.clone();
                        longer.push(word.to_string());
                        follow(branch, 1, longer, word.span().start().line, found);
                    }
                }
                return at + 3;
            }
            _ => break,
        }
    }
    found.push(Written { parts, line });
    at
}

pub(crate) fn is_punct(token: Option<&TokenTree>, char: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == char)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Vec<String> {
        let tree = Tree::of_texts(&[("src/store/rows.rs", text)]);
        paths(&tree.sources().next().unwrap().tokens()).into_iter().map(|path| path.parts.join("::")).collect()
    }

    #[test]
    fn use_groups_are_taken_apart() {
        assert_eq!(
            written("use crate::{domain::{id::X, clock}, http as web};"),
            ["use", "crate::domain::id::X", "crate::domain::clock", "crate::http"]
        );
    }

    #[test]
    fn paths_in_bodies_macros_and_types_are_seen() {
        assert!(written("fn a() { log!(x = crate::http::y()); }").contains(&"crate::http::y".to_owned()));
        assert!(written("fn a(b: Vec<crate::http::B>) {}").contains(&"crate::http::B".to_owned()));
        assert!(!written("fn a() { self.diesel::<u8>() }").contains(&"diesel".to_owned()));
    }

    #[test]
    fn tests_are_left_out_and_what_follows_them_is_not() {
        let text =
            "#[cfg(test)] use a::{b}; #[cfg(test)] mod tests { fn c() { crate::d::e() } } fn f() { crate::g::h() }";
        let all = written(text).join(" ");
        assert!(!all.contains("crate::d") && !all.contains("a::b"), "{all}");
        assert!(all.contains("crate::g::h"), "{all}");
    }

    #[test]
    fn files_of_tests_are_known_by_their_declaration() {
        let tree = Tree::of_texts(&[
            ("src/blob/mod.rs", "#[cfg(test)]\nmod tests;\nmod seal;"),
            ("src/blob/tests.rs", ""),
            ("src/blob/tests/faults.rs", ""),
            ("src/blob/seal.rs", "#[cfg(test)]\n#[path = \"x\"]\nmod vectors;"),
            ("src/blob/seal/vectors.rs", ""),
        ]);
        let tests: Vec<&str> = tree.sources().filter(|file| file.is_test).map(|file| file.path.as_str()).collect();
        assert_eq!(tests, ["src/blob/tests.rs", "src/blob/tests/faults.rs", "src/blob/seal/vectors.rs"]);
    }

    #[test]
    fn rooms_and_depths() {
        let tree = Tree::of_texts(&[("src/app.rs", ""), ("src/store/mod.rs", ""), ("src/store/sqlite/rows.rs", "")]);
        let seen: Vec<_> = tree.sources().map(|file| (file.room().unwrap_or_default(), file.depth())).collect();
        assert_eq!(seen, [("app", 1), ("store", 1), ("store", 3)]);
    }
}
