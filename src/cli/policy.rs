//! `policy check`, `explain`, `apply`, `show`.

use std::path::Path;

use serde_json::{Value, json};

use super::arguments::{Policy, PolicyApply, PolicyExplain};
use super::message::{Failure, of_mistakes};
use super::terminal::Terminal;
use super::words::{Zone, counted};
use super::{backend, input, policy_terms};
use crate::app::Nature;
use crate::config::{Mistake, policy_text};
use crate::control::{PolicyView, Request, Response};
use crate::domain::clock::Timestamp;
use crate::domain::id::ClientId;
use crate::domain::policy::{ConditionKey, Explanation, Outcome, RuleReport};
use crate::domain::refusal::{Code, Refusal};

/// Runs one of them.
pub(super) async fn run(command: Policy, terminal: &Terminal, nature: &Nature) -> Result<u8, Failure> {
    match command {
        Policy::Check { file } => check(&file, terminal),
        Policy::Explain(explain) => self::explain(explain, terminal, nature).await,
        Policy::Apply(apply) => self::apply(apply, terminal, nature).await,
        Policy::Show { place } => show(&place, terminal, nature).await,
    }
}

fn check(path: &Path, terminal: &Terminal) -> Result<u8, Failure> {
    let name = path.display().to_string();
    let text = input::file("FILE", path)?;
    let mistakes = match policy_text::parse(&name, &text) {
        Ok(policy) => {
            let rules = u64::try_from(policy.rules.len()).unwrap_or(u64::MAX);
            if terminal.json {
                terminal.say_json(&json!({ "valid": true, "rules": rules, "mistakes": [] }));
            } else {
                terminal.say(&format!("ok: {} and the default, no mistake", counted(rules, "rule")));
            }
            return Ok(0);
        }
        Err(mistakes) => mistakes,
    };
    if terminal.json {
        let list: Vec<Value> = mistakes.iter().map(Mistake::to_json).collect();
        terminal.say_json(&json!({ "valid": false, "mistakes": list }));
    } else {
        mistakes.iter().for_each(|mistake| terminal.complain(&mistake.render()));
        let count = counted(u64::try_from(mistakes.len()).unwrap_or(u64::MAX), "mistake");
        terminal.tell(&format!("{count} in {name}; the running server keeps the policy it has"));
    }
    Ok(1)
}

async fn explain(explain: PolicyExplain, terminal: &Terminal, nature: &Nature) -> Result<u8, Failure> {
    let document = input::file("--document", &explain.document)?;
    let client = explain.client.as_deref().unwrap_or("any");
    let client = ClientId::parse(client)
        .ok_or_else(|| Failure::flag("--client", "must be a client's id", "write it like `--client ward-viewer`"))?;
    let (name, text) = match &explain.policy {
        Some(path) => (path.display().to_string(), input::file("--policy", path)?),
        None => {
            let settings = input::settings(&explain.place, Vec::new(), false)?;
            ("the active policy".to_owned(), active(&settings, nature, terminal).await?.text)
        }
    };
    let policy = match policy_text::parse(&name, &text) {
        Ok(policy) => policy,
        // Beside the document, the policy is not this command's subject.
        Err(mistakes) => return refused(&mistakes, &format!("{name} cannot explain anything"), 2, terminal),
    };
    let facts = crate::app::facts_of(&document, &client).map_err(not_a_document)?;
    let explanation = policy.explain(&facts);
    let decision = policy.decide(&facts);
    if terminal.json {
        let decided = policy_terms::json(decision);
        let rules: Vec<Value> = explanation.rules.iter().map(rule_json).collect();
        terminal.say_json(&json!({ "rule": explanation.rule, "rules": rules, "decision": decided }));
        return Ok(0);
    }
    say_explanation(&explanation, terminal);
    for (name, words) in policy_terms::lines(decision) {
        terminal.say(&format!("  {name:10}  {words}"));
    }
    Ok(0)
}

fn say_explanation(explanation: &Explanation, terminal: &Terminal) {
    terminal.say(&format!("rule {} decides", explanation.rule));
    for report in &explanation.rules {
        terminal.say(&format!("  {:10}  {}", report.rule, why(report)));
    }
    let matched = explanation.rules.iter().any(|report| matches!(report.outcome, Outcome::Matched(_)));
    if !matched {
        terminal.say("  default     no rule matched");
    }
}

