//! Media, judged by programs that read them.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use super::*;
use crate::cancel::Cancel;
use crate::image::tool::tests::run;
use crate::progress::Silent;

/// Makes a medium of files of all kinds, as they lie in the directory, and writes it there.
fn write_to(directory: &Path, medium: &Medium, boot: &Boot) -> PathBuf {
    let path = directory.join("medium.iso");
    let cancel = Cancel::default();
    let work = Work {
        progress: &Silent,
        cancel: &cancel,
        threads: 2,
    };
    let inputs = Inputs {
        medium,
        boot,
        label: "ICT_CDROM",
        uuid: Uuid::from_u128(7),
        epoch_seconds: 1_700_000_000,
    };
    let (file, _) = write(&path, inputs, work).unwrap();
    file.commit().unwrap();
    path
}

fn sample() -> Medium {
    let mut medium = Medium::default();
    let long = "n".repeat(255);
    for (path, text) in [
        ("images/vmlinuz", "kernel".to_owned()),
        ("images/VMLINUZ", "another".to_owned()),
        ("cache-repo/libc6_2.41-12+b1_amd64.deb", "x".repeat(5000)),
        ("empty", String::new()),
        ("a/b/c/d/e/f/deep", "deep".to_owned()),
    ] {
        medium.add(path, Entry::file(text.as_str().into()));
    }
    medium.add(long, Entry::file("long".into()));
    for number in 0..300 {
        medium.add(format!("many/file-{number}.txt"), Entry::file("y".into()));
    }
    medium.add("link", Entry::Link(b"../images/./vmlinuz".to_vec()));
    medium.add(
        "far",
        Entry::Link([b"/".as_slice(), &[b'l'; 255], b"/", &[b'm'; 250]].concat()),
    );
    medium.add("other-name", Entry::Same("images/vmlinuz".into()));
    medium.add("void", Entry::Directory);
    medium
}

/// GRUB's images from the package grub-pc-bin.
fn grub(directory: &Path) -> Boot {
    let core = directory.join("core.img");
    let path = core.to_str().unwrap();
    let early = directory.join("early.cfg");
    std::fs::write(&early, "echo the medium says hello\nls (hd0)/images\nls (cd0)/images\n").unwrap();
    let early = early.to_str().unwrap();
    let modules = ["biosdisk", "iso9660", "echo", "ls", "serial", "terminal"];
    let bios = [
        &["-O", "i386-pc-eltorito", "-p", "/boot/grub", "-c", early, "-o", path],
        &modules[..],
    ]
    .concat();
    run("grub-common", "grub-mkimage", &bios);
    let hybrid = std::fs::read("/usr/lib/grub/i386-pc/boot_hybrid.img").expect("this test needs grub-pc-bin");
    let core = std::fs::read(core).unwrap();
    let efi = directory.join("grub.efi");
    let path = efi.to_str().unwrap();
    let modules = ["iso9660", "fat", "part_gpt", "echo", "ls"];
    let efi = [
        &["-O", "x86_64-efi", "-p", "/boot/grub", "-c", early, "-o", path],
        &modules[..],
    ]
    .concat();
    run("grub-common", "grub-mkimage", &efi);
    let efi = std::fs::read(path).unwrap();
    Boot {
        bios: Some(Bios {
            path: "boot/grub/i386-pc/eltorito.img".into(),
            core,
            hybrid: Some(hybrid),
        }),
        esp: vec![("EFI/BOOT/BOOTX64.EFI".into(), Source::Bytes(efi))],
    }
}

/// xorriso takes all files out again: contents, links, modes, times, names of one file.
#[test]
fn xorriso_finds_all_files() {
    let directory = tempfile::tempdir().unwrap();
    let iso = write_to(directory.path(), &sample(), &Boot::default());
    let (iso, out) = (iso.to_str().unwrap(), directory.path().join("out"));
    let osirrox = ["-osirrox", "on", "-indev", iso, "-extract", "/", out.to_str().unwrap()];
    let said = run("xorriso", "xorriso", &osirrox);
    assert!(!said.contains("WARNING") && !said.contains("SORRY"), "{said}");
    let at = |path: &str| out.join(path);
    let read = |path: &str| std::fs::read_to_string(at(path)).unwrap();
    assert_eq!(
        (read("images/vmlinuz"), read("images/VMLINUZ")),
        ("kernel".into(), "another".into())
    );
    assert_eq!(read("cache-repo/libc6_2.41-12+b1_amd64.deb"), "x".repeat(5000));
    assert_eq!(
        (read("empty"), read("a/b/c/d/e/f/deep")),
        (String::new(), "deep".into())
    );
    assert_eq!(
        (read(&"n".repeat(255)), read("other-name")),
        ("long".into(), "kernel".into())
    );
    assert_eq!(std::fs::read_dir(at("many")).unwrap().count(), 300);
    assert_eq!(
        std::fs::read_link(at("link")).unwrap(),
        Path::new("../images/./vmlinuz")
    );
    let far = format!("/{}/{}", "l".repeat(255), "m".repeat(250));
    assert_eq!(std::fs::read_link(at("far")).unwrap(), Path::new(&far));
    let metadata = std::fs::metadata(at("images/vmlinuz")).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.mtime()), (0o444, 1_700_000_000));
    assert!(at("void").is_dir());
}

