//! The engine that enforces the limits of a call.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use sagabox_engine::model::Failure;
use thiserror::Error;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolConcurrencyLimitError,
    PoolingAllocationConfig, ResourceLimiter, Trap, WasmBacktrace,
};

use super::cache::Cache;
use super::compiler::CompileLimits;
use super::kept::CacheSettings;
use super::limits::{COMPONENT_BYTES, CORE_INSTANCES, Limits, MEMORIES, STACK_BYTES, TABLES};
use super::lines::RecentLines;
use super::used::{LimitUse, UsedByPlugin};
use crate::plugins::trust::Policy;

/// How often the epoch advances: the precision of the time limit.
const TICK: Duration = Duration::from_millis(10);
/// Core instances and tables of all components together. They cost address space alone; a component
/// has about four of each.
const POOL_PARTS: u32 = 4_000;
/// The bytes that a slot keeps of a used memory: returning and taking memory is most of the cost of
/// a fresh instance.
const KEEP_RESIDENT_BYTES: usize = 2 << 20;

/// How plugins are run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The limits of every plugin that `plugins` does not name.
    pub limits: Limits,
    pub plugins: BTreeMap<String, Limits>,
    pub stack_bytes: usize,
    /// A larger file is refused before it is read.
    pub component_bytes: usize,
    /// The limits for compiling one file.
    pub compile: CompileLimits,
    /// Refuses components that import more than the interface of Sagabox.
    pub strict: bool,
    /// The signatures and the lock file that components need.
    pub trust: Policy,
    pub cache: CacheSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            plugins: BTreeMap::new(),
            stack_bytes: STACK_BYTES,
            component_bytes: COMPONENT_BYTES,
            compile: CompileLimits::default(),
            strict: false,
            trust: Policy::default(),
            cache: CacheSettings::default(),
        }
    }
}

/// Where components are compiled and run. Cheap to clone.
#[derive(Clone)]
pub struct Sandbox {
    pub(super) engine: Engine,
    pub(super) settings: Arc<Settings>,
    /// Opened when something is compiled first; none if it is switched off.
    cache: Arc<OnceLock<Option<Cache>>>,
    pub(super) lines: RecentLines,
    pub(super) used: UsedByPlugin,
}

impl Sandbox {
    /// # Errors
    /// If the machine does not provide what the engine needs.
    pub fn new(settings: Settings) -> anyhow::Result<Self> {
        let settings = Arc::new(settings);
        let engine = engine(&settings)?;
        let (lines, used) = (RecentLines::default(), UsedByPlugin::default());
        let sandbox = Self { engine, settings, cache: Arc::default(), lines, used };
        let ticker = sandbox.engine.weak();
        std::thread::Builder::new().name("epoch".to_owned()).spawn(move || {
            while let Some(engine) = ticker.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(TICK);
            }
        })?;
        Ok(sandbox)
    }

    /// The newest lines that its plugins have logged.
    #[must_use]
    pub fn lines(&self) -> RecentLines {
        self.lines.clone()
    }

    /// The limits of a plugin's calls, and how much of them it has used.
    #[must_use]
    pub fn limits_used(&self, plugin: &str) -> Vec<LimitUse> {
        self.used.against(plugin, &self.limits_of(plugin))
    }

    /// The limits for a component's file.
    #[must_use]
    pub fn component_bytes(&self) -> usize {
        self.settings.component_bytes
    }

    /// Checks that the lock file in `home` has this digest, if the settings require one.
    ///
    /// # Errors
    /// Says why the file is not pinned.
    pub fn pinned(&self, path: &Path, home: &Path, digest: &str) -> Result<(), String> {
        self.settings.trust.pinned(path, home, digest)
    }

    /// Where compiled components are kept.
    pub(super) fn cache(&self) -> Option<&Cache> {
        let open = || {
            let settings = &self.settings.cache;
            let folder = settings.folder.as_ref()?;
            let opened = Cache::open(folder, settings);
            if let Err(error) = &opened {
                tracing::warn!(
                    %error, folder = %folder.display(),
                    "the cache of compiled components is not used; its folder must belong to this user alone"
                );
            }
            opened.ok()
        };
        self.cache.get_or_init(open).as_ref()
    }

    pub(super) fn limits_of(&self, plugin: &str) -> Limits {
        self.settings.plugins.get(plugin).unwrap_or(&self.settings.limits).clone()
    }

    /// The limits for a component whose plugin is not known yet.
    pub(super) fn widest_limits(&self) -> Limits {
        widest(&self.settings)
    }
}

fn widest(settings: &Settings) -> Limits {
    settings.plugins.values().fold(settings.limits.clone(), |all, one| all.widest(one))
}

fn engine(settings: &Settings) -> anyhow::Result<Engine> {
    let widest = widest(settings);
    let mut config = config(settings.stack_bytes);
    let mut pool = PoolingAllocationConfig::default();
    pool.max_memory_size(widest.memory_bytes)
        .table_elements(widest.table_elements)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .max_tables_per_module(TABLES)
        .total_core_instances(POOL_PARTS)
        .total_tables(POOL_PARTS)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .pagemap_scan(Enabled::Auto);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    let engine = Engine::new(&config).or_else(|_| {
        // Small machines and containers may not allow the pool to reserve its address space.
        config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
        Engine::new(&config)
    });
    engine.map_err(anyhow::Error::from).context("cannot start the wasm engine")
}

