//! Instances by their fields: what a request selects by, and the line that says what an instance
//! is about.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use sagabox_engine::model::{OptionalPart, json};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::admin::{plugin_exists, unreadable};
use super::caller::Caller;
use super::extract::Filter;
use super::instance_filter::instance_filter;
use super::paging::limit;
use super::problem::Problem;
use super::{Shared, Site};
use crate::io::nearest::nearest;
use crate::store::query::condition::Condition;
use crate::store::query::rows::{CountedPage, ExportedInstance, FieldOrder, InstanceFilter, Page};

/// Stands for a field that an instance does not have.
const ABSENT: &str = "-";

instance_filter! {
    pub(crate) struct Counted {
        /// Where the part before ended.
        after: Option<String>,
    }
}

/// Counts the instances of a plugin, as far as a condition holds.
pub(crate) async fn count(
    State(site): State<Shared>,
    caller: Caller,
    Filter(asked): Filter<Counted>,
) -> Result<Json<CountedPage>, Problem> {
    let age = asked.times().age(site.now())?;
    let Counted { plugin, status, condition, after, .. } = asked;
    caller.check_plugin(&plugin)?;
    if condition.is_some() {
        caller.check_payloads("where selects by parts of states")?;
    }
    plugin_exists(&site, &plugin).await?;
    let filter = InstanceFilter { plugin, status, age, after, ..InstanceFilter::default() };
    let filter = select(&site, filter, condition.as_deref(), None)?;
    Ok(Json(site.queries.count_instances(&filter).await.map_err(unreadable)?))
}

instance_filter! {
    pub(crate) struct Exported {
        /// Where the page before ended.
        after: Option<String>,
        #[param(minimum = 1, maximum = 1000)]
        limit: Option<u32>,
    }
}

#[derive(Serialize, ToSchema)]
pub(crate) struct ExportPage {
    instances: Vec<ExportedInstance>,
    next: Option<String>,
}

/// The instances of a plugin with all that the store has of them, as far as a condition holds.
pub(crate) async fn export(
    State(site): State<Shared>,
    caller: Caller,
    Filter(asked): Filter<Exported>,
) -> Result<Json<ExportPage>, Problem> {
    let age = asked.times().age(site.now())?;
    let Exported { plugin, status, condition, after, limit: given, .. } = asked;
    let limit = limit(given)?;
    caller.check_plugin(&plugin)?;
    caller.check_payloads("an export has states and events")?;
    plugin_exists(&site, &plugin).await?;
    let none = InstanceFilter::default();
    let filter = InstanceFilter { plugin, status, age, is_by_key: true, after, limit, ..none };
    let filter = select(&site, filter, condition.as_deref(), None)?;
    let Page { rows: instances, next } = site.queries.export(&filter).await.map_err(unreadable)?;
    Ok(Json(ExportPage { instances, next }))
}

/// The filter with what a request says of fields.
pub(super) fn select(
    site: &Site,
    filter: InstanceFilter,
    condition: Option<&str>,
    order: Option<&str>,
) -> Result<InstanceFilter, Problem> {
    let declared = declared(site, &filter.plugin);
    let condition = condition.map(|text| -> Result<Condition, Problem> {
        let condition = Condition::parse(text)
            .map_err(|error| Problem::unacceptable("where", format!("where: {error}")))?;
        for field in condition.fields() {
            is_declared("where", &filter.plugin, field, declared.as_ref())?;
        }
        Ok(condition)
    });
    let order = order.map(|text| -> Result<FieldOrder, Problem> {
        let field = text.strip_prefix('-').unwrap_or(text);
        is_declared("order", &filter.plugin, field, declared.as_ref())?;
        Ok(FieldOrder { field: field.to_owned(), is_descending: text.starts_with('-') })
    });
    let (condition, field_order) = (condition.transpose()?, order.transpose()?);
    let filter = InstanceFilter { condition, field_order, ..filter };
    if filter.place().is_none() {
        let detail = "after: is not the `next` of a page in this order";
        return Err(Problem::unacceptable("after", detail));
    }
    Ok(filter)
}

