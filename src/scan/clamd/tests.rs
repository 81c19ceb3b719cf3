//! Against a clamd that is scripted: it does what real ones do when they fail, and what none should.

use std::io::{Cursor, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::domain::clock::Timestamp;
use crate::domain::id::FileId;

/// Time that stands: the sockets' own timeouts are what ends things here.
#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now_micros(&self) -> u64 {
        0
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// A clamd that does `script` with each connection.
fn fake(script: impl Fn(&mut TcpStream) + Send + 'static) -> ClamdScanner {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            script(&mut stream.unwrap());
        }
    });
    let clock: Arc<dyn Clock> = Arc::new(Still);
    ClamdScanner::new(Address::Tcp("127.0.0.1".to_owned(), port), Duration::from_millis(300), clock)
}

fn command(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let mut byte = [0];
    while stream.read_exact(&mut byte).is_ok() && byte != [0] {
        all.push(byte[0]);
    }
    all
}

/// All pieces until the empty one.
fn pieces(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let mut length = [0; 4];
    while stream.read_exact(&mut length).is_ok() && length != [0; 4] {
        let mut piece = vec![0; u32::from_be_bytes(length) as usize];
        assert!(piece.len() <= CHUNK);
        if stream.read_exact(&mut piece).is_err() {
            break;
        }
        all.extend(piece);
    }
    all
}

/// Takes a whole stream and says `reply`.
fn saying(reply: &'static [u8]) -> ClamdScanner {
    fake(move |stream| {
        command(stream);
        pieces(stream);
        let _ = stream.write_all(reply);
    })
}

fn scan(clamd: &ClamdScanner, bytes: &[u8]) -> Result<Verdict, ScanError> {
    let size = bytes.len() as u64;
    let subject = Subject { file: FileId::from_bytes([1; 16]), sha256: [0; 32], declared: "text/plain", size };
    clamd.scan(&subject, &mut Cursor::new(bytes))
}

fn finding(clamd: &ClamdScanner, bytes: &[u8]) -> Option<Finding> {
    let verdict = scan(clamd, bytes).unwrap();
    assert_eq!(verdict.sha256.as_slice(), digest::digest(&digest::SHA256, bytes).as_ref());
    verdict.finding
}

fn failure_of(clamd: &ClamdScanner, bytes: &[u8]) -> EngineFailure {
    match scan(clamd, bytes) {
        Err(ScanError::Engine { engine: Engine::Clamd, failure }) => failure,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_byte_goes_out_once_and_is_what_the_verdict_speaks_for() {
    let (send, seen): (Sender<Vec<u8>>, Receiver<Vec<u8>>) = channel();
    let clamd = fake(move |stream| {
        assert_eq!(command(stream), b"zINSTREAM");
        send.send(pieces(stream)).unwrap();
        stream.write_all(b"stream: OK\0").unwrap();
    });
    for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5] {
        let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        assert_eq!(finding(&clamd, &bytes), None);
        assert_eq!(seen.recv().unwrap(), bytes);
    }
}

#[test]
fn what_it_found_is_told_with_version_and_name() {
    let clamd = saying(b"stream: Win.Test.EICAR_HDB-1 FOUND\0");
    *clamd.version.write().unwrap() = "1.4.6".to_owned();
    let verdict = scan(&clamd, b"x").unwrap();
    assert_eq!((verdict.finding, verdict.place.as_str()), (Some(Finding::Malware), "1.4.6 Win.Test.EICAR_HDB-1"));
}

#[test]
fn nonsense_is_no_verdict() {
    let replies: [&[u8]; 6] = [
        b"stream: OK",
        b"stream: OK\n",
        b"stream: OK\0stream: OK\0",
        b"stream: OK\0stream: X FOUND\0",
        b"1: stream: OK\0",
        b"\x16\x03\x01garbage\0",
    ];
    for reply in replies {
        assert_eq!(failure_of(&saying(reply), b"x"), EngineFailure::Nonsense);
    }
    assert_eq!(failure_of(&saying(b""), b"x"), EngineFailure::Broken, "closed without a word");
    assert_eq!(failure_of(&saying(b"stream: no memory ERROR\0"), b"x"), EngineFailure::Error);
}

#[test]
fn an_endless_answer_is_cut() {
    let clamd = fake(|stream| {
        command(stream);
        pieces(stream);
        while stream.write_all(&[b'x'; 512]).is_ok() {}
    });
    assert_eq!(failure_of(&clamd, b"x"), EngineFailure::Nonsense);
}

#[test]
fn over_its_limit_is_a_finding_and_not_clean() {
    // As clamd does: it answers and closes in the middle of the stream, with pieces unread.
    let clamd = fake(|stream| {
        command(stream);
        let mut first = vec![0; 4 + CHUNK];
        let _ = stream.read_exact(&mut first);
        let _ = stream.write_all(b"INSTREAM size limit exceeded. ERROR\0");
    });
    let large = vec![7; 40 * CHUNK];
    // The reset may overtake the answer: then there is no verdict. Never is it clean.
    for _ in 0..20 {
        match scan(&clamd, &large) {
            Ok(verdict) => {
                assert_eq!(verdict.finding, Some(Finding::TooLarge));
                assert_eq!(verdict.sha256.as_slice(), digest::digest(&digest::SHA256, &large).as_ref());
            }
            Err(error) => {
                assert_eq!(error, ScanError::Engine { engine: Engine::Clamd, failure: EngineFailure::Broken })
            }
        }
    }
    let polite = saying(b"INSTREAM size limit exceeded. ERROR\0");
    assert_eq!(finding(&polite, &large), Some(Finding::TooLarge));
}

#[test]
fn one_that_hangs_is_late_wherever_it_hangs() {
    let (_keep, forever) = channel::<()>();
    let held = std::sync::Mutex::new((forever, Vec::new()));
    // Takes connections and reads nothing: a large file fills the socket, a small one waits for its answer.
    let clamd = fake(move |stream| held.lock().unwrap().1.push(stream.try_clone().unwrap()));
    assert_eq!(failure_of(&clamd, b"x"), EngineFailure::Late);
    assert_eq!(failure_of(&clamd, &vec![0; 64 * 1024 * 1024]), EngineFailure::Late);
    assert_eq!(clamd.probe(), Condition::Failing(EngineFailure::Late));
}

#[test]
fn one_that_closes_in_the_middle_has_broken_off() {
    let clamd = fake(|stream| {
        command(stream);
        let mut some = [0; 100];
        let _ = stream.read_exact(&mut some);
    });
    assert_eq!(failure_of(&clamd, &vec![0; 8 * 1024 * 1024]), EngineFailure::Broken);
}

#[test]
fn one_that_reads_slowly_is_waited_for() {
    let clamd = fake(|stream| {
        command(stream);
        let mut length = [0; 4];
        while stream.read_exact(&mut length).is_ok() && length != [0; 4] {
            for _ in 0..u32::from_be_bytes(length) {
                stream.read_exact(&mut [0]).unwrap();
            }
            std::thread::yield_now();
        }
        let _ = stream.write_all(b"stream: OK\0");
    });
    assert_eq!(finding(&clamd, &vec![1; 3 * CHUNK]), None);
}

#[test]
fn nobody_there_is_unreachable() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let at = |address| ClamdScanner::new(address, Duration::from_secs(1), Arc::new(Still) as Arc<dyn Clock>);
    let tcp = at(Address::Tcp("127.0.0.1".to_owned(), port));
    assert_eq!(failure_of(&tcp, b"x"), EngineFailure::Unreachable);
    let unix = at(Address::Unix("/nonexistent/clamd.ctl".into()));
    assert_eq!(unix.probe(), Condition::Failing(EngineFailure::Unreachable));
}

