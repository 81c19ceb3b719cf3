//! `links revoke`.

use super::arguments::{Links, LinksRevoke, RevokeAim};
use super::message::{Failure, said};
use super::terminal::Terminal;
use super::words::{counted, number, span};
use super::{backend, input};
use crate::app::Nature;
use crate::control::{Request, Response, RevocationAim, RevocationView};
use crate::domain::refusal::{Code, Issue};

/// Above this many links a person is asked first.
const ASK_ABOVE: u64 = 1_000;

/// Runs it.
pub(super) async fn run(command: Links, terminal: &Terminal, nature: &Nature) -> Result<u8, Failure> {
    let Links::Revoke(revoke) = command;
    let settings = input::settings(&revoke.place, Vec::new(), false)?;
    input::reason(&revoke.reason)?;
    let (aim, words) = aim(&revoke.aim)?;
    let ask = |preview| Request::LinksRevoke {
        aim: aim.clone(),
        reason: revoke.reason.clone(),
        state: revoke.state,
        preview,
    };
    if revoke.dry_run || (!revoke.yes && !matches!(aim, RevocationAim::Link(_))) {
        let preview = perform(&settings, nature, terminal, ask(true)).await?;
        if revoke.dry_run {
            say_preview(&preview, &words, terminal);
            return Ok(0);
        }
        if matches!(aim, RevocationAim::All) || preview.links > ASK_ABOVE {
            confirm(&preview, terminal)?;
        }
    }
    let began = nature.clock.monotonic();
    let done = perform(&settings, nature, terminal, ask(false)).await?;
    let took = nature.clock.monotonic().saturating_sub(began);
    say_done(&done, &words, (&span(took), &revoke), terminal);
    Ok(0)
}

fn aim(given: &RevokeAim) -> Result<(RevocationAim, String), Failure> {
    if given.link.is_some() {
        return Ok((RevocationAim::Link(input::stdin_value("--link")?), String::new()));
    }
    if given.patient.is_some() {
        return Ok((RevocationAim::Patient(input::stdin_patient()?), " of one patient".to_owned()));
    }
    if let Some(document) = &given.document {
        return Ok((RevocationAim::Document(document.clone()), " of one document".to_owned()));
    }
    if let Some(client) = &given.client {
        return Ok((RevocationAim::Client(client.clone()), format!(" of client {client}")));
    }
    Ok((RevocationAim::All, String::new()))
}

async fn perform(
    settings: &crate::config::Settings,
    nature: &Nature,
    terminal: &Terminal,
    request: Request,
) -> Result<RevocationView, Failure> {
    match backend::perform(settings, nature, terminal, request).await.map_err(for_operator)? {
        Response::Revocation(view) => Ok(view),
        _ => Err(backend::unexpected()),
    }
}

/// What is not there is said to a client without saying whether it is: an operator may know, and has neither scope nor reach.
fn for_operator(failure: Failure) -> Failure {
    let vague_text = said(Code::ResourceNotFound.entry().message);
    let vague = failure.issues.first().is_some_and(|issue| said(issue.message()) == vague_text);
    if !vague {
        return failure;
    }
    let issue = Issue::new(Code::ResourceNotFound).message_text("no document has this id");
    Failure::from(issue.cure_text("copy the id from the DocumentReference, or find it in `daylily audit export`"))
        .with_exit(failure.exit)
}

/// Asks on a terminal; without one, `--yes` is needed.
fn confirm(preview: &RevocationView, terminal: &Terminal) -> Result<(), Failure> {
    let question = format!("Withdraw {}? Type the number to go on:", counted(preview.links, "link"));
    match terminal.ask(&question, &preview.links.to_string()) {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::flag("the number typed", "is another", "run it again; nothing was changed")),
        None => Err(Failure::flag(
            "--yes",
            &format!("is needed without a terminal: this withdraws {}", counted(preview.links, "link")),
            "look with `--dry-run`, then give `--yes`",
        )),
    }
}

fn say_preview(preview: &RevocationView, words: &str, terminal: &Terminal) {
    if terminal.json {
        terminal.say_json(&serde_json::to_value(preview).unwrap_or_default());
        return;
    }
    terminal.say(&format!("would withdraw: {}{words}", counted(preview.links, "link")));
    terminal.say(&format!("  cut off   {}", counted(preview.cut, "running download")));
    terminal.say(&format!("  touched   {}", holders(preview)));
    say_note(preview, terminal);
}

fn say_done(done: &RevocationView, words: &str, (took, asked): (&str, &LinksRevoke), terminal: &Terminal) {
    if terminal.json {
        terminal.say_json(&serde_json::to_value(done).unwrap_or_default());
        return;
    }
    if done.links == 0 && done.cut == 0 {
        terminal.say("no link matched");
        say_note(done, terminal);
        return;
    }
    terminal.say(&format!("withdrawn: {}{words}, effective now ({took})", counted(done.links, "link")));
    terminal.say(&format!("  cut off   {}", counted(done.cut, "running download")));
    terminal.say(&format!("  touched   {}", holders(done)));
    say_note(done, terminal);
    terminal.say("  recorded  with the reason; the record has more: daylily audit export");
    if let Some(client) = &asked.aim.client {
        terminal.say(&format!("  still on  the client itself; to stop it: daylily client disable {client}"));
    }
}

/// What stays as it was.
fn say_note(view: &RevocationView, terminal: &Terminal) {
    if let Some(note) = &view.note {
        terminal.say(&format!("  still on  {note}"));
    }
}

/// Who held the links.
fn holders(view: &RevocationView) -> String {
    let count = u64::try_from(view.recipients.len()).unwrap_or(u64::MAX);
    match view.recipients.as_slice() {
        [] => "nobody held one".to_owned(),
        few if few.len() <= 8 => format!("held by {}", few.join(", ")),
        _ => format!("held by {} clients; `--json` lists them", number(count)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_are_named_while_they_are_few() {
        let view = |count: usize| RevocationView {
            revocation: "rv_1".to_owned(),
            links: 1,
            cut: 0,
            recipients: (0..count).map(|n| format!("c{n}")).collect(),
            note: None,
        };
        assert_eq!(holders(&view(0)), "nobody held one");
        assert_eq!(holders(&view(2)), "held by c0, c1");
        assert_eq!(holders(&view(9)), "held by 9 clients; `--json` lists them");
    }
}
