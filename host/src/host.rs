//! Puts a host together: store, plugins, sinks, lookups, engine, and what is served.
//!
//! The only place where the adapters meet.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::http::HeaderName;
use sagabox_engine::engine::{self, Engine, EngineEnd, Parts, Span};
use sagabox_engine::model::{SinkName, Timestamp};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::access::Secret;
use crate::alerts::{AlertSettings, Alerts};
use crate::api::{self, Access, Site, Tls, Traffic};
use crate::batches::Batches;
use crate::config::{self, LookupSource, Mcp, Settings};
use crate::io::lookup::{HttpLookup, Lookups, Source, Table};
use crate::io::secrets::{Given, Redactor, SecretUrl};
use crate::io::sinks::{self, OwnHeaders};
use crate::mcp;
use crate::pages;
use crate::plugins::again::KeptVersions;
use crate::plugins::factory::PluginFactory;
use crate::plugins::readable::Readability;
use crate::plugins::reload::Loader;
use crate::plugins::status::PluginStatus;
use crate::plugins::wasm::{self, Sandbox};
use crate::store::connect::{ConnectedStore, connect, token_file};
use crate::store::query::access::AccessRecords;
use crate::telemetry::Telemetry;
use crate::telemetry::otlp::{Exporter, Gather};

/// Compiled components are kept here, in the plugins' directory, unless the environment names
/// another folder.
const CACHE: &str = ".cache";

/// The exporter of spans and metrics, and the spans that it waits for.
type Exporting = (Exporter, mpsc::Receiver<Span>);

pub struct Host {
    engine: Engine,
    site: Arc<Site>,
    exporting: Option<Exporting>,
    alerts: Option<AlertSettings>,
    http: api::Settings,
    tls: Option<Arc<Tls>>,
    loader: Loader,
    drain: Duration,
    stop_batches: CancellationToken,
    mcp: Mcp,
    /// What serves and what was refused.
    pub plugin_status: PluginStatus,
    /// The administrator's token, and its file, if this start has created it.
    pub first_token: Option<(Secret, PathBuf)>,
}

impl Host {
    /// Opens and recovers everything. Events are not accepted before `serve`.
    ///
    /// # Errors
    /// Says what cannot be opened, read or loaded.
    pub async fn start(settings: Settings, plugins: &Path) -> anyhow::Result<Self> {
        let url = &settings.store;
        let sandbox = sandbox(&settings, plugins)?;
        let store = connect(url).await.with_context(|| format!("open the store {url}"))?;
        let (access, first_token) = access(&settings, Arc::clone(&store.access_records)).await?;
        // Whatever is opened from here on is none of the store's files.
        let sinks = sinks::open(&settings.sinks)?;
        let lookup = lookups(&settings)?;
        let tls = settings.tls.clone().map(Tls::open).transpose().context("set up TLS")?;
        let factory = factory(&settings, plugins, sandbox.clone(), &store);
        let kept_versions = KeptVersions::of(&factory);
        let loader = Loader::begin(plugins, factory, settings.hot).await?;
        let plugin_status = loader.plugin_status();
        let (telemetry, exporting) = telemetry(&settings)?;
        let parts = Parts {
            store: store.engine,
            handlers: loader.handlers(),
            canaries: loader.canaries(),
            lookup: Arc::new(lookup),
            sinks,
            routes: routes(&settings),
            clock: Arc::new(wall_clock),
            settings: engine::Settings { spans: telemetry.spans.clone(), ..settings.engine },
        };
        let engine = Engine::start(parts).await.context("recover from the store")?;
        let (queries, stop_batches) = (store.queries, CancellationToken::new());
        let clock = Arc::new(wall_clock);
        let (asked, stopped) = (Arc::clone(&queries), stop_batches.clone());
        let site = Arc::new(Site {
            engine: engine.clone(),
            batches: Batches::new(engine.clone(), asked, store.batch_records, clock, stopped),
            queries,
            views: store.view_records,
            plugin_status: plugin_status.clone(),
            directory: plugins.canonicalize().unwrap_or_else(|_| plugins.to_owned()),
            sinks: settings.sinks.into_keys().collect(),
            routes: settings.routes,
            limits: settings.limits,
            access,
            readability: settings.validate.then(|| Readability::new(plugin_status.clone())),
            traffic: Arc::new(Traffic::default()),
            telemetry: Arc::new(telemetry),
            samples: api::Samples::default(),
            kept_versions,
            deciding_again: Semaphore::new(api::what_if::AT_A_TIME),
            sandbox,
            stopping: CancellationToken::new(),
        });
        Ok(Self {
            engine,
            site,
            exporting,
            alerts: settings.alerts,
            http: settings.http,
            tls,
            loader,
            drain: settings.drain,
            stop_batches,
            mcp: settings.mcp,
            plugin_status,
            first_token,
        })
    }

