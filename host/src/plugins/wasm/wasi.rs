//! WASI 0.2, answered from the call alone. Authors expect `print`, the date and randomness to work;
//! here they do, and still the same call gives the same answer on any machine, in any year, on a
//! used instance and on a fresh one (guarantee 10):
//!
//! - clocks show the call's `now`, and a wait ends at once by moving the monotonic clock to its
//!   end;
//! - randomness is a fixed stream from the call's seed;
//! - standard output and error are the plugin's log, and standard input is empty;
//! - arguments, environment and directories are empty;
//! - `exit` ends the call as a failure.
//!
//! Sockets can be imported, and every request is denied (`sockets.rs`). Everything else, such as
//! HTTP, is not in the list, and the host refuses the component.

use wasmtime::StoreContextMut;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{
    Component, ComponentType, Lift, Linker, LinkerInstance, Lower, Resource, ResourceTable,
    ResourceType,
};

use super::call_state::CallState;
use super::log::CallLog;
use super::output::{self, OpenLines, Output};
use super::sandbox::Stopped;
use super::sockets;

/// The time that instances see while they start, describe themselves or migrate: always
/// 2000-01-01T00:00:00Z. Not zero, which Go takes for a broken clock.
pub(super) const STARTING_NOW: u64 = 946_684_800_000;

const NANOS_PER_MILLI: u64 = 1_000_000;
/// The most pollables of a guest at once. Runtimes have a handful.
const POLLABLES_MAX: usize = 1_000;
/// The most bytes that a guest may write to a stream at once. It writes the rest in the next step.
const WRITE_BYTES_MAX: u64 = 64 << 10;
/// The most random bytes of one request. Seeds and ids take some dozens of bytes.
const RANDOM_BYTES_MAX: u64 = 1 << 20;

