//! The TOML text of a policy, read into [`Policy`]. Every mistake is told at once, each with its place and its cure; a text
//! with one mistake is no policy. A key that a later version will serve is known here and refused where it would be ignored.

mod keys;
mod read;
#[cfg(test)]
mod tests;

use std::time::Duration;

use super::mistake::Mistake;
use super::source::Source;
use crate::domain::policy::{
    AntivirusTerms, BoundNetwork, Decision, DeliveredWhen, LinkTerms, NotifyContent, Policy, RetainFrom,
};
use crate::domain::verdict::Engine;

/// The policy that is active until another is applied, as text.
pub const SHIPPED: &str = include_str!("default.toml");

/// The most rules of one policy: every document walks them.
pub const MOST_RULES: usize = 500;

/// Reads a policy. `file_name` is what mistakes call the text.
///
/// # Errors
/// Every mistake, in the order of the text. A text that is no TOML has one, and nothing else of it is read.
pub fn parse(file_name: &str, text: &str) -> Result<Policy, Vec<Mistake>> {
    let source = Source { file: file_name, text };
    let entries = source.read().map_err(|mistake| vec![*mistake])?;
    read::policy(source, &entries)
}

/// What holds where `[default]` is silent: the shipped text's own values.
pub fn built_in() -> Decision {
    let hours = |hours: u64| Duration::from_secs(hours * 3_600);
    let accept = [
        "application/pdf",
        "text/plain",
        "text/xml",
        "application/xml",
        "application/zip",
        "application/dicom",
        "image/jpeg",
        "image/png",
        "image/tiff",
    ];
    Decision {
        rule: "default".to_owned(),
        store: "main".to_owned(),
        scan: vec![Engine::Rules],
        require_antivirus: false,
        antivirus: AntivirusTerms::default(),
        accept: accept.map(str::to_owned).to_vec(),
        max_size: 512 << 20,
        upload_within: hours(24),
        scan_within: hours(24),
        quarantine_keep: hours(30 * 24),
        retain: hours(72),
        retain_from: RetainFrom::Ready,
        purge_after: hours(24),
        delivered_when: DeliveredWhen::First,
        recipients: Vec::new(),
        notify: NotifyContent::Metadata,
        allow_override: false,
        link: LinkTerms {
            lifetime: Duration::from_secs(15 * 60),
            max_lifetime: hours(24),
            max_transfer: Duration::from_secs(30 * 60),
            uses: 0,
            max_uses: 0,
            bind_address: false,
            network: BoundNetwork::default(),
            confirm: false,
            grace: Duration::from_secs(60),
        },
    }
}