    /// What takes over a changed configuration while the host runs.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        Reloader { access: Arc::clone(&self.site.access), tls: self.tls.clone() }
    }

    /// What shows a supervisor that the host makes progress.
    #[must_use]
    pub fn heartbeat(&self) -> Heartbeat {
        Heartbeat(self.engine.clone())
    }

    /// Serves until `shutdown`, or until the engine ends by itself, then drains within the
    /// configured time. What does not end in time is in the store and goes on with the next
    /// start.
    ///
    /// # Errors
    /// If the store is no longer this host's.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> anyhow::Result<()> {
        let stop = CancellationToken::new();
        let stopping = {
            let stop = stop.clone();
            async move {
                tokio::select! {
                    () = shutdown => stop.cancel(),
                    () = stop.cancelled() => {}
                }
            }
        };
        let stop_loading = CancellationToken::new();
        // Dropped when this returns, however it does.
        let _stopping = stop_loading.clone().drop_guard();
        let _batches_stop = self.stop_batches.clone().drop_guard();
        let batches = self.site.batches.clone();
        batches.go_on().await.context("continue the batches")?;
        let loading = self.loader.run(self.engine.clone(), batches, stop_loading.clone());
        tokio::spawn(loading);
        spawn_upkeep(&self.site, &stop_loading);
        if let Some(settings) = self.alerts {
            let (engine, telemetry) = (self.engine.clone(), Arc::clone(&self.site.telemetry));
            let plugin_status = self.plugin_status.clone();
            let alerts = Alerts { settings, engine, plugin_status, telemetry };
            tokio::spawn(alerts.run(stop_loading.clone()));
        }
        let stop_exporting = CancellationToken::new();
        let exporting = self.exporting.map(|(exporter, spans)| {
            let gather = gather(&self.site);
            tokio::spawn(exporter.run(spans, gather, stop_exporting.clone()))
        });
        let mut beside = pages::beside(&self.site);
        if self.mcp != Mcp::Off {
            beside.served.push(mcp::served(&self.site, self.mcp == Mcp::Operate));
        }
        let serving = api::serve(listener, self.site, beside, self.http, self.tls, stopping);
        let mut server = tokio::spawn(serving);
        tokio::select! {
            biased;
            // Before the server can end: what is under way is drained in any case.
            () = stop.cancelled() => {}
            // It has lost its store. Requests that wait are answered all the same.
            _ = self.engine.ended() => stop.cancel(),
            ended = &mut server => return Ok(ended?),
        }
        tracing::info!("the host is stopping; a second signal stops it immediately");
        stop_loading.cancel();
        self.stop_batches.cancel();
        // The engine ends waiting calls, and so lets the server's requests end.
        let deadline = tokio::time::Instant::now() + self.drain;
        let end = self.engine.drain_within(self.drain).await;
        let served = tokio::time::timeout_at(deadline, &mut server).await;
        if end == EngineEnd::CutOff || served.is_err() {
            tracing::warn!(
                "not all work ended within {:?}; it continues at the next start",
                self.drain
            );
            server.abort();
        }
        end_exporting(exporting, stop_exporting).await;
        ended_in_order(end)
    }
}

