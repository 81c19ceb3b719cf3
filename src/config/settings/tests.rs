//! Each setting from each source, each mistake with its place, and the committed page.

use proptest::prelude::*;

use super::*;
use crate::config::limits::{LIMITS, limits_markdown};
use crate::domain::refusal::{Code, Place};

fn from_file(text: &str) -> Result<Settings, Vec<Issue>> {
    Settings::load(&Sources { file: Some(("conf/daylily.toml".to_owned(), text.to_owned())), ..Sources::default() })
}

fn from_variables(variables: &[(&str, &str)]) -> Result<Settings, Vec<Issue>> {
    let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Settings::load(&Sources { environment, ..Sources::default() })
}

fn line(line: usize, column: usize) -> Place {
    Place::Line { file: "conf/daylily.toml".to_owned(), line, column }
}

const WHOLE: &str = r#"
[server]
listen = "0.0.0.0:443"
base-url = "https://documents.hospital.example/x/"
behind-proxy = true
trusted-proxies = ["10.0.4.0/24", "::1"]
forwarded-header = "forwarded"
metrics-listen = "127.0.0.1:9464"
tls = { certificate = "tls.pem", key = "/etc/tls.key" }
[keys]
encryption-key-command = "pass show daylily"
[links]
origins = ["https://portal.example", "http://localhost:3000"]
[scan]
engines = ["rules", "clamd"]
clamd = "unix:/run/clamav/clamd.ctl"
timeout = "90s"
[egress]
allow = ["127.0.0.0/8"]
allow-http = true
[fhir]
references = "strict"
[policy]
file = "policy.toml"
[audit]
checkpoints = "/mnt/checkpoints"
[pages]
organisation = "St Mary's"
contact = "desk"
time-zone = "Europe/Berlin"
language = "en"
[logs]
format = "json"
level = "debug"
[limits]
json-body = "1MiB"
headers = 32
token-lifetime = "2m"
disk-stop = 80
"#;

#[test]
fn nothing_set_is_loopback_with_the_defaults() {
    let settings = Settings::load(&Sources::default()).unwrap();
    assert_eq!(settings, Settings::default_for_data_dir(Path::new("daylily-data")));
    assert_eq!(settings.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.base_url(8080).as_str(), "http://localhost:8080");
    assert_eq!(settings.audit.checkpoints, Path::new("daylily-data/checkpoints"));
    assert!(settings.listens_on_loopback());
}

#[test]
fn a_file_may_say_everything() {
    let settings = from_file(WHOLE).unwrap();
    let server = &settings.server;
    assert_eq!(settings.base_url(1).as_str(), "https://documents.hospital.example/x");
    assert_eq!(server.trusted_proxies, ["10.0.4.0/24".parse().unwrap(), "::1/128".parse().unwrap()]);
    assert_eq!(server.forwarded_header, ForwardedHeader::Forwarded);
    let tls = Tls { certificate: "conf/tls.pem".into(), key: "/etc/tls.key".into() };
    assert_eq!(server.tls, Some(tls), "relative paths start at the file's folder");
    assert_eq!(settings.keys.encryption, SecretSource::Command(vec!["pass".into(), "show".into(), "daylily".into()]));
    assert_eq!((settings.scan.engines.len(), settings.scan.timeout.as_secs()), (2, 90));
    assert_eq!(settings.scan.clamd, Some(ClamdAddress::Unix("/run/clamav/clamd.ctl".into())));
    assert_eq!(settings.fhir.references, References::Strict);
    assert_eq!(settings.policy.file.as_deref(), Some(Path::new("conf/policy.toml")));
    assert_eq!(settings.pages.time_zone.as_str(), "Europe/Berlin");
    assert_eq!((settings.logs.format, settings.logs.level), (LogFormat::Json, LogLevel::Debug));
    let limits = &settings.limits;
    assert_eq!((limits.json_body, limits.headers, limits.disk_stop), (1 << 20, 32, 80));
    assert_eq!(limits.token_lifetime, Duration::from_secs(120));
    assert_eq!(settings.links.origins[1].as_str(), "http://localhost:3000");
}

