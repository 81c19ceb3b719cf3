//! The reader against RFC 8259 and the rules that FHIR adds; the writer against the reader.

use super::*;
use proptest::prelude::*;
use std::borrow::Cow;

fn syntax(text: &str) -> (usize, usize) {
    match parse(text.as_bytes()) {
        Err(Fault { kind: FaultKind::Syntax(_), line, column }) => (line, column),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn numbers_keep_their_text() {
    let digits = "0.1234567890123456789012345678901234567890";
    for text in ["1.50", "-0", "-0.0", "1e400", "1E+05", "10.0", digits] {
        assert_eq!(parse(text.as_bytes()).unwrap().number_text(), Some(text));
        assert_eq!(parse(text.as_bytes()).unwrap().to_json(), text);
    }
}

#[test]
fn what_rfc_8259_does_not_allow_is_refused() {
    let bad = "|  |01|+1|0x1F|NaN|Infinity|.5|1.|1e|-|'a'|[1,]|{\"a\":1,}|{a:1}|[1 2]|\"\\x41\"|\"\\ud800\"|\"\\udc00\"|\
               \"\\ud800\\u0041\"|\"a\nb\"|\"a|[|{\"a\"|1 1|{} x|/* */1|tru|nul|True|\u{feff}1";
    for text in bad.split('|') {
        assert!(parse(text.as_bytes()).is_err(), "{text:?}");
    }
    for bytes in [b"\"\xff\"".as_slice(), b"\"\xc0\xaf\"", b"\"\xed\xa0\x80\"", b"\xff\xfe1\0"] {
        assert!(parse(bytes).is_err());
    }
}

#[test]
fn a_fault_names_line_and_column_in_characters() {
    assert_eq!(syntax("{\n  \"ä\": \"ä\" x"), (2, 12));
    assert_eq!(syntax("[1,\n2,\n]"), (3, 1));
}

#[test]
fn escapes_equal_their_characters() {
    let value = parse(br#""\u0041\n\/\\\"\ud83d\ude00\u00e9""#).unwrap();
    assert_eq!(value.as_str(), Some("A\n/\\\"\u{1F600}é"));
}

#[test]
fn a_repeated_name_is_told_with_its_path_however_it_is_escaped() {
    let text = r#"{"a": [{}, {"x": 1, "\u0078": 2}], "resourceType": "Basic"}"#;
    let fault = parse(text.as_bytes()).unwrap_err();
    let expected = FaultKind::Repeated { name: "x".into(), path: "a[1].x".into(), root: Some("Basic".into()) };
    assert_eq!((fault.kind, fault.line), (expected, 1));
}

#[test]
fn a_repeated_name_is_found_among_many() {
    let members: Vec<_> = (0..100).map(|n| format!("\"n{}\":{n}", if n == 99 { 40 } else { n })).collect();
    let fault = parse(format!("{{{}}}", members.join(",")).as_bytes()).unwrap_err();
    assert!(matches!(fault.kind, FaultKind::Repeated { name, .. } if name == "n40"));
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
    assert_eq!(parse(nested(MAX_DEPTH + 1).as_bytes()).unwrap_err().kind, FaultKind::TooDeep);
    assert_eq!(parse("[".repeat(1_000_000).as_bytes()).unwrap_err().kind, FaultKind::TooDeep);
}

#[test]
fn members_can_be_taken_put_and_moved() {
    let mut value = parse(br#"{"b":1.0,"a":"x","c":[]}"#).unwrap();
    let object = value.as_object_mut().unwrap();
    object.insert_front("a", "y".into());
    object.insert("d", 7u64.into());
    object.remove("c");
    assert_eq!(object.to_json(), r#"{"a":"y","b":1.0,"d":7}"#);
}

#[test]
fn the_object_writer_gives_byte_ranges() {
    let mut out = String::new();
    let mut writer = ObjectWriter::new(&mut out);
    writer.text("id", "1\u{1}");
    writer.name("n").push_str("1.50");
    writer.end();
    assert_eq!(out, "{\"id\":\"1\\u0001\",\"n\":1.50}");
}

fn number() -> impl Strategy<Value = String> {
    "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,40})?([eE][+-]?[0-9]{1,4})?"
}

fn value() -> impl Strategy<Value = Value<'static>> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        number().prop_map(|text| parse(text.as_bytes()).unwrap().into_owned()),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::Array),
            prop::collection::vec((any::<String>(), inner), 0..24).prop_map(|members| {
                let members = members.into_iter().map(|(name, value)| (Cow::Owned(name), value));
                Value::Object(members.collect())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back(value in value()) {
        let text = value.to_json();
        prop_assert_eq!(parse(text.as_bytes()).unwrap(), value);
        let other: &serde_json::value::RawValue = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(other.get(), text.as_str());
    }

    #[test]
    fn a_number_keeps_its_text(text in number()) {
        let value = parse(text.as_bytes()).unwrap();
        prop_assert_eq!(value.number_text(), Some(text.as_str()));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn it_takes_no_more_than_serde_json_does(text in "[\\[\\]{}\",:0-9eE+.\\\\u\\-ntrf a]{0,24}") {
        let ours = parse(text.as_bytes());
        let theirs = serde_json::from_str::<serde_json::Value>(&text);
        let repeated = matches!(ours, Err(Fault { kind: FaultKind::Repeated { .. }, .. }));
        let huge = theirs.as_ref().is_err_and(|error| error.to_string().contains("out of range"));
        prop_assert!(ours.is_ok() == theirs.is_ok() || repeated || huge);
    }
}
