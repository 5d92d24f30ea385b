//! Archives that are refused, and what makes them acceptable all the same.

use super::*;

#[test]
fn refuses_what_is_not_signed_by_its_key() {
    let archive = Archive::new();
    let memory = archive.publish();
    memory.change("InRelease", |text| text.replace("Origin: Test", "Origin: Evil"));
    let error = load_fresh(&archive, &memory).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("repository test: http://mirror.example/debian/dists/stable/InRelease: bad signature"),
        "{error}"
    );
    assert!(matches!(
        problem(Err(error)),
        Problem::Signature {
            source: VerifyError::BadSignature { .. },
            ..
        }
    ));

    let mut repository = archive.repository();
    repository.keys = vec![Gpg::with_key("stranger").export("stranger")];
    let error = Cache::new().load(&repository, &archive.publish()).unwrap_err();
    assert!(error.hint().is_some());
    assert!(matches!(
        problem(Err(error)),
        Problem::Signature {
            source: VerifyError::UnknownKey { .. },
            ..
        }
    ));

    repository.keys.clear();
    assert!(matches!(
        problem(Cache::new().load(&repository, &archive.publish())),
        Problem::NoKey
    ));
    repository.keys = vec![b"nonsense".to_vec()];
    assert!(matches!(
        problem(Cache::new().load(&repository, &archive.publish())),
        Problem::Keys(_)
    ));
}

#[test]
fn an_index_out_of_date_is_refused_and_only_warned_about_offline() {
    let (archive, mut cache) = (Archive::new(), Cache::new());
    let memory = archive.publish();
    cache.load(&archive.repository(), &memory).unwrap();
    cache.options.now += Duration::from_secs(30 * 86_400);
    let error = cache.load(&archive.repository(), &memory).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("its Valid-Until is 2024-05-18 09:23:32 UTC, and it is 2024-06-10 10:23:32 UTC now"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("clock"));
    assert!(matches!(
        problem(load_fresh_at(&archive, &memory, cache.options.now)).own(),
        Some(DebProblem::Expired { .. })
    ));
    let cache = cache.offline();
    assert_eq!(cache.load(&archive.repository(), &memory).unwrap().records.len(), 2);
    let before = SystemTime::UNIX_EPOCH + Duration::from_secs(SIGNED - 3600);
    assert!(
        load_fresh_at(&archive, &memory, before).is_err(),
        "signed in the future"
    );
}

#[test]
fn an_archive_that_stays_as_it_is_may_be_past_its_time() {
    let (archive, mut cache) = (Archive::new(), Cache::new());
    let memory = archive.publish();
    cache.options.now += Duration::from_secs(30 * 86_400);
    let mut repository = archive.repository();
    let hint = cache.load(&repository, &memory).unwrap_err().hint().unwrap();
    assert!(hint.contains("`checkValidUntil: false`"), "{hint}");
    repository.checks.valid_until = false;
    assert_eq!(cache.load(&repository, &memory).unwrap().records.len(), 2);
    let heads = cache
        .loader(&memory)
        .heads::<Deb>(std::slice::from_ref(&repository))
        .unwrap();
    let notes = heads[0].notes();
    assert!(
        notes[0].contains("has expired") && notes[0].contains("all the same"),
        "{notes:?}"
    );
    // A date in the future is a wrong clock, not an old archive.
    cache.options.now = SystemTime::UNIX_EPOCH + Duration::from_secs(SIGNED - 3600);
    assert!(cache.load(&repository, &memory).is_err());
}

fn load_fresh_at(archive: &Archive, memory: &Memory, now: SystemTime) -> Result<LoadedIndex, RepoError> {
    let mut cache = Cache::new();
    cache.options.now = now;
    cache.load(&archive.repository(), memory)
}

