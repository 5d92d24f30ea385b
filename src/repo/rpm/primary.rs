//! `primary.xml`: the packages of a repository.

use std::io::BufRead;
use std::sync::Arc;

use super::repomd::stays_inside;
use super::xml::{Piece, Start, Xml, XmlError};
use crate::package::{Algorithm, Checksum, RpmRecord};

/// Returns whether `primary.xml` lists the file `path` of a package: configuration, and files in a directory whose name
/// ends in `bin` (createrepo_c's `cr_is_primary`; dnf and libsolv rely on it too).
pub fn lists_file(path: &str) -> bool {
    path.starts_with("/etc/") || path == "/usr/lib/sendmail" || path.contains("bin/")
}

/// The number of packages whose mistakes are named one by one.
const NAMED: usize = 5;
/// The longest part of a value that a message repeats, in characters.
const SHOWN_CHARS: usize = 80;

/// The content of a `primary.xml`. As for `.deb` repositories, one odd package does not make the others unusable.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Primary {
    /// The packages that can be used and are wanted, in the order of the text.
    pub records: Vec<RpmRecord>,
    /// Why packages are left out: each lacks what its download or verification needs, or has a value that is malformed
    /// or unsafe. The first few of them.
    pub skipped: Vec<XmlError>,
    /// The number of packages that are left out.
    pub skipped_count: usize,
}

impl Primary {
    fn skip(&mut self, error: XmlError) {
        self.skipped_count += 1;
        if self.skipped.len() < NAMED {
            self.skipped.push(error);
        }
    }
}

/// Parses a `primary.xml`; only records for which `keep` is true are kept in memory. A package with a mistake is left
/// out.
///
/// # Errors
/// [`XmlError`] if the text is no XML, or no primary index.
pub fn parse_primary(
    text: impl BufRead,
    repository: &Arc<str>,
    priority: i32,
    keep: &dyn Fn(&RpmRecord) -> bool,
) -> Result<Primary, XmlError> {
    let mut xml = Xml::new(text);
    let mut primary = Primary::default();
    let mut package = Package::default();
    let mut is_primary = false;
    loop {
        match xml.next()? {
            Piece::Start(start) => {
                is_primary |= start.name() == "metadata";
                let read = package.start(&start);
                package.note(read);
            }
            Piece::Text(text) if package.takes_text => package.text.push_str(&text),
            Piece::End(end) => {
                if end.name() != "package" {
                    let read = package.end(end.name());
                    package.note(read);
                    continue;
                }
                match package.finish(repository, priority) {
                    Ok(record) => primary.records.extend(record.filter(keep)),
                    Err(reason) => primary.skip(xml.error(reason)),
                }
            }
            Piece::Text(_) | Piece::Other => {}
            Piece::Eof if is_primary => return Ok(primary),
            Piece::Eof => return Err(xml.error("it is no primary index")),
        }
    }
}

/// The state of the package that is being read. The next package reuses its buffers.
#[derive(Debug, Default)]
struct Package {
    is_rpm: bool,
    takes_text: bool,
    text: String,
    name: String,
    evr: String,
    arch: String,
    summary: String,
    checksum: Option<Checksum>,
    /// The name of the digest's algorithm.
    algorithm: String,
    path: String,
    size_bytes: Option<u64>,
    installed_size_bytes: u64,
    built_at: u64,
    /// The one of `lists` that entries are added to.
    list: Option<List>,
    lists: [String; 6],
    files: String,
    /// The dependency or version that is being read.
    entry: Entry,
    /// The first mistake in it.
    mistake: Option<String>,
}

#[derive(Debug, Clone, Copy)]
enum List {
    Requires,
    RequiresPre,
    Provides,
    Conflicts,
    Obsoletes,
    Recommends,
}

impl Package {
    /// Remembers the first mistake of the package.
    fn note(&mut self, read: Result<(), String>) {
        if let Err(mistake) = read {
            self.mistake.get_or_insert(mistake);
        }
    }

