//! Repositories that `createrepo_c` made load, in every form; others are refused by name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use super::*;
use crate::archive::compression::tests::compress;
use crate::cancel::Cancel;
use crate::fetch::{FetchOptions, Fetcher, Transport, Validators};
use crate::package::{Algorithm, Arch, PackageFilter};
use crate::repo::RepoError;
use crate::repo::rpm::{Further, locate};
use crate::repo::{LoadOptions, Loader, MirrorList, Signed};
use crate::rpmfile::testing::build;
use crate::verify::VerifyError;
use crate::verify::gpg::Gpg;
use crate::work::Work;

/// A signed repository on disk, and a cache.
struct Fixture {
    directory: tempfile::TempDir,
    gpg: Gpg,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["one", "two"] {
            let spec = format!(
                "Name: {name}\nVersion: 1\nRelease: 1\nSummary: s\nLicense: MIT\nBuildArch: noarch\n%description\nx\n\
                 %install\nmkdir -p %{{buildroot}}/usr/share/{name}\ntouch %{{buildroot}}/usr/share/{name}/data\n\
                 %files\n/usr/share/{name}\n"
            );
            build(directory.path(), &spec);
        }
        let fixture = Self {
            directory,
            gpg: Gpg::with_key("vendor"),
        };
        fixture.index("gz");
        fixture
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("RPMS")
    }

    fn repodata(&self, name: &str) -> PathBuf {
        self.root().join("repodata").join(name)
    }

    /// Returns the path of the index of a kind.
    fn file(&self, kind: &str) -> PathBuf {
        let entries = fs::read_dir(self.root().join("repodata")).unwrap();
        let mut paths = entries.map(|entry| entry.unwrap().path());
        paths.find(|path| path.to_str().unwrap().contains(kind)).unwrap()
    }

    /// Makes the indexes in a form, and signs them.
    fn index(&self, form: &str) {
        self.index_with(&[&format!("--general-compress-type={form}")]);
    }

    fn index_with(&self, options: &[&str]) {
        let _ = fs::remove_dir_all(self.root().join("repodata"));
        let made = Command::new("createrepo_c")
            .args(["--quiet", "--no-database"])
            .args(options)
            .arg(self.root())
            .output()
            .expect("this test needs createrepo_c (package createrepo-c)");
        assert!(made.status.success(), "{made:?}");
        self.sign("vendor");
    }

    /// Turns the indexes from gzip's form into zstd's, which older versions of createrepo_c do not make.
    fn index_zstd(&self) {
        self.index("gz");
        let repomd_path = self.repodata("repomd.xml");
        let mut repomd = fs::read_to_string(&repomd_path).unwrap();
        for kind in ["primary", "filelists"] {
            let path = self.file(kind);
            let old = fs::read(&path).unwrap();
            let mut open = Vec::new();
            flate2::read::GzDecoder::new(&*old).read_to_end(&mut open).unwrap();
            let new = compress(Compression::Zstd, &open);
            fs::write(path.with_extension("zst"), &new).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            repomd = repomd
                .replace(&name, &name.replace(".gz", ".zst"))
                .replace(&format!(">{}<", Sha256::of(&old)), &format!(">{}<", Sha256::of(&new)))
                .replace(&format!("<size>{}<", old.len()), &format!("<size>{}<", new.len()));
        }
        fs::write(repomd_path, repomd).unwrap();
        self.sign("vendor");
    }

    fn sign(&self, key: &str) {
        let repomd = fs::read(self.repodata("repomd.xml")).unwrap();
        let signature = self.gpg.detach_sign(key, true, &repomd);
        fs::write(self.repodata("repomd.xml.asc"), signature).unwrap();
    }

    fn repository(&self) -> Repository {
        Repository {
            id: "test".to_owned(),
            base_url: format!("file://{}", self.root().display()),
            mirror_list: None,
            suite: String::new(),
            components: Vec::new(),
            keys: vec![self.gpg.export("vendor")],
            signed: Signed::Both,
            trusted: false,
            priority: 500,
            filter: PackageFilter::default(),
            checks: Default::default(),
            files: None,
        }
    }

    fn options(&self, offline: bool) -> LoadOptions {
        LoadOptions {
            arch: Arch::X86_64,
            foreign: Vec::new(),
            metadata_dir: self.directory.path().join("metadata"),
            now: SystemTime::now(),
            offline,
            workers: 2,
        }
    }

    fn load(&self, repository: &Repository, offline: bool) -> Result<LoadedIndex, RepoError> {
        load_one(repository, &self.options(offline), &fetcher())
    }

    fn problem(&self) -> Problem {
        match self.load(&self.repository(), false) {
            Err(RepoError::Repository { problem, .. }) => *problem,
            other => panic!("{other:?}"),
        }
    }
}

