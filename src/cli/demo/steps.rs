//! One line a step: what was done, how long it took, the standard's word; or what was expected, what was seen, and the cure.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::message::Tone;
use super::super::terminal::Terminal;
use super::super::words::span;
use crate::app::Nature;
use crate::domain::refusal::Code;

/// A step that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) expected: String,
    pub(super) saw: String,
    cause: Cause,
}

/// What kept a step from holding; what helps goes by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// Something else than was expected.
    Answer,
    /// No answer, or half of one.
    Silence,
    /// Nothing within the time that there is.
    Late,
}

impl Broken {
    /// Something else was seen than was expected.
    pub(super) fn new(expected: impl Into<String>, saw: impl Into<String>) -> Self {
        Self { expected: expected.into(), saw: saw.into(), cause: Cause::Answer }
    }

    /// Nothing was heard, or not all of it.
    pub(super) fn silent(expected: impl Into<String>, saw: impl Into<String>) -> Self {
        Self { cause: Cause::Silence, ..Self::new(expected, saw) }
    }

    /// It did not come in time.
    pub(super) fn late(expected: impl Into<String>, saw: impl Into<String>) -> Self {
        Self { cause: Cause::Late, ..Self::new(expected, saw) }
    }

    /// What to do.
    fn cure(&self) -> &'static str {
        let code = self.saw.split(' ').nth(1).and_then(Code::from_name);
        match (self.cause, code) {
            (_, Some(Code::StorageFull)) => "make room in the folder for temporary files, then run the demo again",
            (Cause::Silence, _) => {
                "see that no proxy or firewall stands between programs on this machine, then run the demo again"
            }
            (Cause::Late, _) | (_, Some(Code::ServerBusy | Code::DependencyUnavailable | Code::RequestTimeout)) => {
                "run the demo again when this machine has less to do"
            }
            (Cause::Answer, _) => {
                "this is a defect: report it with the output of `daylily demo --json` and the kept folder"
            }
        }
    }
}

/// Whether what was seen is what was expected.
pub(super) fn expect(expected: &str, saw: &str) -> Result<(), Broken> {
    if expected == saw { Ok(()) } else { Err(Broken::new(expected, saw)) }
}

/// What a step says when it held: its line, the standard's word, and its name for JSON.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) name: &'static str,
    pub(super) line: String,
    pub(super) word: String,
}

impl Held {
    pub(super) fn new(name: &'static str, line: impl Into<String>, word: impl Into<String>) -> Self {
        Self { name, line: line.into(), word: word.into() }
    }
}

/// Counts, times and prints.
#[derive(Debug)]
pub(super) struct Steps<'a> {
    terminal: &'a Terminal,
    nature: &'a Nature,
    began: Duration,
    last: Duration,
    count: u32,
}

impl<'a> Steps<'a> {
    pub(super) fn new(terminal: &'a Terminal, nature: &'a Nature) -> Self {
        let now = nature.clock.monotonic();
        Self { terminal, nature, began: now, last: now, count: 0 }
    }

    /// Prints a step that held; the time is that since the step before.
    pub(super) fn held(&mut self, held: &Held) {
        let now = self.nature.clock.monotonic();
        let took = now.saturating_sub(self.last);
        self.last = now;
        self.count += 1;
        self.say_held(held, took);
    }

    /// Prints the step that did not hold, which is the last.
    pub(super) fn broken(&mut self, broken: &Broken) {
        self.count += 1;
        if self.terminal.json {
            return self.terminal.say_json(&broken_json(self.count, broken));
        }
        let sign = self.terminal.out(Tone::Bad, self.terminal.sign(false));
        for line in broken_lines(self.count, &sign, broken) {
            self.terminal.say(&line);
        }
    }

    fn say_held(&self, held: &Held, took: Duration) {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        if self.terminal.json {
            let line = json!({ "step": self.count, "name": held.name, "held": true, "ms": millis });
            return self.terminal.say_json(&line);
        }
        let sign = self.terminal.out(Tone::Good, self.terminal.sign(true));
        let line = &held.line;
        let time = span(took);
        let word = self.terminal.out(Tone::Dim, &self.terminal.arrows(&format!("[{}]", held.word)));
        self.terminal.say(&format!("{:2} {sign} {line:76} {time:>7}  {word}", self.count));
    }

    /// The count line.
    pub(super) fn finish(&self, base: &str) {
        let took = self.nature.clock.monotonic().saturating_sub(self.began);
        let count = self.count;
        if self.terminal.json {
            let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            return self.terminal.say_json(&json!({ "steps": count, "held": count, "ms": millis, "base": base }));
        }
        let seconds = format!("{}.{} s", took.as_secs(), took.subsec_millis() / 100);
        self.terminal.say(&format!("\n{count} of {count} steps held, in {seconds}"));
    }
}

fn broken_json(count: u32, broken: &Broken) -> Value {
    json!({ "step": count, "held": false, "expected": broken.expected, "saw": broken.saw, "cure": broken.cure() })
}

fn broken_lines(count: u32, sign: &str, broken: &Broken) -> [String; 4] {
    [
        format!("{count:2} {sign} this step did not hold"),
        format!("     expected  {}", broken.expected),
        format!("     saw       {}", broken.saw),
        format!("     cure      {}", broken.cure()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_did_not_hold_says_what_to_do_that_fits() {
        for (broken, cure) in [
            (Broken::new("201", "507 storage-full"), "make room"),
            (Broken::new("201", "503 server-busy"), "less to do"),
            (Broken::late("ready", "created"), "less to do"),
            (Broken::silent("200", "no answer"), "no proxy or firewall"),
            (Broken::new("410 link-used", "409 link-busy"), "this is a defect: report it"),
            (Broken::new("a signed link", "no link"), "this is a defect: report it"),
        ] {
            assert!(broken.cure().contains(cure), "{broken:?}: {}", broken.cure());
        }
        let broken = expect("410 link-used", "200").unwrap_err();
        let lines = broken_lines(12, "✗", &broken);
        assert_eq!(lines[..3], ["12 ✗ this step did not hold", "     expected  410 link-used", "     saw       200"]);
        assert_eq!(broken_json(12, &broken)["saw"], "200");
    }
}
