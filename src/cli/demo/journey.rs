//! The journey of a document, step by step. Each function does one thing over HTTP, and holds what it saw against what must be.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::words::{number, span};
use super::actor::{Answer, follow, sha256};
use super::pdf::{self, LETTER};
use super::record::Record;
use super::steps::{Broken, Held, Steps, expect};
use super::{Scene, told};
use crate::app::Nature;
use crate::domain::id::FileId;

/// FHIR JSON.
pub(super) const FHIR: &str = "application/fhir+json";
/// Discharge summary and progress note (LOINC).
const DISCHARGE: &str = "18842-5";
const PROGRESS: &str = "11506-3";
/// How often something that takes its time is looked at, and how many times at most.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOOKS: u32 = 400;
/// Looks that do not wait for a change.
const QUICK_LOOKS: u32 = 20;

/// A document that was handed over.
struct Handed {
    id: String,
    file: String,
    /// The answer to the creation.
    created: Value,
}

/// The journey.
pub(super) async fn run(scene: &mut Scene, nature: &Nature, steps: &mut Steps<'_>) -> Result<(), Broken> {
    let (listening, held) = told::subscribe(&scene.receiver, nature).await?;
    steps.held(&held);
    let letter = pdf::letter(&["Discharge letter", "Demo patient 1", "All values are made up."], LETTER);
    let sum = sha256(&letter);
    let handed = hand_over(scene, letter, ("application/pdf", DISCHARGE)).await?;
    let line = format!("The source handed over a discharge letter of {} bytes", number(bytes(LETTER)));
    steps.held(&Held::new("handed-over", line, "DocumentReference, Binary"));
    steps.held(&decided(scene, &handed).await?);
    steps.held(&released(scene, &handed).await?);
    steps.held(&nothing_before(scene, &handed).await?);
    steps.held(&told::told(&listening, &handed.id).await?);
    scene.listening = Some(listening);
    let (link, found) = found(scene).await?;
    steps.held(&found);
    steps.held(&followed(scene, &link, &sum).await?);
    steps.held(&once(scene, &handed, &sum).await?);
    steps.held(&altered(scene, &link).await?);
    steps.held(&stranger(scene, &handed).await?);
    steps.held(&revoked(scene, &handed, &link).await?);
    let (infected, held) = infected(scene).await?;
    scene.infected = infected;
    steps.held(&held);
    steps.held(&over(scene).await?);
    let record = Record::open(scene.running.settings(), nature).await?;
    steps.held(&record.whole().await?);
    steps.held(&record.changed().await?);
    Ok(())
}

fn bytes(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

pub(super) fn silent(what: &str) -> impl Fn(String) -> Broken + '_ {
    move |saw| Broken::silent(what, saw)
}

/// Bytes first, then the document that names them.
async fn hand_over(scene: &Scene, file: Vec<u8>, (media_type, kind): (&str, &str)) -> Result<Handed, Broken> {
    let binary = scene.source.post("Binary", media_type, file).await.map_err(silent("201"))?;
    expect("201", &binary.words())?;
    let file = text(&binary.json(), "/id");
    let document = json!({
        "resourceType": "DocumentReference",
        "status": "current",
        "type": { "coding": [{ "system": "http://loinc.org", "code": kind }] },
        "subject": { "reference": "Patient/demo-1" },
        "date": "2026-11-23T14:02:05+01:00",
        "content": [{ "attachment": { "contentType": media_type, "url": format!("Binary/{file}"), "title": "Letter" } }],
        "extension": [{
            "url": "urn:daylily:fhir/StructureDefinition/recipient",
            "valueIdentifier": { "system": "urn:daylily:fhir/client", "value": "receiver" },
        }],
    });
    let made = scene.source.post("DocumentReference", FHIR, document.to_string().into_bytes()).await;
    let made = made.map_err(silent("201"))?;
    if made.status != 201 {
        let saw = format!("{} {}", made.words(), text(&made.json(), "/issue/0/details/text"));
        return Err(Broken::new("201", saw));
    }
    let created = made.json();
    Ok(Handed { id: text(&created, "/id"), file, created })
}

pub(super) fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

async fn decided(scene: &Scene, handed: &Handed) -> Result<Held, Broken> {
    let delivery = scene.running.delivery();
    let file = FileId::parse(&handed.file).ok_or_else(|| Broken::new("a file's id", "another text"))?;
    let facts = delivery.store().file(file).await.ok().flatten();
    let decision = facts.and_then(|facts| facts.document.as_ref().map(|document| document.decision.clone()));
    let decision = decision.ok_or_else(|| Broken::new("a decision kept with the document", "none"))?;
    expect("default", &decision.rule)?;
    let line =
        format!("The policy decided: keep it {}, links last {}", span(decision.retain), span(decision.link.lifetime));
    Ok(Held::new("decided", line, format!("rule {}", decision.rule)))
}

