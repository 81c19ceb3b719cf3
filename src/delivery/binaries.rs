//! Binary: bytes in one step, raw or as a resource, and the resource form on the way out. A Binary waits unclaimed, readable by
//! its creator only, until a DocumentReference names it.

use std::sync::Arc;

use bytes::Bytes;

use super::documents::{CreatedResource, Remembered, new_file, not_created};
use super::download::Opened;
use super::failure::{blob_failure, size_words};
use super::uncommitted::Uncommitted;
use super::{Caller, Delivery};
use crate::blob::Incoming;
use crate::domain::audit::{Action, Outcome};
use crate::domain::content::Stored;
use crate::domain::id::{FileId, ResourceId};
use crate::domain::principal::{AccessScope, Interaction};
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::domain::resource::{self, Kind};
use crate::fhir::binary;
use crate::store::{Idempotency, NewBinary};

/// A raw upload, as its head announces it.
#[derive(Debug, Clone)]
pub struct NewUpload {
    /// `Content-Type`.
    pub media_type: String,
    /// `X-Security-Context`.
    pub security_context: Option<String>,
    /// `Idempotency-Key`.
    pub idempotency: Option<String>,
    /// `Content-Length`, where it is known.
    pub length: Option<u64>,
    /// SHA-256 that the sender announces.
    pub sha256: Option<[u8; 32]>,
}

/// A raw upload on its way in. Dropping it leaves nothing behind.
#[derive(Debug)]
pub struct Upload<'d> {
    delivery: &'d Delivery,
    caller: Caller,
    scope: AccessScope,
    what: NewUpload,
    digest: running_digest::Running,
    incoming: Box<dyn Incoming>,
}

/// Keeps the digest type out of the public surface and gives it a `Debug` that says nothing.
mod running_digest {
    use aws_lc_rs::digest::{Context, SHA256};

    /// A running SHA-256.
    pub struct Running(Context);

    impl Running {
        /// Begun with the head of a request.
        pub fn new(head: &[&str]) -> Self {
            let mut context = Context::new(&SHA256);
            for part in head {
                context.update(part.as_bytes());
                context.update(&[0]);
            }
            Self(context)
        }

        /// Takes the next bytes.
        pub fn update(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }

        /// The digest.
        pub fn finish(self) -> [u8; 32] {
            self.0.finish().as_ref().try_into().unwrap_or_default()
        }
    }

    impl std::fmt::Debug for Running {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Running")
        }
    }
}

