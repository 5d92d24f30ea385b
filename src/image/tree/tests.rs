use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};

use super::*;
use crate::image::merged::Merged;
use crate::overlay::directory::DirectoryLayer;
use crate::overlay::layer::{Entry, LayerResult};

/// A directory of the host that knows the digests of its files, as the base does.
#[derive(Debug)]
pub(in crate::image) struct Base(pub DirectoryLayer);

impl Layer for Base {
    fn root(&self) -> NodeId {
        self.0.root()
    }
    fn lookup(&self, directory: NodeId, name: &std::ffi::OsStr) -> LayerResult<Option<NodeId>> {
        self.0.lookup(directory, name)
    }
    fn attributes(&self, node: NodeId) -> LayerResult<Attributes> {
        self.0.attributes(node)
    }
    fn entries(&self, directory: NodeId, after: u64, visit: &mut dyn FnMut(Entry<'_>) -> bool) -> LayerResult<()> {
        self.0.entries(directory, after, visit)
    }
    fn read_link(&self, node: NodeId) -> LayerResult<Vec<u8>> {
        self.0.read_link(node)
    }
    fn xattr(&self, node: NodeId, name: &std::ffi::OsStr) -> LayerResult<Option<Vec<u8>>> {
        self.0.xattr(node, name)
    }
    fn xattr_names(&self, node: NodeId) -> LayerResult<Vec<OsString>> {
        self.0.xattr_names(node)
    }
    fn is_ready(&self, _node: NodeId, _offset: u64, _length: usize) -> bool {
        true
    }
    fn digest(&self, node: NodeId) -> LayerResult<Option<Sha256>> {
        let mut bytes = vec![0; self.attributes(node)?.size_bytes as usize];
        self.0.read_at(node, 0, &mut bytes)?;
        Ok(Some(Sha256::of(&bytes)))
    }
    fn read_at(&self, node: NodeId, offset: u64, buffer: &mut [u8]) -> LayerResult<usize> {
        self.0.read_at(node, offset, buffer)
    }
}

fn merged(upper: &Path, base: &Path) -> Merged {
    let upper = DirectoryLayer::open(upper).unwrap();
    let base = Base(DirectoryLayer::open(base).unwrap());
    Merged::new(vec![Arc::new(upper), Arc::new(base)]).unwrap()
}

fn find<'a>(tree: &'a Tree, path: &str) -> Option<&'a Node> {
    let place = |index: &usize| tree.path_of(*index) == Path::new(path);
    (0..tree.nodes().len()).find(place).map(|index| &tree.nodes()[index])
}

#[test]
fn layers_are_merged_and_what_did_not_change_is_of_the_base() {
    let directory = tempfile::tempdir().unwrap();
    let (upper, base) = (directory.path().join("upper"), directory.path().join("base"));
    for path in ["base/etc", "base/gone", "upper/etc"] {
        fs::create_dir_all(directory.path().join(path)).unwrap();
    }
    for (path, text) in [
        ("base/etc/same", "same"),
        ("base/etc/other", "base"),
        ("base/etc/only", "base"),
        ("upper/etc/same", "same"),
        ("upper/etc/other", "uppe"),
        ("upper/etc/new", "new"),
    ] {
        fs::write(directory.path().join(path), text).unwrap();
    }
    fs::hard_link(base.join("etc/only"), base.join("etc/twice")).unwrap();
    fs::set_permissions(upper.join("etc/same"), fs::Permissions::from_mode(0o600)).unwrap();
    let whiteout = rustix::fs::makedev(0, 0);
    let kind = rustix::fs::FileType::CharacterDevice;
    rustix::fs::mknodat(
        rustix::fs::CWD,
        upper.join("gone"),
        kind,
        rustix::fs::Mode::empty(),
        whiteout,
    )
    .unwrap();
    let merged = merged(&upper, &base);
    let tree = collect(merged.overlay(), Path::new("/"), &[], 2).unwrap();
    let origin = |path: &str| match &find(&tree, path).unwrap().content {
        Content::File(content) => (content.layer, content.digest.is_some()),
        _ => panic!("{path}"),
    };
    assert_eq!(origin("/etc/same"), (1, true));
    assert_eq!(origin("/etc/other"), (0, false));
    assert_eq!(origin("/etc/new"), (0, false));
    assert_eq!(origin("/etc/only"), (1, true));
    assert_eq!(find(&tree, "/etc/same").unwrap().attributes.permissions, 0o600);
    assert!(find(&tree, "/gone").is_none() && find(&tree, "/etc/twice").is_none());
    assert_eq!(find(&tree, "/etc/only").unwrap().attributes.links, 2);
    assert_eq!(find(&tree, "/").unwrap().attributes.links, 3);
    let below = collect(merged.overlay(), Path::new("/etc"), &[], 2).unwrap();
    assert_eq!(below.nodes().len(), 5);
    let without = collect(merged.overlay(), Path::new("/"), &["/etc".into()], 1).unwrap();
    assert_eq!(without.nodes().len(), 2);
    let error = collect(merged.overlay(), Path::new("/etc/same"), &[], 1)
        .unwrap_err()
        .to_string();
    assert!(error.contains("/etc/same"), "{error}");
}

