//! The build report as a table for people.

use std::path::Path;

use indicatif::HumanBytes;

use crate::pipeline::report::{BuildReport, StageTime};

use super::error::{CommandError, print_line, print_path};

pub mod html;

/// Number of characters of the whole build in the timeline.
const BAR_WIDTH: f64 = 40.0;

/// Prints the table.
///
/// # Errors
/// If standard output cannot be written.
pub fn print(report: &BuildReport) -> Result<(), CommandError> {
    table(report).iter().try_for_each(|line| match line {
        Line::Text(text) => print_line(text),
        Line::Path(label, path) => print_path(label, path),
    })
}

/// A line of the table.
enum Line<'a> {
    Text(String),
    /// A word, and the path of a file.
    Path(&'static str, &'a Path),
}

/// Makes the lines of the table.
fn table(report: &BuildReport) -> Vec<Line<'_>> {
    let mut lines = stages(&report.stages);
    lines.push(String::new());
    lines.extend(inputs(report));
    let lines = lines.into_iter().map(Line::Text);
    lines.chain(outputs(report)).collect()
}

/// Shows the time of each stage, and the total.
fn stages(stages: &[StageTime]) -> Vec<String> {
    let ends = stages.iter().map(|stage| stage.start_seconds + stage.seconds);
    let total = ends.fold(0.0, f64::max);
    let mut lines = vec![format!("{:<28} {:>9}", "Stage", "Seconds")];
    for stage in stages {
        let name = format!("{}{}", if stage.is_inner { "  " } else { "" }, stage.stage);
        let line = format!("{name:<28} {:>9.2}  {}", stage.seconds, bar(stage, total));
        lines.push(line.trim_end().to_owned());
    }
    lines.push(format!("{:<28} {:>9.2}", "Total", total));
    lines
}

/// Shows packages, base and layers: what was reused and what was made.
fn inputs(report: &BuildReport) -> Vec<String> {
    let made = |reused: bool| if reused { "reused" } else { "made" };
    let packages = &report.packages;
    let mut lines = vec![format!(
        "Packages   {}: {} not needed, {} reused, {} fetched, {} refetched ({} downloaded)",
        packages.total,
        packages.unneeded,
        packages.reused,
        packages.fetched,
        packages.refetched,
        HumanBytes(packages.fetched_bytes),
    )];
    let base = &report.base;
    lines.push(format!(
        "Base       {}, {} packages: {} of {} files read, {} of {} inflated",
        made(base.reused),
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
    lines.extend(report.layers.iter().map(|layer| {
        format!(
            "Layer      {} {}: {}, {} packages",
            layer.step,
            made(layer.reused),
            HumanBytes(layer.size_bytes),
            layer.packages
        )
    }));
    lines
}

/// Shows the image, its artifacts and its lockfile.
fn outputs(report: &BuildReport) -> Vec<Line<'_>> {
    let image = &report.image;
    let mut lines = Vec::new();
    if image.is_delivered {
        lines.push(Line::Path("Image", &image.path));
    }
    lines.push(Line::Text(format!(
        "Size       {}, {} written",
        HumanBytes(image.size_bytes),
        HumanBytes(image.data_bytes)
    )));
    lines.push(Line::Text(format!("Digest     {}", image.digest)));
    if image.is_delivered {
        lines.push(Line::Text(match image.sha256 {
            Some(sha256) => format!("SHA-256    {sha256}"),
            None => "SHA-256    of the raw image: build with --sha256".to_owned(),
        }));
    }
    lines.extend(report.artifacts.iter().map(|path| Line::Path("Artifact", path)));
    lines.extend(report.documents.iter().map(|path| Line::Path("Document", path)));
    lines.extend(report.sums.iter().map(|path| Line::Path("Checksums", path)));
    lines.push(Line::Path("Lockfile", &report.lockfile));
    lines
}

/// Draws when `stage` ran in a build of `total` seconds: overlapping stages stand below each other.
fn bar(stage: &StageTime, total: f64) -> String {
    let scale = |seconds: f64| (seconds / total.max(f64::MIN_POSITIVE) * BAR_WIDTH).round() as usize;
    let (from, length) = (scale(stage.start_seconds), scale(stage.seconds));
    let mark = if stage.is_inner { "-" } else { "=" };
    format!("{}{}", " ".repeat(from), mark.repeat(length))
}
