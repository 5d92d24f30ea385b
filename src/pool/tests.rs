use std::io::{Seek as _, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::*;
use crate::package::Sha256;

/// A source that gives out files of the right size, or fails, and counts.
#[derive(Debug, Default)]
struct Source {
    opened: AtomicUsize,
    fail: bool,
    short: bool,
}

impl PackageSource for Source {
    fn open(&self, package: &ResolvedPackage) -> Result<File, LayerError> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(50));
        if self.fail {
            return Err(LayerError::new(
                Errno::IO,
                format!("{}: no route to mirror", package.name),
            ));
        }
        let mut file = tempfile::tempfile().unwrap();
        let size = usize::try_from(package.size_bytes).unwrap() - usize::from(self.short);
        file.write_all(&vec![b'x'; size]).unwrap();
        file.rewind().unwrap();
        Ok(file)
    }
}

fn package(name: &str, version: &str, stanza: &str) -> ResolvedPackage {
    ResolvedPackage {
        name: name.to_owned(),
        version: version.to_owned(),
        architecture: "amd64".to_owned(),
        repository: "main".to_owned(),
        path: format!("pool/{name}.deb"),
        size_bytes: 1000,
        installed_size_bytes: 0,
        checksum: Sha256::of(name).into(),
        stanza: stanza.to_owned(),
    }
}

fn pool(source: Source) -> (PoolLayer, Arc<Source>) {
    let source = Arc::new(source);
    let packages = [
        package(
            "a",
            "1:2",
            "Package: a\nfilename: x\n y\nSize: 1000\nDescription: d\n Filename: z",
        ),
        package("b", "3", ""),
    ];
    let layer = PoolLayer::new(
        &packages,
        Timestamp::default(),
        Arc::clone(&source) as Arc<dyn PackageSource>,
    )
    .unwrap();
    (layer, source)
}

fn find(layer: &PoolLayer, name: &str) -> NodeId {
    let mut node = layer.root();
    for part in ["cdrom", "cache-repo", name] {
        node = layer.lookup(node, OsStr::new(part)).unwrap().unwrap();
    }
    node
}

#[test]
fn lists_true_sizes_without_fetching() {
    let (layer, source) = pool(Source::default());
    let mut names = Vec::new();
    layer
        .entries(REPOSITORY, 0, &mut |entry| {
            names.push((entry.name.to_owned(), layer.attributes(entry.node).unwrap().size_bytes));
            true
        })
        .unwrap();
    names.sort();
    assert_eq!(names.len(), 4);
    assert!(names.contains(&("a_1%3a2_amd64.deb".into(), 1000)));
    assert!(names.contains(&("b_3_amd64.deb".into(), 1000)));
    assert_eq!(source.opened.load(Ordering::SeqCst), 0);
}

#[test]
fn index_points_into_the_pool() {
    let (layer, _) = pool(Source::default());
    let node = find(&layer, "Packages");
    let mut text = vec![0; 10_000];
    let length = layer.read_at(node, 0, &mut text).unwrap();
    text.truncate(length);
    let text = String::from_utf8(text).unwrap();
    assert!(
        text.starts_with(
            "Package: a\nSize: 1000\nDescription: d\n Filename: z\nFilename: ./a_1%3a2_amd64.deb\n\nPackage: b\n"
        ),
        "{text}"
    );
}

#[test]
fn many_readers_cause_one_fetch() {
    let (layer, source) = pool(Source::default());
    let node = find(&layer, "b_3_amd64.deb");
    assert!(!layer.is_ready(node, 0, 10));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut part = [0; 100];
                assert_eq!(layer.read_at(node, 950, &mut part).unwrap(), 50);
                assert_eq!(&part[..50], &[b'x'; 50]);
            });
        }
    });
    assert!(layer.is_ready(node, 0, 10));
    assert_eq!(source.opened.load(Ordering::SeqCst), 1);
    assert_eq!(layer.read_at(node, 1000, &mut [0; 10]).unwrap(), 0);
}

#[test]
fn a_failure_reaches_all_who_wait_and_is_tried_again_later() {
    let (layer, source) = pool(Source {
        fail: true,
        ..Source::default()
    });
    let node = find(&layer, "b_3_amd64.deb");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let error = layer.read_at(node, 0, &mut [0; 10]).unwrap_err();
                assert_eq!(
                    (error.errno, error.message.as_str()),
                    (Errno::IO, "b: no route to mirror")
                );
            });
        }
    });
    layer.read_at(node, 0, &mut [0; 10]).unwrap_err();
    assert_eq!(source.opened.load(Ordering::SeqCst), 1);
    thread::sleep(Duration::from_millis(600));
    layer.read_at(node, 0, &mut [0; 10]).unwrap_err();
    assert_eq!(source.opened.load(Ordering::SeqCst), 2);
}

#[test]
fn a_file_of_another_size_is_not_believed() {
    let (layer, _) = pool(Source {
        short: true,
        ..Source::default()
    });
    let error = layer
        .read_at(find(&layer, "b_3_amd64.deb"), 0, &mut [0; 10])
        .unwrap_err();
    assert_eq!(
        error.message,
        "package b_3_amd64.deb: its file has 999 bytes instead of 1000"
    );
}

#[test]
fn two_files_of_one_name_are_refused() {
    let twice = [package("a", "1", ""), package("a", "1", "")];
    let error = PoolLayer::new(&twice, Timestamp::default(), Arc::new(Source::default())).unwrap_err();
    assert!(error.to_string().contains("a_1_amd64.deb"), "{error}");
    let escape = [package("../a", "1", "")];
    assert!(PoolLayer::new(&escape, Timestamp::default(), Arc::new(Source::default())).is_err());
}
