//! How large the future of a call is, for how large a one it was given.
//!
//! A future that is handed in is held where it came in, and once more where it is pinned; what is made
//! within is held once. More than that would be an oversight, and it multiplies where calls are nested.
//!
//! In asyncio a coroutine is an object elsewhere, and the question does not come up.

use readily::task::unconstrained;
use readily::{CancellationToken, TaskGroup, gather, race, select, timeout, try_gather, wait_for};
use std::future::pending;
use std::hint::black_box;
use std::time::Duration;

const LARGE: usize = 8_000;

async fn large() {
    let bytes = [1u8; LARGE];
    pending::<()>().await;
    black_box(&bytes);
}

async fn fails() -> Result<(), ()> {
    large().await;
    Ok(())
}

/// For what a call needs itself.
#[track_caller]
fn assert_holds<T>(call: T, times: usize) {
    let size = size_of_val(&call);
    assert!(
        size <= times * (LARGE + 8) + 800,
        "{size}: not {times} times"
    );
}

#[test]
fn a_call_holds_what_it_is_given_at_most_twice() {
    let limit = Duration::ZERO;
    let token = CancellationToken::new();
    assert_holds(large(), 1);
    assert_holds(wait_for(limit, large()), 2);
    assert_holds(unconstrained(large()), 2);
    assert_holds(token.run_until_cancelled(large()), 2);
    assert_holds(gather((large(), large())), 4);
    assert_holds(try_gather((fails(), fails())), 4);
    assert_holds(race((large(), large())), 4);
    assert_holds(select((large(), large())), 4);
}

#[test]
fn a_call_holds_what_is_made_within_it_once_and_what_is_boxed_not_at_all() {
    let limit = Duration::ZERO;
    assert_holds(timeout(limit, async |_| large().await), 1);
    let nested = timeout(limit, async |_| {
        let inner = async |_| timeout(limit, async |_| large().await).await;
        timeout(limit, inner).await
    });
    assert_holds(nested, 1);
    assert_holds(TaskGroup::<()>::run(async |_| fails().await), 1);
    assert_holds(wait_for(limit, wait_for(limit, Box::pin(large()))), 0);
    assert_holds(gather([large(), large()].map(Box::pin)), 0);
    // What the code takes with it comes in with the code.
    let taken = large();
    assert_holds(timeout(limit, async move |_| taken.await), 3);
    let taken = fails();
    assert_holds(TaskGroup::<()>::run(async move |_| taken.await), 3);
}
