//! Package files that a template names: an image is built from them, also offline and from its lockfile, and the cache
//! knows what was fetched for it. The server of the files wants a certificate of the client.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use oic_testkit::tiny::PROVIDER;
use oic_testkit::tls::{self, Authority, TlsServer};
use oic_testkit::{Finished, Steps, sha256, tool};

use crate::support::program::own_mounts;
use crate::support::tiny::Tiny;

/// Where the root file system of the image begins, in bytes.
const ROOT_BYTES: u64 = 40 << 20;

/// Builds a package with one file that holds its version.
fn package(directory: &Path, name: &str, version: &str, depends: &str) -> PathBuf {
    let tree = directory.join(format!("{name}-{version}"));
    fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    let control = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: A <a@example.org>\n{depends}Description: a\n"
    );
    fs::write(tree.join("DEBIAN/control"), control).unwrap();
    fs::create_dir_all(tree.join("usr/share/files")).unwrap();
    fs::write(tree.join("usr/share/files").join(name), version).unwrap();
    let built = directory.join(format!("{name}_{version}_all.deb"));
    let arguments = [
        "--build".as_ref(),
        "--root-owner-group".as_ref(),
        tree.as_os_str(),
        built.as_os_str(),
    ];
    tool("dpkg-deb", &arguments);
    built
}

struct Bench {
    tiny: Tiny,
    authority: Authority,
    template: PathBuf,
}

impl Bench {
    /// Runs the program in directories of the name `place`.
    fn run(&self, args: &[&str], place: &str) -> Finished {
        let at = |kind: &str| self.tiny.oic.work_dir.join(place).join(kind);
        let directories = [at("cache"), at("work")];
        directories
            .iter()
            .for_each(|directory| fs::create_dir_all(directory).unwrap());
        let file = |name: &str| self.authority.path(name).display().to_string();
        let configuration = format!(
            "Acquire::https::127.0.0.1 {{ CaInfo \"{}\"; SslCert \"{}\"; SslKey \"{}\"; }};",
            file("ca.pem"),
            file("me.pem"),
            file("me.key")
        );
        let mut command = self.tiny.command(args, [&directories[0], &directories[1]]);
        Finished::of(&command.env("OIC_TLS", configuration).output().unwrap())
    }

    fn build(&self, more: &[&str], place: &str) -> Finished {
        let args = ["build", self.template.to_str().unwrap(), "--format", "json"];
        self.run(&[&args, more].concat(), place)
    }

    fn cache(&self, name: &str) -> PathBuf {
        self.tiny
            .oic
            .work_dir
            .join("place/cache/pkgCache")
            .join(PROVIDER)
            .join(name)
    }

    /// Puts a package into the archive that the server has.
    fn serve_archive(&self, package: &Path) {
        let (directory, name) = (package.parent().unwrap(), package.file_name().unwrap());
        let archive = directory.join("more.tar.gz");
        let arguments = [
            "-czf".as_ref(),
            archive.as_os_str(),
            "-C".as_ref(),
            directory.as_os_str(),
            name,
        ];
        tool("tar", &arguments);
        fs::write(
            self.authority.path("more.tar.gz"),
            tls::answer(&fs::read(archive).unwrap()),
        )
        .unwrap();
    }
}

/// Reads a file of an image.
fn in_image(image: &str, path: &str) -> String {
    let request = format!("cat {path}");
    tool("debugfs", &["-R", &request, &format!("{image}?offset={ROOT_BYTES}")])
}

