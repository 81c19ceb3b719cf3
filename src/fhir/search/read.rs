//! Reads a search parameter by parameter, all mistakes in one pass.

use std::fmt::Display;

use crate::domain::id::ResourceId;
use crate::domain::lifecycle::State;
use crate::domain::query::{Filter, MAX_COUNT, Query, Sort, SortKey};
use crate::domain::refusal::{Code, Issue, Refusal, Severity, first_of};
use crate::domain::resource::Kind;
use crate::fhir::tables::ResourceType;

use super::served::{Name, SERVED, Served};
use super::{Asked, DEFAULT_COUNT, MAX_ALTERNATIVES, MAX_PARAMETERS, PAGE, Search, date, value};

const STATUS_SYSTEM: &str = "http://hl7.org/fhir/document-reference-status";
const STATUS_CODES: [&str; 3] = ["current", "superseded", "entered-in-error"];
/// Parameters that stand once at most.
const SINGLE: [&str; 6] = ["_count", "_sort", "_total", "_format", "_pretty", "_summary"];

pub(super) fn read(pairs: &[(String, String)], asked: &Asked<'_>) -> Result<Search, Refusal> {
    let filled: Vec<&(String, String)> = pairs.iter().filter(|(_, value)| !value.is_empty()).collect();
    if filled.len() > MAX_PARAMETERS {
        let cure = format!("Give at most {MAX_PARAMETERS} parameters.");
        return Err(Issue::new(Code::SearchTooCostly).cure_text(cure).into());
    }
    let query = Query {
        kind: Kind::DocumentReference,
        filters: Vec::new(),
        sort: Sort::default(),
        count: DEFAULT_COUNT,
        after: None,
        as_of: None,
    };
    let mut reader = Reader {
        asked,
        search: Search { query, used: Vec::new(), warnings: Vec::new(), total: true },
        issues: Vec::new(),
    };
    for (at, (name, value)) in filled.iter().enumerate() {
        let again = filled.iter().take(at).any(|(earlier, _)| earlier == name);
        if again && SINGLE.contains(&name.as_str()) {
            reader.issues.push(malformed(name, "is given twice", format_args!("{name}=… once")));
        } else {
            reader.parameter(name, value);
        }
    }
    reader.finish()
}

struct Reader<'a> {
    asked: &'a Asked<'a>,
    search: Search,
    issues: Vec<Issue>,
}

