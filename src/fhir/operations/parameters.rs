//! Reads a `Parameters` resource against the list of what an operation takes, all mistakes in one pass.

use std::time::Duration;

use crate::domain::clock::parse_span;
use crate::domain::refusal::{Code, Issue, Refusal, first_of, is_plain_name};
use crate::fhir::json::{Object, Value};

use super::Operation;

/// Parameters of one request; no operation takes a tenth of it.
const MAX_GIVEN: usize = 100;

/// Type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Code,
    PositiveInt,
    Boolean,
    Reference,
}

impl Form {
    fn member(self) -> &'static str {
        match self {
            Self::Text => "valueString",
            Self::Code => "valueCode",
            Self::PositiveInt => "valuePositiveInt",
            Self::Boolean => "valueBoolean",
            Self::Reference => "valueReference",
        }
    }
}

/// One parameter that an operation takes, once at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input {
    pub(super) name: &'static str,
    pub(super) form: Form,
    pub(super) example: &'static str,
}

/// A value with the place where it stands.
struct Given {
    input: Input,
    place: Place,
    value: Scalar,
}

#[derive(Clone)]
enum Place {
    Element(String),
    Query,
}

enum Scalar {
    Text(String),
    Number(i64),
    Flag(bool),
}

pub(super) struct Reader {
    operation: Operation,
    given: Vec<Given>,
    issues: Vec<Issue>,
}

impl Reader {
    pub(super) fn of_body(operation: Operation, body: Option<&Object<'_>>) -> Result<Self, Refusal> {
        let mut reader = Self { operation, given: Vec::new(), issues: Vec::new() };
        let Some(body) = body else { return Ok(reader) };
        if body.text("resourceType") != Some("Parameters") {
            let issue = Issue::new(Code::ResourceMismatch).fill("part", "resource type");
            return Err(issue.fill("expected", "a Parameters resource").into());
        }
        if body.items("parameter").len() > MAX_GIVEN {
            return Err(Issue::new(Code::ListTooLong).at("Parameters.parameter").fill("limit", MAX_GIVEN).into());
        }
        for (at, parameter) in body.objects("parameter").enumerate() {
            reader.add(Place::Element(format!("Parameters.parameter[{at}]")), parameter);
        }
        Ok(reader)
    }

    pub(super) fn add_query(&mut self, query: &[(String, String)]) {
        for (name, value) in query.iter().filter(|(name, _)| !["_format", "_pretty"].contains(&name.as_str())) {
            match self.input(name) {
                Some(input) if input.form == Form::Text => self.take(input, Place::Query, Scalar::Text(value.clone())),
                _ => self.unknown(name, &Place::Query),
            }
        }
    }

    fn add(&mut self, place: Place, parameter: &Object<'_>) {
        let name = parameter.text("name").unwrap_or_default();
        let Some(input) = self.input(name) else { return self.unknown(name, &place) };
        let value = parameter.get(input.form.member()).and_then(|value| match (input.form, value) {
            (Form::Text | Form::Code, Value::String(text)) => Some(Scalar::Text(text.to_string())),
            (Form::PositiveInt, Value::Number(number)) => number.as_i64().map(Scalar::Number),
            (Form::Reference, value) => value.as_object().and_then(named).map(Scalar::Text),
            (Form::Boolean, Value::Bool(flag)) => Some(Scalar::Flag(*flag)),
            _ => None,
        });
        match value {
            Some(value) => self.take(input, place, value),
            None => self.malformed(input, &place, &format!("must come as {}", input.form.member())),
        }
    }

    fn input(&self, name: &str) -> Option<Input> {
        self.operation.inputs().iter().find(|input| input.name == name).copied()
    }

    fn take(&mut self, input: Input, place: Place, value: Scalar) {
        if self.given.iter().any(|given| given.input.name == input.name) {
            return self.malformed(input, &place, "is given twice");
        }
        self.given.push(Given { input, place, value });
    }

    fn unknown(&mut self, name: &str, place: &Place) {
        let names: Vec<&str> = self.operation.inputs().iter().map(|input| input.name).collect();
        let shown = if is_plain_name(name) { name } else { "A parameter" };
        let issue = Issue::new(Code::ParameterUnsupported).fill("parameter", shown).fill("names", names.join(", "));
        self.issues.push(put(issue.fill("type", format_args!("${}", self.operation.as_str())), name, place));
    }

    fn malformed(&mut self, input: Input, place: &Place, fault: &str) {
        let issue = Issue::new(Code::ParameterMalformed).fill("parameter", input.name).fill("fault", fault);
        self.issues.push(put(issue.fill("example", input.example), input.name, place));
    }

    fn given(&mut self, name: &str) -> Option<Given> {
        let at = self.given.iter().position(|given| given.input.name == name)?;
        Some(self.given.remove(at))
    }

    /// A text of at most `most` characters that passes `valid`.
    pub(super) fn text(&mut self, name: &str, most: usize, valid: impl Fn(&str) -> bool) -> Option<String> {
        let given = self.given(name)?;
        let Scalar::Text(text) = given.value else { return None };
        if text.trim().is_empty() {
            self.malformed(given.input, &given.place, "is empty");
        } else if text.chars().count() > most {
            self.malformed(given.input, &given.place, &format!("is longer than {most} characters"));
        } else if !valid(&text) {
            self.malformed(given.input, &given.place, "has a value that cannot be understood");
        } else {
            return Some(text);
        }
        None
    }

    /// A span of at least a second.
    pub(super) fn span(&mut self, name: &str) -> Option<Duration> {
        let given = self.given(name)?;
        let Scalar::Text(text) = given.value else { return None };
        let span = parse_span(&text).filter(|span| !span.is_zero());
        if span.is_none() {
            self.malformed(given.input, &given.place, "is not a span of time");
        }
        span
    }

    /// A number from 1 on.
    pub(super) fn count(&mut self, name: &str) -> Option<u32> {
        let given = self.given(name)?;
        let Scalar::Number(number) = given.value else { return None };
        let count = u32::try_from(number).ok().filter(|count| *count > 0);
        if count.is_none() {
            self.malformed(given.input, &given.place, "must be 1 or more");
        }
        count
    }

    /// A flag; absent is `false`.
    pub(super) fn flag(&mut self, name: &str) -> bool {
        self.given(name).is_some_and(|given| matches!(given.value, Scalar::Flag(true)))
    }

    pub(super) fn finish<T>(self, read: T) -> Result<T, Refusal> {
        Refusal::of_all(first_of(self.issues)).map_or(Ok(read), Err)
    }
}

/// What a Reference names: its literal reference, else its identifier as `system|value`.
fn named(reference: &Object<'_>) -> Option<String> {
    let literal = reference.text("reference").map(str::to_owned);
    literal.or_else(|| {
        let identifier = reference.get("identifier")?.as_object()?;
        Some(format!("{}|{}", identifier.text("system").unwrap_or_default(), identifier.text("value")?))
    })
}

fn put(issue: Issue, name: &str, place: &Place) -> Issue {
    match place {
        Place::Element(path) => issue.at(path),
        Place::Query => issue.at_http(name),
    }
}
