//! A TCP proxy on this machine that does to bytes what networks do: late, slow, in pieces, cut, reset, swallowed, changed. Each way has
//! its own faults; a connection has those that are set when it is opened.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How a connection ends after so many bytes of one way, in the place of the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Both sides see an orderly end.
    Close,
    /// This way ends in order, the other goes on.
    HalfClose,
    /// Both sides see a reset (`SO_LINGER` 0).
    Reset,
    /// Nothing goes this way any more, and nobody is told.
    Blackhole,
}

/// What happens to the bytes of one way.
#[derive(Debug, Clone, Copy, Default)]
pub struct Way {
    /// Before each piece is passed on.
    pub latency: Duration,
    /// Bytes in a second; `None`: all there are.
    pub rate: Option<u64>,
    /// Largest piece that is passed on at once.
    pub piece: Option<usize>,
    /// The bits of `.1` are turned over in the byte at `.0`.
    pub flip: Option<(u64, u8)>,
    /// The end, once so many bytes have passed.
    pub end: Option<(u64, End)>,
}

impl Way {
    pub fn ends(after: u64, end: End) -> Self {
        Self { end: Some((after, end)), ..Self::default() }
    }
}

/// What happens to a connection: towards the target, and back.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    pub up: Way,
    pub down: Way,
}

impl Faults {
    pub fn up(up: Way) -> Self {
        Self { up, ..Self::default() }
    }

    pub fn down(down: Way) -> Self {
        Self { down, ..Self::default() }
    }
}

#[derive(Debug, Default)]
struct Passed {
    up: AtomicU64,
    down: AtomicU64,
    /// Connections whose target has ended its way.
    left: AtomicU64,
}

#[derive(Debug)]
pub struct FaultProxy {
    pub address: SocketAddr,
    faults: Arc<Mutex<Faults>>,
    passed: Arc<Passed>,
    task: JoinHandle<()>,
}

impl FaultProxy {
    /// In front of a target, without faults.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (faults, passed) = (Arc::new(Mutex::new(Faults::default())), Arc::new(Passed::default()));
        let task = tokio::spawn(accept(listener, target, Arc::clone(&faults), Arc::clone(&passed)));
        Self { address, faults, passed, task }
    }

    /// For connections from now on.
    pub fn set(&self, faults: Faults) {
        *self.faults.lock().unwrap() = faults;
    }

    /// Bytes that went back, of all connections.
    pub fn down(&self) -> u64 {
        self.passed.down.load(Ordering::SeqCst)
    }

    /// Bytes that went to the target, of all connections.
    pub fn up(&self) -> u64 {
        self.passed.up.load(Ordering::SeqCst)
    }

    /// Connections that the target has ended.
    pub fn left(&self) -> u64 {
        self.passed.left.load(Ordering::SeqCst)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, faults: Arc<Mutex<Faults>>, passed: Arc<Passed>) {
    // Dropped with this task, and all connections with it.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let faults = *faults.lock().unwrap();
        connections.spawn(connection(client, target, faults, Arc::clone(&passed)));
        while connections.try_join_next().is_some() {}
    }
}

/// How one way ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// In order, and told.
    Eof,
    Close,
    Reset,
}

async fn connection(mut client: TcpStream, target: SocketAddr, faults: Faults, passed: Arc<Passed>) {
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ended = {
        let ((client_reads, client_writes), (server_reads, server_writes)) = (client.split(), server.split());
        let up = pump(client_reads, server_writes, faults.up, &passed.up);
        let down = async {
            let ended = pump(server_reads, client_writes, faults.down, &passed.down).await;
            passed.left.fetch_add(u64::from(ended == Ended::Eof), Ordering::SeqCst);
            ended
        };
        tokio::pin!(up, down);
        tokio::select! {
            ended = &mut up => if ended == Ended::Eof { down.await } else { ended },
            ended = &mut down => if ended == Ended::Eof { up.await } else { ended },
        }
    };
    if ended == Ended::Reset {
        for stream in [&client, &server] {
            rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
        }
    }
}

async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, way: Way, count: &AtomicU64) -> Ended {
    let mut buffer = vec![0; way.piece.unwrap_or(64 * 1024)];
    let mut passed = 0_u64;
    loop {
        let left = way.end.map_or(u64::MAX, |(after, _)| after - passed);
        if left == 0 {
            let how = way.end.unwrap().1;
            // The end comes in the place of the next byte.
            if how != End::Blackhole {
                let _ = from.read(&mut [0]).await;
            }
            match how {
                End::Close => return Ended::Close,
                End::Reset => return Ended::Reset,
                End::Blackhole => std::future::pending().await,
                End::HalfClose => {
                    let _ = to.shutdown().await;
                    return Ended::Eof;
                }
            }
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count_read = match from.read(&mut buffer[..most]).await {
            Ok(0) => {
                let _ = to.shutdown().await;
                return Ended::Eof;
            }
            Ok(count_read) => count_read,
            Err(_) => return Ended::Close,
        };
        let piece = &mut buffer[..count_read];
        if let Some((at, bits)) = way.flip.filter(|(at, _)| (passed..passed + count_read as u64).contains(at)) {
            piece[(at - passed) as usize] ^= bits;
        }
        let held =
            way.latency + way.rate.map_or(Duration::ZERO, |rate| Duration::from_secs(count_read as u64) / rate as u32);
        if !held.is_zero() {
            tokio::time::sleep(held).await;
        }
        passed += count_read as u64;
        if to.write_all(piece).await.is_err() {
            return Ended::Close;
        }
        count.fetch_add(count_read as u64, Ordering::SeqCst);
    }
}

mod tests {
    use super::*;

    /// Says a greeting, then echoes until its peer ends.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut reads, mut writes) = stream.split();
                    let _ = tokio::io::copy(&mut reads, &mut writes).await;
                });
            }
        });
        address
    }

    async fn said(faults: Faults) -> (Vec<u8>, Option<std::io::ErrorKind>) {
        let proxy = FaultProxy::start(echo().await).await;
        proxy.set(faults);
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        stream.write_all(b"0123456789").await.unwrap();
        let _ = stream.shutdown().await;
        let mut heard = Vec::new();
        let ended = stream.read_to_end(&mut heard).await.map_err(|error| error.kind()).err();
        (heard, ended)
    }

    #[tokio::test]
    async fn the_proxy_does_what_it_says() {
        assert_eq!(said(Faults::default()).await, (b"0123456789".to_vec(), None));
        for n in 0..10 {
            let heard = b"0123456789"[..n as usize].to_vec();
            assert_eq!(said(Faults::down(Way::ends(n, End::Close))).await, (heard.clone(), None));
            assert_eq!(said(Faults::up(Way::ends(n, End::HalfClose))).await, (heard, None));
        }
        let reset = said(Faults::down(Way::ends(4, End::Reset))).await;
        assert_eq!(reset.1, Some(std::io::ErrorKind::ConnectionReset));
        let flipped = Way { flip: Some((3, 1)), piece: Some(2), ..Way::default() };
        assert_eq!(said(Faults::up(flipped)).await.0, b"0122456789");
        let slow = Way { rate: Some(1_000), latency: Duration::from_millis(1), piece: Some(1), ..Way::default() };
        assert_eq!(said(Faults::down(slow)).await.0, b"0123456789");
        let swallowed =
            tokio::time::timeout(Duration::from_millis(50), said(Faults::down(Way::ends(2, End::Blackhole))));
        assert!(swallowed.await.is_err());
    }
}
