use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;
use crate::cancel::Cancel;
use crate::image::tool::tests::run;

const EPOCH_SECONDS: u64 = 1_700_000_000;

/// A tree with a file of each kind that users without privileges can make, and one that is younger than the image.
fn tree(at: &Path) {
    fs::create_dir_all(at.join("usr/bin")).unwrap();
    fs::create_dir_all(at.join("empty")).unwrap();
    fs::write(at.join("usr/bin/tool"), vec![7; 300_001]).unwrap();
    fs::set_permissions(at.join("usr/bin/tool"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::hard_link(at.join("usr/bin/tool"), at.join("a tool")).unwrap();
    fs::write(at.join("usr/bin/nothing"), "").unwrap();
    fs::write(at.join(format!("long-{}", "ü".repeat(110))), "long").unwrap();
    symlink("usr/bin", at.join("bin")).unwrap();
    run("coreutils", "mkfifo", &[at.join("fifo").to_str().unwrap()]);
    let times =
        fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000));
    fs::File::open(at.join("usr/bin/tool"))
        .unwrap()
        .set_times(times)
        .unwrap();
}

struct Case {
    directory: tempfile::TempDir,
    format: Format,
}

impl Case {
    fn new(format: Format) -> Self {
        let directory = tempfile::tempdir().unwrap();
        tree(&directory.path().join("tree"));
        Self { directory, format }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, earlier: Option<Earlier>, threads: usize) -> (RawSummary, Vec<String>) {
        let merged = Merged::of_directory(&self.at("tree")).unwrap();
        let inputs = Inputs {
            merged: &merged,
            format: self.format,
            uuid: Uuid::from_u128(7),
            epoch_seconds: EPOCH_SECONDS,
        };
        let cancel = Cancel::default();
        let work = Work {
            threads,
            ..Work::quiet(&cancel)
        };
        write(&self.at(name), inputs, earlier, work).unwrap()
    }

    fn shell(&self, package: &str, script: &str) -> String {
        let at = self.directory.path().display();
        run(package, "sh", &["-c", &format!("cd {at} && {script}")])
    }

    /// Compares what `unpack` makes of the archive with the tree, in all that `stat` shows; times of the tree are no later
    /// than the epoch.
    fn holds_the_tree(&self, package: &str, unpack: &str) {
        let list = format!(
            "find . -mindepth 1 -printf '%P|%y|%m|%U|%G|%s|%n|%l|' \\( -newermt @{EPOCH_SECONDS} -printf '{EPOCH_SECONDS}\\n' \
             -o -printf '%Ts\\n' \\) | LC_ALL=C sort"
        );
        // The size of a directory is the file system's own.
        let list = format!("{list} | sed -E 's/(\\|d\\|.*\\|)[0-9]+(\\|[0-9]+\\|\\|)/\\1\\2/'");
        let sums = "find . -type f -exec sha256sum {} + | LC_ALL=C sort";
        self.shell(
            package,
            &format!(
                "rm -rf out && mkdir out && (cd out && {unpack}) && (cd tree && {list} && {sums}) > expected && \
                 (cd out && {list} && {sums}) > found && diff expected found && test $(wc -l < found) -gt 12"
            ),
        );
    }
}

#[test]
fn the_programs_for_cpio_unpack_it() {
    let case = Case::new(Format::Cpio);
    let (_, lost) = case.write("image.cpio", None, 2);
    assert_eq!(lost, [""; 0]);
    case.holds_the_tree("cpio", "cpio -idm --quiet < ../image.cpio");
    case.holds_the_tree("libarchive-tools", "bsdtar -xpf ../image.cpio");
    let listed = case.shell("cpio", "cpio -tv --quiet < image.cpio");
    assert!(
        listed.contains("-rwsr-xr-x   2") && listed.contains("bin -> usr/bin"),
        "{listed}"
    );
}

