//! Searches as one statement per page (and one for its texts, and for the total where the page does not tell it). Access is a
//! condition among the others, before order and limit, so that pages, positions and totals hold nothing else.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use diesel::prelude::*;

use super::create::{ENCOUNTER, NO_DATE_DOWN};
use super::search_time::Began;
use super::statement::{Sql, list, sql};
use super::visibility::{self, Of};
use crate::domain::clock::Timestamp;
use crate::domain::policy::CodeTest;
use crate::domain::principal::AccessScope;
use crate::domain::query::{DateTest, Filter, Position, Prefix, Query, Sort, SortKey};
use crate::domain::resource::{Kind, Target};
use crate::store::{StoreError, TOTAL_LIMIT};

pub(super) mod one;
pub(super) mod page;

/// Statements with more conditions are rare shapes and are not kept prepared.
const KEPT_FILTERS: usize = 4;
/// Shapes that are kept prepared, the first that come by: their number grows with every order of parameters and with every list of
/// date prefixes, and each takes some 10 KiB of each connection for good.
const KEPT_SHAPES: usize = 256;

/// Lets a statement be kept prepared if it is one of few.
fn keep_few(statement: &mut Sql, filters: usize) {
    static KEPT: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let shape = statement.shape();
    if !(kept.contains(&shape) || filters <= KEPT_FILTERS && kept.len() < KEPT_SHAPES && kept.insert(shape)) {
        statement.once();
    }
}

fn total(conn: &mut SqliteConnection, query: &Query, scope: &AccessScope, began: Began) -> Result<u64, StoreError> {
    let mut statement = sql("SELECT count(*) FROM (SELECT 1 ", []);
    statement.append(matching(query, scope, began));
    statement.push(" LIMIT ?)", [(TOTAL_LIMIT + 1).into()]);
    keep_few(&mut statement, query.filters.len());
    Ok(statement.one::<i64>(conn)?.and_then(|count| u64::try_from(count).ok()).unwrap_or_default())
}

/// The last change that a first page in order of changes has taken into account. Every change is stamped later than the one before,
/// so that after a burst of them, or after a clock was set back, stamps are ahead of the clock; the clock cannot say it.
fn newest(conn: &mut SqliteConnection, query: &Query) -> Result<Option<Timestamp>, StoreError> {
    if query.after.is_some() || query.sort.key != SortKey::Updated {
        return Ok(None);
    }
    let last =
        sql("SELECT updated FROM res WHERE kind = ? ORDER BY updated DESC LIMIT 1", [query.kind.number().into()]);
    Ok(last.one::<i64>(conn)?.map(Timestamp::from_millis))
}

/// Order of a search: which column is the key, and how a page goes on after a position. Among equal keys the newest is first.
struct Order {
    row: &'static str,
    key: &'static str,
    by: &'static str,
    /// The same order around the page, over a few rows.
    outer: &'static str,
    descending: bool,
    is_arrival: bool,
}

impl Order {
    fn of(query: &Query) -> Self {
        let Sort { key, descending } = query.sort;
        let is_document = query.kind == Kind::DocumentReference;
        let (row, arrival_down, arrival_up) = if is_document {
            ("d.rid", " ORDER BY d.rid DESC", " ORDER BY d.rid")
        } else {
            ("r.rid", " ORDER BY r.rid DESC", " ORDER BY r.rid")
        };
        let (key, by) = match (key, descending) {
            (SortKey::Date, true) if is_document => ("d.date_from", " ORDER BY d.date_from DESC, d.rid DESC"),
            (SortKey::Date, false) if is_document => ("d.date_up", " ORDER BY d.date_up, d.rid DESC"),
            (SortKey::Updated, true) => ("r.updated", " ORDER BY r.updated DESC"),
            (SortKey::Updated, false) => ("r.updated", " ORDER BY r.updated"),
            (_, true) => (row, arrival_down),
            (_, false) => (row, arrival_up),
        };
        let is_arrival = key == row;
        let outer = match (is_arrival, descending) {
            (true, true) => " ORDER BY p.rid DESC",
            (true, false) => " ORDER BY p.rid",
            (false, true) => " ORDER BY p.sort_key DESC, p.rid DESC",
            (false, false) => " ORDER BY p.sort_key, p.rid DESC",
        };
        Self { row, key, by, outer, descending, is_arrival }
    }

