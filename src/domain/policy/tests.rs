//! What a policy decides, against a second, plainer reading of the contract, and the stored form of decisions.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn decision(rule: &str) -> Decision {
    Decision {
        rule: rule.to_owned(),
        store: "main".to_owned(),
        scan: vec![Engine::Rules],
        require_antivirus: false,
        antivirus: AntivirusTerms::default(),
        accept: vec!["application/pdf".to_owned()],
        max_size: 512 << 20,
        upload_within: Duration::from_secs(86_400),
        scan_within: Duration::from_secs(86_400),
        quarantine_keep: Duration::from_secs(30 * 86_400),
        retain: Duration::from_secs(72 * 3_600),
        retain_from: RetainFrom::Ready,
        purge_after: Duration::from_secs(86_400),
        delivered_when: DeliveredWhen::First,
        recipients: Vec::new(),
        notify: NotifyContent::Metadata,
        allow_override: false,
        link: LinkTerms {
            lifetime: Duration::from_secs(900),
            max_lifetime: Duration::from_secs(86_400),
            max_transfer: Duration::from_secs(1_800),
            uses: 0,
            max_uses: 0,
            bind_address: false,
            network: BoundNetwork::default(),
            confirm: false,
            grace: Duration::from_secs(60),
        },
    }
}

fn rule(name: &str, when: Condition) -> Rule {
    Rule { name: name.to_owned(), when, decision: decision(name) }
}

fn coding(system: &str, code: &str) -> Coding {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Coding { system: some(system), code: some(code) }
}

fn tests_of(texts: &[&str]) -> Vec<CodeTest> {
    texts.iter().map(|text| CodeTest::parse(text).unwrap()).collect()
}

#[test]
fn the_four_forms_of_a_code_test() {
    let loinc = coding("http://loinc.org", "18842-5");
    let bare = coding("", "18842-5");
    for (text, with_system, without) in [
        ("http://loinc.org|18842-5", true, false),
        ("18842-5", true, true),
        ("http://loinc.org|", true, false),
        ("|18842-5", false, true),
        ("http://loinc.org|x", false, false),
        ("HTTP://LOINC.ORG|18842-5", false, false),
    ] {
        let test = CodeTest::parse(text).unwrap();
        assert_eq!((test.matches(&loinc), test.matches(&bare)), (with_system, without), "{text}");
        assert_eq!(test.to_text(), text);
    }
    assert_eq!(CodeTest::parse(""), None);
    assert_eq!(CodeTest::parse("|"), None);
}

#[test]
fn the_first_rule_that_matches_decides_and_the_explanation_says_why() {
    let letters = Condition { kind: tests_of(&["a|1", "a|2"]), client: vec!["lab".to_owned()], ..Condition::default() };
    let labelled = Condition { security_label: tests_of(&["R"]), ..Condition::default() };
    let policy = Policy {
        default: decision("default"),
        rules: vec![rule("labelled", labelled), rule("letters", letters), rule("rest", Condition::default())],
    };
    let facts = Facts { kind: vec![coding("a", "2")], client: "lab".to_owned(), ..Facts::default() };
    let explained = policy.explain(&facts);
    assert_eq!(explained.rule, "letters");
    let outcomes: Vec<_> = explained.rules.into_iter().map(|report| report.outcome).collect();
    let held = vec![
        Held { key: ConditionKey::Type, by: "a|2".to_owned() },
        Held { key: ConditionKey::Client, by: "lab".to_owned() },
    ];
    let failed = Outcome::Failed { key: ConditionKey::SecurityLabel, asked: vec!["R".to_owned()], present: false };
    assert_eq!(outcomes, [failed, Outcome::Matched(held), Outcome::NotReached]);
}

#[test]
fn without_a_rule_that_matches_the_default_decides() {
    let when = Condition { client: vec!["lab".to_owned()], ..Condition::default() };
    let policy = Policy { default: decision("default"), rules: vec![rule("lab", when)] };
    let facts = Facts { client: "ward".to_owned(), ..Facts::default() };
    assert_eq!(policy.decide(&facts).rule, "default");
    let asked = Outcome::Failed { key: ConditionKey::Client, asked: vec!["lab".to_owned()], present: true };
    assert_eq!(policy.explain(&facts).rules, [RuleReport { rule: "lab".to_owned(), outcome: asked }]);
}

#[test]
fn the_window_begins_where_the_decision_says() {
    let at = Timestamp::from_millis;
    let hour = 3_600_000;
    for from in RetainFrom::ALL {
        let decision = Decision { retain: Duration::from_secs(3_600), retain_from: from, ..decision("d") };
        // What may never happen is not waited for: a file that nobody fetches must not stay for ever.
        let begin = if from == RetainFrom::Created { 0 } else { 1_000 };
        assert_eq!(decision.due(at(0), at(1_000)).millis(), begin + hour, "{from:?}");
    }
}

