//! Good archives load; others are refused by name ([`refused`]).

mod refused;

use std::time::{Duration, SystemTime};

use super::archive::{Archive, BASE, Cache, DIST, Memory, PACKAGES, SIGNED, stanza, two_packages};
use super::*;
use crate::archive::compression::{Compression, tests::compress};
use crate::fetch::FetchError;
use crate::package::{ForeignArch, PackageFilter, Sha256};
use crate::repo::RepoError;
use crate::repo::deb::{DebProblem, LoadedIndex};
use crate::verify::VerifyError;
use crate::verify::gpg::Gpg;

fn load_fresh(archive: &Archive, memory: &Memory) -> Result<LoadedIndex, RepoError> {
    Cache::new().load(&archive.repository(), memory)
}

fn problem(result: Result<LoadedIndex, RepoError>) -> Problem {
    match result {
        Err(RepoError::Repository { repository, problem }) => {
            assert_eq!(repository, "test");
            *problem
        }
        other => panic!("{other:?}"),
    }
}

fn names(index: &LoadedIndex) -> Vec<&str> {
    index.records.iter().map(|record| &*record.name).collect()
}

#[test]
fn loads_and_the_second_time_only_asks() {
    let (archive, cache) = (Archive::new(), Cache::new());
    let memory = archive.publish();
    let first = cache.load(&archive.repository(), &memory).unwrap();
    assert_eq!(names(&first), ["hello", "hello-data"]);
    assert_eq!(memory.asked(), ["InRelease", "main/binary-amd64/Packages.xz"]);
    assert!(!first.from_cache && first.fetched_bytes > 0);
    assert_eq!(
        (first.release.date, &*first.release.codename),
        (SIGNED as i64, "trixie")
    );
    assert_eq!(
        first.release.signer,
        Keyring::from_certificates(&[archive.key()])
            .unwrap()
            .fingerprints()
            .pop()
    );
    assert_eq!(&*first.records[0].repository, "test");
    let second = cache.load(&archive.repository(), &memory).unwrap();
    assert_eq!(memory.asked(), ["InRelease"]);
    assert!(second.from_cache && second.fetched_bytes == 0);
    assert_eq!((names(&second), &second.release), (names(&first), &first.release));
    // A restarted mirror or proxy may have lost its validators: the index is still not downloaded again.
    memory.change("InRelease", |text| format!("{text}\n"));
    let third = cache.load(&archive.repository(), &memory).unwrap();
    assert_eq!(
        (memory.asked(), third.from_cache),
        (vec!["InRelease".to_owned()], false)
    );
}

#[test]
fn a_head_is_verified_every_time_and_no_index_is_read_for_it() {
    let (archive, cache) = (Archive::new(), Cache::new());
    let memory = archive.publish();
    let repositories = [archive.repository()];
    let loader = cache.loader(&memory);
    let verify = || loader.heads::<Deb>(&repositories);
    let first = verify().unwrap();
    assert_eq!(memory.asked(), ["InRelease"]);
    // Its indexes are not cached yet.
    assert!(!cache.files().iter().any(|path| path.ends_with("current")));
    let loaded = loader.load::<Deb>(&first).unwrap();
    assert_eq!(memory.asked(), ["main/binary-amd64/Packages.xz"]);
    assert_eq!(first[0].release(), loaded[0].release);
    assert_eq!(names(&loaded[0]), ["hello", "hello-data"]);
    // The head does not depend on the content of the index.
    std::fs::write(cache.file("Packages."), "Package: evil\n").unwrap();
    assert_eq!(verify().unwrap()[0].release(), loaded[0].release);
    let release = std::fs::read(cache.file("Release.")).unwrap();
    let evil = String::from_utf8(release)
        .unwrap()
        .replace("Origin: Test", "Origin: Evil");
    std::fs::write(cache.file("Release."), evil).unwrap();
    // The mirror's is used instead.
    assert_eq!(verify().unwrap()[0].release(), loaded[0].release);
    memory.change("InRelease", |text| text.replace("Origin: Test", "Origin: Evil"));
    assert!(
        matches!(verify(), Err(RepoError::Repository { problem, .. }) if matches!(*problem, Problem::Signature { .. }))
    );
}

#[test]
fn a_new_index_replaces_the_old_one_in_the_cache() {
    let (mut archive, cache) = (Archive::new(), Cache::new());
    cache.load(&archive.repository(), &archive.publish()).unwrap();
    let before = cache.files();
    std::fs::write(cache.file("lock").with_file_name(".oic-tmp-left"), "").unwrap();
    archive.index(
        PACKAGES,
        &stanza("newer", "1", "amd64"),
        &[Compression::Plain, Compression::Xz],
    );
    assert_eq!(
        names(&cache.load(&archive.repository(), &archive.publish()).unwrap()),
        ["newer"]
    );
    let after = cache.files();
    assert_eq!(
        after.len(),
        before.len(),
        "old objects and leftovers are gone: {after:?}"
    );
    assert_ne!(after, before);
}

