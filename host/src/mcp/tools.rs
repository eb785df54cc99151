//! The tools: each is a route of the API, with the arguments that it takes. One table says what
//! clients read, what is accepted and what is asked.

use rmcp::model::JsonObject;
use serde_json::{Map, Value, json};

use self::Kind::{Count, Flag, OneOf, Text};
use self::Method::{Get, Post};

/// Rows of a list, if the caller asks for no other number.
const ROWS: u64 = 20;
/// More do not fit into an answer.
const ROWS_MAX: u64 = 100;
/// The longest text of an argument: the longest key.
const TEXT_BYTES_MAX: usize = 4_096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Text,
    Count,
    Flag,
    OneOf(&'static [&'static str]),
}

#[derive(Debug)]
struct Argument {
    name: &'static str,
    kind: Kind,
    is_required: bool,
    description: &'static str,
}

const fn needed(name: &'static str, kind: Kind, description: &'static str) -> Argument {
    Argument { name, kind, is_required: true, description }
}

const fn given(name: &'static str, kind: Kind, description: &'static str) -> Argument {
    Argument { name, kind, is_required: false, description }
}

#[derive(Debug)]
pub(super) struct ToolSpec {
    pub name: &'static str,
    pub title: &'static str,
    pub description: &'static str,
    method: Method,
    /// Of the API, without its version; `{id}` stands for the argument of this name.
    path: &'static str,
    arguments: &'static [Argument],
    /// Whether `limit` and `after` page through it.
    is_list: bool,
}

/// What is asked of the API.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Request {
    pub method: Method,
    pub path: String,
    pub query: Vec<(&'static str, String)>,
    /// Of a POST.
    pub body: Value,
}

const PLUGIN: Argument = given("plugin", Text, "Name of a plugin");
const OF_PLUGIN: Argument = needed("plugin", Text, "Name of the plugin");
const KEY: Argument = needed("key", Text, "Correlation key of the instance");
const LIMIT: Argument = given("limit", Count, "Rows to return: 20 if absent, at most 100");
const AFTER: Argument = given("after", Text, "The `next` of the page before");
const ID: Argument = needed("id", Count, "Number of the dead letter");
const BATCH: Argument = needed("id", Count, "Number of the batch");
const REASON: Argument = needed("reason", Text, "Why; it is kept in the audit log");
const STATUSES: &[&str] = &["running", "completed", "ended"];

