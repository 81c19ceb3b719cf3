//! The CapabilityStatement (`GET [base]/metadata`), made from the same tables that requests are answered by, once per start
//! (FHIR R4 capabilitystatement.html; SMART App Launch 2.2, conformance).

use serde_json::{Value, json};

use crate::domain::resource::Kind;
use crate::domain::subscription::Topic;

use super::base::Base;
use super::definitions;
use super::operations::Operation;
use super::search::served::SERVED;

/// When what this version offers was last changed.
pub const DATE: &str = "2026-11-23";

/// The statement as JSON text.
pub fn statement(base: &Base) -> String {
    let name = "Daylily";
    let statement = json!({
        "resourceType": "CapabilityStatement",
        "id": "daylily",
        "url": format!("{}/metadata", base.fhir()),
        "version": env!("CARGO_PKG_VERSION"),
        "name": name,
        "title": "Temporary document delivery",
        "status": "active",
        "date": DATE,
        "publisher": name,
        "description": "Documents go in with their metadata, are checked, and can be opened by signed links for a limited time.",
        "kind": "instance",
        "software": {"name": name, "version": env!("CARGO_PKG_VERSION")},
        "implementation": {"description": "Temporary document delivery", "url": base.fhir()},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "rest": [{"mode": "server", "security": security(base), "resource": resources()}],
    });
    statement.to_string()
}

fn security(base: &Base) -> Value {
    let at = |path: &str| format!("{}/auth/{path}", base.root());
    json!({
        "extension": [{
            "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
            "extension": [{"url": "token", "valueUri": at("token")}],
        }],
        "cors": false,
        "service": [{"coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
            "code": "SMART-on-FHIR",
        }]}],
        "description": "Access tokens by SMART Backend Services; see .well-known/smart-configuration.",
    })
}

fn resources() -> Vec<Value> {
    let mut kinds: Vec<Kind> = Kind::ALL.to_vec();
    kinds.sort_by_key(|kind| kind.as_str());
    let mut resources: Vec<Value> = kinds.into_iter().map(resource).collect();
    resources.push(json!({
        "type": "Basic",
        "documentation": "Topics of Subscriptions, by id and by `url`, as the Subscriptions R5 Backport guide writes them in R4.",
        "interaction": interactions(&["read", "search-type"]),
        "versioning": "no-version",
        "searchParam": [{"name": "url", "type": "uri", "documentation": "The topic's canonical URL."}],
    }));
    let of_conformance = definitions::all().iter().filter(|one| one.resource_type != "Basic");
    let mut types: Vec<&str> = of_conformance.map(|one| one.resource_type).collect();
    types.sort_unstable();
    types.dedup();
    resources.extend(types.into_iter().map(definition_type));
    resources
}

fn resource(kind: Kind) -> Value {
    match kind {
        Kind::DocumentReference => document_reference(),
        Kind::Binary => json!({
            "type": "Binary",
            "documentation": "Raw bytes or the resource. Belongs to one document; unclaimed, it is purged after an hour.",
            "interaction": interactions(&["create", "read"]),
            "versioning": "no-version", "readHistory": false, "updateCreate": false, "conditionalCreate": false,
        }),
        Kind::Subscription => subscription(),
        _ => json!({
            "type": kind.as_str(),
            "documentation": "Context: what documents refer to. It may be sent before or after them, under the sender's id.",
            "interaction": interactions(&["create", "read", "update"]),
            "versioning": "versioned", "readHistory": false, "updateCreate": true, "conditionalCreate": false,
            "referencePolicy": ["literal", "logical"],
        }),
    }
}

fn document_reference() -> Value {
    let operation = |operation: &Operation| {
        let name = operation.as_str();
        json!({"name": name, "definition": format!("urn:daylily:fhir/OperationDefinition/{name}")})
    };
    json!({
        "type": "DocumentReference",
        "documentation": "attachment.url is a signed link while the document is ready or delivered.",
        "interaction": interactions(&["create", "read", "search-type"]),
        "versioning": "versioned", "readHistory": false, "updateCreate": false, "conditionalCreate": false,
        "referencePolicy": ["literal", "logical"],
        "searchParam": search_parameters(),
        "operation": Operation::ALL.iter().map(operation).collect::<Vec<_>>(),
    })
}

