use std::fs;

use oic_testkit::selinux;

use super::*;

/// Makes an image with a policy of these contexts.
fn image(contexts: &str) -> (tempfile::TempDir, Merged) {
    let directory = tempfile::tempdir().unwrap();
    let files = directory.path().join("etc/selinux/small/contexts/files");
    fs::create_dir_all(&files).unwrap();
    let config = "# comment\nSELINUX=enforcing\nSELINUXTYPE=small\n";
    fs::write(directory.path().join("etc/selinux/config"), config).unwrap();
    fs::write(files.join("file_contexts"), contexts).unwrap();
    let merged = Merged::of_directory(directory.path()).unwrap();
    (directory, merged)
}

const CONTEXTS: &str = r"
# The shape of those of distributions.
/.*                          system_u:object_r:default_t:s0
/[^/]+                  --   system_u:object_r:etc_runtime_t:s0
/                       -d   system_u:object_r:root_t:s0
/usr/.*                      system_u:object_r:usr_t:s0
/usr/(.*/)?bin(/.*)?         system_u:object_r:bin_t:s0
/usr/lib/.*\.so(\.[^/]*)* -- system_u:object_r:lib_t:s0
/usr/lib(64)?/x?             system_u:object_r:odd_t:s0
/etc/shadow.*           --   system_u:object_r:shadow_t:s0
/etc/passwd             --   system_u:object_r:passwd_t:s0
/etc/pass.*                  system_u:object_r:later_t:s0
/dev/tty[0-9]           -c   system_u:object_r:tty_t:s0
/proc/.*                     <<none>>
/srv/a|/srv/b                system_u:object_r:either_t:s0
/var/a\+b\.c                 system_u:object_r:escaped_t:s0
";

const PATHS: &[(&str, FileKind, u32)] = &[
    ("/", FileKind::Directory, 0o040000),
    ("/init", FileKind::Regular, 0o100000),
    ("/init", FileKind::Symlink, 0o120000),
    ("/usr/share/x", FileKind::Regular, 0o100000),
    ("/usr/bin", FileKind::Directory, 0o040000),
    ("/usr/local/bin/tool", FileKind::Regular, 0o100000),
    ("/usr/lib/libc.so.6", FileKind::Regular, 0o100000),
    ("/usr/lib/libc.so.6", FileKind::Symlink, 0o120000),
    ("/usr/lib64/x", FileKind::Regular, 0o100000),
    ("/usr/lib64/y", FileKind::Regular, 0o100000),
    ("/etc/shadow-", FileKind::Regular, 0o100000),
    ("/etc/passwd", FileKind::Regular, 0o100000),
    ("/etc/passwd", FileKind::Directory, 0o040000),
    ("/etc/passwd-", FileKind::Regular, 0o100000),
    ("/dev/tty1", FileKind::CharDevice, 0o020000),
    ("/dev/tty1", FileKind::BlockDevice, 0o060000),
    ("/proc/self", FileKind::Directory, 0o040000),
    ("/srv/b", FileKind::Directory, 0o040000),
    ("/srv/c", FileKind::Fifo, 0o010000),
    ("/var/a+b.c", FileKind::Socket, 0o140000),
    ("/alias/bin", FileKind::Directory, 0o040000),
    ("/aliased", FileKind::Directory, 0o040000),
];

#[test]
fn labels_are_those_of_libselinux() {
    let (directory, merged) = image(CONTEXTS);
    let files = directory.path().join("etc/selinux/small/contexts/files");
    fs::write(
        files.join("file_contexts.local"),
        "/usr/share/x -- system_u:object_r:own_t:s0\n",
    )
    .unwrap();
    fs::write(files.join("file_contexts.subs_dist"), "/alias /usr\n").unwrap();
    let contexts = FileContexts::of(&merged).unwrap().unwrap();
    let ours = PATHS.iter().map(|(path, kind, _)| {
        let label = contexts.label(path.as_bytes(), *kind).unwrap();
        label.unwrap_or_default().to_owned()
    });
    let ours: Vec<_> = ours.collect();
    let asked: Vec<_> = PATHS.iter().map(|(path, _, mode)| (*mode, *path)).collect();
    let theirs = selinux::labels(&files.join("file_contexts"), &asked);
    for ((path, ours), theirs) in PATHS.iter().zip(&ours).zip(&theirs) {
        assert_eq!(ours, theirs, "{path:?}");
    }
    assert_eq!(theirs.len(), PATHS.len());
}

