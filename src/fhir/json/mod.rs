//! JSON as FHIR needs it (RFC 8259, and the rules of R4 json.html on top): UTF-8 without a byte order mark, no name twice in
//! one object, bounded depth; numbers keep their text (`1.50` is not `1.5`), members keep their order. Nothing here knows
//! what an element means.

#[cfg(test)]
mod attacks;
mod parse;
#[cfg(test)]
mod tests;
mod value;
mod write;

pub use parse::{Fault, FaultKind, MAX_DEPTH, parse};
pub use value::{Number, Object, Value};
pub use write::{ObjectWriter, write_text, write_value};
