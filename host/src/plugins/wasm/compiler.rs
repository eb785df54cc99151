//! Compiles a file within limits: a component of a few megabytes can be built to take any time and
//! any memory. Therefore the binary compiles in a child process, which the system ends when it
//! exceeds a limit; the host that serves is not affected.
//!
//! The child is this binary with the argument `__compile`. It reads the file from standard input,
//! and writes the machine code to standard output. Programs other than this binary (tests, fuzzers)
//! compile in their own process, without limits of time and memory.

use std::io::{self, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal};
use thiserror::Error;
use wasmtime::Engine;

use super::sandbox::{self, Settings};
use super::{core_module, features};

/// The argument with which the binary is started to compile.
pub const ARGUMENT: &str = "__compile";
/// The number of settings that the child needs: the limits, and those on which the code depends.
const ARGUMENTS: usize = 3;
/// The file is invalid, and no limit was exceeded; the reason is on standard error.
const EXIT_INVALID: u8 = 3;
/// Waiting for the processor does not count, so this limit is only for a child that hangs.
const PATIENCE: u32 = 10;
/// A lower priority than all work of the host on events.
const NICENESS: i32 = 10;
/// Threads of a child. More would take more memory, and leave less of the machine for events.
const THREADS: &str = "4";
/// The most bytes of the child's standard error.
const REASON_BYTES_MAX: u64 = 16 << 10;
/// Children at a time: each may take the whole limit of memory.
const CHILDREN_MAX: usize = 2;

/// The limits for compiling one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    /// Processor time of all threads; in seconds, rounded up.
    pub time: Duration,
    pub memory_bytes: usize,
}

impl Default for CompileLimits {
    /// `CPython` with its libraries (18 MB, the largest component that was seen) takes some 20 s
    /// and 700 MB.
    fn default() -> Self {
        Self { time: Duration::from_secs(120), memory_bytes: 1_500 << 20 }
    }
}

/// The reason for which there is no machine code.
#[derive(Debug, Error)]
pub(crate) enum CompileError {
    #[error("is a core module that cannot be converted to a component: {0}")]
    Module(String),
    /// The text is wasmtime's.
    #[error("{0}")]
    Invalid(String),
    #[error("takes more than {0:?} of the processor to compile (limit compile_time_ms)")]
    TooSlow(Duration),
    #[error("takes more than {0} bytes of memory to compile (limit compile_memory_bytes)")]
    TooLarge(usize),
    #[error("cannot be compiled: {0}")]
    Failed(String),
}

impl CompileLimits {
    /// The unit in which the system counts.
    fn seconds(&self) -> u64 {
        u64::try_from(self.time.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX).max(1)
    }
}

impl CompileError {
    /// Whether another attempt would take as long as the limits allow.
    #[must_use]
    pub(crate) fn is_limit(&self) -> bool {
        matches!(self, Self::TooSlow(_) | Self::TooLarge(_))
    }
}

/// Set by the binary that understands `ARGUMENT`.
static HAS_CHILDREN: AtomicBool = AtomicBool::new(false);

/// Lets files be compiled in child processes from now on. Only the binary calls it.
pub fn compile_in_children() {
    HAS_CHILDREN.store(true, Ordering::Relaxed);
}

/// The machine code of a component, or of a core module that names its world.
///
/// # Errors
/// Says why there is none.
pub(crate) fn compile(
    engine: &Engine,
    settings: &Settings,
    file: &[u8],
) -> Result<Vec<u8>, CompileError> {
    match HAS_CHILDREN.load(Ordering::Relaxed) {
        true => in_child(settings, file),
        false => here(engine, file),
    }
}

fn here(engine: &Engine, file: &[u8]) -> Result<Vec<u8>, CompileError> {
    let made = match core_module::has_world(file) {
        true => Some(
            core_module::componentize(file)
                .map_err(|error| CompileError::Module(format!("{error:#}")))?,
        ),
        false => None,
    };
    let component = made.as_deref().unwrap_or(file);
    engine.precompile_component(component).map_err(|error| {
        let unsupported = features::unsupported(component);
        let own: String = unsupported.iter().map(|words| format!("{words}; ")).collect();
        CompileError::Invalid(format!("{own}{error:#}"))
    })
}

