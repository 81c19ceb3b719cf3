//! The one table of refusals: code, HTTP status, exit status, FHIR issue type, OAuth error, who can mend it, message, cure.
//!
//! `docs/errors.md`, the pages under `/errors/{code}` and the `error` CodeSystem are made from it. A code never changes its
//! meaning and is never used again. `{name}` is a placeholder that the place of the refusal fills; values that a caller sent
//! never go into one (see [`super::Issue::fill`]). Status 0: the code is no HTTP answer of its own, it is seen as a reason
//! (in `$lifecycle`, on the command line, as a warning).

use super::{By, Entry, IssueType, OauthError};

macro_rules! codes {
    ($($variant:ident $name:literal: $status:literal exit $exit:literal, $issue:ident, $oauth:ident, $by:ident,
        $message:literal, $cure:literal;)*) => {
        /// What went wrong, as a stable name. The text form is kebab-case (`link-expired`).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $(#[doc = $message] $variant,)* }

        /// Every code, in the order of `docs/errors.md`.
        pub const ALL: &[Code] = &[$(Code::$variant,)*];

        impl Code {
            /// What the table says of this code.
            pub fn entry(self) -> Entry {
                match self {
                    $(Code::$variant => Entry {
                        name: $name, status: $status, exit: $exit, issue_type: IssueType::$issue,
                        oauth: OauthError::$oauth, by: By::$by, message: $message, cure: $cure,
                    },)*
                }
            }
        }
    };
}

