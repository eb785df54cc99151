//! Schemas drawn by seeds: what the comparison claims must hold for values, as the validator of
//! the host sees them.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Map, Value, json};

use super::fit;
use crate::io::json_schema::JsonSchema;

const NAMES: [&str; 4] = ["a", "b", "c", "kind"];
const WORDS: [&str; 4] = ["", "x", "yy", "zzzzz"];

/// A pair of schemas, and values that the first one names.
struct Drawn {
    sent: Value,
    taken: Value,
    values: Vec<Value>,
}

impl Drawn {
    fn new(seed: u64, values_max: usize) -> Self {
        let mut draw = Draw(StdRng::seed_from_u64(seed));
        let sent = draw.document();
        let taken = if draw.chance(0.3) { draw.document() } else { draw.changed(&sent) };
        let valid = JsonSchema::new(&sent).unwrap();
        let values = (0..values_max).filter_map(|_| draw.value(&sent, &sent, 0));
        let values = values.filter(|value| valid.check(value).is_ok()).collect();
        Self { sent, taken, values }
    }
}

struct Draw(StdRng);

impl Draw {
    fn chance(&mut self, p: f64) -> bool {
        self.0.random_bool(p)
    }

    fn below(&mut self, max: usize) -> usize {
        self.0.random_range(0..max)
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all.choose(&mut self.0).unwrap().clone()
    }

    fn document(&mut self) -> Value {
        let mut schema = self.object(0);
        if self.chance(0.2) {
            schema = self.schema(0);
        }
        if let Value::Object(map) = &mut schema {
            let recursive = json!({"type": "object", "properties": {
                "a": {"$ref": "#/$defs/R"}, "b": self.leaf()}});
            map.insert("$defs".to_owned(), json!({"R": recursive, "L": self.leaf()}));
        }
        schema
    }

    fn schema(&mut self, depth: usize) -> Value {
        match self.below(if depth < 2 { 12 } else { 6 }) {
            0..=4 => self.leaf(),
            5 => json!({"$ref": self.of(&["#/$defs/R", "#/$defs/L"])}),
            6..=8 => self.object(depth + 1),
            9 => self.array(depth + 1),
            10 => {
                let keyword = self.of(&["anyOf", "oneOf"]);
                let count = 2 + self.below(2);
                let tagged = self.chance(0.5);
                let branch = |draw: &mut Self| match tagged {
                    true => draw.tagged(depth + 1),
                    false => draw.schema(depth + 1),
                };
                json!({ keyword: (0..count).map(|_| branch(self)).collect::<Vec<_>>() })
            }
            _ => match self.below(3) {
                0 => {
                    let other = json!({"type": "object", "properties": {"d": self.leaf()}, "required": ["d"]});
                    json!({"allOf": [self.object(depth + 1), other]})
                }
                1 => json!({"not": self.leaf()}),
                _ => json!(true),
            },
        }
    }

    fn leaf(&mut self) -> Value {
        match self.below(9) {
            0 => json!({"type": "string"}),
            1 => {
                let low = self.below(3);
                json!({"type": "string", "minLength": low, "maxLength": low + self.below(4)})
            }
            2 => json!({"type": "integer"}),
            3 => json!({"type": self.of(&["integer", "number"]), "minimum": self.below(3),
                        self.of(&["maximum", "exclusiveMaximum"]): 2 + self.below(4)}),
            4 => json!({"type": "number"}),
            5 => json!({"type": "boolean"}),
            6 => json!({"type": [self.of(&["string", "integer"]), "null"]}),
            7 => json!({"enum": [self.scalar(), self.scalar(), self.scalar()]}),
            _ => json!({"const": self.scalar()}),
        }
    }

    fn scalar(&mut self) -> Value {
        match self.below(6) {
            0 => Value::Null,
            1 => json!(self.chance(0.5)),
            2 => json!(self.below(4)),
            _ => json!(self.of(&WORDS)),
        }
    }

