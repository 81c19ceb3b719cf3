//! Tests of `endpoint`, apart so that both files can be read.

use std::net::Ipv4Addr;

use super::*;
use crate::auth::fakes::{self, Counting, FakeClients, FakeClock};
use crate::auth::jwks::{FetchFailed, FetchKeys, Fetched};
use crate::domain::id::ClientId;
use crate::store::StoreError;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

#[derive(Debug)]
struct Entries;

impl GrantEntries for Entries {
    fn entry(&self, record: &GrantRecord<'_>) -> SealedEntry {
        let granted = matches!(record.outcome, GrantOutcome::Granted { .. });
        let outcome = if granted { "ok" } else { "denied" };
        let expected = if granted { "Entry(token.grant ok)" } else { "Entry(token.refuse denied)" };
        assert_eq!(format!("{:?}", record.to_entry()), expected);
        SealedEntry {
            action: "token.grant",
            outcome,
            commitment: *record.assertion,
            cells: Vec::new(),
            given: Vec::new(),
        }
    }
}

#[derive(Debug)]
struct NoKeys;

#[async_trait::async_trait]
impl FetchKeys for NoKeys {
    async fn fetch(&self, _: &str) -> Result<Fetched, FetchFailed> {
        Err(FetchFailed("none".to_owned()))
    }
}

struct Room {
    endpoint: TokenEndpoint,
    clients: Arc<FakeClients>,
    clock: Arc<FakeClock>,
    entropy: Counting,
}

fn room() -> Room {
    let (clock, clients) = (fakes::clock(), FakeClients::with([fakes::client("a")]));
    let endpoint = TokenEndpoint {
        endpoints: fakes::endpoints(),
        clients: clients.clone(),
        keys: Arc::new(KeyCache::new(Arc::new(NoKeys), clock.clone())),
        tokens: fakes::tokens(&clock),
        entries: Arc::new(Entries),
        rate: TokenRate::new(clock.clone()),
        clock: clock.clone(),
    };
    Room { endpoint, clients, clock, entropy: Counting::default() }
}

type Form = Vec<(String, String)>;

impl Room {
    fn assertion(&self) -> String {
        let (id, audience) = (ClientId::parse("a").unwrap(), &self.endpoint.endpoints.token);
        fakes::signer().assertion(&id, audience, self.clock.as_ref(), &self.entropy).unwrap()
    }

    fn form(&self, scope: &str) -> Form {
        let pairs = [
            ("grant_type", "client_credentials"),
            ("scope", scope),
            ("client_assertion_type", endpoint_form::ASSERTION_TYPE),
            ("client_assertion", &self.assertion()),
        ];
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    async fn send(&self, form: &Form) -> Result<TokenResponse, Denied> {
        self.endpoint.answer(&TokenRequest { form, authorization_header: false, peer: PEER }).await
    }

    async fn refused(&self, form: &Form) -> (u16, &'static str, Code) {
        let refusal = self.send(form).await.unwrap_err().refusal;
        (refusal.status(), refusal.oauth().as_str(), refusal.code())
    }
}

fn set(mut form: Form, name: &str, value: &str) -> Form {
    form.iter_mut().filter(|(key, _)| key == name).for_each(|(_, held)| value.clone_into(held));
    form
}

fn drop_pair(form: Form, name: &str) -> Form {
    form.into_iter().filter(|(key, _)| key != name).collect()
}

#[tokio::test]
async fn an_assertion_becomes_a_token_that_works() {
    let room = room();
    let answer = room.send(&room.form("system/DocumentReference.read system/Patient.rs")).await.unwrap();
    let json = serde_json::to_value(&answer).unwrap();
    assert_eq!(json["scope"], "system/DocumentReference.read");
    assert_eq!(json["expires_in"], 300);
    assert_eq!(json["token_type"], "bearer");
    let token = json["access_token"].as_str().unwrap();
    assert!(room.endpoint.tokens.principal(token, room.clients.as_ref(), PEER).is_ok());
    assert_eq!(room.clients.entries.lock().unwrap().len(), 1);
    assert!(!format!("{answer:?}").contains(token));
}

#[tokio::test]
async fn a025_an_assertion_works_once_also_in_parallel() {
    let room = room();
    let form = room.form("system/Binary.r");
    let answers = futures_util::future::join_all((0..50).map(|_| room.send(&form))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    let refused = answers.into_iter().find_map(Result::err).unwrap();
    assert_eq!((refused.refusal.status(), refused.refusal.code()), (401, Code::AssertionRefused));
    assert!(refused.refusal.first().message().contains("jti was used before"));
    let outcomes: Vec<_> = room.clients.entries.lock().unwrap().iter().map(|entry| entry.outcome).collect();
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == "ok").count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == "denied").count(), 49, "every replay is in the log");
}

