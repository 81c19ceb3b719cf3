//! How long one search may read. SQLite runs a statement to its end unless something in it fails; so a function stands first among a
//! scan's conditions, is asked for each row, and fails once the time is up. A process that is stopped or gets no processor reads nothing meanwhile:
//! of the time between two rows no more counts than reading one can take.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use diesel::prelude::*;
use diesel::serialize::{IsNull, Output, ToSql};
use diesel::sql_types::{BigInt, Bool};
use diesel::sqlite::Sqlite;

use super::statement::{Sql, sql};
use crate::domain::clock::Clock;

diesel::define_sql_function! {
    /// True until the time is up of the search that began then, in microseconds of the monotonic clock. The row is named so that it
    /// is asked for each.
    fn search_time(row: BigInt, began: BigInt) -> Bool;
}

/// What the failure says; [`super::statement::failed`] knows it by this.
pub(super) const OVER: &str = "the time of the search is over";

/// The most that counts between two rows, in microseconds: what a row takes whose pages a slow disk has to bring.
const COUNTED_MOST: i64 = 20_000;

/// When a search began whose time is bounded; without it the search is bounded otherwise.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Began(Option<i64>);

impl Began {
    /// A search that begins now.
    pub(super) fn now(clock: &dyn Clock) -> Self {
        Self(Some(micros(clock)))
    }

    /// `ask`, whose `?` is the beginning, where there is one; else nothing.
    pub(super) fn first(self, ask: &'static str) -> Sql {
        self.0.map_or_else(Sql::default, |began| sql(ask, [began.into()]))
    }
}

/// Microseconds of the clock that only goes on.
fn micros(clock: &dyn Clock) -> i64 {
    as_micros(clock.monotonic())
}

fn as_micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
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

/// The time of the search that a connection runs.
struct Watch {
    clock: Arc<dyn Clock>,
    span: i64,
    /// Which search it is, by its beginning.
    began: i64,
    /// When it was asked last.
    seen: i64,
    spent: i64,
}

impl Watch {
    fn is_in_time(&mut self, began: i64) -> bool {
        if self.began != began {
            (self.began, self.seen, self.spent) = (began, began, 0);
        }
        let now = micros(self.clock.as_ref());
        let passed = now.saturating_sub(self.seen).clamp(0, COUNTED_MOST);
        (self.seen, self.spent) = (now, self.spent.saturating_add(passed));
        self.spent < self.span
    }
}

/// Makes the function known to a connection, whose searches may each read for `span`.
pub(super) fn register(conn: &mut SqliteConnection, clock: Arc<dyn Clock>, span: Duration) -> QueryResult<()> {
    let watch = Watch { clock, span: as_micros(span), began: -1, seen: 0, spent: 0 };
    // Numbers that are each set at once: nothing that a panic could leave half done.
    let mut watch = AssertUnwindSafe(watch);
    search_time_utils::register_nondeterministic_impl(conn, move |_row: i64, began: i64| {
        let watch: &mut AssertUnwindSafe<Watch> = &mut watch;
        InTime(watch.is_in_time(began))
    })
}