#[test]
fn holes_are_what_is_zero() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let (hole, filled) = (File::create(at("hole")).unwrap(), File::create(at("filled")).unwrap());
    for file in [&hole, &filled] {
        file.set_len(20 << 20).unwrap();
    }
    filled.write_all_at(&vec![0; 20 << 20], 0).unwrap();
    for file in [&hole, &filled] {
        file.write_all_at(b"x", (3 << 20) + 5).unwrap();
        file.write_all_at(b"y", (4 << 20) + 5).unwrap();
        file.write_all_at(b"z", (20 << 20) - 1).unwrap();
    }
    fs::write(at("small"), vec![0; 2 << 20]).unwrap();
    assert_ne!(hole.metadata().unwrap().blocks(), filled.metadata().unwrap().blocks());
    let merged = Merged::of_directory(directory.path()).unwrap();
    let tree = collect(merged.overlay(), Path::new("/"), &[], 2).unwrap();
    for (path, expected) in [
        ("/hole", Some(vec![(3 << 20, 5 << 20), (19 << 20, 20 << 20)])),
        ("/filled", Some(vec![(3 << 20, 5 << 20), (19 << 20, 20 << 20)])),
        ("/small", None),
    ] {
        let Content::File(content) = &find(&tree, path).unwrap().content else {
            panic!("{path}")
        };
        assert_eq!(content.data, expected, "{path}");
    }
}

#[test]
fn a_tree_is_put_into_another() {
    let directory = tempfile::tempdir().unwrap();
    for path in ["data/own", "data/home", "var/lib/dpkg"] {
        fs::create_dir_all(directory.path().join(path)).unwrap();
    }
    fs::write(directory.path().join("data/own/file"), "own").unwrap();
    fs::write(directory.path().join("var/lib/dpkg/status"), "status").unwrap();
    fs::hard_link(
        directory.path().join("var/lib/dpkg/status"),
        directory.path().join("var/lib/again"),
    )
    .unwrap();
    fs::set_permissions(directory.path().join("var"), fs::Permissions::from_mode(0o711)).unwrap();
    let merged = Merged::of_directory(directory.path()).unwrap();
    let of = |path: &str| collect(merged.overlay(), Path::new(path), &[], 1).unwrap();
    let mut tree = Tree::empty();
    tree.graft(Path::new("/"), of("/data")).unwrap();
    assert_eq!(tree.nodes().len(), of("/data").nodes().len());
    tree.graft(Path::new("/overlay/var"), of("/var")).unwrap();
    tree.graft(Path::new("/home"), of("/var")).unwrap();
    for at in ["/overlay/var", "/home"] {
        let at = Path::new(at);
        let node = |below: &str| find(&tree, at.join(below).to_str().unwrap()).unwrap();
        assert_eq!((node("").attributes.permissions, node("").attributes.links), (0o711, 3));
        assert_eq!(node("lib/again").attributes.links, 2);
        assert!(
            find(&tree, at.join("lib/dpkg/status").to_str().unwrap()).is_none(),
            "the second name"
        );
        let Content::Directory(names) = &node("lib/dpkg").content else {
            panic!("{at:?}");
        };
        assert_eq!(tree.path_of(names[0].1), at.join("lib/again"));
    }
    assert_eq!(find(&tree, "/").unwrap().attributes.links, 5);
    assert_eq!(find(&tree, "/overlay").unwrap().attributes.links, 3);
    for (at, reason) in [("/own", "there already"), ("/own/file/x", "Not a directory")] {
        let error = tree.graft(Path::new(at), of("/var")).unwrap_err().to_string();
        assert!(error.contains(at) && error.contains(reason), "{error}");
    }
}
