//! Whom a revocation touched: from the index of given links, a page at a time.

use std::collections::BTreeSet;

use super::Delivery;
use super::failure::store_failure;
use crate::domain::clock::Timestamp;
use crate::domain::epoch::{Epochs, Scope};
use crate::domain::principal::ClientNumber;
use crate::domain::refusal::Refusal;

/// Links that are looked at at once.
const PAGE: usize = 1_000;

/// Links that were alive, and who held them.
#[derive(Debug, Default)]
pub(super) struct Touched {
    pub links: u64,
    holders: BTreeSet<ClientNumber>,
}

impl Delivery {
    /// Links that a revocation of `scope` concerns and that were alive at `now` under the revocations of `before`.
    pub(super) async fn touched(&self, scope: &Scope, before: &Epochs, now: Timestamp) -> Result<Touched, Refusal> {
        let (mut touched, mut after) = (Touched::default(), None);
        loop {
            let page = self.store.given_links(scope, now, after, PAGE).await.map_err(store_failure)?;
            for link in &page {
                if before.revoked_at(&link.subject, link.epoch, &link.id).is_none() {
                    touched.links += 1;
                    touched.holders.insert(link.subject.reader);
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some((last.subject.document, last.id.clone())),
                _ => return Ok(touched),
            }
        }
    }

    /// Ids of the clients that held links, in order.
    pub(super) fn holders(&self, touched: &Touched) -> Vec<String> {
        let client = |number: &ClientNumber| self.store.client_by_number(*number).map(|client| client.id.to_string());
        let mut clients: Vec<String> = touched.holders.iter().filter_map(client).collect();
        clients.sort_unstable();
        clients
    }
}
