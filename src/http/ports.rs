//! What this room needs of the others, in its own words: [`Documents`] (use cases with what renders their results) and [`Gate`]
//! (who may call). The composition root puts `delivery`, `fhir` and `auth` behind them.
//!
//! Neither asks its futures to be `Send`: a request stays on the worker that took it, and so does its body.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;

pub use crate::auth::Denied;
pub use crate::delivery::{Arrival, Caller, Confirm, ConfirmedLink, Download, Line, NewUpload};
pub use crate::domain::claim::Asked;
use crate::domain::clock::Timestamp;
use crate::domain::holder::Holder;
use crate::domain::id::{FileId, LinkId, RequestId, ResourceId};
use crate::domain::principal::Principal;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::resource::{FileFacts, Kind};
use crate::shares::{Place, Places};

/// A text ready to be sent, with the memory that was taken for it where it is long: it is held until the text has left.
#[derive(Debug)]
pub struct HeldText {
    /// FHIR JSON.
    pub text: String,
    /// What is held for it.
    pub memory: Option<Place>,
}

impl From<String> for HeldText {
    fn from(text: String) -> Self {
        Self { text, memory: None }
    }
}

/// A resource ready to be sent.
#[derive(Debug)]
pub struct ResourceText {
    /// Its type.
    pub kind: Kind,
    /// Its id.
    pub id: ResourceId,
    /// Its version, from 1.
    pub version: u32,
    /// When that version was made.
    pub updated: Timestamp,
    /// FHIR JSON.
    pub text: String,
    /// What was taken for it, where it is long.
    pub memory: Option<Place>,
}

/// A resource that was stored.
#[derive(Debug)]
pub struct Written {
    /// As it is now.
    pub resource: ResourceText,
    /// Whether it is new (201) or another version (200).
    pub created: bool,
    /// An OperationOutcome with the remarks, or one that says that all went well; for `Prefer: return=OperationOutcome`.
    pub outcome: String,
}

/// An operation on a document (contract, FHIR names).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `$issue-link`
    IssueLink,
    /// `$revoke`
    Revoke,
    /// `$lifecycle`
    Lifecycle,
    /// `$acknowledge`
    Acknowledge,
}

/// What is given to an operation.
#[derive(Debug, Clone)]
pub enum OperationInput<'a> {
    /// A `Parameters` resource; empty: none.
    Body(&'a Bytes),
    /// Parameters of the query (GET, where the operation allows it).
    Query(Vec<(String, String)>),
}

/// The body of a raw upload, piece by piece, held to the least rate.
#[async_trait(?Send)]
pub trait RawBody {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// `request-timeout`, `request-malformed`.
    async fn next(&mut self) -> Result<Option<Bytes>, Refusal>;
}

/// A file that may be sent.
#[derive(Debug)]
pub struct OpenFile {
    /// What it is.
    pub facts: Arc<FileFacts>,
    /// The link's id, where a link opened it.
    pub link: Option<LinkId>,
    /// Whom its transfer counts for.
    pub holder: Holder,
    /// Name that the link's maker chose; `None`: the content's title.
    pub file_name: Option<String>,
    /// Whether a use hangs on its receipt: [`Arrival::Taken`] only when the peer has acknowledged all of it.
    pub counted: bool,
    /// Reference of its security context, where it has one.
    pub security_context: Option<String>,
    /// Its bytes.
    pub content: Box<dyn OpenBytes>,
}

/// What following a link comes to.
#[derive(Debug)]
pub enum Followed {
    /// A file.
    File(OpenFile),
    /// A person must press the button first: the page for a browser (200; nothing was used), else 403
    /// `link-confirm-required`. It is recorded already.
    Confirm(Confirm),
}

/// The bytes of an opened file; nothing has been sent yet.
#[async_trait(?Send)]
pub trait OpenBytes: fmt::Debug {
    /// The Binary resource with all bytes in `data`; records that it was given.
    ///
    /// # Errors
    /// `audit-unavailable`, `content-damaged`, `accept-unsupported` for a file over the limit.
    async fn as_resource(self: Box<Self>) -> Result<String, Refusal>;

    /// Begins to send what was asked for over `line`; the entry that says so is durable when this returns. Of a counted link this
    /// claims the use. For `HEAD` the range is empty, and there is no line.
    ///
    /// # Errors
    /// `link-busy` (with `Retry-After`), `link-used`; `audit-unavailable`: then no byte may leave.
    async fn begin(self: Box<Self>, asked: Asked, line: Option<Arc<dyn Line>>) -> Result<Box<dyn Pieces>, Refusal>;

    /// Records that nothing is sent, since the caller has these very bytes; uses nothing (304).
    ///
    /// # Errors
    /// As [`OpenBytes::begin`].
    async fn unchanged(self: Box<Self>) -> Result<(), Refusal>;

    /// Records that nothing is sent, and why. What the caller is to be told: that, or why it would have got nothing anyway.
    async fn decline(self: Box<Self>, refusal: Refusal) -> Refusal;
}

/// A transfer under way; dropping it ends and records it.
pub trait Pieces: fmt::Debug + Send {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// Why the transfer is cut. There is no answer left to give: the connection breaks.
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Code>>;