type Define = fn(&mut LinkerInstance<'_, CallState>) -> wasmtime::Result<()>;

/// All these interfaces, without versions: all of 0.2 are compatible.
const INTERFACES: [(&str, Define); 20] = [
    ("wasi:cli/environment", environment),
    ("wasi:cli/exit", exit),
    ("wasi:cli/stderr", stderr),
    ("wasi:cli/stdin", stdin),
    ("wasi:cli/stdout", stdout),
    ("wasi:cli/terminal-input", |i| resource::<TerminalInput>(i, "terminal-input")),
    ("wasi:cli/terminal-output", |i| resource::<TerminalOutput>(i, "terminal-output")),
    ("wasi:cli/terminal-stderr", |i| terminal::<TerminalOutput>(i, "get-terminal-stderr")),
    ("wasi:cli/terminal-stdin", |i| terminal::<TerminalInput>(i, "get-terminal-stdin")),
    ("wasi:cli/terminal-stdout", |i| terminal::<TerminalOutput>(i, "get-terminal-stdout")),
    ("wasi:clocks/monotonic-clock", monotonic_clock),
    ("wasi:clocks/wall-clock", wall_clock),
    ("wasi:filesystem/preopens", preopens),
    ("wasi:filesystem/types", filesystem),
    ("wasi:io/error", error),
    ("wasi:io/poll", poll),
    ("wasi:io/streams", streams),
    ("wasi:random/insecure", insecure),
    ("wasi:random/insecure-seed", insecure_seed),
    ("wasi:random/random", random),
];

pub(super) fn is_answered(import: &str) -> bool {
    definition(import).is_some() || is_denied(import)
}

/// Whether a plugin may import it, and gets "access denied" from every call.
pub(super) fn is_denied(import: &str) -> bool {
    compatible(import).is_some_and(sockets::is_denied)
}

/// The list, for people.
pub(super) fn answered() -> String {
    INTERFACES.map(|(name, _)| name).join(", ")
}

fn definition(import: &str) -> Option<Define> {
    let name = compatible(import)?;
    INTERFACES.iter().find(|(known, _)| *known == name).map(|(_, define)| *define)
}

/// The interface without its version, if that is one of 0.2.
fn compatible(import: &str) -> Option<&str> {
    let (name, version) = import.split_once('@')?;
    let is_compatible = version.strip_prefix("0.2.")?.bytes().all(|byte| byte.is_ascii_digit());
    is_compatible.then_some(name)
}

/// Defines the imports of the component that are in the list. All others stay undefined, and the
/// component cannot be instantiated.
pub(super) fn link(linker: &mut Linker<CallState>, component: &Component) -> wasmtime::Result<()> {
    let engine = component.engine().clone();
    for (import, item) in component.component_type().imports(&engine) {
        if import == output::INTERFACE {
            output::define(&mut linker.instance(import)?)?;
            continue;
        }
        if let Some(name) = compatible(import).filter(|name| sockets::is_denied(name)) {
            sockets::define(&mut linker.instance(import)?, name, &item.ty, &engine)?;
            continue;
        }
        let Some(define) = definition(import) else { continue };
        let mut instance = linker.instance(import)?;
        define(&mut instance)?;
        // Without a directory there is nothing to call these on.
        let ComponentItem::ComponentInstance(interface) = item.ty else { continue };
        if import.starts_with("wasi:filesystem/types@") {
            for (name, item) in interface.exports(&engine) {
                if matches!(item.ty, ComponentItem::ComponentFunc(_)) {
                    instance.func_new(name, |_, _, _, _| Err(stopped("there are no files")))?;
                }
            }
        }
    }
    Ok(())
}

pub(super) fn stopped(reason: &str) -> wasmtime::Error {
    wasmtime::Error::new(Stopped(reason.to_owned()))
}

/// The WASI state of one instance.
pub(super) struct Wasi {
    now_ms: u64,
    /// How far waits have moved the monotonic clock.
    waited_ns: u64,
    random: u64,
    pollables: ResourceTable,
    lines: OpenLines,
}

impl Wasi {
    pub(crate) fn new() -> Self {
        let mut pollables = ResourceTable::new();
        pollables.set_max_capacity(POLLABLES_MAX);
        Self {
            now_ms: STARTING_NOW,
            waited_ns: 0,
            random: 0,
            pollables,
            lines: OpenLines::default(),
        }
    }

    pub(crate) fn begin_call(&mut self, now_ms: u64, seed: u128) {
        // Its generator has 64 bits of state.
        let seed = seed ^ (seed >> 64);
        let seed = u64::try_from(seed & u128::from(u64::MAX)).unwrap_or_default();
        (self.now_ms, self.random, self.waited_ns) = (now_ms, seed, 0);
    }

    /// Writes the output that has no end of line.
    pub(crate) fn flush(&mut self, log: &mut CallLog) {
        self.lines.flush(log);
    }

    pub(super) fn write(&mut self, output: Output, bytes: &[u8], log: &mut CallLog) {
        self.lines.write(output, bytes, log);
    }

    fn monotonic(&self) -> u64 {
        self.now_ms.saturating_mul(NANOS_PER_MILLI).saturating_add(self.waited_ns)
    }

    fn wait_until(&mut self, instant: u64) {
        self.waited_ns += instant.saturating_sub(self.monotonic());
    }

    /// `SplitMix64` (Steele, Lea and Flood, 2014): every seed gives another stream.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn random_bytes(&mut self, count: u64) -> wasmtime::Result<Vec<u8>> {
        let Some(count) = usize::try_from(count).ok().filter(|_| count <= RANDOM_BYTES_MAX) else {
            return Err(stopped(&format!(
                "it asked for {count} random bytes; at most {RANDOM_BYTES_MAX} are given at once"
            )));
        };
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend(self.next_random().to_le_bytes());
        }
        bytes.truncate(count);
        Ok(bytes)
    }
}

// ---- the types of the interfaces --------------------------------------------

