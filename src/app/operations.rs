//! What commands do: the same functions for those that come over the control socket and those that a command performs itself on the
//! folder that it holds.

mod acknowledging;
mod door;
mod explaining;
mod oversight;
mod permission;

use std::io::Cursor;
use std::sync::Arc;

use async_trait::async_trait;

use super::acknowledged::Pending;
use super::instance::sha256;
use crate::auth::client_registration::{self, GivenKeys};
use crate::auth::discovery::Endpoints;
use crate::auth::jwk::KeySet;
use crate::auth::jwks::FetchKeys;
use crate::config::{Mistake, policy_text};
use crate::control::{
    ClientChange, ClientView, KeysGiven, NewClient, Operations, PolicyView, Request, Response, RevocationAim,
    RevocationView, StatusView,
};
use crate::delivery::Delivery;
use crate::delivery::administration::{Aim, NewPolicy, Revoked};
use crate::domain::audit::{Action, Entry, Outcome};
use crate::domain::id::{ClientId, FileId, ResourceId};
use crate::domain::link::{LinkError, Purpose};
use crate::domain::principal::{AttachmentUrl, Operator};
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::domain::resource::Target;
use crate::domain::verdict::Finding;
use crate::http::{PROBE_BYTES, Probes};
use crate::scan::rules::{RuleScanner, harmless_test_file};
use crate::scan::{Scanner, Subject};
use crate::store::{Client, ClientKeys};
use oversight::plain;

/// Commands over the use cases.
#[derive(Debug)]
pub struct Commands {
    delivery: Arc<Delivery>,
    /// Looks at a key address when it is registered, so that the operator learns now that it does not answer.
    fetch: Arc<dyn FetchKeys>,
    status: StatusView,
    allow_http: bool,
    probes: Arc<Probes>,
    door: door::Door,
    /// What was found in the log of a stopped folder.
    pending: Option<Arc<Pending>>,
}

impl Commands {
    /// Over the use cases of one folder.
    pub fn new(
        delivery: Arc<Delivery>,
        (fetch, allow_http): (Arc<dyn FetchKeys>, bool),
        status: StatusView,
        probes: Arc<Probes>,
        pending: Option<Arc<Pending>>,
    ) -> Self {
        Self { delivery, fetch, status, allow_http, probes, door: door::Door::default(), pending }
    }

    fn client(&self, id: &str) -> Result<Arc<Client>, Refusal> {
        let client = ClientId::parse(id).and_then(|id| self.delivery.store().client(&id));
        client.ok_or_else(|| {
            let issue = Issue::new(Code::ResourceNotFound).message_text("no client has this id");
            issue.cure_text("see `daylily client list`").into()
        })
    }

    fn view(&self, client: &Client) -> ClientView {
        ClientView {
            id: client.id.to_string(),
            name: client.name.clone(),
            kind: "backend".to_owned(),
            scope: client.scope.clone(),
            reach: reach_words(client),
            keys: key_words(&client.keys),
            attachment_url: match client.attachment_url {
                AttachmentUrl::Link => "link".to_owned(),
                AttachmentUrl::Handle => "handle".to_owned(),
            },
            allow_ip: client.allow_ip.clone(),
            disabled: client.disabled,
            created: client.created.to_string(),
            token_endpoint: Endpoints::at(&self.status.base).token,
            warning: None,
        }
    }

    async fn add(&self, operator: &Operator, new: NewClient) -> Result<Response, Refusal> {
        let given = client_registration::NewClient {
            id: new.id,
            name: new.name,
            scope: new.scope,
            reach: new.reach,
            allow_ip: new.allow_ip,
            attachment_url: new.handles.then(|| "handle".to_owned()),
        };
        let keys = given_keys(new.keys);
        let client = client_registration::register(&given, &keys, self.allow_http, self.delivery.now())?;
        let id = client.id.to_string();
        self.delivery.add_client(operator, client).await?;
        self.shown_after(&id, &keys).await
    }

