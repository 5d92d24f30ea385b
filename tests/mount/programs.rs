//! Programs that are picky about file systems, on both engines. Each script runs on the mount, over a base that
//! another script made, and must end well.

use std::path::Path;

use oic::mount::Engine;

use crate::support::{Place, run};

pub const TESTS: &[(&str, fn())] = &[
    ("programs_dpkg_and_apt", packages_deb),
    ("programs_rpm", packages_rpm),
    ("programs_git", git),
    ("programs_sqlite", sqlite),
    ("programs_copy_archive_and_synchronise", trees),
];

/// Names of directories that every program takes.
const PREFIX: &str = "oic-test-";

/// Files of the tree that is copied, unless `OIC_TEST_FILES` says how many.
const FILES: usize = 1_000;

fn shell(directory: &Path, script: &str) -> String {
    run(directory, &["sh", "-euc", script])
}

/// Runs `change` on a plain copy of the base, then on a mount of another one by each engine; what `look` prints must be
/// the same.
fn compare(base: &str, change: &str, look: &str) {
    let original = Place::named(PREFIX);
    shell(&original.base(), base);
    let copy = || {
        let place = Place::named(PREFIX);
        let target = place.base();
        run(&original.base(), &["cp", "-a", ".", target.to_str().unwrap()]);
        place
    };
    let plain = copy();
    shell(&plain.base(), change);
    let expected = shell(&plain.base(), look);
    for engine in [Engine::Kernel, Engine::Fuse] {
        let place = copy();
        let session = place.mount_by(engine, false).unwrap();
        shell(&place.mnt(), change);
        let actual = shell(&place.mnt(), look);
        assert_eq!(expected, actual, "{engine:?}");
        session.close().unwrap();
        // The same upper again.
        let session = place.mount_by(engine, false).unwrap();
        assert_eq!(expected, shell(&place.mnt(), look), "{engine:?}, mounted again");
        session.close().unwrap();
    }
}

/// Names, kinds, modes, owners, sizes, contents and targets, without what differs from run to run.
const LOOK: &str = "find . -mindepth 1 \\( -name '*.log' -o -name '*-old' -o -name lock -o -name 'lock-*' \
    -o -path './var/cache/*' -o -path './var/lib/apt/*' -o -name '__db*' -o -name 'rpmdb.sqlite*' -o -name .rpm.lock \\) -prune \
    -o -printf '%P %M %U %G %l ' -a \\( -type f -a -exec sha256sum {} \\; -o -printf '\\n' \\) | sort";

/// Two versions of a package with what dpkg does not do every day: a configuration file, a directory that
/// becomes a link, a diversion, a hard link, set-id, and a file that goes.
const DEB: &str = r#"
    mkdir -p var/lib/dpkg/info var/lib/dpkg/updates etc usr/share usr/bin tmp var/log; : > var/lib/dpkg/status
    : > var/lib/dpkg/available
    pack() {
        mkdir -p "$1/DEBIAN"
        printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: t <t@t>\nDescription: t\n%s' "$2" "$3" "$4" > "$1/DEBIAN/control"
        dpkg-deb --root-owner-group -Znone -b "$1" "debs/$2_$3_all.deb" > /dev/null; rm -r "$1"
    }
    mkdir debs
    mkdir -p p/etc p/usr/share/doc/first p/usr/bin p/usr/share/dir
    echo one > p/etc/first.conf; echo /etc/first.conf > conf; echo old > p/usr/share/doc/first/gone; echo f > p/usr/share/dir/f
    echo program > p/usr/bin/first; chmod 4755 p/usr/bin/first; ln p/usr/bin/first p/usr/bin/again
    mkdir -p p/DEBIAN; mv conf p/DEBIAN/conffiles; pack p first 1 ''
    mkdir -p p/etc p/usr/share/doc/first p/usr/bin p/usr/share/other
    echo two > p/etc/first.conf; echo new > p/usr/share/doc/first/added; ln -s other p/usr/share/dir; echo f > p/usr/share/other/f
    echo program 2 > p/usr/bin/first; chmod 755 p/usr/bin/first; ln p/usr/bin/first p/usr/bin/again
    mkdir -p p/DEBIAN; echo /etc/first.conf > p/DEBIAN/conffiles; pack p first 2 ''
    mkdir -p p/usr/bin; echo mine > p/usr/bin/second; pack p second 1 'Depends: first (>= 2)
'
    (cd debs; dpkg-scanpackages -m . > Packages 2> /dev/null)
    dpkg --root="$PWD" --force-not-root --force-bad-path --log="$PWD/var/log/dpkg.log" -i debs/first_1_all.deb > /dev/null
