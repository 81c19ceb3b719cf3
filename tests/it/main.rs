//! What must hold from outside, in one test binary: every module is a journey, a resource, or a contract that each
//! implementation of a trait is held to.

#[cfg(test)]
mod access;
#[cfg(test)]
mod access_attacks;
#[cfg(test)]
mod access_oracle;
#[cfg(test)]
mod acknowledge;
#[cfg(test)]
mod arrival;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod blob_contract;
#[cfg(test)]
mod clamd;
#[cfg(test)]
mod clock;
#[cfg(test)]
mod confirm;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod content_attacks;
#[cfg(test)]
mod content_stored;
#[cfg(test)]
mod corruption;
#[cfg(test)]
mod counted;
#[cfg(test)]
mod cutting;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod dropped_uploads;
#[cfg(test)]
mod endings;
#[cfg(test)]
mod examples_over_http;
#[cfg(test)]
mod explained;
#[cfg(test)]
mod export;
#[cfg(test)]
mod export_long;
#[cfg(test)]
mod fhir_examples;
#[cfg(test)]
mod heavy_answers;
#[cfg(test)]
mod http_limits;
#[cfg(test)]
mod http_raw;
#[cfg(test)]
mod journeys;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod links;
#[cfg(test)]
mod links_answers;
#[cfg(test)]
mod links_attacks;
#[cfg(test)]
mod links_declined;
#[cfg(test)]
mod log_notes;
#[cfg(test)]
mod loops;
#[cfg(test)]
mod operators;
#[cfg(test)]
mod outbound_attacks;
#[cfg(test)]
mod outbox_invariants;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod parser_attacks;
#[cfg(test)]
mod record_attacks;
#[cfg(test)]
mod restarts;
#[cfg(test)]
mod rollback;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod shares;
#[cfg(test)]
mod store_build;
#[cfg(test)]
mod store_contract;
#[cfg(test)]
mod store_sqlite;
#[cfg(test)]
mod subscription_examples;
#[cfg(test)]
mod subscriptions;
#[cfg(test)]
mod support;
#[cfg(test)]
mod surface;
#[cfg(test)]
mod tokens_attacks;
#[cfg(test)]
mod undone;
#[cfg(test)]
mod undone_links;
#[cfg(test)]
mod undone_registered;
#[cfg(test)]
mod uses;
#[cfg(test)]
mod uses_wire;
#[cfg(test)]
mod webhooks;
#[cfg(test)]
mod webhooks_long;
#[cfg(test)]
mod wire_faults;
#[cfg(test)]
mod wire_withdrawn;
#[cfg(test)]
mod withdrawn;
