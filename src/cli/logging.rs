//! The log: actions and reasons, on standard error and, on request, in a file.

use std::fs::OpenOptions;
use std::io::IsTerminal as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Mutex;

use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::LogLevel;
use crate::terminal::Visible;

use super::error::CommandError;

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    }
}

/// Says whether standard error is a terminal and the user allows colours (no-color.org).
fn is_coloured() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !refused
}

/// Starts logging: warnings and up to the terminal unless `level` says otherwise,
/// `level` (at least info) to `file`.
///
/// # Errors
/// If the log file cannot be opened.
pub fn start(level: Option<LogLevel>, file: Option<&Path>) -> Result<(), CommandError> {
    let terminal = tracing_subscriber::fmt::layer()
        .with_writer(|| Visible::new(std::io::stderr(), is_coloured()))
        // It panics if the terminal was closed.
        .log_internal_errors(false)
        .with_ansi(is_coloured())
        .without_time()
        .with_target(false)
        .with_filter(filter(level.unwrap_or(LogLevel::Warn)));
    let file = match file {
        Some(path) => {
            let open = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
            let file = open
                .map_err(|error| CommandError::failed(format!("cannot open log file {}: {error}", path.display())))?;
            let layer = tracing_subscriber::fmt::layer()
                .with_writer(Mutex::new(Visible::new(file, false)))
                .with_ansi(false);
            Some(layer.with_filter(filter(level.unwrap_or(LogLevel::Info))))
        }
        None => None,
    };
    tracing_subscriber::registry().with(terminal).with(file).init();
    Ok(())
}

/// Starts the log of a mount server. It drops warnings of `fuser`, because the adapter reports the same better.
pub fn start_server() {
    let levels = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("fuser", LevelFilter::ERROR);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(|| Visible::new(std::io::stderr(), is_coloured()))
        // It panics if the terminal was closed.
        .log_internal_errors(false)
        .with_ansi(is_coloured())
        .without_time()
        .with_target(false);
    tracing_subscriber::registry().with(layer.with_filter(levels)).init();
}
