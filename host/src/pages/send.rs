//! Sends an event by hand: as a form if the plugin that takes it has a schema for it, otherwise as
//! JSON. An error is shown at its field.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use sagabox_engine::model::reserved;
use serde::Deserialize;
use serde_json::Value;

use super::fields::{Field, Kind, data, fields};
use super::form::Submitted;
use super::frame::{Frame, Page, Visit};
use super::{PageRoute, Pages, form, page};
use crate::access::Permission::Send;
use crate::api::Needs::ForPlugin;
use crate::api::events::{self, Summary};
use crate::api::extract::Filter;
use crate::api::{Caller, Problem, Shared};
use crate::io::cloudevents::STRUCTURED;
use crate::io::json_schema::JsonSchema;

pub(super) const PATH: &str = "/send";
/// The source of an event that a person sends.
const SOURCE: &str = "/sagabox/pages";
/// The prefix of the data's fields in the form.
const DATA: &str = "data/";

pub(super) fn routes() -> Vec<PageRoute> {
    vec![page(PATH, ForPlugin(Send), show), form(PATH, ForPlugin(Send), send)]
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    #[serde(rename = "type")]
    event_type: String,
    /// If it is set, the data is written as JSON although there is a schema.
    raw: Option<String>,
}

#[derive(Template)]
#[template(path = "pages/send.html")]
struct SendPage {
    frame: Frame,
    /// The types that plugins take.
    types: Vec<String>,
    event_type: String,
    /// None if the data is written as JSON.
    fields: Option<Vec<Field>>,
    /// Whether there is a schema.
    has_fields: bool,
    written: Written,
    refusal: Option<Refusal>,
    sent: Option<Summary>,
}

/// What the reader has written.
#[derive(Clone, Debug, Default)]
struct Written {
    id: String,
    subject: String,
    json: String,
    members: BTreeMap<String, String>,
}

/// Why an event was refused, and at which field.
struct Refusal {
    /// `id`, `subject`, `type`, `json`, or the name of a member after `data/`; empty if it is none.
    field: String,
    text: String,
    status: u16,
}

impl SendPage {
    fn at(&self, field: &str) -> Option<&str> {
        let refusal = self.refusal.as_ref().filter(|refusal| refusal.field == field)?;
        Some(&refusal.text)
    }

    fn at_member(&self, name: &str) -> Option<&str> {
        self.at(&format!("{DATA}{name}"))
    }

    /// A refusal that is about no field that is shown.
    fn elsewhere(&self) -> Option<&str> {
        let refusal = self.refusal.as_ref()?;
        let is_shown = match refusal.field.strip_prefix(DATA) {
            Some(name) => self.fields.iter().flatten().any(|field| field.name == name),
            None if refusal.field == "json" => self.fields.is_none(),
            None => ["id", "subject"].contains(&&*refusal.field),
        };
        (!is_shown).then_some(&*refusal.text)
    }

    fn member(&self, name: &str) -> &str {
        self.written.members.get(name).map_or("", String::as_str)
    }
}

async fn show(
    State(pages): State<Pages>,
    visit: Visit,
    Filter(asked): Filter<Asked>,
) -> Result<Page, Problem> {
    let types = types(&pages.site, &visit.caller);
    let event_type = match types.first() {
        Some(first) if asked.event_type.is_empty() => first.clone(),
        _ => asked.event_type,
    };
    let fields = schema(&pages.site, &event_type).as_ref().and_then(fields);
    let has_fields = fields.is_some();
    let written =
        Written { id: fresh_id(&pages.site), json: "{}".to_owned(), ..Written::default() };
    Page::of(&SendPage {
        frame: visit.frame("Send an event", PATH),
        types,
        event_type,
        fields: fields.filter(|_| asked.raw.is_none()),
        has_fields,
        written,
        refusal: None,
        sent: None,
    })
}

/// The types that plugins take, of those that the caller may send.
fn types(site: &Shared, caller: &Caller) -> Vec<String> {
    let serving = site.plugin_status.serving();
    let subscriptions = serving.iter().flat_map(|plugin| &plugin.manifest.subscriptions);
    let mut types: Vec<String> = subscriptions
        .map(|subscription| subscription.event_type.clone())
        .filter(|event_type| !event_type.starts_with(reserved::PREFIX))
        .filter(|event_type| caller.check_type(event_type).is_ok())
        .collect();
    types.sort_unstable();
    types.dedup();
    types
}

/// The schema of a type, of the first plugin that takes it and has one.
fn schema(site: &Shared, event_type: &str) -> Option<Value> {
    let serving = site.plugin_status.serving();
    serving.into_iter().find_map(|plugin| {
        let manifest = plugin.manifest;
        let mut types = manifest.subscriptions.iter().map(|taken| &taken.event_type);
        let is_taken = types.any(|taken| taken == event_type);
        manifest.optional.schemas.get(event_type).filter(|_| is_taken).cloned()
    })
}

