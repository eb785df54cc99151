//! `[limits]`: which limits there are, and what each is when the file does not say it.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::time::Duration;

use sagabox_engine::engine;
use serde::Deserialize;
use toml::Spanned;

use super::file::Fault;
use super::outside::TIMEOUT_MS;
use crate::api;
use crate::plugins::wasm::{self, Said as _, call_limits};

/// The most bytes of a request. A larger batch takes longer than clients and proxies usually
/// wait.
const BODY_BYTES: usize = 4 * 1024 * 1024;
/// The longest that one request for many dead letters works. A client that waits longer may give
/// up and would not know what was done.
pub(super) const BULK_TIME: Duration = Duration::from_secs(10);
const BATCH_EVENTS: usize = 10_000;
/// The time to drain. Orchestrators commonly kill a process after 30 seconds.
const DRAIN: Duration = Duration::from_secs(20);

/// `[limits]` has the limits of the host and the default limits of a call for all plugins.
/// `[plugin.….limits]` has only the limits of a call. They are two structs, so that each refuses
/// unknown names, and one list, so that they cannot differ.
macro_rules! limits {
    (
        host { $($host:ident: $host_type:ty,)* }
        call {
            $($(#[$doc:meta])* $call:ident: $said:ty, $field:ident = $default:expr, $measure:expr,
                $effect:literal, $test:literal;)*
        }
    ) => {
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct Limits {
            $($host: Option<$host_type>,)*
            $($call: Option<Spanned<$said>>,)*
        }

        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct CallLimits {
            $($call: Option<Spanned<$said>>,)*
        }

        impl Limits {
            /// As the defaults of all plugins.
            fn of_calls(&self) -> CallLimits {
                CallLimits { $($call: self.$call.clone(),)* }
            }
        }

        impl CallLimits {
            /// A limit that the section does not have is that of `default`.
            fn or(&self, default: &wasm::Limits) -> wasm::Limits {
                wasm::Limits {
                    $($field: match &self.$call {
                        Some(said) => said.get_ref().limit(),
                        None => default.$field,
                    },)*
                }
            }
        }
    };
}

call_limits!(limits! {
    host {
        body_bytes: NonZeroUsize,
        batch_events: NonZeroUsize,
        shards: NonZeroUsize,
        lookup_timeout_ms: Spanned<u64>,
        drain_ms: u64,
        instance_bytes: usize,
        held_bytes: usize,
        backlog_events: NonZeroU64,
        hops: NonZeroU32,
        stack_bytes: Spanned<usize>,
        component_bytes: NonZeroUsize,
        compile_time_ms: NonZeroU64,
        compile_memory_bytes: NonZeroUsize,
    }
});

impl CallLimits {
    /// The limits of one plugin's calls.
    pub(super) fn resolve(&self, default: &wasm::Limits) -> Result<wasm::Limits, Fault> {
        let limits = self.or(default);
        if limits.memory_bytes > wasm::MEMORY_BYTES_MAX {
            let reason = format!(
                "memory_bytes: is {}; at most {} can be addressed",
                limits.memory_bytes,
                wasm::MEMORY_BYTES_MAX
            );
            return Err(Fault { span: self.memory_bytes.as_ref().map(Spanned::span), reason });
        }
        Ok(limits)
    }
}

impl Limits {
    pub(super) fn of_requests(&self) -> api::Limits {
        api::Limits {
            body_bytes: self.body_bytes.map_or(BODY_BYTES, NonZeroUsize::get),
            batch_events: self.batch_events.map_or(BATCH_EVENTS, NonZeroUsize::get),
            bulk_time: BULK_TIME,
        }
    }

    pub(super) fn drain(&self) -> Duration {
        self.drain_ms.map_or(DRAIN, Duration::from_millis)
    }

    /// All of the sandbox but the limits of single plugins.
    pub(super) fn sandbox(&self) -> Result<wasm::Settings, Fault> {
        Ok(wasm::Settings {
            limits: self.of_calls().resolve(&wasm::Limits::default())?,
            stack_bytes: stack_bytes(self.stack_bytes.as_ref())?,
            component_bytes: self.component_bytes.map_or(wasm::COMPONENT_BYTES, NonZeroUsize::get),
            compile: self.compile(),
            ..wasm::Settings::default()
        })
    }

    fn compile(&self) -> wasm::CompileLimits {
        let default = wasm::CompileLimits::default();
        let time = self.compile_time_ms.map(|ms| Duration::from_millis(ms.get()));
        wasm::CompileLimits {
            time: time.unwrap_or(default.time),
            memory_bytes: self.compile_memory_bytes.map_or(default.memory_bytes, NonZeroUsize::get),
        }
    }

    /// The engine's settings, without those of other sections.
    pub(super) fn engine(&self) -> Result<engine::Settings, Fault> {
        let default = engine::Settings::default();
        let key = "limits.lookup_timeout_ms";
        let lookup_timeout = super::work::millis(key, self.lookup_timeout_ms.as_ref(), TIMEOUT_MS)?;
        Ok(engine::Settings {
            shards: self.shards.map_or(default.shards, NonZeroUsize::get),
            lookup_timeout: lookup_timeout.unwrap_or(default.lookup_timeout),
            backlog_max: self.backlog_events.map_or(default.backlog_max, NonZeroU64::get),
            instance_bytes_max: self.instance_bytes.unwrap_or(default.instance_bytes_max),
            held_bytes_max: self.held_bytes.unwrap_or(default.held_bytes_max),
            hops_max: self.hops.map_or(default.hops_max, NonZeroU32::get),
            ..default
        })
    }
}

fn stack_bytes(said: Option<&Spanned<usize>>) -> Result<usize, Fault> {
    /// A call with a smaller stack can do nothing.
    const MIN: usize = 16 << 10;
    let Some(said) = said else { return Ok(wasm::STACK_BYTES) };
    let bytes = *said.get_ref();
    if (MIN..=wasm::STACK_BYTES_MAX).contains(&bytes) {
        return Ok(bytes);
    }
    let max = wasm::STACK_BYTES_MAX;
    let reason = format!("limits.stack_bytes: is {bytes}; accepted are {MIN} to {max}");
    Err(Fault::at(said.span(), reason))
}
