//! The ground of the campaign: a program of its own, directories, a mirror, and the checks after each attempt.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use oic_testkit::disk::loop_devices;
use oic_testkit::server::Server;
use oic_testkit::tiny::{Distribution, IMAGE, PROVIDER};
use oic_testkit::{soon, tool};

use crate::program::{Ended, Running, processes_of};
use crate::random::Random;
use crate::tally::{Fault, Tally};

/// How much the campaign tries, and until when.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Whether this is the short form.
    pub is_short: bool,
    /// The seed of all that is drawn.
    pub seed: u64,
    /// When the chapter ends, whatever it has tried by then.
    pub until: Instant,
}

impl Scale {
    /// Chooses the number of attempts.
    pub fn count(&self, short: u64, long: u64) -> u64 {
        if self.is_short { short } else { long }
    }

    /// Returns whether there is time for another attempt.
    pub fn has_time(&self) -> bool {
        Instant::now() < self.until
    }
}

/// What every chapter stands on.
pub struct Ground {
    /// How much is tried.
    pub scale: Scale,
    /// The distribution whose images are built.
    pub distribution: Distribution,
    /// Its mirror, which behaves.
    pub mirror: Server,
    /// A copy of the program: its processes are known by it.
    pub program: PathBuf,
    directory: PathBuf,
    /// A cache and a work directory after a build; nothing touches them.
    reference: Site,
    sha256: String,
}

/// A cache and a work directory.
#[derive(Debug, Clone)]
pub struct Site {
    /// The parent of both.
    pub root: PathBuf,
}

impl Site {
    /// Returns the directory of the package cache.
    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// Returns the work directory.
    pub fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// Returns the directory of the provider in the work directory.
    pub fn provider(&self) -> PathBuf {
        self.work().join(PROVIDER)
    }

    /// Returns the package cache of the provider.
    pub fn packages(&self) -> PathBuf {
        self.cache().join("pkgCache").join(PROVIDER)
    }

    /// Removes files or directories of the provider, where they exist.
    pub fn forget(&self, names: &[&str]) {
        for name in names {
            let path = self.provider().join(name);
            let _ = fs::remove_dir_all(&path);
            let _ = fs::remove_file(&path);
        }
    }
}