/// An id that no other event has. The form has it, so a form that is sent twice sends one event.
fn fresh_id(site: &Shared) -> String {
    let now = site.now().0;
    format!("by-hand-{now}-{:08x}", RandomState::new().hash_one(now) & 0xffff_ffff)
}

async fn send(
    State(pages): State<Pages>,
    visit: Visit,
    Submitted(given): Submitted<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let (mut written, mut event_type, mut is_raw) = (Written::default(), String::new(), false);
    for (name, text) in given {
        match name.as_str() {
            "type" => event_type = text,
            "id" => written.id = text,
            "subject" => written.subject = text,
            "json" => (written.json, is_raw) = (text, true),
            _ => {
                if let Some(member) = name.strip_prefix(DATA) {
                    written.members.insert(member.to_owned(), text);
                }
            }
        }
    }
    let schema = schema(&pages.site, &event_type);
    let fields = schema.as_ref().and_then(fields);
    let has_fields = fields.is_some();
    let fields = fields.filter(|_| !is_raw);
    let made = match &fields {
        None => Ok(written.json.clone()),
        Some(fields) => checked(fields, schema.as_ref(), &written),
    };
    let sent = match made {
        Err(refusal) => Err(refusal),
        Ok(data) => offer(&pages.site, &visit.caller, &event_type, &written, &data).await?,
    };
    let (sent, refusal) = match sent {
        Ok(summary) => (Some(summary), None),
        Err(refusal) => (None, Some(refusal)),
    };
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    if sent.is_some() {
        written.id = fresh_id(&pages.site);
    }
    let page = Page::of(&SendPage {
        frame: visit.frame("Send an event", PATH),
        types: types(&pages.site, &visit.caller),
        event_type,
        fields,
        has_fields,
        written,
        refusal,
        sent,
    })?;
    Ok(page.with_status(status.try_into().unwrap_or_default()).into_response())
}

/// The data of the fields, if it fits the schema.
fn checked(fields: &[Field], schema: Option<&Value>, written: &Written) -> Result<String, Refusal> {
    let refusal =
        |name: &str, text: String| Refusal { field: format!("{DATA}{name}"), text, status: 422 };
    let data = data(fields, &written.members)
        .map_err(|(name, why)| refusal(&name, format!("{name}: {why}")))?;
    let schema = schema.and_then(|schema| JsonSchema::new(schema).ok());
    let value: Option<Value> = serde_json::from_str(&data).ok();
    let mistake = schema.zip(value).and_then(|(schema, value)| schema.mistake(&value));
    match mistake {
        None => Ok(data),
        Some((pointer, reason)) => Err(refusal(&member(&pointer), format!("{pointer}: {reason}"))),
    }
}

/// The first member of a JSON Pointer.
fn member(pointer: &str) -> String {
    let first = pointer.split('/').nth(1).unwrap_or_default();
    first.replace("~1", "/").replace("~0", "~")
}

/// Sends the event as a program would. A problem that is about the event is a refusal.
async fn offer(
    site: &Shared,
    caller: &Caller,
    event_type: &str,
    written: &Written,
    data: &str,
) -> Result<Result<Summary, Refusal>, Problem> {
    if let Err(error) = serde_json::from_str::<&serde_json::value::RawValue>(data) {
        let text = format!("the data is not JSON: {error}");
        return Ok(Err(Refusal { field: "json".to_owned(), text, status: 422 }));
    }
    let text = |text: &str| Value::from(text).to_string();
    let subject = match written.subject.as_str() {
        "" => String::new(),
        subject => format!(",\"subject\":{}", text(subject)),
    };
    let event = format!(
        "{{\"specversion\":\"1.0\",\"id\":{},\"source\":{},\"type\":{}{subject},\
         \"datacontenttype\":\"application/json\",\"data\":{data}}}",
        text(&written.id),
        text(SOURCE),
        text(event_type),
    );
    let content_type = HeaderValue::from_static(STRUCTURED);
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, content_type)]);
    match events::accept(site, caller, &headers, &event.into()).await {
        Ok(summary) => Ok(Ok(summary)),
        Err(problem) if [400, 422].contains(&problem.status) => {
            let field = match (&problem.pointer, &problem.attribute) {
                (Some(pointer), _) => format!("{DATA}{}", member(pointer)),
                (None, Some(attribute)) if &**attribute == "data" => "json".to_owned(),
                (None, attribute) => attribute.as_deref().unwrap_or_default().to_owned(),
            };
            let text = problem.detail.to_string();
            Ok(Err(Refusal { field, text, status: problem.status }))
        }
        Err(problem) => Err(problem),
    }
}
