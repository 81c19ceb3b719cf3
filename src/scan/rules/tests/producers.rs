//! What files of real producers, and attacks built with them, showed (`conformance/real-files`), each as a small sample.

use super::samples::{base64, deflated, gzip, pdf, pe, tar, zip};
use super::{docx, found};
use crate::domain::verdict::Finding;

const ACTIVE: Option<Finding> = Some(Finding::ActiveScript);
const PROGRAM: Option<Finding> = Some(Finding::Executable);
const LOCKED: Option<Finding> = Some(Finding::Encrypted);
const UNREADABLE: Option<Finding> = Some(Finding::Unreadable);

#[test]
fn headers_of_objects_are_found_in_every_spelling_a_viewer_reads() {
    for header in ["7 0 obj", "7 0obj", "7 0%x\nobj", "7 %x\n0 obj"] {
        let hidden = format!("{header}\n<</S /JavaScript /JS (x)>>\nendobj");
        assert_eq!(found("application/pdf", &pdf(&[("<< >>", Some(hidden.as_bytes()))])), ACTIVE, "{header}");
    }
}

#[test]
fn attachments_are_found_behind_filters() {
    let hex = |bytes: &[u8]| [hex::encode(bytes).as_bytes(), b">"].concat();
    for (dictionary, stream, expected) in [
        ("<</Filter /ASCIIHexDecode>>", hex(&pe()), PROGRAM),
        ("<</Filter [/AHx /Fl]>>", hex(&deflated(&pe())), PROGRAM),
        ("<</Filter [/FlateDecode /FlateDecode]>>", deflated(&deflated(&pe())), PROGRAM),
        ("<</Filter 9 0 R>>", deflated(&pe()), PROGRAM),
        // Python: base64.a85encode(b"\x7fELF\x02\x01\x01")
        ("<</Filter /ASCII85Decode>>", b"Imm%#!W`<~>".to_vec(), PROGRAM),
        ("<</Filter /LZWDecode>>", pe(), None),
    ] {
        assert_eq!(found("application/pdf", &pdf(&[(dictionary, Some(&stream))])), expected, "{dictionary}");
    }
    let attached =
        |dictionary| found("application/pdf", &pdf(&[("<</EF <</F 2 0 R>>>>", None), (dictionary, Some(&pe()))]));
    assert_eq!(attached("<</Filter /LZWDecode>>"), UNREADABLE, "it may be what is attached");
    assert_eq!(attached("<</Subtype /Image /Filter /DCTDecode>>"), None);
}

#[test]
fn an_encrypted_pdf_is_called_encrypted_and_not_damaged() {
    let sealed = ("<</Type /ObjStm /N 1 /First 4 /Filter /FlateDecode>>", Some(&b"sealed"[..]));
    assert_eq!(found("application/pdf", &pdf(&[sealed, ("<</Encrypt 5 0 R>>", None)])), LOCKED);
    assert_eq!(found("application/pdf", &pdf(&[sealed])), UNREADABLE);
    assert_eq!(found("application/pdf", &pdf(&[sealed, ("<</JS (x)>>", None)])), ACTIVE, "worse comes later");
}

#[test]
fn an_encrypted_opendocument_is_encrypted() {
    let manifest = b"<?xml version='1.0'?><m:manifest><m:file-entry><m:encryption-data/></m:file-entry></m:manifest>";
    let package = zip(&[("mimetype", b"application/vnd.oasis.opendocument.text"), ("META-INF/manifest.xml", manifest)]);
    assert_eq!(found("application/vnd.oasis.opendocument.text", &package), LOCKED);
}

