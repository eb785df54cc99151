//! Shards: the threads that call handlers. A shard takes the next calls from the
//! common queue, so a call that takes long holds back no other key while there is
//! another thread. That one key's calls come one after another is the
//! dispatcher's doing.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, mpsc as std_mpsc};

use tokio::sync::mpsc;

use crate::handler::{Call, Handler, Reply};
use crate::model::{Failure, Key, Position, State};

/// Calls travel in groups, because waking a thread costs more than a call; in
/// small ones, so that all threads have some.
pub const GROUP_MAX: usize = 32;

/// One call to make.
pub struct Job {
    pub position: Position,
    pub key: Key,
    pub call: Call,
}

/// What came of it.
pub struct JobResult {
    pub position: Position,
    pub key: Key,
    pub reply: Result<Reply, Failure>,
    /// With a migrated state, if the state was of an older version.
    pub call: Call,
}

/// A group of calls to one handler, and where the results go.
pub struct Group {
    pub handler: Arc<dyn Handler>,
    pub jobs: Vec<Job>,
    pub results: mpsc::UnboundedSender<Vec<JobResult>>,
}

/// The threads. Without any, calls are made by who asks: then everything
/// happens on one thread, in an order that a seed repeats.
#[derive(Clone)]
pub struct Shards {
    queue: Option<std_mpsc::Sender<Group>>,
}

impl Shards {
    #[must_use]
    pub fn new(threads: usize) -> Self {
        if threads == 0 {
            return Self { queue: None };
        }
        let (queue, groups) = std_mpsc::channel::<Group>();
        let groups = Arc::new(Mutex::new(groups));
        for index in 0..threads {
            let groups = Arc::clone(&groups);
            // Ends when the last sender is gone; whoever drops the engine waits for no call.
            std::thread::Builder::new()
                .name(format!("shard-{index}"))
                .spawn(move || run(&groups))
                .expect("the system starts a thread");
        }
        Self { queue: Some(queue) }
    }

    pub fn call(&self, group: Group) {
        match &self.queue {
            Some(queue) => queue.send(group).expect("shards live as long as their queue"),
            None => execute(group),
        }
    }
}

fn run(groups: &Mutex<std_mpsc::Receiver<Group>>) {
    loop {
        let group = groups.lock().expect("no panic while the lock is held").recv();
        match group {
            Ok(group) => execute(group),
            Err(_) => return,
        }
    }
}

fn execute(group: Group) {
    let Group { handler, jobs, results } = group;
    let done = jobs.into_iter().map(|job| call(&*handler, job)).collect();
    // The dispatcher is gone when the engine recovers: the results are void then.
    let _ = results.send(done);
}

fn call(handler: &dyn Handler, job: Job) -> JobResult {
    let Job { position, key, mut call } = job;
    let reply = std::panic::catch_unwind(AssertUnwindSafe(|| {
        migrate(handler, &mut call)?;
        handler.handle(&call)
    }));
    let reply = reply.unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        Err(Failure::Permanent(format!("the handler panicked: {text}")))
    });
    JobResult { position, key, reply, call }
}

fn migrate(handler: &dyn Handler, call: &mut Call) -> Result<(), Failure> {
    let version = handler.manifest().state_version;
    let Some(state) = &call.state else { return Ok(()) };
    if state.version > version {
        return Err(Failure::Permanent(format!(
            "the state has version {}, written by a newer plugin; this one reads up to {version}",
            state.version
        )));
    }
    if state.version < version {
        let data = handler.migrate(state).map_err(|reason| {
            Failure::Permanent(format!(
                "the state of version {} cannot be migrated to {version}: {reason}",
                state.version
            ))
        })?;
        call.state = Some(State { version, data });
    }
    Ok(())
}
