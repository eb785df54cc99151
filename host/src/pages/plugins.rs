//! The plugins: which serve, which are tried, which were refused; and for one plugin its limits,
//! the most of them that it has used, and its newest log lines.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use sagabox_engine::model::Effect;
use serde::Deserialize;

use super::frame::{Frame, Page, Visit, html};
use super::live::Parts;
use super::words::{Value, query};
use super::{PageRoute, Pages, page};
use crate::access::Permission::Read;
use crate::api::Needs::ForPlugin;
use crate::api::admin::{self, Log, PluginPage, ServingView};
use crate::api::extract::Filter;
use crate::api::{Caller, Problem, Shared};
use crate::plugins::status::CandidateView;
use crate::plugins::wasm::Line;

pub(super) const PATH: &str = "/plugins";
const LINES: u32 = 100;

pub(super) fn routes() -> Vec<PageRoute> {
    vec![
        page(PATH, ForPlugin(Read), list),
        page("/plugins/live", ForPlugin(Read), live_list),
        page("/plugin", ForPlugin(Read), show),
        page("/plugin/live", ForPlugin(Read), live),
    ]
}

#[derive(Template)]
#[template(path = "pages/plugins.html")]
struct ListPage {
    frame: Frame,
    list: PluginPage,
}

#[derive(Template)]
#[template(path = "pages/plugins_list.html")]
struct ListPart {
    list: PluginPage,
}

#[derive(Clone, Debug, Deserialize)]
struct Asked {
    plugin: String,
}

#[derive(Template)]
#[template(path = "pages/plugin.html")]
struct PluginShown {
    frame: Frame,
    view: ServingView,
    candidates: Vec<CandidateView>,
    /// None if the reader may not see payloads, because lines can have parts of them.
    lines: Option<Vec<Line>>,
}

#[derive(Template)]
#[template(path = "pages/plugin_calls.html")]
struct CallsPart {
    view: ServingView,
}

#[derive(Template)]
#[template(path = "pages/plugin_log.html")]
struct LogPart {
    lines: Option<Vec<Line>>,
}

/// The page of a plugin.
pub(super) fn address(plugin: &str) -> String {
    format!("/plugin?{}", query([("plugin", plugin)]))
}

async fn read(site: &Shared, caller: &Caller) -> Result<PluginPage, Problem> {
    Ok(admin::plugins(State(Arc::clone(site)), caller.clone()).await?.0)
}

async fn list(State(pages): State<Pages>, visit: Visit) -> Result<Page, Problem> {
    let list = read(&pages.site, &visit.caller).await?;
    let frame = visit.frame("Plugins", PATH).with_live("/plugins/live".to_owned());
    Page::of(&ListPage { frame, list })
}

async fn live_list(State(pages): State<Pages>, visit: Visit) -> Result<Response, Problem> {
    let (site, caller) = (Arc::clone(&pages.site), visit.caller.clone());
    pages.live.stream(format!("{PATH} {}", visit.view()), move || {
        let (site, caller) = (Arc::clone(&site), caller.clone());
        async move {
            let list = read(&site, &caller).await?;
            Ok(Parts::from([("plugins", html(&ListPart { list })?)]))
        }
    })
}

async fn one(
    site: &Shared,
    caller: &Caller,
    plugin: &str,
) -> Result<(ServingView, Vec<CandidateView>, Option<Vec<Line>>), Problem> {
    caller.check_plugin(plugin)?;
    let mut list = read(site, caller).await?;
    let at = list.plugins.iter().position(|view| view.plugin.manifest.name.as_str() == plugin);
    let at = at.ok_or_else(|| Problem::not_found(format!("no plugin `{plugin}` serves here")))?;
    let view = list.plugins.swap_remove(at);
    list.candidates.retain(|candidate| candidate.plugin == plugin);
    let lines = match caller.sees_payloads() {
        false => None,
        true => {
            let log = Log {
                plugin: plugin.to_owned(),
                key: None,
                event: None,
                after: None,
                limit: Some(LINES),
            };
            let page = admin::log(State(Arc::clone(site)), caller.clone(), Filter(log)).await?;
            Some(page.0.lines)
        }
    };
    Ok((view, list.candidates, lines))
}

async fn show(
    State(pages): State<Pages>,
    visit: Visit,
    Filter(Asked { plugin }): Filter<Asked>,
) -> Result<Page, Problem> {
    let (view, candidates, lines) = one(&pages.site, &visit.caller, &plugin).await?;
    let live = format!("/plugin/live?{}", query([("plugin", &plugin)]));
    let frame = visit.frame(format!("Plugin {plugin}"), PATH).with_live(live);
    Page::of(&PluginShown { frame, view, candidates, lines })
}

async fn live(
    State(pages): State<Pages>,
    visit: Visit,
    Filter(Asked { plugin }): Filter<Asked>,
) -> Result<Response, Problem> {
    let (site, caller) = (Arc::clone(&pages.site), visit.caller.clone());
    caller.check_plugin(&plugin)?;
    pages.live.stream(format!("/plugin {plugin} {}", visit.view()), move || {
        let (site, caller, plugin) = (Arc::clone(&site), caller.clone(), plugin.clone());
        async move {
            let (view, _, lines) = one(&site, &caller, &plugin).await?;
            Ok(Parts::from([
                ("calls", html(&CallsPart { view })?),
                ("log", html(&LogPart { lines })?),
            ]))
        }
    })
}

impl ServingView {
    /// Milliseconds of a call, on average.
    fn call_millis(&self) -> String {
        match self.calls {
            0 => "none yet".to_owned(),
            #[expect(clippy::cast_precision_loss, reason = "an average for people")]
            calls => format!("{:.2} ms", self.call_seconds * 1000.0 / calls as f64),
        }
    }
}

/// The instances of a plugin.
fn instances_address(plugin: &str) -> String {
    format!("/instances?{}", query([("plugin", plugin)]))
}

/// The causes of a plugin's dead letters.
fn dead_letters_address(plugin: &str) -> String {
    format!("/dead-letters?{}", query([("plugin", plugin)]))
}

/// What a subscription does with an event.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
fn effect(effect: &Effect) -> &'static str {
    match effect {
        Effect::Start => "starts an instance",
        Effect::Handle => "is handled",
        Effect::StartOrHandle => "starts an instance or is handled",
    }
}

/// The used part of a limit, in whole percent.
fn percent(used: impl Value<u64>, allowed: impl Value<u64>) -> u64 {
    let percent = u128::from(used.value()) * 100 / u128::from(allowed.value().max(1));
    u64::try_from(percent).unwrap_or(u64::MAX)
}

/// How close to its limit a plugin has come.
fn level(used: impl Value<u64>, allowed: impl Value<u64>) -> &'static str {
    match percent(used, allowed) {
        90.. => "bad",
        70..90 => "warn",
        _ => "",
    }
}
