//! Requests beyond content and names: inode flags, and listings that leave a trace.

use fuser::{INodeNo, ReplyIoctl};

use super::Cow;
use crate::mount::adapter::Call;
use crate::mount::adapter::inode_flags::FlagsRequest;
use crate::overlay::{Access, Ino};

impl Cow {
    /// Answers an ioctl(2): reads and sets inode flags, refuses everything else. The kernel has checked that the caller
    /// owns the file.
    pub(super) fn control(&self, call: Call, ino: INodeNo, asked: Option<FlagsRequest>, reply: ReplyIoctl) {
        self.desk.noticed();
        let Some(asked) = asked else {
            return reply.error(fuser::Errno::ENOTTY);
        };
        let answer = match asked {
            FlagsRequest::Set(flags) => self.overlay.set_inode_flags(Ino(ino.0), flags).map(|()| flags),
            FlagsRequest::Get | FlagsRequest::GetExtended => self.overlay.inode_flags(Ino(ino.0)),
        };
        if matches!(asked, FlagsRequest::Set(_)) {
            self.direct.drop_attributes(ino);
        }
        match answer {
            Ok(flags) => asked.reply(flags, reply),
            Err(error) => reply.error(self.desk.fail(call, &error)),
        }
    }

    /// Changes the time of last access of a directory whose listing begins, if its mount wants that.
    pub(super) fn note_listing(&self, ino: INodeNo, offset: u64) {
        if offset != 0 || self.view.directories() == Access::Unnoted {
            return;
        }
        // The listing does not depend on it.
        if let Err(error) = self.overlay.note_listing(Ino(ino.0)) {
            tracing::debug!(inode = ino.0, "a listing leaves no trace: {error}");
        }
    }
}
