//! Where bodies are read. A small one is read by who took it in; a large one takes so long that the others of its worker would wait, so a
//! thread of its own reads it, and few at once do.

use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::domain::refusal::{Code, Refusal};

/// Bodies up to this take a worker some milliseconds at most; the hop to another thread would cost more than it saves.
const SMALL: usize = 256 * 1024;

/// Large bodies read at a time; further ones wait, and the workers go on.
static PLACES: Semaphore = Semaphore::const_new(2);

/// What `read` makes of a body.
///
/// # Errors
/// What it refuses; `server-fault` where it does not come to an end.
pub async fn read_body<T: Send + 'static>(
    body: &Bytes,
    read: impl FnOnce(&[u8]) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    if body.len() <= SMALL {
        return read(body);
    }
    let place = PLACES.acquire().await.map_err(|_| Refusal::of(Code::ServerFault))?;
    let body = body.clone();
    let work = move || {
        let _place = place;
        read(&body)
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(Refusal::of(Code::ServerFault)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_large_body_is_read_off_the_worker_and_a_small_one_on_it() {
        let here = std::thread::current().id();
        let read_on = async |length: usize| {
            let body = Bytes::from(vec![b' '; length]);
            read_body(&body, move |body| Ok((body.len() == length, std::thread::current().id()))).await.unwrap()
        };
        assert_eq!(read_on(SMALL).await, (true, here));
        let (whole, there) = read_on(SMALL + 1).await;
        assert!(whole && there != here);
    }

    #[tokio::test]
    async fn a_refusal_and_a_panic_are_told_and_their_places_are_free_again() {
        let body = Bytes::from(vec![b' '; SMALL + 1]);
        for _ in 0..4 {
            let refused: Result<(), Refusal> = read_body(&body, |_| Err(Refusal::of(Code::NestingTooDeep))).await;
            assert_eq!(refused.unwrap_err().code(), Code::NestingTooDeep);
            let broken: Result<(), Refusal> = read_body(&body, |_| panic!("a reader")).await;
            assert_eq!(broken.unwrap_err().code(), Code::ServerFault);
        }
    }
}
