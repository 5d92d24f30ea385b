use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, symlink};
use std::process::Stdio;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use oic_testkit::{Finished, hidden};

use super::*;
use crate::fetch::testing::{Fault, Server, bytes, fetcher, fetcher_with};
use crate::package::Sha256;
use crate::progress::{Silent, TaskId};
use crate::work::Work;

const PROVIDER: &str = "debian-debian13-x86_64";
const MIB: usize = 1024 * 1024;

/// Makes a package `name` whose file is `content`.
pub(super) fn package(name: &str, content: &[u8]) -> ResolvedPackage {
    ResolvedPackage {
        name: name.to_owned(),
        version: "1:2.0-1".to_owned(),
        architecture: "amd64".to_owned(),
        repository: "test".to_owned(),
        path: format!("pool/{name}.deb"),
        size_bytes: content.len() as u64,
        installed_size_bytes: 0,
        checksum: Sha256::of(content).into(),
        stanza: String::new(),
    }
}

struct Fixture {
    server: Server,
    directory: tempfile::TempDir,
    fetcher: Fetcher,
}

impl Fixture {
    fn new() -> Self {
        Self {
            server: Server::start(),
            directory: tempfile::tempdir().unwrap(),
            fetcher: fetcher(),
        }
    }

    fn cache(&self) -> PackageCache {
        PackageCache::open(self.directory.path(), PROVIDER).unwrap()
    }

    /// Makes a package that the server has.
    fn served(&self, name: &str, content: &[u8]) -> (ResolvedPackage, String) {
        let url = self.server.page(&format!("/{name}"), content);
        (package(name, content), url)
    }

    fn obtain(&self, cache: &PackageCache, (package, url): &(ResolvedPackage, String)) -> Obtained {
        cache.obtain(package, url, &self.fetcher, &Silent).unwrap()
    }

    fn obtain_all(
        &self,
        cache: &PackageCache,
        packages: &[(ResolvedPackage, String)],
    ) -> Result<CacheReport, CacheError> {
        cache.obtain_all(&wanted(packages), &self.fetcher, Work::quiet(&Cancel::default()))
    }

    fn requests(&self) -> usize {
        self.server.served().len()
    }
}

fn wanted(packages: &[(ResolvedPackage, String)]) -> Vec<RemotePackage<'_>> {
    packages
        .iter()
        .map(|(package, url)| RemotePackage {
            package,
            url: url.clone(),
        })
        .collect()
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Flips a bit in the middle of the file, in place, as a bad disk would.
fn flip(path: &Path) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let middle = file.metadata().unwrap().len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle).unwrap();
    file.write_all_at(&[byte[0] ^ 1], middle).unwrap();
}

#[test]
fn a_package_is_fetched_once_and_then_reused() {
    let fixture = Fixture::new();
    let cache = fixture.cache();
    let wanted = fixture.served("curl", b"the package");
    assert_eq!(cache.lookup(&wanted.0).unwrap(), Lookup::Miss);
    let mut first = fixture.obtain(&cache, &wanted);
    assert_eq!((first.how, first.received_bytes), (How::Fetched, 11));
    assert_eq!(first.path, cache.directory().join("curl_1%3a2.0-1_amd64.deb"));
    let mut content = String::new();
    first.file.read_to_string(&mut content).unwrap();
    assert_eq!(content, "the package");
    assert_eq!(fixture.obtain(&cache, &wanted).how, How::Reused);
    assert_eq!(cache.lookup(&wanted.0).unwrap(), Lookup::Hit(first.path));
    assert_eq!((fixture.requests(), cache.hashed_bytes()), (1, 0));
    assert_eq!(names(cache.directory()), ["curl_1%3a2.0-1_amd64.deb", "metadata"]);
    assert!(cache.directory().ends_with("pkgCache/debian-debian13-x86_64"));
}

