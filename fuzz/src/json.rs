//! The JSON reader beside another one (`serde_json`, asked level by level for the text as it stands): what ours takes, the other takes
//! with the same meaning, digit for digit; what ours refuses, the other refuses too, or a name stands twice, or it is too deep.

use std::borrow::Cow;
use std::fmt;

use daylily::fhir::json::{FaultKind, MAX_DEPTH, Value, parse};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

pub fn run(data: &[u8]) {
    let brackets = data.iter().filter(|byte| matches!(byte, b'[' | b'{')).count();
    match parse(data) {
        Ok(value) => {
            crate::taken();
            let theirs: &RawValue = serde_json::from_slice(data).expect("the other reader refuses it");
            assert!(same(&value, theirs), "two readers read two things");
            let text = value.to_json();
            assert_eq!(parse(text.as_bytes()).expect("what was written does not read"), value);
            assert_eq!(value.clone().into_owned().to_json(), text);
        }
        Err(fault) => {
            assert!(fault.line >= 1 && fault.column >= 1);
            match fault.kind {
                FaultKind::TooDeep => assert!(brackets > MAX_DEPTH),
                FaultKind::Repeated { .. } => {
                    let theirs: &RawValue = serde_json::from_slice(data).expect("repeated, but not well formed");
                    assert!(repeats(theirs), "no name stands twice");
                }
                // Beyond the depth the other one would be asked for more than its stack holds.
                FaultKind::Syntax(_) if brackets <= MAX_DEPTH => {
                    let theirs: Option<&RawValue> = serde_json::from_slice(data).ok();
                    assert!(!theirs.is_some_and(readable), "ours refuses what is JSON");
                }
                FaultKind::Syntax(_) => {}
            }
        }
    }
}

/// One object as the other reader sees it: its members in order, none dropped.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut all = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    all.push((Cow::Owned(name), map.next_value()?));
                }
                Ok(Members(all))
            }
        }
        deserializer.deserialize_map(All)
    }
}

fn members(raw: &RawValue) -> Option<Vec<(Cow<'_, str>, &RawValue)>> {
    serde_json::from_str::<Members<'_>>(raw.get()).ok().map(|members| members.0)
}

fn items(raw: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(raw.get()).ok()
}

fn same(ours: &Value<'_>, theirs: &RawValue) -> bool {
    match ours {
        Value::Null => theirs.get() == "null",
        Value::Bool(value) => theirs.get() == value.to_string(),
        Value::Number(number) => theirs.get() == number.text(),
        Value::String(text) => serde_json::from_str::<String>(theirs.get()).is_ok_and(|other| other == **text),
        Value::Array(list) => items(theirs)
            .is_some_and(|other| other.len() == list.len() && list.iter().zip(other).all(|(a, b)| same(a, b))),
        Value::Object(object) => members(theirs).is_some_and(|other| {
            let alike = |((name, value), (other_name, other)): ((&str, &Value<'_>), (Cow<'_, str>, &RawValue))| {
                name == other_name && same(value, other)
            };
            other.len() == object.iter().len() && object.iter().zip(other).all(alike)
        }),
    }
}

fn repeats(raw: &RawValue) -> bool {
    match raw.get().as_bytes().first() {
        Some(b'{') => members(raw).is_some_and(|all| {
            let mut names: Vec<&str> = all.iter().map(|(name, _)| name.as_ref()).collect();
            names.sort_unstable();
            names.windows(2).any(|pair| pair[0] == pair[1]) || all.iter().any(|(_, value)| repeats(value))
        }),
        Some(b'[') => items(raw).is_some_and(|all| all.into_iter().any(repeats)),
        _ => false,
    }
}

/// Whether every string in it can be read: the other reader skips over half surrogates until it is asked for the text.
fn readable(raw: &RawValue) -> bool {
    match raw.get().as_bytes().first() {
        Some(b'{') => members(raw).is_some_and(|all| all.into_iter().all(|(_, value)| readable(value))),
        Some(b'[') => items(raw).is_some_and(|all| all.into_iter().all(readable)),
        Some(b'"') => serde_json::from_str::<String>(raw.get()).is_ok(),
        _ => true,
    }
}
