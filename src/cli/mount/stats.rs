//! The counters of a mount, for people and machines.

use crate::layers::LayerStats;
use crate::mount::server::Stats;

use super::super::Format;
use super::super::error::{CommandError, print_json, print_line};

/// Prints `stats`.
pub(super) fn print(stats: &Stats<LayerStats>, format: Format) -> Result<(), CommandError> {
    if format == Format::Json {
        return print_json(stats);
    }
    let Stats { requests, layers } = stats;
    let base = &layers.base;
    let mebibytes = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let lines = [
        ("files of the base", base.files_total.to_string()),
        ("  of which something was read", base.files_touched.to_string()),
        ("bytes of the base", mebibytes(base.content_bytes_total)),
        ("  unpacked by this mount", mebibytes(base.bytes_inflated)),
        ("parts of the base", base.members_total.to_string()),
        ("  unpacked by this mount", base.members_inflated.to_string()),
        ("  found unpacked", base.members_reused.to_string()),
        ("  ready before they were needed", base.members_ahead.to_string()),
        ("  kept in memory, for want of disk", mebibytes(base.bytes_kept)),
        ("packages in the pool", layers.packages_total.to_string()),
        ("  opened", layers.packages_opened.to_string()),
        ("  fetched", layers.packages_fetched.to_string()),
        ("requests: names looked up", requests.lookups.to_string()),
        ("  attributes", requests.attributes.to_string()),
        ("  directory listings", requests.listings.to_string()),
        ("  symbolic links", requests.links.to_string()),
        ("  extended attributes", requests.xattrs.to_string()),
        ("  reads", requests.reads.to_string()),
        ("    that had to wait for content", requests.slow_reads.to_string()),
        ("    bytes given", mebibytes(requests.read_bytes)),
        ("  files given unasked", requests.given.to_string()),
        ("  failed", requests.errors.to_string()),
    ];
    lines
        .iter()
        .try_for_each(|(name, value)| print_line(&format!("{name:<36}{value:>12}")))
}
