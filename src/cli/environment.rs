//! The process's surroundings: configuration, variables, the host's apt sources.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::{Config, Layers, Origin as Setter, RawDigest};
use crate::date;
use crate::fetch::{Network, Proxies};
use crate::pipeline::SigningMeans;
use crate::provider::mirror::{Mirrors, Origin};
use crate::repo::sources;

use super::error::{CommandError, tell};
use super::{GlobalOptions, certificates, credentials, logging, trust};

/// The directory of apt's sources.
const ETC_APT: &str = "/etc/apt";

/// The settings from all layers.
#[derive(Debug)]
pub struct Environment {
    config: Config,
    /// The user's `OIC_*` variables.
    variables: Vec<(OsString, OsString)>,
    /// Fingerprints that the user trusts with this command.
    trusted: Vec<String>,
}

impl Environment {
    /// Reads configuration and environment, and starts logging.
    ///
    /// # Errors
    /// All findings at once.
    pub fn load(global: &GlobalOptions, workers: Option<u64>) -> Result<Self, CommandError> {
        let environment = Self::read(global, workers)?;
        let config = &environment.config;
        let level = config.log_level.value;
        let asked = config.log_level.origin != Setter::Default;
        logging::start(asked.then_some(level), config.log_file.value.as_deref())?;
        for warning in config.warnings.iter() {
            tell(warning);
        }
        Ok(environment)
    }

    /// Reads configuration and environment.
    ///
    /// # Errors
    /// All findings at once.
    pub fn read(global: &GlobalOptions, workers: Option<u64>) -> Result<Self, CommandError> {
        let is_ours = |name: &OsString| name.as_encoded_bytes().starts_with(b"OIC_");
        let variables: Vec<_> = env::vars_os().filter(|(name, _)| is_ours(name)).collect();
        let workers = workers.map(|workers| ("--workers", workers.to_string().into()));
        let layers = Layers {
            file: global.config.clone(),
            home: env::var_os("HOME").map(PathBuf::from),
            environment: variables.clone(),
            flags: global.flags().into_iter().chain(workers).collect(),
        };
        let config = Config::load(&layers).map_err(|findings| {
            CommandError::failed(format!(
                "the configuration cannot be used\n\n{}",
                findings.to_string().trim_end()
            ))
        })?;
        Ok(Self {
            config,
            variables,
            trusted: global.trust_key.clone(),
        })
    }

    /// Gives all settings with their origins.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Gives the directory for short-lived files; empty means the system's.
    pub fn temp_dir(&self) -> PathBuf {
        let directory = &self.config.temp_dir.value;
        if directory.as_os_str().is_empty() {
            env::temp_dir()
        } else {
            absolute(directory)
        }
    }

    /// Gives the directory of the package cache, absolute.
    pub fn cache_dir(&self) -> PathBuf {
        absolute(&self.config.cache_dir.value)
    }

    /// Gives the directory of bases and images, absolute.
    pub fn work_dir(&self) -> PathBuf {
        absolute(&self.config.work_dir.value)
    }

    /// Gives the directory of the user's own provider data, absolute.
    pub fn config_dir(&self) -> Option<PathBuf> {
        self.config.config_dir.value.as_deref().map(absolute)
    }

    /// Gives the fingerprints of keys that the user trusts, and remembers those of this command.
    ///
    /// # Errors
    /// If one of them is none, or they cannot be read or written.
    pub fn trusted_keys(&self) -> Result<Vec<String>, CommandError> {
        let home = env::var_os("HOME").map(PathBuf::from);
        trust::keys(home.as_deref(), &self.trusted)
    }

    /// Lists the variables of templates, `OIC_VAR_NAME=VALUE`, as `(NAME, VALUE)`.
    pub fn template_variables(&self) -> Vec<(String, String)> {
        let text = |(name, value): &(OsString, OsString)| {
            let name = name.to_str()?.strip_prefix("OIC_VAR_")?;
            Some((name.to_owned(), value.to_str()?.to_owned()))
        };
        self.variables.iter().filter_map(text).collect()
    }

    /// Says whether the SHA-256 of delivered raw images is wanted.
    pub fn wants_sha256(&self) -> bool {
        self.config.digest.value == RawDigest::Sha256
    }

    /// Returns whether a long build notifies the desktop at its end.
    pub fn wants_notification(&self) -> bool {
        self.config.notify.value
    }

