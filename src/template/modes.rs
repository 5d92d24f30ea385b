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
        let (Some(local), Some(place)) = (file.get(additional_file::LOCAL), file.get(additional_file::FINAL)) else {
            continue;
        };
        let (Some(name), Some(text)) = (local.node.text(), place.node.text()) else {
            continue;
        };
        let Some(FileSource::Host(path)) = origins.locate(local.node, name) else {
            continue;
        };
        // A file that cannot be opened is a finding of its own.
        let Ok(metadata) = durable::open_regular(&path).and_then(|file| file.metadata()) else {
            continue;
        };
        let given = file.read(additional_file::MODE);
        let given = given.and_then(|mode| u32::from_str_radix(mode, 8).ok());
        let mode = mode_in_image(given, metadata.permissions().mode());
        if let Some((message, hint)) = refused(text, mode) {
            findings.push(place.warning(message).hint(hint));
        }
    }
}
