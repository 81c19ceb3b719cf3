//! Who asks, in which request, from where.

use std::net::IpAddr;
use std::sync::Arc;

use crate::domain::audit::{Action, Entry, Outcome};
use crate::domain::holder::Holder;
use crate::domain::id::RequestId;
use crate::domain::principal::Principal;

use super::download::{Access, Opened};

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

    /// Whom its places count for.
    pub fn holder(&self) -> Holder {
        Holder::Client(self.principal.number)
    }
}

impl Opened {
    /// Whom its transfer counts for.
    pub fn holder(&self) -> Holder {
        let Access { reader, link, .. } = &self.access;
        match (link, &self.row) {
            (Some(link), Some(_)) => Holder::Link(link.clone(), *reader),
            (Some(_), None) => Holder::Offered(self.facts.file, *reader),
            (None, _) => Holder::Client(*reader),
        }
    }
}