/// The settings on which compiled code depends. The pool is not one of them.
fn config(stack_bytes: usize) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(stack_bytes)
        // The same call gives the same answer on every machine: in these two places WebAssembly
        // leaves a choice to the processor.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true);
    config
}

/// An engine that compiles for the engines that run, and runs nothing itself.
pub(super) fn compiling(stack_bytes: usize) -> anyhow::Result<Engine> {
    let engine = Engine::new(&config(stack_bytes));
    engine.map_err(anyhow::Error::from).context("cannot start the wasm engine")
}

/// The number of epochs until a call exceeds its time, rounded up.
pub(super) fn deadline(limits: &Limits) -> u64 {
    let ticks = limits.call_time.as_millis().div_ceil(TICK.as_millis());
    u64::try_from(ticks).unwrap_or(u64::MAX).saturating_add(1)
}

/// Counts the memory and table elements of an instance, over all of its memories and tables.
pub(super) struct Usage {
    limits: Limits,
    pub(super) memory_bytes: usize,
    pub(super) table_elements: usize,
    /// The limit that the call in progress broke first.
    broken: Option<String>,
}

impl Usage {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, memory_bytes: 0, table_elements: 0, broken: None }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// A limit that an earlier call broke, and survived, is not the reason of a later failure.
    pub(super) fn begin_call(&mut self) {
        self.broken = None;
    }
}

impl ResourceLimiter for Usage {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.memory_bytes - current.min(self.memory_bytes) + desired;
        let limit = self.limits.memory_bytes;
        let fits = total <= limit;
        if fits {
            self.memory_bytes = total;
        } else {
            self.broken.get_or_insert_with(|| {
                format!("it asked for more than {limit} bytes of memory (limit memory_bytes)")
            });
        }
        Ok(fits)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.table_elements - current.min(self.table_elements) + desired;
        let limit = self.limits.table_elements;
        let fits = total <= limit;
        if fits {
            self.table_elements = total;
        } else {
            self.broken.get_or_insert_with(|| {
                format!("it asked for more than {limit} table elements (limit table_elements)")
            });
        }
        Ok(fits)
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES as usize
    }

    fn tables(&self) -> usize {
        TABLES as usize
    }

    fn memories(&self) -> usize {
        MEMORIES as usize
    }
}

/// The most functions in a backtrace; the innermost come first.
const FRAMES_MAX: usize = 20;

/// The names of the functions in which the plugin was when its call was stopped, if they are known.
pub(super) fn backtrace(error: &wasmtime::Error) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    // Only its text has the names in a readable form.
    let text = backtrace.to_string();
    let places = text.lines().filter_map(|line| line.split_once('!'));
    places.map(|(_, name)| name.to_owned()).take(FRAMES_MAX).collect()
}

/// Why the host ends a call, in words for the dead letter.
#[derive(Debug, Error)]
#[error("{0}")]
pub(super) struct Stopped(pub String);

/// wasmtime has no type for this error.
const COPIED_TOO_MUCH: &str = "fuel allocated for hostcalls has been exhausted";

/// The component model forbids it, and its trap names neither the place nor the way out.
const LEFT_IN_REALLOC: &str = "it called the host while the host allocated the arguments of the call \
    (`cabi_realloc`), where a plugin must call nothing: mostly its garbage collector ran there and \
    read the clock. Switch it off, and run it at the end of each call; in Go `debug.SetGCPercent(-1)` \
    and `runtime.GC()`, as the SDK for Go does";

/// The failure of a call that did not return. It is permanent, because a retry would give the same
/// result, unless the host lacked a resource.
pub(super) fn failure(error: &wasmtime::Error, sandbox: &Sandbox, usage: &Usage) -> Failure {
    if let Some(error) = error.downcast_ref::<PoolConcurrencyLimitError>() {
        return Failure::Transient(format!("the host has no room for another instance: {error}"));
    }
    let limits = &usage.limits;
    let what = if let Some(Stopped(reason)) = error.downcast_ref() {
        reason.clone()
    } else if error.chain().any(|cause| cause.to_string().contains(COPIED_TOO_MUCH)) {
        format!("it returned more than {} bytes (limit decision_bytes)", limits.decision_bytes)
    } else {
        match (error.downcast_ref::<Trap>(), &usage.broken) {
            (Some(Trap::Interrupt), _) => {
                format!("it did not return within {:?} (limit call_time_ms)", limits.call_time)
            }
            (Some(Trap::StackOverflow), _) => format!(
                "it used more than {} bytes of stack (limit stack_bytes)",
                sandbox.settings.stack_bytes
            ),
            (_, Some(broken)) => broken.clone(),
            (Some(Trap::MemoryOutOfBounds), None) => format!(
                "it trapped: {}: a pointer leads nowhere, or functions call each other too deeply",
                Trap::MemoryOutOfBounds
            ),
            (Some(Trap::CannotLeaveComponent), None) => LEFT_IN_REALLOC.to_owned(),
            (Some(trap), None) => format!("it trapped: {trap}"),
            (None, None) => format!("its call failed: {error:#}"),
        }
    };
    Failure::Permanent(format!("the plugin was stopped: {what}"))
}
