//! Taking a document in: policy decides, bytes are stored sealed, and one commit makes document, files, scan job and audit entry
//! durable together. What fails before that commit leaves nothing behind.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use super::failure::{blob_failure, size_words, store_failure};
use super::offers::{about_subject, gone, not_found};
use super::reading::read_body;
use super::uncommitted::Uncommitted;
use super::{Caller, Delivery, ReadResource};
use crate::blob::Placement;
use crate::domain::audit::{Action, Outcome};
use crate::domain::content;
use crate::domain::id::{FileId, ResourceId};
use crate::domain::lifecycle::State;
use crate::domain::policy::Decision;
use crate::domain::principal::{AccessScope, Interaction};
use crate::domain::refusal::{Code, Issue, Refusal, Severity, first_of};
use crate::domain::resource::{FileFacts, Kind, NewFile, Stored, Target};
use crate::fhir::base::Base;
use crate::fhir::document::{Content, FileNote, Source, Submitted};
use crate::fhir::render::{Absent, Address};
use crate::fhir::tables::ResourceType;
use crate::fhir::validate::{self, Expectation};
use crate::fhir::{binary, context};
use crate::store::{Earlier, Idempotency, NewDocument, StoreError, Writing};

/// What a create or update made.
#[derive(Debug)]
pub struct CreatedResource {
    /// The resource as a read would show it now.
    pub read: ReadResource,
    /// Whether it is new.
    pub created: bool,
    /// Remarks: references that dangle.
    pub warnings: Vec<Issue>,
}

/// A body that has been read.
enum Understood {
    Document(Box<Submitted>),
    Binary(binary::Submitted),
    Context(context::Submitted),
}

impl Understood {
    fn read(kind: Kind, body: &[u8], base: &Base) -> Result<Self, Refusal> {
        let resource = validate::read(body, Expectation::Create(resource_type(kind)))?;
        Ok(match kind {
            Kind::DocumentReference => Self::Document(Box::new(Submitted::read(resource, base)?)),
            Kind::Binary => Self::Binary(binary::Submitted::read(resource)?),
            _ => Self::Context(context::Submitted::read(resource, base)?),
        })
    }
}

/// The files of a document on its way in.
struct Gathered {
    uncommitted: Uncommitted,
    files: Vec<NewFile>,
    claims: Vec<(FileId, u16, Option<String>)>,
    claimed: HashSet<FileId>,
    notes: Vec<FileNote>,
}

impl Delivery {
    /// Creates a resource from its JSON text.
    ///
    /// # Errors
    /// `scope-insufficient`; all that validation finds; `content-…`, `source-refused`; `idempotency-key-reused`;
    /// `storage-full`; failures of the parts.
    pub async fn create(
        &self,
        caller: &Caller,
        kind: Kind,
        body: &Bytes,
        idempotency: Option<&str>,
    ) -> Result<CreatedResource, Refusal> {
        let scope = caller.principal.may(Interaction::Create, kind)?;
        let remembered = self.remembered(caller, kind, body, idempotency).await?;
        let idempotency = match remembered {
            Remembered::Answered(earlier) => return self.again(caller, earlier, &scope).await,
            Remembered::New(idempotency) => idempotency,
        };
        let base = self.terms.base.clone();
        match read_body(&caller.holder(), body, move |body| Understood::read(kind, body, &base)).await? {
            Understood::Document(submitted) => self.create_document(caller, &scope, *submitted, idempotency).await,
            Understood::Binary(submitted) => self.create_binary(caller, submitted, idempotency).await,
            Understood::Context(submitted) => self.create_context(caller, &scope, kind, submitted, idempotency).await,
        }
    }

