//! Failures of the parts below as refusals: one place says which is whose fault, and logs the cause that the caller is not
//! told.

use crate::blob::BlobError;
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::store::StoreError;

/// Seconds after which repeating makes sense when a part is busy or failed.
const RETRY_SECONDS: u32 = 2;

/// What a caller is told of a failure of the store.
#[expect(clippy::needless_pass_by_value, reason = "it is the end of the error: nothing else may handle it again")]
pub fn store_failure(error: StoreError) -> Refusal {
    let code = match &error {
        StoreError::Turned(turned) => return (*turned).into(),
        StoreError::Busy => Code::ServerBusy,
        StoreError::Full => Code::StorageFull,
        StoreError::TooCostly => return Refusal::new(Issue::new(Code::SearchTooCostly).fill("max", 1000)),
        StoreError::AlreadyExists | StoreError::Changed => Code::ServerBusy,
        StoreError::Corrupt { .. } => Code::ServerFault,
        StoreError::Damaged(_) | StoreError::Unavailable(_) | StoreError::Unknown(_) => Code::DependencyUnavailable,
    };
    tracing::warn!(code = code.name(), cause = chain(&error), "store failed");
    Refusal::of(code).retry_after(RETRY_SECONDS)
}

/// What a caller is told when an audit entry that had to come first could not be written.
#[expect(clippy::needless_pass_by_value, reason = "it is the end of the error: nothing else may handle it again")]
pub(super) fn audit_failure(error: StoreError) -> Refusal {
    tracing::error!(code = Code::AuditUnavailable.name(), cause = chain(&error), "audit entry not written");
    Refusal::of(Code::AuditUnavailable).retry_after(RETRY_SECONDS)
}

/// What a caller is told of a failure of the blob store.
#[expect(clippy::needless_pass_by_value, reason = "it is the end of the error: nothing else may handle it again")]
pub fn blob_failure(error: BlobError) -> Refusal {
    let code = match &error {
        BlobError::TooLarge { limit } => {
            return Refusal::new(
                Issue::new(Code::ContentTooLarge).fill("limit", size_words(*limit)).fill("rule", "default"),
            );
        }
        BlobError::Full => Code::StorageFull,
        BlobError::Source(_) => {
            return Refusal::new(Issue::new(Code::RequestMalformed).fill("part", "body"));
        }
        BlobError::Missing | BlobError::Damaged(_) => Code::ContentDamaged,
        _ => Code::DependencyUnavailable,
    };
    tracing::error!(code = code.name(), cause = chain(&error), "blob store failed");
    Refusal::of(code).retry_after(RETRY_SECONDS)
}

/// A size in words: whole MiB or KiB where it is one, else bytes.
pub(super) fn size_words(bytes: u64) -> String {
    match bytes {
        0 => "0 bytes".to_owned(),
        _ if bytes.is_multiple_of(1024 * 1024) => format!("{} MiB", bytes / (1024 * 1024)),
        _ if bytes.is_multiple_of(1024) => format!("{} KiB", bytes / 1024),
        _ => format!("{bytes} bytes"),
    }
}

/// An error and its causes on one line, each once. The texts of `store` and `blob` hold no values of callers.
fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}
