//! What operators and owners of subscriptions write: policies and addresses of webhooks.

use std::net::IpAddr;
use std::time::Duration;

use daylily::config::policy_text;
use daylily::domain::link::MAX_AHEAD;
use daylily::domain::policy::{Decision, Facts};
use daylily::notify::address;
use daylily::notify::egress::{EgressRules, vet_url};

/// Ten thousand days, the longest span that can be written.
const LONGEST: Duration = Duration::from_secs(864_000_000);

/// A policy that is taken bounds every window and every link; what it decides is stored and read back as it was. A text with mistakes
/// says where each stands.
pub fn policy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match policy_text::parse("policy.toml", text) {
        Ok(policy) => {
            crate::taken();
            for decision in std::iter::once(&policy.default).chain(policy.rules.iter().map(|rule| &rule.decision)) {
                bounded(decision);
                assert_eq!(Decision::decode(&decision.encode()).as_ref(), Ok(decision), "stored as something else");
            }
            assert!(policy.rules.len() <= policy_text::MOST_RULES);
            let _ = policy.decide(&Facts::default());
            assert!(policy.largest_size() >= policy.default.max_size);
        }
        Err(mistakes) => {
            assert!(!mistakes.is_empty(), "refused without a reason");
            let lines = text.split('\n').count();
            for mistake in mistakes {
                assert!((1..=lines).contains(&mistake.line) && mistake.column >= 1 && mistake.width >= 1);
                assert!(!mistake.what.is_empty() && !mistake.cure.is_empty());
                let shown = mistake.render();
                assert!(!shown.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "a terminal would obey");
                let _ = (mistake.to_json(), mistake.to_issue());
            }
        }
    }
}

fn bounded(decision: &Decision) {
    let spans = [
        decision.upload_within,
        decision.scan_within,
        decision.quarantine_keep,
        decision.retain,
        decision.purge_after,
        decision.link.max_transfer,
        decision.link.grace,
    ];
    assert!(spans.iter().all(|span| *span <= LONGEST), "an endless window");
    assert!(!decision.retain.is_zero() && decision.max_size > 0);
    let link = &decision.link;
    assert!(!link.lifetime.is_zero() && link.lifetime <= link.max_lifetime && link.max_lifetime <= MAX_AHEAD);
    assert!(!decision.rule.is_empty() && !decision.store.is_empty());
    assert!(link.max_uses == 0 || link.uses <= link.max_uses);
}

/// An address that is taken is https on a port for it, with a host that is none of the inside, as another reader of addresses sees it.
pub fn webhook(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let rules = EgressRules { allow: Vec::new(), allow_http: false, own: Some(("docs.example".to_owned(), 443)) };
    let Ok(url) = vet_url(text, &rules) else { return };
    crate::taken();
    assert_eq!(url.scheme(), "https");
    assert!(url.username().is_empty() && url.password().is_none());
    let host = url.host_str().expect("no host");
    assert!(
        host != "docs.example" && host != "localhost" && !host.ends_with(".internal") && !host.ends_with(".localhost")
    );
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        assert!(address::is_public(address) && !address.is_loopback() && !address.is_unspecified());
    }
    let port = url.port_or_known_default().expect("no port");
    assert!(port == 443 || port >= 1024);
    assert_eq!(vet_url(url.as_str(), &rules).expect("it is refused as it is called"), url);
}