codes! {
    RequestMalformed "request-malformed": 400 exit 1, Invalid, InvalidRequest, Caller,
        "The request's {part} is not well formed.",
        "Send {part} as HTTP asks, once and in its plain spelling.";
    PathUnknown "path-unknown": 404 exit 1, NotFound, None, Caller,
        "Nothing is served at this path.",
        "Start at `/fhir/metadata`.";
    MethodNotAllowed "method-not-allowed": 405 exit 1, NotSupported, None, Caller,
        "{method} is not possible here.",
        "Use {methods}, as `Allow` lists.";
    InteractionUnsupported "interaction-unsupported": 405 exit 1, NotSupported, None, Caller,
        "This server does not offer {interaction} on {type}.",
        "See `/fhir/metadata` for what it offers.";
    AcceptUnsupported "accept-unsupported": 406 exit 1, NotSupported, None, Caller,
        "None of the formats asked for can be sent.",
        "Set `Accept` or `_format` to {formats}, FHIR version 4.0; a Binary over 16 MiB comes as plain bytes only.";
    MediaTypeUnsupported "media-type-unsupported": 415 exit 1, NotSupported, InvalidRequest, Caller,
        "A body of this type or encoding is not read here.",
        "Set `Content-Type` to {formats}.";
    RequestTooLarge "request-too-large": 413 exit 1, TooLong, InvalidRequest, Caller,
        "The {part} is larger than {limit}.",
        "Send less; a file goes as raw bytes to `POST Binary`.";
    RangeNotSatisfiable "range-not-satisfiable": 416 exit 1, Value, None, Caller,
        "The range lies outside the file, which has {size} bytes.",
        "Ask for a range below {size}, as `Content-Range` says.";
    PreconditionFailed "precondition-failed": 412 exit 1, Conflict, None, Caller,
        "The file is not the one that the request asks for by its tag or date.",
        "Leave out `If-Match` and `If-Unmodified-Since`, or start again with the `ETag` that HEAD gives.";
    RequestTimeout "request-timeout": 408 exit 1, Timeout, None, Caller,
        "The request did not arrive in time.",
        "Send it again, over a faster network or in smaller parts.";
    RateLimited "rate-limited": 429 exit 1, Throttled, None, Caller,
        "Too many requests in a short time.",
        "Wait {n} seconds, then continue more slowly.";
    ServerBusy "server-busy": 503 exit 1, Transient, TemporarilyUnavailable, Server,
        "The server is busy or restarting.",
        "Repeat in {n} seconds, a create with the same `Idempotency-Key`.";
    ServerFault "server-fault": 500 exit 1, Exception, ServerError, Server,
        "Something failed inside the server.",
        "Try once more, a create with the same `Idempotency-Key`; then give the operator the request id.";
    IssuesOmitted "issues-omitted": 0 exit 1, Informational, None, Caller,
        "{n} more mistakes are not listed.",
        "Correct these first and send again.";
    TokenMissing "token-missing": 401 exit 1, Login, None, Caller,
        "An access token is needed.",
        "Get one at {token-endpoint}; send it in the `Authorization` header, the only place it is read.";
    TokenInvalid "token-invalid": 401 exit 1, Unknown, InvalidToken, Caller,
        "The access token is not one for this server.",
        "Ask {token-endpoint} for a new one with {base} as audience.";
    TokenExpired "token-expired": 401 exit 1, Expired, InvalidToken, Caller,
        "The access token ended at {when}.",
        "Ask for a new one; if it is fresh, compare clocks ({server-time}).";
    TokenRevoked "token-revoked": 401 exit 1, Expired, InvalidToken, Operator,
        "The access token is no longer accepted.",
        "Ask for a new one; if that is refused, ask the operator about the client.";
    CredentialsMisplaced "credentials-misplaced": 400 exit 1, Invalid, InvalidRequest, Caller,
        "Credentials were sent twice or in more than one way.",
        "Send one `Authorization` header or one client assertion.";
    ClientUnauthenticated "client-unauthenticated": 401 exit 1, Unknown, InvalidClient, Caller,
        "The client could not be authenticated.",
        "Compare client id, `kid`, key and key address with the registration; the operator finds the reason by request id.";
    AssertionRefused "assertion-refused": 401 exit 1, Invalid, InvalidClient, Caller,
        "The client assertion's {claim} {fault}.",
        "Make a new assertion for each request, with `aud` {token-endpoint}.";
    ScopeInsufficient "scope-insufficient": 403 exit 1, Forbidden, InsufficientScope, Caller,
        "This needs the scope {scope}.",
        "Ask for {scope} when getting the token (a `patient/` scope also needs a patient in context).";
    ScopeUnsupported "scope-unsupported": 400 exit 1, NotSupported, InvalidScope, Caller,
        "None of the scopes asked for can be granted.",
        "Take scopes from `scopes_supported` that the client is registered for.";
    NetworkNotAllowed "network-not-allowed": 403 exit 1, Forbidden, UnauthorizedClient, Caller,
        "This client may not call from here.",
        "Call from a registered network, or have the operator change `allow-ip`.";
    RoleInsufficient "role-insufficient": 403 exit 1, Forbidden, None, Caller,
        "This needs the role {roles}, not a scope.",
        "Ask someone with that role.";
    LoginFailed "login-failed": 400 exit 1, Login, None, Caller,
        "The user name, password or code is not right.",
        "Check them and try again.";
    ResourceNotFound "resource-not-found": 404 exit 1, NotFound, None, Caller,
        "No such resource is available to this client.",
        "Check the id, and the client's scope and reach.";
    BodyMalformed "body-malformed": 400 exit 1, Structure, InvalidRequest, Caller,
        "The body is not {format}: {what} at line {line}, column {column}.",
        "Send one UTF-8 {format} document without comments, trailing text or DOCTYPE.";
    NameRepeated "name-repeated": 400 exit 1, Structure, InvalidRequest, Caller,
        "The name {name} occurs twice in one object at line {line}.",
        "Keep one of them.";
    NestingTooDeep "nesting-too-deep": 400 exit 1, TooCostly, InvalidRequest, Caller,
        "The body is nested more than {limit} levels deep.",
        "Send a flatter resource.";
    ResourceTypeUnknown "resource-type-unknown": 400 exit 1, Structure, None, Caller,
        "`resourceType` is missing or no resource type of FHIR R4.",
        "Set it to a resource type of FHIR R4{nearest}.";
    ResourceMismatch "resource-mismatch": 400 exit 1, Invalid, None, Caller,
        "The {part} in the body does not fit the request.",
        "Send {expected}; name each resource once in a transaction.";
    ElementUnknown "element-unknown": 400 exit 1, Structure, None, Caller,
        "{path} is not an element of {type}.",
        "Remove it{nearest}; own data goes into `extension`.";
    ElementShapeWrong "element-shape-wrong": 400 exit 1, Structure, None, Caller,
        "{path} must be {shape}.",
        "Send {shape}, not null and not empty.";
    ElementMissing "element-missing": 422 exit 1, Required, None, Caller,
        "{path} is missing; {source} asks for it.",
        "Add it: {meaning}.";
    ElementNotAllowed "element-not-allowed": 422 exit 1, Structure, None, Caller,
        "{path} occurs more often than {source} allows ({max}).",
        "Remove it, or no longer claim {source}.";
    ValueMalformed "value-malformed": 422 exit 1, Value, None, Caller,
        "{path} is not a valid {datatype}.",
        "Write it like {example}.";
    ValueTooLong "value-too-long": 422 exit 1, TooLong, None, Caller,
        "{path} is longer than {limit}.",
        "Shorten it; long text belongs into the document.";
    ListTooLong "list-too-long": 422 exit 1, TooLong, None, Caller,
        "{path} has more than {limit} items.",
        "Send fewer of them; what belongs to several documents goes into several.";
    CodeNotAllowed "code-not-allowed": 422 exit 1, CodeInvalid, None, Caller,
        "{path} must be one of {codes}.",
        "Use one of them{nearest}.";
    InvariantFailed "invariant-failed": 422 exit 1, Invariant, None, Caller,
        "{path} breaks the rule {key}: {rule}.",
        "{cure}";
    ReferenceNotFound "reference-not-found": 422 exit 1, NotFound, None, Caller,
        "{path} refers to nothing available to this client.",
        "Create the target first, or correct the reference.";
    ReferenceDangling "reference-dangling": 201 exit 1, Informational, None, Caller,
        "{path} refers to nothing available to this client yet.",
        "Send the target when it is known; the reference is kept as written.";
    ModifierExtensionUnknown "modifier-extension-unknown": 422 exit 1, Extension, None, Caller,
        "{path} is a modifier extension that this server does not know.",
        "Remove it; storing it could change what the resource means.";
    RulesUnknown "rules-unknown": 422 exit 1, NotSupported, None, Caller,
        "{path} names rules or a profile that this server does not know.",
        "Remove it, or use a profile from `/fhir/metadata`.";
    ResourceSubsetted "resource-subsetted": 422 exit 1, BusinessRule, None, Caller,
        "The resource is tagged SUBSETTED, so it is not whole.",
        "Read it without `_summary` and `_elements`, and send that.";
    ParameterUnsupported "parameter-unsupported": 400 exit 1, NotSupported, None, Caller,
        "{parameter} is not offered on {type} in this form.",
        "Use {names}; all are in `/fhir/metadata`.";
    ParameterIgnored "parameter-ignored": 200 exit 1, NotSupported, None, Caller,
        "{parameter} was ignored.",
        "Remove it, or ask with `Prefer: handling=strict` to be refused instead.";
    ParameterMalformed "parameter-malformed": 400 exit 1, Value, InvalidRequest, Caller,
        "{parameter} {fault}.",
        "Write it like {example}.";
    ParameterMissing "parameter-missing": 400 exit 1, Required, InvalidRequest, Caller,
        "{parameter} is needed.",
        "Add {parameter}, for example {example}.";
    SearchTooCostly "search-too-costly": 400 exit 1, TooCostly, None, Caller,
        "The search would read too much.",
        "Add `patient` or a date range, or fewer chains; `_count` is at most {max}.";
    PageExpired "page-expired": 410 exit 1, Expired, None, Caller,
        "This page of results can no longer be read.",
        "Run the search again; page links last {lifetime}.";
    IdempotencyKeyReused "idempotency-key-reused": 422 exit 1, Conflict, None, Caller,
        "This Idempotency-Key was used for another request.",
        "Send a new key with a new body.";
    VersionConflict "version-conflict": 412 exit 1, Conflict, None, Caller,
        "The resource has changed: it is now version {current}.",
        "Read it, apply the change again, send `If-Match: W/\"{current}\"`.";
    IdentifierDuplicate "identifier-duplicate": 409 exit 1, Duplicate, None, Caller,
        "{path} is already in use.",
        "Use another value, or update the existing one.";
    ContentMismatch "content-mismatch": 422 exit 1, BusinessRule, None, Caller,
        "The {part} of the bytes is not the one declared.",
        "Send the bytes again or correct the declaration (`hash` is base64 of SHA-1).";
    ContentTooLarge "content-too-large": 413 exit 1, TooLong, None, Caller,
        "The file is larger than the {limit} that rule {rule} allows.",
        "Send a smaller file, or have the operator change `max-size`.";
    ContentNotReady "content-not-ready": 503 exit 1, Transient, None, Server,
        "The file is still being checked.",
        "Try again in {n} seconds.";
    ContentQuarantined "content-quarantined": 403 exit 1, Forbidden, None, Operator,
        "The file is held back after its safety check.",
        "Ask the operator, who may release or destroy it.";
    ContentExpired "content-expired": 410 exit 1, Expired, None, Caller,
        "The file was available until {when}.",
        "Ask its source to send it again.";
    ContentRevoked "content-revoked": 410 exit 1, Forbidden, None, Operator,
        "Access to the file was withdrawn at {when}.",
        "Ask its source, or the operator.";
    ContentPurged "content-purged": 410 exit 1, Deleted, None, Server,
        "The file was destroyed at {when}, as planned.",
        "Ask its source to send it again; the record of it remains.";
    ContentDamaged "content-damaged": 502 exit 1, Exception, None, Server,
        "The stored file failed its integrity check and was not sent.",
        "Give the operator the request id.";
    SourceRefused "source-refused": 422 exit 1, BusinessRule, None, Caller,
        "{path} names a place from which this server does not fetch files.",
        "Send the bytes: as `data`, or with `POST Binary` first.";
    ContentTypeRefused "content-type-refused": 422 exit 1, BusinessRule, None, Caller,
        "Files of type {type} are not accepted by rule {rule}.",
        "Send one of {types}.";
    PolicyLimitExceeded "policy-limit-exceeded": 422 exit 1, BusinessRule, None, Caller,
        "{parameter} may be at most {limit} under rule {rule}.",
        "Ask for {limit} or less.";
    PolicyMistake "policy-mistake": 0 exit 1, Processing, None, Operator,
        "{file}:{line}:{column}: {what}",
        "{cure}";
    ScanDetected "scan-detected": 0 exit 1, Security, None, Caller,
        "The safety check found {class}.",
        "Send a clean file; the operator sees the finding.";
    ScanUninspectable "scan-uninspectable": 0 exit 1, Security, None, Caller,
        "The file cannot be looked into ({why}).",
        "Send it without password or packing, or ask the operator to review it.";
    ScanEngineMissing "scan-engine-missing": 0 exit 1, Transient, None, Operator,
        "The file waits: its rule asks for an antivirus engine, and none is set up.",
        "Have the operator add one to `[scan] engines`.";
    ScanFailing "scan-failing": 0 exit 1, Transient, None, Other,
        "The safety check has not succeeded yet.",
        "Wait; it is tried again by itself, next at {when}.";
    LinkInvalid "link-invalid": 403 exit 1, Forbidden, None, Caller,
        "This link is not valid.",
        "Open it whole, exactly as it was sent, or ask for a new one.";
    LinkExpired "link-expired": 410 exit 1, Expired, None, Caller,
        "This link worked until {when}.",
        "Read the DocumentReference again, or ask the sender for a new link.";
    LinkRevoked "link-revoked": 410 exit 1, Forbidden, None, Operator,
        "This link was withdrawn at {when}.",
        "Ask the sender.";
    LinkUsed "link-used": 410 exit 1, Expired, None, Caller,
        "This link has been used as often as it may be ({uses}).",
        "Ask the sender for a new link, and tell them if nobody is known to have used this one.";
    LinkBusy "link-busy": 409 exit 1, Conflict, None, Caller,
        "The last use of this link is under way.",
        "Wait as `Retry-After` says; if that download breaks off, the link works again.";
    LinkPrefetch "link-prefetch": 503 exit 1, BusinessRule, None, Caller,
        "A browser or a preview asked for this file ahead of its reader.",
        "Open the link; nothing was used up.";
    LinkWrongNetwork "link-wrong-network": 403 exit 1, Forbidden, None, Caller,
        "This link works only from the network it was made for.",
        "Open it there, or ask for one without that limit.";
    LinkConfirmRequired "link-confirm-required": 403 exit 1, BusinessRule, None, Caller,
        "This link needs a person to press Download.",
        "Open it in a browser, or ask for a link without `confirm`.";
    StateRefused "state-refused": 409 exit 1, Conflict, None, Caller,
        "{operation} is not possible while the document is {state}.",
        "See `$lifecycle`; possible now: {operations}.";
    HoldActive "hold-active": 409 exit 1, BusinessRule, None, Operator,
        "A legal hold keeps this from being destroyed.",
        "Have the holder release it with `daylily hold release`.";
    SecondPersonRequired "second-person-required": 409 exit 1, BusinessRule, None, Caller,
        "A second person must approve this.",
        "Have someone else with the role {roles} confirm it before {when} with the same command.";
    ClockUnconfirmed "clock-unconfirmed": 0 exit 1, BusinessRule, None, Operator,
        "The clock jumped by {span}; nothing is destroyed until it is confirmed.",
        "Check the time, then run `daylily clock confirm --reason …`.";
    ResourceDeleted "resource-deleted": 410 exit 1, Deleted, None, Caller,
        "The resource was deleted.",
        "Remove the reference to it; its id is not used again.";
    CriteriaMalformed "criteria-malformed": 422 exit 1, Invalid, None, Caller,
        "{path} cannot be read as {what}.",
        "Write it like {example}.";
    TopicUnknown "topic-unknown": 422 exit 1, NotSupported, None, Caller,
        "Subscription.criteria names a topic that is not offered.",
        "Use {topics}, as `/fhir/metadata` lists.";
    FilterUnsupported "filter-unsupported": 422 exit 1, NotSupported, None, Caller,
        "A filter names a parameter or modifier that is not offered for this topic.",
        "Filter by {parameters}.";
    ChannelUnsupported "channel-unsupported": 422 exit 1, NotSupported, None, Caller,
        "{path} names a channel, format or extension that is not offered.",
        "Use {offered}.";
    EndpointRefused "endpoint-refused": 422 exit 1, BusinessRule, None, Caller,
        "Subscription.channel.endpoint is not an address this server may call.",
        "Use a public https address on port 443, or have the operator allow it.";
    ChannelHeaderRefused "channel-header-refused": 422 exit 1, BusinessRule, None, Caller,
        "Header line {n} is not one that may be sent.",
        "Use `Authorization` or an `X-` name; one line each, at most 20.";
    SubscriptionTermRefused "subscription-term-refused": 422 exit 1, BusinessRule, None, Caller,
        "{path} must be {allowed}.",
        "Send {allowed}.";
    HandshakeFailed "handshake-failed": 0 exit 1, Processing, None, Other,
        "The receiver did not accept the first message.",
        "Make the endpoint answer 2xx to a handshake, then set the Subscription to requested.";
    DeliveryNoResponse "delivery-no-response": 0 exit 1, Timeout, None, Other,
        "The receiver did not answer.",
        "Check that it can be reached; delivery is tried again.";
    DeliveryErrorResponse "delivery-error-response": 0 exit 1, Processing, None, Other,
        "The receiver answered {status}.",
        "Look there for the webhook id; 410 turns the Subscription off.";
    DeliveryWithheld "delivery-withheld": 0 exit 1, Suppressed, None, Server,
        "Event {n} was not sent: the file or the right to it ended before.",
        "Nothing to do; the gap in the numbers says so to the receiver.";
    DeliveryGivenUp "delivery-given-up": 0 exit 1, Incomplete, None, Other,
        "Event {n} could not be delivered and sending is stopped.",
        "Make the endpoint answer 2xx, then set the Subscription to requested.";
    ClientMetadataInvalid "client-metadata-invalid": 400 exit 2, Value, InvalidClientMetadata, Caller,
        "{field} {fault}.",
        "Correct {field} and register again.";
    JwksUnreachable "jwks-unreachable": 0 exit 1, Processing, None, Other,
        "the keys of client {id} could not be fetched: {why}",
        "have the partner check the key address from outside; `daylily client show` has the TLS text";
    AuditUnavailable "audit-unavailable": 503 exit 1, Transient, TemporarilyUnavailable, Server,
        "The record of access cannot be written, so nothing is handed out.",
        "Try again in {n} seconds.";
    AuditMismatch "audit-mismatch": 0 exit 3, Processing, None, Server,
        "entry {n} is not what was recorded",
        "keep a copy of the data folder and restore nothing over it until the security officer has seen it; then restore a copy, or two operators go on with `daylily audit acknowledge --as ID --reason TEXT`";
    AuditShortened "audit-shortened": 0 exit 3, Processing, None, Server,
        "the log has {n} entries, but the checkpoint of {when} vouches for {m}",
        "look for a restore or a cut, keep both, tell the security officer; two operators go on with `daylily audit acknowledge --as ID --reason TEXT`";
    AuditCheckpointMissing "audit-checkpoint-missing": 0 exit 3, Processing, None, Operator,
        "the log published a checkpoint of {m} entries, and the checkpoint folder has none as new",
        "put the folder back as it was, or set `[audit] checkpoints` right; where it is lost, or an older database was put back, two operators run `daylily audit acknowledge --as ID --reason TEXT`";
    AuditSignatureUnknown "audit-signature-unknown": 0 exit 3, Processing, None, Operator,
        "the checkpoint is signed by a key that is not known here",
        "take this log's own checkpoints: look whether `[audit] checkpoints` and the data folder belong together, and put both back from one copy; where its key was lost, two operators run `daylily audit acknowledge --as ID --reason TEXT`";
    DependencyUnavailable "dependency-unavailable": 503 exit 1, Transient, TemporarilyUnavailable, Server,
        "A part that this server needs is not answering.",
        "Try again in {n} seconds; nothing was changed.";
    StorageFull "storage-full": 507 exit 1, NoStore, None, Operator,
        "There is no room for new files at present.",
        "Try again later; reading goes on.";
    DataNewer "data-newer": 0 exit 1, Processing, None, Operator,
        "the data was written by a newer version (schema {found}, this program knows {known})",
        "start version {version} or newer";
    FolderLocked "folder-locked": 0 exit 1, Processing, None, Operator,
        "the data folder is in use by another server (process {pid})",
        "stop that one, or give another `--data-dir`";
    FolderUnsafe "folder-unsafe": 0 exit 1, Processing, None, Operator,
        "{file} {fault}",
        "{cure}";
    KeyMissing "key-missing": 0 exit 1, Processing, None, Operator,
        "the encryption key {key-id}, needed for {n} files, is not in the given source",
        "point `[keys]` at the old key; a new one would lose these files";
    SettingUnknown "setting-unknown": 0 exit 2, Processing, None, Operator,
        "{section} has no setting {key}",
        "{cure}";
    SettingMalformed "setting-malformed": 0 exit 2, Processing, None, Operator,
        "{key} must be {shape}",
        "write it like {example}";
    SettingConflict "setting-conflict": 0 exit 2, Processing, None, Operator,
        "{key} does not go with {other}, or needs it",
        "{cure}";
    ListenExposed "listen-exposed": 0 exit 2, Processing, None, Operator,
        "{address} can be reached from outside, without {lacking}",
        "set `[server] base-url` and `tls` (or `behind-proxy = true`), or listen on 127.0.0.1";
    ListenTaken "listen-taken": 0 exit 1, Processing, None, Operator,
        "{address} is already in use",
        "stop the other program, or give `--listen` another port";
    FlagUnknown "flag-unknown": 0 exit 2, Processing, None, Operator,
        "there is no command or flag {name}",
        "{cure}";
    FlagMalformed "flag-malformed": 0 exit 2, Processing, None, Operator,
        "{flag} {fault}",
        "{cure}";
    FileUnreadable "file-unreadable": 0 exit 2, Processing, None, Operator,
        "{flag} names a file that cannot be read: {why}",
        "{cure}; nothing was changed";
    ServerUnreachable "server-unreachable": 0 exit 1, Processing, None, Operator,
        "the server that holds the data folder did not answer",
        "run `daylily doctor`; when it is stopped the command works on the folder itself";
}