#[test]
fn only_a_policy_labels_and_what_is_malformed_is_told() {
    let (directory, merged) = image(CONTEXTS);
    let config = directory.path().join("etc/selinux/config");
    for without in [
        "SELINUX=disabled\nSELINUXTYPE=small\n",
        "SELINUX=enforcing\n",
        "SELINUXTYPE=../x\n",
        "SELINUXTYPE=none\n",
    ] {
        fs::write(&config, without).unwrap();
        assert!(FileContexts::of(&merged).unwrap().is_none(), "{without}");
    }
    fs::remove_file(&config).unwrap();
    assert!(FileContexts::of(&merged).unwrap().is_none());
    for (text, told) in [
        ("/x\n", "line 1: is no pattern"),
        ("\n/x -q a:b:c:s0\n", "line 2: has an unknown kind"),
    ] {
        let error = FileContexts::of(&image(text).1).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
    let (_directory, merged) = image("/x(.* a:b:c:s0\n");
    let contexts = FileContexts::of(&merged).unwrap().unwrap();
    assert_eq!(contexts.label(b"/y", FileKind::Regular).unwrap(), None);
    assert!(contexts.label(b"/xy", FileKind::Regular).is_err());
}

#[test]
fn prefixes_are_what_all_matches_start_with() {
    for (pattern, prefix, exact) in [
        ("/etc/passwd", "/etc/passwd", true),
        (r"/a\.b", "/a.b", true),
        ("/a.b", "/a", false),
        ("/ab?c", "/a", false),
        ("/ab*", "/a", false),
        ("/ab+", "/ab", false),
        ("/a(b|c)", "/a", false),
        ("/a|/b", "", false),
        (r"/a\d", "/a", false),
        ("/ab{2}", "/a", false),
    ] {
        assert_eq!(
            literal_prefix(pattern),
            (prefix.as_bytes().to_vec(), exact),
            "{pattern}"
        );
    }
}

#[test]
fn trees_get_labels_by_their_place_in_the_image() {
    let (directory, merged) =
        image("/.* u:r:any_t:s0\n/boot -d u:r:boot_t:s0\n/boot/x -- u:r:x_t:s0\n/boot/none <<none>>\n");
    let below = directory.path().join("tree");
    fs::create_dir(&below).unwrap();
    for name in ["none", "x", "y"] {
        fs::write(below.join(name), name).unwrap();
    }
    let contexts = FileContexts::of(&merged).unwrap().unwrap();
    let mut tree = crate::image::tree::collect(merged.overlay(), Path::new("/tree"), &[], 1).unwrap();
    // The labels of the host's files are not the image's.
    tree.add_xattr(1, ATTRIBUTE, b"host:r:t:s0\0");
    tree.label(&contexts, Path::new("/boot")).unwrap();
    let labels = tree.nodes().iter().map(|node| {
        let found = node.xattrs.iter().filter(|(name, _)| name == ATTRIBUTE);
        found
            .map(|(_, value)| String::from_utf8(value.clone()).unwrap())
            .collect::<Vec<_>>()
    });
    let labels: Vec<_> = labels.collect();
    assert_eq!(
        labels,
        [
            vec!["u:r:boot_t:s0\0"],
            vec![],
            vec!["u:r:x_t:s0\0"],
            vec!["u:r:any_t:s0\0"]
        ]
    );
}

/// A policy of a hostile package: many contexts, and expressions that become large.
#[test]
fn a_policy_takes_bounded_memory() {
    let line = "/x  system_u:object_r:x_t:s0\n";
    let (_directory, merged) = image(&line.repeat(SPECS_MAX));
    assert!(FileContexts::of(&merged).unwrap().is_some());
    let (_directory, merged) = image(&line.repeat(SPECS_MAX + 1));
    let error = FileContexts::of(&merged).unwrap_err().to_string();
    let place = format!("file_contexts, line {}: ", SPECS_MAX + 1);
    assert!(error.contains(&place), "{error}");

    let (_directory, merged) = image("/(.{1,9000})  system_u:object_r:x_t:s0\n");
    let contexts = FileContexts::of(&merged).unwrap().unwrap();
    let error = contexts.label(b"/etc", FileKind::Directory).unwrap_err().to_string();
    assert!(
        error.contains("file_contexts, line 1: ") && error.contains("size limit"),
        "{error}"
    );
}
