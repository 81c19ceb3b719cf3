//! What one entry says, group by group, under stable names. Whoever records calls these; nothing else decides what an entry
//! may hold. Tokens, keys, link texts and file names have no place here at all.

use std::collections::HashSet;
use std::net::IpAddr;

use super::action::{Action, Outcome};
use super::cell::Group;
use super::detail::{Detail, Object};
use super::vkey::VerifyingKey;
use crate::domain::clock::Timestamp;
use crate::domain::id::{ClientId, FileId, LinkId, RequestId, ResourceId};
use crate::domain::principal::Operator;
use crate::domain::refusal::Code;

/// An entry as it arises, before it has a place and a time.
#[derive(Clone)]
pub struct Entry {
    action: Action,
    outcome: Outcome,
    actor: Object,
    key: Object,
    subject: Object,
    tech: Object,
    patients: Vec<String>,
    files: Vec<FileId>,
    links: Vec<LinkId>,
    client: Option<ClientId>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Entry({} {})", self.action, self.outcome)
    }
}

impl Entry {
    /// An entry that says nothing yet but this.
    pub fn new(action: Action, outcome: Outcome) -> Self {
        let (actor, key, subject, tech) = <(Object, Object, Object, Object)>::default();
        let (patients, files, links) = (Vec::new(), Vec::new(), Vec::new());
        Self { action, outcome, actor, key, subject, tech, patients, files, links, client: None }
    }

    /// `actor.client`: the client that asked.
    #[must_use]
    pub fn client(mut self, client: &ClientId) -> Self {
        self.actor.set("client", client.as_str());
        self.client = Some(client.clone());
        self
    }

    /// `actor.operator`: `os:<uid>`, who ran a command.
    #[must_use]
    pub fn os_user(mut self, uid: u32) -> Self {
        self.actor.set("operator", format!("os:{uid}"));
        self
    }

    /// `actor.operator`: the name of a person who may act.
    #[must_use]
    pub fn operator(mut self, name: &str) -> Self {
        self.actor.set("operator", name);
        self
    }

    /// `actor.operator`: whoever gives a command, `os:<uid>` or by name; no name has a `:`.
    #[must_use]
    pub fn by(self, operator: &Operator) -> Self {
        match operator {
            Operator::OsUser(uid) => self.os_user(*uid),
            Operator::Named { id, .. } => self.operator(id.as_str()),
        }
    }

    /// `actor.server`: the server by itself (expiry, scan, heartbeat).
    #[must_use]
    pub fn server(mut self) -> Self {
        self.actor.set("server", true);
        self
    }

    /// `actor.sub`: the person or system that the token speaks for.
    #[must_use]
    pub fn on_behalf_of(mut self, sub: &str) -> Self {
        self.actor.set("sub", sub);
        self
    }

    /// `actor.scope`: what a token was granted for.
    #[must_use]
    pub fn scope(mut self, scope: &str) -> Self {
        self.actor.set("scope", scope);
        self
    }

    /// `subject.document` and `subject.version`.
    #[must_use]
    pub fn document(mut self, id: &ResourceId, version: u64) -> Self {
        self.subject.set("document", id.as_str());
        self.subject.set("version", version);
        self
    }

    /// `subject.resource` (`Patient/p1`) and `subject.version`: anything that is not a document.
    #[must_use]
    pub fn resource(mut self, kind: &str, id: &ResourceId, version: u64) -> Self {
        self.subject.set("resource", format!("{kind}/{id}"));
        self.subject.set("version", version);
        self
    }

    /// `subject.patient`: whom it is about; also a key by which the entry is found.
    #[must_use]
    pub fn patient(self, reference: &str) -> Self {
        self.patients([reference])
    }

