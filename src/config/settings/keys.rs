//! The table of settings: path, what it must be, an example, the default, one sentence. `docs/settings.md` is made from it, and
//! a path that is not in it is unknown. [`LATER`] names what later versions will serve: refused, so that it is never ignored.

use std::fmt::Write;

use crate::config::limits::LIMITS;

/// One setting.
pub(super) struct Key {
    /// `section.key`, as TOML nests it.
    pub(super) path: &'static str,
    /// "must be …".
    pub(super) shape: &'static str,
    /// "write it like …", TOML.
    pub(super) example: &'static str,
    /// Where it is silent; empty: nothing.
    pub(super) default: &'static str,
    pub(super) doc: &'static str,
}

macro_rules! keys {
    ($($path:literal: $shape:literal, $example:literal, $default:literal; $doc:literal)*) => {
        /// Every setting but the limits, in the order of `docs/settings.md`.
        pub(super) const KEYS: &[Key] =
            &[$(Key { path: $path, shape: $shape, example: $example, default: $default, doc: $doc },)*];
    };
}

keys! {
    "server.listen": "an address and a port", "\"127.0.0.1:8080\"", "127.0.0.1:8080";
        "Where to listen. An address that others can reach needs `base-url`, and `tls` or `behind-proxy = true`."
    "server.base-url": "an http or https URL without credentials, query or fragment", "\"https://documents.hospital.example\"", "http://localhost and the port";
        "What every generated URL begins with; nothing of a request goes into one. Loopback spellings are one; a path is kept."
    "server.behind-proxy": "true or false", "true", "false";
        "A reverse proxy in front ends TLS."
    "server.trusted-proxies": "a list of CIDRs", "[\"10.0.4.0/24\"]", "none";
        "Whose forwarding header is believed; needs `behind-proxy`."
    "server.forwarded-header": "\"x-forwarded-for\" or \"forwarded\"", "\"x-forwarded-for\"", "x-forwarded-for";
        "The one header that is read, from the right, from trusted proxies."
    "server.metrics-listen": "an address and a port", "\"127.0.0.1:9464\"", "";
        "A listener of its own for `/metrics`; without it they are on the main one, for loopback peers only."
    "server.tls.certificate": "the path of a PEM file", "\"/etc/daylily/tls.pem\"", "";
        "Certificate chain; needs `tls.key`."
    "server.tls.key": "the path of a PEM file", "\"/etc/daylily/tls.key\"", "";
        "Its private key; needs `tls.certificate`."
    "keys.encryption-key-file": "the path of a file", "\"/etc/daylily/encryption.key\"", "made in the data folder, with a warning";
        "The key that protects all others; never its text."
    "keys.encryption-key-command": "a command with its arguments", "[\"/usr/bin/pass\", \"show\", \"daylily\"]", "";
        "Prints the key instead; run without a shell."
    "links.origins": "a list of origins (scheme, host, port)", "[\"https://portal.example\"]", "none";
        "Browser origins for links that no client's registration covers."
    "scan.engines": "a list of engines; this version serves \"rules\" and \"clamd\"", "[\"rules\", \"clamd\"]", "rules";
        "What can look into files; which of them must, the policy says. \"clamd\" needs `scan.clamd`."
    "scan.clamd": "\"unix:\" and the path of a socket, or \"tcp:\", host and port", "\"unix:/run/clamav/clamd.ctl\"", "";
        "Where clamd listens. Over tcp bytes go as they are: to this machine or a network of its own only."
    "scan.timeout": "a span from 1s to 1h", "\"60s\"", "1m";
        "How long one engine may look into one file."
    "egress.allow": "a list of CIDRs", "[\"10.20.0.0/16\"]", "none";
        "Networks that outgoing requests may reach though they are not public: webhooks, and fetching clients' key sets."
    "egress.allow-http": "true or false", "false", "false";
        "Outgoing requests may go without TLS."
    "fhir.references": "\"lenient\" or \"strict\"", "\"strict\"", "lenient";
        "Whether a relative reference that dangles is a warning or refused."
    "policy.file": "the path of a file", "\"policy.toml\"", "the shipped policy";
        "Seeds an empty store; a file that differs later is reported, not applied."
    "audit.checkpoints": "the path of a folder", "\"/mnt/checkpoints\"", "`checkpoints` in the data folder";
        "Where signed checkpoints of the audit log go; best on another machine."
    "pages.organisation": "a text of 1 to 200 characters", "\"St Mary's Hospital\"", "";
        "Who people see on link pages."
    "pages.contact": "a text of 1 to 200 characters", "\"IT service desk, 0123 456\"", "";
        "Whom people ask for help."
    "pages.time-zone": "a name of the IANA time zone database", "\"Europe/Berlin\"", "UTC";
        "Zone of the times on pages."
    "pages.language": "\"en\"", "\"en\"", "en";
        "Language of the pages."
    "logs.format": "\"pretty\" or \"json\"", "\"json\"", "pretty";
        "How log lines are written."
    "logs.level": "\"error\", \"warn\", \"info\", \"debug\" or \"trace\"", "\"info\"", "info";
        "The least grave lines that are written."
}

/// Settings of later versions; each stands for everything below it too.
pub(super) const LATER: &[&str] = &["database.url", "blobs", "auth.issuers", "scan.icap", "egress.proxy"];

/// The key of a path.
pub(super) fn key(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Every path that may be set.
pub(super) fn paths() -> impl Iterator<Item = String> {
    let limits = LIMITS.iter().map(|row| format!("limits.{}", row.name));
    KEYS.iter().map(|key| key.path.to_owned()).chain(limits)
}

/// The path of [`LATER`] that `path` is or lies in.
pub(super) fn later(path: &str) -> Option<&'static str> {
    let lies_in =
        |later: &&&str| path.strip_prefix(**later).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    LATER.iter().find(lies_in).copied()
}

/// The variable that sets a path: `server.tls.key` is `DAYLILY_SERVER__TLS__KEY`.
pub(super) fn variable(path: &str) -> String {
    format!("DAYLILY_{}", path.to_ascii_uppercase().replace('.', "__").replace('-', "_"))
}

/// `docs/settings.md`.
pub fn settings_markdown() -> String {
    let mut out = String::from(
        "# Settings\n\nMade from `src/config/settings/keys.rs`; a test compares the two. No setting is needed. They come from the file given by\n\
         `--config` (TOML), then from variables (`[server] base-url` is `DAYLILY_SERVER__BASE_URL`, `[server] tls.key` is\n\
         `DAYLILY_SERVER__TLS__KEY`; a list is separated by commas; names without `__` are not settings), then from flags; the later one\n\
         wins. An unknown key, also among the variables, is refused, with the nearest known one. Relative paths in the file start at\n\
         the file's own folder, all others at the folder the program was started in. Secrets are never settings: only paths of files that hold them.\n\n\
         Of the keys that are planned, this version refuses, rather than ignores, ",
    );
    out.push_str(&LATER.iter().map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", "));
    out.push_str(".\n");
    let mut section = "";
    for key in KEYS {
        let (of, name) = key.path.split_once('.').unwrap_or_default();
        if of != section {
            section = of;
            let _ = write!(
                out,
                "\n## `[{section}]`\n\n| key | must be | default | example | what it does |\n| --- | --- | --- | --- | --- |\n"
            );
        }
        let default = if key.default.is_empty() { "–" } else { key.default };
        let _ = writeln!(out, "| `{name}` | {} | {default} | `{}` | {} |", key.shape, key.example, key.doc);
    }
    out.push_str("\n## `[limits]`\n\nSee [limits.md](limits.md).\n");
    out
}