#[test]
fn tar_archives_without_magic_and_with_long_names() {
    let old = |entries| {
        let mut archive = tar(entries);
        let sum = |block: &[u8]| block.iter().map(|byte| u32::from(*byte)).sum::<u32>();
        let magic = sum(&archive[257..265]);
        let digits = std::str::from_utf8(&archive[148..154]).expect("digits").to_owned();
        let without = u32::from_str_radix(&digits, 8).expect("octal") - magic;
        archive[257..265].fill(0);
        archive[148..154].copy_from_slice(format!("{without:06o}").as_bytes());
        archive
    };
    assert_eq!(found("application/x-tar", &old(&[("a.txt", b"text")])), None);
    assert_eq!(found("application/gzip", &gzip(&old(&[("a.txt", &pe())]))), PROGRAM);
    for (kind, name) in [(b'L', &b"folder/letter.bat\0"[..]), (b'x', b"28 path=folder/letter.bat\n")] {
        let mut archive = tar(&[("x", name), ("folder/letter", b"del x")]);
        archive[156] = kind;
        let digits = std::str::from_utf8(&archive[148..154]).expect("digits").to_owned();
        let sum = u32::from_str_radix(&digits, 8).expect("octal") - u32::from(b'0') + u32::from(kind);
        archive[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
        assert_eq!(found("application/x-tar", &archive), PROGRAM, "{}", char::from(kind));
    }
}

#[test]
fn pages_in_archives_are_read_as_pages_by_their_names() {
    let words = b"Good day <img src=x onerror=alert(1)>";
    assert_eq!(found("application/zip", &zip(&[("page.HTM", words)])), ACTIVE);
    assert_eq!(found("application/zip", &zip(&[("page.svg", b"\n x <script/>")])), ACTIVE);
    assert_eq!(found("application/zip", &zip(&[("page.txt", words)])), None);
    assert_eq!(found("application/zip", &zip(&[("page.html", b"Good day <b>all</b>")])), None);
}

#[test]
fn disk_images_and_notebooks_cannot_be_looked_into() {
    let mut disk = vec![0; 40_000];
    disk[32_769..32_774].copy_from_slice(b"CD001");
    assert_eq!(found("application/octet-stream", &disk), UNREADABLE);
    assert_eq!(found("application/zip", &zip(&[("a.dat", &disk)])), UNREADABLE);
    let note = b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3";
    assert_eq!(found("application/octet-stream", note), UNREADABLE);
}

#[test]
fn documents_within_dicom_objects() {
    let script = pdf(&[("<</S /JavaScript>>", None)]);
    let size = u32::try_from(script.len()).expect("short").to_le_bytes();
    let element = |form: &[u8]| [b"\x42\0\x11\0", form, &size, &script].concat();
    let object = |syntax: &[u8], data: &[u8]| {
        let meta =
            [&b"\x02\0\x10\0UI"[..], &u16::try_from(syntax.len()).expect("short").to_le_bytes(), syntax].concat();
        let length = u32::try_from(meta.len()).expect("short").to_le_bytes();
        [&[0; 128][..], b"DICM\x02\0\0\0UL\x04\0", &length, &meta, data].concat()
    };
    let little = b"1.2.840.10008.1.2.1\0";
    assert_eq!(found("application/dicom", &object(little, &element(b"OB\0\0"))), ACTIVE);
    assert_eq!(found("application/dicom", &object(b"1.2.840.10008.1.2\0", &element(b""))), ACTIVE);
    let packed = deflated(&element(b"OB\0\0"));
    let raw = &packed[2..packed.len() - 4];
    assert_eq!(found("application/dicom", &object(b"1.2.840.10008.1.2.1.99\0", raw)), ACTIVE);
    assert_eq!(found("application/dicom", &object(little, b"\x42\0\x11\0\x13\x99\x22\x01 pixels")), None);
}

#[test]
fn pages_are_read_as_browsers_read_them() {
    for page in [
        "<style><!--</style><script>alert(1)</script>--></style>",
        "<title><!--</title><script>alert(1)</script>--></title>",
        "<textarea><a title='</textarea><img src=x onerror=alert(1)>'></textarea>",
        "<!-- --!><script>alert(1)</script>-->",
        "<![x' ><script>alert(1)</script>'>",
        "<!x \"><script>alert(1)</script>\">",
    ] {
        assert_eq!(found("text/html", format!("<!DOCTYPE html><html>{page}").as_bytes()), ACTIVE, "{page}");
    }
    assert_eq!(found("text/html", b"<!DOCTYPE html '><script>alert(1)</script>'><html>"), ACTIVE);
    assert_eq!(found("text/html", b"<!DOCTYPE html [<!ENTITY x '<script/>'>]><html>"), ACTIVE);
    assert_eq!(found("text/plain", b"<!doctype html><p>Hi"), Some(Finding::TypeMismatch));
    let honest =
        b"<!DOCTYPE html><html><title>CRP &lt; 5</title><style><!-- a>b{} --></style><!-- x --><![if !x]><p>Hi";
    assert_eq!(found("text/html", honest), None);
}

#[test]
fn documents_in_documents_are_still_found() {
    let script = pdf(&[("<</S /JavaScript>>", None)]);
    let cda = format!("<?xml version='1.0'?><ClinicalDocument><text>{}</text></ClinicalDocument>", base64(&script));
    assert_eq!(found("text/xml", cda.as_bytes()), ACTIVE);
    let packed = deflated(&docx(&[("word/vbaProject.bin", b"x")]));
    let attached = pdf(&[("<</Filter /FlateDecode>>", Some(&packed))]);
    assert_eq!(found("application/zip", &zip(&[("a.pdf", &attached)])), Some(Finding::Macro));
}

/// Made with pikepdf 10.18 (qpdf), owner password "o"; the last one also has a password for readers.
#[test]
fn a_pdf_that_opens_without_a_password_is_read_as_its_readers_do() {
    for (file, expected) in [
        (&include_bytes!("locked/rc4-40.pdf")[..], None),
        (include_bytes!("locked/rc4-128.pdf"), None),
        (include_bytes!("locked/aes-128.pdf"), None),
        (include_bytes!("locked/aes-256.pdf"), None),
        (include_bytes!("locked/aes-128-script.pdf"), ACTIVE),
        (include_bytes!("locked/aes-256-script.pdf"), ACTIVE),
        (include_bytes!("locked/password.pdf"), LOCKED),
    ] {
        assert_eq!(found("application/pdf", file), expected);
        let twice = [file, b"\n99 0 obj\n<</Filter /Other /O (x) /U (y)>>\nendobj\n"].concat();
        assert_eq!(
            found("application/pdf", &twice),
            expected.filter(|f| *f == Finding::ActiveScript).or(LOCKED),
            "two keys"
        );
        assert_eq!(found("application/zip", &zip(&[("a.pdf", file)])), LOCKED, "only the file itself is opened");
    }
}
