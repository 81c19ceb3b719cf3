//! `client add`, `list`, `show`, `disable`, `enable`, `rotate`.

use serde_json::{Value, json};

use super::arguments::{Client, ClientAdd, ClientKey, ClientOne, ClientRotate, UrlForm};
use super::message::Failure;
use super::terminal::Terminal;
use super::{backend, input};
use crate::app::Nature;
use crate::auth::key_file::KeyFile;
use crate::control::{ClientChange, ClientView, KeysGiven, NewClient, Request, Response};
use crate::domain::refusal::{Code, Issue, Severity};

/// Runs one of them.
pub(super) async fn run(command: Client, terminal: &Terminal, nature: &Nature) -> Result<u8, Failure> {
    match command {
        Client::Add(add) => self::add(add, terminal, nature).await,
        Client::List { place } => list(&place, terminal, nature).await,
        Client::Show(one) => show(one, terminal, nature).await,
        Client::Disable(one) => {
            change(
                one,
                ClientChange::Disable,
                "disabled: {id} gets no token any more; tokens and links that it holds have ended",
                terminal,
                nature,
            )
            .await
        }
        Client::Enable(one) => {
            change(
                one,
                ClientChange::Enable,
                "enabled: {id} may get tokens again; links that it held stay withdrawn",
                terminal,
                nature,
            )
            .await
        }
        Client::Rotate(rotate) => self::rotate(rotate, terminal, nature).await,
    }
}

/// A key that was made here, to be written once the server has taken its public half.
struct Made {
    path: std::path::PathBuf,
}

/// The public keys that a command gives. A pair that is made is written first: a registration without its key would be worth nothing, a
/// key without registration harms nobody.
fn keys(key: &ClientKey, taken: &[&str], nature: &Nature) -> Result<(KeysGiven, Option<Made>), Failure> {
    if let Some(path) = &key.generate_key {
        let failed = |_| Failure::other(Code::ServerFault, "try again; no key could be made");
        let file = KeyFile::generate(nature.clock.as_ref(), taken).map_err(failed)?;
        let text = file.to_text().map_err(failed)?;
        input::new_secret_file("--generate-key", path, &text)?;
        return Ok((KeysGiven::Jwks(file.public_set()), Some(Made { path: path.clone() })));
    }
    if let Some(path) = &key.jwks {
        return Ok((KeysGiven::Jwks(input::file("--jwks", path)?), None));
    }
    Ok((KeysGiven::JwksUri(key.jwks_uri.clone().unwrap_or_default()), None))
}

async fn add(add: ClientAdd, terminal: &Terminal, nature: &Nature) -> Result<u8, Failure> {
    let settings = input::settings(&add.place, Vec::new(), false)?;
    let (keys, made) = keys(&add.key, &[], nature)?;
    let request = Request::ClientAdd(NewClient {
        id: add.id,
        name: add.name,
        scope: add.scope,
        keys,
        reach: add.reach,
        allow_ip: add.allow_ip,
        handles: add.attachment_url == UrlForm::Handle,
    });
    let client = match perform(&settings, nature, terminal, request).await {
        Ok(client) => client,
        Err(failure) => {
            if let Some(made) = &made {
                // The key of a client that is not there: nothing holds its public half.
                let _ = std::fs::remove_file(&made.path);
            }
            return Err(failure);
        }
    };
    terminal.say_json(&shown(&client));
    terminal.tell(&format!("added: {} {}", client.id, may(&client)));
    notes(&client, made.as_ref(), terminal);
    Ok(0)
}

async fn rotate(rotate: ClientRotate, terminal: &Terminal, nature: &Nature) -> Result<u8, Failure> {
    let settings = input::settings(&rotate.place, Vec::new(), false)?;
    let now = perform(&settings, nature, terminal, Request::ClientShow { id: rotate.id.clone() }).await?;
    // The new key gets another `kid` than the one that ends, so that nobody takes one for the other.
    let taken: Vec<&str> = now.keys.iter().filter_map(|key| key.split(' ').next()).collect();
    let (keys, made) = keys(&rotate.key, &taken, nature)?;
    let request = Request::ClientChange { id: rotate.id, change: ClientChange::Rotate(keys) };
    let client = match perform(&settings, nature, terminal, request).await {
        Ok(client) => client,
        Err(failure) => {
            if let Some(made) = &made {
                let _ = std::fs::remove_file(&made.path);
            }
            return Err(failure);
        }
    };
    terminal.say_json(&shown(&client));
    terminal.tell(&format!("rotated: the old key of {} has ended, and tokens that it got with it", client.id));
    notes(&client, made.as_ref(), terminal);
    Ok(0)
}

async fn list(place: &super::arguments::Place, terminal: &Terminal, nature: &Nature) -> Result<u8, Failure> {
    let settings = input::settings(place, Vec::new(), false)?;
    let Response::Clients { clients } = backend::perform(&settings, nature, terminal, Request::ClientList {}).await?
    else {
        return Err(backend::unexpected());
    };
    if terminal.json {
        terminal.say_json(&json!({ "clients": clients.iter().map(shown).collect::<Vec<_>>() }));
    } else if clients.is_empty() {
        terminal.tell("no client is registered yet");
        terminal.cure("next", "daylily client add --help");
    }
    if !terminal.json {
        let width = clients.iter().map(|client| client.id.len()).max().unwrap_or_default();
        for client in &clients {
            let state = if client.disabled { "disabled" } else { "enabled" };
            terminal.say(&format!("{:width$}  {state:8}  {}  {}", client.id, client.reach.join(" "), client.scope));
        }
    }
    Ok(0)
}

