//! From gathered values to [`Settings`]: one read a key, then what must hold between keys.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;

use super::gather::{Given, gather};
use super::{
    Audit, ClamdAddress, Egress, Fhir, ForwardedHeader, Keys, Links, LogFormat, LogLevel, Logs, Pages, PolicySource,
    References, Scan, SecretSource, Server, Settings, Sources, TimeZoneName, Tls, WebOrigin, keys,
};
use crate::config::base_url::{BaseUrl, is_loopback, parse_listen};
use crate::config::limits::{LIMITS, LimitKind, Limits};
use crate::domain::clock::parse_span;
use crate::domain::refusal::{Code, Issue, Place};
use crate::domain::text::is_plain;
use crate::domain::verdict::Engine;

/// See [`Settings::load`].
pub(super) fn load(sources: &Sources) -> Result<Settings, Vec<Issue>> {
    let (given, issues) = gather(sources);
    let mut reader = Reader { given, issues };
    let data_dir = if sources.data_dir.as_os_str().is_empty() { Path::new("daylily-data") } else { &sources.data_dir };
    let mut settings = defaults(data_dir);
    settings.dev = sources.dev;
    reader.server(&mut settings.server);
    reader.keys(&mut settings.keys);
    reader.files_and_egress(&mut settings);
    reader.pages_and_logs(&mut settings);
    reader.limits(&mut settings.limits);
    reader.check_server(&settings);
    reader.check_limits(&settings.limits);
    if sources.dev {
        reader.dev(&mut settings);
    }
    if reader.issues.is_empty() {
        return Ok(settings);
    }
    reader.issues.sort_by_key(|issue| match issue.where_is() {
        Place::Line { line, column, .. } => (*line, *column),
        _ => (usize::MAX, 0),
    });
    Err(reader.issues)
}

/// See [`Settings::default_for_data_dir`].
pub(super) fn defaults(data_dir: &Path) -> Settings {
    Settings {
        data_dir: data_dir.to_owned(),
        dev: false,
        server: Server {
            listen: ([127, 0, 0, 1], 8080).into(),
            base_url: None,
            behind_proxy: false,
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::XForwardedFor,
            metrics_listen: None,
            tls: None,
        },
        keys: Keys { encryption: SecretSource::DataFolder },
        links: Links { origins: Vec::new() },
        scan: Scan { engines: vec![Engine::Rules], clamd: None, timeout: Duration::from_secs(60) },
        egress: Egress { allow: Vec::new(), allow_http: false },
        fhir: Fhir { references: References::Lenient },
        policy: PolicySource { file: None },
        audit: Audit { checkpoints: data_dir.join("checkpoints") },
        pages: Pages { organisation: None, contact: None, time_zone: TimeZoneName::utc() },
        logs: Logs { format: LogFormat::Pretty, level: LogLevel::Info },
        limits: Limits::default(),
    }
}

struct Reader {
    given: BTreeMap<String, Given>,
    issues: Vec<Issue>,
}

impl Reader {
    /// The value of a key, if it was given and is well formed; told if it is not.
    fn get<T>(&mut self, path: &'static str, read: impl FnOnce(&Given) -> Option<T>) -> Option<T> {
        let given = self.given.get(path)?;
        let value = read(given);
        if value.is_none() {
            let (shape, example) = keys::key(path).map_or(("", ""), |key| (key.shape, key.example));
            let issue = Issue::new(Code::SettingMalformed).fill("key", path).fill("shape", shape);
            self.issues.push(issue.fill("example", example).place(given.place.clone()));
        }
        value
    }

    fn set<T>(&mut self, target: &mut T, path: &'static str, read: impl FnOnce(&Given) -> Option<T>) {
        if let Some(value) = self.get(path, read) {
            *target = value;
        }
    }

    fn place(&self, path: &str) -> Place {
        self.given.get(path).map(|given| given.place.clone()).unwrap_or_default()
    }

    /// Whether a value was given that was not taken.
    fn refused(&self, path: &str) -> bool {
        let place = self.place(path);
        self.given.contains_key(path) && self.issues.iter().any(|issue| *issue.where_is() == place)
    }

    fn conflict(&mut self, path: &str, other: &str, cure: &str) {
        let issue = Issue::new(Code::SettingConflict).fill("key", path).fill("other", other).fill("cure", cure);
        self.issues.push(issue.place(self.place(path)));
    }

