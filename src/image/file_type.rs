//! The numbers of kinds of files in directories of ext2, ext3, ext4 and erofs (`linux/fs_types.h`).

use crate::overlay::layer::FileKind;

/// Returns the number of `kind`.
pub(crate) const fn number(kind: FileKind) -> u8 {
    match kind {
        FileKind::Regular => 1,
        FileKind::Directory => 2,
        FileKind::CharDevice => 3,
        FileKind::BlockDevice => 4,
        FileKind::Fifo => 5,
        FileKind::Socket => 6,
        FileKind::Symlink => 7,
    }
}

/// Returns the kind that `number` stands for, if it stands for one.
pub(crate) const fn kind(number: u8) -> Option<FileKind> {
    Some(match number {
        1 => FileKind::Regular,
        2 => FileKind::Directory,
        3 => FileKind::CharDevice,
        4 => FileKind::BlockDevice,
        5 => FileKind::Fifo,
        6 => FileKind::Socket,
        7 => FileKind::Symlink,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stands_for_the_kind_that_has_it() {
        let kinds: Vec<_> = (0..=u8::MAX).filter_map(|n| Some((n, kind(n)?))).collect();
        assert_eq!(kinds.len(), 7);
        assert!(kinds.into_iter().all(|(n, kind)| number(kind) == n));
    }
}