struct InputStream;
struct OutputStream;
struct IoError;
struct TerminalInput;
struct TerminalOutput;
struct Descriptor;
struct DirectoryEntryStream;

/// Ready from this instant on.
struct Pollable(u64);

#[derive(ComponentType, Lift, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    LastOperationFailed(Resource<IoError>),
    #[component(name = "closed")]
    Closed,
}

type Streamed<T> = wasmtime::Result<(Result<T, StreamError>,)>;
type Context<'c> = StoreContextMut<'c, CallState>;
type Interface<'i, 'l> = &'i mut LinkerInstance<'l, CallState>;

fn resource<T: 'static>(interface: Interface<'_, '_>, name: &str) -> wasmtime::Result<()> {
    interface.resource(name, ResourceType::host::<T>(), |_, _| Ok(()))
}

/// The two outputs have a number each; a stream is only its number.
fn output_of(stream: &Resource<OutputStream>) -> Output {
    match stream.rep() {
        STDOUT => Output::Stdout,
        _ => Output::Stderr,
    }
}

const STDIN: u32 = 0;
const STDOUT: u32 = 1;
const STDERR: u32 = 2;

// ---- wasi:cli ----------------------------------------------------------------

fn environment(i: Interface<'_, '_>) -> wasmtime::Result<()> {
    i.func_wrap("get-environment", |_: Context<'_>, (): ()| Ok((Vec::<(String, String)>::new(),)))?;
    i.func_wrap("get-arguments", |_: Context<'_>, (): ()| Ok((Vec::<String>::new(),)))?;
    i.func_wrap("initial-cwd", |_: Context<'_>, (): ()| Ok((None::<String>,)))
}

fn exit(i: Interface<'_, '_>) -> wasmtime::Result<()> {
    i.func_wrap("exit", |_: Context<'_>, (status,): (Result<(), ()>,)| -> wasmtime::Result<()> {
        let code = i32::from(status.is_err());
        Err(stopped(&format!("it called exit with the status {code} instead of returning")))
    })?;
    i.func_wrap("exit-with-code", |_: Context<'_>, (code,): (u8,)| -> wasmtime::Result<()> {
        Err(stopped(&format!("it called exit with the status {code} instead of returning")))
    })
}

fn stdin(i: Interface<'_, '_>) -> wasmtime::Result<()> {
    i.func_wrap("get-stdin", |_: Context<'_>, (): ()| {
        Ok((Resource::<InputStream>::new_own(STDIN),))
    })
}

fn stdout(i: Interface<'_, '_>) -> wasmtime::Result<()> {
    i.func_wrap("get-stdout", |_: Context<'_>, (): ()| {
        Ok((Resource::<OutputStream>::new_own(STDOUT),))
    })
}

fn stderr(i: Interface<'_, '_>) -> wasmtime::Result<()> {
    i.func_wrap("get-stderr", |_: Context<'_>, (): ()| {
        Ok((Resource::<OutputStream>::new_own(STDERR),))
    })
}

/// There is no terminal.
fn terminal<T: 'static>(i: Interface<'_, '_>, name: &str) -> wasmtime::Result<()> {
    i.func_wrap(name, |_: Context<'_>, (): ()| Ok((None::<Resource<T>>,)))
}

// ---- wasi:clocks -------------------------------------------------------------

fn wall_clock(i: Interface<'_, '_>) -> wasmtime::Result<()> {
    i.func_wrap("now", |store: Context<'_>, (): ()| {
        let now = store.data().wasi.now_ms;
        let millis = u32::try_from(now % 1_000).expect("less than a thousand");
        Ok((Datetime { seconds: now / 1_000, nanoseconds: millis * 1_000_000 },))
    })?;
    i.func_wrap("resolution", |_: Context<'_>, (): ()| {
        Ok((Datetime { seconds: 0, nanoseconds: 1_000_000 },))
    })
}

