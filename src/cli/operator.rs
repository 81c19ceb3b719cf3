//! `operator add`, `list`, `disable`.

use serde_json::{Value, json};

use super::arguments::{Operator, Place};
use super::message::Failure;
use super::oversight_arguments::OperatorAdd;
use super::terminal::Terminal;
use super::{backend, input};
use crate::app::Nature;
use crate::control::{OperatorView, Request, Response};

/// Runs one of them.
pub(super) async fn run(command: Operator, terminal: &Terminal, nature: &Nature) -> Result<u8, Failure> {
    match command {
        Operator::Add(add) => self::add(add, terminal, nature).await,
        Operator::List { place } => list(&place, terminal, nature).await,
        Operator::Disable { id, place } => {
            let done = perform(&place, terminal, nature, Request::OperatorDisable { id }).await?;
            say(&done, &format!("disabled: {} may do nothing any more; the id stays taken", done.id), terminal);
            Ok(0)
        }
    }
}

async fn add(add: OperatorAdd, terminal: &Terminal, nature: &Nature) -> Result<u8, Failure> {
    // Before the password is asked for, so that a wrong setting does not cost it.
    input::settings(&add.place, Vec::new(), false)?;
    let request = Request::OperatorAdd { id: add.id, role: add.role, password: terminal.new_password()? };
    let done = perform(&add.place, terminal, nature, request).await?;
    say(&done, &format!("added: {} ({})", done.id, done.role), terminal);
    terminal.cure("next", &format!("{} --as {}", first_look(&done.role), done.id));
    Ok(0)
}

/// What a person of this role looks at first.
fn first_look(role: &str) -> &'static str {
    match role {
        "privacy" => "daylily hold list",
        "auditor" => "daylily audit export",
        _ => "daylily quarantine list",
    }
}

async fn list(place: &Place, terminal: &Terminal, nature: &Nature) -> Result<u8, Failure> {
    let settings = input::settings(place, Vec::new(), false)?;
    let answer = backend::perform(&settings, nature, terminal, Request::OperatorList {}).await?;
    let Response::Operators { operators } = answer else { return Err(backend::unexpected()) };
    if terminal.json {
        terminal.say_json(&json!({ "operators": operators }));
        return Ok(0);
    }
    if operators.is_empty() {
        terminal.tell("no operator is registered; commands act as the user who runs them");
        terminal.cure("next", "daylily operator add --help");
    }
    let width = operators.iter().map(|operator| operator.id.len()).max().unwrap_or_default();
    for operator in &operators {
        let state = if operator.disabled { "disabled" } else { "enabled" };
        terminal.say(&format!("{:width$}  {:8}  {state}", operator.id, operator.role));
    }
    Ok(0)
}

async fn perform(
    place: &Place,
    terminal: &Terminal,
    nature: &Nature,
    request: Request,
) -> Result<OperatorView, Failure> {
    let settings = input::settings(place, Vec::new(), false)?;
    match backend::perform(&settings, nature, terminal, request).await? {
        Response::Operator(view) => Ok(view),
        _ => Err(backend::unexpected()),
    }
}

fn say(view: &OperatorView, words: &str, terminal: &Terminal) {
    if terminal.json {
        terminal.say_json(&serde_json::to_value(view).unwrap_or(Value::Null));
    } else {
        terminal.say(words);
    }
}
