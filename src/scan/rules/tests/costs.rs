//! What hostile files cost: nesting, repetition and expansion, in formats whose readers keep a stack (A133, A153). Each runs on a
//! thread with the stack that the server's own threads have; one that overflows takes the whole process with it.

use std::fmt::Write as _;

use super::samples::{deflated, gzip, pdf, zip, zip_stored};
use super::{Finding, Limits, found, verdict_with};

/// A verdict on a thread with the stack of a server's thread (2 MiB, `tokio`'s default).
fn on_a_small_stack(declared: &'static str, bytes: Vec<u8>) -> Option<Finding> {
    let look = move || verdict_with(Limits::default(), declared, &bytes).finding;
    std::thread::Builder::new().stack_size(2 << 20).spawn(look).unwrap().join().unwrap()
}

#[test]
fn a153_object_streams_within_object_streams() {
    let bare = "<</Type /ObjStm /N 1 /First 4>> stream\n".repeat(100_000);
    assert_eq!(on_a_small_stack("application/pdf", pdf(&[(&bare, None)])), Some(Finding::ArchiveBomb));
    let mut nested = b"5 0 <</Type /Page>>".to_vec();
    for _ in 0..300 {
        let inner =
            [b"<</Type /ObjStm /N 1 /First 4 /Filter /FlateDecode>>stream\n".as_slice(), &deflated(&nested)].concat();
        nested = inner;
    }
    let outer = [b"%PDF-1.7\n1 0 obj\n".as_slice(), &nested, b"\nendstream\nendobj\n%%EOF\n"].concat();
    assert_eq!(on_a_small_stack("application/pdf", outer), Some(Finding::ArchiveBomb));
}

#[test]
fn a153_deep_and_long_objects_of_a_pdf() {
    for (object, expected) in [
        ("[".repeat(1_000_000), None),
        ("<<".repeat(1_000_000), None),
        ("(".repeat(1_000_000), None),
        ("<</Kids ".repeat(200_000), None),
        ("<< /Parent 1 0 R /Kids [1 0 R] >>".to_owned(), None),
        (format!("<</Filter [{}]>>", "/FlateDecode ".repeat(500_000)), None),
        (format!("/{}", "#41".repeat(1_000_000)), None),
        ("9".repeat(2_000_000), None),
    ] {
        let file = pdf(&[(&object, None)]);
        let short: String = object.chars().take(20).collect();
        assert_eq!(on_a_small_stack("application/pdf", file), expected, "{short}");
    }
    // Filters upon filters are no honest stream.
    let many = format!("<</Type /EmbeddedFile /Filter [{}]>>", "/FlateDecode ".repeat(1_000));
    assert_eq!(found("application/pdf", &pdf(&[(&many, Some(b"x"))])), Some(Finding::Unreadable));
}

#[test]
fn a153_a_pdf_that_unpacks_to_far_too_much() {
    let zeros = deflated(&vec![0; 34 << 20]);
    let object_stream = "<</Type /ObjStm /N 1 /First 4 /Filter /FlateDecode>>";
    let twice = deflated(&zeros);
    for (dictionary, stream) in [
        (object_stream, &zeros),
        ("<</Type /EmbeddedFile /Filter /FlateDecode>>", &zeros),
        ("<</Type /EmbeddedFile /Filter [/FlateDecode /FlateDecode]>>", &twice),
        ("<</Filter [/FlateDecode /FlateDecode]>>", &twice),
    ] {
        assert_eq!(
            found("application/pdf", &pdf(&[(dictionary, Some(stream))])),
            Some(Finding::ArchiveBomb),
            "{dictionary}"
        );
    }
    let attachment: (&str, Option<&[u8]>) = ("<</Type /EmbeddedFile>>", Some(b"x"));
    let streams = vec![attachment; 10_050];
    assert_eq!(found("application/pdf", &pdf(&streams)), Some(Finding::ArchiveBomb), "too many");
}

#[test]
fn a133_nesting_of_every_kind() {
    let bomb = Some(Finding::ArchiveBomb);
    let mut gzips = b"a letter".to_vec();
    for _ in 0..40 {
        gzips = gzip(&gzips);
    }
    assert_eq!(on_a_small_stack("application/gzip", gzips), bomb);
    let mut mixed = pdf(&[("<</Type /Catalog>>", None)]);
    for level in 0..12 {
        mixed = match level % 3 {
            0 => zip_stored(&[("inner.pdf", &mixed)]),
            1 => gzip(&mixed),
            _ => pdf(&[("<</Type /EmbeddedFile /Filter /FlateDecode>>", Some(&deflated(&mixed)))]),
        };
    }
    let declared = "application/pdf";
    assert!(on_a_small_stack(declared, mixed).is_some_and(|finding| finding == Finding::ArchiveBomb));
    let empties: Vec<(String, &[u8])> = (0..10_001).map(|at| (format!("{at}"), b"".as_slice())).collect();
    let empties: Vec<(&str, &[u8])> = empties.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
    assert_eq!(on_a_small_stack("application/zip", zip(&empties)), bomb, "10,001 entries");
}

#[test]
fn a153_deep_markup_and_entities() {
    let mut deep = String::from("<?xml version='1.0'?>");
    for _ in 0..500_000 {
        deep.push_str("<a>");
    }
    assert_eq!(on_a_small_stack("text/xml", deep.into_bytes()), None, "nothing builds a tree");
    // "Billion laughs": entities are not expanded, and what declares so many is not looked into further.
    let mut laughs = String::from("<!DOCTYPE l [<!ENTITY l0 'ha'>");
    for at in 1..5_000 {
        write!(laughs, "<!ENTITY l{at} '&l{};&l{};'>", at - 1, at - 1).unwrap();
    }
    laughs.push_str("]><l>&l4999;</l>");
    let verdict = on_a_small_stack("text/xml", laughs.into_bytes());
    assert!(matches!(verdict, Some(Finding::Unreadable | Finding::ActiveScript)), "{verdict:?}");
}

#[test]
fn a153_pictures_are_not_unpacked_whatever_their_size() {
    // A PNG that says 100,000 × 100,000 pixels (PNG 11.2.2): no pixel is ever made of it.
    let flood = [
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".as_slice(),
        &100_000_u32.to_be_bytes(),
        &100_000_u32.to_be_bytes(),
        b"\x08\x06\0\0\0",
    ]
    .concat();
    assert_eq!(found("image/png", &flood), None);
    let packed = deflated(&vec![0; 4 << 20]);
    let dictionary = "<</Subtype /Image /Width 100000 /Height 100000 /Filter /FlateDecode>>";
    assert_eq!(found("application/pdf", &pdf(&[(dictionary, Some(&packed))])), None, "stays packed");
}
