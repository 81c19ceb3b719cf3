//! The reader under attack: depth, names that stand twice, numbers, bytes that are no text. On a stack of 2 MB, as a worker's is.

use std::collections::HashMap;

use super::*;
use crate::config::policy_text;
use crate::fhir::validate::{self, Expectation};
use proptest::prelude::*;

/// What a thread of the runtime has (tokio's default).
const STACK: usize = 2 << 20;

fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(STACK).spawn(work).unwrap().join().unwrap();
}

fn nested(open: &str, middle: &str, close: &str, depth: usize) -> String {
    format!("{}{middle}{}", open.repeat(depth), close.repeat(depth))
}

#[test]
fn a190_no_depth_exhausts_the_stack() {
    on_a_small_stack(|| {
        for depth in [200, 10_000, 1_000_000] {
            for text in [
                nested("[", "", "]", depth),
                nested("{\"a\":", "1", "}", depth),
                nested("[{\"a\":", "1", "}]", depth),
                "[".repeat(depth),
                "{\"a\":".repeat(depth),
            ] {
                assert_eq!(parse(text.as_bytes()).unwrap_err().kind, FaultKind::TooDeep, "{depth}");
            }
        }
    });
}

/// The deepest that is taken is walked, written, copied and dropped within a fraction of the stack.
#[test]
fn a190_the_deepest_that_is_taken_is_worked_through_on_a_quarter_of_the_stack() {
    let work = || {
        for text in [nested("[", "", "]", MAX_DEPTH), nested("{\"a\":", "1", "}", MAX_DEPTH)] {
            let value = parse(text.as_bytes()).unwrap();
            assert_eq!(value.to_json(), text);
            drop(value.clone().into_owned());
        }
        let extension = nested(
            "{\"url\":\"http://x.example\",\"extension\":[",
            "{\"url\":\"http://y.example\",\"valueCode\":\"a\"}",
            "]}",
            48,
        );
        let body = format!("{{\"resourceType\":\"Basic\",\"code\":{{\"text\":\"x\"}},\"extension\":[{extension}]}}");
        let read = validate::read(body.as_bytes(), Expectation::Any).expect("extensions 49 deep");
        assert_eq!(read.into_owned().object.to_json(), body);
    };
    std::thread::Builder::new().stack_size(STACK / 4).spawn(work).unwrap().join().unwrap();
}

#[test]
fn a190_extensions_in_extensions_beyond_the_depth_are_refused() {
    on_a_small_stack(|| {
        for depth in [50, 1_000, 20_000] {
            let extension = nested("{\"url\":\"http://x.example\",\"extension\":[", "", "]}", depth);
            let body = format!("{{\"resourceType\":\"Basic\",\"code\":{{}},\"extension\":[{extension}]}}");
            let refused = validate::read(body.as_bytes(), Expectation::Any).unwrap_err();
            assert_eq!((refused.status(), refused.code().name()), (400, "nesting-too-deep"), "{depth}");
        }
    });
}

