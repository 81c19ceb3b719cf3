//! Logs and metrics: how they are switched on, and the one list of their names. Nothing here knows documents, HTTP or rows.
//! No line and no label may hold a name, an identifier of a patient, a token, a file name, a path or a query.

pub mod fields;
pub mod init;
mod lines;
pub mod metrics;

pub use init::init;
pub use metrics::Metrics;
