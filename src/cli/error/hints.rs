//! The options and commands for the means that hints of the library name.

use crate::hint::{Hint, Means};

/// Words a hint for the command line: its text, and after it the options and commands for it.
pub(super) fn words(hint: &Hint) -> String {
    match hint.means() {
        [] => hint.to_string(),
        means => {
            let means: Vec<String> = means.iter().map(|means| invocation(*means, hint.value())).collect();
            format!("{hint} ({})", means.join(", "))
        }
    }
}

/// Gives the option, command, variable or file for a means, with its value where that is known.
fn invocation(means: Means, value: Option<&str>) -> String {
    match value {
        Some(value) => name(means).replace(PLACE_OF_VALUE, value),
        None => name(means).to_owned(),
    }
}

/// The word that stands for a value in the name of an option.
const PLACE_OF_VALUE: &str = "FINGERPRINT";

/// Names the option, command, variable or file for a means.
fn name(means: Means) -> &'static str {
    match means {
        Means::Mirror => "--mirror",
        Means::Offline => "--offline",
        Means::Online => "without --offline",
        Means::Credentials => "~/.netrc, /etc/apt/auth.conf.d or OIC_AUTH",
        Means::Proxy => "http_proxy, https_proxy, all_proxy, no_proxy",
        Means::CertificateFile => "SSL_CERT_FILE, or CaInfo in OIC_TLS",
        Means::ClientCertificate => "SslCert and SslKey in OIC_TLS or /etc/apt/apt.conf.d",
        Means::CacheDir => "--cache-dir",
        Means::WorkDir => "--work-dir",
        Means::TempDir => "OIC_TEMP_DIR",
        Means::UpdateLock => "--update-lock",
        Means::FuseOverlay => "--overlay fuse",
        Means::Unmount => "oic umount",
        Means::UnmountLazily => "oic umount --lazy",
        Means::CleanWorkspace => "oic cache clean --workspace",
        Means::CleanCache => "oic cache clean",
        Means::CollectGarbage => "oic cache gc",
        Means::VerifyCache => "oic cache verify",
        Means::TrustKey => "--trust-key FINGERPRINT",
        Means::Firmware => "--firmware uefi, --firmware bios",
        Means::FirmwareFile => "--firmware-code, --firmware-variables",
        Means::Emulation => "--accel tcg",
    }
}
