//! Identifiers of ISO 9660, which stand beside the real names of Rock Ridge: capital letters, digits and `_`, at most 31
//! characters (ECMA-119, 7.5.1, 7.6.1 and 7.6.3).

use std::collections::BTreeSet;

/// The most characters of the identifier of a directory.
const DIRECTORY_MAX: usize = 31;
/// The most characters of the name of a file, and of its extension.
const NAME_MAX: usize = 20;
const EXTENSION_MAX: usize = 9;

/// Returns identifiers for the `names` of a directory's entries, each with whether it is a directory: no two are equal.
pub(super) fn identifiers<'a>(names: impl Iterator<Item = (&'a [u8], bool)>) -> Vec<Vec<u8>> {
    let mut taken = BTreeSet::new();
    names
        .map(|(name, is_directory)| {
            let (base, extension) = match name.iter().rposition(|byte| *byte == b'.') {
                Some(at) if at > 0 && !is_directory => (&name[..at], &name[at + 1..]),
                _ => (name, &[][..]),
            };
            let limit = if is_directory { DIRECTORY_MAX } else { NAME_MAX };
            let (base, extension) = (plain(base, limit), plain(extension, EXTENSION_MAX));
            let mut number = 0_u32;
            loop {
                let identifier = join(&base, &extension, number, limit, is_directory);
                if taken.insert(identifier.clone()) {
                    return identifier;
                }
                number += 1;
            }
        })
        .collect()
}

/// Returns at most `limit` characters for `name`.
fn plain(name: &[u8], limit: usize) -> Vec<u8> {
    let plain = |byte: &u8| match byte.to_ascii_uppercase() {
        byte @ (b'A'..=b'Z' | b'0'..=b'9') => byte,
        _ => b'_',
    };
    name.iter().map(plain).take(limit).collect()
}

/// Joins the parts of an identifier; a `number` above 0 takes the place of the end of its name.
fn join(base: &[u8], extension: &[u8], number: u32, limit: usize, is_directory: bool) -> Vec<u8> {
    let tail = if number > 0 {
        format!("_{number}")
    } else {
        String::new()
    };
    let kept = base.len().min(limit - tail.len());
    let mut identifier = [base.get(..kept).unwrap_or_default(), tail.as_bytes()].concat();
    if !is_directory {
        identifier.extend([b".", extension, b";1"].concat());
    }
    identifier
}

/// Returns what orders identifiers: the name, then the extension (ECMA-119, 9.3).
pub(super) fn order(identifier: &[u8]) -> (&[u8], &[u8]) {
    match identifier.iter().position(|byte| *byte == b'.') {
        Some(at) => (&identifier[..at], &identifier[at + 1..]),
        None => (identifier, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_plain_and_different() {
        let long = [b'a'; 200];
        let names: [(&[u8], bool); 8] = [
            (b"vmlinuz", false),
            (b"VMLINUZ", false),
            (b"libc6_2.41-12_amd64.deb", false),
            (b".disk", true),
            (&long, true),
            (&long, false),
            (b"\xc3\xa4", false),
            (b"a.tar.gz", false),
        ];
        let made = identifiers(names.into_iter());
        let text: Vec<_> = made.iter().map(|id| String::from_utf8(id.clone()).unwrap()).collect();
        let a = "A".repeat(31);
        let expected = [
            "VMLINUZ.;1",
            "VMLINUZ_1.;1",
            "LIBC6_2_41_12_AMD64.DEB;1",
            "_DISK",
            &a,
            &format!("{}.;1", "A".repeat(20)),
            "__.;1",
            "A_TAR.GZ;1",
        ];
        assert_eq!(text, expected);
    }
}
