//! Partitions: where they lie and what is on them.

use std::collections::HashMap;

use crate::template::schema::{PARTITION_TYPES, partition_type};
use crate::template::size;
use crate::yaml::{Finding, Findings, Node, did_you_mean};

/// A partition's place, as far as it can be understood.
struct Extent<'a> {
    node: &'a Node,
    path: String,
    start: u64,
    /// `None`: the rest of the disk.
    end: Option<u64>,
}

pub(super) fn check(disk: &Node, findings: &mut Findings) {
    let partitions = disk.items_at("partitions");
    let mut mounted: HashMap<&str, &Node> = HashMap::new();
    let mut extents = Vec::new();
    for (index, node) in partitions.iter().enumerate() {
        if findings.is_full() {
            return;
        }
        let path = format!("disk.partitions[{index}]");
        content(node, &path, findings);
        if let Some(point) = node.get("mountPoint")
            && let Some(text) = point.text().filter(|text| !matches!(*text, "" | "none" | "swap"))
            && let Some(first) = mounted.insert(text, point)
        {
            let message = format!("{text} is mounted twice, first in line {}", first.span.position().0);
            findings.push(Finding::error(&point.span, format!("{path}.mountPoint"), message));
        }
        if let Some(number) = node.get("index")
            && number.int() != i64::try_from(index + 1).ok()
        {
            let message = format!("has no effect: this is partition {}", index + 1);
            findings.push(Finding::warning(&number.span, format!("{path}.index"), message));
        }
        extents.extend(extent(node, path, findings));
    }
    let size = disk.get("size");
    let size_bytes = size.and_then(Node::text).and_then(|text| size::parse(text).ok());
    if let (Some(size), Some(0)) = (size, size_bytes) {
        findings.push(Finding::error(&size.span, "disk.size", "must not be 0"));
    }
    layout(extents, size_bytes, findings);
}

/// The place of a partition; what is missing or wrong goes to `findings`.
fn extent<'a>(node: &'a Node, path: String, findings: &mut Findings) -> Option<Extent<'a>> {
    let mut missing = |key: &str| {
        let hint = "say where the partition lies, such as start: 1MiB, end: 513MiB";
        findings.push(Finding::error(&node.span, format!("{path}.{key}"), "is missing").hint(hint));
    };
    let (start, end) = (node.text_at("start"), node.text_at("end"));
    if start.is_none() && node.get("start").is_none_or(|n| n.text() == Some("")) {
        missing("start");
    }
    if end.is_none() && node.get("end").is_none_or(|n| n.text() == Some("")) {
        missing("end");
    }
    // What is no size was found before.
    let (start, end) = (size::parse(start?).ok()?, size::parse(end?).ok()?);
    if end != 0 && end <= start {
        let at = node.get("end").unwrap_or(node);
        findings.push(Finding::error(&at.span, format!("{path}.end"), "must be behind start"));
        return None;
    }
    let end = Some(end).filter(|end| *end != 0);
    Some(Extent { node, path, start, end })
}

/// Nothing overlaps, nothing reaches beyond the disk.
fn layout(mut extents: Vec<Extent<'_>>, size_bytes: Option<u64>, findings: &mut Findings) {
    extents.sort_by_key(|extent| extent.start);
    for pair in extents.windows(2) {
        if findings.is_full() {
            return;
        }
        let [before, after] = pair else { continue };
        let at = after.node.get("start").unwrap_or(after.node);
        let path = format!("{}.start", after.path);
        match before.end {
            None => {
                let message = format!(
                    "{} takes the rest of the disk, which includes this partition",
                    before.path
                );
                findings.push(Finding::error(&at.span, path, message));
            }
            Some(end) if end > after.start => {
                findings.push(Finding::error(&at.span, path, format!("overlaps {}", before.path)));
            }
            Some(_) => {}
        }
    }
    let Some(size) = size_bytes.filter(|size| *size > 0) else {
        return;
    };
    for extent in &extents {
        if findings.is_full() {
            return;
        }
        let (key, last) = extent.end.map_or(("start", extent.start), |end| ("end", end));
        if last > size || (extent.end.is_none() && last == size) {
            let at = extent.node.get(key).unwrap_or(extent.node);
            let message = format!("lies beyond the disk, which has {} MiB", size >> 20);
            findings.push(Finding::error(&at.span, format!("{}.{key}", extent.path), message));
        }
    }
}