    fn object(&mut self, depth: usize) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for name in &NAMES[..3] {
            if self.chance(0.6) {
                properties.insert((*name).to_owned(), self.schema(depth + 1));
                if self.chance(0.6) {
                    required.push(*name);
                }
            }
        }
        let mut schema = json!({"type": "object", "properties": properties});
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        match self.below(6) {
            0 | 1 => schema["additionalProperties"] = json!(false),
            2 => schema["additionalProperties"] = self.leaf(),
            _ => {}
        }
        schema
    }

    fn tagged(&mut self, depth: usize) -> Value {
        let mut schema = self.object(depth);
        schema["properties"]["kind"] = json!({"const": self.of(&WORDS)});
        schema["required"] = json!(["kind"]);
        schema
    }

    fn array(&mut self, depth: usize) -> Value {
        let mut schema = json!({"type": "array", "items": self.schema(depth + 1)});
        match self.below(4) {
            0 => schema["minItems"] = json!(self.below(3)),
            1 => schema["maxItems"] = json!(self.below(3)),
            2 => {
                schema["prefixItems"] = json!([self.schema(depth + 1), self.leaf()]);
                schema["minItems"] = json!(2);
                if self.chance(0.5) {
                    schema["items"] = json!(false);
                }
            }
            _ => {}
        }
        schema
    }

    /// The same schema with one part or two replaced.
    fn changed(&mut self, schema: &Value) -> Value {
        let mut changed = schema.clone();
        for _ in 0..=self.below(2) {
            self.change(&mut changed);
        }
        changed
    }

    fn change(&mut self, schema: &mut Value) {
        let inner: Vec<String> = schema["properties"]
            .as_object()
            .into_iter()
            .flat_map(|map| map.keys().cloned())
            .collect();
        if !inner.is_empty() && self.chance(0.5) {
            let name = self.of(&inner);
            return self.change(&mut schema["properties"][name]);
        }
        match schema.as_object_mut() {
            Some(map) if map.contains_key("properties") => match self.below(4) {
                0 => drop(map.remove("required")),
                1 => drop(map.insert("required".to_owned(), json!([self.of(&NAMES)]))),
                2 => drop(map.insert("additionalProperties".to_owned(), json!(false))),
                _ => drop(map.remove("additionalProperties")),
            },
            Some(map) if map.contains_key("anyOf") && self.chance(0.7) => {
                drop(map["anyOf"].as_array_mut().unwrap().pop());
                if map["anyOf"] == json!([]) {
                    *schema = self.leaf();
                }
            }
            _ => *schema = self.leaf(),
        }
    }

    /// A value that the schema may mean: with members that it names, and no others.
    fn value(&mut self, root: &Value, schema: &Value, depth: usize) -> Option<Value> {
        if depth > 12 {
            return None;
        }
        let Value::Object(map) = schema else { return Some(self.any()) };
        let mut parts = Vec::new();
        if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
            parts.push(root.pointer(&reference[1..])?.clone());
        }
        for keyword in ["anyOf", "oneOf"] {
            if let Some(Value::Array(branches)) = map.get(keyword) {
                parts.push(self.of(branches));
            }
        }
        if let Some(Value::Array(branches)) = map.get("allOf") {
            parts.extend(branches.iter().cloned());
        }
        if let Some(value) = map.get("const") {
            return Some(value.clone());
        }
        if let Some(Value::Array(values)) = map.get("enum") {
            return Some(self.of(values));
        }
        let mut value = match map.get("type") {
            Some(Value::Array(types)) => {
                let name = self.of(types);
                self.of_type(root, map, &name, depth)
            }
            Some(name) => self.of_type(root, map, name, depth),
            None if parts.is_empty() => Some(self.any()),
            None => None,
        };
        for part in parts {
            let other = self.value(root, &part, depth + 1)?;
            value = match (value, other) {
                (Some(Value::Object(mut one)), Value::Object(other)) => {
                    one.extend(other);
                    Some(Value::Object(one))
                }
                (_, other) => Some(other),
            };
        }
        value
    }

    fn of_type(
        &mut self,
        root: &Value,
        map: &Map<String, Value>,
        name: &Value,
        depth: usize,
    ) -> Option<Value> {
        Some(match name.as_str().unwrap_or_default() {
            "null" => Value::Null,
            "boolean" => json!(self.chance(0.5)),
            // Mostly what the schema's own bounds allow.
            "string" => {
                let least = map.get("minLength").and_then(Value::as_u64).unwrap_or(0);
                let more = self.of(&[0, 0, 1, 2, 3, 4, 20]);
                json!("x".repeat(usize::try_from(least + more).ok()?))
            }
            "integer" => {
                let least = map.get("minimum").and_then(Value::as_i64);
                json!(least.unwrap_or(self.of(&[-1_000, 0, 2])) + self.of(&[0, 1, 2, 3, 4, 1_000]))
            }
            "number" => {
                let least = map.get("minimum").and_then(Value::as_f64);
                let more = self.of(&[0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 1_000.5]);
                json!(least.unwrap_or(self.of(&[-0.5, 0.0, 2.0])) + more)
            }
            "array" => {
                let prefix = map.get("prefixItems").and_then(Value::as_array).cloned();
                let prefix = prefix.unwrap_or_default();
                let rest = map.get("items").cloned().unwrap_or(json!(true));
                let count = match rest {
                    Value::Bool(false) => prefix.len(),
                    _ => prefix.len() + self.below(4),
                };
                let item = |index: usize| prefix.get(index).unwrap_or(&rest).clone();
                let items = (0..count).map(|index| self.value(root, &item(index), depth + 1));
                Value::Array(items.collect::<Option<_>>()?)
            }
            "object" => self.members(root, map, depth)?,
            other => unreachable!("{other}"),
        })
    }

    fn members(&mut self, root: &Value, map: &Map<String, Value>, depth: usize) -> Option<Value> {
        let required = map.get("required").cloned().unwrap_or(json!([]));
        let required = required.as_array().cloned().unwrap_or_default();
        let mut value = Map::new();
        for (name, schema) in map.get("properties").and_then(Value::as_object).into_iter().flatten()
        {
            if required.contains(&json!(name)) || self.chance(0.5) {
                match self.value(root, schema, depth + 1) {
                    Some(member) => drop(value.insert(name.clone(), member)),
                    None if required.contains(&json!(name)) => return None,
                    None => {}
                }
            }
        }
        let rest = map.get("additionalProperties");
        for name in &required {
            let name = name.as_str().unwrap_or_default();
            if !value.contains_key(name) {
                let member = self.value(root, rest.unwrap_or(&json!(true)), depth + 1)?;
                value.insert(name.to_owned(), member);
            }
        }
        if let Some(schema @ Value::Object(_)) = rest
            && self.chance(0.6)
        {
            let name = self.of(&["a", "b", "c", "kind", "x", "*"]);
            if !map["properties"].as_object().is_some_and(|own| own.contains_key(name)) {
                value.insert(name.to_owned(), self.value(root, schema, depth + 1)?);
            }
        }
        Some(Value::Object(value))
    }

    fn any(&mut self) -> Value {
        match self.below(6) {
            0 => json!({}),
            1 => json!([]),
            2 => json!(1.5),
            3 => json!({"a": self.scalar(), "q": 1}),
            _ => self.scalar(),
        }
    }
}

