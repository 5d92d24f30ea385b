//! Resolution over as many records as a Debian suite has; the records are made up.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::time::{Instant, SystemTime};

use criterion::{Criterion, criterion_group, criterion_main};
use oic::cancel::Cancel;
use oic::fetch::{FetchOptions, Fetcher};
use oic::package::{Arch, MultiArch, PackageFilter, PackageRecord, Sha256, Stanza};
use oic::repo::rpm::{FileOwners, Primary, Rpm, parse_primary};
use oic::repo::{LoadOptions, Loader, Repository, Signed};
use oic::resolve::{Request, ResolveError, deb, rpm};
use oic::work::Work;
use oic_testkit::primary;

const COUNT: usize = 63_000;

/// Package `number` needs three earlier ones; every fifth provides names that others conflict with.
fn record(number: usize) -> PackageRecord {
    let needs = [number / 2, number / 3, number / 5].map(|other| format!("package-{other:05} (>= 1.0-1)"));
    let provides = if number.is_multiple_of(5) {
        format!("virtual-{number}, virtual-{} (= 1)", number / 2)
    } else {
        String::new()
    };
    PackageRecord {
        name: format!("package-{number:05}").into(),
        version: "1:2.3.4+dfsg-5".into(),
        architecture: "amd64".into(),
        multi_arch: MultiArch::No,
        essential: number < 20,
        priority: "optional".into(),
        depends: if number == 0 {
            "".into()
        } else {
            needs.join(", ").into()
        },
        pre_depends: "".into(),
        recommends: "".into(),
        provides: provides.into(),
        conflicts: "".into(),
        breaks: format!("package-{:05} (<< 1)", number / 7).into(),
        replaces: "".into(),
        path: format!("pool/{number}.deb").into(),
        size_bytes: 1,
        installed_size_bytes: 1,
        checksum: Sha256([0; 32]).into(),
        repository: "main".into(),
        priority_pin: 500,
        stanza: Stanza::new("".into(), 0..0),
    }
}

fn resolve(criterion: &mut Criterion) {
    let records: Vec<_> = (0..COUNT).map(record).collect();
    let request = Request {
        arch: Arch::X86_64,
        packages: (0..40)
            .map(|step| format!("package-{:05}", COUNT - 1 - step * 700))
            .collect(),
        recommending: Vec::new(),
        include_essential: true,
    };
    criterion.bench_function("resolve 40 packages among 63,000", |bencher| {
        bencher.iter(|| deb::resolve(black_box(&request), black_box(&records)).map(|found| found.packages.len()));
    });
}

fn resolve_rpm(criterion: &mut Criterion) {
    let text = primary::generate(primary::PACKAGES);
    let Ok(Primary { records, .. }) = parse_primary(text.as_bytes(), &"base".into(), 500, &|_| true) else {
        return;
    };
    let request = Request {
        arch: Arch::X86_64,
        packages: primary::request(),
        recommending: Vec::new(),
        include_essential: true,
    };
    let mut group = criterion.benchmark_group("rpm");
    group.sample_size(20);
    group.bench_function("resolve 40 packages among 60,000", |bencher| {
        bencher.iter(|| {
            let none = |_: &_| Ok::<_, ResolveError>(FileOwners::new());
            rpm::resolve(black_box(&request), black_box(&records), none).map(|found| found.packages.len())
        });
    });
    group.finish();
}

/// From cached metadata to a set of packages, by us and by `dnf --cacheonly install --assumeno`; prints the ratio.
fn against_dnf(_: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let root = directory.path().join("repository");
    primary::repository(&root).expect("writing a repository");
    let mut theirs = f64::MAX;
    for round in 0..4 {
        let begin = Instant::now();
        let output = primary::dnf(&root, directory.path(), round > 0)
            .args(["--assumeno", "install"])
            .args(primary::request())
            .output()
            .expect("dnf (package dnf)");
        assert!(
            String::from_utf8_lossy(&output.stdout).contains("Transaction Summary"),
            "{output:?}"
        );
        // The first round fetches, and makes dnf's own form of the index.
        if round > 0 {
            theirs = theirs.min(begin.elapsed().as_secs_f64());
        }
    }
    let mut ours = f64::MAX;
    let mut packages = 0;
    for round in 0..4 {
        let begin = Instant::now();
        packages = load_and_resolve(&root, directory.path(), round > 0).expect("a resolution");
        if round > 0 {
            ours = ours.min(begin.elapsed().as_secs_f64());
        }
    }
    println!(
        "{packages} packages among {}: oic {ours:.3} s, dnf {theirs:.3} s, ratio {:.2}",
        primary::PACKAGES,
        ours / theirs
    );
}

/// Loads that repository, from the cache below `scratch` if `cached`, and resolves [`request`]; gives the number of packages.
fn load_and_resolve(root: &Path, scratch: &Path, cached: bool) -> Result<usize, Box<dyn Error>> {
    let cancel = Cancel::default();
    let loader = Loader {
        options: options(&scratch.join("oic"), cached),
        transport: &Fetcher::new(FetchOptions::default(), cancel.clone())?,
        work: Work::quiet(&cancel),
    };
    let indexes = loader.load(&loader.heads::<Rpm>(&[repository("main", root)])?)?;
    let index = indexes.first().ok_or("no index")?;
    let request = Request {
        arch: Arch::X86_64,
        packages: primary::request(),
        recommending: Vec::new(),
        include_essential: true,
    };
    let resolution = rpm::resolve(&request, &index.records, |_| Ok::<_, ResolveError>(FileOwners::new()))?;
    Ok(resolution.packages.len())
}

/// The same repository for oic.
fn repository(id: &str, root: &Path) -> Repository {
    Repository {
        id: id.to_owned(),
        base_url: format!("file://{}", root.display()),
        mirror_list: None,
        suite: String::new(),
        components: Vec::new(),
        keys: Vec::new(),
        signed: Signed::Both,
        trusted: true,
        priority: 500,
        filter: PackageFilter::default(),
        checks: Default::default(),
        files: None,
    }
}

/// How to load it.
fn options(metadata_dir: &Path, offline: bool) -> LoadOptions {
    LoadOptions {
        arch: Arch::X86_64,
        foreign: Vec::new(),
        metadata_dir: metadata_dir.to_owned(),
        now: SystemTime::now(),
        offline,
        workers: 2,
    }
}

criterion_group!(benches, resolve, resolve_rpm, against_dnf);
criterion_main!(benches);
