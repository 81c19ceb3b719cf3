//! Composition root: settings → parts → server and workers. The only room that names concrete parts.

mod acknowledged;
mod background_check;
mod clock;
pub mod endings;
mod endpoints;
mod failure;
mod folder;
mod gate;
mod hooks;
mod instance;
mod keyring;
pub mod log_check;
mod log_effects;
pub mod log_index;
pub mod log_proof;
mod operations;
mod process;
mod rotation;
mod running;
mod scanners;
mod sealing;
mod set_up;
pub mod start_check;

pub use clock::{HeldClock, SystemClock};
pub use failure::StartFailure;
pub use folder::{DataFolder, LockedFolder, lies_within};
pub use instance::{Found, Instance, Nature, OnFinding, Seeded, open_vault};
pub use keyring::{KeyRing, Purpose};
pub use log_check::open_log;
pub use operations::{Commands, harmless_virus_is_found};
pub use process::harden;
pub use running::{Ended, Running, Start, local_commands};
pub use scanners::clamd;
pub use set_up::look as look_at_folder;

use crate::domain::id::ClientId;
use crate::domain::policy::Facts;
use crate::domain::refusal::Refusal;
use crate::fhir::base::Base;
use crate::fhir::document::Submitted;
use crate::fhir::tables::ResourceType;
use crate::fhir::validate::{self, Expectation};

/// What a policy would look at in a DocumentReference that `client` delivered, for `policy explain`.
///
/// # Errors
/// All that validation finds.
pub fn facts_of(text: &str, client: &ClientId) -> Result<Facts, Refusal> {
    let expectation = Expectation::Create(ResourceType::DocumentReference);
    let resource = validate::read(text.as_bytes(), expectation)?;
    // Links are of no concern to a policy: any base will do.
    Ok(Submitted::read(resource, &Base::new("http://localhost"))?.facts(client))
}
