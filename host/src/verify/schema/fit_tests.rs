//! What the comparison says, in examples.

use serde_json::{Value, json};

use super::fit;

/// Each as `pointer: what the sender does, what the receiver does (nearest)`.
#[track_caller]
fn check(sent: &Value, taken: &Value, expected: &[&str]) {
    let comparison = fit(sent, taken);
    let said: Vec<String> = comparison
        .faults
        .iter()
        .map(|fault| {
            let near = fault.near.as_ref().map_or_else(String::new, |near| format!(" ({near})"));
            format!("{}: {}, {}{near}", fault.pointer, fault.sent, fault.taken)
        })
        .collect();
    assert_eq!(said, expected, "{comparison:?}");
    assert!(!expected.is_empty() || comparison.unknown.is_empty(), "{comparison:?}");
}

#[track_caller]
fn unknown(sent: &Value, taken: &Value) {
    let comparison = fit(sent, taken);
    assert!(comparison.faults.is_empty() && !comparison.unknown.is_empty(), "{comparison:?}");
}

fn object(properties: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required})
}

#[test]
fn a_renamed_field_is_named_with_what_it_is_called_now() {
    check(
        &object(
            json!({"orderId": {"type": "string"}, "amountCents": {"type": "integer"}}),
            &["orderId", "amountCents"],
        ),
        &object(
            json!({"orderId": {"type": "string"}, "amount": {"type": "integer"}}),
            &["orderId", "amount"],
        ),
        &["/amount: never sends it, requires it (amountCents)"],
    );
}

#[test]
fn the_only_member_that_the_receiver_does_not_know_may_be_the_one_it_misses() {
    let of = |names: &[&str]| {
        let members = names.iter().map(|name| ((*name).to_owned(), json!({"type": "string"})));
        object(members.collect::<serde_json::Map<_, _>>().into(), names)
    };
    check(
        &of(&["orderNumber", "what"]),
        &of(&["orderId", "what"]),
        &["/orderId: never sends it, requires it (orderNumber)"],
    );
    check(
        &of(&["orderNumber", "shop", "what"]),
        &of(&["orderId", "what"]),
        &["/orderId: never sends it, requires it"],
    );
}

#[test]
fn a_number_that_became_a_string_is_named_with_its_place() {
    let line =
        |schema: Value| object(json!({"lines": {"type": "array", "items": schema}}), &["lines"]);
    let price = |name: &str| object(json!({"price": {"type": name}}), &["price"]);
    check(
        &line(price("string")),
        &line(price("number")),
        &["/lines/*/price: sends a string, takes a number"],
    );
    check(&line(price("integer")), &line(price("number")), &[]);
    check(
        &line(price("number")),
        &line(price("integer")),
        &["/lines/*/price: sends a number, takes an integer"],
    );
}

#[test]
fn an_enum_value_that_is_gone_is_named() {
    let of = |values: Value| object(json!({"by": {"type": "string", "enum": values}}), &["by"]);
    check(&of(json!(["land", "sea"])), &of(json!(["land", "sea", "air"])), &[]);
    check(
        &of(json!(["land", "sea", "air"])),
        &of(json!(["land", "sea"])),
        &["/by: may send \"air\", takes \"land\" or \"sea\""],
    );
    // As `schemars` writes an enum with documentation.
    let described =
        json!({"oneOf": [{"const": "land", "description": "a lorry"}, {"const": "sea"}]});
    check(&of(json!(["land", "sea"])), &object(json!({"by": described}), &["by"]), &[]);
    check(
        &object(json!({"by": {"type": "string"}}), &["by"]),
        &of(json!(["land"])),
        &["/by: sends a string, takes \"land\""],
    );
}

#[test]
fn what_may_be_null_or_missing_is_named() {
    let note = json!({"note": {"type": ["string", "null"]}});
    let text = json!({"note": {"type": "string"}});
    check(
        &object(note.clone(), &["note"]),
        &object(text.clone(), &["note"]),
        &["/note: may send null, takes a string"],
    );
    check(&object(text.clone(), &["note"]), &object(note, &[]), &[]);
    check(
        &object(text.clone(), &[]),
        &object(text, &["note"]),
        &["/note: may leave it out, requires it"],
    );
}

