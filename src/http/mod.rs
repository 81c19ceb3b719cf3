//! HTTP: routes, what a request says made into a call, what comes back made into an answer. No decision about access, no SQL, no
//! FHIR JSON is read or made here. What the room needs of others stands in [`ports`].
//!
//! Every answer passes [`exchange`], which gives it its id, its headers and its log line; every refusal becomes an answer in
//! [`error`] and nowhere else.

mod accept;
mod adapter;
mod admission;
mod arrival;
mod auth_routes;
mod authority;
mod body;
mod client_rate;
mod confirm;
mod connections;
mod content_digest;
mod cors;
mod disposition;
mod error;
mod exchange;
mod expectation;
mod fhir_routes;
mod files;
mod gate;
mod link_path;
mod operations;
mod pages;
mod peer;
mod pools;
pub mod ports;
mod preconditions;
mod prefetch;
mod pretty;
mod probe;
mod range;
pub mod receiver;
mod refusals;
mod routes;
mod screen;
mod send_queue;
mod server;
#[cfg(test)]
mod tests;
mod wire;

pub use adapter::Served;
pub use gate::TokenGate;
pub use peer::Proxies;
pub use probe::{PROBE_BYTES, Probes};
pub use refusals::{Refusals, Taken};
pub use server::{HttpParts, Server, StartFailed, start};
/// Readers of headers, for `fuzz/` alone.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use {
    disposition::attachment,
    range::{Wanted, if_range_holds, wanted},
};
