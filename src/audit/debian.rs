//! The export of Debian's security tracker: by source package and CVE, the state in each release.

use std::cmp::Ordering;
use std::collections::HashMap;

use serde::Deserialize;

use super::{AuditError, Finding, Severity, System};

/// The longest description that is told, in letters.
const SUMMARY_LETTERS: usize = 200;

#[derive(Debug, Deserialize)]
struct Issue {
    #[serde(default)]
    description: String,
    releases: HashMap<String, Release>,
}

#[derive(Debug, Deserialize)]
struct Release {
    #[serde(default)]
    status: String,
    #[serde(default)]
    fixed_version: Option<String>,
    #[serde(default)]
    urgency: String,
}

/// Returns the vulnerabilities of `system`.
///
/// # Errors
/// If the text is of another form.
pub(super) fn findings(system: &System, content: &[u8]) -> Result<Vec<Finding>, AuditError> {
    let issues: HashMap<String, HashMap<String, Issue>> = serde_json::from_slice(content)?;
    let mut found = Vec::new();
    for package in &system.packages {
        for (id, issue) in issues.get(&package.source).into_iter().flatten() {
            let Some(release) = issue.releases.get(&system.codename) else {
                continue;
            };
            let fixed = release.fixed_version.as_deref().unwrap_or_default();
            let is_vulnerable = match release.status.as_str() {
                // Version 0 never had it.
                "resolved" => {
                    fixed != "0"
                        && !fixed.is_empty()
                        && system.compare(&package.source_version, fixed) == Ordering::Less
                }
                "open" => true,
                _ => false,
            };
            if is_vulnerable {
                found.push(Finding {
                    severity: Severity::named(&release.urgency),
                    id: id.clone(),
                    package: package.name.clone(),
                    version: package.version.clone(),
                    fixed: if fixed == "0" { String::new() } else { fixed.to_owned() },
                    summary: issue.description.chars().take(SUMMARY_LETTERS).collect(),
                });
            }
        }
    }
    Ok(found)
}
