//! clamd's answers (clamd(8), "COMMANDS"), read strictly: only what is known word for word counts, and everything else is no verdict.
//! A second answer, another stream's answer, or one byte too many is such a thing.

use crate::domain::verdict::Finding;

/// No answer of clamd is longer; what is longer is no answer.
pub(super) const LONGEST: usize = 1024;
/// Longest signature name that is kept.
const LONGEST_NAME: usize = 100;

/// What clamd said of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// Exactly `stream: OK`.
    Clean,
    /// A signature, or a limit or a password that clamd is told to report.
    Found(Signature),
    /// `INSTREAM size limit exceeded. ERROR`: it did not look at the whole.
    SizeLimit,
    /// Any other `ERROR`.
    Error,
}

/// The name of what was found: characters of signature names only, bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signature(String);

impl Signature {
    /// Keeps letters, digits and the marks that signature names have; `_` stands for anything else.
    fn new(name: &str) -> Self {
        let known = |c: char| if c.is_ascii_alphanumeric() || "._-+:/(){}".contains(c) { c } else { '_' };
        Self(name.chars().take(LONGEST_NAME).map(known).collect())
    }

    /// Its text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// What it means for the file. `Heuristics.Limits.Exceeded.*` and `Heuristics.Encrypted.*` are clamd's own names
    /// (clamd.conf(5), `AlertExceedsMax`, `AlertEncrypted`); everything else was found.
    pub(super) fn finding(&self) -> Finding {
        let name = self.0.as_str();
        if name.starts_with("Heuristics.Encrypted.") {
            return Finding::Encrypted;
        }
        match name.strip_prefix("Heuristics.Limits.Exceeded") {
            Some(".MaxFileSize" | ".MaxScanSize" | ".MaxScanTime") => Finding::TooLarge,
            Some(_) => Finding::ArchiveBomb,
            None => Finding::Malware,
        }
    }
}

/// The one text of a reply that clamd ends with a NUL (commands that begin with `z`). `None`: not one text of printable ASCII.
pub(super) fn text(reply: &[u8]) -> Option<&str> {
    let (end, body) = reply.split_last()?;
    let plain = *end == 0 && !body.is_empty() && body.len() < LONGEST && body.iter().all(|b| (b' '..=b'~').contains(b));
    if plain { std::str::from_utf8(body).ok() } else { None }
}

/// Reads the whole reply to `INSTREAM`. `None`: no answer that clamd is known for.
pub(super) fn answer(reply: &[u8]) -> Option<Answer> {
    let text = text(reply)?;
    match text {
        "stream: OK" => return Some(Answer::Clean),
        "INSTREAM size limit exceeded. ERROR" => return Some(Answer::SizeLimit),
        _ => {}
    }
    if let Some(name) = text.strip_prefix("stream: ").and_then(|rest| rest.strip_suffix(" FOUND")) {
        return (!name.trim().is_empty()).then(|| Answer::Found(Signature::new(name)));
    }
    text.ends_with(" ERROR").then_some(Answer::Error)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(name: &str) -> Finding {
        match answer(format!("stream: {name} FOUND\0").as_bytes()) {
            Some(Answer::Found(signature)) => signature.finding(),
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn only_the_exact_words_are_clean() {
        assert_eq!(answer(b"stream: OK\0"), Some(Answer::Clean));
        let others: [&[u8]; 18] = [
            b"",
            b"\0",
            b"stream: OK",
            b"stream: OK\n",
            b"stream: OK\0\0",
            b"stream: OK\n\0",
            b"stream: OK \0",
            b" stream: OK\0",
            b"stream: ok\0",
            b"OK\0",
            b"1: stream: OK\0",
            b"2: stream: OK\0",
            b"other: OK\0",
            b"stream: OK\0stream: OK\0",
            b"stream: OK\0stream: X FOUND\0",
            b"stream: X FOUND\nstream: OK\0",
            b"stream: OKAY\0",
            b"stream: \xff OK\0",
        ];
        for reply in others {
            assert_eq!(answer(reply), None, "{:?}", String::from_utf8_lossy(reply));
        }
    }

    /// Answers as clamd 1.4.6 gave them, with `AlertEncrypted yes` and `AlertExceedsMax yes`.
    #[test]
    fn what_clamd_says_is_told_apart() {
        assert_eq!(answer(b"INSTREAM size limit exceeded. ERROR\0"), Some(Answer::SizeLimit));
        assert_eq!(answer(b"stream: Can't allocate memory ERROR\0"), Some(Answer::Error));
        assert_eq!(answer(b"UNKNOWN COMMAND\0"), None);
        assert_eq!(answer(b"stream:  FOUND\0"), None);
        assert_eq!(found("Eicar-Test-Signature.UNOFFICIAL"), Finding::Malware);
        assert_eq!(found("Heuristics.Encrypted.Zip"), Finding::Encrypted);
        assert_eq!(found("Heuristics.Limits.Exceeded.MaxFileSize"), Finding::TooLarge);
        assert_eq!(found("Heuristics.Limits.Exceeded.MaxRecursion"), Finding::ArchiveBomb);
        assert_eq!(found("Heuristics.Phishing.Email"), Finding::Malware);
    }

    #[test]
    fn names_are_bounded_and_of_known_characters() {
        let Some(Answer::Found(name)) = answer(b"stream: a b<\"%OK FOUND\0") else { panic!("not found") };
        assert_eq!(name.as_str(), "a_b___OK");
        let long = format!("stream: {} FOUND\0", "x".repeat(400));
        let Some(Answer::Found(name)) = answer(long.as_bytes()) else { panic!("not found") };
        assert_eq!(name.as_str().len(), LONGEST_NAME);
    }

    proptest! {
        #[test]
        fn nothing_else_is_clean(reply in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(answer(&reply) == Some(Answer::Clean), reply == b"stream: OK\0");
        }

        #[test]
        fn one_altered_byte_is_not_clean(at in 0_usize..11, byte in any::<u8>()) {
            let mut reply = *b"stream: OK\0";
            reply[at] = byte;
            prop_assert_eq!(answer(&reply) == Some(Answer::Clean), &reply == b"stream: OK\0");
        }

        #[test]
        fn what_is_appended_or_put_before_is_not_clean(more in proptest::collection::vec(any::<u8>(), 1..40)) {
            let behind = [b"stream: OK\0".as_slice(), &more].concat();
            let before = [more.as_slice(), b"stream: OK\0"].concat();
            prop_assert_ne!(answer(&behind), Some(Answer::Clean));
            prop_assert_ne!(answer(&before), Some(Answer::Clean));
        }

        #[test]
        fn every_name_is_a_finding(name in "[ -~]{1,60}") {
            let reply = format!("stream: {name} FOUND\0");
            prop_assert_eq!(matches!(answer(reply.as_bytes()), Some(Answer::Found(_))), !name.trim().is_empty());
        }
    }
}
