//! [`Documents`] by the `delivery` and `fhir` rooms.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use secrecy::ExposeSecret;

use super::ports::{
    Arrival, Asked, Caller, ConfirmedLink, Documents, Download, Followed, HeldText, Line, NewUpload, OpenBytes,
    OpenFile, Operation, OperationInput, Pieces, RawBody, ResourceText, Written,
};
use crate::delivery::{
    self, Acknowledge, CreatedResource, Delivery, IssueLink, Opened, PutContext, PutSubscription, ReadResource,
    RevokeLinks, SearchRequest, ShownSubscription, Transfer,
};
use crate::domain::audit::{Action, Outcome as AuditOutcome};
use crate::domain::id::{FileId, RequestId, ResourceId};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::resource::Kind;
use crate::fhir::base::Base;
use crate::fhir::json::{self, Value};
use crate::fhir::{capability, definitions, operations, outcome, subscription, validate};
use crate::shares::Places;

/// The use cases as this room calls them.
#[derive(Debug)]
pub struct Served {
    delivery: Arc<Delivery>,
    base: Base,
    metadata: String,
    draining: Arc<AtomicBool>,
}

impl Served {
    /// At a base URL. `draining`: set by whoever stops the server, so that `/readyz` fails first.
    pub fn new(delivery: Arc<Delivery>, draining: Arc<AtomicBool>) -> Self {
        let base = delivery.terms().base.clone();
        let metadata = capability::statement(&base);
        Self { delivery, base, metadata, draining }
    }
}

async fn text_of(mut read: ReadResource) -> Result<ResourceText, Refusal> {
    let (stored, memory) = (&read.stored, read.memory.take());
    let (kind, id, version, updated) = (stored.kind, stored.id.clone(), stored.version, stored.updated);
    let text = delivery::rendered(stored.body.text.len(), move || read.to_json()).await?;
    Ok(ResourceText { kind, id, version, updated, text, memory })
}

fn subscription_text(shown: ShownSubscription) -> ResourceText {
    let ShownSubscription { id, version, updated, text, .. } = shown;
    ResourceText { kind: Kind::Subscription, id, version, updated, text, memory: None }
}

fn subscribed(caller: &Caller, shown: ShownSubscription) -> Written {
    let created = shown.created;
    Written { resource: subscription_text(shown), created, outcome: outcome::all_well(&caller.request) }
}

async fn written(caller: &Caller, made: CreatedResource) -> Result<Written, Refusal> {
    let mut text = String::new();
    if made.warnings.is_empty() {
        text = outcome::all_well(&caller.request);
    } else {
        outcome::write(&made.warnings, &caller.request, &mut text);
    }
    Ok(Written { resource: text_of(made.read).await?, created: made.created, outcome: text })
}

#[async_trait(?Send)]
impl Documents for Served {
    async fn create(
        &self,
        caller: &Caller,
        kind: Kind,
        body: &Bytes,
        idempotency: Option<&str>,
    ) -> Result<Written, Refusal> {
        if kind == Kind::Subscription {
            let made = self.noted(caller, self.delivery.create_subscription(caller, body, idempotency).await).await?;
            return Ok(subscribed(caller, made));
        }
        written(caller, self.noted(caller, self.delivery.create(caller, kind, body, idempotency).await).await?).await
    }

    async fn put(
        &self,
        caller: &Caller,
        kind: Kind,
        id: &ResourceId,
        body: &Bytes,
        if_match: Option<u32>,
    ) -> Result<Written, Refusal> {
        if kind == Kind::Subscription {
            let put = PutSubscription { id, body, if_match };
            return Ok(subscribed(
                caller,
                self.noted(caller, self.delivery.put_subscription(caller, put).await).await?,
            ));
        }
        let put = self.delivery.put(caller, PutContext { kind, id, body, if_match }).await;
        written(caller, self.noted(caller, put).await?).await
    }

    async fn read(
        &self,
        caller: &Caller,
        kind: Kind,
        id: &ResourceId,
        bytes: &Places,
    ) -> Result<ResourceText, Refusal> {
        if kind == Kind::Subscription {
            return Ok(subscription_text(self.noted(caller, self.delivery.read_subscription(caller, id).await).await?));
        }
        text_of(self.noted(caller, self.delivery.read(caller, kind, id, bytes).await).await?).await
    }

