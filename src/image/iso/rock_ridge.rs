//! What Rock Ridge adds to the record of a file: entries of the System Use Sharing Protocol (SUSP 1.12; RRIP 1.12, 4.1).

use super::number::both32;

/// The most bytes of an entry.
const ENTRY_MAX: usize = 255;
/// The longest part of a name or of a link's target in one entry, in bytes.
const PART_MAX: usize = 240;
/// Bytes of a continuation entry.
pub(super) const CONTINUATION_BYTES: usize = 28;

/// What belongs to an entry for owners and permissions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Posix {
    pub(super) mode: u32,
    pub(super) links: u32,
    /// The number that all names of a file share.
    pub(super) serial: u32,
}

/// Makes an entry of version 1.
fn entry(signature: &[u8; 2], data: &[&[u8]]) -> Vec<u8> {
    let data = data.concat();
    let length = u8::try_from(data.len() + 4).unwrap_or(u8::MAX);
    [&signature[..], &[length, 1], &data].concat()
}

/// Makes the entry that announces the protocol, on the root alone (SUSP 5.3).
pub(super) fn announcement() -> Vec<u8> {
    entry(b"SP", &[&[0xbe, 0xef, 0]])
}

/// Makes the entry that names the extension (SUSP 5.5; RRIP 4.3).
pub(super) fn extension() -> Vec<u8> {
    let (id, about) = (
        "IEEE_P1282",
        "THE IEEE P1282 PROTOCOL PROVIDES SUPPORT FOR POSIX FILE SYSTEM SEMANTICS",
    );
    let source = "PLEASE CONTACT THE IEEE STANDARDS DEPARTMENT, PISCATAWAY, NJ, USA FOR THE P1282 SPECIFICATION.";
    let lengths = [id.len() as u8, about.len() as u8, source.len() as u8, 1];
    entry(b"ER", &[&lengths, id.as_bytes(), about.as_bytes(), source.as_bytes()])
}

/// Makes the entry for mode, number of names, owner (root) and serial number.
pub(super) fn posix(posix: Posix) -> Vec<u8> {
    let numbers = [posix.mode, posix.links, 0, 0, posix.serial].map(both32);
    entry(b"PX", &[&numbers.concat()])
}

/// Makes the entry for the times of modification, access and change of attributes, all of them `time`.
pub(super) fn times(time: [u8; 7]) -> Vec<u8> {
    entry(b"TF", &[&[0x0e], &time, &time, &time])
}

/// Makes the entries for the real name.
pub(super) fn name(name: &[u8]) -> Vec<Vec<u8>> {
    let parts: Vec<_> = name.chunks(PART_MAX).collect();
    let last = parts.len().saturating_sub(1);
    let parts = parts.into_iter().enumerate();
    parts
        .map(|(number, part)| entry(b"NM", &[&[u8::from(number != last)], part]))
        .collect()
}

/// Makes the entries for the target of a link.
pub(super) fn link(target: &[u8]) -> Vec<Vec<u8>> {
    let mut runs: Vec<Vec<u8>> = vec![Vec::new()];
    for component in components(target) {
        // Header and flags take five bytes.
        if runs
            .last()
            .is_some_and(|run| run.len() + component.len() + 5 > ENTRY_MAX)
        {
            runs.push(Vec::new());
        }
        if let Some(run) = runs.last_mut() {
            run.extend(component);
        }
    }
    let last = runs.len() - 1;
    let runs = runs.into_iter().enumerate();
    runs.map(|(number, run)| entry(b"SL", &[&[u8::from(number != last)], &run]))
        .collect()
}

/// Returns the component records of a link's target: flags, length, text (RRIP 4.1.3.1).
fn components(target: &[u8]) -> Vec<Vec<u8>> {
    let mut components = Vec::new();
    if target.starts_with(b"/") {
        components.push(vec![8, 0]);
    }
    for name in target.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        match name {
            b"." => components.push(vec![2, 0]),
            b".." => components.push(vec![4, 0]),
            _ => {
                let parts: Vec<_> = name.chunks(PART_MAX).collect();
                let last = parts.len() - 1;
                components.extend(parts.into_iter().enumerate().map(|(number, part)| {
                    let head = [u8::from(number != last), part.len() as u8];
                    [&head[..], part].concat()
                }));
            }
        }
    }
    components
}

/// Makes the entry that leads to more of them: `length` bytes at `offset` of `block` (SUSP 5.1).
pub(super) fn continuation(block: u32, offset: u32, length: u32) -> Vec<u8> {
    entry(b"CE", &[&[block, offset, length].map(both32).concat()])
}
