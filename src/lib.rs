//! Daylily: a FHIR R4 facade for temporary document delivery. The rooms and the journeys through them are drawn in
//! `docs/architecture.md`; `tests/architecture.rs` holds the code to it.

pub mod app;
pub mod auth;
pub mod blob;
pub mod cli;
pub mod config;
pub mod control;
pub mod delivery;
pub mod domain;
pub mod failpoint;
pub mod fhir;
pub mod http;
pub mod notify;
pub mod scan;
pub mod shares;
pub mod store;
pub mod telemetry;
pub mod vault;
pub mod worker;
