//! Where the image's own dnf or tdnf gets the packages of the template's repositories from (dnf.conf(5), "Repo
//! Options"), with their keys. A package of the distribution brings the distribution's repositories.

use super::error::one_line;
use super::{ConfigureError, ImageSources};
use crate::package::PackageFilter;
use crate::root::Root;

const FILE: &str = "package source";
const FIELD: &str = "packageRepositories";
const DIRECTORY: &str = "/etc/yum.repos.d";
const KEYS: &str = "/etc/pki/rpm-gpg";

/// A `.repo` file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DnfRepository {
    /// The name of its files, and of the repository in messages: letters, digits and `-_.`.
    pub name: String,
    /// Base URL.
    pub url: String,
    /// Armored certificates that may sign its packages; without any, nothing is verified.
    pub keys: Option<Vec<u8>>,
    /// The packages that are taken from it.
    pub filter: PackageFilter,
}

impl ImageSources for Vec<DnfRepository> {
    /// Writes a `.repo` file for each repository.
    fn write(&self, root: &Root, _os: &str) -> Result<(), ConfigureError> {
        for repository in self {
            if let Some(keys) = &repository.keys {
                root.write(key_path(repository), keys, 0o644)?;
            }
            let path = format!("{DIRECTORY}/{}.repo", repository.name);
            root.write(path, text(repository)?, 0o644)?;
        }
        Ok(())
    }
}

fn key_path(repository: &DnfRepository) -> String {
    format!("{KEYS}/RPM-GPG-KEY-{}", repository.name)
}

fn text(repository: &DnfRepository) -> Result<String, ConfigureError> {
    let name = one_line(FIELD, &repository.name, FILE)?;
    let url = one_line(FIELD, &repository.url, FILE)?;
    let mut text = format!("[{name}]\nname={name}\nbaseurl={url}\nenabled=1\n");
    match &repository.keys {
        Some(_) => text += &format!("gpgcheck=1\ngpgkey=file://{}\n", key_path(repository)),
        None => text += "gpgcheck=0\n",
    }
    let filter = &repository.filter;
    for (option, patterns) in [
        ("includepkgs", filter.allow_patterns()),
        ("excludepkgs", filter.exclude.clone()),
    ] {
        if !patterns.is_empty() {
            text += &format!("{option}={}\n", one_line(FIELD, &patterns.join(","), FILE)?);
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_those_of_dnf() {
        let mut repository = DnfRepository {
            name: "vendor".into(),
            url: "https://rpm.example.org/x".into(),
            keys: Some(b"key".to_vec()),
            filter: PackageFilter {
                allow: vec!["curl".into(), "lib*".into()],
                exclude: vec!["libx".into()],
            },
        };
        insta::assert_snapshot!(text(&repository).unwrap(), @r"
        [vendor]
        name=vendor
        baseurl=https://rpm.example.org/x
        enabled=1
        gpgcheck=1
        gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-vendor
        includepkgs=curl*,lib*
        excludepkgs=libx
        ");
        (repository.keys, repository.filter) = (None, PackageFilter::default());
        assert!(text(&repository).unwrap().ends_with("enabled=1\ngpgcheck=0\n"));
        repository.url = "https://x\ngpgcheck=0".into();
        assert!(text(&repository).is_err());
    }
}