    async fn change(&self, operator: &Operator, id: &str, change: ClientChange) -> Result<Response, Refusal> {
        let mut client = (*self.client(id)?).clone();
        let (action, keys) = match change {
            ClientChange::Disable => {
                client.disabled = true;
                (Action::ClientDisable, None)
            }
            ClientChange::Enable => {
                client.disabled = false;
                (Action::ClientEnable, None)
            }
            ClientChange::Rotate(keys) => {
                let keys = given_keys(keys);
                client.keys = client_registration::keys(&keys, self.allow_http)?;
                (Action::ClientRotate, Some(keys))
            }
        };
        self.delivery.change_client(operator, client, action).await?;
        match keys {
            Some(keys) => self.shown_after(id, &keys).await,
            None => Ok(Response::Client(self.view(&*self.client(id)?))),
        }
    }

    /// The client as it is now; where its keys lie elsewhere, they are looked at once.
    async fn shown_after(&self, id: &str, keys: &GivenKeys) -> Result<Response, Refusal> {
        let mut view = self.view(&*self.client(id)?);
        if let GivenKeys::Uri(uri) = keys {
            view.warning = self.look_at(uri).await.err();
        }
        Ok(Response::Client(view))
    }

    async fn look_at(&self, uri: &str) -> Result<(), String> {
        let fetched = self.fetch.fetch(uri).await.map_err(|error| error.to_string())?;
        let set = KeySet::parse(&fetched.body).map_err(|fault| format!("the key set {}", fault.as_str()))?;
        if set.keys().is_empty() {
            Err("the key set has no key that can be used (RS384, ES384)".to_owned())
        } else {
            Ok(())
        }
    }

    async fn apply(&self, operator: &Operator, text: String, file: &str, reason: String) -> Result<Response, Refusal> {
        let policy = policy_text::parse(file, &text).map_err(|mistakes| {
            let issues = mistakes.iter().map(Mistake::to_issue).collect();
            Refusal::of_all(issues).unwrap_or_else(|| Refusal::of(Code::ServerFault))
        })?;
        let digest = sha256(text.as_bytes());
        let new = NewPolicy { text, digest, policy, reason };
        self.delivery.apply_policy(&operator.actor(), new).await?;
        self.policy().await
    }

    async fn policy(&self) -> Result<Response, Refusal> {
        let active = self.delivery.store().policy().await.map_err(crate::delivery::store_failure)?;
        let active = active.ok_or_else(|| Refusal::of(Code::ServerFault))?;
        Ok(Response::Policy(PolicyView {
            text: active.text,
            digest: hex::encode(active.digest),
            actor: active.actor,
            reason: active.reason,
            at: active.at.to_string(),
        }))
    }

    async fn revoke(
        &self,
        operator: &Operator,
        (aim, reason): (RevocationAim, String),
        (state, preview): (bool, bool),
    ) -> Result<Response, Refusal> {
        let aim = self.aim(aim)?;
        let revoked = if preview {
            self.delivery.revoke_preview(operator, &aim, state).await?
        } else {
            self.delivery.revoke(operator, &aim, &reason, state).await?
        };
        Ok(Response::Revocation(revocation(revoked)))
    }

    fn aim(&self, aim: RevocationAim) -> Result<Aim, Refusal> {
        let wrong = |flag: &str, fault: &str, cure: &str| {
            Refusal::new(Issue::new(Code::FlagMalformed).fill("flag", flag).fill("fault", fault).fill("cure", cure))
        };
        match aim {
            RevocationAim::All => Ok(Aim::All),
            RevocationAim::Client(id) => Ok(Aim::Client(self.client(&id)?.id.clone())),
            RevocationAim::Document(reference) => {
                let id = reference.strip_prefix("DocumentReference/").unwrap_or(&reference);
                let id = ResourceId::parse(id);
                id.map(Aim::Document)
                    .ok_or_else(|| wrong("--document", "must be a reference", "write it like DocumentReference/9f31"))
            }
            RevocationAim::Patient(reference) => Ok(Aim::Patient(Target(reference.trim().to_owned()))),
            RevocationAim::Link(text) => {
                let token = text.trim().rsplit('/').next().unwrap_or_default().to_owned();
                aim_at(&self.delivery, &token).ok_or_else(|| {
                    let issue = Issue::new(Code::LinkInvalid).message_text("this link was not made here");
                    issue.cure_text("paste the whole link, as it was handed out").into()
                })
            }
        }
    }

