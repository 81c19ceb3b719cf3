//! Waiting, waking, and giving up, at moments of their own and at random ones.

use super::*;
use crate::domain::principal::ClientNumber;

fn client(number: u32) -> Holder {
    Holder::Client(ClientNumber(number))
}

fn places(size: u64) -> Places {
    Places::new(size, Shares::default(), Some(Duration::from_secs(1)))
}

#[tokio::test(start_paused = true)]
async fn a_turn_is_waited_for_a_second_and_the_one_that_exceeds_is_told() {
    let places = places(4);
    let _own = [places.take(&client(1)).await.unwrap(), places.take(&client(1)).await.unwrap()];
    let began = tokio::time::Instant::now();
    assert_eq!(places.take(&client(1)).await.unwrap_err(), Turned::OverShare);
    assert_eq!(began.elapsed(), Duration::from_secs(1));
    let _others = [places.take(&client(2)).await.unwrap(), places.take(&client(3)).await.unwrap()];
    assert_eq!(places.take(&client(4)).await.unwrap_err(), Turned::Full);
    assert_eq!(Refusal::from(Turned::OverShare).status(), 429);
    assert_eq!(Refusal::from(Turned::Full).status(), 503);
    assert_eq!(Refusal::from(Turned::Full).retry_after_seconds(), Some(2));
}

#[tokio::test(start_paused = true)]
async fn one_that_stops_waiting_leaves_its_turn_to_the_next() {
    let places = places(1);
    let held = places.take(&client(1)).await.unwrap();
    let one = client(2);
    let mut stops = Box::pin(places.take(&one));
    assert!(futures_util::poll!(&mut stops).is_pending());
    let next = tokio::spawn({
        let places = places.clone();
        async move { places.take(&client(3)).await }
    });
    tokio::task::yield_now().await;
    // Its turn comes, and it goes before it has looked.
    drop(held);
    drop(stops);
    let place = next.await.unwrap().unwrap();
    drop(place);
    places.idle().await;
}

#[tokio::test(start_paused = true)]
async fn bytes_grow_within_the_share_and_come_back_together() {
    let places = places(100);
    let mut place = places.take_many(&client(1), 10).await.unwrap();
    place.grow_to(50).await.unwrap();
    assert_eq!(place.grow_to(60).await.unwrap_err(), Turned::OverShare);
    place.grow_to(20).await.unwrap();
    assert!(places.take_many(&client(2), 50).await.is_ok());
    drop(place);
    places.idle().await;
    // What is more than there is, is all there is.
    let all = places.take_many(&client(1), 1_000).await.unwrap();
    assert_eq!(places.take(&client(2)).await.unwrap_err(), Turned::Full);
    drop(all);
    places.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_many_threads_take_and_drop_at_random_is_all_there_in_the_end() {
    let places = Places::new(7, Shares::default(), None);
    let tasks: Vec<_> = (0..64)
        .map(|number: u32| {
            let places = places.clone();
            tokio::spawn(async move {
                for turn in 0..50u32 {
                    let holder = client(number % 5);
                    let taking = places.take_many(&holder, u64::from(turn % 3) + 1);
                    tokio::select! {
                        biased;
                        place = taking => {
                            tokio::task::yield_now().await;
                            drop(place);
                        }
                        () = async { for _ in 0..(number + turn) % 9 { tokio::task::yield_now().await; } } => {}
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    places.idle().await;
    assert!(places.try_take(&client(1)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_pool_tells_how_much_is_held_who_waits_and_why_others_were_turned_away() {
    let places = places(4);
    let figures = |taken, waiting, over_share, full| Figures { size: 4, taken, waiting, over_share, full };
    assert_eq!(places.figures(), figures(0, 0, 0, 0));
    let _held = places.take_many(&client(1), 2).await.unwrap();
    assert_eq!(places.try_take(&client(1)).unwrap_err(), Turned::OverShare);
    let rest = places.take_many(&client(2), 2).await.unwrap();
    assert_eq!(places.try_take(&client(3)).unwrap_err(), Turned::Full);
    let one = client(4);
    let mut waits = Box::pin(places.take(&one));
    assert!(futures_util::poll!(&mut waits).is_pending());
    assert_eq!(places.figures(), figures(4, 1, 1, 1));
    assert_eq!(waits.await.unwrap_err(), Turned::Full);
    drop(rest);
    assert_eq!(places.figures(), figures(2, 0, 1, 2), "one that waited in vain was turned away");
}
