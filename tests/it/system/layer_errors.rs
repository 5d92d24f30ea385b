//! Damage is never taken for absence: what a layer cannot say is an error of the command, with the path.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oic::boot::{self, RootDevice};
use oic::image::labels::FileContexts;
use oic::image::merged::Merged;
use oic::image::tree;
use oic::model::Kernel;
use oic::overlay::directory::DirectoryLayer;
use oic::overlay::layer::{Attributes, Entry, Errno, Layer, LayerError, LayerResult, NodeId};
use oic::package::Arch;

/// A layer that is damaged where it has the name `bad`.
#[derive(Debug)]
struct Damaged {
    inner: DirectoryLayer,
    bad: OsString,
}

impl Layer for Damaged {
    fn root(&self) -> NodeId {
        self.inner.root()
    }

    fn lookup(&self, directory: NodeId, name: &OsStr) -> LayerResult<Option<NodeId>> {
        match name == self.bad {
            true => Err(LayerError::new(Errno::IO, "the layer is damaged here")),
            false => self.inner.lookup(directory, name),
        }
    }

    fn attributes(&self, node: NodeId) -> LayerResult<Attributes> {
        self.inner.attributes(node)
    }

    fn entries(&self, directory: NodeId, after: u64, visit: &mut dyn FnMut(Entry<'_>) -> bool) -> LayerResult<()> {
        self.inner.entries(directory, after, visit)
    }

    fn read_link(&self, node: NodeId) -> LayerResult<Vec<u8>> {
        self.inner.read_link(node)
    }

    fn xattr(&self, node: NodeId, name: &OsStr) -> LayerResult<Option<Vec<u8>>> {
        self.inner.xattr(node, name)
    }

    fn xattr_names(&self, node: NodeId) -> LayerResult<Vec<OsString>> {
        self.inner.xattr_names(node)
    }

    fn is_ready(&self, node: NodeId, offset: u64, length: usize) -> bool {
        self.inner.is_ready(node, offset, length)
    }

    fn read_at(&self, node: NodeId, offset: u64, buffer: &mut [u8]) -> LayerResult<usize> {
        self.inner.read_at(node, offset, buffer)
    }
}

const EFI_PROGRAMS: &str = "usr/lib/systemd/boot/efi";

/// A tree that boots and has an SELinux policy; its EFI programs are those of the package systemd-boot-efi.
fn image() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let write = |path: &str, contents: &[u8]| {
        let at = directory.path().join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, contents).unwrap();
    };
    for name in ["systemd-bootx64.efi", "linuxx64.efi.stub"] {
        let host = Path::new("/").join(EFI_PROGRAMS).join(name);
        let program = fs::read(&host).unwrap_or_else(|e| panic!("install systemd-boot-efi ({}: {e})", host.display()));
        write(&format!("{EFI_PROGRAMS}/{name}"), &program);
    }
    write("etc/os-release", b"ID=debian\n");
    write("boot/vmlinuz-6.12", b"MZ");
    write("boot/initrd.img-6.12", b"initrd");
    write("boot/efi/loader/loader.conf", b"timeout 5\n");
    write("usr/lib/modules/6.1/vmlinux", b"");
    write("etc/selinux/config", b"SELINUX=enforcing\nSELINUXTYPE=small\n");
    write(
        "etc/selinux/small/contexts/files/file_contexts",
        b"/.* system_u:object_r:default_t:s0\n",
    );
    directory
}

/// The tree in `directory`, damaged at the name that `path` ends with.
fn damaged(directory: &Path, path: &str) -> Merged {
    let layer = Damaged {
        inner: DirectoryLayer::open(directory).unwrap(),
        bad: Path::new(path).file_name().unwrap().to_owned(),
    };
    Merged::new(vec![Arc::new(layer)]).unwrap()
}

fn boot(merged: &Merged) -> Result<(), String> {
    let kernel = Kernel {
        command_line: "quiet".to_owned(),
        ..Kernel::default()
    };
    let esp = Some(Path::new("/boot/efi"));
    let made = boot::prepare(
        merged,
        Arch::X86_64,
        &kernel,
        &RootDevice::partition("0a0b0c0d-02"),
        esp,
    );
    made.map(drop).map_err(|error| error.to_string())
}

fn labels(merged: &Merged) -> Result<(), String> {
    FileContexts::of(merged).map(drop).map_err(|error| error.to_string())
}

fn collect(merged: &Merged) -> Result<(), String> {
    let tree = tree::collect(merged.overlay(), Path::new("/"), &[], 1);
    tree.map(drop).map_err(|error| error.to_string())
}

type Reader = fn(&Merged) -> Result<(), String>;

