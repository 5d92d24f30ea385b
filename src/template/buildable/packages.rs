//! Package files that a template names: what can be seen of them before a build.

use std::path::Path;

use crate::archive::bundle::Form;
use crate::model::PackagePlace;
use crate::provider::PackageSystem;
use crate::template::Loaded;
use crate::template::schema::checks::TRUSTED;
use crate::template::schema::{repository, template};
use crate::yaml::{Findings, Place};

/// Refuses package files that do not exist or are something else by their names, and files that nothing signs in a
/// repository that is not declared trusted.
pub(super) fn check(loaded: &Loaded, root: &Place<'_>, findings: &mut Findings) {
    let system = loaded.provider.packages.system;
    for place in root.items(template::REPOSITORIES) {
        for file in place.items(repository::PACKAGES) {
            let Some(source) = loaded.package_source(file.node) else {
                continue;
            };
            let origin = source.place.to_string();
            match source.place {
                PackagePlace::Host(path) if path.is_dir() => continue,
                PackagePlace::Host(path) if !path.is_file() => {
                    findings.push(file.error(format!("there is no file {}", path.display())));
                    continue;
                }
                _ => {}
            }
            if !is_package_or_archive(&origin, system) {
                let extension = system.extension();
                let message = format!("is neither a .{extension} package nor an archive by its name");
                findings.push(file.error(message));
            }
        }
        let keys = place.read(repository::PKEYS);
        let mut keys = place
            .read(repository::PKEY)
            .into_iter()
            .chain(keys.iter().map(String::as_str));
        // A package file of the other system may carry a signature of its own.
        if system == PackageSystem::Deb
            && let Some(packages) = place
                .get(repository::PACKAGES)
                .filter(|list| !list.node.items().is_empty())
            && !keys.any(|key| key == TRUSTED)
        {
            let finding = packages.error("are files, which no key of a repository signs");
            findings.push(finding.hint("give it pkey: \"[trusted=yes]\" to take them as they are"));
        }
    }
}

/// Says by the name of a file, or of the last part of a URL, whether it can have packages.
fn is_package_or_archive(origin: &str, system: PackageSystem) -> bool {
    let name = match origin.starts_with("https://") {
        true => origin.split('?').next().unwrap_or(origin),
        false => origin,
    };
    let is_package = Path::new(name)
        .extension()
        .is_some_and(|found| found == system.extension());
    is_package || Form::of_name(name).is_some()
}
