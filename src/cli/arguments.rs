//! The commands and their flags (contract, Commands). Declarations only: what a command does is in its own file.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use super::oversight_arguments::{Hold, Operator, Quarantine};

/// `daylily`.
#[derive(Debug, Parser)]
#[command(
    name = "daylily",
    version,
    about = "Temporary document delivery for healthcare: FHIR for what a document is, signed links for its bytes.",
    after_help = "Begin with:\n  daylily demo      the whole journey, real, in one minute\n  daylily serve     your own server; no configuration needed",
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Print one JSON object instead of words
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print errors and what was asked for, nothing else
    #[arg(long, global = true)]
    pub(crate) quiet: bool,
    /// Show times in UTC instead of the terminal's zone
    #[arg(long, global = true)]
    pub(crate) utc: bool,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN")]
    pub(crate) color: Color,
    /// Act as this registered operator; the password is asked for
    #[arg(long = "as", global = true, value_name = "ID")]
    pub(crate) acting: Option<String>,
    /// Read the password from standard input instead of asking for it
    #[arg(long, global = true)]
    pub(crate) password_stdin: bool,
}

/// `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal that can show it.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Where the data and the settings are.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Place {
    /// The data folder [default: ./daylily-data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The settings file (TOML); see docs/settings.md
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the whole journey of a document, every step real and checked
    #[command(after_help = "Example:\n  daylily demo --exit")]
    Demo(Demo),
    /// Start the server; what it needs is made at the first start
    #[command(after_help = "Example:\n  daylily serve --data-dir /var/lib/daylily --listen 127.0.0.1:8080")]
    Serve(Serve),
    /// Register and manage client programs
    #[command(subcommand, after_help = "Example:\n  daylily client list")]
    Client(Client),
    /// Get an access token from the running server, by a real signed assertion
    #[command(after_help = "Example:\n  TOKEN=$(daylily token --client ward-viewer --key ward-viewer.key)")]
    Token(Token),
    /// Check, explain, apply or show the policy
    #[command(subcommand, after_help = "Example:\n  daylily policy check policy.toml")]
    Policy(Policy),
    /// Withdraw links
    #[command(
        subcommand,
        after_help = "Example:\n  daylily links revoke --client ward-viewer --reason \"lost laptop, ticket 4711\""
    )]
    Links(Links),
    /// Register and manage people who may act
    #[command(subcommand, after_help = "Example:\n  daylily operator list")]
    Operator(Operator),
    /// Look at what the safety check held back; release or destroy it
    #[command(subcommand, after_help = "Example:\n  daylily quarantine list")]
    Quarantine(Quarantine),
    /// Lay legal holds on documents, and take them off
    #[command(subcommand, after_help = "Example:\n  daylily hold list")]
    Hold(Hold),
    /// Verify or export the record of access
    #[command(subcommand, after_help = "Example:\n  daylily audit verify")]
    Audit(Audit),
    /// Say why a file can or cannot be opened now, what became of a link, or why a request was refused
    #[command(after_help = "Example:\n  daylily explain DocumentReference/9f31")]
    Explain(Explain),
    /// Confirm the clock after a jump
    #[command(subcommand, after_help = "Example:\n  daylily clock confirm --reason \"clock checked, ticket 4711\"")]
    Clock(Clock),
    /// Try out notifications
    #[command(subcommand, after_help = "Example:\n  daylily webhook listen --listen 127.0.0.1:9000")]
    Webhook(Webhook),
    /// Check keys, clock, database, files, scanner, disk and base URL, each with its cure
    #[command(after_help = "Example:\n  daylily doctor --through https://documents.hospital.example")]
    Doctor(Doctor),
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Listen here; without it a free port is taken when 8080 is in use
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
    /// End after the journey instead of serving on
    #[arg(long)]
    pub(crate) exit: bool,
    /// Keep the folder, here; the path must not exist or be empty
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Where to listen [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
    /// What every generated URL begins with
    #[arg(long, value_name = "URL")]
    pub(crate) base_url: Option<String>,
    /// For development on this machine: loopback receivers and plain http, and a client `dev` that sees everything
    #[arg(long)]
    pub(crate) dev: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Client {
    /// Register a client
    #[command(
        after_help = "Example:\n  daylily client add --id ward-viewer --scope \"system/DocumentReference.rs\" --generate-key ward-viewer.key"
    )]
    Add(ClientAdd),
    /// List the registered clients
    #[command(after_help = "Example:\n  daylily client list")]
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Show one client
    #[command(after_help = "Example:\n  daylily client show ward-viewer")]
    Show(ClientOne),
    /// Switch a client off: no token any more, tokens and links that it holds end
    #[command(after_help = "Example:\n  daylily client disable ward-viewer")]
    Disable(ClientOne),
    /// Switch a client on again
    #[command(after_help = "Example:\n  daylily client enable ward-viewer")]
    Enable(ClientOne),
    /// Give a client another key; the old one ends at once
    #[command(after_help = "Example:\n  daylily client rotate ward-viewer --generate-key ward-viewer-2.key")]
    Rotate(ClientRotate),
}

