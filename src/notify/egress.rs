//! The guarded HTTP client: the address that was vetted is the address that is called.
//!
//! Names are looked up once, every address of the answer is vetted, and the connection uses exactly those (no rebinding). The
//! resolver is not asked for hosts that are addresses already, so those are vetted before. No redirects, no proxy, no cookies, no
//! decompression, bounded time and size. Here one thing is fetched at a time and no connection is kept; [`super::sender`] sends
//! over the same guard and keeps connections for half a minute.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::address;

/// Time for a connection, TLS included.
pub const CONNECT_TIME: Duration = Duration::from_secs(3);
/// Time for the whole exchange.
pub const TOTAL_TIME: Duration = Duration::from_secs(5);
/// Most bytes of a body that are read.
pub const MAX_BODY_BYTES: usize = 64 * 1024;
/// Most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 16;

/// Ports above 1023 where a data store or an administration interface listens and no web server should.
const STORE_PORTS: [u16; 16] =
    [1433, 1521, 2049, 2375, 2376, 2379, 2380, 3306, 3389, 5432, 5984, 6379, 9042, 9200, 11211, 27017];

/// What may be called, from the settings (`[egress]`).
#[derive(Debug, Clone, Default)]
pub struct EgressRules {
    /// Networks that are let through although they are not public.
    pub allow: Vec<IpNet>,
    /// Whether plain HTTP may be spoken.
    pub allow_http: bool,
    /// Host and port of this server itself, which it must not call: a loop.
    pub own: Option<(String, u16)>,
}

/// Why nothing came. For the log and the operator; callers must not be told which it was.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The URL itself: scheme, user information, host or port.
    #[error("the address is refused: {0}")]
    Url(&'static str),
    /// An address that is not public and not allowed.
    #[error("the address is refused: it is not public, and [egress] allow does not name it")]
    Address,
    /// The name has no address.
    #[error("the name has no address")]
    Name,
    /// Connection, TLS or time; with the cause in words.
    #[error("no answer: {0}")]
    NoAnswer(String),
    /// Another status than 200.
    #[error("answered with status {0}")]
    Status(u16),
    /// More than [`MAX_BODY_BYTES`].
    #[error("the answer is larger than 64 KiB")]
    TooLarge,
}

/// A body with the headers that say how long it may be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The body.
    pub body: Vec<u8>,
    /// All `Cache-Control` lines, joined by commas.
    pub cache_control: Option<String>,
    /// `Age`, in seconds.
    pub age: Option<u64>,
}

/// The way out.
#[derive(Debug, Clone)]
pub struct Egress {
    client: reqwest::Client,
    rules: Arc<EgressRules>,
}

/// What every client of this room is built on: names are vetted, and nothing is followed, kept or unpacked.
pub(super) fn guarded(vetting: Vetting) -> reqwest::ClientBuilder {
    let allow_http = vetting.rules.allow_http;
    reqwest::Client::builder()
        .dns_resolver(vetting)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .https_only(!allow_http)
        .http1_only()
        // Off in the manifest too; another crate could switch them on.
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .user_agent(concat!("daylily/", env!("CARGO_PKG_VERSION")))
}

impl Egress {
    /// With these rules.
    ///
    /// # Errors
    /// TLS could not be set up (no system certificates).
    pub fn new(rules: EgressRules) -> Result<Self, EgressError> {
        let vetting = Vetting::new(Arc::new(rules));
        let rules = Arc::clone(&vetting.rules);
        let client = guarded(vetting)
            .pool_max_idle_per_host(0)
            .connect_timeout(CONNECT_TIME)
            .timeout(TOTAL_TIME)
            .build()
            .map_err(|error| EgressError::NoAnswer(causes(&error)))?;
        Ok(Self { client, rules })
    }

    /// Whether an address may be called as things stand now: its text, and every address that its name has. Each connection is
    /// vetted again; this says it early.
    ///
    /// # Errors
    /// As [`vet_url`]; no address, or one that may not be called. Whoever is told must not learn which it was.
    pub async fn may_call(&self, address: &str) -> Result<Url, EgressError> {
        let url = vet_url(address, &self.rules)?;
        if let Some(Host::Domain(name)) = url.host() {
            let vetting = Vetting::new(Arc::clone(&self.rules));
            tokio::time::timeout(CONNECT_TIME, vetting.vetted(name)).await.map_err(|_| EgressError::Name)??;
        }
        Ok(url)
    }

    /// Fetches a JSON document.
    ///
    /// # Errors
    /// Nothing within the rules came.
    pub async fn get_json(&self, address: &str) -> Result<Answer, EgressError> {
        let url = vet_url(address, &self.rules)?;
        let request = self.client.get(url).header("accept", "application/json").header("accept-encoding", "identity");
        let mut response = request.send().await.map_err(|error| failure(&error))?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(EgressError::Status(response.status().as_u16()));
        }
        if response.content_length().is_some_and(|length| length > MAX_BODY_BYTES as u64) {
            return Err(EgressError::TooLarge);
        }
        let (cache_control, age) = (joined(&response, "cache-control"), joined(&response, "age"));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(EgressError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { body, cache_control, age: age.and_then(|text| text.trim().parse().ok()) })
    }
}

fn joined(response: &reqwest::Response, name: &str) -> Option<String> {
    let lines: Vec<_> = response.headers().get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!lines.is_empty()).then(|| lines.join(","))
}

