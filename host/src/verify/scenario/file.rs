//! Scenario files: YAML, of which JSON is a part. A file holds a list of scenarios.
//!
//! What the members mean is in docs/scenarios.md.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bytes::Bytes;
use serde::Deserialize;

use super::payload;
use crate::decisions::json::{self, Json, Object};

use crate::io::files;

#[derive(Clone, Debug, Default, Deserialize)]
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
    /// The file of an instance, which says what happens and what is expected.
    #[serde(skip)]
    pub recorded: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// The plugin's section of the host's configuration.
    #[serde(default)]
    pub configuration: Object,
    pub now: Option<String>,
    pub key: Option<String>,
    pub state: Option<Json>,
    /// That of the manifest, if it is not said: an older one is migrated.
    pub state_version: Option<u32>,
    #[serde(default)]
    pub claims: Vec<String>,
    /// Name to the time until it is due, or at which.
    #[serde(default)]
    pub timers: BTreeMap<String, String>,
    /// Lookup to key to answer; null if it knows nothing.
    #[serde(default)]
    pub lookups: BTreeMap<String, BTreeMap<String, Json>>,
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

/// What happens: an event, or one of the events that the host itself makes for an instance.
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
    pub dataschema: Option<String>,
    pub data: Option<Json>,
    /// The payload's bytes, where `data` cannot state them: see `payload`.
    pub data_text: Option<Json>,
    pub data_base64: Option<Json>,
    /// The timer of this name is due.
    pub timer: Option<String>,
    /// The last command of this type could not be delivered.
    pub undeliverable: Option<String>,
    /// An operator asks for cancellation.
    pub cancelled: Option<Cancelled>,
    /// The host converts the instance's state to this version.
    pub migrate: Option<u32>,
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
    pub sends: Vec<Json>,
    /// Exactly these events, in this order.
    #[serde(default)]
    pub emits: Vec<Json>,
    /// The state after it.
    pub state: Option<Json>,
    /// Timers that it sets, by the time until they are due or at which, and cancels (null).
    pub timers: Option<BTreeMap<String, Option<String>>>,
    pub claims: Option<Vec<String>>,
    pub releases: Option<Vec<String>>,
    /// All questions asked for it, in their order.
    pub asks: Option<Vec<Json>>,
    pub completes: Option<bool>,
    /// A part of the failure's reason.
    pub fails: Option<String>,
    /// Whether the failure is one that is tried again.
    pub transient: Option<bool>,
    /// A part of the reason for which the host does not call the handler.
    pub ignored: Option<String>,
}

/// Reads and checks a file: scenarios, or the file of an instance.
///
/// # Errors
/// Names the file and what is wrong in it.
pub fn read(path: &Path) -> anyhow::Result<Vec<Scenario>> {
    let recorded = Scenario::recorded(path);
    let recorded = recorded.with_context(|| format!("the file {} is invalid", path.display()))?;
    if let Some(recorded) = recorded {
        return Ok(vec![recorded]);
    }
    let text = files::text(path, files::TEXT_BYTES_MAX)
        .with_context(|| format!("read the scenarios {}", path.display()))?;
    parse(&text).with_context(|| format!("the scenario file {} is invalid", path.display()))
}

fn parse(text: &str) -> anyhow::Result<Vec<Scenario>> {
    let scenarios: Vec<Scenario> = json::from_yaml(text)?;
    anyhow::ensure!(!scenarios.is_empty(), "it contains no scenario");
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
        (Some(_), _) => anyhow::bail!("has both `when` and `steps`; use only `steps`"),
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
            when.migrate.is_some(),
        ];
        anyhow::ensure!(
            said.iter().filter(|said| **said).count() == 1,
            "each `when` needs exactly one of `type`, `timer`, `undeliverable`, `cancelled`, `migrate`"
        );
        when.says_nothing_in_vain()?;
    }
    scenario.steps.iter().filter_map(|step| step.then.as_ref()).try_for_each(Then::is_one_claim)?;
    Ok(scenario)
}

impl When {
    /// The payload's bytes, where they are stated as such.
    pub(super) fn payload(&self) -> Result<Option<Bytes>, String> {
        payload::stated(self.data_text.as_ref(), self.data_base64.as_ref())
    }

