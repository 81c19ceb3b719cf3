//! What tests send, and where things stand in what comes back.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use daylily::domain::clock::Clock;
use daylily::domain::epoch::Subject;
use daylily::domain::id::{ClientId, ResourceId};
use daylily::domain::link::{Claims, Purpose};
use daylily::domain::principal::Operator;
use daylily::domain::resource::Kind;
use daylily::fhir::base::Base;
use serde_json::{Value, json};

use super::{Actor, TestDaylily};

pub const RECIPIENT: &str = "urn:daylily:fhir/StructureDefinition/recipient";
pub const LIFECYCLE: &str = "urn:daylily:fhir/StructureDefinition/lifecycle";

/// A rule under which progress notes wait for an antivirus engine that is not there.
pub const WAITS_FOR_ANTIVIRUS: &str = "[[rule]]\nname = \"waits\"\nrequire-antivirus = true\n\
    when = { type = [\"http://loinc.org|11506-3\"] }\n";

/// A PDF of at least `length` bytes whose filler differs by `seed`.
pub fn pdf(seed: u32, length: usize) -> Vec<u8> {
    let mut filler = String::new();
    let mut number = seed;
    while filler.len() < length {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        filler.push_str(&format!("{number:08x}\n"));
    }
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R >>".to_owned(),
        format!("<< /Length {} >>\nstream\n{filler}\nendstream", filler.len()),
    ];
    let mut out = String::from("%PDF-1.4\n");
    let mut places = Vec::new();
    for (at, object) in objects.iter().enumerate() {
        places.push(out.len());
        out.push_str(&format!("{} 0 obj\n{object}\nendobj\n", at + 1));
    }
    let table = out.len();
    out.push_str(&format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1));
    places.iter().for_each(|place| out.push_str(&format!("{place:010} 00000 n \n")));
    out.push_str(&format!("trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n", objects.len() + 1));
    out.into_bytes()
}

/// The harmless test virus (eicar.org); never whole in this file.
pub fn eicar() -> Vec<u8> {
    ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-", "STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].concat().into_bytes()
}

pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().try_into().unwrap()
}

/// A DocumentReference about a patient with these attachments.
pub fn document(patient: &str, attachments: &[Value]) -> Value {
    let content: Vec<Value> = attachments.iter().map(|attachment| json!({ "attachment": attachment })).collect();
    json!({
        "resourceType": "DocumentReference",
        "status": "current",
        "type": { "coding": [{ "system": "http://loinc.org", "code": "18842-5" }] },
        "subject": { "reference": format!("Patient/{patient}") },
        "date": "2026-11-23T10:00:00+01:00",
        "content": content,
    })
}

pub fn inline(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "contentType": media_type, "data": STANDARD.encode(bytes) })
}

pub fn named(media_type: &str, url: &str) -> Value {
    json!({ "contentType": media_type, "url": url })
}

/// Names a client that receives the document.
pub fn to_recipient(mut document: Value, client: &str) -> Value {
    let recipient =
        json!({ "url": RECIPIENT, "valueIdentifier": { "system": "urn:daylily:fhir/client", "value": client } });
    match document["extension"].as_array_mut() {
        Some(extensions) => extensions.push(recipient),
        None => document["extension"] = json!([recipient]),
    }
    document
}

pub fn text(value: &Value, pointer: &str) -> String {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no text at {pointer} of {value}")).to_owned()
}

/// The states that `$lifecycle` lists.
pub fn states(parameters: &Value) -> Vec<String> {
    let steps = parameters["parameter"].as_array().cloned().unwrap_or_default();
    let to = |step: &Value| {
        let part = step["part"].as_array()?.iter().find(|part| part["name"] == "to")?;
        Some(part["valueCode"].as_str()?.to_owned())
    };
    steps.iter().filter_map(to).collect()
}

/// The state that a DocumentReference shows.
pub fn state_of(document: &Value) -> String {
    let extensions = document["extension"].as_array().unwrap();
    let shown: Vec<_> = extensions.iter().filter(|extension| extension["url"] == LIFECYCLE).collect();
    assert_eq!(shown.len(), 1, "{document}");
    text(shown[0], "/valueCode")
}

/// A parameter of an operation's answer.
pub fn parameter<'a>(parameters: &'a Value, name: &str) -> &'a Value {
    let all = parameters["parameter"].as_array().unwrap();
    all.iter().find(|parameter| parameter["name"] == name).unwrap_or_else(|| panic!("no {name} in {parameters}"))
}

/// A `Parameters` body.
pub fn parameters(parts: &[(&str, &str, Value)]) -> Value {
    let parts: Vec<Value> = parts.iter().map(|(name, kind, value)| json!({ "name": name, *kind: value })).collect();
    json!({ "resourceType": "Parameters", "parameter": parts })
}

/// The ids of a search's matches.
pub fn matches(bundle: &Value) -> Vec<String> {
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    entries.iter().filter(|entry| entry["search"]["mode"] == "match").map(|entry| text(entry, "/resource/id")).collect()
}

impl TestDaylily {
    /// A document with these bytes, released.
    pub async fn ready(&self, actor: &Actor, document: &Value) -> String {
        let created = actor.post("DocumentReference", document).await.ok(201);
        let id = text(&created, "/id");
        self.wait(actor, &id, "ready").await;
        id
    }

    /// A released document with one PDF, and the link that `reader` is shown.
    pub async fn ready_link(&self, actor: &Actor, bytes: &[u8]) -> (String, String) {
        let id = self.ready(actor, &document("p1", &[inline("application/pdf", bytes)])).await;
        let link = self.link(actor, &id).await;
        (id, link)
    }

    /// A link to a document's first content that nobody was handed, made with the server's own keys.
    pub async fn link_by_hand(&self, reader: &str, id: &str) -> String {
        let delivery = self.running().delivery();
        let client = delivery.store().client(&ClientId::parse(reader).unwrap()).unwrap();
        let id = ResourceId::parse(id).unwrap();
        let scope = Operator { uid: 0 }.scope();
        let found = delivery.store().read(Kind::DocumentReference, &id, &scope).await.unwrap().unwrap();
        let document = found.document.as_ref().unwrap();
        let subject = Subject { reader: client.number, document: document.number, patient: document.patient };
        let token = delivery.link_keys().mint(&Claims {
            file: found.files[0].file,
            purpose: Purpose::Download,
            expires: self.clock.now().plus(Duration::from_secs(600)),
            epoch: delivery.store().epochs().current(&subject),
            reader: client.number,
            row: None,
            nonce: 7,
        });
        Base::new(&self.base()).link(&token)
    }

    /// The link that a reader is shown.
    pub async fn link(&self, reader: &Actor, id: &str) -> String {
        let read = reader.get(&format!("DocumentReference/{id}")).await.ok(200);
        text(&read, "/content/0/attachment/url")
    }
}
