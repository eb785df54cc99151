//! What the targets share: requests as text, a sandbox with narrow limits, and plugins small
//! enough to be made anew for each input.

pub mod guest;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use sagabox::plugins::wasm::{self, Limits, LoadedPlugin, Sandbox, Settings};
use sagabox_engine::seams::handler::{Call, Reply};
use sagabox_engine::model::{Event, Failure, State, Timestamp};

/// A request written as lines with `name: value`, an empty line, and the body.
pub fn request(data: &[u8]) -> Option<(HeaderMap, Bytes)> {
    let end = data.windows(2).position(|window| window == b"\n\n")?;
    let mut headers = HeaderMap::new();
    for line in data[..end].split(|&byte| byte == b'\n') {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        headers.append(name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?);
    }
    Some((headers, Bytes::copy_from_slice(&data[end + 2..])))
}

/// Narrow, so that a plugin that spins or grows costs the fuzzer little.
static SANDBOX: LazyLock<Sandbox> = LazyLock::new(|| {
    let limits =
        Limits { call_time: Duration::from_millis(30), memory_bytes: 4 << 20, ..Limits::default() };
    Sandbox::new(Settings { limits, ..Settings::default() }).expect("a sandbox")
});

/// As the host loads a file. Whatever the bytes are, it serves or is refused with a reason.
pub fn load(bytes: &[u8]) -> Option<Vec<LoadedPlugin>> {
    match wasm::load((Path::new("plugin.wasm"), Path::new("")), bytes, &SANDBOX, &HashMap::new()) {
        Ok(plugins) => {
            assert!(!plugins.is_empty(), "what plays no role is refused");
            Some(plugins)
        }
        Err(reason) => {
            assert!(!reason.to_string().is_empty(), "a refusal has a reason");
            None
        }
    }
}

/// Has a plugin decide an event with this data: it decides, asks, or fails with a reason.
pub fn handle(plugin: &LoadedPlugin, data: &[u8]) -> Option<Reply> {
    let event = Event {
        id: "1".into(),
        source: "/fuzz".into(),
        event_type: "t".into(),
        subject: Some("s".into()),
        time: None,
        datacontenttype: None,
        dataschema: None,
        extensions: Vec::new(),
        data: Bytes::copy_from_slice(data),
    };
    let call = Call {
        event: Arc::new(event),
        state: None,
        now: Timestamp(1_700_000_000_000),
        attempt: 1,
        key: "k".into(),
        answers: Vec::new(),
        seed: 7,
    };
    match plugin.handler.handle(&call) {
        Ok(reply) => Some(reply),
        Err(Failure::Permanent(reason) | Failure::Transient(reason)) => {
            drop(reason);
            None
        }
    }
}

/// Has a process manager read a state of the version before.
pub fn migrate(plugin: &LoadedPlugin, data: &[u8]) {
    let own = plugin.handler.manifest().state_version;
    for version in [own.wrapping_sub(1), own] {
        let state = State { version, data: Bytes::copy_from_slice(data) };
        let Ok(state) = plugin.handler.migrate(&state, own) else { continue };
        assert!(state.len() <= Limits::default().state_bytes, "a state keeps to its limit");
    }
}