    /// The same for several; the group then lists them as `patients`, each once.
    #[must_use]
    pub fn patients<'p>(mut self, references: impl IntoIterator<Item = &'p str>) -> Self {
        let mut known: HashSet<String> = self.patients.iter().cloned().collect();
        for reference in references {
            if known.insert(reference.to_owned()) {
                self.patients.push(reference.to_owned());
            }
        }
        match self.patients.as_slice() {
            [one] => self.subject.set("patient", one.as_str()),
            [first, ..] => {
                self.subject.set("patient", first.as_str());
                let list: Vec<Detail> = self.patients.iter().map(|patient| patient.as_str().into()).collect();
                self.subject.set("patients", list);
            }
            [] => {}
        }
        self
    }

    /// `subject.file`: the file whose bytes it is about; also a key.
    #[must_use]
    pub fn file(mut self, file: FileId) -> Self {
        self.subject.set("file", file.to_string());
        self.files.push(file);
        self
    }

    /// `subject.link`: the link's id; also a key.
    #[must_use]
    pub fn link(mut self, link: &LinkId) -> Self {
        self.subject.set("link", link.as_str());
        self.links.push(link.clone());
        self
    }

    /// `subject.bytes`: how many went out or came in.
    #[must_use]
    pub fn bytes(mut self, count: u64) -> Self {
        self.subject.set("bytes", count);
        self
    }

    /// `subject.returned`: ids that a search or a history found, in the order of the answer.
    #[must_use]
    pub fn returned<'a>(mut self, ids: impl IntoIterator<Item = &'a ResourceId>) -> Self {
        let list: Vec<Detail> = ids.into_iter().map(|id| id.as_str().into()).collect();
        self.subject.set("returned", list);
        self
    }

    /// `subject.offered`: links handed out with an answer, as `[link, file, second of expiry]`; links and files are keys.
    #[must_use]
    pub fn offered(mut self, links: impl IntoIterator<Item = (LinkId, FileId, Timestamp)>) -> Self {
        let mut list = Vec::new();
        let mut known: HashSet<FileId> = self.files.iter().copied().collect();
        for (link, file, expires) in links {
            let second = u64::try_from(expires.seconds()).unwrap_or_default();
            list.push(Detail::List(vec![link.as_str().into(), file.to_string().into(), second.into()]));
            self.links.push(link);
            if known.insert(file) {
                self.files.push(file);
            }
        }
        self.subject.set("offered", list);
        self
    }

    /// `subject.code`: why it was refused or broke off.
    #[must_use]
    pub fn code(mut self, code: Code) -> Self {
        self.subject.set("code", code.name());
        self
    }

    /// `subject.from` and `subject.to`: states by their names.
    #[must_use]
    pub fn states(mut self, from: Option<&str>, to: &str) -> Self {
        if let Some(from) = from {
            self.subject.set("from", from);
        }
        self.subject.set("to", to);
        self
    }

    /// `subject.reason`: an operator's or the policy's words.
    #[must_use]
    pub fn reason(mut self, reason: &str) -> Self {
        self.subject.set("reason", reason);
        self
    }

    /// `subject.recipient`: whom a link is meant for. It stands nowhere else.
    #[must_use]
    pub fn recipient(mut self, reference: &str) -> Self {
        self.subject.set("recipient", reference);
        self
    }

    /// `subject.begun`: the sequence number of the `attempted` entry that this one ends.
    #[must_use]
    pub fn begun(mut self, seq: u64) -> Self {
        self.subject.set("begun", seq);
        self
    }

    /// `subject.minute`, `subject.count` and `tech.prefix`: refusals without an authentic caller, by address prefix and minute.
    #[must_use]
    pub fn counted(mut self, prefix: &str, minute: Timestamp, count: u64) -> Self {
        self.tech.set("prefix", prefix);
        self.subject.set("minute", minute.to_string());
        self.subject.set("count", count);
        self
    }

    /// `subject.erased`: which entries had cells erased, as `[first, last]`. The verifier wants every erased cell named by a
    /// later entry of this kind.
    #[must_use]
    pub fn erased(mut self, ranges: &[(u64, u64)]) -> Self {
        let list: Vec<Detail> =
            ranges.iter().map(|(first, last)| Detail::List(vec![(*first).into(), (*last).into()])).collect();
        self.subject.set("erased", list);
        self
    }

    /// `key.vkey`: the line of the log's next checkpoint key, in a group that is never sealed or erased.
    #[must_use]
    pub fn new_key(mut self, key: &VerifyingKey) -> Self {
        self.key.set("vkey", key.to_string());
        self
    }

    /// Anything further about the subject, by a name of the caller's own code.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Detail>) -> Self {
        self.subject.set(name, value);
        self
    }

    /// `tech.ip`.
    #[must_use]
    pub fn ip(mut self, address: IpAddr) -> Self {
        self.tech.set("ip", address.to_string());
        self
    }

    /// `tech.request`.
    #[must_use]
    pub fn request(mut self, request: &RequestId) -> Self {
        self.tech.set("request", request.as_str());
        self
    }

    /// `tech.node`.
    #[must_use]
    pub fn node(mut self, node: &str) -> Self {
        self.tech.set("node", node);
        self
    }

    /// The same with another outcome.
    #[must_use]
    pub fn ending(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// What was done.
    pub fn action(&self) -> Action {
        self.action
    }

    /// How it ended.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Files by which the entry is found.
    pub fn files(&self) -> &[FileId] {
        &self.files
    }

    /// Links by which the entry is found.
    pub fn links(&self) -> &[LinkId] {
        &self.links
    }

    /// Client by which the entry is found.
    pub fn client_id(&self) -> Option<&ClientId> {
        self.client.as_ref()
    }

    /// Groups in the order of their names; `key` only where there is one.
    pub(super) fn groups(&self) -> impl Iterator<Item = (Group, &Object)> {
        let key = (!self.key.is_empty()).then_some((Group::Key, &self.key));
        [(Group::Actor, &self.actor)]
            .into_iter()
            .chain(key)
            .chain([(Group::Subject, &self.subject), (Group::Tech, &self.tech)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_says_what_it_was_given_under_stable_names() {
        let (link, file) = (LinkId::of_digest(&[1; 8]), FileId::from_bytes([2; 16]));
        let entry = Entry::new(Action::Search, Outcome::Ok)
            .client(&ClientId::parse("ward-viewer").unwrap())
            .patient("Patient/42")
            .patient("Patient/43")
            .returned(&[ResourceId::parse("d1").unwrap()])
            .offered([(link.clone(), file, Timestamp::from_millis(1_000))])
            .ip(IpAddr::from([203, 0, 113, 9]));
        let texts: Vec<_> =
            entry.groups().map(|(_, object)| String::from_utf8(object.to_canonical()).unwrap()).collect();
        let subject = format!(
            "{{\"offered\":[[\"{link}\",\"{file}\",1]],\"patient\":\"Patient/42\",\
             \"patients\":[\"Patient/42\",\"Patient/43\"],\"returned\":[\"d1\"]}}"
        );
        assert_eq!(texts, ["{\"client\":\"ward-viewer\"}", &subject, "{\"ip\":\"203.0.113.9\"}"]);
        assert_eq!((entry.links(), entry.files()), ([link].as_slice(), [file].as_slice()));
        assert_eq!(format!("{entry:?}"), "Entry(search ok)");
    }
}
