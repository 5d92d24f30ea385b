//! `additionalFiles`: from an entry to the files that it stands for.

use std::path::{Path, PathBuf};

use super::files::Origins;
use super::schema::additional_file;
use super::tree;
use super::variables::Variables;
use crate::durable;
use crate::model::{AdditionalFile, FileSource};
use crate::package::Arch;
use crate::yaml::{Findings, Place};

/// The largest file that variables are put into, in bytes.
const TEMPLATE_MAX_BYTES: u64 = 1 << 20;

/// What the entries of a template may refer to.
pub(super) struct Files<'a> {
    /// Where its files lie.
    pub(super) origins: &'a Origins,
    /// Its variables.
    pub(super) variables: &'a Variables,
    /// Its architecture, which gives a default template its variables.
    pub(super) arch: Arch,
}

impl Files<'_> {
    /// Converts an entry of `additionalFiles`, which is several if it names a directory of the build host. Warns if the
    /// file does not exist.
    pub(super) fn of(&self, file: &Place<'_>, findings: &mut Findings) -> Vec<AdditionalFile> {
        let Some(entry) = self.one(file, findings) else {
            return Vec::new();
        };
        let mut entries = match &entry.source {
            FileSource::Host(path) if path.is_dir() => tree::entries(path, &entry).unwrap_or_else(|reason| {
                let message = format!("the directory cannot be taken: {reason}");
                findings.push(file.at(additional_file::LOCAL).error(message));
                Vec::new()
            }),
            _ => vec![entry],
        };
        if file.read(additional_file::TEMPLATE) == Some(true) {
            for entry in &mut entries {
                self.fill(entry, &file.at(additional_file::LOCAL), findings);
            }
        }
        entries
    }

    fn one(&self, file: &Place<'_>, findings: &mut Findings) -> Option<AdditionalFile> {
        Some(AdditionalFile {
            source: self.source(file, findings)?,
            destination: file.read(additional_file::FINAL)?.to_owned(),
            owner: file.read(additional_file::OWNER).map(str::to_owned),
            mode: file
                .read(additional_file::MODE)
                .and_then(|mode| u32::from_str_radix(mode, 8).ok()),
        })
    }

    fn source(&self, file: &Place<'_>, findings: &mut Findings) -> Option<FileSource> {
        // Empty, it is the text of an empty file.
        if let Some(content) = file.get(additional_file::CONTENT) {
            return content.node.text().map(|text| FileSource::Text(text.to_owned()));
        }
        if let Some(url) = file.read(additional_file::URL) {
            let sha256 = file.read(additional_file::SHA256)?.parse().ok()?;
            return Some(FileSource::Fetched(url.to_owned(), sha256));
        }
        if file.read(additional_file::DIRECTORY) == Some(true) {
            return Some(FileSource::Directory);
        }
        let local = file.get(additional_file::LOCAL)?;
        let name = local.node.text()?;
        let source = self.origins.locate(local.node, name);
        let is_there = |path: &Path| path.is_file() || path.is_dir();
        if source.is_none() || matches!(&source, Some(FileSource::Host(path)) if !is_there(path)) {
            let finding = local.warning(format!("{name:?} is not there, or is no regular file"));
            findings.push(match &source {
                Some(FileSource::Host(path)) => finding.hint(format!("looked for {}", path.display())),
                _ => finding,
            });
        }
        Some(source.unwrap_or_else(|| FileSource::Host(PathBuf::from(name))))
    }

    /// Puts the variables into the text of a file, which `local` names. A file that does not exist is a finding of its
    /// own; `content` has its values already.
    fn fill(&self, entry: &mut AdditionalFile, local: &Place<'_>, findings: &mut Findings) {
        let text = match &entry.source {
            FileSource::Host(path) => match read(path) {
                Ok(Some((text, host_mode))) => {
                    entry.mode = Some(entry.mode_of(host_mode));
                    text
                }
                Ok(None) => return,
                Err(reason) => {
                    let message = format!("variables cannot be put into {}: {reason}", path.display());
                    findings.push(local.error(message));
                    return;
                }
            },
            FileSource::Embedded(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => return,
        };
        let filled = match self.origins.is_default(local.node) {
            true => Variables::of_arch(self.arch).fill(&text, local, findings),
            false => self.variables.fill(&text, local, findings),
        };
        entry.source = FileSource::Text(filled);
    }
}

/// Reads a text and the permission bits of its file; `None` if the file does not exist.
///
/// # Errors
/// In words, if it is too large, no text, or cannot be read.
fn read(path: &Path) -> Result<Option<(String, u32)>, String> {
    use std::os::unix::fs::PermissionsExt as _;
    let Ok(file) = durable::open_regular(path) else {
        return Ok(None);
    };
    let mode = file.metadata().map_err(|error| error.to_string())?.permissions().mode();
    let bytes = durable::read_at_most(file, TEMPLATE_MAX_BYTES).map_err(|error| error.to_string())?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some((text, mode))),
        Err(_) => Err("it is no text in UTF-8".to_owned()),
    }
}
