//! The build report as a table for people.

use indicatif::HumanBytes;

use crate::pipeline::report::BuildReport;

/// Lines of the table.
pub fn table(report: &BuildReport) -> Vec<String> {
    let mut lines = Vec::new();
    let total: f64 = report.stages.iter().map(|stage| stage.seconds).sum();
    lines.push(format!("{:<28} {:>9}", "Stage", "Seconds"));
    for stage in &report.stages {
        lines.push(format!("{:<28} {:>9.2}", stage.stage, stage.seconds));
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