#[test]
fn takes_any_compression_and_the_next_if_one_is_absent() {
    for forms in [
        &[Compression::Gzip][..],
        &[Compression::Zstd],
        &[Compression::Xz],
        &[Compression::Zstd, Compression::Gzip, Compression::Plain],
    ] {
        let (mut archive, cache) = (Archive::new(), Cache::new());
        archive.index(PACKAGES, &two_packages(), forms);
        let memory = archive.publish();
        assert_eq!(
            names(&cache.load(&archive.repository(), &memory).unwrap()),
            ["hello", "hello-data"]
        );
        assert_eq!(
            memory.asked(),
            ["InRelease".to_owned(), format!("{PACKAGES}{}", forms[0].suffix())]
        );
        assert!(
            cache.load(&archive.repository(), &memory).unwrap().from_cache,
            "{forms:?}"
        );
    }
    let archive = Archive::new();
    let memory = archive.publish();
    memory.remove("main/binary-amd64/Packages.xz");
    load_fresh(&archive, &memory).unwrap();
    assert_eq!(memory.asked().last().unwrap(), "main/binary-amd64/Packages.xz");
    memory.remove("main/binary-amd64/Packages.gz");
    assert!(matches!(
        problem(load_fresh(&archive, &memory)),
        Problem::IndexNotFound { .. }
    ));
}

#[test]
fn asks_by_hash_when_the_release_file_says_so() {
    let mut archive = Archive::new();
    archive.fields.push_str("Acquire-By-Hash: yes\n");
    let memory = archive.publish();
    let (_, xz) = archive.files.iter().find(|(path, _)| path.ends_with(".xz")).unwrap();
    let by_hash = format!("main/binary-amd64/by-hash/SHA256/{}", Sha256::of(xz));
    memory.put(&by_hash, xz.clone());
    memory.put("main/binary-amd64/Packages.xz", "of the next update");
    load_fresh(&archive, &memory).unwrap();
    assert_eq!(memory.asked(), ["InRelease", &by_hash]);
    memory.remove(&by_hash);
    memory.put("main/binary-amd64/Packages.xz", xz.clone());
    load_fresh(&archive, &memory).unwrap();
}

#[test]
fn loads_the_packages_of_foreign_architectures() {
    let mut archive = Archive::new();
    let foreign = format!("{}\n{}", stanza("hello", "1.0-1", "i386"), stanza("of-all", "1", "all"));
    let without = archive.publish();
    archive.index("main/binary-i386/Packages", &foreign, &[Compression::Gzip]);
    let load = |memory: &Memory| {
        let mut cache = Cache::new();
        cache.options.foreign = vec![ForeignArch::I386];
        cache.load(&archive.repository(), memory).unwrap()
    };
    let loaded = load(&archive.publish());
    assert_eq!(names(&loaded), ["hello", "hello-data", "hello"]);
    assert_eq!(loaded.notes, [""; 0]);
    let loaded = load(&without);
    assert_eq!(names(&loaded), ["hello", "hello-data"]);
    assert!(
        loaded.notes[0].ends_with("lists no packages for i386"),
        "{:?}",
        loaded.notes
    );
}

#[test]
fn loads_components_and_the_index_for_all() {
    let mut archive = Archive::new();
    let form = [Compression::Gzip];
    archive.index("contrib/binary-amd64/Packages", &stanza("extra", "1", "amd64"), &form);
    archive.index(
        "main/binary-all/Packages",
        &format!(
            "{}\n{}",
            stanza("hello-data", "1:2.0", "all"),
            stanza("doc", "1", "all")
        ),
        &form,
    );
    archive.index("contrib/binary-i386/Packages", &stanza("foreign", "1", "i386"), &form);
    let mut repository = archive.repository();
    repository.components.push("contrib".to_owned());
    let load = |archive: &Archive, repository: &Repository| Cache::new().load(repository, &archive.publish());
    assert_eq!(
        names(&load(&archive, &repository).unwrap()),
        ["hello", "hello-data", "doc", "extra"]
    );
    repository.filter.allow = vec!["hello*".to_owned(), "extra".to_owned()];
    assert_eq!(
        names(&load(&archive, &repository).unwrap()),
        ["hello", "hello-data", "extra"]
    );
    repository.filter.exclude = vec!["*-data".to_owned()];
    assert_eq!(names(&load(&archive, &repository).unwrap()), ["hello", "extra"]);
    repository.filter = PackageFilter::default();
    archive.fields.push_str("No-Support-for-Architecture-all: Packages\n");
    assert_eq!(
        names(&load(&archive, &repository).unwrap()),
        ["hello", "hello-data", "extra"]
    );
    // As with apt, a component that the archive lacks is noted, unless it has none at all.
    repository.components.push("non-free".to_owned());
    assert_eq!(names(&load(&archive, &repository).unwrap()).len(), 3);
    assert!(notes(&repository, &archive.publish())[0].contains("no packages of component \"non-free\" for amd64"));
    repository.components = vec!["non-free".to_owned()];
    let error = load(&archive, &repository).unwrap_err().to_string();
    assert!(
        error.contains("\"non-free\" for amd64 (components: main; architectures: all amd64)"),
        "{error}"
    );
}

