//! A process manager that does what the data of its events says: breaks a limit of
//! the sandbox, or behaves. Each event type is one subscription, by subject.

#![cfg(target_arch = "wasm32")]

use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};

wit_bindgen::generate!({ path: "../../wit/0.1", world: "process-manager" });

use exports::sagabox::plugin::process_manager_handler::{
    Command, Context, Due, Event, Failure, Guest, KeyChange, Manifest, Question, State, Step,
    Timer, TimerChange, Transition,
};
use sagabox::plugin::logging::{Level, log};
use sagabox::plugin::types::{
    Absent, Correlation, Effect, Extension, Lookup, Source, Subscription,
};

/// One more than what is accepted of most things.
const MANY: usize = 1_001;

const UNDELIVERABLE: &str = "sagabox.command.undeliverable";

/// The state of an instance that is complete.
const OVER: &[u8] = b"\"over\"";

/// What an earlier call left behind in this instance.
static CALLS: AtomicU32 = AtomicU32::new(0);

struct Hostile;

impl Guest for Hostile {
    fn describe() -> Manifest {
        Manifest {
            name: "hostile".into(),
            version: "1.0.0".into(),
            description: "Breaks limits".into(),
            subscriptions: vec![
                Subscription {
                    type_: "attack".into(),
                    source: Source::Any,
                    key: Correlation::Subject,
                    effect: Effect::StartOrHandle,
                    absent: Absent::Ignore,
                },
                Subscription {
                    type_: UNDELIVERABLE.into(),
                    source: Source::Any,
                    key: Correlation::Instance,
                    effect: Effect::Handle,
                    absent: Absent::Ignore,
                },
            ],
            commands: vec!["Behaved".into(), "Told".into()],
            events: vec!["Attacked".into()],
            lookups: vec!["stock".into()],
            streams: false,
            state_version: 1,
            schemas: Vec::new(),
            configuration_schema: None,
            fields: Vec::new(),
            summary: None,
        }
    }

    fn handle(event: Event, state: Option<State>, _context: Context) -> Result<Step, Failure> {
        let calls = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
        if event.type_ == UNDELIVERABLE {
            if String::from_utf8_lossy(&event.data).contains("\"give up\":true") {
                return Err(Failure::Permanent("no refusal is handled".into()));
            }
            let report = Command { type_: "Told".into(), ..behaved(event.data) };
            // One that was over stays so.
            let over = state.filter(|state| state.data == OVER);
            let (state, complete) = (over.as_ref().map(|_| OVER.to_vec()), over.is_some());
            let reported = transition(vec![report]);
            return Ok(Step::Transit(Transition {
                state: state.or_else(|| reported.state.clone()),
                complete,
                ..reported
            }));
        }
        let data = String::from_utf8(event.data).unwrap_or_default();
        Ok(Step::Transit(match data.trim_matches('"') {
            "behave" => transition(vec![behaved(format!("{{\"calls\":{calls}}}").into_bytes())]),
            "loop" => endless(),
            "loop in host calls" => loop {
                log(Level::Trace, "");
            },
            "memory" => loop {
                std::mem::forget(black_box(Vec::<u8>::with_capacity(1 << 20)));
            },
            "recursion" => transition(vec![behaved(vec![deep(0)])]),
            "trap" => std::process::abort(),
            "decision" => transition(vec![behaved(vec![b' '; 9 << 20])]),
            "decision beyond all measure" => transition(vec![behaved(vec![b' '; 40 << 20])]),
            "state" => Transition { state: Some(vec![b' '; 2 << 20]), ..transition(Vec::new()) },
            "messages" => transition(vec![behaved(Vec::new()); MANY]),
            "messages beyond all measure" => transition(vec![behaved(Vec::new()); 300_000]),
            "timers" => Transition { timers: vec![timer(); MANY], ..transition(Vec::new()) },
            "keys" => Transition { keys: vec![key("k"); MANY], ..transition(Vec::new()) },
            "long key" => {
                Transition { keys: vec![key(&"k".repeat(513))], ..transition(Vec::new()) }
            }
            "questions" => return Ok(Step::Need(vec![question(); MANY])),
            "no question" => return Ok(Step::Need(Vec::new())),
            "undeclared command" => {
                transition(vec![Command { type_: "Refund".into(), ..behaved(Vec::new()) }])
            }
            "undeclared lookup" => {
                let lookup = Lookup { name: "prices".into(), key: "k".into() };
                return Ok(Step::Need(vec![Question::Lookup(lookup)]));
            }
            "junk media type" => {
                let datacontenttype = "\u{0}junk".into();
                transition(vec![Command { datacontenttype, ..behaved(Vec::new()) }])
            }
            "junk extension" => {
                let extensions = vec![Extension { name: "Ä b".into(), value: "\r\n".into() }];
                transition(vec![Command { extensions, ..behaved(Vec::new()) }])
            }
            "log lines" => {
                (0..10_000).for_each(|n| log(Level::Info, &format!("flood {n}")));
                transition(vec![behaved(b"{}".to_vec())])
            }
            "log bytes" => {
                (0..50).for_each(|_| log(Level::Info, &"flood ".repeat(10_000)));
                transition(vec![behaved(b"{}".to_vec())])
            }
            // The rest is a command's data, byte for byte.
            send if send.starts_with("send ") => {
                transition(vec![behaved(send["send ".len()..].as_bytes().to_vec())])
            }
            // The last thing that the instance does.
            send if send.starts_with("finish ") => Transition {
                state: Some(OVER.to_vec()),
                complete: true,
                ..transition(vec![behaved(send["finish ".len()..].as_bytes().to_vec())])
            },
            other => return Err(Failure::Permanent(format!("no such behaviour: {other}"))),
        }))
    }

    fn migrate(state: State, _to: u32) -> Result<Vec<u8>, String> {
        Ok(state.data)
    }
}

fn endless() -> ! {
    let mut n = 0_u64;
    loop {
        n = black_box(n.wrapping_add(1));
    }
}

/// Not a tail call: every level needs its own frame.
fn deep(n: u64) -> u8 {
    let frame = [u8::try_from(n % 256).unwrap_or(0); 128];
    black_box(&frame);
    deep(n + 1).wrapping_add(frame[usize::from(black_box(frame[0])) % 128])
}

fn transition(commands: Vec<Command>) -> Transition {
    Transition {
        state: Some(b"{}".to_vec()),
        commands,
        events: Vec::new(),
        timers: Vec::new(),
        keys: Vec::new(),
        complete: false,
    }
}

fn behaved(data: Vec<u8>) -> Command {
    Command {
        type_: "Behaved".into(),
        subject: None,
        datacontenttype: "application/json".into(),
        extensions: Vec::new(),
        data,
    }
}

fn timer() -> TimerChange {
    TimerChange::Set(Timer { name: "t".into(), due: Due::After(1_000_000), data: Vec::new() })
}

fn key(key: &str) -> KeyChange {
    KeyChange::Claim(key.into())
}

fn question() -> Question {
    Question::Lookup(Lookup { name: "stock".into(), key: "k".into() })
}

export!(Hostile);
