//! The words of a refused link (house words, chapter 2.1). Nothing here names a patient, a sender, a title or a file.

use std::borrow::Cow;

use maud::{Markup, html};

use super::frame::{day, moment, someone};
use super::heading;
use crate::config::Pages;
use crate::domain::clock::Timestamp;
use crate::domain::refusal::{Code, Reason, Refusal};

/// Seconds after which a page that asks again by itself gives up.
pub(super) const TRIES_MOST: u32 = 600;

/// What a page says.
pub(super) struct Words {
    pub(super) heading: Cow<'static, str>,
    pub(super) text: Markup,
    pub(super) next: Markup,
    /// Whether there is a button that asks again.
    pub(super) again: bool,
}

/// Of what a page speaks.
struct Said<'a> {
    pages: &'a Pages,
    refusal: &'a Refusal,
    /// The link's id.
    reference: &'a str,
    /// Seconds that this page has been trying by itself.
    waited: u32,
}

/// The words for a refusal of a link.
pub(super) fn words(pages: &Pages, refusal: &Refusal, reference: &str, waited: u32) -> Words {
    let said = Said { pages, refusal, reference, waited };
    let (text, next) = said.ended().or_else(|| said.not_now()).unwrap_or_else(|| {
        let first = refusal.first();
        (html! { p { (first.message()) } }, html! { p { (first.cure()) } })
    });
    let code = refusal.code();
    let again = matches!(code, Code::ContentNotReady | Code::LinkBusy) || is_unwell(code);
    Words { heading: said.heading(), text, next, again }
}

/// Whether this server, not the link, is the reason.
fn is_unwell(code: Code) -> bool {
    let of_the_link = matches!(code, Code::ContentNotReady | Code::ContentDamaged | Code::LinkPrefetch);
    !of_the_link && matches!(code.entry().status, 500 | 503 | 507)
}

/// The moment that a message names; the table of codes puts it there as a FHIR instant.
fn named_moment(message: &str) -> Option<Timestamp> {
    message.split([' ', ',']).find_map(|word| Timestamp::parse(word.trim_end_matches('.')))
}

/// How often a link may be used, as the message of `link-used` says it.
fn named_uses(message: &str) -> Option<u32> {
    let (_, rest) = message.split_once('(')?;
    rest.split(|c: char| !c.is_ascii_digit()).find_map(|digits| digits.parse().ok())
}

impl Said<'_> {
    fn heading(&self) -> Cow<'static, str> {
        match (self.refusal.code(), &self.pages.organisation) {
            (Code::LinkWrongNetwork, Some(organisation)) => {
                format!("This link works only inside {organisation}").into()
            }
            (code, _) => heading(code).into(),
        }
    }

    fn at(&self) -> Option<Timestamp> {
        self.refusal.moment().or_else(|| named_moment(self.refusal.first().message()))
    }

    fn when(&self) -> Markup {
        self.at().map_or_else(|| html! { "an earlier day" }, |at| moment(self.pages, at))
    }

    fn on_day(&self) -> Markup {
        self.at().map_or_else(|| html! { "an earlier day" }, |at| day(self.pages, at))
    }

    fn how_to_get_another(&self) -> Markup {
        html! {
            h2 { "How to get a new one" }
            p { "Ask " (someone(self.pages)) " for a new link and give this reference: " code { (self.reference) } "." }
        }
    }

    /// Links and documents whose time is over.
    fn ended(&self) -> Option<(Markup, Markup)> {
        let someone = someone(self.pages);
        let reference = html! { code { (self.reference) } };
        Some(match self.refusal.code() {
            Code::LinkExpired => (
                html! { p {
                    "It worked until " (self.when()) ". Links stop working after a while to keep documents safe. "
                    "The document itself may still be available."
                } },
                self.how_to_get_another(),
            ),
            Code::LinkUsed if self.refusal.reason() == Some(Reason::HandedOutTwice) => {
                (html! { p { "Its bytes were handed out twice without a whole download." } }, self.how_to_get_another())
            }
            Code::LinkUsed => (
                html! { p {
                    "It was made to be used " (self.times()) ", and that "
                    @if self.at().is_some() { "was on " (self.when()) } @else { "has happened" }
                    "."
                } },
                html! {
                    p { "If that was not you, tell " (someone) " and give this reference: " (reference) "." }
                    (self.how_to_get_another())
                },
            ),
            Code::LinkRevoked | Code::ContentRevoked => (
                html! { p { "Whoever looks after the document stopped it on " (self.on_day()) "." } },
                html! { p { "Questions: " (someone) ", reference " (reference) "." } },
            ),
            Code::LinkInvalid => (
                html! { p { "Part of it may be missing." } },
                html! { p { "Copy the whole link from the message and try again, or ask for a new one." } },
            ),
            Code::ContentPurged | Code::ContentExpired => (
                html! { p { "It was kept until " (self.on_day()) ", as planned, and is no longer available here." } },
                html! { p { "Ask " (someone) " to send it again, or for a copy from their own records." } },
            ),
            Code::ContentQuarantined | Code::ContentDamaged => (
                html! { p { "It is being held back after a check." } },
                html! { p { "Ask " (someone) ", reference " (reference) ". There is nothing to do on this device." } },
            ),
            _ => return None,
        })
    }

    /// What may work another time, or elsewhere.
    fn not_now(&self) -> Option<(Markup, Markup)> {
        let seconds = again_after(self.refusal);
        Some(match self.refusal.code() {
            Code::ContentNotReady => (
                html! { p { "This usually takes less than a minute." } },
                html! { p {
                    @if self.waited < TRIES_MOST { "This page tries by itself every " (spoken(seconds)) "." }
                    @else { "This page has stopped trying by itself after 10 minutes." }
                } },
            ),
            Code::LinkBusy => (
                html! { p {
                    "This link works once, and someone is using it now. If that is this device, look at the running downloads."
                } },
                html! { p { "Try again after " (spoken(seconds)) "." } },
            ),
            Code::LinkWrongNetwork => (
                html! { p { "It was made for use there." } },
                html! { p { "Open it from there, or ask " (someone(self.pages)) " for another link." } },
            ),
            code if is_unwell(code) => (
                html! { p {
                    "Part of this service is not working at present. Documents are sent only when everything is in order."
                } },
                html! { p {
                    "Nothing was used up"
                    @if let Some(until) = self.refusal.moment() { ": the link still works until " (moment(self.pages, until)) }
                    "."
                } },
            ),
            _ => return None,
        })
    }

    fn times(&self) -> String {
        match named_uses(self.refusal.first().message()) {
            Some(times) if times > 1 => format!("{times} times"),
            _ => "once".to_owned(),
        }
    }
}

/// Seconds after which to ask again, as the page says it and does it.
pub(super) fn again_after(refusal: &Refusal) -> u32 {
    refusal.retry_after_seconds().unwrap_or(2).max(2)
}

fn spoken(seconds: u32) -> String {
    format!("{seconds} seconds")
}
