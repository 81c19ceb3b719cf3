//! What `client add` and `client rotate` give, checked: everything that a registration holds is right before it is kept, so that a token request
//! never meets a scope, network or key that cannot be read.

use url::Url;

use super::jwk::KeySet;
use super::network::parse_network;
use super::scope::Registered;
use crate::domain::clock::Timestamp;
use crate::domain::id::ClientId;
use crate::domain::principal::{AttachmentUrl, ClientNumber, Reach};
use crate::domain::refusal::{Code, Issue, Place, Refusal};
use crate::domain::text::is_plain;
use crate::store::{Client, ClientKeys};

/// Most networks, and most custodians, of one client.
pub const MAX_LIST: usize = 100;

/// Longest name, in characters.
pub const MAX_NAME_CHARS: usize = 200;

/// Longest key address, in bytes.
pub const MAX_URI_BYTES: usize = 2_000;

/// A registration as it was given, in the spelling of the command line.
#[derive(Debug, Clone, Default)]
pub struct NewClient {
    /// `--id`
    pub id: String,
    /// `--name`
    pub name: Option<String>,
    /// `--scope`
    pub scope: String,
    /// `--reach`, each `own`, `all` or `custodian=REF`.
    pub reach: Vec<String>,
    /// `--allow-ip`
    pub allow_ip: Vec<String>,
    /// `--attachment-url`, `link` or `handle`.
    pub attachment_url: Option<String>,
}

/// Keys as they were given.
#[derive(Debug, Clone)]
pub enum GivenKeys {
    /// The text of a JWK set (`--jwks`, or the public half of a generated key).
    Set(String),
    /// An address (`--jwks-uri`).
    Uri(String),
}

/// Checks a registration.
///
/// # Errors
/// `client-metadata-invalid` with every field that is wrong.
pub fn register(given: &NewClient, keys: &GivenKeys, allow_http: bool, now: Timestamp) -> Result<Client, Refusal> {
    let mut faults = Vec::new();
    let id = keep(&mut faults, client_id(&given.id));
    let name = keep(&mut faults, name(given.name.as_deref()));
    keep(&mut faults, Registered::parse(&given.scope).map_err(|fault| invalid("scope", fault.as_str())));
    let reach = keep(&mut faults, reach(&given.reach));
    let allow_ip = keep(&mut faults, networks(&given.allow_ip));
    let attachment_url = keep(&mut faults, attachment_url(given.attachment_url.as_deref()));
    let keys = keep(&mut faults, check_keys(keys, allow_http));
    if let Some(refusal) = Refusal::of_all(faults) {
        return Err(refusal);
    }
    let parts = (id, name, reach, allow_ip, attachment_url, keys);
    let (Some(id), Some(name), Some(reach), Some(allow_ip), Some(attachment_url), Some(keys)) = parts else {
        return Err(Refusal::of(Code::ServerFault));
    };
    Ok(Client {
        number: ClientNumber(0),
        id,
        name,
        scope: given.scope.clone(),
        reach,
        attachment_url,
        allow_ip,
        keys,
        disabled: false,
        generation: 1,
        created: now,
    })
}

/// Checks keys alone, for `client rotate`. A set is kept with its usable keys and public members only.
///
/// # Errors
/// `client-metadata-invalid`.
pub fn keys(given: &GivenKeys, allow_http: bool) -> Result<ClientKeys, Refusal> {
    check_keys(given, allow_http).map_err(Refusal::new)
}

fn keep<T>(faults: &mut Vec<Issue>, checked: Result<T, Issue>) -> Option<T> {
    checked.map_err(|fault| faults.push(fault)).ok()
}

fn invalid(field: &'static str, fault: &str) -> Issue {
    Issue::new(Code::ClientMetadataInvalid)
        .fill("field", field)
        .fill("fault", fault)
        .place(Place::Flag(format!("--{field}")))
}

fn client_id(text: &str) -> Result<ClientId, Issue> {
    ClientId::parse(text).ok_or_else(|| invalid("id", "must be 1 to 64 letters, digits, dots, underscores or hyphens"))
}

fn name(text: Option<&str>) -> Result<Option<String>, Issue> {
    let fits = |text: &str| !text.trim().is_empty() && text.chars().count() <= MAX_NAME_CHARS && is_plain(text);
    match text {
        Some(text) if !fits(text) => Err(invalid("name", "must be 1 to 200 characters on one line")),
        _ => Ok(text.map(str::to_owned)),
    }
}

fn reach(given: &[String]) -> Result<Reach, Issue> {
    let wrong = || invalid("reach", "must be own, all or custodian= with a reference like Organization/1");
    let mut reach = Reach::default();
    for word in given {
        match (word.as_str(), word.strip_prefix("custodian=")) {
            ("own", _) => {}
            ("all", _) => reach.all = true,
            (_, Some(reference)) if is_reference(reference) => reach.custodians.push(reference.to_owned()),
            _ => return Err(wrong()),
        }
    }
    if reach.custodians.len() > MAX_LIST {
        return Err(invalid("reach", "names more than 100 custodians"));
    }
    Ok(reach)
}