/// Waits for a state with `$lifecycle?wait`.
async fn state(scene: &Scene, id: &str, wanted: &str) -> Result<Vec<String>, Broken> {
    let mut seen = Vec::new();
    for look in 0..LOOKS {
        // Looked at some times, then waited for: a change between two looks would not be waited for again.
        let wait = if look < QUICK_LOOKS { "" } else { "?wait=2s" };
        if look > 0 && look < QUICK_LOOKS {
            tokio::time::sleep(LOOK_EVERY / 10).await;
        }
        let answer = scene.source.get(&format!("DocumentReference/{id}/$lifecycle{wait}")).await;
        let answer = answer.map_err(silent(wanted))?;
        expect("200", &answer.words())?;
        seen = transitions(&answer.json());
        if seen.last().is_some_and(|state| state == wanted) {
            return Ok(seen);
        }
        if seen.last().is_some_and(|state| matches!(state.as_str(), "ready" | "quarantined" | "purged")) {
            return Err(Broken::new(wanted, seen.join(", ")));
        }
    }
    Err(Broken::late(wanted, seen.join(", ")))
}

fn transitions(parameters: &Value) -> Vec<String> {
    let steps = parameters.get("parameter").and_then(Value::as_array).cloned().unwrap_or_default();
    let to = |step: &Value| {
        let parts = step.get("part").and_then(Value::as_array)?;
        let part = parts.iter().find(|part| part.get("name").is_some_and(|name| name == "to"))?;
        part.get("valueCode").and_then(Value::as_str).map(str::to_owned)
    };
    steps.iter().filter_map(to).collect()
}

async fn released(scene: &Scene, handed: &Handed) -> Result<Held, Broken> {
    let states = state(scene, &handed.id, "ready").await?;
    expect("created, scanned, ready", &states.join(", "))?;
    Ok(Held::new("released", "The safety check found nothing, so the letter is ready", "scanned → ready"))
}

/// The answer to the creation, which came before the check, had no link in it.
async fn nothing_before(_scene: &Scene, handed: &Handed) -> Result<Held, Broken> {
    let url = text(&handed.created, "/content/0/attachment/url");
    expect("", &url)?;
    let why = text(&handed.created, "/content/0/attachment/_url/extension/0/valueCode");
    expect("temp-unknown", &why)?;
    Ok(Held::new(
        "nothing-before",
        "Before that nobody could have fetched it: no link was handed out",
        "data-absent-reason",
    ))
}

async fn found(scene: &Scene) -> Result<(String, Held), Broken> {
    let query = format!("DocumentReference?patient=demo-1&type=http://loinc.org|{DISCHARGE}");
    let answer = scene.receiver.get(&query).await.map_err(silent("200"))?;
    expect("200", &answer.words())?;
    let bundle = answer.json();
    expect("1", &bundle.get("total").map(Value::to_string).unwrap_or_default())?;
    let link = text(&bundle, "/entry/0/resource/content/0/attachment/url");
    let prefix = scene.running.base().join("/d/");
    if !link.starts_with(&prefix) {
        return Err(Broken::new("a signed link", "no link"));
    }
    let held = Held::new(
        "found",
        "The receiver found the letter by patient and type, with a link in it",
        "search, attachment.url",
    );
    Ok((link, held))
}

async fn followed(scene: &Scene, link: &str, sum: &str) -> Result<Held, Broken> {
    let answer = follow(&scene.http, link).await.map_err(silent("200"))?;
    expect("200", &answer.words())?;
    expect(sum, &answer.sha256())?;
    let line = "It followed the link: every byte arrived, the checksums are equal";
    Ok(Held::new("followed", line, "200, SHA-256"))
}

/// A link of one use: whole the first time, refused the second.
async fn once(scene: &Scene, handed: &Handed, sum: &str) -> Result<Held, Broken> {
    let uses = json!({ "name": "uses", "valuePositiveInt": 1 });
    let body = json!({ "resourceType": "Parameters", "parameter": [uses] });
    let path = format!("DocumentReference/{}/$issue-link", handed.id);
    let issued = scene.receiver.post(&path, FHIR, body.to_string().into_bytes()).await.map_err(silent("200"))?;
    expect("200", &issued.words())?;
    let link = text(&issued.json(), "/parameter/0/valueUrl");
    let first = follow(&scene.http, &link).await.map_err(silent("200"))?;
    expect("200", &first.words())?;
    expect(sum, &first.sha256())?;
    refused(follow(&scene.http, &link).await, "410 link-used").await?;
    let line = "A one-time link: worked once, the second time refused";
    Ok(Held::new("once", line, "$issue-link, 410 link-used"))
}