    fn after(&self, position: Position) -> Sql {
        let mut condition = sql(" AND ", []);
        condition.push(self.key, []);
        match (self.descending, self.is_arrival) {
            (true, true) => condition.push(" < ?", [position.arrival.into()]),
            (false, true) => condition.push(" > ?", [position.arrival.into()]),
            (descending, false) => {
                // The first half is for the index, the second is exact.
                condition.push(if descending { " <= ? AND (" } else { " >= ? AND (" }, [position.key.into()]);
                condition.push(self.key, []);
                condition.push(if descending { " < ? OR " } else { " > ? OR " }, [position.key.into()]);
                condition.push(self.row, []);
                condition.push(" < ?)", [position.arrival.into()]);
            }
        }
        condition
    }
}

/// `FROM … WHERE …` of a search: rows that match and are visible.
fn matching(query: &Query, scope: &AccessScope, began: Began) -> Sql {
    let mut statement = if query.kind == Kind::DocumentReference {
        documents(query, scope, began)
    } else {
        let mut statement = sql("FROM res r WHERE r.kind = ? AND ", [query.kind.number().into()]);
        statement.append(began.first("search_time(r.rid, ?) AND "));
        statement.push("(r.kind <> 2 OR r.body IS NOT NULL) AND ", []);
        statement.append(visibility::resource(query.kind, scope));
        statement
    };
    for filter in &query.filters {
        statement.push(" AND ", []);
        statement.append(condition(filter, query.kind, scope, began));
    }
    // Stamps may be ahead of the clock (see `newest`): the first page is read as things stand.
    if let (Some(as_of), SortKey::Updated, Some(_)) = (query.as_of, query.sort.key, query.after) {
        statement.push(" AND r.updated <= ?", [as_of.millis().into()]);
    }
    statement
}

/// Whether a search only looks up rows by their ids. Any other may have to walk more than its caller could tell: what others have stored
/// decides how many rows one patient, encounter or identifier has.
pub(super) fn is_by_id(query: &Query) -> bool {
    !query.filters.is_empty() && query.filters.iter().all(|filter| matches!(filter, Filter::Id(_)))
}

/// Documents, by the way that is narrowest: a patient's, those of the client's own, or all in the wanted order. Purged ones have
/// no row in `doc`.
fn documents(query: &Query, scope: &AccessScope, began: Began) -> Sql {
    let is = |test: fn(&Filter) -> bool| query.filters.iter().any(test);
    let by_patient =
        is(|filter| matches!(filter, Filter::Patient(_) | Filter::Subject(_) | Filter::PatientIdentifier(_)));
    let by_key = is(|filter| matches!(filter, Filter::Id(_) | Filter::Identifier(_) | Filter::Encounter(_)));
    let by_state = is(|filter| matches!(filter, Filter::Lifecycle(_) | Filter::Updated(_)));
    let needs_res = by_state || query.sort.key == SortKey::Updated;
    let own_only = !scope.reach().all && scope.reach().custodians.is_empty();
    let mut statement = if by_patient {
        sql("FROM doc d INDEXED BY doc_patient", [])
    } else if query.sort.key == SortKey::Updated && !by_key {
        sql("FROM res r CROSS JOIN doc d ON d.rid = r.rid WHERE r.kind = 1", [])
    } else if own_only && !by_key {
        sql("FROM access a CROSS JOIN doc d ON d.rid = a.rid", [])
    } else {
        sql("FROM doc d", [])
    };
    let from_res = !by_patient && !by_key && query.sort.key == SortKey::Updated;
    if needs_res && !from_res {
        statement.push(" CROSS JOIN res r ON r.rid = d.rid", []);
    }
    statement.push(if from_res { " AND " } else { " WHERE " }, []);
    let by_access = own_only && !by_key && !by_patient && !from_res;
    statement.append(began.first(match (from_res, by_access) {
        (true, _) => "search_time(r.rid, ?) AND ",
        (_, true) => "search_time(a.rid, ?) AND ",
        _ => "search_time(d.rid, ?) AND ",
    }));
    if by_access {
        statement.push("a.party = ?", [scope.client().0.into()]);
    } else {
        statement.append(visibility::document(scope, Of::Doc));
    }
    statement
}