fn load_one(
    repository: &Repository,
    options: &LoadOptions,
    transport: &dyn Transport,
) -> Result<LoadedIndex, RepoError> {
    let repositories = std::slice::from_ref(repository);
    let mut loaded = loader(options.clone(), transport, &Cancel::default()).load_all::<Rpm>(repositories)?;
    Ok(loaded.pop().unwrap())
}

fn loader<'a>(options: LoadOptions, transport: &'a dyn Transport, cancel: &'a Cancel) -> Loader<'a> {
    Loader {
        options,
        transport,
        work: Work::quiet(cancel),
    }
}

fn fetcher() -> Fetcher {
    Fetcher::new(FetchOptions::default(), Cancel::default()).unwrap()
}

fn names(index: &LoadedIndex) -> Vec<&str> {
    index.records.iter().map(|record| &*record.name).collect()
}

fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 0xff;
    fs::write(path, bytes).unwrap();
}

#[test]
fn every_form_loads_and_works_offline_afterwards() {
    let fixture = Fixture::new();
    for form in ["gz", "xz", "zst", "bz2"] {
        match form {
            "zst" => fixture.index_zstd(),
            form => fixture.index(form),
        }
        let index = fixture.load(&fixture.repository(), false).unwrap();
        assert_eq!(names(&index), ["one", "two"], "{form}");
        assert!(index.release.signer.is_some() && index.release.date > 1_700_000_000);
        for record in &index.records {
            let bytes = fs::read(fixture.root().join(&*record.path)).unwrap();
            assert_eq!(
                (record.size_bytes, record.checksum),
                (bytes.len() as u64, Sha256::of(&bytes).into())
            );
        }
    }
    let again = fixture.load(&fixture.repository(), true).unwrap();
    assert_eq!(names(&again), ["one", "two"]);
    assert!(again.from_cache);
    // Only the files that the current repomd.xml lists are kept.
    let kept = fs::read_dir(fixture.options(true).metadata_dir)
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert!(fs::read_dir(kept.path()).unwrap().count() <= 6);
}

#[test]
fn file_lists_are_loaded_when_asked_for() {
    let fixture = Fixture::new();
    let repository = fixture.repository();
    let index = fixture.load(&repository, false).unwrap();
    let search = |offline| {
        let (fetcher, cancel) = (fetcher(), Cancel::default());
        let further = Further {
            repositories: std::slice::from_ref(&repository),
            loaded: std::slice::from_ref(&index),
            loader: &loader(fixture.options(offline), &fetcher, &cancel),
        };
        assert_eq!(further.groups().unwrap(), []);
        further.owners(&BTreeSet::from([
            "/usr/share/two/data".to_owned(),
            "/nowhere".to_owned(),
        ]))
    };
    let missing = search(true).unwrap_err().to_string();
    assert!(
        missing.contains("filelists") && missing.contains("(repository test)"),
        "{missing}"
    );
    let owners = search(false).unwrap();
    assert_eq!(owners.len(), 1);
    assert_eq!(owners[&index.records[1].checksum], ["/usr/share/two/data"]);
    assert_eq!(search(true).unwrap(), owners);
}

