//! Why a refusal came, where one code has several reasons and what helps differs: a closed list, so that every surface can tell it.

use super::Refusal;

/// A reason beside the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// `link-used` although nobody has the whole file: its length went out twice in parts and attempts (contract, Links, Uses).
    HandedOutTwice,
}

impl Reason {
    /// What happened, as half a sentence behind a message.
    pub fn what(self) -> &'static str {
        match self {
            Self::HandedOutTwice => "its bytes were handed out twice without a whole download",
        }
    }

    /// What helps.
    pub fn cure(self) -> &'static str {
        match self {
            Self::HandedOutTwice => "Ask for a new link.",
        }
    }
}

impl Refusal {
    /// Says why: behind the message, which keeps its words, and in place of the cure.
    #[must_use]
    pub fn with_reason(mut self, reason: Reason) -> Self {
        let first = self.0.first.clone();
        let message = format!("{}: {}.", first.message().trim_end_matches('.'), reason.what());
        self.0.first = first.message_text(message).cure_text(reason.cure());
        self.0.reason = Some(reason);
        self
    }

    /// What [`Refusal::with_reason`] said.
    pub fn reason(&self) -> Option<Reason> {
        self.0.reason
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Code, Issue};
    use super::*;

    #[test]
    fn a_used_link_can_say_that_its_bytes_were_handed_out_twice() {
        let plain = Refusal::new(Issue::new(Code::LinkUsed).fill("uses", 1));
        assert_eq!(plain.reason(), None);
        let told = plain.with_reason(Reason::HandedOutTwice);
        assert_eq!((told.code(), told.status(), told.reason()), (Code::LinkUsed, 410, Some(Reason::HandedOutTwice)));
        // The contract's words: "its bytes were handed out twice without a whole download; ask for a new link".
        let message = "This link has been used as often as it may be (1): its bytes were handed out twice without a whole download.";
        assert_eq!((told.first().message(), told.first().cure()), (message, "Ask for a new link."));
    }
}
