//! The configuration for people: a commented file to start from, and what is in force.

use super::Config;

/// What `config init` writes: every key with its default and what it means, commented out so
/// that a later default is not overridden by an old file.
pub const TEMPLATE: &str = "\
# Configuration of oic. A line without # in front overrides the default that it shows.
# Flags beat the environment (OIC_WORKERS, OIC_CACHE_DIR, ...), which beats this file.

# Parallel downloads and threads, 1 to 100.
#workers: 16

# Verified packages and repository metadata.
#cache_dir: /var/cache/os-image-composer

# Snapshots, layers and images.
#work_dir: /var/tmp/os-image-composer

# Short-lived files.
#temp_dir: /tmp

# Where packages come from, by archive. Signatures are checked whatever the mirror.
#mirrors:
#  debian: https://mirror.example.org/debian
#  debian-security: https://mirror.example.org/debian-security

#logging:
#  level: info            # debug, info, warn or error
#  file: /var/log/oic.log # none by default
";

/// One row per setting: key, value, origin.
pub fn rows(config: &Config) -> Vec<(String, String, String)> {
    let mut rows = Vec::new();
    let mut row = |key: &str, value: String, origin: &super::Origin| {
        rows.push((key.to_owned(), value, origin.to_string()));
    };
    let optional = |path: &Option<std::path::PathBuf>| {
        path.as_ref()
            .map_or_else(|| "none".to_owned(), |path| path.display().to_string())
    };
    row("workers", config.workers.value.to_string(), &config.workers.origin);
    for (key, path) in [
        ("cache_dir", &config.cache_dir),
        ("work_dir", &config.work_dir),
        ("temp_dir", &config.temp_dir),
    ] {
        row(key, path.value.display().to_string(), &path.origin);
    }
    row(
        "config_dir",
        optional(&config.config_dir.value),
        &config.config_dir.origin,
    );
    for (archive, url) in &config.mirrors {
        row(&format!("mirrors.{archive}"), url.value.clone(), &url.origin);
    }
    row(
        "logging.level",
        config.log_level.value.as_str().to_owned(),
        &config.log_level.origin,
    );
    row(
        "logging.file",
        optional(&config.log_file.value),
        &config.log_file.origin,
    );
    rows
}
