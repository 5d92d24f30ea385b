//! Signs what the firmware starts, and provides the keys that it enrolls.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{BootError, authenticode};
use crate::image::content::Source;
use crate::model::{Enrollment, Signing};
use crate::sign::Signer;
use crate::sign::variables::{Variable, authenticated};
use crate::words::Words as _;

/// The settings of systemd-boot.
pub(super) const LOADER_CONFIGURATION: &str = "loader/loader.conf";
/// The directory of keys that systemd-boot enrolls by itself (systemd-boot(7)).
const KEYS: &str = "loader/keys/auto";
/// The certificate for people who enroll it by hand, as the older tool has it.
const SHOWN_CERTIFICATE: &str = "DB.cer";
/// The largest certificate file, in bytes.
const CERTIFICATE_LIMIT_BYTES: u64 = 1 << 20;

/// Signs those of `files` of the EFI system partition that are programs, with `signer`, which has the keys of `signing`,
/// and adds the certificates.
///
/// # Errors
/// [`BootError`] if a program cannot be signed.
pub fn sign(files: &mut Vec<(PathBuf, Source)>, signing: &Signing, signer: &Arc<dyn Signer>) -> Result<(), BootError> {
    for (path, source) in files.iter_mut().filter(|(path, _)| is_program(path)) {
        *source = authenticode::signed(source, signer).map_err(|source| BootError::Authenticode {
            path: path.clone(),
            source,
        })?;
    }
    if let Some(shown) = &signing.shown_certificate {
        let read = crate::durable::open_regular(shown)
            .and_then(|file| crate::durable::read_at_most(file, CERTIFICATE_LIMIT_BYTES));
        let bytes = read.map_err(crate::durable::PathError::on("read", shown))?;
        files.push((SHOWN_CERTIFICATE.into(), Source::Bytes(bytes)));
    }
    if let Some(enrollment) = signing.enrollment {
        enroll(files, enrollment, signer.as_ref())?;
    }
    Ok(())
}

/// Says whether the firmware starts the file `path` of the EFI system partition: an EFI program, or the kernel of an entry
/// of the Boot Loader Specification.
fn is_program(path: &Path) -> bool {
    let is_efi = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("efi"));
    is_efi || path.file_name().is_some_and(|name| name == "linux")
}

/// Adds the certificate of `signer` as variables of the firmware, and says in the settings of systemd-boot when it sets
/// them.
fn enroll(files: &mut Vec<(PathBuf, Source)>, enrollment: Enrollment, signer: &dyn Signer) -> Result<(), BootError> {
    for variable in Variable::ALL {
        let path = Path::new(KEYS).join(format!("{}.auth", variable.name()));
        files.push((path, Source::Bytes(authenticated(variable, signer, &[])?)));
    }
    let settings = files
        .iter_mut()
        .find(|(path, _)| path == Path::new(LOADER_CONFIGURATION));
    // An image with settings of its own decides itself.
    if let Some((_, Source::Bytes(settings))) = settings {
        settings.extend(format!("secure-boot-enroll {}\n", enrollment.word()).into_bytes());
    }
    Ok(())
}
