//! A whole disk, judged by sgdisk, fsck.fat, e2fsck and util-linux.

use std::fs;
use std::sync::Arc;

mod verified;

use super::*;
use crate::cancel::Cancel;
use crate::durable::TEMPORARY_PREFIX;
use crate::image::ext4::tests::Tmpfs;
use crate::image::plan::tests::{disk, partition, plan_of};
use crate::image::populate;
use crate::image::tool::tests::run;
use crate::image::tree::tests::Base;
use crate::model::{FileSystem as Kind, PartitionType};
use crate::overlay::directory::DirectoryLayer;

fn plan() -> DiskPlan {
    let mounted = |id: &str, kind: PartitionType, fs, start, end, path: Option<&str>| {
        let mut p = partition(id, kind, Some(fs), start, end);
        p.mount_point = path.map(str::to_owned);
        p
    };
    let mut esp = mounted("esp", PartitionType::Esp, Kind::Fat32, 1, Some(41), Some("/boot/efi"));
    esp.label = Some("esp".into());
    plan_of(&disk(
        Some(160),
        vec![
            esp,
            mounted("root", PartitionType::RootAmd64, Kind::Ext4, 41, Some(101), Some("/")),
            mounted("swap", PartitionType::Swap, Kind::Swap, 101, Some(111), None),
            mounted("home", PartitionType::Home, Kind::Ext4, 111, None, Some("/home")),
        ],
    ))
}

fn tree(path: &Path) {
    for directory in ["boot/efi/EFI/debian", "etc", "home/user", "usr/bin"] {
        fs::create_dir_all(path.join(directory)).unwrap();
    }
    fs::write(path.join("boot/efi/EFI/debian/grub.cfg"), "old").unwrap();
    fs::write(path.join("etc/hostname"), "oic\n").unwrap();
    fs::write(path.join("home/user/notes"), "mine").unwrap();
    fs::write(path.join("usr/bin/tool"), vec![0x5a; 3_000_000]).unwrap();
}

fn make(target: &Path, tree: &Path, cancel: &Cancel) -> Result<RawSummary, ImageError> {
    make_from(target, &Merged::of_directory(tree).unwrap(), None, cancel)
}

fn make_from(
    target: &Path,
    merged: &Merged,
    earlier: Option<Earlier>,
    cancel: &Cancel,
) -> Result<RawSummary, ImageError> {
    let plan = plan();
    let mut contents = populate::contents(&plan);
    let extra = vec![("EFI/BOOT/BOOTX64.EFI".into(), "not really".into())];
    populate::add_to_esp(&mut contents, &plan, extra).unwrap();
    let inputs = Inputs {
        plan: &plan,
        merged,
        contents: &contents,
        boot_code: None,
        epoch_seconds: 1_700_000_000,
    };
    write(target, inputs, earlier, Work::quiet(cancel))
}

/// Copies a partition out, keeping holes, for tools that take no offset.
fn cut(raw: &Path, planned: &PlannedPartition) -> PathBuf {
    let to = raw.with_extension(&planned.partition.id);
    let numbers = [("skip", planned.offset_bytes()), ("count", planned.size_bytes())];
    let [skip, count] = numbers.map(|(name, bytes)| format!("{name}={}", bytes >> 20));
    let (from, to_arg) = (format!("if={}", raw.display()), format!("of={}", to.display()));
    run(
        "coreutils",
        "dd",
        &[&from, &to_arg, "bs=1M", "conv=sparse", &skip, &count],
    );
    to
}

#[test]
fn every_checker_is_content() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("tree");
    tree(&root);
    let target = directory.path().join("image-1.0.raw");
    let summary = make(&target, &root, &Cancel::default()).unwrap();
    assert_eq!(summary.size_bytes, 160 << 20);
    assert!(summary.data_bytes < 12 << 20, "{}", summary.data_bytes);
    let raw = target.to_str().unwrap();
    assert!(run("gdisk", "sgdisk", &["-v", raw]).contains("No problems found"));
    let plan = plan();
    let [esp, root_fs, swap, home] =
        [0, 1, 2, 3].map(|i| cut(&target, &plan.partitions[i]).to_str().unwrap().to_owned());
    run("dosfstools", "fsck.fat", &["-n", &esp]);
    let listing = run("mtools", "mdir", &["-b", "-/", "-i", &esp, "::"]);
    assert!(
        listing.contains("EFI/debian/grub.cfg") && listing.contains("EFI/BOOT/BOOTX64.EFI"),
        "{listing}"
    );
    for file_system in [&root_fs, &home] {
        run("e2fsprogs", "e2fsck", &["-fn", file_system]);
    }
    assert!(run("e2fsprogs", "debugfs", &["-R", "cat /etc/hostname", &root_fs]).starts_with("oic"));
    assert!(run("e2fsprogs", "debugfs", &["-R", "cat /user/notes", &home]).starts_with("mine"));
    for empty in ["/home", "/boot/efi"] {
        let names = run("e2fsprogs", "debugfs", &["-R", &format!("ls -p {empty}"), &root_fs]);
        assert_eq!(names.lines().filter(|line| line.starts_with('/')).count(), 2, "{names}");
    }
    assert!(run("util-linux", "blkid", &["-p", "-o", "export", &swap]).contains("TYPE=swap"));
    assert_eq!(summary.tree, tree_of(&target));
}

fn tree_of(path: &Path) -> DigestTree {
    super::super::digest::of_file(path, Work::quiet(&Cancel::default())).unwrap()
}