/// The sandbox of this host's plugins. Its cache is hidden, so that it is not taken for a plugin. A
/// user who can write there can write plugins as well.
fn sandbox(settings: &Settings, plugins: &Path) -> anyhow::Result<Sandbox> {
    let cache = wasm::CacheSettings::of_host(plugins.join(CACHE));
    Sandbox::new(wasm::Settings { cache, ..settings.sandbox.clone() })
}

fn factory(
    settings: &Settings,
    plugins: &Path,
    sandbox: Sandbox,
    store: &ConnectedStore,
) -> PluginFactory {
    PluginFactory {
        directory: plugins.to_owned(),
        sandbox,
        configurations: settings.configurations(),
        records: Arc::clone(&store.plugin_records),
        queries: Arc::clone(&store.queries),
        clock: Arc::new(wall_clock),
    }
}

fn routes(settings: &Settings) -> BTreeMap<String, SinkName> {
    let routes = settings.routes.clone().into_iter();
    routes.map(|(kind, sink)| (kind, SinkName::from(sink))).collect()
}

/// Starts the tasks that keep records and samples up to date until `stop`.
fn spawn_upkeep(site: &Arc<Site>, stop: &CancellationToken) {
    let (of_records, tidying) = (Arc::clone(site), stop.clone());
    tokio::spawn(async move {
        let tidy = tidy(&of_records.access, &of_records.batches);
        tidying.run_until_cancelled(tidy).await
    });
    let (sampled, sampling) = (Arc::clone(site), stop.clone());
    tokio::spawn(async move { sampling.run_until_cancelled(api::samples::take(&sampled)).await });
    let (of_callers, looking) = (Arc::clone(site), stop.clone());
    tokio::spawn(async move { looking.run_until_cancelled(of_callers.access.look_again()).await });
}

/// How an exporter gets the current metrics.
fn gather(site: &Arc<Site>) -> Gather {
    let site = Arc::clone(site);
    Arc::new(move || {
        let site = Arc::clone(&site);
        Box::pin(async move { api::gather(&site).await })
    })
}

/// Lets the exporter send what is left. A receiver that does not answer delays the end by so much
/// at most.
async fn end_exporting(exporting: Option<JoinHandle<()>>, stop: CancellationToken) {
    const PATIENCE: Duration = Duration::from_secs(3);
    stop.cancel();
    if let Some(exporting) = exporting {
        let abort = exporting.abort_handle();
        if tokio::time::timeout(PATIENCE, exporting).await.is_err() {
            abort.abort();
        }
    }
}

/// Writes from time to time when tokens were used, and removes old audit entries and batches.
async fn tidy(access: &Access, batches: &Batches) {
    const INTERVAL: Duration = Duration::from_mins(1);
    loop {
        tokio::time::sleep(INTERVAL).await;
        if let Err(error) = access.tidy().await {
            tracing::warn!(%error, "the records of tokens cannot be written");
        }
        // A batch is part of the record of what operators did.
        if let Some(before) = access.records_from()
            && let Err(error) = batches.expire(before).await
        {
            tracing::warn!(%error, "old batches cannot be removed");
        }
    }
}

/// Opens the records of tokens, and creates the administrator's token where one is needed.
async fn access(
    settings: &Settings,
    records: Arc<dyn AccessRecords>,
) -> anyhow::Result<(Arc<Access>, Option<(Secret, PathBuf)>)> {
    let access = Access::open(records, settings.access.clone(), Arc::new(wall_clock)).await?;
    let first_token = match settings.access.local_without_token {
        true => None,
        false => first_token(&access, &settings.store).await?,
    };
    Ok((access, first_token))
}