    /// Refuses, and records, what the operator's role does not cover.
    async fn permit(&self, operator: &Operator, request: &Request) -> Result<(), Refusal> {
        let (act, command) = permission::act_of(request);
        let Err(refusal) = operator.may(act) else { return Ok(()) };
        let entry = Entry::new(Action::CommandRun, Outcome::Denied).by(operator).code(refusal.code());
        self.delivery.record(&entry.with("command", command)).await?;
        Err(refusal)
    }

    async fn administer(&self, operator: &Operator, request: Request) -> Result<Response, Refusal> {
        match request {
            Request::Status {} => {
                let writing = self.delivery.store().writing().trouble().map(str::to_owned);
                let endings_left = self.delivery.store().endings_left();
                let log_not_copied = self.delivery.store().log_copies().are_failing();
                Ok(Response::Status(StatusView { writing, endings_left, log_not_copied, ..self.status.clone() }))
            }
            Request::ClientAdd(new) => self.add(operator, new).await,
            Request::ClientList {} => {
                let clients = self.delivery.store().clients().iter().map(|client| self.view(client)).collect();
                Ok(Response::Clients { clients })
            }
            Request::ClientShow { id } => Ok(Response::Client(self.view(&*self.client(&id)?))),
            Request::ClientChange { id, change } => self.change(operator, &id, change).await,
            Request::PolicyApply { text, file, reason } => {
                plain("--reason", &reason)?;
                self.apply(operator, text, &file, reason).await
            }
            Request::PolicyShow {} => self.policy().await,
            Request::LinksRevoke { aim, reason, state, preview } => {
                plain("--reason", &reason)?;
                self.revoke(operator, (aim, reason), (state, preview)).await
            }
            Request::AuditExport { patient, from, to } => self.export(operator, patient, (from, to)).await,
            Request::AuditAcknowledge { reason } => self.acknowledge(operator, &reason).await,
            Request::As { .. } => Err(Issue::new(Code::RequestMalformed).fill("part", "command line").into()),
            Request::OperatorAdd { id, role, password } => self.operator_add(operator, (&id, &role), &password).await,
            Request::OperatorList {} => self.operator_list().await,
            Request::OperatorDisable { id } => self.operator_disable(operator, &id).await,
            Request::QuarantineList {} => self.quarantine_list(operator).await,
            Request::QuarantineShow { document } => self.quarantine_show(operator, &document).await,
            Request::QuarantineRelease { document, reason } => {
                self.quarantine_release(operator, (&document, &reason)).await
            }
            Request::QuarantinePurge { document, reason, preview } => {
                self.quarantine_purge(operator, (&document, &reason), preview).await
            }
            Request::HoldList {} => self.hold_list(operator).await,
            Request::HoldAdd { document, reason, authority } => {
                self.hold_add(operator, (&document, &reason), authority.as_deref()).await
            }
            Request::HoldRelease { document, reason, hold } => {
                self.hold_release(operator, (&document, &reason), hold.as_deref()).await
            }
            Request::ProbeBegin {} => {
                let path = Some(self.probes.begin());
                Ok(Response::Probe { path, bytes: PROBE_BYTES, acknowledged: None })
            }
            Request::ProbeShow {} => {
                Ok(Response::Probe { path: None, bytes: PROBE_BYTES, acknowledged: self.probes.acknowledged() })
            }
            Request::LoopsShow {} => Ok(self.loops()),
            Request::ClockShow {} => Ok(self.clock()),
            Request::ClockConfirm { reason } => self.confirm_clock(operator, plain("--reason", &reason)?).await,
            Request::Explain { aim } => self.explain(operator, aim).await,
        }
    }

