//! What every page has: head, one column, footer. No page's own words.

use maud::{DOCTYPE, Markup, html};

use crate::config::Pages;
use crate::domain::clock::Timestamp;

/// One column, system fonts, both colour schemes.
pub(super) const STYLE: &str = include_str!("../pages.css");

/// A page.
pub(super) struct Page<'a> {
    /// Its one `h1` and, with the organisation, its title.
    pub(super) heading: &'a str,
    /// What stands in `main`, heading included.
    pub(super) body: Markup,
    /// What to say on the phone, and the code, in small type.
    pub(super) reference: Option<(&'a str, Option<&'a str>)>,
    /// Seconds after which the page asks again, and where.
    pub(super) refresh: Option<(u32, String)>,
    /// Title alone, without the organisation: what a messenger's preview shows.
    pub(super) preview: bool,
}

impl Page<'_> {
    /// The whole of it.
    pub(super) fn render(&self, pages: &Pages) -> String {
        let organisation = pages.organisation.as_deref().filter(|_| !self.preview);
        let markup = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="robots" content="noindex";
                    meta name="color-scheme" content="light dark";
                    @if self.preview { meta property="og:title" content=(self.heading); }
                    @if let Some((seconds, to)) = &self.refresh {
                        meta http-equiv="refresh" content={ (seconds) "; url=" (to) };
                    }
                    title { (self.heading) @if let Some(organisation) = organisation { " – " (organisation) } }
                    // Escaping leaves it as it is: it holds no `<`, `>`, `&` or quote.
                    style { (STYLE) }
                }
                body {
                    a class="skip" href="#main" { "Skip to the text" }
                    main id="main" { (self.body) }
                    (self.footer(pages))
                }
            }
        };
        markup.into_string()
    }

    fn footer(&self, pages: &Pages) -> Markup {
        html! {
            footer {
                @if let Some(organisation) = &pages.organisation { p { (organisation) } }
                @if let Some(contact) = &pages.contact { p { "Help: " (contact) } }
                @if let Some((reference, code)) = self.reference {
                    p { "Reference " code { (reference) } @if let Some(code) = code { " " code { (code) } } }
                }
            }
        }
    }
}

/// A moment as people of the pages' zone write it.
pub(super) fn moment(pages: &Pages, at: Timestamp) -> Markup {
    html! { time datetime=(at.to_string()) { (pages.time_zone.write(at)) } }
}

/// Its day alone.
pub(super) fn day(pages: &Pages, at: Timestamp) -> Markup {
    let written = pages.time_zone.write(at);
    let day = written.split_once(" at ").map_or(written.as_str(), |(day, _)| day);
    html! { time datetime=(at.to_string()) { (day) } }
}

/// Whom to ask.
pub(super) fn someone(pages: &Pages) -> &str {
    pages.contact.as_deref().unwrap_or("the person or organisation that sent it")
}
