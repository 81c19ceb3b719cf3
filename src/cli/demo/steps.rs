//! One line a step: what was done, how long it took, the standard's word; or what was expected, what was seen, and the cure.

use std::time::Duration;

use serde_json::json;

use super::super::message::Tone;
use super::super::terminal::Terminal;
use super::super::words::span;
use crate::app::Nature;

/// A step that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) expected: String,
    pub(super) saw: String,
}

impl Broken {
    pub(super) fn new(expected: impl Into<String>, saw: impl Into<String>) -> Self {
        Self { expected: expected.into(), saw: saw.into() }
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

    /// Prints a step; the time is that since the step before.
    pub(super) fn told(&mut self, outcome: Result<Held, Broken>) -> Result<(), Broken> {
        let now = self.nature.clock.monotonic();
        let took = now.saturating_sub(self.last);
        self.last = now;
        self.count += 1;
        match &outcome {
            Ok(held) => self.say_held(held, took),
            Err(broken) => self.say_broken(broken),
        }
        outcome.map(drop)
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

    fn say_broken(&self, broken: &Broken) {
        let cure = "look at the log lines in the kept folder; run `daylily demo --json` and report its output";
        if self.terminal.json {
            return self.terminal.say_json(&json!({
                "step": self.count, "held": false, "expected": broken.expected, "saw": broken.saw, "cure": cure,
            }));
        }
        let sign = self.terminal.out(Tone::Bad, self.terminal.sign(false));
        self.terminal.say(&format!("{:2} {sign} this step did not hold", self.count));
        self.terminal.say(&format!("     expected  {}", broken.expected));
        self.terminal.say(&format!("     saw       {}", broken.saw));
        self.terminal.say(&format!("     cure      {cure}"));
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