async fn refused(answer: Result<Answer, String>, expected: &str) -> Result<(), Broken> {
    expect(expected, &answer.map_err(silent(expected))?.words())
}

async fn altered(scene: &Scene, link: &str) -> Result<Held, Broken> {
    let (head, token) = link.rsplit_once('/').unwrap_or_default();
    let middle = token.chars().count() / 2;
    let other = |letter: char| if letter == 'A' { 'B' } else { 'A' };
    let changed: String = token.chars().enumerate().map(|(at, c)| if at == middle { other(c) } else { c }).collect();
    refused(follow(&scene.http, &format!("{head}/{changed}")).await, "403 link-invalid").await?;
    Ok(Held::new("altered", "A link with one letter changed: refused", "403 link-invalid"))
}

async fn stranger(scene: &Scene, handed: &Handed) -> Result<Held, Broken> {
    let path = format!("DocumentReference/{}", handed.id);
    refused(scene.stranger.get(&path).await, "404 resource-not-found").await?;
    let line = "The stranger asked for the letter: told that there is none";
    Ok(Held::new("stranger", line, "404 resource-not-found"))
}

async fn revoked(scene: &Scene, handed: &Handed, link: &str) -> Result<Held, Broken> {
    let body = json!({ "resourceType": "Parameters", "parameter": [{ "name": "reason", "valueString": "demo" }] });
    let path = format!("DocumentReference/{}/$revoke", handed.id);
    let answer = scene.source.post(&path, FHIR, body.to_string().into_bytes()).await.map_err(silent("200"))?;
    expect("200", &answer.words())?;
    refused(follow(&scene.http, link).await, "410 link-revoked").await?;
    Ok(Held::new("revoked", "The links were withdrawn, then tried: refused", "$revoke, 410 link-revoked"))
}

async fn infected(scene: &Scene) -> Result<(String, Held), Broken> {
    let virus = crate::scan::rules::harmless_test_file();
    let handed = hand_over(scene, virus, ("text/plain", DISCHARGE)).await?;
    state(scene, &handed.id, "quarantined").await?;
    refused(scene.receiver.get(&format!("Binary/{}", handed.file)).await, "403 content-quarantined").await?;
    let line = "A file with a harmless test virus: held back, nobody gets it";
    Ok((handed.id, Held::new("infected", line, "quarantined")))
}

/// A letter whose rule gives it a second: it expires and is purged by the server's own clockwork.
async fn over(scene: &Scene) -> Result<Held, Broken> {
    let letter = pdf::letter(&["Progress note", "Demo patient 1"], LETTER);
    let handed = hand_over(scene, letter, ("application/pdf", PROGRESS)).await?;
    let name = handed.file.as_str();
    if !on_disk(scene, name) {
        return Err(Broken::new("the letter's bytes on disk, encrypted", "none"));
    }
    purged(scene, &handed.id).await?;
    refused(scene.source.get(&format!("Binary/{name}")).await, "410 content-purged").await?;
    for _ in 0..LOOKS {
        if !on_disk(scene, name) {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let file = FileId::parse(name).ok_or_else(|| Broken::new("a file's id", "another text"))?;
    let known = scene.running.delivery().store().known_files(&[file]).await.unwrap_or_default();
    if on_disk(scene, name) || known.first().copied().unwrap_or(true) {
        return Err(Broken::new("neither key nor bytes", "one of them is still there"));
    }
    let line = "A letter whose time is over: its key destroyed, its bytes gone from disk";
    Ok(Held::new("over", line, "expired → purged"))
}

/// Waits until a document is purged.
async fn purged(scene: &Scene, id: &str) -> Result<(), Broken> {
    let mut last = String::new();
    for _ in 0..LOOKS {
        let answer = scene.source.get(&format!("DocumentReference/{id}")).await;
        last = answer.map_err(silent("410 content-purged"))?.words();
        if last == "410 content-purged" {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Err(Broken::late("410 content-purged", last))
}

/// Whether a file of this name lies anywhere below the data folder's `blobs`.
fn on_disk(scene: &Scene, name: &str) -> bool {
    let mut folders = vec![scene.running.folder().folder().path().join("blobs")];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|file| file.to_string_lossy().contains(name)) {
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_states_of_a_lifecycle_are_read_in_order() {
        let step = |to: &str| json!({ "name": "transition", "part": [{ "name": "to", "valueCode": to }] });
        let parameters =
            json!({ "resourceType": "Parameters", "parameter": [step("created"), step("scanned"), step("ready")] });
        assert_eq!(transitions(&parameters), ["created", "scanned", "ready"]);
    }
}
