//! What a policy's decisions mean, in words and as JSON, and what in them a person should think about again. Values only: who
//! prints them is beside it.

use serde_json::{Value, json};

use crate::domain::clock::write_span;
use crate::domain::policy::{ANY, BoundNetwork, Decision, DeliveredWhen, NotifyContent, Policy};
use crate::domain::verdict::Engine;

/// A doubt about a policy: code, what, cure.
pub(super) type Doubt = (&'static str, String, String);

/// What a decision does, one line for each part: name and words.
pub(super) fn lines(decision: &Decision) -> Vec<(&'static str, String)> {
    vec![
        ("so", kept(decision)),
        ("scan", scanned(decision)),
        ("delivered", delivered(decision)),
        ("links", links(decision)),
        ("told", told(decision)),
    ]
}

fn kept(decision: &Decision) -> String {
    let (retain, purge) = (write_span(decision.retain), write_span(decision.purge_after));
    format!("kept {retain} from {}, purged {purge} later", decision.retain_from.name())
}

fn scanned(decision: &Decision) -> String {
    let engines: Vec<&str> = decision.scan.iter().map(|engine| engine.name()).collect();
    let required = if decision.require_antivirus { ", an antivirus engine in any case" } else { "" };
    let release = if decision.allow_override { "two operators may release it" } else { "nobody may release it" };
    let keep = write_span(decision.quarantine_keep);
    let terms = &decision.antivirus;
    let fresh = terms
        .signatures_within
        .map_or_else(String::new, |span| format!(", with signatures within {}", write_span(span)));
    let version = terms.version.map_or_else(String::new, |version| format!(", of version {version} or later"));
    format!("by {}{required}{version}{fresh}; what is found is held back {keep}, {release}", engines.join(" and "))
}

fn delivered(decision: &Decision) -> String {
    let named = decision.recipients.join(", ");
    match (decision.delivered_when, named.as_str()) {
        (DeliveredWhen::First, "") => "at the first complete download".to_owned(),
        (DeliveredWhen::First, named) => format!("at the first complete download; for {named}"),
        (DeliveredWhen::All, "") => "at the first complete download (no recipients are named)".to_owned(),
        (DeliveredWhen::All, named) => format!("when each of {named} has it"),
        (DeliveredWhen::Acknowledged, "") => "when a reader has acknowledged it".to_owned(),
        (DeliveredWhen::Acknowledged, named) => format!("when each of {named} has acknowledged it"),
    }
}

fn links(decision: &Decision) -> String {
    let link = &decision.link;
    let mut words = format!("last {}, at most {}", write_span(link.lifetime), write_span(link.max_lifetime));
    match (link.uses, link.max_uses) {
        (0, 0) => {}
        (0, most) => words.push_str(&format!("; at most {most} uses")),
        (1, _) => words.push_str("; one use"),
        (uses, _) => words.push_str(&format!("; {uses} uses")),
    }
    if link.bind_address {
        words.push_str(&bound(link.network));
    }
    if link.confirm {
        words.push_str("; after a person's confirmation");
    }
    words
}

fn bound(network: BoundNetwork) -> String {
    match network {
        BoundNetwork { v4: 32, v6: 128 } => "; from one address".to_owned(),
        BoundNetwork { v4, v6 } => format!("; from one network (/{v4}, in IPv6 /{v6})"),
    }
}

fn told(decision: &Decision) -> String {
    match decision.notify {
        NotifyContent::Metadata => "without title and names".to_owned(),
        NotifyContent::Complete => "with title and names, where a Subscription asks for the resource".to_owned(),
    }
}

/// A decision under the keys of a policy text.
pub(super) fn json(decision: &Decision) -> Value {
    let link = &decision.link;
    let engines: Vec<&str> = decision.scan.iter().map(|engine| engine.name()).collect();
    json!({
        "rule": decision.rule, "store": decision.store, "scan": engines,
        "require-antivirus": decision.require_antivirus,
        "signatures-within": decision.antivirus.signatures_within.map_or_else(|| ANY.to_owned(), write_span),
        "antivirus-version": decision.antivirus.version.map_or_else(|| ANY.to_owned(), |version| version.to_string()),
        "accept": decision.accept, "max-size": decision.max_size,
        "upload-within": write_span(decision.upload_within), "scan-within": write_span(decision.scan_within),
        "quarantine-keep": write_span(decision.quarantine_keep), "retain": write_span(decision.retain),
        "retain-from": decision.retain_from.name(), "purge-after": write_span(decision.purge_after),
        "delivered-when": decision.delivered_when.name(), "recipients": decision.recipients,
        "notify": decision.notify.name(), "allow-override": decision.allow_override,
        "link": {
            "lifetime": write_span(link.lifetime), "max-lifetime": write_span(link.max_lifetime),
            "uses": link.uses, "max-uses": link.max_uses, "bind-address": link.bind_address,
            "network-v4": link.network.v4, "network-v6": link.network.v6, "confirm": link.confirm,
            "grace": write_span(link.grace), "max-transfer": write_span(link.max_transfer),
        },
    })
}

/// What is allowed, and should be thought about again, with these engines set up. Each names the first rule that it is about.
pub(super) fn doubts(policy: &Policy, engines: &[Engine]) -> Vec<Doubt> {
    let decisions = || std::iter::once(&policy.default).chain(policy.rules.iter().map(|rule| &rule.decision));
    let waits = |decision: &&Decision| {
        decision.waits_for_antivirus(engines) || decision.scan.iter().any(|engine| !engines.contains(engine))
    };
    let alone = |decision: &&Decision| !decision.scan.contains(&Engine::Rules);
    let mut doubts = Vec::new();
    if let Some(decision) = decisions().find(waits) {
        doubts.push((
            "scan-engine-missing",
            format!("documents under rule {} wait: it asks for an engine that is not set up", decision.rule),
            "set [scan] engines = [\"rules\", \"clamd\"] and start the server again".to_owned(),
        ));
    }
    if let Some(decision) = decisions().find(alone) {
        doubts.push((
            "rules-not-asked",
            format!(
                "rule {} asks clamd alone, which calls a zip clean when one entry is larger than it looks into",
                decision.rule
            ),
            "set scan = [\"rules\", \"clamd\"] in that rule: the built-in rules bound what a zip may unpack to"
                .to_owned(),
        ));
    }
    doubts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::policy_text;

    fn policy(text: &str) -> Policy {
        policy_text::parse("policy.toml", text).unwrap()
    }

    #[test]
    fn every_key_that_a_rule_sets_is_told() {
        let text = "[default]\nscan = [\"rules\", \"clamd\"]\nrequire-antivirus = true\nsignatures-within = \"48h\"\nantivirus-version = \"1.4.3\"\nallow-override = true\n\
            quarantine-keep = \"9d\"\nrecipients = [\"ehr\"]\ndelivered-when = \"acknowledged\"\nretain-from = \"acknowledged\"\n\
            notify = \"complete\"\nlink = { lifetime = \"5m\", uses = 1, max-uses = 2, bind-address = true, network-v4 = 24, network-v6 = 64, confirm = true }\n";
        let policy = policy(text);
        let told: Vec<String> = lines(&policy.default).into_iter().map(|(_, words)| words).collect();
        assert_eq!(
            told,
            [
                "kept 3d from acknowledged, purged 1d later",
                "by rules and clamd, an antivirus engine in any case, of version 1.4.3 or later, with signatures within 2d; what is found is held back 9d, two operators may release it",
                "when each of ehr has acknowledged it",
                "last 5m, at most 1d; one use; from one network (/24, in IPv6 /64); after a person's confirmation",
                "with title and names, where a Subscription asks for the resource",
            ]
        );
        let json = json(&policy.default);
        for key in policy_text::SHIPPED.lines().filter_map(|line| line.split_once(" = ")).map(|(key, _)| key.trim()) {
            let later = ["approve", "archive", "serve", "expiring-before"];
            assert!(json.get(key).is_some() || later.contains(&key) || key.starts_with('#'), "{key}");
        }
    }

    #[test]
    fn clamd_alone_and_an_engine_that_is_not_set_up_are_told() {
        let codes = |text: &str, engines: &[Engine]| -> Vec<&str> {
            doubts(&policy(text), engines).into_iter().map(|(code, ..)| code).collect()
        };
        let (both, rules) = ([Engine::Rules, Engine::Clamd], [Engine::Rules]);
        assert!(codes(policy_text::SHIPPED, &rules).is_empty() && codes(policy_text::SHIPPED, &both).is_empty());
        assert_eq!(codes("[default]\nscan = [\"clamd\"]\n", &both), ["rules-not-asked"]);
        assert_eq!(codes("[default]\nscan = [\"clamd\"]\n", &rules), ["scan-engine-missing", "rules-not-asked"]);
        assert_eq!(codes("[default]\nrequire-antivirus = true\n", &rules), ["scan-engine-missing"]);
        assert!(codes("[default]\nrequire-antivirus = true\n", &both).is_empty());
        let rule = "[[rule]]\nname = \"x\"\nscan = [\"clamd\"]\nwhen = { client = [\"a\"] }\n";
        assert_eq!(codes(rule, &both), ["rules-not-asked"]);
    }
}
