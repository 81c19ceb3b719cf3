//! `hold list`, `add`, `release`.

use serde_json::{Value, json};

use super::arguments::{Hold, Place};
use super::message::{Failure, one_line};
use super::terminal::Terminal;
use super::{backend, input};
use crate::app::Nature;
use crate::control::{HoldView, Request, Response};
use crate::domain::clock::Timestamp;

/// Runs one of them.
pub(super) async fn run(command: Hold, terminal: &Terminal, nature: &Nature) -> Result<u8, Failure> {
    match command {
        Hold::List { place } => list(&place, terminal, nature).await,
        Hold::Add(add) => {
            input::reason(&add.act.reason)?;
            add.authority.iter().try_for_each(|named| input::words("--authority", named))?;
            let (document, reason) = (add.act.document, add.act.reason);
            let request = Request::HoldAdd { document, reason, authority: add.authority };
            let hold = perform(&add.act.place, terminal, nature, request).await?;
            say(
                &hold,
                &format!("held: {} ({}); access may still end, bytes and records stay", hold.document, hold.hold),
                terminal,
            );
            Ok(0)
        }
        Hold::Release(release) => {
            input::reason(&release.act.reason)?;
            let (document, reason) = (release.act.document, release.act.reason);
            let request = Request::HoldRelease { document, reason, hold: release.hold };
            let hold = perform(&release.act.place, terminal, nature, request).await?;
            say(
                &hold,
                &format!("released: {} of {}; what fell due meanwhile is destroyed now", hold.hold, hold.document),
                terminal,
            );
            Ok(0)
        }
    }
}

async fn list(place: &Place, terminal: &Terminal, nature: &Nature) -> Result<u8, Failure> {
    let settings = input::settings(place, Vec::new(), false)?;
    let answer = backend::perform(&settings, nature, terminal, Request::HoldList {}).await?;
    let Response::Holds { holds, more } = answer else { return Err(backend::unexpected()) };
    if terminal.json {
        terminal.say_json(&json!({ "holds": holds, "more": more }));
        return Ok(0);
    }
    if holds.is_empty() {
        terminal.tell("no legal hold is active");
    }
    for hold in &holds {
        let at = Timestamp::parse(&hold.at).map_or_else(|| hold.at.clone(), |at| terminal.zone.moment(at));
        let authority = hold.authority.as_ref().map_or_else(String::new, |text| format!(", {}", one_line(text)));
        let why = one_line(&hold.reason);
        terminal.say(&format!("{}  {}  since {at} by {}{authority}: {why}", hold.hold, hold.document, hold.by));
    }
    if more {
        terminal.tell("note: there are more; the oldest are shown");
    }
    Ok(0)
}

async fn perform(place: &Place, terminal: &Terminal, nature: &Nature, request: Request) -> Result<HoldView, Failure> {
    let settings = input::settings(place, Vec::new(), false)?;
    match backend::perform(&settings, nature, terminal, request).await? {
        Response::Hold(view) => Ok(view),
        _ => Err(backend::unexpected()),
    }
}

fn say(view: &HoldView, words: &str, terminal: &Terminal) {
    if terminal.json {
        terminal.say_json(&serde_json::to_value(view).unwrap_or(Value::Null));
    } else {
        terminal.say(words);
    }
}