#[test]
fn a_flipped_byte_in_the_cache_is_deleted_and_fetched_again() {
    let fixture = Fixture::new();
    let wanted = fixture.served("curl", &bytes(100_000, 1));
    let path = fixture.obtain(&fixture.cache(), &wanted).path;
    // At once, and with the old modification time: only ctime differs.
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    flip(&path);
    fs::File::open(&path).unwrap().set_modified(modified).unwrap();
    let cache = fixture.cache();
    let Lookup::Bad(reason) = cache.lookup(&wanted.0).unwrap() else {
        panic!("the flipped byte was not noticed");
    };
    assert!(reason.contains(&wanted.0.checksum.to_string()), "{reason}");
    assert!(!path.exists());
    fixture.obtain(&cache, &wanted);
    flip(&path);
    let again = fixture.obtain(&cache, &wanted);
    assert_eq!(again.how, How::Refetched);
    assert!(wanted.0.checksum.is_of(&fs::read(&path).unwrap()));
    assert_eq!(fixture.requests(), 3);
}

#[test]
fn what_is_not_the_file_is_replaced() {
    let fixture = Fixture::new();
    let cache = fixture.cache();
    let wanted = fixture.served("curl", b"the package");
    let path = cache.directory().join(wanted.0.file_name());
    let outside = fixture.directory.path().join("outside");
    fs::write(&outside, "the package").unwrap();
    let make: [&dyn Fn(); 4] = [
        &|| fs::write(&path, "the pack").unwrap(),
        &|| fs::write(&path, "").unwrap(),
        &|| symlink(&outside, &path).unwrap(),
        &|| nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
    ];
    for make in make {
        let _ = fs::remove_file(&path);
        make();
        assert_eq!(fixture.obtain(&cache, &wanted).how, How::Refetched);
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
        assert_eq!(fs::read(&path).unwrap(), b"the package");
    }
    assert!(outside.exists());
}

#[test]
fn a_warm_run_hashes_nothing_and_a_touched_file_is_hashed_again() {
    let fixture = Fixture::new();
    let content = bytes(100_000, 2);
    let wanted = fixture.served("curl", &content);
    let path = fixture.obtain(&fixture.cache(), &wanted).path;
    let warm = || {
        let cache = fixture.cache();
        assert!(matches!(cache.lookup(&wanted.0).unwrap(), Lookup::Hit(_)));
        cache.hashed_bytes()
    };
    assert_eq!(warm(), 0);
    let file = fs::File::open(&path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(1000))
        .unwrap();
    assert_eq!(warm(), content.len() as u64);
    assert_eq!(warm(), 0);
    // The same content, but another file.
    fs::copy(&path, path.with_extension("copy")).unwrap();
    fs::rename(path.with_extension("copy"), &path).unwrap();
    assert_eq!(warm(), content.len() as u64);
    assert_eq!(warm(), 0);
    fs::write(path.with_file_name("metadata/verified.idx"), "oic-verified 9\n").unwrap();
    assert_eq!(warm(), content.len() as u64);
    assert_eq!(warm(), 0);
    assert_eq!(fixture.requests(), 1);
}

#[test]
fn the_opened_file_is_the_one_that_was_verified() {
    let fixture = Fixture::new();
    let cache = fixture.cache();
    let wanted = fixture.served("curl", &bytes(100_000, 3));
    assert!(cache.open_verified(&wanted.0).unwrap().is_none());
    let path = fixture.obtain(&cache, &wanted).path;
    let mut content = Vec::new();
    let mut file = cache.open_verified(&wanted.0).unwrap().unwrap();
    file.read_to_end(&mut content).unwrap();
    assert!(wanted.0.checksum.is_of(&content));
    fs::File::open(&path)
        .unwrap()
        .set_modified(SystemTime::UNIX_EPOCH)
        .unwrap();
    content.clear();
    let mut file = cache.open_verified(&wanted.0).unwrap().unwrap();
    file.read_to_end(&mut content).unwrap();
    assert!(wanted.0.checksum.is_of(&content));
    flip(&path);
    assert!(cache.open_verified(&wanted.0).unwrap().is_none());
    assert!(!path.exists());
}

