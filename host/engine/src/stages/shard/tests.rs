use std::collections::BTreeSet;

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;
use crate::model::Position;
use crate::model::{Decision, Event, Manifest, OptionalPart, Role, State, Timestamp};
use crate::seams::handler::Reply;

/// Its calls for keys that begin with `stuck` end when the gate opens.
struct Scripted {
    manifest: Manifest,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn open(&self) {
        *lock(&self.open) = true;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let open = lock(&self.open);
        drop(self.opened.wait_while(open, |open| !*open).unwrap());
    }
}

impl Handler for Scripted {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn handle(&self, call: &Call) -> Result<Reply, Failure> {
        if call.key.as_str().starts_with("stuck") {
            self.gate.pass();
        }
        Ok(Reply::Decided(Decision::default()))
    }

    fn migrate(&self, state: &State, _: u32) -> Result<Bytes, String> {
        Ok(state.data.clone())
    }
}

fn handler(name: &str, gate: &Arc<Gate>) -> Arc<dyn Handler> {
    let manifest = Manifest {
        name: name.into(),
        role: Role::Saga,
        version: "1.0.0".into(),
        description: String::new(),
        subscriptions: Vec::new(),
        commands: BTreeSet::new(),
        events: BTreeSet::new(),
        lookups: BTreeSet::new(),
        streams: false,
        state_version: 0,
        optional: OptionalPart::default(),
    };
    Arc::new(Scripted { manifest, gate: Arc::clone(gate) })
}

fn call_of(key: &str) -> Call {
    let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
    Call {
        event: Arc::new(Event::from_json(event.as_bytes()).unwrap()),
        state: None,
        now: Timestamp(0),
        attempt: 1,
        key: key.into(),
        answers: Vec::new(),
        seed: 0,
    }
}

fn send(
    shards: &Shards,
    handler: &Arc<dyn Handler>,
    keys: &[String],
) -> UnboundedReceiver<Vec<JobResult>> {
    let (results, results_of) = mpsc::unbounded_channel();
    let job = |key: &String| Job {
        position: Position(1),
        key: key.as_str().into(),
        generation: 0,
        call: call_of(key),
    };
    let jobs = keys.iter().map(job).collect();
    shards.call(Group { caller: version(handler), handler: Arc::clone(handler), jobs, results });
    results_of
}

/// The queue of the version that serves.
fn version(handler: &Arc<dyn Handler>) -> Caller {
    Caller { plugin: handler.manifest().name.clone(), is_canary: false }
}

fn keys(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}-{n}")).collect()
}

