//! The rules, pure: no I/O, no async, no database, no web framework, no FHIR JSON. Everything here can be tested with values
//! alone. Time, ids and chance come in as arguments ([`clock`]).

pub mod clock;
pub mod content;
pub mod id;
pub mod policy;
pub mod refusal;
pub mod verdict;