#[test]
fn many_threads_that_want_one_package_download_it_once() {
    let fixture = Fixture::new();
    let (cache, other) = (fixture.cache(), fixture.cache());
    let wanted = fixture.served("curl", &bytes(100_000, 4));
    fixture.server.always("/curl", Fault::Slow(Duration::from_millis(10)));
    let hows = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for cache in [&cache, &other, &cache, &other] {
            let (fixture, wanted, hows) = (&fixture, &wanted, &hows);
            scope.spawn(move || hows.lock().unwrap().push(fixture.obtain(cache, wanted).how));
        }
    });
    let hows = hows.into_inner().unwrap();
    assert_eq!(hows.iter().filter(|how| **how == How::Fetched).count(), 1);
    assert_eq!(fixture.requests(), 1);
    assert_eq!(names(cache.directory()).len(), 2);
}

/// Not a test by itself: what `several_processes_download_each_package_once` starts.
#[test]
fn as_another_process() {
    let (Ok(cache_dir), Ok(base)) = (std::env::var("OIC_TEST_CACHE_DIR"), std::env::var("OIC_TEST_URL")) else {
        return;
    };
    let packages: Vec<_> = (0..8)
        .map(|seed| {
            let name = format!("package{seed}");
            let url = format!("{base}/{name}");
            (package(&name, &bytes(50_000, seed)), url)
        })
        .collect();
    let cache = PackageCache::open(Path::new(&cache_dir), PROVIDER).unwrap();
    let report = cache
        .obtain_all(&wanted(&packages), &fetcher(), Work::quiet(&Cancel::default()))
        .unwrap();
    assert_eq!(report.reused + report.fetched, 8);
}

