//! The programs are those of the packages grub-efi-amd64-bin and grub-common.

use std::ffi::OsStr;

use super::*;
use crate::image::plan::tests::{disk, partition, plan_of};
use crate::image::tool::tests::run;
use crate::model::{FileSystem, KernelForm, PartitionType};

const PROGRAM: &str = "/usr/lib/grub/x86_64-efi/monolithic/grubx64.efi";
const OWN: &str = "usr/lib/grub/x86_64-efi/monolithic/grubx64.efi";
const SIGNED: &str = "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed";

fn program() -> Vec<u8> {
    std::fs::read(PROGRAM).unwrap_or_else(|e| panic!("this test needs {PROGRAM}: install grub-efi-amd64-bin ({e})"))
}

/// Lays out an ESP, a boot partition if asked for, and a root.
fn plan(with_boot: bool) -> DiskPlan {
    let mounted = |id: &str, kind, file_system, at: u64, path: &str| {
        let mut partition = partition(id, kind, Some(file_system), at, Some(at + 40));
        partition.mount_point = Some(path.into());
        partition
    };
    let mut partitions = vec![mounted("esp", PartitionType::Esp, FileSystem::Fat32, 1, "/boot/efi")];
    if with_boot {
        partitions.push(mounted("boot", PartitionType::Linux, FileSystem::Ext4, 41, "/boot"));
    }
    partitions.push(mounted("root", PartitionType::Linux, FileSystem::Ext4, 81, "/"));
    plan_of(&disk(Some(128), partitions))
}

fn put(directory: &Path, path: &str, contents: impl AsRef<[u8]>) {
    let path = directory.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, contents).unwrap();
}

fn names(files: &[(PathBuf, Source)]) -> Vec<&str> {
    files.iter().map(|(path, _)| path.to_str().unwrap()).collect()
}

