//! `oic ls`, `oic cat` and `oic cp` on a disk image of foreign programs, without root.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use oic_testkit::{Finished, tool};

use crate::support::disk_image;
use crate::support::program::Oic;

struct Disk {
    oic: Oic,
    directory: tempfile::TempDir,
}

impl Disk {
    fn new(name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tree = directory.path().join("tree");
        fs::create_dir_all(tree.join("srv/deep/er")).unwrap();
        fs::write(tree.join("srv/deep/large"), vec![7; 3_000_000]).unwrap();
        fs::write(tree.join("srv/deep/er/colour\u{1b}[31m"), "x").unwrap();
        fs::write(tree.join("srv/program"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(tree.join("srv/program"), fs::Permissions::from_mode(0o4755)).unwrap();
        std::os::unix::fs::symlink("/etc/../../usr/lib/os-release", tree.join("srv/link")).unwrap();
        std::os::unix::fs::symlink("circle", tree.join("srv/circle")).unwrap();
        disk_image::make(directory.path());
        Self {
            oic: Oic::new(name),
            directory,
        }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().unwrap().to_owned()
    }

    /// Runs a command on a path in the image.
    fn run(&self, command: &str, path: &str, more: &[&str]) -> Finished {
        let place = format!("{}{path}", self.path("image.raw"));
        self.oic.run(&[&[command, &place][..], more].concat())
    }

    #[track_caller]
    fn output(&self, command: &str, path: &str, more: &[&str]) -> String {
        let run = self.run(command, path, more);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        run.stdout
    }
}

#[test]
fn ls_shows_the_system_that_fstab_puts_together() {
    let disk = Disk::new("disk-ls");
    assert_eq!(disk.output("ls", "", &[]), "boot\netc\nlost+found\nsrv\nusr\nvar\n");
    assert_eq!(disk.output("ls", ":/boot/efi/EFI", &[]), "BOOTX64.EFI\n");
    assert_eq!(disk.output("ls", ":/boot/efi", &["--partition", "rootfs"]), "");
    for name in ["1", "boot", "ESP", "1234-ABCD"] {
        assert_eq!(
            disk.output("ls", ":EFI", &["--partition", name]),
            "BOOTX64.EFI\n",
            "{name}"
        );
    }
    let long = disk.output("ls", ":/srv", &["--long"]);
    let line = |name: &str| long.lines().find(|line| line.contains(name)).unwrap().to_owned();
    assert!(line("program").starts_with("-rwsr-xr-x"), "{long}");
    assert!(line("link").starts_with("lrwxrwxrwx") && line("link").ends_with("link -> /etc/../../usr/lib/os-release"));
    // A name cannot colour the terminal.
    assert!(!disk.output("ls", ":/srv/deep/er", &[]).contains('\u{1b}'));
    let json = disk.run("ls", ":/srv/deep/large", &["--format", "json"]).json();
    assert_eq!(
        (json["entries"][0]["size_bytes"].as_u64(), &json["entries"][0]["kind"]),
        (Some(3_000_000), &"file".into())
    );
}

#[test]
fn cat_follows_links_within_the_image() {
    let disk = Disk::new("disk-cat");
    let expected = fs::read_to_string(disk.path("tree/usr/lib/os-release")).unwrap();
    for path in [":/etc/os-release", ":/srv/link", ":usr/lib/../lib/os-release"] {
        assert_eq!(disk.output("cat", path, &[]), expected);
    }
    assert_eq!(disk.output("cat", ":/boot/efi/EFI/BOOTX64.EFI", &[]), "no program");
    disk.run("cat", ":/srv/circle", &[]).assert_fails(1, &["/srv/circle"]);
    disk.run("cat", ":/etc/absent", &[])
        .assert_fails(1, &["there is no /etc/absent in the image"]);
    disk.run("cat", ":/etc", &[]).assert_fails(1, &["directory"]);
    disk.run("cat", ":/etc/fstab", &["--partition", "7"]).assert_fails(
        1,
        &[
            "has no partition \"7\"",
            "1 (boot, vfat)",
            "2 (rootfs, ext4)",
            "--partition",
        ],
    );
    disk.oic
        .run(&["cat", "/absent.raw:/x"])
        .assert_fails(1, &["/absent.raw"]);
}

#[test]
fn cp_copies_a_tree_and_overwrites_nothing() {
    let disk = Disk::new("disk-cp");
    let copy = disk.path("copy");
    disk.output("cp", ":/srv", &[&copy]);
    tool("diff", &["-r", "--no-dereference", &disk.path("tree/srv"), &copy]);
    let mode = |path: &str| fs::metadata(disk.path(path)).unwrap().mode() & 0o7777;
    assert_eq!(mode("copy/program"), 0o755);
    let modified = |path: &str| fs::metadata(disk.path(path)).unwrap().mtime();
    assert_eq!(modified("copy/deep"), modified("tree/srv/deep"));
    disk.run("cp", ":/srv", &[&disk.path("copy/program")])
        .assert_fails(1, &["program"]);
    // Into a directory, under the same name.
    disk.output("cp", ":/etc/fstab", &[&copy]);
    assert!(Path::new(&disk.path("copy/fstab")).is_file());
    disk.run("cp", ":/etc/fstab", &[&copy])
        .assert_fails(1, &["copy/fstab", "exists"]);
}

#[test]
fn a_file_system_without_a_table_is_shown_as_it_is() {
    let disk = Disk::new("disk-bare");
    assert_eq!(disk.oic.run(&["ls", &disk.path("fat")]).stdout, "EFI\n");
    fs::write(disk.path("nothing"), vec![0; 1 << 20]).unwrap();
    disk.oic
        .run(&["ls", &disk.path("nothing")])
        .assert_fails(1, &["no partition of the image holds the root", "none"]);
}

#[test]
fn inspect_tells_what_is_inside() {
    let disk = Disk::new("disk-inspect");
    let json = disk.run("inspect", "", &["--format", "json", "--hash"]).json();
    assert_eq!(
        json["sha256"],
        oic_testkit::sha256(fs::read(disk.path("image.raw")).unwrap())
    );
    assert_eq!(
        (&json["format"], json["sizeBytes"].as_u64()),
        (&"raw".into(), Some(64 << 20))
    );
    let table = &json["partitionTable"];
    let sfdisk: serde_json::Value = serde_json::from_str(&tool("sfdisk", &["-J", &disk.path("image.raw")])).unwrap();
    let theirs = &sfdisk["partitiontable"];
    assert_eq!((&table["Type"], &table["ProtectiveMBR"]), (&"gpt".into(), &true.into()));
    assert_eq!(
        table["diskGuid"].as_str().unwrap().to_uppercase(),
        theirs["id"].as_str().unwrap()
    );
    let partitions = table["Partitions"].as_array().unwrap();
    assert_eq!(partitions.len(), 2);
    for (ours, theirs) in partitions.iter().zip(theirs["partitions"].as_array().unwrap()) {
        assert_eq!((&ours["Name"], &ours["StartLBA"]), (&theirs["name"], &theirs["start"]));
        assert_eq!(
            ours["SizeBytes"].as_u64().unwrap() / 512,
            theirs["size"].as_u64().unwrap()
        );
        assert_eq!(
            ours["guid"].as_str().unwrap().to_uppercase(),
            theirs["uuid"].as_str().unwrap()
        );
    }
    // Behind the second partition, up to the backup of the table.
    let end = theirs["lastlba"].as_u64();
    assert_eq!(
        (
            table["largestFreeSpan"]["startLba"].as_u64(),
            table["largestFreeSpan"]["endLba"].as_u64()
        ),
        (Some(49 << 11), end)
    );
    let (boot, root) = (&partitions[0]["filesystem"], &partitions[1]["filesystem"]);
    assert_eq!(
        (&boot["type"], &boot["label"], &boot["uuid"]),
        (&"vfat".into(), &"ESP".into(), &"1234-ABCD".into())
    );
    assert_eq!(boot["efiBinaries"][0]["path"], "/EFI/BOOTX64.EFI");
    assert!(
        boot["efiBinaries"][0]["notes"][0]
            .as_str()
            .unwrap()
            .contains("not a valid EFI program")
    );
    assert_eq!(
        (&root["type"], &root["uuid"]),
        (&"ext4".into(), &disk_image::ROOT_UUID.into())
    );
    let system = &json["system"];
    assert_eq!(
        (&system["os"]["id"], &system["os"]["versionId"]),
        (&"debian".into(), &"13".into())
    );
    assert_eq!(system["mounts"][1]["path"], "/boot/efi");
    let hello =
        serde_json::json!([{"name": "hello", "version": "2.10-3", "architecture": "amd64", "source": "hello-src"}]);
    assert_eq!((&system["packages"], &system["packageCount"]), (&hello, &1.into()));
    let text = disk.output("inspect", "", &[]);
    for line in [
        "Debian GNU/Linux 13 (trixie)",
        "hello 2.10-3 amd64",
        "/boot/efi is partition 1",
        "ext4 \"system\"",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let yaml = disk.output("inspect", "", &["--format", "yaml"]);
    for key in ["partitiontable:", "sizebytes: 67108864", "startlba: 2048", "diskguid:"] {
        assert!(yaml.contains(key), "{key}: {yaml}");
    }
    disk.oic
        .run(&["inspect", "/absent.raw"])
        .assert_fails(1, &["/absent.raw"]);
}
