//! The demo's letter: a valid PDF of an exact length, made here (ISO 32000-1: header, objects, cross-reference table, trailer).

use std::fmt::Write;

/// Bytes of the letter.
pub(super) const LETTER: usize = 284_112;

/// A one-page PDF with some lines of text, of `length` bytes; the rest is a stream that no page shows.
pub(super) fn letter(lines: &[&str], length: usize) -> Vec<u8> {
    let bare = document(lines, 0).len();
    // The number of the padding's length is written twice as long as zero's one digit at most: found by trying.
    let mut padding = length.saturating_sub(bare);
    for _ in 0..8 {
        let made = document(lines, padding);
        if made.len() == length {
            return made.into_bytes();
        }
        padding = (padding + length).saturating_sub(made.len());
    }
    document(lines, padding).into_bytes()
}

fn document(lines: &[&str], padding: usize) -> String {
    let mut content = String::from("BT /F1 12 Tf 72 770 Td 16 TL\n");
    for line in lines {
        let _ = writeln!(content, "({}) Tj T*", line.replace(['(', ')', '\\'], " "));
    }
    content.push_str("ET");
    // A paper's grain: letters that repeat, as a scanned letter's bytes would not be read by anyone.
    let filler: String = "daylily ".chars().cycle().take(padding).collect();
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>"
            .to_owned(),
        format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
        format!("<< /Length {} >>\nstream\n{filler}\nendstream", filler.len()),
    ];
    let mut out = String::from("%PDF-1.4\n");
    let mut places = Vec::new();
    for (at, object) in objects.iter().enumerate() {
        places.push(out.len());
        let _ = write!(out, "{} 0 obj\n{object}\nendobj\n", at + 1);
    }
    let table = out.len();
    let _ = write!(out, "xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for place in &places {
        // With its blank and line end an entry of the table has 20 bytes (ISO 32000-1, 7.5.4).
        let _ = writeln!(out, "{place:010} 00000 n ");
    }
    let _ = write!(out, "trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n", objects.len() + 1);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_letter_has_its_length_and_its_table_points_at_its_objects() {
        let bytes = letter(&["Discharge letter", "All is well (again)."], LETTER);
        assert_eq!(bytes.len(), LETTER);
        let text = String::from_utf8(bytes).unwrap();
        let table: usize = text.rsplit("startxref\n").next().unwrap().lines().next().unwrap().parse().unwrap();
        assert!(text[table..].starts_with("xref\n0 7\n"));
        for (at, line) in text[table..].lines().skip(3).take(6).enumerate() {
            let place: usize = line[..10].parse().unwrap();
            assert!(text[place..].starts_with(&format!("{} 0 obj\n", at + 1)), "{line}");
            assert_eq!(line.len(), 19, "20 bytes with its end");
        }
    }
}
