//! Commands: parse, call, print; nothing else.

mod arguments;
mod message;
mod mistakes;
mod terminal;
mod words;
