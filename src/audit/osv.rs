//! Entries of OSV (ossf.github.io/osv-schema): one, a list, an answer of its service, or one on each line.

use std::cmp::Ordering;
use std::collections::HashMap;

use serde::Deserialize;

use super::{AuditError, Finding, Severity, System, cvss};

#[derive(Debug, Deserialize)]
pub(super) struct Entry {
    id: String,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    upstream: Vec<String>,
    #[serde(default)]
    summary: String,
    #[serde(default)]
    details: String,
    #[serde(default)]
    withdrawn: Option<String>,
    #[serde(default)]
    severity: Vec<Score>,
    affected: Vec<Affected>,
    #[serde(default)]
    database_specific: Specific,
}

#[derive(Debug, Deserialize)]
struct Score {
    #[serde(default)]
    score: String,
}

#[derive(Debug, Default, Deserialize)]
struct Specific {
    #[serde(default)]
    severity: Option<serde_json::Value>,
    #[serde(default)]
    urgency: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct Affected {
    #[serde(default)]
    package: Option<Named>,
    #[serde(default)]
    ranges: Vec<Range>,
    #[serde(default)]
    versions: Vec<String>,
    #[serde(default)]
    severity: Vec<Score>,
    #[serde(default)]
    ecosystem_specific: Specific,
}

#[derive(Debug, Deserialize)]
struct Named {
    ecosystem: String,
    name: String,
}

#[derive(Debug, Deserialize)]
struct Range {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    events: Vec<HashMap<String, String>>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    vulns: Vec<Entry>,
}

/// Returns the entries in `content`; `None` if it is of another kind.
///
/// # Errors
/// If an entry is malformed.
pub(super) fn entries(content: &[u8]) -> Result<Option<Vec<Entry>>, AuditError> {
    let text = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let start = text.get(..4096).unwrap_or(text);
    if text.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        return Ok(Some(serde_json::from_slice(text)?));
    }
    let has = |word: &[u8]| start.windows(word.len()).any(|part| part == word);
    if has(b"\"vulns\"") {
        return Ok(Some(serde_json::from_slice::<Answer>(text)?.vulns));
    }
    // The keys of the tracker are names of packages, those of its entries are CVEs.
    let is_entry = has(b"\"schema_version\"") || (has(b"\"id\"") && (has(b"\"affected\"") || has(b"\"modified\"")));
    if !is_entry {
        return Ok(None);
    }
    let stream = serde_json::Deserializer::from_slice(text).into_iter::<Entry>();
    Ok(Some(stream.collect::<Result<_, _>>()?))
}

/// Returns the vulnerabilities of `system` in `entries`.
pub(super) fn findings(system: &System, entries: &[Entry]) -> Vec<Finding> {
    let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, package) in system.packages.iter().enumerate() {
        by_name.entry(&package.name).or_default().push(index);
        if package.source != package.name {
            by_name.entry(&package.source).or_default().push(index);
        }
    }
    let mut found = Vec::new();
    for entry in entries.iter().filter(|entry| entry.withdrawn.is_none()) {
        for affected in &entry.affected {
            let Some(named) = affected
                .package
                .as_ref()
                .filter(|named| is_of(system, &named.ecosystem))
            else {
                continue;
            };
            for index in by_name.get(named.name.as_str()).into_iter().flatten() {
                let Some(package) = system.packages.get(*index) else {
                    continue;
                };
                let is_source = package.source == named.name;
                let version = if is_source {
                    &package.source_version
                } else {
                    &package.version
                };
                if let Some(fixed) = affected.has(system, version) {
                    found.push(Finding {
                        severity: severity(entry, affected),
                        id: entry.name(),
                        package: package.name.clone(),
                        version: package.version.clone(),
                        fixed,
                        summary: entry.words(),
                    });
                }
            }
        }
    }
    found
}

impl Entry {
    /// Returns the identifier that most people know: the CVE's, if there is exactly one.
    fn name(&self) -> String {
        let mut all = self
            .aliases
            .iter()
            .chain(&self.upstream)
            .filter(|alias| alias.starts_with("CVE-"));
        match (all.next(), all.next()) {
            (Some(one), None) => one.clone(),
            _ => self.id.clone(),
        }
    }

    fn words(&self) -> String {
        let text = if self.summary.is_empty() {
            &self.details
        } else {
            &self.summary
        };
        text.chars().take(200).collect()
    }
}

impl Affected {
    /// Returns the version that repairs `version`, or an empty text; `None` if `version` is not affected.
    fn has(&self, system: &System, version: &str) -> Option<String> {
        if self.versions.iter().any(|own| own == version) {
            let fixes = self.ranges.iter().flat_map(|range| &range.events);
            return Some(
                fixes
                    .filter_map(|event| event.get("fixed"))
                    .next()
                    .cloned()
                    .unwrap_or_default(),
            );
        }
        let ranges = self.ranges.iter().filter(|range| range.kind == "ECOSYSTEM");
        ranges.filter_map(|range| range.has(system, version)).next()
    }
}

impl Range {
    /// Goes through the events in their order, which is that of versions.
    fn has(&self, system: &System, version: &str) -> Option<String> {
        let is_before = |other: &str| system.compare(version, other) == Ordering::Less;
        let mut is_in = false;
        for event in &self.events {
            if let Some(introduced) = event.get("introduced") {
                is_in = introduced == "0" || !is_before(introduced);
            }
            if let Some(fixed) = event.get("fixed").filter(|_| is_in) {
                if is_before(fixed) {
                    return Some(fixed.clone());
                }
                is_in = false;
            }
            if let Some(last) = event.get("last_affected").filter(|_| is_in) {
                if is_before(last) || last == version {
                    return Some(String::new());
                }
                is_in = false;
            }
        }
        is_in.then(String::new)
    }
}

/// Returns whether the ecosystem is the distribution of `system`: `Debian:13`, `Ubuntu:24.04:LTS`, `Azure Linux:3`.
fn is_of(system: &System, ecosystem: &str) -> bool {
    let plain = |text: &str| text.to_ascii_lowercase().replace([' ', '-', '_'], "");
    let mut parts = ecosystem.split(':');
    let name = plain(parts.next().unwrap_or_default());
    let own = plain(&system.id);
    let is_same = name == own || name.trim_end_matches("linux") == own || name == own.trim_end_matches("linux");
    let versions: Vec<&str> = parts.collect();
    is_same && (versions.is_empty() || versions.iter().any(|version| matches_version(version, &system.version)))
}

/// Returns whether the version of a distribution is that of an ecosystem, or a part of it: `9` has `9.4`.
fn matches_version(wanted: &str, own: &str) -> bool {
    own == wanted
        || own.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('.'))
        || wanted.strip_suffix(".0") == Some(own)
}

fn severity(entry: &Entry, affected: &Affected) -> Severity {
    let specific = [&affected.ecosystem_specific, &entry.database_specific];
    let words = specific
        .into_iter()
        .flat_map(|own| [&own.severity, &own.urgency])
        .flatten();
    let named = words.filter_map(|value| value.as_str()).map(Severity::named);
    let scored = affected.severity.iter().chain(&entry.severity);
    let scored = scored
        .filter_map(|score| cvss::base_score(&score.score))
        .map(cvss::severity);
    // Where the distribution has a word, it counts more than the score of the general case.
    let known = |severity: &Severity| *severity != Severity::Unknown;
    named.chain(scored).find(known).unwrap_or(Severity::Unknown)
}
