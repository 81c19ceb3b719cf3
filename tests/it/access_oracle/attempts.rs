//! One attempt: drawn, made, and held to the oracle.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;

use serde_json::Value;

use super::wire::{Told, Wire};
use super::world::{SYSTEM, World};
use crate::support::matches;

/// xorshift64*, so that a seed is the same attempts on every machine.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(high).unwrap() % most
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }
}

/// What is asked of one thing by its id: method, path, SMART type and letter that it takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Act(&'static str, &'static str, Of, char);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Of {
    Document,
    File,
    Claimed,
    Patient,
    Subscription,
    /// A document to be made that names a file.
    Naming,
}

const ACTS: [Act; 20] = [
    Act("GET", "DocumentReference/{id}", Of::Document, 'r'),
    Act("HEAD", "DocumentReference/{id}", Of::Document, 'r'),
    Act("GET", "DocumentReference/{id}/$lifecycle", Of::Document, 'r'),
    Act("POST", "DocumentReference/{id}/$lifecycle", Of::Document, 'r'),
    Act("POST", "DocumentReference/{id}/$issue-link", Of::Document, 'r'),
    Act("POST", "DocumentReference/{id}/$revoke", Of::Document, 'u'),
    Act("GET", "Binary/{id}", Of::File, 'r'),
    Act("HEAD", "Binary/{id}", Of::File, 'r'),
    Act("GET", "Binary/{id}/_history/1", Of::File, 'r'),
    Act("GET", "Binary/{id}", Of::Claimed, 'r'),
    Act("HEAD", "Binary/{id}", Of::Claimed, 'r'),
    Act("GET", "Binary/{id}?_format=json", Of::Claimed, 'r'),
    Act("GET", "Patient/{id}", Of::Patient, 'r'),
    Act("HEAD", "Patient/{id}", Of::Patient, 'r'),
    Act("PUT", "Patient/{id}", Of::Patient, 'u'),
    Act("GET", "Subscription/{id}", Of::Subscription, 'r'),
    Act("DELETE", "Subscription/{id}", Of::Subscription, 'd'),
    Act("PUT", "Subscription/{id}", Of::Subscription, 'u'),
    Act("POST", "Subscription/{id}/$webhook-secret", Of::Subscription, 'u'),
    Act("POST", "DocumentReference", Of::Naming, 'c'),
];

pub enum Attempt {
    /// Somebody, an act, the place of its target or none that exists.
    One {
        who: usize,
        act: Act,
        target: Option<usize>,
    },
    Search {
        who: usize,
    },
    /// Without a good token.
    Nobody {
        act: Act,
        target: usize,
        token: bool,
    },
    /// A link with another letter in it.
    Altered {
        target: usize,
        at: usize,
    },
    /// A link as it is, by whoever holds it.
    Held {
        target: usize,
    },
}

impl Attempt {
    pub fn draw(random: &mut Random, world: &World) -> Self {
        let who = random.below(world.parties.len());
        match random.below(20) {
            0..=5 => Self::Search { who },
            6 => Self::Nobody { act: random.one_of(&ACTS), target: random.below(5), token: random.chance(2) },
            7 => Self::Altered { target: random.below(world.documents.len()), at: random.below(60) },
            8 => Self::Held { target: random.below(world.documents.len()) },
            _ => {
                let act = random.one_of(&ACTS);
                let target = (!random.chance(3)).then(|| random.below(act.targets(world)));
                Self::One { who, act, target }
            }
        }
    }
}

impl Act {
    fn targets(self, world: &World) -> usize {
        match self.2 {
            Of::Document | Of::Claimed | Of::Naming => world.documents.len(),
            Of::File => world.files.len(),
            Of::Patient => world.patients.len(),
            Of::Subscription => world.subscriptions.len(),
        }
    }

