//! What must hold from outside, in one test binary: every module is a journey, a resource, or a contract that each
//! implementation of a trait is held to.

#[cfg(test)]
mod blob_contract;
#[cfg(test)]
mod cutting;
#[cfg(test)]
mod fhir_examples;
#[cfg(test)]
mod journeys;
#[cfg(test)]
mod store_build;
#[cfg(test)]
mod store_contract;
#[cfg(test)]
mod store_sqlite;
#[cfg(test)]
mod support;