    /// A member without an effect is a mistake: the author believes that it has one.
    fn says_nothing_in_vain(&self) -> anyhow::Result<()> {
        if self.event_type.is_some() {
            let bytes = self.payload().map_err(anyhow::Error::msg)?;
            anyhow::ensure!(
                bytes.is_none() || self.data.is_none(),
                "use only one of `data`, `data_text` and `data_base64` in a `when`"
            );
            return Ok(());
        }
        let of_events = [
            ("id", self.id.is_some()),
            ("source", self.source.is_some()),
            ("subject", self.subject.is_some()),
            ("time", self.time.is_some()),
            ("datacontenttype", self.datacontenttype.is_some()),
            ("extensions", !self.extensions.is_empty()),
            ("dataschema", self.dataschema.is_some()),
            ("data_text", self.data_text.is_some()),
            ("data_base64", self.data_base64.is_some()),
            ("attempt", self.attempt.is_some() && self.migrate.is_some()),
            ("data", self.data.is_some() && self.undeliverable.is_none()),
        ];
        for (name, said) in of_events {
            anyhow::ensure!(!said, "`{name}` in a `when` belongs to an event, which has a `type`");
        }
        Ok(())
    }
}

impl Then {
    /// What fails or is ignored decides nothing that could be looked at beside it.
    fn is_one_claim(&self) -> anyhow::Result<()> {
        let of_a_decision = [
            ("sends", !self.sends.is_empty()),
            ("emits", !self.emits.is_empty()),
            ("state", self.state.is_some()),
            ("timers", self.timers.is_some()),
            ("claims", self.claims.is_some()),
            ("releases", self.releases.is_some()),
            ("asks", self.asks.is_some()),
            ("completes", self.completes.is_some()),
        ];
        let ends = [("fails", self.fails.is_some()), ("ignored", self.ignored.is_some())];
        let ends: Vec<&str> =
            ends.iter().filter(|(_, said)| *said).map(|(name, _)| *name).collect();
        anyhow::ensure!(ends.len() < 2, "a `then` has `fails` or `ignored`, not both");
        if let [end] = ends[..] {
            for (name, said) in of_a_decision {
                anyhow::ensure!(!said, "`{name}` and `{end}` cannot be combined in a `then`");
            }
        }
        anyhow::ensure!(
            self.transient.is_none() || self.fails.is_some(),
            "`transient` in a `then` needs `fails`"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decisions::json::json;

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
            assert_eq!(step.when.data, Some(json!({"n": 1})));
            assert_eq!(step.then.as_ref().unwrap().sends, ["Ship"]);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        refused("[]", "it contains no scenario");
        refused("- scenario: a\n", "scenario `a`: has neither `when` nor `steps`");
        refused("- scenario: a\n  then: {}\n", "has a `then` without a `when`");
        refused("- scenario: a\n  when: {data: 1}\n", "needs exactly one of `type`");
        refused("- scenario: a\n  when: {type: P, timer: t}\n", "needs exactly one of `type`");
        refused("- scenario: a\n  when: {type: P}\n  than: {}\n", "than");
    }

    #[test]
    fn what_would_never_be_looked_at_is_a_mistake() {
        for (step, expected) in [
            ("when: {timer: t, data: 1}", "`data` in a `when` belongs to an event"),
            ("when: {cancelled: {by: a, reason: b}, subject: s}", "`subject` in a `when`"),
            ("when: {undeliverable: C, id: x}", "`id` in a `when`"),
            (
                "when: {type: P}\n  then: {fails: x, sends: [A]}",
                "`sends` and `fails` cannot be combined",
            ),
            (
                "when: {type: P}\n  then: {ignored: x, state: 1}",
                "`state` and `ignored` cannot be combined",
            ),
            ("when: {type: P}\n  then: {ignored: x, fails: y}", "`fails` or `ignored`, not both"),
            ("when: {type: P}\n  then: {transient: true}", "`transient` in a `then` needs `fails`"),
        ] {
            refused(&format!("- scenario: a\n  {step}\n"), expected);
        }
        for (step, expected) in [
            ("when: {type: P, data: 1, data_text: x}", "use only one of `data`"),
            ("when: {type: P, data_text: 7}", "data_text: `7` is not a text"),
            ("when: {timer: t, data_text: x}", "`data_text` in a `when` belongs to an event"),
            ("when: {migrate: 1, attempt: 2}", "`attempt` in a `when` belongs to an event"),
        ] {
            refused(&format!("- scenario: a\n  {step}\n"), expected);
        }
        parse("- scenario: a\n  when: {undeliverable: C, data: {reason: r}, after: 1m}\n").unwrap();
    }
}
