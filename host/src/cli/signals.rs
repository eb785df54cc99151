//! The signals that stop a host: the first one drains it, and the second one ends the process at
//! once. And the one that reloads its configuration.

use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Added to a signal's number, this is the exit code of a process that the signal ended.
const BY_SIGNAL: i32 = 128;

pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on, `stop` receives the signals to stop, and they no longer end the process. Neither
    /// does the signal for a file that has reached the process's limit (`ulimit -f`): the write
    /// fails, as on a full disk.
    ///
    /// # Errors
    /// If the operating system does not let the process listen.
    pub(crate) fn listen() -> io::Result<Self> {
        flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The same, but the second signal ends the process at once with exit code 128 + its number,
    /// even if the process is busy or stuck.
    ///
    /// # Errors
    /// If the operating system does not let the process listen.
    pub(crate) fn listen_once() -> io::Result<Self> {
        let is_stopping = Arc::new(AtomicBool::new(false));
        for number in [SIGTERM, SIGINT] {
            // This handler is registered first: it reads the flag that the handler below sets at
            // the first signal.
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

    /// The signal that reloads the configuration. None where a terminal sends it when a person
    /// closes the terminal: then it ends the process, as it does without this.
    ///
    /// # Errors
    /// If the operating system does not let the process listen.
    pub(crate) fn reload() -> io::Result<Option<Signal>> {
        match io::stdout().is_terminal() {
            true => Ok(None),
            false => signal(SignalKind::hangup()).map(Some),
        }
    }

    /// Waits for the next signal.
    pub(crate) async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