    /// The target's id; of one that is not there, the same kind of text.
    fn id(self, world: &World, target: Option<usize>, random: &mut Random) -> String {
        let at = target.unwrap_or(0);
        let id = match self.2 {
            Of::Document => &world.documents[at].id,
            Of::Claimed | Of::Naming => world.documents[at].file.as_ref().unwrap_or(&world.documents[0].id),
            Of::File => &world.files[at].id,
            Of::Patient => &world.patients[at].id,
            Of::Subscription => &world.subscriptions[at].id,
        };
        if target.is_some() {
            return id.clone();
        }
        let letter = |_| char::from(random.one_of(b"0123456789abcdef"));
        let fresh: String = (0..id.len()).map(letter).collect();
        if self.2 == Of::Patient { format!("nobody-{}", &fresh[..1]) } else { fresh }
    }

    /// Whether the target is there for somebody.
    fn visible(self, world: &World, who: usize, target: Option<usize>) -> bool {
        let Some(at) = target else { return false };
        match self.2 {
            Of::Document => world.sees(who, &world.documents[at]),
            // An id of a file that came inside its document is not known to anybody; `id` gives another kind's.
            Of::Claimed | Of::Naming => world.documents[at].file.is_some() && world.sees(who, &world.documents[at]),
            Of::File => world.files[at].owner == who,
            Of::Patient => world.sees_patient(who, at),
            Of::Subscription => world.subscriptions[at].owner == who,
        }
    }

    fn allowed(self, world: &World, who: usize) -> bool {
        let party = &world.parties[who];
        match self.2 {
            Of::Document => party.may("DocumentReference", self.3),
            Of::Naming => party.may("DocumentReference", 'c'),
            // Contract: who may read the document may read its file.
            Of::File | Of::Claimed => party.may("Binary", 'r') || party.may("DocumentReference", 'r'),
            Of::Patient => party.may("Patient", self.3),
            Of::Subscription => party.may("Subscription", self.3),
        }
    }

    /// Whether it would change something when it is allowed, or make something.
    fn is_deed(self) -> bool {
        let harmless = matches!(self.0, "GET" | "HEAD") || self.1.ends_with("$lifecycle");
        !harmless
    }

