//! A program of its own, whose allocator counts; memory of SQLite, which has bounds of its own, is not among it.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[cfg(test)]
mod day;
#[cfg(test)]
#[expect(dead_code, unused_imports, reason = "made for the many tests of tests/it")]
#[path = "../it/support/mod.rs"]
mod support;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;