#[test]
fn a_media_type_is_accepted_without_its_parameters_and_in_any_case() {
    let decision = decision("d");
    assert!(decision.accepts("application/pdf"));
    assert!(decision.accepts("Application/PDF; version=1.7"));
    assert!(!decision.accepts("application/pdfx"));
    assert!(!decision.accepts(""));
}

/// The layout that is on disk: a change here is a change of what stored documents hold, and needs a new version.
const STORED: &str = "daylily-decision 1\nrule default\nstore main\nscan rules\nrequire-antivirus false\n\
    accept application/pdf\nmax-size 536870912\nupload-within 86400\nscan-within 86400\nquarantine-keep 2592000\n\
    retain 259200\nretain-from ready\npurge-after 86400\ndelivered-when first\nlink.lifetime 900\n\
    link.max-lifetime 86400\nlink.max-transfer 1800\n";

#[test]
fn the_stored_forms_stay_as_they_are() {
    let second = STORED.replacen("decision 1", "decision 2", 1)
        + "notify metadata\nallow-override false\nlink.uses 0\nlink.max-uses 0\nlink.bind-address false\n\
           link.confirm false\nlink.grace 60\n";
    let third = second.replacen("decision 2", "decision 3", 1)
        + "signatures-within any\nantivirus-version any\nlink.network-v4 32\nlink.network-v6 128\n";
    assert_eq!(decision("default").encode(), third);
    for (version, text) in [STORED, &second, &third].into_iter().enumerate() {
        assert_eq!(
            Decision::decode(text),
            Ok(decision("default")),
            "what a version wrote is read as it served it: {version}"
        );
    }
    let mut bound = decision("default");
    bound.antivirus.signatures_within = Some(Duration::from_secs(172_800));
    bound.antivirus.version = EngineVersion::parse("1.4.3");
    bound.link.network = BoundNetwork { v4: 24, v6: 64 };
    let text = bound.encode();
    assert!(
        text.ends_with("signatures-within 172800\nantivirus-version 1.4.3\nlink.network-v4 24\nlink.network-v6 64\n"),
        "{text}"
    );
    assert_eq!(Decision::decode(&text), Ok(bound));
    let wide = text.replacen("network-v4 24", "network-v4 7", 1);
    assert_eq!(Decision::decode(&wide), Err(RecordError::Line("link.network-v4")));
}

#[test]
fn a_stored_form_that_is_not_exact_is_refused() {
    let with = |from: &str, to: &str| Decision::decode(&STORED.replacen(from, to, 1));
    assert_eq!(Decision::decode(""), Err(RecordError::NoDecision));
    assert_eq!(with("decision 1", "decision 4"), Err(RecordError::Newer));
    assert_eq!(with("decision 1", "decision 0"), Err(RecordError::NoDecision));
    assert_eq!(with("retain 259200\n", ""), Err(RecordError::Line("retain")));
    assert_eq!(with("retain 259200", "retain 72h"), Err(RecordError::Line("retain")));
    assert_eq!(with("scan rules", "scan icap"), Err(RecordError::Line("scan")));
    assert_eq!(with("retain-from ready", "retain-from never"), Err(RecordError::Line("retain-from")));
    assert_eq!(with("rule default", "rule a\\t"), Err(RecordError::Line("rule")));
    assert_eq!(with("max-size 536870912", "max-size +536870912"), Err(RecordError::Trailing));
    assert_eq!(with("\n", "\r\n"), Err(RecordError::Trailing));
    assert_eq!(Decision::decode(&format!("{STORED}more 1\n")), Err(RecordError::Trailing));
    assert_eq!(Decision::decode(STORED.trim_end()), Err(RecordError::Trailing));
}

fn any_test() -> impl Strategy<Value = CodeTest> {
    let system = prop::option::of(prop::sample::select(vec!["", "s", "t"]).prop_map(str::to_owned));
    let code = prop::option::of(prop::sample::select(vec!["1", "2"]).prop_map(str::to_owned));
    (system, code)
        .prop_map(|(system, code)| CodeTest { system, code })
        .prop_filter("names something", |test| CodeTest::parse(&test.to_text()).is_some())
}

fn any_tests() -> impl Strategy<Value = Vec<CodeTest>> {
    prop::collection::vec(any_test(), 0..3)
}

fn any_clients() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[ab]", 0..3)
}

