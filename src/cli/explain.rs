//! `explain`: words for what the records say.

use serde_json::{Value, json};

use super::arguments::Explain;
use super::message::{Failure, Tone, said};
use super::terminal::Terminal;
use super::{backend, input};
use crate::app::Nature;
use crate::control::{ExplainAim, ExplanationView, FactView, Request, Response};
use crate::domain::clock::Timestamp;
use crate::domain::id::LinkId;

/// Runs it.
pub(super) async fn run(command: Explain, terminal: &Terminal, nature: &Nature) -> Result<u8, Failure> {
    let settings = input::settings(&command.place, Vec::new(), false)?;
    let aim = aim(&command.what)?;
    let link = match &aim {
        ExplainAim::Link(_) => true,
        ExplainAim::Reference(text) => LinkId::parse(text).is_some(),
        ExplainAim::Request(_) => false,
    };
    match backend::perform(&settings, nature, terminal, Request::Explain { aim }).await? {
        Response::Explanation(view) => {
            tell(&view, link, terminal);
            Ok(0)
        }
        _ => Err(backend::unexpected()),
    }
}

/// What is asked; a link stands on standard input only, where no shell keeps it.
fn aim(what: &str) -> Result<ExplainAim, Failure> {
    if what == "-" {
        return Ok(ExplainAim::Link(input::stdin_value("explain")?));
    }
    if what.contains("://") || what.contains("/d/") || what.len() > 64 + "DocumentReference/".len() {
        let cure = "give `daylily explain -` and paste the link";
        return Err(Failure::flag("a link", "would stay in the shell's history", cure));
    }
    // As it is read out: the alphabet of ids has small letters only.
    if let Some(id) = LinkId::parse(&what.to_ascii_lowercase()) {
        return Ok(ExplainAim::Reference(id.to_string()));
    }
    let what = what.to_owned();
    Ok(if what.contains('/') { ExplainAim::Reference(what) } else { ExplainAim::Request(what) })
}

fn tell(view: &ExplanationView, link: bool, terminal: &Terminal) {
    if terminal.json {
        terminal.say_json(&to_json(view));
        return;
    }
    terminal.say(&first_line(view, link));
    for fact in &view.facts {
        terminal.say(&format!("  {:12} {}", fact.name, line(fact, terminal)));
    }
    if let Some(cure) = &view.cure {
        terminal.say(&format!("  = {}: {}", terminal.out(Tone::Help, "next"), said(cure)));
    }
    if !view.whole {
        terminal.say("Only the newest 200,000 entries of the record were looked at; older ones may say more.");
    }
    terminal.say("The record has more: daylily audit export");
}

fn first_line(view: &ExplanationView, link: bool) -> String {
    let thing = if link { "This link" } else { "This file" };
    let why = || {
        let code = view.code.as_deref().unwrap_or_default();
        match view.message.as_deref().filter(|message| !message.is_empty()) {
            Some(message) => format!("{} ({code})", said(message).trim_end_matches('.')),
            None => code.to_owned(),
        }
    };
    match (view.can_open, &view.code) {
        (Some(true), _) => format!("{thing} can be opened now"),
        (Some(false), _) => format!("{thing} cannot be opened now: {}", why()),
        (None, Some(_)) => format!("This request was refused: {}", why()),
        (None, None) => "This request was not refused".to_owned(),
    }
}

fn line(fact: &FactView, terminal: &Terminal) -> String {
    let at = fact.at.as_deref().map(|at| Timestamp::parse(at).map_or(at.to_owned(), |at| terminal.zone.moment(at)));
    let by = fact.by.as_ref().map(|by| format!("by {}", by.replacen("client/", "client ", 1)));
    let text = (!fact.text.is_empty()).then(|| fact.text.clone());
    [at, text, by].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn to_json(view: &ExplanationView) -> Value {
    let fact = |fact: &FactView| {
        let mut one = json!({ "name": fact.name });
        for (name, value) in
            [("at", fact.at.as_deref()), ("by", fact.by.as_deref()), ("text", Some(fact.text.as_str()))]
        {
            if let (Some(value), Some(members)) = (value.filter(|value| !value.is_empty()), one.as_object_mut()) {
                members.insert(name.to_owned(), Value::from(value));
            }
        }
        one
    };
    let facts: Vec<Value> = view.facts.iter().map(fact).collect();
    let message = view.message.as_deref().filter(|message| !message.is_empty());
    json!({
        "can-open": view.can_open, "code": view.code, "message": message, "cure": view.cure, "facts": facts,
        "whole": view.whole,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_as_an_argument_is_refused_and_the_rest_is_told_apart() {
        for link in ["https://h.example/d/abc", "/d/abc", &"a".repeat(100)] {
            assert_eq!(aim(link).unwrap_err().exit, 2, "{link}");
        }
        assert_eq!(aim("Binary/x").unwrap(), ExplainAim::Reference("Binary/x".to_owned()));
        let link = ExplainAim::Reference("lk_0123456789".get(..12).unwrap().to_owned());
        assert_eq!((aim("lk_012345678").unwrap(), aim("LK_012345678").unwrap()), (link.clone(), link));
        assert_eq!(aim("8f2c").unwrap(), ExplainAim::Request("8f2c".to_owned()));
    }
}
