//! Parsing of repository metadata. `OIC_BENCH_PACKAGES` may name a real `Packages`
//! file; the generated one has Debian's number of stanzas and their shape, and the generated
//! `primary.xml` Fedora's number of packages.
#![allow(missing_docs, clippy::expect_used)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use oic::package::Sha256;
use oic::repo::deb::parse_packages;
use oic::repo::deb::release::Release;
use oic::repo::rpm::parse_primary;
use oic_testkit::primary;

/// Debian's `main` has about that many packages.
const STANZAS: usize = 63_000;

fn generated_packages() -> String {
    let mut text = String::new();
    for number in 0..STANZAS {
        let digest = Sha256::of(number.to_le_bytes());
        let depends: Vec<String> = (0..12)
            .map(|n| format!("libsome{}-{n} (>= 1.{n}.0)", (number * 7 + n) % STANZAS))
            .collect();
        let tags = "devel::library, implemented-in::c, interface::commandline, role::shared-lib, scope::utility,";
        write!(
            text,
            "Package: libsome{number}\nSource: some-source\nVersion: 1:{number}.2-3+b1\nInstalled-Size: {number}\n\
             Maintainer: Some Maintainers Team <team@lists.example.org>\nArchitecture: amd64\nMulti-Arch: same\n\
             Provides: libsome-abi-{number} (= 1)\nDepends: {}\nDescription: one of many generated packages\n\
             Description-md5: 0123456789abcdef0123456789abcdef\nHomepage: https://example.org/some/{number}\n\
             Tag: {tags}\n {tags}\n {tags}\nSection: libs\nPriority: optional\n\
             Filename: pool/main/s/some-source/libsome{number}_{number}.2-3+b1_amd64.deb\nSize: {}\n\
             MD5sum: 0123456789abcdef0123456789abcdef\nSHA256: {digest}\n\n",
            depends.join(", "),
            number * 100,
        )
        .expect("writing to a string");
    }
    text
}

fn generated_release() -> String {
    let mut text = "Suite: stable\nCodename: trixie\nDate: Sat, 11 May 2024 09:23:32 UTC\nSHA256:\n".to_owned();
    for number in 0..1_600 {
        writeln!(
            text,
            " {} {number:8} main/binary-{number}/Packages.xz",
            Sha256::of(format!("{number}"))
        )
        .expect("writing to a string");
    }
    text
}

fn packages(criterion: &mut Criterion, name: &str, text: String) {
    let text: Arc<str> = text.into();
    let mut group = criterion.benchmark_group("packages");
    group.sample_size(20).throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function(format!("parse {name}"), |bencher| {
        bencher.iter_with_large_drop(|| parse_packages(black_box(Arc::clone(&text)), "trixie".into(), 500).records);
    });
    group.finish();
}

fn primaries(criterion: &mut Criterion) {
    let text = primary::generate(primary::PACKAGES);
    let id = "base".into();
    let mut group = criterion.benchmark_group("primary");
    group.sample_size(10).throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("parse generated", |bencher| {
        bencher.iter_with_large_drop(|| {
            parse_primary(black_box(text.as_bytes()), &id, 500, &|_| true).expect("a valid index")
        });
    });
    group.finish();
}

fn metadata(criterion: &mut Criterion) {
    primaries(criterion);
    packages(criterion, "generated", generated_packages());
    if let Some(path) = std::env::var_os("OIC_BENCH_PACKAGES") {
        packages(
            criterion,
            "real",
            std::fs::read_to_string(path).expect("the file that OIC_BENCH_PACKAGES names"),
        );
    }
    let release = generated_release();
    criterion.bench_function("release parse", |bencher| {
        bencher.iter(|| Release::parse(black_box(&release)).expect("a valid Release file"));
    });
}

criterion_group!(benches, metadata);
criterion_main!(benches);