#[derive(Debug, Args)]
pub(crate) struct ClientAdd {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Its id: letters, digits, `.`, `_`, `-`
    #[arg(long, value_name = "ID")]
    pub(crate) id: String,
    /// Scopes that it may ask for, separated by spaces
    #[arg(long, value_name = "SCOPES")]
    pub(crate) scope: String,
    #[command(flatten)]
    pub(crate) key: ClientKey,
    /// What it sees beside its own: own, custodian=REF, or all
    #[arg(long, value_name = "REACH")]
    pub(crate) reach: Vec<String>,
    /// A network that it may call from; several may be given
    #[arg(long, value_name = "CIDR")]
    pub(crate) allow_ip: Vec<String>,
    /// What stands in attachment.url: a signed link, or a handle that needs a token
    #[arg(long, value_enum, default_value = "link", value_name = "FORM")]
    pub(crate) attachment_url: UrlForm,
    /// Its name for people
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
}

/// `--attachment-url`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum UrlForm {
    /// A signed link.
    Link,
    /// A handle.
    Handle,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct ClientKey {
    /// Make a key pair and write the private key to this new file
    #[arg(long, value_name = "FILE")]
    pub(crate) generate_key: Option<PathBuf>,
    /// A file with its public keys (JWK set)
    #[arg(long, value_name = "FILE")]
    pub(crate) jwks: Option<PathBuf>,
    /// An https address that gives its public keys (JWK set)
    #[arg(long, value_name = "URL")]
    pub(crate) jwks_uri: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ClientOne {
    /// Its id
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct ClientRotate {
    /// Its id
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) key: ClientKey,
}

#[derive(Debug, Args)]
pub(crate) struct Token {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The client's id
    #[arg(long, value_name = "ID")]
    pub(crate) client: String,
    /// The file with its private key
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Scopes to ask for [default: all that this server offers and the client may have]
    #[arg(long, value_name = "SCOPES")]
    pub(crate) scope: Option<String>,
    /// The server [default: that of the data folder]
    #[arg(long, value_name = "URL")]
    pub(crate) base_url: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Find every mistake of a policy file, with line and column
    #[command(after_help = "Example:\n  daylily policy check policy.toml")]
    Check {
        /// The policy file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Say which rule a document falls under, and why
    #[command(after_help = "Example:\n  daylily policy explain --document letter.json --policy policy.toml")]
    Explain(PolicyExplain),
    /// Make a policy the active one; documents keep what was decided for them
    #[command(after_help = "Example:\n  daylily policy apply policy.toml --reason \"keep radiology for a week\"")]
    Apply(PolicyApply),
    /// Print the active policy
    #[command(after_help = "Example:\n  daylily policy show > policy.toml")]
    Show {
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Args)]
pub(crate) struct PolicyExplain {
    #[command(flatten)]
    pub(crate) place: Place,
    /// A file with a DocumentReference (JSON)
    #[arg(long, value_name = "FILE")]
    pub(crate) document: PathBuf,
    /// The policy to explain by [default: the active one]
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// The client that would deliver it
    #[arg(long, value_name = "ID")]
    pub(crate) client: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyApply {
    /// The policy file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) place: Place,
    /// Why; kept in the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// Say what would change, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Links {
    /// Cut access at once, running transfers included, and say whom it touched
    #[command(
        after_help = "Examples:\n  daylily links revoke --client ward-viewer --reason \"lost laptop, ticket 4711\"\n  \
            daylily links revoke --document DocumentReference/9f31 --state --reason \"sent in error\"\n\n\
            Without --state the document stays open: its readers get new links at their next read."
    )]
    Revoke(LinksRevoke),
}

#[derive(Debug, Args)]
pub(crate) struct LinksRevoke {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) aim: RevokeAim,
    /// With `--document`: move it to `revoked` as well, which ends access to it for good (for what was sent in error)
    #[arg(long, conflicts_with_all = ["link", "client", "patient", "all"])]
    pub(crate) state: bool,
    /// Why; kept in the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// Say what would be withdrawn, and withdraw nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct RevokeAim {
    /// One link, read from standard input; its reader gets another one at the next read
    #[arg(long, value_name = "-", value_parser = stdin_mark)]
    pub(crate) link: Option<StdinMark>,
    /// All links of a document (DocumentReference/…); readers get new ones, but with `--state`
    #[arg(long, value_name = "REF")]
    pub(crate) document: Option<String>,
    /// All links of a client
    #[arg(long, value_name = "ID")]
    pub(crate) client: Option<String>,
    /// All links of files about a patient, whose reference is read from standard input
    #[arg(long, value_name = "-", value_parser = stdin_mark)]
    pub(crate) patient: Option<StdinMark>,
    /// All links
    #[arg(long)]
    pub(crate) all: bool,
}

