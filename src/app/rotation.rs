//! Keys that sign grow old: links and access tokens get a new one every month, and what was signed before is accepted until it
//! is over. Links are looked after while the server runs; tokens at its start, since no token lives longer than minutes.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::failure::StartFailure;
use super::instance::{Instance, Nature};
use super::keyring::{KeyRing, Purpose};
use crate::delivery::{Delivery, Loop};
use crate::domain::link;
use crate::store::Store;
use crate::vault::Vault;
use crate::worker::Supervisor;

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

/// The loop of a running server: looks every hour.
pub(super) fn run(instance: &Instance, supervisor: &Supervisor) -> JoinHandle<()> {
    let renewing = Arc::new(Renewing {
        store: Arc::clone(&instance.store),
        vault: Arc::clone(&instance.vault),
        nature: instance.nature.clone(),
        delivery: Arc::clone(&instance.delivery),
        origin: instance.folder.instance().to_owned(),
    });
    supervisor.every(Loop::Rotation, LOOK_EVERY, move || {
        let renewing = Arc::clone(&renewing);
        async move { renewing.links().await.map_err(|_| "the keys of links could not be renewed".to_owned()) }
    })
}

struct Renewing {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    nature: Nature,
    delivery: Arc<Delivery>,
    origin: String,
}

impl Renewing {
    async fn links(&self) -> Result<(), StartFailure> {
        let mut keys = KeyRing::open(&self.store.keys().await?, &self.vault, &self.origin, 0)?;
        let now = self.nature.clock.now();
        if keys.is_old(Purpose::Link, now, SIGNS_FOR) {
            let (store, entropy) = (self.store.as_ref(), self.nature.entropy.as_ref());
            keys.rotate(store, &self.vault, entropy, (Purpose::Link, now, link::MAX_AHEAD)).await?;
            self.delivery.set_link_keys(keys.links(now)?);
        }
        Ok(())
    }
}
