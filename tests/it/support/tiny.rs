//! The program over the tiny distribution of `oic_testkit::tiny`.

use std::path::{Path, PathBuf};
use std::process::Command;

use oic_testkit::server::Server;
use oic_testkit::tiny::{Distribution, IMAGE, PROVIDER};
use oic_testkit::{Finished, tool};

use super::mirror;
use super::program::Oic;

/// The program, its directories, and a mirror of the distribution.
pub struct Tiny {
    pub oic: Oic,
    /// A template of one image.
    pub template: PathBuf,
    distribution: Distribution,
    server: Server,
}

impl Tiny {
    /// Names empty directories for the test `name`.
    pub fn new(name: &str) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_oic"));
        let distribution = Distribution::get(program, &mirror::variables());
        let oic = Oic::new(name);
        Self {
            template: Distribution::template(&oic.work_dir, IMAGE, "[hello]"),
            server: Distribution::serve(&distribution.archive()),
            distribution,
            oic,
        }
    }

    /// Does the same as [`Self::new`]; the mirror lists its indexes and packages by SHA-512 alone.
    pub fn by_sha512(name: &str) -> Self {
        let tiny = Self::new(name);
        let archive = tiny.oic.work_dir.join("archive");
        let own = tiny.distribution.archive();
        tool("cp", &["-a".as_ref(), own.as_os_str(), archive.as_os_str()]);
        tiny.distribution.publish_by_sha512(&archive);
        Self {
            server: Distribution::serve(&archive),
            ..tiny
        }
    }

    /// Returns the value of `OIC_CONFIG_DIR` with which oic knows the distribution.
    pub fn config_dir(&self) -> PathBuf {
        self.distribution.config_dir()
    }

    /// Runs the program to its end in these directories: the cache and the work directory.
    pub fn run(&self, args: &[&str], directories: [&Path; 2]) -> Finished {
        Finished::of(&self.command(args, directories).output().unwrap())
    }

    /// Returns a command line in these directories: the cache and the work directory.
    pub fn command(&self, args: &[&str], directories: [&Path; 2]) -> Command {
        let oic = Oic {
            cache_dir: directories[0].to_owned(),
            work_dir: directories[1].to_owned(),
        };
        let mut command = oic.command(args);
        command
            .env("OIC_CONFIG_DIR", self.distribution.config_dir())
            .env("OIC_MIRROR_DEBIAN", self.server.url(""));
        if let Some(temporary) = directories[0].parent().map(|parent| parent.join("temp"))
            && temporary.exists()
        {
            command.env("OIC_TEMP_DIR", temporary);
        }
        command
    }

    /// Builds the image in these directories: the cache and the work directory.
    pub fn build(&self, directories: [&Path; 2]) -> Finished {
        self.run(
            &["build", self.template.to_str().unwrap(), "--format", "json"],
            directories,
        )
    }
}

/// Returns the directory of the provider below a work directory.
pub fn provider_dir(work: &Path) -> PathBuf {
    work.join(PROVIDER)
}
