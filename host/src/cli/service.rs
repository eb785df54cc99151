//! A host as a service of systemd: it takes the socket that systemd has opened, says when it is ready,
//! when it stops and what it does, and feeds the watchdog. Without systemd all of this does nothing.
//!
//! Source: `sd_notify(3)`, `sd_listen_fds(3)` and `systemd.service(5)`.

use std::net::TcpListener as StdListener;
use std::time::Duration;

use anyhow::Context as _;
use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The socket that systemd passes, or a new one at the address that is configured.
///
/// # Errors
/// If neither can be listened on.
pub(crate) async fn listener(address: &str) -> anyhow::Result<TcpListener> {
    let passed = ListenFd::from_env().take_tcp_listener(0).context("use the socket of systemd")?;
    match passed {
        Some(passed) => from_systemd(passed).context("use the socket of systemd"),
        None => TcpListener::bind(address).await.with_context(|| format!("listen on {address}")),
    }
}

fn from_systemd(socket: StdListener) -> std::io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

/// A service that systemd supervises.
pub(crate) struct Service {
    watchdog: Option<JoinHandle<()>>,
}

impl Service {
    /// Says that the host serves, and feeds the watchdog from now on. `is_alive` answers as long as
    /// the host makes progress; while it does not answer, the watchdog is not fed, and systemd
    /// restarts the host.
    pub(crate) fn ready<F>(status: &str, is_alive: impl Fn() -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        notify(&[NotifyState::Ready, NotifyState::Status(status)]);
        let watchdog = sd_notify::watchdog_enabled().map(|limit| {
            tokio::spawn(async move {
                loop {
                    // Source: `sd_watchdog_enabled(3)` recommends half of the limit.
                    tokio::time::sleep(limit / 2).await;
                    is_alive().await;
                    notify(&[NotifyState::Watchdog]);
                }
            })
        });
        Self { watchdog }
    }

    /// Says that the host drains. systemd waits for at most `drain` more before it kills the
    /// process.
    pub(crate) fn stopping(&self, drain: Duration) {
        if let Some(watchdog) = &self.watchdog {
            watchdog.abort();
        }
        let more = u32::try_from(drain.as_micros()).unwrap_or(u32::MAX);
        notify(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(more)]);
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "notifying systemd failed");
    }
}
