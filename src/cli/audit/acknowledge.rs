//! `audit acknowledge`: two operators go on although the log did not verify.

use serde_json::Value;

use super::super::arguments::Place;
use super::super::message::{Failure, Tone, one_line};
use super::super::terminal::Terminal;
use super::super::{backend, input};
use crate::app::Nature;
use crate::control::{Request, Response};

/// Runs it.
pub(super) async fn run(place: &Place, reason: String, terminal: &Terminal, nature: &Nature) -> Result<u8, Failure> {
    let settings = input::settings(place, Vec::new(), false)?;
    input::reason(&reason)?;
    let answer = backend::perform(&settings, nature, terminal, Request::AuditAcknowledge { reason }).await?;
    let Response::Acknowledgement(view) = answer else { return Err(backend::unexpected()) };
    if terminal.json {
        terminal.say_json(&serde_json::to_value(&view).unwrap_or(Value::Null));
        return Ok(0);
    }
    let good = terminal.out(Tone::Good, "acknowledged");
    terminal.say(&format!("{good}: by {}; the next start goes on", view.by.join(" and ")));
    for found in &view.found {
        terminal.say(&format!("  found     {}", one_line(found)));
    }
    if view.redone > 0 {
        let entries = if view.redone == 1 { "1 entry" } else { &format!("{} entries", view.redone) };
        terminal.say(&format!("  redone    what {entries} did and the database did not show any more"));
    }
    terminal.say(&format!("  evidence  {}", view.evidence));
    Ok(0)
}
