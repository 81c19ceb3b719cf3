//! `quarantine list`, `show`, `release`, `purge`.

use serde_json::{Value, json};

use super::arguments::{Place, Quarantine};
use super::message::{Failure, one_line};
use super::oversight_arguments::{QuarantinePurge, Reasoned};
use super::terminal::Terminal;
use super::words::counted;
use super::{backend, input};
use crate::app::Nature;
use crate::control::{QuarantineView, Request, Response, VerdictView};
use crate::domain::clock::Timestamp;

/// Runs one of them.
pub(super) async fn run(command: Quarantine, terminal: &Terminal, nature: &Nature) -> Result<u8, Failure> {
    match command {
        Quarantine::List { place } => list(&place, terminal, nature).await,
        Quarantine::Show { document, place } => show(document, &place, terminal, nature).await,
        Quarantine::Release(release) => self::release(release, terminal, nature).await,
        Quarantine::Purge(purge) => self::purge(purge, terminal, nature).await,
    }
}

async fn list(place: &Place, terminal: &Terminal, nature: &Nature) -> Result<u8, Failure> {
    let settings = input::settings(place, Vec::new(), false)?;
    let answer = backend::perform(&settings, nature, terminal, Request::QuarantineList {}).await?;
    let Response::Quarantines { quarantined, more } = answer else { return Err(backend::unexpected()) };
    if terminal.json {
        terminal.say_json(&json!({ "quarantined": quarantined, "more": more }));
        return Ok(0);
    }
    if quarantined.is_empty() {
        terminal.tell("nothing is held back");
    }
    for view in &quarantined {
        let held = if view.held { "  on legal hold" } else { "" };
        let waiting = if view.approvals.is_empty() { "" } else { "  waits for a second person" };
        terminal.say(&format!(
            "{}  {}  since {}{held}{waiting}",
            view.document,
            view.words,
            when(&view.since, terminal)
        ));
    }
    if more {
        terminal.tell("note: there are more; the longest held are shown");
    }
    Ok(0)
}

async fn show(document: String, place: &Place, terminal: &Terminal, nature: &Nature) -> Result<u8, Failure> {
    let settings = input::settings(place, Vec::new(), false)?;
    let answer = backend::perform(&settings, nature, terminal, Request::QuarantineShow { document }).await?;
    let Response::Quarantine(view) = answer else { return Err(backend::unexpected()) };
    if terminal.json {
        terminal.say_json(&serde_json::to_value(&view).unwrap_or(Value::Null));
        return Ok(0);
    }
    say(&view, terminal);
    Ok(0)
}

fn say(view: &QuarantineView, terminal: &Terminal) {
    terminal.say(&format!("{} is quarantined: {}", view.document, view.words));
    terminal.say(&format!(
        "  code      {}{}",
        view.code,
        view.finding.as_ref().map_or_else(String::new, |f| format!(", {f}"))
    ));
    if let Some(engine) = &view.engine {
        let place = view.place.as_ref().map_or_else(String::new, |place| format!(", {}", one_line(place)));
        terminal.say(&format!("  found by  {engine}{place}"));
    }
    terminal.say(&format!("  since     {}", when(&view.since, terminal)));
    let due = view.due.as_ref().map_or_else(|| "not by itself".to_owned(), |due| when(due, terminal));
    terminal
        .say(&format!("  purged    {}", if view.held { "not while a legal hold is on it".to_owned() } else { due }));
    let release = if view.allow_override { "by two operators" } else { "not under its rule" };
    let release = match (view.finding.is_none(), view.allow_override) {
        (true, false) => "not under its rule: no verdict came; its source may send it again, once the engines work",
        _ => release,
    };
    terminal.say(&format!("  release   {release} (rule {})", one_line(&view.rule)));
    for approval in &view.approvals {
        let until = when(&approval.until, terminal);
        terminal.say(&format!("  approved  by {} until {until}: {}", approval.by, one_line(&approval.reason)));
    }
}

async fn release(release: Reasoned, terminal: &Terminal, nature: &Nature) -> Result<u8, Failure> {
    input::reason(&release.reason)?;
    let request = Request::QuarantineRelease { document: release.document, reason: release.reason };
    let done = perform(&release.place, terminal, nature, request).await?;
    if terminal.json {
        terminal.say_json(&serde_json::to_value(&done).unwrap_or(Value::Null));
    } else {
        terminal.say(&format!("released: {} is ready; agreed by {}", done.document, done.released_by.join(" and ")));
        terminal.tell("note: the verdict that was overruled, both reasons and both names are in the record");
    }
    Ok(0)
}

async fn purge(purge: QuarantinePurge, terminal: &Terminal, nature: &Nature) -> Result<u8, Failure> {
    let act = purge.act;
    input::reason(&act.reason)?;
    let ask =
        |preview| Request::QuarantinePurge { document: act.document.clone(), reason: act.reason.clone(), preview };
    if purge.dry_run || !purge.yes {
        let preview = perform(&act.place, terminal, nature, ask(true)).await?;
        if purge.dry_run {
            say_purged("would destroy", &preview, terminal);
            return Ok(0);
        }
        confirm(&preview, terminal)?;
    }
    let done = perform(&act.place, terminal, nature, ask(false)).await?;
    say_purged("destroyed", &done, terminal);
    Ok(0)
}

fn confirm(preview: &VerdictView, terminal: &Terminal) -> Result<(), Failure> {
    let question = format!("Destroy {} for good? Type purge to go on:", preview.document);
    match terminal.ask(&question, "purge") {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::flag("the word typed", "is another", "run it again; nothing was changed")),
        None => {
            let fault = "is needed without a terminal: this destroys a document";
            Err(Failure::flag("--yes", fault, "look with `--dry-run`, then give `--yes`"))
        }
    }
}

fn say_purged(words: &str, view: &VerdictView, terminal: &Terminal) {
    if terminal.json {
        terminal.say_json(&serde_json::to_value(view).unwrap_or(Value::Null));
    } else {
        terminal.say(&format!("{words}: {}, {} with its key", view.document, counted(view.files, "file")));
    }
}

async fn perform(
    place: &Place,
    terminal: &Terminal,
    nature: &Nature,
    request: Request,
) -> Result<VerdictView, Failure> {
    let settings = input::settings(place, Vec::new(), false)?;
    match backend::perform(&settings, nature, terminal, request).await? {
        Response::Verdict(view) => Ok(view),
        _ => Err(backend::unexpected()),
    }
}

fn when(text: &str, terminal: &Terminal) -> String {
    Timestamp::parse(text).map_or_else(|| text.to_owned(), |at| terminal.zone.moment(at))
}