    fn start(&mut self, start: &Start<'_>) -> Result<(), String> {
        self.takes_text = false;
        match start.name() {
            "package" => {
                self.clear();
                self.is_rpm = start.attribute("type")?.is_none_or(|kind| kind == "rpm");
            }
            "name" | "arch" | "summary" | "file" => self.take_text(),
            "checksum" => {
                self.algorithm = start.attribute("type")?.unwrap_or_default();
                self.take_text();
            }
            "version" => {
                self.evr.clear();
                self.entry.read(start)?;
                self.entry.push_evr(&mut self.evr)?;
            }
            "time" => {
                let built = start.attribute("build")?;
                // A package without a time counts as the oldest.
                self.built_at = built.and_then(|seconds| seconds.parse().ok()).unwrap_or(0);
            }
            "size" => {
                let number = |text: Option<String>| text.and_then(|text| text.parse().ok());
                self.size_bytes = number(start.attribute("package")?);
                self.installed_size_bytes = number(start.attribute("installed")?).unwrap_or(0);
            }
            "location" => {
                self.path = start.attribute("href")?.unwrap_or_default();
                if start.attribute("xml:base")?.is_some() {
                    return Err("it lies in another place (xml:base)".to_owned());
                }
            }
            "requires" => self.list = Some(List::Requires),
            "provides" => self.list = Some(List::Provides),
            "conflicts" => self.list = Some(List::Conflicts),
            "obsoletes" => self.list = Some(List::Obsoletes),
            "recommends" => self.list = Some(List::Recommends),
            "entry" => match self.entry(start) {
                // A package works without what it recommends.
                Err(_) if matches!(self.list, Some(List::Recommends)) => {}
                read => read?,
            },
            // Other weak dependencies and texts for people are ignored.
            _ => {}
        }
        Ok(())
    }

    fn take_text(&mut self) {
        self.takes_text = true;
        self.text.clear();
    }

    fn end(&mut self, name: &str) -> Result<(), String> {
        let taken = std::mem::take(&mut self.takes_text);
        match name {
            "requires" | "provides" | "conflicts" | "obsoletes" | "recommends" => self.list = None,
            _ if !taken => {}
            "name" => self.text.trim().clone_into(&mut self.name),
            "arch" => self.text.trim().clone_into(&mut self.arch),
            "summary" => self.text.trim().clone_into(&mut self.summary),
            "checksum" => {
                let known = Algorithm::named(&self.algorithm);
                let digest = known.map(|algorithm| Checksum::parse(algorithm, self.text.trim()));
                let digest = digest.transpose();
                self.checksum = digest.map_err(|error| error.to_string())?;
            }
            "file" if !self.text.contains('\n') => {
                self.files.push_str(&self.text);
                self.files.push('\n');
            }
            _ => {}
        }
        Ok(())
    }

    /// Adds one dependency as a line; dependencies on rpm's own features are left to rpm.
    fn entry(&mut self, start: &Start<'_>) -> Result<(), String> {
        let Some(list) = self.list else { return Ok(()) };
        self.entry.read(start)?;
        let Entry { name, sign, pre, .. } = &self.entry;
        if name.starts_with("rpmlib(") {
            return Ok(());
        }
        let is_rich = name.starts_with('(');
        if name.is_empty() || name.contains('\n') || (!is_rich && name.contains(char::is_whitespace)) {
            return Err(format!("a dependency is called {:?}", shown(name)));
        }
        let list = match list {
            List::Requires if *pre => List::RequiresPre,
            list => list,
        };
        let lines = &mut self.lists[list as usize];
        lines.push_str(name);
        if let Some(sign) = sign {
            if sign.is_empty() || self.entry.version.is_empty() {
                return Err(format!("its dependency on {} is malformed", shown(name)));
            }
            lines.push_str(sign);
            self.entry.push_evr(lines)?;
        }
        lines.push('\n');
        Ok(())
    }

    /// Returns the record; `None` for a package that is not an RPM. The error is why it cannot be used.
    fn finish(&mut self, repository: &Arc<str>, priority: i32) -> Result<Option<RpmRecord>, String> {
        if !self.is_rpm {
            return Ok(None);
        }
        let record = match self.mistake.take() {
            Some(mistake) => Err(mistake),
            None => self.record(repository, priority),
        };
        let named = |mistake| format!("the package {:?} cannot be used: {mistake}", shown(&self.name));
        record.map(Some).map_err(named)
    }

