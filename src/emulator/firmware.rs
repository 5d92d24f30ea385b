//! The UEFI firmware that is installed on this host: as its own descriptions say (QEMU, `docs/interop/firmware.json`), or
//! where distributions put it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::EmulatorError;
use crate::package::Arch;

/// The directories of descriptions; a file in an earlier one replaces those of its name in later ones.
const DESCRIPTIONS: [&str; 3] = [
    "/etc/qemu/firmware",
    "/usr/local/share/qemu/firmware",
    "/usr/share/qemu/firmware",
];
/// The largest description, in bytes.
const DESCRIPTION_BYTES_MAX: u64 = 64 << 10;
/// Programs and variables of packages without descriptions, for machines without and with the keys of Microsoft.
const PLACES: [(Arch, bool, &str, &str); 7] = [
    (
        Arch::X86_64,
        false,
        "/usr/share/OVMF/OVMF_CODE_4M.fd",
        "/usr/share/OVMF/OVMF_VARS_4M.fd",
    ),
    (
        Arch::X86_64,
        false,
        "/usr/share/OVMF/OVMF_CODE.fd",
        "/usr/share/OVMF/OVMF_VARS.fd",
    ),
    (
        Arch::X86_64,
        false,
        "/usr/share/edk2/ovmf/OVMF_CODE.fd",
        "/usr/share/edk2/ovmf/OVMF_VARS.fd",
    ),
    (
        Arch::X86_64,
        false,
        "/usr/share/edk2/x64/OVMF_CODE.4m.fd",
        "/usr/share/edk2/x64/OVMF_VARS.4m.fd",
    ),
    (
        Arch::X86_64,
        true,
        "/usr/share/OVMF/OVMF_CODE_4M.ms.fd",
        "/usr/share/OVMF/OVMF_VARS_4M.ms.fd",
    ),
    (
        Arch::X86_64,
        true,
        "/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd",
        "/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd",
    ),
    (
        Arch::Aarch64,
        false,
        "/usr/share/AAVMF/AAVMF_CODE.fd",
        "/usr/share/AAVMF/AAVMF_VARS.fd",
    ),
];

/// Whether the firmware starts signed programs only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecureBoot {
    /// It starts everything.
    Off,
    /// It has the keys of Microsoft, and starts what they have signed.
    Enrolled,
    /// It has no keys yet, and can be given some: by the image itself, for one.
    Setup,
}

/// A file of the firmware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlashFile {
    /// Its path.
    pub path: PathBuf,
    /// Its format, a word of QEMU.
    pub format: String,
}

impl FlashFile {
    /// Makes the file at `path`, in the format that its name ends with.
    pub fn at(path: &Path) -> Self {
        let is_qcow2 = path.extension().is_some_and(|end| end == "qcow2");
        Self {
            path: path.to_owned(),
            format: if is_qcow2 { "qcow2" } else { "raw" }.to_owned(),
        }
    }
}

/// A UEFI firmware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uefi {
    /// Its program.
    pub code: FlashFile,
    /// Its variables, as a new machine has them.
    pub variables: FlashFile,
    /// Whether it protects its variables by the system management mode, which the machine must then have.
    pub needs_smm: bool,
}

