//! Names of files that come from an index, a template or the user.

/// The name of one ordinary file in a directory: it has no slash, is not hidden, and does not break a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileName<'a>(&'a str);

/// The error for a text that cannot name a file in a directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot be a name of a file: it is empty or too long, starts with a dot, or has a slash or a control character in it"
)]
pub struct BadFileName(pub String);

impl<'a> FileName<'a> {
    /// The longest name in bytes (`NAME_MAX`, limits.h(0p)).
    const BYTES_MAX: usize = 255;

    /// Takes `name` if it is one plain component of a path.
    ///
    /// # Errors
    /// [`BadFileName`] if it is not.
    pub fn new(name: &'a str) -> Result<Self, BadFileName> {
        let odd = |c: char| c == '/' || c.is_control();
        if name.is_empty() || name.len() > Self::BYTES_MAX || name.starts_with('.') || name.contains(odd) {
            return Err(BadFileName(name.to_owned()));
        }
        Ok(Self(name))
    }

    /// Returns the name.
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

impl AsRef<std::path::Path> for FileName<'_> {
    fn as_ref(&self) -> &std::path::Path {
        self.0.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_plain_component_is_a_file_name() {
        let longest = "n".repeat(255);
        for name in ["libc6_2.41-12_amd64.deb", "a b", "ä", "-", &longest] {
            assert_eq!(FileName::new(name).unwrap().as_str(), name);
        }
        let too_long = "n".repeat(256);
        for name in [
            "", ".", "..", ".hidden", "a/b", "/", "a\nb", "a\0b", "a\u{7f}", &too_long,
        ] {
            assert_eq!(FileName::new(name), Err(BadFileName(name.to_owned())));
        }
    }
}
