//! The command's end: one line out, one line in.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use zeroize::Zeroizing;

use super::protocol::{Reply, Request, Response};
use crate::domain::refusal::Refusal;

/// How long the server may take to accept.
const CONNECT: Duration = Duration::from_secs(5);
/// How long it may take to perform: a look back over a long log for the links that a withdrawal touched.
const ANSWER: Duration = Duration::from_secs(120);
/// The longest answer that is read: a list of ten thousand clients stays below.
const LONGEST_ANSWER: u64 = 16 * 1024 * 1024;

/// Why no answer came.
#[derive(Debug)]
pub enum CallError {
    /// Nothing listens: there is no socket, or nobody behind it.
    NotListening,
    /// It did not answer, or not in a way that is understood.
    NoAnswer,
    /// It refused.
    Refused(Refusal),
}

/// Sends a request to the server behind `socket`.
///
/// # Errors
/// [`CallError`].
pub async fn call(socket: &Path, request: &Request) -> Result<Response, CallError> {
    let connected = tokio::time::timeout(CONNECT, UnixStream::connect(socket)).await;
    let mut stream = match connected {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Err(CallError::NotListening);
        }
        Ok(Err(_)) | Err(_) => return Err(CallError::NoAnswer),
    };
    let patience = if matches!(request, Request::Status {}) { CONNECT } else { ANSWER };
    let answer = tokio::time::timeout(patience, exchange(&mut stream, request)).await;
    let answer = answer.map_err(|_late| CallError::NoAnswer)?.map_err(|_broken| CallError::NoAnswer)?;
    let reply: Reply = serde_json::from_slice(&answer).map_err(|_other| CallError::NoAnswer)?;
    reply.into_result().map_err(CallError::Refused)
}

async fn exchange(stream: &mut UnixStream, request: &Request) -> io::Result<Vec<u8>> {
    // Wiped when it is let go: it may carry a password.
    let mut line = Zeroizing::new(serde_json::to_string(request).map_err(io::Error::other)?);
    line.push('\n');
    stream.write_all(line.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer).await?;
    Ok(answer)
}
