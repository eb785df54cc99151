//! What if: one decision, decided again with an edited event or by another version, beside the
//! record.

use askama::Template;
use axum::extract::State;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::form::Submitted;
use super::frame::{Frame, Page, Visit};
use super::search::{self, decision_address};
use super::words::{in_lines, indented, too_long_to_edit};
use super::{PageRoute, Pages, form, page};
use crate::access::Permission::Operate;
use crate::api::Needs::ForPlugin;
use crate::api::extract::{Arguments, Filter};
use crate::api::what_if::{self, Decided};
use crate::api::{Problem, Site, find};

const PATH: &str = "/instance/what-if";

pub(super) fn routes() -> Vec<PageRoute> {
    vec![page(PATH, ForPlugin(Operate), show), form(PATH, ForPlugin(Operate), decide)]
}

#[derive(Debug, Deserialize)]
struct Asked {
    plugin: String,
    key: String,
    position: u64,
    /// The digest of a version; empty for the one that decided.
    #[serde(default)]
    digest: String,
    /// Empty for the event that was decided.
    #[serde(default)]
    event: String,
}

/// A version that the store keeps.
struct Version {
    digest: String,
    label: String,
}

#[derive(Template)]
#[template(path = "pages/what_if.html")]
struct WhatIfPage {
    frame: Frame,
    asked: Asked,
    versions: Vec<Version>,
    back: String,
    decided: Option<Shown>,
    problem: Option<Problem>,
}

/// The decision of a version, and where it differs.
struct Shown {
    decided: Decided,
    decision: String,
    differences: Vec<(String, String, String)>,
}

async fn show(
    State(pages): State<Pages>,
    visit: Visit,
    Filter(mut asked): Filter<Asked>,
) -> Result<Page, Problem> {
    visit.caller.check_plugin(&asked.plugin)?;
    visit.caller.check_payloads("a decision has its state and its event")?;
    let at = find::At { position: asked.position };
    let caller = visit.caller.clone();
    let trace = find::event(State(pages.site.clone()), caller, Filter(at)).await;
    // What is decided without another event is the recorded one.
    let edited = trace.ok().filter(|trace| too_long_to_edit(trace.0.event.get()).is_none());
    asked.event = edited.map(|trace| in_lines(trace.0.event.get())).unwrap_or_default();
    render(&pages.site, &visit, asked, None, None).await
}

async fn decide(
    State(pages): State<Pages>,
    visit: Visit,
    Submitted(asked): Submitted<Asked>,
) -> Result<Page, Problem> {
    let given = |text: &String| (!text.trim().is_empty()).then(|| text.clone());
    let event = given(&asked.event).map(RawValue::from_string).transpose();
    let decided = match event {
        Err(error) => Err(Problem::unacceptable("event", format!("event: {error}"))),
        Ok(event) => {
            let request = what_if::WhatIf {
                plugin: asked.plugin.clone(),
                key: asked.key.clone(),
                position: asked.position,
                digest: given(&asked.digest),
                event,
            };
            let caller = visit.caller.clone();
            what_if::decide(State(pages.site.clone()), caller, Arguments(request)).await
        }
    };
    match decided {
        Ok(decided) => {
            let shown = Shown::of(decided.0);
            render(&pages.site, &visit, asked, Some(shown), None).await
        }
        // The form stays, so the reader can correct what it says.
        Err(problem) if [409, 422].contains(&problem.status) => {
            render(&pages.site, &visit, asked, None, Some(problem)).await
        }
        Err(problem) => Err(problem),
    }
}

async fn render(
    site: &Site,
    visit: &Visit,
    asked: Asked,
    decided: Option<Shown>,
    problem: Option<Problem>,
) -> Result<Page, Problem> {
    let kept = site.queries.kept_components().await;
    let kept = kept.map_err(|error| Problem::internal(error.to_string()))?;
    let own = kept.into_iter().filter(|own| own.plugin == asked.plugin);
    let version = |own: crate::store::query::component::KeptComponent| Version {
        label: format!("{} ({})", own.version, own.digest.get(..12).unwrap_or(&own.digest)),
        digest: own.digest,
    };
    Page::of(&WhatIfPage {
        frame: visit.frame(format!("What if: {} of {}", asked.key, asked.plugin), search::PATH),
        back: decision_address(&asked.plugin, &asked.key, asked.position),
        versions: own.map(version).collect(),
        asked,
        decided,
        problem,
    })
}

impl Shown {
    fn of(decided: Decided) -> Self {
        let text = |value: Option<&crate::decisions::json::Json>| {
            value.map_or_else(|| "nothing".to_owned(), ToString::to_string)
        };
        let row = |own: &crate::decisions::json::Difference| {
            (own.place.clone(), text(own.expected.as_ref()), text(own.found.as_ref()))
        };
        Self {
            decision: indented(&decided.decision.to_string()),
            differences: decided.differences.iter().map(row).collect(),
            decided,
        }
    }
}
