//! Values of the fields of images that are built on a finished image, of encryption and of the choice of a disk.

use crate::words::words;

/// `baseline.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BaselineMode {
    /// From packages.
    Create,
    /// On a finished image.
    Overlay,
}

words!(BaselineMode {
    (Self::Create): "create",
    (Self::Overlay): "overlay",
});

/// `baseline.source.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BaselineFormat {
    /// The disk itself, byte by byte.
    Raw,
    /// QEMU's.
    Qcow2,
    /// Microsoft's older one.
    Vhd,
    /// Microsoft's newer one.
    Vhdx,
}

words!(BaselineFormat {
    (Self::Raw): "raw",
    (Self::Qcow2): "qcow2",
    (Self::Vhd): "vhd",
    (Self::Vhdx): "vhdx",
});

/// `overlayPolicy.packageOperation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackageOperation {
    /// New packages only.
    Add,
    /// New packages, and newer versions of those that are there.
    AddAndUpgrade,
}

words!(PackageOperation {
    (Self::Add): "additive-only",
    (Self::AddAndUpgrade): "additive-and-upgrade",
});

/// `overlayPolicy.conflictPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConflictPolicy {
    /// Every conflict is an error.
    Fail,
    /// A package that the template names takes the place of the other.
    AllowExplicit,
}

words!(ConflictPolicy {
    (Self::Fail): "fail",
    (Self::AllowExplicit): "allow-explicit",
});

/// `disk.selectionPolicy.strategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskStrategy {
    /// The first in the kernel's order.
    First,
    /// The one with the most bytes.
    Largest,
    /// The one behind the fastest interface.
    Fastest,
}

words!(DiskStrategy {
    (Self::First): "first",
    (Self::Largest): "largest",
    (Self::Fastest): "fastest",
});

/// `systemConfig.fde.unlock`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlock {
    /// With a key in the image.
    Auto,
    /// With a passphrase that a person types.
    Manual,
}

words!(Unlock {
    (Self::Auto): "auto",
    (Self::Manual): "manual",
});
