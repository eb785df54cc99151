//! Scenario files: YAML, of which JSON is a part. A file holds a list of scenarios.
//!
//! What the members mean is in docs/scenarios.md.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use sagabox_engine::model::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::files;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it shows, as a claim.
    pub scenario: String,
    /// Which plugin of the component; needed if it has several.
    pub plugin: Option<String>,
    #[serde(default)]
    pub given: Given,
    #[serde(default)]
    pub steps: Vec<Step>,
    /// A single step may stand without a list.
    pub when: Option<When>,
    pub then: Option<Then>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// The plugin's section of the host's configuration.
    #[serde(default)]
    pub configuration: Map<String, Value>,
    pub now: Option<String>,
    pub key: Option<String>,
    pub state: Option<Value>,
    /// That of the manifest, if it is not said: an older one is migrated.
    pub state_version: Option<u32>,
    #[serde(default)]
    pub claims: Vec<String>,
    /// Name to the time until it is due.
    #[serde(default)]
    pub timers: BTreeMap<String, String>,
    /// Lookup to key to answer; null if it knows nothing.
    #[serde(default)]
    pub lookups: BTreeMap<String, BTreeMap<String, Value>>,
    /// Subject to its events.
    #[serde(default)]
    pub streams: BTreeMap<String, Vec<When>>,
    /// Handled before; what they lead to is not looked at, but they must not fail.
    #[serde(default)]
    pub events: Vec<When>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    pub when: When,
    pub then: Option<Then>,
}