/// Gives the notes on a repository that is verified for the first time.
fn notes(repository: &Repository, memory: &Memory) -> Vec<String> {
    let heads = Cache::new()
        .loader(memory)
        .heads::<Deb>(std::slice::from_ref(repository))
        .unwrap();
    heads[0].notes()
}

#[test]
fn a_mirror_that_changes_in_between_is_asked_once_more() {
    let (mut archive, cache) = (Archive::new(), Cache::new());
    let memory = archive.publish();
    archive.index(
        PACKAGES,
        &stanza("newer", "1", "amd64"),
        &[Compression::Plain, Compression::Xz],
    );
    *memory.later.lock().unwrap() = Some((1, archive.publish().files.into_inner().unwrap()));
    assert_eq!(names(&cache.load(&archive.repository(), &memory).unwrap()), ["newer"]);
    assert_eq!(memory.asked().len(), 4);
}

#[test]
fn the_newer_cached_index_wins_over_an_older_mirror() {
    let (mut archive, cache) = (Archive::new(), Cache::new());
    cache.load(&archive.repository(), &archive.publish()).unwrap();
    archive.fields = archive.fields.replace("Date: Sat, 11", "Date: Fri, 10");
    archive.index(
        PACKAGES,
        &stanza("old", "1", "amd64"),
        &[Compression::Plain, Compression::Xz],
    );
    let kept = cache.load(&archive.repository(), &archive.publish()).unwrap();
    assert_eq!(names(&kept), ["hello", "hello-data"]);
    assert_eq!(kept.release.date, SIGNED as i64);
}

#[test]
fn release_with_a_detached_signature() {
    let archive = Archive::new();
    for signature in [
        archive.sign(&["--detach-sign"]),
        archive.sign(&["--armor", "--detach-sign"]),
    ] {
        let (memory, cache) = (archive.publish_detached(Some(signature)), Cache::new());
        assert_eq!(cache.load(&archive.repository(), &memory).unwrap().records.len(), 2);
        assert_eq!(
            memory.asked(),
            ["InRelease", "Release", "Release.gpg", "main/binary-amd64/Packages.xz"]
        );
        assert!(cache.load(&archive.repository(), &memory).unwrap().from_cache);
        assert_eq!(memory.asked(), ["InRelease", "Release"]);
        assert_eq!(
            cache
                .offline()
                .load(&archive.repository(), &memory)
                .unwrap()
                .records
                .len(),
            2
        );
    }
    let memory = archive.publish_detached(Some(archive.sign(&["--detach-sign"])));
    memory.change("Release", |text| text.replace("Origin: Test", "Origin: Evil"));
    assert!(matches!(
        problem(load_fresh(&archive, &memory)),
        Problem::Signature { .. }
    ));
    let memory = archive.publish_detached(Some(archive.sign(&["--detach-sign"])));
    memory.refuse("InRelease", 403);
    load_fresh(&archive, &memory).unwrap();
    memory.refuse("Release", 403);
    assert!(matches!(
        problem(load_fresh(&archive, &memory)),
        Problem::Fetch(FetchError::Status { status: 403, .. })
    ));
    let unsigned = archive.publish_detached(None);
    assert!(matches!(
        problem(load_fresh(&archive, &unsigned)),
        Problem::Unsigned { .. }
    ));
    unsigned.remove("Release");
    assert!(matches!(
        problem(load_fresh(&archive, &unsigned)).own(),
        Some(DebProblem::NoRelease { .. })
    ));
}

