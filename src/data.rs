//! Files that are compiled in: provider data, keys, default and sample templates.

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_bytes!(concat!("../data/", $path)))),*]
    };
}

static FILES: &[(&str, &[u8])] = files![
    "keys/debian-archive-trixie-automatic.gpg",
    "keys/debian-archive-trixie-security-automatic.gpg",
    "keys/debian-archive-trixie-stable.gpg",
    "providers/debian/debian13/additionalfiles/99-dhcp-en.network",
    "providers/debian/debian13/defaults/raw-aarch64.yml",
    "providers/debian/debian13/defaults/raw-x86_64.yml",
    "providers/debian/debian13/provider.yml",
    "templates/debian13-x86_64-edge.yml",
    "templates/debian13-x86_64-minimal.yml",
    "templates/files/edge-nftables.conf",
    "templates/files/edge-sshd.conf",
    "templates/files/oic-sample",
];

/// The content of the file `path` below `data/`.
pub(crate) fn file(path: &str) -> Option<&'static [u8]> {
    FILES.iter().find(|(name, _)| *name == path).map(|(_, bytes)| *bytes)
}

/// The names below `data/` that start with `prefix`, sorted.
pub(crate) fn names(prefix: &str) -> impl Iterator<Item = &'static str> {
    FILES
        .iter()
        .map(|(name, _)| *name)
        .filter(move |name| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_data_file_is_compiled_in() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
        let (mut found, mut open) = (Vec::new(), vec![root.clone()]);
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => open.push(path),
                    false => found.push(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned()),
                }
            }
        }
        found.retain(|name| !name.ends_with("README.md"));
        found.sort();
        assert_eq!(found, names("").collect::<Vec<_>>());
    }
}