impl Reader<'_> {
    fn parameter(&mut self, name: &str, value: &str) {
        match name {
            "_count" => self.count(value),
            "_sort" => self.sort(value),
            "_total" => self.total(value),
            "_summary" => self.summary(value),
            "_format" | "_pretty" => self.used(name, value),
            PAGE => self.issues.push(malformed(PAGE, "does not go with other parameters", "the page link, unchanged")),
            "_filter" | "_query" => self.issues.push(unsupported(name)),
            "patient.identifier" | "patient:Patient.identifier" | "subject:Patient.identifier" => {
                self.list(name, value, "urn:oid:1.2.3|4711", Filter::PatientIdentifier, value::token);
            }
            _ => self.filter(name, value),
        }
    }

    fn filter(&mut self, name: &str, value: &str) {
        let code = name.split([':', '.']).next().unwrap_or_default();
        let Some(served) = Served::find(code) else { return self.ignored(name) };
        let modifier = name.get(code.len()..).filter(|rest| !rest.is_empty());
        let one_type = modifier
            .and_then(|rest| rest.strip_prefix(':'))
            .and_then(|kind| served.targets().iter().find(|target| **target == kind).map(std::slice::from_ref));
        match (modifier, one_type) {
            (None, _) => self.served(served, name, value, served.targets()),
            (Some(_), Some(kind)) => self.served(served, name, value, kind),
            (Some(_), None) => self.issues.push(unsupported(name)),
        }
    }

    fn served(&mut self, served: &Served, name: &str, value: &str, types: &[&str]) {
        let (base, now, example) = (self.asked.base, self.asked.now, served.example);
        let test = |text: &str| date::test(text, now);
        let flat = |lists: Vec<Vec<_>>| lists.concat();
        let target = |text: &str| value::reference(text, base, types);
        let status = |text: &str| value::codes(text, STATUS_SYSTEM, &STATUS_CODES);
        match served.name {
            Name::Id => self.list(name, value, example, Filter::Id, ResourceId::parse),
            Name::Updated => self.list(name, value, example, Filter::Updated, test),
            Name::Date => self.list(name, value, example, Filter::Date, test),
            Name::Type => self.list(name, value, example, Filter::Type, value::token),
            Name::Category => self.list(name, value, example, Filter::Category, value::token),
            Name::Identifier => self.list(name, value, example, Filter::Identifier, value::token),
            Name::Lifecycle => self.list(name, value, example, Filter::Lifecycle, State::parse),
            Name::Status => self.list(name, value, example, |lists: Vec<_>| Filter::Status(lists.concat()), status),
            Name::Patient => self.list(name, value, example, |lists| Filter::Patient(flat(lists)), target),
            Name::Subject => self.list(name, value, example, |lists| Filter::Subject(flat(lists)), target),
            Name::Encounter => self.list(name, value, example, |lists| Filter::Encounter(flat(lists)), target),
            Name::Custodian => self.list(name, value, example, |lists| Filter::Custodian(flat(lists)), target),
        }
    }

    /// A filter whose value is a list of alternatives, each read by `one`.
    fn list<T>(
        &mut self,
        name: &str,
        value: &str,
        example: &str,
        filter: impl FnOnce(Vec<T>) -> Filter,
        one: impl Fn(&str) -> Option<T>,
    ) {
        let alternatives = value::alternatives(value);
        if alternatives.len() > MAX_ALTERNATIVES {
            let fault = format!("has more than {MAX_ALTERNATIVES} values");
            return self.issues.push(malformed(name, &fault, example));
        }
        match alternatives.iter().map(|text| one(text)).collect::<Option<Vec<T>>>() {
            Some(tests) if tests.is_empty() => {}
            Some(tests) => {
                self.search.query.filters.push(filter(tests));
                self.used(name, value);
            }
            None => self.issues.push(malformed(name, "has a value that cannot be understood", example)),
        }
    }

    fn count(&mut self, value: &str) {
        let digits = value.bytes().all(|byte| byte.is_ascii_digit());
        if !digits {
            return self.issues.push(malformed("_count", "is not a whole number", "_count=20"));
        }
        // Digits alone fail to parse only when they are more than a number holds: that is above the cap too.
        let count = value.parse().unwrap_or(MAX_COUNT).min(MAX_COUNT);
        self.search.query.count = count;
        self.used("_count", &count.to_string());
    }

    fn sort(&mut self, value: &str) {
        let mut keys = value.split(',').filter(|key| !key.is_empty());
        let Some(first) = keys.next() else { return };
        let (name, descending) = first.strip_prefix('-').map_or((first, false), |name| (name, true));
        let key = match name {
            "date" => SortKey::Date,
            "_lastUpdated" => SortKey::Updated,
            _ => return self.ignored("_sort"),
        };
        self.search.query.sort = Sort { key, descending };
        self.used("_sort", first);
        // Rows with equal keys have an order of their own already.
        if keys.next().is_some() {
            self.ignored("_sort");
        }
    }

    fn total(&mut self, value: &str) {
        match value {
            "none" => self.search.total = false,
            "estimate" | "accurate" => self.search.total = true,
            _ => return self.issues.push(malformed("_total", "is none of its codes", "_total=accurate")),
        }
        self.used("_total", value);
    }

    fn summary(&mut self, value: &str) {
        match value {
            "count" => self.search.query.count = 0,
            "false" => {}
            "true" | "text" | "data" => return self.ignored("_summary"),
            _ => return self.issues.push(malformed("_summary", "is none of its codes", "_summary=count")),
        }
        self.used("_summary", value);
    }

    fn used(&mut self, name: &str, value: &str) {
        self.search.used.push((name.to_owned(), value.to_owned()));
    }

    fn ignored(&mut self, name: &str) {
        if self.asked.strict {
            self.issues.push(unsupported(name));
        } else {
            self.search.warnings.push(Issue::new(Code::ParameterIgnored).at_http(name).severity(Severity::Warning));
        }
    }

    fn finish(self) -> Result<Search, Refusal> {
        if let Some(refusal) = Refusal::of_all(first_of(self.issues)) {
            return Err(refusal);
        }
        let mut search = self.search;
        if search.query.sort.key == SortKey::Updated {
            search.query.as_of = Some(self.asked.now);
        }
        let counted =
            search.used.iter().any(|(name, value)| name == "_count" || (name == "_summary" && value == "count"));
        if search.used.iter().any(|(name, value)| name == "_summary" && value == "count") {
            search.query.count = 0;
        }
        // Beside as many parameters as there may be it would make the `self` link one that is refused.
        if !counted && search.used.len() < MAX_PARAMETERS {
            search.used.push(("_count".to_owned(), search.query.count.to_string()));
        }
        Ok(search)
    }
}

fn malformed(name: &str, fault: &str, example: impl Display) -> Issue {
    Issue::new(Code::ParameterMalformed).at_http(name).fill("fault", fault).fill("example", example)
}

fn unsupported(name: &str) -> Issue {
    let known = SERVED.iter().map(|served| served.code).collect::<Vec<_>>();
    let base = name.split([':', '.']).next().unwrap_or_default();
    let instead = if known.contains(&base) { format!("`{base}` alone") } else { "a parameter that is".to_owned() };
    let kind = ResourceType::DocumentReference.as_str();
    Issue::new(Code::ParameterUnsupported).at_http(name).fill("type", kind).fill("names", instead)
}
