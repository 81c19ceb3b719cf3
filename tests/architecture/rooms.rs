//! Who may know whom. The tables are the rule; `docs/architecture.md` says the reasons.

use std::collections::BTreeSet;

use crate::source::{File, Tree, Written, paths};

/// Each room and the rooms it may use besides itself. `main` and `lib` are files; `app` and `cli` compose.
const ROOMS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("config", &["domain"]),
    ("telemetry", &["domain", "config"]),
    ("fhir", &["domain"]),
    ("vault", &["domain"]),
    ("failpoint", &[]),
    ("shares", &["domain"]),
    ("store", &["domain", "failpoint", "shares"]),
    ("blob", &["domain", "failpoint"]),
    ("scan", &["domain"]),
    ("notify", &["domain"]),
    ("auth", &["domain", "store"]),
    ("delivery", &["domain", "fhir", "store", "blob", "scan", "failpoint", "shares"]),
    ("worker", &["domain", "delivery", "fhir", "store", "blob", "scan", "notify", "failpoint"]),
    ("control", &["domain"]),
    ("http", &["domain", "config", "telemetry", "fhir", "auth", "delivery", "failpoint", "shares"]),
    ("console", &["domain", "config", "telemetry", "fhir", "auth", "delivery"]),
    ("app", EVERY),
    ("cli", EVERY),
    ("main", &["cli"]),
    ("lib", &[]),
];

/// For the two rooms that put everything together.
const EVERY: &[&str] = &[
    "domain",
    "config",
    "telemetry",
    "fhir",
    "vault",
    "store",
    "blob",
    "scan",
    "notify",
    "auth",
    "delivery",
    "worker",
    "control",
    "http",
    "console",
    "failpoint",
    "shares",
    "app",
    "cli",
];

/// What implements a trait of its room: only the rooms named here (and its own) may name it.
const CONCRETE: &[(&str, &str)] = &[
    ("store", "sqlite"),
    ("store", "postgres"),
    ("store", "SqliteStore"),
    ("blob", "local"),
    ("blob", "s3"),
    ("blob", "LocalBlobs"),
    ("scan", "rules"),
    ("scan", "clamd"),
    ("scan", "icap"),
];

/// Crates that belong to rooms. A crate that is not named here (hashing, errors, bytes, time) may be used where it helps.
const DRIVERS: &[(&str, &[&str])] = &[
    ("diesel", &["store"]),
    ("diesel_migrations", &["store"]),
    ("libsqlite3_sys", &["store"]),
    ("zstd", &["store"]),
    ("actix_web", &["http"]),
    ("actix_http", &["http"]),
    ("actix_server", &["http"]),
    ("actix_service", &["http"]),
    ("actix_rt", &["http", "app"]),
    ("maud", &["http", "console"]),
    ("reqwest", &["notify", "cli"]),
    ("jsonwebtoken", &["auth"]),
    ("governor", &["auth", "http"]),
    ("argon2", &["auth"]),
    ("quick_xml", &["fhir", "scan"]),
    ("zip", &["scan"]),
    ("infer", &["scan"]),
    ("flate2", &["scan"]),
    ("toml_edit", &["config"]),
    ("clap", &["cli"]),
    ("rustls", &["notify", "http", "app", "cli"]),
    ("metrics_exporter_prometheus", &["telemetry", "app"]),
    ("tracing_subscriber", &["telemetry"]),
    // `http` sets a socket option that the framework has no name for (TCP_USER_TIMEOUT).
    // `scan` connects to a socket file without waiting (a blocking connect may wait for ever).
    // `delivery` puts the threads that read large bodies behind others (nice).
    ("rustix", &["blob", "store", "vault", "control", "app", "cli", "http", "scan", "failpoint", "delivery"]),
];

/// Paths that wait, reach outside or ask the machine: none of them in `domain`.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::process",
    "std::env",
    "std::thread",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "tokio",
    "futures_util",
    "async_trait",
    "tracing",
    "metrics",
    "async",
    "rustix",
    "moka",
];

