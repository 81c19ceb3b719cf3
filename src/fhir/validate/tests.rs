//! Rules one by one that the example sets (`tests/it/fhir_examples.rs`) do not reach.

use super::*;
use proptest::prelude::*;

#[test]
fn language_tags_follow_rfc_5646() {
    // Examples of RFC 5646, appendix A.
    for tag in [
        "de",
        "i-enochian",
        "zh-Hant",
        "zh-cmn-Hans-CN",
        "sr-Latn-RS",
        "sl-rozaj-biske",
        "de-CH-1901",
        "hy-Latn-IT-arevela",
        "es-419",
        "de-CH-x-phonebk",
        "x-whatever",
        "qaa-Qaaa-QM-x-southern",
        "en-US-u-islamcal",
        "zh-CN-a-myext-x-private",
    ] {
        assert!(is_language_tag(tag), "{tag}");
    }
    for tag in ["", "a", "en_US", "de-419-DE", "a-DE", "en-", "english-language-x", "toolonglanguage", "x", "en-u"] {
        assert!(!is_language_tag(tag), "{tag}");
    }
}

#[test]
fn media_types_follow_rfc_9110() {
    for text in ["application/pdf", "TEXT/html;charset=utf-8", "text/plain; charset=\"a;b\\\"c\"; x=y", "a/b+c"] {
        assert!(is_media_type(text), "{text}");
    }
    for text in ["", "pdf", "application/", "/pdf", "a/b/c", "a/b;", "a/b; x", "a/b; x=", "a/b; x=\"y", "a/p df"] {
        assert!(!is_media_type(text), "{text}");
    }
}

#[test]
fn moments_compare_only_when_their_precision_decides() {
    let moment = |text| Moment::parse(text).unwrap();
    let before = |a, b| moment(a).is_surely_before(&moment(b));
    assert!(before("2024-05-01", "2024-05-02") && before("2023", "2024-01") && before("1969-12-31", "1970-01-01"));
    assert!(!before("2024", "2024-05-01") && !before("2024-05-01", "2024"));
    assert!(before("2024-05-01T10:00:00+02:00", "2024-05-01T08:00:01Z"));
    assert!(!before("2024-05-01T10:00:00+02:00", "2024-05-01T08:00:00Z"));
    assert!(!before("2024-05-01", "2024-05-02T00:00:00Z") && before("2024-05-01", "2024-05-03T00:00:00Z"));
    assert!(before("2024-05-01T10:00:00.1Z", "2024-05-01T10:00:00.2Z"));
}

#[test]
fn twenty_issues_are_listed_and_the_rest_counted() {
    let unknown: Vec<_> = (0..25).map(|n| format!("\"x{n}\":1")).collect();
    let body = format!("{{\"resourceType\":\"Basic\",\"code\":{{\"text\":\"a\"}},{}}}", unknown.join(","));
    let refusal = read(body.as_bytes(), Expectation::Any).unwrap_err();
    assert_eq!(refusal.issues().count(), crate::domain::refusal::MAX_ISSUES + 1);
    let last = refusal.issues().last().unwrap();
    assert_eq!((last.code(), last.message()), (Code::IssuesOmitted, "5 more mistakes are not listed."));
}

#[test]
fn texts_have_no_open_placeholder_and_no_value() {
    let secret = "Müller-4711";
    let body = format!(
        r##"{{"resourceType":"DocumentReference","status":"{secret}","_x":1,"date":"{secret}","{secret}":1,
        "language":"{secret}-","subject":{{"reference":"{secret}"}},"extension":[{{"url":"{secret}"}}],
        "author":[{{"reference":"#{secret}"}}],"modifierExtension":[{{"url":"http://a.b","valueCode":"{secret} "}}],
        "content":[{{}},{{"attachment":{{"size":-1,"hash":"AAAA","contentType":"{secret}"}}}}]}}"##
    );
    let refusal = read(body.as_bytes(), Expectation::Create(ResourceType::DocumentReference)).unwrap_err();
    assert!(refusal.issues().count() > 10);
    for issue in refusal.issues() {
        let text = format!("{} {} {:?}", issue.message(), issue.cure(), issue.where_is());
        assert!(!text.contains(['{', '}']), "{text}");
        assert!(!text.contains("4711"), "{text}");
    }
}

#[test]
fn the_nearest_name_is_offered() {
    let body = br#"{"resourceType":"DocumentReference","status":"curent","docstatus":"final",
        "content":[{"attachment":{"title":"a"}}]}"#;
    let refusal = read(body, Expectation::Any).unwrap_err();
    let cures: Vec<_> = refusal.issues().map(Issue::cure).collect();
    assert!(cures.contains(&"Use one of them, nearest: current."), "{cures:?}");
    assert!(cures.contains(&"Remove it, nearest: docStatus; own data goes into `extension`."), "{cures:?}");
}

#[test]
fn a_type_without_tables_is_checked_for_shape() {
    let good = br#"{"resourceType":"Observation","id":"a","status":"final","code":{"text":"x"},"valueString":"y"}"#;
    assert_eq!(read(good, Expectation::Any).unwrap().resource_type, ResourceType::Observation);
    let bad = br#"{"resourceType":"Observation","id":"a_b","code":{},"component":[],"note":null}"#;
    assert_eq!(read(bad, Expectation::Any).unwrap_err().issues().count(), 4);
}

#[test]
fn narratives_hide_no_script() {
    let div = |inner: &str| {
        let text = format!("<div xmlns=\\\"http://www.w3.org/1999/xhtml\\\">{inner}</div>");
        let body = format!(
            "{{\"resourceType\":\"Basic\",\"code\":{{\"text\":\"a\"}},\"text\":{{\"status\":\"generated\",\"div\":\"{text}\"}}}}"
        );
        read(body.as_bytes(), Expectation::Any).is_ok()
    };
    assert!(div("a &amp; b") && div("<a href='https://example.org'>x</a>") && div("<img src='#a' alt='b'/>"));
    for bad in [
        "<a href='javascript:x'>a</a>",
        "<a href='java&#10;script:x'>a</a>",
        "<a href=' &#106;avascript:x'>a</a>",
        "<p onclick='x'>a</p>",
        "<iframe src='x'>a</iframe>",
        "<form>a</form>",
        "<object>a</object>",
        "a</div><div>b",
        "<svg onload='x'/>a",
        "<?php x ?>a",
        "<!DOCTYPE div>a",
        "&#0;",
        "&bogus;",
        "<p>a",
        " ",
    ] {
        assert!(!div(bad), "{bad}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let _ = read(&bytes, Expectation::System);
    }

    #[test]
    fn no_text_makes_a_primitive_panic(text in any::<String>()) {
        let _ = (Moment::parse(&text), is_media_type(&text), is_language_tag(&text), is_id(&text));
        let div = json::Value::from(text).to_json();
        let body = format!(r#"{{"resourceType":"Basic","text":{{"div":{div}}}}}"#);
        prop_assert!(read(body.as_bytes(), Expectation::Any).is_err());
    }

    #[test]
    fn only_days_of_the_calendar_are_dates(year in 1i32..10000, month in 0u32..14, day in 0u32..33) {
        let text = format!("{year:04}-{month:02}-{day:02}");
        let real = chrono::NaiveDate::from_ymd_opt(year, month, day).is_some();
        prop_assert_eq!(Moment::parse(&text).is_some(), real);
    }
}