fn any_condition() -> impl Strategy<Value = Condition> {
    (any_tests(), any_tests(), any_tests(), any_tests(), any_clients()).prop_map(
        |(kind, category, security_label, department, client)| Condition {
            kind,
            category,
            security_label,
            department,
            client,
        },
    )
}

fn any_codings() -> impl Strategy<Value = Vec<Coding>> {
    let coding =
        (prop::option::of("[st]"), prop::option::of("[12]")).prop_map(|(system, code)| Coding { system, code });
    prop::collection::vec(coding, 0..3)
}

fn any_facts() -> impl Strategy<Value = Facts> {
    (any_codings(), any_codings(), any_codings(), any_codings(), "[ab]").prop_map(
        |(kind, category, security_label, department, client)| Facts {
            kind,
            category,
            security_label,
            department,
            client,
        },
    )
}

fn any_decision() -> impl Strategy<Value = Decision> {
    let spans = prop::array::uniform8(0_u64..864_000_000);
    let words = (prop::sample::select(RetainFrom::ALL.to_vec()), prop::sample::select(DeliveredWhen::ALL.to_vec()));
    let lists = (prop::collection::vec(".*", 0..3), prop::collection::vec("(?s).*", 0..3));
    ("(?s).*", "(?s).*", any::<bool>(), any::<u64>(), spans, words, lists).prop_map(
        |(rule, store, require_antivirus, max_size, spans, (retain_from, delivered_when), (accept, recipients))| {
            let [upload, scan, keep, retain, purge, lifetime, longest, transfer] = spans.map(Duration::from_secs);
            Decision {
                rule,
                store,
                require_antivirus,
                accept,
                max_size,
                upload_within: upload,
                scan_within: scan,
                quarantine_keep: keep,
                retain,
                retain_from,
                purge_after: purge,
                delivered_when,
                recipients,
                link: LinkTerms { lifetime, max_lifetime: longest, max_transfer: transfer, ..decision("").link },
                ..decision("")
            }
        },
    )
}

/// The contract's sentence once more: any value within a key, all keys together, absent is no condition.
fn holds_plainly(when: &Condition, facts: &Facts) -> bool {
    let keys = [
        (&when.kind, &facts.kind),
        (&when.category, &facts.category),
        (&when.security_label, &facts.security_label),
        (&when.department, &facts.department),
    ];
    for (tests, codings) in keys {
        let mut found = tests.is_empty();
        for test in tests {
            for coding in codings {
                let system_fits = match &test.system {
                    None => true,
                    Some(wanted) => coding.system.clone().unwrap_or_default() == *wanted,
                };
                let code_fits = test.code.is_none() || test.code == coding.code;
                found = found || (system_fits && code_fits);
            }
        }
        if !found {
            return false;
        }
    }
    when.client.is_empty() || when.client.contains(&facts.client)
}

proptest! {
    #[test]
    fn deciding_is_the_first_rule_of_the_plain_reading(
        conditions in prop::collection::vec(any_condition(), 0..5), facts in any_facts()
    ) {
        let rules: Vec<_> = conditions.into_iter().enumerate().map(|(i, when)| rule(&format!("r{i}"), when)).collect();
        let policy = Policy { default: decision("default"), rules };
        let expected = policy.rules.iter().find(|rule| holds_plainly(&rule.when, &facts));
        let expected = expected.map_or("default", |rule| rule.name.as_str());
        prop_assert_eq!(&policy.decide(&facts).rule, expected);
        let explained = policy.explain(&facts);
        prop_assert_eq!(&explained.rule, expected);
        prop_assert_eq!(explained.rules.len(), policy.rules.len());
        let matched = explained.rules.iter().filter(|report| matches!(report.outcome, Outcome::Matched(_))).count();
        prop_assert_eq!(matched, usize::from(expected != "default"));
    }

    #[test]
    fn a_condition_that_covers_another_holds_wherever_that_does(
        wider in any_condition(), narrower in any_condition(), facts in any_facts()
    ) {
        prop_assert!(wider.covers(&wider));
        if wider.covers(&narrower) && narrower.holds(&facts) {
            prop_assert!(wider.holds(&facts));
        }
    }

    #[test]
    fn a_decision_comes_back_as_it_was_stored(decision in any_decision()) {
        let stored = decision.encode();
        prop_assert_eq!(Decision::decode(&stored), Ok(decision));
    }

    #[test]
    fn any_text_is_a_decision_or_an_error(text in "(?s).*", cut in 0_usize..400) {
        let _ = Decision::decode(&text);
        if let Some(beginning) = STORED.get(..cut).filter(|beginning| *beginning != STORED) {
            prop_assert!(Decision::decode(beginning).is_err());
        }
    }
}
