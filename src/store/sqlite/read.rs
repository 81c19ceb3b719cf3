//! Resources, versions, steps and files as they are read. One statement gives all of a resource but its files.

use std::collections::HashMap;
use std::sync::Arc;

use diesel::prelude::*;

use super::memory::Memory;
use super::rows::{announced, at, time};
use super::statement::{Sql, numbers, sql};
use super::visibility;
use crate::domain::id::{FileId, ResourceId};
use crate::domain::lifecycle::Actor;
use crate::domain::policy::Decision;
use crate::domain::principal::AccessScope;
use crate::domain::resource::{
    Body, DocumentFacts, DocumentNumber, FileBrief, FileFacts, Kind, PatientNumber, Step, Stored, Target,
};
use crate::store::{AnswerMemory, StoreError};

/// Columns of [`StoredRow`], from `res r`, `body b` and [`DOCUMENT_FROM`].
pub(super) const STORED: &str = "r.rid, r.kind, r.id, r.version, r.updated, b.packed, o.rid, ";
/// The same without a long packed text: empty bytes stand for it.
const STORED_IF_SHORT: &str = "r.rid, r.kind, r.id, r.version, r.updated, \
    CASE WHEN length(b.packed) <= 65536 THEN b.packed ELSE x'' END, o.rid, ";
const DOCUMENT: &str = "o.id, o.version, o.state, o.since, o.owner, o.due, o.decision, d.patient, t.text";
/// The document itself, or the one that a Binary belongs to, as `o`.
const DOCUMENT_FROM: &str = " LEFT JOIN res o ON o.rid = CASE r.kind WHEN 1 THEN r.rid ELSE r.document END \
    LEFT JOIN doc d ON d.rid = o.rid LEFT JOIN target t ON t.number = d.patient ";

type DocumentRow = (String, i64, Option<String>, i64, i64, Option<i64>, Option<i64>, Option<i64>, Option<String>);

/// `STORED` and `DOCUMENT`, and the state that a version shows.
pub(super) type StoredRow = (
    i64,
    i64,
    String,
    i64,
    i64,
    Option<Vec<u8>>,
    Option<i64>,
    Option<String>,
    Option<i64>,
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<String>,
);

/// `SELECT` of [`StoredRow`]s, without its `WHERE`, from what is named before it as the source of `rid`.
pub(super) fn select_current(from: Sql) -> Sql {
    select(STORED, from)
}

fn select(stored: &'static str, from: Sql) -> Sql {
    let mut query = sql("SELECT ", []);
    query.push(stored, []);
    query.push(DOCUMENT, []);
    query.push(" FROM ", []);
    query.append(from);
    query.push(" LEFT JOIN body b ON b.number = r.body", []);
    query.push(DOCUMENT_FROM, []);
    query
}

/// A resource, or the row of one whose text is long.
pub(super) enum Found {
    Short(Box<Stored>),
    Long(i64),
}

/// Everything that reading needs.
pub(super) struct Reading<'a> {
    pub conn: &'a mut SqliteConnection,
    pub memory: &'a Memory,
    /// Whether all that is seen is committed; only then it may be remembered.
    pub committed: bool,
}

