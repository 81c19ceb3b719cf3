//! Commands: parse, call, print; nothing else.

mod arguments;
mod audit;
mod backend;
mod client;
mod clock;
mod demo;
mod doctor;
mod explain;
mod hold;
mod input;
mod links;
mod message;
mod mistakes;
mod operator;
mod oversight_arguments;
mod policy;
mod policy_terms;
mod quarantine;
mod serve;
mod terminal;
mod token;
mod webhook;
mod words;

use std::ffi::OsString;
use std::sync::Arc;

use clap::Parser;

use self::arguments::{Arguments, Color, Command, Global};
use self::message::Failure;
use self::terminal::{Acting, Terminal};
use crate::app::{Nature, SystemClock, harden};
use crate::config::surroundings;
use crate::domain::refusal::Code;
use crate::vault::SystemEntropy;

/// Runs the program with its arguments, the first of which is its name, and answers its exit status.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let words: Vec<String> = arguments.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let parsed = match Arguments::try_parse_from(&arguments) {
        Ok(parsed) => parsed,
        Err(error) => return refuse(&error, &words),
    };
    harden();
    let mut terminal = Terminal::new(&parsed.global, &surroundings());
    if let Some(id) = parsed.global.acting {
        // First of all, so that with `--password-stdin` the password is the first line.
        match terminal.password(&format!("Password of {}", message::one_line(&id))) {
            Ok(password) => terminal.acting = Some(Acting { id, password }),
            Err(failure) => return terminal.fail(&failure),
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(dispatch(parsed.command, &terminal)),
        Err(_no_threads) => Err(Failure::other(Code::ServerFault, "let this user start more threads")),
    };
    outcome.unwrap_or_else(|failure| terminal.fail(&failure))
}

async fn dispatch(command: Command, terminal: &Terminal) -> Result<u8, Failure> {
    let nature = Nature { clock: Arc::new(SystemClock::new()), entropy: Arc::new(SystemEntropy) };
    match command {
        Command::Demo(demo) => Box::pin(demo::run(demo, terminal, nature)).await,
        Command::Doctor(doctor) => Box::pin(doctor::run(doctor, terminal, &nature)).await,
        Command::Serve(serve) => Box::pin(serve::run(serve, terminal, nature)).await,
        Command::Client(client) => Box::pin(client::run(client, terminal, &nature)).await,
        Command::Token(token) => Box::pin(token::run(token, terminal, &nature)).await,
        Command::Policy(policy) => Box::pin(policy::run(policy, terminal, &nature)).await,
        Command::Links(links) => Box::pin(links::run(links, terminal, &nature)).await,
        Command::Operator(operator) => Box::pin(operator::run(operator, terminal, &nature)).await,
        Command::Quarantine(quarantine) => Box::pin(quarantine::run(quarantine, terminal, &nature)).await,
        Command::Hold(hold) => Box::pin(hold::run(hold, terminal, &nature)).await,
        Command::Explain(explain) => Box::pin(explain::run(explain, terminal, &nature)).await,
        Command::Clock(clock) => Box::pin(clock::run(clock, terminal, &nature)).await,
        Command::Webhook(webhook) => Box::pin(webhook::run(webhook, terminal, &nature)).await,
        Command::Audit(audit) => Box::pin(audit::run(audit, terminal, &nature)).await,
    }
}

/// A command line that was not understood, or that asks for help.
fn refuse(error: &clap::Error, words: &[String]) -> u8 {
    let json = words.iter().any(|word| word == "--json");
    let global = Global { json, quiet: false, utc: false, color: Color::Auto, acting: None, password_stdin: false };
    let terminal = Terminal::new(&global, &surroundings());
    match mistakes::failure_of(error, words) {
        Some(failure) => terminal.fail(&failure),
        None => {
            // Help and version go to standard output, help for want of a command to standard error.
            let _ = error.print();
            u8::try_from(error.exit_code()).unwrap_or(2)
        }
    }
}
