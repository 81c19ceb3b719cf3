//! What bytes are, and whether that is what was declared. First bytes say which inspection to run ([`Kind`]); only the
//! whole inspection says what the file is ([`Seen`]), and [`Seen::fits`] is the one table of declared types.

use super::{executable, tape};

/// What the first bytes promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Executable,
    /// The header starts at this offset.
    Pdf(usize),
    Dicom,
    Image(Image),
    Zip,
    Gzip,
    Tar,
    /// Compound file ([MS-CFB]): old Office files, installers.
    Compound,
    /// An archive or disk image that these rules cannot look into.
    Sealed,
    Markup,
    /// Text in UTF-16; `true`: most significant byte first.
    Wide(bool),
    Rtf,
    Text,
    Other,
}

/// Image formats that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Image {
    Png,
    Jpeg,
    Gif,
    Tiff,
    Bmp,
    Webp,
}

/// What a file turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    Pdf,
    Dicom,
    Image(Image),
    Zip(Package),
    Gzip,
    Tar,
    Compound,
    Html,
    Svg,
    /// `true`: with an XML declaration.
    Xml(bool),
    Rtf,
    /// Text; the first byte that is no white space.
    Text(Option<u8>),
    Other,
}

/// Which package a zip archive is, by the entries that make one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Package {
    /// `[Content_Types].xml` (ECMA-376 part 2, 10.1.2.1).
    pub(super) content_types: bool,
    /// An entry in `word/`, `xl/`, `ppt/`.
    pub(super) word: bool,
    pub(super) sheet: bool,
    pub(super) slides: bool,
    /// First entry `mimetype` (OpenDocument part 2, 3.3).
    pub(super) mimetype: bool,
}