    async fn create_document(
        &self,
        caller: &Caller,
        scope: &AccessScope,
        submitted: Submitted,
        idempotency: Option<Idempotency>,
    ) -> Result<CreatedResource, Refusal> {
        let principal = &caller.principal;
        let policy = self.policy();
        let decision = Arc::new(policy.policy.decide(&submitted.facts(&principal.client)).clone());
        let index = submitted.index();
        let warnings = self.dangling(&submitted.references(), scope).await?;
        let gathered = self.gather(caller, &submitted, &decision, index.subject.as_ref()).await?;
        let at = self.clock.now();
        let id = ResourceId::random(self.entropy.as_ref());
        let mut recipients = submitted.recipients();
        recipients.extend(decision.recipients.iter().filter_map(|id| crate::domain::id::ClientId::parse(id)));
        let empty = gathered.notes.is_empty();
        let mut entry = caller.entry(Action::DocumentCreate, Outcome::Ok).document(&id, 1);
        entry = about_subject(entry, index.subject.as_ref()).with("rule", decision.rule.as_str());
        for file in gathered.files.iter().map(|file| file.file).chain(gathered.claims.iter().map(|claim| claim.0)) {
            entry = entry.file(file);
        }
        let document = NewDocument {
            body: submitted.into_body(&id, &decision, &principal.client, &gathered.notes),
            id: id.clone(),
            owner: principal.number,
            index,
            recipients,
            files: gathered.files,
            claims: gathered.claims,
            due: Some(at.plus(if empty { decision.upload_within } else { decision.scan_within })),
            decision,
            idempotency,
            at,
        };
        let sealed = self.recorder.seal(&entry)?;
        let store = Arc::clone(&self.store);
        let created = gathered.uncommitted.commit(async move { store.create_document(document, sealed).await }).await;
        created.map_err(not_created)?;
        let read = self.shown(Kind::DocumentReference, &id, 1, &principal.own_scope()).await?;
        Ok(CreatedResource { read, created: true, warnings })
    }

    /// Stores what comes with the document, and finds what it names.
    async fn gather(
        &self,
        caller: &Caller,
        submitted: &Submitted,
        decision: &Decision,
        subject: Option<&Target>,
    ) -> Result<Gathered, Refusal> {
        let mut gathered = Gathered {
            uncommitted: self.removals.watch(),
            files: Vec::new(),
            claims: Vec::new(),
            claimed: HashSet::new(),
            notes: Vec::new(),
        };
        match self.gather_each(caller, submitted, decision, subject, &mut gathered).await {
            Ok(()) => Ok(gathered),
            Err(refusal) => {
                gathered.uncommitted.undo().await;
                Err(refusal)
            }
        }
    }

    async fn gather_each(
        &self,
        caller: &Caller,
        submitted: &Submitted,
        decision: &Decision,
        subject: Option<&Target>,
        gathered: &mut Gathered,
    ) -> Result<(), Refusal> {
        for content in submitted.contents() {
            let note = match &content.source {
                Source::Nothing => continue,
                Source::Data(bytes) => {
                    accepted(content, content.media_type.as_deref().unwrap_or_default(), decision)?;
                    self.room().await?;
                    let file = self.store_bytes(content, bytes, decision, &mut gathered.uncommitted).await?;
                    let note = note_of(&file);
                    gathered.files.push(file);
                    note
                }
                Source::File(file) => {
                    let facts = self.named_file(caller, *file, content, subject).await?;
                    let declared = content.media_type.as_deref().unwrap_or(&facts.media_type);
                    accepted(content, declared, decision)?;
                    same_type(content, declared, &facts.media_type)?;
                    if gathered.claimed.contains(&facts.file) {
                        let path = format!("DocumentReference.content[{}].attachment.url", content.index);
                        return Err(Issue::new(Code::IdentifierDuplicate).at(&path).into());
                    }
                    self.take_named(caller, &facts, content, decision, gathered).await?
                }
            };
            content.check(&note)?;
            gathered.notes.push(note);
        }
        Ok(())
    }