impl Reading<'_> {
    pub(super) fn decision(&mut self, number: i64) -> Result<Arc<Decision>, StoreError> {
        if let Some(decision) = self.memory.decision(number) {
            return Ok(decision);
        }
        let text: Option<String> = sql("SELECT text FROM decision WHERE number = ?", [number.into()]).one(self.conn)?;
        let text = text.ok_or_else(|| at("decision", &number).corrupt("number"))?;
        let decision = Arc::new(Decision::decode(&text).map_err(|_| at("decision", &number).corrupt("text"))?);
        if self.committed {
            self.memory.keep_decision(number, &decision);
        }
        Ok(decision)
    }

    fn document(&mut self, rid: i64, row: DocumentRow) -> Result<DocumentFacts, StoreError> {
        let (id, version, state, since, owner, due, decision, patient, subject) = row;
        let place = at("res", &rid);
        let decision = decision.ok_or_else(|| place.corrupt("decision"))?;
        Ok(DocumentFacts {
            number: DocumentNumber(rid),
            id: place.resource_id("id", &id)?,
            version: place.number("version", version)?,
            state: place.state("state", &state.ok_or_else(|| place.corrupt("state"))?)?,
            since: time(since),
            owner: place.client("owner", owner)?,
            patient: patient.map(PatientNumber),
            subject: subject.map(Target),
            decision: self.decision(decision)?,
            due: due.map(time),
        })
    }

    /// A row as a value, its files still missing.
    pub(super) fn stored(&mut self, row: StoredRow) -> Result<(i64, Stored), StoreError> {
        let (rid, kind, id, version, updated, packed, document, d0, d1, d2, d3, d4, d5, d6, d7, d8) = row;
        let place = at("res", &rid);
        let kind = place.kind("kind", kind)?;
        let document = match (document, d0, d1, d3, d4) {
            (Some(number), Some(id), Some(version), Some(since), Some(owner)) => {
                Some(self.document(number, (id, version, d2, since, owner, d5, d6, d7, d8))?)
            }
            _ => None,
        };
        let body = match packed {
            Some(packed) => place.body("body", &packed)?,
            None => Body { text: String::new(), splices: Vec::new() },
        };
        let stored = Stored {
            kind,
            id: place.resource_id("id", &id)?,
            version: place.number("version", version)?,
            updated: time(updated),
            body,
            version_state: document.as_ref().filter(|_| kind == Kind::DocumentReference).map(|facts| facts.state),
            document,
            files: Vec::new(),
        };
        Ok((rid, stored))
    }

    /// Files of documents, by row of the document.
    pub(super) fn add_files(&mut self, rows: &mut [(i64, Stored)]) -> Result<(), StoreError> {
        let documents = rows.iter().filter(|(_, stored)| stored.kind == Kind::DocumentReference);
        let documents = documents.map(|(rid, _)| *rid).collect::<Vec<_>>();
        if documents.is_empty() {
            return Ok(());
        }
        let query =
            "SELECT rid, id, content FROM file WHERE rid IN (SELECT value FROM json_each(?)) ORDER BY rid, content";
        let files: Vec<(i64, Vec<u8>, i64)> = sql(query, [numbers(documents)]).rows(self.conn)?;
        let places: HashMap<i64, usize> = rows.iter().enumerate().map(|(place, (rid, _))| (*rid, place)).collect();
        for (rid, id, content) in files {
            let place = at("file", &rid);
            let brief = FileBrief { file: place.file_id("id", &id)?, content: place.number("content", content)? };
            if let Some((_, stored)) = places.get(&rid).and_then(|place| rows.get_mut(*place)) {
                stored.files.push(brief);
            }
        }
        Ok(())
    }

    /// The current version of a row.
    pub(super) fn current(&mut self, rid: i64) -> Result<Option<Stored>, StoreError> {
        let mut query = select_current(sql("res r", []));
        query.push(" WHERE r.rid = ?", [rid.into()]);
        let Some(row) = query.row::<StoredRow>(self.conn)? else { return Ok(None) };
        let mut rows = [self.stored(row)?];
        self.add_files(&mut rows)?;
        let [(_, stored)] = rows;
        Ok(Some(stored))
    }

    /// A resource by type and id.
    pub(super) fn by_id(
        &mut self,
        kind: Kind,
        id: &ResourceId,
        scope: &AccessScope,
    ) -> Result<Option<Stored>, StoreError> {
        let mut query = select_current(sql("res r", []));
        query.push(" WHERE r.kind = ? AND r.id = ? AND ", [kind.number().into(), id.as_str().into()]);
        query.append(visibility::resource(kind, scope));
        let Some(row) = query.row::<StoredRow>(self.conn)? else { return Ok(None) };
        let mut rows = [self.stored(row)?];
        self.add_files(&mut rows)?;
        let [(_, stored)] = rows;
        Ok(Some(stored))
    }

    /// The same if its text is short, packed and as text.
    pub(super) fn if_short(
        &mut self,
        kind: Kind,
        id: &ResourceId,
        scope: &AccessScope,
    ) -> Result<Option<Found>, StoreError> {
        let mut query = select(STORED_IF_SHORT, sql("res r", []));
        query.push(" WHERE r.kind = ? AND r.id = ? AND ", [kind.number().into(), id.as_str().into()]);
        query.append(visibility::resource(kind, scope));
        let Some(row) = query.row::<StoredRow>(self.conn)? else { return Ok(None) };
        if row.5.as_deref().is_some_and(is_long) {
            return Ok(Some(Found::Long(row.0)));
        }
        let mut rows = [self.stored(row)?];
        self.add_files(&mut rows)?;
        let [(_, stored)] = rows;
        Ok(Some(Found::Short(Box::new(stored))))
    }

    /// Whether the text of a resource's current version is short, packed and as text, or there is none.
    pub(super) fn is_short(&mut self, kind: Kind, id: &ResourceId) -> Result<bool, StoreError> {
        let query = "SELECT CASE WHEN length(b.packed) <= 65536 THEN substr(b.packed, 1, 7) ELSE x'' END \
            FROM res r CROSS JOIN body b ON b.number = r.body WHERE r.kind = ? AND r.id = ?";
        let head: Option<Vec<u8>> = sql(query, [kind.number().into(), id.as_str().into()]).one(self.conn)?;
        Ok(head.is_none_or(|head| !is_long(&head)))
    }

    /// One version of a resource: what changes by itself comes from the resource, the rest from the version.
    pub(super) fn version(
        &mut self,
        kind: Kind,
        id: &ResourceId,
        version: u32,
        scope: &AccessScope,
    ) -> Result<Option<Stored>, StoreError> {
        let Some(rid) = visibility::find(self.conn, kind, id, scope)? else { return Ok(None) };
        let Some(mut stored) = self.current(rid)?.filter(|stored| stored.version >= version) else { return Ok(None) };
        if stored.version == version {
            return Ok(Some(stored));
        }
        let query = "SELECT v.updated, v.state, b.packed FROM ver v LEFT JOIN body b ON b.number = v.body \
            WHERE v.rid = ? AND v.version = ?";
        let row: Option<(i64, Option<String>, Option<Vec<u8>>)> =
            sql(query, [rid.into(), version.into()]).row(self.conn)?;
        let Some((updated, state, packed)) = row else { return Ok(None) };
        let name = format!("{rid}/{version}");
        let place = at("ver", &name);
        stored.version = version;
        stored.updated = time(updated);
        stored.version_state = state.map(|state| place.state("state", &state)).transpose()?;
        stored.body = match packed {
            Some(packed) => place.body("body", &packed)?,
            None => Body { text: String::new(), splices: Vec::new() },
        };
        Ok(Some(stored))
    }

    /// Every step of a document.
    pub(super) fn steps(&mut self, id: &ResourceId, scope: &AccessScope) -> Result<Option<Vec<Step>>, StoreError> {
        let Some(rid) = visibility::find(self.conn, Kind::DocumentReference, id, scope)? else { return Ok(None) };
        let query = "SELECT number, from_state, to_state, at, actor, reason FROM step WHERE rid = ? ORDER BY number";
        let rows: Vec<(i64, Option<String>, String, i64, String, String)> = sql(query, [rid.into()]).rows(self.conn)?;
        let step = |(number, from, to, moment, actor, reason): (i64, Option<String>, String, i64, String, String)| {
            let name = format!("{rid}/{number}");
            let place = at("step", &name);
            let from = from.map(|from| place.state("from_state", &from)).transpose()?;
            let actor = Actor::parse(&actor).ok_or_else(|| place.corrupt("actor"))?.to_string();
            Ok(Step { from, to: place.state("to_state", &to)?, at: time(moment), actor, reason })
        };
        rows.into_iter().map(step).collect::<Result<Vec<_>, _>>().map(Some)
    }

    /// The facts of a file.
    pub(super) fn file(&mut self, file: FileId) -> Result<Option<FileFacts>, StoreError> {
        Ok(self.files(sql("f.id = ?", [file.as_bytes().as_slice().into()]))?.into_iter().next())
    }

    /// The facts of a document's files, by content entry.
    pub(super) fn files_of(&mut self, document: i64) -> Result<Vec<FileFacts>, StoreError> {
        let mut files = self.files(sql("f.rid = ?", [document.into()]))?;
        files.sort_by_key(|file| file.content);
        Ok(files)
    }

    fn files(&mut self, condition: Sql) -> Result<Vec<FileFacts>, StoreError> {
        let mut query = sql("SELECT f.id, f.rid, f.content, f.media_type, f.size, f.sha256, f.sha1, f.key, ", []);
        query.push("f.inline IS NOT NULL, f.title, f.created, f.owner FROM file f WHERE ", []);
        query.append(condition);
        let rows: Vec<FileRow> = query.rows(self.conn)?;
        rows.into_iter().map(|row| self.facts(row)).collect()
    }

    fn facts(&mut self, row: FileRow) -> Result<FileFacts, StoreError> {
        let (id, rid, content, media_type, size, sha256, sha1, wrapped_key, inline, title, created, owner) = row;
        let name = hex::encode(&id);
        let place = at("file", &name);
        let document = match rid {
            None => None,
            Some(rid) => {
                let mut query = sql("SELECT ", []);
                query.push(DOCUMENT, []);
                query.push(" FROM res o LEFT JOIN doc d ON d.rid = o.rid ", []);
                query.push("LEFT JOIN target t ON t.number = d.patient WHERE o.rid = ?", [rid.into()]);
                let row = query.row::<DocumentRow>(self.conn)?.ok_or_else(|| place.corrupt("rid"))?;
                Some(self.document(rid, row)?)
            }
        };
        Ok(FileFacts {
            file: place.file_id("id", &id)?,
            content: place.number("content", content)?,
            media_type,
            size: place.number("size", size)?,
            sha256: place.fixed("sha256", &sha256)?,
            sha1: place.fixed("sha1", &sha1)?,
            wrapped_key,
            is_inline: inline == 1,
            title,
            created: time(created),
            owner: place.client("owner", owner)?,
            document,
        })
    }
}

