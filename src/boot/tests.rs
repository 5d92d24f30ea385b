//! objdump and objcopy (binutils) and pefile judge the unified kernel image;
//! the stub is the one of the package systemd-boot-efi.

use std::io::Read as _;

use super::*;
use crate::image::tool::tests::run;

const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";
const LOADER: &str = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi";

fn host_file(path: &str) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("this test needs {path}: install systemd-boot-efi ({e})"))
}

fn bytes(source: &Source) -> Vec<u8> {
    let mut bytes = Vec::new();
    source.reader().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, source.size_bytes());
    bytes
}

fn parts() -> uki::Parts {
    uki::Parts {
        stub: host_file(STUB),
        os_release: b"ID=debian\nVERSION_ID=13\n".to_vec(),
        command_line: "root=PARTUUID=x quiet".into(),
        uname: "6.12.48-amd64".into(),
        initrd: Source::Bytes((0..100_001_u32).map(|i| (i % 253) as u8).collect()),
        linux: Source::Bytes((0..70_000_u32).map(|i| (i % 241) as u8).collect()),
    }
}

#[test]
fn other_tools_read_the_unified_kernel_image() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("linux.efi");
    std::fs::write(&path, bytes(&uki::build(Arch::X86_64, parts()).unwrap())).unwrap();
    let path = path.to_str().unwrap();
    let listing = run("binutils", "objdump", &["-h", path]);
    let expect = [
        (".osrel", parts().os_release),
        (".cmdline", bytes(&parts().command_line)),
        (".uname", parts().uname.into_bytes()),
        (".initrd", bytes(&parts().initrd)),
        (".linux", bytes(&parts().linux)),
    ];
    let image = std::fs::read(path).unwrap();
    let facts = pe::facts(&image).unwrap();
    assert_eq!((facts.machine, facts.signature_bytes), (0x8664, 0));
    for (name, contents) in expect {
        let read = facts.sections.iter().find(|(own, _)| own == name).unwrap();
        assert!(image[read.1.clone()] == contents, "{name}");
        assert!(listing.contains(&format!(" {name} ")), "{listing}");
        let out = directory.path().join("section");
        run(
            "binutils",
            "objcopy",
            &["-O", "binary", "--only-section", name, path, out.to_str().unwrap()],
        );
        assert!(std::fs::read(&out).unwrap() == contents, "{name}");
    }
    assert!(listing.contains(" .sbat "), "{listing}");
    let script = "import pefile, sys
pe = pefile.PE(sys.argv[1])
print(pe.get_warnings(), pe.OPTIONAL_HEADER.CheckSum)
ends = [(s.VirtualAddress, s.VirtualAddress + s.Misc_VirtualSize) for s in pe.sections]
assert all(a[1] <= b[0] for a, b in zip(ends, ends[1:])), ends
assert pe.OPTIONAL_HEADER.SizeOfImage >= ends[-1][1]
assert pe.sections[-1].Name == b'.linux\\0\\0'
";
    let warnings = |path: &str| run("python3-pefile", "python3", &["-c", script, path]);
    // The stub alone has the same warnings, if any.
    let stub = "import pefile, sys; print(pefile.PE(sys.argv[1]).get_warnings(), 0)";
    assert_eq!(warnings(path), run("python3-pefile", "python3", &["-c", stub, STUB]));
}

#[test]
fn hostile_stubs_are_refused() {
    let build = |stub: Vec<u8>| uki::build(Arch::X86_64, uki::Parts { stub, ..parts() });
    let good = host_file(STUB);
    assert!(matches!(
        uki::build(Arch::Aarch64, parts()),
        Err(pe::PeError::Machine { machine: 0x8664, .. })
    ));
    let twice = bytes(&build(good.clone()).unwrap());
    assert_eq!(build(twice).unwrap_err(), pe::PeError::Duplicate(".osrel"));
    // No cut and no changed byte in the headers may panic or read outside.
    for length in (0..1024).chain([0x11000]) {
        assert!(build(good[..length].to_vec()).is_err(), "{length}");
    }
    for offset in 0..1024 {
        for value in [0, 1, 0x7f, 0xff] {
            let mut stub = good.clone();
            stub[offset] = value;
            let _ = build(stub);
        }
    }
    let header = u32::from_le_bytes(good[0x3c..0x40].try_into().unwrap()) as usize;
    let mut signed = good.clone();
    signed[header + 24 + 112 + 4 * 8 + 4] = 8;
    assert_eq!(build(signed).unwrap_err(), pe::PeError::Signed);
    let mut crowded = good;
    crowded[header + 6] = 14;
    assert!(build(crowded).is_err());
}

fn tree(directory: &Path) -> Merged {
    for path in ["boot/efi", "etc", "usr/lib/systemd/boot/efi"] {
        std::fs::create_dir_all(directory.join(path)).unwrap();
    }
    std::fs::write(directory.join("usr/lib/os-release"), "ID=debian\n").unwrap();
    std::os::unix::fs::symlink("../usr/lib/os-release", directory.join("etc/os-release")).unwrap();
    std::fs::write(directory.join("boot/vmlinuz-6.12.48-amd64"), "MZ kernel").unwrap();
    std::fs::write(directory.join("boot/initrd.img-6.12.48-amd64"), "initrd").unwrap();
    Merged::of_directory(directory).unwrap()
}