#[test]
fn a_schema_fits_itself() {
    for seed in 0..500 {
        let sent = Draw(StdRng::seed_from_u64(seed)).document();
        let comparison = fit(&sent, &sent.clone());
        assert!(comparison.fits(), "{seed}: {sent}: {comparison:#?}");
    }
}

#[test]
fn what_fits_is_taken() {
    let mut fitting = 0;
    for seed in 0..1_500 {
        let Drawn { sent, taken, values } = Drawn::new(seed, 60);
        if !fit(&sent, &taken).fits() {
            continue;
        }
        fitting += 1;
        let reader = JsonSchema::new(&taken).unwrap();
        for value in values {
            let read = reader.check(&value);
            assert!(read.is_ok(), "{seed}: {sent}\n{taken}\n{value}: {read:?}");
        }
    }
    assert!(fitting > 120, "{fitting}");
}

#[test]
fn what_is_at_fault_is_refused() {
    let (mut faults, mut unknown) = (0, 0);
    for seed in 0..800 {
        let Drawn { sent, taken, values } = Drawn::new(seed, 200);
        let comparison = fit(&sent, &taken);
        unknown += usize::from(comparison.faults.is_empty() && !comparison.fits());
        if comparison.faults.is_empty() || values.is_empty() {
            continue;
        }
        faults += 1;
        let reader = JsonSchema::new(&taken).unwrap();
        let refused = values.iter().any(|value| reader.check(value).is_err());
        assert!(refused, "{seed}: {sent}\n{taken}\n{comparison:#?}\n{values:?}");
    }
    assert!(faults > 400 && unknown < 100, "{faults} {unknown}");
}
