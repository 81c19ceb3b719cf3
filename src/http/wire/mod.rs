//! Between the socket and the framework: what the framework takes too leniently or leaves bare. Measured gaps, all closed here: it
//! reads heads whose lines end in a bare LF, knows no pace for readers, and answers malformed, large and late heads with an empty
//! answer that has none of this server's headers.
//!
//! [`head`] and [`passage`] decide and touch no socket; [`stream`] is the connection itself. No route is known here.

mod head;
mod passage;
mod stall;
mod stream;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::time::Duration;

use actix_web::HttpRequest;

pub(super) use head::Fault;
pub(super) use stream::Wire;

use crate::config::{Limits, write_size};
use crate::domain::refusal::{Code, Issue, Refusal};

/// What connections are allowed, from the settings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    measures: head::Measures,
    head: Duration,
    write_stall: Duration,
    write_least: u64,
}

/// What a request line has beside its address: the longest method, the version, spaces; and as much again, so that the layer above,
/// which counts exactly, is the one to say so near the limit.
const LINE_REST: usize = 512;
/// What is held of a head beyond its limits, for the same reason.
const HEAD_REST: usize = 4096;

impl Patience {
    /// As the limits say.
    pub(super) fn of(limits: &Limits) -> Self {
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let line = size(limits.uri_length).saturating_add(LINE_REST);
        let head = line.saturating_add(size(limits.head_length)).saturating_add(HEAD_REST);
        let measures = head::Measures { line, head, headers: limits.headers };
        let write_least = limits.write_rate.saturating_mul(limits.write_stall.as_secs());
        Self { measures, head: limits.head_timeout, write_stall: limits.write_stall, write_least }
    }
}

/// What became of a head that was refused, for the request that stands in its place.
#[derive(Debug, Default)]
pub(super) struct Doubt(Cell<Option<Fault>>);

/// Where the requests go that stand for refused heads: in the shape of each surface. No route has such a path, since `!` stands in none.
macro_rules! substitutes {
    ($method:literal) => {
        [
            concat!($method, " /fhir/!refused HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n"),
            concat!($method, " /auth/!refused HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n"),
            concat!($method, " /!refused HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n"),
        ]
    };
}

/// The request that stands for a refused head: of the same surface as far as that can be seen.
fn substitute(head: &[u8]) -> &'static [u8] {
    let line = head.split(|byte| matches!(byte, b'\r' | b'\n')).find(|line| !line.is_empty()).unwrap_or_default();
    let mut parts = line.split(|byte| *byte == b' ');
    let (method, target) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    let [fhir, auth, other] = if method == b"HEAD" { substitutes!("HEAD") } else { substitutes!("GET") };
    let below = |name: &[u8]| path.split(|byte| *byte == b'/').skip(1).any(|step| step == name);
    if below(b"fhir") {
        fhir.as_bytes()
    } else if below(b"auth") {
        auth.as_bytes()
    } else {
        other.as_bytes()
    }
}

/// The refusal that a request stands for, if it does.
pub(super) fn refusal(limits: &Limits, request: &HttpRequest) -> Option<Refusal> {
    let doubt = request.conn_data::<std::rc::Rc<Doubt>>()?.0.get()?;
    request.uri().path().ends_with("/!refused").then(|| told(limits, doubt))
}

fn told(limits: &Limits, fault: Fault) -> Refusal {
    let malformed = |part: &str| Refusal::new(Issue::new(Code::RequestMalformed).fill("part", part));
    let large = |part: &str, limit: String, status: u16| {
        Refusal::new(Issue::new(Code::RequestTooLarge).fill("part", part).fill("limit", limit)).with_status(status)
    };
    match fault {
        Fault::Malformed(part) => malformed(part),
        Fault::Version => malformed("version of HTTP").with_status(505),
        Fault::Address => large("address", write_size(limits.uri_length), 414),
        Fault::Head => large("head", write_size(limits.head_length), 431),
        Fault::Headers => large("number of headers", limits.headers.to_string(), 431),
        Fault::Slow => Refusal::of(Code::RequestTimeout).retry_after(1),
    }
}
