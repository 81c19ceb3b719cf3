//! What the store's tests are made of: a clock that is set by hand, clients with their scopes, documents and files.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use daylily::domain::clock::{Clock, Timestamp};
use daylily::domain::id::{ClientId, FileId, ResourceId};
use daylily::domain::lifecycle::{Actor, Stamp, State, Transition, deliver, release, revoke};
use daylily::domain::policy::{
    AntivirusTerms, BoundNetwork, Coding, Decision, DeliveredWhen, LinkTerms, NotifyContent, RetainFrom,
};
use daylily::domain::principal::{
    AccessScope, AttachmentUrl, ClientNumber, Interaction, Permissions, Principal, Reach,
};
use daylily::domain::resource::{Body, Identifier, Index, Kind, NewFile, Span, Splice, SpliceKind, Stored, Target};
use daylily::domain::verdict::{Engine, Verdict};
use daylily::store::{Client, ClientKeys, NewContext, NewDocument, SealedEntry, Store};

/// 2026-01-01T00:00:00Z
pub const START: i64 = 1_767_225_600_000;

/// A clock that stands still until it is told otherwise.
#[derive(Debug)]
pub struct HandClock(pub AtomicU64);

impl HandClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(u64::try_from(START).unwrap() * 1000)))
    }
}

impl Clock for HandClock {
    fn now_micros(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.now_micros())
    }
}

pub fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(START + millis)
}

pub fn id(text: &str) -> ResourceId {
    ResourceId::parse(text).unwrap()
}

pub fn client_id(text: &str) -> ClientId {
    ClientId::parse(text).unwrap()
}

pub fn target(text: &str) -> Target {
    Target(text.to_owned())
}

pub fn file_id(number: u32) -> FileId {
    let mut bytes = [7; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    FileId::from_bytes(bytes)
}

pub fn entry() -> SealedEntry {
    entry_of("document.create")
}

pub fn entry_of(action: &'static str) -> SealedEntry {
    SealedEntry { action, outcome: "ok", commitment: [9; 32], cells: vec![1, 2, 3], given: Vec::new() }
}

pub fn client(text: &str, reach: Reach) -> Client {
    Client {
        number: ClientNumber(0),
        id: client_id(text),
        name: Some(format!("Client {text}")),
        scope: "system/DocumentReference.rs".to_owned(),
        reach,
        attachment_url: AttachmentUrl::Handle,
        allow_ip: vec!["10.0.0.0/8".to_owned()],
        keys: ClientKeys::Inline("{}".to_owned()),
        disabled: false,
        generation: 1,
        created: at(0),
    }
}

/// Registers a client and answers its number and what it may see.
pub async fn register(store: &dyn Store, text: &str, reach: Reach) -> (ClientNumber, AccessScope) {
    let number = store.add_client(client(text, reach.clone()), entry_of("client.add")).await.unwrap();
    (number, scope(text, number, reach))
}

pub fn scope(text: &str, number: ClientNumber, reach: Reach) -> AccessScope {
    let mut permissions = Permissions::default();
    permissions.grant(Kind::DocumentReference, Interaction::Read);
    let client = client_id(text);
    let principal = Principal { client, number, reach, permissions, attachment_url: AttachmentUrl::Link };
    principal.may(Interaction::Read, Kind::DocumentReference).unwrap()
}

pub fn all() -> Reach {
    Reach { all: true, custodians: Vec::new() }
}

pub fn custodians(texts: &[&str]) -> Reach {
    Reach { all: false, custodians: texts.iter().map(|text| (*text).to_owned()).collect() }
}

pub fn decision() -> Arc<Decision> {
    let hour = Duration::from_secs(3_600);
    Arc::new(Decision {
        rule: "default".to_owned(),
        store: "local".to_owned(),
        scan: vec![Engine::Rules],
        require_antivirus: false,
        antivirus: AntivirusTerms::default(),
        accept: vec!["application/pdf".to_owned()],
        max_size: 1_000_000,
        upload_within: hour,
        scan_within: hour,
        quarantine_keep: hour,
        retain: hour,
        retain_from: RetainFrom::Ready,
        purge_after: hour,
        delivered_when: DeliveredWhen::First,
        recipients: Vec::new(),
        notify: NotifyContent::Metadata,
        allow_override: false,
        link: LinkTerms {
            lifetime: hour,
            max_lifetime: hour,
            max_transfer: hour,
            uses: 0,
            max_uses: 0,
            bind_address: false,
            network: BoundNetwork::default(),
            confirm: false,
            grace: hour,
        },
    })
}

pub fn body(text: &str) -> Body {
    Body { text: text.to_owned(), splices: vec![Splice { at: 1, kind: SpliceKind::Meta, comma: true }] }
}

pub fn coding(system: &str, code: &str) -> Coding {
    Coding { system: Some(system.to_owned()), code: Some(code.to_owned()) }
}

pub fn identifier(system: &str, value: &str) -> Identifier {
    Identifier { system: Some(system.to_owned()), value: value.to_owned() }
}

pub fn day(number: i64) -> Span {
    let from = number * 86_400_000;
    Span { from: at(from), until: at(from + 86_400_000) }
}

/// A document without files; tests change what they are about.
pub fn document(text: &str, owner: ClientNumber) -> NewDocument {
    NewDocument {
        id: id(text),
        owner,
        body: body(&format!("{{\"description\":\"about {text}\"}}")),
        index: Index { subject: Some(target("Patient/1")), status: Some("current".to_owned()), ..Index::default() },
        decision: decision(),
        recipients: Vec::new(),
        files: Vec::new(),
        claims: Vec::new(),
        due: None,
        idempotency: None,
        at: at(0),
    }
}

pub fn file(number: u32, inline: Option<Vec<u8>>) -> NewFile {
    NewFile {
        file: file_id(number),
        content: 0,
        media_type: "application/pdf".to_owned(),
        size: 5,
        sha256: [4; 32],
        sha1: [5; 20],
        wrapped_key: b"the wrapped key of a file".to_vec(),
        inline,
        title: Some("Befund Mustermann.pdf".to_owned()),
    }
}

pub fn context(kind: Kind, text: &str, owner: ClientNumber) -> NewContext {
    NewContext {
        kind,
        id: id(text),
        owner,
        body: body("{\"active\":true}"),
        index: Index::default(),
        replace: true,
        if_match: None,
        idempotency: None,
        at: at(0),
    }
}

pub fn stamp(millis: i64, due: Option<Timestamp>) -> Stamp {
    Stamp { at: at(millis), actor: Actor::Server, due }
}

/// The way to `ready` of a document with these files.
pub fn released(files: &[u32], millis: i64) -> Vec<Transition> {
    let proof = |number: &u32| {
        let verdict = Verdict {
            engine: Engine::Rules,
            file: file_id(*number),
            sha256: [4; 32],
            finding: None,
            place: String::new(),
        };
        Verdict::clean_for(file_id(*number), [4; 32], &[Engine::Rules], &[verdict]).unwrap()
    };
    let facts = files.iter().map(|number| (file_id(*number), [4; 32])).collect::<Vec<_>>();
    release(State::Created, &facts, files.iter().map(proof).collect(), stamp(millis, None)).unwrap().to_vec()
}

pub fn delivered(millis: i64) -> Vec<Transition> {
    vec![deliver(State::Ready, stamp(millis, None)).unwrap()]
}

pub fn revoked(from: State, millis: i64) -> Vec<Transition> {
    vec![revoke(from, "mistake", stamp(millis, None)).unwrap()]
}

pub fn ids(rows: &[Stored]) -> Vec<String> {
    rows.iter().map(|row| row.id.to_string()).collect()
}