/// Creates the administrator's token, if no administrator can use the host.
async fn first_token(access: &Access, url: &str) -> anyhow::Result<Option<(Secret, PathBuf)>> {
    if access.has_administrator() {
        return Ok(None);
    }
    let file = token_file(url).context("the store has no place for the administrator's token")?;
    let secret = Secret::generate()?;
    // The file comes first: a token that is nowhere to be read would lock everyone out.
    keep_secret(&file, &secret).with_context(|| format!("write {}", file.display()))?;
    access.add_first(&secret).await?;
    Ok(Some((secret, file)))
}

/// Its owner alone can read the file, from its beginning on.
fn keep_secret(path: &Path, secret: &Secret) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{}", secret.expose())?;
    file.sync_all()
}

/// The parts of a host whose settings can change while it runs.
pub struct Reloader {
    access: Arc<Access>,
    tls: Option<Arc<Tls>>,
}

impl Reloader {
    /// Takes over what can be applied without a restart. TLS that comes or goes needs one.
    ///
    /// # Errors
    /// Says what is at fault. The parts before it have changed.
    pub fn apply(&self, settings: &Settings) -> anyhow::Result<()> {
        if let (Some(tls), Some(new)) = (&self.tls, &settings.tls) {
            tls.reload(new.clone()).context("tls")?;
        }
        self.access.reload(&settings.access)
    }
}

/// A log line by which a serving host shows that it runs.
#[derive(Clone)]
pub struct Heartbeat(Engine);

impl Heartbeat {
    /// Ends as soon as the engine has answered, which it does without the store: a full disk is
    /// no reason to restart a host.
    pub async fn beat(self) {
        let _ = self.0.status().await;
    }
}

/// A host that has lost its store ends with an error: its supervisor must notice.
fn ended_in_order(end: EngineEnd) -> anyhow::Result<()> {
    match end {
        EngineEnd::Drained | EngineEnd::CutOff => Ok(()),
        EngineEnd::Fenced(reason) => {
            anyhow::bail!("the store is no longer this host's, so it has stopped: {reason}")
        }
    }
}

/// What is measured, and what exports it if the settings have a destination.
fn telemetry(settings: &Settings) -> anyhow::Result<(Telemetry, Option<Exporting>)> {
    let settings = settings.telemetry.as_ref();
    let (telemetry, spans) = Telemetry::new(settings);
    let exporter =
        settings.map(|settings| Exporter::new(settings, Arc::clone(&telemetry.exported)));
    let exporting = exporter.transpose().context("set up telemetry")?.zip(spans);
    Ok((telemetry, exporting))
}

fn lookups(settings: &Settings) -> anyhow::Result<Lookups> {
    let mut lookups = Lookups::default();
    for (name, lookup) in &settings.lookups {
        let source = match &lookup.source {
            LookupSource::Url { template, timeout, headers } => {
                let made = http_lookup(template, *timeout, headers);
                Source::Http(made.with_context(|| format!("set up lookup.{name}"))?)
            }
            LookupSource::Table(path) => {
                Source::Table(Table::open(path).with_context(|| format!("lookup.{name}"))?)
            }
        };
        lookups.add(name, source, lookup.plugins.iter().cloned());
    }
    Ok(lookups)
}

fn http_lookup(
    template: &Given,
    timeout: Duration,
    headers: &[(HeaderName, Given)],
) -> anyhow::Result<HttpLookup> {
    let template = template.read().map_err(|reason| anyhow::anyhow!("url: {reason}"))?;
    config::check_template(template.expose()).map_err(|reason| anyhow::anyhow!("url: {reason}"))?;
    let mut hidden = Redactor::default();
    if let Ok(url) = SecretUrl::parse(template.expose()) {
        hidden.hide_url(url.expose());
    }
    let headers = OwnHeaders::read(headers.to_vec(), hidden).map_err(anyhow::Error::msg)?;
    Ok(HttpLookup::new(&template, timeout, headers)?)
}

fn wall_clock() -> Timestamp {
    Timestamp(u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0))
}