fn subscription() -> Value {
    const GUIDE: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition";
    let topic = |topic: &Topic| {
        let url = format!("{GUIDE}/capabilitystatement-subscriptiontopic-canonical");
        json!({"url": url, "valueCanonical": topic.canonical()})
    };
    json!({
        "extension": Topic::ALL.iter().map(topic).collect::<Vec<_>>(),
        "type": "Subscription",
        "supportedProfile": [format!("{GUIDE}/backport-subscription")],
        "documentation": "rest-hook, by topic (empty, id-only, full-resource) or by criteria. Messages are signed as Standard \
            Webhooks say. To write one takes read and search of DocumentReference too.",
        "interaction": interactions(&["create", "read", "update", "delete"]),
        "versioning": "versioned-update", "readHistory": false, "updateCreate": false, "conditionalCreate": false,
        "operation": [{"name": "webhook-secret", "definition": "urn:daylily:fhir/OperationDefinition/webhook-secret"}],
    })
}

fn search_parameters() -> Vec<Value> {
    let parameter = |(code, definition, kind, note): (&str, &str, &str, Option<&str>)| {
        let mut shown = json!({"name": code, "definition": definition, "type": kind});
        if let (Some(note), Some(members)) = (note, shown.as_object_mut()) {
            members.insert("documentation".to_owned(), note.into());
        }
        shown
    };
    let defined = SERVED.iter().filter_map(|served| {
        let (definition, kind) = served.definition()?;
        Some(parameter((served.code, definition, kind, served.note)))
    });
    defined.collect()
}

fn definition_type(name: &str) -> Value {
    json!({
        "type": name,
        "documentation": "This server's own definitions, by id and by url.",
        "interaction": interactions(&["read", "search-type"]),
        "versioning": "no-version",
        "searchParam": [{
            "name": "url", "type": "uri", "definition": "http://hl7.org/fhir/SearchParameter/conformance-url",
        }],
    })
}

fn interactions(codes: &[&str]) -> Vec<Value> {
    codes.iter().map(|code| json!({"code": code})).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::validate::{Expectation, read};

    fn shown() -> Value {
        serde_json::from_str(&statement(&Base::new("https://h.example/x"))).unwrap()
    }

    fn of<'v>(statement: &'v Value, name: &str) -> &'v Value {
        let resources = statement["rest"][0]["resource"].as_array().unwrap();
        resources.iter().find(|one| one["type"] == name).unwrap()
    }

    #[test]
    fn it_is_valid_fhir() {
        assert!(read(statement(&Base::new("https://h.example")).as_bytes(), Expectation::Any).is_ok());
    }

    #[test]
    fn it_says_what_this_version_serves() {
        let statement = shown();
        assert_eq!((&statement["fhirVersion"], &statement["kind"]), (&json!("4.0.1"), &json!("instance")));
        assert_eq!(statement["implementation"]["url"], "https://h.example/x/fhir");
        let codes = |name: &str| -> Vec<String> {
            let found = of(&statement, name)["interaction"].as_array().unwrap();
            found.iter().map(|one| one["code"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(codes("DocumentReference"), ["create", "read", "search-type"]);
        assert_eq!(codes("Binary"), ["create", "read"]);
        assert_eq!(codes("Patient"), ["create", "read", "update"]);
        assert_eq!(of(&statement, "Encounter")["updateCreate"], true);
        let names: Vec<&str> = of(&statement, "DocumentReference")["searchParam"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["name"].as_str().unwrap())
            .collect();
        for asked in [
            "_id",
            "patient",
            "subject",
            "status",
            "type",
            "category",
            "date",
            "identifier",
            "encounter",
            "custodian",
            "lifecycle",
            "_lastUpdated",
        ] {
            assert!(names.contains(&asked), "{asked}");
        }
    }

    #[test]
    fn security_is_smart_with_the_token_address() {
        let security = &shown()["rest"][0]["security"];
        assert_eq!(security["service"][0]["coding"][0]["code"], "SMART-on-FHIR");
        assert_eq!(security["extension"][0]["extension"][0]["valueUri"], "https://h.example/x/auth/token");
    }
}
