//! A test download for `doctor --through`: bytes that say nothing, once, on an operator's word over the command socket, so that it can be seen
//! whether what is in front of this server takes in more than its reader has read. Such a proxy still delivers what was withdrawn.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use actix_web::http::header;
use actix_web::web::{Bytes, Data, Path};
use actix_web::{HttpRequest, HttpResponse};

use super::arrival::{Connection, Line};
use super::error::Told;
use super::exchange::Shared;
use super::files::UNBUFFERED;
use crate::delivery::Line as _;
use crate::domain::clock::{Clock, Entropy};
use crate::domain::refusal::Code;

/// Bytes of one: more than systems and honest proxies hold on the way.
pub const PROBE_BYTES: u64 = 32 * 1024 * 1024;
/// How long one may take, from the operator's word on.
const LIFE: Duration = Duration::from_secs(10);
/// What is sent again and again.
static PIECE: [u8; 64 * 1024] = [0; 64 * 1024];

/// The test download that is open, if one is. A new one ends the one before.
#[derive(Debug)]
pub struct Probes {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    open: Mutex<Option<Probe>>,
}

#[derive(Debug)]
struct Probe {
    token: String,
    ends: Duration,
    course: Course,
}

#[derive(Debug)]
enum Course {
    /// Nobody has asked for it yet.
    Awaited,
    /// It is on its way; without a line where the system tells nothing of connections.
    Sent(Option<Arc<Line>>),
}

impl Drop for Probe {
    fn drop(&mut self) {
        if let Course::Sent(Some(line)) = &self.course {
            line.cut();
        }
    }
}

impl Probes {
    /// None is open.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { clock, entropy, open: Mutex::default() }
    }

    fn open(&self) -> MutexGuard<'_, Option<Probe>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.monotonic();
        if open.as_ref().is_some_and(|probe| now > probe.ends) {
            *open = None;
        }
        open
    }

    /// Opens one; answers its path.
    pub fn begin(&self) -> String {
        let mut secret = [0; 16];
        self.entropy.fill(&mut secret);
        let token = hex::encode(secret);
        let path = format!("/probe/{token}");
        let ends = self.clock.monotonic() + LIFE;
        *self.open() = Some(Probe { token, ends, course: Course::Awaited });
        path
    }

    /// Bytes of the open one that the peer of its connection has acknowledged; `None` where none is on its way or the system does not tell.
    pub fn acknowledged(&self) -> Option<u64> {
        match &self.open().as_ref()?.course {
            Course::Sent(Some(line)) => Some(line.look().least),
            Course::Awaited | Course::Sent(None) => None,
        }
    }

    /// Begins to send it; once.
    fn take(&self, token: &str, request: &HttpRequest) -> Option<Duration> {
        let mut open = self.open();
        let probe = open.as_mut().filter(|probe| probe.token == token && matches!(probe.course, Course::Awaited))?;
        let connection = request.conn_data::<Arc<Connection>>().map(Arc::clone);
        probe.course =
            Course::Sent(connection.and_then(|connection| Line::begin(connection, PROBE_BYTES)).map(Arc::new));
        Some(probe.ends)
    }
}

/// `GET /probe/{token}`: headers as far as they decide how a proxy treats a download are a download's.
pub(super) async fn download(
    request: HttpRequest,
    shared: Data<Shared>,
    token: Path<String>,
) -> Result<HttpResponse, Told> {
    let ends = shared.probes.take(&token, &request).ok_or(Code::PathUnknown)?;
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, "application/octet-stream"))
        .insert_header((header::CACHE_CONTROL, "private, no-store"))
        .insert_header(UNBUFFERED)
        .force_close();
    Ok(response.body(Zeros { left: PROBE_BYTES, ends, clock: Arc::clone(&shared.clock) }))
}

/// The body of one.
struct Zeros {
    left: u64,
    ends: Duration,
    clock: Arc<dyn Clock>,
}

/// It has lasted too long.
#[derive(Debug, thiserror::Error)]
#[error("test download over its time")]
struct Late;

impl MessageBody for Zeros {
    type Error = Late;

    fn size(&self) -> BodySize {
        BodySize::Sized(PROBE_BYTES)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Late>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if self.clock.monotonic() > self.ends {
            return Poll::Ready(Some(Err(Late)));
        }
        let piece = Bytes::from_static(&PIECE);
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(piece.len());
        self.left -= u64::try_from(length).unwrap_or(self.left);
        Poll::Ready(Some(Ok(piece.slice(..length))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Timestamp;

    #[derive(Debug, Default)]
    struct Still(Mutex<Duration>);

    impl Clock for Still {
        fn now(&self) -> Timestamp {
            Timestamp::default()
        }

        fn now_micros(&self) -> u64 {
            0
        }

        fn monotonic(&self) -> Duration {
            *self.0.lock().unwrap()
        }
    }

    #[derive(Debug)]
    struct Sevens;

    impl Entropy for Sevens {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    #[test]
    fn a_test_download_is_had_once_in_time_and_by_its_whole_name_only() {
        let clock = Arc::new(Still::default());
        let probes = Probes::new(Arc::clone(&clock) as _, Arc::new(Sevens));
        let request = actix_web::test::TestRequest::default().to_http_request();
        let token = "07".repeat(16);
        assert_eq!(probes.take(&token, &request), None, "nobody has opened one");
        assert_eq!(probes.begin(), format!("/probe/{token}"));
        assert_eq!(probes.take("07", &request), None);
        assert_eq!(probes.take(&token, &request), Some(LIFE));
        assert_eq!(probes.take(&token, &request), None, "once");
        probes.begin();
        *clock.0.lock().unwrap() = LIFE + Duration::from_millis(1);
        assert_eq!(probes.take(&token, &request), None, "in time");
    }
}
