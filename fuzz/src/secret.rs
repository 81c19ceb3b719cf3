//! The demand that no refusal repeats what a caller sent. A DEL byte of the input becomes a word that no text of the server has and that is
//! no name of anything, so that a refusal that holds it has taken it from the input.

use daylily::domain::clock::Entropy;
use daylily::domain::id::RequestId;
use daylily::domain::refusal::Refusal;
use daylily::fhir::outcome;

/// Stands for what a caller would not want to find in a log. The blank and the sign make it no plain name.
pub const WORD: &str = "Zq Kanari#4711";

/// The input with [`WORD`] for each DEL.
pub fn planted(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + 64);
    for byte in data {
        if *byte == 0x7f { out.extend_from_slice(WORD.as_bytes()) } else { out.push(*byte) }
    }
    out
}

/// As [`planted`], for inputs that are text.
pub fn planted_text(data: &[u8]) -> Option<String> {
    String::from_utf8(planted(data)).ok()
}

#[derive(Debug)]
struct Zeros;

impl Entropy for Zeros {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

/// Nothing that a caller is shown holds the word, the refusal's own `Debug` neither, and the answer is one that can be read.
pub fn not_in(refusal: &Refusal) {
    let shown = outcome::of_refusal(refusal, &RequestId::random(&Zeros));
    assert!(serde_json::from_str::<serde_json::Value>(&shown).is_ok(), "an outcome that is no JSON");
    for text in [shown, format!("{refusal:?}")] {
        assert!(!text.contains("Kanari"), "a refusal repeats what was sent");
    }
    assert!((400..600).contains(&refusal.status()));
}
