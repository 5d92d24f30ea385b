//! Finds the packages that the indexes mention first: apt numbers packages in that order, and the number decides
//! between otherwise equal providers.

use std::collections::HashMap;

use crate::package::PackageRecord;

/// Returns the number of the first mention of each of `names`, as a package or in a relation; names without a mention
/// are left out. Smaller is earlier.
pub(super) fn first_mentions<'n>(
    records: &[PackageRecord],
    names: impl Iterator<Item = &'n str>,
) -> HashMap<&'n str, usize> {
    let mut missing: Vec<_> = names.collect();
    let mut mentions = HashMap::new();
    for record in records {
        // The order in which apt reads the fields.
        let suggested = OtherFields::of(record.stanza.as_str());
        let fields = [
            &*record.name,
            &record.pre_depends,
            &record.depends,
            &record.conflicts,
            &record.breaks,
            &record.recommends,
            suggested.suggests,
            &record.replaces,
            suggested.enhances,
            &record.provides,
        ];
        for word in fields.into_iter().flat_map(words) {
            if let Some(at) = missing.iter().position(|name| name.as_bytes() == word) {
                mentions.insert(missing.swap_remove(at), mentions.len());
            }
        }
        if missing.is_empty() {
            break;
        }
    }
    mentions
}

/// Returns the package names of a relation field, as bytes; a malformed element yields a text that is no name.
fn words(field: &str) -> impl Iterator<Item = &[u8]> {
    let elements = field.as_bytes().split(|byte| matches!(byte, b',' | b'|'));
    elements.map(|element| {
        let element = element.trim_ascii_start();
        let end = element.iter().position(|byte| matches!(byte, b' ' | b'(' | b'\n'));
        element.get(..end.unwrap_or(element.len())).unwrap_or(element)
    })
}

/// The one-line values of relation fields that records do not keep.
#[derive(Default)]
struct OtherFields<'a> {
    suggests: &'a str,
    enhances: &'a str,
}

impl<'a> OtherFields<'a> {
    fn of(stanza: &'a str) -> Self {
        let mut fields = Self::default();
        for line in stanza.split('\n') {
            match line.as_bytes().first() {
                Some(b'S') => fields.suggests = line.strip_prefix("Suggests: ").unwrap_or(fields.suggests),
                Some(b'E') => fields.enhances = line.strip_prefix("Enhances: ").unwrap_or(fields.enhances),
                _ => {}
            }
        }
        fields
    }
}
