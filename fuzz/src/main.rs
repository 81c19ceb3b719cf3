//! One program with all fuzz targets: `DAYLILY_FUZZ` names the one that runs. What each target demands stands at its function; a
//! demand that is not met is a panic, which the fuzzer keeps as a finding. `conformance/fuzz` builds and runs it.
#![no_main]

mod content;
mod headers;
mod json;
mod link;
mod operator;
mod resource;
mod search;
mod secret;
mod token;

use std::sync::LazyLock;

/// Every target by its name; the folder of its corpus has the same.
const TARGETS: &[(&str, fn(&[u8]))] = &[
    ("json", json::run),
    ("resource", resource::run),
    ("token", token::access),
    ("assertion", token::assertion),
    ("link", link::run),
    ("search", search::run),
    ("range", headers::range),
    ("policy", operator::policy),
    ("clamd", content::clamd),
    ("disposition", content::disposition),
    ("webhook", operator::webhook),
    ("scope", token::scope),
    ("criteria", resource::criteria),
    ("forwarded", headers::forwarded),
];

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let wanted = std::env::var("DAYLILY_FUZZ").unwrap_or_default();
    match TARGETS.iter().find(|(name, _)| *name == wanted) {
        Some((_, run)) => *run,
        None => {
            let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
            eprintln!("DAYLILY_FUZZ must name one of: {}", names.join(" "));
            std::process::exit(2);
        }
    }
});

/// Said once, when a target's reader takes an input: one that refuses everything would find nothing, and `conformance/fuzz` fails it.
pub(crate) fn taken() {
    static SAID: std::sync::Once = std::sync::Once::new();
    SAID.call_once(|| eprintln!("an input was taken"));
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| TARGET(data));
