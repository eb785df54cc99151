//! Runs a read of the store as a task of its own, so that it completes even while its stage waits
//! for something else. A future that only its stage polls could hold a connection to the store
//! while the stage waits for another connection: both would wait for ever.
//!
//! Dropping the result ends the task, and a panic in the task is a panic of the stage that asks for
//! the result.

use futures::future::BoxFuture;
use tokio::task::JoinHandle;

struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs at once, also while nobody asks for its result; ends with whoever would.
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
