//! A process that counts its events, in as many versions as a test wants: what it says
//! of itself stands in `MARK`, which tests overwrite in the built component. So each
//! version is another file, and none needs a compiler.

#![cfg(target_arch = "wasm32")]

use std::hint::black_box;

wit_bindgen::generate!({ path: "../../wit/0.1", world: "process-manager" });

use exports::sagabox::plugin::process_manager_handler::{
    Command, Context, Event, Failure, Guest, Manifest, State, Step, Transition,
};
use sagabox::plugin::types::{Absent, Correlation, Effect, Field, Source, Subscription};

/// Version (five digits), version of states (one), whether it migrates `all` states, `not`
/// those of instances whose key begins with `stubborn`, or its `own` alone, and what is wrong
/// with it: nothing (`@@@@@@@`), it `differs`, which shows in every count from 3, it
/// `fails@@`, or it is `reshape`d: its states have another shape, and the same number. Or it
/// declares `fields@`.
static MARK: [u8; 24] = *b"@hot:00001:1:all:@@@@@@@";

struct Mark {
    version: String,
    of_state: u32,
    migrates: String,
    differs: bool,
    fails: bool,
    has_fields: bool,
    /// What a state calls its count.
    count: &'static str,
}

fn mark() -> Mark {
    // The compiler must not know what stands there.
    let text = String::from_utf8_lossy(black_box(&MARK)).into_owned();
    let parts: Vec<&str> = text.split(':').collect();
    let number = |part: &str| part.parse::<u32>().unwrap_or_default();
    Mark {
        version: format!("1.{}.0", number(parts[1])),
        of_state: number(parts[2]),
        migrates: parts[3].to_owned(),
        differs: parts[4] == "differs",
        fails: parts[4] == "fails@@",
        has_fields: parts[4] == "fields@",
        count: if parts[4] == "reshape" { "counted" } else { "count" },
    }
}

/// JSON, for keys without quotes. The format is the version of states that it was written for: who
/// reads it as another has misread it.
fn state(format: u32, count: u32, key: &str) -> Vec<u8> {
    let name = mark().count;
    format!(r#"{{"format":{format},"{name}":{count},"key":"{key}"}}"#).into_bytes()
}

fn parse(state: &State) -> Result<(u32, String), String> {
    let text = String::from_utf8_lossy(&state.data).into_owned();
    let mut rest = text.as_str();
    let mut next = |begin: &str, end: &str| {
        let (part, behind) = rest.strip_prefix(begin)?.split_once(end)?;
        rest = behind;
        Some(part.to_owned())
    };
    let format = next("{\"format\":", ",").unwrap_or_default();
    let count = next(&format!("\"{}\":", mark().count), ",").unwrap_or_default();
    let key = next("\"key\":\"", "\"}").unwrap_or_default();
    if format != state.version.to_string() {
        return Err(format!("`{text}` is said to be of version {}", state.version));
    }
    Ok((count.parse().map_err(|_| format!("`{text}` has no count"))?, key))
}

fn fields() -> Vec<Field> {
    let field = |name: &str| Field { name: name.into(), pointer: format!("/{name}") };
    vec![field("count"), field("format"), field("key")]
}

struct Hot;

impl Guest for Hot {
    fn describe() -> Manifest {
        let mark = mark();
        Manifest {
            name: "hot".into(),
            version: mark.version,
            description: "Counts".into(),
            subscriptions: vec![Subscription {
                type_: "step".into(),
                source: Source::Any,
                key: Correlation::Subject,
                effect: Effect::StartOrHandle,
                absent: Absent::Ignore,
            }],
            commands: vec!["Stepped".into()],
            events: Vec::new(),
            lookups: Vec::new(),
            streams: false,
            state_version: mark.of_state,
            schemas: Vec::new(),
            configuration_schema: None,
            fields: if mark.has_fields { fields() } else { Vec::new() },
            summary: mark.has_fields.then(|| "{key} has counted to {count}".into()),
        }
    }

    fn handle(_: Event, before: Option<State>, context: Context) -> Result<Step, Failure> {
        let mark = mark();
        let key = context.key;
        if mark.fails {
            return Err(Failure::Permanent(format!("{} always fails", mark.version)));
        }
        let count = match before {
            None => 0,
            Some(before) if before.version != mark.of_state => {
                let reason = format!("a state of version {} was not migrated", before.version);
                return Err(Failure::Permanent(reason));
            }
            Some(before) => parse(&before).map_err(Failure::Permanent)?.0,
        } + 1;
        let count = if mark.differs && count > 2 { count + 10 } else { count };
        let data =
            format!("{{\"key\":\"{key}\",\"count\":{count},\"version\":\"{}\"}}", mark.version);
        Ok(Step::Transit(Transition {
            state: Some(state(mark.of_state, count, &key)),
            commands: vec![Command {
                type_: "Stepped".into(),
                subject: None,
                datacontenttype: "application/json".into(),
                extensions: Vec::new(),
                data: data.into_bytes(),
            }],
            events: Vec::new(),
            timers: Vec::new(),
            keys: Vec::new(),
            complete: false,
        }))
    }

    fn migrate(before: State, to: u32) -> Result<Vec<u8>, String> {
        let mark = mark();
        let (count, key) = parse(&before)?;
        if mark.migrates == "not" && key.starts_with("stubborn") {
            return Err(format!("{key} is stubborn"));
        }
        if mark.migrates == "own" && (before.version, to) != (mark.of_state, mark.of_state) {
            return Err(format!("nothing is known of version {}", before.version));
        }
        Ok(state(to, count, &key))
    }
}

export!(Hot);
