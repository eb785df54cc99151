//! Waiting for a condition with a deadline. No test sleeps for a fixed time and hopes.

use std::future::Future;
use std::time::{Duration, Instant};

/// For whatever should happen at once but runs on a loaded machine.
pub const SOON: Duration = Duration::from_secs(30);
/// For runs over tens of thousands of events.
pub const LONG: Duration = Duration::from_mins(5);
/// Between two looks at a condition that cannot be waited on by itself.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until `look` gives a value. It says what it saw instead in the error,
/// which stands in the panic if the deadline passes.
///
/// # Panics
/// If the deadline passes.
pub async fn until<T, F>(what: &str, deadline: Duration, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    let start = Instant::now();
    loop {
        let seen = match look().await {
            Ok(value) => return value,
            Err(seen) => seen,
        };
        assert!(start.elapsed() < deadline, "{what}: not within {deadline:?}; last seen: {seen}");
        tokio::time::sleep(PAUSE).await;
    }
}