#[test]
fn several_processes_download_each_package_once() {
    let fixture = Fixture::new();
    for seed in 0..8 {
        fixture.served(&format!("package{seed}"), &bytes(50_000, seed));
        let slow = Fault::Slow(Duration::from_millis(10));
        fixture.server.always(&format!("/package{seed}"), slow);
    }
    let start = || {
        hidden::command("cache::tests::as_another_process")
            .env("OIC_TEST_CACHE_DIR", fixture.directory.path())
            .env("OIC_TEST_URL", fixture.server.url(""))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    for child in [start(), start(), start()] {
        hidden::assert_passed(&Finished::of(&child.wait_with_output().unwrap()));
    }
    assert_eq!(fixture.requests(), 8);
    assert_eq!(names(fixture.cache().directory()).len(), 9);
}

#[test]
fn a_killed_process_loses_nothing_but_its_last_bytes() {
    let fixture = Fixture::new();
    let content = bytes(3 * MIB, 9);
    let wanted = fixture.served("killed", &content);
    fixture.server.faults("/killed", [Fault::StallAfter(2 * MIB)]);
    let mut child = hidden::command("cache::tests::as_a_process_to_kill")
        .env("OIC_TEST_CACHE_DIR", fixture.directory.path())
        .env("OIC_TEST_URL", &wanted.1)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let directory = fixture.directory.path().join("pkgCache").join(PROVIDER);
    let partial = Partial::path_in(&directory, wanted.0.checksum);
    let deadline = Instant::now() + Duration::from_secs(20);
    while fs::metadata(&partial).map_or(0, |metadata| metadata.len()) < 2 * MIB as u64 {
        assert!(Instant::now() < deadline, "the child downloads nothing");
        thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let obtained = fixture.obtain(&fixture.cache(), &wanted);
    assert_eq!((obtained.how, obtained.received_bytes), (How::Fetched, MIB as u64));
    assert_eq!(fs::read(obtained.path).unwrap(), content);
    assert_eq!(names(&directory).len(), 2);
}

/// Not a test by itself: what `a_killed_process_loses_nothing_but_its_last_bytes` kills.
#[test]
fn as_a_process_to_kill() {
    let (Ok(cache_dir), Ok(url)) = (std::env::var("OIC_TEST_CACHE_DIR"), std::env::var("OIC_TEST_URL")) else {
        return;
    };
    let patient = fetcher_with(Cancel::default(), |options| {
        options.stall_timeout = Duration::from_secs(60);
    });
    let cache = PackageCache::open(Path::new(&cache_dir), PROVIDER).unwrap();
    let package = package("killed", &bytes(3 * MIB, 9));
    cache.obtain(&package, &url, &patient, &Silent).unwrap();
}

/// A progress display that counts its calls.
#[derive(Debug, Default)]
struct Counting(Mutex<(Vec<String>, u64, u64, usize)>);

impl Progress for Counting {
    fn start(&self, label: &str, _unit: Unit, total: Option<u64>) -> TaskId {
        let mut state = self.0.lock().unwrap();
        state.0.push(label.to_owned());
        state.1 += total.unwrap();
        TaskId(1)
    }
    fn advance(&self, _task: TaskId, amount: u64) {
        self.0.lock().unwrap().2 += amount;
    }
    fn finish(&self, _task: TaskId) {
        self.0.lock().unwrap().3 += 1;
    }
    fn note(&self, line: &str) {
        self.0.lock().unwrap().0.push(line.to_owned());
    }
}

#[test]
fn a_whole_set_is_reported_and_its_progress_adds_up() {
    let fixture = Fixture::new();
    let packages: Vec<_> = (0..10)
        .map(|seed| fixture.served(&format!("package{seed}"), &bytes(20_000, seed)))
        .collect();
    let cache = fixture.cache();
    for package in &packages[..3] {
        fixture.obtain(&cache, package);
    }
    flip(&cache.directory().join(packages[1].0.file_name()));
    fixture.server.faults("/package5", [Fault::CutAfter(8192)]);
    let progress = Counting::default();
    let all = wanted(&packages);
    let cancel = Cancel::default();
    let work = Work {
        progress: &progress,
        ..Work::quiet(&cancel)
    };
    let report = cache.obtain_all(&all, &fixture.fetcher, work).unwrap();
    assert_eq!((report.reused, report.fetched, report.refetched), (2, 7, 1));
    assert_eq!((report.fetched_bytes, report.hashed_bytes), (160_000, 20_000));
    assert_eq!(report.packages[1].how, How::Refetched);
    for (cached, (package, _)) in report.packages.iter().zip(&packages) {
        assert!(package.checksum.is_of(&fs::read(&cached.path).unwrap()));
    }
    let (lines, total, done, finished) = progress.0.into_inner().unwrap();
    assert_eq!((total, done, finished), (180_000, 180_000, 2));
    assert!(
        lines.iter().any(|line| line.contains("package1_1%3a2.0-1_amd64.deb")),
        "{lines:?}"
    );
    let warm = fixture.obtain_all(&fixture.cache(), &packages).unwrap();
    assert_eq!((warm.reused, warm.hashed_bytes, warm.fetched_bytes), (10, 0, 0));
}

#[test]
fn no_workers_are_one_worker() {
    let fixture = Fixture::new();
    let packages = [fixture.served("a", b"a"), fixture.served("b", b"b")];
    let fetcher = fetcher_with(Cancel::default(), |options| options.workers = 0);
    let report = fixture
        .cache()
        .obtain_all(&wanted(&packages), &fetcher, Work::quiet(&Cancel::default()));
    assert_eq!(report.unwrap().fetched, 2);
}

#[test]
fn offline_names_everything_that_is_missing() {
    let mut fixture = Fixture::new();
    let packages: Vec<_> = ["a", "b", "c"].map(|name| fixture.served(name, name.as_bytes())).into();
    let cache = fixture.cache();
    fixture.obtain(&cache, &packages[1]);
    fixture.fetcher = fetcher_with(Cancel::default(), |options| options.offline = true);
    let error = fixture.obtain_all(&cache, &packages).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("2 packages") && text.contains("\n  a 1:2.0-1 amd64"),
        "{text}"
    );
    let CacheError::Missing { packages: missing } = &error else {
        panic!("{error}");
    };
    assert_eq!(missing.iter().map(|it| &*it.name).collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(error.hint().unwrap().means(), [crate::hint::Means::Online]);
    let error = cache.obtain(&packages[0].0, &packages[0].1, &fixture.fetcher, &Silent);
    assert!(matches!(error, Err(CacheError::Missing { .. })));
    assert!(fixture.obtain_all(&cache, &packages[1..2]).is_ok());
    assert_eq!(names(cache.directory()), ["b_1%3a2.0-1_amd64.deb", "metadata"]);
}

#[test]
fn the_first_failure_names_the_package_and_ends_the_others() {
    let mut fixture = Fixture::new();
    fixture.fetcher = fetcher_with(Cancel::default(), |options| {
        options.stall_timeout = Duration::from_secs(60);
    });
    let slow = fixture.served("slow", &bytes(100_000, 1));
    fixture.server.always("/slow", Fault::StallAfter(4096));
    let absent = (package("absent", b"absent"), fixture.server.url("/absent"));
    let start = Instant::now();
    let cache = fixture.cache();
    let error = fixture.obtain_all(&cache, &[slow, absent]).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(30));
    assert!(error.to_string().starts_with("package absent 1:2.0-1: "), "{error}");
    assert_eq!(names(cache.directory()), ["metadata"]);
}

#[test]
fn interrupting_ends_everything_at_once_and_leaves_nothing() {
    let mut fixture = Fixture::new();
    fixture.fetcher = fetcher_with(Cancel::default(), |options| {
        options.workers = 3;
        options.stall_timeout = Duration::from_secs(60);
    });
    let packages: Vec<_> = (0..8)
        .map(|seed| fixture.served(&format!("p{seed}"), &bytes(50_000, seed)))
        .collect();
    for seed in 0..8 {
        fixture.server.always(&format!("/p{seed}"), Fault::StallAfter(4096));
    }
    let (cache, cancel) = (fixture.cache(), Cancel::default());
    thread::scope(|scope| {
        let work = scope.spawn(|| {
            let all = wanted(&packages);
            cache.obtain_all(&all, &fixture.fetcher, Work::quiet(&cancel))
        });
        thread::sleep(Duration::from_millis(200));
        let start = Instant::now();
        cancel.cancel();
        assert!(matches!(work.join().unwrap(), Err(CacheError::Cancelled(_))));
        assert!(start.elapsed() < Duration::from_secs(30));
    });
    assert_eq!(names(cache.directory()), ["metadata"]);
    assert_eq!(fixture.requests(), 3);
}

#[test]
fn local_repositories_are_copied_and_verified() {
    let fixture = Fixture::new();
    let source = fixture.directory.path().join("local.deb");
    fs::write(&source, "local package").unwrap();
    let url = format!("file://{}", source.display());
    let cache = fixture.cache();
    let path = fixture
        .obtain(&cache, &(package("local", b"local package"), url.clone()))
        .path;
    fs::write(&source, "changed package").unwrap();
    assert_eq!(fs::read(path).unwrap(), b"local package");
    let error = cache.obtain(&package("other", b"local_package!!"), &url, &fixture.fetcher, &Silent);
    assert!(error.unwrap_err().to_string().contains("wrong content"));
    assert_eq!(names(cache.directory()), ["local_1%3a2.0-1_amd64.deb", "metadata"]);
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let fixture = Fixture::new();
    for id in ["", "..", "../x", "a/b", ".hidden", "a\nb"] {
        let opened = PackageCache::open(fixture.directory.path(), id);
        assert!(matches!(opened, Err(CacheError::BadName { .. })), "{id:?}");
    }
    let cache = fixture.cache();
    for name in ["../../etc/x", ".oic-tmp-part-", "a\nb", &"a".repeat(300)] {
        let package = package(name, b"x");
        assert!(matches!(cache.lookup(&package), Err(CacheError::BadName { .. })));
        let all = [(package, fixture.server.url("/x"))];
        assert!(matches!(
            fixture.obtain_all(&cache, &all),
            Err(CacheError::BadName { .. })
        ));
    }
    let same_name = [fixture.served("a", b"1"), fixture.served("a", b"2")];
    let error = fixture.obtain_all(&cache, &same_name).unwrap_err();
    assert!(matches!(error, CacheError::Conflict { .. }), "{error}");
    let twice = [fixture.served("b", b"1"), fixture.served("b", b"1")];
    assert_eq!(fixture.obtain_all(&cache, &twice).unwrap().packages.len(), 2);
    assert_eq!(fixture.requests(), 1);
}

/// Runs `test` with a directory on a file system of `size_bytes`, which no other process sees and which ends with the
/// thread.
fn on_small_file_system(size_bytes: usize, test: impl FnOnce(&Path) + Send) {
    use nix::mount::{MsFlags, mount};
    let directory = tempfile::tempdir().unwrap();
    thread::scope(|scope| {
        let run = || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).expect("mounting needs root");
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            let options = format!("size={size_bytes}");
            mount(
                Some("oic-test"),
                directory.path(),
                Some("tmpfs"),
                MsFlags::empty(),
                Some(&*options),
            )
            .unwrap();
            test(directory.path());
        };
        scope.spawn(run).join().unwrap();
    });
}

