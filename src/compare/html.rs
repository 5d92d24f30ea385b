//! A comparison as a page for the review of a release. It needs nothing from outside, and runs no script.

use super::{Class, Comparison};

/// The looks.
const STYLE: &str = "body{font:15px/1.5 sans-serif;max-width:72em;margin:2em auto;padding:0 1em;color:#222}\
    h1{font-size:1.5em}h2{font-size:1.2em;margin-top:2em}table{border-collapse:collapse;width:100%}\
    td,th{text-align:left;padding:.25em .6em;border-bottom:1px solid #ddd;vertical-align:top;overflow-wrap:anywhere}\
    .added{color:#176b2c}.removed{color:#a11}.modified{color:#7a5200}code{font-size:.92em}";

/// Returns the page.
pub fn page(comparison: &Comparison) -> String {
    let verdict = match comparison.equality.class {
        Class::BinaryIdentical => "The files have the same bytes.",
        Class::SemanticallyIdentical => "Only identifiers and dates differ.",
        Class::SemanticallyIdenticalUnverified => "No difference was found, but not all could be compared.",
        Class::Different => "They differ.",
    };
    let mut page =
        String::from("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Comparison</title>");
    page.push_str(&format!("<style>{STYLE}</style></head><body>\n<h1>{verdict}</h1>\n"));
    page.push_str(&format!(
        "<p>From <code>{}</code><br>to <code>{}</code></p>\n",
        escaped(&comparison.from),
        escaped(&comparison.to)
    ));
    packages(comparison, &mut page);
    image(comparison, &mut page);
    files(comparison, &mut page);
    page.push_str("</body></html>\n");
    page
}

fn packages(comparison: &Comparison, page: &mut String) {
    let row = |change: &super::PackageChange| {
        let class = match (&change.from, &change.to) {
            (None, _) => "added",
            (_, None) => "removed",
            _ => "modified",
        };
        let version = |version: &Option<String>| version.clone().unwrap_or_default();
        let cells = [
            change.name.clone(),
            change.architecture.clone(),
            version(&change.from),
            version(&change.to),
            grown(change.grown_bytes),
        ];
        (class, cells.to_vec())
    };
    let rows = comparison.packages.iter().map(row).collect();
    table(
        page,
        "Packages",
        &["Package", "Architecture", "From", "To", "Growth"],
        rows,
    );
}

fn image(comparison: &Comparison, page: &mut String) {
    let row = |class: &'static str| move |reason: &String| (class, vec![reason.clone()]);
    let is_shown = |reason: &&String| !reason.starts_with("file /") && !reason.starts_with("package ");
    let equality = &comparison.equality;
    let rows = equality
        .meaningful_reasons
        .iter()
        .filter(is_shown)
        .map(row("modified"))
        .collect();
    table(page, "Image", &["What differs"], rows);
    let rows = equality.volatile_reasons.iter().filter(is_shown).map(row("")).collect();
    table(
        page,
        "Identifiers and dates",
        &["What differs, and means nothing"],
        rows,
    );
}

fn files(comparison: &Comparison, page: &mut String) {
    let Some(files) = &comparison.files else { return };
    let size = |bytes: Option<u64>| bytes.map_or(String::new(), |bytes| bytes.to_string());
    let row = |change: &super::FileChange| {
        let cells = [
            change.path.clone(),
            change.words(),
            change.package.clone(),
            size(change.from_bytes),
            size(change.to_bytes),
        ];
        (change.action, cells.to_vec())
    };
    let rows = files.changes.iter().map(row).collect();
    table(
        page,
        "Files",
        &["File", "What differs", "Package", "Bytes before", "Bytes after"],
        rows,
    );
    page.push_str(&format!(
        "<p>{} files are the same; growth: {}</p>\n",
        files.unchanged,
        grown(files.grown_bytes)
    ));
    let notes = files.notes.iter().map(|note| ("", vec![note.clone()])).collect();
    table(page, "Not compared", &["Why"], notes);
}

/// Adds a table; nothing if it has no rows.
fn table(page: &mut String, title: &str, heads: &[&str], rows: Vec<(&str, Vec<String>)>) {
    if rows.is_empty() {
        return;
    }
    page.push_str(&format!("<h2>{title} ({})</h2>\n<table><tr>", rows.len()));
    for head in heads {
        page.push_str(&format!("<th>{head}</th>"));
    }
    page.push_str("</tr>\n");
    for (class, cells) in rows {
        page.push_str(&format!("<tr class=\"{class}\">"));
        for cell in cells {
            page.push_str(&format!("<td>{}</td>", escaped(&cell)));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n");
}

/// Returns a growth in bytes with its sign; nothing for none.
fn grown(bytes: i64) -> String {
    if bytes == 0 {
        String::new()
    } else {
        format!("{bytes:+}")
    }
}

/// Replaces what HTML and terminals take for more than text.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter if crate::terminal::is_hidden(letter) => escaped.extend(letter.escape_default()),
            letter => escaped.push(letter),
        }
    }
    escaped
}
