//! Pure: the rules for the optional part of a manifest. Every mistake is found when the plugin is
//! loaded, so that all later users of that part can rely on it.

use std::collections::BTreeSet;

use sagabox_engine::model::{Manifest, OptionalPart};
use sagabox_engine::pure::pointer;

use crate::io::json_schema::JsonSchema;

/// The most bytes of all schemas of a plugin together. The schema of a message has some KB. The
/// host keeps the schemas of all versions that it serves or tries, shows them in its list of
/// plugins, and may compile them (`[ingest] validate`), which takes several times their size. The
/// number was not measured.
const SCHEMAS_BYTES_MAX: usize = 1 << 20;
const FIELDS_MAX: usize = 32;
const FIELD_CHARACTERS_MAX: usize = 64;
const POINTER_BYTES_MAX: usize = 512;
const SUMMARY_BYTES_MAX: usize = 512;

/// Checks the size of all schemas before they are parsed.
///
/// # Errors
/// If they are too large.
pub(super) fn check_size(schemas_bytes: usize) -> Result<(), String> {
    match schemas_bytes > SCHEMAS_BYTES_MAX {
        true => Err(format!(
            "schemas: they have {schemas_bytes} bytes together; at most {SCHEMAS_BYTES_MAX} are \
             accepted"
        )),
        false => Ok(()),
    }
}

/// # Errors
/// Says which part is at fault, why, and what to do.
pub(super) fn check(manifest: &Manifest) -> Result<(), String> {
    let OptionalPart { schemas, configuration_schema, fields, summary } = &manifest.optional;
    for (name, schema) in schemas {
        if !is_known(manifest, name) {
            return Err(format!(
                "schemas: the plugin neither takes, sends nor emits `{name}`; remove the schema, \
                 or declare the type"
            ));
        }
        JsonSchema::new(schema)
            .map_err(|reason| format!("schemas: that of `{name}` is no JSON Schema: {reason}"))?;
    }
    if let Some(schema) = configuration_schema {
        JsonSchema::new(schema)
            .map_err(|reason| format!("configuration-schema: it is no JSON Schema: {reason}"))?;
    }
    if !manifest.role.has_instances() && (!fields.is_empty() || summary.is_some()) {
        return Err(format!(
            "a {} has no state: fields and summary are for process managers",
            manifest.role.as_str()
        ));
    }
    check_fields(manifest)?;
    let names: BTreeSet<&str> = fields.iter().map(|field| field.name.as_str()).collect();
    match summary {
        Some(summary) => {
            check_summary(summary, &names).map_err(|reason| format!("summary: {reason}"))
        }
        None => Ok(()),
    }
}

fn is_known(manifest: &Manifest, name: &str) -> bool {
    manifest.commands.contains(name)
        || manifest.events.contains(name)
        || manifest.subscriptions.iter().any(|subscription| subscription.event_type == name)
}

fn check_fields(manifest: &Manifest) -> Result<(), String> {
    let fields = &manifest.optional.fields;
    if fields.len() > FIELDS_MAX {
        return Err(format!(
            "fields: there are {}; at most {FIELDS_MAX} are accepted",
            fields.len()
        ));
    }
    let mut names = BTreeSet::new();
    for field in fields {
        let name = &field.name;
        if !is_field_name(name) {
            return Err(format!(
                "fields: the name `{}` must be a letter or _, then letters, digits and _; at most \
                 {FIELD_CHARACTERS_MAX}",
                name.escape_debug()
            ));
        }
        if !names.insert(name) {
            return Err(format!("fields: `{name}` is declared twice"));
        }
        if !pointer::is_valid(&field.pointer) || field.pointer.len() > POINTER_BYTES_MAX {
            return Err(format!(
                "fields: `{name}`: `{}` is not a JSON Pointer such as /order/id (RFC 6901) of at \
                 most {POINTER_BYTES_MAX} bytes",
                field.pointer
            ));
        }
    }
    Ok(())
}

fn is_field_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let begins_well = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    begins_well && bytes.all(plain) && name.len() <= FIELD_CHARACTERS_MAX
}

