//! The names of mounts, so that people can tell them apart: findmnt(8) shows a [`Label`] as the source, ps(1) as a part
//! of the server's command line.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;

/// The word that every source begins with.
const PROGRAM: &str = "oic";

/// The most bytes of a source: the kernel takes 255 (fsconfig(2)).
const SOURCE_BYTES_MAX: usize = 255;

/// The name of what a mount shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Label {
    /// The provider, template or tarball; empty if it has no name.
    pub subject: String,
    /// The `systemConfig.name` of the finished image, if the mount shows one.
    pub image: Option<String>,
}

impl Label {
    /// Returns the label of `subject`, and of its finished image `image`. Characters that have a meaning in options of
    /// mounts or in labels are replaced by `_`.
    pub fn new(subject: &str, image: Option<&str>) -> Self {
        Self {
            subject: plain(subject),
            image: image.map(plain),
        }
    }

    /// Returns the source of a mount with this label: `oic`, `oic:SUBJECT` or `oic:SUBJECT@IMAGE`. A long one loses
    /// characters of the subject, from its start.
    pub(super) fn source(&self) -> String {
        let text = self.to_string();
        if text.is_empty() {
            return PROGRAM.to_owned();
        }
        let room = SOURCE_BYTES_MAX - PROGRAM.len() - 1;
        let start = (text.len().saturating_sub(room)..=text.len()).find(|at| text.is_char_boundary(*at));
        format!(
            "{PROGRAM}:{}",
            text.get(start.unwrap_or(text.len())..).unwrap_or_default()
        )
    }

    /// Reads the `source` of a mount; `None` if it is not one of oic's.
    pub(super) fn of_source(source: &OsStr) -> Option<Self> {
        let rest = source.as_bytes().strip_prefix(PROGRAM.as_bytes())?;
        let text = match rest.split_first() {
            None => String::new(),
            Some((b':', text)) => String::from_utf8_lossy(text).into_owned(),
            Some(_) => return None,
        };
        let (subject, image) = match text.split_once('@') {
            Some((subject, image)) => (subject.to_owned(), Some(image.to_owned())),
            None => (text, None),
        };
        Some(Self { subject, image })
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.subject)?;
        match &self.image {
            Some(image) => write!(f, "@{image}"),
            None => Ok(()),
        }
    }
}

/// Returns `text` without `@`, which begins the image; without commas and backslashes, which fusermount3(1) takes for
/// the ends of options; and without control characters.
fn plain(text: &str) -> String {
    let is_special = |c: char| matches!(c, '@' | ',' | '\\') || c.is_control();
    text.replace(is_special, "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_names_subject_and_image() {
        for (subject, image, source) in [
            ("", None, "oic"),
            ("debian-debian13-x86_64", None, "oic:debian-debian13-x86_64"),
            (
                "debian-debian13-x86_64",
                Some("edge"),
                "oic:debian-debian13-x86_64@edge",
            ),
            ("/srv/a b@1,ro.tar", None, "oic:/srv/a b_1_ro.tar"),
        ] {
            let label = Label::new(subject, image);
            assert_eq!(label.source(), source);
            assert_eq!(Label::of_source(OsStr::new(source)), Some(label));
        }
        for foreign in ["", "oicx", "overlay", "/dev/oic"] {
            assert_eq!(Label::of_source(OsStr::new(foreign)), None, "{foreign}");
        }
    }

    #[test]
    fn a_long_one_keeps_its_end() {
        let label = Label::new(&"/ä".repeat(200), Some("edge"));
        let source = label.source();
        assert!(
            source.len() <= SOURCE_BYTES_MAX && source.ends_with("/ä@edge"),
            "{source}"
        );
        assert!(source.starts_with("oic:"), "{source}");
    }
}
