//! A verified root, judged by veritysetup, sgdisk and e2fsck.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::image::content::Source;
use crate::image::plan::FixedRoot;
use crate::image::tool::tests::run_any;

fn plan() -> DiskPlan {
    let mounted = |id: &str, fs, start, end, path: Option<&str>| {
        let mut p = partition(id, PartitionType::Linux, fs, start, end);
        p.mount_point = path.map(str::to_owned);
        p
    };
    let mut esp = mounted("esp", Some(Kind::Fat32), 1, Some(41), Some("/boot/efi"));
    esp.kind = PartitionType::Esp;
    let mut hash = mounted("roothashmap", None, 101, Some(102), None);
    hash.is_hash_tree = true;
    let root = mounted("root", Some(Kind::Ext4), 41, Some(101), Some("/"));
    let data = mounted("userdata", Some(Kind::Ext4), 102, None, Some("/opt"));
    plan_of(&disk(Some(160), vec![esp, root, hash, data]))
}

fn tree(at: &Path) {
    super::tree(at);
    for directory in ["opt/vendor", "var/lib/dpkg"] {
        fs::create_dir_all(at.join(directory)).unwrap();
    }
    fs::set_permissions(at.join("etc"), fs::Permissions::from_mode(0o751)).unwrap();
    fs::write(at.join("opt/vendor/program"), "program").unwrap();
    fs::write(at.join("var/lib/dpkg/status"), "Package: oic\n").unwrap();
}

/// Writes the image, with a file on the ESP that names the root hash.
fn make(target: &Path, tree: &Path, earlier: Option<Earlier>) -> RawSummary {
    let (plan, cancel) = (plan(), Cancel::default());
    let mut contents = populate::contents(&plan);
    let root = populate::root_hash(&contents).unwrap().clone();
    let named = Source::Chain(vec!["roothash=".into(), Source::Promised(root), "\n".into()]);
    populate::add_to_esp(&mut contents, &plan, vec![("line".into(), named)]).unwrap();
    let inputs = Inputs {
        plan: &plan,
        merged: &Merged::of_directory(tree).unwrap(),
        contents: &contents,
        boot_code: None,
        epoch_seconds: 1_700_000_000,
    };
    write(target, inputs, earlier, Work::quiet(&cancel)).unwrap()
}

fn debugfs(command: &str, partition: &str) -> String {
    run("e2fsprogs", "debugfs", &["-R", command, partition])
}

#[test]
fn the_root_is_verified_and_the_rest_can_be_written() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("tree");
    tree(&root);
    let target = directory.path().join("image.raw");
    let hash = make(&target, &root, None).root_hash.unwrap().to_string();
    let raw = target.to_str().unwrap();
    assert!(run("gdisk", "sgdisk", &["-v", raw]).contains("No problems found"));
    let of_table = |number: &str| run("gdisk", "sgdisk", &["-i", number, raw]);
    let (data, digests) = (of_table("2"), of_table("3"));
    let number = |table: &str| {
        let line = table
            .lines()
            .find_map(|line| line.strip_prefix("Partition unique GUID: "));
        line.unwrap().to_lowercase().replace('-', "")
    };
    assert_eq!(format!("{}{}", number(&data), number(&digests)), hash);
    for (table, kind) in [
        (&data, "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"),
        (&digests, "2C7357ED-EBD2-46D9-AEC1-23D437EC2BF5"),
    ] {
        assert!(
            table.contains(kind) && table.contains("Attribute flags: 1000000000000000"),
            "{table}"
        );
    }
    let cut = [0, 1, 2, 3].map(|place| cut(&target, &plan().partitions[place]));
    let [esp, root_fs, digests, data] = cut.each_ref().map(|path| path.to_str().unwrap());
    assert_eq!(
        run("mtools", "mtype", &["-i", esp, "::line"]),
        format!("roothash={hash}\n")
    );
    let verify = || run_any("cryptsetup-bin", "veritysetup", &["verify", root_fs, digests, &hash]);
    assert!(verify().0, "{}", verify().1);
    for file_system in [root_fs, data] {
        run("e2fsprogs", "e2fsck", &["-fn", file_system]);
    }
    for empty in ["/var/tmp", "/home", "/opt"] {
        let names = debugfs(&format!("ls -p {empty}"), root_fs);
        assert_eq!(names.lines().filter(|line| line.starts_with('/')).count(), 2, "{names}");
    }
    assert!(debugfs("cat /var/lib/dpkg/status", data).starts_with("Package: oic"));
    assert!(debugfs("cat /home/user/notes", data).starts_with("mine"));
    assert!(debugfs("cat /vendor/program", data).starts_with("program"));
    for place in FixedRoot::ETC {
        let made = debugfs(&format!("stat {place}"), data);
        assert!(made.contains("Type: directory    Mode:  0751"), "{made}");
    }
    let mut bytes = fs::read(root_fs).unwrap();
    let at = bytes.iter().rposition(|byte| *byte == 0x5a).unwrap();
    bytes[at] ^= 1;
    fs::write(root_fs, bytes).unwrap();
    assert!(!verify().0, "a flipped bit");
}

#[test]
fn an_earlier_verified_image_saves_hashing_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("tree");
    tree(&root);
    let at = |name: &str| directory.path().join(name);
    let (target, record) = (at("image.raw"), at("record"));
    let mut earlier = None;
    let changes: [&dyn Fn(); 4] = [
        &|| {},
        &|| {},
        &|| fs::write(root.join("etc/new"), "one more").unwrap(),
        &|| fs::remove_file(root.join("usr/bin/tool")).unwrap(),
    ];
    let mut roots = Vec::new();
    for (step, change) in changes.into_iter().enumerate() {
        change();
        let summary = make(&target, &root, earlier.take());
        let fresh = make(&at("fresh.raw"), &root, None);
        assert_eq!(summary.tree, tree_of(&target));
        assert_eq!(
            (summary.tree, summary.root_hash),
            (fresh.tree, fresh.root_hash),
            "step {step}"
        );
        assert_eq!(summary.drawn.ranges, fresh.drawn.ranges, "step {step}");
        assert_eq!(summary.changed.is_empty(), step == 1, "step {step}");
        super::super::super::earlier::remember(&target, &summary.drawn, &tree_of(&target), &record).unwrap();
        earlier = Earlier::set_aside(std::slice::from_ref(&target), &record, &at("aside")).unwrap();
        roots.push(summary.root_hash.unwrap().to_string());
    }
    assert_eq!(roots[0], roots[1]);
    assert!(roots[1] != roots[2] && roots[2] != roots[3], "{roots:?}");
}
