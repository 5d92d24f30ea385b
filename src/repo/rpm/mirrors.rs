//! Lists of mirrors: plain ones, and metalinks for `repomd.xml` (RFC 5854 and metalink 3.0).
//!
//! They are hints like any URL. `repomd.xml` must have one of a metalink's digests, but only its signature makes it
//! trusted.

use std::io::BufRead;

use super::xml::{Piece, Start, Xml, XmlError};
use crate::package::Sha256;

/// The number of mirrors that are tried at most.
const MIRRORS_LIMIT: usize = 20;
const REPOMD: &str = "/repodata/repomd.xml";

/// The mirrors of a repository, with the digests that its `repomd.xml` may have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MirrorChoice {
    /// Base URLs without a trailing slash, the preferred first.
    pub base_urls: Vec<String>,
    /// Digests that `repomd.xml` may have; empty: any.
    pub repomd: Vec<Sha256>,
}

/// Parses a list with one base URL per line; `#` starts a comment line.
pub fn parse_mirror_list(text: &str) -> MirrorChoice {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let urls = lines
        .filter(|line| is_url(line))
        .map(|url| url.trim_end_matches('/').to_owned());
    MirrorChoice {
        base_urls: urls.take(MIRRORS_LIMIT).collect(),
        repomd: Vec::new(),
    }
}

/// Parses a metalink: the mirrors with the greatest `preference` (3.0) or the least `priority` (4.0) come first, and
/// the digests are those of the current `repomd.xml` and of its alternates.
///
/// # Errors
/// [`XmlError`] if it is malformed or not a metalink.
pub fn parse_metalink(text: impl BufRead) -> Result<MirrorChoice, XmlError> {
    let mut xml = Xml::new(text);
    let mut metalink = Metalink::default();
    loop {
        match xml.next()? {
            Piece::Start(start) => metalink.start(&start).map_err(|reason| xml.error(reason))?,
            Piece::Text(more) => metalink.text.push_str(&more),
            Piece::End(end) => metalink.end(end.name()),
            Piece::Other => {}
            Piece::Eof if metalink.is_metalink => break,
            Piece::Eof => return Err(xml.error("it is no metalink")),
        }
    }
    metalink.mirrors.sort_by_key(|(rank, _)| *rank);
    let urls = metalink.mirrors.into_iter().map(|(_, url)| url);
    Ok(MirrorChoice {
        base_urls: urls.take(MIRRORS_LIMIT).collect(),
        repomd: metalink.repomd,
    })
}

/// The state of the parser of a metalink.
#[derive(Debug, Default)]
struct Metalink {
    is_metalink: bool,
    /// The parser is inside the element of `repomd.xml`.
    is_repomd: bool,
    is_sha256: bool,
    text: String,
    /// Rank of the current mirror; the smaller is preferred.
    rank: i64,
    mirrors: Vec<(i64, String)>,
    repomd: Vec<Sha256>,
}

impl Metalink {
    fn start(&mut self, start: &Start<'_>) -> Result<(), String> {
        self.text.clear();
        let number = |text: Option<String>| text.and_then(|text| text.parse::<i64>().ok());
        match start.name() {
            "metalink" => self.is_metalink = true,
            "file" => self.is_repomd = start.attribute("name")?.as_deref() == Some("repomd.xml"),
            "hash" => {
                let kind = start.attribute("type")?;
                self.is_sha256 = matches!(kind.as_deref(), Some("sha256" | "sha-256"));
            }
            "url" => {
                let preference = number(start.attribute("preference")?).map(i64::saturating_neg);
                self.rank = preference.or(number(start.attribute("priority")?)).unwrap_or(0);
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, name: &str) {
        match name {
            "url" if self.is_repomd => {
                let base = self.text.trim().strip_suffix(REPOMD).filter(|base| is_url(base));
                self.mirrors.extend(base.map(|base| (self.rank, base.to_owned())));
            }
            "hash" if self.is_repomd && self.is_sha256 => self.repomd.extend(self.text.trim().parse::<Sha256>().ok()),
            _ => {}
        }
    }
}

/// Returns whether `text` is a URL that oic can download; mirrors with other protocols are ignored.
fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lists() {
        let text = "# mirrors\nhttps://a.example/os/\n\nrsync://b.example/os\n http://c.example/os \n<html>\n";
        assert_eq!(
            parse_mirror_list(text).base_urls,
            ["https://a.example/os", "http://c.example/os"]
        );
        assert!(parse_mirror_list("").base_urls.is_empty());
    }

    #[test]
    fn metalinks() {
        let digest = Sha256::of("current");
        let old = Sha256::of("old");
        let text = format!(
            r#"<?xml version="1.0"?><metalink version="3.0" xmlns="http://www.metalinker.org/" xmlns:mm0="http://e.example">
            <files><file name="repomd.xml"><size>3</size><verification><hash type="md5">00</hash><hash type="sha256">{digest}</hash></verification>
            <mm0:alternates><mm0:alternate><verification><hash type="sha256">{old}</hash></verification></mm0:alternate></mm0:alternates>
            <resources maxconnections="1"><url protocol="https" type="https" preference="90">https://b.example/os/repodata/repomd.xml</url>
            <url protocol="https" preference="100">https://a.example/os/repodata/repomd.xml</url>
            <url protocol="rsync" preference="100">rsync://c.example/os/repodata/repomd.xml</url></resources></file>
            <file name="other"><url>https://d.example/os/repodata/repomd.xml</url></file></files></metalink>"#
        );
        let choice = parse_metalink(text.as_bytes()).unwrap();
        assert_eq!(choice.base_urls, ["https://a.example/os", "https://b.example/os"]);
        assert_eq!(choice.repomd, [digest, old]);
        assert!(parse_metalink(&b"<html/>"[..]).is_err());
    }
}