#[test]
fn the_programs_for_tar_unpack_it() {
    let case = Case::new(Format::Tar);
    // Attributes, a list, devices, owners and links that ustar has no room for; as root only.
    case.shell(
        "attr, acl and libcap2-bin",
        "cd tree && setfattr -n user.note -v \"$(printf 'two\nlines')\" usr && setfacl -m u:1234:r,m::r fifo && \
         setfacl -d -m g:7:rwx empty && setcap cap_net_raw=ep usr/bin/tool && mknod null c 1 3 && mknod loop b 7 4095 && \
         chown 3000000:4000000 bin -h && ln -s $(printf '%0150d' 7) far && mkdir -p $(printf '%0120d' 1)/$(printf '%0120d' 2) && \
         echo deep > $(printf '%0120d' 1)/$(printf '%0120d' 2)/file && ln $(printf '%0120d' 1)/$(printf '%0120d' 2)/file other",
    );
    let (summary, lost) = case.write("image.tar", None, 2);
    assert_eq!((lost, summary.size_bytes % 10240), (vec![], 0));
    let attributes = "(getfattr -dm - -R . ; getfacl -nR . ; find . -printf '%P %D\\n' | sed 's/ .*//') 2>/dev/null";
    for (package, unpack) in [
        (
            "tar",
            "tar --xattrs --xattrs-include='*' --acls --numeric-owner -xpf ../image.tar",
        ),
        (
            "libarchive-tools",
            "bsdtar --xattrs --acls --numeric-owner -xpf ../image.tar",
        ),
    ] {
        case.holds_the_tree(package, unpack);
        let compare =
            format!("(cd tree && {attributes}) > expected && (cd out && {attributes}) > found && diff expected found");
        case.shell("attr and acl", &compare);
        case.shell(
            "attr",
            // Of the directory, and of both names of the program.
            "getfattr -dm - -R out 2>/dev/null | grep -c -e user.note -e security.capability | grep -qx 3",
        );
        case.shell(
            "acl",
            "getfacl -np out/fifo | grep -qx user:1234:r-- && getfacl -np out/empty | grep -qx default:group:7:rwx",
        );
        case.shell(
            "coreutils",
            "test \"$(stat -c %t:%T out/null out/loop | tr '\\n' ' ')\" = '1:3 7:fff '",
        );
    }
    let listed = case.shell("libarchive-tools", "bsdtar -tf image.tar");
    let named = case.shell("findutils", "cd tree && find . -printf '%P%y\\n' | wc -l");
    assert_eq!(listed.lines().count().to_string(), named.trim());
    assert!(listed.starts_with("./\n"), "{listed}");
}

#[test]
fn neither_threads_nor_the_archive_before_change_the_bytes() {
    for format in [Format::Cpio, Format::Tar] {
        bytes_are_stable(&Case::new(format));
    }
}

fn bytes_are_stable(case: &Case) {
    let (summary, _) = case.write("image.cpio", None, 1);
    assert_eq!(summary.size_bytes, fs::metadata(case.at("image.cpio")).unwrap().len());
    let (other, _) = case.write("other.cpio", None, 3);
    assert_eq!(summary.tree, other.tree);
    assert_eq!(
        fs::read(case.at("image.cpio")).unwrap(),
        fs::read(case.at("other.cpio")).unwrap()
    );

    let record = case.at("record");
    crate::image::earlier::remember(&case.at("image.cpio"), &summary.drawn, &summary.tree, &record).unwrap();
    let earlier = || Earlier::set_aside(&[case.at("image.cpio")], &record, &case.at("aside")).unwrap();
    let (again, _) = case.write("image.cpio", earlier(), 2);
    assert_eq!((again.written_bytes, again.changed), (0, vec![]));
    // A change of one file, which leaves all others where they were.
    crate::image::earlier::remember(&case.at("image.cpio"), &again.drawn, &again.tree, &record).unwrap();
    fs::write(case.at("tree/usr/bin/tool"), vec![8; 300_001]).unwrap();
    let (changed, _) = case.write("image.cpio", earlier(), 2);
    case.write("other.cpio", None, 2);
    assert!(changed.written_bytes > 0);
    assert_eq!(
        fs::read(case.at("image.cpio")).unwrap(),
        fs::read(case.at("other.cpio")).unwrap()
    );
}

#[test]
fn what_cpio_cannot_hold_is_said() {
    let case = Case::new(Format::Cpio);
    for number in 0..7 {
        let path = case.at(&format!("tree/{number}"));
        fs::write(&path, "").unwrap();
        rustix::fs::setxattr(&path, "user.note", b"x", rustix::fs::XattrFlags::empty()).unwrap();
    }
    let (_, lost) = case.write("image.cpio", None, 2);
    let wanted = "extended attributes of 7 files are not in the image, for its format has none: /0 /1 /2 /3 /4 …";
    assert_eq!(lost, [wanted]);
    fs::File::create(case.at("tree/large"))
        .unwrap()
        .set_len(1 << 32)
        .unwrap();
    let merged = Merged::of_directory(&case.at("tree")).unwrap();
    let tree = tree::collect(merged.overlay(), Path::new("/"), &[], 2).unwrap();
    let error = cpio::lay_out(&tree, EPOCH_SECONDS).unwrap_err().to_string();
    assert_eq!(
        error,
        "/large cannot be stored: it has 4096 MiB, and a file of an initrd has less than 4096"
    );
}
