//! The access scope as conditions. A document is visible to its source, to whom it names as recipient, to clients that reach its
//! custodian, and to those that reach everything; a context resource to who sent it, to those that reach everything, and with
//! any document that refers to it; a Binary with the document that claims it, until then to its uploader alone.

use diesel::prelude::*;

use super::search_time::Began;
use super::statement::{Sql, list, sql};
use crate::domain::id::ResourceId;
use crate::domain::principal::AccessScope;
use crate::domain::resource::{Kind, Target};
use crate::store::StoreError;

/// Who has received fewer documents than this is asked for each whether it refers to a resource; of others those that refer to it are walked.
const FEW: i64 = 256;

/// Where a document's row number and custodian stand in the statement that the condition goes into.
#[derive(Debug, Clone, Copy)]
pub(super) enum Of {
    /// `doc` as `d`
    Doc,
    /// `res` as `r`; tombstones too
    Res,
    /// `res` as `o`, the document that a Binary in `r` belongs to
    OwnerDocument,
    /// `doc` as `x`, in a subquery
    Referring,
}

/// Whether a document is visible.
pub(super) fn document(scope: &AccessScope, of: Of) -> Sql {
    if scope.reach().all {
        return sql("1", []);
    }
    if let Of::Referring = of {
        return referring(scope);
    }
    let client = || scope.client().0.into();
    let mut condition = match of {
        Of::Doc => sql("(EXISTS (SELECT 1 FROM access WHERE party = ? AND rid = d.rid)", [client()]),
        Of::Res => sql("(EXISTS (SELECT 1 FROM access WHERE party = ? AND rid = r.rid)", [client()]),
        Of::OwnerDocument => sql("(EXISTS (SELECT 1 FROM access WHERE party = ? AND rid = o.rid)", [client()]),
        Of::Referring => Sql::default(),
    };
    if !scope.reach().custodians.is_empty() {
        condition.push(
            match of {
                Of::Doc => " OR d.custodian",
                Of::Res => " OR r.custodian",
                Of::OwnerDocument => " OR o.custodian",
                Of::Referring => " OR x.custodian",
            },
            [],
        );
        let custodians = list(scope.reach().custodians.iter().map(String::as_str));
        let among = " IN (SELECT number FROM target WHERE text IN (SELECT value FROM json_each(?)))";
        condition.push(among, [custodians]);
    }
    condition.push(")", []);
    condition
}

/// Whether the context resource in `r` is visible.
pub(super) fn context(scope: &AccessScope) -> Sql {
    context_in_time(scope, Began::default())
}

/// The same, in the time of a search: many documents may refer to one resource.
fn context_in_time(scope: &AccessScope, began: Began) -> Sql {
    if scope.reach().all {
        return sql("1", []);
    }
    let client = || scope.client().0.into();
    let mut condition = sql("(r.owner = ? OR ", [client()]);
    if scope.reach().custodians.is_empty() {
        let few = "CASE WHEN (SELECT count(*) FROM (SELECT 1 FROM access INDEXED BY access_received WHERE party = ? AND role = 2 \
            LIMIT ?)) < ? THEN EXISTS (SELECT 1 FROM access a INDEXED BY access_received CROSS JOIN ref ON ref.target = r.target \
            AND ref.role IN (1, 2, 3, 4) AND ref.rid = a.rid CROSS JOIN doc x ON x.rid = a.rid WHERE a.party = ? AND a.role = 2) ELSE ";
        condition.push(few, [client(), FEW.into(), FEW.into(), client()]);
    }
    condition.push("EXISTS (SELECT 1 FROM ref CROSS JOIN doc x ON x.rid = ref.rid WHERE ", []);
    condition.append(began.first("search_time(ref.rid, ?) AND "));
    condition.push("ref.target = r.target AND ", []);
    condition.append(document(scope, Of::Referring));
    condition.push(if scope.reach().custodians.is_empty() { ") END)" } else { "))" }, []);
    condition
}

/// Whether the Binary in `r` is visible.
pub(super) fn binary(scope: &AccessScope) -> Sql {
    let mut condition = sql(
        "CASE WHEN r.document IS NULL THEN r.owner = ? ELSE EXISTS (SELECT 1 FROM res o ",
        [scope.client().0.into()],
    );
    condition.push("WHERE o.rid = r.document AND ", []);
    condition.append(document(scope, Of::OwnerDocument));
    condition.push(") END", []);
    condition
}

