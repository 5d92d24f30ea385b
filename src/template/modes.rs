//! Modes of `additionalFiles` that the programs of the image refuse.

use std::os::unix::fs::PermissionsExt as _;

use super::files::Origins;
use super::rules::refused;
use super::schema::{additional_file, system, template};
use crate::durable;
use crate::model::{FileSource, mode_in_image};
use crate::yaml::{Findings, Node, Place};

/// Warns of files that a program of the image will refuse because of their modes.
pub(super) fn check(root: &Node, origins: &Origins, findings: &mut Findings) {
    let Some(system) = Place::root(root).get(template::SYSTEM) else {
        return;
    };
    for file in system.items(system::ADDITIONAL_FILES) {
        let Some(place) = file.get(additional_file::FINAL) else {
            continue;
        };
        let Some(text) = place.node.text() else { continue };
        let Some(host_mode) = host_mode(&file, origins) else {
            continue;
        };
        let given = file.read(additional_file::MODE);
        let given = given.and_then(|mode| u32::from_str_radix(mode, 8).ok());
        let mode = mode_in_image(given, host_mode);
        if let Some((message, hint)) = refused(text, mode) {
            findings.push(place.warning(message).hint(hint));
        }
    }
}

/// Returns the mode that a file has on the build host, or that of any other file of its kind; `None` if no file is
/// there, which is a finding of its own.
fn host_mode(file: &Place<'_>, origins: &Origins) -> Option<u32> {
    if [additional_file::CONTENT, additional_file::URL]
        .into_iter()
        .any(|field| file.get(field).is_some())
    {
        return Some(0o644);
    }
    let local = file.get(additional_file::LOCAL)?;
    let Some(FileSource::Host(path)) = origins.locate(local.node, local.node.text()?) else {
        return None;
    };
    let metadata = durable::open_regular(&path).and_then(|file| file.metadata()).ok()?;
    Some(metadata.permissions().mode())
}
