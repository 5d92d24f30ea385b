//! A Debian of eighty packages, signed by a key of its own: builds of it take seconds and need no network.
//!
//! It is made once, from the Debian mirror that the caller names, and kept below `target/tmp`. Its kernel does not boot:
//! it is there so that a build has one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::server::Server;
use crate::{sha256, sha512, source_root, temporary, tool};

/// The id of its provider.
pub const PROVIDER: &str = "debian-debian13-x86_64";
/// The systemConfig.name of [`Distribution::template`].
pub const IMAGE: &str = "tiny";
/// Changes whenever what is made here does.
const VERSION: &str = "1";
/// The packages of its base; what they depend on comes with them.
const BASE: &str = "apt, base-files, dpkg, dash, coreutils, diffutils, grep, sed, tar, perl-base, libc-bin";
const KERNEL: &str = "linux-image-tiny";

/// A kind of digest: its field in an index, and its function.
type Digest = (&'static str, fn(&[u8]) -> String);

const SHA256: Digest = ("SHA256", |bytes| sha256(bytes));
const SHA512: Digest = ("SHA512", |bytes| sha512(bytes));

/// The distribution on disk.
#[derive(Debug, Clone)]
pub struct Distribution {
    directory: PathBuf,
}

impl Distribution {
    /// Returns the distribution; makes it with `program` (oic) and its environment's `variables` if it is not there.
    pub fn get(program: &Path, variables: &[(&str, String)]) -> Self {
        let directory = temporary().join("tiny-distribution");
        fs::create_dir_all(&directory).unwrap();
        let lock = File::create(directory.join("lock")).unwrap();
        lock.lock().unwrap();
        let distribution = Self { directory };
        let made = distribution.directory.join("version");
        if fs::read_to_string(&made).is_ok_and(|version| version == VERSION) {
            return distribution;
        }
        for name in ["seed", "archive", "config", "gnupg"] {
            let _ = fs::remove_dir_all(distribution.directory.join(name));
        }
        distribution.make(program, variables);
        fs::write(made, VERSION).unwrap();
        distribution
    }

    /// Returns the directory that a mirror of it serves.
    pub fn archive(&self) -> PathBuf {
        self.directory.join("archive")
    }

    /// Returns the value of `OIC_CONFIG_DIR` with which oic knows it.
    pub fn config_dir(&self) -> PathBuf {
        self.directory.join("config")
    }

    /// Starts a mirror of `archive`, which is this one's or a copy.
    pub fn serve(archive: &Path) -> Server {
        let archive = archive.to_owned();
        Server::with(move |path| fs::read(archive.join(path.trim_start_matches('/'))).ok())
    }

    /// Writes a template of the image `name` into `directory`. `packages` is a list in YAML, `hello` is one of it.
    pub fn template(directory: &Path, name: &str, packages: &str) -> PathBuf {
        let path = directory.join(format!("{name}.yml"));
        fs::write(&path, template(name, packages, "")).unwrap();
        path
    }

    /// Indexes and signs `archive` anew, with what it has in `pool`.
    pub fn publish(&self, archive: &Path) {
        self.publish_by(SHA256, archive);
    }

    /// Does the same as [`Self::publish`], with no digests but SHA-512.
    pub fn publish_by_sha512(&self, archive: &Path) {
        self.publish_by(SHA512, archive);
    }

    fn publish_by(&self, digest: Digest, archive: &Path) {
        let mut packages = String::new();
        let mut files: Vec<_> = fs::read_dir(archive.join("pool"))
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        files.sort();
        for file in files {
            packages += &stanza_by(digest, &file);
        }
        self.sign_by(digest, archive, &packages);
    }

    /// Signs `archive` with `packages` for its index.
    pub fn sign(&self, archive: &Path, packages: &str) {
        self.sign_by(SHA256, archive, packages);
    }

    fn sign_by(&self, (field, digest): Digest, archive: &Path, packages: &str) {
        let suite = archive.join("dists/tiny");
        let index = suite.join("main/binary-amd64");
        fs::create_dir_all(&index).unwrap();
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(packages.as_bytes()).unwrap();
        let packed = packer.finish().unwrap();
        let mut release = format!(
            "Suite: tiny\nCodename: tiny\nArchitectures: amd64\nComponents: main\n\
             Date: Sat, 01 Mar 2025 00:00:00 UTC\n{field}:\n"
        );
        for (name, bytes) in [("Packages", packages.as_bytes()), ("Packages.gz", &packed)] {
            fs::write(index.join(name), bytes).unwrap();
            writeln!(release, " {} {} main/binary-amd64/{name}", digest(bytes), bytes.len()).unwrap();
        }
        let (plain, signed) = (suite.join("Release"), suite.join("InRelease"));
        fs::write(&plain, release).unwrap();
        let _ = fs::remove_file(&signed);
        self.gpg(&[
            "--clear-sign",
            "--output",
            signed.to_str().unwrap(),
            plain.to_str().unwrap(),
        ]);
    }

    fn gpg(&self, args: &[&str]) {
        let home = self.directory.join("gnupg");
        let all = [
            "--homedir",
            home.to_str().unwrap(),
            "--batch",
            "--quiet",
            "--passphrase",
            "",
        ];
        tool("gpg", &[&all, args].concat());
        tool("gpgconf", &["--homedir", home.to_str().unwrap(), "--kill", "all"]);
    }

    /// Builds an image from the distribution of Debian, and publishes the packages that it took.
    fn make(&self, program: &Path, variables: &[(&str, String)]) {
        let (seed, archive) = (self.directory.join("seed"), self.archive());
        for directory in [seed.join("plain"), archive.join("pool"), self.config_dir().join("keys")] {
            fs::create_dir_all(directory).unwrap();
        }
        make_key(self);
        let kernel = make_kernel(&seed);
        write_provider(&seed.join("config"), None);
        write_provider(&self.config_dir(), Some("tiny.asc"));
        self.build_seed(program, variables, &seed);
        for file in fs::read_dir(seed.join("cache/pkgCache").join(PROVIDER)).unwrap() {
            let file = file.unwrap().path();
            if file.extension().is_some_and(|extension| extension == "deb") {
                let name = tool("dpkg-deb", &["--field".as_ref(), file.as_os_str(), "Package".as_ref()]);
                fs::rename(&file, archive.join(format!("pool/{}.deb", name.trim()))).unwrap();
            }
        }
        fs::copy(&kernel, archive.join(format!("pool/{KERNEL}.deb"))).unwrap();
        self.publish(&archive);
        fs::remove_dir_all(&seed).unwrap();
    }

    fn build_seed(&self, program: &Path, variables: &[(&str, String)], seed: &Path) {
        let plain = seed.join("plain");
        let repository = format!(
            "packageRepositories:\n  - {{codename: plain, path: {}, pkey: \"[trusted=yes]\"}}\n",
            plain.display()
        );
        let path = seed.join("seed.yml");
        fs::write(&path, template(IMAGE, "[hello]", &repository)).unwrap();
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8");
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        command.env("OIC_CONFIG_DIR", seed.join("config"));
        command
            .arg("build")
            .arg(&path)
            .arg("--cache-dir")
            .arg(seed.join("cache"));
        let output = command.arg("--work-dir").arg(seed.join("work")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the tiny distribution cannot be made: {said}");
    }
}

/// Returns the entry of a package in an index, as dpkg-scanpackages(1) writes it; its file lies in `pool`.
pub fn stanza(file: &Path) -> String {
    stanza_by(SHA256, file)
}

fn stanza_by((field, digest): Digest, file: &Path) -> String {
    let control = tool("dpkg-deb", &["--field".as_ref(), file.as_os_str()]);
    let bytes = fs::read(file).unwrap();
    format!(
        "{}\nFilename: pool/{}\nSize: {}\n{field}: {}\n\n",
        control.trim_end(),
        file.file_name().unwrap().to_str().unwrap(),
        bytes.len(),
        digest(&bytes)
    )
}

fn template(name: &str, packages: &str, rest: &str) -> String {
    format!(
        "image: {{name: tiny, version: \"1.0\"}}\n\
         target: {{os: debian, dist: debian13, arch: x86_64, imageType: raw}}\n{rest}\
         systemConfig:\n  name: {name}\n  hostname: {name}\n  packages: {packages}\n\
         \x20 kernel: {{packages: [{KERNEL}]}}\n"
    )
}

fn make_key(distribution: &Distribution) {
    use std::os::unix::fs::DirBuilderExt as _;
    let home = distribution.directory.join("gnupg");
    fs::DirBuilder::new().mode(0o700).create(home).unwrap();
    distribution.gpg(&[
        "--quick-gen-key",
        "oic test <test@oic.invalid>",
        "ed25519",
        "sign",
        "never",
    ]);
    let key = distribution.config_dir().join("keys/tiny.asc");
    distribution.gpg(&["--armor", "--output", key.to_str().unwrap(), "--export"]);
}

/// Makes the package of a kernel that is none.
fn make_kernel(seed: &Path) -> PathBuf {
    let tree = seed.join("kernel");
    let mut files = BTreeMap::new();
    files.insert("boot/vmlinuz-1.0-tiny", vec![b'k'; 3_000_000]);
    files.insert("boot/initrd.img-1.0-tiny", vec![b'i'; 100_000]);
    let control = format!(
        "Package: {KERNEL}\nVersion: 1.0\nArchitecture: amd64\nMaintainer: oic <oic@oic.invalid>\n\
         Description: no kernel\n"
    );
    files.insert("DEBIAN/control", control.into_bytes());
    for (name, bytes) in files {
        let path = tree.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let target = seed.join(format!("plain/{KERNEL}_1.0_amd64.deb"));
    let args = ["--root-owner-group", "--build"].map(std::ffi::OsStr::new);
    tool(
        "dpkg-deb",
        &[&args[..], &[tree.as_os_str(), target.as_os_str()]].concat(),
    );
    target
}

/// Writes provider data like oic's own, with a small base; with `key`, of the tiny distribution instead of Debian.
fn write_provider(config: &Path, key: Option<&str>) {
    let own = source_root().join("data");
    let directory = config.join("providers/debian/debian13");
    fs::create_dir_all(directory.join("defaults")).unwrap();
    fs::write(directory.join("defaults/raw.yml"), DEFAULTS).unwrap();
    for (image_type, disk) in [
        ("img", ""),
        (
            "wsl2",
            "disk: {name: tiny, artifacts: [{type: tar, compression: gz}]}\n",
        ),
    ] {
        let file = directory.join(format!("defaults/{image_type}.yml"));
        fs::write(file, default_without_disk(image_type, disk)).unwrap();
    }
    let text = fs::read_to_string(own.join("providers/debian/debian13/provider.yml")).unwrap();
    let start = text.find("repositories:").unwrap();
    let end = text.find("basePackages:").unwrap();
    let repositories = match key {
        Some(key) => format!(
            "repositories:\n  - {{id: tiny, archive: debian, suite: tiny, components: [main], keys: [{{file: {key}}}]}}\n"
        ),
        None => text[start..end].to_owned(),
    };
    let rest = format!(
        "basePackages: [{BASE}]\ndefaults:\n  - {{imageType: raw, file: raw.yml}}\n  - {{imageType: img, file: img.yml}}\n  - {{imageType: wsl2, file: wsl2.yml}}\n"
    );
    fs::write(
        directory.join("provider.yml"),
        text[..start].to_owned() + &repositories + &rest,
    )
    .unwrap();
    fs::create_dir_all(config.join("keys")).unwrap();
    for key in fs::read_dir(own.join("keys")).unwrap().flatten() {
        fs::copy(key.path(), config.join("keys").join(key.file_name())).unwrap();
    }
}

/// Makes the default template of an image that is an archive.
fn default_without_disk(image_type: &str, disk: &str) -> String {
    format!(
        "image: {{name: tiny, version: \"13\"}}\n\
         target: {{os: debian, dist: debian13, arch: x86_64, imageType: {image_type}}}\n{disk}\
         systemConfig:\n  name: default_{image_type}\n  immutability: {{enabled: false}}\n  packages: [hello]\n"
    )
}

/// The default template: a small disk.
const DEFAULTS: &str = r#"image: {name: tiny, version: "13"}
target: {os: debian, dist: debian13, arch: x86_64, imageType: raw}
disk:
  name: tiny
  artifacts: [{type: raw}]
  size: 208MiB
  partitionTableType: gpt
  partitions:
    - {id: boot, type: esp, flags: [esp, boot], start: 1MiB, end: 40MiB, fsType: fat32, mountPoint: /boot/efi, mountOptions: umask=0077}
    - {id: rootfs, type: linux-root-amd64, start: 40MiB, end: "0", fsType: ext4, mountPoint: /, mountOptions: defaults}
systemConfig:
  name: default_raw
  bootloader: {bootType: efi, provider: systemd-boot}
  immutability: {enabled: false}
  packages: [systemd-boot-efi]
  kernel: {cmdline: "quiet", packages: []}
"#;
