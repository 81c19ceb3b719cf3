//! The walk: looks at the first bytes of something, runs the inspection that fits, and reads the rest. Archives come
//! back here for each of their entries, one level deeper, on the same account.

use std::io::{self, BufRead};

use flate2::bufread::MultiGzDecoder;

use super::forward::{Forward, LOOK_AHEAD};
use super::kind::{self, Kind, Seen};
use super::limits::Place;
use super::wide::Narrow;
use super::{compound, dicom, markup, pdf, tape, zip};
use crate::domain::verdict::Finding;

/// Why an inspection ended before the end.
#[derive(Debug)]
pub(super) enum Stop {
    /// Something was found.
    Found(Finding),
    /// A reader below failed: damage, an overdrawn account, or the storage; the engine tells which.
    Broken,
}

impl From<io::Error> for Stop {
    fn from(_: io::Error) -> Self {
        Self::Broken
    }
}

impl From<Finding> for Stop {
    fn from(finding: Finding) -> Self {
        Self::Found(finding)
    }
}

pub(super) type Outcome<T> = Result<T, Stop>;

/// Inspects everything that `forward` gives, to its end. `declared` is what was said of the file itself; for what is
/// inside an archive only that it would be opened as a page or drawing, by its name.
pub(super) fn inspect(forward: &mut Forward<'_>, declared: Option<&str>) -> Outcome<Seen> {
    let head = forward.peek(LOOK_AHEAD)?;
    let kind = kind::sniff(head);
    // A viewer of the one kind and a viewer of the other would both open it.
    let also_pdf = memchr::memmem::find(head.get(..1024).unwrap_or(head), b"%PDF-").is_some();
    if also_pdf && matches!(kind, Kind::Image(_) | Kind::Markup | Kind::Rtf | Kind::Compound) {
        return Err(Finding::TypeMismatch.into());
    }
    let page = declared.is_some_and(is_page_type);
    let seen = match kind {
        Kind::Executable => return Err(Finding::Executable.into()),
        Kind::Sealed => return Err(Finding::Unreadable.into()),
        Kind::Pdf(offset) => {
            check_before_pdf(head.get(..offset).unwrap_or_default())?;
            pdf::inspect(forward)?;
            Seen::Pdf
        }
        Kind::Zip => zip::inspect(forward).map(Seen::Zip)?,
        Kind::Tar => tape::inspect(forward).map(|()| Seen::Tar)?,
        Kind::Gzip => gzip(forward).map(|()| Seen::Gzip)?,
        Kind::Compound => compound::inspect(forward).map(|()| Seen::Compound)?,
        Kind::Markup => markup::inspect(forward, page)?,
        Kind::Text if declared.is_some_and(is_markup_type) => markup::inspect(forward, page)?,
        Kind::Wide(high_first) => wide(forward, high_first, declared)?,
        Kind::Text => text(forward)?,
        Kind::Rtf => rtf(forward)?,
        Kind::Dicom => dicom::inspect(forward).map(|()| Seen::Dicom)?,
        Kind::Image(image) => Seen::Image(image),
        Kind::Other => Seen::Other,
    };
    forward.drain()?;
    Ok(seen)
}

/// Inspects what a decompressor gives for entry number `entry` of the archive that is being read. `declared`: the media
/// type that a desktop would take it for, by its name.
pub(super) fn entry(number: u64, inside: &mut Forward<'_>, declared: Option<&str>) -> Outcome<Seen> {
    let account = inside.account;
    let outer = account.place.get();
    if outer.level >= account.limits.depth {
        return Err(Finding::ArchiveBomb.into());
    }
    account.place.set(Place { entry: number, level: outer.level.saturating_add(1) });
    account.entry()?;
    let seen = inspect(inside, declared)?;
    account.place.set(outer);
    Ok(seen)
}

fn gzip(forward: &mut Forward<'_>) -> Outcome<()> {
    let account = forward.account;
    let mut decoder = MultiGzDecoder::new(&mut *forward);
    entry(1, &mut Forward::unpacking(account, &mut decoder), None).map(drop)
}

fn is_page_type(declared: &str) -> bool {
    matches!(declared, "text/html" | "application/xhtml+xml")
}

fn is_markup_type(declared: &str) -> bool {
    matches!(declared, "text/html" | "text/xml") || declared.ends_with("xml")
}

/// UTF-16: the markup in it is looked at as any other. Text in it is text when each unit is.
fn wide(forward: &mut Forward<'_>, high_first: bool, declared: Option<&str>) -> Outcome<Seen> {
    let account = forward.account;
    let mut narrow = Narrow::new(forward, high_first);
    let mut inside = Forward::plain(account, &mut narrow);
    let page = declared.is_some_and(is_page_type);
    match kind::sniff(inside.peek(LOOK_AHEAD)?) {
        Kind::Executable => Err(Finding::Executable.into()),
        Kind::Markup => markup::inspect(&mut inside, page),
        Kind::Text if declared.is_some_and(is_markup_type) => markup::inspect(&mut inside, page),
        Kind::Text => text(&mut inside),
        _ => Ok(Seen::Other),
    }
}

/// Text as far as it goes: one byte that no text has makes it something else.
fn text(forward: &mut Forward<'_>) -> Outcome<Seen> {
    let head = forward.peek(LOOK_AHEAD)?;
    let first = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start().first().copied();
    let mut seen = Seen::Text(first);
    loop {
        let ready = forward.fill_buf()?;
        if ready.is_empty() {
            return Ok(seen);
        }
        if !kind::is_text(ready) {
            seen = Seen::Other;
        }
        let count = ready.len();
        forward.consume(count);
    }
}

/// RTF carries foreign objects (`\objdata`, `\objupdate`) that run when it is opened; letters have no need of them.
fn rtf(forward: &mut Forward<'_>) -> Outcome<Seen> {
    let needles = [memchr::memmem::Finder::new(b"\\objdata"), memchr::memmem::Finder::new(b"\\objupdate")];
    loop {
        let window = forward.peek(LOOK_AHEAD)?;
        if needles.iter().any(|needle| needle.find(window).is_some()) {
            return Err(Finding::ActiveScript.into());
        }
        let count = window.len();
        if count < LOOK_AHEAD {
            return Ok(Seen::Rtf);
        }
        // Half a window, so that a word across its border is seen next time.
        forward.consume(count / 2);
    }
}

/// Bytes before the header of a PDF: mail headers and blank lines happen; a second format does not.
fn check_before_pdf(before: &[u8]) -> Outcome<()> {
    let foreign = infer::get(before).is_some() || before.contains(&b'<') || !kind::is_text(before);
    if foreign { Err(Finding::TypeMismatch.into()) } else { Ok(()) }
}
