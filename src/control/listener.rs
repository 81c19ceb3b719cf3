//! The server's end: accepts, checks who it is, reads one line, performs, answers one line.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use super::Operations;
use super::place::{Place, forget};
use super::protocol::{Reply, Request};
use crate::domain::refusal::{Code, Issue, Refusal};

/// The longest line that is read: a policy text or key set and what is around it.
const LONGEST_LINE: u64 = 1024 * 1024;
/// How long a caller may take to say what it wants, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Commands at a time; more wait.
const AT_ONCE: usize = 8;
/// Pause after a failure to accept (no file descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end, by user id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub u32);

impl Peer {
    /// Whether it may give commands to a server whose folder `owner` owns.
    pub fn may_command(self, owner: u32) -> bool {
        self.0 == owner || self.0 == 0
    }
}

/// Begins to accept, perhaps again after it broke off.
pub type Accepting = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// The listening socket.
#[derive(Debug)]
pub struct Listener {
    place: Place,
    stop: watch::Sender<bool>,
    pub(super) task: JoinHandle<()>,
}

impl Listener {
    /// Listens at `place`, with the folder's lock held by the caller, and performs what users `owner` and root ask for. `run` keeps the
    /// loop going until it is told to stop: what it is given begins to accept.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn start(
        data_dir: &Path,
        place: Place,
        (owner, operations): (u32, Arc<dyn Operations>),
        run: impl FnOnce(watch::Receiver<bool>, Accepting) -> JoinHandle<()>,
    ) -> io::Result<Self> {
        place.prepare(data_dir)?;
        let socket = UnixListener::bind(&place.socket)?;
        // Between the two calls only the folder's mode (0700) and the umask guard it.
        std::fs::set_permissions(&place.socket, Permissions::from_mode(0o600))?;
        let (stop, stopped) = watch::channel(false);
        let (socket, room) = (Arc::new(socket), Arc::new(Semaphore::new(AT_ONCE)));
        let ending = stopped.clone();
        let accepting: Accepting = Box::new(move || {
            let parts = (Arc::clone(&socket), Arc::clone(&room), Arc::clone(&operations));
            Box::pin(accept(parts, owner, stopped.clone()))
        });
        let task = run(ending, accepting);
        Ok(Self { place, stop, task })
    }

    /// Stops listening and removes the socket. A command that runs is finished first.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if self.task.await.is_err() {
            tracing::error!("the control socket's loop broke off");
        }
        forget(&self.place);
    }
}

async fn accept(
    (socket, room, operations): (Arc<UnixListener>, Arc<Semaphore>, Arc<dyn Operations>),
    owner: u32,
    mut stopped: watch::Receiver<bool>,
) {
    while !*stopped.borrow() {
        let stream = tokio::select! {
            _ = stopped.changed() => break,
            accepted = socket.accept() => accepted,
        };
        let Ok((stream, _)) = stream else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { break };
        let operations = Arc::clone(&operations);
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = serve(stream, owner, operations.as_ref()).await {
                tracing::debug!(cause = %error.kind(), "a command broke off");
            }
        });
    }
    // Every permit back: every command has answered.
    let all = u32::try_from(AT_ONCE).unwrap_or(u32::MAX);
    let _done = tokio::time::timeout(PATIENCE.saturating_mul(2), room.acquire_many(all)).await;
}

async fn serve(mut stream: UnixStream, owner: u32, operations: &dyn Operations) -> io::Result<()> {
    let peer = Peer(stream.peer_cred()?.uid());
    if !peer.may_command(owner) {
        tracing::warn!("a command of another user was refused");
        return Ok(());
    }
    let line = match tokio::time::timeout(PATIENCE, read_line(&mut stream)).await {
        Ok(line) => line?,
        Err(_late) => return Err(io::ErrorKind::TimedOut.into()),
    };
    let reply = match serde_json::from_str::<Request>(&line) {
        Ok(request) => Reply::of(operations.perform(peer.0, request).await),
        Err(_not_one) => Reply::of(Err(Refusal::new(Issue::new(Code::RequestMalformed).fill("part", "command line")))),
    };
    let mut answer = serde_json::to_string(&reply).map_err(io::Error::other)?;
    answer.push('\n');
    match tokio::time::timeout(PATIENCE, stream.write_all(answer.as_bytes())).await {
        Ok(written) => written?,
        Err(_late) => return Err(io::ErrorKind::TimedOut.into()),
    }
    stream.shutdown().await
}

/// Wiped when it is let go: it may carry a password.
async fn read_line(stream: &mut UnixStream) -> io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    let mut reader = BufReader::new(stream.take(LONGEST_LINE));
    reader.read_line(&mut line).await?;
    if line.ends_with('\n') { Ok(line) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