    fn record(&self, repository: &Arc<str>, priority: i32) -> Result<RpmRecord, String> {
        let is_word = |word: &str| !word.is_empty() && is_plain(word);
        if !is_word(&self.name) || !is_word(&self.arch) {
            return Err(format!(
                "its name or its architecture ({:?}) cannot be part of a file name",
                shown(&self.arch)
            ));
        }
        if self.evr.starts_with('-') || self.evr.ends_with('-') || !self.evr.contains('-') {
            return Err(format!("it has the version {:?}", shown(&self.evr)));
        }
        if !stays_inside(&self.path) {
            return Err(format!("it lies at {:?}, out of the repository", shown(&self.path)));
        }
        let checksum = self.checksum.ok_or_else(|| {
            let algorithm = shown(&self.algorithm);
            format!("it is listed with a digest by {algorithm:?}, which oic does not trust")
        })?;
        let size_bytes = self.size_bytes.ok_or("it has no size")?;
        let list = |list: List| self.lists[list as usize].trim_end().into();
        Ok(RpmRecord {
            name: self.name.as_str().into(),
            evr: self.evr.as_str().into(),
            arch: self.arch.as_str().into(),
            summary: self.summary.as_str().into(),
            requires_pre: list(List::RequiresPre),
            requires: list(List::Requires),
            recommends: list(List::Recommends),
            provides: list(List::Provides),
            conflicts: list(List::Conflicts),
            obsoletes: list(List::Obsoletes),
            files: self.files.trim_end().into(),
            path: self.path.as_str().into(),
            size_bytes,
            installed_size_bytes: self.installed_size_bytes,
            built_at: self.built_at,
            checksum,
            repository: Arc::clone(repository),
            priority,
        })
    }

    fn clear(&mut self) {
        for text in [
            &mut self.name,
            &mut self.evr,
            &mut self.arch,
            &mut self.summary,
            &mut self.algorithm,
            &mut self.path,
            &mut self.files,
        ] {
            text.clear();
        }
        self.lists.iter_mut().for_each(String::clear);
        (self.checksum, self.size_bytes, self.list) = (None, None, None);
        self.mistake = None;
        (self.installed_size_bytes, self.built_at) = (0, 0);
    }
}

/// Returns the start of a value, as far as a message repeats it.
fn shown(value: &str) -> &str {
    let end = value.char_indices().nth(SHOWN_CHARS).map(|(at, _)| at);
    end.map_or(value, |end| &value[..end])
}

/// Returns whether a word can be part of a file name.
fn is_plain(word: &str) -> bool {
    !word.contains(['/', '\0']) && !word.contains(char::is_whitespace)
}

/// The attributes of a dependency or a version.
#[derive(Debug, Default)]
struct Entry {
    name: String,
    /// The operator with blanks around it; empty for an unknown one.
    sign: Option<&'static str>,
    epoch: String,
    version: String,
    release: String,
    pre: bool,
}

impl Entry {
    fn read(&mut self, start: &Start<'_>) -> Result<(), String> {
        for text in [&mut self.name, &mut self.epoch, &mut self.version, &mut self.release] {
            text.clear();
        }
        (self.sign, self.pre) = (None, false);
        start.attributes(|key, value| match key {
            "name" => self.name.push_str(value),
            "epoch" => self.epoch.push_str(value),
            "ver" => self.version.push_str(value),
            "rel" => self.release.push_str(value),
            "pre" => self.pre = matches!(value, "1" | "true"),
            "flags" => {
                self.sign = Some(match value {
                    "EQ" => " = ",
                    "LT" => " < ",
                    "LE" => " <= ",
                    "GT" => " > ",
                    "GE" => " >= ",
                    _ => "",
                });
            }
            _ => {}
        })
    }

    /// Appends `[epoch:]version[-release]`; an epoch of 0 is left out.
    fn push_evr(&self, text: &mut String) -> Result<(), String> {
        let Self {
            epoch,
            version,
            release,
            ..
        } = self;
        let blank = |part: &String| part.contains(char::is_whitespace);
        if blank(version) || blank(release) || !epoch.bytes().all(|byte| byte.is_ascii_digit()) {
            let [epoch, version, release] = [epoch, version, release].map(|part| shown(part));
            return Err(format!("{epoch:?} {version:?} {release:?} is no version"));
        }
        if !epoch.trim_start_matches('0').is_empty() {
            text.push_str(epoch);
            text.push(':');
        }
        text.push_str(version);
        if !release.is_empty() {
            text.push('-');
            text.push_str(release);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
