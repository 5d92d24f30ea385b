//! `filelists.xml`: all files of all packages. It is many times larger than `primary.xml`, so oic loads it only if a
//! package needs a file that `primary.xml` does not list, and keeps only the packages that have such a file.

use std::collections::{BTreeSet, HashMap};
use std::io::BufRead;

use super::xml::{Piece, Xml, XmlError};
use crate::package::Checksum;

/// The wanted files that packages have, by the packages' digests.
pub type FileOwners = HashMap<Checksum, Vec<String>>;

/// Parses a `filelists.xml` and returns the packages that have one of `paths`.
///
/// # Errors
/// [`XmlError`] if it is malformed.
pub fn parse_filelists(text: impl BufRead, paths: &BTreeSet<String>) -> Result<FileOwners, XmlError> {
    let mut xml = Xml::new(text);
    let mut owners = FileOwners::new();
    let mut package: Option<Checksum> = None;
    let (mut path, mut in_file, mut is_filelists) = (String::new(), false, false);
    loop {
        match xml.next()? {
            Piece::Start(start) => match start.name() {
                "file" => {
                    path.clear();
                    in_file = true;
                }
                "package" => {
                    let id = start.attribute("pkgid").map_err(|reason| xml.error(reason))?;
                    package = id.and_then(|id| id.parse().ok());
                }
                "filelists" => is_filelists = true,
                _ => {}
            },
            Piece::Text(more) if in_file => path.push_str(&more),
            Piece::End(end) if in_file && end.name() == "file" => {
                in_file = false;
                if let Some(package) = package.filter(|_| paths.contains(path.as_str())) {
                    owners.entry(package).or_default().push(path.clone());
                }
            }
            Piece::Text(_) | Piece::End(_) | Piece::Other => {}
            Piece::Eof if is_filelists => return Ok(owners),
            Piece::Eof => return Err(xml.error("it is no index of files")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::Sha256;

    #[test]
    fn only_wanted_files_are_kept() {
        let (a, b) = (Checksum::from(Sha256::of("a")), Checksum::from(Sha256::of("b")));
        let text = format!(
            "<filelists packages=\"2\"><package pkgid=\"{a}\" name=\"a\" arch=\"noarch\"><version epoch=\"0\" ver=\"1\" rel=\"1\"/>\
             <file>/usr/lib/x&amp;y</file><file type=\"dir\">/usr/lib/d</file></package>\
             <package pkgid=\"{b}\" name=\"b\" arch=\"noarch\"><file>/usr/lib/z</file><file>/usr/lib/d</file></package></filelists>"
        );
        let paths = ["/usr/lib/x&y", "/usr/lib/d", "/nowhere"].map(str::to_owned).into();
        let owners = parse_filelists(text.as_bytes(), &paths).unwrap();
        assert_eq!(owners[&a], ["/usr/lib/x&y", "/usr/lib/d"]);
        assert_eq!(owners[&b], ["/usr/lib/d"]);
        assert!(parse_filelists(&b"<html/>"[..], &paths).is_err());
    }
}
