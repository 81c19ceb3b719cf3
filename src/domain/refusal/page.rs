//! `docs/errors.md`, made from the table, so that page and answers cannot drift apart.

use std::fmt::Write as _;

use super::{ALL, By, OauthError};

const HEAD: &str = "# Errors

Every refusal has a stable code. Over HTTP it stands in the header `Daylily-Error`; under `/fhir` also as
`issue.details.coding` (system `urn:daylily:fhir/CodeSystem/error`) of an OperationOutcome, under `/auth` behind `error_uri`,
elsewhere as `code` of an `application/problem+json`. `/errors/{code}` on a running server is the page of a code. A code never
changes its meaning and is never used again; new ones may come, so a client that meets an unknown one acts on the HTTP status.

`{…}` stands for a name, a limit or a time; what a caller sent is never repeated. Status `–`: a reason that is seen in
`$lifecycle`, as a warning, or on the command line. *Mended by*: who can do something about it. *Exit*: of a command that ends
with it.

This page is made from the code's own table (`src/domain/refusal/codes.rs`); a test compares them.

";

/// The page.
pub fn errors_markdown() -> String {
    let mut page = HEAD.to_owned();
    page.push_str("| code | HTTP | issue type | OAuth | mended by | exit | message | cure |\n");
    page.push_str("| --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for code in ALL {
        let entry = code.entry();
        let status = if entry.status == 0 { "–".to_owned() } else { entry.status.to_string() };
        let oauth = if entry.oauth == OauthError::None { "" } else { entry.oauth.as_str() };
        let by = match entry.by {
            By::Caller => "caller",
            By::Operator => "operator",
            By::Server => "server",
            By::Other => "other system",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            page,
            "| `{}` | {status} | {} | {oauth} | {by} | {} | {} | {} |",
            entry.name,
            entry.issue_type.as_str(),
            entry.exit,
            cell(entry.message),
            cell(entry.cure)
        );
    }
    page
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path() -> std::path::PathBuf {
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors.md")
    }

    #[test]
    fn the_page_is_the_codes_own_list() {
        let written = std::fs::read_to_string(path()).unwrap_or_default();
        assert!(written == errors_markdown(), "docs/errors.md differs: cargo test write_the_pages -- --ignored");
    }

    #[test]
    #[ignore = "writes docs/errors.md"]
    fn write_the_pages_errors() {
        std::fs::write(path(), errors_markdown()).unwrap();
    }
}
