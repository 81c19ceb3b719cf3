//! Mistakes by line and column, counted by hand in the texts below; texts made from a model and read back.

use proptest::prelude::*;

use super::*;
use crate::config::quantity::write_size;
use crate::domain::clock::write_span;
use crate::domain::policy::{AntivirusTerms, BoundNetwork, CodeTest, Condition, EngineVersion, Rule};

fn mistakes(text: &str) -> Vec<Mistake> {
    parse("policy.toml", text).unwrap_err()
}

/// Line, column, width and key of the only mistake, and its text.
fn only(text: &str) -> (usize, usize, usize, String, String, String) {
    let all = mistakes(text);
    assert_eq!(all.len(), 1, "{text}\n{all:#?}");
    let Mistake { line, column, width, key, what, cure, .. } = all.into_iter().next().unwrap();
    (line, column, width, key, what, cure)
}

#[test]
fn the_shipped_text_says_what_is_built_in() {
    assert_eq!(parse("default.toml", SHIPPED), Ok(Policy { default: built_in(), rules: Vec::new() }));
    assert_eq!(parse("empty.toml", ""), Ok(Policy { default: built_in(), rules: Vec::new() }));
}

#[test]
fn a_rule_takes_what_it_leaves_out_from_the_default() {
    let text = "[[rule]]\nname = \"letters\"\nwhen = { type = [\"http://loinc.org|18842-5\"], category = [] }\n\
        retain = \"7d\"\nlink = { lifetime = \"5m\", uses = 0 }\n[default]\nmax-size = \"1MiB\"\nrecipients = [\"ward\"]\n";
    let policy = parse("p", text).unwrap();
    let rule = &policy.rules[0];
    let decision = &rule.decision;
    assert_eq!(
        (decision.rule.as_str(), decision.max_size, &*decision.recipients),
        ("letters", 1 << 20, &["ward".to_owned()][..])
    );
    assert_eq!(decision.retain, Duration::from_secs(7 * 86_400));
    assert_eq!(decision.link, LinkTerms { lifetime: Duration::from_secs(300), ..built_in().link });
    assert_eq!(rule.when.kind, [CodeTest::parse("http://loinc.org|18842-5").unwrap()]);
    assert_eq!(policy.default.retain, built_in().retain);
}

#[test]
fn a_mistake_is_printed_as_the_words_have_it() {
    let lines = "\n".repeat(12);
    let text = format!("[[rule]]{lines}name = \"a\"\nretian = \"7d\"\n");
    let expected = "error[policy-mistake]: `retian` is not a key of a rule\n  --> policy.toml:14:1\n   |\n\
        14 | retian = \"7d\"\n   | ^^^^^^\n   = cure: use `retain`\n";
    assert_eq!(mistakes(&text)[0].render(), expected);

    let text = format!(
        "[[rule]]\nname = \"a\"\nretain = \"12h\"{}link = {{ lifetime = \"24h\", uses = 0 }}\n",
        "\n".repeat(19)
    );
    let expected = "error[policy-mistake]: `link.lifetime` is longer than the file is kept (`retain` = 12h)\n\
        \x20 --> policy.toml:22:21\n   |\n22 | link = { lifetime = \"24h\", uses = 0 }\n   |                     ^^^^^\n\
        \x20  = cure: at most \"12h\", or a longer `retain`\n";
    assert_eq!(mistakes(&text)[0].render(), expected);
}

#[test]
fn a_quoted_line_cannot_drive_the_terminal_and_a_tab_stays_one() {
    let rendered = mistakes("[default]\n\tretain = 'x'\t# \u{1b}[2J\n")[0].render();
    assert!(!rendered.contains('\u{1b}'), "{rendered}");
    let rendered = mistakes("[default]\n\tretian = '1h'\n")[0].render();
    assert!(rendered.contains("\n2 | \tretian = '1h'\n  | \t^^^^^^\n"), "{rendered}");
}