pub(super) const TOOLS: &[ToolSpec] = &[
    ToolSpec {
        name: "get_accounts",
        title: "Accounts",
        description: "Where all events and messages are: per plugin and per sink, handled, pending, \
                      held, parked and dead, and whether the sums agree.",
        method: Get,
        path: "/accounts",
        arguments: &[],
        is_list: false,
    },
    ToolSpec {
        name: "find",
        title: "Find",
        description: "Finds what a text names: an instance by its key or a claimed key, an event or message \
                      by its id, a position of the log, a dead letter by its number.",
        method: Get,
        path: "/find",
        arguments: &[needed("text", Text, "A key, an id, a position or a number")],
        is_list: false,
    },
    ToolSpec {
        name: "show_event",
        title: "Event",
        description: "One event of the log and what became of it: the decisions, messages and dead letters.",
        method: Get,
        path: "/event",
        arguments: &[needed("position", Count, "Its place in the log; find returns it")],
        is_list: false,
    },
    ToolSpec {
        name: "list_plugins",
        title: "Plugins",
        description: "Plugins that serve, with version, role, subscriptions and what they send; \
                      candidates that are tried; files that were refused, with the reason.",
        method: Get,
        path: "/plugins",
        arguments: &[],
        is_list: false,
    },
    ToolSpec {
        name: "list_instances",
        title: "Instances",
        description: "Instances (running processes) of a plugin, selected by status and by conditions \
                      on the fields that the plugin declares.",
        method: Get,
        path: "/instances",
        arguments: &[
            OF_PLUGIN,
            given("status", OneOf(STATUSES), "Only instances with this status"),
            given("where", Text, "Conditions on declared fields, such as `paid < total`"),
            given("order", Text, "Field to sort by; with `-` before it, the largest first"),
        ],
        is_list: true,
    },
    ToolSpec {
        name: "show_instance",
        title: "Instance",
        description: "One instance: status, state, keys, timers, and its history of events and decisions.",
        method: Get,
        path: "/instance",
        arguments: &[OF_PLUGIN, KEY],
        is_list: true,
    },
    ToolSpec {
        name: "explain_instance",
        title: "Why an instance waits",
        description: "Why an instance does not go on: dead letters, retries, timers, messages that wait, \
                      and the events that can still come, with who sends them.",
        method: Get,
        path: "/instance/why",
        arguments: &[OF_PLUGIN, KEY],
        is_list: false,
    },
    ToolSpec {
        name: "list_dead_letters",
        title: "Dead letters",
        description: "Events and messages that could not be handled or delivered, with the reason. \
                      Everything with the same key waits behind them.",
        method: Get,
        path: "/dead-letters",
        arguments: &[
            PLUGIN,
            given("sink", Text, "Only messages to this sink"),
            given("key", Text, "Only those of this key"),
            given("type", Text, "Only events or messages of this type"),
            given("reason_contains", Text, "Only those whose reason contains this text"),
            given("status", Text, "open if absent; or what became of them, such as redriven"),
        ],
        is_list: true,
    },
    ToolSpec {
        name: "show_dead_letter",
        title: "Dead letter",
        description: "One dead letter with its event or message and its reason.",
        method: Get,
        path: "/dead-letters/{id}",
        arguments: &[ID],
        is_list: false,
    },
    ToolSpec {
        name: "list_causes",
        title: "Causes of dead letters",
        description: "The open dead letters counted by cause: plugin, version, sink, and the reason without \
                      numbers and names. Start here if there are many.",
        method: Get,
        path: "/dead-letters/causes",
        arguments: &[PLUGIN],
        is_list: true,
    },
    ToolSpec {
        name: "list_timers",
        title: "Timers",
        description: "Timers that are set and have not fired, those that are due next first, with the \
                      instances that set them.",
        method: Get,
        path: "/timers",
        arguments: &[PLUGIN],
        is_list: true,
    },
    ToolSpec {
        name: "list_waits",
        title: "Next attempts",
        description: "Events and messages whose last attempt failed and that are retried later: why, which \
                      attempt comes next, and when.",
        method: Get,
        path: "/waits",
        arguments: &[PLUGIN, given("sink", Text, "Only messages to this sink")],
        is_list: true,
    },
    ToolSpec {
        name: "list_queues",
        title: "Queues",
        description: "The host's own queues: messages that are ready, messages that workers have leased, and \
                      which workers.",
        method: Get,
        path: "/queues",
        arguments: &[],
        is_list: false,
    },
    ToolSpec {
        name: "list_leases",
        title: "Leases",
        description: "Messages that workers have leased and not acknowledged: which worker, since when, and \
                      when the lease ends.",
        method: Get,
        path: "/queues/leases",
        arguments: &[
            given("queue", Text, "Only messages of this queue"),
            given("worker", Text, "Only messages that this worker has leased"),
            PLUGIN,
            given("key", Text, "Only messages of this key"),
        ],
        is_list: true,
    },
    ToolSpec {
        name: "list_sinks",
        title: "Sinks",
        description: "Destinations of messages that are down, since when, why, and when the host tries again.",
        method: Get,
        path: "/sinks",
        arguments: &[],
        is_list: false,
    },
    ToolSpec {
        name: "list_lookups",
        title: "Lookups",
        description: "Sources of answers for plugins that are down, since when and why.",
        method: Get,
        path: "/lookups",
        arguments: &[],
        is_list: false,
    },
    ToolSpec {
        name: "list_batches",
        title: "Batches",
        description: "Batches (actions on many dead letters or instances) with their progress, newest first.",
        method: Get,
        path: "/batches",
        arguments: &[],
        is_list: true,
    },
    ToolSpec {
        name: "show_batch",
        title: "Batch",
        description: "One batch: what it does and to what, its progress, who started it and why, and why it \
                      paused.",
        method: Get,
        path: "/batches/{id}",
        arguments: &[BATCH],
        is_list: false,
    },
    ToolSpec {
        name: "list_batch_items",
        title: "Items of a batch",
        description: "The dead letters or instances that a batch acts on, each with its outcome.",
        method: Get,
        path: "/batches/{id}/items",
        arguments: &[BATCH, given("outcome", Text, "Only items with this outcome, such as failed")],
        is_list: true,
    },
    ToolSpec {
        name: "list_audit",
        title: "Audit log",
        description: "What was done on the host and what was refused: by whom, when, to what, and why. It \
                      needs an administrator's token.",
        method: Get,
        path: "/audit",
        arguments: &[
            given("who", Text, "Only entries of this token or person"),
            given("action_contains", Text, "Only actions that contain this text, such as redrive"),
            given("from", Text, "Only entries since this time, such as 2026-01-31T12:00:00Z"),
            given("to", Text, "Only entries before this time"),
        ],
        is_list: true,
    },
    ToolSpec {
        name: "list_pauses",
        title: "Pauses",
        description: "What operators have paused (plugins, keys, types, sinks), why, and how much waits.",
        method: Get,
        path: "/pauses",
        arguments: &[],
        is_list: false,
    },
    ToolSpec {
        name: "propose_batch",
        title: "Propose a batch",
        description: "Prepares an action on many dead letters or instances as a draft, and counts what it \
                      would touch. Nothing happens until a person starts the draft.",
        method: Post,
        path: "/batches",
        arguments: &[
            needed("action", OneOf(&["redrive", "skip", "discard", "cancel", "end"]), "What to do"),
            given("plugin", Text, "Only of this plugin; cancel and end need it"),
            given("plugin_version", Text, "Only dead letters of this version"),
            given("sink", Text, "Only dead letters of this sink"),
            given("key", Text, "Only dead letters of this key"),
            given("type", Text, "Only dead letters of events or messages of this type"),
            given("reason_contains", Text, "Only dead letters whose reason contains this text"),
            given("where", Text, "Only instances whose fields meet these conditions"),
            given("all", Flag, "true if nothing else selects: everything is meant"),
            REASON,
        ],
        is_list: false,
    },
    ToolSpec {
        name: "redrive_dead_letter",
        title: "Redrive a dead letter",
        description: "Processes a dead letter again, then everything that waits behind it.",
        method: Post,
        path: "/dead-letters/{id}/redrive",
        arguments: &[ID, REASON],
        is_list: false,
    },
    ToolSpec {
        name: "cancel_instance",
        title: "Cancel an instance",
        description: "Requests that an instance compensates and completes. Its plugin decides how.",
        method: Post,
        path: "/instances/cancel",
        arguments: &[OF_PLUGIN, KEY, REASON],
        is_list: false,
    },
];

