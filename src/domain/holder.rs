//! Whom a place is counted for, where there are only so many: connections, transfers, uploads, waits, searches, memory
//! for bodies.

use ipnet::IpNet;

use super::id::{FileId, LinkId};
use super::principal::ClientNumber;

/// One caller among others: a client, a link, or where there is neither the network that a request comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A client by its token.
    Client(ClientNumber),
    /// Whoever holds one issued link, and the client that it was issued to.
    Link(LinkId, ClientNumber),
    /// Whoever holds the links that were offered of one file, and the client that they were offered to. A search makes new links
    /// of the same file, so their ids do not tell callers apart.
    Offered(FileId, ClientNumber),
    /// The network of a request without token and link.
    Network(IpNet),
    /// Trusted proxies: they bring the connections of many callers, and have all they want.
    TrustedProxies,
}

impl Holder {
    /// The client whose share what this holds counts in too.
    pub fn within(&self) -> Option<Self> {
        match self {
            Self::Link(_, client) | Self::Offered(_, client) => Some(Self::Client(*client)),
            Self::Client(_) | Self::Network(_) | Self::TrustedProxies => None,
        }
    }
}

/// How much one holder may have, in per cent of what is then held by it or by nobody. So a single holder leaves the rest to
/// others, and where several hold as much as they may, something is left for one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// Of a client or a network.
    pub caller: u8,
    /// Of a link.
    pub link: u8,
}

impl Default for Shares {
    fn default() -> Self {
        Self { caller: 50, link: 25 }
    }
}

impl Shares {
    /// Whether `holder` may have `held` while `free` is left.
    pub fn allow(self, holder: &Holder, held: u64, free: u64) -> bool {
        if *holder == Holder::TrustedProxies {
            return true;
        }
        let percent = if holder.within().is_some() { self.link } else { self.caller };
        within(percent, held, free)
    }

    /// Whether a client may have `held` through its links while `free` is left, where the link that asks holds nothing yet: half of what
    /// its share leaves too. So a few of its links, whose holders stand still, do not stop all others, and other clients have the rest.
    pub fn allow_another_link(self, held: u64, free: u64) -> bool {
        within(self.caller.min(100).midpoint(100), held, free)
    }
}

/// Whether what is held is at most so many per cent of itself and what is free.
fn within(percent: u8, held: u64, free: u64) -> bool {
    let percent = u128::from(percent.min(100));
    u128::from(held) * (100 - percent) <= u128::from(free) * percent
}
