//! A build costs what its content costs: not what its disk's size would, nor what was packed before.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::{Bench, FIVE, copy, time};

/// An image, and the disk that it lies in.
struct Subject {
    /// `systemConfig.name`.
    name: &'static str,
    size: &'static str,
    artifacts: &'static str,
    packages: &'static str,
    kernel: &'static str,
}

const SMALL: Subject = Subject {
    name: "size-4g",
    size: "4GiB",
    artifacts: "[]",
    packages: "sudo",
    kernel: "linux-image-cloud-amd64",
};
const LARGER: Subject = Subject {
    name: "size-64g",
    size: "64GiB",
    ..SMALL
};
const LARGEST: Subject = Subject {
    name: "size-1t",
    size: "1TiB",
    ..SMALL
};
const PACKED: Subject = Subject {
    name: "packed",
    artifacts: "[{type: raw, compression: gz}]",
    ..SMALL
};
const DESKTOP: Subject = Subject {
    name: "desktop",
    size: "12GiB",
    packages: "task-xfce-desktop, firefox-esr, libreoffice-writer, openssh-server",
    kernel: "linux-image-amd64",
    ..SMALL
};

impl Subject {
    /// Writes its template, with other packages and an additional file.
    fn template(&self, bench: &Bench, more: &str, greeting: &str) -> PathBuf {
        let path = bench.root.join(format!("{}.yml", self.name));
        let file = bench.root.join(format!("{}.greeting", self.name));
        fs::write(&file, greeting).unwrap();
        let Self {
            name,
            size,
            artifacts,
            packages,
            kernel,
        } = self;
        let text = format!(
            "image: {{name: {name}, version: \"1\"}}\n\
             target: {{os: debian, dist: debian13, arch: x86_64, imageType: raw}}\n\
             disk: {{name: d, size: {size}, artifacts: {artifacts}}}\n\
             systemConfig:\n  name: {name}\n  hostname: {name}\n  packages: [{packages}{more}]\n\
             \x20 additionalFiles: [{{local: {}, final: /etc/greeting}}]\n\
             \x20 kernel: {{packages: [{kernel}]}}\n",
            file.display()
        );
        fs::write(&path, text).unwrap();
        path
    }

    /// Builds it with what earlier builds left.
    fn build(&self, bench: &Bench, more: &str, greeting: &str) -> Value {
        bench.warm(&self.template(bench, more, greeting))
    }

    /// Forgets its image, but no layer.
    fn forget(&self, bench: &Bench) {
        let builds = bench.root.join("work").join(super::PROVIDER).join("imagebuild");
        oic::durable::remove_tree(&builds.join(self.name)).unwrap();
    }
}

/// The time of a build without the scripts of packages that it has not installed before.
fn without_scripts(report: &Value, whole: Duration) -> Duration {
    let stages = report["stages"].as_array().unwrap().iter();
    let install = stages.filter(|stage| stage["stage"] == "Install");
    let seconds: f64 = install.map(|stage| stage["seconds"].as_f64().unwrap()).sum();
    whole.saturating_sub(Duration::from_secs_f64(seconds))
}

type Times = BTreeMap<String, Vec<Duration>>;

/// Prints each scenario with what it is measured against.
pub fn compare(bench: &Bench, runs: usize) {
    let has_desktop = std::env::var_os("OIC_BENCH_DESKTOP").is_some();
    let mut times = Times::new();
    for subject in [&SMALL, &LARGER, &LARGEST, &PACKED] {
        subject.build(bench, "", "hello");
    }
    if has_desktop {
        for more in [format!(", {FIVE}"), String::new()] {
            bench.oic("work", &[DESKTOP.template(bench, &more, "hello").as_os_str()], &[]);
        }
    }
    for run in 0..runs {
        let mut record = |name: &str, time| times.entry(name.to_owned()).or_default().push(time);
        for subject in [&SMALL, &LARGER, &LARGEST] {
            sizes(bench, subject, run, &mut record);
        }
        packed(bench, run, &mut record);
        if has_desktop {
            desktop(bench, &mut record);
        }
    }
    print(&times);
}

/// One image in a disk of one size: all of it written, nothing changed, one file changed.
fn sizes(bench: &Bench, subject: &Subject, run: usize, record: &mut dyn FnMut(&str, Duration)) {
    let size = subject.size;
    subject.forget(bench);
    record(
        &format!("{size} written"),
        time(|| drop(subject.build(bench, "", "hello"))),
    );
    record(
        &format!("{size} same"),
        time(|| drop(subject.build(bench, "", "hello"))),
    );
    let other = format!("hello {run}");
    record(&format!("{size} file"), time(|| drop(subject.build(bench, "", &other))));
}

/// A template that delivers the `.gz` alone.
fn packed(bench: &Bench, run: usize, record: &mut dyn FnMut(&str, Duration)) {
    let built = PACKED.build(bench, "", "hello");
    let artifact = PathBuf::from(built["artifacts"][0].as_str().unwrap());
    record(
        "cp of the .gz",
        time(|| drop(copy(&artifact, &bench.root.join("copy.gz")))),
    );
    record(".gz same", time(|| drop(PACKED.build(bench, "", "hello"))));
    let other = format!("hello {run}");
    record(".gz file", time(|| drop(PACKED.build(bench, "", &other))));
}

/// A large image: nothing changed, and five packages more.
fn desktop(bench: &Bench, record: &mut dyn FnMut(&str, Duration)) {
    let built = DESKTOP.build(bench, "", "hello");
    let image = built["image"]["path"].as_str().unwrap();
    record(
        "cp of the desktop",
        time(|| drop(copy(Path::new(image), &bench.root.join("copy.raw")))),
    );
    record("desktop same", time(|| drop(DESKTOP.build(bench, "", "hello"))));
    bench.forget("tree");
    let mut report = Value::Null;
    let more = format!(", {FIVE}");
    let whole = time(|| report = DESKTOP.build(bench, &more, "hello"));
    record("desktop five", whole);
    record("desktop five without scripts", without_scripts(&report, whole));
}

fn print(times: &Times) {
    let median = |name: &str| {
        let mut values = times.get(name)?.clone();
        values.sort();
        Some(values[values.len() / 2].as_secs_f64())
    };
    let rows = [
        ("64GiB written", "4GiB written", 1.05),
        ("1TiB written", "4GiB written", 1.05),
        ("64GiB same", "4GiB same", 1.05),
        ("1TiB same", "4GiB same", 1.05),
        ("64GiB file", "4GiB file", 1.05),
        ("1TiB file", "4GiB file", 1.05),
        (".gz same", "cp of the .gz", 1.0),
        (".gz file", "cp of the .gz", 5.0),
        ("desktop same", "cp of the desktop", 1.0),
        ("desktop five", "cp of the desktop", 2.0),
        ("desktop five without scripts", "cp of the desktop", 2.0),
    ];
    println!(
        "\n{:<32} {:>8} {:>24} {:>8} {:>8}",
        "", "seconds", "against", "ratio", "aim"
    );
    for (name, against, aim) in rows {
        if let (Some(value), Some(other)) = (median(name), median(against)) {
            let ratio = value / other;
            println!("{name:<32} {value:>8.2} {against:>18} {other:>5.2} {ratio:>8.2} {aim:>8.2}");
        }
    }
}