fn why(report: &RuleReport) -> String {
    match &report.outcome {
        Outcome::Matched(held) if held.is_empty() => "matched: it has no conditions".to_owned(),
        Outcome::Matched(held) => {
            let held: Vec<String> = held.iter().map(|held| format!("{} has {}", held.key.name(), held.by)).collect();
            format!("matched: {}", held.join(", "))
        }
        Outcome::Failed { key, asked, present } => {
            let asked = asked.join(" or ");
            let has = match (key, *present) {
                (ConditionKey::Client, _) => "it comes from another (see `--client`)",
                (_, true) => "the document has another",
                (_, false) => "the document has none",
            };
            format!("not: it asks {} for {asked}, and {has}", key.name())
        }
        Outcome::NotReached => "not reached: a rule before it decides".to_owned(),
    }
}

fn rule_json(report: &RuleReport) -> Value {
    let outcome = match &report.outcome {
        Outcome::Matched(_) => "matched",
        Outcome::Failed { .. } => "failed",
        Outcome::NotReached => "not-reached",
    };
    json!({ "rule": report.rule, "outcome": outcome, "why": why(report) })
}

fn not_a_document(refusal: Refusal) -> Failure {
    // The file is the command's input, not its subject.
    Failure::from(refusal).with_exit(2)
}

/// A policy with mistakes: each with its line, then what came of it.
fn refused(mistakes: &[Mistake], outcome: &str, exit: u8, terminal: &Terminal) -> Result<u8, Failure> {
    if terminal.json {
        return Err(of_mistakes(mistakes, exit));
    }
    mistakes.iter().for_each(|mistake| terminal.complain(&mistake.render()));
    terminal.tell(outcome);
    Ok(exit)
}

async fn apply(apply: PolicyApply, terminal: &Terminal, nature: &Nature) -> Result<u8, Failure> {
    let settings = input::settings(&apply.place, Vec::new(), false)?;
    let name = apply.file.display().to_string();
    let text = input::file("FILE", &apply.file)?;
    input::reason(&apply.reason)?;
    let policy = match policy_text::parse(&name, &text) {
        Ok(policy) => policy,
        Err(mistakes) => return refused(&mistakes, &format!("{name} was not applied"), 1, terminal),
    };
    for (_, what, cure) in policy_terms::doubts(&policy, &settings.scan.engines) {
        terminal.warn(&what, &cure);
    }
    if apply.dry_run {
        let now = active(&settings, nature, terminal).await?;
        let same = now.text == text;
        terminal.say(if same {
            "would change nothing: it is the active policy"
        } else {
            "would replace the active policy"
        });
        return Ok(0);
    }
    let request = Request::PolicyApply { text, file: name.clone(), reason: apply.reason };
    let Response::Policy(policy) = backend::perform(&settings, nature, terminal, request).await? else {
        return Err(backend::unexpected());
    };
    if terminal.json {
        terminal.say_json(&policy_json(&policy));
    } else {
        let short: String = policy.digest.chars().take(6).collect();
        terminal.say(&format!("applied: {name} is now active ({short})"));
        terminal.tell("note: documents that are here keep what was decided for them");
    }
    Ok(0)
}

async fn show(place: &super::arguments::Place, terminal: &Terminal, nature: &Nature) -> Result<u8, Failure> {
    let settings = input::settings(place, Vec::new(), false)?;
    let policy = active(&settings, nature, terminal).await?;
    if terminal.json {
        terminal.say_json(&policy_json(&policy));
        return Ok(0);
    }
    terminal.say(policy.text.trim_end());
    let short: String = policy.digest.chars().take(6).collect();
    let at = Timestamp::parse(&policy.at).map_or(policy.at.clone(), |at| zone(terminal).moment(at));
    terminal.tell(&format!("note: {short}, applied {at} by {} ({})", policy.actor, policy.reason));
    Ok(0)
}

fn zone(terminal: &Terminal) -> Zone {
    terminal.zone
}

fn policy_json(policy: &PolicyView) -> Value {
    serde_json::to_value(policy).unwrap_or(Value::Null)
}

async fn active(
    settings: &crate::config::Settings,
    nature: &Nature,
    terminal: &Terminal,
) -> Result<PolicyView, Failure> {
    match backend::perform(settings, nature, terminal, Request::PolicyShow {}).await? {
        Response::Policy(policy) => Ok(policy),
        _ => Err(Failure::other(Code::ServerUnreachable, "start server and command from the same version")),
    }
}
