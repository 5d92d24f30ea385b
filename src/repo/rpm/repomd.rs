//! `repodata/repomd.xml`: the list of indexes, with their digests.

use std::io::BufRead;

use super::xml::{Piece, Start, Xml, XmlError};
use crate::package::{Algorithm, Checksum};

/// Upper limit of the indexes, beyond any real repository.
const INDEXES_LIMIT: usize = 1000;

/// The content of a `repomd.xml`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repomd {
    /// `revision`: by default a time, but any word is allowed.
    pub revision: String,
    /// The indexes, in the file's order.
    pub indexes: Vec<Listed>,
}

/// An index that `repomd.xml` lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    /// `primary`, `filelists`, `modules`, ….
    pub kind: String,
    /// Path relative to the repository's base URL.
    pub path: String,
    /// Digest of the file as downloaded, unless its algorithm is broken or unknown.
    pub checksum: Option<Checksum>,
    /// The name of that algorithm.
    pub algorithm: String,
    /// Size of the file in bytes; `None` if not stated.
    pub size_bytes: Option<u64>,
    /// Digest of the decompressed file, if one is stated by a usable algorithm.
    pub open_checksum: Option<Checksum>,
    /// Size of the decompressed file in bytes.
    pub open_size_bytes: Option<u64>,
    /// Time of its creation, in seconds since 1970; 0 if not stated.
    pub timestamp: i64,
}

impl Repomd {
    /// Parses the text of a `repomd.xml`.
    ///
    /// # Errors
    /// [`XmlError`] if it is malformed, or lists a file outside of the repository.
    pub fn parse(text: impl BufRead) -> Result<Self, XmlError> {
        let mut xml = Xml::new(text);
        let mut repomd = Self::default();
        let mut current: Option<Listed> = None;
        let (mut text, mut algorithm) = (String::new(), None);
        let mut is_repomd = false;
        loop {
            match xml.next()? {
                Piece::Start(start) => {
                    text.clear();
                    let begun = begin(&start, &mut current, &mut algorithm);
                    is_repomd |= start.name() == "repomd";
                    begun.map_err(|reason| xml.error(reason))?;
                }
                Piece::Text(more) => text.push_str(&more),
                Piece::End(end) => {
                    let name = end.name().to_owned();
                    repomd
                        .end(&name, text.trim(), algorithm.as_deref(), &mut current)
                        .map_err(|reason| xml.error(reason))?;
                }
                Piece::Other => {}
                Piece::Eof if is_repomd => return Ok(repomd),
                Piece::Eof => return Err(xml.error("it is no repomd.xml")),
            }
        }
    }

