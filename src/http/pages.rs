//! What people read: the page of a refused link, of a link to be confirmed, and of a code. Server-rendered, no script, no font or
//! image, nothing from elsewhere; one style whose digest the content policy names. Texts: house words, chapter 2.1.

use maud::html;

use crate::config::Pages;
use crate::domain::refusal::{Code, Refusal};

mod confirm;
mod frame;
mod links;

pub(super) use confirm::{confirm, no_cookie};
use frame::Page;
#[cfg(test)]
use frame::STYLE;
use links::{TRIES_MOST, Words};

/// Content policy of pages. The digest is that of `pages.css`; a test compares.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'sha256-jxPB3em6/Yzz0eZo63Wy2ICWJWHBgAIlO43MdapDFfQ='; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The query parameter by which a page that tries again by itself knows for how long it has.
pub(super) const WAITED: &str = "waited";

/// What happened, in a few words; fixed per code, also the `title` of problem+json.
pub(super) fn heading(code: Code) -> &'static str {
    match code {
        Code::LinkExpired => "This link has expired",
        Code::LinkUsed => "This link has already been used",
        Code::LinkRevoked | Code::ContentRevoked => "This link has been withdrawn",
        Code::LinkInvalid => "This link does not work",
        Code::LinkBusy => "A download is already under way",
        Code::LinkWrongNetwork => "This link works only inside one network",
        Code::ContentPurged | Code::ContentExpired => "The document is no longer here",
        Code::ContentQuarantined | Code::ContentDamaged => "The document is not available",
        Code::ContentNotReady => "The document is being checked",
        Code::PathUnknown => "There is no page here",
        Code::LinkPrefetch => "This link has not been opened yet",
        Code::RateLimited => "Too many requests",
        code if matches!(code.entry().status, 500 | 503 | 507) => "The document cannot be sent just now",
        _ => "This did not work",
    }
}

/// Where a refusal is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    /// What to say on the phone: the link's id, or the request's.
    pub(super) reference: &'a str,
    /// Reached by a link, so that texts speak of it.
    pub(super) is_link: bool,
    /// Seconds that the page has been trying by itself.
    pub(super) waited: u32,
}

/// The page of a refusal.
pub(super) fn refusal(pages: &Pages, refusal: &Refusal, reader: Reader<'_>) -> String {
    let Reader { reference, is_link, waited } = reader;
    let words = if is_link { links::words(pages, refusal, reference, waited) } else { plain_words(refusal) };
    let body = html! {
        h1 { (words.heading) }
        (words.text)
        @if words.again { p { a class="button" href="?" { "Try again" } } }
        (words.next)
    };
    let again = words.again && refusal.code() == Code::ContentNotReady && waited < TRIES_MOST;
    let seconds = links::again_after(refusal);
    let refresh = again.then(|| (seconds, format!("?{WAITED}={}", waited.saturating_add(seconds))));
    let reference = Some((reference, Some(refusal.code().name())));
    Page { heading: &words.heading, body, reference, refresh, preview: false }.render(pages)
}