    async fn search(
        &self,
        caller: &Caller,
        kind: Kind,
        parameters: Vec<(String, String)>,
        strict: bool,
        bytes: &Places,
    ) -> Result<HeldText, Refusal> {
        let found = self.delivery.search(caller, &SearchRequest { kind, parameters, strict }, bytes).await;
        let found = self.noted(caller, found).await?;
        Ok(HeldText { text: found.text, memory: found.memory })
    }

    async fn operate(
        &self,
        caller: &Caller,
        id: &ResourceId,
        operation: Operation,
        input: OperationInput<'_>,
        bytes: &Places,
    ) -> Result<HeldText, Refusal> {
        let (body, query) = match input {
            OperationInput::Body(bytes) => (parameters(caller, bytes).await?, Vec::new()),
            OperationInput::Query(query) => (None, query),
        };
        let body = body.as_ref().and_then(Value::as_object);
        match operation {
            Operation::IssueLink => Ok(self.issue_link(caller, id, operations::issue_link(body)?).await?.into()),
            Operation::Revoke => Ok(self.revoke(caller, id, operations::revoke(body)?).await?.into()),
            Operation::Acknowledge => {
                let (outcome, note) = operations::acknowledge(body)?;
                let done = self.delivery.acknowledge(caller, id, &Acknowledge { outcome, note }).await;
                self.noted(caller, done).await?;
                let shown = self.read(caller, Kind::DocumentReference, id, bytes).await?;
                Ok(HeldText { text: shown.text, memory: shown.memory })
            }
            Operation::Lifecycle => {
                let wait = operations::lifecycle(body, &query)?;
                let seen = self.noted(caller, self.delivery.lifecycle(caller, id, wait).await).await?;
                Ok(operations::steps(&seen.steps).into())
            }
        }
    }

    async fn delete_subscription(&self, caller: &Caller, id: &ResourceId) -> Result<(), Refusal> {
        self.noted(caller, self.delivery.delete_subscription(caller, id).await).await
    }

    async fn webhook_secret(&self, caller: &Caller, id: &ResourceId, body: &Bytes) -> Result<String, Refusal> {
        let body = parameters(caller, body).await?;
        let overlap = subscription::overlap(body.as_ref().and_then(Value::as_object))?;
        let secret = self.noted(caller, self.delivery.webhook_secret(caller, id, overlap).await).await?;
        Ok(subscription::secret_answer(secret.expose_secret()))
    }

    async fn upload(&self, caller: &Caller, head: NewUpload, body: &mut dyn RawBody) -> Result<Written, Refusal> {
        let mut upload = self.noted(caller, self.delivery.begin_upload(caller, head).await).await?;
        while let Some(piece) = body.next().await? {
            upload.write(piece).await?;
        }
        written(caller, upload.finish().await?).await
    }

    async fn open_link(&self, request: Download) -> Result<Followed, Refusal> {
        Ok(match self.delivery.open_link(request).await? {
            delivery::Followed::File(opened) => Followed::File(self.open_file(opened, None, None)),
            delivery::Followed::Confirm(confirm) => Followed::Confirm(confirm),
        })
    }

    async fn decline_prefetch(&self, request: Download) -> Refusal {
        self.delivery.decline_prefetch(&request).await
    }

    async fn decline_method(&self, request: Download) -> Result<bool, Refusal> {
        self.delivery.decline_method(&request).await
    }

    async fn confirm_link(&self, request: Download) -> Result<ConfirmedLink, Refusal> {
        self.delivery.confirm_link(request).await
    }

    async fn open_handle(&self, caller: &Caller, file: FileId, head: bool) -> Result<OpenFile, Refusal> {
        let opened = self.noted(caller, self.delivery.open_handle(caller, file, head).await).await?;
        let context = self.delivery.security_context(caller, &opened).await?;
        Ok(self.open_file(opened, Some(caller.clone()), context))
    }

    async fn ready(&self) -> Result<Option<&'static str>, &'static str> {
        if self.draining.load(Ordering::Relaxed) {
            return Err("draining");
        }
        self.delivery.health().await
    }

    fn largest_file(&self) -> u64 {
        self.delivery.policy().policy.largest_size()
    }

    fn metadata(&self) -> String {
        self.metadata.clone()
    }

    fn definition(&self, kind: &str, id: &str) -> Option<String> {
        definitions::by_id(kind, id).map(|found| found.text.clone())
    }

