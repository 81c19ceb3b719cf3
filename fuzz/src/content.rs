//! What files bring along: the scanner's answers and names of files.

use daylily::http::attachment;
use daylily::scan::clamd::{judged, stated_version};

/// Nothing but the one reply is clean; names that are kept are of known characters and bounded.
pub fn clamd(data: &[u8]) {
    let answer = judged(data);
    assert_eq!(answer == Some(None), data == b"stream: OK\0", "something else is clean");
    if let Some(Some(name)) = &answer {
        crate::taken();
        assert!(!name.is_empty() && name.len() <= 100 && name.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    }
    if data.windows(6).any(|part| part == b"FOUND\0") && data.starts_with(b"stream: ") {
        assert_ne!(answer, Some(None));
    }
    if let Some((program, _)) = stated_version(data) {
        assert!(
            (1..=40).contains(&program.len()) && program.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'<')
        );
    }
}

/// `media type LF title`: one header line of an attachment, whose quoted string ends where it should, and whose name is no path, no
/// device and no other type than was declared.
pub fn disposition(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (media_type, title) = text.split_once('\n').unwrap_or(("application/pdf", text));
    let value = attachment(Some(title), media_type);
    crate::taken();
    assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "no header value");
    let rest = value.strip_prefix("attachment; filename=\"").expect("not an attachment");
    let (name, rest) = rest.split_once('"').expect("the name does not end");
    assert!(rest.is_empty() || rest.starts_with("; filename*=UTF-8''"), "something follows the name");
    assert!(!name.is_empty() && name.len() <= 150 && !name.starts_with(['.', ' ']) && !name.ends_with(['.', ' ']));
    assert!(!name.contains(['/', '\\', ':', '*', '?', '<', '>', '|', ';', '%']), "a name that is more than a name");
    let stem = name.split('.').next().unwrap_or_default().trim().to_ascii_uppercase();
    assert!(!["CON", "PRN", "AUX", "NUL", "COM1", "LPT9"].contains(&stem.as_str()), "a device");
    if media_type == "application/pdf" {
        assert!(name.to_ascii_lowercase().ends_with(".pdf"), "another type than was declared");
    }
    if let Some(encoded) = rest.strip_prefix("; filename*=UTF-8''") {
        assert!(encoded.len() <= 450 && !encoded.contains([' ', '"', ';', ',']));
        let decoded: Vec<u8> = percent_decoded(encoded);
        let decoded = String::from_utf8(decoded).expect("a name that is not UTF-8");
        assert_eq!(decoded.chars().map(|c| if c.is_ascii() { c } else { '_' }).collect::<String>(), name);
        assert!(!decoded.chars().any(char::is_control));
    }
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digits = [bytes.next().expect("cut"), bytes.next().expect("cut")];
                let digits = std::str::from_utf8(&digits).expect("no hex");
                out.push(u8::from_str_radix(digits, 16).expect("no hex"));
            }
            other => out.push(other),
        }
    }
    out
}
