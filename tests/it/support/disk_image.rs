//! A disk image of a small system, made by foreign programs: sfdisk, mke2fs, mkfs.fat and mtools.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use oic_testkit::tool;

const MIB: u64 = 1 << 20;
/// The UUID of the root file system.
pub const ROOT_UUID: &str = "0f0e0d0c-0b0a-4908-8706-050403020100";

/// Makes the image in `directory`, from the tree at `directory/tree`, to which it adds what makes it a system. The first
/// partition, `boot`, is FAT and mounted at `/boot/efi`; the second, `rootfs`, is ext4.
pub fn make(directory: &Path) -> PathBuf {
    let tree = directory.join("tree");
    for name in ["etc", "usr/lib", "boot/efi", "var/lib/dpkg"] {
        fs::create_dir_all(tree.join(name)).unwrap();
    }
    let write = |name: &str, text: &str| fs::write(tree.join(name), text).unwrap();
    write(
        "usr/lib/os-release",
        "ID=debian\nVERSION_ID=\"13\"\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n",
    );
    std::os::unix::fs::symlink("../usr/lib/os-release", tree.join("etc/os-release")).unwrap();
    write(
        "etc/fstab",
        &format!("# a comment\nUUID={ROOT_UUID} / ext4 defaults 0 1\nUUID=1234-ABCD /boot/efi vfat umask=0077 0 2\n"),
    );
    write(
        "var/lib/dpkg/status",
        "Package: hello\nStatus: install ok installed\nVersion: 2.10-3\nArchitecture: amd64\nSource: hello-src (2.10)\n\n\
         Package: gone\nStatus: deinstall ok config-files\nVersion: 1\nArchitecture: amd64\n\n",
    );
    let image = directory.join("image.raw");
    File::create(&image).unwrap().set_len(64 * MIB).unwrap();
    let mut sfdisk = Command::new("/sbin/sfdisk");
    let mut sfdisk = sfdisk
        .arg("-q")
        .arg(&image)
        .stdin(Stdio::piped())
        .spawn()
        .expect("sfdisk is needed (package fdisk)");
    let script = "label: gpt\nstart=1MiB, size=8MiB, type=uefi, name=boot\n\
                  start=9MiB, size=40MiB, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, name=rootfs\n";
    sfdisk.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(sfdisk.wait().unwrap().success());
    let words = |words: &[&str]| words.iter().map(|word| OsStr::new(word).to_owned()).collect::<Vec<_>>();
    let mut arguments = words(&[
        "-q",
        "-F",
        "-t",
        "ext4",
        "-L",
        "system",
        "-U",
        ROOT_UUID,
        "-E",
        "offset=9437184",
        "-d",
    ]);
    arguments.extend([tree.into_os_string(), image.clone().into_os_string(), "40m".into()]);
    tool("mke2fs", &arguments);
    let fat = directory.join("fat");
    File::create(&fat).unwrap().set_len(8 * MIB).unwrap();
    tool(
        "mkfs.fat",
        &[
            "-n".as_ref(),
            "ESP".as_ref(),
            "-i".as_ref(),
            "1234abcd".as_ref(),
            fat.as_os_str(),
        ],
    );
    let loader = directory.join("BOOTX64.EFI");
    fs::write(&loader, "no program").unwrap();
    tool("mmd", &["-i".as_ref(), fat.as_os_str(), "::EFI".as_ref()]);
    tool(
        "mcopy",
        &["-i".as_ref(), fat.as_os_str(), loader.as_os_str(), "::EFI/".as_ref()],
    );
    let file = File::options().write(true).open(&image).unwrap();
    file.write_all_at(&fs::read(&fat).unwrap(), MIB).unwrap();
    image
}