#[test]
fn refuses_another_suite() {
    let archive = Archive::new();
    let memory = archive.publish();
    for path in ["InRelease", "main/binary-amd64/Packages.xz"] {
        let bytes = memory.files.lock().unwrap()[&format!("{DIST}/{path}")].clone();
        memory
            .files
            .lock()
            .unwrap()
            .insert(format!("{BASE}/dists/sid/{path}"), bytes.clone());
        memory
            .files
            .lock()
            .unwrap()
            .insert(format!("{BASE}/dists/trixie/{path}"), bytes);
    }
    let mut repository = archive.repository();
    repository.suite = "trixie".to_owned();
    Cache::new().load(&repository, &memory).unwrap();
    repository.suite = "sid".to_owned();
    let error = Cache::new().load(&repository, &memory).unwrap_err().to_string();
    assert!(
        error.contains("is for suite \"stable\" (codename \"trixie\"), not for \"sid\""),
        "{error}"
    );
}

#[test]
fn refuses_an_index_that_the_release_file_does_not_vouch_for() {
    let archive = Archive::new();
    let good = archive
        .files
        .iter()
        .find(|(path, _)| path.ends_with(".xz"))
        .unwrap()
        .1
        .clone();
    let mut flipped = good.clone();
    flipped[20] ^= 1;
    for bad in [
        flipped,
        good[..good.len() - 1].to_vec(),
        [&good[..], b"x"].concat(),
        Vec::new(),
    ] {
        let (memory, cache) = (archive.publish(), Cache::new());
        memory.put("main/binary-amd64/Packages.xz", bad);
        let problem = problem(cache.load(&archive.repository(), &memory));
        assert!(matches!(problem, Problem::Mismatch { .. }), "{problem}");
        assert_eq!(memory.asked().len(), 4, "asked once more, then refused");
        assert!(
            cache.files().iter().all(|path| path.ends_with("lock")),
            "nothing of it is kept"
        );
    }
}

/// Signs an index whose decompressed form is not listed, so that nothing but its own length bounds what it inflates to.
#[test]
fn an_index_of_unsigned_size_inflates_to_a_multiple_of_its_length() {
    let bomb = "\n".repeat(200 << 20);
    for compression in [Compression::Xz, Compression::Gzip] {
        let mut archive = Archive::new();
        archive.files.clear();
        let packed = compress(compression, bomb.as_bytes());
        let limit = (64 << 20) + 64 * packed.len();
        archive
            .files
            .push((format!("{PACKAGES}{}", compression.suffix()), packed));
        let problem = problem(load_fresh(&archive, &archive.publish()));
        assert!(
            matches!(problem.own(), Some(DebProblem::Decompress { reason, .. }) if reason.contains(&limit.to_string())),
            "{compression:?}: {problem}"
        );
    }
}

#[test]
fn refuses_a_vouched_for_but_damaged_or_overlong_index() {
    let mut archive = Archive::new();
    let (path, xz) = archive
        .files
        .iter()
        .find(|(path, _)| path.ends_with(".xz"))
        .cloned()
        .unwrap();
    let replace = |archive: &mut Archive, bytes: Vec<u8>| {
        archive
            .files
            .retain(|(name, _)| !name.ends_with(".xz") && !name.ends_with(".gz"));
        archive.files.push((path.clone(), bytes));
    };
    replace(&mut archive, xz[..xz.len() / 2].to_vec());
    let truncated = problem(load_fresh(&archive, &archive.publish()));
    assert!(
        matches!(truncated.own(), Some(DebProblem::Decompress { .. })),
        "{truncated}"
    );
    replace(
        &mut archive,
        compress(Compression::Xz, two_packages().repeat(1000).as_bytes()),
    );
    let bomb = problem(load_fresh(&archive, &archive.publish()));
    assert!(matches!(bomb.own(), Some(DebProblem::Decompress { .. })), "{bomb}");
    replace(
        &mut archive,
        compress(Compression::Xz, two_packages().replace("hello", "hallo").as_bytes()),
    );
    let other = problem(load_fresh(&archive, &archive.publish()));
    assert!(matches!(other, Problem::Mismatch { .. }), "{other}");
    archive.index(PACKAGES, "Package: x\nVersion: 1\n", &[Compression::Xz]);
    assert_eq!(names(&load_fresh(&archive, &archive.publish()).unwrap()), [""; 0]);
}
