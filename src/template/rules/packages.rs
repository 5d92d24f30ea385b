//! Packages that are asked for, and packages that are left out.

use std::collections::HashMap;

use crate::template::schema::{PACKAGE_LISTS, system};
use crate::yaml::{Findings, Place};

/// Refuses packages that one file both asks for and leaves out.
pub(super) fn check(system: &Place<'_>, findings: &mut Findings) {
    let name = |text: &str| text.split(['=', ':']).next().unwrap_or(text).to_owned();
    let asked: Vec<Place<'_>> = system.items(system::PACKAGES).collect();
    let asked = asked.into_iter().filter_map(|place| {
        let text = place.node.text()?;
        (!text.starts_with('-')).then(|| (name(text), place))
    });
    let asked: HashMap<String, Place<'_>> = asked.collect();
    for list in PACKAGE_LISTS {
        for place in system.items(list) {
            let Some(text) = place.node.text() else { continue };
            let is_left_out = list.name == system::REMOVE_PACKAGES.name || text.starts_with('-');
            let text = text.trim_start_matches('-');
            if let Some(other) = asked.get(text).filter(|_| is_left_out) {
                let line = other.node.span.position().0;
                let finding = place.error(format!("leaves out {text:?}, which line {line} asks for"));
                findings.push(finding.hint("keep one of the two lines"));
            }
        }
    }
}
