//! The build report as one HTML page that needs nothing else: no script, no network.

use std::fmt::Write as _;

use indicatif::HumanBytes;

use crate::pipeline::report::{BuildReport, ReportedPackage};
use crate::terminal;

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em;color:#222;background:#fff}\
h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}table{border-collapse:collapse;width:100%}\
td,th{text-align:left;padding:.15em .6em;border-bottom:1px solid #e4e4e4;vertical-align:top}\
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}.lane{width:55%}\
.lane svg{width:100%;height:1em;display:block}.inner td:first-child{padding-left:2em;color:#555}\
code{font-size:.9em;word-break:break-all}.made{color:#a04000}.reused{color:#196f3d}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}td,th{border-color:#333}.inner td:first-child{color:#aaa}}";

/// Makes the page of `report`.
pub fn page(report: &BuildReport) -> String {
    let title = escape(&format!("{} for {}", report.system_config, report.provider));
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head>\n\
         <body><h1>{title}</h1>\n"
    );
    image(&mut page, report);
    timeline(&mut page, report);
    layers(&mut page, report);
    packages(&mut page, report);
    page.push_str("</body></html>\n");
    page
}

fn image(page: &mut String, report: &BuildReport) {
    let image = &report.image;
    let mut rows = vec![
        ("Image", image.path.display().to_string()),
        (
            "Size",
            format!(
                "{}, {} on disk",
                HumanBytes(image.size_bytes),
                HumanBytes(image.data_bytes)
            ),
        ),
        ("Digest", image.digest.to_string()),
        ("Lockfile", report.lockfile.display().to_string()),
    ];
    rows.extend(image.sha256.map(|sha256| ("SHA-256", sha256.to_string())));
    rows.extend(
        report
            .artifacts
            .iter()
            .map(|path| ("Artifact", path.display().to_string())),
    );
    let documents = report.documents.iter();
    rows.extend(documents.map(|path| ("Document", path.display().to_string())));
    rows.extend(report.warnings.iter().map(|warning| ("Warning", warning.clone())));
    page.push_str("<table>");
    for (name, value) in rows {
        // Writing to a String cannot fail; here and below.
        let _ = writeln!(page, "<tr><th>{name}</th><td><code>{}</code></td></tr>", escape(&value));
    }
    page.push_str("</table>\n");
}

fn timeline(page: &mut String, report: &BuildReport) {
    let total = report
        .stages
        .iter()
        .map(|stage| stage.start_seconds + stage.seconds)
        .fold(0.0, f64::max);
    let _ = writeln!(
        page,
        "<h2>Where {total:.2} seconds went</h2>\n<table><tr><th>Stage</th><th class=\"n\">Seconds</th><th class=\"lane\"></th></tr>"
    );
    let share = |seconds: f64| seconds / total.max(f64::MIN_POSITIVE) * 100.0;
    for stage in &report.stages {
        let (class, color) = if stage.is_inner {
            ("inner", "#85a3c2")
        } else {
            ("", "#2e6da4")
        };
        let _ = writeln!(
            page,
            "<tr class=\"{class}\"><td>{}</td><td class=\"n\">{:.2}</td><td class=\"lane\"><svg role=\"img\" \
             aria-label=\"from second {:.2}\" viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\">\
             <rect x=\"{:.3}\" y=\"1\" width=\"{:.3}\" height=\"8\" fill=\"{color}\"/></svg></td></tr>",
            escape(&stage.stage),
            stage.seconds,
            stage.start_seconds,
            share(stage.start_seconds),
            share(stage.seconds).max(0.2),
        );
    }
    page.push_str("</table>\n");
}

fn layers(page: &mut String, report: &BuildReport) {
    let base = &report.base;
    page.push_str("<h2>What was reused</h2>\n<table><tr><th>Layer</th><th></th><th class=\"n\">Packages</th><th class=\"n\">Size</th></tr>\n");
    let mut row = |name: &str, reused: bool, packages: usize, bytes: u64| {
        let state = if reused { "reused" } else { "made" };
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td class=\"{state}\">{state}</td><td class=\"n\">{packages}</td><td class=\"n\">{}</td></tr>",
            escape(name),
            HumanBytes(bytes)
        );
    };
    row("base", base.reused, base.packages, base.bytes);
    for layer in &report.layers {
        row(&layer.step, layer.reused, layer.packages, layer.size_bytes);
    }
    let counts = &report.packages;
    let _ = writeln!(
        page,
        "</table>\n<p>Packages: {} not needed, {} in the cache already, {} fetched, {} fetched again ({} downloaded). \
         Of the base, {} of {} files were read.</p>",
        counts.unneeded,
        counts.reused,
        counts.fetched,
        counts.refetched,
        HumanBytes(counts.fetched_bytes),
        base.files_read,
        base.files
    );
}

fn packages(page: &mut String, report: &BuildReport) {
    let mut packages: Vec<&ReportedPackage> = report.package_list.iter().collect();
    packages.sort_by(|a, b| (b.installed_size_bytes, &a.name).cmp(&(a.installed_size_bytes, &b.name)));
    let _ = writeln!(
        page,
        "<h2>{} packages, the largest first</h2>\n<table><tr><th>Package</th><th>Version</th>\
         <th class=\"n\">Installed</th><th class=\"n\">File</th></tr>",
        packages.len()
    );
    for package in packages {
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            escape(&package.name),
            escape(&package.version),
            HumanBytes(package.installed_size_bytes),
            HumanBytes(package.size_bytes)
        );
    }
    page.push_str("</table>\n");
}

/// Escapes a text for HTML, also within quotes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in terminal::visible(text).chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::digest::DigestTree;
    use crate::package::Sha256;
    use crate::pipeline::report::{BaseUse, ImageFile, LayerUse, PackageCounts, StageTime};

    #[test]
    fn the_page_is_whole_and_calls_nobody() {
        let stage = |name: &str, start_seconds, is_inner| StageTime {
            stage: name.into(),
            start_seconds,
            seconds: 1.0,
            is_inner,
        };
        let report = BuildReport {
            schema_version: 1,
            provider: "debian-debian13-x86_64".into(),
            system_config: "<edge>".into(),
            epoch_seconds: 0,
            stages: vec![stage("Install", 0.0, false), stage("initrd", 0.5, true)],
            packages: PackageCounts::default(),
            base: BaseUse::default(),
            layers: vec![LayerUse {
                step: "system".into(),
                reused: true,
                packages: 52,
                size_bytes: 1 << 20,
            }],
            image: ImageFile {
                path: "/w/edge.raw".into(),
                is_delivered: true,
                size_bytes: 1,
                data_bytes: 1,
                written_bytes: 1,
                digest: DigestTree::of_zeros(1).digest(),
                sha256: Some(Sha256::of("")),
                root_hash: None,
            },
            artifacts: vec![],
            documents: vec![],
            sums: None,
            lockfile: "/w/edge.lock.json".into(),
            warnings: vec!["a & b".into()],
            package_list: vec![ReportedPackage {
                name: "linux-image".into(),
                version: "1".into(),
                size_bytes: 10,
                installed_size_bytes: 20,
            }],
        };
        let page = page(&report);
        for part in [
            "&lt;edge&gt;",
            "a &amp; b",
            "linux-image",
            "Where 1.50 seconds went",
            "x=\"33.333\"",
            "</html>",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        for call in ["http", "src=", "href=", "url(", "<script", "@import"] {
            assert!(!page.contains(call), "{call}");
        }
    }
}