    fn server(&mut self, server: &mut Server) {
        let address = |given: &Given| given.text().and_then(parse_listen);
        self.set(&mut server.listen, "server.listen", address);
        server.base_url = self.get("server.base-url", |given| given.text().and_then(BaseUrl::parse));
        self.set(&mut server.behind_proxy, "server.behind-proxy", Given::flag);
        self.set(&mut server.trusted_proxies, "server.trusted-proxies", networks);
        let headers = [("x-forwarded-for", ForwardedHeader::XForwardedFor), ("forwarded", ForwardedHeader::Forwarded)];
        self.set(&mut server.forwarded_header, "server.forwarded-header", one_of(&headers));
        server.metrics_listen = self.get("server.metrics-listen", address);
        let certificate = self.get("server.tls.certificate", Given::path);
        let key = self.get("server.tls.key", Given::path);
        let (has_certificate, has_key) =
            (self.given.contains_key("server.tls.certificate"), self.given.contains_key("server.tls.key"));
        match (has_certificate, has_key) {
            (true, false) => self.conflict("server.tls.certificate", "server.tls.key", "set both, or neither"),
            (false, true) => self.conflict("server.tls.key", "server.tls.certificate", "set both, or neither"),
            _ => {}
        }
        server.tls = certificate.zip(key).map(|(certificate, key)| Tls { certificate, key });
    }

    fn keys(&mut self, keys: &mut Keys) {
        let file = self.get("keys.encryption-key-file", Given::path).map(SecretSource::File);
        let command = self.get("keys.encryption-key-command", Given::words).map(SecretSource::Command);
        if file.is_some() && command.is_some() {
            self.conflict("keys.encryption-key-command", "keys.encryption-key-file", "keep one of them");
        }
        keys.encryption = file.or(command).unwrap_or(SecretSource::DataFolder);
    }

    fn files_and_egress(&mut self, settings: &mut Settings) {
        self.set(&mut settings.links.origins, "links.origins", |given| each(given, WebOrigin::parse));
        let once = |engines: &Vec<Engine>| {
            !engines.is_empty()
                && Engine::ALL.iter().all(|one| engines.iter().filter(|other| *other == one).count() < 2)
        };
        let engines = |given: &Given| each(given, Engine::from_name).filter(once);
        self.set(&mut settings.scan.engines, "scan.engines", engines);
        settings.scan.clamd = self.get("scan.clamd", |given| given.text().and_then(ClamdAddress::parse));
        let asked = settings.scan.engines.contains(&Engine::Clamd);
        match (asked, self.given.contains_key("scan.clamd")) {
            (true, false) => {
                let cure = "set where clamd listens, like clamd = \"unix:/run/clamav/clamd.ctl\"";
                self.conflict("scan.engines", "scan.clamd", cure);
            }
            (false, true) if !self.refused("scan.engines") => {
                self.conflict("scan.clamd", "scan.engines", "add \"clamd\" to the engines, or remove the address");
            }
            _ => {}
        }
        let up_to_an_hour = |span: &Duration| (1..=3_600).contains(&span.as_secs());
        let timeout = |given: &Given| given.text().and_then(parse_span).filter(up_to_an_hour);
        self.set(&mut settings.scan.timeout, "scan.timeout", timeout);
        self.set(&mut settings.egress.allow, "egress.allow", networks);
        self.set(&mut settings.egress.allow_http, "egress.allow-http", Given::flag);
        let references = [("lenient", References::Lenient), ("strict", References::Strict)];
        self.set(&mut settings.fhir.references, "fhir.references", one_of(&references));
        settings.policy.file = self.get("policy.file", Given::path);
        self.set(&mut settings.audit.checkpoints, "audit.checkpoints", Given::path);
    }

    fn pages_and_logs(&mut self, settings: &mut Settings) {
        settings.pages.organisation = self.get("pages.organisation", short_text);
        settings.pages.contact = self.get("pages.contact", short_text);
        let zone = |given: &Given| given.text().and_then(TimeZoneName::parse);
        self.set(&mut settings.pages.time_zone, "pages.time-zone", zone);
        // One language so far, which holds anyway; another is refused.
        let _ = self.get("pages.language", one_of(&[("en", ())]));
        let formats = [("pretty", LogFormat::Pretty), ("json", LogFormat::Json)];
        self.set(&mut settings.logs.format, "logs.format", one_of(&formats));
        let levels = [
            ("error", LogLevel::Error),
            ("warn", LogLevel::Warn),
            ("info", LogLevel::Info),
            ("debug", LogLevel::Debug),
            ("trace", LogLevel::Trace),
        ];
        self.set(&mut settings.logs.level, "logs.level", one_of(&levels));
    }

