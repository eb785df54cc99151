//! What operators look at: instances, dead letters and accounts, read from the
//! store beside the engine. Reads only.
//!
//! Lists are pages (`paging`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use sagabox_engine::model::{Manifest, Pause, Target};
use sagabox_engine::pure::histogram::Distribution;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::caller::Caller;
use super::extract::Filter;
use super::filter::{RequestFilter, dead_letter_filter};
use super::instance_filter::instance_filter;
use super::paging::{self, limit};
use super::problem::Problem;
use super::{Shared, Site, deliveries, fields, hidden};
use crate::plugins::status::{CandidateView, CheckingView, PluginView, RefusedView};
use crate::plugins::topology::Topology;
use crate::plugins::wasm::{LimitUse, Line};
use crate::store::query::component::KeptComponent;
use crate::store::query::rows::{
    Accounts, CauseFilter, CauseRow, DeadLetterRow, InstanceDetail, InstanceFilter, InstanceRow,
    Page, PausedAccount,
};

instance_filter! {
    pub(crate) struct Instances {
        /// A field, and `-` before it for the other way round. Without it, a list by status or age
        /// begins with the running instance that was started first.
        pub order: Option<String>,
        /// Where the page before ended.
        pub after: Option<String>,
        #[param(minimum = 1, maximum = 1000)]
        pub limit: Option<u32>,
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct Instance {
    pub plugin: String,
    pub key: String,
    /// Where the page of its history before ended.
    pub after: Option<String>,
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

dead_letter_filter! {
    pub(crate) struct DeadLetters {
        /// Where the page before ended.
        pub after: Option<String>,
        #[param(minimum = 1, maximum = 1000)]
        pub limit: Option<u32>,
    }
}

// Written as they are: what is JSON in the store already would be read again on the way
// into a `Value`, and not all that was accepted can be read so.

#[derive(Serialize, ToSchema)]
pub(crate) struct InstancePage {
    pub instances: Vec<InstanceRow>,
    pub next: Option<String>,
    /// Whether the fields are left out, because the caller may not see payloads.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    payloads_hidden: bool,
}

#[derive(Serialize, ToSchema)]
#[schema(as = DeadLetterPage)]
pub(crate) struct DeadLetterPage {
    pub dead_letters: Vec<DeadLetterRow>,
    pub next: Option<String>,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct Causes {
    pub plugin: Option<String>,
    /// Where the page before ended: its `next`.
    pub after: Option<String>,
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = DeadLetterCausePage)]
pub(crate) struct CausePage {
    /// Those with the most dead letters first.
    pub causes: Vec<CauseRow>,
    pub next: Option<String>,
    /// False if there are so many open dead letters that only some are counted.
    pub exact: bool,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    pub plugin: String,
    /// Lines of calls for this key alone.
    pub key: Option<String>,
    /// Lines of calls for the event with this id alone.
    pub event: Option<String>,
    /// Where the page before ended: its `next`.
    pub after: Option<String>,
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct LogPage {
    /// The newest first.
    pub lines: Vec<Line>,
    pub next: Option<String>,
}

// Written as they are: what differs between two versions are payloads, and not all that can
// be in one can be read into a `Value`.

#[derive(Serialize, ToSchema)]
pub(crate) struct PluginPage {
    #[schema(value_type = String)]
    pub directory: PathBuf,
    pub plugins: Vec<ServingView>,
    pub candidates: Vec<CandidateView>,
    pub refused: Vec<RefusedView>,
    pub checking: Vec<CheckingView>,
    /// Files of the plugin directory that are not named as components.
    pub left_out: Vec<String>,
    /// Components that have decided, as long as decisions of theirs are kept.
    pub kept: Vec<KeptComponent>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ServingPlugin)]
pub(crate) struct ServingView {
    #[serde(flatten)]
    pub plugin: PluginView,
    /// By status; of a process manager.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, u64>>)]
    pub instances: Option<BTreeMap<&'static str, u64>>,
    /// Completed calls of it since the host started.
    pub calls: u64,
    /// Wall-clock time of these calls.
    pub call_seconds: f64,
    /// The limits of its calls, and the most that a call has used.
    pub limits: Vec<LimitUse>,
}

/// What serves, with how many instances each process manager has; what was refused, and
/// why; and what is being tried, beside what serves or on instances.
pub(crate) async fn plugins(
    State(site): State<Shared>,
    caller: Caller,
) -> Result<Json<PluginPage>, Problem> {
    let mut plugins = Vec::new();
    let calls = site.engine.status().await.calls;
    let serving = site.plugin_status.serving().into_iter();
    for plugin in serving.filter(|plugin| caller.sees_plugin(plugin.manifest.name.as_str())) {
        let mut instances = None;
        if plugin.manifest.role.has_instances() {
            let name = plugin.manifest.name.as_str();
            instances = Some(site.queries.instance_counts(name).await.map_err(unreadable)?);
        }
        let name = &plugin.manifest.name;
        let totals = calls.iter().find(|(plugin, _)| plugin == name).map(|(_, totals)| totals);
        plugins.push(ServingView {
            instances,
            calls: totals.map_or(0, Distribution::count),
            call_seconds: totals.map_or(0.0, |totals| totals.sum().as_secs_f64()),
            limits: site.sandbox.limits_used(name.as_str()),
            plugin,
        });
    }
    let plugin_status = &site.plugin_status;
    let mut candidates = plugin_status.candidates();
    candidates.retain(|candidate| caller.sees_plugin(&candidate.plugin));
    if !caller.sees_payloads() {
        candidates.iter_mut().for_each(|candidate| candidate.differences.clear());
    }
    let mut kept = site.queries.kept_components().await.map_err(unreadable)?;
    kept.retain(|component| caller.sees_plugin(&component.plugin));
    let mut page = PluginPage {
        directory: site.directory.clone(),
        plugins,
        candidates,
        refused: Vec::new(),
        checking: Vec::new(),
        left_out: Vec::new(),
        kept,
    };
    // A file that does not serve has no name of a plugin yet.
    if caller.check_whole().is_ok() {
        page.refused = plugin_status.refused();
        page.checking = plugin_status.checking();
        page.left_out = plugin_status.left_out();
    }
    Ok(Json(page))
}

pub(crate) async fn instances(
    State(site): State<Shared>,
    caller: Caller,
    Filter(list): Filter<Instances>,
) -> Result<Json<InstancePage>, Problem> {
    instances_within(&site, &caller, list, None).await.map(Json)
}

/// `scan_time`: how long the list looks for its rows; none for as long as lists do.
pub(crate) async fn instances_within(
    site: &Site,
    caller: &Caller,
    list: Instances,
    scan_time: Option<Duration>,
) -> Result<InstancePage, Problem> {
    let limit = limit(list.limit)?;
    let filter = selected(site, caller, &list).await?;
    let filter = InstanceFilter { limit, scan_time, ..filter };
    let page = site.queries.instances(&filter).await.map_err(unreadable)?;
    let Page { rows: mut instances, next } = page;
    let declared = fields::declared(site, &filter.plugin);
    for row in &mut instances {
        row.summary = fields::summary(declared.as_ref(), row.fields.as_deref());
        if !caller.sees_payloads() {
            hidden::row(row);
        }
    }
    Ok(InstancePage { instances, next, payloads_hidden: !caller.sees_payloads() })
}

/// What a list is asked for, if the caller may ask for it.
pub(super) async fn selected(
    site: &Site,
    caller: &Caller,
    list: &Instances,
) -> Result<InstanceFilter, Problem> {
    caller.check_plugin(&list.plugin)?;
    plugin_exists(site, &list.plugin).await?;
    if list.condition.is_some() || list.order.is_some() {
        caller.check_payloads("where and order select by parts of states")?;
    }
    let filter = InstanceFilter {
        plugin: list.plugin.clone(),
        status: list.status,
        age: list.times().age(site.now())?,
        after: list.after.clone(),
        ..InstanceFilter::default()
    };
    fields::select(site, filter, list.condition.as_deref(), list.order.as_deref())
}

/// How many instances a list has, counted up to `most`, and whether these are all.
pub(crate) async fn counted_to(
    site: &Site,
    caller: &Caller,
    list: &Instances,
    most: u32,
    scan_time: Duration,
) -> Result<(u64, bool), Problem> {
    let filter = selected(site, caller, list).await?;
    let scan_time = Some(scan_time);
    let filter = InstanceFilter { after: None, limit: most, scan_time, ..filter };
    let counted = site.queries.count_instances(&filter).await.map_err(unreadable)?;
    Ok((counted.counts.values().sum(), counted.next.is_none()))
}

pub(crate) async fn instance(
    State(site): State<Shared>,
    caller: Caller,
    Filter(asked): Filter<Instance>,
) -> Result<Json<InstanceDetail>, Problem> {
    let Instance { plugin, key, after, limit: given } = asked;
    let limit = limit(given)?;
    caller.check_plugin(&plugin)?;
    plugin_exists(&site, &plugin).await?;
    let after = after.as_deref().map(paging::place).transpose()?;
    let found = site.queries.instance(&plugin, &key, after, limit).await.map_err(unreadable)?;
    let missing = || Problem::not_found(format!("{plugin} has no instance `{key}`"));
    let mut detail = found.ok_or_else(missing)?;
    let declared = fields::declared(&site, &plugin);
    detail.summary = fields::summary(declared.as_ref(), detail.fields.as_deref());
    detail.paused = why_paused(&site, &plugin, &key);
    let decided = detail.history.iter().map(|row| (row.position.0, &row.summary));
    let sent = deliveries::of_decisions(&site, (&plugin, &key), decided).await?;
    for (row, sent) in detail.history.iter_mut().zip(sent) {
        row.deliveries = sent;
    }
    if !caller.sees_payloads() {
        hidden::instance(&mut detail);
    }
    Ok(Json(detail))
}

pub(crate) async fn dead_letters(
    State(site): State<Shared>,
    caller: Caller,
    Filter(list): Filter<DeadLetters>,
) -> Result<Json<DeadLetterPage>, Problem> {
    let limit = limit(list.limit)?;
    let after = paging::after(list.after.as_deref())?;
    let filter = list.filter();
    filter.check(&site, &caller).await?;
    let page = site.queries.dead_letters(&filter.stored(after, limit)).await;
    let Page { rows: mut dead_letters, next } = page.map_err(unreadable)?;
    if !caller.sees_payloads() {
        dead_letters.iter_mut().for_each(hidden::dead_letter);
    }
    Ok(Json(DeadLetterPage { dead_letters, next: next.map(|id| id.to_string()) }))
}

pub(crate) async fn causes(
    State(site): State<Shared>,
    caller: Caller,
    Filter(Causes { plugin, after, limit: given }): Filter<Causes>,
) -> Result<Json<CausePage>, Problem> {
    let limit = limit(given)?;
    let after = paging::after(after.as_deref())?;
    match &plugin {
        None => caller.check_whole()?,
        Some(plugin) => {
            caller.check_plugin(plugin)?;
            plugin_exists(&site, plugin).await?;
        }
    }
    let filter = CauseFilter { plugin, after, limit };
    let page = site.queries.causes(&filter).await.map_err(unreadable)?;
    let next = page.causes.next.map(|next| next.to_string());
    Ok(Json(CausePage { causes: page.causes.rows, next, exact: page.is_exact }))
}

/// By the manifests of the plugins that serve.
pub(crate) async fn topology(State(site): State<Shared>) -> Json<Topology> {
    let manifests: Vec<Manifest> =
        site.plugin_status.serving().into_iter().map(|plugin| plugin.manifest).collect();
    Json(Topology::new(&manifests, &site.routes))
}

/// Of the lines that are in memory. A plugin logs what it likes, also parts of payloads.
pub(crate) async fn log(
    State(site): State<Shared>,
    caller: Caller,
    Filter(Log { plugin, key, event, after, limit: given }): Filter<Log>,
) -> Result<Json<LogPage>, Problem> {
    let limit = limit(given)? as usize;
    let before = after.as_deref().map(paging::place::<u64>).transpose()?;
    caller.check_plugin(&plugin)?;
    caller.check_payloads("lines of a plugin's log can have parts of payloads")?;
    plugin_exists(&site, &plugin).await?;
    let is_meant = |line: &Line| {
        before.is_none_or(|before| line.number < before)
            && key.as_ref().is_none_or(|key| line.key.as_ref() == Some(key))
            && event.as_ref().is_none_or(|event| line.event.as_ref() == Some(event))
    };
    let mut lines: Vec<Line> =
        site.sandbox.lines().of(&plugin).into_iter().filter(is_meant).take(limit + 1).collect();
    let is_last = lines.len() <= limit;
    lines.truncate(limit);
    let next = lines.last().filter(|_| !is_last).map(|line| line.number.to_string());
    Ok(Json(LogPage { lines, next }))
}

pub(crate) async fn accounts(State(site): State<Shared>) -> Result<Json<Accounts>, Problem> {
    Ok(Json(accounts_of(&site).await?))
}

pub(super) async fn accounts_of(site: &Site) -> Result<Accounts, Problem> {
    let mut accounts = site.queries.accounts().await.map_err(unreadable)?;
    accounts.differing_duplicates = site.traffic.differing();
    accounts.paused = site.engine.paused().into_iter().map(paused).collect();
    // A plugin that was loaded since gets them from the log.
    let serving = site.plugin_status.serving();
    let subscriptions = || serving.iter().flat_map(|plugin| &plugin.manifest.subscriptions);
    accounts.untaken.retain(|untaken| {
        !subscriptions().any(|subscription| subscription.event_type == untaken.event_type)
    });
    Ok(accounts)
}

fn paused(pause: Pause) -> PausedAccount {
    let (kind, name) = pause.target.kind_and_name();
    PausedAccount { kind, name, reason: pause.reason }
}

/// Why an operator has paused an instance, or its plugin.
fn why_paused(site: &Site, of: &str, of_key: &str) -> Option<String> {
    let mut pauses = site.engine.paused().into_iter();
    let pause = pauses.find(|pause| match &pause.target {
        Target::Plugin { plugin } => plugin.as_str() == of,
        Target::Key { plugin, key } => plugin.as_str() == of && key.as_str() == of_key,
        Target::Ingest | Target::Sink { .. } | Target::Type { .. } => false,
    });
    pause.map(|pause| pause.reason)
}

/// A plugin that serves, or has served here before.
pub(super) async fn plugin_exists(site: &Site, name: &str) -> Result<(), Problem> {
    let serving = site.plugin_status.serving();
    if serving.iter().any(|plugin| plugin.manifest.name.as_str() == name) {
        return Ok(());
    }
    let mut known = site.queries.plugins().await.map_err(unreadable)?;
    if known.contains(name) {
        return Ok(());
    }
    known.extend(serving.iter().map(|plugin| plugin.manifest.name.to_string()));
    Err(Problem::not_found(format!("no plugin `{name}` has served here; {}", there_are(&known))))
}

/// A sink that is configured, or a sink or queue that has had messages.
pub(super) async fn sink_exists(site: &Site, name: &str) -> Result<(), Problem> {
    if site.sinks.contains(name) {
        return Ok(());
    }
    let mut known = site.queries.sinks().await.map_err(unreadable)?;
    if known.contains(name) {
        return Ok(());
    }
    known.extend(site.sinks.iter().cloned());
    Err(Problem::not_found(format!("no sink `{name}` is known; {}", there_are(&known))))
}

fn there_are(names: &BTreeSet<String>) -> String {
    /// Of a long list, the rest says nothing to a person.
    const SHOWN: usize = 20;
    if names.is_empty() {
        return "none exist".to_owned();
    }
    let shown: Vec<_> = names.iter().take(SHOWN).map(String::as_str).collect();
    let more = if names.len() > SHOWN { ", …" } else { "" };
    format!("known: {}{more}", shown.join(", "))
}

pub(crate) fn unreadable(error: impl Display) -> Problem {
    Problem::internal(format!("read the store: {error:#}"))
}

/// What was asked for is not in the store: its disk may be full, and the caller can repeat the request.
pub(super) fn unwritten(error: impl Display) -> Problem {
    Problem::unavailable(format!("write to the store: {error:#}"))
}
