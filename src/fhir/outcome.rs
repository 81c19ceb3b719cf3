//! OperationOutcome from refusals and warnings: the one shape of an error under `/fhir` (FHIR R4 operationoutcome.html).
//! Texts come from the table of codes; no value of a caller is in them.

use crate::domain::id::RequestId;
use crate::domain::refusal::{Issue, Place, Refusal, Severity};

use super::json::write_text;

/// The code system of every error code.
pub const ERROR_SYSTEM: &str = "urn:daylily:fhir/CodeSystem/error";

/// The body that answers a refused request.
pub fn of_refusal(refusal: &Refusal, request: &RequestId) -> String {
    let mut out = String::with_capacity(512);
    write(refusal.issues(), request, &mut out);
    out
}

/// The OperationOutcome of a request that was done without remarks.
pub fn all_well(request: &RequestId) -> String {
    let mut out = String::from("{\"resourceType\":\"OperationOutcome\",\"id\":");
    write_text(request.as_str(), &mut out);
    out.push_str(",\"issue\":[{\"severity\":\"information\",\"code\":\"informational\",");
    out.push_str("\"details\":{\"text\":\"All is as it should be.\"}}]}");
    out
}

/// Appends an OperationOutcome of at least one issue; its id is the request's.
pub fn write<'i>(issues: impl IntoIterator<Item = &'i Issue>, request: &RequestId, out: &mut String) {
    out.push_str("{\"resourceType\":\"OperationOutcome\",\"id\":");
    write_text(request.as_str(), out);
    out.push_str(",\"issue\":[");
    for (at, issue) in issues.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_issue(issue, out);
    }
    out.push_str("]}");
}

fn write_issue(issue: &Issue, out: &mut String) {
    out.push_str("{\"severity\":\"");
    out.push_str(match issue.how_bad() {
        Severity::Fatal => "fatal",
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Information => "information",
    });
    out.push_str("\",\"code\":\"");
    out.push_str(issue.code().entry().issue_type.as_str());
    out.push_str("\",\"details\":{\"coding\":[{\"system\":\"");
    out.push_str(ERROR_SYSTEM);
    out.push_str("\",\"code\":\"");
    out.push_str(issue.code().name());
    out.push_str("\"}],\"text\":");
    write_text(issue.message(), out);
    out.push('}');
    if !issue.cure().is_empty() {
        out.push_str(",\"diagnostics\":");
        write_text(issue.cure(), out);
    }
    match issue.where_is() {
        Place::Element(path) => write_place("expression", path, out),
        Place::Http(name) => write_place("location", &format!("http.{name}"), out),
        _ => {}
    }
    out.push('}');
}

fn write_place(member: &str, place: &str, out: &mut String) {
    out.push_str(",\"");
    out.push_str(member);
    out.push_str("\":[");
    write_text(place, out);
    out.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::refusal::Code;

    #[test]
    fn a_refusal_reads_as_docs_errors_says() {
        let request = RequestId::parse("7b0de1c4-88a2-4d0e-b6a1-3f0c9d5e2b77").unwrap();
        let refusal = Refusal::of(Code::ContentNotReady).retry_after(4);
        assert_eq!(
            of_refusal(&refusal, &request),
            "{\"resourceType\":\"OperationOutcome\",\"id\":\"7b0de1c4-88a2-4d0e-b6a1-3f0c9d5e2b77\",\"issue\":[\
             {\"severity\":\"error\",\"code\":\"transient\",\"details\":{\"coding\":[{\
             \"system\":\"urn:daylily:fhir/CodeSystem/error\",\"code\":\"content-not-ready\"}],\
             \"text\":\"The file is still being checked.\"},\"diagnostics\":\"Try again in 4 seconds.\"}]}"
        );
    }

    #[test]
    fn elements_are_expressions_and_parameters_are_locations() {
        let request = RequestId::parse("r").unwrap();
        let issues = [
            Issue::new(Code::ElementMissing).at("DocumentReference.status"),
            Issue::new(Code::ParameterIgnored).at_http("foo"),
        ];
        let mut out = String::new();
        write(&issues, &request, &mut out);
        assert!(
            out.contains("\"expression\":[\"DocumentReference.status\"]")
                && out.contains("\"location\":[\"http.foo\"]")
        );
    }
}