/// The rooms that a file names, with the line: `crate::room…`, `daylily::room…` in `main.rs`, and `super` chains that climb
/// to the root.
fn rooms_named(file: &File) -> Vec<(Vec<String>, usize)> {
    let depth = file.depth();
    let from_root = |path: Written| {
        let first = path.parts.first()?.as_str();
        let climbed = path.parts.iter().skip_while(|part| *part == "self").take_while(|part| *part == "super").count();
        let skip = match first {
            "crate" | "daylily" => 1,
            "self" | "super" if climbed >= depth => {
                path.parts.iter().take_while(|part| *part == "self").count() + climbed
            }
            _ => return None,
        };
        let rest: Vec<String> = path.parts.into_iter().skip(skip).collect();
        Some((rest, path.line)).filter(|(rest, _)| !rest.is_empty())
    };
    paths(&file.tokens()).into_iter().filter_map(from_root).collect()
}

fn may_use(room: &str) -> Option<&'static [&'static str]> {
    ROOMS.iter().find(|(name, _)| *name == room).map(|(_, others)| *others)
}

fn at(file: &File, line: usize) -> String {
    format!("{}:{line}", file.path)
}

/// Rooms on disk without a rule.
pub(crate) fn unknown(tree: &Tree) -> Vec<String> {
    let on_disk: BTreeSet<&str> = tree.sources().filter_map(File::room).collect();
    on_disk.into_iter().filter(|room| may_use(room).is_none()).map(|room| format!("src/{room}")).collect()
}

pub(crate) fn forbidden_edges(tree: &Tree) -> Vec<String> {
    let mut breaches = Vec::new();
    for file in tree.sources() {
        let Some((room, allowed)) = file.room().and_then(|room| Some((room, may_use(room)?))) else { continue };
        for (path, line) in rooms_named(file) {
            let Some(other) = path.first().filter(|other| may_use(other).is_some()) else { continue };
            if other != room && !allowed.contains(&other.as_str()) {
                breaches.push(format!("{}: {room} uses {other} ({})", at(file, line), path.join("::")));
            }
        }
    }
    breaches
}

pub(crate) fn concrete_parts(tree: &Tree) -> Vec<String> {
    let mut breaches = Vec::new();
    for file in tree.sources() {
        let room = file.room().unwrap_or_default();
        if ["app", "cli"].contains(&room) {
            continue;
        }
        for (path, line) in rooms_named(file) {
            let concrete = |(owner, part): &&(&str, &str)| {
                path.first().is_some_and(|first| first == owner) && path.get(1).is_some_and(|second| second == part)
            };
            if CONCRETE.iter().find(concrete).is_some_and(|(owner, _)| *owner != room) {
                breaches.push(format!("{}: {}", at(file, line), path.join("::")));
            }
        }
    }
    breaches
}

pub(crate) fn strayed_drivers(tree: &Tree) -> Vec<String> {
    let mut breaches = Vec::new();
    for file in tree.sources() {
        let room = file.room().unwrap_or_default();
        let tokens = file.tokens();
        let uses: Vec<Written> = paths(&tokens);
        for pair in uses.windows(2).map(|pair| (pair.first(), pair.last())) {
            // `use diesel;` and `use diesel as d;` have no `::`.
            let (Some(before), Some(path)) = pair else { continue };
            let is_path = path.parts.len() > 1 || before.parts == ["use"];
            let driver = path.parts.first().and_then(|first| DRIVERS.iter().find(|(name, _)| name == first));
            if let Some((name, owners)) = driver.filter(|(_, owners)| is_path && !owners.contains(&room)) {
                breaches.push(format!("{}: {name} belongs to {}", at(file, path.line), owners.join(", ")));
            }
        }
    }
    breaches
}