/// Whether packed bytes, or their beginning, are of a long text: nothing stands for one that is long even when packed.
fn is_long(packed: &[u8]) -> bool {
    packed.is_empty() || announced(packed).is_some_and(|announced| announced.text > AnswerMemory::FREE)
}

type FileRow =
    (Vec<u8>, Option<i64>, i64, String, i64, Vec<u8>, Vec<u8>, Option<Vec<u8>>, i64, Option<String>, i64, i64);

/// Whether a scope covers a file: its document's, or, unclaimed, its owner's.
pub(super) fn covers(conn: &mut SqliteConnection, file: FileId, scope: &AccessScope) -> Result<bool, StoreError> {
    let mut query = sql(
        "SELECT CASE WHEN f.rid IS NULL THEN f.owner = ? ELSE EXISTS (SELECT 1 FROM res o ",
        [scope.client().0.into()],
    );
    query.push("WHERE o.rid = f.rid AND ", []);
    query.append(visibility::document(scope, visibility::Of::OwnerDocument));
    query.push(") END FROM file f WHERE f.id = ?", [file.as_bytes().as_slice().into()]);
    Ok(query.one::<i64>(conn)? == Some(1))
}

/// The number of a subject that documents have.
pub(super) fn patient_number(conn: &mut SqliteConnection, patient: &str) -> Result<Option<PatientNumber>, StoreError> {
    let query = "SELECT number FROM target WHERE text = ? \
        AND EXISTS (SELECT 1 FROM doc INDEXED BY doc_patient WHERE patient = target.number)";
    Ok(sql(query, [patient.into()]).one(conn)?.map(PatientNumber))
}