#[test]
fn what_is_not_signed_as_the_policy_says_is_refused() {
    let fixture = Fixture::new();
    fixture.gpg.generate("other", "ed25519", "never", &[]);
    fixture.sign("other");
    assert!(matches!(
        fixture.problem(),
        Problem::Signature {
            source: VerifyError::UnknownKey { .. },
            ..
        }
    ));
    fixture.sign("vendor");
    let repomd = fs::read_to_string(fixture.repodata("repomd.xml")).unwrap();
    fs::write(
        fixture.repodata("repomd.xml"),
        repomd.replace("<revision>", "<revision>1"),
    )
    .unwrap();
    assert!(matches!(
        fixture.problem(),
        Problem::Signature {
            source: VerifyError::BadSignature { .. },
            ..
        }
    ));
    fs::remove_file(fixture.repodata("repomd.xml.asc")).unwrap();
    let unsigned = fixture.problem();
    assert!(matches!(unsigned, Problem::Unsigned { .. }), "{unsigned}");
    // If packages are signed instead, metadata may be unsigned; if nothing is signed, the repository must say so.
    let packages = Repository {
        signed: Signed::Packages,
        ..fixture.repository()
    };
    let index = fixture.load(&packages, false).unwrap();
    assert_eq!((names(&index), &index.release.signer), (vec!["one", "two"], &None));
    let no_key = Repository {
        keys: Vec::new(),
        ..packages
    };
    assert!(fixture.load(&no_key, false).unwrap_err().to_string().contains("no key"));
    let trusted = Repository {
        trusted: true,
        ..no_key
    };
    assert_eq!(names(&fixture.load(&trusted, false).unwrap()), ["one", "two"]);
}

#[test]
fn an_index_of_unsigned_size_inflates_to_a_multiple_of_its_length() {
    let fixture = Fixture::new();
    fixture.index("gz");
    let (path, repomd) = (fixture.file("primary"), fixture.repodata("repomd.xml"));
    let good = fs::read(&path).unwrap();
    let mut text = Vec::new();
    flate2::read::MultiGzDecoder::new(&good[..])
        .read_to_end(&mut text)
        .unwrap();
    text.resize(200 << 20, b'\n');
    let bomb = compress(Compression::Gzip, &text);
    let (from, to) = (Sha256::of(&good).to_string(), Sha256::of(&bomb).to_string());
    let named = path.to_str().unwrap().replace(&from, &to);
    fs::write(named, &bomb).unwrap();
    let listed = fs::read_to_string(&repomd).unwrap();
    let size = |bytes: &[u8]| format!("<size>{}</size>", bytes.len());
    let listed = listed.replace(&from, &to).replace(&size(&good), &size(&bomb));
    let unsigned: Vec<_> = listed.lines().filter(|line| !line.contains("<open-")).collect();
    fs::write(repomd, unsigned.join("\n")).unwrap();
    fixture.sign("vendor");
    let problem = fixture.problem();
    let limit = (64 << 20) + 64 * bomb.len();
    assert!(problem.to_string().contains(&limit.to_string()), "{problem}");
}

#[test]
fn what_repomd_does_not_list_is_refused() {
    let fixture = Fixture::new();
    damage(&fixture.file("primary"));
    assert!(matches!(fixture.problem(), Problem::Mismatch { .. }));
    fs::remove_file(fixture.file("primary")).unwrap();
    assert!(matches!(fixture.problem(), Problem::IndexNotFound { .. }));
    fixture.index("gz");
    let change = |from: &str, to: &str| {
        let path = fixture.repodata("repomd.xml");
        let repomd = fs::read_to_string(&path).unwrap();
        assert!(repomd.contains(from), "{from}");
        fs::write(path, repomd.replace(from, to)).unwrap();
        fixture.sign("vendor");
        let problem = fixture.problem();
        fixture.index("gz");
        problem
    };
    // A digest that is right for the compressed form, but not for the decompressed one.
    let problem = change("<open-checksum type=\"sha256\">", "<open-checksum type=\"sha256\">0000");
    assert!(matches!(problem, Problem::Malformed { .. }), "{problem}");
    let problem = change("<open-size>", "<open-size>1");
    assert!(matches!(problem, Problem::Mismatch { .. }), "{problem}");
    let problem = change("type=\"primary\"", "type=\"secondary\"");
    assert!(matches!(problem.own(), Some(RpmProblem::NoIndex { .. })));
    let problem = change("primary.xml.gz", "primary.xml.zck");
    assert!(matches!(problem.own(), Some(RpmProblem::UnknownForm { .. })));
    let problem = change("<checksum type=\"sha256\">", "<checksum type=\"md5\">");
    assert!(
        matches!(problem.own(), Some(RpmProblem::WeakDigest { algorithm, .. }) if algorithm == "md5"),
        "{problem}"
    );
}

