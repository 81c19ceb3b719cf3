//! Daylily: a FHIR R4 facade for temporary document delivery.

pub mod app;
pub mod auth;
pub mod blob;
pub mod cli;
pub mod config;
pub mod control;
pub mod domain;
pub mod fhir;
pub mod notify;
pub mod scan;
pub mod store;
pub mod vault;