fn monotonic_clock(i: Interface<'_, '_>) -> wasmtime::Result<()> {
    i.func_wrap("now", |store: Context<'_>, (): ()| Ok((store.data().wasi.monotonic(),)))?;
    i.func_wrap("resolution", |_: Context<'_>, (): ()| Ok((NANOS_PER_MILLI,)))?;
    i.func_wrap("subscribe-instant", |store: Context<'_>, (instant,): (u64,)| {
        subscribe(store, instant)
    })?;
    i.func_wrap("subscribe-duration", |store: Context<'_>, (duration,): (u64,)| {
        let instant = store.data().wasi.monotonic().saturating_add(duration);
        subscribe(store, instant)
    })
}

fn subscribe(mut store: Context<'_>, instant: u64) -> wasmtime::Result<(Resource<Pollable>,)> {
    let pollables = &mut store.data_mut().wasi.pollables;
    let pollable = pollables
        .push(Pollable(instant))
        .map_err(|_| stopped(&format!("it waits for more than {POLLABLES_MAX} things at once")))?;
    Ok((pollable,))
}

// ---- wasi:io -----------------------------------------------------------------

fn error(i: Interface<'_, '_>) -> wasmtime::Result<()> {
    resource::<IoError>(i, "error")?;
    i.func_wrap(
        "[method]error.to-debug-string",
        |_: Context<'_>, (_error,): (Resource<IoError>,)| Ok((String::new(),)),
    )
}

fn poll(i: Interface<'_, '_>) -> wasmtime::Result<()> {
    i.resource("pollable", ResourceType::host::<Pollable>(), |mut store, rep| {
        store.data_mut().wasi.pollables.delete(Resource::<Pollable>::new_own(rep))?;
        Ok(())
    })?;
    i.func_wrap(
        "[method]pollable.ready",
        |store: Context<'_>, (pollable,): (Resource<Pollable>,)| {
            let wasi = &store.data().wasi;
            Ok((wasi.pollables.get(&pollable)?.0 <= wasi.monotonic(),))
        },
    )?;
    i.func_wrap(
        "[method]pollable.block",
        |mut store: Context<'_>, (pollable,): (Resource<Pollable>,)| {
            let wasi = &mut store.data_mut().wasi;
            let instant = wasi.pollables.get(&pollable)?.0;
            wasi.wait_until(instant);
            Ok(())
        },
    )?;
    i.func_wrap("poll", |mut store: Context<'_>, (list,): (Vec<Resource<Pollable>>,)| {
        let wasi = &mut store.data_mut().wasi;
        let mut instants = Vec::with_capacity(list.len());
        for pollable in &list {
            instants.push(wasi.pollables.get(pollable)?.0);
        }
        let Some(earliest) = instants.iter().min() else {
            return Err(stopped("it waits for nothing at all"));
        };
        wasi.wait_until(*earliest);
        let now = wasi.monotonic();
        let ready = (0_u32..).zip(&instants).filter(|(_, instant)| **instant <= now);
        Ok((ready.map(|(index, _)| index).collect::<Vec<u32>>(),))
    })
}

fn streams(i: Interface<'_, '_>) -> wasmtime::Result<()> {
    resource::<InputStream>(i, "input-stream")?;
    resource::<OutputStream>(i, "output-stream")?;
    input_stream(i)?;
    output_stream(i)
}

/// An input is at its end from the beginning.
fn input_stream(i: Interface<'_, '_>) -> wasmtime::Result<()> {
    for name in ["[method]input-stream.read", "[method]input-stream.blocking-read"] {
        i.func_wrap(
            name,
            |_: Context<'_>, (_, _): (Resource<InputStream>, u64)| -> Streamed<Vec<u8>> {
                Ok((Err(StreamError::Closed),))
            },
        )?;
    }
    for name in ["[method]input-stream.skip", "[method]input-stream.blocking-skip"] {
        i.func_wrap(
            name,
            |_: Context<'_>, (_, _): (Resource<InputStream>, u64)| -> Streamed<u64> {
                Ok((Err(StreamError::Closed),))
            },
        )?;
    }
    i.func_wrap(
        "[method]input-stream.subscribe",
        |store: Context<'_>, (_,): (Resource<InputStream>,)| subscribe(store, 0),
    )
}

