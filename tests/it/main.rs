//! What must hold from outside, in one binary.

#[cfg(test)]
mod fhir_examples;