    /// Gives what a build can sign with: the sign command, and the credentials of the service manager (systemd.exec(5),
    /// "CREDENTIALS_DIRECTORY").
    pub fn signing(&self) -> SigningMeans {
        let directory = env::var_os("CREDENTIALS_DIRECTORY").filter(|path| !path.is_empty());
        SigningMeans {
            command: self.config.sign_command.value.clone(),
            credentials: directory.map(PathBuf::from),
        }
    }

    /// Gives the number of parallel downloads.
    pub fn workers(&self) -> usize {
        usize::from(self.config.workers.value)
    }

    /// Lists the mirrors that packages may come from, in the order of precedence.
    ///
    /// # Errors
    /// If one of them is no URL.
    pub fn mirrors(&self, flags: &[String]) -> Result<Mirrors, CommandError> {
        let mut mirrors = Mirrors::new();
        for flag in flags {
            let named = mirrors.add_flag(flag);
            named.map_err(|error| CommandError::usage(format!("--mirror: {error}")))?;
        }
        mirrors.add_environment(&self.variables)?;
        for (archive, url) in &self.config.mirrors {
            mirrors.add_archive(archive, &url.value, Origin::Config)?;
        }
        let host = sources::debian_mirrors(Path::new(ETC_APT));
        for (archive, url) in [("debian", host.debian), ("debian-security", host.debian_security)] {
            if let Some(url) = url {
                mirrors.add_archive(archive, &url, Origin::Host)?;
            }
        }
        Ok(mirrors)
    }

    /// Gives the way to servers: the proxies of the variables that curl and apt use too, all credentials and certificates.
    pub fn network(&self, mirrors: &Mirrors) -> Network {
        let mut credentials = mirrors.credentials().clone();
        credentials.extend(credentials::read(&self.variables));
        Network {
            proxies: Proxies::from_variables(|name| env::var(name).ok()),
            credentials,
            certificates: certificates::read(&self.variables),
        }
    }

    /// Reads `SOURCE_DATE_EPOCH` in seconds (reproducible-builds.org/specs/source-date-epoch).
    ///
    /// # Errors
    /// If it is set and not a number, or later than now.
    pub fn source_date_epoch(&self) -> Result<Option<u64>, CommandError> {
        let Some(text) = env::var_os("SOURCE_DATE_EPOCH") else {
            return Ok(None);
        };
        past_seconds(&text.to_string_lossy(), SystemTime::now()).map(Some)
    }
}

/// The least number that is taken for milliseconds; as seconds it means the year 5138.
const FIRST_MILLISECONDS: u64 = 100_000_000_000;

/// Parses the value `text` of `SOURCE_DATE_EPOCH`, which must not be later than `now`.
fn past_seconds(text: &str, now: SystemTime) -> Result<u64, CommandError> {
    let Ok(seconds) = text.parse::<u64>() else {
        let message = format!("SOURCE_DATE_EPOCH is {text:?}, not a number of seconds");
        return Err(CommandError::failed(message).hint(Some("give the seconds since 1970, as `date +%s` prints them")));
    };
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if seconds <= now {
        return Ok(seconds);
    }
    let show = |seconds: u64| date::show(i64::try_from(seconds).unwrap_or(i64::MAX));
    let message = format!(
        "SOURCE_DATE_EPOCH is {seconds}, which is {}; the clock of this host says {}, and no time in an image may be later",
        show(seconds),
        show(now)
    );
    let hint = match (FIRST_MILLISECONDS..=now.saturating_mul(1000)).contains(&seconds) {
        true => "give seconds, not milliseconds",
        false => "give a time in the past, or set the clock of this host",
    };
    Err(CommandError::failed(message).hint(Some(hint)))
}

/// Gives the number of threads for work that takes a processor, unless the user sets it.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn absolute(path: &Path) -> PathBuf {
    // Only an empty path or a vanished working directory has no absolute form.
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn no_time_of_an_image_is_in_the_future() {
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for (text, expected) in [
            ("0", Ok(0)),
            ("1700000000", Ok(1_700_000_000)),
            ("1700000001", Err("in the past")),
            ("2524608000", Err("in the past")),
            ("1600000000000", Err("milliseconds")),
            ("18446744073709551615", Err("in the past")),
            ("18446744073709551616", Err("not a number")),
            ("-1", Err("not a number")),
            ("1700000000.5", Err("not a number")),
            ("", Err("not a number")),
        ] {
            match (past_seconds(text, now), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                (Err(error), Err(word)) => {
                    let told = format!("{error:?}");
                    assert!(told.contains("SOURCE_DATE_EPOCH") && told.contains(word), "{told}");
                }
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }
}