/// isoinfo, 7z and bsdtar list the same names.
#[test]
fn other_readers_agree() {
    let directory = tempfile::tempdir().unwrap();
    let iso = write_to(directory.path(), &sample(), &Boot::default());
    let iso = iso.to_str().unwrap();
    let listed = run("libarchive-tools", "bsdtar", &["-tf", iso]);
    let mut names: Vec<_> = listed.lines().map(|line| line.trim_end_matches('/')).collect();
    names.sort_unstable();
    let tree = Tree::new(&sample()).unwrap();
    assert_eq!(names.len(), tree.nodes.len(), "{names:?}");
    let isoinfo = run("genisoimage", "isoinfo", &["-i", iso, "-R", "-f"]);
    let mut found: Vec<_> = isoinfo.lines().map(|line| line.trim_start_matches('/')).collect();
    found.sort_unstable();
    names.retain(|name| *name != ".");
    assert_eq!(found, names);
    let seven = run("7zip", "7z", &["t", iso]);
    assert!(seven.contains("Everything is Ok"), "{seven}");
    let links = run("genisoimage", "isoinfo", &["-i", iso, "-R", "-l"]);
    assert!(links.contains("link -> ../images/./vmlinuz"), "{links}");
}

/// xorriso and sgdisk see what firmware will.
#[test]
fn what_firmware_starts_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let boot = grub(directory.path());
    let iso = write_to(directory.path(), &sample(), &boot);
    let path = iso.to_str().unwrap();
    let report = [
        "-indev",
        path,
        "-report_el_torito",
        "plain",
        "-report_system_area",
        "plain",
    ];
    let report = run("xorriso", "xorriso", &report);
    for expected in [
        "El Torito boot img :   1  BIOS  y   none  0x0000  0x00      4",
        "El Torito boot img :   2  UEFI  y   none  0x0000  0x00",
        "El Torito img path :   1  /boot/grub/i386-pc/eltorito.img",
        "El Torito img opts :   1  boot-info-table grub2-boot-info",
        "protective-msdos-label grub2-mbr",
        "MBR partition table",
        "GPT partition name",
        "Volume id    : 'ICT_CDROM'",
    ] {
        assert!(report.contains(expected), "{expected}: {report}");
    }
    let table = run("gdisk", "sgdisk", &["-v", path]);
    assert!(table.contains("No problems found"), "{table}");
    let again = std::fs::read(&iso).unwrap();
    let second = tempfile::tempdir().unwrap();
    assert!(again == std::fs::read(write_to(second.path(), &sample(), &boot)).unwrap());
}

/// A file of more than 4 GiB has several extents; holes cost nothing.
#[test]
fn large_files_have_several_extents() {
    let directory = tempfile::tempdir().unwrap();
    let mut medium = Medium::default();
    let size_bytes = EXTENT_MAX_BYTES + 5000;
    let parts = vec![
        Source::from("head"),
        Source::Zeros(size_bytes - 8),
        Source::from("tail"),
    ];
    medium.add("large", Entry::file(Source::Chain(parts)));
    medium.add("small", Entry::file("small".into()));
    let iso = write_to(directory.path(), &medium, &Boot::default());
    let listed = run("genisoimage", "isoinfo", &["-i", iso.to_str().unwrap(), "-R", "-l"]);
    assert!(listed.contains("small"), "{listed}");
    let listed = run(
        "xorriso",
        "xorriso",
        &["-indev", iso.to_str().unwrap(), "-lsl", "/large"],
    );
    assert!(listed.contains(&size_bytes.to_string()), "{listed}");
    let layout = Layout::new(Inputs {
        medium: &medium,
        boot: &Boot::default(),
        label: "X",
        uuid: Uuid::nil(),
        epoch_seconds: 0,
    });
    let block = layout.unwrap().places.contents[0];
    let mut tail = [0; 4];
    let file = File::open(&iso).unwrap();
    file.read_exact_at(&mut tail, u64::from(block) * BLOCK_BYTES + size_bytes - 4)
        .unwrap();
    assert_eq!(&tail, b"tail");
    assert!(std::fs::metadata(&iso).unwrap().blocks() < 4096);
}

#[test]
fn what_cannot_be_stored_is_refused() {
    let entries: BTreeMap<&str, Entry> = BTreeMap::from([
        ("1/2/3/4/5/6/7/8/9", Entry::file("".into())),
        ("link", Entry::Link(vec![b'x'; 1025])),
        ("same", Entry::Same("missing".into())),
    ]);
    for (path, entry) in entries {
        let mut medium = Medium::default();
        medium.add(path, entry);
        let error = Tree::new(&medium).unwrap_err().to_string();
        assert!(error.contains("cannot be stored"), "{error}");
    }
}
