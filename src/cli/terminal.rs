//! The two streams: what was asked for goes to standard output, everything else to standard error; colour only where a person
//! looks. The only file of this room that writes.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::OnceLock;

use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use serde_json::Value;
use zeroize::Zeroizing;

use super::arguments::{Color, Global};
use super::input::{self, INTERRUPT, Typed};
use super::message::{Failure, Tone, one_line};
use super::words::Zone;
use crate::config::Surroundings;
use crate::control::Secret;
use crate::domain::refusal::Issue;
use crate::domain::text::escaped;

/// In whose name a command is given. Shows the id only.
#[derive(Debug, Clone)]
pub(crate) struct Acting {
    /// Operator's id.
    pub(crate) id: String,
    /// What the person gave.
    pub(crate) password: Secret,
}

/// How this invocation talks.
#[derive(Debug, Clone)]
pub(crate) struct Terminal {
    /// `--json`.
    pub(crate) json: bool,
    /// `--quiet`.
    quiet: bool,
    /// Zone of times in words.
    pub(crate) zone: Zone,
    /// Whom `--as` names, once the password was read.
    pub(crate) acting: Option<Acting>,
    /// `--password-stdin`.
    password_stdin: bool,
    watched: bool,
    out_color: bool,
    err_color: bool,
    utf8: bool,
}

impl Terminal {
    /// From flags and surroundings.
    pub(crate) fn new(global: &Global, around: &Surroundings) -> Self {
        let color = |terminal: bool| is_colored(global.color, terminal, around);
        Self {
            json: global.json,
            quiet: global.quiet,
            zone: if global.utc { Zone::Utc } else { Zone::Local },
            acting: None,
            password_stdin: global.password_stdin,
            watched: io::stdout().is_terminal(),
            out_color: color(io::stdout().is_terminal()),
            err_color: color(io::stderr().is_terminal()),
            utf8: around.utf8,
        }
    }

    /// Whether a person reads standard output as it comes.
    pub(crate) fn is_watched(&self) -> bool {
        self.watched
    }

    /// One line of what was asked for.
    pub(crate) fn say(&self, line: &str) {
        // A reader that went away (`| head`) is no failure of the command.
        let _ = writeln!(io::stdout().lock(), "{}", shown(line, self.out_color));
    }

    /// A row of RFC 4180, whose lines end as it says.
    pub(crate) fn say_row(&self, row: &str) {
        let _ = write!(io::stdout().lock(), "{}\r\n", shown(row, self.out_color));
    }

    /// A JSON value of what was asked for, on one line.
    pub(crate) fn say_json(&self, value: &Value) {
        self.say(&value.to_string());
    }

    /// Progress, notes: standard error, nothing with `--quiet`.
    pub(crate) fn tell(&self, line: &str) {
        if !self.quiet {
            let _ = writeln!(io::stderr().lock(), "{}", shown(line, self.err_color));
        }
    }

    /// `warning: what` with its cure.
    pub(crate) fn warn(&self, what: &str, cure: &str) {
        self.tell(&format!("{}: {what}", self.err(Tone::Doubt, "warning")));
        self.cure("cure", cure);
    }

    /// `  = word: text` on standard error.
    pub(crate) fn cure(&self, word: &str, text: &str) {
        self.tell(&format!("  = {}: {text}", self.err(Tone::Help, word)));
    }

    /// An issue of severity warning, as it is.
    pub(crate) fn warn_issue(&self, issue: &Issue) {
        self.tell(super::message::block(issue, &|tone, text| self.err(tone, text)).trim_end());
    }

    /// Tells a failure and answers its exit status.
    pub(crate) fn fail(&self, failure: &Failure) -> u8 {
        if self.json {
            self.say_json(&failure.to_json());
        } else {
            self.complain(&failure.render(&|tone, text| self.err(tone, text)));
        }
        failure.exit
    }

    /// A text with its own line ends, to standard error, also with `--quiet`.
    pub(crate) fn complain(&self, text: &str) {
        let _ = write!(io::stderr().lock(), "{}", shown(text, self.err_color));
    }

    /// Coloured for standard output.
    pub(crate) fn out(&self, tone: Tone, text: &str) -> String {
        paint(self.out_color, tone, text)
    }

    /// Coloured for standard error.
    pub(crate) fn err(&self, tone: Tone, text: &str) -> String {
        paint(self.err_color, tone, text)
    }

