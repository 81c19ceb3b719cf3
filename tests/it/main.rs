//! What must hold from outside, in one binary: a module for each journey and for each contract. Each is marked as test code, so
//! that clippy grants its functions what it grants to tests.

#[cfg(test)]
mod blob_contract;
