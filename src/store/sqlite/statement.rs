//! SQL as constant fragments with bound values. A fragment is `&'static str`, so that no value can become text of a statement;
//! lists are bound as one JSON array, so that a statement has one text however long its lists are and is prepared once.

use std::hash::{DefaultHasher, Hash, Hasher};

use diesel::connection::DefaultLoadingMode;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::query_dsl::methods::LoadQuery;
use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use diesel::sqlite::Sqlite;

use super::{search_time, soundness};
use crate::store::StoreError;

/// A value that is bound.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Integer(i64),
    Text(String),
    Blob(Vec<u8>),
    Null,
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Integer(i64::from(value))
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Integer(i64::from(value))
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Integer(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Integer(i64::from(value))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Blob(value)
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Blob(value.to_vec())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A bound list of texts: what `SELECT value FROM json_each(?)` reads.
pub(super) fn list<'a>(texts: impl IntoIterator<Item = &'a str>) -> Value {
    let array = texts.into_iter().map(serde_json::Value::from).collect::<Vec<_>>();
    Value::Text(serde_json::Value::Array(array).to_string())
}

/// A bound list of numbers.
pub(super) fn numbers(values: impl IntoIterator<Item = i64>) -> Value {
    let array = values.into_iter().map(serde_json::Value::from).collect::<Vec<_>>();
    Value::Text(serde_json::Value::Array(array).to_string())
}

#[derive(Debug, Clone)]
enum Piece {
    Text(&'static str),
    Bind(Value),
}

/// A statement under construction. A `?` in a fragment is not a place: values stand between fragments.
#[derive(Debug, Clone, Default)]
pub(super) struct Sql {
    pieces: Vec<Piece>,
    once: bool,
}

/// Begins a statement whose `?` are filled, in order, by the values.
pub(super) fn sql<const N: usize>(text: &'static str, values: [Value; N]) -> Sql {
    let mut statement = Sql::default();
    statement.push(text, values);
    statement
}

impl Sql {
    /// Appends a fragment whose `?` are filled, in order, by the values.
    pub(super) fn push<const N: usize>(&mut self, text: &'static str, values: [Value; N]) {
        let mut values = values.into_iter();
        let mut fragments = text.split('?').peekable();
        while let Some(fragment) = fragments.next() {
            self.pieces.push(Piece::Text(fragment));
            if fragments.peek().is_some() {
                self.pieces.push(Piece::Bind(values.next().unwrap_or(Value::Null)));
            }
        }
    }

    /// Appends another statement's pieces.
    pub(super) fn append(&mut self, other: Sql) {
        self.pieces.extend(other.pieces);
    }

    /// Not kept prepared: for rare shapes, of which there could be too many.
    pub(super) fn once(&mut self) {
        self.once = true;
    }

    /// Whether it is not kept.
    #[cfg(test)]
    pub(super) fn is_once(&self) -> bool {
        self.once
    }

    /// What tells its text from others, whatever its values are.
    pub(super) fn shape(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => text.hash(&mut hasher),
                // Of another type is another statement to the driver's cache.
                Piece::Bind(value) => std::mem::discriminant(value).hash(&mut hasher),
            }
        }
        hasher.finish()
    }

    /// Runs it and answers the number of rows that it changed.
    pub(super) fn run(self, conn: &mut SqliteConnection) -> Result<usize, StoreError> {
        Typed::<()> { sql: self, row: std::marker::PhantomData }.execute(conn).map_err(failed)
    }

    /// Runs it and answers its rows, tuples of [`Column`]s.
    pub(super) fn rows<R: Row>(self, conn: &mut SqliteConnection) -> Result<Vec<R>, StoreError>
    where
        Typed<R::Types>: LoadQuery<'static, SqliteConnection, R>,
    {
        Typed::<R::Types> { sql: self, row: std::marker::PhantomData }.load(conn).map_err(failed)
    }

    /// Runs it and answers its rows up to the first that is `enough`, that one included; what follows is not read.
    pub(super) fn rows_until<R: Row>(
        self,
        conn: &mut SqliteConnection,
        mut enough: impl FnMut(&R) -> bool,
    ) -> Result<Vec<R>, StoreError>
    where
        Typed<R::Types>: LoadQuery<'static, SqliteConnection, R>,
    {
        let mut rows = Vec::new();
        let typed = Typed::<R::Types> { sql: self, row: std::marker::PhantomData };
        for row in typed.load_iter::<R, DefaultLoadingMode>(conn).map_err(failed)? {
            let row = row.map_err(failed)?;
            let last = enough(&row);
            rows.push(row);
            if last {
                break;
            }
        }
        Ok(rows)
    }

    /// Runs it and answers its first row.
    pub(super) fn row<R: Row>(self, conn: &mut SqliteConnection) -> Result<Option<R>, StoreError>
    where
        Typed<R::Types>: LoadQuery<'static, SqliteConnection, R>,
    {
        Ok(self.rows(conn)?.into_iter().next())
    }

    /// The only column of the only row.
    pub(super) fn one<C>(self, conn: &mut SqliteConnection) -> Result<Option<C>, StoreError>
    where
        (C,): Row,
        Typed<<(C,) as Row>::Types>: LoadQuery<'static, SqliteConnection, (C,)>,
    {
        Ok(self.row::<(C,)>(conn)?.map(|(value,)| value))
    }

    /// Runs an insert and answers the number of its row.
    pub(super) fn insert(self, conn: &mut SqliteConnection) -> Result<i64, StoreError> {
        self.run(conn)?;
        sql("SELECT last_insert_rowid()", []).one(conn).map(Option::unwrap_or_default)
    }
}

