//! A receiver of notifications for people who try things out: `webhook listen`, the demo and tests. It takes every request, has it
//! checked, hands it on, and answers as it was told to, on purpose also badly. Not a part of the server.

use std::fmt;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes, Data, PayloadConfig};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use tokio::sync::{Mutex, mpsc};

/// Largest body that is taken, in bytes.
const MOST_BODY: usize = 4 * 1024 * 1024;
/// Requests that wait to be looked at; more are answered and not shown.
const QUEUE: usize = 10_000;

/// How a request is answered where it is to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// With this status, and `Retry-After` in seconds.
    Status(u16, Option<u32>),
    /// Never, while the receiver runs.
    Hang,
    /// By closing the connection without an answer.
    Close,
}

/// Which requests fail, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailOnPurpose {
    /// How.
    pub how: Failure,
    /// The first so many requests; `None`: not by their number.
    pub first: Option<u64>,
    /// Every so manyth request; `None`: not by their number. Without either, all.
    pub every: Option<u64>,
}

impl FailOnPurpose {
    fn meets(self, number: u64) -> bool {
        match (self.first, self.every) {
            (None, None) => true,
            (first, every) => {
                first.is_some_and(|first| number <= first)
                    || every.is_some_and(|every| every > 0 && number.is_multiple_of(every))
            }
        }
    }
}

/// Whether a message is from whom it says: `None` where there is nothing to check it with, else what is wrong with it.
pub type Check = Arc<dyn Fn(&Heads, &[u8]) -> Option<Result<(), String>> + Send + Sync>;

/// The headers of a message that matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heads {
    /// `webhook-id`.
    pub id: String,
    /// `webhook-timestamp`.
    pub timestamp: String,
    /// `webhook-signature`.
    pub signature: String,
    /// `Content-Type`.
    pub content_type: String,
    /// All others, by their names.
    pub others: Vec<(String, String)>,
}

/// A request that came.
#[derive(Clone)]
pub struct Received {
    /// Its number, from 1.
    pub number: u64,
    /// Method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Its headers.
    pub heads: Heads,
    /// Its body.
    pub body: Bytes,
    /// What the check said.
    pub verified: Option<Result<(), String>>,
    /// Status that it was answered with; `None`: it was not.
    pub answered: Option<u16>,
}

impl fmt::Debug for Received {
    /// Without headers and body.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Received({} {:?})", self.number, self.answered)
    }
}

/// A receiver that runs.
pub struct Receiver {
    address: SocketAddr,
    handle: ServerHandle,
    failing: Arc<std::sync::RwLock<Vec<FailOnPurpose>>>,
    queue: Mutex<mpsc::Receiver<Received>>,
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receiver({})", self.address)
    }
}

struct Shared {
    check: Check,
    failing: Arc<std::sync::RwLock<Vec<FailOnPurpose>>>,
    count: AtomicU64,
    tell: mpsc::Sender<Received>,
}

impl Shared {
    fn failure(&self, number: u64) -> Option<Failure> {
        let failing = self.failing.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        failing.iter().find(|each| each.meets(number)).map(|each| each.how)
    }
}