    async fn store_bytes(
        &self,
        content: &Content,
        bytes: &Bytes,
        decision: &Decision,
        uncommitted: &mut Uncommitted,
    ) -> Result<NewFile, Refusal> {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        within(size, decision)?;
        let file = FileId::random(self.entropy.as_ref());
        let stored = self.blobs.put_bytes(file, bytes.clone(), decision.max_size).await.map_err(blob_failure)?;
        uncommitted.take(&stored);
        Ok(new_file(stored, content.index, content.media_type.clone().unwrap_or_default(), content.title.clone()))
    }

    /// A file that the document names, if the writer may read it and it fits: unclaimed and its own, or of a document about
    /// the same subject that can be opened now.
    async fn named_file(
        &self,
        caller: &Caller,
        file: FileId,
        content: &Content,
        subject: Option<&Target>,
    ) -> Result<Arc<FileFacts>, Refusal> {
        let path = format!("DocumentReference.content[{}].attachment.url", content.index);
        let missing = || Refusal::new(Issue::new(Code::ReferenceNotFound).at(&path));
        let scope = caller.principal.may_open_content()?;
        if !self.store.covers(file, &scope).await.map_err(store_failure)? {
            return Err(missing());
        }
        let facts = self.store.file(file).await.map_err(store_failure)?.ok_or_else(missing)?;
        match &facts.document {
            None if facts.owner == caller.principal.number => Ok(facts),
            None => Err(missing()),
            Some(document) if document.subject.as_ref() != subject => Err(missing()),
            Some(document) => match self.closed(document, self.clock.now()) {
                Some(refusal) => Err(refusal),
                None => Ok(facts),
            },
        }
    }

    async fn take_named(
        &self,
        caller: &Caller,
        facts: &FileFacts,
        content: &Content,
        decision: &Decision,
        gathered: &mut Gathered,
    ) -> Result<FileNote, Refusal> {
        within(facts.size, decision)?;
        if facts.document.is_none() && facts.owner == caller.principal.number {
            gathered.claimed.insert(facts.file);
            gathered.claims.push((facts.file, content.index, content.title.clone()));
            return Ok(FileNote { content: content.index, size: facts.size, sha1: facts.sha1, sha256: facts.sha256 });
        }
        self.room().await?;
        let opened = self.content_of(facts).await?;
        let file = FileId::random(self.entropy.as_ref());
        let mut incoming = self.blobs.begin(file, decision.max_size).map_err(blob_failure)?;
        let mut at = 0;
        while at < opened.size() {
            let piece = opened.read(at, crate::blob::READ_MOST).map_err(blob_failure)?;
            at += u64::try_from(piece.len()).unwrap_or(u64::MAX);
            incoming.write(piece).await.map_err(blob_failure)?;
        }
        let stored = incoming.finish().await.map_err(blob_failure)?;
        gathered.uncommitted.take(&stored);
        if stored.sha256 != facts.sha256 {
            return Err(Refusal::of(Code::ContentDamaged));
        }
        let media_type = content.media_type.clone().unwrap_or_else(|| facts.media_type.clone());
        let copied = new_file(stored, content.index, media_type, content.title.clone());
        let note = note_of(&copied);
        gathered.files.push(copied);
        Ok(note)
    }

    /// Refuses uploads when the disk is nearly full, so that reading and auditing go on.
    pub(super) async fn room(&self) -> Result<(), Refusal> {
        let space = self.blobs.space().await.map_err(blob_failure)?;
        match space {
            _ if self.store.writing() == Writing::Short => Err(Refusal::of(Code::StorageFull).retry_after(60)),
            Some(space) if space.used_percent() >= self.terms.disk_stop_percent => {
                tracing::warn!(code = Code::StorageFull.name(), used_percent = space.used_percent(), "uploads stopped");
                Err(Refusal::of(Code::StorageFull).retry_after(60))
            }
            _ => Ok(()),
        }
    }

