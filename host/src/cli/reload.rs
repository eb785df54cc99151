//! `SIGHUP`: a host that runs takes over what it can of a changed configuration, and says what needs
//! a restart.

use std::path::PathBuf;

use tokio::signal::unix::Signal;

use super::log;
use crate::config::{self, Overrides, Settings};
use crate::host::Reloader;

/// Where the configuration comes from.
pub(super) struct Source {
    pub path: Option<PathBuf>,
    pub overrides: Overrides,
}

/// Reloads at each signal. `settings` are those of the start.
pub(super) async fn at(
    mut signal: Signal,
    reloader: Reloader,
    source: Source,
    mut settings: Settings,
) {
    while signal.recv().await.is_some() {
        match reload(&reloader, &source, &settings) {
            Ok(new) => settings = new,
            Err(error) => {
                tracing::error!("the configuration before stays in use: {error:#}");
            }
        }
    }
}

fn reload(reloader: &Reloader, source: &Source, old: &Settings) -> anyhow::Result<Settings> {
    let new = Settings::load(source.path.as_deref(), source.overrides.clone())?;
    log::set_filter(new.log_filter.as_deref())?;
    reloader.apply(&new)?;
    let changed = old.keys.changed(&new.keys);
    let is_applied = |key: &str| {
        // A section that comes or goes changes how the host listens.
        config::is_applied(key)
            && !(key.starts_with("tls") && old.tls.is_some() != new.tls.is_some())
    };
    let (applied, waiting): (Vec<_>, Vec<_>) = changed.iter().partition(|key| is_applied(key));
    for key in waiting {
        tracing::warn!("`{key}` has changed; restart the host to apply it");
    }
    let names = applied.iter().map(|key| key.as_str()).collect::<Vec<_>>().join(", ");
    tracing::info!(changed = names, "the configuration was reloaded");
    // What waits for a restart stays known as changed.
    let keys = old.keys.clone().with(&new.keys, &applied);
    Ok(Settings { keys, ..new })
}