    /// The peer's system has acknowledged all of it; how its end is read is not known yet.
    fn acknowledged(&mut self);

    /// Whether the reader is told to ask for nothing more over this connection.
    fn is_last(&self) -> bool;

    /// Ends the transfer and says how it ended on the wire.
    fn settle(self: Box<Self>, arrival: Arrival);
}

/// The use cases, with results as FHIR JSON. Errors are those of `docs/errors.md`.
#[async_trait(?Send)]
pub trait Documents: Send + Sync + fmt::Debug {
    /// `POST [type]`.
    async fn create(
        &self,
        caller: &Caller,
        kind: Kind,
        body: &Bytes,
        idempotency: Option<&str>,
    ) -> Result<Written, Refusal>;
    /// `PUT [type]/[id]`, context types only.
    async fn put(
        &self,
        caller: &Caller,
        kind: Kind,
        id: &ResourceId,
        body: &Bytes,
        if_match: Option<u32>,
    ) -> Result<Written, Refusal>;
    /// `GET [type]/[id]`. Memory for a long text is taken of `bytes`.
    async fn read(&self, caller: &Caller, kind: Kind, id: &ResourceId, bytes: &Places)
    -> Result<ResourceText, Refusal>;
    /// `GET [type]?…`, `POST [type]/_search`: the Bundle. Memory for long texts is taken of `bytes`.
    async fn search(
        &self,
        caller: &Caller,
        kind: Kind,
        parameters: Vec<(String, String)>,
        strict: bool,
        bytes: &Places,
    ) -> Result<HeldText, Refusal>;
    /// `DocumentReference/[id]/$…`: the answer's `Parameters`, or the document.
    async fn operate(
        &self,
        caller: &Caller,
        id: &ResourceId,
        operation: Operation,
        input: OperationInput<'_>,
        bytes: &Places,
    ) -> Result<HeldText, Refusal>;
    /// `DELETE Subscription/[id]`.
    async fn delete_subscription(&self, caller: &Caller, id: &ResourceId) -> Result<(), Refusal>;
    /// `POST Subscription/[id]/$webhook-secret`, body empty or a `Parameters` resource: the answer's `Parameters`, with the secret.
    async fn webhook_secret(&self, caller: &Caller, id: &ResourceId, body: &Bytes) -> Result<String, Refusal>;
    /// `POST Binary` with any type but FHIR's.
    async fn upload(&self, caller: &Caller, head: NewUpload, body: &mut dyn RawBody) -> Result<Written, Refusal>;
    /// A file by link.
    async fn open_link(&self, request: Download) -> Result<Followed, Refusal>;
    /// A link that was asked by ahead of its reader: why nothing is opened, recorded for a link of ours.
    async fn decline_prefetch(&self, request: Download) -> Refusal;
    /// A link that was asked by with a method that it does not take; whether it is one to confirm, which takes POST.
    async fn decline_method(&self, request: Download) -> Result<bool, Refusal>;
    /// The page's POST: `request.confirmation` is its cookie. Answered with 303 to the URL.
    async fn confirm_link(&self, request: Download) -> Result<ConfirmedLink, Refusal>;
    /// A file by id and token.
    async fn open_handle(&self, caller: &Caller, file: FileId, head: bool) -> Result<OpenFile, Refusal>;
    /// Whether everything that serving needs is there; the words name what is not. What is served all the same, but not
    /// whole, is told in the good case.
    async fn ready(&self) -> Result<Option<&'static str>, &'static str>;
    /// The largest file that is taken, in bytes.
    fn largest_file(&self) -> u64;
    /// The CapabilityStatement.
    fn metadata(&self) -> String;
    /// One of this server's own definitions, by type and id.
    fn definition(&self, kind: &str, id: &str) -> Option<String>;
    /// The searchset of own definitions of a type, those with this `url` where one is given; `None` for other types.
    fn definitions(&self, kind: &str, url: Option<&str>) -> Option<String>;
    /// A refusal as an OperationOutcome.
    fn outcome(&self, refusal: &Refusal, request: &RequestId) -> String;
}

/// A token request as it came.
#[derive(Debug)]
pub struct TokenForm<'a> {
    /// Its parameters, in order, repeated ones too.
    pub form: &'a [(String, String)],
    /// Whether an `Authorization` header came along.
    pub authorization_header: bool,
    /// Where it comes from.
    pub address: IpAddr,
    /// Its id.
    pub request: RequestId,
}

/// Who may call.
#[async_trait(?Send)]
pub trait Gate: Send + Sync + fmt::Debug {
    /// The caller of the FHIR API, from the raw values of all `Authorization` headers.
    fn principal(&self, authorization: &[&[u8]], address: IpAddr) -> Result<Arc<Principal>, Denied>;
    /// `POST /auth/token`: the JSON of the token response.
    async fn token(&self, request: TokenForm<'_>) -> Result<String, Denied>;
    /// `/auth/jwks`.
    fn jwks(&self) -> String;
    /// `/fhir/.well-known/smart-configuration`.
    fn smart_configuration(&self) -> String;
    /// `/.well-known/openid-configuration`.
    fn authorization_server(&self) -> String;
}
