//! Machine architectures under the names that templates, deb, UEFI and ELF use.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::words::{Words, words};

/// A target architecture, written as in templates (`target.arch`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Arch {
    /// 64-bit x86; `amd64` in Debian.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 64-bit ARM; `arm64` in Debian.
    #[serde(rename = "aarch64")]
    Aarch64,
    /// 32-bit ARM with hardware floating point; `armhf` in Debian.
    #[serde(rename = "armv7hl")]
    Armv7hl,
}

/// The text is not the name of a supported architecture.
#[derive(Debug, Clone, thiserror::Error)]
#[error("unknown architecture {0:?}: expected x86_64, aarch64 or armv7hl")]
pub struct UnknownArch(pub String);

words!(Arch {
    (Self::X86_64): "x86_64",
    (Self::Aarch64): "aarch64",
    (Self::Armv7hl): "armv7hl",
});

impl Arch {
    /// Every architecture, in the order of the schema.
    pub const ALL: [Self; 3] = [Self::X86_64, Self::Aarch64, Self::Armv7hl];

    /// Returns the name in templates and provider ids.
    pub fn as_str(self) -> &'static str {
        self.word()
    }

    /// Returns the dpkg architecture name (deb-src-control(5), "Architecture").
    pub fn deb(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
            Self::Armv7hl => "armhf",
        }
    }

    /// Returns the name in RPM packages (rpm's `arch` tag), which is that of the templates.
    pub fn rpm(self) -> &'static str {
        self.as_str()
    }

    /// Returns the suffix of UEFI binaries, as in `BOOTX64.EFI` (UEFI 2.10, 3.5.1.1), in lower case.
    pub fn efi(self) -> &'static str {
        match self {
            Self::X86_64 => "x64",
            Self::Aarch64 => "aa64",
            Self::Armv7hl => "arm",
        }
    }

    /// Returns the architecture of the machine that this program runs on; `None` if it is not a supported one.
    pub fn host() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Aarch64),
            "arm" => Some(Self::Armv7hl),
            _ => None,
        }
    }
}

/// An architecture whose `.deb` packages a machine of another one runs too (dpkg(1), `--add-architecture`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ForeignArch {
    /// 32-bit x86, on 64-bit x86.
    #[serde(rename = "i386")]
    I386,
}

words!(ForeignArch {
    (Self::I386): "i386",
});

impl ForeignArch {
    /// Returns the name in Debian, which is that of the templates.
    pub fn deb(self) -> &'static str {
        self.word()
    }

    /// Returns whether a machine of architecture `target` runs its programs.
    pub fn runs_on(self, target: Arch) -> bool {
        match self {
            Self::I386 => target == Arch::X86_64,
        }
    }
}

/// The architectures of the packages of one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Targets<'a> {
    /// The machine's own.
    pub native: Arch,
    /// Those besides, of `.deb` packages.
    pub foreign: &'a [ForeignArch],
}

impl From<Arch> for Targets<'_> {
    fn from(native: Arch) -> Self {
        let foreign = &[];
        Self { native, foreign }
    }
}

impl Targets<'_> {
    /// Returns the names in Debian, the machine's own first.
    pub fn deb(&self) -> impl Iterator<Item = &'static str> {
        let foreign = self.foreign.iter().map(|arch| arch.deb());
        std::iter::once(self.native.deb()).chain(foreign)
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Arch {
    type Err = UnknownArch;

    fn from_str(text: &str) -> Result<Self, UnknownArch> {
        Self::named(text).ok_or_else(|| UnknownArch(text.to_owned()))
    }
}