    /// An export is recorded before anything is handed out; what may be handed out ends with that entry.
    async fn export(
        &self,
        operator: &Operator,
        patient: Option<String>,
        (from, to): (Option<String>, Option<String>),
    ) -> Result<Response, Refusal> {
        let mut entry = Entry::new(Action::AuditExport, Outcome::Ok).by(operator);
        if let Some(patient) = &patient {
            entry = entry.patient(patient);
        }
        for (name, moment) in [("from", from), ("to", to)] {
            if let Some(moment) = moment {
                entry = entry.with(name, moment);
            }
        }
        self.delivery.record(&entry).await?;
        let head = self.delivery.store().audit_head().await.map_err(crate::delivery::store_failure)?;
        Ok(Response::Export { size: head.size })
    }
}

#[async_trait]
impl Operations for Commands {
    async fn perform(&self, uid: u32, request: Request) -> Result<Response, Refusal> {
        let (operator, request) = match request {
            Request::As { id, password, request } => {
                (self.door.enter(&self.delivery, uid, (&id, &password)).await?, *request)
            }
            request => (Operator::OsUser(uid), request),
        };
        self.permit(&operator, &request).await?;
        self.administer(&operator, request).await
    }
}

/// A link that was made here, also one whose time is over.
fn aim_at(delivery: &Delivery, token: &str) -> Option<Aim> {
    match delivery.link_keys().verify(token, Purpose::Download, delivery.now()) {
        Ok(link) | Err(LinkError::Expired(link)) => {
            let (id, claims) = (link.id().clone(), link.claims());
            Some(Aim::Link { id, file: claims.file, reader: claims.reader })
        }
        Err(LinkError::Invalid) => None,
    }
}

fn given_keys(keys: KeysGiven) -> GivenKeys {
    match keys {
        KeysGiven::Jwks(text) => GivenKeys::Set(text),
        KeysGiven::JwksUri(uri) => GivenKeys::Uri(uri),
    }
}

fn reach_words(client: &Client) -> Vec<String> {
    if client.reach.all {
        return vec!["all".to_owned()];
    }
    let custodians = client.reach.custodians.iter().map(|custodian| format!("custodian={custodian}"));
    std::iter::once("own".to_owned()).chain(custodians).collect()
}

fn key_words(keys: &ClientKeys) -> Vec<String> {
    match keys {
        ClientKeys::Uri(uri) => vec![uri.clone()],
        ClientKeys::Inline(text) => {
            let set = KeySet::parse(text.as_bytes()).unwrap_or_default();
            set.keys().iter().map(|key| format!("{} ({})", key.kid(), key.algorithm().as_str())).collect()
        }
    }
}

/// What ending the links of a document leaves as it was.
const NEW_LINKS: &str =
    "readers get new links at their next read; to end access, move the document to revoked with --state";

fn revocation(revoked: Revoked) -> RevocationView {
    RevocationView {
        revocation: if revoked.number == 0 { String::new() } else { format!("rv_{}", revoked.number) },
        links: revoked.links,
        cut: revoked.cut,
        recipients: revoked.clients,
        note: revoked.new_links.then(|| NEW_LINKS.to_owned()),
    }
}

/// Whether the built-in rules find the harmless test virus (eicar.org), for `doctor`.
pub fn harmless_virus_is_found() -> bool {
    let virus = harmless_test_file();
    let subject = Subject {
        file: FileId::from_bytes([0; 16]),
        sha256: sha256(&virus),
        declared: "text/plain",
        size: u64::try_from(virus.len()).unwrap_or(u64::MAX),
    };
    let verdict = RuleScanner::default().scan(&subject, &mut Cursor::new(virus));
    verdict.is_ok_and(|verdict| verdict.finding == Some(Finding::Malware))
}
