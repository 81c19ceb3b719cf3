//! `explain`: the answer in lines (docs/operations.md), or as JSON.

use super::arguments::{Explain, STDIN_ONLY};
use super::message::{Failure, said};
use super::terminal::Terminal;
use super::words::Zone;
use super::{backend, input};
use crate::app::Nature;
use crate::control::{ExplainQuestion, ExplanationView, FactView, Request, Response};
use crate::domain::clock::Timestamp;

/// Width of a fact's name.
const NAME: usize = 9;

/// Runs it.
pub(super) async fn run(command: Explain, terminal: &Terminal, nature: &Nature) -> Result<u8, Failure> {
    let settings = input::settings(&command.place, Vec::new(), false)?;
    let question = question(&command.what)?;
    let told = match backend::perform(&settings, nature, Request::Explain { question }).await? {
        Response::Explanation(view) => view,
        _ => return Err(backend::unexpected()),
    };
    if terminal.json {
        terminal.say_json(&serde_json::to_value(&told).unwrap_or_default());
    } else {
        lines(&told, terminal.zone).iter().for_each(|line| terminal.say(line));
        if let Some(next) = &told.next {
            terminal.cure("next", &said(next));
        }
    }
    Ok(0)
}

/// What is asked. A link as an argument is refused: it would stay in the shell's history.
fn question(what: &str) -> Result<ExplainQuestion, Failure> {
    if what == "-" {
        return Ok(ExplainQuestion::Link(input::stdin_value("explain")?));
    }
    if what.contains("/d/") || what.contains("://") || what.len() > 80 {
        let cure = "run `daylily explain -` and paste the link; whoever sees the shell's history could use this one";
        return Err(Failure::flag("a link", STDIN_ONLY, cure));
    }
    let reference = what.starts_with("DocumentReference/") || what.starts_with("Binary/");
    let question = if reference { ExplainQuestion::Reference } else { ExplainQuestion::Request };
    Ok(question(what.to_owned()))
}

fn lines(told: &ExplanationView, zone: Zone) -> Vec<String> {
    let code = told.code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default();
    let subject = &told.subject;
    let head = match told.can_open {
        Some(true) => format!("{subject} can be opened now by whoever may"),
        Some(false) => format!("{subject} cannot be opened now{code}"),
        None => format!("{subject} is in the record{code}"),
    };
    std::iter::once(head).chain(told.facts.iter().map(|fact| line(fact, zone))).collect()
}

fn line(fact: &FactView, zone: Zone) -> String {
    let at = fact.at.as_deref().and_then(Timestamp::parse).map(|at| zone.moment(at));
    let by = fact.by.as_ref().map(|by| format!("by {by}"));
    let parts = [at, Some(in_zone(&fact.text, zone)), by];
    let text: Vec<String> = parts.into_iter().flatten().collect();
    format!("  {:NAME$} {}", fact.name, text.join("  "))
}

/// Moments inside a text, which travel as RFC 3339, in the terminal's zone.
fn in_zone(text: &str, zone: Zone) -> String {
    let word = |word: &str| {
        let bare = word.trim_end_matches(',');
        match Timestamp::parse(bare) {
            Some(at) => format!("{}{}", zone.moment(at), word.get(bare.len()..).unwrap_or_default()),
            None => word.to_owned(),
        }
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_as_an_argument_is_refused_and_not_repeated() {
        for link in ["http://localhost:8080/d/AdcFOOo", "/d/AdcFOOo", &"A".repeat(84)] {
            let failure = question(link).unwrap_err();
            assert_eq!(failure.exit, 2);
            assert!(!format!("{failure:?}").contains("AdcFOO"), "{failure:?}");
        }
        assert_eq!(
            question("DocumentReference/9f31").unwrap(),
            ExplainQuestion::Reference("DocumentReference/9f31".into())
        );
        assert_eq!(question("w0xjmzt351p0ny6b").unwrap(), ExplainQuestion::Request("w0xjmzt351p0ny6b".into()));
    }

    #[test]
    fn an_answer_begins_with_whether_and_why() {
        let fact = FactView {
            name: "state".into(),
            text: "ready, can be opened until 2026-11-26T13:02:05.000Z".into(),
            at: Some("2026-11-23T13:02:05.000Z".into()),
            by: Some("server".into()),
        };
        let told = ExplanationView {
            subject: "link lk_8q2m".into(),
            can_open: Some(false),
            code: Some("link-expired".into()),
            facts: vec![fact],
            next: None,
        };
        let said = lines(&told, Zone::Utc);
        assert_eq!(said[0], "link lk_8q2m cannot be opened now (link-expired)");
        assert_eq!(
            said[1],
            "  state     2026-11-23 13:02:05Z  ready, can be opened until 2026-11-26 13:02:05Z  by server"
        );
    }
}
