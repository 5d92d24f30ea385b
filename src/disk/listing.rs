//! Trees of layers, for tests and fuzzers.

#[cfg(test)]
pub(crate) use described::listing;

use crate::overlay::layer::{FileKind, Layer, LayerError, LayerResult, NodeId};

/// The most files that [`walk`] looks at.
const FILES_MAX: usize = 300;

/// Reads everything that `layer` shows, up to limits. Names are not empty and have no slash, what is listed is found, and
/// no more is read than the size says.
///
/// # Errors
/// Those of the layer.
pub fn walk(layer: &dyn Layer) -> LayerResult<()> {
    let mut open = vec![layer.root()];
    let mut left = FILES_MAX;
    while let Some(directory) = open.pop() {
        let mut names = Vec::new();
        layer.entries(directory, 0, &mut |entry| {
            assert!(!entry.name.is_empty() && !entry.name.as_encoded_bytes().contains(&b'/') && entry.cookie > 0);
            names.push((entry.name.to_owned(), entry.node));
            names.len() < 100
        })?;
        for (name, node) in names {
            if left == 0 {
                return Ok(());
            }
            left -= 1;
            assert!(layer.lookup(directory, &name)?.is_some());
            if look(layer, node)? == FileKind::Directory {
                open.push(node);
            }
        }
    }
    Ok(())
}

/// Reads what there is of one file.
fn look(layer: &dyn Layer, node: NodeId) -> Result<FileKind, LayerError> {
    for name in layer.xattr_names(node)? {
        let _ = layer.xattr(node, &name);
    }
    let _ = layer.read_link(node);
    let attributes = layer.attributes(node)?;
    let mut buffer = vec![0; 9000];
    if let Ok(count) = layer.read_at(node, 5000, &mut buffer) {
        assert!(5000 + count as u64 <= attributes.size_bytes.max(5000));
    }
    if let Ok(next) = layer.next_data(node, 10) {
        assert!(next >= 10);
    }
    Ok(attributes.kind)
}

#[cfg(test)]
mod described {
    use std::collections::BTreeMap;
    use std::ffi::OsStr;
    use std::path::{Path, PathBuf};

    use sha2::Digest as _;

    use crate::image::ext4::tests::support::EPOCH;
    use crate::overlay::layer::{FileKind, Layer, LayerResult, NodeId};

    /// Describes each file below the root of `layer`, in the words of `support::listing` of the image writer's tests.
    ///
    /// # Errors
    /// Those of the layer.
    pub(crate) fn listing(layer: &dyn Layer) -> LayerResult<BTreeMap<PathBuf, String>> {
        let (mut found, mut first_names) = (BTreeMap::new(), BTreeMap::new());
        let mut pending = vec![(PathBuf::new(), layer.root())];
        while let Some((path, node)) = pending.pop() {
            found.insert(path.clone(), describe(layer, node, &path, &mut first_names)?);
            if layer.attributes(node)?.kind != FileKind::Directory {
                continue;
            }
            let mut below = Vec::new();
            layer.entries(node, 0, &mut |entry| {
                below.push((path.join(entry.name), entry.node));
                true
            })?;
            below.sort();
            pending.extend(below.into_iter().rev());
        }
        Ok(found)
    }

    fn describe(
        layer: &dyn Layer,
        node: NodeId,
        path: &Path,
        first_names: &mut BTreeMap<NodeId, PathBuf>,
    ) -> LayerResult<String> {
        let attributes = layer.attributes(node)?;
        let (kind, modified) = (attributes.kind, attributes.modified);
        let modified = (modified.seconds, modified.nanoseconds).min((EPOCH as i64, 0));
        let mode = kind.mode_bits() | attributes.permissions;
        let mut text = format!(
            "{mode:o} {}:{} {}.{:09}",
            attributes.uid, attributes.gid, modified.0, modified.1
        );
        if kind == FileKind::Directory {
            text += &format!(" links {}", attributes.links);
        } else {
            let first = first_names.entry(node).or_insert_with(|| path.to_owned());
            text += &format!(
                " size {} links {} first {}",
                attributes.size_bytes,
                attributes.links,
                first.display()
            );
        }
        if kind.is_device() {
            let (major, minor) = attributes.device;
            text += &format!(" device {:x}", rustix::fs::makedev(major, minor));
        }
        if kind == FileKind::Symlink {
            let target = layer.read_link(node)?;
            text += &format!(
                " to {:?}",
                PathBuf::from(<OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&target))
            );
        }
        if kind == FileKind::Regular {
            let mut hasher = sha2::Sha256::new();
            let (mut buffer, mut offset) = (vec![0; 100_001], 0);
            loop {
                let count = layer.read_at(node, offset, &mut buffer)?;
                hasher.update(&buffer[..count]);
                offset += count as u64;
                if count < buffer.len() {
                    break;
                }
            }
            assert_eq!(offset, attributes.size_bytes);
            text += &format!(" {:x?}", &hasher.finalize()[..8]);
        }
        let mut names = layer.xattr_names(node)?;
        names.sort();
        for name in names {
            let value = layer.xattr(node, &name)?.unwrap_or_default();
            text += &format!(" {name:?}={}", hex::encode(value));
        }
        Ok(text)
    }
}