    fn definitions(&self, kind: &str, url: Option<&str>) -> Option<String> {
        let of_kind = definitions::all().iter().filter(|one| one.resource_type == kind);
        let wanted = url.map(|url| definitions::by_url(kind, url));
        let found: Vec<_> = match wanted {
            Some(one) => one.into_iter().collect(),
            None => of_kind.collect(),
        };
        let entry = |one: &&definitions::Definition| {
            let address = format!("{}/{}/{}", self.base.fhir(), one.resource_type, one.id);
            format!("{{\"fullUrl\":\"{address}\",\"resource\":{},\"search\":{{\"mode\":\"match\"}}}}", one.text)
        };
        let entries: Vec<String> = found.iter().map(entry).collect();
        // An empty array is not FHIR JSON.
        let list = if entries.is_empty() { String::new() } else { format!(",\"entry\":[{}]", entries.join(",")) };
        let head = "\"resourceType\":\"Bundle\",\"type\":\"searchset\"";
        let link = format!("\"link\":[{{\"relation\":\"self\",\"url\":\"{}/{kind}\"}}]", self.base.fhir());
        Some(format!("{{{head},\"total\":{},{link}{list}}}", entries.len()))
    }

    fn outcome(&self, refusal: &Refusal, request: &RequestId) -> String {
        outcome::of_refusal(refusal, request)
    }
}

/// The body of an operation; nothing at all is no body.
async fn parameters(caller: &Caller, bytes: &Bytes) -> Result<Option<Value<'static>>, Refusal> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let parse =
        |bytes: &[u8]| json::parse(bytes).map(Value::into_owned).map_err(|fault| validate::unreadable(&fault).into());
    delivery::read_body(&caller.holder(), bytes, parse).await.map(Some)
}

impl Served {
    /// Makes an entry of what a known caller was refused for its token's scopes alone. Nothing was looked at, so nobody below has
    /// written one; and who tries what it may not is what an auditor asks for first.
    async fn noted<T>(&self, caller: &Caller, result: Result<T, Refusal>) -> Result<T, Refusal> {
        if let Err(refusal) = &result
            && refusal.code() == Code::ScopeInsufficient
        {
            let entry = caller.entry(Action::AccessRefused, AuditOutcome::Denied).code(refusal.code());
            self.delivery.record(&entry).await?;
        }
        result
    }

    async fn issue_link(
        &self,
        caller: &Caller,
        id: &ResourceId,
        wanted: operations::IssueLink,
    ) -> Result<String, Refusal> {
        let operations::IssueLink { content, lifetime, uses, network, file_name, recipient, confirm, access_reference } =
            wanted;
        let wanted = IssueLink { content, lifetime, uses, network, file_name, recipient, confirm, access_reference };
        let issued = self.noted(caller, self.delivery.issue_link(caller, id, &wanted).await).await?;
        Ok(operations::issued(&issued.url, issued.expires, issued.uses, &issued.id))
    }

    async fn revoke(&self, caller: &Caller, id: &ResourceId, wanted: operations::Revoke) -> Result<String, Refusal> {
        let operations::Revoke { reason, link, state } = wanted;
        let revoked = self.delivery.revoke_links(caller, id, &RevokeLinks { reason, link, state }).await;
        let count = self.noted(caller, revoked).await?;
        Ok(operations::revoked(count))
    }

    fn open_file(&self, opened: Opened, caller: Option<Caller>, security_context: Option<String>) -> OpenFile {
        let (facts, link, holder) = (Arc::clone(&opened.facts), opened.link_id().cloned(), opened.holder());
        let (file_name, counted) = (opened.file_name().map(str::to_owned), opened.is_counted());
        let content = Box::new(Held { delivery: Arc::clone(&self.delivery), opened, caller });
        OpenFile { facts, link, holder, file_name, counted, security_context, content }
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

    async fn begin(self: Box<Self>, asked: Asked, line: Option<Arc<dyn Line>>) -> Result<Box<dyn Pieces>, Refusal> {
        let Self { delivery, opened, .. } = *self;
        let transfer: Box<dyn Pieces> = Box::new(delivery.begin(opened, asked, line).await?);
        Ok(transfer)
    }

    async fn unchanged(self: Box<Self>) -> Result<(), Refusal> {
        self.delivery.unchanged(&self.opened).await
    }

    async fn decline(self: Box<Self>, refusal: Refusal) -> Refusal {
        self.delivery.decline(&self.opened, refusal).await
    }
}

impl Pieces for Transfer {
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Code>> {
        Self::poll_piece(self, context)
    }

    fn acknowledged(&mut self) {
        Self::acknowledged(self);
    }

    fn is_last(&self) -> bool {
        Self::is_last(self)
    }

    fn settle(self: Box<Self>, arrival: Arrival) {
        (*self).settle(arrival);
    }
}
