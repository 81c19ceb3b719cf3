//! What an entry says, in plain words: a verb and its object, for the column behind who it was.

use super::super::super::words::{counted, number};
use super::opened::Opened;
use crate::domain::audit::{Action, Outcome};

/// How an export calls a link or a file, so that no id stands in a sentence.
pub(super) trait Names {
    /// `link 1`.
    fn link(&self, id: &str) -> String;
    /// `file 1`.
    fn file(&self, id: &str) -> String;
}

/// Who acted.
pub(super) fn who(entry: &Opened) -> String {
    let folder = |operator: &str| match operator.strip_prefix("os:") {
        Some(uid) => format!("folder's owner {uid}"),
        None => operator.to_owned(),
    };
    match (entry.client(), entry.spoken_for(), entry.operator()) {
        (Some(client), Some(person), _) => format!("{client} for {person}"),
        (Some(client), None, _) => client.to_owned(),
        (None, _, Some(operator)) => folder(operator),
        (None, _, None) if entry.actor.get("server").is_some() => "this server".to_owned(),
        (None, _, None) => "not known".to_owned(),
    }
}

/// What was done, and what became of it. `end`: the entry that says how this one ended.
pub(super) fn what(entry: &Opened, end: Option<&Opened>, names: &dyn Names) -> String {
    let mut text = act(entry, end, names);
    if let Some(address) = entry.tech("ip").filter(|_| is_reading(entry.action)) {
        text.push_str(&format!(", from {address}"));
    }
    let ended = end.unwrap_or(entry);
    match (ended.outcome, ended.text("code")) {
        (Outcome::Denied, Some(code)) => text.push_str(&format!(", refused ({code})")),
        (Outcome::Denied, None) => text.push_str(", refused"),
        (Outcome::Error, Some(code)) => text.push_str(&format!(", broke off ({code})")),
        (Outcome::Error, None) if is_reading(entry.action) => text.push_str(", broke off"),
        (Outcome::Error, None) => text.push_str(", failed"),
        (Outcome::Ok | Outcome::Attempted, Some(code)) => text.push_str(&format!(" ({code})")),
        (Outcome::Ok | Outcome::Attempted, None) => {}
    }
    text
}

fn is_reading(action: Action) -> bool {
    matches!(action, Action::LinkRedeem | Action::BinaryRead)
}

fn act(entry: &Opened, end: Option<&Opened>, names: &dyn Names) -> String {
    let text = |name: &str| entry.text(name).unwrap_or_default().to_owned();
    let reason = entry.text("reason").map_or_else(String::new, |reason| format!(": {reason}"));
    match entry.action {
        Action::DocumentCreate => format!("delivered the document{}", with_file(entry, names)),
        Action::DocumentUpdate => "changed what is said about the document".to_owned(),
        Action::DocumentRead => format!("read the document{}", handed_out(entry, names)),
        Action::DocumentPurge => format!("destroyed the document's files{reason}"),
        Action::DocumentRelease => format!("released the document although the safety check held it back{reason}"),
        Action::DocumentAcknowledge => format!("said of the document: {}{reason}", text("outcome")),
        Action::BinaryCreate => format!("delivered{}", with_file(entry, names).replacen(" with", "", 1)),
        Action::BinaryRead => format!("read {}: {}", file_of(entry, names), received(entry, end)),
        Action::LinkRedeem => format!("opened {}: {}", link_of(entry, names), received(entry, end)),
        Action::LinkIssue => format!("asked for {}{}", link_of(entry, names), meant_for(entry)),
        Action::LinkRevoke => format!("{}{reason}", withdrawn(entry, names)),
        Action::Search => format!("found the document by a search{}", handed_out(entry, names)),
        Action::LifecycleTransition => format!("{}{reason}", moved(entry)),
        Action::LifecycleRead => "asked for the document's state".to_owned(),
        Action::HoldAdd => format!("laid a legal hold on the document{}{reason}", authority(entry)),
        Action::HoldRelease => format!("took a legal hold off the document{reason}"),
        Action::ContextCreate => format!("delivered {}", text("resource")),
        Action::ContextUpdate => format!("changed {}", text("resource")),
        Action::ContextRead => format!("read {}", text("resource")),
        Action::NotificationSend => {
            format!("sent {} word of the document", entry.text("receiver").unwrap_or("a client"))
        }
        Action::ApprovalAsk => format!("asked a second person to agree to `{}`{reason}", text("command")),
        Action::ExplainRead => "asked why it can or cannot be opened".to_owned(),
        Action::AuditExport => "had this record handed out".to_owned(),
        Action::CommandRun => format!("gave the command `{}`", text("command")),
        other => format!("{other}{reason}"),
    }
}

