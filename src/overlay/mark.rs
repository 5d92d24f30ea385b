//! Extended attributes of the upper that belong to the overlay, not to its users.
//!
//! Names and meaning of `opaque`, `redirect`, `impure` and of the escape are those of Linux
//! (Documentation/filesystems/overlayfs.rst; "Nesting overlayfs mounts" for the escape). Facts for which Linux has no
//! attribute are in one of our own in the same namespace, which the kernel's overlayfs hides from its users as well.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use crate::durable;

const PREFIX: &[u8] = b"trusted.overlay.";
const ESCAPED: &[u8] = b"trusted.overlay.overlay.";

/// `y`: a directory that hides those below it.
pub(super) const OPAQUE: &str = "trusted.overlay.opaque";
/// The path of a renamed directory's other part in the layers below.
pub(super) const REDIRECT: &str = "trusted.overlay.redirect";
/// `y`: a directory with entries that have a [`Note`] or a redirect.
pub(super) const IMPURE: &str = "trusted.overlay.impure";
/// A [`Note`].
pub(super) const NOTE: &str = "trusted.overlay.oic";
/// The value of [`OPAQUE`] and [`IMPURE`].
pub(super) const YES: &[u8] = b"y";

/// Returns the attribute name under which the user's attribute `name` is stored.
pub(super) fn stored_name(name: &OsStr) -> Cow<'_, OsStr> {
    match name.as_bytes().strip_prefix(PREFIX) {
        None => Cow::Borrowed(name),
        Some(rest) => Cow::Owned(OsString::from_vec([ESCAPED, rest].concat())),
    }
}

/// Returns the user's name for the stored attribute `name`; `None` if it is not the user's.
pub(super) fn shown_name(name: &OsStr) -> Option<Cow<'_, OsStr>> {
    let bytes = name.as_bytes();
    if let Some(rest) = bytes.strip_prefix(ESCAPED) {
        return Some(Cow::Owned(OsString::from_vec([PREFIX, rest].concat())));
    }
    let is_hidden = bytes.starts_with(PREFIX) || durable::is_of_file_system(bytes);
    (!is_hidden).then_some(Cow::Borrowed(name))
}

/// Returns the names in a listxattr(2) buffer.
pub(super) fn split_names(list: &[u8]) -> impl Iterator<Item = &OsStr> {
    list.split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
        .map(OsStr::from_bytes)
}

/// The facts kept about a non-directory in the upper beside its inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Note {
    /// The inode number it had in a layer, 0 if it comes from none.
    pub(super) ino: u64,
    /// The number of links to show, if not that of its inode.
    pub(super) links: Option<u32>,
    /// Whether this empty regular file stands for the character device 0:0, which itself is a whiteout.
    pub(super) zero_device: bool,
    /// Whether only `links` is new: all else is still in the layer.
    pub(super) stub: bool,
}

const VERSION: u8 = 1;
const ZERO_DEVICE: u8 = 1;
const STUB: u8 = 2;
const LINKS: u8 = 4;
/// Length of an encoded note.
pub(super) const NOTE_BYTES: usize = 16;

impl Note {
    /// Encodes the note: version, flags, 2 zeros, links (32 bits), inode number (64 bits); little-endian.
    pub(super) fn encode(self) -> [u8; NOTE_BYTES] {
        let mut flags = 0;
        for (flag, is_set) in [
            (ZERO_DEVICE, self.zero_device),
            (STUB, self.stub),
            (LINKS, self.links.is_some()),
        ] {
            flags |= if is_set { flag } else { 0 };
        }
        let [a, b, c, d] = self.links.unwrap_or(0).to_le_bytes();
        let [e, f, g, h, i, j, k, l] = self.ino.to_le_bytes();
        [VERSION, flags, 0, 0, a, b, c, d, e, f, g, h, i, j, k, l]
    }

    /// Decodes a note; `None` if it was not written by [`Self::encode`].
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let &[VERSION, flags, 0, 0, a, b, c, d, e, f, g, h, i, j, k, l] = bytes else {
            return None;
        };
        Some(Self {
            ino: u64::from_le_bytes([e, f, g, h, i, j, k, l]),
            links: (flags & LINKS != 0).then_some(u32::from_le_bytes([a, b, c, d])),
            zero_device: flags & ZERO_DEVICE != 0,
            stub: flags & STUB != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_the_kernel_does() {
        for (user, stored) in [
            ("user.a", "user.a"),
            ("trusted.overlay.opaque", "trusted.overlay.overlay.opaque"),
            ("trusted.overlay.overlay.x", "trusted.overlay.overlay.overlay.x"),
            ("trusted.overlayer", "trusted.overlayer"),
        ] {
            assert_eq!(stored_name(user.as_ref()), OsStr::new(stored));
            assert_eq!(shown_name(stored.as_ref()).unwrap(), OsStr::new(user));
        }
        assert_eq!(shown_name(OPAQUE.as_ref()), None);
        assert_eq!(shown_name(NOTE.as_ref()), None);
        assert_eq!(shown_name("trusted.SGI_ACL_FILE".as_ref()), None);
    }

    #[test]
    fn notes_survive() {
        for links in [None, Some(0), Some(70_000)] {
            for (zero_device, stub) in [(false, false), (true, false), (false, true)] {
                let note = Note {
                    ino: 0x0123_4567_89ab_cdef,
                    links,
                    zero_device,
                    stub,
                };
                assert_eq!(Note::decode(&note.encode()), Some(note));
            }
        }
        assert_eq!(Note::decode(b""), None);
        assert_eq!(Note::decode(&[2; NOTE_BYTES]), None);
    }
}