/// What the version that serves says of its fields. None if none serves.
pub(super) fn declared(site: &Site, plugin: &str) -> Option<OptionalPart> {
    let serving = site.plugin_status.serving().into_iter();
    let mut found = serving.filter(|own| own.manifest.name.as_str() == plugin);
    found.next().map(|own| own.manifest.optional)
}

fn is_declared(
    parameter: &'static str,
    plugin: &str,
    field: &str,
    declared: Option<&OptionalPart>,
) -> Result<(), Problem> {
    let Some(OptionalPart { fields, .. }) = declared else {
        let detail = format!(
            "{parameter}: no version of `{plugin}` serves, and only a version that serves says what \
             fields there are"
        );
        return Err(Problem::unacceptable(parameter, detail));
    };
    let names = || fields.iter().map(|field| field.name.as_str());
    if names().any(|name| name == field) {
        return Ok(());
    }
    let known = match (nearest(field, names()), fields.is_empty()) {
        (_, true) => "it declares none".to_owned(),
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, _) => format!("its fields are {}", names().collect::<Vec<_>>().join(", ")),
    };
    let detail = format!("{parameter}: `{plugin}` has no field `{field}`; {known}");
    Err(Problem::unacceptable(parameter, detail))
}

/// A line about an instance: the plugin's template with the values of the instance's fields. None
/// if the plugin has no template, or the instance no fields.
pub(super) fn summary(
    declared: Option<&OptionalPart>,
    fields: Option<&RawValue>,
) -> Option<String> {
    let template = declared?.summary.as_deref()?;
    let values: BTreeMap<String, &RawValue> = serde_json::from_str(fields?.get()).ok()?;
    let value = |name: &str| {
        let text = values.get(name).map_or(ABSENT, |value| value.get());
        json::decode(text).map_or_else(|| text.to_owned(), std::borrow::Cow::into_owned)
    };
    Some(render(template, value))
}

/// The host has checked the template when it loaded the plugin.
fn render(template: &str, value: impl Fn(&str) -> String) -> String {
    let (mut line, mut rest) = (String::new(), template);
    while let Some(at) = rest.find(['{', '}']) {
        let (before, brace, behind) = (&rest[..at], &rest[at..=at], &rest[at + 1..]);
        line.push_str(before);
        rest = match (behind.strip_prefix(brace), behind.split_once('}')) {
            (Some(behind), _) => {
                line.push_str(brace);
                behind
            }
            (None, Some((name, behind))) => {
                line.push_str(&value(name));
                behind
            }
            (None, None) => behind,
        };
    }
    line + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(template: &str, fields: &str, expected: &str) {
        let declared =
            OptionalPart { summary: Some(template.to_owned()), ..OptionalPart::default() };
        let fields = RawValue::from_string(fields.to_owned()).unwrap();
        assert_eq!(summary(Some(&declared), Some(&fields)).unwrap(), expected);
    }

    #[test]
    fn a_summary_has_the_values_as_people_read_them() {
        let fields = r#"{"id":"a \"b\"","total":10.50,"paid":false,"odd":"\ud800"}"#;
        check("order {id}: {total}, {paid}", fields, "order a \"b\": 10.50, false");
        check("{{{total}}} {none} }}{{", fields, "{10.50} - }{");
        check("{odd}", fields, "\"\\ud800\"");
        check("no field", fields, "no field");
        check("{id}", "{}", "-");
    }

    #[test]
    fn without_a_template_or_fields_there_is_none() {
        let fields = RawValue::from_string("{}".to_owned()).unwrap();
        assert_eq!(summary(None, Some(&fields)), None);
        let declared = OptionalPart::default();
        assert_eq!(summary(Some(&declared), Some(&fields)), None);
        let declared = OptionalPart { summary: Some("x".to_owned()), ..declared };
        assert_eq!(summary(Some(&declared), None), None);
    }
}
