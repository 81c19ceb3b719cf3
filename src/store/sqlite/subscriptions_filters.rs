//! A Subscription's filters as text: JSON with a version, read back strictly. What is not understood to the last word is an
//! error, never a wider match.

use serde::{Deserialize, Serialize};

use crate::domain::clock::Timestamp;
use crate::domain::id::ResourceId;
use crate::domain::lifecycle::State;
use crate::domain::policy::CodeTest;
use crate::domain::query::{DateTest, Filter, Prefix};
use crate::domain::resource::{Span, Target};

/// Version of the text's layout.
const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    v: u8,
    all: Vec<Line>,
}

/// System and code; `null`: any.
type Code = (Option<String>, Option<String>);
/// Prefix, and the span in milliseconds.
type Date = (String, i64, i64);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    Id(Vec<String>),
    Patient(Vec<String>),
    Subject(Vec<String>),
    PatientIdentifier(Vec<Code>),
    Encounter(Vec<String>),
    Custodian(Vec<String>),
    Status(Vec<String>),
    Type(Vec<Code>),
    Category(Vec<Code>),
    Identifier(Vec<Code>),
    Date(Vec<Date>),
    Updated(Vec<Date>),
    Lifecycle(Vec<String>),
}

/// The text of filters; `None` when it cannot be written, which no filter of `domain::query` makes so.
pub(super) fn encode(filters: &[Filter]) -> Option<String> {
    serde_json::to_string(&Text { v: VERSION, all: filters.iter().map(line).collect() }).ok()
}

/// The filters of a text; `None` when anything in it is not understood.
pub(super) fn decode(text: &str) -> Option<Vec<Filter>> {
    let text: Text = serde_json::from_str(text).ok()?;
    (text.v == VERSION).then_some(text.all)?.into_iter().map(filter).collect()
}

fn line(filter: &Filter) -> Line {
    match filter {
        Filter::Id(ids) => Line::Id(ids.iter().map(ToString::to_string).collect()),
        Filter::Patient(targets) => Line::Patient(texts(targets)),
        Filter::Subject(targets) => Line::Subject(texts(targets)),
        Filter::PatientIdentifier(tests) => Line::PatientIdentifier(codes(tests)),
        Filter::Encounter(targets) => Line::Encounter(texts(targets)),
        Filter::Custodian(targets) => Line::Custodian(texts(targets)),
        Filter::Status(values) => Line::Status(values.clone()),
        Filter::Type(tests) => Line::Type(codes(tests)),
        Filter::Category(tests) => Line::Category(codes(tests)),
        Filter::Identifier(tests) => Line::Identifier(codes(tests)),
        Filter::Date(tests) => Line::Date(dates(tests)),
        Filter::Updated(tests) => Line::Updated(dates(tests)),
        Filter::Lifecycle(states) => Line::Lifecycle(states.iter().map(|state| state.as_str().to_owned()).collect()),
    }
}

fn filter(line: Line) -> Option<Filter> {
    Some(match line {
        Line::Id(ids) => Filter::Id(ids.iter().map(|id| ResourceId::parse(id)).collect::<Option<_>>()?),
        Line::Patient(values) => Filter::Patient(targets(values)),
        Line::Subject(values) => Filter::Subject(targets(values)),
        Line::PatientIdentifier(values) => Filter::PatientIdentifier(tests(values)),
        Line::Encounter(values) => Filter::Encounter(targets(values)),
        Line::Custodian(values) => Filter::Custodian(targets(values)),
        Line::Status(values) => Filter::Status(values),
        Line::Type(values) => Filter::Type(tests(values)),
        Line::Category(values) => Filter::Category(tests(values)),
        Line::Identifier(values) => Filter::Identifier(tests(values)),
        Line::Date(values) => Filter::Date(date_tests(values)?),
        Line::Updated(values) => Filter::Updated(date_tests(values)?),
        Line::Lifecycle(values) => {
            Filter::Lifecycle(values.iter().map(|state| State::parse(state)).collect::<Option<_>>()?)
        }
    })
}

fn texts(targets: &[Target]) -> Vec<String> {
    targets.iter().map(|target| target.0.clone()).collect()
}

fn targets(texts: Vec<String>) -> Vec<Target> {
    texts.into_iter().map(Target).collect()
}

fn codes(tests: &[CodeTest]) -> Vec<Code> {
    tests.iter().map(|test| (test.system.clone(), test.code.clone())).collect()
}

fn tests(codes: Vec<Code>) -> Vec<CodeTest> {
    codes.into_iter().map(|(system, code)| CodeTest { system, code }).collect()
}

