//! What goes wrong, in the shape of a command line: `error[code]: what`, the place, the cure, one block each; and the same as
//! JSON. The texts are those of `domain::refusal`; written for HTTP they begin with a capital and end with a full stop, which a
//! terminal does not (docs/errors.md, wording 4).

use serde_json::{Value, json};

use crate::config::Mistake;
use crate::domain::refusal::{Code, Issue, Place, Refusal, Severity};
use crate::domain::text::escaped;

/// A command that did not do what it was asked for: what it says, and its exit status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Everything that is wrong; the first names the code.
    pub(crate) issues: Vec<Issue>,
    /// Exit status.
    pub(crate) exit: u8,
}

impl Failure {
    /// With the exit status of the first issue's code.
    pub(crate) fn new(issues: Vec<Issue>) -> Self {
        let exit = issues.first().map_or(1, |issue| issue.code().entry().exit);
        Self { issues, exit }
    }

    /// Something given was wrong; nothing was touched.
    pub(crate) fn flag(flag: &str, fault: &str, cure: &str) -> Self {
        Issue::new(Code::FlagMalformed).fill("flag", flag).fill("fault", fault).fill("cure", cure).into()
    }

    /// A file that was named cannot be read.
    pub(crate) fn file(flag: &str, why: &str, cure: &str) -> Self {
        Issue::new(Code::FileUnreadable).fill("flag", flag).fill("why", why).fill("cure", cure).into()
    }

    /// A failure with a text of its own, that may pass.
    pub(crate) fn other(code: Code, cure: impl Into<String>) -> Self {
        Issue::new(code).cure_text(cure).into()
    }

    /// With another exit status.
    pub(crate) fn with_exit(mut self, exit: u8) -> Self {
        self.exit = exit;
        self
    }

    /// The blocks for standard error; `paint` colours one piece.
    pub(crate) fn render(&self, paint: &dyn Fn(Tone, &str) -> String) -> String {
        self.issues.iter().map(|issue| block(issue, paint)).collect()
    }

    /// `{"error":{"code","message","cure","place"}}`; with several, `others` beside it.
    pub(crate) fn to_json(&self) -> Value {
        let mut all = self.issues.iter().map(issue_json);
        let first = all.next().unwrap_or(Value::Null);
        let others: Vec<Value> = all.collect();
        if others.is_empty() { json!({ "error": first }) } else { json!({ "error": first, "others": others }) }
    }
}

impl From<Issue> for Failure {
    fn from(issue: Issue) -> Self {
        Self::new(vec![issue])
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.issues().cloned().collect())
    }
}

/// What a piece of text is, for colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// `ok`, `✓`.
    Good,
    /// `error`, `FAIL`, `✗`.
    Bad,
    /// `warning`.
    Doubt,
    /// Cures and commands.
    Help,
    /// The standard's word.
    Dim,
}

/// One block, with its line ends.
pub(crate) fn block(issue: &Issue, paint: &dyn Fn(Tone, &str) -> String) -> String {
    let code = issue.code().name();
    let (tone, word) = match issue.how_bad() {
        Severity::Fatal | Severity::Error => (Tone::Bad, "error"),
        Severity::Warning => (Tone::Doubt, "warning"),
        Severity::Information => (Tone::Dim, "note"),
    };
    let mut out = format!("{}: {}\n", paint(tone, &format!("{word}[{code}]")), said(issue.message()));
    if let Some(place) = place(issue.where_is()) {
        out.push_str(&format!("  --> {place}\n"));
    }
    if !issue.cure().is_empty() {
        out.push_str(&format!("  = {}: {}\n", paint(Tone::Help, "cure"), said(issue.cure())));
    }
    out
}

fn place(place: &Place) -> Option<String> {
    match place {
        Place::None => None,
        Place::Element(path) => Some(path.clone()),
        Place::Http(name) => Some(format!("http.{name}")),
        Place::Form(name) => Some((*name).to_owned()),
        Place::Line { file, line, column } => Some(format!("{file}:{line}:{column}")),
        Place::Flag(flag) => Some(flag.clone()),
    }
}

/// One line of any text: control characters, which could drive the terminal, are written out.
pub(crate) fn one_line(text: &str) -> String {
    escaped(text, |_| false)
}

/// A sentence as the command line writes it.
pub(crate) fn said(sentence: &str) -> String {
    let text = one_line(sentence.strip_suffix('.').unwrap_or(sentence));
    let mut chars = text.chars();
    let first = chars.next();
    // Names keep their capitals (DocumentReference, FHIR): only a word that is otherwise small begins small.
    let word: String = chars.clone().take_while(|c| c.is_alphanumeric()).collect();
    match first {
        Some(first) if first.is_uppercase() && !word.is_empty() && word.chars().all(|c| c.is_lowercase()) => {
            first.to_lowercase().chain(chars).collect()
        }
        Some('A') if text.starts_with("A ") => format!("a{}", chars.as_str()),
        _ => text,
    }
}

/// One issue as JSON.
pub(crate) fn issue_json(issue: &Issue) -> Value {
    json!({
        "code": issue.code().name(),
        "message": said(issue.message()),
        "cure": said(issue.cure()),
        "place": place(issue.where_is()),
    })
}

/// All mistakes of one text as a failure with the exit status given.
pub(crate) fn of_mistakes(mistakes: &[Mistake], exit: u8) -> Failure {
    Failure::new(mistakes.iter().map(Mistake::to_issue).collect()).with_exit(exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(_: Tone, text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn a_block_says_what_where_and_the_cure() {
        let issue = Issue::new(Code::FileUnreadable)
            .fill("flag", "--config")
            .fill("why", "missing")
            .fill("cure", "give the path of a file")
            .place(Place::Flag("--config".to_owned()));
        assert_eq!(
            block(&issue, &plain),
            "error[file-unreadable]: --config names a file that cannot be read: missing\n  --> --config\n  = cure: give the path \
             of a file; nothing was changed\n"
        );
        assert_eq!(Failure::from(issue).exit, 2);
    }

    #[test]
    fn sentences_of_http_become_lines_of_a_terminal() {
        assert_eq!(said("The server is busy or restarting."), "the server is busy or restarting");
        assert_eq!(said("DocumentReference.date is wrong."), "DocumentReference.date is wrong");
        assert_eq!(said("A part that this server needs."), "a part that this server needs");
        assert_eq!(said("`--json` is a flag"), "`--json` is a flag");
        assert_eq!(said("with\u{9b}31m colour\u{202e}"), "with\\u009b31m colour\\u202e");
    }

    #[test]
    fn the_json_twin_has_the_four_members() {
        let failure = Failure::flag("--link", "is read from standard input only", "give `-`");
        let json = failure.to_json();
        assert_eq!(json["error"]["code"], "flag-malformed");
        assert_eq!(json["error"]["message"], "--link is read from standard input only");
        assert_eq!((failure.exit, json["error"]["place"].is_null()), (2, true));
    }
}
