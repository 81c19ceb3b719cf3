//! Tests of `jwks`, apart so that both files can be read.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::auth::fakes::{FakeClock, signer};

#[derive(Debug)]
struct Host {
    answer: Mutex<Result<Fetched, FetchFailed>>,
    hits: AtomicUsize,
}

impl Host {
    fn hits(&self) -> usize {
        self.hits.load(Ordering::SeqCst)
    }

    fn now_answers(&self, answer: Result<Fetched, FetchFailed>) {
        *self.answer.lock().unwrap() = answer;
    }
}

#[async_trait]
impl FetchKeys for Host {
    async fn fetch(&self, _: &str) -> Result<Fetched, FetchFailed> {
        self.hits.fetch_add(1, Ordering::SeqCst);
        // Others get the chance to ask meanwhile.
        tokio::task::yield_now().await;
        self.answer.lock().unwrap().clone()
    }
}

const URI: &str = "https://client.example/jwks";

fn a_set(cache_control: Option<&str>) -> Result<Fetched, FetchFailed> {
    let cache_control = cache_control.map(str::to_owned);
    Ok(Fetched { body: signer().public_set().into_bytes(), cache_control, age: None })
}

fn down() -> Result<Fetched, FetchFailed> {
    Err(FetchFailed("down".to_owned()))
}

fn cache(answer: Result<Fetched, FetchFailed>) -> (KeyCache, Arc<Host>, Arc<FakeClock>) {
    let host = Arc::new(Host { answer: Mutex::new(answer), hits: AtomicUsize::new(0) });
    let clock = Arc::new(FakeClock::default());
    (KeyCache::new(host.clone(), clock.clone()), host, clock)
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[tokio::test]
async fn a006_a_flood_of_unknown_kids_fetches_once_a_minute_and_once_at_a_time() {
    let (cache, host, clock) = cache(a_set(Some("max-age=3600")));
    let flood = (0..500).map(|n| {
        let cache = &cache;
        async move { cache.keys(URI, &n.to_string()).await.unwrap() }
    });
    futures_util::future::join_all(flood).await;
    assert_eq!(host.hits(), 1);
    clock.advance(seconds(59));
    cache.keys(URI, "unknown").await.unwrap();
    assert_eq!(host.hits(), 1);
    clock.advance(seconds(1));
    cache.keys(URI, signer().kid()).await.unwrap();
    assert_eq!(host.hits(), 1, "a known kid needs no fetch");
    cache.keys(URI, "unknown").await.unwrap();
    cache.keys(URI, "unknown").await.unwrap();
    assert_eq!(host.hits(), 2);
}

#[tokio::test]
async fn a_set_is_kept_as_long_as_its_answer_says() {
    for (header, life) in [(None, 300), (Some("public, max-age=1000"), 1000), (Some("max-age=999999999"), 86_400)] {
        let (cache, host, clock) = cache(a_set(header));
        cache.keys(URI, signer().kid()).await.unwrap();
        clock.advance(seconds(life - 1));
        cache.keys(URI, signer().kid()).await.unwrap();
        assert_eq!(host.hits(), 1, "{header:?}");
        clock.advance(seconds(1));
        cache.keys(URI, signer().kid()).await.unwrap();
        assert_eq!(host.hits(), 2, "{header:?}");
    }
}

#[tokio::test]
async fn a_set_that_may_not_be_kept_is_fetched_anew_but_not_for_each_request() {
    for header in ["no-store", "private, no-cache", "max-age=0", "max-age=x"] {
        let (cache, host, clock) = cache(a_set(Some(header)));
        for _ in 0..10 {
            cache.keys(URI, signer().kid()).await.unwrap();
        }
        assert_eq!(host.hits(), 1, "{header}");
        clock.advance(MIN_INTERVAL);
        cache.keys(URI, signer().kid()).await.unwrap();
        assert_eq!(host.hits(), 2, "{header}");
    }
}

#[tokio::test]
async fn while_the_host_is_down_a_set_serves_longer_and_the_host_is_left_alone() {
    let (cache, host, clock) = cache(a_set(Some("max-age=100")));
    cache.keys(URI, signer().kid()).await.unwrap();
    host.now_answers(down());
    clock.advance(seconds(100));
    for _ in 0..5 {
        cache.keys(URI, signer().kid()).await.unwrap();
    }
    assert_eq!(host.hits(), 2);
    clock.advance(AFTER_FAILURE);
    cache.keys(URI, signer().kid()).await.unwrap();
    assert_eq!(host.hits(), 3);
    clock.advance(STALE);
    assert_eq!(cache.keys(URI, signer().kid()).await, Err(FetchFailed("down".to_owned())));
    host.now_answers(a_set(None));
    clock.advance(AFTER_FAILURE);
    assert!(cache.keys(URI, signer().kid()).await.is_ok());
}

#[tokio::test]
async fn a_set_that_may_not_be_kept_does_not_serve_when_the_host_is_down() {
    let (cache, host, clock) = cache(a_set(Some("no-store")));
    cache.keys(URI, signer().kid()).await.unwrap();
    host.now_answers(down());
    clock.advance(MIN_INTERVAL);
    assert!(cache.keys(URI, signer().kid()).await.is_err());
}

#[tokio::test]
async fn a_set_with_a_private_key_in_it_is_a_failure() {
    let body = br#"{"keys":[{"kty":"EC","crv":"P-384","kid":"a","d":"AQ"}]}"#.to_vec();
    let (cache, _, _) = cache(Ok(Fetched { body, cache_control: None, age: None }));
    let failure = cache.keys(URI, "a").await.unwrap_err();
    assert!(failure.0.contains("private"), "{failure}");
}

#[test]
fn the_age_of_an_answer_counts() {
    assert_eq!(Life::of(Some("max-age=100"), Some(30)).fresh, seconds(70));
    assert_eq!(Life::of(Some("max-age=100"), Some(300)).fresh, Duration::ZERO);
    assert!(!Life::of(Some("max-age=100, must-revalidate"), None).may_be_stale);
}