fn check_summary(summary: &str, fields: &BTreeSet<&str>) -> Result<(), String> {
    if summary.len() > SUMMARY_BYTES_MAX {
        return Err(format!(
            "it has {} bytes; at most {SUMMARY_BYTES_MAX} are accepted",
            summary.len()
        ));
    }
    if summary.chars().any(char::is_control) {
        return Err("it has control characters; it is one line of text".to_owned());
    }
    let mut rest = summary;
    while let Some(at) = rest.find(['{', '}']) {
        let (brace, behind) = (&rest[at..=at], &rest[at + 1..]);
        if behind.starts_with(brace) {
            rest = &behind[1..];
            continue;
        }
        let close = (brace == "{").then(|| behind.find(['{', '}'])).flatten();
        let Some(close) = close.filter(|close| behind[*close..].starts_with('}')) else {
            return Err(format!("a single `{brace}`; a brace itself is written twice"));
        };
        let name = &behind[..close];
        if !fields.contains(name) {
            let known: Vec<&str> = fields.iter().copied().collect();
            return Err(format!(
                "it names the field `{name}`, and the fields are: {}",
                if known.is_empty() { "none".to_owned() } else { known.join(", ") }
            ));
        }
        rest = &behind[close + 1..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sagabox_engine::model::Field;
    use serde_json::json;

    use super::super::manifest::samples;
    use super::*;

    #[track_caller]
    fn checked(change: impl FnOnce(&mut OptionalPart), expected: Result<(), &str>) {
        let mut manifest = samples::process_manager();
        change(&mut manifest.optional);
        assert_eq!(check(&manifest), expected.map_err(str::to_owned));
    }

    fn field(name: &str, pointer: &str) -> Field {
        Field { name: name.to_owned(), pointer: pointer.to_owned() }
    }

    #[test]
    fn nothing_and_everything_is_accepted() {
        checked(|_| {}, Ok(()));
        checked(
            |part| {
                part.schemas.insert("placed".to_owned(), json!({"type": "object"}));
                part.schemas.insert("Pay".to_owned(), json!(true));
                part.configuration_schema = Some(json!({"type": "object"}));
                part.fields = vec![field("id", "/id"), field("_n2", "/a~1b/0"), field("all", "")];
                part.summary = Some("order {id}: {{{_n2}}} {all}".to_owned());
            },
            Ok(()),
        );
    }

    #[test]
    fn what_is_at_fault_is_named() {
        checked(
            |part| drop(part.schemas.insert("other".to_owned(), json!({}))),
            Err(
                "schemas: the plugin neither takes, sends nor emits `other`; remove the schema, or \
                 declare the type",
            ),
        );
        checked(
            |part| {
                let fields = (0..33).map(|n| field(&format!("f{n}"), ""));
                part.fields = fields.collect();
            },
            Err("fields: there are 33; at most 32 are accepted"),
        );
        for name in ["", "2nd", "a-b", "a b", &"a".repeat(65)] {
            checked(
                |part| part.fields = vec![field(name, "/a")],
                Err(&format!(
                    "fields: the name `{name}` must be a letter or _, then letters, digits and _; \
                     at most 64"
                )),
            );
        }
        checked(
            |part| part.fields = vec![field("a", "/a"), field("a", "/b")],
            Err("fields: `a` is declared twice"),
        );
        for pointer in ["a", "/a~2", "/~"] {
            checked(
                |part| part.fields = vec![field("a", pointer)],
                Err(&format!(
                    "fields: `a`: `{pointer}` is not a JSON Pointer such as /order/id (RFC 6901) of \
                     at most 512 bytes"
                )),
            );
        }
    }

    #[test]
    fn all_schemas_together_have_a_limit() {
        assert_eq!(check_size(1_048_576), Ok(()));
        let reason =
            "schemas: they have 1048577 bytes together; at most 1048576 are accepted".to_owned();
        assert_eq!(check_size(1_048_577), Err(reason));
    }

    #[test]
    fn a_schema_that_is_none_is_named_with_the_place() {
        let mut manifest = samples::process_manager();
        manifest.optional.schemas.insert("Pay".to_owned(), json!({"type": "txt"}));
        let reason = check(&manifest).unwrap_err();
        assert!(
            reason.starts_with("schemas: that of `Pay` is no JSON Schema: at `/type`"),
            "{reason}"
        );
        manifest.optional.schemas.clear();
        manifest.optional.configuration_schema = Some(json!({"required": "a"}));
        let reason = check(&manifest).unwrap_err();
        assert!(
            reason.starts_with("configuration-schema: it is no JSON Schema: at `/req"),
            "{reason}"
        );
    }

    #[test]
    fn a_summary_names_fields_alone() {
        let summary = |text: &str, expected| {
            checked(
                |part| {
                    part.fields = vec![field("id", "/id")];
                    part.summary = Some(text.to_owned());
                },
                expected,
            );
        };
        summary("no field", Ok(()));
        summary("{id}{id}", Ok(()));
        summary("{it}", Err("summary: it names the field `it`, and the fields are: id"));
        for text in ["{id", "a {", "{id{id}}"] {
            summary(text, Err("summary: a single `{`; a brace itself is written twice"));
        }
        summary("id}", Err("summary: a single `}`; a brace itself is written twice"));
        summary("a\nb", Err("summary: it has control characters; it is one line of text"));
    }

    #[test]
    fn other_roles_have_neither_fields_nor_summary() {
        let mut manifest = samples::saga();
        manifest.optional.summary = Some(String::new());
        let reason = "a saga has no state: fields and summary are for process managers";
        assert_eq!(check(&manifest), Err(reason.to_owned()));
    }
}
