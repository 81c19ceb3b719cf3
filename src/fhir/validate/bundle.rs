//! Entries of a batch or transaction that was posted to the base: each resource fits its request, and a transaction names
//! each resource once (R4 http.html#transaction).

use super::report::Report;
use crate::domain::refusal::{Code, Issue};
use crate::fhir::json::Object;
use crate::fhir::tables::ResourceType;
use std::collections::HashSet;

/// What references by `urn:` may name.
pub(super) fn full_urls<'v>(bundle: &'v Object<'v>) -> HashSet<&'v str> {
    bundle.objects("entry").filter_map(|entry| entry.text("fullUrl")).collect()
}

pub(super) fn entries_fit_requests(bundle: &Object<'_>, report: &mut Report<'_>) {
    let transaction = bundle.text("type") == Some("transaction");
    let mut named = HashSet::new();
    for (at, entry) in bundle.items("entry").iter().enumerate() {
        let Some((entry, request)) = entry.as_object().and_then(|entry| Some((entry, entry.object("request")?))) else {
            continue;
        };
        let url = request.text("url").unwrap_or_default();
        let (method, path) = (request.text("method").unwrap_or_default(), url.split('?').next().unwrap_or_default());
        if let Some((part, expected)) = mismatch(entry.object("resource"), method, path) {
            report.add_issue(mismatched(at, part, &expected));
        }
        let writes = matches!(method, "PUT" | "PATCH" | "DELETE") && path.contains('/');
        if transaction && writes && !named.insert(path) {
            report.add_issue(mismatched(at, "request", "one request for each resource"));
        }
    }
}

/// What in the resource does not fit, and what would.
fn mismatch(resource: Option<&Object<'_>>, method: &str, path: &str) -> Option<(&'static str, String)> {
    let resource = resource.filter(|_| matches!(method, "POST" | "PUT"))?;
    let mut parts = path.split('/');
    let (name, id) = (parts.next().unwrap_or_default(), parts.next());
    let expected = ResourceType::parse(name)?;
    let operation = id.is_some_and(|id| id.starts_with('$'));
    if !operation && resource.text("resourceType") != Some(expected.as_str()) {
        return Some(("resource", format!("a resource of type {expected}")));
    }
    let other = id.filter(|_| method == "PUT").is_some_and(|id| resource.text("id").is_some_and(|own| own != id));
    other.then(|| ("id of the resource", "the id of `request.url` as `id`".to_owned()))
}

fn mismatched(at: usize, part: &str, expected: &str) -> Issue {
    Issue::new(Code::ResourceMismatch).fill("part", part).fill("expected", expected).at(&format!("Bundle.entry[{at}]"))
}