    fn end(
        &mut self,
        name: &str,
        text: &str,
        algorithm: Option<&str>,
        current: &mut Option<Listed>,
    ) -> Result<(), String> {
        let Some(listed) = current.as_mut() else {
            if name == "revision" {
                text.clone_into(&mut self.revision);
            }
            return Ok(());
        };
        let number = || text.parse().map_err(|_| format!("{name} is no size: {text:?}"));
        let known = algorithm.and_then(Algorithm::named);
        let digest = || -> Result<Option<Checksum>, String> {
            let Some(algorithm) = known else { return Ok(None) };
            let checksum: Checksum = text.parse().map_err(|error| format!("{name}: {error}"))?;
            match checksum.algorithm() == algorithm {
                true => Ok(Some(checksum)),
                false => Err(format!("{name}: {text:?} is no digest of {algorithm}")),
            }
        };
        match name {
            "checksum" => {
                listed.checksum = digest()?;
                algorithm.unwrap_or_default().clone_into(&mut listed.algorithm);
            }
            "open-checksum" => listed.open_checksum = digest()?,
            "size" => listed.size_bytes = Some(number()?),
            "open-size" => listed.open_size_bytes = Some(number()?),
            // Some tools write fractions of seconds.
            "timestamp" => {
                let seconds = text.split('.').next().unwrap_or_default();
                listed.timestamp = seconds.parse().map_err(|_| format!("timestamp is no time: {text:?}"))?;
            }
            "data" => {
                if listed.path.is_empty() {
                    return Err(format!("the index {:?} has no location", listed.kind));
                }
                if self.indexes.len() == INDEXES_LIMIT {
                    return Err("it lists too many indexes".to_owned());
                }
                self.indexes.extend(current.take());
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns the index of a kind.
    pub fn index(&self, kind: &str) -> Option<&Listed> {
        self.indexes.iter().find(|listed| listed.kind == kind)
    }

    /// Returns the time of the newest index, in seconds since 1970.
    pub fn date(&self) -> i64 {
        self.indexes.iter().map(|listed| listed.timestamp).max().unwrap_or(0)
    }
}

fn begin(start: &Start<'_>, current: &mut Option<Listed>, algorithm: &mut Option<String>) -> Result<(), String> {
    match start.name() {
        "data" => {
            *current = Some(Listed {
                kind: start.attribute("type")?.unwrap_or_default(),
                ..Listed::default()
            });
        }
        "checksum" | "open-checksum" => *algorithm = start.attribute("type")?,
        "location" => {
            let path = start.attribute("href")?.unwrap_or_default();
            if !stays_inside(&path) || start.attribute("xml:base")?.is_some() {
                return Err(format!("the location {path:?} leads out of the repository"));
            }
            if let Some(listed) = current {
                listed.path = path;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Returns whether a path, joined to the base URL, is a file below it.
pub(super) fn stays_inside(path: &str) -> bool {
    !path.is_empty()
        && !path.contains(['\\', '?', '#', '\0', '\n'])
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
        && !path.split('/').next().is_some_and(|first| first.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<repomd xmlns="http://linux.duke.edu/metadata/repo" xmlns:rpm="http://linux.duke.edu/metadata/rpm">
  <revision>1700000000</revision>
  <data type="primary">
    <checksum type="sha256">ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad</checksum>
    <open-checksum type="sha256">e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855</open-checksum>
    <location href="repodata/ba78-primary.xml.gz"/>
    <timestamp>1700000001.25</timestamp>
    <size>3</size>
    <open-size>0</open-size>
  </data>
  <data type="modules"><checksum type="sha">00</checksum><location href="repodata/modules.yaml"/></data>
</repomd>"#;

    #[test]
    fn indexes_have_digests_sizes_and_times() {
        let repomd = Repomd::parse(SAMPLE.as_bytes()).unwrap();
        assert_eq!(repomd.revision, "1700000000");
        let primary = repomd.index("primary").unwrap();
        assert_eq!(primary.path, "repodata/ba78-primary.xml.gz");
        assert!(primary.checksum.as_ref().unwrap().is_of(b"abc"));
        assert!(primary.open_checksum.as_ref().unwrap().is_of(b""));
        assert_eq!((primary.size_bytes, primary.open_size_bytes), (Some(3), Some(0)));
        assert_eq!(repomd.date(), 1_700_000_001);
        let modules = repomd.index("modules").unwrap();
        assert_eq!((&modules.checksum, &*modules.algorithm), (&None, "sha"));
        assert_eq!(repomd.index("filelists"), None);
    }

    #[test]
    fn what_leads_elsewhere_or_is_malformed_is_refused() {
        let with = |from: &str, to: &str| Repomd::parse(SAMPLE.replace(from, to).as_bytes());
        for path in ["../x", "/x", "http://evil.example/x", "a//b", "", "a/../b", "a?b"] {
            let error = with("repodata/ba78-primary.xml.gz", path).unwrap_err();
            assert!(error.reason.contains("leads out"), "{error}");
        }
        assert!(with("<location href=", "<location xml:base='http://e.example' href=").is_err());
        assert!(with("<size>3", "<size>x").is_err());
        assert!(with("ba7816", "zz").is_err());
        assert!(with("<checksum type=\"sha256\"", "<checksum type=\"sha512\"").is_err());
        assert!(Repomd::parse(&b"<html></html>"[..]).is_err());
    }
}
