//! SELinux labels, as setfiles(8) sets them: computed from the policy's file contexts (selabel_file(5)) while the image
//! is written. The kernel takes no part: the build host's does not know the image's policy.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::OnceLock;

use regex::bytes::{Regex, RegexBuilder};

use super::merged::Merged;
use crate::durable::PathError;
use crate::overlay::layer::FileKind;

/// The extended attribute that holds the label.
pub const ATTRIBUTE: &str = "security.selinux";

const CONFIG: &str = "/etc/selinux/config";
const CONFIG_LIMIT_BYTES: u64 = 1 << 16;
/// The largest file of contexts; those of whole distributions have half a megabyte.
const CONTEXTS_LIMIT_BYTES: u64 = 16 << 20;
/// The most specifications of a policy; those of whole distributions have about 7,000.
const SPECS_MAX: usize = 1 << 15;
/// The largest size of one compiled expression, and of what the search for it remembers: a policy of an image's author
/// takes a bounded part of the build host's memory.
const REGEX_LIMIT_BYTES: usize = 64 << 10;

/// The reason why files cannot be labelled.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    /// A file of the policy cannot be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A line of the policy's file contexts is malformed.
    #[error("{file}, line {line}: {reason}")]
    Malformed {
        /// The file, from the image's root.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The defect.
        reason: String,
    },
}

/// The file contexts of a policy.
#[derive(Debug, Default)]
pub struct FileContexts {
    /// The specifications; the last one that matches a path counts.
    specs: Vec<Spec>,
    /// Specifications by the text with which all paths that they match start.
    by_prefix: HashMap<Vec<u8>, Vec<usize>>,
    /// The lengths of these texts in bytes.
    prefix_lengths: BTreeSet<usize>,
    /// Substitutions of paths: the administrator's, then the policy's own.
    substitutions: [Vec<(Vec<u8>, Vec<u8>)>; 2],
}

/// A line of the file contexts.
#[derive(Debug)]
struct Spec {
    pattern: String,
    /// The kind of files that it is for; all kinds if `None`.
    kind: Option<FileKind>,
    /// The label; `None` if such files have no label.
    context: Option<String>,
    /// File and number of the line.
    line: (String, usize),
    /// Compiled when it is first needed.
    regex: OnceLock<Result<Regex, String>>,
}

impl FileContexts {
    /// Reads the contexts of the policy that the image `merged` is configured for; `None` if it has no policy, or
    /// SELinux is disabled (selinux_config(5)).
    ///
    /// # Errors
    /// [`LabelError`] if a file of it cannot be read, or is malformed.
    pub fn of(merged: &Merged) -> Result<Option<Self>, LabelError> {
        let read = |path: &str, limit| -> Result<Option<String>, LabelError> {
            let bytes = merged.read_if_present(Path::new(path), limit)?;
            Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
        };
        let Some(config) = read(CONFIG, CONFIG_LIMIT_BYTES)? else {
            return Ok(None);
        };
        // The last of several lines with one key counts.
        let value = |key: &str| {
            let mut lines = config.lines().rev();
            lines.find_map(|line| Some(line.trim().strip_prefix(key)?.strip_prefix('=')?.trim()))
        };
        let policy = value("SELINUXTYPE").filter(|name| !name.is_empty() && !name.contains('/'));
        let Some(policy) = policy.filter(|_| value("SELINUX") != Some("disabled")) else {
            return Ok(None);
        };
        let base = format!("/etc/selinux/{policy}/contexts/files/file_contexts");
        if !merged.has(Path::new(&base))? {
            return Ok(None);
        }
        let optional = |suffix: &str| {
            let path = format!("{base}{suffix}");
            let text = read(&path, CONTEXTS_LIMIT_BYTES)?;
            Ok::<_, LabelError>((text.unwrap_or_default(), path))
        };
        let mut contexts = Self::default();
        for suffix in ["", ".homedirs", ".local"] {
            let (text, path) = optional(suffix)?;
            contexts.add(&text, &path)?;
        }
        contexts.index();
        contexts.substitutions = [optional(".subs")?, optional(".subs_dist")?].map(|(text, _)| substitutions(&text));
        Ok(Some(contexts))
    }

    /// Adds the lines `pattern [kind] context` of `text`; `file` is its name, for messages.
    fn add(&mut self, text: &str, file: &str) -> Result<(), LabelError> {
        for (number, line) in (1..).zip(text.lines()) {
            let malformed = |reason: &str| LabelError::Malformed {
                file: file.to_owned(),
                line: number,
                reason: reason.to_owned(),
            };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if self.specs.len() == SPECS_MAX {
                return Err(malformed("is one more than the largest number of contexts"));
            }
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let (pattern, kind, context) = match words[..] {
                [pattern, context] => (pattern, None, context),
                [pattern, kind, context] => {
                    let kind = file_kind(kind).ok_or_else(|| malformed("has an unknown kind of files"))?;
                    (pattern, Some(kind), context)
                }
                _ => return Err(malformed("is no pattern with a context")),
            };
            self.specs.push(Spec {
                pattern: pattern.to_owned(),
                kind,
                context: (context != "<<none>>").then(|| context.to_owned()),
                line: (file.to_owned(), number),
                regex: OnceLock::new(),
            });
        }
        Ok(())
    }