    fn body(self, id: &str) -> Option<(&'static str, String)> {
        let text = match (self.0, self.2) {
            ("PUT", Of::Patient) => format!(r#"{{"resourceType":"Patient","id":"{id}"}}"#),
            ("PUT", _) => format!(r#"{{"resourceType":"Subscription","id":"{id}"}}"#),
            ("POST", Of::Naming) => format!(
                r#"{{"resourceType":"DocumentReference","status":"current","type":{{"coding":[{{"system":"http://loinc.org","code":"18842-5"}}]}},"subject":{{"reference":"Patient/person-1"}},"content":[{{"attachment":{{"contentType":"application/pdf","url":"Binary/{id}"}}}}]}}"#
            ),
            ("POST", _) => r#"{"resourceType":"Parameters"}"#.to_owned(),
            _ => return None,
        };
        Some(("application/fhir+json", text))
    }
}

/// Who may have the refused answer: everyone alike, or each of the parties.
type Refused = (Option<usize>, &'static str, &'static str, u16);

/// Remembers what was answered, to hold later answers to it.
#[derive(Default)]
pub struct Judge {
    /// The one answer of each refusal; the first that came stands for all.
    refused: Mutex<HashMap<Refused, Told>>,
    counts: Mutex<BTreeMap<(String, u16), u64>>,
}

impl Judge {
    /// Makes an attempt; answers how many requests that were.
    pub async fn attempt(&self, world: &World, wire: &mut Wire, random: &mut Random, attempt: &Attempt) -> u64 {
        match attempt {
            Attempt::One { who, act, target } => self.one(world, wire, random, (*who, *act, *target)).await,
            Attempt::Search { who } => self.search(world, wire, random, *who).await,
            Attempt::Nobody { act, target, token } => {
                let id = act.id(world, Some(*target), random);
                let token = token.then_some("eyJhbGciOiJFUzI1NiJ9.e30.AAAA");
                let body = act.body(&id);
                let path = format!("/fhir/{}", act.1.replace("{id}", &id));
                let told =
                    wire.ask(act.0, &path, token, body.as_ref().map(|(kind, body)| (*kind, body.as_str()))).await;
                assert_eq!(told.status, 401, "{act:?}");
                // A body that nobody reads ends the connection, which the answer says.
                let form = if body.is_some() { "body" } else { act.0 };
                self.alike((None, if token.is_some() { "bad token" } else { "no token" }, form, 401), told, &id);
                1
            }
            Attempt::Altered { target, at } => {
                let link = &world.documents[*target].link;
                let from = link.find("/d/").unwrap() + 3;
                let at = from + at % (link.len() - from - 2);
                let other = if link.as_bytes()[at] == b'A' { "B" } else { "A" };
                let path = format!("{}{other}{}", &link[world.daylily.base().len()..at], &link[at + 1..]);
                let told = wire.ask("GET", &path, None, None).await;
                assert_eq!(told.status, 403, "{}", told.text());
                self.alike((None, "altered link", "", 403), told, "no id");
                1
            }
            Attempt::Held { target } => {
                let path = &world.documents[*target].link[world.daylily.base().len()..];
                let told = wire.ask("HEAD", path, None, None).await;
                assert_eq!(told.status, 200, "{:?}", told.headers);
                self.count("held link", 200);
                1
            }
        }
    }

    async fn one(
        &self,
        world: &World,
        wire: &mut Wire,
        random: &mut Random,
        (who, act, target): (usize, Act, Option<usize>),
    ) -> u64 {
        let (allowed, mut visible) = (act.allowed(world, who), act.visible(world, who, target));
        let is_source = act.2 == Of::Document && target.is_some_and(|at| world.documents[at].source == who);
        let revokes_anothers = act.1.ends_with("$revoke") && visible && !is_source;
        if allowed && act.is_deed() && visible && !revokes_anothers {
            return 0;
        }
        // What is not there a PUT would make.
        if allowed && act.0 == "PUT" && act.2 == Of::Patient && target.is_none() {
            return 0;
        }
        let id = act.id(world, target, random);
        // A file that came inside its document: the id is a document's, and no file's.
        visible &= !(matches!(act.2, Of::Claimed) && target.is_some_and(|at| world.documents[at].file.is_none()));
        let token = world.parties[who].actor.token().await;
        let (body, path) = (act.body(&id), format!("/fhir/{}", act.1.replace("{id}", &id)));
        let told = wire.ask(act.0, &path, Some(&token), body.as_ref().map(|(kind, body)| (*kind, body.as_str()))).await;
        let what = format!("{} {act:?} of {target:?} {}", world.parties[who].actor.id.as_str(), told.text());
        let expected = match (allowed, visible) {
            (false, _) => Some(403),
            (true, true) if revokes_anothers => Some(403),
            (true, true) => Some(200),
            // What says that a thing cannot be named or replaced is one answer for all that is not one's own.
            (true, false) if act.2 == Of::Naming || (act.0, act.2) == ("PUT", Of::Subscription) => None,
            (true, false) => Some(404),
        };
        assert!(expected.is_none_or(|expected| expected == told.status), "{what}: not {expected:?}");
        assert!(expected.is_some() || matches!(told.status, 404 | 405 | 409 | 422), "{what}");
        self.marks(world, who, &told, &what);
        if told.status == 200 {
            self.count(act.1, 200);
        } else {
            // A revoke that is refused by its role says no more than one that is refused by its scope; each is its own.
            let form = if revokes_anothers && allowed { "not the source" } else { act.0 };
            let label = if act.2 == Of::Claimed && !act.1.contains('?') { "Binary/{id}" } else { act.1 };
            self.alike((Some(who), label, form, told.status), told, &id);
        }
        1
    }

    async fn search(&self, world: &World, wire: &mut Wire, random: &mut Random, who: usize) -> u64 {
        let question = Question::draw(random, world, who);
        let token = world.parties[who].actor.token().await;
        let what = format!("{} {}", world.parties[who].actor.id.as_str(), question.text);
        let mut told = if random.chance(4) {
            let body = ("application/x-www-form-urlencoded", question.text.as_str());
            wire.ask("POST", "/fhir/DocumentReference/_search", Some(&token), Some(body)).await
        } else {
            wire.ask("GET", &format!("/fhir/DocumentReference?{}", question.text), Some(&token), None).await
        };
        if !world.parties[who].may("DocumentReference", 's') {
            assert_eq!(told.status, 403, "{what}");
            self.alike((Some(who), "search", "", 403), told, "no id");
            return 1;
        }
        let (mut found, mut asked) = (Vec::new(), 1);
        loop {
            assert_eq!(told.status, 200, "{what}: {}", told.text());
            self.marks(world, who, &told, &what);
            self.count("search", 200);
            let bundle: Value = serde_json::from_slice(&told.body).unwrap();
            assert_eq!(bundle["total"], question.expected.len(), "{what}");
            found.extend(matches(&bundle));
            let links = bundle["link"].as_array().unwrap();
            let Some(next) = links.iter().find(|link| link["relation"] == "next") else { break };
            let next = next["url"].as_str().unwrap()[world.daylily.base().len()..].to_owned();
            if random.chance(3) {
                asked += self.another_reader(world, wire, random, (who, &next)).await;
            }
            told = wire.ask("GET", &next, Some(&token), None).await;
            asked += 1;
        }
        if question.count > 0 {
            let length = found.len();
            let found: BTreeSet<String> = found.into_iter().collect();
            assert_eq!((found.len(), &found), (length, &question.expected), "{what}: each once, and these");
        } else {
            assert!(found.is_empty(), "{what}");
        }
        asked
    }

    /// A page link in another's hands, or altered, is the same as none.
    async fn another_reader(&self, world: &World, wire: &mut Wire, random: &mut Random, page: (usize, &str)) -> u64 {
        let (owner, next) = page;
        let who = random.below(world.parties.len());
        let mut next = next.to_owned();
        if who == owner {
            let at = next.len() - 10;
            let other = if next.as_bytes()[at] == b'A' { "B" } else { "A" };
            next.replace_range(at..=at, other);
        }
        let token = world.parties[who].actor.token().await;
        let told = wire.ask("GET", &next, Some(&token), None).await;
        let expected = if world.parties[who].may("DocumentReference", 's') { 410 } else { 403 };
        assert_eq!(told.status, expected, "{who} with a page of {owner}: {}", told.text());
        self.marks(world, who, &told, "another's page");
        let label = if expected == 410 { "another's page" } else { "search" };
        self.alike((Some(who), label, "", expected), told, "no id");
        1
    }

    /// Every mark in an answer is one that its reader may see.
    fn marks(&self, world: &World, who: usize, told: &Told, what: &str) {
        let text = told.text();
        for (at, _) in text.match_indices("MARK-") {
            let mark = text[at + 5..].split('~').next().unwrap();
            assert!(world.may_read_mark(who, mark), "{what}: {mark} is not theirs");
        }
    }

    /// Holds a refusal to the first of its kind, ids left out of both.
    fn alike(&self, kind: Refused, mut told: Told, id: &str) {
        self.count(kind.1, kind.3);
        let text = told.text().replace(id, "{id}");
        told.body = text.into_bytes();
        for header in &mut told.headers {
            *header = header.replace(id, "{id}");
        }
        let mut refused = self.refused.lock().unwrap();
        let first = refused.entry(kind).or_insert_with(|| told.clone());
        assert_eq!((&first.headers, first.text()), (&told.headers, told.text()), "{kind:?}");
    }

    fn count(&self, label: &str, status: u16) {
        *self.counts.lock().unwrap().entry((label.to_owned(), status)).or_default() += 1;
    }

    /// How many had what answer.
    pub fn told(&self) -> String {
        let mut by_status = BTreeMap::<u16, u64>::new();
        for ((_, status), count) in &*self.counts.lock().unwrap() {
            *by_status.entry(*status).or_default() += count;
        }
        by_status.iter().map(|(status, count)| format!("{count} x {status}")).collect::<Vec<_>>().join(", ")
    }

    /// A run that never came by something shows nothing of it.
    pub fn covers_everything(&self) {
        let counts = self.counts.lock().unwrap();
        for (label, status) in [
            ("DocumentReference/{id}", 200),
            ("DocumentReference/{id}", 404),
            ("DocumentReference/{id}/$issue-link", 404),
            ("DocumentReference/{id}/$revoke", 403),
            ("DocumentReference/{id}/$revoke", 404),
            ("Binary/{id}", 200),
            ("Binary/{id}", 404),
            ("Patient/{id}", 200),
            ("Patient/{id}", 404),
            ("Subscription/{id}", 200),
            ("Subscription/{id}", 404),
            ("search", 200),
            ("search", 403),
            ("another's page", 410),
            ("altered link", 403),
            ("held link", 200),
            ("no token", 401),
        ] {
            assert!(counts.contains_key(&(label.to_owned(), status)), "{label} {status} never came by");
        }
    }
}

/// A search and what it must find.
struct Question {
    text: String,
    count: usize,
    expected: BTreeSet<String>,
}

impl Question {
    fn draw(random: &mut Random, world: &World, who: usize) -> Self {
        let mut pairs: Vec<(String, String)> = Vec::new();
        let mut left: Vec<usize> =
            (0..world.documents.len()).filter(|at| world.sees(who, &world.documents[*at])).collect();
        for _ in 0..random.below(4) {
            let (name, value, matching) = filter(random, world, who);
            left.retain(|at| matching.contains(at));
            pairs.push((name.to_owned(), value));
        }
        let count = random.one_of(&[0, 1, 2, 5, 20, 1_000]);
        pairs.push(("_count".to_owned(), count.to_string()));
        if random.chance(3) {
            pairs.push(("_sort".to_owned(), random.one_of(&["date", "-date", "_lastUpdated", "-_lastUpdated"]).into()));
        }
        let text = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
        let expected = left.into_iter().map(|at| world.documents[at].id.clone()).collect();
        Self { text, count, expected }
    }
}

/// One filter: name, value, and the places of the documents that it matches, whosever they are.
fn filter(random: &mut Random, world: &World, who: usize) -> (&'static str, String, BTreeSet<usize>) {
    let documents = &world.documents;
    let all = || 0..documents.len();
    let (at, other) = (random.below(documents.len()), random.below(documents.len()));
    let (person, another) = (random.below(world.patients.len()), random.below(world.patients.len()));
    let of = |persons: &[usize]| all().filter(|at| persons.contains(&documents[*at].patient)).collect();
    let person_id = |at: usize| world.patients[at].id.as_str();
    match random.below(13) {
        0 => ("patient", person_id(person).to_owned(), of(&[person])),
        1 => ("patient", format!("Patient/{},{}", person_id(person), person_id(another)), of(&[person, another])),
        2 => ("subject", format!("{}/fhir/Patient/{}", world.daylily.base(), person_id(person)), of(&[person])),
        3 => ("patient", format!("https://other.example/fhir/Patient/{}", person_id(person)), BTreeSet::new()),
        4 => ("identifier", format!("{SYSTEM}|doc-{at}"), [at].into()),
        5 => ("identifier", format!("doc-{at},{SYSTEM}|doc-{other}"), [at, other].into()),
        6 => ("_id", format!("{},none,{}", documents[at].id, documents[other].id), [at, other].into()),
        7 => {
            let kind = documents[at].kind;
            ("type", format!("http://loinc.org|{kind}"), all().filter(|at| documents[*at].kind == kind).collect())
        }
        8 => {
            let superseded = random.chance(2);
            let value = if superseded { "superseded" } else { "current" };
            ("status", value.to_owned(), all().filter(|at| documents[*at].superseded == superseded).collect())
        }
        9 => {
            let custodian = random.one_of(&["Organization/7", "Organization/8"]);
            let kept = all().filter(|at| documents[*at].custodian == Some(custodian)).collect();
            ("custodian", custodian.to_owned(), kept)
        }
        // What is only matched on must be the searcher's too (A067).
        10 => {
            let matching = if world.sees_patient(who, person) { of(&[person]) } else { BTreeSet::new() };
            ("patient.identifier", format!("{SYSTEM}|number-{person}"), matching)
        }
        11 => ("lifecycle", "ready,delivered".to_owned(), all().collect()),
        _ if random.chance(2) => ("date", "lt2001".to_owned(), BTreeSet::new()),
        _ => ("_lastUpdated", "ge2020".to_owned(), all().collect()),
    }
}
