//! The origin of a template: a file, a sample, or a stream that was read already.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::embedded::{self, Sample, samples};
use super::files::Base;
use super::overrides::Override;
use crate::yaml::{Finding, Findings, Source, did_you_mean, read_source};

/// Where a template comes from.
#[derive(Debug, Clone)]
pub enum TemplateSource {
    /// A file.
    File(PathBuf),
    /// A template that comes with oic.
    Sample(Sample),
    /// A text that was read already, from standard input say; its files are relative to the working directory.
    Text(Arc<Source>),
    /// One of the others, with values given beside it. The later of two for one field counts.
    With(Box<Self>, Vec<Override>),
}

impl TemplateSource {
    /// Finds what a user's argument means: the file of that name or, without one, the sample.
    ///
    /// # Errors
    /// A finding that lists the samples if it is neither.
    pub fn named(argument: &OsStr) -> Result<Self, Findings> {
        let path = Path::new(argument);
        if path.symlink_metadata().is_ok_and(|meta| !meta.is_dir()) {
            return Ok(Self::File(path.to_owned()));
        }
        let name = argument.to_string_lossy();
        let samples = samples();
        if let Some(sample) = samples.iter().find(|sample| sample.name == name) {
            return Ok(Self::Sample(*sample));
        }
        let message = "there is no file of this name, and no sample template either";
        let names = samples.iter().map(|sample| sample.name);
        let finding = Finding::without_position(path, "", message).allowed(names.clone());
        let hint = did_you_mean(&name, names).map(|near| format!("did you mean {near}?"));
        let hint = hint.unwrap_or_else(|| "give a .yml file, or one of these samples by its name".to_owned());
        Err(finding.hint(hint).into())
    }

    /// Reads its text.
    ///
    /// # Errors
    /// A finding that names the file and what is wrong with it.
    pub(super) fn read(&self) -> Result<Arc<Source>, Findings> {
        match self {
            Self::File(path) => read_source(path),
            Self::Sample(sample) => Ok(sample.source()),
            Self::Text(source) => Ok(Arc::clone(source)),
            Self::With(source, _) => source.read(),
        }
    }

    /// Returns where its relative file names start.
    pub(super) fn base(&self) -> Base {
        match self {
            Self::File(path) => Base::beside(path),
            Self::Text(_) => Base::beside(Path::new("text")),
            Self::With(source, _) => source.base(),
            Self::Sample(_) => Base::Provider {
                overlay: None,
                directory: embedded::SAMPLES.to_owned(),
            },
        }
    }

    /// Returns the file, if it is one.
    pub(super) fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Sample(_) | Self::Text(_) => None,
            Self::With(source, _) => source.file(),
        }
    }

    /// Returns the values given beside it.
    pub(super) fn overrides(&self) -> &[Override] {
        match self {
            Self::With(_, overrides) => overrides,
            _ => &[],
        }
    }
}
