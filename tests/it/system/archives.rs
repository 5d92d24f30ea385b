//! Images without a disk, of a tiny distribution: what they deliver, and that a build with nothing changed writes nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::program::own_mounts;
use crate::support::tiny::Tiny;
use oic_testkit::{Finished, Steps, tool};

/// The builds of one template, which changes.
struct Builds {
    tiny: Tiny,
    work: PathBuf,
}

impl Builds {
    fn new(name: &str) -> Self {
        own_mounts();
        let tiny = Tiny::new(name);
        let work = tiny.oic.work_dir.join("work");
        Self { tiny, work }
    }

    /// Writes the template of an image of `image_type`, with `artifacts` and `settings` at the end of `systemConfig`.
    fn set(&self, image_type: &str, artifacts: &str, settings: &str) {
        let disk = match artifacts {
            "" => String::new(),
            _ => format!("disk: {{name: d, artifacts: {artifacts}}}\n"),
        };
        let text = format!(
            "image: {{name: tiny, version: \"1.0\"}}\n\
             target: {{os: debian, dist: debian13, arch: x86_64, imageType: {image_type}}}\n{disk}\
             systemConfig:\n  name: tiny\n  hostname: tiny\n  packages: [hello]\n{settings}"
        );
        fs::write(&self.tiny.template, text).unwrap();
    }

    fn run(&self, more: &[&str]) -> Finished {
        let args = [
            &["build", self.tiny.template.to_str().unwrap(), "--format", "json"],
            more,
        ]
        .concat();
        self.tiny.run(&args, [&self.tiny.oic.cache_dir, &self.work])
    }

    fn build(&self) -> Value {
        self.run(&[]).json()
    }

    /// Builds again, twice in other ways, and compares: nothing is written, and a build from scratch gives the same.
    fn is_stable(&self, report: &Value) {
        let files = artifacts(report);
        let identity = |path: &PathBuf| {
            fs::metadata(path)
                .map(|m| (m.ino(), m.ctime(), m.ctime_nsec()))
                .unwrap()
        };
        let before: Vec<_> = files.iter().map(identity).collect();
        let sums = |directory: &Path| fs::read_to_string(directory.join("SHA256SUMS")).unwrap();
        let listed = sums(files[0].parent().unwrap());
        let again = self.build();
        assert_eq!(again["image"]["written_bytes"], 0, "{again}");
        assert_eq!(files.iter().map(identity).collect::<Vec<_>>(), before);
        let checked = self.run(&["--check", "--from-scratch"]);
        assert_eq!(checked.code, Some(0), "{}", checked.stderr);
        assert_eq!(sums(files[0].parent().unwrap()), listed);
    }
}

/// Returns the paths of the artifacts, whose digests `SHA256SUMS` has.
fn artifacts(report: &Value) -> Vec<PathBuf> {
    let paths = report["artifacts"].as_array().unwrap().iter();
    let paths: Vec<_> = paths.map(|path| PathBuf::from(path.as_str().unwrap())).collect();
    // The provenance states their digests, and has none itself.
    let documents = report["documents"].as_array().unwrap().len() - 1;
    let directory = paths[0].parent().unwrap().display();
    let script = format!(
        "cd {directory} && sha256sum --strict -c SHA256SUMS && test $(wc -l < SHA256SUMS) = {}",
        paths.len() + documents
    );
    tool("sh", &["-c", &script]);
    paths
}

fn names(files: &[PathBuf]) -> Vec<&str> {
    files
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap())
        .collect()
}

fn shell(script: &str) -> String {
    tool("sh", &["-c", script])
}