#[test]
fn variables_are_over_the_file_and_flags_over_variables() {
    let variables = [
        ("DAYLILY_SERVER__LISTEN", "127.0.0.1:2"),
        ("DAYLILY_SERVER__TLS__KEY", "k"),
        ("DAYLILY_SERVER__TLS__CERTIFICATE", "c"),
        ("DAYLILY_EGRESS__ALLOW", "10.0.0.0/8, 192.168.1.1"),
        ("DAYLILY_EGRESS__ALLOW_HTTP", "true"),
        ("DAYLILY_LIMITS__HEADERS", "20"),
        ("DAYLILY_LIMITS__URI_LENGTH", "2KiB"),
        ("DAYLILY_LINKS__ORIGINS", ""),
    ];
    let mut sources = Sources {
        file: Some((
            "f.toml".to_owned(),
            "server.listen = '127.0.0.1:1'\nlinks.origins = ['https://a.example']".to_owned(),
        )),
        environment: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..Sources::default()
    };
    let settings = Settings::load(&sources).unwrap();
    assert_eq!(settings.server.listen.port(), 2);
    assert_eq!(settings.base_url(2).as_str(), "https://localhost:2");
    assert_eq!((settings.egress.allow.len(), settings.egress.allow_http, settings.limits.headers), (2, true, 20));
    assert_eq!(settings.limits.uri_length, 2048);
    assert!(settings.links.origins.is_empty());
    sources.flags.push(FlagValue { flag: "--listen", setting: "server.listen", value: "localhost:3".to_owned() });
    assert_eq!(Settings::load(&sources).unwrap().server.listen.to_string(), "127.0.0.1:3");
}