/// What is written is a line of the log.
fn output_stream(i: Interface<'_, '_>) -> wasmtime::Result<()> {
    i.func_wrap(
        "[method]output-stream.subscribe",
        |store: Context<'_>, (_,): (Resource<OutputStream>,)| subscribe(store, 0),
    )?;
    i.func_wrap(
        "[method]output-stream.check-write",
        |_: Context<'_>, (_,): (Resource<OutputStream>,)| -> Streamed<u64> {
            Ok((Ok(WRITE_BYTES_MAX),))
        },
    )?;
    for name in ["[method]output-stream.write", "[method]output-stream.blocking-write-and-flush"] {
        i.func_wrap(
            name,
            |mut store: Context<'_>,
             (stream, bytes): (Resource<OutputStream>, Vec<u8>)|
             -> Streamed<()> {
                let state = store.data_mut();
                state.wasi.write(output_of(&stream), &bytes, &mut state.log);
                Ok((Ok(()),))
            },
        )?;
    }
    for name in ["[method]output-stream.flush", "[method]output-stream.blocking-flush"] {
        i.func_wrap(name, |_: Context<'_>, (_,): (Resource<OutputStream>,)| -> Streamed<()> {
            Ok((Ok(()),))
        })?;
    }
    for name in [
        "[method]output-stream.write-zeroes",
        "[method]output-stream.blocking-write-zeroes-and-flush",
    ] {
        // Zeroes are not written, because a log has no use for them.
        i.func_wrap(
            name,
            |_: Context<'_>, (_, _): (Resource<OutputStream>, u64)| -> Streamed<()> {
                Ok((Ok(()),))
            },
        )?;
    }
    for name in ["[method]output-stream.splice", "[method]output-stream.blocking-splice"] {
        i.func_wrap(
            name,
            |_: Context<'_>,
             (_, _, _): (Resource<OutputStream>, Resource<InputStream>, u64)|
             -> Streamed<u64> { Ok((Err(StreamError::Closed),)) },
        )?;
    }
    Ok(())
}

// ---- wasi:random -------------------------------------------------------------

fn random(i: Interface<'_, '_>) -> wasmtime::Result<()> {
    random_as(i, "get-random-bytes", "get-random-u64")
}

fn insecure(i: Interface<'_, '_>) -> wasmtime::Result<()> {
    random_as(i, "get-insecure-random-bytes", "get-insecure-random-u64")
}

fn random_as(i: Interface<'_, '_>, bytes: &str, number: &str) -> wasmtime::Result<()> {
    i.func_wrap(bytes, |mut store: Context<'_>, (count,): (u64,)| {
        Ok((store.data_mut().wasi.random_bytes(count)?,))
    })?;
    i.func_wrap(number, |mut store: Context<'_>, (): ()| Ok((store.data_mut().wasi.next_random(),)))
}

fn insecure_seed(i: Interface<'_, '_>) -> wasmtime::Result<()> {
    i.func_wrap("insecure-seed", |mut store: Context<'_>, (): ()| {
        let wasi = &mut store.data_mut().wasi;
        Ok(((wasi.next_random(), wasi.next_random()),))
    })
}

// ---- wasi:filesystem ---------------------------------------------------------

fn preopens(i: Interface<'_, '_>) -> wasmtime::Result<()> {
    i.func_wrap("get-directories", |_: Context<'_>, (): ()| {
        Ok((Vec::<(Resource<Descriptor>, String)>::new(),))
    })
}

fn filesystem(i: Interface<'_, '_>) -> wasmtime::Result<()> {
    resource::<Descriptor>(i, "descriptor")?;
    resource::<DirectoryEntryStream>(i, "directory-entry-stream")
}