/// Checks what the text of an address shows, on the parsed URL: that is what is connected to.
///
/// # Errors
/// Scheme, user information, port, or a host that is an address which may not be called.
pub fn vet_url(text: &str, rules: &EgressRules) -> Result<Url, EgressError> {
    let url = Url::parse(text).map_err(|_| EgressError::Url("not a URL"))?;
    match url.scheme() {
        "https" => {}
        "http" if rules.allow_http => {}
        _ => return Err(EgressError::Url("not https")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(EgressError::Url("user information"));
    }
    let literal = match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        Some(Host::Domain(name)) if !name.is_empty() => None,
        _ => return Err(EgressError::Url("no host")),
    };
    if literal.is_some_and(|address| !address::may_call(address, &rules.allow)) {
        return Err(EgressError::Address);
    }
    if url.host_str().is_some_and(|host| rules.allow.is_empty() && is_inside(host)) {
        return Err(EgressError::Address);
    }
    let port = url.port_or_known_default().unwrap_or(0);
    let own = |(host, own_port): &(String, u16)| *own_port == port && url.host_str() == Some(host.as_str());
    if rules.own.as_ref().is_some_and(own) {
        return Err(EgressError::Url("this server itself"));
    }
    let usual = port == 443 || (port == 80 && rules.allow_http);
    if !usual && (port < 1024 || STORE_PORTS.contains(&port)) {
        return Err(EgressError::Url("port"));
    }
    Ok(url)
}

/// Whether a name belongs to the inside of a network: a single label, or under a suffix that no public name has. Such a name is good
/// only for addresses that the operator let through.
fn is_inside(host: &str) -> bool {
    const SUFFIXES: [&str; 9] =
        ["localhost", "local", "internal", "lan", "home", "home.arpa", "corp", "onion", "intranet"];
    let name = host.strip_suffix('.').unwrap_or(host);
    let under = |suffix: &&str| name.strip_suffix(*suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    let is_address = name.starts_with('[') || name.parse::<IpAddr>().is_ok();
    !is_address && (!name.contains('.') || SUFFIXES.iter().any(under))
}

/// Looks names up; a trait so that answers can be scripted in tests.
pub(super) trait Lookup: Send + Sync {
    fn lookup(&self, name: String) -> futures_util::future::BoxFuture<'static, std::io::Result<Vec<IpAddr>>>;
}

struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup(&self, name: String) -> futures_util::future::BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// Looks up and vets in one step; the connection uses what comes out of it and asks no one else.
#[derive(Clone)]
pub(super) struct Vetting {
    pub(super) rules: Arc<EgressRules>,
    pub(super) lookup: Arc<dyn Lookup>,
}

impl Vetting {
    pub(super) fn new(rules: Arc<EgressRules>) -> Self {
        Self { rules, lookup: Arc::new(SystemLookup) }
    }

    async fn vetted(&self, name: &str) -> Result<Vec<IpAddr>, EgressError> {
        let addresses = self.lookup.lookup(name.to_owned()).await.map_err(|_| EgressError::Name)?;
        let named = |address: &IpAddr| address::is_named(*address, &self.rules.allow);
        if is_inside(name) && !addresses.iter().all(named) {
            return Err(EgressError::Address);
        }
        vet_addresses(&addresses, &self.rules)
    }
}

impl Resolve for Vetting {
    fn resolve(&self, name: Name) -> Resolving {
        let vetting = self.clone();
        Box::pin(async move {
            let vetted = vetting.vetted(name.as_str()).await.map_err(Refused)?;
            // Port 0: the one of the URL is used; any other here would override it.
            let sockets: Addrs = Box::new(vetted.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(sockets)
        })
    }
}

/// All of a name's addresses must be fit: one that is not may be the next one tried.
fn vet_addresses(addresses: &[IpAddr], rules: &EgressRules) -> Result<Vec<IpAddr>, EgressError> {
    if addresses.is_empty() {
        return Err(EgressError::Name);
    }
    if !addresses.iter().all(|address| address::may_call(*address, &rules.allow)) {
        return Err(EgressError::Address);
    }
    Ok(addresses.iter().copied().take(MAX_ADDRESSES).collect())
}

/// Carries the guard's own answer through the HTTP client's errors.
#[derive(Debug)]
struct Refused(EgressError);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Refused {}

/// Finds the guard's refusal in the chain, or says in words what the connection met.
fn failure(error: &reqwest::Error) -> EgressError {
    match refusal(error) {
        Some(EgressError::Address) => EgressError::Address,
        Some(_) => EgressError::Name,
        None => EgressError::NoAnswer(causes(error)),
    }
}

/// The guard's refusal in the chain of an error.
pub(super) fn refusal(error: &reqwest::Error) -> Option<&EgressError> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(Refused(refused)) = current.downcast_ref::<Refused>() {
            return Some(refused);
        }
        cause = current.source();
    }
    None
}

/// The causes without the first, which would repeat the URL.
fn causes(error: &reqwest::Error) -> String {
    let mut texts = Vec::new();
    let mut cause = error.source();
    while let Some(current) = cause.filter(|_| texts.len() < 8) {
        texts.push(current.to_string());
        cause = current.source();
    }
    if error.is_timeout() {
        texts.push("time is over".to_owned());
    }
    texts.join(": ")
}

#[cfg(test)]
pub(super) mod tests;
