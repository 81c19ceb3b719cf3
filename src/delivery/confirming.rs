//! Links that a person must confirm: what the page shows, and the link of a minute that its button leads to.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Delivery;
use super::download::Download;
use crate::domain::audit::Entry;
use crate::domain::clock::Timestamp;
use crate::domain::id::LinkId;
use crate::domain::link::{Claims, Purpose, VerifiedLink, commitment};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::resource::FileFacts;
use crate::store::LinkRow;

/// Life of the link that the page's POST answers with (contract, Links, Confirm).
const CONFIRMED_FOR: Duration = Duration::from_secs(60);

/// What the page of a link that asks for confirmation shows, and the cookie that it sets. No name and no title.
#[derive(Clone)]
pub struct Confirm {
    /// Kind of file.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// Last moment of the link, or of the access to its content where that is earlier.
    pub until: Timestamp,
    /// Uses that are left, those under way among them; `None`: not limited.
    pub uses_left: Option<u32>,
    /// `link-used`, with when, where none is left: what a browser is told instead of the page.
    pub spent: Option<Refusal>,
    /// The link's id.
    pub link: LinkId,
    /// Value of a new cookie (22 characters of base64url), to be set `HttpOnly`, `SameSite=Strict`, for the link's path, and
    /// to be brought by the POST and by the GET that follows it.
    pub cookie: String,
}

impl std::fmt::Debug for Confirm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Confirm").field("link", &self.link).finish_non_exhaustive()
    }
}

/// Where the page's POST leads.
#[derive(Clone)]
pub struct ConfirmedLink {
    /// The whole URL, for `Location` (303).
    pub url: String,
    /// Its last second.
    pub expires: Timestamp,
}

impl std::fmt::Debug for ConfirmedLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfirmedLink").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// Whether a confirmed link comes with the cookie of its page.
pub(super) fn is_confirmed(link: &VerifiedLink, download: &Download) -> bool {
    download.confirmation.as_deref().is_some_and(|secret| commitment(secret) == link.claims().nonce)
}

impl Delivery {
    pub(super) async fn confirm_page(
        &self,
        facts: &FileFacts,
        link: &VerifiedLink,
        row: &LinkRow,
    ) -> Result<Confirm, Refusal> {
        let (uses_left, spent) = match row.uses {
            0 => (None, None),
            most => {
                let uses = self.uses_now(row, facts.size, None).await?;
                let spent = uses.refusal.filter(|refusal| refusal.code() == Code::LinkUsed);
                (Some(most.saturating_sub(uses.used)), spent)
            }
        };
        let due = facts.document.as_ref().and_then(|document| document.due);
        let mut secret = [0; 16];
        self.entropy.fill(&mut secret);
        Ok(Confirm {
            media_type: facts.media_type.clone(),
            size: facts.size,
            until: due.map_or(link.claims().expires, |due| due.min(link.claims().expires)),
            uses_left,
            spent,
            link: row.id.clone(),
            cookie: URL_SAFE_NO_PAD.encode(secret),
        })
    }

    pub(super) async fn confirmed(
        &self,
        link: &VerifiedLink,
        secret: &str,
        entry: &Entry,
    ) -> Result<ConfirmedLink, Refusal> {
        let ends = self.clock.now().plus(CONFIRMED_FOR);
        let ends = Timestamp::from_millis(ends.seconds().saturating_mul(1000)).min(link.claims().expires);
        let nonce = commitment(secret);
        let claims = Claims { purpose: Purpose::Confirmed, expires: ends, nonce, ..*link.claims() };
        let token = self.link_keys().mint(&claims);
        self.recorder.record(entry).await?;
        Ok(ConfirmedLink { url: self.terms.base.link(&token), expires: ends })
    }
}