fn plain_words(refusal: &Refusal) -> Words {
    let first = refusal.first();
    Words {
        heading: heading(refusal.code()).into(),
        text: html! { p { (first.message()) } },
        next: html! { p { (first.cure()) } },
        again: false,
    }
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
    Page { heading: entry.name, body, reference: None, refresh: None, preview: false }.render(pages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::digest::{SHA256, digest};
    use base64::Engine as _;

    use crate::domain::refusal::{ALL, Issue, Reason};

    const READER: Reader<'_> = Reader { reference: "lk_0123", is_link: true, waited: 0 };

    /// A page's text without its marks.
    fn plain(page: &str) -> String {
        let body = page.split_once("<main").unwrap().1;
        let mut inside = true;
        let kept = body.chars().filter(|c| {
            let shown = !inside && *c != '<';
            inside = (inside || *c == '<') && *c != '>';
            shown
        });
        kept.collect::<String>().replace("&lt;", "<").replace("&gt;", ">")
    }

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
                let text = refusal(&settings(), &Refusal::of(*code), Reader { is_link, ..READER });
                assert!(text.len() < 15_000 && text.matches("<h1>").count() == 1 && !text.contains("<script"));
                assert!(!text.contains("<b>") && text.contains("St. &lt;b&gt;") && text.contains("lang=\"en\""));
            }
        }
    }

    #[test]
    fn an_expired_link_says_until_when_in_words() {
        let told = Refusal::new(
            Issue::new(Code::LinkExpired)
                .fill("when", crate::domain::clock::Timestamp::parse("2026-11-23T14:02:00Z").unwrap()),
        );
        let text = refusal(&settings(), &told, READER);
        assert!(text.contains("<time datetime=\"2026-11-23T14:02:00"), "{text}");
        assert!(plain(&text).contains("It worked until 23 November 2026 at 14:02 (UTC)."), "{text}");
    }

    #[test]
    fn times_are_of_the_zone_that_the_settings_name() {
        // Summer and winter time of Central Europe: UTC+2 and UTC+1 (Directive 2000/84/EC).
        for (moment, text) in [
            ("2026-11-23T14:02:00Z", "23 November 2026 at 15:02 (CET)"),
            ("2026-07-01T22:30:00Z", "2 July 2026 at 00:30 (CEST)"),
        ] {
            let mut settings = settings();
            settings.time_zone = crate::config::TimeZoneName::parse("Europe/Berlin").unwrap();
            let told = Refusal::new(
                Issue::new(Code::LinkExpired).fill("when", crate::domain::clock::Timestamp::parse(moment).unwrap()),
            );
            let page = refusal(&settings, &told, READER);
            let page = plain(&page);
            assert!(
                page.contains(&format!("It worked until {text}.")) && page.contains("reference: lk_0123"),
                "{page}"
            );
        }
    }

    #[test]
    fn every_case_of_a_link_says_what_the_house_words_say() {
        let at = crate::domain::clock::Timestamp::parse("2026-11-23T14:02:00Z").unwrap();
        let named = |code: Code| Refusal::new(Issue::new(code).fill("when", at).fill("uses", 1).fill("rule", "r"));
        for (told, heading, parts) in [
            (
                named(Code::LinkUsed).with_moment(at),
                "This link has already been used",
                vec![
                    "It was made to be used once, and that was on 23 November 2026 at 14:02 (UTC).",
                    "If that was not you, tell the person or organisation that sent it and give this reference: lk_0123.",
                    "How to get a new one",
                ],
            ),
            (
                named(Code::LinkUsed).with_moment(at).with_reason(Reason::HandedOutTwice),
                "This link has already been used",
                vec![
                    "Its bytes were handed out twice without a whole download.",
                    "Ask the person or organisation that sent it for a new link and give this reference: lk_0123.",
                ],
            ),
            (
                Refusal::of(Code::LinkPrefetch),
                "This link has not been opened yet",
                vec!["A browser or a preview asked for this file ahead of its reader.", "nothing was used up"],
            ),
            (
                named(Code::LinkRevoked),
                "This link has been withdrawn",
                vec!["Whoever looks after the document stopped it on 23 November 2026.", "reference lk_0123."],
            ),
            (Refusal::of(Code::LinkInvalid), "This link does not work", vec!["Part of it may be missing."]),
            (
                Refusal::of(Code::ContentPurged).with_moment(at),
                "The document is no longer here",
                vec!["It was kept until 23 November 2026, as planned, and is no longer available here."],
            ),
            (
                Refusal::of(Code::ContentQuarantined),
                "The document is not available",
                vec!["It is being held back after a check.", "There is nothing to do on this device."],
            ),
            (
                Refusal::of(Code::ContentNotReady).retry_after(4),
                "The document is being checked",
                vec!["This usually takes less than a minute.", "Try again", "by itself every 4 seconds."],
            ),
            (
                Refusal::of(Code::LinkBusy).retry_after(7),
                "A download is already under way",
                vec!["This link works once, and someone is using it now.", "Try again", "after 7 seconds"],
            ),
            (
                Refusal::of(Code::LinkWrongNetwork),
                "This link works only inside St. <b>Elsewhere</b>",
                vec!["It was made for use there.", "for another link."],
            ),
            (
                Refusal::of(Code::AuditUnavailable).with_moment(at),
                "The document cannot be sent just now",
                vec!["Nothing was used up: the link still works until 23 November 2026 at 14:02 (UTC).", "Try again"],
            ),
        ] {
            let page = plain(&refusal(&settings(), &told, READER));
            assert!(page.contains(heading), "{heading}: {page}");
            parts.iter().for_each(|part| assert!(page.contains(part), "{part}: {page}"));
        }
    }

    #[test]
    fn a_page_stops_asking_by_itself_after_ten_minutes_and_says_so() {
        let told = Refusal::of(Code::ContentNotReady).retry_after(5);
        let early = refusal(&settings(), &told, Reader { waited: 595, ..READER });
        assert!(early.contains("http-equiv=\"refresh\" content=\"5; url=?waited=600\""), "{early}");
        let late = refusal(&settings(), &told, Reader { waited: 600, ..READER });
        assert!(!late.contains("http-equiv=\"refresh\"") && late.contains("has stopped trying by itself"), "{late}");
    }
}
