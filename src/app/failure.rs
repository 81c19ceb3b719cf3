//! Why a start failed, with the exit status that the contract gives it: 3 where restarting will not cure it and serving would be unsafe, 2
//! for a mistake in what was given, 1 for the rest.

use crate::domain::content::KeyError;
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::store::StoreError;

/// A start that did not come about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartFailure {
    /// Everything that is wrong.
    pub issues: Vec<Issue>,
    /// Exit status.
    pub exit: u8,
}

/// A start that would be unsafe and that restarting will not cure.
const UNSAFE: u8 = 3;

impl StartFailure {
    /// Of one or more issues of one kind, by the code of the first.
    pub fn new(issues: Vec<Issue>) -> Self {
        let exit = issues.first().map_or(1, |issue| exit_of(issue.code()));
        Self { issues, exit }
    }

    /// Whether the database was found to be damaged, which trying again does not cure.
    pub(super) fn is_damage(&self) -> bool {
        *self == super::instance::damaged()
    }

    /// A failure of the machine: told in the log with its cause, and here by its kind.
    pub(crate) fn machine(what: &'static str, cause: &dyn std::error::Error) -> Self {
        tracing::error!(cause = chain(cause), "{what}");
        let cure = "look at the log lines above; nothing was changed";
        Issue::new(Code::ServerFault).message_text(what).cure_text(cure).into()
    }

    /// A secret of the server that does not open.
    pub(crate) fn key(error: &KeyError, purpose: &str, files: u64) -> Self {
        match error {
            KeyError::Missing(id) => Issue::new(Code::KeyMissing).fill("key-id", id).fill("n", files).into(),
            KeyError::Damaged | KeyError::Cipher => {
                let issue = Issue::new(Code::FolderUnsafe)
                    .fill("file", format!("the sealed key `{purpose}` in the database"))
                    .fill("fault", "does not open: it was changed")
                    .fill("cure", "restore the data folder from your copy; nothing was made in its place");
                issue.into()
            }
        }
    }
}

fn exit_of(code: Code) -> u8 {
    match code {
        Code::KeyMissing | Code::DataNewer | Code::FolderUnsafe => UNSAFE,
        other => other.entry().exit,
    }
}

impl From<Issue> for StartFailure {
    fn from(issue: Issue) -> Self {
        Self::new(vec![issue])
    }
}

impl From<Refusal> for StartFailure {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.issues().cloned().collect())
    }
}

impl From<StoreError> for StartFailure {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::Damaged(_)) {
            tracing::error!(cause = chain(&error), "the database is damaged");
            return super::instance::damaged();
        }
        Self::machine("the database cannot be read", &error)
    }
}

/// An error and its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_starts_end_with_three_mistakes_with_two_and_the_rest_with_one() {
        for (code, exit) in [
            (Code::KeyMissing, 3),
            (Code::DataNewer, 3),
            (Code::AuditMismatch, 3),
            (Code::AuditShortened, 3),
            (Code::SettingUnknown, 2),
            (Code::ListenExposed, 2),
            (Code::FolderLocked, 1),
            (Code::ListenTaken, 1),
        ] {
            assert_eq!(StartFailure::from(Issue::new(code)).exit, exit, "{}", code.name());
        }
    }
}
