//! The selection of a batch, as an operator gives it and as the store keeps it.

use std::sync::Arc;

use sagabox_engine::model::{BatchAction, DeadLetterStatus, InstanceStatus, Key};
use sagabox_engine::seams::store::ReadError;
use serde::{Deserialize, Serialize};

use crate::io::times::Time;
use crate::store::query::Queries;
use crate::store::query::batches::Selected;
use crate::store::query::condition::Condition;
use crate::store::query::rows::{Age, Counted, DeadLetterFilter, InstanceFilter, Page};

/// Dead letters or instances that one transaction reads: some milliseconds.
const PAGE: u32 = 2_000;

/// All members that are given must match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Open dead letters.
    DeadLetters(DeadLetterSelection),
    /// Running instances.
    Instances(InstanceSelection),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeadLetterSelection {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_contains: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceSelection {
    pub plugin: String,
    /// A condition on fields, as text.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_before: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_after: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_before: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_after: Option<Time>,
}

impl Selection {
    /// Reads the selection that the store has.
    pub(super) fn read(action: BatchAction, json: &str) -> Result<Self, ReadError> {
        let read = match action.is_of_instances() {
            true => serde_json::from_str(json).map(Self::Instances),
            false => serde_json::from_str(json).map(Self::DeadLetters),
        };
        read.map_err(|error| ReadError(format!("the selection of a batch: {error}")))
    }

    pub(crate) fn to_json(&self) -> String {
        let json = match self {
            Self::DeadLetters(dead_letters) => serde_json::to_string(dead_letters),
            Self::Instances(instances) => serde_json::to_string(instances),
        };
        json.expect("it has only texts")
    }

    pub(crate) fn plugin(&self) -> Option<&str> {
        match self {
            Self::DeadLetters(dead_letters) => dead_letters.plugin.as_deref(),
            Self::Instances(instances) => Some(&instances.plugin),
        }
    }

    /// The number of items that it selects now.
    pub(super) async fn count(&self, queries: &dyn Queries) -> Result<Counted, ReadError> {
        match self {
            Self::DeadLetters(dead_letters) => {
                queries.count_open_dead_letters(&dead_letters.filter(0)).await
            }
            Self::Instances(instances) => {
                let counted = queries.count_instances(&instances.filter(None, 0)?).await?;
                Ok(Counted {
                    count: counted.counts.values().sum(),
                    is_exact: counted.next.is_none(),
                })
            }
        }
    }

    /// The next items, and the place at which the following page begins; none after the last.
    pub(super) async fn page(
        &self,
        queries: &Arc<dyn Queries>,
        after: Option<&str>,
    ) -> Result<(Selected, Option<String>), ReadError> {
        match self {
            Self::DeadLetters(dead_letters) => {
                let after = after.map_or(Ok(0), str::parse);
                let after = after.map_err(|_| ReadError("a place is no number".to_owned()))?;
                let page = queries.dead_letter_ids(&dead_letters.filter(after)).await?;
                let Page { rows, next } = page;
                Ok((Selected::DeadLetters(rows), next.map(|next| next.to_string())))
            }
            Self::Instances(instances) => {
                let page = queries.instances(&instances.filter(after, PAGE)?).await?;
                let keys: Vec<Key> = page.rows.into_iter().map(|row| row.key).collect();
                let plugin = instances.plugin.as_str().into();
                Ok((Selected::Instances(plugin, keys), page.next))
            }
        }
    }
}

impl DeadLetterSelection {
    fn filter(&self, after: u64) -> DeadLetterFilter {
        let Self { plugin, plugin_version, sink, key, event_type, reason_contains, cause } =
            self.clone();
        DeadLetterFilter {
            ids: None,
            plugin,
            plugin_version,
            status: Some(DeadLetterStatus::Open),
            sink,
            key,
            event_type,
            reason_contains,
            cause,
            after,
            limit: PAGE,
        }
    }
}

impl InstanceSelection {
    #[must_use]
    pub fn new(plugin: String, condition: Option<String>, age: Age) -> Self {
        Self {
            plugin,
            condition,
            started_before: age.started_before.map(Time),
            started_after: age.started_after.map(Time),
            updated_before: age.updated_before.map(Time),
            updated_after: age.updated_after.map(Time),
        }
    }

    fn age(&self) -> Age {
        let time = |time: Option<Time>| time.map(|Time(time)| time);
        Age {
            started_before: time(self.started_before),
            started_after: time(self.started_after),
            updated_before: time(self.updated_before),
            updated_after: time(self.updated_after),
        }
    }

    fn filter(&self, after: Option<&str>, limit: u32) -> Result<InstanceFilter, ReadError> {
        let parse = |text: &String| Condition::parse(text);
        let condition = self.condition.as_ref().map(parse).transpose();
        Ok(InstanceFilter {
            plugin: self.plugin.clone(),
            status: Some(InstanceStatus::Running),
            age: self.age(),
            condition: condition.map_err(|error| ReadError(format!("where: {error}")))?,
            after: after.map(str::to_owned),
            limit,
            ..InstanceFilter::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use sagabox_engine::model::Timestamp;

    use super::*;

    #[track_caller]
    fn check(action: BatchAction, selection: &Selection, expected: &str) {
        assert_eq!(selection.to_json(), expected);
        assert_eq!(Selection::read(action, expected).as_ref(), Ok(selection));
    }

    #[test]
    fn a_selection_is_read_as_it_was_written() {
        let all = Selection::DeadLetters(DeadLetterSelection::default());
        check(BatchAction::Redrive, &all, "{}");
        let event_type = Some("OrderPlaced".to_owned());
        let dead_letters = DeadLetterSelection { event_type, ..DeadLetterSelection::default() };
        check(
            BatchAction::Skip,
            &Selection::DeadLetters(dead_letters),
            r#"{"type":"OrderPlaced"}"#,
        );
        let condition = Some("paid < total".to_owned());
        let orders = || "orders".to_owned();
        let instances = InstanceSelection::new(orders(), condition, Age::default());
        let expected = r#"{"plugin":"orders","where":"paid < total"}"#;
        check(BatchAction::End, &Selection::Instances(instances), expected);
        let age = Age { updated_before: Some(Timestamp(1_500)), ..Age::default() };
        let instances = InstanceSelection::new(orders(), None, age);
        assert_eq!(instances.age(), age);
        let expected = r#"{"plugin":"orders","updated_before":"1970-01-01T00:00:01.500Z"}"#;
        check(BatchAction::Cancel, &Selection::Instances(instances), expected);
        assert!(Selection::read(BatchAction::End, "{}").is_err(), "of which plugin?");
    }
}
