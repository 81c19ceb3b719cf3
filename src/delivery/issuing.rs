//! `$issue-link`: a link of one's own, within what the policy decided for the document.

use std::time::Duration;

use ipnet::IpNet;

use super::failure::{audit_failure, store_failure};
use super::offers::{about, not_found};
use super::{Caller, Delivery};
use crate::domain::audit::effect::ROW;
use crate::domain::audit::{Action, Entry, Outcome};
use crate::domain::clock::{Timestamp, write_span};
use crate::domain::epoch::Subject;
use crate::domain::id::{FileId, LinkId, ResourceId};
use crate::domain::link::{Claims, LinkNumber, Purpose, Token, recipient_digest};
use crate::domain::policy::{LinkTerms, WIDEST};
use crate::domain::principal::Interaction;
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::domain::resource::{DocumentFacts, FileBrief, Kind, Stored};
use crate::domain::subscription::SubscriptionStatus;
use crate::store::{Counted, GivenLink, LinkRow, StoreError};

/// Numbers that are tried for a link's row. Even with a hundred million rows each second one is free at the first try.
const NUMBERS_TRIED: usize = 16;

/// Input of `$issue-link`.
#[derive(Clone, Default)]
pub struct IssueLink {
    /// Which content entry, 1-based.
    pub content: u32,
    /// How long; `None`: the policy's lifetime.
    pub lifetime: Option<Duration>,
    /// How often the file may be received whole; `None`: as the policy has it.
    pub uses: Option<u32>,
    /// Where it is to work; `None`: as the policy has it.
    pub network: Option<IpNet>,
    /// Name of the file for whoever opens it. Never logged.
    pub file_name: Option<String>,
    /// Whom it is meant for. Kept in erasable cells of the audit log only.
    pub recipient: Option<String>,
    /// Whether a person must press a button first, also where the policy does not ask for it.
    pub confirm: bool,
    /// Subscription and event number of the notification that told of the file.
    pub access_reference: Option<(ResourceId, u64)>,
}

impl std::fmt::Debug for IssueLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssueLink").field("content", &self.content).field("uses", &self.uses).finish_non_exhaustive()
    }
}

/// A link made by `$issue-link`.
#[derive(Clone)]
pub struct IssuedLink {
    /// The whole URL.
    pub url: String,
    /// Its last second.
    pub expires: Timestamp,
    /// Whole deliveries that it allows; 0: not limited.
    pub uses: u32,
    /// Its id.
    pub id: LinkId,
}

impl std::fmt::Debug for IssuedLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedLink").field("id", &self.id).field("uses", &self.uses).finish_non_exhaustive()
    }
}

/// What a link is to be, within the policy.
struct Granted<'a> {
    file: FileId,
    lifetime: Duration,
    uses: u32,
    network: Option<IpNet>,
    confirm: bool,
    wanted: &'a IssueLink,
}

impl Granted<'_> {
    fn needs_row(&self) -> bool {
        self.uses > 0 || self.network.is_some() || self.confirm || self.wanted.file_name.is_some()
    }
}

impl Delivery {
    /// Makes a link to one content entry of a document.
    ///
    /// # Errors
    /// `scope-insufficient`, `resource-not-found` (also for an access reference that is not the caller's or has ended),
    /// `content-…` while it cannot be opened, `policy-limit-exceeded`, `parameter-malformed` for a content entry that is not
    /// there.
    pub async fn issue_link(
        &self,
        caller: &Caller,
        id: &ResourceId,
        wanted: &IssueLink,
    ) -> Result<IssuedLink, Refusal> {
        let (stored, document) = self.document_for(caller, Interaction::Read, Action::LinkIssue, id).await?;
        let version = u64::from(stored.version);
        let files = match self.referenced(caller, id, &stored, &document, wanted).await {
            Ok(files) => files,
            Err(refusal) => {
                let entry = caller.entry(Action::LinkIssue, Outcome::Denied).document(id, version);
                self.recorder.record(&about(entry, &document).code(refusal.code())).await?;
                return Err(refusal);
            }
        };
        let index = wanted.content.checked_sub(1).and_then(|at| u16::try_from(at).ok());
        let brief = files.iter().find(|brief| Some(brief.content) == index).ok_or_else(|| {
            let issue = Issue::new(Code::ParameterMalformed).at_http("content");
            Refusal::new(issue.fill("fault", "names no content entry with a file").fill("example", "1"))
        })?;
        let granted = grant(caller, &document, brief.file, wanted)?;
        let entry = caller.entry(Action::LinkIssue, Outcome::Ok).document(id, version).file(brief.file);
        let entry = described(about(entry, &document), &granted);
        self.sign_issued(caller, &document, &granted, &entry).await
    }