#[test]
fn an_initrd() {
    let builds = Builds::new("archives-img");
    let mut steps = Steps::new();
    builds.set("img", "", "");
    steps.check("no kernel", || {
        let refused = builds.run(&[]);
        assert!(
            refused.stderr.contains("the image has no /boot/vmlinuz-*"),
            "{}",
            refused.stderr
        );
    });
    builds.set("img", "", "  kernel: {packages: [linux-image-tiny]}\n");
    let report = steps.need("build", || builds.build());
    steps.check("files", || {
        let files = artifacts(&report);
        assert_eq!(names(&files), ["tiny-13.img", "vmlinuz-1.0-tiny"]);
        let listed = shell(&format!("zcat {} | cpio -t --quiet", files[0].display()));
        assert!(listed.lines().any(|line| line == "etc/hostname"), "{listed}");
    });
    steps.check("again", || builds.is_stable(&report));
    steps.check("one form more, one less", || {
        builds.set(
            "img",
            "[{type: img, compression: zstd}]",
            "  kernel: {packages: [linux-image-tiny]}\n",
        );
        let files = artifacts(&builds.build());
        assert_eq!(names(&files), ["tiny-13.img.zstd", "vmlinuz-1.0-tiny"]);
        assert!(!files[0].with_file_name("tiny-13.img").exists());
    });
    builds.tiny.oic.assert_clean();
}

#[test]
fn an_archive_for_wsl() {
    let builds = Builds::new("archives-wsl");
    let mut steps = Steps::new();
    steps.check("a kernel is refused", || {
        builds.set("wsl2", "", "  kernel: {packages: [linux-image-tiny]}\n");
        let refused = builds.run(&[]);
        assert!(refused.stderr.contains("systemConfig.kernel"), "{}", refused.stderr);
    });
    builds.set("wsl2", "", "");
    let report = steps.need("build", || builds.build());
    steps.check("files", || {
        let files = artifacts(&report);
        assert_eq!(names(&files), ["tiny-13.tar.gz"]);
        let show = |path: &str| shell(&format!("bsdtar -xOf {} {path}", files[0].display()));
        assert_eq!(show("etc/wsl.conf"), "[boot]\nsystemd=false\n");
        assert_eq!(show("etc/wsl-distribution.conf"), "[oobe]\ndefaultName = tiny\n");
        assert!(!show("etc/fstab").contains("PARTUUID"));
        let listed = shell(&format!("bsdtar -tvf {}", files[0].display()));
        assert!(!listed.contains("ssh_host_"), "{listed}");
    });
    steps.check("the tree", || {
        let tree = builds.tiny.oic.work_dir.join("unpacked");
        fs::create_dir(&tree).unwrap();
        let archive = artifacts(&report).remove(0);
        let unpack = "--xattrs --xattrs-include='*' --acls --numeric-owner -xpf";
        shell(&format!("tar -C {} {unpack} {}", tree.display(), archive.display()));
        // The layers as the build left them, through a mount.
        let shown = builds.tiny.oic.work_dir.join("shown");
        fs::create_dir(&shown).unwrap();
        let mount = [
            "mount",
            oic_testkit::tiny::PROVIDER,
            shown.to_str().unwrap(),
            "--image",
            "tiny",
        ];
        let mounted = builds.tiny.run(&mount, [&builds.tiny.oic.cache_dir, &builds.work]);
        assert_eq!(mounted.code, Some(0), "{}", mounted.stderr);
        let list = "find . -printf '%P|%y|%m|%U|%G|%l\\n'; find . ! -type d -printf '%P|%n\\n'; \
                    find . -type f -exec sha256sum {} +; (getfattr -dm - -R . ; getfacl -nR .) 2>/dev/null";
        let compare = ["expected", "found"].iter().zip([&shown, &tree]).map(|(name, at)| {
            let directory = builds.tiny.oic.work_dir.display();
            format!("(cd {} && ({list}) | LC_ALL=C sort > {directory}/{name})", at.display())
        });
        let compared = compare.collect::<Vec<_>>().join(" && ");
        shell(&compared);
        oic::mount::session::unmount(&shown, true).unwrap();
        let directory = builds.tiny.oic.work_dir.display();
        shell(&format!(
            "cd {directory} && diff expected found && test $(wc -l < found) -gt 100"
        ));
    });
    steps.check("again", || builds.is_stable(&report));
    steps.check("other forms", || {
        builds.set("wsl2", "[{type: tar, compression: zstd}, {type: tar, compression: xz, compressionLevel: 0}, {type: tar}]", "");
        let files = artifacts(&builds.build());
        assert_eq!(names(&files), ["tiny-13.tar.zstd", "tiny-13.tar.xz", "tiny-13.tar"]);
        let directory = files[0].parent().unwrap().display();
        shell(&format!("cd {directory} && zstd -dc tiny-13.tar.zstd | cmp - tiny-13.tar && xz -dc tiny-13.tar.xz | cmp - tiny-13.tar"));
    });
    builds.tiny.oic.assert_clean();
}