"#;

fn packages_deb() {
    let change = r#"
        dpkg="--root=$PWD --force-bad-path --force-confold --log=$PWD/var/log/dpkg.log"
        dpkg-divert --admindir "$PWD/var/lib/dpkg" --instdir "$PWD" --rename --divert /usr/bin/again.real --add /usr/bin/again > /dev/null
        mkdir -p etc/apt/preferences.d etc/apt/apt.conf.d etc/apt/trusted.gpg.d etc/apt/sources.list.d var/lib/apt/lists/partial var/cache/apt/archives/partial
        echo "deb [trusted=yes] file:$PWD/debs ./" > etc/apt/sources.list
        apt() { apt-get -qq -y -o Dir="$PWD" -o Dir::State::status="$PWD/var/lib/dpkg/status" -o Dir::Bin::dpkg=/usr/bin/dpkg \
            -o APT::Sandbox::User=root -o APT::Architecture=amd64 -o Acquire::Languages=none \
            -o DPkg::Options::="--root=$PWD" -o DPkg::Options::=--force-bad-path -o DPkg::Options::=--force-confold "$@" > var/log/apt.log 2>&1 \
            || { cat var/log/apt.log >&2; return 1; }; }
        apt update; apt install second
        dpkg $dpkg --audit; dpkg $dpkg --verify
        dpkg $dpkg --purge second > /dev/null; dpkg $dpkg --remove first > /dev/null; dpkg $dpkg --purge first > /dev/null
        dpkg $dpkg -i debs/first_2_all.deb > /dev/null; rm -f etc/apt/sources.list
    "#;
    compare(DEB, change, LOOK);
}

