//! The use cases as the HTTP room asks for them: `delivery` behind [`Documents`], its results rendered by `fhir`.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::delivery::{
    self, CreatedResource, Delivery, Download, NewUpload, Opened, PutContext, ReadResource, SearchRequest, Transfer,
};
use crate::domain::id::{FileId, RequestId, ResourceId};
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::domain::resource::Kind;
use crate::fhir::json::{self as fhir_json, Value as FhirValue};
use crate::fhir::{capability, definitions, operations, outcome};
use crate::http::ports::{
    Caller, Documents, LinkRequest, OpenBytes, OpenFile, Operation, OperationInput, Pieces, RawBody, ResourceText,
    UploadHead, Written,
};

/// The use cases.
#[derive(Debug)]
pub struct Desk {
    delivery: Arc<Delivery>,
    ready: Arc<AtomicBool>,
}

impl Desk {
    /// Over the use cases; `ready` is false before the start is through and after a stop was asked for.
    pub fn new(delivery: Arc<Delivery>, ready: Arc<AtomicBool>) -> Self {
        Self { delivery, ready }
    }

    fn file(&self, opened: Opened, caller: Option<delivery::Caller>) -> OpenFile {
        OpenFile {
            facts: Arc::clone(&opened.facts),
            link: opened.link_id().cloned(),
            security_context: None,
            content: Box::new(Content { delivery: Arc::clone(&self.delivery), opened, caller }),
        }
    }
}

fn inner(caller: &Caller) -> delivery::Caller {
    delivery::Caller {
        principal: Arc::clone(&caller.principal),
        request: caller.request.clone(),
        address: caller.address,
    }
}

fn text_of(read: &ReadResource) -> ResourceText {
    ResourceText {
        kind: read.stored.kind,
        id: read.stored.id.clone(),
        version: read.stored.version,
        updated: read.stored.updated,
        text: read.to_json(),
    }
}

fn written(made: &CreatedResource, request: &RequestId) -> Written {
    let mut remarks = String::new();
    if made.warnings.is_empty() {
        let good = json!({
            "resourceType": "OperationOutcome", "id": request.as_str(),
            "issue": [{ "severity": "information", "code": "informational", "diagnostics": "Stored." }],
        });
        remarks = good.to_string();
    } else {
        outcome::write(&made.warnings, request, &mut remarks);
    }
    Written { resource: text_of(&made.read), created: made.created, outcome: remarks }
}

/// The object of a `Parameters` body; `None` for an empty one.
fn parameters<T>(
    body: &[u8],
    read: impl FnOnce(Option<&fhir_json::Object<'_>>) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    if body.is_empty() {
        return read(None);
    }
    match fhir_json::parse(body) {
        Ok(FhirValue::Object(object)) => read(Some(&object)),
        Ok(_) => Err(Issue::new(Code::ElementShapeWrong).fill("path", "The body").fill("shape", "an object").into()),
        Err(fault) => Err(crate::fhir::validate::unreadable(&fault).into()),
    }
}

#[async_trait(?Send)]
impl Documents for Desk {
    async fn create(
        &self,
        caller: &Caller,
        kind: Kind,
        body: &[u8],
        idempotency: Option<&str>,
    ) -> Result<Written, Refusal> {
        let made = self.delivery.create(&inner(caller), kind, body, idempotency).await?;
        Ok(written(&made, &caller.request))
    }

    async fn put(
        &self,
        caller: &Caller,
        kind: Kind,
        id: &ResourceId,
        body: &[u8],
        if_match: Option<u32>,
    ) -> Result<Written, Refusal> {
        let made = self.delivery.put(&inner(caller), PutContext { kind, id, body, if_match }).await?;
        Ok(written(&made, &caller.request))
    }

    async fn read(&self, caller: &Caller, kind: Kind, id: &ResourceId) -> Result<ResourceText, Refusal> {
        Ok(text_of(&self.delivery.read(&inner(caller), kind, id).await?))
    }

    async fn search(
        &self,
        caller: &Caller,
        kind: Kind,
        parameters: Vec<(String, String)>,
        strict: bool,
    ) -> Result<String, Refusal> {
        let request = SearchRequest { kind, parameters, strict };
        Ok(self.delivery.search(&inner(caller), &request).await?.text)
    }

