//! The flags of `operator`, `quarantine` and `hold`. Declarations only.

use clap::{Args, Subcommand};

use super::arguments::Place;

#[derive(Debug, Subcommand)]
pub(crate) enum Operator {
    /// Register a person who may act; the password is asked for, or read with `--password-stdin`
    #[command(after_help = "Example:\n  daylily operator add --id anna.berg --role security")]
    Add(OperatorAdd),
    /// List the registered operators
    #[command(after_help = "Example:\n  daylily operator list")]
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Switch an operator off for good: no act any more, and approvals that wait end
    #[command(after_help = "Example:\n  daylily operator disable anna.berg")]
    Disable {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Args)]
pub(crate) struct OperatorAdd {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Its id: letters, digits, `.`, `_`, `-`
    #[arg(long, value_name = "ID")]
    pub(crate) id: String,
    /// What it is there for: operator, security, privacy or auditor
    #[arg(long, value_parser = ["operator", "security", "privacy", "auditor"], value_name = "ROLE")]
    pub(crate) role: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Quarantine {
    /// List what is held back, the longest first
    #[command(after_help = "Example:\n  daylily quarantine list --json")]
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Show what was found in a document, where, and when it is destroyed
    #[command(after_help = "Example:\n  daylily quarantine show DocumentReference/9f31")]
    Show {
        /// The document (DocumentReference/…)
        #[arg(value_name = "REF")]
        document: String,
        #[command(flatten)]
        place: Place,
    },
    /// Release what an engine called dirty, where policy allows it; two operators give the same command
    #[command(
        after_help = "Example:\n  daylily quarantine release DocumentReference/9f31 --as anna.berg --reason \"false alarm, ticket 4711\""
    )]
    Release(Reasoned),
    /// Destroy what is held back now: key first, then bytes
    #[command(
        after_help = "Example:\n  daylily quarantine purge DocumentReference/9f31 --reason \"malware, source told\" --dry-run"
    )]
    Purge(QuarantinePurge),
}

#[derive(Debug, Args)]
pub(crate) struct Reasoned {
    /// The document (DocumentReference/…)
    #[arg(value_name = "REF")]
    pub(crate) document: String,
    #[command(flatten)]
    pub(crate) place: Place,
    /// Why; kept in the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct QuarantinePurge {
    #[command(flatten)]
    pub(crate) act: Reasoned,
    /// Say what would be destroyed, and destroy nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Hold {
    /// List active holds
    #[command(after_help = "Example:\n  daylily hold list")]
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Keep a document's bytes and records, whatever else ends
    #[command(
        after_help = "Example:\n  daylily hold add DocumentReference/9f31 --reason \"case 12/26\" --authority \"Regional court\""
    )]
    Add(HoldAdd),
    /// Take a hold off; what fell due meanwhile is destroyed then
    #[command(after_help = "Example:\n  daylily hold release DocumentReference/9f31 --reason \"case closed\"")]
    Release(HoldRelease),
}

#[derive(Debug, Args)]
pub(crate) struct HoldAdd {
    #[command(flatten)]
    pub(crate) act: Reasoned,
    /// Who orders it
    #[arg(long, value_name = "TEXT")]
    pub(crate) authority: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct HoldRelease {
    #[command(flatten)]
    pub(crate) act: Reasoned,
    /// Which, where the document has several (`daylily hold list` shows their ids)
    #[arg(long, value_name = "ID")]
    pub(crate) hold: Option<String>,
}