#[test]
fn a_trusted_repository_needs_no_signature_but_its_digests_hold() {
    let archive = Archive::new();
    let mut repository = archive.repository();
    (repository.trusted, repository.keys) = (true, Vec::new());
    for memory in [archive.publish_detached(None), archive.publish()] {
        let cache = Cache::new();
        let loaded = cache.load(&repository, &memory).unwrap();
        assert_eq!((loaded.records.len(), &loaded.release.signer), (2, &None));
        assert_eq!(cache.offline().load(&repository, &memory).unwrap().records.len(), 2);
        memory.put("main/binary-amd64/Packages.xz", "x");
        assert!(matches!(
            problem(Cache::new().load(&repository, &memory)),
            Problem::Mismatch { .. }
        ));
    }
    repository.keys = vec![archive.key()];
    let memory = archive.publish();
    assert!(
        Cache::new()
            .load(&repository, &memory)
            .unwrap()
            .release
            .signer
            .is_some()
    );
    memory.change("InRelease", |text| text.replace("Origin: Test", "Origin: Else"));
    assert!(
        Cache::new()
            .load(&repository, &memory)
            .unwrap()
            .release
            .signer
            .is_none()
    );
}

#[test]
fn offline_uses_the_cache_and_says_what_is_missing() {
    let (archive, cache) = (Archive::new(), Cache::new());
    let memory = archive.publish();
    cache.load(&archive.repository(), &memory).unwrap();
    memory.asked();
    let cache = cache.offline();
    let loaded = cache.load(&archive.repository(), &memory).unwrap();
    assert!(loaded.from_cache && memory.asked().is_empty());
    assert_eq!(names(&loaded), ["hello", "hello-data"]);
    // A mirror of another name uses the same verified cache.
    let mut elsewhere = archive.repository();
    elsewhere.base_url = "https://other.example/debian".to_owned();
    assert_eq!(cache.load(&elsewhere, &memory).unwrap().records.len(), 2);

    let mut other = archive.repository();
    (other.id, other.suite) = ("other".to_owned(), "sid".to_owned());
    let repositories = [archive.repository(), other];
    std::fs::remove_file(cache.file("Packages.")).unwrap();
    let error = cache.loader(&memory).load_all::<Deb>(&repositories).unwrap_err();
    let expected = [
        format!("{DIST}/main/binary-amd64/Packages (repository test)"),
        format!("{BASE}/dists/sid/InRelease (repository other)"),
    ];
    assert!(
        matches!(&error, RepoError::NotCached { missing } if *missing == expected),
        "{error}"
    );
    assert!(error.hint().is_some() && memory.asked().is_empty());
}

#[test]
fn a_damaged_cache_is_fetched_again_and_never_used() {
    let (archive, cache) = (Archive::new(), Cache::new());
    let memory = archive.publish();
    for start in ["Packages.", "Release.", "current"] {
        cache.load(&archive.repository(), &memory).unwrap();
        let path = cache.file(start);
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let again = cache.load(&archive.repository(), &memory).unwrap();
        assert!(!again.from_cache && again.records.len() == 2, "{start}");
        assert!(
            cache.load(&archive.repository(), &memory).unwrap().from_cache,
            "{start} is repaired"
        );
    }
    std::fs::write(cache.file("Packages."), "Package: evil\n").unwrap();
    assert!(matches!(
        cache.offline().load(&archive.repository(), &memory),
        Err(RepoError::NotCached { .. })
    ));
}

#[test]
fn several_at_once_keep_their_order_and_two_processes_their_peace() {
    let (archive, cache) = (Archive::new(), Cache::new());
    let memory = archive.publish();
    let repositories: Vec<_> = (0..6)
        .map(|n| Repository {
            id: format!("r{n}"),
            ..archive.repository()
        })
        .collect();
    let loader = cache.loader(&memory);
    let load = || loader.load_all::<Deb>(&repositories).unwrap();
    std::thread::scope(|scope| {
        for thread in [scope.spawn(load), scope.spawn(load)] {
            let loaded = thread.join().unwrap();
            let ids: Vec<_> = loaded.iter().map(|index| &*index.repository_id).collect();
            assert_eq!(ids, ["r0", "r1", "r2", "r3", "r4", "r5"]);
        }
    });
    assert!(loader.load_all::<Deb>(&[]).unwrap().is_empty());
    cache.cancel.cancel();
    let error = loader.load_all::<Deb>(&repositories).unwrap_err();
    assert!(matches!(error, RepoError::Cancelled(_)) && cache.directory.path().exists());
}

#[test]
fn an_unreachable_mirror_is_named_with_what_helps() {
    let archive = Archive::new();
    let memory = archive.publish();
    memory.refuse("InRelease", 503);
    memory.refuse("Release", 503);
    let error = load_fresh(&archive, &memory).unwrap_err();
    let expected = format!("repository test: {DIST}/InRelease: the server answered 503");
    assert_eq!(error.to_string(), expected);
    let hint = error.hint().unwrap();
    assert_eq!(
        hint.means(),
        [crate::hint::Means::Mirror, crate::hint::Means::Offline],
        "{hint}"
    );
}
