//! `clock confirm`.

use serde_json::json;

use super::arguments::Clock;
use super::message::{Failure, Tone};
use super::terminal::Terminal;
use super::{backend, input};
use crate::app::Nature;
use crate::control::{Request, Response};

/// Runs it.
pub(super) async fn run(command: Clock, terminal: &Terminal, nature: &Nature) -> Result<u8, Failure> {
    let Clock::Confirm { place, reason } = command;
    let settings = input::settings(&place, Vec::new(), false)?;
    input::reason(&reason)?;
    let view = match backend::perform(&settings, nature, terminal, Request::ClockConfirm { reason }).await? {
        Response::Clock(view) => view,
        _ => return Err(backend::unexpected()),
    };
    if terminal.json {
        terminal.say_json(
            &json!({ "confirmed": view.said.is_some(), "was": view.standing, "links-withdrawn": view.links_withdrawn }),
        );
        return Ok(0);
    }
    let Some(was) = view.said else {
        terminal.say("nothing to confirm: the clock has not jumped");
        return Ok(0);
    };
    terminal.say(&format!(
        "{}: the clock is right as it stands; destruction goes on",
        terminal.out(Tone::Good, "confirmed")
    ));
    terminal.say(&format!("  before    {was}"));
    if view.links_withdrawn {
        terminal.say("  links     all withdrawn: none that the wrong time closed opens again");
    }
    Ok(0)
}
