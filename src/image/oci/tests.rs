use std::fs;

use super::*;
use crate::cancel::Cancel;
use crate::image::tool::tests::run;
use crate::overlay::directory::DirectoryLayer;

/// Two layers: the upper one changes a file, removes one, and replaces a directory.
struct Case {
    directory: tempfile::TempDir,
    container: Container,
}

impl Case {
    fn new() -> Self {
        let case = Self {
            directory: tempfile::tempdir().unwrap(),
            container: Container {
                labels: vec![("org.example/owner".into(), "me & you".into())],
                entrypoint: vec!["/bin/sh".into(), "-c".into()],
                command: vec!["id".into()],
                user: Some("1000:100".into()),
                working_directory: Some("/etc".into()),
            },
        };
        for directory in ["base/etc/old", "base/usr", "upper/etc/old"] {
            fs::create_dir_all(case.at(directory)).unwrap();
        }
        for (path, text) in [
            ("base/etc/same", "same"),
            ("base/etc/changed", "before"),
            ("base/etc/gone", "gone"),
            ("base/etc/old/hidden", "hidden"),
            ("upper/etc/changed", "after"),
            ("upper/etc/old/new", "new"),
        ] {
            fs::write(case.at(path), text).unwrap();
        }
        fs::hard_link(case.at("base/etc/same"), case.at("base/usr/same")).unwrap();
        let device = (rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::empty());
        let hides = rustix::fs::mknodat(rustix::fs::CWD, case.at("upper/etc/gone"), device.0, device.1, 0);
        hides.expect("this test needs root");
        let opaque = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(case.at("upper/etc/old"), "trusted.overlay.opaque", b"y", opaque).unwrap();
        case
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn layers(&self) -> Vec<Arc<dyn Layer>> {
        let open = |name: &str| Arc::new(DirectoryLayer::open(&self.at(name)).unwrap()) as Arc<dyn Layer>;
        vec![open("upper"), open("base")]
    }

    fn write(&self, name: &str, layers: &[Arc<dyn Layer>], compression: Option<Compression>, threads: usize) {
        let inputs = Inputs {
            layers,
            container: &self.container,
            arch: Arch::X86_64,
            reference: "1.0",
            epoch_seconds: 1_700_000_000,
            compression: compression.map(|method| (method, method.default_level())),
        };
        let cancel = Cancel::default();
        let work = Work {
            threads,
            ..Work::quiet(&cancel)
        };
        let (file, digest) = write(&self.at(name), inputs, work).unwrap();
        file.commit().unwrap();
        assert_eq!(Sha256::of(fs::read(self.at(name)).unwrap()), digest);
    }

    fn shell(&self, package: &str, script: &str) -> String {
        let at = self.directory.path().display();
        run(package, "sh", &["-c", &format!("cd {at} && {script}")])
    }
}

#[test]
fn programs_for_containers_read_and_unpack_it() {
    let case = Case::new();
    for (compression, kind) in [
        (None, ""),
        (Some(Compression::Gzip), "+gzip"),
        (Some(Compression::Zstd), "+zstd"),
    ] {
        case.write("image.oci.tar", &case.layers(), compression, 2);
        let about = case.shell("skopeo", "skopeo inspect --raw oci-archive:image.oci.tar:1.0");
        assert_eq!(about.matches(&format!("layer.v1.tar{kind}\"")).count(), 2, "{about}");
        let about = case.shell("skopeo", "skopeo inspect --config oci-archive:image.oci.tar:1.0");
        let about: serde_json::Value = serde_json::from_str(&about).unwrap();
        assert_eq!(about["config"]["Labels"]["org.example/owner"], "me & you");
        assert_eq!(about["config"]["Entrypoint"], serde_json::json!(["/bin/sh", "-c"]));
        assert_eq!(
            (&about["config"]["User"], &about["architecture"]),
            (&"1000:100".into(), &"amd64".into())
        );
    }
    case.write("image.oci.tar", &case.layers(), Some(Compression::Gzip), 2);
    let unpack = "rm -rf layout bundle && mkdir layout && tar -xf image.oci.tar -C layout && \
                  umoci unpack --image layout:1.0 bundle && cd bundle/rootfs && find . -type f | LC_ALL=C sort | xargs cat && \
                  test $(stat -c %h etc/same) = 2";
    let unpacked = case.shell("umoci", unpack);
    assert!(
        unpacked.contains("aftersamenewsame") || unpacked.contains("afternewsamesame"),
        "{unpacked}"
    );
    assert!(!unpacked.contains("gone") && !unpacked.contains("hidden"), "{unpacked}");
}

#[test]
fn images_with_one_base_share_its_layer_and_threads_change_nothing() {
    let case = Case::new();
    let layers = case.layers();
    case.write("both.tar", &layers, Some(Compression::Zstd), 1);
    case.write("again.tar", &layers, Some(Compression::Zstd), 4);
    assert!(fs::read(case.at("both.tar")).unwrap() == fs::read(case.at("again.tar")).unwrap());
    case.write("base.tar", &layers[1..], Some(Compression::Zstd), 2);
    let lowest = |name: &str| {
        let manifest = case.shell("skopeo", &format!("skopeo inspect --raw oci-archive:{name}"));
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        manifest["layers"][0]["digest"].clone()
    };
    assert!(lowest("both.tar").is_string());
    assert_eq!(lowest("both.tar"), lowest("base.tar"));
}

#[test]
fn what_no_container_can_have_is_refused() {
    let case = Case::new();
    fs::write(case.at("base/.wh.name"), "").unwrap();
    let inputs = Inputs {
        layers: &case.layers()[1..],
        container: &case.container,
        arch: Arch::X86_64,
        reference: "1.0",
        epoch_seconds: 0,
        compression: None,
    };
    let error = write(&case.at("image.tar"), inputs, Work::quiet(&Cancel::default())).unwrap_err();
    assert!(error.to_string().contains("/.wh.name"), "{error}");
    assert!(!case.at("image.tar").exists());
}
