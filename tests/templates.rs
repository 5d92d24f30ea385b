//! Templates from the outside: what is accepted, what a merge gives, what is told about a bad one.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use oic::provider::Providers;
use oic::template::{self, Loaded, TemplateSource};
use oic::yaml::Findings;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn yaml_files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yml"))
        .collect();
    files.sort();
    files
}

fn load(path: &Path) -> Result<Loaded, Findings> {
    template::load(&TemplateSource::File(path.to_owned()), &Providers::embedded().unwrap())
}

/// Loads a text as a file of its own.
fn load_text(text: &str) -> Result<Loaded, Findings> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.yml");
    std::fs::write(&path, text).unwrap();
    load(&path)
}

const HEAD: &str =
    "image: {name: t, version: '1.0'}\ntarget: {os: debian, dist: debian13, arch: x86_64, imageType: raw}\n";

#[test]
fn our_templates_in_the_style_of_the_older_tool_validate() {
    let files = yaml_files(&root().join("tests/data/templates"));
    assert!(files.len() >= 6, "{files:?}");
    for path in files {
        let findings = template::validate(&TemplateSource::File(path.clone()));
        assert!(!findings.has_errors(), "{findings}");
    }
}

/// The shared templates of the older tool lie beside a checkout, or where `OIC_COMPAT_TEMPLATES` says.
#[test]
fn the_shared_templates_validate() {
    let beside = root().join("../shared/compat/templates");
    let directory = std::env::var_os("OIC_COMPAT_TEMPLATES").map_or(beside, PathBuf::from);
    if !directory.is_dir() {
        println!(
            "no shared templates in {}: only our own were tried",
            directory.display()
        );
        return;
    }
    let files = yaml_files(&directory);
    assert!(!files.is_empty());
    for path in files {
        let findings = template::validate(&TemplateSource::File(path.clone()));
        assert!(!findings.has_errors(), "{findings}");
    }
}

#[test]
fn samples_load_without_a_warning_and_can_be_built() {
    let providers = Providers::embedded().unwrap();
    for sample in template::samples() {
        let source = TemplateSource::named(OsStr::new(sample.name)).unwrap();
        let loaded = template::load(&source, &providers).unwrap_or_else(|findings| panic!("{findings}"));
        assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
        let refused = template::check_buildable(&loaded);
        assert!(std::env::consts::ARCH != "x86_64" || refused.is_empty(), "{refused}");
    }
}

#[test]
fn an_unknown_sample_is_answered_with_the_known_ones() {
    let finding = TemplateSource::named(OsStr::new("debian13-x86_64-minimum")).unwrap_err();
    insta::assert_snapshot!(finding, @r"
    debian13-x86_64-minimum: error: there is no file of this name, and no sample template either
      allowed: debian13-x86_64-edge, debian13-x86_64-minimal
      hint: did you mean debian13-x86_64-minimal?
    ");
}

#[test]
fn a_merged_template_is_valid_and_merges_to_itself() {
    let providers = Providers::embedded().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let samples = template::samples().into_iter().map(TemplateSource::Sample);
    let files = yaml_files(&root().join("tests/data/templates"))
        .into_iter()
        .map(TemplateSource::File);
    let mut merged = 0;
    for source in samples.chain(files) {
        let Ok(loaded) = template::load(&source, &providers) else {
            continue;
        };
        let text = loaded.to_yaml().unwrap();
        let path = directory.path().join("merged.yml");
        std::fs::write(&path, &text).unwrap();
        let again = load(&path).unwrap_or_else(|findings| panic!("{findings}"));
        assert_eq!(again.template, loaded.template);
        assert_eq!(again.to_yaml().unwrap(), text);
        merged += 1;
    }
    assert!(merged >= 4, "{merged}");
}