fn file_of(entry: &Opened, names: &dyn Names) -> String {
    entry.text("file").map_or_else(|| "a file".to_owned(), |file| names.file(file))
}

fn link_of(entry: &Opened, names: &dyn Names) -> String {
    entry.text("link").map_or_else(|| "a link".to_owned(), |link| names.link(link))
}

fn with_file(entry: &Opened, names: &dyn Names) -> String {
    entry.text("file").map_or_else(String::new, |file| format!(" with {}", names.file(file)))
}

fn handed_out(entry: &Opened, names: &dyn Names) -> String {
    let links: Vec<String> = entry.offered().map(|(link, _)| names.link(link)).collect();
    if links.is_empty() { String::new() } else { format!(" and was given {}", links.join(", ")) }
}

fn meant_for(entry: &Opened) -> String {
    entry.text("recipient").map_or_else(String::new, |recipient| format!(", meant for {recipient}"))
}

fn authority(entry: &Opened) -> String {
    entry.text("authority").map_or_else(String::new, |authority| format!(", ordered by {authority}"))
}

/// How much of a file its reader has.
fn received(entry: &Opened, end: Option<&Opened>) -> String {
    if entry.text("confirmed").is_some() {
        return "a person confirmed that the file is wanted".to_owned();
    }
    let ended = end.unwrap_or(entry);
    let bytes = ended.number("bytes");
    match (ended.outcome, bytes, ended.number("size")) {
        (Outcome::Denied, ..) => "nothing".to_owned(),
        (Outcome::Attempted, ..) => "begun, and these entries do not say how it ended".to_owned(),
        (_, Some(bytes), Some(size)) if bytes == size && ended.outcome == Outcome::Ok => {
            format!("whole file ({})", counted(bytes, "byte"))
        }
        (_, Some(0) | None, _) => "nothing".to_owned(),
        (_, Some(bytes), Some(size)) => format!("a part, {} of {}", number(bytes), counted(size, "byte")),
        (_, Some(bytes), None) if end.is_none() => format!("whole file ({})", counted(bytes, "byte")),
        (_, Some(bytes), None) => counted(bytes, "byte"),
    }
}

/// Whether one who has received something has the whole file by this alone.
pub(super) fn has_all(entry: &Opened, end: Option<&Opened>) -> bool {
    let ended = end.unwrap_or(entry);
    let (bytes, size) = (ended.number("bytes"), ended.number("size"));
    // A read of a file as such has no size of its own: it was handed out whole.
    ended.outcome == Outcome::Ok && bytes.is_some() && (size.is_none() || bytes == size)
}

/// Whether the reader has all or a part of the file now.
pub(super) fn has_received(entry: &Opened, end: Option<&Opened>) -> bool {
    let ended = end.unwrap_or(entry);
    // A download whose end is not known may have been whole.
    is_reading(entry.action)
        && entry.outcome != Outcome::Denied
        && entry.text("confirmed").is_none()
        && (ended.outcome == Outcome::Attempted || ended.number("bytes").is_some_and(|bytes| bytes > 0))
}

fn moved(entry: &Opened) -> String {
    match (entry.text("from"), entry.text("to")) {
        (Some(from), Some(to)) => format!("moved the document from {from} to {to}"),
        (_, to) => format!("moved the document to {}", to.unwrap_or("another state")),
    }
}

/// What a withdrawal ended.
pub(super) fn withdrawn(entry: &Opened, names: &dyn Names) -> String {
    if entry.text("to").is_some() {
        return "withdrew the document".to_owned();
    }
    match (entry.text("link"), entry.document(), entry.text("registered"), entry.text("aim")) {
        (Some(link), ..) => format!("withdrew {}", names.link(link)),
        (None, Some(_), ..) => "withdrew all links to the document".to_owned(),
        (None, None, Some(client), _) => format!("withdrew all links of {client}"),
        (None, None, None, Some(_)) => "withdrew all links of this server".to_owned(),
        (None, None, None, None) => "withdrew all links to documents of the patient".to_owned(),
    }
}