fn text(files: &[(PathBuf, Source)]) -> &str {
    match &files[0].1 {
        Source::Bytes(bytes) => std::str::from_utf8(bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_esp_gets_what_the_image_has() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    put(at, "boot/efi/none", "");
    let prepare =
        |plan: &DiskPlan| super::prepare(&Merged::of_directory(at).unwrap(), Arch::X86_64, plan, BootType::Efi);
    let error = prepare(&plan(false)).unwrap_err();
    assert!(error.hint().unwrap().contains("grub-efi-amd64-bin"), "{error}");

    put(at, "boot/grub/x86_64-efi/core.efi", program());
    let alone = ["EFI/debian/grub.cfg", "EFI/debian/grubx64.efi", "EFI/BOOT/BOOTX64.EFI"];
    assert_eq!(names(&prepare(&plan(false)).unwrap()), alone);
    put(at, OWN, program());
    put(at, SIGNED, program());
    let made = prepare(&plan(false)).unwrap();
    assert_eq!(names(&made), alone);
    let stub = |plan: &DiskPlan, mount_point: &str, path: &str| {
        let mut partitions = plan.partitions.iter();
        let uuid = partitions
            .find(|planned| planned.is_mounted_at(mount_point))
            .unwrap()
            .fs_uuid;
        format!("search.fs_uuid {uuid} root\nset prefix=($root){path}\nconfigfile $prefix/grub.cfg\n")
    };
    assert_eq!(text(&made), stub(&plan(false), "/", "/boot/grub"));
    assert_eq!(
        text(&prepare(&plan(true)).unwrap()),
        stub(&plan(true), "/boot", "/grub")
    );

    for name in ["shimx64.efi.signed", "mmx64.efi.signed", "mmx64.efi", "BOOTX64.CSV"] {
        put(at, &format!("usr/lib/shim/{name}"), name);
    }
    let signed = prepare(&plan(false)).unwrap();
    let expected = [
        "EFI/debian/grub.cfg",
        "EFI/debian/grubx64.efi",
        "EFI/debian/shimx64.efi",
        "EFI/debian/mmx64.efi",
        "EFI/debian/BOOTX64.CSV",
        "EFI/BOOT/grubx64.efi",
        "EFI/BOOT/BOOTX64.EFI",
        "EFI/BOOT/mmx64.efi",
    ];
    assert_eq!(names(&signed), expected);

    // Packages of other distributions put both there themselves.
    put(at, "boot/efi/EFI/centos/grubx64.efi", program());
    assert_eq!(
        names(&prepare(&plan(false)).unwrap()),
        ["EFI/debian/grub.cfg", "EFI/BOOT/BOOTX64.EFI"]
    );
    put(at, "boot/efi/EFI/BOOT/bootx64.efi", "shim");
    put(at, "boot/grub2/fonts", "");
    let installed = prepare(&plan(false)).unwrap();
    assert_eq!(names(&installed), ["EFI/debian/grub.cfg"]);
    assert!(text(&installed).contains("/boot/grub2\n"));

    put(at, "boot/efi/EFI/centos/grubx64.efi", &program()[..1000]);
    let error = prepare(&plan(false)).unwrap_err().to_string();
    assert!(error.starts_with("/boot/efi/EFI/centos/grubx64.efi: "), "{error}");
}

#[test]
fn the_default_of_an_older_kernel_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    for version in ["6.1.0-9", "6.12.1"] {
        put(at, &format!("boot/vmlinuz-{version}"), "MZ");
    }
    put(at, "etc/default/grub", "GRUB_DEFAULT=0\nGRUB_CMDLINE_LINUX=\"\"\n");
    let plan = plan(false);
    let root = Root::open(at).unwrap();
    let kernel = |version: Option<&str>| Kernel {
        version: version.map(str::to_owned),
        command_line: "quiet a=\"b c\"".into(),
        extra_modules: Vec::new(),
        packages: Vec::new(),
        form: KernelForm::Unified,
    };
    let written = |root: &Root, kernel: &Kernel| {
        let request = Request {
            root,
            plan: &plan,
            arch: Arch::X86_64,
            boot_type: BootType::Efi,
            kernel,
            env: &[],
            helper: Path::new("/none"),
        };
        write_defaults(&request).unwrap();
        std::fs::read_to_string(at.join("etc/default/grub")).unwrap()
    };
    let command_line = "GRUB_CMDLINE_LINUX=\"quiet 'a=b c'\"\nGRUB_CMDLINE_LINUX_DEFAULT=\"\"\n";
    assert_eq!(written(&root, &kernel(None)), format!("GRUB_DEFAULT=0\n{command_line}"));
    let uuid = plan.root().unwrap().fs_uuid;
    let older = format!("GRUB_DEFAULT=\"gnulinux-advanced-{uuid}>gnulinux-6.1.0-9-advanced-{uuid}\"\n{command_line}");
    assert_eq!(written(&root, &kernel(Some("6.1"))), older);
    // The template's own file counts.
    let own = root.sparing(["/etc/default/grub"]);
    assert_eq!(written(&own, &kernel(Some("6.12"))), older);
    assert_eq!(environment().len(), 1024);
}

#[test]
fn entries_take_the_place_of_those_for_the_machine_of_the_build() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let version = "6.12.0-55.el10.x86_64";
    put(
        at,
        &format!("boot/loader/entries/0123456789abcdef-{version}.conf"),
        "old",
    );
    put(at, "boot/loader/entries/other-6.1.conf", "other");
    put(at, &format!("boot/vmlinuz-{version}"), "MZ");
    put(at, &format!("boot/initramfs-{version}.img"), "i");
    let plan = plan(true);
    let kernels = bootable(&Merged::of_directory(at).unwrap(), &plan).unwrap();
    let place = Place::of(&plan, Path::new(entries::DIRECTORY)).unwrap();
    assert!(entries::can_name(&kernels, &place));
    let root = Root::open(at).unwrap();
    entries::write(
        &root,
        &kernels,
        "ID=centos\nPRETTY_NAME=\"CentOS Stream 10\"\n",
        "root=UUID=x ro quiet",
    )
    .unwrap();
    let name = format!("centos-{version}.conf");
    assert_eq!(
        root.names("boot/loader/entries").unwrap(),
        [OsStr::new(&name), OsStr::new("other-6.1.conf")]
    );
    let expected = format!(
        "title CentOS Stream 10 ({version})\nversion {version}\nlinux /vmlinuz-{version}\n\
         initrd /initramfs-{version}.img\noptions root=UUID=x ro quiet\ngrub_users $grub_users\n\
         grub_arg --unrestricted\ngrub_class centos\n"
    );
    let written = std::fs::read_to_string(at.join("boot/loader/entries").join(name)).unwrap();
    assert_eq!(written, expected);
}

/// grub-editenv (package grub-common) takes the environment block.
#[test]
fn the_environment_block_is_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("grubenv");
    std::fs::write(&path, environment()).unwrap();
    let path = path.to_str().unwrap();
    run("grub-common", "grub-editenv", &[path, "set", "next_entry=a"]);
    assert_eq!(run("grub-common", "grub-editenv", &[path, "list"]), "next_entry=a\n");
}
