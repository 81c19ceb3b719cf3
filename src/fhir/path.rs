//! Where a walk over a resource stands, as simple FHIRPath. It becomes text only where something is told: names are the sender's, and
//! copying them at each step would cost their length times the number of elements below them.

use std::fmt::Write as _;

use crate::domain::refusal::is_plain_name;

enum Step<'v> {
    Name(&'v str),
    Item(usize),
}

/// A place in a resource.
pub(super) struct Path<'v>(Vec<Step<'v>>);

impl<'v> Path<'v> {
    /// Outside of everything.
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(16))
    }

    pub(super) fn enter(&mut self, name: &'v str) {
        self.0.push(Step::Name(name));
    }

    pub(super) fn enter_item(&mut self, at: usize) {
        self.0.push(Step::Item(at));
    }

    pub(super) fn leave(&mut self) {
        self.0.pop();
    }

    pub(super) fn is_at_start(&self) -> bool {
        self.0.is_empty()
    }

    /// Simple FHIRPath. A name that does not look like one is not repeated: its parent stands for it.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        for step in &self.0 {
            match step {
                // Writing to a String cannot fail.
                Step::Item(at) => drop(write!(out, "[{at}]")),
                Step::Name(name) if is_plain_name(name) => {
                    if !out.is_empty() {
                        out.push('.');
                    }
                    out.push_str(name);
                }
                Step::Name(_) => break,
            }
        }
        out
    }
}