/// Whether the resource in `r`, which is of this kind, is visible.
pub(super) fn resource(kind: Kind, scope: &AccessScope) -> Sql {
    match kind {
        Kind::DocumentReference => document(scope, Of::Res),
        Kind::Binary => binary(scope),
        // Has its own calls, for its owner alone.
        Kind::Subscription => sql("0", []),
        _ => context(scope),
    }
}

/// The row of a resource, if it is visible.
pub(super) fn find(
    conn: &mut SqliteConnection,
    kind: Kind,
    id: &ResourceId,
    scope: &AccessScope,
) -> Result<Option<i64>, StoreError> {
    let mut query =
        sql("SELECT r.rid FROM res r WHERE r.kind = ? AND r.id = ? AND ", [kind.number().into(), id.as_str().into()]);
    query.append(resource(kind, scope));
    query.one(conn)
}

/// A target as far as its own row and a document's tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shown {
    /// Whether a resource stands there that is visible.
    Known(bool),
    /// A context resource of another client: the documents that refer to it decide.
    ByReferring(Kind, ResourceId),
}

impl Shown {
    /// Whether it is visible, where that is known.
    pub(super) fn known(&self) -> Option<bool> {
        match self {
            Self::Known(visible) => Some(*visible),
            Self::ByReferring(..) => None,
        }
    }
}

/// For each target what a look at few rows tells of it.
pub(super) fn targets(
    conn: &mut SqliteConnection,
    targets: &[Target],
    scope: &AccessScope,
) -> Result<Vec<Shown>, StoreError> {
    let visible = |target: &Target| {
        let Some((kind, id)) = target.local() else { return Ok(Shown::Known(false)) };
        match (Kind::parse(kind), ResourceId::parse(id)) {
            (Some(kind), Some(id)) if kind.is_context() => {
                let query = "SELECT owner FROM res WHERE kind = ? AND id = ?";
                let owner: Option<i64> = sql(query, [kind.number().into(), id.as_str().into()]).one(conn)?;
                Ok(match owner {
                    None => Shown::Known(false),
                    Some(owner) if owner == i64::from(scope.client().0) || scope.reach().all => Shown::Known(true),
                    Some(_) => Shown::ByReferring(kind, id),
                })
            }
            (Some(kind), Some(id)) => Ok(Shown::Known(find(conn, kind, &id, scope)?.is_some())),
            _ => Ok(Shown::Known(false)),
        }
    };
    targets.iter().map(visible).collect()
}

/// The same with nothing left open, in the time of a search for all of them together.
///
/// # Errors
/// [`StoreError::TooCostly`] once that is over.
pub(super) fn settled(
    conn: &mut SqliteConnection,
    shown: Vec<Shown>,
    scope: &AccessScope,
    began: Began,
) -> Result<Vec<bool>, StoreError> {
    let settle = |shown| {
        let (kind, id) = match shown {
            Shown::Known(visible) => return Ok(visible),
            Shown::ByReferring(kind, id) => (kind, id),
        };
        let mut query = sql("SELECT r.rid FROM res r WHERE ", []);
        query.append(began.first("search_time(r.rid, ?) AND "));
        query.push("r.kind = ? AND r.id = ? AND ", [kind.number().into(), id.as_str().into()]);
        query.append(context_in_time(scope, began));
        Ok(query.one::<i64>(conn)?.is_some())
    };
    shown.into_iter().map(settle).collect()
}

/// Whether the document `x` shows what it refers to. What its reader delivered itself does not: with a reference to a guessed id
/// anybody could otherwise open, and replace, what others have sent.
fn referring(scope: &AccessScope) -> Sql {
    let client = || scope.client().0.into();
    let mut condition = sql("(EXISTS (SELECT 1 FROM access WHERE party = ? AND rid = x.rid AND role = 2)", [client()]);
    if !scope.reach().custodians.is_empty() {
        let custodians = list(scope.reach().custodians.iter().map(String::as_str));
        condition.push(
            " OR x.custodian IN (SELECT number FROM target WHERE text IN (SELECT value FROM json_each(?)))",
            [custodians],
        );
        condition
            .push(" AND NOT EXISTS (SELECT 1 FROM access WHERE party = ? AND rid = x.rid AND role & 1)", [client()]);
    }
    condition.push(")", []);
    condition
}
