//! Which of some packages the indexes mention first: apt numbers packages in that
//! order, and the number decides between providers that are equal otherwise.

use std::collections::HashMap;

use crate::package::PackageRecord;

/// For each of `names` the number of its first mention, as a package or in a
/// relation, if there is one. Smaller is earlier.
pub(super) fn first_mentions<'n>(
    records: &[PackageRecord],
    names: impl Iterator<Item = &'n str>,
) -> HashMap<&'n str, usize> {
    let mut missing: Vec<_> = names.collect();
    let mut mentions = HashMap::new();
    for record in records {
        // In the order in which apt reads them.
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

/// The package names of a relation field, as bytes; whatever is malformed yields something that is no name.
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
