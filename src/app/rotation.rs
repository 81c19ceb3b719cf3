//! Keys that sign grow old: links and access tokens get a new one every month, and what was signed before is accepted until it
//! is over. Links are looked after while the server runs; tokens at its start, since no token lives longer than minutes.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::failure::StartFailure;
use super::instance::{Instance, Nature};
use super::keyring::{KeyRing, Purpose};
use crate::delivery::Delivery;
use crate::domain::link;
use crate::store::Store;
use crate::vault::Vault;

/// How long a key signs.
const SIGNS_FOR: Duration = Duration::from_secs(30 * 86_400);
/// How long tokens of the key before are accepted: longer than any lives.
const TOKEN_OVERLAP: Duration = Duration::from_secs(86_400);
/// How often the running server looks.
const LOOK_EVERY: Duration = Duration::from_secs(3_600);

/// Takes new keys where the ones that sign are old.
///
/// # Errors
/// Failures of store and vault.
pub(super) async fn renew(
    keys: &mut KeyRing,
    store: &dyn Store,
    vault: &Vault,
    nature: &Nature,
) -> Result<(), StartFailure> {
    let now = nature.clock.now();
    for (purpose, overlap) in [(Purpose::Link, link::MAX_AHEAD), (Purpose::Token, TOKEN_OVERLAP)] {
        if keys.is_old(purpose, now, SIGNS_FOR) {
            keys.rotate(store, vault, nature.entropy.as_ref(), (purpose, now, overlap)).await?;
        }
    }
    Ok(())
}

/// The loop of a running server.
#[derive(Debug)]
pub(super) struct Rotation(JoinHandle<()>);

impl Rotation {
    /// Looks every hour.
    pub(super) fn start(instance: &Instance) -> Self {
        let (store, vault, nature) =
            (Arc::clone(&instance.store), Arc::clone(&instance.vault), instance.nature.clone());
        let (delivery, origin) = (Arc::clone(&instance.delivery), instance.folder.instance().to_owned());
        Self(tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                if renew_links(store.as_ref(), &vault, &nature, (&delivery, &origin)).await.is_err() {
                    tracing::error!("the keys of links could not be renewed; the old ones go on");
                }
            }
        }))
    }

    /// Ends it.
    pub(super) fn stop(self) {
        self.0.abort();
    }
}

async fn renew_links(
    store: &dyn Store,
    vault: &Vault,
    nature: &Nature,
    (delivery, origin): (&Delivery, &str),
) -> Result<(), StartFailure> {
    let mut keys = KeyRing::open(&store.keys().await?, vault, origin, 0)?;
    let now = nature.clock.now();
    if keys.is_old(Purpose::Link, now, SIGNS_FOR) {
        keys.rotate(store, vault, nature.entropy.as_ref(), (Purpose::Link, now, link::MAX_AHEAD)).await?;
        delivery.set_link_keys(keys.links(now)?);
    }
    Ok(())
}