    /// The files that the link may be to: the document's, or those of the version that an event told of.
    async fn referenced(
        &self,
        caller: &Caller,
        id: &ResourceId,
        stored: &Stored,
        document: &DocumentFacts,
        wanted: &IssueLink,
    ) -> Result<Vec<FileBrief>, Refusal> {
        if let Some(refusal) = self.closed(document, self.clock.now()) {
            return Err(refusal);
        }
        let Some((subscription, number)) = &wanted.access_reference else { return Ok(stored.files.clone()) };
        let owner = caller.principal.number;
        let found = self.store.referenced_event(subscription, owner, *number).await.map_err(store_failure)?;
        // It ends with its Subscription, and tells of one document alone.
        let told =
            found.filter(|told| told.status != SubscriptionStatus::Off && told.event.document == document.number);
        let version = told.ok_or_else(not_found)?.event.version;
        let scope = caller.principal.may(Interaction::Read, Kind::DocumentReference)?;
        let pinned = self.store.read_version(Kind::DocumentReference, id, version, &scope).await;
        Ok(pinned.map_err(store_failure)?.ok_or_else(not_found)?.files)
    }

    async fn sign_issued(
        &self,
        caller: &Caller,
        document: &DocumentFacts,
        granted: &Granted<'_>,
        entry: &Entry,
    ) -> Result<IssuedLink, Refusal> {
        let reader = caller.principal.number;
        let subject = Subject { reader, document: document.number, patient: document.patient };
        // Never 0, which marks offered links.
        let nonce = u64::from_be_bytes(self.random()) | 1;
        let expires = Timestamp::from_millis(self.clock.now().plus(granted.lifetime).seconds().saturating_mul(1000));
        let epoch = self.store.epochs().current(&subject);
        let (file, purpose) = (granted.file, Purpose::Download);
        let claims = Claims { file, purpose, expires, epoch, reader, row: None, nonce };
        let entry = entry.clone().with("expires", expires.to_string());
        let token = if granted.needs_row() {
            self.add_row(granted, (claims, subject), &entry).await?
        } else {
            let token = self.link_keys().mint(&claims);
            let sealed = self.recorder.seal_giving(&entry.link(&token.id()), vec![issued(&token, &claims, subject)])?;
            self.store.record(sealed).await.map_err(audit_failure)?;
            token
        };
        Ok(IssuedLink { url: self.terms.base.link(&token), expires, uses: granted.uses, id: token.id() })
    }

    /// Keeps a link's row, in one commit with its entry, and answers its text.
    async fn add_row(
        &self,
        granted: &Granted<'_>,
        (claims, subject): (Claims, Subject),
        entry: &Entry,
    ) -> Result<Token, Refusal> {
        let recipient = granted.wanted.recipient.as_deref().map(|named| recipient_digest(granted.file, named));
        for _ in 0..NUMBERS_TRIED {
            let Some(number) = LinkNumber::new(u32::from_be_bytes(self.random())) else { continue };
            let claims = Claims { row: Some(number), ..claims };
            let token = self.link_keys().mint(&claims);
            let row = LinkRow {
                number,
                id: token.id(),
                counted: Counted { file: granted.file, reader: claims.reader, recipient },
                uses: granted.uses,
                network: granted.network,
                confirm: granted.confirm,
                file_name: granted.wanted.file_name.clone(),
                expires: claims.expires,
            };
            let given = vec![issued(&token, &claims, subject)];
            let entry = entry.clone().link(&token.id()).with(ROW, number.get());
            let sealed = self.recorder.seal_giving(&entry, given)?;
            match self.store.add_link(row, sealed).await {
                Ok(()) => return Ok(token),
                Err(StoreError::AlreadyExists) => {}
                Err(error) => return Err(store_failure(error)),
            }
        }
        Err(Refusal::of(Code::ServerBusy).retry_after(2))
    }

    fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        bytes
    }
}

/// An issued link, for the index.
fn issued(token: &Token, claims: &Claims, subject: Subject) -> GivenLink {
    let Claims { file, epoch, row, expires, .. } = *claims;
    GivenLink { id: token.id(), file, subject, epoch, row, expires }
}

/// What is asked for, held to what the policy allows; what it asks for holds whether it was asked for or not.
fn grant<'a>(
    caller: &Caller,
    document: &DocumentFacts,
    file: FileId,
    wanted: &'a IssueLink,
) -> Result<Granted<'a>, Refusal> {
    let (terms, rule) = (&document.decision.link, document.decision.rule.as_str());
    let lifetime = wanted.lifetime.unwrap_or(terms.lifetime);
    if lifetime > terms.max_lifetime || lifetime.is_zero() {
        return Err(beyond("lifetime", &write_span(terms.max_lifetime), rule));
    }
    let uses = granted_uses(terms, wanted.uses).ok_or_else(|| beyond("uses", &terms.max_uses.to_string(), rule))?;
    // A network of nearly everybody binds to nobody.
    if terms.bind_address && wanted.network.is_some_and(|network| !WIDEST.holds(network)) {
        let widest = format!("a network no wider than /{} or, in IPv6, /{}", WIDEST.v4, WIDEST.v6);
        return Err(beyond("address", &widest, rule));
    }
    let own = terms.bind_address.then(|| terms.network.around(caller.address));
    let network = wanted.network.or(own);
    Ok(Granted { file, lifetime, uses, network, confirm: wanted.confirm || terms.confirm, wanted })
}

/// `None`: more than the policy allows. Where it limits what may be asked for, not asking gives no more.
fn granted_uses(terms: &LinkTerms, wanted: Option<u32>) -> Option<u32> {
    match (wanted, terms.uses, terms.max_uses) {
        (Some(asked), _, most) => (most == 0 || asked <= most).then_some(asked),
        (None, 0, most) => Some(most),
        (None, uses, _) => Some(uses),
    }
}

fn beyond(parameter: &'static str, limit: &str, rule: &str) -> Refusal {
    Issue::new(Code::PolicyLimitExceeded).at_http(parameter).fill("limit", limit).fill("rule", rule).into()
}

/// What the entry says of the link: never its file name.
fn described(entry: Entry, granted: &Granted<'_>) -> Entry {
    let mut entry = entry.with("uses", granted.uses.to_string());
    if let Some(network) = granted.network {
        entry = entry.with("network", network.to_string());
    }
    if granted.confirm {
        entry = entry.with("confirm", "yes");
    }
    if let Some(recipient) = &granted.wanted.recipient {
        entry = entry.recipient(recipient);
    }
    match &granted.wanted.access_reference {
        Some((subscription, number)) => entry.with("access-reference", format!("{subscription}/{number}")),
        None => entry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::BoundNetwork;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn uses_are_granted_within_the_policy_and_never_by_not_asking() {
        let (lifetime, max_lifetime, max_transfer, grace) = (MINUTE, MINUTE, MINUTE, MINUTE);
        let (bind_address, confirm) = (false, false);
        let terms = |uses, max_uses| LinkTerms {
            lifetime,
            max_lifetime,
            max_transfer,
            grace,
            uses,
            max_uses,
            bind_address,
            network: BoundNetwork::default(),
            confirm,
        };
        for (uses, most, wanted, granted) in [
            (0, 0, None, Some(0)),
            (0, 0, Some(7), Some(7)),
            (1, 0, None, Some(1)),
            (1, 3, None, Some(1)),
            (1, 3, Some(3), Some(3)),
            (1, 3, Some(4), None),
            (0, 3, None, Some(3)),
        ] {
            assert_eq!(granted_uses(&terms(uses, most), wanted), granted, "{uses} {most} {wanted:?}");
        }
    }
}
