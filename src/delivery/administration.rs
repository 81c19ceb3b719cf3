//! Operators' acts: clients, policy, revocation. Commands call these, through the running server or, with none running, on the
//! folder itself. What a flag means is decided in `cli`; what is allowed and recorded, here.

use super::cutting::Running;
use super::failure::store_failure;
use super::offers::about;
use super::{Delivery, PolicyInForce};
use crate::domain::audit::effect::REGISTRATION;
use crate::domain::audit::{Action, Entry, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::epoch::{Holder, Scope};
use crate::domain::id::{ClientId, FileId, LinkId, ResourceId};
use crate::domain::lifecycle::{Actor, State};
use crate::domain::policy::Policy;
use crate::domain::principal::{ClientNumber, Operator};
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::domain::resource::{DocumentFacts, Kind, Target};
use crate::store::{ActivePolicy, Client, StoreError};

/// What a revocation is aimed at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aim {
    /// One link, with what its own text says of it.
    Link {
        /// Its id.
        id: LinkId,
        /// The file.
        file: FileId,
        /// The client that it was given to.
        reader: ClientNumber,
    },
    /// All links of a document.
    Document(ResourceId),
    /// All links of a client.
    Client(ClientId),
    /// All links of files about a patient.
    Patient(Target),
    /// All links.
    All,
}

/// What a revocation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Its number.
    pub number: u32,
    /// Links that were given, alive, and ended.
    pub links: u64,
    /// Running downloads that were cut.
    pub cut: u64,
    /// Clients that held them, by id.
    pub clients: Vec<String>,
    /// Whether the document that was aimed at stays open: its readers get new links.
    pub new_links: bool,
}

/// A new policy, parsed by `config`.
#[derive(Debug)]
pub struct NewPolicy {
    /// Its text.
    pub text: String,
    /// SHA-256 of the text.
    pub digest: [u8; 32],
    /// The same, parsed.
    pub policy: Policy,
    /// Why.
    pub reason: String,
}

impl Delivery {
    /// Registers a client; `auth::client_registration` has checked what it says.
    ///
    /// # Errors
    /// `identifier-duplicate` when the id is taken.
    pub async fn add_client(&self, operator: &Operator, client: Client) -> Result<(), Refusal> {
        let entry = by(operator, Action::ClientAdd).with("registered", client.id.as_str()).scope(&client.scope);
        let entry = entry.with(REGISTRATION, client.registration());
        let sealed = self.recorder.seal(&entry)?;
        match self.store.add_client(client, sealed).await {
            Ok(_) => Ok(()),
            Err(StoreError::AlreadyExists) => Err(Issue::new(Code::IdentifierDuplicate).fill("path", "--id").into()),
            Err(error) => Err(store_failure(error)),
        }
    }

    /// Replaces a client's keys, or switches it off or on. Tokens given before end; so do its links when it is switched off.
    ///
    /// # Errors
    /// `resource-not-found`.
    pub async fn change_client(&self, operator: &Operator, client: Client, action: Action) -> Result<(), Refusal> {
        let entry = by(operator, action).with("registered", client.id.as_str());
        let entry = entry.with(REGISTRATION, client.registration());
        let (number, disabled) = (client.number, client.disabled);
        let revocation = by(operator, Action::LinkRevoke).with("registered", client.id.as_str());
        let sealed = self.recorder.seal(&entry)?;
        let changed = self.store.update_client(client, sealed).await;
        // After the change, so that no link made meanwhile outlives it; and whatever became of the change.
        if disabled && !matches!(changed, Err(StoreError::Changed)) {
            self.cut((Scope::Client(number), None), "client disabled", &revocation).await?;
        }
        match changed {
            Ok(()) => Ok(()),
            Err(StoreError::Changed) => Err(Refusal::of(Code::ResourceNotFound)),
            Err(error) => Err(store_failure(error)),
        }
    }