// ---- the child ------------------------------------------------------------------

/// Runs the child with its arguments behind `ARGUMENT`.
#[must_use]
pub fn child(arguments: &[String]) -> ExitCode {
    match child_outcome(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(ChildError::Invalid(error)) => {
            let kind =
                if matches!(error, CompileError::Module(_)) { "module" } else { "component" };
            let reason = match error {
                CompileError::Module(reason) | CompileError::Invalid(reason) => reason,
                other => other.to_string(),
            };
            eprint!("{kind}\n{reason}");
            ExitCode::from(EXIT_INVALID)
        }
        Err(ChildError::Failed(reason)) => {
            eprint!("{reason}");
            ExitCode::FAILURE
        }
    }
}

enum ChildError {
    Invalid(CompileError),
    Failed(String),
}

fn child_outcome(arguments: &[String]) -> Result<(), ChildError> {
    let failed = |error: &dyn std::fmt::Display| ChildError::Failed(error.to_string());
    let numbers = arguments.iter().map(|text| text.parse::<u64>());
    let numbers: Vec<u64> = numbers.collect::<Result<_, _>>().map_err(|error| failed(&error))?;
    let [seconds, memory_bytes, stack_bytes] = numbers[..] else {
        return Err(ChildError::Failed(format!("{ARGUMENT} takes {ARGUMENTS} numbers")));
    };
    limit(seconds, memory_bytes).map_err(|error| failed(&error))?;
    let mut file = Vec::new();
    io::stdin().lock().read_to_end(&mut file).map_err(|error| failed(&error))?;
    let stack_bytes = usize::try_from(stack_bytes).map_err(|error| failed(&error))?;
    let engine = sandbox::compiling(stack_bytes).map_err(|error| failed(&format!("{error:#}")))?;
    let code = here(&engine, &file).map_err(ChildError::Invalid)?;
    let mut output = io::stdout().lock();
    output.write_all(&code).and_then(|()| output.flush()).map_err(|error| failed(&error))
}

/// The process limits itself, so no code must run between fork and exec.
fn limit(seconds: u64, memory_bytes: u64) -> io::Result<()> {
    let all = |value| Rlimit { current: Some(value), maximum: Some(value) };
    // The first limit sends a signal of its own, which shows the reason.
    let time = Rlimit { current: Some(seconds), maximum: Some(seconds.saturating_add(5)) };
    rustix::process::setrlimit(Resource::Cpu, time)?;
    // Limits the memory that is written to, not the address space that is reserved.
    rustix::process::setrlimit(Resource::Data, all(memory_bytes))?;
    // A process that is ended for this must not leave gigabytes of a core file.
    rustix::process::setrlimit(Resource::Core, all(0))?;
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // A process that may not lower its priority keeps it.
    let _ = rustix::process::nice(NICENESS);
    Ok(())
}

// ---- the parent -----------------------------------------------------------------

fn in_child(settings: &Settings, file: &[u8]) -> Result<Vec<u8>, CompileError> {
    let _slot = Slot::take();
    let limits = settings.compile;
    let failed = |what: &str, error: io::Error| CompileError::Failed(format!("{what}: {error}"));
    let seconds = limits.seconds();
    let mut command = Command::new(binary().map_err(|error| failed("find its program", error))?);
    command
        .arg(ARGUMENT)
        .args([
            seconds.to_string(),
            limits.memory_bytes.to_string(),
            settings.stack_bytes.to_string(),
        ])
        .env_clear()
        .env("RAYON_NUM_THREADS", THREADS)
        // Otherwise the allocator takes a gigabyte at once.
        .env("MIMALLOC_ARENA_EAGER_COMMIT", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| failed("start a process for it", error))?;
    let said = talk(&mut child, file, &limits);
    let status = child.wait().map_err(|error| failed("wait for its process", error))?;
    match said {
        Ok((code, _)) if status.success() && !code.is_empty() => Ok(code),
        Ok((_, reason)) => Err(explain(status, &reason, &limits)),
        // The child ended before it had read everything: its status shows the reason.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            Err(explain(status, "", &limits))
        }
        Err(error) => Err(failed("read what was compiled", error)),
    }
}

