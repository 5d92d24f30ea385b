//! Makes packages for tests with `rpmbuild`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{RpmHead, Tag};

/// Builds the one package of `spec` below `directory` (`{name}.rpm` files in `RPMS`) and returns its path.
pub(crate) fn build(directory: &Path, spec: &str) -> PathBuf {
    build_with(directory, spec, &[])
}

/// Does the same as [`build`] with macros, such as `_binary_payload w9.gzdio`.
pub(crate) fn build_with(directory: &Path, spec: &str, macros: &[&str]) -> PathBuf {
    let scratch = tempfile::tempdir_in(directory).unwrap();
    let path = scratch.path().join("package.spec");
    std::fs::write(&path, spec).unwrap();
    let top = format!("_topdir {}", scratch.path().display());
    let fixed = [
        top.as_str(),
        "_build_id_links none",
        "__os_install_post %{nil}",
        "debug_package %{nil}",
        "_buildhost oic",
    ];
    let mut command = Command::new("rpmbuild");
    command.args(["-bb", "--quiet", "--nodeps"]);
    for definition in fixed.iter().chain(macros) {
        command.args(["--define", definition]);
    }
    let output = command
        .arg(&path)
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .env("HOME", scratch.path())
        .output()
        .expect("this test needs rpmbuild (package rpm)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let packages = directory.join("RPMS");
    std::fs::create_dir_all(&packages).unwrap();
    let mut built = None;
    for arch in std::fs::read_dir(scratch.path().join("RPMS")).unwrap() {
        for package in std::fs::read_dir(arch.unwrap().path()).unwrap() {
            let package = package.unwrap();
            let target = packages.join(package.file_name());
            std::fs::rename(package.path(), &target).unwrap();
            built = Some(target);
        }
    }
    built.expect("the spec has a package with files")
}

/// Returns `package` with other signatures, and with `sha256` as the header digest in its signature header.
pub(crate) fn with_signatures(package: &[u8], signatures: &[(Tag, &[u8])], sha256: Option<&str>) -> Vec<u8> {
    let head = RpmHead::read(&mut &package[..]).unwrap();
    let (mut index, mut store): (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
    let digest = sha256.map(|digest| [digest.as_bytes(), b"\0"].concat());
    let digest = digest.iter().map(|digest| (Tag::SIGNATURE_SHA256, &digest[..]));
    for (tag, value) in signatures.iter().copied().chain(digest) {
        let (kind, count) = match tag {
            Tag::SIGNATURE_SHA256 => (6, 1),
            Tag::SIGNATURE_OPENPGP => (8, 1),
            _ => (7, value.len()),
        };
        for number in [
            tag.0,
            kind,
            u32::try_from(store.len()).unwrap(),
            u32::try_from(count).unwrap(),
        ] {
            index.extend(number.to_be_bytes());
        }
        store.extend(value);
    }
    let mut signature = vec![0x8e, 0xad, 0xe8, 0x01, 0, 0, 0, 0];
    signature.extend(u32::try_from(index.len() / 16).unwrap().to_be_bytes());
    signature.extend(u32::try_from(store.len()).unwrap().to_be_bytes());
    signature.extend(index);
    signature.extend(store);
    signature.resize(signature.len().next_multiple_of(8), 0);
    let start = usize::try_from(head.payload_offset).unwrap() - head.header.as_bytes().len();
    [&package[..96], &signature, &package[start..]].concat()
}