/// One filter as a condition. What does not apply to a type never matches.
fn condition(filter: &Filter, kind: Kind, scope: &AccessScope, began: Began) -> Sql {
    let is_document = kind == Kind::DocumentReference;
    match filter {
        Filter::Id(ids) => {
            let ids = list(ids.iter().map(crate::domain::id::ResourceId::as_str));
            let among = "SELECT rid FROM res WHERE kind = ? AND id IN (SELECT value FROM json_each(?)))";
            row_in(is_document, sql(among, [kind.number().into(), ids]))
        }
        Filter::Identifier(tests) => {
            let mut among = sql("SELECT rid FROM identifier WHERE ", []);
            among.append(began.first("search_time(rid, ?) AND "));
            among.append(any_of(tests, identifier_test));
            among.push(")", []);
            row_in(is_document, among)
        }
        Filter::Updated(tests) => any_of(tests, |test| date_test(test, "r.updated", "r.updated + 1")),
        _ if !is_document => sql("0", []),
        Filter::Patient(targets) => {
            subject(targets.iter().filter(|target| is_patient(target)).map(|target| target.0.as_str()))
        }
        Filter::Subject(targets) => subject(targets.iter().map(|target| target.0.as_str())),
        Filter::PatientIdentifier(tests) => patient_identifier(tests, scope, began),
        Filter::Encounter(targets) => {
            let mut among = sql("d.rid IN (SELECT rid FROM ref WHERE ", []);
            among.append(began.first("search_time(rid, ?) AND "));
            let named =
                "target IN (SELECT number FROM target WHERE text IN (SELECT value FROM json_each(?))) AND role = ?)";
            among.push(named, [list(targets.iter().map(|target| target.0.as_str())), ENCOUNTER.into()]);
            among
        }
        Filter::Custodian(targets) => {
            let among = "d.custodian IN (SELECT number FROM target WHERE text IN (SELECT value FROM json_each(?)))";
            sql(among, [list(targets.iter().map(|target| target.0.as_str()))])
        }
        Filter::Status(codes) => {
            let among = "d.status IN (SELECT value FROM json_each(?))";
            sql(among, [list(codes.iter().map(String::as_str))])
        }
        Filter::Type(tests) => codes("d.kind_set IN (", tests, began),
        Filter::Category(tests) => codes("d.category_set IN (", tests, began),
        Filter::Date(tests) => {
            let mut condition = sql("(d.date_from > ? AND ", [NO_DATE_DOWN.into()]);
            condition.append(any_of(tests, |test| date_test(test, "d.date_from", "d.date_until")));
            condition.push(")", []);
            condition
        }
        Filter::Lifecycle(states) => {
            let states = list(states.iter().map(|state| state.as_str()));
            sql("r.state IN (SELECT value FROM json_each(?))", [states])
        }
    }
}

fn row_in(is_document: bool, among: Sql) -> Sql {
    let mut condition = if is_document { sql("d.rid IN (", []) } else { sql("r.rid IN (", []) };
    condition.append(among);
    condition
}

fn subject<'a>(targets: impl Iterator<Item = &'a str>) -> Sql {
    let among = "d.patient IN (SELECT number FROM target WHERE text IN (SELECT value FROM json_each(?)))";
    sql(among, [list(targets)])
}