impl Receiver {
    /// Starts on a bound listener, within a Tokio runtime.
    ///
    /// # Errors
    /// The listener cannot be used.
    pub fn start(listener: TcpListener, check: Check, failing: Vec<FailOnPurpose>) -> std::io::Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (tell, queue) = mpsc::channel(QUEUE);
        let failing = Arc::new(std::sync::RwLock::new(failing));
        let shared = Data::new(Shared { check, failing: Arc::clone(&failing), count: AtomicU64::new(0), tell });
        let server = HttpServer::new(move || {
            App::new()
                .app_data(shared.clone())
                .app_data(PayloadConfig::new(MOST_BODY))
                .default_service(web::to(receive))
        })
        .on_connect(|connection, extensions| {
            // A second handle of the connection, to close it without an answer where that is asked for.
            if let Some(stream) = connection.downcast_ref::<actix_web::rt::net::TcpStream>()
                && let Ok(second) = stream.as_fd().try_clone_to_owned()
            {
                extensions.insert(Arc::new(TcpStream::from(second)));
            }
        })
        .workers(2)
        .shutdown_timeout(1)
        .disable_signals()
        .listen(listener)?
        .run();
        let handle = server.handle();
        tokio::spawn(server);
        Ok(Self { address, handle, failing, queue: Mutex::new(queue) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Fails from now on as told; with nothing, no more.
    pub fn fail(&self, failing: Vec<FailOnPurpose>) {
        *self.failing.write().unwrap_or_else(std::sync::PoisonError::into_inner) = failing;
    }

    /// The next request, in the order in which they came; `None`: none in that time.
    pub async fn next(&self, within: Duration) -> Option<Received> {
        let mut queue = self.queue.lock().await;
        tokio::time::timeout(within, queue.recv()).await.ok().flatten()
    }

    /// The next one whose signature holds and that was answered with 2xx.
    pub async fn next_verified(&self, within: Duration) -> Option<Received> {
        let good = async {
            loop {
                let received = self.queue.lock().await.recv().await?;
                let taken = received.answered.is_some_and(|status| (200..300).contains(&status));
                if taken && received.verified == Some(Ok(())) {
                    return Some(received);
                }
            }
        };
        tokio::time::timeout(within, good).await.ok().flatten()
    }

    /// Ends; what hangs is cut.
    pub async fn stop(self) {
        self.handle.stop(false).await;
    }
}

async fn receive(request: HttpRequest, body: Bytes, shared: Data<Shared>) -> HttpResponse {
    let number = shared.count.fetch_add(1, Ordering::Relaxed) + 1;
    let failure = shared.failure(number);
    let heads = heads(&request);
    let verified = (shared.check)(&heads, &body);
    let status = match (failure, &verified) {
        (Some(Failure::Status(status, _)), _) => Some(status),
        (Some(Failure::Hang | Failure::Close), _) => None,
        // Libraries tell a receiver to answer 4xx to what does not verify.
        (None, Some(Err(_))) => Some(401),
        (None, _) => Some(204),
    };
    let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let method = request.method().to_string();
    let received = Received { number, method, path, heads, body, verified, answered: status };
    // What nobody looks at in time is answered all the same.
    let _ = shared.tell.try_send(received);
    answer(&request, failure, status).await
}

async fn answer(request: &HttpRequest, failure: Option<Failure>, status: Option<u16>) -> HttpResponse {
    match failure {
        Some(Failure::Hang) => std::future::pending::<()>().await,
        Some(Failure::Close) => {
            if let Some(stream) = request.conn_data::<Arc<TcpStream>>() {
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
        }
        Some(Failure::Status(..)) | None => {}
    }
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    let mut response = HttpResponse::build(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    if let Some(Failure::Status(_, Some(seconds))) = failure {
        response.insert_header(("retry-after", seconds.to_string()));
    }
    response.finish()
}

fn heads(request: &HttpRequest) -> Heads {
    let mut heads = Heads::default();
    for (name, value) in request.headers() {
        let value = value.to_str().unwrap_or_default().to_owned();
        match name.as_str() {
            "webhook-id" => heads.id = value,
            "webhook-timestamp" => heads.timestamp = value,
            "webhook-signature" => heads.signature = value,
            "content-type" => heads.content_type = value,
            other => heads.others.push((other.to_owned(), value)),
        }
    }
    heads
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_fail_by_their_number() {
        let fail = |first, every| FailOnPurpose { how: Failure::Hang, first, every };
        let of = |fail: FailOnPurpose| (1..=7).filter(|number| fail.meets(*number)).collect::<Vec<_>>();
        assert_eq!(of(fail(None, None)), [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(of(fail(Some(2), None)), [1, 2]);
        assert_eq!(of(fail(None, Some(3))), [3, 6]);
        assert_eq!(of(fail(Some(1), Some(3))), [1, 3, 6]);
        assert_eq!(of(fail(None, Some(0))), [0; 0]);
    }

    #[tokio::test]
    async fn it_takes_requests_and_fails_on_purpose() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let check: Check =
            Arc::new(|heads, _| Some(if heads.id.is_empty() { Err("no id".to_owned()) } else { Ok(()) }));
        let once = |how| vec![FailOnPurpose { how, first: None, every: None }];
        let receiver = Receiver::start(listener, check, Vec::new()).unwrap();
        let url = format!("http://{}/hook?a=1", receiver.address());
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
        let post = |id: &'static str| client.post(&url).header("webhook-id", id).body("text").send();
        assert_eq!(post("msg_1").await.unwrap().status(), 204);
        let received = receiver.next_verified(Duration::from_secs(20)).await.unwrap();
        assert_eq!(
            (received.path.as_str(), &received.body[..], received.heads.id.as_str()),
            ("/hook?a=1", &b"text"[..], "msg_1")
        );
        assert_eq!(post("").await.unwrap().status(), 401);
        receiver.fail(once(Failure::Status(503, Some(7))));
        let busy = post("msg_2").await.unwrap();
        assert_eq!((busy.status().as_u16(), busy.headers()["retry-after"].to_str().unwrap()), (503, "7"));
        receiver.fail(once(Failure::Close));
        assert!(post("msg_3").await.is_err());
        let numbers = [receiver.next(Duration::from_secs(20)).await, receiver.next(Duration::from_secs(20)).await];
        assert_eq!(numbers.map(|each| each.unwrap().answered), [Some(401), Some(503)]);
        receiver.stop().await;
    }
}
