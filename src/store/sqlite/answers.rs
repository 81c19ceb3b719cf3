//! Answers that show stored texts: a short one is read where it is asked for; what may take longer, or needs more memory than a
//! connection has anyway, is read on a thread of its own, and only once there is room for it.

use std::sync::Arc;

use diesel::sqlite::SqliteConnection;

use super::read::{Found, Reading};
use super::search::page::{self, Step};
use super::search_time::Began;
use super::visibility::{self, Shown};
use super::{SqliteStore, search};
use crate::domain::holder::Holder;
use crate::domain::id::ResourceId;
use crate::domain::principal::AccessScope;
use crate::domain::query::Query;
use crate::domain::resource::{Kind, Stored, Target};
use crate::shares::Place;
use crate::store::{AnswerMemory, Page, StoreError};

/// Whether the documents that refer to a resource may be walked to see whether it is visible: many may, so a worker does not.
fn may_walk(kind: Kind, scope: &AccessScope) -> bool {
    kind.is_context() && !scope.reach().all
}

impl SqliteStore {
    /// A read on a thread of its own, in turn: half of the connections are left to what takes no time. How many wait is bounded by
    /// the requests that may run.
    async fn aside<T: Send + 'static>(
        &self,
        scope: &AccessScope,
        read: impl FnOnce(&mut Reading<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let holder = Holder::Client(scope.client());
        let place = self.aside.take(&holder).await.map_err(|_| StoreError::Busy)?;
        let memory = Arc::clone(&self.memory);
        let read = move |conn: &mut SqliteConnection| read(&mut Reading { conn, memory: &memory, committed: true });
        self.elsewhere(place, read).await
    }

    pub(super) async fn page(
        &self,
        query: &Query,
        scope: &AccessScope,
        memory: AnswerMemory<'_>,
    ) -> Result<Page, StoreError> {
        let clock = Arc::clone(&self.clock);
        let step = if search::is_by_id(query) {
            self.read(|reading| page::begin(reading, query, scope, Began::now(clock.as_ref())))?
        } else {
            let (query, own) = (query.clone(), scope.clone());
            self.aside(scope, move |reading| page::begin(reading, &query, &own, Began::now(clock.as_ref()))).await?
        };
        let begun = match step {
            Step::Whole(page) => return Ok(page),
            Step::Begun(begun) => begun,
        };
        let taken = memory.take(begun.text).await?;
        let (kind, own) = (query.kind, scope.clone());
        let page = self.aside(scope, move |reading| page::finish(reading, begun, (kind, &own))).await?;
        Ok(Page { memory: taken, ..page })
    }

    /// A resource; a long text of it is read once `memory`, if any is asked, was taken.
    pub(super) async fn one(
        &self,
        kind: Kind,
        id: &ResourceId,
        scope: &AccessScope,
        memory: Option<AnswerMemory<'_>>,
    ) -> Result<Option<(Stored, Option<Place>)>, StoreError> {
        let found = if may_walk(kind, scope) {
            let (id, own) = (id.clone(), scope.clone());
            self.aside(scope, move |reading| reading.if_short(kind, &id, &own)).await?
        } else {
            self.read(|reading| reading.if_short(kind, id, scope))?
        };
        let rid = match found {
            None => return Ok(None),
            Some(Found::Short(stored)) => return Ok(Some((*stored, None))),
            Some(Found::Long(rid)) => rid,
        };
        let taken = match memory {
            None => None,
            Some(memory) => {
                let text = self.aside(scope, move |reading| page::announced_text(reading.conn, rid)).await?;
                memory.take(text).await?
            }
        };
        let (id, own) = (id.clone(), scope.clone());
        let found = self.aside(scope, move |reading| reading.by_id(kind, &id, &own)).await?;
        Ok(found.map(|stored| (stored, taken)))
    }

    pub(super) async fn version(
        &self,
        kind: Kind,
        id: &ResourceId,
        version: u32,
        scope: &AccessScope,
    ) -> Result<Option<Stored>, StoreError> {
        if !may_walk(kind, scope) && self.read(|reading| reading.is_short(kind, id))? {
            return self.read(|reading| reading.version(kind, id, version, scope));
        }
        let (id, own) = (id.clone(), scope.clone());
        self.aside(scope, move |reading| reading.version(kind, &id, version, &own)).await
    }

    pub(super) async fn shown(&self, targets: &[Target], scope: &AccessScope) -> Result<Vec<bool>, StoreError> {
        let shown = self.read(|reading| visibility::targets(reading.conn, targets, scope))?;
        if let Some(known) = shown.iter().map(Shown::known).collect() {
            return Ok(known);
        }
        let (clock, own) = (Arc::clone(&self.clock), scope.clone());
        let settle =
            move |reading: &mut Reading<'_>| visibility::settled(reading.conn, shown, &own, Began::now(clock.as_ref()));
        self.aside(scope, settle).await
    }
}