    /// Makes a policy the active one. Documents keep what was decided for them.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn apply_policy(&self, actor: &Actor, new: NewPolicy) -> Result<String, Refusal> {
        let short_digest = hex::encode(new.digest.get(..3).unwrap_or_default());
        let entry = Entry::new(Action::PolicyApply, Outcome::Ok);
        let entry = match actor {
            Actor::OsUser(uid) => entry.os_user(*uid),
            Actor::Operator(id) => entry.operator(id.as_str()),
            Actor::Client(_) | Actor::Server => entry.server(),
        };
        let entry = entry.reason(&new.reason).with("digest", hex::encode(new.digest));
        let sealed = self.recorder.seal(&entry)?;
        let row = ActivePolicy {
            text: new.text,
            digest: new.digest,
            actor: actor.to_string(),
            reason: new.reason,
            at: self.clock.now(),
        };
        self.store.apply_policy(row, sealed).await.map_err(store_failure)?;
        self.set_policy(PolicyInForce { policy: new.policy, short_digest: short_digest.clone() });
        Ok(short_digest)
    }

    /// Cuts access at once and then says whom it touched. With `state`, a document aimed at moves to `revoked`.
    ///
    /// # Errors
    /// `resource-not-found` for a document or client that is not there; `state-refused`.
    pub async fn revoke(&self, operator: &Operator, aim: &Aim, reason: &str, state: bool) -> Result<Revoked, Refusal> {
        let (scope, document) = self.aimed_at(operator, aim).await?;
        let entry = aim_entry(by(operator, Action::LinkRevoke), aim).reason(reason);
        let entry = self.about_aim(entry, aim, document.as_ref()).await;
        let Some(scope) = scope else {
            self.recorder.record(&entry).await?;
            return Ok(Revoked { number: 0, links: 0, cut: 0, clients: Vec::new(), new_links: false });
        };
        let (now, before) = (self.clock.now(), self.store.epochs());
        // From memory, and before the cut ends them.
        let cut = self.transfers.count(|running| is_covered(&scope, running));
        let number = self.cut((scope.clone(), self.holder_of(aim).await), reason, &entry).await?;
        if let (true, Some(document)) = (state, &document) {
            self.revoke_document(document, &operator.actor(), reason, &entry).await?;
        }
        let touched = self.touched(&scope, &before, now).await?;
        let clients = self.holders(&touched);
        let new_links = !state && document.is_some_and(|document| is_open(&document, now));
        Ok(Revoked { number, links: touched.links, cut: count(cut), clients, new_links })
    }

    /// What a revocation would touch, without doing it.
    ///
    /// # Errors
    /// As [`Delivery::revoke`].
    pub async fn revoke_preview(&self, operator: &Operator, aim: &Aim, state: bool) -> Result<Revoked, Refusal> {
        let (Some(scope), document) = self.aimed_at(operator, aim).await? else {
            return Ok(Revoked { number: 0, links: 0, cut: 0, clients: Vec::new(), new_links: false });
        };
        let now = self.clock.now();
        let cut = self.transfers.count(|running| is_covered(&scope, running));
        let touched = self.touched(&scope, &self.store.epochs(), now).await?;
        let clients = self.holders(&touched);
        let new_links = !state && document.is_some_and(|document| is_open(&document, now));
        Ok(Revoked { number: 0, links: touched.links, cut: count(cut), clients, new_links })
    }

    /// The patient of the document or link that was aimed at, so that the withdrawal is found under them. Where it cannot be said, access
    /// ends all the same.
    async fn about_aim(&self, entry: Entry, aim: &Aim, document: Option<&DocumentFacts>) -> Entry {
        match (aim, document) {
            (_, Some(document)) => about(entry, document),
            (Aim::Link { file, .. }, None) => {
                let facts = self.store.file(*file).await.ok().flatten();
                facts.and_then(|facts| facts.document.clone()).iter().fold(entry.file(*file), about)
            }
            _ => entry,
        }
    }

    /// Whose link is withdrawn, so that their next one is another. Where that cannot be said, the link ends all the same.
    async fn holder_of(&self, aim: &Aim) -> Option<Holder> {
        let Aim::Link { file, reader, .. } = aim else { return None };
        match self.store.file(*file).await {
            Ok(facts) => {
                let document = facts?.document.as_ref()?.number;
                Some(Holder { reader: *reader, document })
            }
            Err(_) => {
                tracing::warn!("a file's row cannot be read: a link ends without its holder");
                None
            }
        }
    }

    async fn aimed_at(
        &self,
        operator: &Operator,
        aim: &Aim,
    ) -> Result<(Option<Scope>, Option<DocumentFacts>), Refusal> {
        let missing = || Refusal::of(Code::ResourceNotFound);
        match aim {
            Aim::All => Ok((Some(Scope::All), None)),
            Aim::Link { id, .. } => Ok((Some(Scope::Link(id.clone())), None)),
            Aim::Client(id) => {
                let client = self.store.client(id).ok_or_else(missing)?;
                Ok((Some(Scope::Client(client.number)), None))
            }
            Aim::Document(id) => {
                let found = self.store.read(Kind::DocumentReference, id, &operator.scope()).await;
                let document = found.map_err(store_failure)?.and_then(|stored| stored.document).ok_or_else(missing)?;
                Ok((Some(Scope::Document(document.number)), Some(document)))
            }
            Aim::Patient(target) => {
                let patient = self.store.patient_number(target).await.map_err(store_failure)?;
                Ok((patient.map(Scope::Patient), None))
            }
        }
    }
}

