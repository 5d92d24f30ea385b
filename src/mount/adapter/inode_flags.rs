//! Inode flags (ioctl_iflags(2)) in the words of the kernel's requests.

use fuser::ReplyIoctl;
use rustix::fs::IFlags;

/// `FS_IOC_GETFLAGS` and `FS_IOC_SETFLAGS` of `linux/fs.h`; the value has 4 bytes, whatever the number says.
const GET: u32 = 0x8008_6601;
const SET: u32 = 0x4008_6602;
/// `FS_IOC_FSGETXATTR`, with which the kernel looks at a file before it sets flags.
const GET_EXTENDED: u32 = 0x801c_581f;
/// The size of `struct fsxattr`, which begins with 4 bytes of flags, in bytes.
const EXTENDED_BYTES: usize = 28;
/// Flags with a counterpart in `struct fsxattr`: `FS_…_FL`, `FS_XFLAG_…`.
const COUNTERPARTS: [(IFlags, u32); 5] = [
    (IFlags::SYNC, 0x20),
    (IFlags::IMMUTABLE, 0x08),
    (IFlags::APPEND, 0x10),
    (IFlags::NODUMP, 0x80),
    (IFlags::NOATIME, 0x40),
];

/// A request about flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::mount) enum FlagsRequest {
    /// For the flags alone.
    Get,
    /// For a `struct fsxattr`.
    GetExtended,
    /// To set these.
    Set(u32),
}

impl FlagsRequest {
    /// Returns the request that the ioctl(2) `command` with `input` makes; `None` for another one.
    pub(in crate::mount) fn of(command: u32, input: &[u8]) -> Option<Self> {
        match (command, input.first_chunk::<4>()) {
            (GET, _) => Some(Self::Get),
            (GET_EXTENDED, _) => Some(Self::GetExtended),
            (SET, Some(&flags)) => Some(Self::Set(u32::from_ne_bytes(flags))),
            _ => None,
        }
    }

    /// Replies that the file has `flags`, or now has them.
    pub(in crate::mount) fn reply(self, flags: u32, reply: ReplyIoctl) {
        match self {
            Self::Get => reply.ioctl(0, &flags.to_ne_bytes()),
            Self::GetExtended => reply.ioctl(0, &extended(flags)),
            Self::Set(_) => reply.ioctl(0, &[]),
        }
    }
}

/// Returns the `struct fsxattr` of a file with these flags, which has no project.
fn extended(flags: u32) -> [u8; EXTENDED_BYTES] {
    let flags = IFlags::from_bits_retain(flags);
    let counterparts = COUNTERPARTS.iter().filter(|(flag, _)| flags.contains(*flag));
    let words = counterparts.fold(0_u32, |words, (_, counterpart)| words | counterpart);
    let mut bytes = [0; EXTENDED_BYTES];
    for (byte, word) in bytes.iter_mut().zip(words.to_ne_bytes()) {
        *byte = word;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart() {
        assert_eq!(FlagsRequest::of(GET, &[]), Some(FlagsRequest::Get));
        assert_eq!(
            FlagsRequest::of(SET, &0x40_u32.to_ne_bytes()),
            Some(FlagsRequest::Set(0x40))
        );
        assert_eq!(FlagsRequest::of(SET, &[1]), None);
        // FIONREAD.
        assert_eq!(FlagsRequest::of(0x541b, &[0; 4]), None);
        let bytes = extended((IFlags::NODUMP | IFlags::APPEND | IFlags::NOCOW).bits());
        assert_eq!(bytes.first_chunk::<4>(), Some(&0x90_u32.to_ne_bytes()));
    }
}