/// What starts like this. `head` is as much as can be had of the first [`super::forward::LOOK_AHEAD`] bytes.
pub(super) fn sniff(head: &[u8]) -> Kind {
    if executable::starts(head) {
        return Kind::Executable;
    }
    let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    let pdf = memchr::memmem::find(head.get(..1024).unwrap_or(head), b"%PDF-");
    match pdf {
        Some(0) => return Kind::Pdf(0),
        _ if at(128, b"DICM") => return Kind::Dicom,
        _ if at(0, b"PK\x03\x04") || at(0, b"PK\x05\x06") || at(0, b"PK\x07\x08PK\x03\x04") => return Kind::Zip,
        _ if at(257, b"ustar") || tape::starts(head) => return Kind::Tar,
        _ if at(0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") => return Kind::Compound,
        _ if at(0, b"\x1f\x8b") => return Kind::Gzip,
        _ if is_sealed(head) => return Kind::Sealed,
        // Viewers look for the header within the first 1024 bytes (ISO 32000-1 annex H, note 13).
        Some(offset) => return Kind::Pdf(offset),
        None => {}
    }
    if let Some(image) = image(head) {
        return Kind::Image(image);
    }
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    match (head, text) {
        ([0xff, 0xfe, ..] | [b'<', 0, ..], _) => Kind::Wide(false),
        ([0xfe, 0xff, ..] | [0, b'<', ..], _) => Kind::Wide(true),
        (_, [b'<', next, ..]) if next.is_ascii_alphabetic() || matches!(next, b'!' | b'?' | b'_') => Kind::Markup,
        (_, text) if text.starts_with(b"{\\rt") => Kind::Rtf,
        _ if is_text(head) => Kind::Text,
        _ => Kind::Other,
    }
}

/// Whether bytes may be text: no control characters but those that texts have (white space, escape, the frames and
/// separators of HL7 v2 and the end mark of DOS).
pub(super) fn is_text(bytes: &[u8]) -> bool {
    !bytes.iter().any(|byte| *byte < 8 || (14..26).contains(byte))
}

fn image(head: &[u8]) -> Option<Image> {
    Some(match head {
        [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => Image::Png,
        [0xff, 0xd8, 0xff, ..] => Image::Jpeg,
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Image::Gif,
        [b'I', b'I', b'*' | b'+', 0, ..] | [b'M', b'M', 0, b'*' | b'+', ..] => Image::Tiff,
        // The reserved fields are zero (BITMAPFILEHEADER).
        [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => Image::Bmp,
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Image::Webp,
        _ => return None,
    })
}

/// Archives, disk images and compressed files that cannot be looked into.
fn is_sealed(head: &[u8]) -> bool {
    const MAGICS: [&[u8]; 16] = [
        b"Rar!\x1a\x07",
        b"7z\xbc\xaf\x27\x1c",
        b"\xfd7zXZ\0",
        b"\x28\xb5\x2f\xfd",
        b"\x04\x22\x4d\x18",
        b"MSCF\0\0\0\0",
        b"LZIP\x01",
        b"!<arch>\n",
        b"ALZ\x01",
        b"\x1f\x9d\x90",
        b"xar!",
        b"EGGA",
        b"conectix",
        b"KDMV",
        b"vhdxfile",
        // OneNote sections carry programs that run at a click.
        b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3",
    ];
    let lha = matches!(head, [_, _, b'-', b'l', b'h' | b'z', b'0'..=b'9' | b'd' | b's', b'-', ..]);
    let arj = matches!(head, [0x60, 0xea, _, 0..=0x0a, ..]);
    let bzip2 = matches!(head, [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', b'Y', ..]);
    // ISO 9660 and UDF: the first volume descriptor (ECMA-119, 8.1; ECMA-167, part 2, 9.1).
    let disk = head.get(32_769..32_774).is_some_and(|id| id == b"CD001" || id == b"BEA01");
    lha || arj
        || bzip2
        || disk
        || MAGICS.iter().any(|magic| head.starts_with(magic))
        || infer::get(head).is_some_and(|kind| {
            kind.matcher_type() == infer::MatcherType::Archive
                && kind.mime_type() != "application/pdf"
                && !is_text(head)
        })
}

impl Seen {
    /// Whether a file declared as `declared` (lower case, no parameters) may be this. `head` answers for types that
    /// are in no row: where `infer` is sure of another family, it is no match.
    pub(super) fn fits(self, declared: &str, head: &[u8]) -> bool {
        let package = |test: fn(Package) -> bool| matches!(self, Self::Zip(package) if test(package));
        let text = matches!(self, Self::Text(_) | Self::Xml(false));
        match declared {
            "application/octet-stream" | "binary/octet-stream" => self != Self::Html,
            "application/pdf" => self == Self::Pdf,
            "application/dicom" => self == Self::Dicom,
            "image/png" => self == Self::Image(Image::Png),
            "image/jpeg" | "image/jpg" => self == Self::Image(Image::Jpeg),
            "image/gif" => self == Self::Image(Image::Gif),
            "image/tiff" => self == Self::Image(Image::Tiff),
            "image/bmp" => self == Self::Image(Image::Bmp),
            "image/webp" => self == Self::Image(Image::Webp),
            "image/svg+xml" => self == Self::Svg,
            "text/html" | "application/xhtml+xml" => matches!(self, Self::Html | Self::Xml(_)),
            "text/xml" | "application/xml" => matches!(self, Self::Xml(_) | Self::Svg),
            "application/json" => {
                matches!(self, Self::Text(Some(b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n')))
            }
            "application/rtf" | "text/rtf" => self == Self::Rtf,
            "application/zip" | "application/x-zip-compressed" => matches!(self, Self::Zip(_)),
            "application/gzip" | "application/x-gzip" => self == Self::Gzip,
            "application/x-tar" => self == Self::Tar,
            "application/msword" | "application/vnd.ms-excel" | "application/vnd.ms-powerpoint" => {
                self == Self::Compound
            }
            _ if declared.starts_with("application/vnd.openxmlformats-officedocument.wordprocessingml")
                || declared.starts_with("application/vnd.ms-word.") =>
            {
                package(|p| p.content_types && p.word)
            }
            _ if declared.starts_with("application/vnd.openxmlformats-officedocument.spreadsheetml")
                || declared.starts_with("application/vnd.ms-excel.") =>
            {
                package(|p| p.content_types && p.sheet)
            }
            _ if declared.starts_with("application/vnd.openxmlformats-officedocument.presentationml")
                || declared.starts_with("application/vnd.ms-powerpoint.") =>
            {
                package(|p| p.content_types && p.slides)
            }
            _ if declared.starts_with("application/vnd.oasis.opendocument.") => package(|p| p.mimetype),
            _ if declared.ends_with("+xml") => matches!(self, Self::Xml(_)),
            _ if declared.ends_with("+json") => matches!(self, Self::Text(Some(b'{' | b'['))),
            _ if declared.ends_with("+zip") => matches!(self, Self::Zip(_)),
            _ if declared.starts_with("text/") => text,
            _ => self.fits_unlisted(declared, head),
        }
    }

    fn fits_unlisted(self, declared: &str, head: &[u8]) -> bool {
        use infer::MatcherType as Family;
        if self == Self::Html {
            return false;
        }
        let family = match declared.split('/').next() {
            Some("image") => Family::Image,
            Some("audio") => Family::Audio,
            Some("video") => Family::Video,
            Some("font") => Family::Font,
            _ => return true,
        };
        // One container (ISO base media, Ogg, Matroska) serves sound and moving pictures.
        let moving = |family: Family| matches!(family, Family::Audio | Family::Video);
        let found = infer::get(head).map(|kind| kind.matcher_type());
        let plain = matches!(self, Self::Other | Self::Image(_));
        plain && found.is_none_or(|found| found == family || (moving(found) && moving(family)))
    }
}
