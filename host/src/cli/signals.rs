//! How a host is asked to stop: once, and it ends what is under way; twice, and it is gone.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a shell says of a process that a signal ended.
const BY_SIGNAL: i32 = 128;

pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on, signals to stop are waited for by `stop` and end nothing by themselves.
    ///
    /// # Errors
    /// If the operating system does not let the process listen.
    pub(crate) fn listen() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The same, but the second signal ends the process at once with 128 + its number: also
    /// if the process is busy, or stuck.
    ///
    /// # Errors
    /// If the operating system does not let the process listen.
    pub(crate) fn listen_once() -> io::Result<Self> {
        let is_stopping = Arc::new(AtomicBool::new(false));
        for number in [SIGTERM, SIGINT] {
            // In this order: the first signal sets what the second finds.
            flag::register_conditional_shutdown(
                number,
                BY_SIGNAL + number,
                Arc::clone(&is_stopping),
            )?;
        }
        for number in [SIGTERM, SIGINT] {
            flag::register(number, Arc::clone(&is_stopping))?;
        }
        Self::listen()
    }

    /// Waits for the next signal.
    pub(crate) async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
