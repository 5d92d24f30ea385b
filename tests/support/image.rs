//! A writable image root for tests: an overlay above the Debian base, unmounted when dropped.

use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

#[derive(Debug)]
pub struct Image {
    directory: tempfile::TempDir,
}

impl Image {
    pub fn over(base: &Path) -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["upper", "work", "root"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={},volatile",
            base.display(),
            at("upper").display(),
            at("work").display()
        );
        let options = std::ffi::CString::new(options).unwrap();
        mount(
            "overlay",
            at("root"),
            "overlay",
            MountFlags::empty(),
            Some(options.as_c_str()),
        )
        .unwrap();
        Self { directory }
    }

    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    pub fn upper(&self) -> PathBuf {
        self.directory.path().join("upper")
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = unmount(self.root(), UnmountFlags::DETACH);
    }
}