    /// References that lead nowhere for this caller: warnings, or a refusal where settings ask for that.
    pub(super) async fn dangling(
        &self,
        references: &[(String, Target)],
        scope: &AccessScope,
    ) -> Result<Vec<Issue>, Refusal> {
        let targets: Vec<Target> = references.iter().map(|(_, target)| target.clone()).collect();
        if targets.is_empty() {
            return Ok(Vec::new());
        }
        let there = match self.store.visible_targets(&targets, scope).await {
            // Nobody is warned of what is not known; who must be sure is told that it is not.
            Err(StoreError::TooCostly) if !self.terms.strict_references => return Ok(Vec::new()),
            there => there.map_err(store_failure)?,
        };
        let lost = references.iter().zip(there).filter(|(_, there)| !there).map(|((path, _), _)| path);
        if self.terms.strict_references {
            let issues = lost.map(|path| Issue::new(Code::ReferenceNotFound).at(path)).collect();
            return Refusal::of_all(first_of(issues)).map_or(Ok(Vec::new()), Err);
        }
        let warnings = lost.map(|path| Issue::new(Code::ReferenceDangling).at(path).severity(Severity::Warning));
        Ok(first_of(warnings.collect()))
    }

    /// What an idempotency key says of a request.
    pub(super) async fn remembered(
        &self,
        caller: &Caller,
        kind: Kind,
        body: &Bytes,
        key: Option<&str>,
    ) -> Result<Remembered, Refusal> {
        let Some(key) = key else {
            return Ok(Remembered::New(None));
        };
        let now = self.clock.now();
        let request = read_body(&caller.holder(), body, move |body| Ok(request_digest(kind, body))).await?;
        match self.store.earlier(caller.principal.number, key, now).await.map_err(store_failure)? {
            Some(earlier) if earlier.request == request && earlier.kind == kind => Ok(Remembered::Answered(earlier)),
            Some(_) => Err(Refusal::of(Code::IdempotencyKeyReused)),
            None => {
                let until = now.plus(self.terms.idempotency);
                Ok(Remembered::New(Some(Idempotency { key: key.to_owned(), request, until })))
            }
        }
    }

    /// The answer of an earlier request with the same key and body. It is shown again, so it is recorded again.
    pub(super) async fn again(
        &self,
        caller: &Caller,
        earlier: Earlier,
        scope: &AccessScope,
    ) -> Result<CreatedResource, Refusal> {
        let found =
            self.store.read_version(earlier.kind, &earlier.id, earlier.version, scope).await.map_err(store_failure)?;
        let stored = found.ok_or_else(not_found)?;
        let purged = stored.document.as_ref().filter(|document| document.state == State::Purged);
        // Of an unclaimed Binary that is gone nothing is said, as when it is read.
        if stored.body.text.is_empty() || purged.is_some() {
            let refusal = purged.map_or_else(not_found, gone);
            let entry = caller.entry(Action::DocumentRead, Outcome::Denied).with("repeated", true);
            let entry = entry.resource(earlier.kind.as_str(), &earlier.id, 0).code(refusal.code());
            self.recorder.record(&entry).await?;
            return Err(refusal);
        }
        let action = match earlier.kind {
            Kind::DocumentReference => Action::DocumentRead,
            Kind::Binary => Action::BinaryRead,
            _ => Action::ContextRead,
        };
        let entry = caller.entry(action, Outcome::Ok).with("repeated", true);
        let entry = entry.resource(earlier.kind.as_str(), &earlier.id, u64::from(earlier.version));
        let subject = stored.document.as_ref().and_then(|document| document.subject.as_ref());
        self.recorder.record(&about_subject(entry, subject)).await?;
        let read = as_made(stored);
        Ok(CreatedResource { read, created: true, warnings: Vec::new() })
    }

    /// The version that a write has made, as the writer sees it. It is what the write made and nothing later: a document that
    /// was released meanwhile is still shown as created, without a link, so that the same request gets the same answer.
    pub(super) async fn shown(
        &self,
        kind: Kind,
        id: &ResourceId,
        version: u32,
        scope: &AccessScope,
    ) -> Result<ReadResource, Refusal> {
        let found = self.store.read_version(kind, id, version, scope).await.map_err(store_failure)?;
        found.map(as_made).ok_or_else(not_found)
    }
}

