//! What is made of the tables of fields: editor schemas and the reference.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/json_schema.rs"]
mod json_schema;

use std::path::{Path, PathBuf};
use std::process::Command;

use json_schema::agree;
use oic::yaml::schema::{Field, markdown};
use oic::yaml::{Findings, Node, Source, Value, parse, read_source};
use oic::{config, provider, template};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn tree(text: &str) -> Node {
    parse(&Source::new("t", text), &mut Findings::new()).unwrap()
}

/// What each value of a valid file is exchanged for, to see who complains.
fn odd_values() -> Vec<Node> {
    [
        "''",
        "x",
        "a b",
        "'a:b'",
        "/a",
        "/a/../b",
        "/a/./b",
        "/a/",
        "/a:b",
        "/a b",
        "a/b",
        ".a",
        "-a",
        "..",
        "swap",
        "none",
        "md5",
        "sha512",
        "grub",
        "4GiB",
        "'0'",
        "'4 MiB'",
        "4gib",
        "'9'",
        "http://h/p",
        "ftp://h/p",
        "http://u@h/",
        "file:///k",
        "'file://'",
        "<URL>",
        "'[trusted=yes]'",
        "a.key",
        "../a.key",
        "'${A}/b.pem'",
        "'1.0'",
        "'1.0.0-rc.1+b.2'",
        "'1.'",
        "host.example",
        "-host",
        "name=1:2.0-1",
        "lib*",
        "'a\\nb'",
        "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
        "true",
        "null",
        "7",
        "-1",
        "100000",
        "1.5",
        "[]",
        "[x]",
        "[x, x]",
        "[7]",
        "{}",
        "{a: b}",
        "[{}]",
        "[{cmd: x}]",
        "raw",
        "x86_64",
    ]
    .into_iter()
    .map(tree)
    .collect()
}

/// `node` with each value in turn exchanged for each odd one, taken away, or given an unknown neighbour.
fn mutants(node: &Node, odd: &[Node]) -> Vec<(String, Node)> {
    let mut all = Vec::new();
    match &node.value {
        Value::Map(entries) => {
            let mut more = node.clone();
            more.set("surplus", odd[1].clone());
            all.push(("+surplus".to_owned(), more));
            for (key, child) in entries {
                let mut less = node.clone();
                less.remove(&key.text);
                all.push((format!("-{}", key.text), less));
                let own = odd.iter().enumerate().map(|(n, odd)| (format!("={n}"), odd.clone()));
                for (name, mutant) in own.chain(mutants(child, odd)) {
                    let mut changed = node.clone();
                    changed.set(&key.text, mutant);
                    all.push((format!(".{}{name}", key.text), changed));
                }
            }
        }
        Value::List(items) => {
            // One item stands for all.
            if let Some(child) = items.first() {
                let own = odd.iter().enumerate().map(|(n, odd)| (format!("={n}"), odd.clone()));
                for (name, mutant) in own.chain(mutants(child, odd)) {
                    let mut items = items.clone();
                    items[0] = mutant;
                    let changed = Node {
                        span: node.span.clone(),
                        value: Value::List(items),
                    };
                    all.push((format!("[0]{name}"), changed));
                }
            }
        }
        _ => {}
    }
    all
}

/// A template with every field.
const FULL: &str = "
metadata: {description: d, use_cases: [u], keywords: [k]}
image: {name: t, version: '1.0'}
target: {os: debian, dist: debian13, arch: x86_64, imageType: raw}
disk:
  name: d
  path: /dev/sda
  size: 4GiB
  partitionTableType: gpt
  artifacts: [{type: raw, compression: gz}]
  partitions:
    - {id: a, index: 1, name: n, type: esp, typeUUID: c12a7328-f81f-11d2-ba4b-00a0c93ec93b, fsType: fat32, fsLabel: L,
       start: 1MiB, end: '0', mountPoint: /, mountOptions: defaults, flags: [boot]}
systemConfig:
  name: s
  description: d
  hostname: h
  initramfs: {template: t}
  immutability: {enabled: true, secureBootDBKey: a.key, secureBootDBCrt: a.crt, secureBootDBCer: a.cer}
  users: [{name: u, password: p, hash_algo: sha512, passwordMaxAge: 9, startupScript: /s, groups: [g], sudo: true,
    home: /h, shell: /s}]
  bootloader: {bootType: efi, provider: grub}
  packages: [vim]
  additionalFiles: [{local: a, final: /b}]
  configurations: [{cmd: c}]
  kernel: {name: k, version: '6', cmdline: c, enableExtraModules: m, uki: true, packages: [p]}
