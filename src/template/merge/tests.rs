use proptest::prelude::*;

use super::*;
use crate::yaml::{parse, to_yaml};

/// Parses a flow map as a file `name`.
fn tree(name: &str, text: &str) -> Node {
    parse(&Source::new(name, text), &mut Findings::new()).unwrap()
}

/// Merges two flow maps as a build does, and gives what is below `keys` in the result.
fn merged(default: &str, user: &str, keys: &[&str]) -> String {
    layered(&[default, user], keys)
}

/// Merges flow maps, the default first, as a build does, and gives what is below `keys` in the result.
fn layered(layers: &[&str], keys: &[&str]) -> String {
    let mut findings = Findings::new();
    let trees: Vec<Node> = layers.iter().map(|text| tree("layer", text)).collect();
    let sources: Vec<&Arc<Source>> = trees.iter().map(|tree| tree.span.source()).collect();
    let mut layers = trees.iter();
    let first = layers.next().unwrap().clone();
    let mut merged = layers.fold(first, |base, child| merge(&base, child));
    complete(&mut merged, &sources, &mut findings);
    let warnings = findings.iter().map(|f| format!("warned: {}\n", f.message));
    to_yaml(keys.iter().fold(&merged, |node, key| {
        let entry = node.entries().iter().find(|(k, _)| k.text == *key);
        &entry.unwrap().1
    }))
    .unwrap()
        + &warnings.collect::<String>()
}

#[test]
fn users_merge_by_name() {
    let default = "systemConfig: {users: [
      {name: a, password: p, hash_algo: sha256, groups: [x, y], sudo: true, shell: /bin/sh}, {name: b, sudo: true}]}";
    let user = "systemConfig: {users: [{name: c}, {name: a, password: $6$s$h, groups: [y, z]}]}";
    insta::assert_snapshot!(merged(default, user, &["systemConfig", "users"]), @r#"
    - name: a
      password: $6$s$h
      groups:
      - x
      - "y"
      - z
      shell: /bin/sh
    - name: b
      sudo: true
    - name: c
    "#);
}

