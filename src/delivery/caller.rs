//! Who asks, in which request, from where.

use std::net::IpAddr;
use std::sync::Arc;

use crate::domain::audit::{Action, Entry, Outcome};
use crate::domain::id::RequestId;
use crate::domain::principal::Principal;

/// An authenticated request.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Whose token it carries.
    pub principal: Arc<Principal>,
    /// Its id.
    pub request: RequestId,
    /// Where it comes from, as far as trusted proxies say.
    pub address: IpAddr,
}

impl Caller {
    /// An audit entry that says who asked, in which request, from where.
    pub fn entry(&self, action: Action, outcome: Outcome) -> Entry {
        Entry::new(action, outcome).client(&self.principal.client).request(&self.request).ip(self.address)
    }
}