#[test]
fn a_closed_object_takes_no_other_members() {
    let mut closed = object(json!({"a": {"type": "string"}}), &["a"]);
    closed["additionalProperties"] = json!(false);
    let open = object(json!({"a": {"type": "string"}}), &["a"]);
    let more = object(json!({"a": {"type": "string"}, "b/c": {}}), &["a"]);
    check(&more, &closed, &["/b~1c: may send it, takes no member of this name"]);
    // What an open object does not name is not assumed to be sent.
    check(&open, &closed, &[]);
    check(&more, &open, &[]);
    let map = json!({"type": "object", "additionalProperties": {"type": "integer"}});
    check(
        &map,
        &closed,
        &[
            "/*: may send a member of any name, takes no other members",
            "/a: may leave it out, requires it",
            "/a: sends an integer, takes a string",
        ],
    );
    let prices = json!({"type": "object", "additionalProperties": {"type": "string"}});
    check(&map, &prices, &["/*: sends an integer, takes a string"]);
    check(&object(json!({"a": {"type": "integer"}}), &[]), &map, &[]);
}

#[test]
fn a_recursive_type_is_compared_once() {
    let tree = |leaf: &str| {
        json!({"$ref": "#/$defs/Node", "$defs": {"Node": {
            "type": "object",
            "properties": {
                "value": {"type": leaf},
                "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
            },
            "required": ["value"],
        }}})
    };
    check(&tree("string"), &tree("string"), &[]);
    check(&tree("integer"), &tree("number"), &[]);
    check(&tree("string"), &tree("number"), &["/value: sends a string, takes a number"]);
}

/// The forms of an enum of Rust: tagged by a member, by the only member, and not at all.
#[test]
fn variants_are_compared_with_those_of_their_tag() {
    let card = |field: &str| {
        object(json!({"by": {"const": "card"}, field: {"type": "string"}}), &["by", field])
    };
    let cash = object(json!({"by": {"const": "cash"}}), &["by"]);
    let one_of = |branches: Value| json!({ "oneOf": branches });
    check(&one_of(json!([card("number"), cash])), &one_of(json!([cash, card("number")])), &[]);
    check(&card("number"), &one_of(json!([cash, card("number")])), &[]);
    check(
        &one_of(json!([cash, card("cardNumber")])),
        &one_of(json!([cash, card("number")])),
        &["/number: never sends it, requires it (cardNumber)"],
    );
    check(
        &one_of(json!([cash, card("number")])),
        &one_of(json!([card("number")])),
        &["/by: sends \"cash\", takes \"card\"", "/number: never sends it, requires it"],
    );
    // One object with a tag of two values, against a variant for each.
    let either = object(
        json!({"by": {"enum": ["cash", "card"]}, "number": {"type": "string"}}),
        &["by", "number"],
    );
    check(&either, &one_of(json!([cash, card("number")])), &[]);
    let only = |name: &str| {
        let mut schema = object(json!({name: {"type": "integer"}}), &[name]);
        schema["additionalProperties"] = json!(false);
        schema
    };
    check(
        &one_of(json!([only("a"), only("b")])),
        &one_of(json!([only("b"), only("a"), only("c")])),
        &[],
    );
    check(
        &json!({"type": "integer"}),
        &json!({"anyOf": [{"type": "string"}, {"type": "number"}]}),
        &[],
    );
    let option =
        json!({"anyOf": [{"$ref": "#/$defs/A"}, {"type": "null"}], "$defs": {"A": only("a")}});
    check(&only("a"), &option, &[]);
    check(&option, &only("a"), &[": may send null, takes an object"]);
}

#[test]
fn flattened_and_combined_objects_are_one() {
    let both = json!({
        "allOf": [object(json!({"a": {"type": "string"}}), &["a"]), {"$ref": "#/$defs/B"}],
        "unevaluatedProperties": false,
        "$defs": {"B": object(json!({"b": {"type": "integer"}}), &["b"])},
    });
    let mut flat = object(json!({"a": {"type": "string"}, "b": {"type": "integer"}}), &["a", "b"]);
    check(&both, &flat, &[]);
    check(&flat, &both, &[]);
    flat["properties"]["c"] = json!({"type": "boolean"});
    check(&flat, &both, &["/c: may send it, takes no member of this name"]);
}

