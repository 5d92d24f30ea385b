//! SELinux file contexts of an image's policy, and their substitutions.
//!
//! Invariant: a path gets a label or none or an error with file and line, the same one each time; a label is a word of
//! the contexts.
#![no_main]

use std::fs;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use oic::image::labels::FileContexts;
use oic::image::merged::Merged;
use oic::overlay::directory::DirectoryLayer;
use oic::overlay::layer::FileKind;

const PATHS: [&str; 6] = ["/", "/etc", "/etc/passwd", "/usr/bin/a", "/home/user/.ssh/key", "/a\nb"];

fuzz_target!(|input: (&str, &str, &[u8])| {
    let (contexts, substitutions, path) = input;
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let files = directory.path().join("etc/selinux/fuzz/contexts/files");
    fs::create_dir_all(&files).unwrap();
    fs::write(
        directory.path().join("etc/selinux/config"),
        "SELINUX=enforcing\nSELINUXTYPE=fuzz\n",
    )
    .unwrap();
    fs::write(files.join("file_contexts"), contexts).unwrap();
    fs::write(files.join("file_contexts.subs"), substitutions).unwrap();
    let layer = DirectoryLayer::open(directory.path()).unwrap();
    let merged = Merged::new(vec![Arc::new(layer)]).unwrap();
    let Ok(Some(policy)) = FileContexts::of(&merged) else {
        return;
    };
    let paths = PATHS.iter().map(|path| path.as_bytes()).chain([path]);
    for path in paths {
        for kind in [FileKind::Regular, FileKind::Directory, FileKind::Symlink] {
            if let Ok(Some(label)) = policy.label(path, kind) {
                assert!(contexts.split_ascii_whitespace().any(|word| word == label));
                assert_eq!(policy.label(path, kind).unwrap(), Some(label));
            }
        }
    }
});
