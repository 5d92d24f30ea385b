//! What is made of the tables of fields: editor schemas and the reference.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::support::json_schema;
use crate::support::templates::{older_templates, yaml_files};
use std::path::Path;
use std::process::Command;

use json_schema::agree;
use oic::yaml::schema::{Field, Shape, Text, markdown};
use oic::yaml::{Findings, Node, Source, Value, parse, read_source};
use oic::{config, provider, template};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

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
  services: {enable: [a.timer], disable: [b], mask: [c]}
  timezone: Europe/Berlin
  locale: de_DE.UTF-8
  keymap: de
  sysctl: {vm.swappiness: 10}
  kernelModules: [m]
  initramfs: {template: t}
  immutability: {enabled: true, secureBootDBKey: a.key, secureBootDBCrt: a.crt, secureBootDBCer: a.cer}
  groups: [{name: g, gid: 7, system: true}]
  users: [{name: u, password: p, hash_algo: sha512, passwordMaxAge: 9, startupScript: /s, groups: [g], sudo: true,
    home: /h, shell: /s, expire: '2027-12-31', locked: true, system: true, uid: 7, sshKeys: [
    'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICt8i8Bfh5tUmfFEDF+oIHGCEzXvPiZRzcmdq4ebgT4R']}]
  bootloader: {bootType: efi, provider: grub}
  packages: [vim]
  debconf: [{package: p, question: p/q, type: string, value: v}]
  additionalFiles: [{local: a, final: /b, owner: 'u:g', mode: '0600', stage: pre-initramfs, content: c, url: 'http://h/f',
    sha256: c12a7328c12a7328c12a7328c12a7328c12a7328c12a7328c12a7328c12a7328, directory: true, template: true}]
  configurations: [{cmd: c, network: true, env: {A: b}, when: last}]
  kernel: {name: k, version: '6', cmdline: c, enableExtraModules: m, uki: true, packages: [p]}
packageRepositories:
  - {codename: c, url: 'http://h/', path: /p, pkey: 'http://h/k', pkeys: ['http://h/k'], component: main, priority: 1,
     allowPackages: [a], excludePackages: [b]}
";

#[test]
fn the_schema_of_templates_says_what_the_table_says() {
    let mut instances = vec![("full".to_owned(), tree(FULL))];
    let samples = yaml_files(&root().join("data/templates"));
    for path in older_templates().into_iter().chain(samples) {
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
    agree(config::fields(), &instances);
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

/// Collects the texts of a table that code checks, one per rule.
fn checked(shape: &Shape, found: &mut Vec<Text>) {
    match shape {
        Shape::Text(text) | Shape::Plain(text) => {
            if let Some(check) = text.check
                && !found.iter().any(|other| other.check.unwrap().words == check.words)
            {
                found.push(*text);
            }
        }
        Shape::List { item, .. } => checked(item, found),
        Shape::Map(fields) => fields.iter().for_each(|field| checked(&field.shape, found)),
        Shape::Table { value, .. } => checked(value, found),
        Shape::Int { .. } | Shape::Number | Shape::Bool | Shape::Any => {}
    }
}

/// Generates texts that lie near the border of some rule.
fn borderline_texts() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "none",
        "swap",
        "http://",
        "https://",
        "file:///",
        "[trusted=yes]",
        "<",
        ">",
        "..",
        "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
        "0",
        "GiB",
        "MB",
        "12",
        "abcdefghijklmnopqrstuvwxyzabcde",
        "default",
        "192.0.2.7",
        "192.0.2.7/24",
        "::1",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICt8i8Bfh5tUmfFEDF+oIHGCEzXvPiZRzcmdq4ebgT4R",
        "2027-12-31",
        "empty",
        "0123456789abcdef0123456789abcdef",
        "00000000000000000000000000000000",
    ]);
    let sign = prop::sample::select("/.-_: \t\n@#$${}\"\\aZ7é+~=K".chars().collect::<Vec<_>>());
    let piece = prop_oneof![2 => sign.prop_map(String::from), 1 => word.prop_map(str::to_owned)];
    // The `$` of Python matches before a last line break too, that of ECMA-262 does not.
    let joined = prop::collection::vec(piece, 1..7).prop_map(|pieces| pieces.concat());
    joined.prop_filter("ends with a line break", |text| !text.ends_with('\n'))
}

#[test]
fn each_rule_in_code_accepts_what_its_pattern_accepts() {
    let mut texts = Vec::new();
    checked(&Shape::Map(template::schema::TEMPLATE), &mut texts);
    assert_eq!(texts.len(), 24, "rules in code");
    let names: Vec<&'static str> = (0..texts.len()).map(|n| &*format!("rule{n}").leak()).collect();
    let fields = names.iter().zip(&texts).map(|(name, text)| {
        let mut alone = Text::ANY.check(text.check.unwrap());
        alone.may_be_empty = text.may_be_empty;
        Field::text(name, alone, "").untyped()
    });
    let fields: &'static [Field] = fields.collect::<Vec<_>>().leak();
    let mut runner = TestRunner::deterministic();
    let mut instances = Vec::new();
    let mut accepted = vec![0; texts.len()];
    for _ in 0..1500 {
        let text = borderline_texts().new_tree(&mut runner).unwrap().current();
        for ((name, rule), accepted) in names.iter().zip(&texts).zip(&mut accepted) {
            *accepted += usize::from((rule.check.unwrap().test)(&text).is_ok());
            let mut node = tree("{}");
            let value = Value::Text(text.clone());
            let span = node.span.clone();
            node.set(name, Node { span, value });
            instances.push((format!("{name} {text:?}"), node));
        }
    }
    assert!(accepted.iter().all(|count| *count > 0), "{accepted:?}");
    agree(fields, &instances);
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
    assert_eq!(
        target["imageType"]["enum"],
        serde_json::json!(["raw", "img", "iso", "wsl2"])
    );
    assert_eq!(schema["required"], serde_json::json!(["image", "target"]));
}

/// Compares a generated part of a document; `OIC_UPDATE_DOCS=1` writes it.
fn is_documented(path: &str, fields: &'static [Field]) {
    const MARK: &str =
        "<!-- generated from the tables in the source; OIC_UPDATE_DOCS=1 cargo test --test it schema -->\n";
    let path = root().join(path);
    let text = std::fs::read_to_string(&path).unwrap();
    let (head, found) = text.split_once(MARK).expect("the mark of the generated part");
    let expected = markdown(fields);
    if std::env::var_os("OIC_UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{head}{MARK}{expected}")).unwrap();
    } else {
        assert!(
            found == expected,
            "{} is out of date: run OIC_UPDATE_DOCS=1 cargo test --test it schema",
            path.display()
        );
    }
}

#[test]
fn the_references_are_those_of_the_tables() {
    is_documented("docs/template-reference.md", template::schema::TEMPLATE);
    is_documented("docs/provider-reference.md", provider::SCHEMA);
}