/// Files that the user chooses.
#[derive(Debug, Clone, Default)]
pub struct Chosen {
    /// The program of the firmware.
    pub code: Option<PathBuf>,
    /// Its variables.
    pub variables: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Description {
    #[serde(default)]
    interface_types: Vec<String>,
    mapping: Mapping,
    #[serde(default)]
    targets: Vec<Target>,
    #[serde(default)]
    features: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mapping {
    device: String,
    executable: Option<DescribedFile>,
    nvram_template: Option<DescribedFile>,
}

#[derive(Debug, Clone, Deserialize)]
struct DescribedFile {
    filename: PathBuf,
    format: String,
}

#[derive(Debug, Deserialize)]
struct Target {
    architecture: String,
}

impl Description {
    /// Returns the firmware if it is one for `arch` with `secure_boot`, and its files exist.
    fn suits(self, arch: Arch, secure_boot: SecureBoot) -> Option<Uefi> {
        let has = |feature: &str| self.features.iter().any(|own| own == feature);
        let wanted = match secure_boot {
            SecureBoot::Off => (false, false),
            SecureBoot::Setup => (true, false),
            SecureBoot::Enrolled => (true, true),
        };
        let is_uefi = self.interface_types.iter().any(|kind| kind == "uefi") && self.mapping.device == "flash";
        let is_for_arch = self
            .targets
            .iter()
            .any(|target| target.architecture == architecture(arch));
        if !is_uefi || !is_for_arch || wanted != (has("secure-boot"), has("enrolled-keys")) {
            return None;
        }
        let needs_smm = has("requires-smm");
        let file = |described: Option<DescribedFile>| {
            let described = described.filter(|file| file.filename.is_file())?;
            Some(FlashFile {
                path: described.filename,
                format: described.format,
            })
        };
        Some(Uefi {
            code: file(self.mapping.executable)?,
            variables: file(self.mapping.nvram_template)?,
            needs_smm,
        })
    }
}

/// Returns the word of QEMU for `arch`.
fn architecture(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "x86_64",
        Arch::Aarch64 => "aarch64",
        Arch::Armv7hl => "arm",
    }
}

/// Finds a firmware for `arch` with `secure_boot`; files that the user has `chosen` replace those of the host.
///
/// # Errors
/// If none is installed.
pub fn find(arch: Arch, secure_boot: SecureBoot, chosen: &Chosen) -> Result<Uefi, EmulatorError> {
    let directories = DESCRIPTIONS.map(Path::new);
    let found = described(&directories, arch, secure_boot).or_else(|| placed(arch, secure_boot));
    with_chosen(found, secure_boot, chosen).ok_or(EmulatorError::NoFirmware {
        arch,
        kind: match secure_boot {
            SecureBoot::Off => None,
            SecureBoot::Enrolled => Some("with Secure Boot and the keys of Microsoft"),
            SecureBoot::Setup => Some("with Secure Boot"),
        },
    })
}

fn with_chosen(found: Option<Uefi>, secure_boot: SecureBoot, chosen: &Chosen) -> Option<Uefi> {
    let own = |path: &Option<PathBuf>| path.as_deref().map(FlashFile::at);
    let (code, variables) = (own(&chosen.code), own(&chosen.variables));
    match (found, code, variables) {
        (Some(found), code, variables) => Some(Uefi {
            code: code.unwrap_or(found.code),
            variables: variables.unwrap_or(found.variables),
            needs_smm: found.needs_smm,
        }),
        (None, Some(code), Some(variables)) => Some(Uefi {
            code,
            variables,
            needs_smm: secure_boot != SecureBoot::Off,
        }),
        (None, ..) => None,
    }
}

/// Finds the first firmware that a description in `directories` offers, in the order of the files' names.
fn described(directories: &[&Path], arch: Arch, secure_boot: SecureBoot) -> Option<Uefi> {
    let mut files: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for entry in directories
        .iter()
        .filter_map(|directory| fs::read_dir(directory).ok())
        .flatten()
    {
        let Ok(entry) = entry else { continue };
        let path = entry.path();
        if path.extension().is_some_and(|end| end == "json") {
            files.entry(entry.file_name()).or_insert(path);
        }
    }
    files.into_values().find_map(|path| {
        let is_small = path.metadata().is_ok_and(|known| known.len() <= DESCRIPTION_BYTES_MAX);
        let text = is_small.then(|| fs::read(&path).ok()).flatten()?;
        match serde_json::from_slice::<Description>(&text) {
            Ok(description) => description.suits(arch, secure_boot),
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "this description of a firmware cannot be read");
                None
            }
        }
    })
}

