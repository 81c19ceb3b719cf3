//! The audit log: what an entry says ([`entry`]), by whom it is found ([`index`]), its bytes ([`leaf`], [`cell`]), the Merkle tree over
//! them ([`tree`], [`proof`]), the signed checkpoint that outsiders keep ([`note`]), and the check of all of it ([`verify`]), after
//! which a note says from where the next may go on ([`full_check`]).
//!
//! Whoever changes, drops, reorders or back-dates an entry, with the database and even the signing key in hand, is found out by
//! anyone who holds one small checkpoint; what an entry says of people can still be erased. Hashing is RFC 6962 §2.1, the
//! checkpoint is C2SP tlog-checkpoint, so other people's tools can check it.
//!
//! Pure: where leaves are kept, when a checkpoint is signed and where it is sent are questions for `store` and `worker`.

pub mod action;
pub mod cell;
pub mod detail;
pub mod effect;
pub mod endings;
pub mod entry;
pub mod full_check;
pub mod given;
pub mod groups;
pub mod index;
pub mod leaf;
pub mod note;
pub mod proof;
pub mod signed_lines;
pub mod sparse;
pub mod tree;
pub mod verify;
pub mod vkey;

pub use action::{Action, Outcome};
pub use cell::{CellKey, Group};
pub use entry::Entry;
pub use full_check::FullCheck;
pub use leaf::{Leaf, Prepared};
pub use note::Checkpoint;
pub use tree::{Frontier, Hash};
pub use vkey::{SigningKey, VerifyingKey};

#[cfg(test)]
mod sample;
#[cfg(test)]
mod vectors;
