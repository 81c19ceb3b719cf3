//! Commands: parse, call, print; nothing else.

mod arguments;
mod backend;
mod client;
mod input;
mod links;
mod message;
mod mistakes;
mod policy;
mod terminal;
mod token;
mod words;