/// Type, file system and label fit together.
fn content(node: &Node, path: &str, findings: &mut Findings) {
    if let Some(kind) = node.get("type")
        && let Some(name) = kind.text().filter(|name| !name.is_empty())
        && partition_type(name).is_none()
        && node.text_at("typeUUID").is_none()
    {
        let message = format!("{name:?} is not a known partition type: it becomes a plain Linux partition");
        let finding = Finding::warning(&kind.span, format!("{path}.type"), message).allowed(PARTITION_TYPES);
        findings.push(match did_you_mean(name, PARTITION_TYPES) {
            Some(near) => finding.hint(format!("did you mean {near:?}?")),
            None => finding.hint("set typeUUID to use another type"),
        });
    }
    let file_system = node.text_at("fsType").unwrap_or("none");
    if let Some(label) = node.get("fsLabel")
        && let Some(text) = label.text().filter(|text| !text.is_empty())
    {
        // mkfs.fat(8), mke2fs(8), mkfs.xfs(8), mkswap(8).
        let limit = match file_system {
            "fat32" | "fat16" | "vfat" => 11,
            "ext2" | "ext3" | "ext4" => 16,
            "xfs" => 12,
            "swap" | "linux-swap" => 15,
            _ => 0,
        };
        if limit == 0 {
            let message = "has no effect: nothing is made on the partition that could carry it";
            let finding = Finding::warning(&label.span, format!("{path}.fsLabel"), message);
            findings.push(finding.hint("set fsType"));
        } else if text.len() > limit {
            let message = format!("{text:?} is too long for {file_system}, which takes {limit} bytes");
            findings.push(Finding::error(&label.span, format!("{path}.fsLabel"), message));
        }
    }
    if let Some(point) = node.get("mountPoint")
        && point.text().is_some_and(|text| text.starts_with('/'))
        && matches!(file_system, "none" | "swap" | "linux-swap")
    {
        let finding = Finding::error(
            &point.span,
            format!("{path}.mountPoint"),
            "there is no file system to mount",
        );
        findings.push(finding.hint("set fsType, or mountPoint: none"));
    }
}

/// A disk image needs a size, a root file system, and an ESP to boot with EFI.
pub(super) fn check_bootable(root: &Node, findings: &mut Findings) {
    let Some(disk) = root.get("disk") else {
        findings.push(Finding::error(
            &root.span,
            "disk",
            "is missing, and the default template has none",
        ));
        return;
    };
    let partitions = disk.items_at("partitions");
    let mounted_at = |point: &str| partitions.iter().any(|p| p.text_at("mountPoint") == Some(point));
    if !mounted_at("/") {
        let finding = Finding::error(&disk.span, "disk.partitions", "no partition is mounted at /");
        findings.push(finding.hint("give the root partition mountPoint: /"));
    }
    if disk.text_at("size").is_none() {
        findings.push(Finding::error(&disk.span, "disk.size", "is missing").hint("such as size: 4GiB"));
    }
    let boot_type = root
        .at(&["systemConfig", "bootloader", "bootType"])
        .and_then(Node::text);
    let is_esp = |p: &&Node| {
        p.text_at("type") == Some("esp")
            || p.text_at("typeUUID")
                .is_some_and(|id| id.eq_ignore_ascii_case("c12a7328-f81f-11d2-ba4b-00a0c93ec93b"))
    };
    if boot_type != Some("legacy") && !partitions.iter().any(|p| is_esp(&p)) {
        let finding = Finding::error(&disk.span, "disk.partitions", "there is no EFI system partition");
        findings.push(finding.hint("add a partition of type: esp with fsType: fat32"));
    }
}
