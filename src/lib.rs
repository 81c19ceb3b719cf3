//! Daylily: a FHIR R4 facade for temporary document delivery.

pub mod config;
pub mod domain;
