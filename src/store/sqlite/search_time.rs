//! How long one search may read. SQLite runs a statement to its end unless something in it fails; so a function stands first among a
//! scan's conditions, is asked for each row, and fails once the time is up.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use diesel::prelude::*;
use diesel::serialize::{IsNull, Output, ToSql};
use diesel::sql_types::{BigInt, Bool};
use diesel::sqlite::Sqlite;

use super::statement::{Sql, sql};
use crate::domain::clock::Clock;

diesel::define_sql_function! {
    /// True until the time is up, in microseconds of the monotonic clock. The row is named so that it is asked for each.
    fn search_time(row: BigInt, until: BigInt) -> Bool;
}

/// What the failure says; [`super::statement::failed`] knows it by this.
pub(super) const OVER: &str = "the time of the search is over";

/// When a search must have ended; without one it is bounded otherwise.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Until(pub(super) Option<i64>);

impl Until {
    /// `ask`, whose `?` is the time, where there is one; else nothing.
    pub(super) fn first(self, ask: &'static str) -> Sql {
        self.0.map_or_else(Sql::default, |until| sql(ask, [until.into()]))
    }
}

#[derive(Debug)]
struct InTime(bool);

impl ToSql<Bool, Sqlite> for InTime {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> diesel::serialize::Result {
        if !self.0 {
            return Err(OVER.into());
        }
        out.set_value(1_i32);
        Ok(IsNull::No)
    }
}

/// Microseconds of the clock that only goes on.
pub(super) fn now(clock: &dyn Clock) -> i64 {
    i64::try_from(clock.monotonic().as_micros()).unwrap_or(i64::MAX)
}

/// Makes the function known to a connection.
pub(super) fn register(conn: &mut SqliteConnection, clock: Arc<dyn Clock>) -> QueryResult<()> {
    // A clock that is read has nothing that a panic could leave half done.
    let clock = AssertUnwindSafe(clock);
    search_time_utils::register_nondeterministic_impl(conn, move |_row: i64, until: i64| {
        let clock: &AssertUnwindSafe<Arc<dyn Clock>> = &clock;
        InTime(now(clock.as_ref()) < until)
    })
}