#[test]
fn an_older_index_does_not_replace_a_newer_one_and_damage_in_the_cache_heals() {
    let fixture = Fixture::new();
    let newest = fixture.load(&fixture.repository(), false).unwrap();
    let repomd = fs::read_to_string(fixture.repodata("repomd.xml")).unwrap();
    let older: String = repomd
        .lines()
        .map(|line| match line.contains("<timestamp>") {
            true => "<timestamp>1000</timestamp>\n".to_owned(),
            false => format!("{line}\n"),
        })
        .collect();
    fs::write(fixture.repodata("repomd.xml"), older).unwrap();
    fixture.sign("vendor");
    let index = fixture.load(&fixture.repository(), false).unwrap();
    assert_eq!(index.release, newest.release);

    let cache = fs::read_dir(fixture.options(true).metadata_dir)
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let cached = fs::read_dir(cache.path()).unwrap().map(|entry| entry.unwrap().path());
    for path in cached.filter(|path| path.to_str().unwrap().contains("Primary.")) {
        damage(&path);
    }
    let error = fixture.load(&fixture.repository(), true).unwrap_err().to_string();
    assert!(error.contains("offline") && error.contains("primary"), "{error}");
    fixture.index("gz");
    assert_eq!(
        names(&fixture.load(&fixture.repository(), false).unwrap()),
        ["one", "two"]
    );
}

/// Lists of mirrors and the files of mirrors, by URL; any other URL is not found.
#[derive(Debug)]
struct Mirrors {
    root: PathBuf,
    list: String,
}

impl Transport for Mirrors {
    fn get(&self, url: &str, limit_bytes: u64, known: Option<&Validators>) -> Result<Reply, FetchError> {
        if url == "http://lists.example/list" {
            return Ok(Reply::Body {
                bytes: self.list.clone().into_bytes(),
                validators: Validators::default(),
            });
        }
        match url.strip_prefix("http://good.example/os/") {
            Some(path) => fetcher().get(&format!("file://{}/{path}", self.root.display()), limit_bytes, known),
            None => Err(FetchError::NotFound { url: url.to_owned() }),
        }
    }
}

#[test]
fn mirrors_are_tried_one_after_the_other() {
    let fixture = Fixture::new();
    let digest = Sha256::of(fs::read(fixture.repodata("repomd.xml")).unwrap());
    let metalink = |digest: &str| {
        format!(
            "<metalink version=\"3.0\"><files><file name=\"repomd.xml\"><verification><hash type=\"sha256\">{digest}</hash>\
             </verification><resources><url protocol=\"http\" preference=\"99\">http://bad.example/os/repodata/repomd.xml</url>\
             <url protocol=\"http\" preference=\"9\">http://good.example/os/repodata/repomd.xml</url></resources></file></files></metalink>"
        )
    };
    let url = "http://lists.example/list".to_owned();
    let load_with = |list: MirrorList, text: String| {
        let repository = Repository {
            base_url: String::new(),
            mirror_list: Some(list),
            ..fixture.repository()
        };
        let mirrors = Mirrors {
            root: fixture.root(),
            list: text,
        };
        load_one(&repository, &fixture.options(false), &mirrors)
    };
    let plain = "http://bad.example/os\nhttp://good.example/os/\n".to_owned();
    let index = load_with(MirrorList::Plain(url.clone()), plain.clone()).unwrap();
    assert_eq!(
        (names(&index), &*index.base_url),
        (vec!["one", "two"], "http://good.example/os")
    );
    let index = load_with(MirrorList::Metalink(url.clone()), metalink(&digest.to_string())).unwrap();
    assert_eq!(names(&index), ["one", "two"]);
    let other = Sha256::of("other").to_string();
    let error = load_with(MirrorList::Metalink(url.clone()), metalink(&other)).unwrap_err();
    assert!(
        error.to_string().contains("bad.example"),
        "the first mirror's problem: {error}"
    );
    let found = |list: &str| {
        let mirrors = Mirrors {
            root: fixture.root(),
            list: list.to_owned(),
        };
        locate("test", &MirrorList::Plain(url.clone()), &mirrors)
    };
    assert_eq!(found(&plain).unwrap(), "http://good.example/os");
    let error = found("http://gone.example/os").unwrap_err().to_string();
    assert!(error.contains("test") && error.contains("names no mirror"), "{error}");
    let error = load_with(MirrorList::Plain(url.clone()), String::new()).unwrap_err();
    assert!(error.to_string().contains("names no mirror"), "{error}");
}

