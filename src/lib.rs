//! Daylily: a FHIR R4 facade for temporary document delivery.

pub mod auth;
pub mod domain;
pub mod notify;
pub mod store;
