//! A receiver of webhooks that costs little: counts what comes by path, sees whether the numbers of each path are in order, and how
//! long each event had been on its way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use actix_web::web::{Bytes, Data, Path, PayloadConfig};
use actix_web::{App, HttpResponse, HttpServer, web};
use chrono::DateTime;
use memchr::memmem;
use serde_json::{Value, json};

use crate::{Failure, each_line, now, percentile, say};

/// What came since `begin`.
#[derive(Default)]
struct Came {
    /// The last number by path.
    last: HashMap<String, u64>,
    /// Events that did not have the number after the one before it.
    disordered: u64,
    /// Events that came a second time.
    again: u64,
    /// Microseconds from the event's own time to its arrival.
    took: Vec<u64>,
    first: Option<Instant>,
    latest: Option<Instant>,
}

type Shared = Arc<Mutex<Came>>;

/// Listens on so many free ports, which it tells first; then answers commands. Each port is a host of its own to the sender.
pub(crate) fn serve(hosts: usize) -> Result<(), Failure> {
    let came = Shared::default();
    let (ports, ask) = std::sync::mpsc::channel();
    let listening = Arc::clone(&came);
    std::thread::spawn(move || actix_web::rt::System::new().block_on(listen(listening, hosts, &ports)));
    say(&json!({"ports": ask.recv()?}))?;
    each_line(|words| {
        let mut came = came.lock().unwrap_or_else(PoisonError::into_inner);
        match words {
            ["begin"] => {
                // Numbers go on.
                *came = Came { last: std::mem::take(&mut came.last), ..Came::default() };
                Ok(json!({}))
            }
            ["tell"] => Ok(came.tell()),
            _ => Err("begin | tell".into()),
        }
    })
}

async fn listen(came: Shared, hosts: usize, ports: &std::sync::mpsc::Sender<Vec<u16>>) -> Result<(), Failure> {
    let came = Data::new(came);
    let mut server = HttpServer::new(move || {
        App::new()
            .app_data(Data::clone(&came))
            .app_data(PayloadConfig::new(1 << 20))
            .route("/hook/{name}", web::post().to(take))
    });
    server = server.workers(1).backlog(4096).keep_alive(std::time::Duration::from_secs(60)).disable_signals();
    for _ in 0..hosts {
        server = server.bind(("127.0.0.1", 0))?;
    }
    ports.send(server.addrs().iter().map(std::net::SocketAddr::port).collect())?;
    server.run().await?;
    Ok(())
}

async fn take(came: Data<Shared>, name: Path<String>, body: Bytes) -> HttpResponse {
    let (at, wall) = (now(), wall_micros());
    if let Some((number, sent)) = event(&body) {
        came.lock().unwrap_or_else(PoisonError::into_inner).add(
            name.into_inner(),
            number,
            wall.saturating_sub(sent),
            at,
        );
    }
    HttpResponse::Ok().finish()
}

/// Number and time (microseconds of the epoch) of the event in a notification; `None` for a handshake.
fn event(body: &[u8]) -> Option<(u64, u64)> {
    let after =
        |from: usize, word: &str| memmem::find(body.get(from..)?, word.as_bytes()).map(|at| from + at + word.len());
    let text = |from: usize, word: &str| {
        let begin = after(from, word)?;
        let rest = body.get(begin..)?;
        std::str::from_utf8(rest.get(..memchr::memchr(b'"', rest)?)?).ok()
    };
    let name = after(0, "\"event-number\"")?;
    let number = text(name, "\"valueString\":\"")?.parse().ok()?;
    let moment = text(after(name, "\"timestamp\"")?, "\"valueInstant\":\"")?;
    let sent = DateTime::parse_from_rfc3339(moment).ok()?.timestamp_micros();
    Some((number, u64::try_from(sent).ok()?))
}

#[expect(clippy::disallowed_methods, reason = "a program that measures; the server's clock is not in it")]
fn wall_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

impl Came {
    fn add(&mut self, name: String, number: u64, took: u64, at: Instant) {
        let last = self.last.entry(name).or_default();
        match number.checked_sub(*last) {
            Some(1) => *last = number,
            Some(0) => {
                self.again += 1;
                return;
            }
            _ => {
                self.disordered += 1;
                *last = number.max(*last);
            }
        }
        self.took.push(took);
        self.first.get_or_insert(at);
        self.latest = Some(at);
    }

    fn tell(&self) -> Value {
        let mut took = self.took.clone();
        took.sort_unstable();
        let seconds = match (self.first, self.latest) {
            (Some(first), Some(latest)) => latest.duration_since(first).as_secs_f64(),
            _ => 0.0,
        };
        json!({
            "events": took.len(), "again": self.again, "disordered": self.disordered, "seconds": seconds, "paths": self.last.len(),
            "p50": percentile(&took, 50), "p99": percentile(&took, 99), "most": took.last(),
        })
    }
}