#[test]
fn the_json_twin_has_place_key_message_and_cure() {
    let json = mistakes("[default]\nretain = 5\n")[0].to_json();
    assert_eq!(json["line"], 2);
    assert_eq!(json["column"], 10);
    assert_eq!(json["key"], "retain");
    assert_eq!(json["message"], "`retain` is not a span of time");
    assert!(json["cure"].as_str().unwrap().contains("72h"));
}

/// Line, column, width, key, how the message begins.
type Row = (&'static str, usize, usize, &'static str, &'static str);

const DEFAULT_MISTAKES: &[Row] = &[
    ("retain = \"3 days\"", 10, 8, "retain", "`retain` is not a span of time"),
    ("retain = \"0h\"", 10, 4, "retain", "`retain` is zero"),
    ("max-size = \"512MB\"", 12, 7, "max-size", "`max-size` is not a size"),
    ("max-size = \"0B\"", 12, 4, "max-size", "`max-size` is zero"),
    ("max-size = 5", 12, 1, "max-size", "`max-size` is not a size"),
    ("accept = []", 10, 2, "accept", "`accept` is empty: no file could ever be taken"),
    ("accept = [\"image/*\"]", 11, 9, "accept", "no media type in `accept`"),
    ("accept = [\"a/b\", \"Image/PNG\"]", 18, 11, "accept", "no media type in `accept`"),
    ("accept = [\"a/b\", \"a/b\"]", 18, 5, "accept", "`accept` names this twice"),
    ("accept = \"a/b\"", 10, 5, "accept", "`accept` is not a list"),
    ("scan = []", 8, 2, "scan", "`scan` is empty: nothing could ever be released"),
    ("scan = [\"rules\", \"other\"]", 18, 7, "scan", "this engine is not served by this version"),
    ("store = \"other\"", 9, 7, "store", "there is no blob store of this name"),
    ("store = 1.5", 9, 3, "store", "`store` is not a text"),
    ("require-antivirus = \"yes\"", 21, 5, "require-antivirus", "`require-antivirus` is neither true nor false"),
    ("retain-from = \"redy\"", 15, 6, "retain-from", "`retain-from` has no such value"),
    ("expiring-before = \"10%\"", 19, 5, "expiring-before", "`expiring-before` is not served by this version"),
    ("approve = \"custodian\"", 11, 11, "approve", "`approve` is not served by this version"),
    ("approve = false", 11, 5, "approve", "`approve` is not a text in quotes"),
    ("archive = true", 11, 4, "archive", "`archive` is not served by this version"),
    ("notify = \"all\"", 10, 5, "notify", "`notify` has no such value"),
    ("serve = \"redirect\"", 9, 10, "serve", "`serve` is not served by this version"),
    ("allow-override = 1", 18, 1, "allow-override", "`allow-override` is neither true nor false"),
    ("recipients = [\"a b\"]", 15, 5, "recipients", "no client id in `recipients`"),
    ("link = { uses = -1 }", 17, 2, "link.uses", "`link.uses` is not a count"),
    (
        "link = { max-uses = 3, uses = 4 }",
        31,
        1,
        "link.uses",
        "`link.uses` is more than a link may have (`link.max-uses` = 3)",
    ),
    ("link = { max-use = 3 }", 10, 7, "link.max-use", "`link.max-use` is not a key of `link`"),
    ("link = { network-v4 = 7 }", 23, 1, "link.network-v4", "`link.network-v4` is no length of a prefix"),
    ("link = { network-v6 = \"64\" }", 23, 4, "link.network-v6", "`link.network-v6` is no length of a prefix"),
    ("signatures-within = \"0s\"", 21, 4, "signatures-within", "`signatures-within` is no span of time"),
    ("antivirus-version = \"new\"", 21, 5, "antivirus-version", "`antivirus-version` is no version"),
    ("link = { bind-address = 1 }", 25, 1, "link.bind-address", "`link.bind-address` is neither true nor false"),
    ("link = { confirm = \"yes\" }", 20, 5, "link.confirm", "`link.confirm` is neither true nor false"),
    (
        "link = { grace = \"31m\" }",
        18,
        5,
        "link.grace",
        "`link.grace` is longer than a transfer may run (`link.max-transfer` = 30m)",
    ),
    ("link = { lifetim = \"5s\" }", 10, 7, "link.lifetim", "`link.lifetim` is not a key of `link`"),
    ("link.max-transfer = \"soon\"", 21, 6, "link.max-transfer", "`link.max-transfer` is not a span of time"),
    ("link = \"15m\"", 8, 5, "link", "`link` is not a table"),
    (
        "link = { lifetime = \"25h\" }",
        21,
        5,
        "link.lifetime",
        "`link.lifetime` is longer than a link may be (`link.max-lifetime` = 1d)",
    ),
    (
        "link = { max-lifetime = \"10m\" }",
        25,
        5,
        "link.max-lifetime",
        "`link.lifetime` is longer than a link may be (`link.max-lifetime` = 10m)",
    ),
    ("retain = \"14m\"", 10, 5, "retain", "`link.lifetime` is longer than the file is kept (`retain` = 14m)"),
    ("name = \"x\"", 1, 4, "name", "`name` is not a key of `[default]`"),
    ("\u{fc} = 1", 1, 1, "", "not well-formed TOML"),
];

#[test]
fn each_mistake_in_default_has_its_place() {
    for (line, column, width, key, what) in DEFAULT_MISTAKES {
        let found = only(&format!("# a comment\n[default]\n{line}\n"));
        assert_eq!((found.0, found.1), (3, *column), "{line}: {found:?}");
        assert!(found.4.starts_with(what), "{line}: {}", found.4);
        if !key.is_empty() {
            assert_eq!((found.2, found.3.as_str()), (*width, *key), "{line}");
        }
        assert!(!found.5.is_empty(), "{line}");
    }
}

#[test]
fn each_mistake_about_rules_has_its_place() {
    let rule = |body: &str| format!("[[rule]]\nname = \"a\"\n{body}\n");
    let table: &[(String, usize, usize, &str)] = &[
        ("[[rule]]\nretain = \"1d\"\n".to_owned(), 1, 1, "a rule has no `name`"),
        ("[[rule]]\nname = \"default\"\n".to_owned(), 2, 8, "`default` names what holds where no rule matches"),
        ("[[rule]]\nname = \"a b\"\n".to_owned(), 2, 8, "`name` holds a character"),
        ("[rule]\nname = \"a\"\n".to_owned(), 1, 2, "`rule` is not a list of tables"),
        ("rule = [1]\n".to_owned(), 1, 9, "a rule is not a table"),
        ("default = 1\n".to_owned(), 1, 1, "`default` is not a table"),
        ("[defualt]\n".to_owned(), 1, 2, "`defualt` is not a table of a policy"),
        (rule("when = { kind = [\"x\"] }"), 3, 10, "`when.kind` is not a condition"),
        (rule("when = { type = [\"|\"] }"), 3, 18, "no code in `when.type`"),
        (rule("when = { type = \"x\" }"), 3, 17, "`when.type` is not a list"),
        (rule("when = []"), 3, 8, "`when` is not a table"),
        (rule("when = { client = [\"\"] }"), 3, 20, "no client id in `when.client`"),
        (format!("{}{}", rule("when.client = [\"x\"]"), rule("")), 5, 8, "a rule before has this name too"),
        (
            format!("{}[[rule]]\nname = \"b\"\nwhen.type = [\"x\"]\n", rule("")),
            5,
            8,
            "this rule can never match: rule `a` before it",
        ),
        (
            format!("{}[[rule]]\nname = \"b\"\nwhen.type = [\"s|x\"]\n", rule("when.type = [\"y\", \"x\"]")),
            5,
            8,
            "this rule can never match: rule `a` before it",
        ),
        (rule("retain = \"1h\"\nretain = \"2h\""), 4, 1, "not well-formed TOML"),
    ];
    for (text, line, column, what) in table {
        let found = only(text);
        assert_eq!((found.0, found.1), (*line, *column), "{text}{found:?}");
        assert!(found.4.starts_with(what), "{text}{found:?}");
    }
    let narrower_first = format!("{}[[rule]]\nname = \"b\"\nwhen.type = [\"x\"]\n", rule("when.type = [\"s|x\"]"));
    assert!(parse("p", &narrower_first).is_ok());
}

#[test]
fn all_mistakes_are_told_together_in_the_order_of_the_text() {
    let text = "[[rule]]\nname = \"a\"\nretian = \"7d\"\n[default]\nretain = \"7x\"\naccept = []\n";
    let lines: Vec<_> = mistakes(text).into_iter().map(|mistake| (mistake.line, mistake.key)).collect();
    assert_eq!(lines, [(3, "retian".to_owned()), (5, "retain".to_owned()), (6, "accept".to_owned())]);
}

#[test]
fn columns_count_characters_and_lines_may_end_in_crlf() {
    let (line, column, ..) = only("[default]\r\nstore = \"main\"\r\nrecipients = [\"\u{e4}\u{1f600}\", \"ok\"]\r\n");
    assert_eq!((line, column), (3, 15));
    let (line, column, width, ..) = only("[default]\r\nlink = { \"\u{e4}\u{1f600}\" = 1, lifetime = \"5m\" }\r\n");
    assert_eq!((line, column, width), (2, 10, 4));
}

#[test]
fn what_is_too_long_or_too_many_is_refused() {
    assert_eq!(only(&"#".repeat(300_000)).4, "the file is too long");
    let rules: String =
        (0..=MOST_RULES).map(|i| format!("[[rule]]\nname = \"r{i}\"\nwhen.client = [\"c{i}\"]\n")).collect();
    assert_eq!(only(&rules).4, "there are too many rules");
    let deep = format!("x = {}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(only(&deep).4.starts_with("not well-formed TOML"));
}

fn any_decision(name: &'static str) -> impl Strategy<Value = Decision> {
    let span = || (1_u64..10_000_000).prop_map(Duration::from_secs);
    let spans = [(); 5].map(|()| span());
    let link = (1_u64..1_000_000, 0_u64..1_000_000, 0_u64..1_000_000, span());
    let counts = (0_u32..9, 0_u32..9, any::<[bool; 3]>(), prop::sample::select(NotifyContent::ALL.to_vec()));
    let words = (prop::sample::select(RetainFrom::ALL.to_vec()), prop::sample::select(DeliveredWhen::ALL.to_vec()));
    let lists = (
        prop::collection::hash_set(
            "[a-z]{1,5}/[a-z0-9.+-]{1,9}"
                .prop_filter("", |t| !t.contains("/-") && !t.contains("/.") && !t.contains("/+")),
            1..4,
        ),
        prop::collection::hash_set("[A-Za-z0-9._-]{1,64}", 0..3),
    );
    (any::<bool>(), 1_u64..1 << 40, spans, link, words, lists, counts).prop_map(
        move |(
            antivirus,
            max_size,
            spans,
            (lifetime, more, longer, max_transfer),
            (retain_from, delivered_when),
            lists,
            (uses, more_uses, [bind_address, confirm, allow_override], notify),
        )| {
            let [upload_within, scan_within, quarantine_keep, purge_after, grace] = spans;
            Decision {
                rule: name.to_owned(),
                require_antivirus: antivirus,
                accept: lists.0.into_iter().collect(),
                max_size,
                upload_within,
                scan_within,
                quarantine_keep,
                retain: Duration::from_secs(lifetime + longer),
                retain_from,
                purge_after,
                delivered_when,
                recipients: lists.1.into_iter().collect(),
                notify,
                allow_override,
                antivirus: AntivirusTerms {
                    signatures_within: antivirus.then_some(grace),
                    version: confirm.then(|| EngineVersion::parse("1.4.3").unwrap()),
                },
                link: LinkTerms {
                    lifetime: Duration::from_secs(lifetime),
                    max_lifetime: Duration::from_secs(lifetime + more),
                    max_transfer,
                    uses,
                    max_uses: if more_uses == 0 { 0 } else { uses + more_uses },
                    bind_address,
                    network: BoundNetwork {
                        v4: 8 + u8::try_from(uses).unwrap(),
                        v6: 32 + u8::try_from(more_uses).unwrap(),
                    },
                    confirm,
                    grace: grace.min(max_transfer),
                },
                ..built_in()
            }
        },
    )
}

fn written(decision: &Decision) -> String {
    let span = write_span;
    let link = &decision.link;
    format!(
        "store = {:?}\nscan = [\"rules\"]\nrequire-antivirus = {}\naccept = {:?}\nmax-size = \"{}\"\nupload-within = \"{}\"\n\
         scan-within = \"{}\"\nquarantine-keep = \"{}\"\nretain = \"{}\"\nretain-from = \"{}\"\npurge-after = \"{}\"\n\
         delivered-when = \"{}\"\nrecipients = {:?}\nlink = {{ lifetime = \"{}\", max-lifetime = \"{}\", max-transfer = \"{}\", \
         uses = {}, max-uses = {}, bind-address = {}, network-v4 = {}, network-v6 = {}, confirm = {}, grace = \"{}\" }}\nsignatures-within = \"{}\"\n\
         antivirus-version = \"{}\"\nnotify = \"{}\"\nallow-override = {}\n",
        decision.store,
        decision.require_antivirus,
        decision.accept,
        write_size(decision.max_size),
        span(decision.upload_within),
        span(decision.scan_within),
        span(decision.quarantine_keep),
        span(decision.retain),
        decision.retain_from.name(),
        span(decision.purge_after),
        decision.delivered_when.name(),
        decision.recipients,
        span(link.lifetime),
        span(link.max_lifetime),
        span(link.max_transfer),
        link.uses,
        link.max_uses,
        link.bind_address,
        link.network.v4,
        link.network.v6,
        link.confirm,
        span(link.grace),
        decision.antivirus.signatures_within.map_or_else(|| "any".to_owned(), span),
        decision.antivirus.version.map_or_else(|| "any".to_owned(), |version| version.to_string()),
        decision.notify.name(),
        decision.allow_override,
    )
}

proptest! {
    #[test]
    fn a_valid_text_says_what_its_model_says(
        default in any_decision("default"), decision in any_decision("r"),
        clients in prop::collection::hash_set("[A-Za-z0-9._-]{1,64}", 0..3),
        codes in prop::collection::hash_set("([a-z:/]{1,9}\\|)?[0-9-]{1,7}", 0..3),
    ) {
        let codes: Vec<_> = codes.into_iter().collect();
        let clients: Vec<_> = clients.into_iter().collect();
        let text = format!(
            "[default]\n{}[[rule]]\nname = \"r\"\nwhen = {{ type = {codes:?}, client = {clients:?} }}\n{}",
            written(&default), written(&decision),
        );
        let kind = codes.iter().filter_map(|code| CodeTest::parse(code)).collect();
        let when = Condition { kind, client: clients, ..Condition::default() };
        let rules = vec![Rule { name: "r".to_owned(), when, decision }];
        prop_assert_eq!(parse("p", &text), Ok(Policy { default, rules }));
    }

    #[test]
    fn any_text_is_a_policy_or_has_mistakes_that_can_be_printed(text in "(?s).{0,200}") {
        if let Err(all) = parse("p", &text) {
            prop_assert!(!all.is_empty());
            all.iter().for_each(|mistake| assert!(mistake.line > 0 && !mistake.render().is_empty()));
        }
    }

    #[test]
    fn a_policy_with_one_thing_changed_is_a_policy_or_has_mistakes(at in 0_usize..SHIPPED.len(), with in "(?s).{0,3}") {
        let mut text = SHIPPED.to_owned();
        if text.is_char_boundary(at) && text.is_char_boundary(at + 1) {
            text.replace_range(at..=at, &with);
        }
        if let Err(all) = parse("p", &text) {
            prop_assert!(all.iter().all(|mistake| mistake.line <= text.lines().count() + 1));
            all.iter().for_each(|mistake| { mistake.render(); });
        }
    }
}
