use super::*;
use crate::overlay::directory::DirectoryLayer;

fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, DirectoryLayer) {
    let directory = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let layer = DirectoryLayer::open(directory.path()).unwrap();
    (directory, layer)
}

const STATUS: &str = "\
Package: b
Status: install ok installed
Version: 2:1.0-1
Architecture: amd64
Source: src (1)
Maintainer: A <a@example.org>
Pre-Depends: a (>= 1)
Depends: missing | virtual, a:any (>= 2) [amd64]
Description: text
 continued: line

Package: gone
Status: deinstall ok config-files
Version: 1

Package: a
Status: hold ok installed
Version: 3
Architecture: all
Provides: virtual (= 1), other
Installed-Size: 10
";

#[test]
fn the_packages_of_dpkg_are_those_that_are_installed() {
    let (_directory, layer) = tree(&[("var/lib/dpkg/status", STATUS)]);
    let database = Database::read(&layer).unwrap();
    assert_eq!(database.manager, Manager::Dpkg);
    let [a, b] = database.packages.as_slice() else {
        panic!("{database:?}")
    };
    assert_eq!(
        (&*a.name, &*a.version, &*a.source, a.installed_bytes),
        ("a", "3", "a", 10 * 1024)
    );
    assert_eq!(a.provides, ["virtual", "other"]);
    assert_eq!(
        (&*b.source, &*b.source_version, &*b.supplier),
        ("src", "1", "A <a@example.org>")
    );
    assert_eq!(b.summary, "text");
    assert_eq!(database.dependencies(), [(1, 0)]);
    assert_eq!(dpkg::installed(b"\xff: \n:\n\n"), []);
}

#[test]
fn files_belong_to_packages_with_and_without_merged_usr() {
    let (_directory, layer) = tree(&[
        ("var/lib/dpkg/status", STATUS),
        ("var/lib/dpkg/info/a.list", "/.\n/bin\n/bin/a\n/usr/lib/a.so\n"),
        ("var/lib/dpkg/info/b:amd64.list", "/.\n/lib/b.so\n"),
        ("var/lib/dpkg/info/gone.list", "/etc/gone\n"),
    ]);
    let database = Database::read(&layer).unwrap();
    let owners = Owners::read(&layer, &database).unwrap();
    for (path, owner) in [
        ("/bin/a", Some(0)),
        ("/usr/bin/a", Some(0)),
        ("/lib/a.so", Some(0)),
        ("/usr/lib/b.so", Some(1)),
        ("/etc/gone", None),
        ("/home/x", None),
    ] {
        assert_eq!(owners.of(path), owner, "{path}");
    }
}

#[test]
fn a_tree_without_a_database_has_no_packages() {
    let (_directory, layer) = tree(&[("etc/x", "")]);
    assert_eq!(Database::read(&layer).unwrap(), Database::default());
}

#[test]
fn a_damaged_database_of_rpm_is_an_error_with_its_name() {
    let (_directory, layer) = tree(&[("var/lib/rpm/rpmdb.sqlite", "no database")]);
    let error = Database::read(&layer).unwrap_err().to_string();
    assert_eq!(
        error,
        "/var/lib/rpm/rpmdb.sqlite is damaged: the header at byte 0 is not that of SQLite"
    );
}
