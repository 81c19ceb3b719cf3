//! This server's own definitions (extensions, search parameter, operations, code systems), embedded; each is read at the base
//! by id and by `url=` (contract, FHIR names). They do not depend on the base URL.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::domain::refusal;

/// One definition.
#[derive(Debug, Clone)]
pub struct Definition {
    /// Resource type.
    pub resource_type: &'static str,
    /// Logical id.
    pub id: &'static str,
    /// Canonical URL.
    pub url: String,
    /// JSON text.
    pub text: String,
}

macro_rules! embedded {
    ($($kind:literal $id:literal),* $(,)?) => {
        [$(($kind, $id, include_str!(concat!("../../fhir-profiles/daylily/", $kind, "-", $id, ".json"))),)*]
    };
}

static ALL: LazyLock<Vec<Definition>> = LazyLock::new(|| {
    let files = embedded![
        "StructureDefinition" "lifecycle", "StructureDefinition" "recipient", "StructureDefinition" "sha256",
        "StructureDefinition" "expires", "StructureDefinition" "access-reference",
        "SearchParameter" "lifecycle",
        "OperationDefinition" "issue-link", "OperationDefinition" "revoke", "OperationDefinition" "lifecycle",
        "OperationDefinition" "acknowledge",
        "OperationDefinition" "webhook-secret",
        "Basic" "document-ready", "Basic" "document-expired", "Basic" "document-revoked", "Basic" "document-quarantined",
        "CodeSystem" "retention-label", "CodeSystem" "policy-rule", "CodeSystem" "error",
    ];
    let definition = |(resource_type, id, text): (&'static str, &'static str, &str)| Definition {
        resource_type,
        id,
        url: canonical(resource_type, id),
        text: text.trim_end().to_owned(),
    };
    files.into_iter().map(definition).collect()
});

/// R4 has no SubscriptionTopic: topics are Basic resources whose url is in an extension.
fn canonical(resource_type: &str, id: &str) -> String {
    let kind = if resource_type == "Basic" { "SubscriptionTopic" } else { resource_type };
    format!("urn:daylily:fhir/{kind}/{id}")
}

/// Every definition.
pub fn all() -> &'static [Definition] {
    &ALL
}

/// The definition of a type and id.
pub fn by_id(resource_type: &str, id: &str) -> Option<&'static Definition> {
    all().iter().find(|one| one.resource_type == resource_type && one.id == id)
}

/// The definition of a type and canonical URL, with or without its version.
pub fn by_url(resource_type: &str, url: &str) -> Option<&'static Definition> {
    let (bare, version) = url.split_once('|').unwrap_or((url, env!("CARGO_PKG_VERSION")));
    all()
        .iter()
        .find(|one| one.resource_type == resource_type && one.url == bare && version == env!("CARGO_PKG_VERSION"))
}

/// The code system of error codes, as the program's table has it. `fhir-profiles/daylily/CodeSystem-error.json` is this text.
pub fn error_code_system() -> String {
    let concept = |code: &refusal::Code| {
        let entry = code.entry();
        json!({"code": entry.name, "display": entry.name.replace('-', " "), "definition": entry.message})
    };
    let concepts: Vec<Value> = refusal::ALL.iter().map(concept).collect();
    let system = json!({
        "resourceType": "CodeSystem", "id": "error", "url": super::outcome::ERROR_SYSTEM,
        "version": env!("CARGO_PKG_VERSION"), "name": "DaylilyError", "title": "Error codes", "status": "active",
        "date": "2026-11-23", "publisher": "Daylily",
        "description": "What went wrong, as a stable name. A code never changes its meaning and is never used again; new ones \
            may come, so who meets an unknown one acts on the HTTP status and the issue type. Braces are filled when told.",
        "caseSensitive": true, "content": "complete", "count": concepts.len(), "concept": concepts,
    });
    format!("{system:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::json::parse;

    #[test]
    fn every_definition_is_json_with_its_type_id_and_url() {
        for one in all() {
            let value = parse(one.text.as_bytes()).unwrap();
            let object = value.as_object().unwrap();
            assert_eq!(object.text("resourceType"), Some(one.resource_type));
            assert_eq!(object.text("id"), Some(one.id));
            let topic = |name: &str, member: &str| {
                let url = format!("http://hl7.org/fhir/5.0/StructureDefinition/extension-SubscriptionTopic.{name}");
                let found = object.objects("extension").find(|one| one.text("url") == Some(url.as_str()));
                found.and_then(|one| one.text(member)).map(str::to_owned)
            };
            let (url, version) = match one.resource_type {
                "Basic" => (topic("url", "valueUri"), topic("version", "valueString")),
                _ => (object.text("url").map(str::to_owned), object.text("version").map(str::to_owned)),
            };
            assert_eq!(url.as_deref(), Some(one.url.as_str()), "{}", one.id);
            assert_eq!(version.as_deref(), Some(env!("CARGO_PKG_VERSION")), "{}", one.id);
            assert!(by_id(one.resource_type, one.id).is_some() && by_url(one.resource_type, &one.url).is_some());
        }
        assert!(by_url("CodeSystem", "urn:daylily:fhir/CodeSystem/error|0.1.0").is_some());
        assert!(by_url("CodeSystem", "urn:daylily:fhir/CodeSystem/error|9").is_none());
    }

    #[test]
    fn every_topic_is_defined_with_the_filters_that_are_read() {
        use crate::domain::subscription::Topic;
        use crate::fhir::search::served::SERVED;
        for topic in Topic::ALL {
            let found = by_url("Basic", &topic.canonical()).unwrap();
            assert_eq!(found.id, topic.name());
            for served in SERVED.iter().filter(|served| served.code != "_lastUpdated") {
                assert!(found.text.contains(&format!("\"{}\"", served.code)), "{}", served.code);
            }
        }
    }

    /// To write the file anew after a change of the codes: `DAYLILY_WRITE=1 cargo test --lib error_code_system`.
    #[test]
    fn the_committed_error_code_system_is_the_programs_own_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fhir-profiles/daylily/CodeSystem-error.json");
        if option_env!("DAYLILY_WRITE").is_some() {
            std::fs::write(path, error_code_system()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), error_code_system());
    }

    #[test]
    fn operations_define_just_what_is_read() {
        use crate::fhir::operations::Operation;
        for operation in Operation::ALL {
            let found = by_id("OperationDefinition", operation.as_str()).unwrap();
            let value: Value = serde_json::from_str(&found.text).unwrap();
            let parameters = value["parameter"].as_array().unwrap();
            let defined: Vec<&str> =
                parameters.iter().filter(|one| one["use"] == "in").filter_map(|one| one["name"].as_str()).collect();
            assert_eq!(defined, operation.input_names().collect::<Vec<_>>());
        }
    }
}
