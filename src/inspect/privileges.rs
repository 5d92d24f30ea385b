//! Files that give more rights than their readers have, and keys that no package brought.

use std::path::Path;

use serde::Serialize;

use crate::installed::visit::{self, Listing, Seen};
use crate::installed::{Database, Owners, capabilities};
use crate::overlay::layer::{FileKind, Layer, LayerResult};
use crate::secrets;

/// The bits of a mode that change who a program runs as.
const SET_ID: u32 = 0o6000;
/// The bits of a mode that let somebody run a program.
const EXECUTABLE: u32 = 0o111;
/// Where secrets are looked for: what is below `/usr` belongs to packages.
const PLACES: [&str; 7] = ["/etc", "/root", "/home", "/var", "/opt", "/srv", "/usr/local"];
/// Databases of package managers, and caches.
const SKIPPED: [&str; 5] = [
    "/var/cache",
    "/var/lib/apt",
    "/var/lib/dpkg",
    "/var/lib/rpm",
    "/etc/ssl/certs",
];
/// The most bytes of a file that may have a key.
const KEY_BYTES_MAX: u64 = 64 << 10;

/// A program that runs with the rights of its owner or group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SetId {
    /// Its path.
    pub path: String,
    /// Its mode, in octal.
    pub mode: String,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// The package that it belongs to; empty if none.
    pub package: String,
}

/// A program with capabilities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Capable {
    /// Its path.
    pub path: String,
    /// The capabilities, in the words of cap_to_text(3).
    pub capabilities: String,
    /// The package that it belongs to; empty if none.
    pub package: String,
}

/// A key or identity that all copies of the image share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SharedSecret {
    /// Its path.
    pub path: String,
    /// What it is, in words.
    pub kind: &'static str,
}

/// What is remarkable in a tree.
#[derive(Debug, Default)]
pub(super) struct Privileges {
    pub set_id: Vec<SetId>,
    pub capable: Vec<Capable>,
    pub secrets: Vec<SharedSecret>,
}

impl Privileges {
    /// Looks at the files of `listing`; adds what could not be read to `notes`.
    pub(super) fn of(
        layer: &dyn Layer,
        listing: &Listing,
        (database, owners): (&Database, &Owners),
        notes: &mut Vec<String>,
    ) -> Self {
        let mut found = Self::default();
        let package = |path: &str| {
            let owner = owners.of(path).and_then(|index| database.packages.get(index));
            owner.map(|package| package.name.clone()).unwrap_or_default()
        };
        let regular = listing
            .files
            .iter()
            .filter(|file| file.attributes.kind == FileKind::Regular);
        for file in regular {
            let (path, mode) = (file.path.to_string_lossy(), file.attributes.permissions);
            if mode & SET_ID != 0 {
                found.set_id.push(SetId {
                    mode: format!("{mode:04o}"),
                    uid: file.attributes.uid,
                    gid: file.attributes.gid,
                    package: package(&path),
                    path: path.clone().into_owned(),
                });
            }
            if mode & EXECUTABLE != 0 {
                match layer.xattr(file.node, capabilities::ATTRIBUTE.as_ref()) {
                    Ok(None) => {}
                    Ok(Some(value)) => found.capable.push(Capable {
                        capabilities: capabilities::text(&value).unwrap_or_else(|| hex::encode(value)),
                        package: package(&path),
                        path: path.clone().into_owned(),
                    }),
                    Err(error) => notes.push(format!("{path}: {error}")),
                }
            }
            if may_have_key(file) && owners.of(&path).is_none() {
                match secret(layer, file) {
                    Ok(kind) => found.secrets.extend(kind.map(|kind| SharedSecret {
                        path: path.into_owned(),
                        kind,
                    })),
                    Err(error) => notes.push(format!("{path}: {error}")),
                }
            }
        }
        found
    }
}

fn may_have_key(file: &Seen) -> bool {
    let is_below = |places: &[&str]| places.iter().any(|place| file.path.starts_with(place));
    (1..=KEY_BYTES_MAX).contains(&file.attributes.size_bytes) && is_below(&PLACES) && !is_below(&SKIPPED)
}

fn secret(layer: &dyn Layer, file: &Seen) -> LayerResult<Option<&'static str>> {
    let mut content = Vec::new();
    let mut buffer = vec![0; file.attributes.size_bytes as usize];
    visit::read(layer, file.node, &mut buffer, &mut |piece| {
        content.extend_from_slice(piece)
    })?;
    Ok(secrets::kind(Path::new(&file.path), &content))
}
