//! What the process finds around it: configuration, variables, the host's apt sources.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::config::{Config, Flags, Layers, Origin as Setter};
use crate::fetch::Proxies;
use crate::provider::mirror::{Mirrors, Origin};
use crate::repo::sources;

use super::error::CommandError;
use super::{GlobalOptions, logging};

/// Where apt keeps its sources.
const ETC_APT: &str = "/etc/apt";

/// Settings from all layers.
#[derive(Debug)]
pub struct Environment {
    config: Config,
    /// The user's `OIC_*` variables.
    variables: Vec<(OsString, OsString)>,
}

impl Environment {
    /// Reads configuration and environment, and starts logging.
    ///
    /// # Errors
    /// All findings at once.
    pub fn load(global: &GlobalOptions, workers: Option<u64>) -> Result<Self, CommandError> {
        let is_ours = |name: &OsString| name.as_encoded_bytes().starts_with(b"OIC_");
        let variables: Vec<_> = env::vars_os().filter(|(name, _)| is_ours(name)).collect();
        let layers = Layers {
            file: global.config.clone(),
            home: env::var_os("HOME").map(PathBuf::from),
            environment: variables.clone(),
            flags: Flags {
                cache_dir: global.cache_dir.clone(),
                work_dir: global.work_dir.clone(),
                workers: workers.map(|workers| workers.to_string()),
                log_level: global.level().map(str::to_owned),
                log_file: global.log_file.clone(),
            },
        };
        let config = Config::load(&layers).map_err(|findings| {
            CommandError::failed(format!(
                "the configuration cannot be used\n\n{}",
                findings.to_string().trim_end()
            ))
        })?;
        let level = config.log_level.value;
        let asked = config.log_level.origin != Setter::Default;
        logging::start(asked.then_some(level), config.log_file.value.as_deref())?;
        for warning in config.warnings.iter() {
            anstream::eprintln!("{warning}");
        }
        Ok(Self { config, variables })
    }

    /// Everything that is set, with where it comes from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Directory for short-lived files; empty means the system's.
    pub fn temp_dir(&self) -> PathBuf {
        match self.config.temp_dir.value.as_os_str().is_empty() {
            true => env::temp_dir(),
            false => absolute(&self.config.temp_dir.value),
        }
    }

    /// Directory of the package cache, absolute.
    pub fn cache_dir(&self) -> PathBuf {
        absolute(&self.config.cache_dir.value)
    }

    /// Directory of bases and images, absolute.
    pub fn work_dir(&self) -> PathBuf {
        absolute(&self.config.work_dir.value)
    }

    /// Directory of the user's own provider data, absolute.
    pub fn config_dir(&self) -> Option<PathBuf> {
        self.config.config_dir.value.as_deref().map(absolute)
    }

    /// `OIC_VAR_NAME=VALUE` as `(NAME, VALUE)`.
    pub fn template_variables(&self) -> Vec<(String, String)> {
        let text = |(name, value): &(OsString, OsString)| {
            let name = name.to_str()?.strip_prefix("OIC_VAR_")?;
            Some((name.to_owned(), value.to_str()?.to_owned()))
        };
        self.variables.iter().filter_map(text).collect()
    }

    /// Downloads at once.
    pub fn workers(&self) -> usize {
        usize::from(self.config.workers.value)
    }

    /// Where packages may come from, in the order of precedence.
    ///
    /// # Errors
    /// If one of them is no URL.
    pub fn mirrors(&self, flags: &[String]) -> Result<Mirrors, CommandError> {
        let mut mirrors = Mirrors::new();
        for flag in flags {
            mirrors.add_flag(flag).map_err(CommandError::usage)?;
        }
        mirrors.add_environment(&self.variables).map_err(CommandError::failed)?;
        for (archive, url) in &self.config.mirrors {
            mirrors
                .add_archive(archive, &url.value, Origin::Config)
                .map_err(CommandError::failed)?;
        }
        let host = sources::debian_mirrors(Path::new(ETC_APT));
        for (archive, url) in [("debian", host.debian), ("debian-security", host.debian_security)] {
            if let Some(url) = url {
                mirrors
                    .add_archive(archive, &url, Origin::Host)
                    .map_err(CommandError::failed)?;
            }
        }
        Ok(mirrors)
    }

    /// Proxies, from the variables that curl and apt know too.
    pub fn proxies(&self) -> Proxies {
        let first = |names: [&str; 2]| {
            names
                .iter()
                .find_map(|name| env::var(name).ok())
                .filter(|value| !value.is_empty())
        };
        Proxies {
            // Upper-case HTTP_PROXY can come from a request's header when a CGI runs us.
            http: first(["http_proxy", "all_proxy"]),
            https: first(["https_proxy", "HTTPS_PROXY"]),
            exceptions: first(["no_proxy", "NO_PROXY"]),
        }
    }

    /// `SOURCE_DATE_EPOCH` in seconds (reproducible-builds.org/specs/source-date-epoch).
    ///
    /// # Errors
    /// If it is set and no number.
    pub fn source_date_epoch(&self) -> Result<Option<u64>, CommandError> {
        let Ok(text) = env::var("SOURCE_DATE_EPOCH") else {
            return Ok(None);
        };
        match text.parse() {
            Ok(seconds) => Ok(Some(seconds)),
            Err(_) => Err(CommandError::failed(format!(
                "SOURCE_DATE_EPOCH is {text:?}, not a number of seconds"
            ))),
        }
    }
}

/// Threads of work that takes a processor, unless the user says how many.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn absolute(path: &Path) -> PathBuf {
    // Only an empty path or a vanished working directory has no absolute form.
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
