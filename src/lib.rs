//! Daylily: a FHIR R4 facade for temporary document delivery.

pub mod blob;
pub mod config;
pub mod domain;
pub mod http;
pub mod store;
pub mod telemetry;
pub mod vault;