/// smart.md §20, trap 1: the wrong grant type comes with a perfectly good assertion and must be 400.
#[tokio::test]
async fn the_grant_type_is_looked_at_first() {
    let room = room();
    for grant in ["authorization_code", "refresh_token", "password", "x"] {
        let form = set(room.form("system/Binary.r"), "grant_type", grant);
        assert_eq!(room.refused(&form).await, (400, "unsupported_grant_type", Code::ParameterMalformed), "{grant}");
    }
    let both_wrong = set(set(room.form(""), "grant_type", "x"), "client_assertion", "x");
    assert_eq!(room.refused(&both_wrong).await.1, "unsupported_grant_type");
}

#[tokio::test]
async fn the_form_must_be_whole_and_each_parameter_single() {
    let room = room();
    for name in ["grant_type", "client_assertion_type", "client_assertion"] {
        let form = drop_pair(room.form("system/Binary.r"), name);
        assert_eq!(room.refused(&form).await, (400, "invalid_request", Code::ParameterMissing), "{name}");
        let empty = set(room.form("system/Binary.r"), name, "");
        assert_eq!(room.refused(&empty).await, (400, "invalid_request", Code::ParameterMissing), "{name}");
    }
    for name in ["grant_type", "scope", "client_assertion_type", "client_assertion"] {
        let mut form = room.form("system/Binary.r");
        form.extend(form.iter().find(|(key, _)| key == name).cloned());
        assert_eq!(room.refused(&form).await, (400, "invalid_request", Code::ParameterMalformed), "{name}");
    }
    let form = set(room.form("system/Binary.r"), "client_assertion_type", "x");
    assert_eq!(room.refused(&form).await, (400, "invalid_request", Code::ParameterMalformed));
}

#[tokio::test]
async fn a028_one_way_to_authenticate() {
    let room = room();
    let mut form = room.form("system/Binary.r");
    let answer = room.endpoint.answer(&TokenRequest { form: &form, authorization_header: true, peer: PEER }).await;
    assert_eq!(answer.unwrap_err().refusal.code(), Code::CredentialsMisplaced);
    form.push(("client_secret".to_owned(), "x".to_owned()));
    assert_eq!(room.refused(&form).await, (400, "invalid_request", Code::CredentialsMisplaced));
    let mut form = room.form("system/Binary.r");
    form.push(("client_id".to_owned(), "b".to_owned()));
    assert_eq!(room.refused(&form).await, (401, "invalid_client", Code::AssertionRefused));
}

#[tokio::test]
async fn a_refused_scope_spends_the_assertion_and_is_recorded() {
    let room = room();
    for scope in ["", "system/Patient.rs", "patient/*.rs"] {
        let form = room.form(scope);
        assert_eq!(room.refused(&form).await, (400, "invalid_scope", Code::ScopeUnsupported), "{scope}");
        let again = set(form, "scope", "system/Binary.r");
        assert_eq!(room.refused(&again).await.2, Code::AssertionRefused);
    }
    let entries = room.clients.entries.lock().unwrap();
    assert!(
        entries.len() == 6 && entries.iter().all(|entry| entry.outcome == "denied"),
        "three refusals, three replays"
    );
}

#[tokio::test]
async fn a_client_calls_from_its_networks_only() {
    let room = room();
    room.clients.change("a", |client| client.allow_ip = vec!["198.51.100.0/24".to_owned()]);
    assert_eq!(
        room.refused(&room.form("system/Binary.r")).await,
        (403, "unauthorized_client", Code::NetworkNotAllowed)
    );
}

#[tokio::test]
async fn the_rate_is_counted_before_the_signature() {
    let room = room();
    let unsigned = |room: &Room| {
        let form = room.form("system/Binary.r");
        let cut =
            form.iter().find(|(name, _)| name == "client_assertion").unwrap().1.rsplit_once('.').unwrap().0.to_owned();
        set(form, "client_assertion", &format!("{cut}.AAAA"))
    };
    for _ in 0..crate::auth::rate::BURST.get() {
        assert_eq!(room.refused(&unsigned(&room)).await.2, Code::ClientUnauthenticated);
    }
    let refusal = room.send(&unsigned(&room)).await.unwrap_err().refusal;
    assert_eq!((refusal.status(), refusal.retry_after_seconds()), (429, Some(1)));
}

#[tokio::test]
async fn nothing_is_granted_that_cannot_be_recorded() {
    let room = room();
    for (error, code) in [(StoreError::Full, Code::AuditUnavailable), (StoreError::Busy, Code::ServerBusy)] {
        *room.clients.fails.lock().unwrap() = Some(error);
        assert_eq!(room.send(&room.form("system/Binary.r")).await.unwrap_err().refusal.code(), code);
    }
}