pub(crate) fn impure_domain(tree: &Tree) -> Vec<String> {
    let mut breaches = Vec::new();
    for file in tree.sources().filter(|file| file.room() == Some("domain")) {
        for path in paths(&file.tokens()) {
            let whole = path.parts.join("::");
            let names = |banned: &&&str| whole == **banned || whole.starts_with(&format!("{banned}::"));
            if let Some(banned) = IMPURE.iter().find(names) {
                breaches.push(format!("{}: {banned}", at(file, path.line)));
            }
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches(rule: fn(&Tree) -> Vec<String>, path: &str, text: &str) -> usize {
        rule(&Tree::of_texts(&[(path, text)])).len()
    }

    #[test]
    fn an_edge_is_found_however_it_is_written() {
        for text in [
            "use crate::http::Peer;",
            "use crate::{domain::id, http};",
            "fn a() -> crate::http::Peer { todo() }",
            "fn a() { log!(crate::http::peer()) }",
            "use super::super::http::Peer;",
            "mod deeper { use super::super::super::http::Peer; }",
        ] {
            assert_eq!(breaches(forbidden_edges, "src/store/rows.rs", text), 1, "{text}");
        }
        assert_eq!(breaches(forbidden_edges, "src/store/mod.rs", "use super::http::Peer;"), 1);
        assert_eq!(breaches(forbidden_edges, "src/auth/token.rs", "use crate::delivery::Caller;"), 1);
        assert_eq!(breaches(forbidden_edges, "src/blob/local.rs", "use crate::vault::Vault;"), 1);
        assert_eq!(breaches(forbidden_edges, "src/delivery/x.rs", "use crate::worker::Runner;"), 1);
    }

    #[test]
    fn what_is_allowed_is_not_found() {
        assert_eq!(breaches(forbidden_edges, "src/store/rows.rs", "use crate::domain::id; use super::records::R;"), 0);
        assert_eq!(
            breaches(forbidden_edges, "src/store/a/b.rs", "use super::super::http::Peer;"),
            0,
            "a module named http"
        );
        assert_eq!(
            breaches(forbidden_edges, "src/blob/x.rs", "#[cfg(test)] mod tests { use crate::vault::Vault; }"),
            0
        );
        assert_eq!(breaches(forbidden_edges, "src/app.rs", "use crate::http::Routes; use crate::store::sqlite::S;"), 0);
    }

    #[test]
    fn a_new_room_needs_a_rule() {
        assert_eq!(breaches(unknown, "src/gateway/mod.rs", ""), 1);
    }

    #[test]
    fn concrete_parts_are_found() {
        assert_eq!(breaches(concrete_parts, "src/delivery/x.rs", "use crate::store::sqlite::Sqlite;"), 1);
        assert_eq!(breaches(concrete_parts, "src/delivery/x.rs", "use crate::blob::{LocalBlobs, Blobs};"), 1);
        assert_eq!(breaches(concrete_parts, "src/store/mod.rs", "pub use crate::store::sqlite::Sqlite;"), 0);
        assert_eq!(breaches(concrete_parts, "src/app.rs", "use crate::blob::LocalBlobs;"), 0);
    }

    #[test]
    fn drivers_are_found_however_they_are_named() {
        assert_eq!(breaches(strayed_drivers, "src/http/x.rs", "use diesel::prelude::*;"), 1);
        assert_eq!(breaches(strayed_drivers, "src/http/x.rs", "use diesel as d;"), 1);
        assert_eq!(breaches(strayed_drivers, "src/auth/x.rs", "#[derive(diesel::Queryable)] struct A;"), 1);
        assert_eq!(breaches(strayed_drivers, "src/delivery/x.rs", "fn a(r: actix_web::HttpRequest) {}"), 1);
        assert_eq!(breaches(strayed_drivers, "src/auth/x.rs", "async fn a() { reqwest::get(u).await }"), 1);
        assert_eq!(breaches(strayed_drivers, "src/store/x.rs", "use diesel::prelude::*;"), 0);
        assert_eq!(breaches(strayed_drivers, "src/http/x.rs", "fn zip(a: A) { a.zip(b) }"), 0);
    }

    #[test]
    fn waiting_and_reaching_out_are_found_in_the_domain() {
        for text in ["use std::fs;", "async fn a() {}", "use tokio::sync::Mutex;", "fn a() { std::env::var(x) }"] {
            assert_eq!(breaches(impure_domain, "src/domain/x.rs", text), 1, "{text}");
        }
        assert_eq!(breaches(impure_domain, "src/domain/x.rs", "use std::net::IpAddr;"), 0);
        assert_eq!(breaches(impure_domain, "src/store/x.rs", "use std::fs;"), 0);
    }
}