/// Why a commit made nothing, as the caller learns it.
pub(super) fn not_created(error: StoreError) -> Refusal {
    match error {
        StoreError::Changed => {
            Issue::new(Code::ReferenceNotFound).at("DocumentReference.content.attachment.url").into()
        }
        StoreError::AlreadyExists => Refusal::of(Code::ServerBusy).retry_after(1),
        other => store_failure(other),
    }
}

/// A version as its write has made it: nothing of it can be opened yet.
fn as_made(stored: Stored) -> ReadResource {
    let entries = stored.files.iter().map(|brief| usize::from(brief.content) + 1).max().unwrap_or(0);
    ReadResource { stored, addresses: vec![Address::Absent(Absent::TempUnknown); entries], memory: None }
}

/// What an idempotency key says.
pub(super) enum Remembered {
    /// Remember this one's answer.
    New(Option<Idempotency>),
    /// It was answered before.
    Answered(Earlier),
}

/// The FHIR type of a kind. Every kind is one.
pub(super) fn resource_type(kind: Kind) -> ResourceType {
    match kind {
        Kind::DocumentReference => ResourceType::DocumentReference,
        Kind::Binary => ResourceType::Binary,
        Kind::Patient => ResourceType::Patient,
        Kind::Practitioner => ResourceType::Practitioner,
        Kind::PractitionerRole => ResourceType::PractitionerRole,
        Kind::Organization => ResourceType::Organization,
        Kind::Encounter => ResourceType::Encounter,
        Kind::Subscription => ResourceType::Subscription,
    }
}

fn request_digest(kind: Kind, body: &[u8]) -> [u8; 32] {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    context.update(kind.as_str().as_bytes());
    context.update(&[0]);
    context.update(body);
    context.finish().as_ref().try_into().unwrap_or_default()
}

fn accepted(content: &Content, media_type: &str, decision: &Decision) -> Result<(), Refusal> {
    if decision.accepts(media_type) {
        return Ok(());
    }
    let path = format!("DocumentReference.content[{}].attachment.contentType", content.index);
    let shown: Vec<&str> = decision.accept.iter().map(String::as_str).take(8).collect();
    let issue = Issue::new(Code::ContentTypeRefused).at(&path).fill("type", "the declared kind");
    Err(issue.fill("rule", &decision.rule).fill("types", shown.join(", ")).into())
}

/// What a Binary was sent as is what it is declared as; parameters (`charset`) may differ.
fn same_type(content: &Content, declared: &str, stored: &str) -> Result<(), Refusal> {
    let essence = |text: &str| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence(declared) == essence(stored) {
        return Ok(());
    }
    let path = format!("DocumentReference.content[{}].attachment.contentType", content.index);
    Err(Issue::new(Code::ContentMismatch).at(&path).fill("part", "media type").into())
}

fn within(size: u64, decision: &Decision) -> Result<(), Refusal> {
    if size <= decision.max_size {
        return Ok(());
    }
    let issue = Issue::new(Code::ContentTooLarge).fill("limit", size_words(decision.max_size));
    Err(issue.fill("rule", &decision.rule).into())
}

pub(super) fn new_file(stored: content::Stored, content: u16, media_type: String, title: Option<String>) -> NewFile {
    let inline = match stored.placement {
        Placement::Inline(sealed) => Some(sealed),
        Placement::File => None,
    };
    NewFile {
        file: stored.file,
        content,
        media_type,
        size: stored.size,
        sha256: stored.sha256,
        sha1: stored.sha1,
        wrapped_key: stored.wrapped_key.as_bytes().to_vec(),
        inline,
        title,
    }
}

fn note_of(file: &NewFile) -> FileNote {
    FileNote { content: file.content, size: file.size, sha1: file.sha1, sha256: file.sha256 }
}