/// Finds the firmware where packages without descriptions put it.
fn placed(arch: Arch, secure_boot: SecureBoot) -> Option<Uefi> {
    let places = PLACES.iter().filter(|(own, has_keys, ..)| {
        let wanted = match secure_boot {
            SecureBoot::Off => !has_keys,
            SecureBoot::Enrolled => *has_keys,
            SecureBoot::Setup => false,
        };
        *own == arch && wanted
    });
    let mut files = places.map(|(.., code, variables)| [code, variables].map(|path| FlashFile::at(Path::new(path))));
    let [code, variables] = files.find(|files| files.iter().all(|file| file.path.is_file()))?;
    Some(Uefi {
        code,
        variables,
        needs_smm: secure_boot != SecureBoot::Off,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"description": "d", "interface-types": ["uefi"], "mapping": {"device": "flash", "mode": "split",
        "executable": {"filename": "CODE", "format": "qcow2"}, "nvram-template": {"filename": "VARS", "format": "raw"}},
        "targets": [{"architecture": "x86_64", "machines": ["pc-q35-*"]}], "features": FEATURES, "tags": []}"#;

    #[test]
    fn descriptions_are_taken_in_the_order_of_their_names() {
        let directory = tempfile::tempdir().unwrap();
        let [high, low] = ["high", "low"].map(|name| directory.path().join(name));
        let write = |directory: &Path, name: &str, code: &str, features: &str| {
            fs::create_dir_all(directory).unwrap();
            let [code, variables] = [code, "vars.fd"].map(|name| directory.join(name));
            for path in [&code, &variables] {
                fs::write(path, "x").unwrap();
            }
            let text = TEXT
                .replace("CODE", code.to_str().unwrap())
                .replace("VARS", variables.to_str().unwrap());
            fs::write(directory.join(name), text.replace("FEATURES", features)).unwrap();
        };
        write(&low, "10.json", "replaced.fd", "[]");
        write(
            &low,
            "20.json",
            "keys.fd",
            r#"["secure-boot", "enrolled-keys", "requires-smm"]"#,
        );
        write(&low, "30.json", "setup.fd", r#"["secure-boot", "requires-smm"]"#);
        write(&high, "10.json", "plain.fd", "[]");
        fs::write(low.join("00.json"), "no JSON").unwrap();
        let find = |arch, kind| described(&[&high, &low], arch, kind);
        let plain = find(Arch::X86_64, SecureBoot::Off).unwrap();
        assert!(plain.code.path.ends_with("high/plain.fd") && plain.code.format == "qcow2" && !plain.needs_smm);
        let keys = find(Arch::X86_64, SecureBoot::Enrolled).unwrap();
        assert!(keys.code.path.ends_with("keys.fd") && keys.needs_smm);
        assert!(
            find(Arch::X86_64, SecureBoot::Setup)
                .unwrap()
                .code
                .path
                .ends_with("setup.fd")
        );
        assert_eq!(find(Arch::Aarch64, SecureBoot::Off), None);
        // A file that is not there is not offered.
        fs::remove_file(high.join("plain.fd")).unwrap();
        assert_eq!(find(Arch::X86_64, SecureBoot::Off), None);
    }

    #[test]
    fn the_user_replaces_one_file_or_both() {
        let own = |name: &str| Some(PathBuf::from(name));
        let found = Uefi {
            code: FlashFile::at(Path::new("/code")),
            variables: FlashFile::at(Path::new("/vars")),
            needs_smm: false,
        };
        let chosen = Chosen {
            code: None,
            variables: own("/mine.qcow2"),
        };
        let mixed = with_chosen(Some(found), SecureBoot::Off, &chosen).unwrap();
        assert_eq!(
            (mixed.code.path.as_path(), mixed.variables.format.as_str()),
            (Path::new("/code"), "qcow2")
        );
        assert_eq!(with_chosen(None, SecureBoot::Off, &chosen), None);
        let both = Chosen {
            code: own("/c"),
            variables: own("/v"),
        };
        assert!(with_chosen(None, SecureBoot::Setup, &both).unwrap().needs_smm);
    }
}
