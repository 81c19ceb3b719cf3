//! What stands on the server while attempts are made: clients of every reach and scope, documents of several sources with and
//! without recipients and custodians, context resources, unclaimed files, Subscriptions, links; each with a mark of its own.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::*;

/// What is searched as an identifier; marks are never sent.
pub const SYSTEM: &str = "urn:daylily:oracle";
const PATIENTS: usize = 6;
const DOCUMENTS: usize = 48;
const TYPES: [&str; 3] = ["18842-5", "11506-3", "34117-2"];

/// Everything that decides what a client may see.
pub struct Party {
    pub actor: Actor,
    /// SMART letters per type: `None` is every letter on every type.
    pub rights: Option<(&'static str, &'static str)>,
    pub all: bool,
    pub custodians: &'static [&'static str],
}

/// A document as it was sent.
pub struct Sent {
    pub id: String,
    /// Place in [`World::parties`].
    pub source: usize,
    pub recipients: BTreeSet<usize>,
    pub custodian: Option<&'static str>,
    /// Place in [`World::patients`]; any client may name any patient.
    pub patient: usize,
    pub kind: &'static str,
    pub superseded: bool,
    /// The id of its file, where it came as a Binary of its own.
    pub file: Option<String>,
    pub mark: String,
    pub link: String,
}

/// A Patient that was PUT.
pub struct Person {
    pub id: String,
    pub owner: usize,
    pub mark: String,
}

/// What only its owner may see: an unclaimed Binary, a Subscription.
pub struct Own {
    pub id: String,
    pub owner: usize,
}

pub struct World {
    pub daylily: TestDaylily,
    pub parties: Vec<Party>,
    pub patients: Vec<Person>,
    pub documents: Vec<Sent>,
    pub files: Vec<Own>,
    pub subscriptions: Vec<Own>,
}

/// Name, scope, its letters, reach.
type Registered = (&'static str, &'static str, Option<(&'static str, &'static str)>, &'static [&'static str]);

const PARTIES: [Registered; 14] = [
    ("alpha", FULL, None, &["own"]),
    ("beta", FULL, None, &["own"]),
    ("gamma", FULL, None, &["own"]),
    ("delta", FULL, None, &["own"]),
    ("ward7", FULL, None, &["custodian=Organization/7"]),
    ("ward8", FULL, None, &["custodian=Organization/8"]),
    ("both", FULL, None, &["custodian=Organization/7", "custodian=Organization/8"]),
    ("empty", FULL, None, &["own"]),
    ("all", FULL, None, &["all"]),
    ("readsall", "system/DocumentReference.r", Some(("DocumentReference", "r")), &["all"]),
    ("reads", "system/DocumentReference.r", Some(("DocumentReference", "r")), &["own"]),
    ("searches", "system/DocumentReference.s", Some(("DocumentReference", "s")), &["custodian=Organization/7"]),
    ("files", "system/Binary.r", Some(("Binary", "r")), &["own"]),
    ("patients", "system/Patient.cu", Some(("Patient", "cu")), &["all"]),
];
/// How many of them, from the first, send documents.
const SOURCES: usize = 5;

impl World {
    pub async fn create() -> Self {
        let daylily = TestDaylily::start_with("", |settings| {
            settings.egress.allow = vec!["127.0.0.0/8".parse().unwrap()];
            settings.limits.refused_requests = 100_000;
            settings.limits.client_requests = 1_000_000;
        })
        .await;
        let mut parties = Vec::new();
        for (name, scope, rights, reach) in PARTIES {
            let custodians = reach.iter().filter_map(|reach| reach.strip_prefix("custodian=")).collect::<Vec<_>>();
            parties.push(Party {
                actor: daylily.client(name, scope, reach).await,
                rights,
                all: reach.contains(&"all"),
                custodians: custodians.leak(),
            });
        }
        let mut world = Self {
            daylily,
            parties,
            patients: Vec::new(),
            documents: Vec::new(),
            files: Vec::new(),
            subscriptions: Vec::new(),
        };
        world.patients().await;
        world.documents().await;
        world.own().await;
        world
    }

    async fn patients(&mut self) {
        for at in 0..PATIENTS {
            let person = Person { id: format!("person-{at}"), owner: at % (SOURCES - 1), mark: format!("MARK-p{at}~") };
            let body = json!({
                "resourceType": "Patient", "id": person.id, "name": [{ "family": person.mark }],
                "identifier": [{ "system": SYSTEM, "value": format!("number-{at}") }],
            });
            let owner = &self.parties[person.owner].actor;
            owner.put(&format!("Patient/{}", person.id), &body).await.ok(201);
            self.patients.push(person);
        }
    }

