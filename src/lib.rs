//! Daylily: a FHIR R4 facade for temporary document delivery.

pub mod domain;
pub mod fhir;
pub mod store;