/// Every prefix with its name in FHIR.
const PREFIXES: [(Prefix, &str); 9] = [
    (Prefix::Eq, "eq"),
    (Prefix::Ne, "ne"),
    (Prefix::Gt, "gt"),
    (Prefix::Lt, "lt"),
    (Prefix::Ge, "ge"),
    (Prefix::Le, "le"),
    (Prefix::Sa, "sa"),
    (Prefix::Eb, "eb"),
    (Prefix::Ap, "ap"),
];

fn dates(tests: &[DateTest]) -> Vec<Date> {
    let name = |prefix| PREFIXES.iter().find(|(known, _)| *known == prefix).map_or("", |(_, name)| name);
    tests.iter().map(|test| (name(test.prefix).to_owned(), test.span.from.millis(), test.span.until.millis())).collect()
}

fn date_tests(dates: Vec<Date>) -> Option<Vec<DateTest>> {
    let test = |(name, from, until): Date| {
        let (prefix, _) = PREFIXES.iter().find(|(_, known)| *known == name)?;
        let span = Span { from: Timestamp::from_millis(from), until: Timestamp::from_millis(until) };
        Some(DateTest { prefix: *prefix, span })
    };
    dates.into_iter().map(test).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_text() -> impl Strategy<Value = String> {
        "\\PC{0,12}"
    }

    fn any_filter() -> impl Strategy<Value = Filter> {
        let texts = || proptest::collection::vec(any_text(), 0..3);
        let targets = || texts().prop_map(super::targets);
        let code = || (proptest::option::of(any_text()), proptest::option::of(any_text()));
        let tests = || proptest::collection::vec(code(), 0..3).prop_map(super::tests);
        let date = || {
            let prefix = proptest::sample::select(PREFIXES.map(|(prefix, _)| prefix).to_vec());
            (prefix, any::<i64>(), any::<i64>()).prop_map(|(prefix, from, until)| DateTest {
                prefix,
                span: Span { from: Timestamp::from_millis(from), until: Timestamp::from_millis(until) },
            })
        };
        let dates = move || proptest::collection::vec(date(), 0..3);
        let ids = proptest::collection::vec("[A-Za-z0-9.-]{1,64}", 0..3);
        prop_oneof![
            ids.prop_map(|ids| Filter::Id(ids.iter().filter_map(|id| ResourceId::parse(id)).collect())),
            targets().prop_map(Filter::Patient),
            targets().prop_map(Filter::Subject),
            tests().prop_map(Filter::PatientIdentifier),
            targets().prop_map(Filter::Encounter),
            targets().prop_map(Filter::Custodian),
            texts().prop_map(Filter::Status),
            tests().prop_map(Filter::Type),
            tests().prop_map(Filter::Category),
            tests().prop_map(Filter::Identifier),
            dates().prop_map(Filter::Date),
            dates().prop_map(Filter::Updated),
            proptest::sample::subsequence(vec![State::Ready, State::Created, State::Revoked], 0..3)
                .prop_map(Filter::Lifecycle),
        ]
    }

    proptest! {
        #[test]
        fn filters_read_back_as_they_were(filters in proptest::collection::vec(any_filter(), 0..6)) {
            prop_assert_eq!(decode(&encode(&filters).unwrap()), Some(filters));
        }

        #[test]
        fn a_text_that_was_cut_is_no_filter(filters in proptest::collection::vec(any_filter(), 1..4), cut in 1usize..40) {
            let mut text = encode(&filters).unwrap();
            (0..cut.min(text.chars().count())).for_each(|_| { text.pop(); });
            prop_assert_eq!(decode(&text), None);
        }
    }

    #[test]
    fn what_is_not_understood_is_no_filter() {
        assert_eq!(decode(r#"{"v":1,"all":[]}"#), Some(vec![]));
        for text in [
            "",
            "{}",
            "[]",
            r#"{"v":2,"all":[]}"#,
            r#"{"v":1,"all":[],"any":[]}"#,
            r#"{"v":1,"all":[{"author":["x"]}]}"#,
            r#"{"v":1,"all":[{"patient":["x"],"status":["y"]}]}"#,
            r#"{"v":1,"all":[{"lifecycle":["redy"]}]}"#,
            r#"{"v":1,"all":[{"date":[["co",1,2]]}]}"#,
            r#"{"v":1,"all":[{"id":["not an id"]}]}"#,
            r#"{"v":1,"all":[{"type":[["a","b","c"]]}]}"#,
            r#"{"v":1,"all":[]} "x""#,
        ] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