impl ToolSpec {
    pub(super) fn is_read_only(&self) -> bool {
        self.method == Get
    }

    fn arguments(&self) -> impl Iterator<Item = &Argument> {
        let paging: &[Argument] = if self.is_list { &[LIMIT, AFTER] } else { &[] };
        self.arguments.iter().chain(paging)
    }

    /// The JSON Schema of the arguments.
    pub(super) fn schema(&self) -> JsonObject {
        let property = |argument: &Argument| {
            let mut schema = match argument.kind {
                Text => json!({"type": "string", "maxLength": TEXT_BYTES_MAX}),
                Count if argument.name == LIMIT.name => {
                    json!({"type": "integer", "minimum": 1, "maximum": ROWS_MAX})
                }
                Count => json!({"type": "integer", "minimum": 0}),
                Flag => json!({"type": "boolean"}),
                OneOf(names) => json!({"type": "string", "enum": names}),
            };
            schema["description"] = argument.description.into();
            (argument.name.to_owned(), schema)
        };
        let required = self.arguments().filter(|argument| argument.is_required);
        let required: Vec<&str> = required.map(|argument| argument.name).collect();
        let properties: Map<String, Value> = self.arguments().map(property).collect();
        let mut schema = Map::new();
        schema.insert("type".to_owned(), json!("object"));
        schema.insert("properties".to_owned(), Value::Object(properties));
        schema.insert("required".to_owned(), json!(required));
        schema.insert("additionalProperties".to_owned(), json!(false));
        schema
    }

    /// What these arguments ask of the API.
    ///
    /// # Errors
    /// Says which argument is missing, unknown or of another type.
    pub(super) fn request(&self, given: &JsonObject) -> Result<Request, String> {
        if let Some(unknown) =
            given.keys().find(|name| self.arguments().all(|own| own.name != **name))
        {
            let known: Vec<&str> = self.arguments().map(|argument| argument.name).collect();
            return Err(format!(
                "{} has no argument `{unknown}`, but: {}",
                self.name,
                known.join(", ")
            ));
        }
        let mut path = self.path.to_owned();
        let (mut query, mut body) = (Vec::new(), Map::new());
        for argument in self.arguments() {
            let Some(value) = given.get(argument.name).filter(|value| !value.is_null()) else {
                if argument.is_required {
                    return Err(format!("{} needs the argument `{}`", self.name, argument.name));
                }
                continue;
            };
            let text = argument.text(value)?;
            let place = format!("{{{}}}", argument.name);
            if path.contains(&place) {
                path = path.replace(&place, &text);
            } else if self.method == Post {
                body.insert(argument.name.to_owned(), value.clone());
            } else {
                query.push((argument.name, text));
            }
        }
        if self.is_list && !given.contains_key(LIMIT.name) {
            query.push((LIMIT.name, ROWS.to_string()));
        }
        Ok(Request { method: self.method, path, query, body: Value::Object(body) })
    }
}