#[test]
fn another_length_than_recorded_is_no_verdict() {
    let clamd = saying(b"stream: OK\0");
    let subject = Subject { file: FileId::from_bytes([1; 16]), sha256: [0; 32], declared: "", size: 5 };
    let scanned = clamd.scan(&subject, &mut Cursor::new(b"abc"));
    assert_eq!(scanned, Err(ScanError::Size { recorded: 5, read: 3 }));
}

#[test]
fn connections_are_bounded() {
    let clamd = saying(b"stream: OK\0");
    let taken: Vec<_> = (0..CONNECTIONS).map(|_| clamd.permit().unwrap()).collect();
    assert_eq!(failure_of(&clamd, b"x"), EngineFailure::Busy);
    drop(taken);
    assert_eq!(finding(&clamd, b"x"), None);
}

#[test]
fn time_grows_with_the_file_up_to_the_setting() {
    let at = |timeout| ClamdScanner::new(Address::Unix("/x".into()), timeout, Arc::new(Still) as Arc<dyn Clock>);
    let seconds = Duration::from_secs;
    assert_eq!(at(seconds(3_600)).time_for(500_000_000), seconds(530));
    assert_eq!(at(seconds(3_600)).time_for(10), seconds(30));
    assert_eq!(at(seconds(60)).time_for(500_000_000), seconds(60));
}

/// A clamd as it comes out of its box or, with `alerts`, as it should be.
fn box_fresh(virus: bool, locked: bool, deep: bool) -> ClamdScanner {
    fake(move |stream| {
        let reply: &[u8] = match command(stream).as_slice() {
            b"zPING" => b"PONG\0",
            b"zVERSION" => b"ClamAV 1.4.6/27826/Sun Nov 22 09:12:01 2026\0",
            _ => match pieces(stream) {
                bytes if bytes == samples::test_virus() && virus => b"stream: Eicar-Test-Signature FOUND\0",
                bytes if bytes == samples::locked_zip() && locked => b"stream: Heuristics.Encrypted.Zip FOUND\0",
                bytes if bytes == samples::deep_zip() && deep => {
                    b"stream: Heuristics.Limits.Exceeded.MaxRecursion FOUND\0"
                }
                _ => b"stream: OK\0",
            },
        };
        let _ = stream.write_all(reply);
    })
}

#[test]
fn the_probe_tells_who_is_fit() {
    let ready =
        Condition::Ready { version: "1.4.6".to_owned(), signatures: Some(Timestamp::from_millis(1_795_338_721_000)) };
    assert_eq!(box_fresh(true, true, true).probe(), ready);
    assert_eq!(box_fresh(false, true, true).probe(), Condition::Unfit(Fault::TestVirus));
    assert_eq!(box_fresh(true, false, true).probe(), Condition::Unfit(Fault::Locked));
    assert_eq!(box_fresh(true, true, false).probe(), Condition::Unfit(Fault::Deep));
    let other_server = fake(|stream| {
        command(stream);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    assert_eq!(other_server.probe(), Condition::Failing(EngineFailure::Nonsense));
}
