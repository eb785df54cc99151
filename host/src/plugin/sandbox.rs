//! The limits of a call, and the engine that keeps them.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use sagabox_engine::model::Failure;
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, ResourceLimiter, Trap,
};

/// How often the epoch moves: the precision of the time limit.
const TICK: Duration = Duration::from_millis(10);

/// What one call may use.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Wall-clock time of a call.
    pub call_timeout: Duration,
    /// Linear memory of an instance, in total.
    pub memory_bytes_max: usize,
    /// Stack of a call.
    pub stack_bytes_max: usize,
    /// Elements of an instance's tables, in total.
    pub table_elements_max: usize,
    /// Messages, timers and keys in one decision, together.
    pub decision_items_max: usize,
    /// Bytes of a decision: data of its messages and timers, and the state.
    pub decision_bytes_max: usize,
    /// Log lines of one call; more are dropped.
    pub log_lines_max: u32,
    /// An instance is replaced after so many calls, so that a leak in a plugin stays small.
    pub calls_per_instance: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            call_timeout: Duration::from_secs(1),
            memory_bytes_max: 64 << 20,
            stack_bytes_max: 512 << 10,
            table_elements_max: 100_000,
            decision_items_max: 10_000,
            decision_bytes_max: 8 << 20,
            log_lines_max: 100,
            calls_per_instance: 10_000,
        }
    }
}

/// Where components are compiled and run.
#[derive(Clone)]
pub struct Sandbox {
    pub(super) engine: Engine,
    pub(super) limits: Limits,
    /// Compiled components are kept here; none compiles anew each time.
    pub(super) cache: Option<PathBuf>,
}

impl Sandbox {
    /// # Errors
    /// If the machine does not give what the engine needs.
    pub fn new(limits: Limits, cache: Option<PathBuf>) -> anyhow::Result<Self> {
        let mut config = Config::new();
        config.epoch_interruption(true).max_wasm_stack(limits.stack_bytes_max);
        let mut pool = PoolingAllocationConfig::default();
        pool.max_memory_size(limits.memory_bytes_max);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config).or_else(|_| {
            // Small machines and containers may not reserve the pool's address space.
            config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
            Engine::new(&config)
        });
        let engine = engine.map_err(anyhow::Error::from).context("cannot start the wasm engine")?;
        let ticker = engine.weak();
        std::thread::Builder::new().name("epoch".to_owned()).spawn(move || {
            while let Some(engine) = ticker.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(TICK);
            }
        })?;
        Ok(Self { engine, limits, cache })
    }

    /// Epochs until a call is over its time, rounded up.
    pub(super) fn deadline(&self) -> u64 {
        let ticks = self.limits.call_timeout.as_millis().div_ceil(TICK.as_millis());
        u64::try_from(ticks).unwrap_or(u64::MAX).saturating_add(1)
    }
}

/// Counts what an instance takes, over all of its memories and tables.
pub(super) struct Usage {
    limits: Limits,
    memory_bytes: usize,
    table_elements: usize,
    /// The limit that was broken first.
    pub(super) broken: Option<String>,
}

impl Usage {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, memory_bytes: 0, table_elements: 0, broken: None }
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
        let fits = total <= self.limits.memory_bytes_max;
        if fits {
            self.memory_bytes = total;
        } else {
            let limit = self.limits.memory_bytes_max >> 20;
            self.broken.get_or_insert(format!("it asked for more than {limit} MiB of memory"));
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
        let fits = total <= self.limits.table_elements_max;
        if fits {
            self.table_elements = total;
        } else {
            let limit = self.limits.table_elements_max;
            self.broken.get_or_insert(format!("it asked for more than {limit} table elements"));
        }
        Ok(fits)
    }
}

/// A call that did not return, in words. Trying again would give the same: permanent.
pub(super) fn failure(error: &wasmtime::Error, usage: &Usage) -> Failure {
    let what = match (error.downcast_ref::<Trap>(), &usage.broken) {
        (Some(Trap::Interrupt), _) => {
            format!("it did not return within {:?}", usage.limits.call_timeout)
        }
        (Some(Trap::StackOverflow), _) => {
            format!("it used more than {} KiB of stack", usage.limits.stack_bytes_max >> 10)
        }
        (_, Some(broken)) => broken.clone(),
        (Some(trap), None) => format!("it trapped: {trap}"),
        (None, None) => format!("its call failed: {error:#}"),
    };
    Failure::Permanent(format!("the plugin was stopped: {what}"))
}
