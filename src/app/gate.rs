//! What `auth` asks of the parts that only this room may name together: sealed entries of grants, key sets over the guarded way
//! out.

use async_trait::async_trait;

use crate::auth::endpoint::{GrantEntries, GrantRecord};
use crate::auth::jwks::{FetchFailed, FetchKeys, Fetched};
use crate::delivery::Recorder;
use crate::notify::egress::Egress;
use crate::store::SealedEntry;

/// Entries of token requests, sealed by the recorder.
#[derive(Debug)]
pub struct Grants(pub Recorder);

impl GrantEntries for Grants {
    fn entry(&self, record: &GrantRecord<'_>) -> SealedEntry {
        // An entry that cannot be sealed is one that no store takes: then no token is given either.
        let refused =
            || SealedEntry { action: "", outcome: "", commitment: [0; 32], cells: Vec::new(), given: Vec::new() };
        self.0.seal(&record.to_entry()).unwrap_or_else(|_unavailable| refused())
    }
}

/// Key sets over the guarded way out.
#[derive(Debug)]
pub struct KeySets(pub Egress);

#[async_trait]
impl FetchKeys for KeySets {
    async fn fetch(&self, uri: &str) -> Result<Fetched, FetchFailed> {
        match self.0.get_json(uri).await {
            Ok(answer) => Ok(Fetched { body: answer.body, cache_control: answer.cache_control, age: answer.age }),
            Err(error) => Err(FetchFailed(error.to_string())),
        }
    }
}
