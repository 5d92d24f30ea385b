//! A table as a JSON Schema (draft 2020-12), for editors.
//!
//! It describes a file after variables were put in. What the schema language cannot say
//! (one item's relation to another) is left to oic's own check.

use serde_json::{Map, Value, json};

use super::{Field, Shape, Text, Unique};

/// Makes the schema of a file whose top is a map of `fields`.
pub fn json_schema(title: &str, id: &str, fields: &'static [Field]) -> Value {
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": id,
        "title": title,
    });
    if let (Some(schema), Value::Object(map)) = (schema.as_object_mut(), self::map(fields, false)) {
        schema.extend(map);
    }
    schema
}

fn map(fields: &'static [Field], nullable: bool) -> Value {
    let mut properties = Map::new();
    for field in fields {
        // A key without a value counts as absent.
        let mut schema = shape(&field.shape, !field.required);
        if let Some(schema) = schema.as_object_mut() {
            schema.insert("description".to_owned(), field.doc.into());
        }
        properties.insert(field.name.to_owned(), schema);
    }
    let required: Vec<_> = fields
        .iter()
        .filter(|field| field.required)
        .map(|field| field.name)
        .collect();
    let mut schema = json!({
        "type": kind("object", nullable),
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema
}

fn shape(shape: &Shape, nullable: bool) -> Value {
    match shape {
        Shape::Text(rule) => text(rule, nullable),
        Shape::Plain(rule) => {
            let mut schema = text(rule, false);
            // The rules for texts say nothing of numbers.
            schema["type"] = json!(if nullable {
                &["string", "integer", "null"][..]
            } else {
                &["string", "integer"]
            });
            schema
        }
        Shape::Int { min, max } => json!({"type": kind("integer", nullable), "minimum": min, "maximum": max}),
        Shape::Number => json!({"type": kind("number", nullable)}),
        Shape::Bool => json!({"type": kind("boolean", nullable)}),
        Shape::Any => json!({}),
        Shape::List { item, unique } => {
            let mut schema = json!({"type": kind("array", nullable), "items": self::shape(item, false)});
            if *unique == Unique::Value {
                schema["uniqueItems"] = true.into();
            }
            schema
        }
        Shape::Map(fields) => map(fields, nullable),
        Shape::Table { key, value } => json!({
            "type": kind("object", nullable),
            "propertyNames": text(key, false),
            "additionalProperties": self::shape(value, false),
        }),
    }
}

fn kind(name: &str, nullable: bool) -> Value {
    if nullable { json!([name, "null"]) } else { name.into() }
}

fn text(rule: &Text, nullable: bool) -> Value {
    let mut schema = json!({"type": kind("string", nullable)});
    if !rule.may_be_empty {
        schema["minLength"] = 1.into();
    }
    schema["maxLength"] = rule.max_chars.into();
    if !rule.choices.is_empty() {
        let null = nullable.then_some(Value::Null);
        schema["enum"] = rule.choices.iter().map(|choice| (*choice).into()).chain(null).collect();
    }
    if !rule.examples.is_empty() {
        schema["examples"] = rule.examples.into();
    }
    let mut patterns: Vec<String> = Vec::new();
    let empty = if rule.may_be_empty { "|" } else { "" };
    patterns.extend(rule.pattern.map(|(pattern, _)| format!("^(?:{pattern}{empty})$")));
    patterns.extend(rule.check.map(|check| format!("^(?:{}{empty})$", check.pattern)));
    match patterns.as_slice() {
        [] => {}
        [only] => schema["pattern"] = only.as_str().into(),
        several => schema["allOf"] = several.iter().map(|pattern| json!({"pattern": pattern})).collect(),
    }
    schema
}