/// Text inside JSON that has a depth of its own, and the other texts that are read as trees.
#[test]
fn a190_a_narrative_and_a_policy_are_bounded_in_depth_too() {
    on_a_small_stack(|| {
        for depth in [200, 10_000, 100_000] {
            let inner = nested("<p>", "a", "</p>", depth);
            let mut body = "{\"resourceType\":\"Patient\",\"text\":{\"status\":\"generated\",\"div\":".to_owned();
            write_text(&format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{inner}</div>"), &mut body);
            body.push_str("}}");
            drop(validate::read(body.as_bytes(), Expectation::Any));
            for text in [nested("[", "1", "]", depth), nested("{a=", "1", "}", depth)] {
                assert!(policy_text::parse("policy.toml", &format!("default = {text}")).is_err());
            }
            let dotted = format!("[{}a]", "a.".repeat(depth));
            assert!(policy_text::parse("policy.toml", &dotted).is_err());
        }
    });
}

#[test]
fn a193_what_is_no_utf_8_text_is_refused_wherever_it_stands() {
    type Shape = fn(&[u8]) -> Vec<u8>;
    let shapes: [Shape; 3] = [
        |bytes| [b"\"", bytes, b"\""].concat(),
        |bytes| [b"{\"", bytes, b"\":1}"].concat(),
        |bytes| [b"[\"a\",\"x", bytes, b"y\"]"].concat(),
    ];
    for bytes in [
        b"\xff".as_slice(),
        b"\x80",
        b"\xc0\x80",                 // NUL, overlong (Unicode 15 §3.9, table 3-7)
        b"\xc0\xaf",                 // a slash, overlong
        b"\xe0\x80\xaf",             // in three
        b"\xf0\x80\x80\xaf",         // in four
        b"\xed\xa0\x80",             // half of a surrogate pair
        b"\xed\xa0\xbd\xed\xb8\x80", // CESU-8
        b"\xf4\x90\x80\x80",         // beyond U+10FFFF
        b"\xc3",                     // cut
        b"\0",
        b"\x1f",
        b"\n",
        b"\\ud800",
        b"\\udc00\\ud800",
        b"\\ud83d\\u0041",
        b"\\ud83dx",
        b"\\u12",
        b"\\u+123",
        b"\\U0041",
        b"\\x41",
        b"\\0",
    ] {
        for shape in shapes {
            assert!(matches!(parse(&shape(bytes)).unwrap_err().kind, FaultKind::Syntax(_)), "{bytes:?}");
        }
    }
    for start in [b"\xEF\xBB\xBF".as_slice(), b"\xFF\xFE", b"\xFE\xFF", b"\0\0\xFE\xFF", b"\0", b"\x0b", b"\xc2\xa0"] {
        assert!(parse(&[start, b"{}"].concat()).is_err(), "{start:?}");
    }
}

/// SQLite cuts a text at a NUL where C reads it, and PostgreSQL has no place for one: no string of a resource holds it.
#[test]
fn a193_a_nul_is_in_no_string_of_a_resource() {
    for escape in ["\\u0000", "\\u0001", "\\u001f"] {
        for body in [
            format!("{{\"resourceType\":\"Patient\",\"id\":\"a{escape}\"}}"),
            format!("{{\"resourceType\":\"Patient\",\"name\":[{{\"family\":\"a{escape}b\"}}]}}"),
            format!(
                "{{\"resourceType\":\"Patient\",\"identifier\":[{{\"system\":\"urn:x{escape}\",\"value\":\"1\"}}]}}"
            ),
            format!("{{\"resourceType\":\"Patient\",\"identifier\":[{{\"value\":\"1{escape}2\"}}]}}"),
            format!("{{\"resourceType\":\"Patient\",\"meta\":{{\"tag\":[{{\"code\":\"a{escape}\"}}]}}}}"),
            format!("{{\"resourceType\":\"Patient\",\"na{escape}me\":[]}}"),
            format!("{{\"resourceType\":\"Pat{escape}ient\"}}"),
            format!(
                "{{\"resourceType\":\"Basic\",\"code\":{{}},\"extension\":[{{\"url\":\"urn:x\",\"valueMarkdown\":\"a{escape}b\"}}]}}"
            ),
        ] {
            let refused = validate::read(body.as_bytes(), Expectation::Any).expect_err(&body);
            assert!([400, 422].contains(&refused.status()), "{body}");
        }
    }
}

/// Names that fall together under a hash that nobody keys would make one object cost its square. What is counted is the work that
/// grows: a map that is keyed by chance is read as fast with them as without, so the whole test ends at once or not for hours.
#[test]
fn a202_a_hundred_thousand_names_are_read_and_few_are_told() {
    let names: Vec<String> = (0..200_000_u32).map(|at| format!("\"n{at:x}\":null")).collect();
    let body = format!("{{\"resourceType\":\"Patient\",{}}}", names.join(","));
    let value = parse(body.as_bytes()).unwrap();
    assert_eq!(value.as_object().unwrap().iter().len(), 200_001);
    let refused = validate::read(body.as_bytes(), Expectation::Any).unwrap_err();
    assert_eq!(refused.issues().count(), crate::domain::refusal::MAX_ISSUES + 1);
    let again = body.replace("\"n30d3f\"", "\"n0\"");
    assert!(matches!(parse(again.as_bytes()).unwrap_err().kind, FaultKind::Repeated { name, .. } if name == "n0"));
}

/// A tree as a sender writes it: names may stand twice.
#[derive(Debug, Clone)]
enum Sent {
    Leaf(u8),
    List(Vec<Sent>),
    Members(Vec<(String, Sent)>),
}

impl Sent {
    fn write(&self, out: &mut String) {
        match self {
            Self::Leaf(number) => out.push_str(&number.to_string()),
            Self::List(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    item.write(out);
                }
                out.push(']');
            }
            Self::Members(members) => {
                out.push('{');
                for (at, (name, value)) in members.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    // Every other name is spelled with an escape, which makes it no other name.
                    let mut chars = name.chars();
                    let first = u32::from(chars.next().unwrap_or('a'));
                    let rest = chars.as_str();
                    out.push_str(&if at % 2 == 0 {
                        format!("\"{name}\":")
                    } else {
                        format!("\"\\u{first:04x}{rest}\":")
                    });
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    fn repeats(&self) -> bool {
        match self {
            Self::Leaf(_) => false,
            Self::List(items) => items.iter().any(Self::repeats),
            Self::Members(members) => {
                let mut seen: HashMap<&str, u32> = HashMap::new();
                members.iter().for_each(|(name, _)| *seen.entry(name).or_default() += 1);
                seen.values().any(|count| *count > 1) || members.iter().any(|(_, value)| value.repeats())
            }
        }
    }
}

fn sent() -> impl Strategy<Value = Sent> {
    any::<u8>().prop_map(Sent::Leaf).prop_recursive(5, 60, 30, |inner| {
        let name = prop_oneof!["[a-c]{1,2}", "[a-z]{3,8}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Sent::List),
            prop::collection::vec((name, inner), 1..30).prop_map(Sent::Members),
        ]
    })
}

proptest! {
    /// Beside `serde_json`, which keeps the last of two: where ours takes a text, both have the same number of members everywhere.
    #[test]
    fn a191_a_name_stands_once_or_the_text_is_refused(sent in sent()) {
        let mut text = String::new();
        sent.write(&mut text);
        let theirs: serde_json::Value = serde_json::from_str(&text).unwrap();
        match parse(text.as_bytes()) {
            Ok(value) => {
                prop_assert!(!sent.repeats());
                prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&value.to_json()).unwrap(), theirs);
            }
            Err(fault) => {
                prop_assert!(sent.repeats());
                let repeated = matches!(fault.kind, FaultKind::Repeated { .. });
                prop_assert!(repeated);
            }
        }
    }

    #[test]
    fn a192_a_number_goes_out_digit_for_digit(
        text in "-?(0|[1-9][0-9]{0,400})(\\.[0-9]{1,60})?([eE][+-]?[0-9]{1,6})?", element in "value(Decimal|Integer)"
    ) {
        let value = parse(text.as_bytes()).unwrap();
        prop_assert_eq!(value.to_json(), text.clone());
        let body = format!("{{\"resourceType\":\"Basic\",\"code\":{{\"text\":\"x\"}},\"extension\":[{{\"url\":\"urn:x\",\"{element}\":{text}}}]}}");
        // R4 bounds integers to 32 bits and decimals by their shape; what is taken is kept as written.
        match validate::read(body.as_bytes(), Expectation::Any) {
            Ok(read) => prop_assert_eq!(read.object.to_json(), body),
            Err(refused) => prop_assert_eq!(refused.status(), 422),
        }
    }

    #[test]
    fn a192_what_is_no_number_is_refused(
        text in "[+.eE]?(NaN|Infinity|-Infinity|0x[0-9]|0[0-9]+|[0-9]+\\.|\\.[0-9]+|[0-9]+[eE][+-]?|--[0-9]|[0-9]_[0-9]|[0-9]{1,3}'[0-9])"
    ) {
        prop_assert!(parse(text.as_bytes()).is_err());
    }
}
