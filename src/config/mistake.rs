//! One mistake in a file that a person wrote, with the line it stands in and what mends it.

use std::fmt::Write;

use crate::domain::refusal::{Code, Issue, Place};
use crate::domain::text::is_control;

/// The most characters of a line that are quoted.
const QUOTED: usize = 160;

/// A mistake in a policy or settings text. Its texts name keys, limits and the file's own words, never a document's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The file as it was given.
    pub file: String,
    /// 1-based.
    pub line: usize,
    /// 1-based, in characters.
    pub column: usize,
    /// How many characters are wrong, at least 1; the caret's width.
    pub width: usize,
    /// The key, with its parents inside the table (`link.lifetime`); empty where no key is to blame.
    pub key: String,
    /// What is wrong: lower case, no full stop.
    pub what: String,
    /// What mends it: lower case, no full stop.
    pub cure: String,
    /// The line, whole.
    pub source_line: String,
}

impl Mistake {
    /// The block that the command line prints (without colour, ends with LF).
    pub fn render(&self) -> String {
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let shown: String = self.source_line.chars().take(QUOTED).map(printable).collect();
        // Tabs stay tabs, so that the caret stands where the terminal puts the character.
        let keep_tab = |c: char| if c == '\t' { '\t' } else { ' ' };
        let indent: String = shown.chars().take(self.column.saturating_sub(1)).map(keep_tab).collect();
        let room = shown.chars().count().saturating_sub(indent.chars().count()).max(1);
        let carets = "^".repeat(self.width.clamp(1, room));
        let mut out = String::new();
        let _ = writeln!(out, "error[{}]: {}", Code::PolicyMistake.name(), self.what);
        let _ = writeln!(out, "{margin}--> {}:{}:{}", self.file, self.line, self.column);
        let _ = writeln!(out, "{margin} |");
        let _ = writeln!(out, "{number} | {shown}");
        let _ = writeln!(out, "{margin} | {indent}{carets}");
        let _ = writeln!(out, "{margin} = cure: {}", self.cure);
        out
    }

    /// The `--json` twin: `line`, `column`, `key`, `message`, `cure`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "line": self.line, "column": self.column, "key": self.key, "message": self.what, "cure": self.cure,
        })
    }

    /// As an issue with code `policy-mistake`.
    pub fn to_issue(&self) -> Issue {
        let place = Place::Line { file: self.file.clone(), line: self.line, column: self.column };
        Issue::new(Code::PolicyMistake)
            .fill("file", &self.file)
            .fill("line", self.line)
            .fill("column", self.column)
            .fill("what", &self.what)
            .fill("cure", &self.cure)
            .place(place)
    }
}

/// Control characters could drive the terminal: a file is quoted, not obeyed.
fn printable(c: char) -> char {
    if is_control(c) && c != '\t' { char::REPLACEMENT_CHARACTER } else { c }
}
