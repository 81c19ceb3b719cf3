//! A great many generated attempts to see what is another's, each answer held to a plain oracle (attacks A063, A067, A069–A075,
//! A078, A081, A094).
//!
//! The oracle is a few lines of set logic over what this test itself created; it shares no code with the rules of the product.
//! Beside the status it holds every answer to three more things: what is another's and what is not there are one and the same
//! answer, header by header and byte by byte; no answer holds a mark that its reader may not see; and the matches and the
//! total of a search are exactly the reader's.
//!
//! `ACCESS_ATTEMPTS` says how many (20 000 without it), `ACCESS_SEED` from which seed (printed).

mod attempts;
mod oracle;
mod wire;
mod world;

use std::time::Duration;

use attempts::{Attempt, Judge, Random};
use wire::Wire;
use world::World;

const DEFAULT_ATTEMPTS: u64 = 20_000;
/// Connections at a time. Each has its own random numbers, so that the attempts do not hang on who comes first.
const AT_ONCE: u64 = 8;
/// Attempts after which a second passes, so that rates refill as they would.
const PER_SECOND: u64 = 500;

#[expect(
    clippy::disallowed_methods,
    reason = "how long a run is, is asked on the command line of the test, not in settings"
)]
fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// One connection's share.
async fn share(world: &World, judge: &Judge, seed: u64, count: u64) -> u64 {
    let mut random = Random::new(seed);
    let mut wire = Wire::new(world.daylily.running().address());
    let mut made = 0;
    while made < count {
        let attempt = Attempt::draw(&mut random, world);
        let answers = judge.attempt(world, &mut wire, &mut random, &attempt).await;
        let before = made / PER_SECOND;
        made += answers;
        if made / PER_SECOND > before {
            world.daylily.clock.advance(Duration::from_millis(1_000 / AT_ONCE));
        }
    }
    made
}

#[expect(clippy::print_stdout, reason = "a run says what it was: seed and figures")]
fn say(line: &str) {
    println!("{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a063_a067_a069_a070_a071_a073_a074_a075_a081_no_attempt_learns_of_anothers() {
    let (count, seed) = (from_environment("ACCESS_ATTEMPTS", DEFAULT_ATTEMPTS), from_environment("ACCESS_SEED", 1));
    let world = Box::pin(World::create()).await;
    let judge = Judge::default();
    let shares =
        (0..AT_ONCE).map(|at| share(&world, &judge, seed.wrapping_mul(1_000_003) + at, count.div_ceil(AT_ONCE)));
    let made: u64 = futures_util::future::join_all(shares).await.into_iter().sum();
    let told = judge.told();
    say(&format!("access oracle: seed {seed}, {made} attempts, {told}, 0 disagreements"));
    assert!(made >= count);
    judge.covers_everything();
    world.nothing_changed().await;
}
