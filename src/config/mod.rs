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
    Audit, ClamdAddress, Egress, Fhir, FlagValue, ForwardedHeader, Keys, Links, LogFormat, LogLevel, Logs, Pages,
    PolicySource, References, Scan, SecretSource, Server, Settings, Sources, TimeZoneName, Tls, WebOrigin,
    settings_markdown,
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

/// What the environment says of the terminal and of this user's session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// `NO_COLOR` is set and not empty (no-color.org).
    pub no_color: bool,
    /// `TERM` is `dumb`.
    pub dumb_terminal: bool,
    /// The locale of characters (`LC_ALL`, `LC_CTYPE`, `LANG`, the first that is set) is a UTF-8 one, or none is set.
    pub utf8: bool,
    /// `XDG_RUNTIME_DIR`: a folder of this user for sockets.
    pub runtime_dir: Option<std::path::PathBuf>,
}

/// Reads [`Surroundings`] of this process.
#[expect(clippy::disallowed_methods, reason = "the one place where the environment is read")]
pub fn surroundings() -> Surroundings {
    let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(given);
    let utf8 = locale.is_none_or(|locale| {
        let locale = locale.to_string_lossy().to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    });
    Surroundings {
        no_color: given("NO_COLOR").is_some(),
        dumb_terminal: given("TERM").is_some_and(|term| term == "dumb"),
        utf8,
        runtime_dir: given("XDG_RUNTIME_DIR").map(std::path::PathBuf::from),
    }
}
