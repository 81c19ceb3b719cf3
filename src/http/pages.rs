//! What people read: the page of a refused link and the page of a code. Server-rendered, no script, no font or image, nothing
//! from elsewhere; one style whose digest the content policy names. Texts: house words, chapter 2.1.

use maud::{DOCTYPE, Markup, html};

use crate::config::{Pages, TimeZoneName};
use crate::domain::clock::Timestamp;
use crate::domain::refusal::{Code, Refusal};

/// One column, system fonts, both colour schemes.
const STYLE: &str = include_str!("pages.css");

/// Content policy of pages. The digest is that of `pages.css`; a test compares.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'sha256-EQs3vPOEgN25GcxDXrAn8L2PXlVI4nXsDmmLzDQpsHI='; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// What a page says.
struct Words {
    heading: &'static str,
    text: String,
    next: String,
    again: bool,
}

/// What happened, in a few words; fixed per code, also the `title` of problem+json.
pub(super) fn heading(code: Code) -> &'static str {
    match code {
        Code::LinkExpired => "This link has expired",
        Code::LinkRevoked | Code::ContentRevoked => "This link has been withdrawn",
        Code::LinkInvalid => "This link does not work",
        Code::ContentPurged | Code::ContentExpired => "The document is no longer here",
        Code::ContentQuarantined | Code::ContentDamaged => "The document is not available",
        Code::ContentNotReady => "The document is being checked",
        Code::PathUnknown => "There is no page here",
        Code::RateLimited => "Too many requests",
        code if matches!(code.entry().status, 500 | 503 | 507) => "The document cannot be sent just now",
        _ => "This did not work",
    }
}

/// The page of a refusal. `is_link`: reached by a link, so that texts speak of it.
pub(super) fn refusal(pages: &Pages, refusal: &Refusal, reference: &str, is_link: bool) -> String {
    let words = if is_link { link_words(pages, refusal, reference) } else { plain_words(refusal) };
    let again = words.again.then(|| refusal.retry_after_seconds().unwrap_or(2));
    let body = html! {
        h1 { (words.heading) }
        p { (words.text) }
        p { (words.next) }
        @if words.again { p { a class="button" href="" { "Try again" } } }
    };
    page(
        pages,
        words.heading,
        &body,
        Some((refusal.code(), reference)),
        again.filter(|_| refusal.code() == Code::ContentNotReady),
    )
}

fn plain_words(refusal: &Refusal) -> Words {
    let first = refusal.first();
    Words {
        heading: heading(refusal.code()),
        text: first.message().to_owned(),
        next: first.cure().to_owned(),
        again: false,
    }
}

fn link_words(pages: &Pages, refusal: &Refusal, reference: &str) -> Words {
    let someone = pages.contact.clone().unwrap_or_else(|| "the person or organisation that sent it".to_owned());
    let first = refusal.first();
    let when = moment_of(first.message(), &pages.time_zone);
    let (text, next, again) = match refusal.code() {
        Code::LinkExpired => (
            format!(
                "It worked until {when}. Links stop working after a while to keep documents safe. The document itself may still be available."
            ),
            format!("How to get a new one: ask {someone} for a new link and give this reference: {reference}."),
            false,
        ),
        Code::LinkRevoked | Code::ContentRevoked => (
            format!("Whoever looks after the document stopped it on {when}."),
            format!("Questions: {someone}, reference {reference}."),
            false,
        ),
        Code::LinkInvalid => (
            "Part of it may be missing.".to_owned(),
            "Copy the whole link from the message and try again, or ask for a new one.".to_owned(),
            false,
        ),
        Code::ContentPurged | Code::ContentExpired => (
            format!("It was kept until {when}, as planned, and is no longer available here."),
            format!("Ask {someone} to send it again, or for a copy from their own records."),
            false,
        ),
        Code::ContentQuarantined | Code::ContentDamaged => (
            "It is being held back after a check.".to_owned(),
            format!("Ask {someone}, reference {reference}. There is nothing to do on this device."),
            false,
        ),
        Code::ContentNotReady => {
            ("This usually takes less than a minute.".to_owned(), "This page tries again by itself.".to_owned(), true)
        }
        code if matches!(code.entry().status, 500 | 503 | 507) => (
            "Part of this service is not working at present. Documents are sent only when everything is in order."
                .to_owned(),
            "Nothing was used up.".to_owned(),
            true,
        ),
        _ => return plain_words(refusal),
    };
    Words { heading: heading(refusal.code()), text, next, again }
}