/// The first path is this binary even if its file on disk has been replaced.
fn binary() -> io::Result<PathBuf> {
    let own = Path::new("/proc/self/exe");
    if own.exists() { Ok(own.to_owned()) } else { std::env::current_exe() }
}

/// Writes the file to the child, and reads both its outputs. A child that hangs is ended.
fn talk(child: &mut Child, file: &[u8], limits: &CompileLimits) -> io::Result<(Vec<u8>, String)> {
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(mut input), Some(output), Some(error)) = pipes else {
        return Err(io::Error::other("its process has no pipes"));
    };
    let process = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let (done, ended) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // The channel closes when everything is read.
            let hangs = ended.recv_timeout(Duration::from_secs(limits.seconds()) * PATIENCE)
                == Err(mpsc::RecvTimeoutError::Timeout);
            if let Some(process) = process.filter(|_| hangs) {
                // The process has not been waited for, so its id cannot belong to another process.
                let _ = rustix::process::kill_process(process, Signal::KILL);
            }
        });
        let writing = scope.spawn(move || input.write_all(file));
        let reading = scope.spawn(move || {
            let mut reason = Vec::new();
            let read = error.take(REASON_BYTES_MAX).read_to_end(&mut reason);
            read.map(|_| String::from_utf8_lossy(&reason).into_owned())
        });
        let mut code = Vec::new();
        let read = output.take(limits.memory_bytes as u64).read_to_end(&mut code);
        let reason = reading.join().unwrap_or_else(|_| Ok(String::new()));
        let written = writing.join().unwrap_or(Ok(()));
        drop(done);
        read?;
        // Its message about the file is more useful than the error that it did not read on.
        match (written, reason?) {
            (Err(error), reason) if reason.is_empty() => Err(error),
            (_, reason) => Ok((code, reason)),
        }
    })
}

fn explain(status: ExitStatus, reason: &str, limits: &CompileLimits) -> CompileError {
    let invalid = status.code() == Some(i32::from(EXIT_INVALID));
    if let Some((kind, reason)) = reason.split_once('\n').filter(|_| invalid) {
        return match kind {
            "module" => CompileError::Module(reason.to_owned()),
            _ => CompileError::Invalid(reason.to_owned()),
        };
    }
    let signal = status.signal();
    let is = |wanted: Signal| signal == Some(wanted.as_raw());
    // The allocator of the standard library prints this and aborts.
    let lacks_memory = reason.contains("memory allocation of") || reason.contains("out of memory");
    if is(Signal::XCPU) {
        CompileError::TooSlow(Duration::from_secs(limits.seconds()))
    } else if is(Signal::KILL) {
        CompileError::Failed("its process was killed, as when a machine lacks memory".to_owned())
    } else if lacks_memory || is(Signal::ABORT) || is(Signal::SEGV) || is(Signal::BUS) {
        CompileError::TooLarge(limits.memory_bytes)
    } else {
        let last = reason.lines().next_back().unwrap_or("its process printed nothing");
        CompileError::Failed(format!("{last} ({status})"))
    }
}

/// One of the places for children.
struct Slot;

static TAKEN: Mutex<usize> = Mutex::new(0);
static FREE: Condvar = Condvar::new();

impl Slot {
    fn take() -> Self {
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = FREE.wait_while(taken, |taken| *taken >= CHILDREN_MAX);
        *taken.unwrap_or_else(PoisonError::into_inner) += 1;
        Self
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        FREE.notify_one();
    }
}
