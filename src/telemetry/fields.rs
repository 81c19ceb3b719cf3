//! Names of the fields of log lines. Only these are used, so that a log store can index them and a test can look for others.

/// Stable code of a refusal.
pub const CODE: &str = "code";
/// HTTP status.
pub const STATUS: &str = "status";
/// Request id, as in `X-Request-Id`.
pub const REQUEST: &str = "request";
/// Route template, never the path.
pub const ROUTE: &str = "route";
/// HTTP method.
pub const METHOD: &str = "method";
/// Registered client id.
pub const CLIENT: &str = "client";
/// Milliseconds until the head of the answer was ready.
pub const MS: &str = "ms";
/// Link id, safe to log.
pub const LINK: &str = "link";
/// Which case of a set that callers must not tell apart; one of the program's own words.
pub const CASE: &str = "case";

/// Every field that a line about a request may have.
pub const ALL: &[&str] = &[CODE, STATUS, REQUEST, ROUTE, METHOD, CLIENT, MS, LINK, CASE];
