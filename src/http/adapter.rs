//! [`Documents`] by the `delivery` and `fhir` rooms.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::ports::{
    Caller, Documents, Download, NewUpload, OpenBytes, OpenFile, Operation, OperationInput, Pieces, RawBody,
    ResourceText, Written,
};
use crate::delivery::{CreatedResource, Delivery, Opened, PutContext, ReadResource, SearchRequest, Transfer};
use crate::domain::id::{FileId, RequestId, ResourceId};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::resource::Kind;
use crate::fhir::outcome;

/// What `fhir` says of this server, and operations with their `Parameters`.
#[async_trait(?Send)]
pub trait FhirTexts: Send + Sync + fmt::Debug {
    /// Reads the input, calls the use case, writes the answer.
    async fn operate(
        &self,
        delivery: &Delivery,
        caller: &Caller,
        id: &ResourceId,
        operation: Operation,
        input: OperationInput<'_>,
    ) -> Result<String, Refusal>;
    /// The CapabilityStatement.
    fn metadata(&self) -> String;
    /// One of this server's own definitions.
    fn definition(&self, kind: &str, id: &str) -> Option<String>;
    /// The searchset of own definitions of a type.
    fn definitions(&self, kind: &str, url: Option<&str>) -> Option<String>;
}

/// The use cases as this room calls them.
#[derive(Debug)]
pub struct Served {
    delivery: Arc<Delivery>,
    texts: Arc<dyn FhirTexts>,
    draining: Arc<AtomicBool>,
}

impl Served {
    /// `draining`: set by whoever stops the server, so that `/readyz` fails first.
    pub fn new(delivery: Arc<Delivery>, texts: Arc<dyn FhirTexts>, draining: Arc<AtomicBool>) -> Self {
        Self { delivery, texts, draining }
    }
}

fn text_of(read: &ReadResource) -> ResourceText {
    let stored = &read.stored;
    let (kind, id, version, updated) = (stored.kind, stored.id.clone(), stored.version, stored.updated);
    ResourceText { kind, id, version, updated, text: read.to_json() }
}

fn written(caller: &Caller, made: &CreatedResource) -> Written {
    let mut text = String::new();
    if made.warnings.is_empty() {
        text = outcome::all_well(&caller.request);
    } else {
        outcome::write(&made.warnings, &caller.request, &mut text);
    }
    Written { resource: text_of(&made.read), created: made.created, outcome: text }
}

#[async_trait(?Send)]
impl Documents for Served {
    async fn create(
        &self,
        caller: &Caller,
        kind: Kind,
        body: &[u8],
        idempotency: Option<&str>,
    ) -> Result<Written, Refusal> {
        Ok(written(caller, &self.delivery.create(caller, kind, body, idempotency).await?))
    }

    async fn put(
        &self,
        caller: &Caller,
        kind: Kind,
        id: &ResourceId,
        body: &[u8],
        if_match: Option<u32>,
    ) -> Result<Written, Refusal> {
        Ok(written(caller, &self.delivery.put(caller, PutContext { kind, id, body, if_match }).await?))
    }

    async fn read(&self, caller: &Caller, kind: Kind, id: &ResourceId) -> Result<ResourceText, Refusal> {
        Ok(text_of(&self.delivery.read(caller, kind, id).await?))
    }

    async fn search(
        &self,
        caller: &Caller,
        kind: Kind,
        parameters: Vec<(String, String)>,
        strict: bool,
    ) -> Result<String, Refusal> {
        Ok(self.delivery.search(caller, &SearchRequest { kind, parameters, strict }).await?.text)
    }

    async fn operate(
        &self,
        caller: &Caller,
        id: &ResourceId,
        operation: Operation,
        input: OperationInput<'_>,
    ) -> Result<String, Refusal> {
        self.texts.operate(&self.delivery, caller, id, operation, input).await
    }

    async fn upload(&self, caller: &Caller, head: NewUpload, body: &mut dyn RawBody) -> Result<Written, Refusal> {
        let mut upload = self.delivery.begin_upload(caller, head).await?;
        while let Some(piece) = body.next().await? {
            upload.write(piece).await?;
        }
        Ok(written(caller, &upload.finish().await?))
    }

    async fn open_link(&self, request: Download) -> Result<OpenFile, Refusal> {
        let opened = self.delivery.open_link(request).await?;
        Ok(self.open_file(opened, None))
    }

    async fn open_handle(&self, caller: &Caller, file: FileId, head: bool) -> Result<OpenFile, Refusal> {
        let opened = self.delivery.open_handle(caller, file, head).await?;
        Ok(self.open_file(opened, Some(caller.clone())))
    }

    async fn ready(&self) -> Result<(), &'static str> {
        if self.draining.load(Ordering::Relaxed) { Err("draining") } else { Ok(()) }
    }

    fn metadata(&self) -> String {
        self.texts.metadata()
    }

    fn definition(&self, kind: &str, id: &str) -> Option<String> {
        self.texts.definition(kind, id)
    }

    fn definitions(&self, kind: &str, url: Option<&str>) -> Option<String> {
        self.texts.definitions(kind, url)
    }

    fn outcome(&self, refusal: &Refusal, request: &RequestId) -> String {
        outcome::of_refusal(refusal, request)
    }
}

impl Served {
    fn open_file(&self, opened: Opened, caller: Option<Caller>) -> OpenFile {
        let (facts, link) = (Arc::clone(&opened.facts), opened.link_id().cloned());
        let content = Box::new(Held { delivery: Arc::clone(&self.delivery), opened, caller });
        OpenFile { facts, link, security_context: None, content }
    }
}

/// An opened file with the use cases that send it.
#[derive(Debug)]
struct Held {
    delivery: Arc<Delivery>,
    opened: Opened,
    caller: Option<Caller>,
}

#[async_trait(?Send)]
impl OpenBytes for Held {
    async fn as_resource(self: Box<Self>) -> Result<String, Refusal> {
        let caller = self.caller.as_ref().ok_or(Code::LinkInvalid)?;
        self.delivery.binary_resource(caller, &self.opened).await
    }

    async fn begin(self: Box<Self>, range: Range<u64>) -> Result<Box<dyn Pieces>, Refusal> {
        let Self { delivery, opened, .. } = *self;
        let transfer: Box<dyn Pieces> = Box::new(delivery.begin(opened, range).await?);
        Ok(transfer)
    }
}

impl Pieces for Transfer {
    fn next_piece(&mut self) -> Result<Option<Bytes>, Code> {
        Self::next_piece(self)
    }
}
