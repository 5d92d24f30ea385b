//! The machine's own settings: services, language, kernel.

use std::collections::HashMap;

use crate::model::machine::{self, DEBIAN_LOCALE, KEYBOARD, LOCALE, LOCALTIME, MODULES, SYSCTL, TIMEZONE, VCONSOLE};
use crate::provider::{PackageSystem, Provider};
use crate::template::schema::{additional_file, services, system, template};
use crate::yaml::schema::{Field, Untyped};
use crate::yaml::{Findings, Node, Place};

/// The files that hold a setting, which a file of the template would replace.
const FILES: [(&str, Field<Untyped>); 8] = [
    (LOCALTIME, system::TIMEZONE.untyped()),
    (TIMEZONE, system::TIMEZONE.untyped()),
    (LOCALE, system::LOCALE.untyped()),
    (DEBIAN_LOCALE, system::LOCALE.untyped()),
    (VCONSOLE, system::KEYMAP.untyped()),
    (KEYBOARD, system::KEYMAP.untyped()),
    (SYSCTL, system::SYSCTL.untyped()),
    (MODULES, system::KERNEL_MODULES.untyped()),
];
/// The packages of Debian and its relatives, one of which a setting needs.
const NEEDS: [(Field<str>, &[&str]); 3] = [
    (system::TIMEZONE, &["tzdata"]),
    (system::LOCALE, &["locales", "locales-all"]),
    (system::KEYMAP, &["console-setup", "keyboard-configuration"]),
];
/// Values that need no package: they are part of the C library.
const BUILT_IN: [&str; 5] = ["UTC", "C", "POSIX", "C.UTF-8", "C.utf8"];

/// Refuses units that are to be switched on and off.
pub(super) fn check(system: &Place<'_>, findings: &mut Findings) {
    let Some(section) = system.get(system::SERVICES) else {
        return;
    };
    let unit = |place: &Place<'_>| place.node.text().map(machine::unit);
    let enabled = section
        .items(services::ENABLE)
        .filter_map(|place| Some((unit(&place)?, place)));
    let enabled: HashMap<String, Place<'_>> = enabled.collect();
    for list in [services::DISABLE, services::MASK] {
        for place in section.items(list) {
            if let Some(other) = unit(&place).and_then(|name| enabled.get(&name)) {
                let line = other.node.span.position().0;
                let finding = place.error(format!("is enabled too, in line {line}"));
                findings.push(finding.hint("leave the unit in one of the lists"));
            }
        }
    }
}

/// Warns of files that replace a setting.
pub(super) fn check_merged(root: &Node, findings: &mut Findings) {
    let Some(system) = Place::root(root).get(template::SYSTEM) else {
        return;
    };
    for file in system.items(system::ADDITIONAL_FILES) {
        let Some(place) = file.get(additional_file::FINAL) else {
            continue;
        };
        let text = place.node.text();
        let replaced = FILES.iter().find(|(path, _)| text == Some(path));
        if let Some((_, field)) = replaced.filter(|(_, field)| system.get(*field).is_some()) {
            findings.push(place.warning(format!("counts in the place of systemConfig.{}", field.name)));
        }
    }
}

/// Warns of settings that need a package of Debian which neither the merged template nor `provider` names, and refuses
/// what only packages of Debian take.
pub(in crate::template) fn check_packages(root: &Node, provider: &Provider, findings: &mut Findings) {
    let Some(system) = Place::root(root).get(template::SYSTEM) else {
        return;
    };
    if provider.packages.system != PackageSystem::Deb {
        if let Some(answer) = system.items(system::DEBCONF).next() {
            let message = format!("the packages of {provider} ask no questions of debconf");
            findings.push(answer.error(message).hint("remove debconf"));
        }
        return;
    }
    let named = system.read(system::PACKAGES);
    let named = named.iter().chain(&provider.base_packages);
    let named: Vec<&str> = named.filter_map(|text| text.split(['=', ':']).next()).collect();
    for (field, packages) in NEEDS {
        let is_there = packages.iter().any(|package| named.contains(package));
        let Some(place) = system.get(field).filter(|_| !is_there) else {
            continue;
        };
        let Some(package) = packages.first() else { continue };
        if place
            .node
            .text()
            .is_some_and(|text| !text.is_empty() && !BUILT_IN.contains(&text))
        {
            let message = format!("needs the package {package}, which the template does not name");
            findings.push(
                place
                    .warning(message)
                    .hint(format!("add {package} to systemConfig.packages")),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Providers;
    use crate::yaml::{Source, parse};

    fn tree(system: &str) -> Node {
        let text = format!("{{systemConfig: {{{system}}}}}");
        parse(&Source::new("template", &text), &mut Findings::new()).unwrap()
    }

    fn said(findings: &Findings) -> Vec<String> {
        findings.iter().map(|f| format!("{}: {}", f.field, f.message)).collect()
    }

    #[test]
    fn a_unit_is_on_or_off() {
        for (services, expected) in [
            ("enable: [ssh], disable: [nginx], mask: [nginx]", None),
            (
                "enable: [ssh], mask: [ssh.service]",
                Some("systemConfig.services.mask[0]: is enabled too, in line 1"),
            ),
            (
                "enable: [a.timer], disable: [b, a.timer]",
                Some("systemConfig.services.disable[1]: is enabled too, in line 1"),
            ),
        ] {
            let mut findings = Findings::new();
            let root = tree(&format!("services: {{{services}}}"));
            check(&Place::root(&root).get(template::SYSTEM).unwrap(), &mut findings);
            assert_eq!(said(&findings), Vec::from_iter(expected), "{services}");
        }
    }

    #[test]
    fn a_file_in_the_place_of_a_setting_is_told() {
        let file = "additionalFiles: [{local: a, final: /etc/localtime}]";
        for (setting, count) in [("timezone: UTC, ", 1), ("locale: C, ", 0)] {
            let mut findings = Findings::new();
            check_merged(&tree(&format!("{setting}{file}")), &mut findings);
            assert_eq!(said(&findings).len(), count, "{setting}");
        }
    }

    #[test]
    fn packages_that_a_setting_needs_are_told() {
        let providers = Providers::embedded().unwrap();
        let debian = providers.by_id("debian-debian13-x86_64").unwrap();
        let azure = providers.by_id("azure-linux-azl3-x86_64").unwrap();
        for (system, expected) in [
            (
                "locale: de_DE.UTF-8",
                Some("systemConfig.locale: needs the package locales, which the template does not name"),
            ),
            ("locale: de_DE.UTF-8, packages: [locales-all]", None),
            ("locale: C.UTF-8, timezone: UTC", None),
            (
                "keymap: de",
                Some("systemConfig.keymap: needs the package console-setup, which the template does not name"),
            ),
        ] {
            for (provider, expected) in [(debian, expected), (azure, None)] {
                let mut findings = Findings::new();
                check_packages(&tree(system), provider, &mut findings);
                assert_eq!(said(&findings), Vec::from_iter(expected), "{system}");
            }
        }
    }
}