/// The moment that a message names, as people of the zone write it; the table of codes puts it there as a FHIR instant.
fn moment_of(message: &str, zone: &TimeZoneName) -> String {
    let moment = message.split([' ', ',']).find_map(|word| Timestamp::parse(word.trim_end_matches('.')));
    let Some(moment) = moment else { return "an earlier day".to_owned() };
    zone.write(moment)
}

/// The page of a code under `/errors`.
pub(super) fn code(pages: &Pages, code: Code) -> String {
    let entry = code.entry();
    let body = html! {
        h1 { code { (entry.name) } }
        p { (entry.message) }
        h2 { "What helps" }
        p { (entry.cure) }
        @if entry.status != 0 { p { "HTTP status " (entry.status) "." } }
        p { "Words in braces stand for names and limits that the answer itself gives." }
    };
    page(pages, entry.name, &body, None, None)
}

fn page(pages: &Pages, heading: &str, body: &Markup, reference: Option<(Code, &str)>, refresh: Option<u32>) -> String {
    let organisation = pages.organisation.as_deref();
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                @if let Some(seconds) = refresh { meta http-equiv="refresh" content=(seconds.max(2)); }
                title { (heading) @if let Some(organisation) = organisation { " – " (organisation) } }
                // Escaping leaves it as it is: it holds no `<`, `>`, `&` or quote.
                style { (STYLE) }
            }
            body {
                a class="skip" href="#main" { "Skip to the text" }
                main id="main" { (body) }
                footer {
                    @if let Some(organisation) = organisation { p { (organisation) } }
                    @if let Some(contact) = &pages.contact { p { "Help: " (contact) } }
                    @if let Some((code, reference)) = reference {
                        p { "Reference " code { (reference) } " " code { (code.name()) } }
                    }
                }
            }
        }
    };
    markup.into_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::digest::{SHA256, digest};
    use base64::Engine as _;

    use crate::domain::refusal::{ALL, Issue};

    fn settings() -> Pages {
        let mut pages = crate::config::Settings::default_for_data_dir(std::path::Path::new("x")).pages;
        pages.organisation = Some("St. <b>Elsewhere</b>".to_owned());
        pages
    }

    #[test]
    fn the_policy_names_the_style_that_is_sent() {
        let digest = base64::engine::general_purpose::STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
        assert!(POLICY.contains(&format!("'sha256-{digest}'")), "{digest}");
    }

    #[test]
    fn every_page_is_small_has_one_heading_and_no_script() {
        for code in ALL {
            for is_link in [true, false] {
                let text = refusal(&settings(), &Refusal::of(*code), "lk_0123", is_link);
                assert!(text.len() < 15_000 && text.matches("<h1>").count() == 1 && !text.contains("<script"));
                assert!(!text.contains("<b>") && text.contains("St. &lt;b&gt;") && text.contains("lang=\"en\""));
            }
        }
    }

    #[test]
    fn an_expired_link_says_until_when_in_words() {
        let told =
            Refusal::new(Issue::new(Code::LinkExpired).fill("when", Timestamp::parse("2026-11-23T14:02:00Z").unwrap()));
        let text = refusal(&settings(), &told, "abc", true);
        assert!(text.contains("It worked until 23 November 2026 at 14:02 (UTC)."), "{text}");
    }

    #[test]
    fn times_are_of_the_zone_that_the_settings_name() {
        // Summer and winter time of Central Europe: UTC+2 and UTC+1 (Directive 2000/84/EC).
        for (moment, text) in [
            ("2026-11-23T14:02:00Z", "23 November 2026 at 15:02 (CET)"),
            ("2026-07-01T22:30:00Z", "2 July 2026 at 00:30 (CEST)"),
        ] {
            let mut settings = settings();
            settings.time_zone = TimeZoneName::parse("Europe/Berlin").unwrap();
            let told = Refusal::new(Issue::new(Code::LinkExpired).fill("when", Timestamp::parse(moment).unwrap()));
            let page = refusal(&settings, &told, "lk_0123", true);
            assert!(
                page.contains(&format!("It worked until {text}.")) && page.contains("reference: lk_0123"),
                "{page}"
            );
        }
    }
}