fn packages_rpm() {
    let base = r#"
        mkdir -p top rpms
        printf 'Name: first\nVersion: 1\nRelease: 1\nSummary: t\nLicense: t\nBuildArch: noarch\n%%description\nt\n%%install\nmkdir -p %%{buildroot}/etc %%{buildroot}/usr/bin %%{buildroot}/usr/share/first\necho one > %%{buildroot}/etc/first.conf; echo p > %%{buildroot}/usr/bin/first; echo gone > %%{buildroot}/usr/share/first/gone; ln %%{buildroot}/usr/bin/first %%{buildroot}/usr/bin/again; ln -s first %%{buildroot}/usr/bin/link\n%%files\n%%config(noreplace) /etc/first.conf\n%%attr(4711,root,root) /usr/bin/first\n%%attr(4711,root,root) /usr/bin/again\n/usr/bin/link\n/usr/share/first\n' > first.spec
        build() { rpmbuild -bb --quiet --define "_topdir $PWD/top" --define '_build_id_links none' --define '__os_install_post %{nil}' first.spec 2> top/log || { cat top/log >&2; exit 1; }; }
        build; mv top/RPMS/noarch/*.rpm rpms/
        sed -i 's/^Version: 1/Version: 2/; s/echo gone > \([^ ]*\)gone/echo new > \1added/; s/echo p >/echo p2 >/' first.spec
        build; mv top/RPMS/noarch/*.rpm rpms/; rm -r top first.spec
        rpm --root "$PWD" --dbpath /var/lib/rpm --initdb; rpm --root "$PWD" --dbpath /var/lib/rpm -i --nodeps --noscripts rpms/first-1-1.noarch.rpm
        echo changed > etc/first.conf
    "#;
    let change = r#"
        rpm() { command rpm --root "$PWD" --dbpath /var/lib/rpm "$@"; }
        rpm -U --nodeps rpms/first-2-1.noarch.rpm 2> /dev/null; test "$(rpm -q first)" = first-2-1.noarch
        rpm -V --nodeps first | grep -v first.conf && exit 1; rpm -e first 2> /dev/null; ! rpm -q first > /dev/null
        rpm -i --nodeps rpms/first-1-1.noarch.rpm; rpm -V --nodeps first
    "#;
    compare(base, change, LOOK);
    // This renames a directory of the base, which only our engine can.
    let place = Place::named(PREFIX);
    shell(&place.base(), base);
    let session = place.mount_by(Engine::Fuse, false).unwrap();
    shell(
        &place.mnt(),
        "rpm --root $PWD --dbpath /var/lib/rpm --rebuilddb; rpm --root $PWD --dbpath /var/lib/rpm -q first",
    );
    session.close().unwrap();
}

fn git() {
    let base = r#"
        mkdir repository; cd repository; git init -q .; git config user.name t; git config user.email t@t
        mkdir d; for i in $(seq 100); do echo "$i" > "d/$i"; done; git add .; git commit -qm 1
    "#;
    let change = r#"
        cd repository; git status --porcelain | grep . && exit 1
        for i in $(seq 50); do echo more >> "d/$i"; git mv "d/$i" "d/m$i"; done; git rm -q d/60; git add .; git commit -qm 2
        git checkout -q -b other HEAD~1; echo x > new; git add new; git commit -qm 3; git merge -q -m 4 master 2> /dev/null || git merge -q -m 4 main
        git gc -q; git fsck --strict; git clone -q . ../clone; git clone -q --no-hardlinks . ../copy; git -C ../clone fsck --strict
        test -z "$(git -C ../clone status --porcelain)"; git worktree add -q ../tree HEAD~1; git stash list
    "#;
    let look = "cd clone; git log --format=%s; git ls-files -s; cd ../tree; git status --porcelain; find . -type f ! -path './.git*' | sort";
    compare(base, change, look);
}

fn sqlite() {
    let base = r#"
        sqlite3 base.db "pragma journal_mode = wal; create table t (a integer primary key, b text);
            with recursive n(i) as (select 1 union all select i + 1 from n where i < 2000) insert into t select i, hex(randomblob(100)) from n;" > /dev/null
    "#;
    let change = r#"
        sqlite3 new.db 'pragma journal_mode = wal; create table t (a integer primary key, b text)' > /dev/null
        for db in base.db new.db; do
            for writer in 1 2 3; do
                (for i in $(seq 20); do echo "insert into t (b) values ('$writer $i');"; done | sqlite3 -cmd '.timeout 20000' "$db") &
            done
            (for i in $(seq 10); do sqlite3 -readonly -cmd '.timeout 20000' "$db" 'select count(*) from t' > /dev/null; done) &
        done
        wait
        for db in base.db new.db; do
            test "$(sqlite3 "$db" 'pragma integrity_check')" = ok; sqlite3 "$db" 'delete from t where a <= 1000; vacuum; pragma wal_checkpoint(truncate)' > /dev/null
        done
    "#;
    let look = "for db in base.db new.db; do sqlite3 $db 'pragma integrity_check; pragma journal_mode; select count(*) from t'; done; ls";
    compare(base, change, look);
}

/// `cp -a` of many files, `tar`, and `rsync`, whose second run must find nothing to do.
fn trees() {
    let files = std::env::var("OIC_TEST_FILES").map_or(FILES, |files| files.parse().unwrap());
    let base = r#"
        mkdir tree; cd tree; seq FILES | awk '{ d = int($1 / 100); if (NR == 1 || d != l) { system("mkdir -p " d); l = d } f = d "/" $1; print $1 > f; close(f) }'
        ln 0/1 0/hard; ln -s 0/1 symbolic; mkfifo fifo; mknod null c 1 3; truncate -s 1M sparse; echo x >> sparse; chown 5:6 0/2; chmod 2751 0
        setfattr -n user.note -v hello 0/3; setfacl -m u:7:r 0/4; setfacl -d -m g:8:rx 0; cp /bin/true 0/cap; setcap cap_net_raw=ep 0/cap; touch -d 1969-12-31T00:00:01.5Z 0/5
        find . -depth ! -path ./0/5 -exec touch -h -d 2001-02-03T04:05:06.789Z {} + # rsync compares whole seconds: none of these is now
    "#
    .replace("FILES", &files.to_string());
    let change = r#"
        cp -a tree copy; diff -r --no-dereference tree copy 2>&1 | grep -v 'is a fifo\|is a character special' && exit 1
        tar --xattrs --acls --exclude=tree/0/5 -cf all.tar tree; mkdir out; tar --xattrs --acls -xpf all.tar -C out; tar -df all.tar -C out; tar -df all.tar
        rsync -aHAX tree/ synced; test -z "$(rsync -aHAXi tree/ synced)"; test -z "$(rsync -aHAXin tree/ copy)"
        rsync -aHAX --delete out/tree/0/ synced/0; test -z "$(rsync -aHAXi --delete out/tree/ synced)"; rm all.tar
    "#;
    let look = r#"
        for top in tree copy out synced; do find $top ! -name "$top" -printf '%P %M %U %G %l %T@ ' -a \( -type d -printf '\n' -o -printf '%n %s\n' \) | sort | sha256sum; done
        find . -type f | wc -l; getcap copy/0/cap; getfattr -d copy/0/3; getfacl -n copy/0 copy/0/4
    "#;
    compare(&base, change, look);
}
