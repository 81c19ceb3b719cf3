//! What the server writes into every resource that it stores: id, meta with a place for version and time, its own tags.

use crate::domain::id::ResourceId;
use crate::domain::resource::{Splice, SpliceKind};

use super::json::{Object, Value, write_text, write_value};

/// Tag: the policy rule that decided about a document.
pub const RULE_SYSTEM: &str = "urn:daylily:fhir/CodeSystem/policy-rule";
/// Tag: how long a document is kept from its release on, as policies write it (`72h`).
pub const LABEL_SYSTEM: &str = "urn:daylily:fhir/CodeSystem/retention-label";

/// Splices so far, in rising order.
#[derive(Debug, Default)]
pub(super) struct Places(pub(super) Vec<Splice>);

impl Places {
    pub(super) fn add(&mut self, out: &str, kind: SpliceKind, comma: bool) {
        // Bodies are bounded by the request limit, far below 4 GiB.
        self.0.push(Splice { at: u32::try_from(out.len()).unwrap_or(u32::MAX), kind, comma });
    }
}

/// Opens a resource with its type and id.
pub(super) fn open(resource_type: &str, id: &ResourceId, out: &mut String) {
    out.push_str("{\"resourceType\":");
    write_text(resource_type, out);
    out.push_str(",\"id\":");
    write_text(id.as_str(), out);
}

/// Appends a member behind others.
pub(super) fn member(name: &str, value: &Value<'_>, out: &mut String) {
    out.push(',');
    write_text(name, out);
    out.push(':');
    write_value(value, out);
}

/// Appends `meta`: the sender's, without version and time, with `source` where it gave none, its tags of our systems
/// replaced by ours.
pub(super) fn meta(
    sent: Option<&Object<'_>>,
    source: Option<&str>,
    tags: &[(&str, String)],
    out: &mut String,
    places: &mut Places,
) {
    let mut kept = sent.cloned().unwrap_or_default();
    for name in ["versionId", "_versionId", "lastUpdated", "_lastUpdated"] {
        kept.remove(name);
    }
    if let (Some(source), false) = (source, kept.has("source") || kept.has("_source")) {
        kept.insert("source", Value::from(source.to_owned()));
    }
    let mut all: Vec<Value<'_>> = kept.items("tag").to_vec();
    all.retain(|tag| {
        let system = tag.as_object().and_then(|tag| tag.text("system"));
        !tags.iter().any(|(own, _)| system == Some(*own))
    });
    for (system, code) in tags {
        let own = [("system", Value::from((*system).to_owned())), ("code", Value::from(code.clone()))];
        all.push(Value::Object(own.into_iter().collect()));
    }
    if all.is_empty() {
        kept.remove("tag");
    } else {
        kept.insert("tag", Value::Array(all));
    }
    out.push_str(",\"meta\":{");
    places.add(out, SpliceKind::Meta, !kept.is_empty());
    for (at, (name, value)) in kept.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_text(name, out);
        out.push(':');
        write_value(value, out);
    }
    out.push('}');
}