/// Whether a target can be a Patient: a reference that names another type is none, one without a type may be.
fn is_patient(target: &Target) -> bool {
    let mut steps = target.0.rsplit('/');
    let (_, kind) = (steps.next(), steps.next());
    kind.is_none_or(|kind| kind == "Patient")
}

fn patient_identifier(tests: &[CodeTest], scope: &AccessScope, began: Began) -> Sql {
    let mut condition =
        sql("d.patient IN (SELECT r.target FROM res r WHERE r.kind = ? AND r.rid IN ", [Kind::Patient.number().into()]);
    condition.push("(SELECT rid FROM identifier WHERE ", []);
    condition.append(began.first("search_time(rid, ?) AND "));
    condition.append(any_of(tests, identifier_test));
    condition.push(") AND ", []);
    condition.append(visibility::context(scope));
    condition.push(")", []);
    condition
}

fn identifier_test(test: &CodeTest) -> Sql {
    match (test.system.as_deref(), test.code.as_deref()) {
        (Some(system), Some(value)) => sql("value = ? AND system = ?", [value.into(), system.into()]),
        (None, Some(value)) => sql("value = ?", [value.into()]),
        (Some(system), None) => sql("system = ?", [system.into()]),
        (None, None) => sql("0", []),
    }
}

fn codes(column: &'static str, tests: &[CodeTest], began: Began) -> Sql {
    let mut condition = sql(column, []);
    condition.push("SELECT term_set FROM term_set_member WHERE ", []);
    condition.append(began.first("search_time(term_set, ?) AND "));
    condition.push("term IN (SELECT number FROM term WHERE ", []);
    condition.append(began.first("search_time(number, ?) AND "));
    condition.append(any_of(tests, code_test));
    condition.push("))", []);
    condition
}

fn code_test(test: &CodeTest) -> Sql {
    match (test.system.as_deref(), test.code.as_deref()) {
        (Some(system), Some(code)) => sql("code = ? AND system = ?", [code.into(), system.into()]),
        (None, Some(code)) => sql("code = ?", [code.into()]),
        (Some(system), None) => sql("system = ?", [system.into()]),
        (None, None) => sql("0", []),
    }
}

fn any_of<T>(tests: &[T], condition: impl Fn(&T) -> Sql) -> Sql {
    // No harmless `0 OR` in front: with it no index would be used.
    let mut all = sql(if tests.is_empty() { "(0" } else { "(" }, []);
    for (number, test) in tests.iter().enumerate() {
        all.push(if number == 0 { "(" } else { " OR (" }, []);
        all.append(condition(test));
        all.push(")", []);
    }
    all.push(")", []);
    all
}

/// A date condition on the element's span `[from, until)`, which the columns name, against the parameter's.
fn date_test(test: &DateTest, from: &'static str, until: &'static str) -> Sql {
    let (start, end) = (test.span.from.millis().into(), test.span.until.millis().into());
    let mut condition = Sql::default();
    let mut compare = |column: &'static str, with: &'static str, value| {
        condition.push(column, []);
        condition.push(with, [value]);
    };
    match test.prefix {
        Prefix::Eq => {
            compare(from, " >= ? AND ", start);
            compare(until, " <= ?", end);
        }
        Prefix::Ne => {
            compare(from, " < ? OR ", start);
            compare(until, " > ?", end);
        }
        Prefix::Gt => compare(until, " > ?", end),
        Prefix::Lt => compare(from, " < ?", start),
        // Above the parameter's span, or inside it: either way the element begins at its start or reaches beyond its end.
        Prefix::Ge => {
            compare(until, " > ? OR ", end);
            compare(from, " >= ?", start);
        }
        Prefix::Le => {
            compare(from, " < ? OR ", start);
            compare(until, " <= ?", end);
        }
        Prefix::Sa => compare(from, " >= ?", end),
        Prefix::Eb => compare(until, " <= ?", start),
        Prefix::Ap => {
            compare(until, " > ? AND ", start);
            compare(from, " < ?", end);
        }
    }
    condition
}

#[cfg(test)]
mod tests;