#[test]
fn package_files_become_a_repository() {
    own_mounts();
    let tiny = Tiny::new("package-files");
    let at = |name: &str| tiny.oic.work_dir.join(name);
    for name in ["tls", "debs"] {
        fs::create_dir(at(name)).unwrap();
    }
    let authority = Authority::new(&at("tls"));
    authority.sign("me", "clientAuth");
    let server = TlsServer::start(&authority, true);
    package(&at("debs"), "one", "1.0", "Depends: two\n");
    let two = package(&at("tls"), "two", "1.0", "");
    let three = fs::read(package(&at("tls"), "three", "1.0", "")).unwrap();
    fs::write(authority.path("three.deb"), tls::answer(&three)).unwrap();
    let template = fs::read_to_string(&tiny.template)
        .unwrap()
        .replace("[hello]", "[hello, one, three]");
    let repositories = format!(
        "packageRepositories:\n  - codename: vendor\n    pkey: '[trusted=yes]'\n    packages:\n      \
         - ./debs/one_1.0_all.deb\n      - {}\n      - '{}#sha256={}'\nsystemConfig:",
        server.url("more.tar.gz"),
        server.url("three.deb"),
        sha256(&three)
    );
    fs::write(&tiny.template, template.replace("systemConfig:", &repositories)).unwrap();
    let template = tiny.template.clone();
    let bench = Bench {
        tiny,
        authority,
        template,
    };
    bench.serve_archive(&two);

    let mut steps = Steps::new();
    let first = steps.need("build", || bench.build(&[], "place").json());
    let image = first["image"]["path"].as_str().unwrap().to_owned();
    let lock = PathBuf::from(first["lockfile"].as_str().unwrap());
    let kept = at_rest(&lock, &bench.tiny.oic.work_dir.join("kept.lock.json"));
    steps.check("installed", || {
        for name in ["one", "two", "three"] {
            assert_eq!(in_image(&image, &format!("/usr/share/files/{name}")), "1.0");
        }
        let lockfile: serde_json::Value = serde_json::from_slice(&fs::read(&lock).unwrap()).unwrap();
        let of_vendor: Vec<_> = lockfile["packages"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|package| package["repository"] == "vendor")
            .map(|package| package["name"].as_str().unwrap())
            .collect();
        assert_eq!(of_vendor.len(), 3, "{of_vendor:?}");
        assert!(
            !fs::read_to_string(&lock).unwrap().contains("debs/"),
            "a path of the build host"
        );
        let sources = in_image(&image, "/etc/apt/sources.list.d/package-repositories.sources");
        assert!(!sources.contains("vendor"), "{sources}");
    });
    steps.check("show", || {
        let shown = bench.run(&["show", "two", bench.template.to_str().unwrap(), "--offline"], "place");
        assert!(
            shown.stdout.contains("Repository: vendor"),
            "{}{}",
            shown.stdout,
            shown.stderr
        );
    });
    steps.check("from the cache alone", || {
        let again = bench.build(&["--offline", "--from-scratch"], "place").json();
        assert_eq!(again["image"]["digest"], first["image"]["digest"]);
        let locked = bench.build(&["--offline", "--lock", &kept, "--check"], "place").json();
        assert_eq!(locked["image"]["digest"], first["image"]["digest"]);
    });
    steps.check("cache", || {
        let verified = bench.run(&["cache", "verify"], "place");
        assert_eq!(verified.code, Some(0), "{}", verified.stdout);
        let file = bench.cache(&format!("{}.file", sha256(&three)));
        fs::write(&file, "damaged").unwrap();
        bench.run(&["cache", "verify"], "place").assert_fails(1, &[]);
        bench.build(&["--from-scratch"], "place").json();
        assert_eq!(fs::read(&file).unwrap(), three, "it is fetched again");
        let stats = bench.run(&["cache", "stats", "--format", "json"], "place").json();
        assert_eq!(stats["providers"][0]["strange"]["files"], 0, "{stats}");
    });
    steps.check("another archive at the same URL", || {
        bench.serve_archive(&package(&bench.authority.path(""), "two", "2.0", ""));
        let newer = bench.build(&[], "place").json();
        let image = newer["image"]["path"].as_str().unwrap();
        assert_eq!(in_image(image, "/usr/share/files/two"), "2.0");
        // What the lockfile has is not there any more, and nothing else is taken.
        let locked = bench.build(&["--lock", &kept], "elsewhere");
        locked.assert_fails(1, &["two 1.0"]);
    });
    steps.check("pinned to another digest", || {
        let text = fs::read_to_string(&bench.template).unwrap();
        let pinned = text.replace(
            "one_1.0_all.deb",
            &format!("one_1.0_all.deb#sha256={}", sha256("other")),
        );
        fs::write(&bench.template, pinned).unwrap();
        bench
            .build(&[], "place")
            .assert_fails(1, &["one_1.0_all.deb", "but the template pins"]);
    });
    bench.tiny.oic.assert_clean();
}

/// Copies the lockfile: builds write theirs anew. Gives the copy's path.
fn at_rest(lock: &Path, copy: &Path) -> String {
    fs::copy(lock, copy).unwrap();
    copy.display().to_string()
}