    /// Sorts the specifications and makes the index. Literal paths take precedence over patterns.
    fn index(&mut self) {
        self.specs.sort_by_key(|spec| literal_prefix(&spec.pattern).1);
        for (at, spec) in self.specs.iter().enumerate() {
            let (prefix, _) = literal_prefix(&spec.pattern);
            self.prefix_lengths.insert(prefix.len());
            self.by_prefix.entry(prefix).or_default().push(at);
        }
    }

    /// Returns the label of the file `path`, absolute, of that kind; `None` if it gets no label.
    ///
    /// # Errors
    /// [`LabelError`] if a pattern that could match is no regular expression.
    pub fn label(&self, path: &[u8], kind: FileKind) -> Result<Option<&str>, LabelError> {
        let path = &self.substituted(path);
        let prefixes = self.prefix_lengths.iter().filter_map(|length| path.get(..*length));
        let found = prefixes.filter_map(|prefix| self.by_prefix.get(prefix)).flatten();
        let mut candidates: Vec<usize> = found.copied().collect();
        candidates.sort_unstable();
        for spec in candidates.iter().rev().filter_map(|at| self.specs.get(*at)) {
            if spec.kind.is_none_or(|wanted| wanted == kind) && spec.regex()?.is_match(path) {
                return Ok(spec.context.as_deref());
            }
        }
        Ok(None)
    }

    /// Returns the path that the substitutions make of `path`.
    fn substituted(&self, path: &[u8]) -> Vec<u8> {
        let mut path = path.to_vec();
        for list in &self.substitutions {
            let meant = list.iter().find_map(|(from, to)| {
                let rest = path.strip_prefix(&from[..])?;
                (rest.is_empty() || rest.starts_with(b"/")).then(|| [to, rest].concat())
            });
            path = meant.unwrap_or(path);
        }
        path
    }
}

impl Spec {
    fn regex(&self) -> Result<&Regex, LabelError> {
        let compiled = self.regex.get_or_init(|| {
            RegexBuilder::new(&format!("^(?:{})$", self.pattern))
                .unicode(false)
                .dot_matches_new_line(true)
                .size_limit(REGEX_LIMIT_BYTES)
                .dfa_size_limit(REGEX_LIMIT_BYTES)
                .build()
                .map_err(|error| error.to_string())
        });
        compiled.as_ref().map_err(|reason| LabelError::Malformed {
            file: self.line.0.clone(),
            line: self.line.1,
            reason: reason.clone(),
        })
    }
}

fn file_kind(word: &str) -> Option<FileKind> {
    Some(match word {
        "--" => FileKind::Regular,
        "-d" => FileKind::Directory,
        "-l" => FileKind::Symlink,
        "-c" => FileKind::CharDevice,
        "-b" => FileKind::BlockDevice,
        "-p" => FileKind::Fifo,
        "-s" => FileKind::Socket,
        _ => return None,
    })
}

/// Returns the text with which all paths that match `pattern` start, and whether the pattern is that text alone.
fn literal_prefix(pattern: &str) -> (Vec<u8>, bool) {
    let mut prefix = Vec::new();
    if has_alternatives(pattern) {
        return (prefix, false);
    }
    let mut bytes = pattern.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => match bytes.next() {
                Some(escaped) if !escaped.is_ascii_alphanumeric() => prefix.push(escaped),
                // A class of characters.
                _ => return (prefix, false),
            },
            // The last character may be missing.
            b'?' | b'*' | b'{' => {
                prefix.pop();
                return (prefix, false);
            }
            b'.' | b'^' | b'$' | b'+' | b'[' | b'(' => return (prefix, false),
            other => prefix.push(other),
        }
    }
    (prefix, true)
}

/// Says whether a `|` stands outside of parentheses.
fn has_alternatives(pattern: &str) -> bool {
    let (mut depth, mut bytes) = (0_u32, pattern.bytes());
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b'|' if depth == 0 => return true,
            _ => {}
        }
    }
    false
}

/// Reads lines `path path`: a path below the first counts as one below the second.
fn substitutions(text: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let pair = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        Some((words.next()?.as_bytes().to_vec(), words.next()?.as_bytes().to_vec()))
    };
    lines.filter_map(pair).collect()
}

#[cfg(test)]
mod tests;
