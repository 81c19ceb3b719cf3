//! A few lines that the server signs for itself and reads back: what they are, the log they are about, the lines, an empty line, the
//! signature.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::vkey::{SigningKey, VerifyingKey};

/// Signs lines of the kind `head` about the log that the key is named after. A line has no line break in it.
pub fn seal(head: &str, lines: &[String], key: &SigningKey) -> String {
    let mut text = format!("{head}\n{}\n", key.verifying_key().name());
    for line in lines {
        text.extend(line.chars().map(|c| if c == '\n' { ' ' } else { c }));
        text.push('\n');
    }
    let signature = STANDARD.encode(key.signature(text.as_bytes()));
    format!("{text}\n{signature}\n")
}

/// The lines. `None` for anything else: another kind, another log, another key, changed.
pub fn open(head: &str, sealed: &[u8], key: &VerifyingKey) -> Option<Vec<String>> {
    let (text, signature) = std::str::from_utf8(sealed).ok()?.rsplit_once("\n\n")?;
    let (text, line) = (format!("{text}\n"), signature.strip_suffix('\n')?);
    let signature = STANDARD.decode(line).ok()?;
    let mut lines = text.split_terminator('\n');
    let fits = lines.next()? == head && lines.next()? == key.name() && key.verifies(text.as_bytes(), &signature);
    fits.then(|| lines.map(str::to_owned).collect())
}