impl Ground {
    /// Prepares the ground with `program`; `variables` name the Debian mirror of the host.
    pub fn new(scale: Scale, program: &Path, variables: &[(&'static str, String)]) -> Self {
        let distribution = Distribution::get(program, variables);
        let directory = oic_testkit::temporary().join("campaign");
        // What an earlier campaign left when it was killed; its mounts went with its namespace.
        oic::durable::remove_tree(&directory).unwrap();
        fs::create_dir_all(&directory).unwrap();
        let own = directory.join("oic");
        fs::copy(program, &own).unwrap();
        let mut ground = Self {
            scale,
            mirror: Distribution::serve(&distribution.archive()),
            distribution,
            program: own,
            reference: Site {
                root: directory.join("reference"),
            },
            directory,
            sha256: String::new(),
        };
        Distribution::template(&ground.directory, IMAGE, "[hello]");
        let built = ground.build(&ground.reference);
        assert_eq!(built.code, Some(0), "the first build: {}", built.stderr);
        ground.sha256 = built.field("/image/sha256");
        ground
    }

    /// Returns the directory for the files of the campaign.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the template of the image that chapters build.
    pub fn template(&self) -> PathBuf {
        self.directory.join(format!("{IMAGE}.yml"))
    }

    /// Returns the numbers of the chapter `name`.
    pub fn random(&self, name: &str) -> Random {
        Random::of(self.scale.seed, name)
    }

    /// Returns a copy of the reference below `parent`, in the place of an older one.
    pub fn site_in(&self, parent: &Path) -> Site {
        let site = Site {
            root: parent.join("site"),
        };
        oic::durable::remove_tree(&site.root).unwrap();
        fs::create_dir_all(&site.root).unwrap();
        let from = self.reference.root.join(".");
        let args = ["-a", "--reflink=auto"].map(std::ffi::OsStr::new);
        tool("cp", &[&args[..], &[from.as_os_str(), site.root.as_os_str()]].concat());
        site
    }

    /// Returns a copy of the reference for the chapter `name`.
    pub fn site(&self, name: &str) -> Site {
        self.site_in(&self.directory.join(name))
    }

    /// Prepares a command over `site`, with nothing of the caller's environment.
    pub fn command(&self, site: &Site, args: &[&str]) -> Command {
        // The campaign itself may run under nohup(1): oic would ignore a hangup, too.
        let mut command = Command::new("/usr/bin/env");
        command
            .arg("--default-signal=HUP")
            .arg(&self.program)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("OIC_CONFIG_DIR", self.distribution.config_dir())
            .env("OIC_MIRROR_DEBIAN", self.mirror.url(""))
            .args(args)
            .arg("--cache-dir")
            .arg(site.cache())
            .arg("--work-dir")
            .arg(site.work());
        command
    }

    /// Starts a command over `site`.
    pub fn start(&self, site: &Site, args: &[&str]) -> Running {
        Running::start(self.command(site, args), &self.directory)
    }

    /// Runs a command over `site` to its end.
    pub fn run(&self, site: &Site, args: &[&str]) -> Ended {
        self.start(site, args).end()
    }

    /// Builds the image over `site`.
    pub fn build(&self, site: &Site) -> Ended {
        self.run(site, &["build", self.template().to_str().unwrap(), "--format", "json"])
    }

    /// Checks what holds for every command: it ends, it does not panic, and it ends with one of `codes` (`None` stands
    /// for a signal); an error has a message. Returns whether all of it holds.
    pub fn check_end(&self, tally: &mut Tally, case: &str, ended: &Ended, codes: &[Option<i32>]) -> bool {
        if ended.hung {
            tally.fault(Fault::Hang, format!("{case}: {}", ended.stderr));
            return false;
        }
        if ended.stderr.contains("panicked at") || ended.code == Some(101) {
            tally.fault(Fault::Panic, format!("{case}: {}", ended.stderr));
            return false;
        }
        let silent = ended.code == Some(1) && !ended.stderr.contains("error:");
        if !codes.contains(&ended.code) || silent {
            tally.fault(
                Fault::WrongCode,
                format!("{case}: code {:?}: {}", ended.code, ended.stderr),
            );
            return false;
        }
        true
    }

    /// Checks that a build over `site` gives the right image.
    pub fn check_build(&self, tally: &mut Tally, case: &str, site: &Site) {
        let built = self.build(site);
        let case = format!("{case}, the build after it");
        if self.check_end(tally, &case, &built, &[Some(0)]) {
            self.check_image(tally, &case, site, &built);
        }
    }

    /// Checks that the image of a build that succeeded is the right one, by its report and by its bytes.
    pub fn check_image(&self, tally: &mut Tally, case: &str, site: &Site, built: &Ended) {
        let sha256 = built.field("/image/sha256");
        let image = format!("imagebuild/{IMAGE}/tiny-13.raw");
        let [own, right] = [site, &self.reference].map(|site| site.provider().join(&image));
        let same = Command::new("cmp").arg("-s").arg(own).arg(right).status().unwrap();
        if sha256 != self.sha256 || !same.success() {
            tally.fault(Fault::WrongBytes, format!("{case}: the image is {sha256}, {same}"));
        }
    }

    /// Checks that nothing is left: no process, no mount, no loop device, and, unless a kill excuses them until the next
    /// command, no temporaries below `site`.
    pub fn check_leftovers(&self, tally: &mut Tally, case: &str, site: &Site, temporaries: bool) {
        self.check_leftovers_beside(tally, case, site, temporaries, 0);
    }

    /// Does the same as [`Self::check_leftovers`] where `own` mounts below `site` are those of the chapter.
    pub fn check_leftovers_beside(&self, tally: &mut Tally, case: &str, site: &Site, temporaries: bool, own: usize) {
        if !soon(|| processes_of(&self.program).is_empty()) {
            let left = processes_of(&self.program);
            tally.fault(Fault::Leftover, format!("{case}: processes {left:?}"));
            for number in left {
                let number = nix::unistd::Pid::from_raw(number.try_into().unwrap());
                let _ = nix::sys::signal::kill(number, nix::sys::signal::Signal::SIGKILL);
            }
        }
        let mounts = self.mounts_below(site);
        if mounts.len() > own {
            tally.fault(Fault::Leftover, format!("{case}: mounts {mounts:?}"));
            mounts
                .iter()
                .skip(own)
                .rev()
                .for_each(|at| drop(Command::new("umount").arg("-l").arg(at).status()));
        }
        let loops = loop_devices(&site.root);
        if !loops.is_empty() {
            tally.fault(Fault::Leftover, format!("{case}: loop devices {loops:?}"));
        }
        if temporaries {
            let left = temporaries_below(&site.root);
            if !left.is_empty() {
                tally.fault(Fault::Leftover, format!("{case}: temporaries {left}"));
            }
        }
    }

    /// Lists the mount points strictly below the root of `site`.
    fn mounts_below(&self, site: &Site) -> Vec<String> {
        let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let places = table.lines().filter_map(|line| line.split(' ').nth(4));
        let below = places.filter(|place| Path::new(place).starts_with(&site.root) && Path::new(place) != site.root);
        below.map(str::to_owned).collect()
    }

    /// Measures the time that a command takes, at least a tenth of a second.
    pub fn measure(&self, site: &Site, args: &[&str]) -> Duration {
        self.run(site, args).took.max(Duration::from_millis(100))
    }
}

/// Lists temporaries; those of downloads that go on where they stopped do not count.
fn temporaries_below(root: &Path) -> String {
    let args = ["-name", ".oic-tmp-*", "-not", "-name", ".oic-tmp-part-*"].map(std::ffi::OsStr::new);
    tool("find", &[&[root.as_os_str()], &args[..]].concat()).replace('\n', " ")
}