    async fn operate(
        &self,
        caller: &Caller,
        id: &ResourceId,
        operation: Operation,
        input: OperationInput<'_>,
    ) -> Result<String, Refusal> {
        let caller = inner(caller);
        let (body, query) = match input {
            OperationInput::Body(body) => (body, Vec::new()),
            OperationInput::Query(query) => (&[][..], query),
        };
        match operation {
            Operation::IssueLink => {
                let asked = parameters(body, operations::issue_link)?;
                let asked = delivery::IssueLink {
                    content: asked.content,
                    lifetime: asked.lifetime,
                    file_name: asked.file_name,
                };
                let issued = self.delivery.issue_link(&caller, id, &asked).await?;
                Ok(operations::issued(&issued.url, issued.expires, &issued.id))
            }
            Operation::Revoke => {
                let asked = parameters(body, operations::revoke)?;
                let asked = delivery::RevokeLinks { reason: asked.reason, link: asked.link, state: asked.state };
                Ok(operations::revoked(self.delivery.revoke_links(&caller, id, &asked).await?))
            }
            Operation::Lifecycle => {
                let wait = parameters(body, |object| operations::lifecycle(object, &query))?;
                Ok(operations::steps(&self.delivery.lifecycle(&caller, id, wait).await?.steps))
            }
        }
    }

    async fn upload(&self, caller: &Caller, head: UploadHead, body: &mut dyn RawBody) -> Result<Written, Refusal> {
        let what = NewUpload {
            media_type: head.media_type,
            security_context: head.security_context,
            idempotency: head.idempotency,
            length: head.length,
        };
        let mut upload = self.delivery.begin_upload(&inner(caller), what).await?;
        while let Some(bytes) = body.next().await? {
            upload.write(bytes).await?;
        }
        Ok(written(&upload.finish().await?, &caller.request))
    }

    async fn open_link(&self, request: LinkRequest) -> Result<OpenFile, Refusal> {
        let download =
            Download { token: request.token, request: request.request, address: request.address, head: request.head };
        Ok(self.file(self.delivery.open_link(download).await?, None))
    }

    async fn open_handle(&self, caller: &Caller, file: FileId, head: bool) -> Result<OpenFile, Refusal> {
        let caller = inner(caller);
        let opened = self.delivery.open_handle(&caller, file, head).await?;
        Ok(self.file(opened, Some(caller)))
    }

    async fn ready(&self) -> Result<(), &'static str> {
        if !self.ready.load(Ordering::Acquire) {
            return Err("stopping");
        }
        self.delivery.store().health().await.map(drop).map_err(|_| "database")
    }

    fn metadata(&self) -> String {
        capability::statement(&self.delivery.terms().base)
    }

    fn definition(&self, kind: &str, id: &str) -> Option<String> {
        definitions::by_id(kind, id).map(|definition| definition.text.to_owned())
    }

    fn definitions(&self, kind: &str, url: Option<&str>) -> Option<String> {
        let of_kind: Vec<_> = definitions::all().iter().filter(|one| one.resource_type == kind).collect();
        if of_kind.is_empty() {
            return None;
        }
        let shown: Vec<_> = match url {
            Some(url) => definitions::by_url(kind, url).into_iter().collect(),
            None => of_kind,
        };
        let base = self.delivery.terms().base.fhir();
        let entries: Vec<Value> = shown.iter().filter_map(|one| entry_of(one, base)).collect();
        let bundle = json!({ "resourceType": "Bundle", "type": "searchset", "total": entries.len(), "entry": entries });
        Some(bundle.to_string())
    }

    fn outcome(&self, refusal: &Refusal, request: &RequestId) -> String {
        outcome::of_refusal(refusal, request)
    }
}

fn entry_of(definition: &definitions::Definition, base: &str) -> Option<Value> {
    let resource: Value = serde_json::from_str(&definition.text).ok()?;
    let full_url = format!("{base}/{}/{}", definition.resource_type, definition.id);
    Some(json!({ "fullUrl": full_url, "resource": resource, "search": { "mode": "match" } }))
}

/// An opened file with the use cases that give it out.
#[derive(Debug)]
struct Content {
    delivery: Arc<Delivery>,
    opened: Opened,
    /// Who asked with a token; `None` for a link.
    caller: Option<delivery::Caller>,
}

#[async_trait(?Send)]
impl OpenBytes for Content {
    async fn as_resource(self: Box<Self>) -> Result<String, Refusal> {
        let caller = self.caller.as_ref().ok_or_else(|| Refusal::of(Code::ServerFault))?;
        self.delivery.binary_resource(caller, &self.opened).await
    }

    async fn begin(self: Box<Self>, range: Range<u64>) -> Result<Box<dyn Pieces>, Refusal> {
        let transfer = self.delivery.begin(self.opened, range).await?;
        Ok(Box::new(Sending(transfer)))
    }
}

/// A transfer under way.
#[derive(Debug)]
struct Sending(Transfer);

impl Pieces for Sending {
    fn next_piece(&mut self) -> Result<Option<Bytes>, Code> {
        self.0.next_piece()
    }
}