async fn show(one: ClientOne, terminal: &Terminal, nature: &Nature) -> Result<u8, Failure> {
    let settings = input::settings(&one.place, Vec::new(), false)?;
    let client = perform(&settings, nature, terminal, Request::ClientShow { id: one.id }).await?;
    terminal.say_json(&shown(&client));
    terminal.tell(&format!("without a person: {}", may(&client)));
    Ok(0)
}

async fn change(
    one: ClientOne,
    change: ClientChange,
    said: &str,
    terminal: &Terminal,
    nature: &Nature,
) -> Result<u8, Failure> {
    let settings = input::settings(&one.place, Vec::new(), false)?;
    let client = perform(&settings, nature, terminal, Request::ClientChange { id: one.id, change }).await?;
    if terminal.json {
        terminal.say_json(&shown(&client));
    }
    terminal.tell(&said.replace("{id}", &client.id));
    Ok(0)
}

async fn perform(
    settings: &crate::config::Settings,
    nature: &Nature,
    terminal: &Terminal,
    request: Request,
) -> Result<ClientView, Failure> {
    match backend::perform(settings, nature, terminal, request).await? {
        Response::Client(client) => Ok(client),
        _ => Err(backend::unexpected()),
    }
}

fn notes(client: &ClientView, made: Option<&Made>, terminal: &Terminal) {
    if let Some(why) = &client.warning {
        let issue = Issue::new(Code::JwksUnreachable).fill("id", &client.id).fill("why", why);
        terminal.warn_issue(&issue.severity(Severity::Warning));
    }
    if client.reach.iter().any(|reach| reach == "all") {
        terminal
            .warn("it sees every document", "give it `--reach custodian=…` or leave `--reach` out, if less will do");
    }
    if let Some(made) = made {
        let path = made.path.display();
        terminal.tell(&format!(
            "note: its private key is in {path}, readable by this user only; hand it over safely and delete it here"
        ));
        terminal.cure("next", &format!("daylily token --client {} --key {path}", client.id));
    }
}

/// The client as JSON, in the order in which a person reads it.
fn shown(client: &ClientView) -> Value {
    serde_json::to_value(client).unwrap_or(Value::Null)
}

/// What a client may do, as a sentence without its subject.
fn may(client: &ClientView) -> String {
    let letters = |letter: char| client.scope.split(' ').any(|scope| grants(scope, letter));
    let verbs = [('r', "read"), ('s', "search"), ('c', "add"), ('u', "change"), ('d', "delete")];
    let verbs: Vec<&str> = verbs.into_iter().filter(|(letter, _)| letters(*letter)).map(|(_, verb)| verb).collect();
    let verbs = match verbs.as_slice() {
        [] => "do nothing with".to_owned(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    };
    let custodians: Vec<&str> = client.reach.iter().filter_map(|reach| reach.strip_prefix("custodian=")).collect();
    let which = if client.reach.iter().any(|reach| reach == "all") {
        "every document".to_owned()
    } else if custodians.is_empty() {
        "documents that name it as recipient or that it delivered".to_owned()
    } else {
        format!("documents of {}, that name it as recipient or that it delivered", custodians.join(", "))
    };
    format!("may {verbs} {which}")
}

/// Whether a scope word holds a letter, in the spelling of v1 or v2.
fn grants(scope: &str, letter: char) -> bool {
    let Some((_, letters)) = scope.rsplit_once('.') else { return false };
    match letters {
        "read" => "rs".contains(letter),
        "write" => "cud".contains(letter),
        "*" => true,
        letters => letters.contains(letter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(scope: &str, reach: &[&str]) -> ClientView {
        ClientView {
            id: "a".to_owned(),
            name: None,
            kind: "backend".to_owned(),
            scope: scope.to_owned(),
            reach: reach.iter().map(|reach| (*reach).to_owned()).collect(),
            keys: Vec::new(),
            attachment_url: "link".to_owned(),
            allow_ip: Vec::new(),
            disabled: false,
            created: String::new(),
            token_endpoint: String::new(),
            warning: None,
        }
    }

    #[test]
    fn what_a_client_may_is_said_in_words() {
        assert_eq!(
            may(&client("system/DocumentReference.rs", &["own"])),
            "may read and search documents that name it as recipient or that it delivered"
        );
        assert_eq!(may(&client("system/*.cruds", &["all"])), "may read, search, add, change and delete every document");
        assert_eq!(
            may(&client("system/DocumentReference.read", &["own", "custodian=Organization/1"])),
            "may read and search documents of Organization/1, that name it as recipient or that it delivered"
        );
    }

    #[test]
    fn the_json_of_a_client_has_the_contracts_names() {
        let json = shown(&client("system/*.rs", &["own"]));
        for name in ["id", "scope", "reach", "keys", "attachment-url", "token-endpoint"] {
            assert!(json.get(name).is_some(), "{name}");
        }
        assert!(json.get("warning").is_none());
    }
}