    fn limits(&mut self, limits: &mut Limits) {
        for row in LIMITS {
            let path = format!("limits.{}", row.name);
            let Some(given) = self.given.get(&path) else { continue };
            let plain = matches!(row.kind, LimitKind::Count | LimitKind::Percent);
            let text = given.number_or_text().filter(|_| !plain || given.is_number());
            let set = text.and_then(|text| row.kind.read(&text)).is_some_and(|raw| row.set(limits, raw));
            if !set {
                let [default, least, most] = [row.default, row.least, row.most].map(|raw| row.kind.write(raw));
                let shape = format!("a {} from {least} to {most}", row.kind.words());
                let example = if plain { default } else { format!("\"{default}\"") };
                let issue = Issue::new(Code::SettingMalformed).fill("key", &path).fill("shape", shape);
                self.issues.push(issue.fill("example", example).place(given.place.clone()));
            }
        }
    }

    fn check_server(&mut self, settings: &Settings) {
        let server = &settings.server;
        let covered = server.tls.is_some() || server.behind_proxy;
        // A base URL or certificate that was given but is malformed is told already, not also as lacking.
        let has_base = self.given.contains_key("server.base-url");
        let has_cover = covered || self.given.contains_key("server.tls.certificate");
        let lacking = match (has_base, has_cover) {
            (true, true) => None,
            (false, true) => Some("a base URL"),
            (true, false) => Some("TLS"),
            (false, false) => Some("TLS and a base URL"),
        };
        if let Some(lacking) = lacking.filter(|_| !is_loopback(server.listen)) {
            let issue = Issue::new(Code::ListenExposed).fill("address", server.listen).fill("lacking", lacking);
            self.issues.push(issue.place(self.place("server.listen")));
        }
        let plain_base = server.base_url.as_ref().is_some_and(|base| !base.is_https());
        if plain_base && server.tls.is_some() && !server.behind_proxy {
            self.conflict("server.base-url", "server.tls", "begin it with https://");
        }
        if !server.trusted_proxies.is_empty() && !server.behind_proxy {
            let cure = "set `behind-proxy = true`, or remove the list";
            self.conflict("server.trusted-proxies", "server.behind-proxy", cure);
        }
        if server.metrics_listen.is_some_and(|address| address == server.listen && address.port() != 0) {
            self.conflict("server.metrics-listen", "server.listen", "give it another port, or remove it");
        }
    }

    fn check_limits(&mut self, limits: &Limits) {
        let mut at_most = |key: &str, value: Duration, other: &str, most: Duration| {
            if value > most {
                let given = if self.given.contains_key(key) { (key, other) } else { (other, key) };
                self.conflict(given.0, given.1, &format!("keep {key} at or below {other}"));
            }
        };
        at_most("limits.body-grace", limits.body_grace, "limits.body-timeout", limits.body_timeout);
    }

    fn dev(&mut self, settings: &mut Settings) {
        if !is_loopback(settings.server.listen) {
            self.conflict("server.listen", "--dev", "listen on 127.0.0.1, or leave out `--dev`");
        }
        let loopback = ["127.0.0.0/8", "::1/128"].iter().filter_map(|network| network.parse::<IpNet>().ok());
        settings.egress.allow.extend(loopback);
        settings.egress.allow_http = true;
    }
}

fn each<T>(given: &Given, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    given.list()?.into_iter().map(read).collect()
}

/// CIDRs, or single addresses.
fn networks(given: &Given) -> Option<Vec<IpNet>> {
    each(given, |text| text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from)))
}

fn one_of<'a, T: Copy>(words: &'a [(&'static str, T)]) -> impl FnOnce(&Given) -> Option<T> + 'a {
    move |given| words.iter().find(|(word, _)| given.text() == Some(*word)).map(|(_, value)| *value)
}

fn short_text(given: &Given) -> Option<String> {
    let text = given.text()?.trim();
    ((1..=200).contains(&text.chars().count()) && is_plain(text)).then(|| text.to_owned())
}
