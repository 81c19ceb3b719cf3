//! `Content-Disposition` of a file (RFC 6266, RFC 8187): always `attachment`, with a name that is safe on every system a reader
//! may save it on. Nothing of a title reaches the header but letters that cannot end a quoted string, a path or a line.

use std::fmt::Write;

/// Longest name, in bytes of UTF-8: below the 255 that file systems take, with room for a browser's ` (1)`.
const NAME_MOST: usize = 150;

/// Name where no title is left.
const UNNAMED: &str = "document";

/// Extension by media type, where the title has none.
const EXTENSIONS: &[(&str, &str)] = &[
    ("application/pdf", "pdf"),
    ("text/plain", "txt"),
    ("text/xml", "xml"),
    ("application/xml", "xml"),
    ("application/zip", "zip"),
    ("application/dicom", "dcm"),
    ("application/json", "json"),
    ("application/fhir+json", "json"),
    ("application/fhir+xml", "xml"),
    ("image/jpeg", "jpg"),
    ("image/png", "png"),
    ("image/tiff", "tiff"),
    ("text/html", "html"),
    ("text/rtf", "rtf"),
    ("application/rtf", "rtf"),
];

/// The header's value for a file with a title (or none) and a media type without parameters.
pub fn attachment(title: Option<&str>, media_type: &str) -> String {
    let name = file_name(title.unwrap_or_default(), media_type);
    let mut value = format!("attachment; filename=\"{}\"", ascii(&name));
    if !name.is_ascii() {
        value.push_str("; filename*=UTF-8''");
        percent_encode(&name, &mut value);
    }
    value
}

/// A title as a file name.
fn file_name(title: &str, media_type: &str) -> String {
    let kept: String = title.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|c| is_safe(*c)).collect();
    let trimmed = kept.trim_matches(|c| c == ' ' || c == '.');
    let (stem, extension) = split_extension(trimmed, media_type);
    let room = NAME_MOST.saturating_sub(extension.len() + 1);
    let stem = shorten(stem, room).trim_end_matches([' ', '.']);
    let stem = if stem.is_empty() || is_device(stem) { UNNAMED } else { stem };
    if extension.is_empty() { stem.to_owned() } else { format!("{stem}.{extension}") }
}

/// A character that may stand in a name: no control, nothing that turns the direction of writing or has no width, nothing
/// that a file system or a shell takes for more than a letter.
fn is_safe(c: char) -> bool {
    let hidden = matches!(c,
        '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{ffff}' | '\u{e0000}'..='\u{e0fff}');
    !c.is_control() && !hidden && !"/\\\"<>:|?*;%".contains(c)
}

/// Stem and extension; a title's own is kept when it fits the type or the type is not on the list.
fn split_extension<'a>(name: &'a str, media_type: &str) -> (&'a str, &'a str) {
    let known =
        EXTENSIONS.iter().find(|(media, _)| media.eq_ignore_ascii_case(media_type)).map(|(_, extension)| *extension);
    let own = name.rsplit_once('.').filter(|(stem, extension)| {
        !stem.is_empty() && (1..=5).contains(&extension.len()) && extension.bytes().all(|b| b.is_ascii_alphanumeric())
    });
    match (own, known) {
        (Some((stem, own)), Some(known)) if own.eq_ignore_ascii_case(known) => (stem, own),
        (Some((stem, own)), None) => (stem, own),
        // `report.exe` declared as PDF becomes `report.exe.pdf`: what is opened is what was declared and checked.
        (_, Some(known)) => (name, known),
        (None, None) => (name, ""),
    }
}

/// At most `most` bytes, cut between characters.
fn shorten(text: &str, most: usize) -> &str {
    let end = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= most).last().unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

/// Names that Windows takes for devices, with or without extension.
fn is_device(stem: &str) -> bool {
    let first = stem.split('.').next().unwrap_or_default().trim().to_ascii_uppercase();
    let numbered = ["COM", "LPT"].iter().any(|name| {
        first.strip_prefix(name).is_some_and(|rest| rest.len() == 1 && rest.bytes().all(|b| b.is_ascii_digit()))
    });
    numbered || ["CON", "PRN", "AUX", "NUL"].contains(&&*first)
}

/// What readers that know only `filename` see.
fn ascii(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii() { c } else { '_' }).collect()
}

/// RFC 8187 §3.2.1: all but `attr-char` as `%XX` of UTF-8.
fn percent_encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_what_rfc_6266_asks() {
        assert_eq!(
            attachment(Some("Discharge summary"), "application/pdf"),
            "attachment; filename=\"Discharge summary.pdf\""
        );
        // RFC 8187 §3.2.3's character: EURO SIGN is %E2%82%AC.
        assert_eq!(
            attachment(Some("€ rates.pdf"), "application/pdf"),
            "attachment; filename=\"_ rates.pdf\"; filename*=UTF-8''%E2%82%AC%20rates.pdf"
        );
        assert_eq!(attachment(None, "image/png"), "attachment; filename=\"document.png\"");
        assert_eq!(attachment(None, "application/octet-stream"), "attachment; filename=\"document\"");
    }

    #[test]
    fn a141_titles_cannot_leave_the_name() {
        for (title, name) in [
            ("../../etc/passwd", "etcpasswd.pdf"),
            ("a\r\nSet-Cookie: x=1", "a  Set-Cookie x=1.pdf"),
            ("x\"; filename=\"evil.exe", "x filename=evil.exe.pdf"),
            ("invoice\u{202e}fdp.exe", "invoicefdp.exe.pdf"),
            (".htaccess", "htaccess.pdf"),
            ("CON", "document.pdf"),
            ("com1.txt", "document.pdf"),
            ("\u{200b}\u{feff}", "document.pdf"),
            ("report.PDF", "report.PDF"),
        ] {
            assert_eq!(
                attachment(Some(title), "application/pdf"),
                format!("attachment; filename=\"{name}\""),
                "{title:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn a141_the_header_is_one_line_with_two_quotes(title in any::<String>(), media in "(application/pdf|image/png|x/y)") {
            let value = attachment(Some(&title), &media);
            prop_assert!(value.bytes().all(|b| (0x20..0x7f).contains(&b)));
            prop_assert_eq!(value.matches('"').count(), 2);
            prop_assert!(!value.contains('\\') && !value.contains('/'));
            let name = value.split('"').nth(1).unwrap();
            prop_assert!(!name.is_empty() && !name.starts_with('.') && name.len() <= NAME_MOST);
        }

        #[test]
        fn a_file_name_holds_no_hidden_character(title in "[a\u{202a}-\u{202e}\u{2066}-\u{2069}\u{0}-\u{1f}\u{80}-\u{9f}é./]{0,400}") {
            let name = file_name(&title, "application/pdf");
            prop_assert!(name.chars().all(is_safe) && name.len() <= NAME_MOST && name.ends_with(".pdf"));
        }
    }
}