#[test]
fn keys_of_users_add_up_and_groups_merge_by_name() {
    let default = "systemConfig: {groups: [{name: a, gid: 7}, {name: b}],
      users: [{name: u, uid: 7, locked: true, sshKeys: [k, l]}]}";
    let user = "systemConfig: {groups: [{name: c}, {name: a, system: true}],
      users: [{name: u, locked: false, expire: 2030-01-31, sshKeys: [l, m]}, {name: v, sshKeys: [k]}]}";
    insta::assert_snapshot!(merged(default, user, &["systemConfig", "groups"]), @r#"
    - name: a
      gid: 7
      system: true
    - name: b
    - name: c
    "#);
    insta::assert_snapshot!(merged(default, user, &["systemConfig", "users"]), @r#"
    - name: u
      uid: 7
      locked: false
      sshKeys:
      - k
      - l
      - m
      expire: "2030-01-31"
    - name: v
      sshKeys:
      - k
    "#);
}

#[test]
fn files_merge_by_destination_and_repositories_by_codename_and_place() {
    let default = "{systemConfig: {additionalFiles: [{local: d1, final: /1}, {local: d2, final: /2}]},
      packageRepositories: [{codename: a, url: 'http://d'}, {codename: b, url: 'http://d'}, {codename: c, path: /p}]}";
    let user = "{systemConfig: {additionalFiles: [{local: u3, final: /3}, {local: u1, final: /1}]},
      packageRepositories: [{codename: a, url: 'http://u'}, {codename: c, path: /p, pkey: /k}, {codename: b, url: 'http://d', component: x}]}";
    insta::assert_snapshot!(merged(default, user, &["systemConfig", "additionalFiles"]), @r#"
    - local: u1
      final: /1
    - local: d2
      final: /2
    - local: u3
      final: /3
    "#);
    insta::assert_snapshot!(merged(default, user, &["packageRepositories"]), @r#"
    - codename: a
      url: http://d
    - codename: b
      url: http://d
      component: x
    - codename: c
      path: /p
      pkey: /k
    - codename: a
      url: http://u
    "#);
}

#[test]
fn immutability_of_a_layer_below_the_partitions_needs_a_place_for_hashes() {
    let keys = ["systemConfig", "immutability"];
    let on = "{systemConfig: {immutability: {enabled: true}}}";
    let hashed = "{disk: {partitions: [{id: roothashmap}]}}";
    let bare = "{disk: {partitions: [{id: root}]}}";
    let off = "enabled: false\nwarned: is switched off: the disk has no partition for the hashes\n";
    assert_eq!(merged(on, bare, &keys), off);
    assert_eq!(merged(on, hashed, &keys), "enabled: true\n");
    assert_eq!(merged("{systemConfig: {hostname: h}}", on, &keys), "enabled: true\n");
    assert_eq!(layered(&["{}", on, bare], &keys), off);
    assert_eq!(layered(&["{}", bare, on], &keys), "enabled: true\n");
    // Decided once, at the end: what stands between has no say.
    assert_eq!(layered(&[on, bare, hashed], &keys), "enabled: true\n");
    let refused = "{systemConfig: {immutability: {enabled: false}}}";
    assert_eq!(merged(on, refused, &keys), "enabled: false\n");
}

#[test]
fn a_disk_merges_field_by_field_and_partitions_make_another_one() {
    let base = "{disk: {name: d, size: 4GiB, artifacts: [{type: raw, compression: gz}], partitions: [{id: a}]}}";
    insta::assert_snapshot!(merged(base, "{disk: {size: 8GiB}}", &["disk"]), @r"
    name: d
    size: 8GiB
    artifacts:
    - type: raw
      compression: gz
    partitions:
    - id: a
    ");
    insta::assert_snapshot!(merged(base, "{disk: {partitions: [{id: b}]}}", &["disk"]), @r"
    name: d
    size: 4GiB
    partitions:
    - id: b
    ");
    assert!(merged(base, "{disk: {partitions: []}}", &["disk"]).contains("id: a"));
}

#[test]
fn a_layer_with_one_section_is_a_layer() {
    let base = "{systemConfig: {name: s, network: {backend: netplan, interfaces: [{name: eth0}]}, fde: {enabled: true, passphraseFile: p, unlock: auto}},
      disk: {selectionPolicy: {strategy: largest, requireEmpty: true}, extendLastPartitionToFillDisk: true}, metadata: {description: d}}";
    let system = |child: &str, key: &str| merged(base, child, &["systemConfig", key]);
    assert_eq!(
        system("{systemConfig: {fde: {enabled: false}}}", "fde"),
        "enabled: false\n"
    );
    let network = system("{systemConfig: {network: {interfaces: [{name: eth1}]}}}", "network");
    assert_eq!(network, "backend: netplan\ninterfaces:\n- name: eth1\n");
    assert!(system("{systemConfig: {network: {interfaces: []}}}", "network").contains("eth0"));
    let policy = merged(
        base,
        "{disk: {selectionPolicy: {requireEmpty: false}}}",
        &["disk", "selectionPolicy"],
    );
    assert_eq!(policy, "strategy: largest\nrequireEmpty: false\n");
    assert!(!merged(base, "{disk: {partitions: [{id: a}]}}", &["disk"]).contains("extendLast"));
    assert!(!merged(base, "{}", &[]).contains("metadata"));
}

#[test]
fn a_baseline_and_its_policy_are_taken_whole() {
    let base = "{baseline: {mode: overlay, source: {path: i, format: raw}}, overlayPolicy: {allowDiskResize: true}}";
    let child = "{baseline: {mode: overlay, source: {url: 'https://h/i'}}, overlayPolicy: {kernelCmdline: quiet}}";
    insta::assert_snapshot!(merged(base, child, &[]), @r"
    baseline:
      mode: overlay
      source:
        url: https://h/i
    overlayPolicy:
      kernelCmdline: quiet
    ");
    assert_eq!(
        merged(base, "{overlayPolicy: {kernelCmdline: quiet}}", &["baseline", "mode"]),
        "overlay\n"
    );
}

#[test]
fn the_childs_word_on_a_package_counts() {
    let packages = |layers: &[&str]| {
        let layers: Vec<String> = layers
            .iter()
            .map(|text| format!("{{systemConfig: {{{text}}}}}"))
            .collect();
        let layers: Vec<&str> = layers.iter().map(String::as_str).collect();
        layered(&layers, &["systemConfig", "packages"])
    };
    let base = "packages: [a, b=1, c]";
    assert_eq!(packages(&[base, "packages: [-a, d]"]), "- -a\n- b=1\n- c\n- d\n");
    assert_eq!(packages(&[base, "removePackages: [b]"]), "- a\n- -b\n- c\n");
    assert_eq!(
        packages(&[base, "removePackages: [b]", "packages: [b=2]"]),
        "- a\n- b=2\n- c\n"
    );
    assert_eq!(packages(&[base, "packages: [c=3]"]), "- a\n- b=1\n- c=3\n");
}

#[test]
fn recommendations_add_up_and_another_architecture_is_another_package() {
    let base = "systemConfig: {recommends: true, recommendsOf: [a, b], foreignArchitectures: [i386],
      packages: [libc6, wine32:i386, vim:amd64]}";
    let child = "systemConfig: {recommends: false, recommendsOf: [c, a], foreignArchitectures: [i386],
      packages: [libc6:i386, wine32:i386=9, vim=2]}";
    insta::assert_snapshot!(merged(base, child, &["systemConfig"]), @r"
    recommends: false
    recommendsOf:
    - a
    - b
    - c
    foreignArchitectures:
    - i386
    packages:
    - libc6
    - wine32:i386=9
    - vim=2
    - libc6:i386
    ");
}

#[test]
fn the_childs_word_on_a_unit_counts() {
    let base =
        "{systemConfig: {services: {enable: [a, b.timer], mask: [c]}, sysctl: {x: 1, z: 2}, kernelModules: [m]}}";
    let child =
        "{systemConfig: {services: {enable: [c], disable: [a.service]}, sysctl: {z: 3}, kernelModules: [o, m]}}";
    insta::assert_snapshot!(merged(base, child, &["systemConfig"]), @r"
    services:
      enable:
      - b.timer
      - c
      disable:
      - a.service
    sysctl:
      x: 1
      z: 3
    kernelModules:
    - m
    - o
    ");
}

#[test]
fn a_nameless_system_is_named_after_the_image() {
    assert_eq!(merged("{}", "{image: {name: i}}", &["systemConfig", "name"]), "i\n");
}

/// A map with each of these values or without it.
fn some_of(fields: Vec<(&'static str, BoxedStrategy<String>)>) -> BoxedStrategy<String> {
    let fields = fields.into_iter().map(|(name, value)| {
        proptest::option::of(value).prop_map(move |value| value.map(|value| format!("{name}: {value}")))
    });
    fields
        .collect::<Vec<_>>()
        .prop_map(|fields| {
            let present: Vec<String> = fields.into_iter().flatten().collect();
            format!("{{{}}}", present.join(", "))
        })
        .boxed()
}

/// A list of such values.
fn list_of(item: BoxedStrategy<String>) -> BoxedStrategy<String> {
    proptest::collection::vec(item, 0..4)
        .prop_map(|items| format!("[{}]", items.join(", ")))
        .boxed()
}

fn word() -> BoxedStrategy<String> {
    proptest::sample::select(vec!["a", "b", "c", "''"])
        .prop_map(str::to_owned)
        .boxed()
}

/// A list of different words.
fn words() -> BoxedStrategy<String> {
    proptest::sample::subsequence(vec!["a", "b", "c", "d"], 0..4)
        .prop_map(|words| format!("[{}]", words.join(", ")))
        .boxed()
}

/// An entry of a list of maps, whose key is never empty and of which no two share one.
fn keyed(key: &'static str, rest: Vec<(&'static str, BoxedStrategy<String>)>) -> BoxedStrategy<String> {
    let entry = (proptest::sample::select(vec!["k", "l", "m"]), some_of(rest));
    let entries = proptest::collection::vec(entry, 0..4);
    entries
        .prop_map(move |entries| {
            let mut seen = Vec::new();
            let mut items = Vec::new();
            for (name, rest) in entries {
                if !seen.contains(&name) {
                    seen.push(name);
                    items.push(format!("{{{key}: {name}, {}", rest.trim_start_matches('{')));
                }
            }
            format!("[{}]", items.join(", "))
        })
        .boxed()
}

/// Templates that use each rule of the merge.
fn layer() -> BoxedStrategy<String> {
    let flag = || proptest::bool::ANY.prop_map(|flag| flag.to_string()).boxed();
    let system = some_of(vec![
        ("name", word()),
        ("hostname", word()),
        (
            "network",
            some_of(vec![
                ("backend", word()),
                ("interfaces", list_of(some_of(vec![("name", word())]))),
            ]),
        ),
        ("fde", some_of(vec![("enabled", flag()), ("unlock", word())])),
        ("immutability", some_of(vec![("enabled", flag())])),
        ("bootloader", some_of(vec![("bootType", word()), ("provider", word())])),
        ("packages", words()),
        ("removePackages", words()),
        (
            "services",
            some_of(vec![("enable", words()), ("disable", words()), ("mask", words())]),
        ),
        ("timezone", word()),
        ("sysctl", some_of(vec![("a", word()), ("b", word())])),
        ("kernelModules", words()),
        (
            "users",
            keyed(
                "name",
                vec![
                    ("password", word()),
                    ("hash_algo", word()),
                    ("sudo", flag()),
                    ("groups", words()),
                ],
            ),
        ),
        ("additionalFiles", keyed("final", vec![("local", word())])),
        ("configurations", list_of(some_of(vec![("cmd", word())]))),
        ("kernel", some_of(vec![("version", word()), ("packages", words())])),
    ]);
    let disk = some_of(vec![
        ("name", word()),
        ("size", word()),
        (
            "selectionPolicy",
            some_of(vec![("strategy", word()), ("requireEmpty", flag())]),
        ),
        ("extendLastPartitionToFillDisk", flag()),
        ("artifacts", list_of(some_of(vec![("type", word())]))),
        ("partitions", list_of(some_of(vec![("id", word())]))),
    ]);
    let repositories = keyed("codename", vec![("url", word()), ("path", word())]);
    some_of(vec![
        ("extends", word()),
        ("image", some_of(vec![("name", word())])),
        ("metadata", some_of(vec![("description", word())])),
        ("baseline", some_of(vec![("mode", word())])),
        ("overlayPolicy", some_of(vec![("grubDefault", word())])),
        ("disk", disk),
        ("systemConfig", system),
        ("packageRepositories", repositories),
    ])
}

/// The tree as text, its keys in order: where a key stands in its map means nothing.
fn text(node: &Node) -> String {
    fn sorted(node: &mut Node) {
        match &mut node.value {
            Value::List(items) => items.iter_mut().for_each(sorted),
            Value::Map(entries) => {
                entries.sort_by(|(a, _), (b, _)| a.text.cmp(&b.text));
                entries.iter_mut().for_each(|(_, node)| sorted(node));
            }
            _ => {}
        }
    }
    let mut node = node.clone();
    sorted(&mut node);
    to_yaml(&node).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_chain_merges_to_the_same_from_either_end(a in layer(), b in layer(), c in layer()) {
        let [a, b, c] = [a, b, c].map(|text| tree("layer", &text));
        let (left, right) = (merge(&merge(&a, &b), &c), merge(&a, &merge(&b, &c)));
        prop_assert_eq!(text(&left), text(&right));
    }

    #[test]
    fn the_child_wins_and_nothing_else_is_lost(a in layer(), b in layer()) {
        let [a, b] = [a, b].map(|text| tree("layer", &text));
        let merged = merge(&a, &b);
        prop_assert!(merged.get(template::EXTENDS).is_none());
        let names = |root: &Node| root.read(template::SYSTEM).map_or_else(Vec::new, |system| system.read(system::PACKAGES));
        for name in names(&a).iter().chain(&names(&b)) {
            let left_out = format!("-{name}");
            let found = names(&merged).iter().any(|item| item == name || *item == left_out);
            prop_assert!(found, "{name} is lost");
        }
        let size = |root: &Node| root.read(template::DISK).and_then(|disk| disk.read(disk::SIZE).map(str::to_owned));
        prop_assert_eq!(size(&merged), size(&b).or(size(&a)));
        let empty = tree("empty", "{}");
        prop_assert_eq!(text(&merge(&empty, &merged)), text(&merged));
    }
}
