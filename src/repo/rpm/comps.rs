//! `comps.xml`: groups of packages (the format that libcomps reads; it has no specification).

use std::io::BufRead;

use super::xml::{Piece, Start, Xml, XmlError};

/// Upper limit of the packages of all groups together, beyond those of any distribution.
const PACKAGES_LIMIT: usize = 1 << 20;
const GROUPS_LIMIT: usize = 1 << 14;

/// A group of packages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// Its id, requested as `@id`.
    pub id: String,
    /// Its packages.
    pub packages: Vec<GroupPackage>,
}

/// A package of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPackage {
    /// Its name.
    pub name: String,
    /// The rule for its installation.
    pub kind: GroupPackageKind,
}

/// The rule for the installation of a package of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupPackageKind {
    /// Installed with the group.
    Mandatory,
    /// Installed with the group, unless excluded.
    Default,
    /// Installed with the group, if this other package is installed as well.
    Conditional(String),
    /// Installed only on request.
    Optional,
}

/// Parses a `comps.xml`; environments, categories and texts for people are ignored.
///
/// # Errors
/// [`XmlError`] if it is malformed or too large.
pub fn parse_comps(text: impl BufRead) -> Result<Vec<Group>, XmlError> {
    let mut xml = Xml::new(text);
    let mut comps = Comps::default();
    loop {
        match xml.next()? {
            Piece::Start(start) => comps.start(&start).map_err(|reason| xml.error(reason))?,
            Piece::Text(more) => comps.text.push_str(&more),
            Piece::End(end) => {
                let name = end.name().to_owned();
                comps.end(&name).map_err(|reason| xml.error(reason))?;
            }
            Piece::Other => {}
            Piece::Eof if comps.is_comps => return Ok(comps.groups),
            Piece::Eof => return Err(xml.error("it is no list of groups")),
        }
    }
}

/// The state of the parser of a `comps.xml`.
#[derive(Debug, Default)]
struct Comps {
    is_comps: bool,
    text: String,
    group: Option<Group>,
    kind: Option<GroupPackageKind>,
    groups: Vec<Group>,
    package_count: usize,
}

impl Comps {
    fn start(&mut self, start: &Start<'_>) -> Result<(), String> {
        self.text.clear();
        match start.name() {
            "comps" => self.is_comps = true,
            "group" => self.group = Some(Group::default()),
            "packagereq" => self.kind = kind(start)?,
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, name: &str) -> Result<(), String> {
        let text = self.text.trim();
        match (name, &mut self.group) {
            ("id", Some(group)) => text.clone_into(&mut group.id),
            ("packagereq", Some(group)) => {
                self.package_count += 1;
                if self.package_count > PACKAGES_LIMIT {
                    return Err("its groups have too many packages".to_owned());
                }
                if let Some(kind) = self.kind.take().filter(|_| is_name(text)) {
                    let name = text.to_owned();
                    group.packages.push(GroupPackage { name, kind });
                }
            }
            ("group", group) => {
                if self.groups.len() == GROUPS_LIMIT {
                    return Err("it has too many groups".to_owned());
                }
                self.groups.extend(group.take());
            }
            _ => {}
        }
        self.text.clear();
        Ok(())
    }
}

/// Returns the kind of a `packagereq`; `None` for a kind that is never installed.
fn kind(start: &Start<'_>) -> Result<Option<GroupPackageKind>, String> {
    let other = start.attribute("requires")?.filter(|other| is_name(other));
    Ok(match (start.attribute("type")?.as_deref(), other) {
        (None | Some("mandatory"), _) => Some(GroupPackageKind::Mandatory),
        (Some("default"), _) => Some(GroupPackageKind::Default),
        (Some("optional"), _) => Some(GroupPackageKind::Optional),
        (Some("conditional"), Some(other)) => Some(GroupPackageKind::Conditional(other)),
        (Some(_), _) => None,
    })
}

/// Returns whether a text can be a package's name, without a special meaning in a request.
fn is_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "+_.-".contains(c);
    !text.is_empty() && text.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_packages_of_four_kinds() {
        let text = r#"<?xml version="1.0"?><!DOCTYPE comps PUBLIC "-//X//DTD Comps info//EN" "comps.dtd"><comps>
            <group><id>core</id><name>Core</name><name xml:lang="de">Kern</name><packagelist>
              <packagereq>setup</packagereq><packagereq type="mandatory">bash</packagereq>
              <packagereq type="default">less</packagereq><packagereq type="optional">vim</packagereq>
              <packagereq type="conditional" requires="kde">kde-x</packagereq><packagereq type="odd">x</packagereq>
              <packagereq type="default">(a and b)</packagereq></packagelist></group>
            <environment><id>server</id><grouplist><groupid>core</groupid></grouplist></environment></comps>"#;
        let groups = parse_comps(text.as_bytes()).unwrap();
        let [core] = &groups[..] else { panic!("{groups:?}") };
        assert_eq!(core.id, "core");
        let found: Vec<_> = core
            .packages
            .iter()
            .map(|package| (package.name.as_str(), &package.kind))
            .collect();
        let conditional = GroupPackageKind::Conditional("kde".to_owned());
        let expected = [
            ("setup", &GroupPackageKind::Mandatory),
            ("bash", &GroupPackageKind::Mandatory),
            ("less", &GroupPackageKind::Default),
            ("vim", &GroupPackageKind::Optional),
            ("kde-x", &conditional),
        ];
        assert_eq!(found, expected);
        assert!(parse_comps(&b"<html/>"[..]).is_err());
    }

    #[test]
    fn too_much_is_refused() {
        let text = format!("<comps>{}</comps>", "<group/>".repeat(GROUPS_LIMIT + 1));
        assert!(parse_comps(text.as_bytes()).unwrap_err().reason.contains("too many"));
    }
}