    async fn documents(&mut self) {
        for at in 0..DOCUMENTS {
            let sent = self.send(at).await;
            self.documents.push(sent);
        }
        for sent in &mut self.documents {
            let source = &self.parties[sent.source].actor;
            self.daylily.wait(source, &sent.id, "ready").await;
            sent.link = self.daylily.link(source, &sent.id).await;
        }
    }

    /// Every mix of source, recipients, custodian and patient comes by, as the steps have no common divisor.
    async fn send(&self, at: usize) -> Sent {
        let (source, patient, mark) = (at % SOURCES, (at * 7) % PATIENTS, format!("MARK-d{at}~"));
        let recipients: BTreeSet<usize> = match at % 4 {
            0 => BTreeSet::new(),
            1 => [(at / 4) % self.parties.len()].into(),
            2 => [(at / 4 + 1) % 4, 10 + at % 3].into(),
            _ => [source, 12].into(),
        };
        let custodian = [None, Some("Organization/7"), Some("Organization/8")][(at / 2) % 3];
        let bytes = [pdf(u32::try_from(at).unwrap(), 100), format!("%{mark}\n").into_bytes()].concat();
        let actor = &self.parties[source].actor;
        let mut file = None;
        let mut attachment = inline("application/pdf", &bytes);
        if at.is_multiple_of(2) {
            let id = text(&actor.upload("application/pdf", &bytes).await.ok(201), "/id");
            attachment = named("application/pdf", &format!("Binary/{id}"));
            file = Some(id);
        }
        attachment["title"] = json!(format!("{mark}.pdf"));
        let mut body = document(&self.patients[patient].id, &[attachment]);
        for recipient in &recipients {
            body = to_recipient(body, self.parties[*recipient].actor.id.as_str());
        }
        if let Some(custodian) = custodian {
            body["custodian"] = json!({ "reference": custodian });
        }
        let (kind, superseded) = (TYPES[at % 3], at % 5 == 4);
        body["type"]["coding"][0]["code"] = json!(kind);
        body["status"] = json!(if superseded { "superseded" } else { "current" });
        body["description"] = json!(mark);
        body["identifier"] = json!([{ "system": SYSTEM, "value": format!("doc-{at}") }]);
        let id = text(&actor.post("DocumentReference", &body).await.ok(201), "/id");
        Sent { id, source, recipients, custodian, patient, kind, superseded, file, mark, link: String::new() }
    }

    async fn own(&mut self) {
        for owner in 0..SOURCES {
            let actor = &self.parties[owner].actor;
            let bytes = [pdf(1_000 + u32::try_from(owner).unwrap(), 100), format!("%MARK-f{owner}~\n").into()].concat();
            let id = text(&actor.upload("application/pdf", &bytes).await.ok(201), "/id");
            self.files.push(Own { id, owner });
            let wanted = json!({
                "resourceType": "Subscription", "status": "requested", "reason": format!("MARK-s{owner}~"),
                "criteria": "urn:daylily:fhir/SubscriptionTopic/document-ready",
                "channel": {
                    "type": "rest-hook", "endpoint": "https://127.0.0.1:44321/hooks", "payload": "application/fhir+json",
                    "_payload": { "extension": [{
                        "url": "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-payload-content",
                        "valueCode": "id-only",
                    }] },
                },
            });
            let id = text(&actor.post("Subscription", &wanted).await.ok(201), "/id");
            self.subscriptions.push(Own { id, owner });
        }
    }

    /// No attempt was a deed: everything stands as it stood.
    pub async fn nothing_changed(&self) {
        let all = self.parties.iter().find(|party| party.actor.id.as_str() == "all").unwrap();
        for sent in &self.documents {
            let read = all.actor.get(&format!("DocumentReference/{}", sent.id)).await.ok(200);
            assert!(matches!(state_of(&read).as_str(), "ready" | "delivered"), "{read}");
            assert_eq!(read["description"], sent.mark);
        }
        for person in &self.patients {
            let read = all.actor.get(&format!("Patient/{}", person.id)).await.ok(200);
            assert_eq!(read["name"][0]["family"], person.mark);
        }
        self.daylily.verify().await;
    }
}