#[test]
fn what_does_not_fit_is_refused_before_it_is_downloaded() {
    on_small_file_system(MIB, |directory| {
        let fixture = Fixture::new();
        let cache = PackageCache::open(directory, PROVIDER).unwrap();
        let packages = [
            fixture.served("a", &bytes(700_000, 1)),
            fixture.served("b", &bytes(700_000, 2)),
        ];
        let error = fixture.obtain_all(&cache, &packages).unwrap_err();
        assert!(
            matches!(&error, CacheError::NoSpace { needed_bytes: 1_400_000, full }
                if full.free_bytes > 0 && full.free_bytes <= MIB as u64 && full.directory == cache.directory()),
            "{error}"
        );
        assert_eq!(fixture.requests(), 0);
        assert!(fixture.obtain_all(&cache, &packages[..1]).is_ok());
    });
}

/// A progress display that fills the file system as soon as something was written to it.
#[derive(Debug)]
struct Filling(PathBuf);

impl Progress for Filling {
    fn start(&self, _label: &str, _unit: Unit, _total: Option<u64>) -> TaskId {
        TaskId(0)
    }
    fn advance(&self, _task: TaskId, amount: u64) {
        if amount > 0 && !self.0.exists() {
            let mut file = File::create(&self.0).unwrap();
            while file.write_all(&[0; 4096]).is_ok() {}
        }
    }
    fn finish(&self, _task: TaskId) {}
    fn note(&self, _line: &str) {}
}

#[test]
fn a_disk_that_fills_up_is_reported_and_nothing_is_left() {
    on_small_file_system(8 * MIB, |directory| {
        let fixture = Fixture::new();
        let cache = PackageCache::open(directory, PROVIDER).unwrap();
        let packages = [
            fixture.served("a", &bytes(2 * MIB, 1)),
            fixture.served("b", &bytes(2 * MIB, 2)),
        ];
        for path in ["/a", "/b"] {
            fixture.server.faults(path, [Fault::Slow(Duration::from_millis(1))]);
        }
        let filling = Filling(directory.join("filler"));
        let all = wanted(&packages);
        let cancel = Cancel::default();
        let work = Work {
            progress: &filling,
            ..Work::quiet(&cancel)
        };
        let result = cache.obtain_all(&all, &fixture.fetcher, work);
        let error = result.unwrap_err();
        assert!(
            matches!(&error, CacheError::NoSpace { full, .. } if full.free_bytes <= 8192),
            "{error}"
        );
        assert_eq!(names(cache.directory()), ["metadata"]);
        fs::remove_file(&filling.0).unwrap();
        assert_eq!(fixture.obtain_all(&cache, &packages).unwrap().fetched, 2);
    });
}
