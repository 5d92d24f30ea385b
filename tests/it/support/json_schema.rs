//! The JSON Schema of a table beside the table itself, with python3-jsonschema as the judge.

use std::process::Command;

use oic::yaml::schema::{Field, json_schema, validate};
use oic::yaml::{Findings, Node, Value};

/// Asserts that schema and table say the same of each instance.
pub fn agree(fields: &'static [Field], instances: &[(String, Node)]) {
    let schema = json_schema("t", "urn:oic:schema:test", fields);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("all.json");
    let values: Vec<_> = instances.iter().map(|(_, node)| json(node)).collect();
    std::fs::write(
        &path,
        serde_json::json!({"schema": schema, "instances": values}).to_string(),
    )
    .unwrap();
    let script = "import json, sys, jsonschema\n\
        all = json.load(open(sys.argv[1]))\n\
        v = jsonschema.Draft202012Validator\n\
        v.check_schema(all['schema'])\n\
        v = v(all['schema'])\n\
        print(json.dumps([v.is_valid(i) for i in all['instances']]))";
    let output = Command::new("python3")
        .args(["-c", script])
        .arg(&path)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "this test needs the package python3-jsonschema: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let verdicts: Vec<bool> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(verdicts.len(), instances.len());
    let mut wrong = Vec::new();
    for ((name, node), verdict) in instances.iter().zip(verdicts) {
        let mut findings = Findings::new();
        validate(node, fields, &mut findings);
        // More than JSON Schema can say: items that share a key, and numbers too large for oic.
        let beyond = |message: &str, field: &str| {
            (message.contains(" is there twice") && !field.ends_with(']'))
                || message.contains("is too large")
                || message.contains("control character")
        };
        let beyond = findings.iter().filter(|f| beyond(&f.message, &f.field)).count();
        let valid = findings.errors() <= beyond;
        if valid != verdict {
            wrong.push(format!("{name}: the schema says {verdict}, the table {findings}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        instances.len(),
        wrong.join("\n")
    );
}

/// A tree as JSON.
pub fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        Value::Float(value) => (*value).into(),
        Value::Text(text) => text.as_str().into(),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(entries) => {
            let entries = entries.iter().map(|(key, node)| (key.text.clone(), json(node)));
            serde_json::Value::Object(entries.collect())
        }
    }
}
