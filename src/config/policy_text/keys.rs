//! The keys of a policy text: every key of the contract, with how it is read. A key that this version does not serve yet is
//! known, and taken only where it says what happens anyway.

use std::time::Duration;

use crate::domain::policy::{Decision, WIDEST};

/// Where in a decision a span goes.
pub(super) type SpanIn = fn(&mut Decision) -> &mut Duration;

/// Where in a decision a count goes.
pub(super) type CountIn = fn(&mut Decision) -> &mut u32;

/// Where in a decision a yes or no goes.
pub(super) type FlagIn = fn(&mut Decision) -> &mut bool;

/// Where in a decision a prefix length goes.
pub(super) type PrefixIn = fn(&mut Decision) -> &mut u8;

/// How a key is read.
#[derive(Clone, Copy)]
pub(super) enum Field {
    Store,
    Scan,
    Flag(FlagIn),
    SignaturesWithin,
    AntivirusVersion,
    Prefix(PrefixIn, [u8; 2]),
    Count(CountIn),
    Notify,
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
}

/// Keys of `[default]` and of a rule.
pub(super) const BODY: &[(&str, Field)] = &[
    ("name", Field::OfRule),
    ("when", Field::OfRule),
    ("store", Field::Store),
    ("scan", Field::Scan),
    ("require-antivirus", Field::Flag(|decision| &mut decision.require_antivirus)),
    ("signatures-within", Field::SignaturesWithin),
    ("antivirus-version", Field::AntivirusVersion),
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
    ("notify", Field::Notify),
    ("serve", Field::Later(Fixed::Text("proxy"))),
    ("allow-override", Field::Flag(|decision| &mut decision.allow_override)),
    ("link", Field::Link),
];

/// Keys of `link`.
pub(super) const LINK: &[(&str, Field)] = &[
    ("lifetime", Field::Span(|decision| &mut decision.link.lifetime)),
    ("max-lifetime", Field::Span(|decision| &mut decision.link.max_lifetime)),
    ("uses", Field::Count(|decision| &mut decision.link.uses)),
    ("max-uses", Field::Count(|decision| &mut decision.link.max_uses)),
    ("bind-address", Field::Flag(|decision| &mut decision.link.bind_address)),
    ("network-v4", Field::Prefix(|decision| &mut decision.link.network.v4, [WIDEST.v4, 32])),
    ("network-v6", Field::Prefix(|decision| &mut decision.link.network.v6, [WIDEST.v6, 128])),
    ("confirm", Field::Flag(|decision| &mut decision.link.confirm)),
    ("grace", Field::Span(|decision| &mut decision.link.grace)),
    ("max-transfer", Field::Span(|decision| &mut decision.link.max_transfer)),
];

impl Fixed {
    /// As the text would write it.
    pub(super) fn written(self) -> String {
        match self {
            Self::Text(text) => format!("\"{text}\""),
            Self::Flag(flag) => flag.to_string(),
        }
    }

    /// What kind of value the key takes.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Text(_) => "a text in quotes",
            Self::Flag(_) => "true or false",
        }
    }
}