#[test]
fn every_reader_says_that_a_layer_is_damaged() {
    let directory = image();
    let policy = "/etc/selinux/small/contexts/files/file_contexts";
    let mut cases: Vec<(String, Reader)> = [
        "/usr/lib/systemd/boot/efi/systemd-bootx64.efi",
        "/usr/lib/systemd/boot/efi/linuxx64.efi.stub",
        "/etc/os-release",
        "/boot/vmlinuz-6.12",
        "/usr/lib/modules",
        "/usr/lib/modules/6.1/vmlinuz",
        "/boot/initrd.img-6.12",
        "/boot/efi/loader/loader.conf",
    ]
    .map(|path| (path.to_owned(), boot as Reader))
    .to_vec();
    cases.push(("/etc/selinux/config".to_owned(), labels));
    for suffix in ["", ".homedirs", ".local", ".subs", ".subs_dist"] {
        cases.push((format!("{policy}{suffix}"), labels));
    }
    cases.push(("/boot/vmlinuz-6.12".to_owned(), collect));
    for reader in [boot as Reader, labels, collect] {
        reader(&damaged(directory.path(), "no such name")).unwrap();
    }
    for (path, reader) in cases {
        let error = reader(&damaged(directory.path(), &path)).unwrap_err();
        assert!(error.contains("the layer is damaged here"), "{path}: {error}");
        assert!(error.contains(&path), "{path}: {error}");
    }
}

#[test]
fn only_what_is_not_there_is_absent() {
    let directory = image();
    let merged = damaged(directory.path(), "bad");
    std::os::unix::fs::symlink("circle", directory.path().join("circle")).unwrap();
    let has = |path: &str| merged.has(Path::new(path));
    assert!(has("/etc/os-release").unwrap());
    assert!(!has("/etc/nothing").unwrap());
    assert!(!has("/etc/os-release/below").unwrap());
    assert!(has("/circle").unwrap_err().to_string().contains("/circle"));
    assert!(has("/etc/bad").unwrap_err().to_string().contains("/etc/bad"));
    let read = merged.read_if_present(Path::new("/etc/nothing"), 10);
    assert_eq!(read.unwrap(), None);
}

/// Modules that read layers, or trees of images.
const MODULES: &[&str] = &[
    "base",
    "boot",
    "configure",
    "diff",
    "image/content",
    "image/labels",
    "image/merged",
    "image/populate",
    "image/raw",
    "image/stream",
    "image/tree",
    "install",
    "overlay",
    "root",
    "snapshot/layer",
];

/// What makes an error nothing, `false` or the next case.
const HIDING: &[&str] = &[".is_ok()", ".ok()", "is_ok_and", "let Ok(", "Err(_) =>", "Result::ok"];

/// Lines that may: part of the file's name, part of the line, and why.
const JUSTIFIED: &[(&str, &str, &str)] = &[
    (
        "boot/kernel.rs",
        "String::from_utf8",
        "a name that is not UTF-8 is no version",
    ),
    ("grub/prefix.rs", "", "bytes that were read; a program without a prefix"),
    ("grub/place.rs", "strip_prefix(point)", "a path that lies elsewhere"),
    ("grub/menu.rs", "parse::<i32>()", "no number: GRUB reads it by itself"),
    (
        "install/initrd.rs",
        "name.into_string()",
        "a name that is not UTF-8 is no version",
    ),
    (
        "install/kernel.rs",
        "from_utf8(version)",
        "a name that is not UTF-8 is no version",
    ),
    (
        "configure/presets.rs",
        "name.into_string()",
        "a name that is not UTF-8 is no preset",
    ),
    ("configure/ownership.rs", "field.parse()", "no number: a malformed line"),
    ("configure/home.rs", ".parse()", "no number: a malformed line"),
    (
        "overlay/unnoted.rs",
        "open_tree(link",
        "without it the time of access is noted",
    ),
    ("snapshot/layer.rs", "try_from(", "a number out of range is no node"),
    (
        "snapshot/layer.rs",
        "node.is_ok_and",
        "read-ahead; reading the file reports it",
    ),
    (
        "snapshot/layer.rs",
        "self.node(node) else",
        "which thread works; the work reports it",
    ),
    (
        "overlay/copy_up.rs",
        "Err(_) => false",
        "which thread works; the work reports it",
    ),
    (
        "overlay/copy_up.rs",
        "self.directory(parent)",
        "which thread works; the work reports it",
    ),
    (
        "overlay/copy_up.rs",
        "found.is_ok_and",
        "which thread works; the work reports it",
    ),
    ("overlay/copy_up.rs", "open.replace(io)", "a lock, not a layer"),
    (
        "overlay/work.rs",
        "Err(_) => break",
        "making the whiteout itself answers instead",
    ),
];

#[test]
fn no_reader_of_layers_hides_an_error() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files: Vec<PathBuf> = Vec::new();
    let mut directories = Vec::new();
    for module in MODULES {
        files.extend(Some(source.join(module).with_extension("rs")).filter(|file| file.exists()));
        directories.push(source.join(module));
    }
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => directories.push(path),
                false => files.push(path),
            }
        }
    }
    files.retain(|file| !file.to_str().unwrap().contains("tests"));
    assert!(files.len() > 60, "the modules have moved: {}", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let name = file.to_str().unwrap();
        let is_justified = |line: &str| {
            let mut known = JUSTIFIED.iter();
            known.any(|(file, part, _)| name.ends_with(file) && line.contains(part))
        };
        let lines = (1..).zip(code.lines());
        let found = lines.filter(|(_, line)| HIDING.iter().any(|word| line.contains(word)) && !is_justified(line));
        wrong.extend(found.map(|(number, line)| format!("{name}:{number}: {}", line.trim())));
    }
    assert!(wrong.is_empty(), "say what an error means here: {wrong:#?}");
}
