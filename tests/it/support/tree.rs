//! What a tree of files is, apart from its times.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use oic::package::Sha256;

/// Everything of one file that an image shows.
#[derive(Debug, PartialEq, Eq)]
pub struct Node {
    mode: String,
    owner: (u32, u32),
    links: u64,
    device: u64,
    target: Option<PathBuf>,
    content: Option<Sha256>,
    xattrs: Vec<(String, Vec<u8>)>,
}

/// All files below `root` by their relative paths.
pub fn scan(root: &Path) -> BTreeMap<PathBuf, Node> {
    let mut nodes = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() {
                pending.push(path.clone());
            }
            let node = Node {
                mode: format!("{:o}", metadata.mode()),
                owner: (metadata.uid(), metadata.gid()),
                links: if metadata.is_dir() { 0 } else { metadata.nlink() },
                device: metadata.rdev(),
                target: fs::read_link(&path).ok(),
                content: metadata.is_file().then(|| Sha256::of(fs::read(&path).unwrap())),
                xattrs: xattrs(&path),
            };
            nodes.insert(path.strip_prefix(root).unwrap().to_owned(), node);
        }
    }
    nodes
}

fn xattrs(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut names = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, names.as_mut_slice()).unwrap();
    let names = String::from_utf8(names[..length].to_vec()).unwrap();
    names
        .split_terminator('\0')
        .map(|name| {
            let mut value = vec![0; 4096];
            let length = rustix::fs::lgetxattr(path, name, value.as_mut_slice()).unwrap();
            value.truncate(length);
            (name.to_owned(), value)
        })
        .collect()
}
