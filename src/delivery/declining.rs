//! What is answered without a byte and without a use although the link, or the right, is good: a prefetch, another method, a condition
//! that does not hold, a range outside the file, no place for a transfer. An entry says so each time.

use super::Delivery;
use super::download::{Download, Opened, entry_of, unwell_until};
use crate::domain::audit::Outcome;
use crate::domain::refusal::{Code, Refusal};

impl Delivery {
    /// Why a link is not opened to a request that says it comes ahead of its reader: `link-prefetch`, or what is wrong with the
    /// link. No page, no cookie; uses are not looked at.
    pub async fn decline_prefetch(&self, download: &Download) -> Refusal {
        let found = match self.find_link(download).await {
            Ok(found) => found,
            Err(refusal) => return refusal,
        };
        let refusal = Refusal::of(Code::LinkPrefetch);
        self.deny(&found.access, &found.facts, &refusal).await.err().unwrap_or(refusal)
    }

    /// Records that a link was asked by with a method that it does not take; whether it is one to confirm, which takes POST too.
    /// Of what is no link of ours nothing is recorded, and the answer is that of a plain link.
    ///
    /// # Errors
    /// `audit-unavailable`; failures of the store.
    pub async fn decline_method(&self, download: &Download) -> Result<bool, Refusal> {
        let found = match self.known_link(download).await {
            Ok(found) => found,
            Err(refusal) if refusal.code() == Code::LinkInvalid => return Ok(false),
            Err(refusal) => return Err(refusal),
        };
        self.deny(&found.access, &found.facts, &Refusal::of(Code::MethodNotAllowed)).await?;
        Ok(found.is_to_confirm())
    }

    /// Records that an opened file is not sent, and why. A link that is used up, or whose last use is under way, says that instead
    /// (RFC 9110 §13.2.1: conditions count where the answer would have been a good one without them).
    pub async fn decline(&self, opened: &Opened, refusal: Refusal) -> Refusal {
        let refusal = self.uses_refuse(opened).await.unwrap_or(refusal);
        self.declined(opened, refusal).await
    }

    /// Records that an opened file is not sent, since the caller has its very bytes.
    ///
    /// # Errors
    /// `link-busy`, `link-used`; `audit-unavailable`.
    pub async fn unchanged(&self, opened: &Opened) -> Result<(), Refusal> {
        if let Some(refusal) = self.uses_refuse(opened).await {
            return Err(self.declined(opened, refusal).await);
        }
        let entry = entry_of(&opened.access, &opened.facts, Outcome::Ok).bytes(0);
        let recorded = self.recorder.record(&entry).await;
        recorded.map(drop).map_err(|refusal| unwell_until(refusal, opened.until))
    }

    async fn declined(&self, opened: &Opened, refusal: Refusal) -> Refusal {
        let denied = self.deny(&opened.access, &opened.facts, &refusal).await;
        unwell_until(denied.err().unwrap_or(refusal), opened.until)
    }

    /// Why a GET would get nothing now for the uses of its link, if so. Nothing is claimed.
    async fn uses_refuse(&self, opened: &Opened) -> Option<Refusal> {
        let row = opened.row.as_ref()?;
        self.look_at_use(row, opened.facts.size, opened.access.address).await.err()
    }
}
