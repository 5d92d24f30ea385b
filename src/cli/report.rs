//! The build report as a table for people.

use indicatif::HumanBytes;

use crate::pipeline::report::{BuildReport, StageTime};

pub mod html;

/// Characters that the whole build takes in the timeline.
const BAR_WIDTH: f64 = 40.0;

/// Lines of the table.
pub fn table(report: &BuildReport) -> Vec<String> {
    let mut lines = Vec::new();
    let total = report
        .stages
        .iter()
        .map(|stage| stage.start_seconds + stage.seconds)
        .fold(0.0, f64::max);
    lines.push(format!("{:<28} {:>9}", "Stage", "Seconds"));
    for stage in &report.stages {
        let name = format!("{}{}", if stage.is_inner { "  " } else { "" }, stage.stage);
        let line = format!("{name:<28} {:>9.2}  {}", stage.seconds, bar(stage, total));
        lines.push(line.trim_end().to_owned());
    }
    lines.push(format!("{:<28} {:>9.2}", "Total", total));
    lines.push(String::new());
    let packages = &report.packages;
    let (reused, fetched, refetched) = (packages.reused, packages.fetched, packages.refetched);
    lines.push(format!(
        "Packages   {}: {reused} reused, {fetched} fetched, {refetched} refetched ({} downloaded)",
        packages.total,
        HumanBytes(packages.fetched_bytes),
    ));
    let base = &report.base;
    lines.push(format!(
        "Base       {}, {} packages: {} of {} files read, {} of {} inflated",
        if base.reused { "reused" } else { "made" },
        base.packages,
        base.files_read,
        base.files,
        HumanBytes(base.inflated_bytes),
        HumanBytes(base.bytes),
    ));
    lines.push(format!(
        "           {} parts: {} inflated, {} found inflated, {} ready before they were needed",
        base.parts, base.parts_inflated, base.parts_reused, base.parts_ahead,
    ));
    for layer in &report.layers {
        lines.push(format!(
            "Layer      {} {}: {}, {} packages",
            layer.step,
            if layer.reused { "reused" } else { "made" },
            HumanBytes(layer.size_bytes),
            layer.packages
        ));
    }
    let image = &report.image;
    lines.push(format!("Image      {}", image.path.display()));
    lines.push(format!(
        "Size       {}, {} written",
        HumanBytes(image.size_bytes),
        HumanBytes(image.data_bytes)
    ));
    lines.push(format!("SHA-256    {}", image.sha256));
    lines.extend(
        report
            .artifacts
            .iter()
            .map(|path| format!("Artifact   {}", path.display())),
    );
    lines.push(format!("Lockfile   {}", report.lockfile.display()));
    lines
}

/// When `stage` ran, in a build of `total` seconds: overlapping stages stand below each other.
fn bar(stage: &StageTime, total: f64) -> String {
    let scale = |seconds: f64| (seconds / total.max(f64::MIN_POSITIVE) * BAR_WIDTH).round() as usize;
    let (from, length) = (scale(stage.start_seconds), scale(stage.seconds));
    let mark = if stage.is_inner { "-" } else { "=" };
    format!("{}{}", " ".repeat(from), mark.repeat(length))
}