/// `Type/id`, or an absolute URL, as it would stand in `DocumentReference.custodian.reference`.
fn is_reference(text: &str) -> bool {
    let plain = (1..=MAX_URI_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    let relative = || {
        text.split_once('/')
            .is_some_and(|(kind, id)| kind == "Organization" && crate::domain::id::ResourceId::parse(id).is_some())
    };
    plain && (relative() || Url::parse(text).is_ok_and(|url| url.has_host() || url.scheme() == "urn"))
}

fn networks(given: &[String]) -> Result<Vec<String>, Issue> {
    if given.len() > MAX_LIST {
        return Err(invalid("allow-ip", "names more than 100 networks"));
    }
    let each = |text: &String| parse_network(text).map(|network| network.trunc().to_string());
    given
        .iter()
        .map(each)
        .collect::<Option<_>>()
        .ok_or_else(|| invalid("allow-ip", "must be a network like 192.0.2.0/24"))
}

fn attachment_url(text: Option<&str>) -> Result<AttachmentUrl, Issue> {
    match text {
        None | Some("link") => Ok(AttachmentUrl::Link),
        Some("handle") => Ok(AttachmentUrl::Handle),
        Some(_) => Err(invalid("attachment-url", "must be link or handle")),
    }
}

fn check_keys(given: &GivenKeys, allow_http: bool) -> Result<ClientKeys, Issue> {
    match given {
        GivenKeys::Set(text) => {
            let set = KeySet::parse(text.as_bytes()).map_err(|fault| invalid("jwks", fault.as_str()))?;
            if set.keys().is_empty() {
                return Err(invalid("jwks", "has no usable key: RS384 from 2048 bits, or ES384, with a kid"));
            }
            Ok(ClientKeys::Inline(set.to_json()))
        }
        GivenKeys::Uri(text) => check_uri(text, allow_http).map(|()| ClientKeys::Uri(text.clone())),
    }
}

/// What the text of an address itself shows; whether it can be reached is seen when it is fetched.
fn check_uri(text: &str, allow_http: bool) -> Result<(), Issue> {
    let wrong = |fault| Err(invalid("jwks-uri", fault));
    let Ok(url) = Url::parse(text) else { return wrong("must be a URL like https://partner.example/jwks.json") };
    match url.scheme() {
        "https" => {}
        "http" if allow_http => {}
        _ => return wrong("must begin with https"),
    }
    if text.len() > MAX_URI_BYTES {
        return wrong("is longer than 2000 bytes");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("must hold no user name or password");
    }
    if url.fragment().is_some() {
        return wrong("must have no fragment");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::fakes;

    fn given() -> (NewClient, GivenKeys) {
        let client = NewClient {
            id: "ward-viewer".to_owned(),
            scope: "system/DocumentReference.rs".to_owned(),
            reach: vec!["own".to_owned(), "custodian=Organization/1".to_owned()],
            allow_ip: vec!["192.0.2.9/24".to_owned(), "2001:db8::1".to_owned()],
            ..NewClient::default()
        };
        (client, GivenKeys::Set(fakes::signer().public_set()))
    }

    fn refused(change: impl FnOnce(&mut NewClient, &mut GivenKeys)) -> Refusal {
        let (mut client, mut keys) = given();
        change(&mut client, &mut keys);
        register(&client, &keys, false, Timestamp::default()).unwrap_err()
    }

    #[test]
    fn a_registration_is_kept_as_it_is_meant() {
        let (new, keys) = given();
        let client = register(&new, &keys, false, Timestamp::default()).unwrap();
        assert_eq!(client.allow_ip, ["192.0.2.0/24", "2001:db8::1/128"]);
        assert_eq!(client.reach, Reach { all: false, custodians: vec!["Organization/1".to_owned()] });
        assert!(matches!(client.keys, ClientKeys::Inline(text) if !text.contains("\"d\"")));
    }

    #[test]
    fn each_field_is_checked_and_all_faults_are_told_at_once() {
        type Change = fn(&mut NewClient, &mut GivenKeys);
        let table: [(&str, Change); 12] = [
            ("--id", |client, _| client.id = "a b".to_owned()),
            ("--name", |client, _| client.name = Some("a\nb".to_owned())),
            ("--scope", |client, _| client.scope = "patient/*.rs".to_owned()),
            ("--scope", |client, _| client.scope = String::new()),
            ("--reach", |client, _| client.reach = vec!["custodian=Organization/".to_owned()]),
            ("--allow-ip", |client, _| client.allow_ip = vec!["192.0.2.0/33".to_owned()]),
            ("--attachment-url", |client, _| client.attachment_url = Some("both".to_owned())),
            ("--jwks", |_, keys| *keys = GivenKeys::Set(fakes::signer().to_text().unwrap().to_string())),
            ("--jwks", |_, keys| *keys = GivenKeys::Set(r#"{"keys":[]}"#.to_owned())),
            ("--jwks-uri", |_, keys| *keys = GivenKeys::Uri("http://partner.example/jwks".to_owned())),
            ("--jwks-uri", |_, keys| *keys = GivenKeys::Uri("https://a@partner.example/jwks".to_owned())),
            ("--jwks-uri", |_, keys| *keys = GivenKeys::Uri("https://partner.example/jwks#a".to_owned())),
        ];
        for (flag, change) in table {
            let refusal = refused(change);
            assert_eq!(refusal.code(), Code::ClientMetadataInvalid);
            assert_eq!(refusal.first().where_is(), &Place::Flag(flag.to_owned()));
        }
        let both = refused(|client, _| {
            client.id.clear();
            client.scope.clear();
        });
        assert_eq!(both.issues().count(), 2);
    }
}