impl Argument {
    /// The value as it stands in a query or path.
    fn text(&self, value: &Value) -> Result<String, String> {
        let wrong = |expected: &str| Err(format!("`{}` must be {expected}", self.name));
        match (self.kind, value) {
            (Text, Value::String(text)) if text.len() <= TEXT_BYTES_MAX => Ok(text.clone()),
            (Text, _) => wrong(&format!("a text of at most {TEXT_BYTES_MAX} bytes")),
            (OneOf(names), Value::String(text)) if names.contains(&text.as_str()) => {
                Ok(text.clone())
            }
            (OneOf(names), _) => wrong(&format!("one of {}", names.join(", "))),
            (Flag, Value::Bool(flag)) => Ok(flag.to_string()),
            (Flag, _) => wrong("true or false"),
            (Count, value) => match value.as_u64() {
                Some(count) if self.name != LIMIT.name || (1..=ROWS_MAX).contains(&count) => {
                    Ok(count.to_string())
                }
                _ if self.name == LIMIT.name => wrong(&format!("a number from 1 to {ROWS_MAX}")),
                _ => wrong("a whole number"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(tool: &str, arguments: &Value) -> Result<Request, String> {
        let spec = TOOLS.iter().find(|spec| spec.name == tool).unwrap();
        spec.request(arguments.as_object().unwrap())
    }

    #[test]
    fn arguments_become_a_query_a_path_and_a_body() {
        let list = request("list_instances", &json!({"plugin": "p", "where": "a < b"})).unwrap();
        let query = vec![
            ("plugin", "p".to_owned()),
            ("where", "a < b".to_owned()),
            ("limit", "20".to_owned()),
        ];
        assert_eq!((list.path.as_str(), list.query), ("/instances", query));
        let redrive = request("redrive_dead_letter", &json!({"id": 7, "reason": "fixed"})).unwrap();
        assert_eq!((redrive.method, redrive.path.as_str()), (Post, "/dead-letters/7/redrive"));
        assert_eq!(redrive.body, json!({"reason": "fixed"}));
    }

    #[test]
    fn what_is_no_argument_of_a_tool_is_refused() {
        #[track_caller]
        fn check(tool: &str, arguments: &Value, expected: &str) {
            assert_eq!(request(tool, arguments).unwrap_err(), expected);
        }
        check("show_instance", &json!({"plugin": "p"}), "show_instance needs the argument `key`");
        check("list_queues", &json!({"x": 1}), "list_queues has no argument `x`, but: ");
        let plugin = |limit: Value| json!({"plugin": "p", "limit": limit});
        for limit in [json!(0), json!(101), json!("5"), json!(1.5)] {
            let expected = "`limit` must be a number from 1 to 100";
            check("list_instances", &plugin(limit), expected);
        }
        check("show_dead_letter", &json!({"id": "../x"}), "`id` must be a whole number");
        let long = json!({"plugin": "p", "key": "k".repeat(TEXT_BYTES_MAX + 1)});
        check("show_instance", &long, "`key` must be a text of at most 4096 bytes");
        let status = json!({"plugin": "p", "status": "asleep"});
        check("list_instances", &status, "`status` must be one of running, completed, ended");
    }

    #[test]
    fn every_tool_is_a_route_of_the_api_with_its_arguments() {
        let document: Value = serde_json::from_str(&crate::api::openapi::text()).unwrap();
        for tool in TOOLS {
            let method = if tool.method == Get { "get" } else { "post" };
            let route = &document["paths"][format!("/v1{}", tool.path)][method];
            assert!(route.is_object(), "{}: {} is no route", tool.name, tool.path);
            let parameters = route["parameters"].as_array().into_iter().flatten();
            let names: Vec<&str> = parameters.filter_map(|one| one["name"].as_str()).collect();
            for argument in tool.arguments().filter(|_| tool.is_read_only()) {
                assert!(names.contains(&argument.name), "{}: {}", tool.name, argument.name);
            }
        }
    }

    #[test]
    fn every_tool_has_a_name_of_its_own_and_a_schema_of_its_arguments() {
        for (place, tool) in TOOLS.iter().enumerate() {
            assert!(TOOLS[..place].iter().all(|other| other.name != tool.name), "{}", tool.name);
            let schema = tool.schema();
            let properties = schema["properties"].as_object().unwrap();
            assert_eq!(properties.len(), tool.arguments().count(), "{}", tool.name);
            assert!(tool.path.contains("{id}") == properties.contains_key("id"), "{}", tool.name);
        }
    }
}
