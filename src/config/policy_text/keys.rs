//! The keys of a policy text: every key of the contract, with how it is read. A key that this version does not serve yet is
//! known, and taken only where it says what happens anyway.

use std::time::Duration;

use crate::domain::policy::Decision;

/// Where in a decision a span goes.
pub(super) type SpanIn = fn(&mut Decision) -> &mut Duration;

/// How a key is read.
#[derive(Clone, Copy)]
pub(super) enum Field {
    Store,
    Scan,
    RequireAntivirus,
    AllowOverride,
    Accept,
    MaxSize,
    Span(SpanIn),
    RetainFrom,
    DeliveredWhen,
    Recipients,
    Link,
    /// Known, not served: only this value is taken.
    Later(Fixed),
    /// A key of a rule's own, which `[default]` cannot have; read elsewhere.
    OfRule,
}

/// The one value that a key may have until a later version serves it.
#[derive(Clone, Copy)]
pub(super) enum Fixed {
    Text(&'static str),
    Flag(bool),
    Whole(i64),
}

/// Keys of `[default]` and of a rule.
pub(super) const BODY: &[(&str, Field)] = &[
    ("name", Field::OfRule),
    ("when", Field::OfRule),
    ("store", Field::Store),
    ("scan", Field::Scan),
    ("require-antivirus", Field::RequireAntivirus),
    ("accept", Field::Accept),
    ("max-size", Field::MaxSize),
    ("upload-within", Field::Span(|decision| &mut decision.upload_within)),
    ("scan-within", Field::Span(|decision| &mut decision.scan_within)),
    ("quarantine-keep", Field::Span(|decision| &mut decision.quarantine_keep)),
    ("retain", Field::Span(|decision| &mut decision.retain)),
    ("retain-from", Field::RetainFrom),
    ("purge-after", Field::Span(|decision| &mut decision.purge_after)),
    ("expiring-before", Field::Later(Fixed::Text("25%"))),
    ("delivered-when", Field::DeliveredWhen),
    ("recipients", Field::Recipients),
    ("approve", Field::Later(Fixed::Text(""))),
    ("archive", Field::Later(Fixed::Flag(false))),
    ("notify", Field::Later(Fixed::Text("metadata"))),
    ("serve", Field::Later(Fixed::Text("proxy"))),
    ("allow-override", Field::AllowOverride),
    ("link", Field::Link),
];

/// Keys of `link`.
pub(super) const LINK: &[(&str, Field)] = &[
    ("lifetime", Field::Span(|decision| &mut decision.link.lifetime)),
    ("max-lifetime", Field::Span(|decision| &mut decision.link.max_lifetime)),
    ("uses", Field::Later(Fixed::Whole(0))),
    ("max-uses", Field::Later(Fixed::Whole(0))),
    ("bind-address", Field::Later(Fixed::Flag(false))),
    ("confirm", Field::Later(Fixed::Flag(false))),
    ("grace", Field::Later(Fixed::Text("60s"))),
    ("max-transfer", Field::Span(|decision| &mut decision.link.max_transfer)),
];

impl Fixed {
    /// As the text would write it.
    pub(super) fn written(self) -> String {
        match self {
            Self::Text(text) => format!("\"{text}\""),
            Self::Flag(flag) => flag.to_string(),
            Self::Whole(number) => number.to_string(),
        }
    }

    /// What kind of value the key takes.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Text(_) => "a text in quotes",
            Self::Flag(_) => "true or false",
            Self::Whole(_) => "a whole number",
        }
    }
}