impl Delivery {
    /// Begins a raw upload. The policy's rule is not known before a document claims it: until then the largest size that any
    /// rule takes is the limit.
    ///
    /// # Errors
    /// `scope-insufficient`, `content-too-large` when the announced length says so already, `storage-full`.
    pub async fn begin_upload(&self, caller: &Caller, what: NewUpload) -> Result<Upload<'_>, Refusal> {
        let scope = caller.principal.may(Interaction::Create, Kind::Binary)?;
        let limit = self.policy().policy.largest_size();
        if what.length.is_some_and(|length| length > limit) {
            return Err(too_large(limit));
        }
        self.room().await?;
        let incoming = self.blobs.begin(FileId::random(self.entropy.as_ref()), limit).map_err(blob_failure)?;
        let context = what.security_context.as_deref().unwrap_or_default();
        let digest = running_digest::Running::new(&["Binary", &what.media_type, context]);
        Ok(Upload { delivery: self, caller: caller.clone(), scope, what, digest, incoming })
    }

    /// Creates a Binary from its resource form.
    pub(super) async fn create_binary(
        &self,
        caller: &Caller,
        submitted: binary::Submitted,
        idempotency: Option<Idempotency>,
    ) -> Result<CreatedResource, Refusal> {
        let limit = self.policy().policy.largest_size();
        self.room().await?;
        let file = FileId::random(self.entropy.as_ref());
        let bytes = Bytes::from(submitted.data.unwrap_or_default());
        let mut uncommitted = self.removals.watch();
        let stored = self.blobs.put_bytes(file, bytes, limit).await.map_err(blob_failure)?;
        uncommitted.take(&stored);
        let context = submitted.security_context.as_deref();
        self.commit_binary(caller, (stored, uncommitted), &submitted.media_type, context, idempotency).await
    }

    async fn commit_binary(
        &self,
        caller: &Caller,
        (stored, uncommitted): (Stored, Uncommitted),
        media_type: &str,
        security_context: Option<&str>,
        idempotency: Option<Idempotency>,
    ) -> Result<CreatedResource, Refusal> {
        let file = stored.file;
        let id = ResourceId::from(file);
        let at = self.clock.now();
        let entry = caller.entry(Action::BinaryCreate, Outcome::Ok).file(file).bytes(stored.size);
        let sealed = self.recorder.seal(&entry)?;
        let new = NewBinary {
            owner: caller.principal.number,
            file: new_file(stored, 0, media_type.to_owned(), None),
            body: binary::body(&id, media_type, security_context),
            due: at.plus(self.terms.unclaimed),
            idempotency,
            at,
        };
        let store = Arc::clone(&self.store);
        uncommitted.commit(async move { store.create_binary(new, sealed).await }).await.map_err(not_created)?;
        let read = self.shown(Kind::Binary, &id, 1, &caller.principal.own_scope()).await?;
        Ok(CreatedResource { read, created: true, warnings: Vec::new() })
    }

    /// The reference that an opened file was sent with as its security context, if it was.
    ///
    /// # Errors
    /// `scope-insufficient`; failures of the store.
    pub async fn security_context(&self, caller: &Caller, opened: &Opened) -> Result<Option<String>, Refusal> {
        let (id, scope) = (ResourceId::from(opened.facts.file), caller.principal.may_open_content()?);
        let found = self.store.read(Kind::Binary, &id, &scope).await.map_err(super::store_failure)?;
        Ok(found.as_ref().and_then(binary::security_context))
    }

    /// The resource form of an opened file. It goes out whole in one answer, so its one entry says that all of it was given,
    /// and is durable before the answer leaves.
    ///
    /// # Errors
    /// `accept-unsupported` beyond the size that is shown in this form; `content-damaged`; `audit-unavailable`.
    pub async fn binary_resource(&self, caller: &Caller, opened: &Opened) -> Result<String, Refusal> {
        if opened.facts.size > self.terms.fhir_form_most {
            return Err(Refusal::new(Issue::new(Code::AcceptUnsupported).fill("formats", "the file's own media type")));
        }
        let (id, scope) = (ResourceId::from(opened.facts.file), caller.principal.may_open_content()?);
        let found = self.store.read(Kind::Binary, &id, &scope).await.map_err(super::store_failure)?;
        // A file that came inside its document was never sent as a Binary: its resource form is made here.
        let stored = found.unwrap_or_else(|| resource::Stored {
            kind: Kind::Binary,
            body: binary::body(&id, &opened.facts.media_type, None),
            id,
            version: 1,
            updated: opened.facts.created,
            version_state: None,
            document: None,
            files: Vec::new(),
        });
        let text = binary::with_data(&stored, &opened.read_all()?);
        self.record_whole(opened).await?;
        Ok(text)
    }
}

impl Upload<'_> {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// `content-too-large`, `storage-full`, failures of the blob store.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Refusal> {
        if self.what.idempotency.is_some() {
            self.digest.update(&bytes);
        }
        self.incoming.write(bytes).await.map_err(blob_failure)
    }

    /// Seals, commits, and answers what was made.
    ///
    /// # Errors
    /// `idempotency-key-reused`; `content-mismatch` where the bytes are not those announced; failures of the parts.
    pub async fn finish(self) -> Result<CreatedResource, Refusal> {
        let Self { delivery, caller, scope, what, digest, incoming } = self;
        let digest = digest.finish();
        let key = what.idempotency.as_deref();
        let idempotency =
            match delivery.remembered(&caller, Kind::Binary, &Bytes::copy_from_slice(&digest), key).await? {
                // The bytes came again and were the same: what was stored now is dropped with `incoming`.
                Remembered::Answered(earlier) => return delivery.again(&caller, earlier, &scope).await,
                Remembered::New(idempotency) => idempotency,
            };
        let mut uncommitted = delivery.removals.watch();
        let stored = incoming.finish().await.map_err(blob_failure)?;
        uncommitted.take(&stored);
        if what.sha256.is_some_and(|said| said != stored.sha256) {
            uncommitted.undo().await;
            return Err(Issue::new(Code::ContentMismatch).fill("part", "digest").into());
        }
        let stored = (stored, uncommitted);
        delivery.commit_binary(&caller, stored, &what.media_type, what.security_context.as_deref(), idempotency).await
    }
}

fn too_large(limit: u64) -> Refusal {
    Issue::new(Code::ContentTooLarge).fill("limit", size_words(limit)).fill("rule", "default").into()
}
