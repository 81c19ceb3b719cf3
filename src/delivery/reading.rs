//! Where bodies are read. A small one is read by who took it in; a large one takes so long that the others of its worker would wait, so a
//! thread of its own reads it, behind all others where processors are short, and few at once do.

use std::sync::LazyLock;

use bytes::Bytes;
use rustix::process::nice;
use tokio::sync::oneshot;

use crate::domain::holder::{Holder, Shares};
use crate::domain::refusal::{Code, Refusal};
use crate::shares::Places;

/// Bodies up to this take a worker some milliseconds at most; the hop to another thread would cost more than it saves.
const SMALL: usize = 256 * 1024;

/// Large bodies read at a time, of different clients; further ones wait, and the workers go on. How many wait is bounded by the
/// memory that there is for bodies.
static PLACES: LazyLock<Places> = LazyLock::new(|| Places::new(2, Shares::default(), None));

/// How far such a thread stands behind others where there are more than processors (`nice`): what is short goes first.
const BEHIND: i32 = 10;

/// What `read` makes of a body of `holder`.
///
/// # Errors
/// What it refuses; `server-fault` where it does not come to an end; `rate-limited`, `server-busy` where too many wait, or where no
/// thread can be begun.
pub async fn read_body<T: Send + 'static>(
    holder: &Holder,
    body: &Bytes,
    read: impl FnOnce(&[u8]) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    if body.len() <= SMALL {
        return read(body);
    }
    let place = PLACES.take(holder).await?;
    let (body, (told, done)) = (body.clone(), oneshot::channel());
    let work = move || {
        let _place = place;
        // Of the calling thread alone, in Linux. Without it the body is read all the same.
        let _ = nice(BEHIND);
        let _ = told.send(read(&body));
    };
    let fault = |_| Refusal::of(Code::ServerFault);
    std::thread::Builder::new().name("large-body".to_owned()).spawn(work).map_err(|_| Refusal::of(Code::ServerBusy))?;
    // Nothing is told by one that panicked.
    done.await.map_err(fault)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::principal::ClientNumber;

    const HOLDER: Holder = Holder::Client(ClientNumber(1));

    #[tokio::test]
    async fn a_large_body_is_read_off_the_worker_and_a_small_one_on_it() {
        let here = std::thread::current().id();
        let read_on = async |length: usize| {
            let body = Bytes::from(vec![b' '; length]);
            read_body(&HOLDER, &body, move |body| Ok((body.len() == length, std::thread::current().id())))
                .await
                .unwrap()
        };
        assert_eq!(read_on(SMALL).await, (true, here));
        let (whole, there) = read_on(SMALL + 1).await;
        assert!(whole && there != here);
    }

    #[tokio::test]
    async fn a_refusal_and_a_panic_are_told_and_their_places_are_free_again() {
        let body = Bytes::from(vec![b' '; SMALL + 1]);
        for _ in 0..4 {
            let refused: Result<(), Refusal> =
                read_body(&HOLDER, &body, |_| Err(Refusal::of(Code::NestingTooDeep))).await;
            assert_eq!(refused.unwrap_err().code(), Code::NestingTooDeep);
            let broken: Result<(), Refusal> = read_body(&HOLDER, &body, |_| panic!("a reader")).await;
            assert_eq!(broken.unwrap_err().code(), Code::ServerFault);
        }
    }
}
