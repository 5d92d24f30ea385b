//! No text, however it was made, panics, hangs or fills the memory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use oic::provider::Providers;
use oic::template::{self, TemplateSource, Variables};
use oic::yaml::Findings;
use std::time::{Duration, Instant};

const HEAD: &str =
    "image: {name: t, version: '1.0'}\ntarget: {os: debian, dist: debian13, arch: x86_64, imageType: raw}\n";

fn validate(text: &[u8]) -> Findings {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.yml");
    std::fs::write(&path, text).unwrap();
    template::validate(
        &TemplateSource::File(path),
        &Providers::embedded().unwrap(),
        &Variables::new(),
    )
}

use proptest::prelude::*;

/// Pieces of which YAML and templates are made, to get beyond the parser more often than noise does.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ \\n\\t:{}\\[\\],&*!|>'\"#%@`?-]{1,4}",
        prop::sample::select(
            &[
                "image",
                "disk",
                "systemConfig",
                "users",
                "name",
                "size",
                "<<",
                "&a",
                "*a",
                "'0'",
                "null",
                "1MiB",
                "end",
                "start",
                "partitions",
                "- ",
                ": ",
                "\n",
                "\n  ",
                "{",
                "}",
                "[",
                "]"
            ][..]
        )
        .prop_map(str::to_owned),
        "\\PC{0,6}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(pieces in prop::collection::vec(piece(), 0..40)) {
        let findings = validate(pieces.concat().as_bytes());
        prop_assert!(findings.has_errors());
        let _ = findings.to_string();
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = validate(&bytes).to_string();
    }

    #[test]
    fn what_is_written_is_read_again(text in "\\PC{0,40}(\n[ -~]{0,10}){0,3}") {
        use oic::yaml::{Node, Source, Span, Value, parse, to_yaml};
        let source = Source::new("x.yml", "");
        let node = |value| Node { span: Span::start_of(&source), value };
        let mut map = node(Value::Map(Vec::new()));
        map.set("k", node(Value::Text(text.clone())));
        let written = to_yaml(&map).unwrap();
        let mut findings = Findings::new();
        let read = parse(&Source::new("y.yml", written.clone()), &mut findings).unwrap();
        prop_assert_eq!(read.entries().first().and_then(|(_, node)| node.text()), Some(text.as_str()), "{:?}", written);
    }
}

#[test]
fn aliases_of_aliases_do_not_explode() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let previous = format!("*a{}", level - 1);
        text += &format!("a{level}: &a{level} [{}]\n", vec![previous; 10].join(", "));
    }
    let told = validate(text.as_bytes()).to_string();
    assert!(told.contains("the file has more than 100000 values"), "{told}");
}

#[test]
fn a_file_full_of_faults_is_told_in_no_time() {
    let unknown = |size: usize| -> String { (0..size * 6).map(|n| format!("k{n}: 1\n")).collect() };
    let one_line = |size: usize| format!("{HEAD}packages: [{}]", "a b,".repeat(size * 9));
    let overlapping = |size: usize| {
        let partitions = "{index: 9, start: 1MiB, end: 2MiB, mountPoint: /x},".repeat(size);
        format!("{HEAD}disk: {{name: d, partitions: [{partitions}]}}")
    };
    let texts: [&dyn Fn(usize) -> String; 3] = [&unknown, &one_line, &overlapping];
    for (kind, text) in texts.into_iter().enumerate() {
        // The least of some runs: other programs use the processor too.
        let time = |size: usize| {
            let text = text(size);
            let run = || {
                let started = Instant::now();
                let findings = validate(text.as_bytes());
                assert!(findings.has_errors() && findings.iter().count() <= 201);
                started.elapsed()
            };
            (0..3).map(|_| run()).min().unwrap()
        };
        let (small, large) = (time(1_000), time(9_000));
        // 9 times as much may take 9 times as long; what compares each with each takes 81 times.
        assert!(
            large < small * 36 + Duration::from_millis(50),
            "{kind}: {small:?}, {large:?}"
        );
    }
}
