//! What a machine gets besides its disk: credentials, a volume for cloud-init, a larger disk.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use uuid::Uuid;

use super::EmulatorError;
use crate::cancel::Cancel;
use crate::durable::PathError;
use crate::image::canvas::Canvas;
use crate::image::containers::qcow2;
use crate::image::content::Source;
use crate::image::fat;
use crate::image::file_system::{FileSystem as _, Files, Volume};
use crate::image::region::Region;
use crate::image::tree::Tree;
use crate::package::Sha256;
use crate::work::Work;

/// The credential with the keys that may log in as root (systemd, `tmpfiles.d/provision.conf`).
const ROOT_KEYS: &str = "ssh.authorized_keys.root";
/// The label by which cloud-init finds its volume ("NoCloud" in its documentation).
const LABEL: &str = "CIDATA";
/// The room beside the files of that volume, in bytes: the least FAT16 has 4,085 clusters.
const SPARE_BYTES: u64 = 9 << 20;

/// Returns the SMBIOS string that gives systemd the credential `name` (smbios-type-11(7)).
fn credential(name: &str, value: &[u8]) -> String {
    format!("io.systemd.credential.binary:{name}={}", STANDARD.encode(value))
}

/// Returns the SMBIOS string that lets root log in with `keys`, in the format of authorized_keys (sshd(8)).
pub fn root_keys(keys: &[u8]) -> String {
    credential(ROOT_KEYS, keys)
}

/// Returns the SMBIOS strings that append `words` to the kernel's command line (smbios-type-11(7)): for a unified kernel
/// image, and for an entry of the Boot Loader Specification.
pub fn kernel_words(words: &str) -> [String; 2] {
    ["stub", "boot"].map(|program| format!("io.systemd.{program}.kernel-cmdline-extra={words}"))
}

/// Makes the volume that gives `user_data` to cloud-init, as a file in `directory`.
///
/// # Errors
/// If it cannot be written.
pub fn volume(directory: &Path, user_data: &[u8], cancel: &Cancel) -> Result<PathBuf, EmulatorError> {
    let path = directory.join("cidata.img");
    let file = File::options().read(true).write(true).create_new(true).open(&path);
    let file = file.map_err(PathError::on("create", &path))?;
    let size_bytes = (user_data.len() as u64 + SPARE_BYTES).next_multiple_of(1 << 20);
    file.set_len(size_bytes).map_err(PathError::on("resize", &path))?;
    // cloud-init runs again for another instance: one with another configuration.
    let instance = Sha256::of(user_data).to_string();
    let meta_data = format!("instance-id: oic-{}\n", instance.get(..16).unwrap_or(&instance));
    let files = [
        (PathBuf::from("user-data"), Source::Bytes(user_data.to_owned())),
        (PathBuf::from("meta-data"), Source::Bytes(meta_data.into_bytes())),
    ];
    let canvas = Canvas::new(&file, &path, None);
    let uuid = Uuid::from_u128(u128::from_be_bytes(*b"oic cloud-config"));
    let volume = Volume {
        uuid,
        hash_seed: uuid,
        label: Some(LABEL),
        compression: None,
        epoch_seconds: 0,
    };
    let files = Files {
        tree: &Tree::empty(),
        added: &files,
    };
    let work = Work::quiet(cancel);
    fat::Kind::Fat16.write(Region::new(&canvas, 0, size_bytes), &volume, files, work)?;
    Ok(path)
}

/// Makes a disk of `size_bytes` whose first bytes are those of the disk at `below`, a file in `format`, without a copy. It
/// is a qcow2 file in `directory`.
///
/// # Errors
/// If it cannot be written.
pub fn larger_disk(
    directory: &Path,
    below: &Path,
    format: &'static str,
    size_bytes: u64,
) -> Result<PathBuf, EmulatorError> {
    let path = directory.join("disk.qcow2");
    let content = qcow2::above(below, format, size_bytes);
    let write = |mut file: File| file.write_all(&content);
    let written = File::create_new(&path).and_then(write);
    written.map_err(PathError::on("write", &path))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::tool::tests::run;

    #[test]
    fn cloud_init_finds_its_volume() {
        let directory = tempfile::tempdir().unwrap();
        let user_data = b"#cloud-config\nhostname: other\n";
        let path = volume(directory.path(), user_data, &Cancel::default()).unwrap();
        let path = path.to_str().unwrap();
        run("dosfstools", "fsck.fat", &["-n", path]);
        assert_eq!(
            run("util-linux", "blkid", &["-p", "-o", "value", "-s", "LABEL", path]).trim(),
            LABEL
        );
        let read = |name: &str| run("mtools", "mcopy", &["-n", "-i", path, &format!("::{name}"), "-"]);
        assert_eq!(read("user-data").as_bytes(), user_data);
        assert!(read("meta-data").starts_with("instance-id: oic-"));
    }

    #[test]
    fn qemu_reads_the_disk_below_and_zeros_behind_it() {
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join("below, of a kind.raw");
        std::fs::write(&below, vec![7; 3 << 20]).unwrap();
        let path = larger_disk(directory.path(), &below, "raw", 5 << 40).unwrap();
        let path = path.to_str().unwrap();
        let info = run("qemu-utils", "qemu-img", &["info", "--output=json", path]);
        let info: serde_json::Value = serde_json::from_str(&info).unwrap();
        assert_eq!(info["virtual-size"], 5_u64 << 40);
        assert_eq!(info["backing-filename-format"], "raw");
        run("qemu-utils", "qemu-img", &["check", path]);
        // It can be compared with what is below: what is behind that is zero.
        run(
            "qemu-utils",
            "qemu-img",
            &["compare", "-f", "qcow2", "-F", "raw", path, below.to_str().unwrap()],
        );
    }

    #[test]
    fn credentials_are_what_systemd_decodes() {
        assert_eq!(
            root_keys(b"ssh-ed25519 AAAA a,b\n"),
            "io.systemd.credential.binary:ssh.authorized_keys.root=c3NoLWVkMjU1MTkgQUFBQSBhLGIK"
        );
        assert_eq!(kernel_words("a b")[0], "io.systemd.stub.kernel-cmdline-extra=a b");
    }
}
