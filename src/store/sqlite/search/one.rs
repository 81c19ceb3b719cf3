//! Whether a search would find one document: the same filters, asked of that document's own rows. Each event asks this for many
//! Subscriptions on the one writer, so nothing here may walk what others have sent.

use diesel::prelude::*;

use super::{any_of, code_test, condition, identifier_test, keep_few};
use crate::domain::policy::CodeTest;
use crate::domain::principal::AccessScope;
use crate::domain::query::Filter;
use crate::domain::resource::Kind;
use crate::store::StoreError;
use crate::store::sqlite::create::ENCOUNTER;
use crate::store::sqlite::search_time::Began;
use crate::store::sqlite::statement::{Sql, list, sql};
use crate::store::sqlite::visibility::{self, Of};

/// Whether a search with these filters would find this document.
pub(in crate::store::sqlite) fn matches(
    conn: &mut SqliteConnection,
    rid: i64,
    filters: &[Filter],
    scope: &AccessScope,
) -> Result<bool, StoreError> {
    Ok(statement(rid, filters, scope).one::<i64>(conn)?.is_some())
}

pub(super) fn statement(rid: i64, filters: &[Filter], scope: &AccessScope) -> Sql {
    let from = "SELECT d.rid FROM doc d CROSS JOIN res r ON r.rid = d.rid WHERE d.rid = ? AND ";
    let mut statement = sql(from, [rid.into()]);
    statement.append(visibility::document(scope, Of::Doc));
    for filter in filters {
        statement.push(" AND ", []);
        statement.append(of_one(filter, scope));
    }
    keep_few(&mut statement, filters.len());
    statement
}

/// One filter as a condition on the rows of the document in `d` and `r`.
fn of_one(filter: &Filter, scope: &AccessScope) -> Sql {
    match filter {
        Filter::Id(ids) => {
            let ids = list(ids.iter().map(crate::domain::id::ResourceId::as_str));
            sql("r.id IN (SELECT value FROM json_each(?))", [ids])
        }
        Filter::Identifier(tests) => {
            let from = "EXISTS (SELECT 1 FROM identifier INDEXED BY identifier_rid WHERE rid = d.rid AND ";
            closed(sql(from, []), any_of(tests, identifier_test))
        }
        Filter::PatientIdentifier(tests) => {
            let from = "EXISTS (SELECT 1 FROM res r INDEXED BY res_target WHERE r.target = d.patient AND r.kind = ? AND \
                EXISTS (SELECT 1 FROM identifier INDEXED BY identifier_rid WHERE rid = r.rid AND ";
            let mut from = closed(sql(from, [Kind::Patient.number().into()]), any_of(tests, identifier_test));
            from.push(" AND ", []);
            closed(from, visibility::context(scope))
        }
        Filter::Encounter(targets) => {
            let from = "EXISTS (SELECT 1 FROM ref INDEXED BY ref_rid WHERE rid = d.rid AND role = ? AND target IN \
                (SELECT number FROM target WHERE text IN (SELECT value FROM json_each(?))))";
            sql(from, [ENCOUNTER.into(), list(targets.iter().map(|target| target.0.as_str()))])
        }
        Filter::Type(tests) => codes("d.kind_set AND ", tests),
        Filter::Category(tests) => codes("d.category_set AND ", tests),
        // Columns of the document itself, against lists that the filter brings.
        Filter::Patient(_)
        | Filter::Subject(_)
        | Filter::Custodian(_)
        | Filter::Status(_)
        | Filter::Date(_)
        | Filter::Updated(_)
        | Filter::Lifecycle(_) => condition(filter, Kind::DocumentReference, scope, Began::default()),
    }
}

/// Codes of the document's own set.
fn codes(set: &'static str, tests: &[CodeTest]) -> Sql {
    let mut from = sql("EXISTS (SELECT 1 FROM term_set s CROSS JOIN json_each('[' || s.terms || ']') j ", []);
    from.push("CROSS JOIN term t ON t.number = j.value WHERE s.number = ", []);
    from.push(set, []);
    closed(from, any_of(tests, code_test))
}

fn closed(mut from: Sql, last: Sql) -> Sql {
    from.append(last);
    from.push(")", []);
    from
}