fn kernel(command_line: &str) -> Kernel {
    Kernel {
        version: None,
        command_line: command_line.into(),
        extra_modules: Vec::new(),
        packages: Vec::new(),
        form: KernelForm::Unified,
    }
}

#[test]
fn the_esp_gets_loader_kernel_and_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let root = tree(directory.path());
    let esp = Some(Path::new("/boot/efi"));
    let device = RootDevice::partition("0a0b0c0d-02");
    let prepare = |kernel: &Kernel| super::prepare(&root, Arch::X86_64, kernel, &device, esp);
    let error = prepare(&kernel("")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the image has no /usr/lib/systemd/boot/efi/systemd-bootx64.efi"
    );
    assert!(error.hint().unwrap().contains("systemd-boot-efi"));
    for path in [STUB, LOADER] {
        std::fs::write(directory.path().join(&path[1..]), host_file(path)).unwrap();
    }
    let made = prepare(&kernel("quiet console=ttyS0")).unwrap();
    let paths: Vec<_> = made.files.iter().map(|(path, _)| path.to_str().unwrap()).collect();
    let expected = [
        "EFI/BOOT/BOOTX64.EFI",
        "EFI/systemd/systemd-bootx64.efi",
        UKI_PATH,
        "loader/loader.conf",
    ];
    assert_eq!(paths, expected);
    assert_eq!(bytes(&made.files[0].1), host_file(LOADER));
    assert_eq!(made.kernel_version, "6.12.48-amd64");
    let line = "root=PARTUUID=0a0b0c0d-02 quiet console=ttyS0";
    assert_eq!(made.command_line, line);
    let uki = bytes(&made.files[2].1);
    assert!(uki.windows(line.len()).any(|window| window == line.as_bytes()));
    // The root hash is given while the image is written.
    let hash = Promise::new(64);
    let verified = RootDevice::verified(&hash);
    let made = super::prepare(&root, Arch::X86_64, &kernel("quiet"), &verified, esp).unwrap();
    assert!(made.files[2].1.is_promised() && !made.files[0].1.is_promised());
    hash.keep(&[b'7'; 64]);
    let uki = bytes(&made.files[2].1);
    let line = format!("roothash={} root=/dev/mapper/root ro quiet", "7".repeat(64));
    assert!(uki.windows(line.len()).any(|window| window == line.as_bytes()));
    // The template takes precedence.
    assert_eq!(
        prepare(&kernel(" root=/dev/vda2 ro ")).unwrap().command_line,
        "root=/dev/vda2 ro"
    );
    assert!(matches!(prepare(&kernel("a\0b")), Err(BootError::CommandLine)));
    let separate = Kernel {
        form: KernelForm::Separate,
        ..kernel("quiet")
    };
    let made = prepare(&separate).unwrap();
    let paths: Vec<_> = made.files.iter().map(|(path, _)| path.to_str().unwrap()).collect();
    let expected = [
        "EFI/BOOT/BOOTX64.EFI",
        "EFI/systemd/systemd-bootx64.efi",
        "debian/6.12.48-amd64/linux",
        "debian/6.12.48-amd64/initrd",
        "loader/entries/debian-6.12.48-amd64.conf",
        "loader/entries.srel",
        "loader/loader.conf",
    ];
    assert_eq!(paths, expected);
    assert_eq!(
        (bytes(&made.files[2].1), bytes(&made.files[3].1)),
        (b"MZ kernel".into(), b"initrd".into())
    );
    std::fs::create_dir(directory.path().join("boot/efi/loader")).unwrap();
    std::fs::write(directory.path().join("boot/efi/loader/loader.conf"), "timeout 5\n").unwrap();
    assert_eq!(prepare(&kernel("")).unwrap().files.len(), 3);
}

#[test]
fn what_is_not_supported_names_its_field() {
    let with = |boot_type, provider, command_line: &str| {
        let system = SystemConfig {
            bootloader: Bootloader {
                boot_type,
                provider,
                ..Bootloader::default()
            },
            kernel: kernel(command_line),
            ..SystemConfig::default()
        };
        check(&system, Arch::X86_64)
    };
    with(BootType::Efi, BootProvider::SystemdBoot, "a='b'").unwrap();
    with(BootType::Efi, BootProvider::Grub, "a=b").unwrap();
    with(BootType::Legacy, BootProvider::Grub, "").unwrap();
    let error = with(BootType::Efi, BootProvider::Grub, "a='b'").unwrap_err();
    let expected = "systemConfig.kernel.cmdline: GRUB changes '\\'' on its way to the kernel";
    assert_eq!(error.to_string(), expected);
    assert!(error.hint().unwrap().contains("systemd-boot"));
    let legacy = with(BootType::Legacy, BootProvider::SystemdBoot, "")
        .unwrap_err()
        .to_string();
    assert!(legacy.starts_with("systemConfig.bootloader.bootType"), "{legacy}");
}
