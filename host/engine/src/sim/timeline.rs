//! Virtual time: runs of an engine, one after another, each on its own runtime. A crash drops the
//! runtime.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::Clock;
use crate::model::Timestamp;

/// The clock of a simulated world. It continues from run to run. No task really waits: when all
/// tasks sleep, the clock advances at once to the time at which the first of them wakes.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// The date at the start of this run, changed by every setting of the clock since.
    ahead: Arc<AtomicU64>,
    /// The latest time that any task read.
    latest: Arc<AtomicU64>,
    idle: Arc<Idle>,
}

/// Notices when no task can continue before the time advances.
#[derive(Debug, Default)]
struct Idle {
    is_asked: AtomicBool,
    idle: Notify,
}

impl Idle {
    /// The thread has nothing to do but to wait for the time.
    fn park(&self) {
        if self.is_asked.swap(false, Ordering::Relaxed) {
            self.idle.notify_one();
        }
    }
}

impl Timeline {
    /// A timeline whose wall clock begins at `start`.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        let at = || Arc::new(AtomicU64::new(start.0));
        Self { ahead: at(), latest: at(), idle: Arc::default() }
    }

    /// The latest time that any task read.
    #[must_use]
    pub fn latest(&self) -> Timestamp {
        Timestamp(self.latest.load(Ordering::Relaxed))
    }

    /// Lets time pass while the host is down, or while it runs, as if it had slept.
    pub fn pass(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.ahead.fetch_add(millis, Ordering::Relaxed);
        self.latest.fetch_add(millis, Ordering::Relaxed);
    }

    /// Sets the wall clock while the host runs, in either direction. Monotonic time, by which
    /// the host waits, does not change.
    pub fn set(&self, by_millis: i64) {
        self.ahead.fetch_add(by_millis.cast_unsigned(), Ordering::Relaxed);
        self.latest.fetch_add(by_millis.cast_unsigned(), Ordering::Relaxed);
    }

    /// Returns when everything has happened that can happen at this time: all other tasks wait for
    /// a later time, or for each other. Time stands still meanwhile.
    pub async fn idle(&self) {
        self.idle.is_asked.store(true, Ordering::Relaxed);
        self.idle.idle.notified().await;
    }

    /// Performs one run on one thread. Returns none if `crash` resolved first: then every task
    /// ended at its current await.
    ///
    /// # Errors
    /// The error of the run.
    pub fn live<T>(
        &self,
        crash: impl Future<Output = ()>,
        host_run: impl AsyncFnOnce(Clock) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        let idle = Arc::clone(&self.idle);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .on_thread_park(move || idle.park())
            .start_paused(true)
            .build()
            .map_err(|error| error.to_string())?;
        self.ahead.store(self.latest.load(Ordering::Relaxed), Ordering::Relaxed);
        // The runtime is dropped at the end, with all of its tasks. That is the crash.
        runtime.block_on(async {
            let (start, timeline) = (tokio::time::Instant::now(), self.clone());
            let clock: Clock = Arc::new(move || {
                let passed = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
                let now = timeline.ahead.load(Ordering::Relaxed) + passed;
                timeline.latest.fetch_max(now, Ordering::Relaxed);
                Timestamp(now)
            });
            tokio::select! {
                biased;
                () = crash => Ok(None),
                ended = host_run(clock) => ended.map(Some),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_000);

    #[test]
    fn a_clock_continues_from_run_to_run() {
        let timeline = Timeline::new(START);
        let first = timeline.live(std::future::pending(), async |clock| {
            tokio::time::sleep(Duration::from_hours(1)).await;
            Ok(clock())
        });
        assert_eq!(first, Ok(Some(Timestamp(3_601_000))));
        timeline.pass(Duration::from_secs(1));
        let second = timeline.live(std::future::pending(), async |clock| {
            let before = clock();
            timeline.pass(Duration::from_secs(1));
            Ok((before, clock()))
        });
        assert_eq!(second, Ok(Some((Timestamp(3_602_000), Timestamp(3_603_000)))));
        assert_eq!(timeline.latest(), Timestamp(3_603_000));
    }

    #[test]
    fn a_clock_that_is_set_does_not_change_what_passes() {
        let timeline = Timeline::new(START);
        let set = timeline.live(std::future::pending(), async |clock| {
            timeline.set(-600);
            tokio::time::sleep(Duration::from_millis(50)).await;
            let back = clock();
            timeline.set(5_600);
            Ok((back, clock()))
        });
        assert_eq!(set, Ok(Some((Timestamp(450), Timestamp(6_050)))));
    }

    #[test]
    fn it_is_idle_when_all_tasks_wait_and_the_time_stands_still() {
        let timeline = Timeline::new(START);
        let ended = timeline.live(std::future::pending(), async |clock| {
            let steps = Arc::new(AtomicU64::new(0));
            // Each works for a while, with many steps, then sleeps.
            for _ in 0..3 {
                let (steps, clock) = (Arc::clone(&steps), Arc::clone(&clock));
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    for _ in 0..1_000 {
                        tokio::task::yield_now().await;
                        steps.fetch_add(1, Ordering::Relaxed);
                    }
                    assert_eq!(clock(), Timestamp(1_010));
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    steps.fetch_add(1, Ordering::Relaxed);
                });
            }
            let counted = || (clock(), steps.load(Ordering::Relaxed));
            timeline.idle().await;
            let first = counted();
            tokio::time::sleep(Duration::from_millis(10)).await;
            timeline.idle().await;
            let second = counted();
            tokio::time::sleep(Duration::from_millis(1)).await;
            timeline.idle().await;
            Ok([first, second, counted()])
        });
        let at = Timestamp;
        let expected = [(at(1_000), 0), (at(1_010), 3_000), (at(1_011), 3_003)];
        assert_eq!(ended, Ok(Some(expected)));
    }

    #[test]
    fn a_crash_ends_a_run_wherever_it_is() {
        let timeline = Timeline::new(START);
        let crash = async { tokio::time::sleep(Duration::from_millis(5)).await };
        let ended: Result<Option<()>, String> =
            timeline.live(crash, async |_| std::future::pending().await);
        assert_eq!(ended, Ok(None));
        let failed: Result<Option<()>, String> =
            timeline.live(std::future::pending(), async |_| Err("it failed".to_owned()));
        assert_eq!(failed, Err("it failed".to_owned()));
    }
}