#[test]
fn metadata_and_packages_have_digests_of_the_whole_family() {
    let fixture = Fixture::new();
    for (algorithm, digits) in [("sha224", 56), ("sha384", 96), ("sha512", 128)] {
        fixture.index_with(&["--repomd-checksum", algorithm]);
        let index = fixture.load(&fixture.repository(), false).unwrap();
        assert_eq!(names(&index), ["one", "two"], "{algorithm}");
        let again = fixture.load(&fixture.repository(), true).unwrap();
        assert!(again.from_cache, "{algorithm}");
        let kept = fs::read_dir(fixture.options(true).metadata_dir)
            .unwrap()
            .next()
            .unwrap();
        let kept = fs::read_dir(kept.unwrap().path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let kept: Vec<_> = kept.filter_map(|name| name.into_string().ok()).collect();
        let index = kept.iter().find_map(|name| name.strip_prefix("Primary.")).unwrap();
        assert_eq!(index.split('.').next().unwrap().len(), digits, "{kept:?}");
        let path = fixture.repodata("repomd.xml");
        let repomd = fs::read_to_string(&path).unwrap();
        let listed = format!("<checksum type=\"{algorithm}\">");
        fs::write(&path, repomd.replace(&listed, &format!("{listed}0"))).unwrap();
        fixture.sign("vendor");
        let problem = fixture.problem();
        assert!(matches!(problem, Problem::Malformed { .. }), "{problem}");
    }
    fixture.index_with(&["--repomd-checksum", "sha1"]);
    let problem = fixture.problem();
    assert!(problem.to_string().contains("by \"sha1\" only"), "{problem}");
    fixture.index_with(&["--checksum", "sha512"]);
    let index = fixture.load(&fixture.repository(), false).unwrap();
    assert_eq!(names(&index), ["one", "two"]);
    let mut records = index.records.iter();
    assert!(records.all(|record| record.checksum.algorithm() == Algorithm::Sha512));
    // Packages that are listed by a digest that is not trusted are not offered.
    fixture.index_with(&["--checksum", "sha1", "--repomd-checksum", "sha256"]);
    let index = fixture.load(&fixture.repository(), false).unwrap();
    assert_eq!(names(&index), [""; 0]);
}

#[test]
fn several_repositories_load_at_once_and_modules_are_told() {
    let fixture = Fixture::new();
    let path = fixture.repodata("repomd.xml");
    let repomd = fs::read_to_string(&path).unwrap();
    let modules = "<data type=\"modules\"><location href=\"repodata/modules.yaml\"/></data></repomd>";
    fs::write(&path, repomd.replace("</repomd>", modules)).unwrap();
    fixture.sign("vendor");
    let repositories: Vec<_> = ["a", "b"]
        .map(|id| Repository {
            id: id.to_owned(),
            filter: PackageFilter {
                allow: vec!["t*".to_owned()],
                exclude: Vec::new(),
            },
            ..fixture.repository()
        })
        .into();
    let (fetcher, cancel) = (fetcher(), Cancel::default());
    let loader = loader(fixture.options(false), &fetcher, &cancel);
    let loaded = loader.load_all::<Rpm>(&repositories).unwrap();
    assert_eq!((names(&loaded[0]), &*loaded[1].repository_id), (vec!["two"], "b"));
    assert!(loaded[0].notes[0].contains("module streams"));
}