/// The `-` of a flag whose value comes from standard input only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StdinMark;

fn stdin_mark(text: &str) -> Result<StdinMark, String> {
    if text == "-" { Ok(StdinMark) } else { Err(STDIN_ONLY.to_owned()) }
}

/// What is wrong with a value where only `-` may stand.
pub(crate) const STDIN_ONLY: &str = "is read from standard input only";

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Verify the whole record and say where it breaks
    #[command(after_help = "Example:\n  daylily audit verify --checkpoint ../elsewhere/checkpoint-2026-11-01")]
    Verify(AuditVerify),
    /// Hand out the record: who saw what, when
    #[command(
        after_help = "Example:\n  echo Patient/4711 | daylily audit export --patient - --format table\n  echo Patient/4711 | daylily audit export --patient - --format csv > access.csv"
    )]
    Export(AuditExport),
    /// Go on although the record does not verify; two operators give the same command, on the stopped folder
    #[command(
        after_help = "Example:\n  daylily audit acknowledge --as anna.berg --reason \"restored from backup, ticket 4711\""
    )]
    Acknowledge {
        #[command(flatten)]
        place: Place,
        /// Why; kept in the record
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AuditVerify {
    #[command(flatten)]
    pub(crate) place: Place,
    /// A signed checkpoint that was kept elsewhere; several may be given
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct AuditExport {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Entries about one patient, whose reference is read from standard input
    #[arg(long, value_name = "-", value_parser = stdin_mark)]
    pub(crate) patient: Option<StdinMark>,
    /// Entries from this moment on (RFC 3339 with an offset)
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Entries before this moment (RFC 3339 with an offset)
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// A table for a person (on a terminal with `--patient`, unless given), one JSON object a line (else), or CSV
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<ExportFormat>,
}

/// `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// One JSON object a line.
    Ndjson,
    /// RFC 4180, with a header.
    Csv,
    /// For a person: document by document who received it, when, and whether it was withdrawn.
    Table,
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// DocumentReference/ID, Binary/ID, a link's reference (lk_…), a request's id, or `-` for a link on standard input
    #[arg(value_name = "REF", allow_hyphen_values = true)]
    pub(crate) what: String,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Clock {
    /// Take the clock as right after a jump: destruction may go on
    #[command(after_help = "Example:\n  daylily clock confirm --reason \"clock checked, ticket 4711\"")]
    Confirm {
        #[command(flatten)]
        place: Place,
        /// Why; kept in the record
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Call the server through this URL too, and say what a proxy in front changes
    #[arg(long, value_name = "URL")]
    pub(crate) through: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Webhook {
    /// Receive notifications here, show one line for each, and fail on purpose
    #[command(
        after_help = "Example:\n  daylily webhook listen --secret-file hook.secret\n  daylily webhook listen --fail status=503 --fail retry-after=30 --fail first=2"
    )]
    Listen(WebhookListen),
}

#[derive(Debug, Args)]
pub(crate) struct WebhookListen {
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
    pub(crate) listen: String,
    /// The Subscription's secret (`whsec_…`), read from standard input
    #[arg(long, value_name = "-", value_parser = stdin_mark, conflicts_with = "secret_file")]
    pub(crate) secret: Option<StdinMark>,
    /// A file with the Subscription's secret, a further one during an overlap on a line of its own
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    /// Fail: status=500, hang or close; which: every=3, first=2; with status: retry-after=30
    #[arg(long, value_name = "HOW")]
    pub(crate) fail: Vec<String>,
}
