//! A package system is a plug: a third one goes through the build without a change of the build.

mod agreement;
mod toy;

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use super::assemble::base;
use super::assemble::dates::{self, Dates};

use super::context::Context;
use super::packages::Packages;
use super::report::Timeline;
use super::shared::Shared;
use super::*;
use crate::cancel::Cancel;
use crate::fetch::Network;
use crate::install::{InstallRequest, Marks};
use crate::package::ResolvedPackage;
use crate::provider::mirror::Mirrors;
use crate::provider::{ProviderRepository, Providers};
use crate::repo::Signed;
use crate::root::Root;
use crate::template::{TemplateSource, Variables, load};
use crate::work::Work;
use toy::{Toy, publish};

/// Makes a request for `packages` upon the base `libc`, from the one repository in `directory`.
fn request(directory: &Path, packages: &[&str]) -> BuildRequest {
    let source = TemplateSource::named(OsStr::new("debian13-x86_64-minimal")).unwrap();
    let providers = Providers::embedded().unwrap();
    let mut loaded = load(&source, &providers, &Variables::new()).unwrap();
    loaded.provider.repositories = vec![ProviderRepository {
        id: "toys".into(),
        archive: "toys".into(),
        base_url: Some(format!("file://{}", directory.join("repository").display())),
        mirror_list: None,
        suite: String::new(),
        components: Vec::new(),
        priority: 500,
        keys: Vec::new(),
        signed: Signed::Metadata,
        exclude_packages: Vec::new(),
    }];
    loaded.provider.base_packages = vec!["libc".into()];
    loaded.default_packages.clear();
    loaded.template.system.kernel.packages.clear();
    loaded.template.system.kernel.version = None;
    loaded.template.system.packages = packages.iter().map(|name| (*name).to_owned()).collect();
    BuildRequest::new(Selecting {
        loaded,
        mirrors: Mirrors::new(),
        cache_dir: directory.join("cache"),
        work_dir: directory.join("work"),
        workers: 2,
        network: Network::default(),
        offline: false,
        now: SystemTime::now(),
    })
}

/// Makes a repository of three packages.
fn repository() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("repository");
    fs::create_dir(&place).unwrap();
    fs::write(place.join("index"), "1700000000\n").unwrap();
    publish(&place, "libc", (100, "libc.so", "the library"), "");
    publish(&place, "shell", (300, "sh", "the shell"), "libc");
    publish(&place, "game", (200, "game", "a game"), "shell libc");
    directory
}

