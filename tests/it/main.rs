//! What must hold from outside, in one binary.

mod fhir_examples;
