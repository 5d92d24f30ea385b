//! Variables of the firmware that hold certificates, with the signature that lets a running system set them
//! (UEFI 2.10, 8.2.2 "EFI_VARIABLE_AUTHENTICATION_2" and 32.4.1 "EFI_SIGNATURE_LIST").

use std::time::SystemTime;

use uuid::{Uuid, uuid};

use super::message::Content;
use super::{Certificate, SignError, Signer};
use crate::date;

/// `EFI_GLOBAL_VARIABLE`.
const GLOBAL: Uuid = uuid!("8be4df61-93ca-11d2-aa0d-00e098032b8c");
/// `EFI_IMAGE_SECURITY_DATABASE_GUID`.
const SECURITY_DATABASE: Uuid = uuid!("d719b2cb-3d3a-4596-a3bc-dad00e67656f");
/// `EFI_CERT_X509_GUID`.
const X509: Uuid = uuid!("a5c059a1-94e4-4aa7-87b5-ab155c2bf072");
/// `EFI_CERT_TYPE_PKCS7_GUID`.
const PKCS7: Uuid = uuid!("4aafd29d-68df-49ee-8aa9-347d375665a7");
/// Non-volatile, for boot services and the running system, authenticated by time (UEFI 2.10, 8.2).
const ATTRIBUTES: u32 = 0x1 | 0x2 | 0x4 | 0x20;
/// `WIN_CERT_TYPE_EFI_GUID` and the revision (UEFI 2.10, 32.2.4).
const WIN_CERTIFICATE: [u8; 4] = [0x00, 0x02, 0xf1, 0x0e];
/// The name of the namespace of the owners of certificates.
const OWNERS: Uuid = uuid!("1d9a2b7e-53c1-4f0e-9b0f-6f6963736967");

/// A variable of Secure Boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variable {
    /// The platform key.
    Pk,
    /// The keys that may change the database.
    Kek,
    /// The database of certificates whose programs may start.
    Db,
}

impl Variable {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 3] = [Self::Pk, Self::Kek, Self::Db];

    /// Returns its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pk => "PK",
            Self::Kek => "KEK",
            Self::Db => "db",
        }
    }

    const fn vendor(self) -> Uuid {
        match self {
            Self::Pk | Self::Kek => GLOBAL,
            Self::Db => SECURITY_DATABASE,
        }
    }
}

/// Makes the contents of `variable` with the certificate of `signer` and those of `others`, signed by `signer`. Its time is
/// the first instant of the signer's certificate, so it depends on the keys alone. The platform key takes no others.
///
/// # Errors
/// Those of the signer.
pub fn authenticated(variable: Variable, signer: &dyn Signer, others: &[Certificate]) -> Result<Vec<u8>, SignError> {
    let own = signer.certificate();
    let others = if variable == Variable::Pk { &[] } else { others };
    let lists: Vec<u8> = std::iter::once(own).chain(others).flat_map(list).collect();
    let time = time(own.valid_from());
    let name: Vec<u8> = variable.name().encode_utf16().flat_map(u16::to_le_bytes).collect();
    let vendor = variable.vendor().to_bytes_le();
    let to_sign = [&name[..], &vendor, &ATTRIBUTES.to_le_bytes(), &time, &lists].concat();
    let signature = Content::detached(to_sign).sign(signer)?;
    let length = 24 + signature.len() as u32;
    Ok([
        &time[..],
        &length.to_le_bytes(),
        &WIN_CERTIFICATE,
        &PKCS7.to_bytes_le(),
        &signature,
        &lists,
    ]
    .concat())
}

/// Encodes the `EFI_SIGNATURE_LIST` of one certificate. Its owner is an identifier of the certificate itself.
fn list(certificate: &Certificate) -> Vec<u8> {
    let owner = Uuid::new_v5(&OWNERS, &certificate.fingerprint().0);
    let entry = 16 + certificate.der().len() as u32;
    [
        &X509.to_bytes_le()[..],
        &(28 + entry).to_le_bytes(),
        &0_u32.to_le_bytes(),
        &entry.to_le_bytes(),
        &owner.to_bytes_le(),
        certificate.der(),
    ]
    .concat()
}

/// Encodes an `EFI_TIME`; what must be zero in an authenticated variable is.
fn time(time: SystemTime) -> [u8; 16] {
    let seconds = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let at = date::civil(i64::try_from(seconds).unwrap_or(i64::MAX));
    let mut bytes = [0; 16];
    // Each part is in its range.
    let parts = [at.month(), at.day(), at.hour(), at.minute(), at.second()];
    for (place, part) in bytes.iter_mut().skip(2).zip(parts) {
        *place = part as u8;
    }
    let [low, high] = (at.year() as u16).to_le_bytes();
    (bytes[0], bytes[1]) = (low, high);
    bytes
}