#[test]
fn a_graft_lies_where_it_is_put() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("tree");
    tree(&root);
    let merged = Merged::of_directory(&root).unwrap();
    let plan = plan();
    let mut contents = populate::contents(&plan);
    let Content::Files { grafts, .. } = &mut contents[3] else {
        panic!("{contents:?}")
    };
    grafts.push(Graft {
        from: Origin::Tree {
            path: "/usr".into(),
            excluded: Vec::new(),
        },
        to: "/overlay/usr".into(),
    });
    let inputs = Inputs {
        plan: &plan,
        merged: &merged,
        contents: &contents,
        boot_code: None,
        epoch_seconds: 1_700_000_000,
    };
    let target = directory.path().join("image.raw");
    write(&target, inputs, None, Work::quiet(&Cancel::default())).unwrap();
    let home = cut(&target, &plan.partitions[3]);
    let home = home.to_str().unwrap();
    run("e2fsprogs", "e2fsck", &["-fn", home]);
    assert!(run("e2fsprogs", "debugfs", &["-R", "cat /user/notes", home]).starts_with("mine"));
    let tool = run("e2fsprogs", "debugfs", &["-R", "stat /overlay/usr/bin/tool", home]);
    assert!(tool.contains("Size: 3000000"), "{tool}");
}

#[test]
fn two_images_are_equal() {
    let directory = tempfile::tempdir().unwrap();
    let digests = ["a", "b"].map(|name| {
        let root = directory.path().join(name);
        tree(&root);
        let target = directory.path().join(name).with_extension("raw");
        make(&target, &root, &Cancel::default()).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(1100));
        tree_of(&target)
    });
    assert_eq!(digests[0], digests[1]);
}

/// Builds an image several times, each upon the one before and after another change; returns the bytes written each
/// time.
fn build_upon(merged: impl Fn(&Path) -> Merged) -> Vec<u64> {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("tree");
    tree(&root);
    for i in 0..400_u32 {
        fs::write(root.join(format!("usr/bin/{i}")), vec![i as u8 | 1; (i * 97) as usize]).unwrap();
    }
    let at = |name: &str| directory.path().join(name);
    let (target, record) = (at("image.raw"), at("record"));
    let cancel = Cancel::default();
    let mut earlier = None;
    let changes: [&dyn Fn(); 6] = [
        &|| {},
        &|| {},
        &|| fs::write(root.join("etc/new"), "one more").unwrap(),
        &|| fs::write(root.join("boot/efi/EFI/debian/grub.cfg"), "new").unwrap(),
        &|| {
            fs::remove_file(root.join("usr/bin/tool")).unwrap();
            fs::remove_dir_all(root.join("home/user")).unwrap();
        },
        &|| fs::write(root.join("usr/bin/tool"), vec![0xa5; 5_000_000]).unwrap(),
    ];
    let mut written = Vec::new();
    for change in changes {
        change();
        let summary = make_from(&target, &merged(&root), earlier.take(), &cancel).unwrap();
        let fresh = make_from(&at("fresh.raw"), &merged(&root), None, &cancel).unwrap();
        assert_eq!(summary.tree, tree_of(&target));
        assert_eq!(summary.tree, fresh.tree);
        assert_eq!(summary.drawn.ranges, fresh.drawn.ranges);
        written.push((summary.written_bytes, summary.changed.is_empty()));
        super::super::earlier::remember(&target, &summary.drawn, &summary.tree, &record).unwrap();
        earlier = Earlier::set_aside(std::slice::from_ref(&target), &record, &at("aside")).unwrap();
        assert!(earlier.is_some());
    }
    assert!(written[0].0 > 10 << 20, "{written:?}");
    assert_eq!(written[1], (0, true));
    written.into_iter().map(|(bytes, _)| bytes).collect()
}

#[test]
fn an_earlier_image_saves_writing_and_changes_nothing() {
    let written = build_upon(|root| Merged::of_directory(root).unwrap());
    assert!(written[2..4].iter().all(|bytes| *bytes < 3 << 20), "{written:?}");
}

/// As above; unchanged files are not even read.
#[test]
fn contents_with_known_digests_are_left_alone() {
    build_upon(|root| Merged::new(vec![Arc::new(Base(DirectoryLayer::open(root).unwrap()))]).unwrap());
}

#[test]
fn failures_leave_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("tree");
    tree(&root);
    let full = directory.path().join("full");
    fs::create_dir(&full).unwrap();
    let tmpfs = Tmpfs::mount(&full, "size=1m");
    let error = make(&full.join("image.raw"), &root, &Cancel::default()).unwrap_err();
    assert!(crate::durable::FullDisk::behind(&error).is_some(), "{error}");
    assert_eq!(fs::read_dir(&full).unwrap().count(), 0);
    drop(tmpfs);
    let cancel = Cancel::default();
    cancel.cancel();
    let error = make(&directory.path().join("image.raw"), &root, &cancel).unwrap_err();
    assert!(error.is_cancelled(), "{error}");
    fs::write(directory.path().join("tree/usr/bin/large"), vec![1; 80 << 20]).unwrap();
    let error = make(&directory.path().join("image.raw"), &root, &Cancel::default()).unwrap_err();
    assert!(
        error
            .hint()
            .is_some_and(|hint| hint.contains("enlarge the partition \"root\"")),
        "{error}"
    );
    let left = fs::read_dir(directory.path()).unwrap().map(|e| e.unwrap().file_name());
    let left: Vec<_> = left
        .filter(|name| name.to_string_lossy().contains(".raw") || name.to_string_lossy().starts_with(TEMPORARY_PREFIX))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(!run("util-linux", "findmnt", &["-rn", "-o", "TARGET"]).contains(directory.path().to_str().unwrap()));
}