/// Waits for the results of this many calls.
#[track_caller]
fn receive(results: &mut UnboundedReceiver<Vec<JobResult>>, count: usize) -> Vec<String> {
    // Long, for a loaded machine; the test waits for it only if the results do not come.
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut keys = Vec::new();
    while keys.len() < count {
        match results.try_recv() {
            Ok(done) => {
                keys.extend(done.into_iter().map(|result| result.key.as_str().to_owned()));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
        assert!(Instant::now() < deadline, "{} of {count} results came", keys.len());
    }
    keys.sort();
    keys
}

#[test]
fn a_stuck_call_holds_back_neither_its_group_nor_another_plugin() {
    let gate = Arc::new(Gate::default());
    let shards = Shards::new(1);
    let (bad, good) = (handler("bad", &gate), handler("good", &gate));
    let mut group = keys("a", 3);
    group.push("stuck".to_owned());
    group.extend(keys("b", 3));
    let mut of_bad = send(&shards, &bad, &group);
    let mut of_good = send(&shards, &good, &keys("c", 3));
    assert_eq!(receive(&mut of_good, 3), keys("c", 3));
    assert_eq!(receive(&mut of_bad, 6), [keys("a", 3), keys("b", 3)].concat());
    gate.open();
    assert_eq!(receive(&mut of_bad, 1), ["stuck"]);
}

#[test]
fn a_plugin_that_is_always_stuck_gets_no_more_than_its_share() {
    let gate = Arc::new(Gate::default());
    let shards = Shards::new(2);
    let (bad, good) = (handler("bad", &gate), handler("good", &gate));
    let stuck: Vec<_> = keys("stuck", 50)
        .iter()
        .map(|key| send(&shards, &bad, std::slice::from_ref(key)))
        .collect();
    for _ in 0..20 {
        let mut of_good = send(&shards, &good, &keys("a", 40));
        assert_eq!(receive(&mut of_good, 40).len(), 40);
    }
    // The limit of slow calls, the calls that had begun before it was reached, and the two for
    // quick calls.
    let threads = shards.threads.as_ref().unwrap().pool.lock().workers.len();
    assert!(threads <= 2 + 2 + 2, "{threads} threads");
    gate.open();
    for mut results in stuck {
        assert_eq!(receive(&mut results, 1).len(), 1);
    }
}

#[test]
fn calls_behind_a_stuck_plugin_are_taken_back_by_whom_they_are_of() {
    let gate = Arc::new(Gate::default());
    let shards = Shards::new(1);
    let bad = handler("bad", &gate);
    let mut stuck: Vec<_> = keys("stuck", SLOW_MIN)
        .iter()
        .map(|key| send(&shards, &bad, std::slice::from_ref(key)))
        .collect();
    let pool = &shards.threads.as_ref().unwrap().pool;
    while pool.lock().queues[&version(&bad)].slow < SLOW_MIN {
        std::thread::yield_now();
    }
    // The plugin has reached its limit: further calls do not begin.
    let mut of_another = send(&shards, &bad, &keys("b", 2));
    let (results, mut results_of) = mpsc::unbounded_channel();
    let job = |key: &str| Job {
        position: Position(1),
        key: key.into(),
        generation: 0,
        call: call_of(key),
    };
    let jobs = vec![job("a-0"), job("a-1")];
    let (caller, handler) = (version(&bad), Arc::clone(&bad));
    shards.call(Group { caller, handler, jobs, results: results.clone() });
    let taken = shards.recall(&"bad".into(), &results);
    let taken: Vec<_> = taken.iter().map(|job| job.key.as_str().to_owned()).collect();
    assert_eq!(taken, ["a-0", "a-1"]);
    assert!(shards.recall(&"bad".into(), &results).is_empty());
    gate.open();
    assert_eq!(receive(&mut of_another, 2).len(), 2);
    for results in &mut stuck {
        assert_eq!(receive(results, 1).len(), 1);
    }
    assert!(results_of.try_recv().is_err(), "what was taken back is not called");
}

#[test]
fn a_canary_that_is_always_stuck_does_not_hold_back_the_version_beside_it() {
    let gate = Arc::new(Gate::default());
    let shards = Shards::new(1);
    let plugin = handler("plugin", &gate);
    let canary = Caller { is_canary: true, ..version(&plugin) };
    let (results, mut of_canary) = mpsc::unbounded_channel();
    for key in keys("stuck", 20) {
        let (handler, results) = (Arc::clone(&plugin), results.clone());
        let call = call_of(&key);
        let job = Job { position: Position(1), key: key.into(), generation: 1, call };
        shards.call(Group { caller: canary.clone(), handler, jobs: vec![job], results });
    }
    let mut of_version = send(&shards, &plugin, &keys("a", 40));
    assert_eq!(receive(&mut of_version, 40).len(), 40);
    let taken = shards.recall(&"plugin".into(), &results).len();
    gate.open();
    assert_eq!(receive(&mut of_canary, 20 - taken).len() + taken, 20);
}

#[test]
fn spare_threads_end_when_they_are_needed_no_more() {
    let gate = Arc::new(Gate::default());
    let shards = Shards::new(1);
    let bad = handler("bad", &gate);
    let mut stuck = send(&shards, &bad, &keys("stuck", 2));
    let mut quick = send(&shards, &bad, &keys("a", 1));
    gate.open();
    assert_eq!(receive(&mut stuck, 2).len(), 2);
    assert_eq!(receive(&mut quick, 1).len(), 1);
    let pool = &shards.threads.as_ref().unwrap().pool;
    while pool.lock().workers.len() > 1 {
        std::thread::yield_now();
    }
    assert_eq!(pool.lock().quick, 1);
}

#[test]
fn calls_are_counted_by_plugin() {
    let gate = Arc::new(Gate::default());
    let shards = Shards::new(2);
    let (one, two) = (handler("one", &gate), handler("two", &gate));
    receive(&mut send(&shards, &one, &keys("a", 40)), 40);
    receive(&mut send(&shards, &two, &keys("a", 2)), 2);
    let calls = || shards.times().iter().map(|(_, times)| times.count()).collect::<Vec<_>>();
    // A group is counted after its results were sent.
    while calls() != [40, 2] {
        std::thread::yield_now();
    }
}
