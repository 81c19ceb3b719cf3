//! The way out: every connection that this server opens to a place that someone else named goes through [`egress`], which vets
//! addresses ([`address`]), time and size. Webhooks are sent from here; client key sets are fetched through here.
//!
//! Knows `domain` and its HTTP client. Who is to be told what, and what an answer means, is decided elsewhere.

pub mod address;
pub mod egress;
pub mod sender;
pub mod signature;