/// Whether a revocation of `scope` cuts a running download.
fn is_covered(scope: &Scope, running: &Running) -> bool {
    let Some(subject) = &running.subject else { return false };
    match scope {
        Scope::Link(id) => running.link.as_ref() == Some(id),
        Scope::All => true,
        Scope::Client(number) => subject.reader == *number,
        Scope::Document(number) => subject.document == *number,
        Scope::Patient(number) => subject.patient == Some(*number),
    }
}

/// Whether readers of a document are offered links, or will be.
fn is_open(document: &DocumentFacts, now: Timestamp) -> bool {
    match document.state_at(now) {
        State::Created | State::Scanned | State::Ready | State::Delivered => true,
        State::Quarantined | State::Expired | State::Revoked | State::Purged => false,
    }
}

pub(super) fn by(operator: &Operator, action: Action) -> Entry {
    Entry::new(action, Outcome::Ok).by(operator)
}

fn aim_entry(entry: Entry, aim: &Aim) -> Entry {
    match aim {
        Aim::All => entry.with("aim", "all"),
        Aim::Link { id, .. } => entry.link(id),
        Aim::Client(id) => entry.with("registered", id.as_str()),
        Aim::Document(id) => entry.resource("DocumentReference", id, 0),
        Aim::Patient(target) => entry.patient(&target.0),
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::epoch::Subject;
    use crate::domain::resource::DocumentNumber;

    #[test]
    fn a_download_counts_as_cut_where_its_own_link_is_withdrawn() {
        let (link, other) = (LinkId::of_digest(&[1; 8]), LinkId::of_digest(&[2; 8]));
        let subject = Subject { reader: ClientNumber(1), document: DocumentNumber(7), patient: None };
        let file = FileId::from_bytes([0; 16]);
        let running = |link: Option<&LinkId>| Running {
            file,
            subject: Some(subject),
            link: link.cloned(),
            epoch: 0,
            ends: None,
            line: None,
            cut: std::sync::Mutex::default(),
        };
        let covered = |scope: Scope, link: Option<&LinkId>| is_covered(&scope, &running(link));
        assert!(covered(Scope::Link(link.clone()), Some(&link)));
        assert!(!covered(Scope::Link(other), Some(&link)));
        assert!(covered(Scope::Document(DocumentNumber(7)), Some(&link)) && covered(Scope::All, Some(&link)));
        assert!(!covered(Scope::Document(DocumentNumber(8)), Some(&link)));
        assert!(covered(Scope::All, None), "a download by handle obeys wide revocations too");
    }
}
