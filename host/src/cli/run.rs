//! `sagabox run`: the host itself.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{InputError, output};
use crate::config::{Overrides, Settings};
use crate::host::Host;
use crate::hot::Board;

#[derive(Debug, Args)]
pub struct Run {
    /// Directory with the plugins' components
    plugins: PathBuf,
    /// Configuration file [default: sagabox.toml, if it is there]
    #[arg(long, env = "SAGABOX_CONFIG")]
    config: Option<PathBuf>,
    /// Where everything is kept, such as sqlite:sagabox.db
    #[arg(long, env = "SAGABOX_STORE")]
    store: Option<String>,
    /// Address to serve at; port 0 takes a free one
    #[arg(long, env = "SAGABOX_LISTEN")]
    listen: Option<String>,
    /// Refuse plugins that import anything but Sagabox's own interface: no WASI
    #[arg(long, env = "SAGABOX_STRICT")]
    strict: bool,
}

impl Run {
    pub async fn execute(self) -> anyhow::Result<()> {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
        // Standard output is for what the command says, and for sinks.
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
        // Before anything else: a signal while the host starts must not be lost.
        let signals = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let overrides = Overrides { store: self.store, listen: self.listen, strict: self.strict };
        let settings = Settings::load(self.config.as_deref(), overrides)
            .map_err(|error| InputError(format!("{error:#}")))?;
        let listen = settings.listen.clone();
        let listener = TcpListener::bind(&listen).await;
        let listener = listener.with_context(|| format!("listen on {listen}"))?;
        let host = Host::start(settings, &self.plugins).await?;
        describe(&host.board, &self.plugins);
        output::line(&format!("listening on http://{}", listener.local_addr()?));
        host.serve(listener, stopped(signals)).await?;
        output::line("stopped");
        Ok(())
    }
}

fn describe(board: &Board, directory: &std::path::Path) {
    let serving = board.serving();
    for plugin in &serving {
        let manifest = &plugin.manifest;
        let (name, version, role) = (&manifest.name, &manifest.version, manifest.role.as_str());
        output::line(&format!("loaded {name} {version} ({role}) from {}", plugin.file));
    }
    for refused in board.refused() {
        output::line(&format!("refused {}: {}", refused.file, refused.reason));
    }
    for checking in board.checking() {
        output::line(&format!(
            "checking {}: it serves when the states of its instances have been tried",
            checking.file
        ));
    }
    if serving.is_empty() {
        eprintln!(
            "warning: no plugin serves from {}; events are kept until there is one",
            directory.display()
        );
    }
}

async fn stopped((mut terminate, mut interrupt): (Signal, Signal)) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
