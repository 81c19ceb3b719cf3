//! Where answers are written. A short one by who found it; a long one takes so long that the others of its worker would wait, so another thread
//! writes it. How many are written at a time is bounded by the memory that there is for them.

use crate::domain::refusal::{Code, Refusal};

/// Texts up to this take a worker less than a millisecond.
const SHORT: usize = 256 * 1024;

/// What `write` makes of so many bytes of stored text.
///
/// # Errors
/// `server-fault` where it does not come to an end.
pub async fn rendered(length: usize, write: impl FnOnce() -> String + Send + 'static) -> Result<String, Refusal> {
    if length <= SHORT {
        return Ok(write());
    }
    tokio::task::spawn_blocking(write).await.map_err(|_| Refusal::of(Code::ServerFault))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_long_answer_is_written_off_the_worker_and_a_short_one_on_it() {
        let here = format!("{:?}", std::thread::current().id());
        let written_on =
            async |length| rendered(length, || format!("{:?}", std::thread::current().id())).await.unwrap();
        assert_eq!(written_on(SHORT).await, here);
        assert_ne!(written_on(SHORT + 1).await, here);
    }
}
