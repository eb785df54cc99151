//! Shards: the threads that call handlers. They rely on the dispatcher to have at most one call per
//! key in progress.
//!
//! A call that takes long delays its own key and nothing else (guarantee 6):
//!
//! - Plugins take turns. Each has a queue of its own, and so has its canary. So many calls of one
//!   plugin do not delay another plugin.
//! - A call that the watcher sees at two looks in a row is *slow*: its thread no longer counts, the
//!   rest of its group returns to the queue, and a spare thread takes over. So there are always as
//!   many threads for quick calls as were configured.
//! - A plugin with as many slow calls as there are threads starts no further group until one of
//!   them ends. So the number of threads is bounded, and a plugin that never returns gets no more of
//!   the machine with more calls.
//!
//! In the normal case this costs one uncontended lock per call. A handler that panics fails its own
//! call.

use std::collections::{BTreeMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::changes::jobs::{Caller, Group, Job, JobResult};
use crate::model::{Failure, PluginName};
use crate::pure::histogram::Distribution;
use crate::seams::handler::{self, Call, Handler};
use crate::{lock, wait};

/// The time between two looks at the calls in progress; a call that both see is slow. It is a
/// thousand times a usual call, and short for the calls that wait behind it.
const LOOK: Duration = Duration::from_millis(10);
/// The watcher continues to look for a second after the last call, so that a host that gets one
/// event after another does not wake it with each call.
const IDLE_LOOKS_MAX: u32 = 100;
/// The number of slow calls that a plugin may always have in progress, however few threads there
/// are.
const SLOW_MIN: usize = 2;

/// The threads. Without threads the caller itself makes the calls: then everything happens on one
/// thread, in an order that a seed repeats.
#[derive(Clone)]
pub(crate) struct Shards {
    threads: Option<Arc<Threads>>,
}

/// Dropping the last handle ends the threads. It does not wait for their calls.
struct Threads {
    pool: Arc<Pool>,
}

struct Pool {
    /// The number of threads for quick calls.
    wanted: usize,
    state: Mutex<PoolState>,
    /// Signals that there is a group to take, or that the threads end.
    work: Condvar,
    /// Signals that there is a call to watch, or that the threads end.
    busy: Condvar,
}

#[derive(Default)]
struct PoolState {
    queues: BTreeMap<Caller, Queue>,
    /// The callers with a group that may be called now, in turn.
    turns: VecDeque<Caller>,
    /// The number of threads that are not in a slow call.
    quick: usize,
    /// The number of these that are in a call.
    calling: usize,
    workers: BTreeMap<u64, Arc<Worker>>,
    next_worker: u64,
    closed: bool,
}

#[derive(Default)]
struct Queue {
    groups: VecDeque<Group>,
    /// Slow calls in progress.
    slow: usize,
    has_turn: bool,
    /// The durations of the calls that have ended.
    times: Distribution,
}

/// What a thread is doing. Locked after the pool's state, never before it.
struct Worker {
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    /// Counts the thread's calls, so that two looks can see whether it is the same call.
    call: u64,
    group: Option<Under>,
    /// Whether the watcher took the rest of the group away.
    slow: bool,
    /// The call that the last look saw.
    seen: u64,
}

/// A group in progress.
struct Under {
    caller: Caller,
    handler: Arc<dyn Handler>,
    jobs: VecDeque<Job>,
    done: Vec<JobResult>,
    results: mpsc::UnboundedSender<Vec<JobResult>>,
}

impl Shards {
    #[must_use]
    pub(crate) fn new(threads: usize) -> Self {
        if threads == 0 {
            return Self { threads: None };
        }
        let pool = Arc::new(Pool {
            wanted: threads,
            state: Mutex::default(),
            work: Condvar::new(),
            busy: Condvar::new(),
        });
        let mut state = pool.lock();
        for _ in 0..threads {
            start(&pool, &mut state).expect("the system starts a thread");
        }
        drop(state);
        let watched = Arc::clone(&pool);
        thread("shard-watcher", move || watch(&watched)).expect("the system starts a thread");
        Self { threads: Some(Arc::new(Threads { pool })) }
    }

    pub(crate) fn call(&self, group: Group) {
        match &self.threads {
            Some(threads) => threads.pool.queue(group),
            None => call_inline(group),
        }
    }

    /// Takes back the calls of a plugin that no thread has begun, of those whose results go to
    /// `results`.
    pub(crate) fn recall(
        &self,
        plugin: &PluginName,
        results: &mpsc::UnboundedSender<Vec<JobResult>>,
    ) -> Vec<Job> {
        let Some(threads) = &self.threads else { return Vec::new() };
        let mut state = threads.pool.lock();
        let mut jobs = Vec::new();
        let queues = state.queues.iter_mut().filter(|(caller, _)| caller.plugin == *plugin);
        for (_, queue) in queues {
            let groups = std::mem::take(&mut queue.groups).into_iter();
            let (own, others): (VecDeque<Group>, VecDeque<Group>) =
                groups.partition(|group| group.results.same_channel(results));
            queue.groups = others;
            jobs.extend(own.into_iter().flat_map(|group| group.jobs));
        }
        jobs
    }

    /// The durations of the calls that have ended, by plugin. Without threads nothing is measured,
    /// because that code must not read a clock.
    #[must_use]
    pub(crate) fn times(&self) -> Vec<(PluginName, Distribution)> {
        let Some(threads) = &self.threads else { return Vec::new() };
        let state = threads.pool.lock();
        let mut all: BTreeMap<PluginName, Distribution> = BTreeMap::new();
        for (caller, queue) in &state.queues {
            all.entry(caller.plugin.clone()).or_default().add(&queue.times);
        }
        all.into_iter().collect()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.pool.lock().closed = true;
        self.pool.work.notify_all();
        self.pool.busy.notify_all();
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, PoolState> {
        lock(&self.state)
    }

    fn queue(&self, group: Group) {
        let caller = group.caller.clone();
        let mut state = self.lock();
        state.queues.entry(caller.clone()).or_default().groups.push_back(group);
        if state.give_turn(&caller, self.slow_max()) {
            self.work.notify_one();
        }
    }

    fn slow_max(&self) -> usize {
        self.wanted.max(SLOW_MIN)
    }
}

impl PoolState {
    /// Gives a caller a turn, if it has a group and may start it.
    fn give_turn(&mut self, caller: &Caller, slow_max: usize) -> bool {
        let Some(queue) = self.queues.get_mut(caller) else { return false };
        let due = !queue.has_turn && !queue.groups.is_empty() && queue.slow < slow_max;
        if due {
            queue.has_turn = true;
            self.turns.push_back(caller.clone());
        }
        due
    }

    /// Takes the next group of the caller whose turn it is. The flag says whether there are more.
    fn take(&mut self, slow_max: usize) -> Option<(Group, bool)> {
        while let Some(caller) = self.turns.pop_front() {
            let Some(queue) = self.queues.get_mut(&caller) else { continue };
            queue.has_turn = false;
            // The caller may have got slow calls since it got its turn.
            if queue.slow >= slow_max {
                continue;
            }
            if let Some(group) = queue.groups.pop_front() {
                self.give_turn(&caller, slow_max);
                return Some((group, !self.turns.is_empty()));
            }
        }
        None
    }
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run)?;
    Ok(())
}

// ---- the threads that call ----------------------------------------------------

fn start(pool: &Arc<Pool>, state: &mut PoolState) -> std::io::Result<()> {
    let id = state.next_worker;
    let worker = Arc::new(Worker { current: Mutex::default() });
    let (of_thread, its_pool) = (Arc::clone(&worker), Arc::clone(pool));
    thread(&format!("shard-{id}"), move || {
        work(&its_pool, &of_thread);
        its_pool.lock().workers.remove(&id);
    })?;
    state.next_worker += 1;
    state.workers.insert(id, worker);
    state.quick += 1;
    Ok(())
}

/// Takes groups until the end, or until another thread has taken over from this one.
fn work(pool: &Pool, worker: &Worker) {
    let mut state = pool.lock();
    loop {
        if state.closed {
            return;
        }
        let Some((group, more)) = state.take(pool.slow_max()) else {
            state = wait(&pool.work, state);
            continue;
        };
        state.calling += 1;
        drop(state);
        let caller = group.caller.clone();
        if more {
            pool.work.notify_one();
        }
        pool.busy.notify_one();
        let (times, was_slow) = call_group(worker, group);
        state = pool.lock();
        let queue = state.queues.entry(caller.clone()).or_default();
        queue.times.add(&times);
        if !was_slow {
            state.calling -= 1;
            continue;
        }
        queue.slow -= 1;
        if state.give_turn(&caller, pool.slow_max()) {
            pool.work.notify_one();
        }
        if state.quick >= pool.wanted {
            return;
        }
        state.quick += 1;
    }
}

/// Makes the calls of a group, or those that the watcher leaves of it. Returns whether it was slow.
fn call_group(worker: &Worker, group: Group) -> (Distribution, bool) {
    let Group { caller, handler, jobs, results } = group;
    let mut times = Distribution::default();
    let mut started = Instant::now();
    let mut current = lock(&worker.current);
    current.group = Some(Under {
        caller,
        handler: Arc::clone(&handler),
        jobs: jobs.into(),
        done: Vec::new(),
        results: results.clone(),
    });
    while let Some(job) = current.group.as_mut().and_then(|group| group.jobs.pop_front()) {
        current.call += 1;
        drop(current);
        let result = call(&*handler, job);
        let now = Instant::now();
        times.observe(now - started);
        started = now;
        current = lock(&worker.current);
        if std::mem::take(&mut current.slow) {
            drop(current);
            let _ = results.send(vec![result]);
            return (times, true);
        }
        if let Some(group) = &mut current.group {
            group.done.push(result);
        }
    }
    let done = current.group.take().map(|group| group.done);
    drop(current);
    // The dispatcher is gone when the engine recovers: the results have no meaning then.
    let _ = results.send(done.unwrap_or_default());
    (times, false)
}

// ---- the watcher ----------------------------------------------------------------

/// Looks at the calls in progress, while there are any, and for a while after the last one.
fn watch(pool: &Arc<Pool>) {
    let mut idle_looks = IDLE_LOOKS_MAX;
    loop {
        let mut state = pool.lock();
        idle_looks = if state.calling == 0 { idle_looks + 1 } else { 0 };
        if idle_looks > IDLE_LOOKS_MAX {
            while state.calling == 0 && !state.closed {
                state = wait(&pool.busy, state);
            }
            idle_looks = 0;
        }
        if state.closed {
            return;
        }
        let workers: Vec<Arc<Worker>> = state.workers.values().cloned().collect();
        for worker in workers {
            if let Some(under) = slow_call(&worker) {
                relieve(pool, &mut state, under);
            }
        }
        drop(state);
        std::thread::sleep(LOOK);
    }
}

/// The group of a worker whose call the last look saw already.
fn slow_call(worker: &Worker) -> Option<Under> {
    let mut current = lock(&worker.current);
    let same = current.call == current.seen;
    current.seen = current.call;
    if !same || current.group.is_none() {
        return None;
    }
    current.slow = true;
    current.group.take()
}

/// Lets another thread take over from one in a slow call.
fn relieve(pool: &Arc<Pool>, state: &mut PoolState, under: Under) {
    let Under { caller, handler, jobs, done, results } = under;
    if !done.is_empty() {
        let _ = results.send(done);
    }
    let queue = state.queues.entry(caller.clone()).or_default();
    queue.slow += 1;
    if !jobs.is_empty() {
        let group = Group { caller: caller.clone(), handler, jobs: jobs.into(), results };
        queue.groups.push_front(group);
    }
    state.calling -= 1;
    state.quick -= 1;
    if state.give_turn(&caller, pool.slow_max()) {
        pool.work.notify_one();
    }
    if let Err(error) = start(pool, state) {
        // The thread of the slow call returns, and counts as a quick one again.
        tracing::warn!(
            %error, plugin = %caller.plugin,
            "a call is slow, and starting a spare thread failed"
        );
    }
}

// ---- one call -------------------------------------------------------------------

fn call_inline(group: Group) {
    let Group { handler, jobs, results, .. } = group;
    let done = jobs.into_iter().map(|job| call(&*handler, job)).collect();
    let _ = results.send(done);
}

fn call(handler: &dyn Handler, job: Job) -> JobResult {
    let Job { position, key, generation, mut call } = job;
    let called =
        std::panic::catch_unwind(AssertUnwindSafe(|| match read_state(handler, &mut call) {
            Ok(()) => handler.handle_with_log(&call),
            Err(failure) => (Err(failure), String::new()),
        }));
    let (reply, log) = called.unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        (Err(Failure::Permanent(format!("the handler panicked: {text}"))), String::new())
    });
    JobResult { position, key, generation, reply, log, call }
}

/// The state of an older version is converted when its instance is next called, and so is a newer
/// one after a rollback.
fn read_state(handler: &dyn Handler, call: &mut Call) -> Result<(), Failure> {
    if let Some(state) = &call.state
        && state.version != handler.manifest().state_version
    {
        call.state = Some(handler::as_read_by(handler, state).map_err(Failure::Permanent)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
