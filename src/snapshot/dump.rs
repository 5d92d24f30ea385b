//! Writes an index as text, one line per name, for people and tests.

use std::io::{self, Write};
use std::path::Path;

use super::SnapshotError;
use super::format::{NONE, Node, Packing};
use super::index::Index;
use super::member_id::MemberId;
use crate::durable::PathError;
use crate::overlay::layer::FileKind;

/// Largest depth of a tree; more is a loop in a damaged index.
const DEPTH_MAX: usize = 4096;

/// Writes the index at `path` to `out`: header, tree with metadata and digests, members.
///
/// # Errors
/// If the index is unusable or `out` fails.
pub fn dump(path: &Path, out: &mut dyn Write) -> Result<(), SnapshotError> {
    let index = Index::open(path)?;
    let failed = || PathError::on("dump", path);
    let header = index.header();
    writeln!(out, "base key {}", header.base_key).map_err(failed())?;
    writeln!(out, "snapshot {}", header.snapshot_id).map_err(failed())?;
    writeln!(
        out,
        "tarball {} bytes, tar {} bytes, {} files with {} bytes",
        header.tarball_bytes, header.tar_bytes, header.files, header.content_bytes
    )
    .map_err(failed())?;
    if let Some(identity) = header.foreign {
        writeln!(
            out,
            "from elsewhere, mtime {}.{:09}, last bytes sha256 {}",
            identity.modified.seconds, identity.modified.nanoseconds, identity.tail
        )
        .map_err(failed())?;
    }
    let mut stack = vec![(b"/".to_vec(), 0_u32, 0_usize)];
    while let Some((name, number, depth)) = stack.pop() {
        let node = index.node(number)?;
        line(&index, &name, number, &node, out)?.map_err(failed())?;
        if node.kind() != Some(FileKind::Directory) {
            continue;
        }
        if depth == DEPTH_MAX {
            return Err(index.damage("its directories form a loop"));
        }
        // Backwards, so that the stack returns them in order.
        for entry in index.entries(&node)?.rev() {
            let dirent = index.dirent(entry)?;
            let mut child = name.clone();
            if depth > 0 {
                child.push(b'/');
            }
            child.extend(index.name(&dirent)?.as_encoded_bytes());
            stack.push((child, dirent.node, depth + 1));
        }
    }
    for id in 0..index.members() {
        let member = index.member(MemberId(id))?;
        writeln!(
            out,
            "member {id}: tar {}+{} {} {}+{} crc {:08x} sha256 {}",
            member.tar_offset,
            member.tar_bytes,
            packing(member.packing),
            member.offset,
            member.compressed_bytes,
            member.crc,
            member.digest
        )
        .map_err(failed())?;
    }
    Ok(())
}

fn packing(packing: Packing) -> String {
    match packing {
        Packing::Gzip => "gzip".into(),
        Packing::Deflate { bit, window } => format!("deflate bit {bit} window {}+{}", window.offset, window.size_bytes),
        Packing::Stored => "stored".into(),
        Packing::Zstd => "zstd".into(),
        Packing::ZstdRun { start } => format!("zstd from tar {start}"),
        Packing::Continued { first } => format!("continues {first}"),
    }
}

fn line(
    index: &Index,
    name: &[u8],
    number: u32,
    node: &Node,
    out: &mut dyn Write,
) -> Result<io::Result<()>, SnapshotError> {
    let mut text = format!(
        "{} #{number} mode {:o} owner {}:{} links {} size {} mtime {}.{:09}",
        name.escape_ascii(),
        node.mode,
        node.uid,
        node.gid,
        node.links,
        node.size_bytes,
        node.modified.seconds,
        node.modified.nanoseconds
    );
    match node.kind() {
        Some(FileKind::Regular) if node.entries > 0 => {
            for number in 0..node.entries {
                let extent = index.extent(node, number)?;
                text += &format!(" {}+{} at {}", extent.offset, extent.length, extent.tar_offset);
            }
        }
        Some(FileKind::Regular) => text += &format!(" at {}", node.data),
        Some(FileKind::Symlink) => {
            text += &format!(" -> {}", index.heap(node.data, node.size_bytes)?.escape_ascii());
        }
        Some(FileKind::CharDevice | FileKind::BlockDevice) => {
            text += &format!(" device {}:{}", node.device.0, node.device.1);
        }
        _ => {}
    }
    if node.digest != NONE {
        text += &format!(" sha256 {}", index.digest(node.digest)?);
    }
    for (name, value) in index.xattrs(node)? {
        text += &format!(" {}={}", name.as_encoded_bytes().escape_ascii(), hex::encode(value));
    }
    Ok(writeln!(out, "{text}"))
}
