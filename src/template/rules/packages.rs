//! Packages that are asked for, and packages that are left out.

use std::collections::HashMap;

use crate::package::{ForeignArch, asks_for, glob};
use crate::provider::{PackageSystem, Provider};
use crate::template::schema::{PACKAGE_LISTS, kernel, system, template};
use crate::words::Words as _;
use crate::yaml::{Findings, Node, Place};

/// Refuses recommendations of packages that the merged template does not ask for, and architectures that the machine or
/// the packages of `provider` do not know.
pub(in crate::template) fn check_merged(root: &Node, provider: &Provider, findings: &mut Findings) {
    let Some(system) = Place::root(root).get(template::SYSTEM) else {
        return;
    };
    let kernel = system.read(system::KERNEL).map(|kernel| kernel.read(kernel::PACKAGES));
    let asked: Vec<String> = system
        .read(system::PACKAGES)
        .into_iter()
        .chain(kernel.into_iter().flatten())
        .collect();
    for place in system.items(system::RECOMMENDS_OF) {
        let name = place.node.text().unwrap_or_default();
        // What a group has shows when it is resolved.
        let is_it = |text: &String| text.starts_with('@') || asks_for(text, name) || glob::matches(text, name);
        if !asked.iter().any(is_it) {
            let finding = place.error(format!("{name:?} is not among the packages that the template asks for"));
            findings.push(finding.hint(format!("add {name} to systemConfig.packages")));
        }
    }
    for place in system.items(system::FOREIGN_ARCHITECTURES) {
        let Some(arch) = place.node.text().and_then(ForeignArch::named) else {
            continue;
        };
        if provider.packages.system != PackageSystem::Deb {
            let message = format!("{provider} has no packages of several architectures");
            findings.push(place.error(message).hint("remove foreignArchitectures"));
        } else if !arch.runs_on(provider.arch) {
            let message = format!("a machine of {} does not run programs of {}", provider.arch, arch.deb());
            findings.push(place.error(message));
        }
    }
}

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
