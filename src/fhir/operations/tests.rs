//! The contract's table of operations, as requests and answers.

use super::*;
use crate::domain::lifecycle::State;
use crate::domain::refusal::Code;
use crate::fhir::json::parse;

fn body(parameters: &str) -> String {
    format!("{{\"resourceType\":\"Parameters\",\"parameter\":[{parameters}]}}")
}

fn with<T>(text: &str, read: impl Fn(Option<&Object<'_>>) -> Result<T, Refusal>) -> Result<T, Refusal> {
    let value = parse(text.as_bytes()).unwrap();
    read(value.as_object())
}

#[test]
fn issue_link_reads_its_parameters_and_has_defaults() {
    let all = body(r#"{"name":"content","valuePositiveInt":2},{"name":"lifetime","valueString":"5m"}"#);
    let read = with(&all, issue_link).unwrap();
    let none = IssueLink {
        content: 1,
        lifetime: None,
        uses: None,
        network: None,
        file_name: None,
        recipient: None,
        confirm: false,
        access_reference: None,
    };
    assert_eq!(read, IssueLink { content: 2, lifetime: Some(Duration::from_secs(300)), ..none.clone() });
    assert_eq!(issue_link(None).unwrap(), none);
}

#[test]
fn a_links_limits_are_read_and_misspelled_ones_refused() {
    let all = body(
        r#"{"name":"uses","valuePositiveInt":1},{"name":"address","valueString":"192.0.2.7/24"},{"name":"confirm","valueBoolean":true},
        {"name":"file-name","valueString":"Brief Müller.pdf"},{"name":"recipient","valueReference":{"reference":"Practitioner/7"}},
        {"name":"access-reference","valueString":"abc/17"}"#,
    );
    let read = with(&all, issue_link).unwrap();
    assert_eq!((read.uses, read.network, read.confirm), (Some(1), "192.0.2.0/24".parse().ok(), true));
    assert_eq!(
        (read.file_name.as_deref(), read.recipient.as_deref()),
        (Some("Brief Müller.pdf"), Some("Practitioner/7"))
    );
    assert_eq!(read.access_reference, Some((ResourceId::parse("abc").unwrap(), 17)));
    assert!(!format!("{read:?}").contains("Müller"));
    for wrong in [
        r#"{"name":"uses","valuePositiveInt":0}"#,
        r#"{"name":"uses","valueInteger":1}"#,
        r#"{"name":"address","valueString":"300.0.0.1"}"#,
        r#"{"name":"address","valueString":"10.0.0.0/33"}"#,
        r#"{"name":"file-name","valueString":"a\u0000b"}"#,
        r#"{"name":"confirm","valueString":"true"}"#,
        r#"{"name":"recipient","valueString":"Practitioner/7"}"#,
        r#"{"name":"recipient","valueReference":{"display":"A"}}"#,
        r#"{"name":"access-reference","valueString":"abc/017"}"#,
        r#"{"name":"access-reference","valueString":"abc"}"#,
    ] {
        assert_eq!(with(&body(wrong), issue_link).unwrap_err().code(), Code::ParameterMalformed, "{wrong}");
    }
    let unknown = with(&body(r#"{"name":"max-uses","valuePositiveInt":1}"#), issue_link).unwrap_err();
    assert_eq!(unknown.code(), Code::ParameterUnsupported);
}

#[test]
fn types_counts_and_values_are_held_to() {
    let fault = |parameters: &str| with(&body(parameters), issue_link).unwrap_err().code();
    for wrong in [
        r#"{"name":"content","valueInteger":1}"#,
        r#"{"name":"content","valuePositiveInt":0}"#,
        r#"{"name":"content","valuePositiveInt":1},{"name":"content","valuePositiveInt":2}"#,
        r#"{"name":"lifetime","valueString":"soon"}"#,
        r#"{"name":"lifetime","valueString":"0m"}"#,
        r#"{"name":"lifetime"}"#,
    ] {
        assert_eq!(fault(wrong), Code::ParameterMalformed, "{wrong}");
    }
    assert_eq!(with("{\"resourceType\":\"Patient\"}", issue_link).unwrap_err().code(), Code::ResourceMismatch);
    let two = with(&body(r#"{"name":"x"},{"name":"lifetime","valueString":"?"}"#), issue_link).unwrap_err();
    assert_eq!(two.issues().count(), 2);
}

#[test]
fn revoke_takes_a_links_id_and_never_a_link() {
    let read =
        with(&body(r#"{"name":"link","valueString":"lk_0123456ab"},{"name":"state","valueBoolean":true}"#), revoke)
            .unwrap();
    assert_eq!((read.link, read.state, read.reason), (LinkId::parse("lk_0123456ab"), true, None));
    let link = body(r#"{"name":"link","valueString":"https://h/d/AAAA"}"#);
    assert_eq!(with(&link, revoke).unwrap_err().code(), Code::ParameterMalformed);
}

#[test]
fn lifecycle_waits_by_query_or_body() {
    let query = |text: &str| vec![("wait".to_owned(), text.to_owned())];
    assert_eq!(lifecycle(None, &query("30s")), Ok(Some(Duration::from_secs(30))));
    assert_eq!(lifecycle(None, &[]), Ok(None));
    let refused = lifecycle(None, &query("long")).unwrap_err();
    assert_eq!(refused.first().where_is(), &crate::domain::refusal::Place::Http("wait".into()));
    let both = with(&body(r#"{"name":"wait","valueString":"1s"}"#), |body| lifecycle(body, &query("2s")));
    assert_eq!(both.unwrap_err().code(), Code::ParameterMalformed);
}

#[test]
fn answers_have_the_contracts_names_and_types() {
    let at = Timestamp::parse("2026-11-23T14:02:05Z").unwrap();
    assert_eq!(
        issued("https://h/d/x", at, 1, &LinkId::parse("lk_0123456ab").unwrap()),
        "{\"resourceType\":\"Parameters\",\"parameter\":[{\"name\":\"url\",\"valueUrl\":\"https://h/d/x\"},\
         {\"name\":\"expires\",\"valueInstant\":\"2026-11-23T14:02:05.000Z\"},{\"name\":\"uses\",\"valueInteger\":1},{\"name\":\"link\",\"valueString\":\"lk_0123456ab\"}]}"
    );
    assert_eq!(
        revoked(3),
        "{\"resourceType\":\"Parameters\",\"parameter\":[{\"name\":\"revoked\",\"valueInteger\":3}]}"
    );
    let first = Step { from: None, to: State::Created, at, actor: "client/ris".into(), reason: String::new() };
    let second =
        Step { from: Some(State::Created), to: State::Scanned, at, actor: "server".into(), reason: "\"clean\"".into() };
    assert_eq!(
        steps(&[first, second]),
        "{\"resourceType\":\"Parameters\",\"parameter\":[{\"name\":\"transition\",\"part\":[{\"name\":\"to\",\"valueCode\":\"created\"},\
         {\"name\":\"at\",\"valueInstant\":\"2026-11-23T14:02:05.000Z\"},{\"name\":\"actor\",\"valueString\":\"client/ris\"}]},\
         {\"name\":\"transition\",\"part\":[{\"name\":\"from\",\"valueCode\":\"created\"},{\"name\":\"to\",\"valueCode\":\"scanned\"},\
         {\"name\":\"at\",\"valueInstant\":\"2026-11-23T14:02:05.000Z\"},{\"name\":\"actor\",\"valueString\":\"server\"},\
         {\"name\":\"reason\",\"valueString\":\"\\\"clean\\\"\"}]}]}"
    );
    assert_eq!(steps(&[]), "{\"resourceType\":\"Parameters\"}");
}
