//! Files that are compiled in: provider data, keys, default and sample templates.

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_bytes!(concat!("../data/", $path)))),*]
    };
}

static FILES: &[(&str, &[u8])] = files![
    "keys/debian-archive-bookworm-automatic.gpg",
    "keys/debian-archive-bookworm-security-automatic.gpg",
    "keys/debian-archive-bookworm-stable.gpg",
    "keys/debian-archive-trixie-automatic.gpg",
    "keys/debian-archive-trixie-security-automatic.gpg",
    "keys/debian-archive-trixie-stable.gpg",
    "providers/azure-linux/azl3/additionalfiles/99-dhcp-en.network",
    "providers/azure-linux/azl3/defaults/img.yml",
    "providers/azure-linux/azl3/defaults/iso.yml",
    "providers/azure-linux/azl3/defaults/raw.yml",
    "providers/azure-linux/azl3/defaults/wsl2.yml",
    "providers/azure-linux/azl3/provider.yml",
    "providers/debian/debian12/additionalfiles/99-dhcp-en.network",
    "providers/debian/debian12/defaults/img.yml",
    "providers/debian/debian12/defaults/iso.yml",
    "providers/debian/debian12/defaults/raw.yml",
    "providers/debian/debian12/defaults/wsl2.yml",
    "providers/debian/debian12/provider.yml",
    "providers/debian/debian13/additionalfiles/99-dhcp-en.network",
    "providers/debian/debian13/defaults/img.yml",
    "providers/debian/debian13/defaults/iso.yml",
    "providers/debian/debian13/defaults/raw.yml",
    "providers/debian/debian13/defaults/wsl2.yml",
    "providers/debian/debian13/provider.yml",
    "providers/edge-microvisor-toolkit/emt3/additionalfiles/99-dhcp-en.network",
    "providers/edge-microvisor-toolkit/emt3/additionalfiles/layout.env",
    "providers/edge-microvisor-toolkit/emt3/defaults/img.yml",
    "providers/edge-microvisor-toolkit/emt3/defaults/iso.yml",
    "providers/edge-microvisor-toolkit/emt3/defaults/raw.yml",
    "providers/edge-microvisor-toolkit/emt3/defaults/wsl2.yml",
    "providers/edge-microvisor-toolkit/emt3/provider.yml",
    "providers/redhat-compatible-distro/el10/additionalfiles/99-dhcp-en.network",
    "providers/redhat-compatible-distro/el10/defaults/img.yml",
    "providers/redhat-compatible-distro/el10/defaults/iso.yml",
    "providers/redhat-compatible-distro/el10/defaults/raw.yml",
    "providers/redhat-compatible-distro/el10/defaults/wsl2.yml",
    "providers/redhat-compatible-distro/el10/provider.yml",
    "providers/ubuntu/ubuntu24/additionalfiles/99-dhcp-en.network",
    "providers/ubuntu/ubuntu24/additionalfiles/agent-install.sh",
    "providers/ubuntu/ubuntu24/additionalfiles/ptl/01-network-manager-all.yaml",
    "providers/ubuntu/ubuntu24/additionalfiles/ptl/50-cloud-init.yaml",
    "providers/ubuntu/ubuntu24/defaults/img.yml",
    "providers/ubuntu/ubuntu24/defaults/iso.yml",
    "providers/ubuntu/ubuntu24/defaults/raw.yml",
    "providers/ubuntu/ubuntu24/defaults/wsl2.yml",
    "providers/ubuntu/ubuntu24/provider.yml",
    "providers/ubuntu/ubuntu26/additionalfiles/99-dhcp-en.network",
    "providers/ubuntu/ubuntu26/defaults/img.yml",
    "providers/ubuntu/ubuntu26/defaults/iso.yml",
    "providers/ubuntu/ubuntu26/defaults/raw.yml",
    "providers/ubuntu/ubuntu26/defaults/wsl2.yml",
    "providers/ubuntu/ubuntu26/provider.yml",
    "providers/wind-river-elxr/elxr12/additionalfiles/99-dhcp-en.network",
    "providers/wind-river-elxr/elxr12/defaults/img.yml",
    "providers/wind-river-elxr/elxr12/defaults/iso.yml",
    "providers/wind-river-elxr/elxr12/defaults/raw.yml",
    "providers/wind-river-elxr/elxr12/defaults/wsl2.yml",
    "providers/wind-river-elxr/elxr12/provider.yml",
    "providers/wind-river-elxr/elxr13/additionalfiles/99-dhcp-en.network",
    "providers/wind-river-elxr/elxr13/defaults/img.yml",
    "providers/wind-river-elxr/elxr13/defaults/iso.yml",
    "providers/wind-river-elxr/elxr13/defaults/raw.yml",
    "providers/wind-river-elxr/elxr13/defaults/wsl2.yml",
    "providers/wind-river-elxr/elxr13/provider.yml",
    "templates/debian13-x86_64-edge.yml",
    "templates/debian13-x86_64-minimal.yml",
    "templates/files/edge-nftables.conf",
    "templates/files/edge-sshd.conf",
    "templates/files/oic-sample",
];

/// Returns the content of the file `path` below `data/`.
pub(crate) fn file(path: &str) -> Option<&'static [u8]> {
    FILES.iter().find(|(name, _)| *name == path).map(|(_, bytes)| *bytes)
}

/// Returns the names below `data/` that start with `prefix`, sorted.
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
