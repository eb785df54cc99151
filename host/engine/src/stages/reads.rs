//! Reads of the store for a stage that continues meanwhile. Each runs as a task of its own, so that
//! it completes even while its stage waits for something else. A future that only its stage polls
//! could hold a connection to the store while the stage waits for another connection: both would
//! wait for ever. A read that fails is repeated until it succeeds, because the stage has no other
//! remedy.
//!
//! Dropping the result ends the task, and a panic in the task is a panic of the stage that asks for
//! the result.

use futures::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::pure::retry::READ_RETRY;
use crate::seams::store::ReadError;

struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts at once, before the stage polls for the result. It ends when the stage drops the result.
pub(crate) fn detached<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> BoxFuture<'static, T> {
    let mut task = Task(tokio::spawn(work));
    Box::pin(async move {
        match (&mut task.0).await.map_err(tokio::task::JoinError::try_into_panic) {
            Ok(result) => result,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            // The runtime ends.
            Err(Err(_)) => std::future::pending().await,
        }
    })
}

/// Repeats a read until it succeeds. `failed` notes each failure.
pub(crate) async fn until_read<T, F: Future<Output = Result<T, ReadError>>>(
    mut read: impl FnMut() -> F,
    failed: impl Fn(&ReadError),
) -> T {
    loop {
        match read().await {
            Ok(answer) => return answer,
            Err(error) => {
                failed(&error);
                tokio::time::sleep(READ_RETRY).await;
            }
        }
    }
}

/// Waits until everything that the stage has done so far is in the store. Never returns if the
/// committer is gone: then the engine recovers, and drops the stage and this task with it.
pub(crate) async fn until_durable(durable: Option<oneshot::Receiver<()>>) {
    if let Some(durable) = durable
        && durable.await.is_err()
    {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::ready;

    use futures::FutureExt as _;

    use super::*;
    use crate::pure::monotonic::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_read_is_repeated_until_it_succeeds() {
        let (start, mut left) = (Instant::now(), 3);
        let read = || {
            left -= 1;
            ready(if left > 0 { Err(ReadError(left.to_string())) } else { Ok("answer") })
        };
        let noted = RefCell::new(Vec::new());
        let answer = until_read(read, |error| noted.borrow_mut().push(error.0.clone())).await;
        assert_eq!((answer, noted.into_inner()), ("answer", vec!["2".to_owned(), "1".to_owned()]));
        assert_eq!(start.elapsed(), 2 * READ_RETRY);
    }

    #[tokio::test]
    async fn what_is_not_durable_any_more_is_never_read() {
        assert!(until_durable(None).now_or_never().is_some());
        let (committed, durable) = oneshot::channel();
        committed.send(()).unwrap();
        assert!(until_durable(Some(durable)).now_or_never().is_some());
        let (committed, durable) = oneshot::channel();
        drop(committed);
        assert!(until_durable(Some(durable)).now_or_never().is_none(), "the committer is gone");
    }
}
