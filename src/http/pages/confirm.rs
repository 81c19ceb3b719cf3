//! The page of a link that a person confirms: what will be downloaded, and the button. Nothing of the patient, no title, no file name.

use maud::{Markup, html};

use super::frame::{Page, moment};
use crate::config::Pages;
use crate::http::ports::Confirm;

const HEADING: &str = "A document is ready to download";
const NO_COOKIE: &str = "Downloading needs a cookie";

/// The page.
pub(in crate::http) fn confirm(pages: &Pages, facts: &Confirm) -> String {
    let body = html! {
        h1 { (HEADING) }
        (list(pages, facts))
        (button(facts))
        p {
            "Opening this page uses nothing up. If the download stops, press Download again. The document is saved on this "
            "device; delete it there when it is no longer needed, above all on a shared one."
        }
    };
    page(HEADING, body, facts).render(pages)
}

/// The page after the button was pressed without the page's cookie.
pub(in crate::http) fn no_cookie(pages: &Pages, facts: &Confirm) -> String {
    let body = html! {
        h1 { (NO_COOKIE) }
        p { "Allow cookies for this page for one minute, then press Download again." }
        (button(facts))
    };
    page(NO_COOKIE, body, facts).render(pages)
}

fn page<'a>(heading: &'a str, body: Markup, facts: &'a Confirm) -> Page<'a> {
    Page { heading, body, reference: Some((facts.link.as_str(), None)), refresh: None, preview: heading == HEADING }
}

fn list(pages: &Pages, facts: &Confirm) -> Markup {
    let works = match facts.uses_left {
        None => "until then".to_owned(),
        Some(1) => "once".to_owned(),
        Some(uses) => format!("{uses} more times"),
    };
    html! {
        dl {
            @if let Some(organisation) = &pages.organisation { div { dt { "From" } dd { (organisation) } } }
            div { dt { "Kind" } dd { (kind(&facts.media_type)) } }
            div { dt { "Size" } dd { (size(facts.size)) } }
            div { dt { "Available until" } dd { (moment(pages, facts.until)) } }
            div { dt { "This link works" } dd { (works) } }
        }
    }
}

fn button(facts: &Confirm) -> Markup {
    let spoken = format!("Download {}, {}", kind(&facts.media_type), size(facts.size));
    html! { form method="post" { button type="submit" aria-label=(spoken) { "Download" } } }
}

/// What people call a media type.
fn kind(media_type: &str) -> &'static str {
    match media_type {
        "application/pdf" => "PDF",
        "image/jpeg" => "JPEG image",
        "image/png" => "PNG image",
        "image/tiff" => "TIFF image",
        "application/dicom" => "DICOM image",
        "application/xml" | "text/xml" | "application/hl7-v3+xml" | "application/hl7-cda+xml" => "XML document",
        "application/rtf" | "text/rtf" => "RTF document",
        "application/msword" | "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => {
            "Word document"
        }
        "application/zip" => "ZIP archive",
        kind if kind.starts_with("image/") => "image",
        kind if kind.starts_with("text/") => "text",
        _ => "file",
    }
}

/// A size in decimal units, as `284 KB` and `1.2 GB`.
fn size(bytes: u64) -> String {
    let units = [("GB", 1_000_000_000_u64), ("MB", 1_000_000), ("KB", 1_000)];
    let Some((unit, one)) = units.into_iter().find(|(_, one)| bytes >= *one) else { return format!("{bytes} bytes") };
    let (whole, tenth) = (bytes / one, bytes % one * 10 / one);
    if whole < 10 && tenth > 0 { format!("{whole}.{tenth} {unit}") } else { format!("{whole} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Timestamp;

    fn settings() -> Pages {
        let mut pages = crate::config::Settings::default_for_data_dir(std::path::Path::new("x")).pages;
        pages.organisation = Some("St. <b>Elsewhere</b>".to_owned());
        pages
    }

    fn facts(uses_left: Option<u32>) -> Confirm {
        let until = Timestamp::parse("2026-11-23T14:02:00Z").unwrap();
        Confirm {
            media_type: "application/pdf".to_owned(),
            size: 284_900,
            until,
            uses_left,
            spent: None,
            link: crate::domain::link::id_of("x"),
            cookie: String::new(),
        }
    }

    #[test]
    fn the_page_says_what_will_be_downloaded_and_the_preview_says_less() {
        let page = confirm(&settings(), &facts(Some(1)));
        for part in [
            "<h1>A document is ready to download</h1>",
            "<title>A document is ready to download</title>",
            "property=\"og:title\" content=\"A document is ready to download\"",
            "content=\"noindex\"",
            "<dt>From</dt><dd>St. &lt;b&gt;Elsewhere&lt;/b&gt;</dd>",
            "<dt>Kind</dt><dd>PDF</dd>",
            "<dt>Size</dt><dd>284 KB</dd>",
            "23 November 2026 at 14:02",
            "<dt>This link works</dt><dd>once</dd>",
            "aria-label=\"Download PDF, 284 KB\">Download</button>",
            "Opening this page uses nothing up.",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("<script") && !page.contains("og:description") && page.len() < 15_000);
        assert!(confirm(&settings(), &facts(Some(3))).contains("<dd>3 more times</dd>"));
        assert!(confirm(&settings(), &facts(None)).contains("<dd>until then</dd>"));
    }

    #[test]
    fn without_a_cookie_the_page_says_what_to_do() {
        let page = no_cookie(&settings(), &facts(None));
        assert!(page.contains("<h1>Downloading needs a cookie</h1>") && page.contains("then press Download again."));
    }

    #[test]
    fn sizes_are_decimal() {
        for (bytes, text) in
            [(0, "0 bytes"), (999, "999 bytes"), (1_000, "1 KB"), (284_900, "284 KB"), (1_250_000_000, "1.2 GB")]
        {
            assert_eq!(size(bytes), text);
        }
    }
}
