//! From file, variables and flags to one value a path: the later source wins, and what no source may say is told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Sources, keys};
use crate::config::source::{Entry, Node, Source, Span};
use crate::domain::refusal::{Code, Issue, Place, is_plain_name, nearest};

/// A value that a source gave.
pub(super) struct Given {
    node: Node,
    /// Where, for issues.
    pub(super) place: Place,
    /// Only a file has types; variables and flags have text.
    typed: bool,
    /// What a relative path starts at.
    folder: PathBuf,
}

impl Given {
    pub(super) fn text(&self) -> Option<&str> {
        self.node.as_text()
    }

    pub(super) fn flag(&self) -> Option<bool> {
        match &self.node {
            Node::Flag(flag) => Some(*flag),
            Node::Text(text) if !self.typed => text.parse().ok(),
            _ => None,
        }
    }

    /// A number, or the text of one: limits have both.
    pub(super) fn number_or_text(&self) -> Option<String> {
        match &self.node {
            Node::Whole(number) => Some(number.to_string()),
            Node::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    /// Whether a number may stand here without quotes only, and does; anything goes where sources have no types.
    pub(super) fn is_number(&self) -> bool {
        !self.typed || matches!(self.node, Node::Whole(_))
    }

    pub(super) fn list(&self) -> Option<Vec<&str>> {
        match &self.node {
            Node::List(items) => items.iter().map(|item| item.node.as_text()).collect(),
            Node::Text(text) if !self.typed && text.trim().is_empty() => Some(Vec::new()),
            Node::Text(text) if !self.typed => Some(text.split(',').map(str::trim).collect()),
            _ => None,
        }
    }

    /// A command: a list of words, or a text of words separated by blanks.
    pub(super) fn words(&self) -> Option<Vec<String>> {
        let words: Vec<&str> = match &self.node {
            Node::Text(text) => text.split_whitespace().collect(),
            _ => self.list()?,
        };
        let owned: Vec<String> = words.into_iter().map(str::to_owned).collect();
        owned.first().is_some_and(|program| !program.is_empty()).then_some(owned)
    }

    pub(super) fn path(&self) -> Option<PathBuf> {
        self.text().filter(|text| !text.is_empty() && !text.contains('\0')).map(|text| self.folder.join(text))
    }
}

/// The last value of each path, and what was wrong on the way.
pub(super) fn gather(sources: &Sources) -> (BTreeMap<String, Given>, Vec<Issue>) {
    let mut gathered = Gathered { given: BTreeMap::new(), issues: Vec::new() };
    if let Some((name, text)) = &sources.file {
        gathered.file(name, text);
    }
    for (name, value) in &sources.environment {
        gathered.variable(name, value);
    }
    for flag in &sources.flags {
        gathered.untyped(flag.setting.to_owned(), &flag.value, Place::Flag(flag.flag.to_owned()));
    }
    (gathered.given, gathered.issues)
}

struct Gathered {
    given: BTreeMap<String, Given>,
    issues: Vec<Issue>,
}

impl Gathered {
    fn file(&mut self, name: &str, text: &str) {
        let source = Source { file: name, text };
        match source.read() {
            Ok(entries) => {
                let folder = Path::new(name).parent().map(Path::to_owned).unwrap_or_default();
                self.table(source, &folder, "", entries);
            }
            Err(mistake) => {
                let place = Place::Line { file: mistake.file, line: mistake.line, column: mistake.column };
                let issue = Issue::new(Code::SettingMalformed).fill("key", "the settings file").fill("shape", "TOML");
                self.issues.push(issue.cure_text(format!("{} ({})", mistake.cure, mistake.what)).place(place));
            }
        }
    }

    fn table(&mut self, source: Source<'_>, folder: &Path, parent: &str, entries: Vec<Entry>) {
        for entry in entries {
            let path = format!("{parent}{}", entry.key);
            let place = place_in(source, &entry.span);
            if entry.key.contains('.') {
                // A quoted key with a dot in it is one key, not a path of two.
                self.issues.push(unknown(parent, "").place(place));
            } else if keys::later(&path).is_some() {
                self.issues.push(not_served(&path).place(place));
            } else if keys::paths().any(|known| known == path) {
                let place = place_in(source, &entry.item.span);
                self.given.insert(path, Given { node: entry.item.node, place, typed: true, folder: folder.to_owned() });
            } else if !is_above(&path) {
                self.issues.push(unknown(parent, &entry.key).place(place));
            } else if let Node::Table(inner) = entry.item.node {
                self.table(source, folder, &format!("{path}."), inner);
            } else {
                let issue = Issue::new(Code::SettingMalformed).fill("key", &path).fill("shape", "a table");
                self.issues.push(issue.cure_text(format!("write it like `[{path}]`")).place(place));
            }
        }
    }

    fn variable(&mut self, name: &str, value: &str) {
        let place = Place::Flag(name.to_owned());
        if let Some(path) = keys::paths().find(|path| keys::variable(path) == name) {
            return self.untyped(path, value, place);
        }
        let below = |later: &&&str| {
            name.strip_prefix(&*keys::variable(later)).is_some_and(|rest| rest.is_empty() || rest.starts_with("__"))
        };
        if let Some(later) = keys::LATER.iter().find(below) {
            return self.issues.push(not_served(later).place(place));
        }
        let known: Vec<String> = keys::paths().map(|path| keys::variable(&path)).collect();
        let cure = match nearest(name, known.iter().map(String::as_str)) {
            Some(near) => format!("use `{near}`, or unset it"),
            None => "unset it; docs/settings.md lists what can be set".to_owned(),
        };
        let issue = Issue::new(Code::SettingUnknown).fill("section", "the environment").fill("key", shown(name));
        self.issues.push(issue.fill("cure", cure).place(place));
    }

    fn untyped(&mut self, path: String, value: &str, place: Place) {
        let node = Node::Text(value.to_owned());
        self.given.insert(path, Given { node, place, typed: false, folder: PathBuf::new() });
    }
}

fn place_in(source: Source<'_>, span: &Span) -> Place {
    let at = source.mistake(span, "", "", "");
    Place::Line { file: at.file, line: at.line, column: at.column }
}

/// Whether some setting lies below this path.
fn is_above(path: &str) -> bool {
    let above = |known: &str| known.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
    keys::paths().any(|known| above(&known)) || keys::LATER.iter().any(|later| above(later))
}

fn shown(name: &str) -> String {
    if is_plain_name(name) { format!("`{name}`") } else { "of this name".to_owned() }
}

/// `parent` ends in a dot, or is empty for the top of the file.
fn unknown(parent: &str, name: &str) -> Issue {
    let mut known: Vec<String> = Vec::new();
    for path in keys::paths() {
        if let Some((next, _)) = path.strip_prefix(parent).map(|rest| rest.split_once('.').unwrap_or((rest, "")))
            && !known.iter().any(|listed| listed == next)
        {
            known.push(next.to_owned());
        }
    }
    let cure = match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("use `{near}`, or remove it"),
        None => "remove it; docs/settings.md lists what can be set".to_owned(),
    };
    let section = match parent.trim_end_matches('.') {
        "" => "the file".to_owned(),
        section => format!("[{section}]"),
    };
    Issue::new(Code::SettingUnknown).fill("section", section).fill("key", shown(name)).fill("cure", cure)
}

/// A setting that a later version will serve.
fn not_served(path: &str) -> Issue {
    let issue = Issue::new(Code::SettingMalformed).fill("key", path);
    issue.fill("shape", "left out: it is not served by this version").cure_text("remove it")
}