#[test]
fn ranges_are_compared_and_marked() {
    let integer = |low: i64| json!({"type": "integer", "minimum": low});
    let comparison = fit(&integer(0), &integer(1));
    assert!(comparison.faults[0].is_of_range);
    check(&integer(0), &integer(1), &[": may send less than 1, takes at least 1"]);
    check(&json!({"type": "integer", "exclusiveMinimum": 0}), &integer(1), &[]);
    check(
        &json!({"type": "integer", "format": "int64"}),
        &json!({"type": "integer", "format": "int32"}),
        &[": sends the format `int64`, takes `int32`"],
    );
    check(&json!({"type": "integer"}), &json!({"type": "integer", "format": "int32"}), &[]);
    let big = json!({"type": "integer", "maximum": 18_446_744_073_709_551_615_u64});
    check(
        &big,
        &json!({"type": "integer", "maximum": 18_446_744_073_709_551_614_u64}),
        &[": may send more than 18446744073709551614, takes at most 18446744073709551614"],
    );
    let text = |format: &str| json!({"type": "string", "format": format});
    check(&text("date"), &text("date-time"), &[": sends the format `date`, takes `date-time`"]);
    check(&json!({"type": "string"}), &text("date"), &[]);
    check(
        &json!({"type": "array", "items": {"type": "string"}}),
        &json!({"type": "array", "items": {"type": "string"}, "maxItems": 3}),
        &[": may send more than 3 items, takes at most 3"],
    );
    let pair = json!({"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}],
                      "minItems": 2, "maxItems": 2});
    check(&pair, &pair.clone(), &[]);
    check(
        &pair,
        &json!({"type": "array", "items": {"type": "string"}}),
        &["/1: sends an integer, takes a string"],
    );
}

#[test]
fn what_is_not_understood_is_no_fault() {
    let text = json!({"type": "string"});
    unknown(&json!(true), &text);
    unknown(&object(json!({"a": true}), &["a"]), &object(json!({"a": text}), &["a"]));
    unknown(&text, &json!({"type": "string", "pattern": "^a"}));
    unknown(&text, &json!({"type": "string", "not": {"const": "a"}}));
    unknown(&json!({"type": "string", "not": {"minLength": 1}}), &json!({"type": "integer"}));
    unknown(&json!({"$ref": "#/$defs/Gone"}), &text);
    unknown(&object(json!({}), &[]), &json!({"type": "object", "minProperties": 1}));
    // Together they may take everything, and no one of them does.
    let two =
        object(json!({"a": {"type": "string"}, "b": {"type": ["string", "integer"]}}), &["a"]);
    let one = |name: &str| object(json!({"a": {"type": "string"}, "b": {"type": name}}), &["a"]);
    unknown(&two, &json!({"anyOf": [one("string"), one("integer")]}));
    // The same words mean the same, understood or not.
    let odd = json!({"if": {"const": 1}, "then": {"type": "integer"}, "title": "one"});
    let mut same = odd.clone();
    same["title"] = json!("other");
    check(&odd, &same, &[]);
    check(&text, &json!(true), &[]);
}

#[test]
fn schemas_that_refer_to_each_other_in_every_way_are_given_up() {
    let names: Vec<String> = (0..12).map(|n| format!("N{n}")).collect();
    let node = |kind: &str| {
        let all: Vec<Value> =
            names.iter().map(|n| json!({"$ref": format!("#/$defs/{n}")})).collect();
        let properties = names.iter().map(|n| (n.clone(), json!({"anyOf": all})));
        let mut schema =
            json!({"type": "object", "properties": properties.collect::<serde_json::Map<_, _>>()});
        schema["properties"]["leaf"] = json!({ "type": kind });
        schema
    };
    let document = |kind: &str| {
        let all = names.iter().map(|name| (name.clone(), node(kind)));
        json!({"$ref": "#/$defs/N0", "$defs": all.collect::<serde_json::Map<_, _>>()})
    };
    let comparison = fit(&document("integer"), &document("number"));
    assert!(comparison.faults.is_empty(), "{comparison:?}");
}