#[test]
fn container_images_share_layers() {
    let builds = Builds::new("archives-oci");
    let oci = |settings: &str, container: &str| {
        let artifacts = "[{type: tar}, {type: oci, compression: gz}]";
        builds.set("wsl2", artifacts, &format!("{settings}{container}"));
        builds.build()
    };
    let mut steps = Steps::new();
    let container = "container: {labels: {org.example/owner: me}, entrypoint: [/bin/sh], user: '7'}\n";
    let one = steps.need("build", || {
        oci(
            "  configurations: [{cmd: echo one > /etc/one; rm /etc/hostname /etc/debian_version}]\n",
            container,
        )
    });
    let file = artifacts(&one).remove(1);
    let inspect = |what: &str, file: &Path| -> Value {
        let text = shell(&format!("skopeo inspect {what} oci-archive:{}:1.0", file.display()));
        serde_json::from_str(&text).unwrap()
    };
    steps.check("configuration", || {
        assert_eq!(names(&artifacts(&one)), ["tiny-13.tar", "tiny-13.gz.oci.tar"]);
        let config = inspect("--config", &file);
        assert_eq!(config["config"]["Labels"]["org.example/owner"], "me");
        assert_eq!(
            (&config["config"]["User"], &config["config"]["Entrypoint"][0]),
            (&"7".into(), &"/bin/sh".into())
        );
        assert_eq!(
            config["rootfs"]["diff_ids"].as_array().map(Vec::len),
            inspect("--raw", &file)["layers"].as_array().map(Vec::len)
        );
    });
    steps.check("unpacked", || {
        let at = builds.tiny.oic.work_dir.display();
        let unpack = format!(
            "cd {at} && mkdir layout tree && tar -xf {} -C layout && umoci unpack --image layout:1.0 bundle && \
             tar -C tree --xattrs --xattrs-include='*' -xpf {}",
            file.display(),
            file.with_file_name("tiny-13.tar").display()
        );
        shell(&unpack);
        let list = "find . -mindepth 1 -printf '%P|%y|%m|%U|%G|%l\\n' | LC_ALL=C sort; find . -type f -exec sha256sum {} + | LC_ALL=C sort";
        let compare = format!("cd {at} && (cd tree && {list}) > expected && (cd bundle/rootfs && {list}) > found && diff expected found");
        shell(&compare);
        shell(&format!("cd {at}/bundle/rootfs && test ! -e etc/hostname && grep -qx one etc/one"));
    });
    steps.check("again", || builds.is_stable(&one));
    let kept = builds.tiny.oic.work_dir.join("one.tar");
    fs::copy(&file, &kept).unwrap();
    steps.check("another image", || {
        let other = artifacts(&oci("  configurations: [{cmd: echo two > /etc/two}]\n", "")).remove(1);
        let [one, other] = [&kept, &other].map(|file| inspect("--raw", file)["layers"].as_array().unwrap().clone());
        assert!(one.len() >= 2 && one.len() == other.len());
        assert_eq!(one[..one.len() - 1], other[..other.len() - 1]);
        assert_ne!(one.last(), other.last());
    });
    builds.tiny.oic.assert_clean();
}