#[test]
fn a_third_package_system_is_resolved_fetched_and_installed() {
    let directory = repository();
    let (request, shared, cancel) = (
        request(directory.path(), &["game"]),
        Shared::among(1),
        Cancel::default(),
    );
    let context = Context {
        system: &Toy,
        ..Context::new(&request, &shared, Work::quiet(&cancel), Timeline::new()).unwrap()
    };
    let selection = select::select(&context).unwrap();
    let names =
        |packages: &[ResolvedPackage]| -> Vec<String> { packages.iter().map(|package| package.name.clone()).collect() };
    assert_eq!(names(&selection.base.packages), ["libc"]);
    assert_eq!(names(&selection.image.packages), ["libc", "shell", "game"]);
    assert_eq!(selection.lockfile.repositories[0].date, "2023-11-14 22:13:20 UTC");

    let tree = directory.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let packages = Packages::new(&context, &selection).unwrap();
    assert_eq!((packages.counts().total, packages.counts().unneeded), (3, 3));
    let cached = std::thread::scope(|scope| {
        let mut arriving = packages.start(scope);
        let of_base = arriving.base().unwrap();
        assert_eq!(of_base.paths().len(), 1);
        let newest = dates::newest(&context, &selection, &of_base).unwrap();
        base::install(&context, &selection, &of_base, &tree, newest.base_seconds).unwrap();
        arriving.finish().unwrap()
    });
    assert_eq!((packages.counts().fetched, packages.counts().unneeded), (3, 0));
    let newest = dates::newest(&context, &selection, &cached).unwrap();
    let dates = Dates::of(&context, newest);
    assert_eq!(fs::read_to_string(tree.join("libc.so")).unwrap(), "the library");
    assert_eq!((dates.scripts, dates.image), (100, 300));

    let (system, others) = selection.in_steps();
    assert_eq!(
        (names(&system), names(&others)),
        (vec![], vec!["game".to_owned(), "shell".to_owned()])
    );
    let packages = cached.complete(&context, &others).unwrap();
    let install = InstallRequest {
        root: &tree,
        packages: &packages,
        pool: Path::new("/pool"),
        pool_source: Some(context.workspace.package_cache()),
        temporary: directory.path(),
        arch: request.loaded().template.target.arch,
        foreign: &[],
        file_systems: &[],
        answers: &[],
        epoch: dates.scripts,
        helper: Path::new(""),
    };
    assert_eq!(
        context.system.install(&install, Work::quiet(&cancel)).unwrap().packages,
        2
    );
    let root = Root::open(&tree).unwrap();
    selection.sources.write(&root, "toy-os").unwrap();
    let marks = Marks {
        before: &Default::default(),
        packages: &packages,
        requested: &selection.requested_names(),
        arch: install.arch,
    };
    context.system.mark(&root, &marks).unwrap();
    for (path, content) in [
        ("sh", "the shell"),
        ("game", "a game"),
        ("etc/toy.repositories", "toys"),
        ("requested", "libc\ngame"),
    ] {
        assert_eq!(fs::read_to_string(tree.join(path)).unwrap(), content, "{path}");
    }
}

#[test]
fn what_is_wrong_with_its_repositories_is_said_in_its_own_words() {
    let directory = repository();
    let select = |packages: &[&str]| {
        let (request, shared, cancel) = (request(directory.path(), packages), Shared::among(1), Cancel::default());
        let context = Context {
            system: &Toy,
            ..Context::new(&request, &shared, Work::quiet(&cancel), Timeline::new()).unwrap()
        };
        select::select(&context).map(|selection| selection.image.packages.len())
    };
    assert_eq!(select(&["shell"]).unwrap(), 2);
    let error = select(&["pet"]).unwrap_err();
    assert_eq!(error.to_string(), "no repository has a package named pet");
    fs::write(directory.path().join("repository/index"), "yesterday\n").unwrap();
    let error = select(&["shell"]).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("/repository/index has no date in its first line"),
        "{error}"
    );
    assert_eq!(error.hint().unwrap(), "write the date into the first line");
}

#[test]
fn what_cannot_be_fetched_fails_where_it_is_waited_for() {
    let directory = repository();
    let (request, shared, cancel) = (
        request(directory.path(), &["game"]),
        Shared::among(1),
        Cancel::default(),
    );
    let context = Context {
        system: &Toy,
        ..Context::new(&request, &shared, Work::quiet(&cancel), Timeline::new()).unwrap()
    };
    let selection = select::select(&context).unwrap();
    let remove = |name: &str| fs::remove_file(directory.path().join("repository").join(name)).unwrap();
    remove("game.toy");
    let packages = Packages::new(&context, &selection).unwrap();
    std::thread::scope(|scope| {
        let needed = packages.obtain(&selection.base.packages).unwrap();
        assert_eq!((needed.paths().len(), packages.counts().unneeded), (1, 2));
        let mut arriving = packages.start(scope);
        assert_eq!(arriving.base().unwrap().paths().len(), 1, "the base does not need it");
        let error = arriving.finish().err().unwrap();
        assert!(error.to_string().contains("game.toy"), "{error}");
    });
    remove("libc.toy");
    fs::remove_dir_all(context.workspace.package_cache()).unwrap();
    let packages = Packages::new(&context, &selection).unwrap();
    std::thread::scope(|scope| {
        let error = packages.start(scope).base().err().unwrap();
        assert!(error.to_string().contains(".toy"), "{error}");
    });
}
