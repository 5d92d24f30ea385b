//! Hostile packages: unpacked as into a base, in a process of their own, and installed by a build, correctly signed.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use oic::archive::deb::{self, Deb};
use oic::archive::rpm;
use oic::archive::unpack::UnpackOptions;
use oic_testkit::tiny::Distribution;
use oic_testkit::tool;

use crate::ground::Ground;
use crate::packages::{self, Hostile};
use crate::program::Running;
use crate::tally::{Fault, Tally};

/// The word by which this program unpacks a package: `__unpack FILE DIRECTORY`.
pub const COMMAND: &str = "__unpack";
const DIRECTORY: &str = "/usr/share/hostile-hostile-hostile-hostile-hostile-hostile-hostile-hostile-hostile-hostile";

/// Unpacks a package as oic does.
pub fn unpack(arguments: &[String]) -> ExitCode {
    let [file, directory] = arguments else {
        return ExitCode::from(2);
    };
    let (file, root) = (Path::new(file), File::open(directory).unwrap());
    let options = UnpackOptions::default();
    let unpacked = match file.extension().is_some_and(|end| end == "rpm") {
        true => rpm::extract(file, root.as_fd(), &options).map(drop),
        false => Deb::open(file)
            .and_then(|mut package| deb::extract(&mut package, root.as_fd(), &options))
            .map(drop),
    };
    match unpacked {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The directories of the chapter: what must not change, and a root beside it.
struct Place {
    directory: PathBuf,
}

impl Place {
    fn new(ground: &Ground) -> Self {
        let place = Self {
            directory: ground.directory().join("hostile"),
        };
        fs::create_dir_all(place.outside()).unwrap();
        fs::write(place.outside().join("canary"), "alive\n").unwrap();
        place
    }

    fn outside(&self) -> PathBuf {
        self.directory.join("outside")
    }

    /// Returns an empty root.
    fn root(&self) -> PathBuf {
        let root = self.directory.join("root");
        oic::durable::remove_tree(&root).unwrap();
        fs::create_dir(&root).unwrap();
        root
    }

    /// Checks that nothing outside of the root was touched.
    fn check(&self, tally: &mut Tally, case: &str) {
        let names = tool(
            "ls",
            &["-lAi".as_ref(), "--time-style=+".as_ref(), self.outside().as_os_str()],
        );
        let is_one = names
            .lines()
            .filter(|line| line.contains(" 1 root root ") && line.contains("canary"))
            .count()
            == 1;
        let text = fs::read_to_string(self.outside().join("canary")).unwrap_or_default();
        if !is_one || names.lines().count() != 2 || text != "alive\n" {
            tally.fault(Fault::WrongBytes, format!("{case}: outside of the root: {names}"));
        }
    }
}

/// Offers hostile packages.
pub fn chapter(ground: &Ground) -> Tally {
    let place = Place::new(ground);
    let mut random = ground.random("hostile");
    let mut all: Vec<(&str, Hostile)> = Vec::new();
    all.extend(
        packages::debs(&place.outside())
            .into_iter()
            .map(|package| ("deb", package)),
    );
    all.extend(rpms(&place).into_iter().map(|package| ("rpm", package)));
    random.shuffle(&mut all);
    let installed = usize::try_from(ground.scale.count(2, 1000)).unwrap();
    let to_install: Vec<_> = all
        .iter()
        .filter(|(kind, _)| *kind == "deb")
        .take(installed)
        .cloned()
        .collect();
    let mut tally = Tally::of((all.len() + to_install.len()) as u64);
    for (kind, (name, bytes)) in &all {
        if !tally.goes_on(&ground.scale) {
            break;
        }
        let case = format!("a .{kind} with {name}");
        tally.attempts(1);
        let path = place.directory.join(format!("package.{kind}"));
        fs::write(&path, bytes).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(COMMAND).arg(&path).arg(place.root());
        let ended = Running::start(command, ground.directory()).end();
        ground.check_end(&mut tally, &case, &ended, &[Some(0), Some(1)]);
        if ended.code == Some(1) && !ended.stderr.contains("package.") {
            tally.fault(
                Fault::WrongCode,
                format!("{case}: does not name the package: {}", ended.stderr),
            );
        }
        place.check(&mut tally, &case);
    }
    install(ground, &mut tally, &place, &to_install);
    tally
}

/// Builds with each package in the place of a harmless one, from a mirror that signs it.
fn install(ground: &Ground, tally: &mut Tally, place: &Place, all: &[(&str, Hostile)]) {
    let site = ground.site("hostile-site");
    let archive = place.directory.join("archive");
    oic::durable::remove_tree(&archive).unwrap();
    let from = ground.distribution.archive();
    tool(
        "cp",
        &[
            "-a".as_ref(),
            "--reflink=auto".as_ref(),
            from.as_os_str(),
            archive.as_os_str(),
        ],
    );
    let good = fs::read_to_string(archive.join("dists/tiny/main/binary-amd64/Packages")).unwrap();
    let others: String = good
        .split_inclusive("\n\n")
        .filter(|stanza| !stanza.starts_with(&format!("Package: {}\n", packages::NAME)))
        .collect();
    let file = archive.join(format!("pool/{}.deb", packages::NAME));
    for (_, (name, bytes)) in all {
        if !tally.goes_on(&ground.scale) {
            return;
        }
        tally.attempts(1);
        let case = format!("a build with a .deb with {name}");
        fs::write(&file, bytes).unwrap();
        let own = format!(
            "Package: {0}\nVersion: 9.0\nArchitecture: amd64\nFilename: pool/{0}.deb\nSize: {1}\nSHA256: {2}\n\
             Description: hostile\n\n",
            packages::NAME,
            bytes.len(),
            oic_testkit::sha256(bytes)
        );
        ground.distribution.sign(&archive, &(own + &others));
        let server = Distribution::serve(&archive);
        let template = ground.template();
        let mut command = ground.command(&site, &["build", template.to_str().unwrap()]);
        command.env("OIC_MIRROR_DEBIAN", server.url(""));
        let ended = Running::start(command, ground.directory()).end();
        ground.check_end(tally, &case, &ended, &[Some(0), Some(1)]);
        if ended.code == Some(1) && !ended.stderr.contains(packages::NAME) {
            tally.fault(
                Fault::WrongCode,
                format!("{case}: does not name the package: {}", ended.stderr),
            );
        }
        ground.check_leftovers(tally, &case, &site, true);
        place.check(tally, &case);
    }
    ground.check_build(tally, "after all hostile packages", &site);
}

/// Makes a sound package with rpmbuild, and hostile ones of it.
fn rpms(place: &Place) -> Vec<Hostile> {
    let top = place.directory.join("rpmbuild");
    fs::create_dir_all(&top).unwrap();
    let spec = top.join("hostile.spec");
    let text = format!(
        "Name: hostile\nVersion: 1\nRelease: 1\nSummary: Hostile\nLicense: MIT\nBuildArch: noarch\n%description\n\
         Hostile.\n%install\nmkdir -p %{{buildroot}}{DIRECTORY}\nseq 5000 > %{{buildroot}}{DIRECTORY}/evil\n\
         %files\n{DIRECTORY}/evil\n"
    );
    fs::write(&spec, text).unwrap();
    let top = format!("_topdir {}", top.display());
    let args = [
        "-bb",
        "--quiet",
        "--nodeps",
        "--define",
        &top,
        "--define",
        "_build_id_links none",
        "--define",
    ];
    tool(
        "rpmbuild",
        &[&args[..], &["debug_package %{nil}", spec.to_str().unwrap()]].concat(),
    );
    let path = place.directory.join("rpmbuild/RPMS/noarch/hostile-1-1.noarch.rpm");
    let good = fs::read(path).unwrap();
    let fill = |start: String| format!("{start}{}", "/".repeat(DIRECTORY.len() - start.len()));
    let outside = place.outside().display().to_string();
    let up = format!("{}etc", "/..".repeat(DIRECTORY.len() / 3 - 2) + "/");
    let directories = [
        up,
        "/usr/share/../../../../../../etc".to_owned(),
        "relative".to_owned(),
        "/usr/share/new\nline".to_owned(),
        outside.chars().take(DIRECTORY.len()).collect(),
        "/proc/self/cwd".to_owned(),
    ];
    let directories: Vec<_> = directories.into_iter().map(fill).collect();
    packages::rpms(&good, (DIRECTORY, &directories))
}