    /// The sign of a step that held or did not, in what the locale can show.
    pub(crate) fn sign(&self, held: bool) -> &'static str {
        match (held, self.utf8) {
            (true, true) => "✓",
            (false, true) => "✗",
            (true, false) => "ok",
            (false, false) => "FAILED",
        }
    }

    /// `→`, or `->` where the locale has none.
    pub(crate) fn arrows(&self, text: &str) -> String {
        if self.utf8 { text.to_owned() } else { text.replace('→', "->") }
    }

    /// A password: with `--password-stdin` the next line of standard input, else typed at the terminal, unseen.
    ///
    /// # Errors
    /// `flag-malformed` when there is neither.
    pub(crate) fn password(&self, question: &str) -> Result<Secret, Failure> {
        let at_terminal = io::stdin().is_terminal() && io::stderr().is_terminal();
        if !self.password_stdin && !at_terminal {
            return Err(Failure::flag(
                "--password-stdin",
                "is needed without a terminal",
                "give the password as one line",
            ));
        }
        let line = if self.password_stdin { input::stdin_line() } else { self.ask_unseen(question) };
        match line {
            Some(line) if !line.is_empty() => Ok(Secret::new(line)),
            _ => Err(Failure::flag("--password-stdin", "needs one line", "give the password as one line")),
        }
    }

    /// Asks for a line that is not shown. Ctrl-C ends the command as ever, and the terminal shows again what is typed.
    fn ask_unseen(&self, question: &str) -> Option<Zeroizing<String>> {
        let _ = write!(io::stderr().lock(), "{}: ", shown(question, self.err_color));
        let _ = io::stderr().flush();
        let unseen = Unseen::begin();
        let typed = input::typed_line();
        drop(unseen);
        self.complain("\n");
        match typed {
            Typed::Line(line) => Some(line),
            Typed::Nothing => None,
            Typed::Interrupted => {
                let _ = kill_process(getpid(), Signal::INT);
                None
            }
        }
    }

    /// A new password: typed twice at a terminal, once on standard input.
    ///
    /// # Errors
    /// `flag-malformed` when there is none, or the two differ.
    pub(crate) fn new_password(&self) -> Result<Secret, Failure> {
        let first = self.password("New password")?;
        if self.password_stdin || self.password("The same again")? == first {
            return Ok(first);
        }
        Err(Failure::flag("the second password", "is another", "run it again; nothing was changed"))
    }

    /// Asks a person to type exactly `expected`. `None`: there is no terminal to ask at.
    pub(crate) fn ask(&self, question: &str, expected: &str) -> Option<bool> {
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return None;
        }
        let _ = write!(io::stderr().lock(), "{} ", shown(question, self.err_color));
        let _ = io::stderr().flush();
        let mut answer = String::new();
        let read = io::stdin().lock().read_line(&mut answer);
        let typed = answer.trim().replace(',', "");
        Some(read.is_ok() && typed == expected)
    }
}

/// While it lives, the terminal does not show what is typed.
struct Unseen(Option<Termios>);

impl Unseen {
    fn begin() -> Self {
        let Ok(before) = tcgetattr(io::stdin()) else { return Self(None) };
        let mut quiet = before.clone();
        // Ctrl-C ends the line instead of the process, which would leave the terminal as it is now.
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        quiet.special_codes[SpecialCodeIndex::VEOL] = INTERRUPT;
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &quiet);
        Self(Some(before))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

fn is_colored(wish: Color, terminal: bool, around: &Surroundings) -> bool {
    match wish {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => terminal && !around.no_color && !around.dumb_terminal,
    }
}

/// What begins each colour, behind `ESC [`.
const COLORS: [(Tone, &str); 5] =
    [(Tone::Good, "32m"), (Tone::Bad, "31m"), (Tone::Doubt, "33m"), (Tone::Help, "36m"), (Tone::Dim, "2m")];
/// What ends it.
const PLAIN: &str = "0m";

/// What stands for `ESC [` until a line goes out: by chance for each process, so that no text that was kept can hold it.
fn own() -> &'static str {
    static OWN: OnceLock<String> = OnceLock::new();
    OWN.get_or_init(|| format!("\u{1b}<{:016x}>", RandomState::new().build_hasher().finish()))
}

fn paint(color: bool, tone: Tone, text: &str) -> String {
    let begin = COLORS.iter().find(|(other, _)| *other == tone).map_or(PLAIN, |(_, begin)| begin);
    if color { format!("{0}{begin}{1}{0}{PLAIN}", own(), one_line(text)) } else { text.to_owned() }
}

/// What goes out: lines and tabs as they are, this program's own colours where there are any, and every other control character, wherever
/// a text came from, written out.
fn shown(text: &str, color: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, part) in text.split(own()).enumerate() {
        // Behind each mark stands the rest of a colour.
        out.push_str(if at > 0 && color { "\u{1b}[" } else { "" });
        out.push_str(&escaped(part, |c| matches!(c, '\n' | '\t')));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_for_terminals_that_want_it() {
        let plain = Surroundings { utf8: true, ..Surroundings::default() };
        let no_color = Surroundings { no_color: true, ..plain.clone() };
        let dumb = Surroundings { dumb_terminal: true, ..plain.clone() };
        assert!(is_colored(Color::Auto, true, &plain));
        assert!(!is_colored(Color::Auto, false, &plain));
        assert!(!is_colored(Color::Auto, true, &no_color) && !is_colored(Color::Auto, true, &dumb));
        assert!(is_colored(Color::Always, false, &no_color) && !is_colored(Color::Never, true, &plain));
        assert_eq!(paint(false, Tone::Bad, "error"), "error");
        assert_eq!(shown(&paint(true, Tone::Bad, "error"), true), "\u{1b}[31merror\u{1b}[0m");
    }

    #[test]
    fn a182_what_goes_out_drives_no_terminal_but_by_own_colours() {
        let reason = "lost\u{9b}2J\u{1b}]0;x\u{7}\u{202e}";
        assert_eq!(shown(reason, true), "lost\\u009b2J\\u001b]0;x\\u0007\\u202e");
        let colored = format!("{} {reason}\n", paint(true, Tone::Bad, "error\u{1b}[0m"));
        assert_eq!(
            shown(&colored, true),
            "\u{1b}[31merror\\u001b[0m\u{1b}[0m lost\\u009b2J\\u001b]0;x\\u0007\\u202e\n"
        );
        assert!(!shown(&colored, false).contains('\u{1b}'));
        assert_eq!(
            shown("kept \u{1b}[32mok\u{1b}[0m", true),
            "kept \\u001b[32mok\\u001b[0m",
            "colours of others are none"
        );
    }

    proptest::proptest! {
        #[test]
        fn a_line_of_any_text_holds_no_control(text in proptest::prelude::any::<String>(), color in proptest::bool::ANY) {
            let line = shown(&one_line(&text), color);
            proptest::prop_assert!(crate::domain::text::is_plain(&line), "{line:?}");
        }
    }
}
