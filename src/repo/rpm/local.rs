//! Makes a record from a package file itself: for directories of packages without an index.

use std::sync::Arc;

use crate::package::{Checksum, RpmRecord};
use crate::rpmfile::{Header, RpmFileError, RpmHead, Tag};

/// Bits of a dependency's flags (rpm's `rpmsenseFlags`).
const LESS: u64 = 1 << 1;
const GREATER: u64 = 1 << 2;
const EQUAL: u64 = 1 << 3;
const PREREQUISITE: u64 = 1 << 6;
const SCRIPT_PRE: u64 = 1 << 9;
const SCRIPT_POST: u64 = 1 << 10;
/// Upper limit of the files of a package, beyond any real one.
const FILES_LIMIT: usize = 1 << 20;

/// The location and identity of a package file.
#[derive(Debug, Clone)]
pub struct Place {
    /// Path relative to the repository's base URL.
    pub path: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Digest of the file.
    pub checksum: Checksum,
    /// `Repository::id`.
    pub repository: Arc<str>,
    /// Priority of the repository.
    pub priority: i32,
}

/// Makes the record of the package with the headers `head`, as createrepo_c(8) would, but with all its files.
///
/// # Errors
/// [`RpmFileError`] if its header is malformed.
pub fn record(head: &RpmHead, place: &Place) -> Result<RpmRecord, RpmFileError> {
    let header = &head.header;
    let text = |tag: Tag, what: &str| {
        let text = header.string(tag)?.filter(|text| is_word(text));
        text.ok_or_else(|| RpmFileError::malformed("header", format!("has no {what}, or one that is none")))
    };
    let first = |tag| Ok::<_, RpmFileError>(header.numbers(tag)?.first().copied());
    let (requires, requires_pre) = requires(header)?;
    text(Tag::VERSION, "version")?;
    text(Tag::RELEASE, "release")?;
    Ok(RpmRecord {
        name: text(Tag::NAME, "name")?.into(),
        evr: head.evr().into(),
        arch: text(Tag::ARCH, "architecture")?.into(),
        summary: header.string(Tag::SUMMARY)?.unwrap_or_default().trim().into(),
        requires_pre: requires_pre.into(),
        requires: requires.into(),
        recommends: relations(
            header,
            Tag::RECOMMEND_NAME,
            Tag::RECOMMEND_FLAGS,
            Tag::RECOMMEND_VERSION,
        )?
        .into(),
        provides: relations(header, Tag::PROVIDE_NAME, Tag::PROVIDE_FLAGS, Tag::PROVIDE_VERSION)?.into(),
        conflicts: relations(header, Tag::CONFLICT_NAME, Tag::CONFLICT_FLAGS, Tag::CONFLICT_VERSION)?.into(),
        obsoletes: relations(header, Tag::OBSOLETE_NAME, Tag::OBSOLETE_FLAGS, Tag::OBSOLETE_VERSION)?.into(),
        files: files(head)?.into(),
        path: place.path.as_str().into(),
        size_bytes: place.size_bytes,
        installed_size_bytes: first(Tag::LONG_SIZE)?.or(first(Tag::SIZE)?).unwrap_or(0),
        built_at: first(Tag::BUILD_TIME)?.unwrap_or(0),
        checksum: place.checksum,
        repository: Arc::clone(&place.repository),
        priority: place.priority,
    })
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains('/') && !text.contains(char::is_whitespace)
}

/// Returns all dependencies of one kind with their flags.
fn entries(header: &Header, names: Tag, flags: Tag, versions: Tag) -> Result<Vec<(String, u64)>, RpmFileError> {
    let (names, flags, versions) = (
        header.strings(names)?,
        header.numbers(flags)?,
        header.strings(versions)?,
    );
    let mut lines = Vec::with_capacity(names.len());
    for (at, name) in names.into_iter().enumerate() {
        let flags = flags.get(at).copied().unwrap_or(0);
        let version = versions.get(at).copied().unwrap_or_default();
        let is_rich = name.starts_with('(');
        if name.starts_with("rpmlib(") {
            continue;
        }
        if name.is_empty()
            || name.contains('\n')
            || version.contains(char::is_whitespace)
            || (!is_rich && name.contains(char::is_whitespace))
        {
            let reason = format!("has a dependency called {name:?}");
            return Err(RpmFileError::malformed("header", reason));
        }
        let sign = match (flags & LESS != 0, flags & GREATER != 0, flags & EQUAL != 0) {
            (true, _, false) => "<",
            (true, _, true) => "<=",
            (false, true, false) => ">",
            (false, true, true) => ">=",
            (false, false, true) => "=",
            (false, false, false) => "",
        };
        lines.push(match version.is_empty() || sign.is_empty() || is_rich {
            true => (name.to_owned(), flags),
            false => (format!("{name} {sign} {version}"), flags),
        });
    }
    Ok(lines)
}

fn relations(header: &Header, names: Tag, flags: Tag, versions: Tag) -> Result<String, RpmFileError> {
    Ok(lines(entries(header, names, flags, versions)?))
}

/// Returns `Requires`, and those of them that scripts need.
fn requires(header: &Header) -> Result<(String, String), RpmFileError> {
    let all = entries(header, Tag::REQUIRE_NAME, Tag::REQUIRE_FLAGS, Tag::REQUIRE_VERSION)?;
    let before = |flags| flags & (PREREQUISITE | SCRIPT_PRE | SCRIPT_POST) != 0;
    let (pre, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, flags)| before(*flags));
    Ok((lines(rest), lines(pre)))
}

fn lines(entries: Vec<(String, u64)>) -> String {
    entries.into_iter().map(|(line, _)| line).collect::<Vec<_>>().join("\n")
}

fn files(head: &RpmHead) -> Result<String, RpmFileError> {
    let count = head.header.strings(Tag::BASE_NAMES)?.len();
    if count > FILES_LIMIT {
        return Err(RpmFileError::malformed("header", format!("has {count} files")));
    }
    let mut paths = head.paths()?;
    paths.retain(|path| !path.contains('\n'));
    Ok(paths.join("\n"))
}