/// A statement with the types of its columns.
#[derive(Debug)]
pub(super) struct Typed<T> {
    sql: Sql,
    row: std::marker::PhantomData<T>,
}

impl<T> QueryId for Typed<T> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<T> Query for Typed<T> {
    type SqlType = T;
}

impl<T> RunQueryDsl<SqliteConnection> for Typed<T> {}

impl<T> QueryFragment<Sqlite> for Typed<T> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        if self.sql.once {
            out.unsafe_to_cache_prepared();
        }
        for piece in &self.sql.pieces {
            match piece {
                Piece::Text(text) => out.push_sql(text),
                Piece::Bind(Value::Integer(value)) => out.push_bind_param::<BigInt, _>(value)?,
                Piece::Bind(Value::Text(value)) => out.push_bind_param::<Text, _>(value)?,
                Piece::Bind(Value::Blob(value)) => out.push_bind_param::<Binary, _>(value)?,
                Piece::Bind(Value::Null) => out.push_bind_param::<Nullable<BigInt>, _>(&None::<i64>)?,
            }
        }
        Ok(())
    }
}

/// A type that a column can be read as.
pub(super) trait Column {
    /// Its type in diesel.
    type Type;
}

impl Column for i64 {
    type Type = BigInt;
}

impl Column for String {
    type Type = Text;
}

impl Column for Vec<u8> {
    type Type = Binary;
}

impl Column for Option<i64> {
    type Type = Nullable<BigInt>;
}

impl Column for Option<String> {
    type Type = Nullable<Text>;
}

impl Column for Option<Vec<u8>> {
    type Type = Nullable<Binary>;
}

/// A tuple of columns.
pub(super) trait Row {
    /// Its types in diesel.
    type Types;
}

macro_rules! rows {
    ($($name:ident)+) => {
        impl<$($name: Column),+> Row for ($($name,)+) {
            type Types = ($($name::Type,)+);
        }
    };
}

rows!(A);
rows!(A B);
rows!(A B C);
rows!(A B C D);
rows!(A B C D E);
rows!(A B C D E F);
rows!(A B C D E F G);
rows!(A B C D E F G H);
rows!(A B C D E F G H I);
rows!(A B C D E F G H I J);
rows!(A B C D E F G H I J K);
rows!(A B C D E F G H I J K L);
rows!(A B C D E F G H I J K L M);
rows!(A B C D E F G H I J K L M N);
rows!(A B C D E F G H I J K L M N O);
rows!(A B C D E F G H I J K L M N O P);

/// What SQLite says of a statement that is larger than it takes.
const BEYOND_LIMITS: [&str; 3] = ["too many SQL variables", "Expression tree is too large", "parser stack overflow"];

/// What a failure of the database means for a caller. SQLite's result code does not come through diesel, its text does.
pub(super) fn failed(error: diesel::result::Error) -> StoreError {
    if let diesel::result::Error::DatabaseError(_, info) = &error {
        let text = info.message();
        if text.contains("database or disk is full") {
            return StoreError::Full;
        }
        if text.contains("database is locked") || text.contains("database table is locked") {
            return StoreError::Busy;
        }
        // SQLite's own limits on what one statement may be: the asker's doing, not the database's.
        if text.contains(search_time::OVER) || BEYOND_LIMITS.iter().any(|limit| text.contains(limit)) {
            return StoreError::TooCostly;
        }
        if soundness::is_damage(text) {
            return StoreError::Damaged(Box::new(error));
        }
    }
    StoreError::Unavailable(Box::new(error))
}

/// Whether the disk failed: reading, writing or syncing.
pub(super) fn is_disk_failure(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable(cause) | StoreError::Unknown(cause) if cause.to_string().contains("disk I/O error"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_where_their_marks_stood_and_never_in_the_text() {
        let mut conn = SqliteConnection::establish(":memory:").unwrap();
        let mut statement = sql("SELECT ?, ", ["'; DROP TABLE x; --".into()]);
        statement.push("?, value FROM json_each(?)", [7i64.into(), list(["a\"b", "c"])]);
        let rows: Vec<(String, i64, String)> = statement.rows(&mut conn).unwrap();
        let expected = |value: &str| ("'; DROP TABLE x; --".to_owned(), 7, value.to_owned());
        assert_eq!(rows, [expected("a\"b"), expected("c")]);
    }
}