/// What happens: an event, or one of the things that the host tells an instance.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// How much time has passed since the step before.
    pub after: Option<String>,
    pub attempt: Option<u32>,
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    pub id: Option<String>,
    pub source: Option<String>,
    pub subject: Option<String>,
    pub time: Option<String>,
    pub datacontenttype: Option<String>,
    #[serde(default)]
    pub extensions: BTreeMap<String, String>,
    pub data: Option<Value>,
    /// The timer of this name is due.
    pub timer: Option<String>,
    /// The last command of this type could not be delivered.
    pub undeliverable: Option<String>,
    /// An operator asks for cancellation.
    pub cancelled: Option<Cancelled>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cancelled {
    pub by: String,
    pub reason: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Then {
    /// Exactly these commands, in this order.
    #[serde(default)]
    pub sends: Vec<Value>,
    /// Exactly these events, in this order.
    #[serde(default)]
    pub emits: Vec<Value>,
    /// The state after it.
    pub state: Option<Value>,
    /// Timers that it sets, by the time until they are due, and cancels (null).
    pub timers: Option<BTreeMap<String, Option<String>>>,
    pub claims: Option<Vec<String>>,
    pub releases: Option<Vec<String>>,
    /// All questions asked for it, in their order.
    pub asks: Option<Vec<Value>>,
    pub completes: Option<bool>,
    /// A part of the failure's reason.
    pub fails: Option<String>,
    /// Whether the failure is one that is tried again.
    pub transient: Option<bool>,
    /// A part of the reason for which the host does not call the handler.
    pub ignored: Option<String>,
}

/// Reads and checks a file.
///
/// # Errors
/// Names the file and what is wrong in it.
pub fn read(path: &Path) -> anyhow::Result<Vec<Scenario>> {
    let text = files::text(path, files::TEXT_BYTES_MAX)
        .with_context(|| format!("read the scenarios {}", path.display()))?;
    parse(&text).with_context(|| format!("the scenarios {} are not understood", path.display()))
}

fn parse(text: &str) -> anyhow::Result<Vec<Scenario>> {
    let scenarios: Vec<Scenario> = serde_saphyr::from_str(text)?;
    anyhow::ensure!(!scenarios.is_empty(), "there is no scenario in it");
    let normal = scenarios.into_iter().map(|scenario| {
        let name = scenario.scenario.clone();
        normalize(scenario).with_context(|| format!("scenario `{name}`"))
    });
    normal.collect()
}

/// A step that stands alone becomes a list of one; and each says what happens.
fn normalize(mut scenario: Scenario) -> anyhow::Result<Scenario> {
    match (scenario.when.take(), scenario.then.take()) {
        (Some(when), then) if scenario.steps.is_empty() => {
            scenario.steps.push(Step { when, then });
        }
        (None, None) => {}
        (Some(_), _) => anyhow::bail!("has both `when` and `steps`; put everything in `steps`"),
        (None, Some(_)) => anyhow::bail!("has a `then` without a `when`"),
    }
    anyhow::ensure!(!scenario.steps.is_empty(), "has neither `when` nor `steps`");
    let steps = scenario.steps.iter().map(|step| &step.when);
    let streams = scenario.given.streams.values().flatten();
    for when in steps.chain(&scenario.given.events).chain(streams) {
        let said = [
            when.event_type.is_some(),
            when.timer.is_some(),
            when.undeliverable.is_some(),
            when.cancelled.is_some(),
        ];
        anyhow::ensure!(
            said.iter().filter(|said| **said).count() == 1,
            "each `when` needs exactly one of `type`, `timer`, `undeliverable`, `cancelled`"
        );
    }
    Ok(scenario)
}

/// `90s`, `1h 30m`, `PT10M`.
///
/// # Errors
/// Says how it is written.
pub fn duration(text: &str) -> Result<Duration, String> {
    let parsed: Result<jiff::SignedDuration, _> = text.parse();
    let parsed = parsed.map_err(|error| error.to_string());
    let positive = parsed
        .and_then(|duration| Duration::try_from(duration).map_err(|_| "it is negative".to_owned()));
    positive.map_err(|why| format!("`{text}` is no duration such as 90s, 10m or 24h: {why}"))
}

/// RFC 3339.
///
/// # Errors
/// Says how it is written.
pub fn instant(text: &str) -> Result<Timestamp, String> {
    let parsed: Result<jiff::Timestamp, _> = text.parse();
    let millis = parsed.map(|at| at.as_millisecond()).map_err(|error| error.to_string());
    let positive =
        millis.and_then(|at| u64::try_from(at).map_err(|_| "it is before 1970".to_owned()));
    positive
        .map(Timestamp)
        .map_err(|why| format!("`{text}` is no time such as 2026-01-31T12:00:00Z: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        let error = format!("{:#}", parse(text).unwrap_err());
        assert!(error.contains(expected), "`{expected}` is not in `{error}`");
    }

    #[test]
    fn yaml_and_json_say_the_same() {
        let yaml =
            "- scenario: a\n  when: {type: Paid, data: {n: 1}}\n  then:\n    sends: [Ship]\n";
        let json =
            r#"[{"scenario":"a","when":{"type":"Paid","data":{"n":1}},"then":{"sends":["Ship"]}}]"#;
        for text in [yaml, json] {
            let scenarios = parse(text).unwrap();
            assert_eq!(scenarios.len(), 1);
            let step = &scenarios[0].steps[0];
            assert_eq!(step.when.event_type.as_deref(), Some("Paid"));
            assert_eq!(step.when.data, Some(serde_json::json!({"n": 1})));
            assert_eq!(step.then.as_ref().unwrap().sends, ["Ship"]);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        refused("[]", "there is no scenario in it");
        refused("- scenario: a\n", "scenario `a`: has neither `when` nor `steps`");
        refused("- scenario: a\n  then: {}\n", "has a `then` without a `when`");
        refused("- scenario: a\n  when: {data: 1}\n", "needs exactly one of `type`");
        refused("- scenario: a\n  when: {type: P, timer: t}\n", "needs exactly one of `type`");
        refused("- scenario: a\n  when: {type: P}\n  than: {}\n", "than");
    }

    #[test]
    fn times_are_written_as_people_write_them() {
        assert_eq!(duration("1h 30m"), Ok(Duration::from_mins(90)));
        assert_eq!(duration("10m"), Ok(Duration::from_mins(10)));
        assert!(duration("soon").unwrap_err().starts_with("`soon` is no duration such as"));
        assert!(duration("-1s").unwrap_err().contains("it is negative"));
        assert_eq!(instant("1970-01-01T00:00:01Z"), Ok(Timestamp(1000)));
        assert!(instant("today").unwrap_err().starts_with("`today` is no time such as"));
    }
}
