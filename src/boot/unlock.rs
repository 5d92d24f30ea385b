//! What opens encrypted partitions at boot: words of the kernel command line, and a key in the initrd.

use uuid::Uuid;
use zeroize::Zeroizing;

use crate::image::content::Source;

/// The directory of keys that systemd-cryptsetup tries by itself (crypttab(5)).
const KEYS: &str = "etc/cryptsetup-keys.d";
const DIRECTORY: u32 = 0o040_700;
const FILE: u32 = 0o100_400;
/// Each header and each file of an archive begins at a multiple of this, in bytes.
const ALIGNMENT: usize = 4;

/// An encrypted partition, as the initrd opens it.
#[derive(Clone)]
pub struct Unlocked {
    /// UUID of the container.
    pub uuid: Uuid,
    /// Name of its device in the running system, below `/dev/mapper`.
    pub name: String,
    /// The passphrase, if the image opens it by itself.
    pub key: Option<Zeroizing<Vec<u8>>>,
}

impl std::fmt::Debug for Unlocked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unlocked")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Returns the words of the kernel command line that open `partitions` (systemd-cryptsetup-generator(8)).
pub(super) fn words(partitions: &[Unlocked]) -> String {
    let word = |partition: &Unlocked| format!("rd.luks.name={}={} ", partition.uuid, partition.name);
    let words: String = partitions.iter().map(word).collect();
    match words.is_empty() {
        true => words,
        false => format!("{words}rd.luks.options=discard "),
    }
}

/// Returns `initrd` with the keys of `partitions` behind it, as one more archive (kernel, "initramfs buffer format").
pub(super) fn with_keys(initrd: Source, partitions: &[Unlocked]) -> Source {
    let mut archive = Vec::new();
    for partition in partitions {
        let Some(key) = &partition.key else { continue };
        if archive.is_empty() {
            entry(&mut archive, KEYS, DIRECTORY, &[]);
        }
        entry(&mut archive, &format!("{KEYS}/{}.key", partition.name), FILE, key);
    }
    if archive.is_empty() {
        return initrd;
    }
    entry(&mut archive, "TRAILER!!!", 0, &[]);
    let padding = initrd.size_bytes().next_multiple_of(ALIGNMENT as u64) - initrd.size_bytes();
    Source::Chain(vec![initrd, Source::Zeros(padding), Source::Bytes(archive)])
}

/// Appends a file in the new ASCII format of cpio(5), owned by root, without a time.
fn entry(archive: &mut Vec<u8>, name: &str, mode: u32, content: &[u8]) {
    let inode = if mode == 0 {
        0
    } else {
        0xffff_0000 + archive.len() as u32
    };
    let length = content.len() as u32;
    let fields = [inode, mode, 0, 0, 1, 0, length, 0, 0, 0, 0, name.len() as u32 + 1, 0];
    archive.extend(b"070701");
    archive.extend(fields.iter().flat_map(|field| format!("{field:08X}").into_bytes()));
    archive.extend(name.as_bytes());
    archive.push(0);
    archive.resize(archive.len().next_multiple_of(ALIGNMENT), 0);
    archive.extend(content);
    archive.resize(archive.len().next_multiple_of(ALIGNMENT), 0);
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn cpio_finds_the_key() {
        let partitions = [Unlocked {
            uuid: Uuid::nil(),
            name: "rootfs".into(),
            key: Some(Zeroizing::new(b"secret".to_vec())),
        }];
        let mut bytes = Vec::new();
        with_keys("abc".into(), &partitions)
            .reader()
            .read_to_end(&mut bytes)
            .unwrap();
        assert_eq!(&bytes[..4], b"abc\0");
        let mut command = Command::new("cpio");
        command.args(["-i", "--to-stdout", "--quiet", "etc/cryptsetup-keys.d/rootfs.key"]);
        let mut cpio = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        cpio.stdin.take().unwrap().write_all(&bytes[4..]).unwrap();
        assert_eq!(cpio.wait_with_output().unwrap().stdout, b"secret");
        let words = words(&partitions);
        assert!(
            words.starts_with("rd.luks.name=00000000-0000-0000-0000-000000000000=rootfs "),
            "{words}"
        );
        assert!(!format!("{partitions:?}").contains("secret"));
    }
}