packageRepositories:
  - {codename: c, url: 'http://h/', path: /p, pkey: 'http://h/k', pkeys: ['http://h/k'], component: main, priority: 1,
     allowPackages: [a], excludePackages: [b]}
";

fn yaml_files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|e| e == "yml"))
        .collect()
}

#[test]
fn the_schema_of_templates_says_what_the_table_says() {
    let mut instances = vec![("full".to_owned(), tree(FULL))];
    let directories = [
        root().join("tests/data/templates"),
        root().join("data/templates"),
        root().join("../shared/compat/templates"),
    ];
    for path in directories.iter().flat_map(|directory| yaml_files(directory)) {
        let node = parse(&read_source(&path).unwrap(), &mut Findings::new()).unwrap();
        instances.push((path.display().to_string(), node));
    }
    let valid = instances.len();
    assert!(valid > 8);
    instances.extend(mutants(&tree(FULL), &odd_values()));
    assert!(instances.len() > 4000, "{}", instances.len());
    agree(template::schema::TEMPLATE, &instances);
}

#[test]
fn the_schemas_of_configurations_and_providers_say_what_their_tables_say() {
    let config = "
workers: 3
cache_dir: /c
config_dir: /d
mirrors: {debian: 'http://h/debian'}
logging: {level: info, file: /l}
ai: {provider: x, cache: {enabled: true}, scoring: {semantic: 0.5}}
";
    let mut instances = vec![("config".to_owned(), tree(config))];
    instances.extend(mutants(&tree(config), &odd_values()));
    agree(config::CONFIG, &instances);
    let mut instances = Vec::new();
    for os in std::fs::read_dir(root().join("data/providers")).unwrap() {
        for dist in std::fs::read_dir(os.unwrap().path()).unwrap() {
            let path = dist.unwrap().path().join("provider.yml");
            let node = parse(&read_source(&path).unwrap(), &mut Findings::new()).unwrap();
            instances.push((path.display().to_string(), node));
        }
    }
    let first = instances[0].1.clone();
    instances.extend(mutants(&first, &odd_values()));
    agree(provider::SCHEMA, &instances);
}

#[test]
fn the_command_prints_a_schema_with_a_description_for_each_field() {
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_oic"))
            .env_clear()
            .args(args)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    for file in ["template", "config", "provider"] {
        let schema: serde_json::Value = serde_json::from_str(&run(&["schema", file])).unwrap();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["additionalProperties"], false);
        let properties = schema["properties"].as_object().unwrap();
        assert!(
            properties.values().all(|property| property["description"].is_string()),
            "{file}"
        );
        assert!(run(&["schema", file, "--format", "markdown"]).starts_with("## Top level\n"));
    }
    let schema: serde_json::Value = serde_json::from_str(&run(&["schema", "template"])).unwrap();
    let target = &schema["properties"]["target"]["properties"];
    assert_eq!(target["imageType"]["enum"], serde_json::json!(["raw", "img", "iso"]));
    assert_eq!(schema["required"], serde_json::json!(["image", "target"]));
}

/// Compares a generated part of a document; `OIC_UPDATE_DOCS=1` writes it.
fn is_documented(path: &str, fields: &'static [Field]) {
    const MARK: &str = "<!-- generated from the tables in the source; OIC_UPDATE_DOCS=1 cargo test --test schema -->\n";
    let path = root().join(path);
    let text = std::fs::read_to_string(&path).unwrap();
    let (head, found) = text.split_once(MARK).expect("the mark of the generated part");
    let expected = markdown(fields);
    if std::env::var_os("OIC_UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{head}{MARK}{expected}")).unwrap();
    } else {
        assert!(
            found == expected,
            "{} is out of date: run OIC_UPDATE_DOCS=1 cargo test --test schema",
            path.display()
        );
    }
}

#[test]
fn the_references_are_those_of_the_tables() {
    is_documented("docs/template-reference.md", template::schema::TEMPLATE);
    is_documented("docs/provider-reference.md", provider::SCHEMA);
}