/// Text, code, line and column, how the message begins, how the cure begins.
type Row = (&'static str, Code, (usize, usize), &'static str, &'static str);

const FILE_MISTAKES: &[Row] = &[
    (
        "[server]\nlisen = \"x\"",
        Code::SettingUnknown,
        (2, 1),
        "[server] has no setting `lisen`",
        "use `listen`, or remove it",
    ),
    ("[sever]\n", Code::SettingUnknown, (1, 2), "the file has no setting `sever`", "use `server`, or remove it"),
    ("[server.tls]\ncert = 'x'", Code::SettingUnknown, (2, 1), "[server.tls] has no setting `cert`", "remove it"),
    ("\"server.listen\" = 'x'", Code::SettingUnknown, (1, 1), "the file has no setting of this name", "remove it"),
    (
        "[server]\nlisten = 8080",
        Code::SettingMalformed,
        (2, 10),
        "server.listen must be an address and a port",
        "write it like \"127.0.0.1:8080\"",
    ),
    ("server = 1", Code::SettingMalformed, (1, 1), "server must be a table", "write it like `[server]`"),
    (
        "[server]\nbehind-proxy = \"true\"",
        Code::SettingMalformed,
        (2, 16),
        "server.behind-proxy must be true or false",
        "",
    ),
    (
        "[server]\nbehind-proxy = true\ntrusted-proxies = ['x']",
        Code::SettingMalformed,
        (3, 19),
        "server.trusted-proxies must be a list of CIDRs",
        "",
    ),
    (
        "[server]\ntrusted-proxies = ['::1']",
        Code::SettingConflict,
        (2, 19),
        "server.trusted-proxies does not go with server.behind-proxy",
        "",
    ),
    (
        "[server.tls]\nkey = 'k'",
        Code::SettingConflict,
        (2, 7),
        "server.tls.key does not go with server.tls.certificate",
        "set both",
    ),
    (
        "[server]\nbase-url = 'http://a.example'\ntls.key = 'k'\ntls.certificate = 'c'",
        Code::SettingConflict,
        (2, 12),
        "server.base-url does not go with server.tls",
        "begin it with https://",
    ),
    (
        "[server]\nmetrics-listen = '127.0.0.1:8080'",
        Code::SettingConflict,
        (2, 18),
        "server.metrics-listen does not go with server.listen",
        "",
    ),
    (
        "[keys]\nencryption-key-file = 'a'\nencryption-key-command = 'b'",
        Code::SettingConflict,
        (3, 26),
        "keys.encryption-key-command does not go",
        "",
    ),
    (
        "[database]\nurl = 'postgres://u:secret@h/d'",
        Code::SettingMalformed,
        (2, 1),
        "database.url must be left out: it is not served by this version",
        "remove it",
    ),
    ("[blobs.main]\ns3 = {}", Code::SettingMalformed, (1, 2), "blobs must be left out: it is not served", ""),
    ("[auth]\nissuers = []", Code::SettingMalformed, (2, 1), "auth.issuers must be left out: it is not served", ""),
    (
        "[scan]\nengines = ['clamd']\nclamd = 'x'",
        Code::SettingMalformed,
        (3, 9),
        "scan.clamd must be \"unix:\" and the",
        "",
    ),
    ("[scan]\nengines = ['rules', 'clamd']", Code::SettingConflict, (2, 11), "scan.engines", "set where clamd listens"),
    (
        "[scan]\nclamd = 'tcp:127.0.0.1:3310'",
        Code::SettingConflict,
        (2, 9),
        "scan.clamd",
        "add \"clamd\" to the engines",
    ),
    ("[scan]\nengines = ['rules', 'rules']", Code::SettingMalformed, (2, 11), "scan.engines must be", ""),
    ("[scan]\nengines = ['icap']", Code::SettingMalformed, (2, 11), "scan.engines must be", ""),
    ("[scan]\nengines = []", Code::SettingMalformed, (2, 11), "scan.engines must be", ""),
    ("[scan]\ntimeout = '2h'", Code::SettingMalformed, (2, 11), "scan.timeout must be a span from 1s to 1h", ""),
    ("[egress]\nproxy = 'x'", Code::SettingMalformed, (2, 1), "egress.proxy must be left out: it is not served", ""),
    (
        "[links]\norigins = ['http://a.example']",
        Code::SettingMalformed,
        (2, 11),
        "links.origins must be a list of origins",
        "",
    ),
    ("[pages]\nlanguage = 'de'", Code::SettingMalformed, (2, 12), "pages.language must be \"en\"", ""),
    ("[pages]\ntime-zone = '../x'", Code::SettingMalformed, (2, 13), "pages.time-zone must be a name", ""),
    (
        "[limits]\njson-body = 5",
        Code::SettingMalformed,
        (2, 13),
        "limits.json-body must be a size from 64KiB to 256MiB",
        "write it like \"24MiB\"",
    ),
    (
        "[limits]\nheaders = '20'",
        Code::SettingMalformed,
        (2, 11),
        "limits.headers must be a number from 16 to 96",
        "write it like 64",
    ),
    ("[limits]\nheaders = 97", Code::SettingMalformed, (2, 11), "limits.headers must be a number from 16 to 96", ""),
    (
        "[limits]\nhaeders = 97",
        Code::SettingUnknown,
        (2, 1),
        "[limits] has no setting `haeders`",
        "use `headers`, or remove it",
    ),
    (
        "[limits]\nbody-timeout = '5s'",
        Code::SettingConflict,
        (2, 16),
        "limits.body-timeout does not go with limits.body-grace",
        "",
    ),
    ("[server\n", Code::SettingMalformed, (1, 8), "the settings file must be TOML", ""),
];

#[test]
fn each_mistake_in_a_file_has_its_line_and_column() {
    for (text, code, (at_line, column), message, cure) in FILE_MISTAKES {
        let issues = from_file(text).unwrap_err();
        assert_eq!(issues.len(), 1, "{text}\n{issues:?}");
        let issue = &issues[0];
        assert_eq!((issue.code(), issue.where_is()), (*code, &line(*at_line, *column)), "{text}");
        assert!(issue.message().starts_with(message) && issue.cure().starts_with(cure), "{issue:?} = {}", issue.cure());
        assert!(!format!("{} {}", issue.message(), issue.cure()).contains('{'), "open placeholder: {issue:?}");
        assert!(!issue.message().contains("secret"));
    }
}

#[test]
fn all_mistakes_of_a_file_are_told_together() {
    let issues = from_file("[server]\nlisten = 1\nlisen = 2\n[limits]\nheaders = 0\n").unwrap_err();
    let places: Vec<_> = issues.iter().map(|issue| issue.where_is().clone()).collect();
    assert_eq!(places, [line(2, 10), line(3, 1), line(5, 11)]);
}

#[test]
fn each_mistake_in_a_variable_has_its_name() {
    for (name, value, code, cure) in [
        ("DAYLILY_SERVER__LISEN", "x", Code::SettingUnknown, "use `DAYLILY_SERVER__LISTEN`, or unset it"),
        ("DAYLILY_X__Y", "x", Code::SettingUnknown, "unset it"),
        ("DAYLILY_server__listen", "x", Code::SettingUnknown, "unset it"),
        ("DAYLILY_SERVER__LISTEN", "x", Code::SettingMalformed, "write it like"),
        ("DAYLILY_SERVER__BEHIND_PROXY", "yes", Code::SettingMalformed, "write it like true"),
        ("DAYLILY_DATABASE__URL", "postgres://", Code::SettingMalformed, "remove it"),
        ("DAYLILY_BLOBS__MAIN__S3", "", Code::SettingMalformed, "remove it"),
    ] {
        let issues = from_variables(&[(name, value)]).unwrap_err();
        assert_eq!(issues.len(), 1, "{name} {issues:?}");
        assert_eq!((issues[0].code(), issues[0].where_is()), (code, &Place::Flag(name.to_owned())));
        assert!(issues[0].cure().starts_with(cure), "{name}: {}", issues[0].cure());
    }
}

#[test]
fn an_address_that_others_reach_needs_a_base_url_and_cover() {
    let base = "base-url = 'https://a.example'\n";
    let listen = "[server]\nlisten = '0.0.0.0:80'\n";
    for (more, lacking) in [
        ("", "without TLS and a base URL"),
        (base, "without TLS"),
        ("behind-proxy = true\n", "without a base URL"),
        ("tls = { certificate = 'c', key = 'k' }\n", "without a base URL"),
    ] {
        let issues = from_file(&format!("{listen}{more}")).unwrap_err();
        assert_eq!((issues[0].code(), issues[0].where_is()), (Code::ListenExposed, &line(2, 10)));
        assert_eq!(issues[0].code().entry().exit, 2);
        assert!(issues[0].message().ends_with(lacking), "{issues:?}");
    }
    for cover in ["behind-proxy = true\n", "tls = { certificate = 'c', key = 'k' }\n"] {
        assert!(from_file(&format!("{listen}{base}{cover}")).is_ok());
    }
    for loopback in ["127.0.0.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        assert!(from_file(&format!("server.listen = '{loopback}'")).is_ok(), "{loopback}");
    }
}

#[test]
fn dev_is_for_loopback_and_lets_loopback_out() {
    let settings = Settings::load(&Sources { dev: true, ..Sources::default() }).unwrap();
    assert!(settings.dev && settings.egress.allow_http);
    assert_eq!(settings.egress.allow, ["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
    let text = "[server]\nlisten = '10.0.0.1:80'\nbase-url = 'https://a.example'\nbehind-proxy = true";
    let file = Some(("f".to_owned(), text.to_owned()));
    let issues = Settings::load(&Sources { dev: true, file, ..Sources::default() }).unwrap_err();
    assert_eq!(issues[0].code(), Code::SettingConflict);
}

#[test]
fn every_key_of_the_table_is_read_and_its_example_is_taken() {
    for key in keys::KEYS {
        let needs = match key.path {
            "server.trusted-proxies" => "server.behind-proxy = true\n",
            "server.tls.certificate" => "server.tls.key = 'x'\n",
            "server.tls.key" => "server.tls.certificate = 'x'\n",
            "scan.engines" => "scan.clamd = 'unix:/run/clamd'\n",
            "scan.clamd" => "scan.engines = ['clamd']\n",
            _ => "",
        };
        let good = from_file(&format!("{needs}{} = {}", key.path, key.example));
        assert!(good.is_ok(), "{} {good:?}", key.path);
        // No setting is a date: what is not read cannot refuse one.
        let issues = from_file(&format!("{needs}{} = 2026-11-23", key.path)).unwrap_err();
        assert!(issues[0].message().starts_with(key.path), "{} {issues:?}", key.path);
    }
    for row in LIMITS {
        assert!(from_file(&format!("limits.{} = 2026-11-23", row.name)).is_err(), "{}", row.name);
    }
}

#[test]
fn the_committed_page_is_the_table() {
    let committed = include_str!("../../../docs/settings.md");
    let hint = "docs/settings.md differs from the code: run `cargo test write_the_pages -- --ignored` and commit what it writes";
    assert!(committed == settings_markdown(), "{hint}");
}

#[test]
#[ignore = "writes docs/limits.md and docs/settings.md"]
fn write_the_pages() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    std::fs::write(docs.join("limits.md"), limits_markdown()).unwrap();
    std::fs::write(docs.join("settings.md"), settings_markdown()).unwrap();
}

proptest! {
    #[test]
    fn any_file_gives_settings_or_issues(text in "(?s).{0,200}") {
        let _ = from_file(&text);
    }

    #[test]
    fn a_file_with_one_thing_changed_gives_settings_or_issues(at in 0_usize..WHOLE.len(), with in "(?s).{0,3}") {
        let mut text = WHOLE.to_owned();
        text.replace_range(at..=at, &with);
        if let Err(issues) = from_file(&text) {
            prop_assert!(!issues.is_empty());
        }
    }
}

#[test]
fn addresses_of_clamd_have_two_forms() {
    let tcp = |host: &str, port| Some(ClamdAddress::Tcp(host.to_owned(), port));
    let socket = ClamdAddress::Unix("/run/clamav/clamd.ctl".into());
    assert_eq!(ClamdAddress::parse("unix:/run/clamav/clamd.ctl"), Some(socket));
    assert_eq!(ClamdAddress::parse("tcp:127.0.0.1:3310"), tcp("127.0.0.1", 3310));
    assert_eq!(ClamdAddress::parse("tcp:scanner.hospital.example:3310"), tcp("scanner.hospital.example", 3310));
    assert_eq!(ClamdAddress::parse("tcp:[::1]:3310"), tcp("::1", 3310));
    let long = format!("unix:/{}", "x".repeat(107));
    let others = [
        "",
        "unix:",
        "unix:relative",
        "unix:/a\0b",
        "tcp:",
        "tcp:host",
        "tcp:host:",
        "tcp:host:0",
        "tcp:host:+1",
        "tcp::3310",
        "tcp:host:65536",
        "tcp:::1:3310",
        "tcp:[host]:1",
        "tcp:a b:1",
        "tcp:user@host:1",
        "tcp:host/x:1",
        "/run/clamd",
        "TCP:h:1",
        &long,
    ];
    for other in others {
        assert_eq!(ClamdAddress::parse(other), None, "{other}");
    }
}
