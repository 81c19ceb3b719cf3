//! The rules, pure: no I/O, no async, no database, no web framework, no FHIR JSON. Everything here can be tested with values
//! alone. Time, ids and chance come in as arguments ([`clock`]).

pub mod acknowledgement;
pub mod audit;
pub mod claim;
pub mod clock;
pub mod clock_watch;
pub mod content;
pub mod coverage;
pub mod cursor;
pub mod epoch;
pub mod holder;
pub mod id;
pub mod lifecycle;
pub mod link;
pub mod log_acknowledgement;
pub mod operator;
pub mod policy;
pub mod principal;
pub mod query;
pub mod refusal;
pub mod resource;
pub mod subscription;
pub mod text;
pub mod verdict;
