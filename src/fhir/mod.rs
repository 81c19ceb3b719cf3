//! FHIR R4 (4.0.1), pure: text in, values out. What a body says, whether it is valid, which elements and search parameters
//! R4 has. No I/O, no time of its own, no store, no web framework; knows [`crate::domain`] alone.
//!
//! - [`json`]: a strict reader and a writer that keep member order and the text of every number;
//! - [`tables`]: facts of R4 (types, elements, codes, search parameters), made by `fhir-profiles/generate/generate.py`;
//! - [`validate`]: the one door for bodies: [`validate::read`] parses and checks in one go;
//! - [`document`], [`context`], [`binary`]: a valid resource to what is stored; [`render`], [`bundle`]: back to what is shown;
//! - [`search`], [`operations`]: what is asked; [`outcome`]: why it is refused; [`capability`], [`definitions`]: what there is.

pub mod base;
pub mod binary;
pub mod bundle;
pub mod capability;
pub mod context;
pub mod definitions;
pub mod document;
pub mod json;
pub mod notification;
pub mod operations;
pub mod outcome;
mod path;
pub mod render;
pub mod search;
pub mod stamp;
pub mod subscription;
pub mod tables;
pub mod validate;
