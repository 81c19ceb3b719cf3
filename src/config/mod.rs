//! What an operator writes: settings ([`Settings`], the one source of every setting and every limit) and the text of a policy
//! ([`policy_text`]). Texts come in as arguments and values go out; the only thing read from the process is its environment,
//! in [`environment`]. No file is opened here: the command line reads files and passes
//! their text.

mod base_url;
mod limits;
mod mistake;
pub mod policy_text;
mod quantity;
mod settings;
mod source;

use std::collections::BTreeMap;

pub use base_url::BaseUrl;
pub use limits::{LIMITS, LimitKind, LimitRow, Limits, limits_markdown};
pub use mistake::Mistake;
pub use quantity::{parse_size, write_size};
pub use settings::{
    Audit, Egress, Fhir, FlagValue, ForwardedHeader, Keys, Links, LogFormat, LogLevel, Logs, Pages, PolicySource,
    References, Scan, SecretSource, Server, Settings, Sources, TimeZoneName, Tls, WebOrigin, settings_markdown,
};

/// The variables of this process that are settings: names that begin with `DAYLILY_` and hold `__`. Others with that
/// beginning are left alone, since orchestrators make some of their own from a service's name (`DAYLILY_PORT`,
/// `DAYLILY_SERVICE_HOST`). A value that is not Unicode is taken with replacement characters, and refused where it is read.
#[expect(clippy::disallowed_methods, reason = "the one place where the environment is read")]
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .filter(|(name, _)| name.starts_with("DAYLILY_") && name.contains("__"))
        .collect()
}
