//! Tests that take parts together, as one binary.

mod store_build;
mod store_contract;
mod store_sqlite;
