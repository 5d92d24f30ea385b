//! Packages signed by `rpmsign` and by hand, and attacks on them.

use std::process::Command;
use std::time::{Duration, SystemTime};

use super::*;
use crate::rpmfile::testing::{build, build_with, with_signatures};
use crate::verify::gpg::Gpg;

const SPEC: &str = "Name: signed\nVersion: 1\nRelease: 1\nSummary: s\nLicense: MIT\nBuildArch: noarch\n%description\nx\n\
    %install\nmkdir -p %{buildroot}/usr/share\nseq 5000 > %{buildroot}/usr/share/numbers\n%files\n/usr/share/numbers\n";

fn now() -> SystemTime {
    SystemTime::now()
}

fn keyring(gpg: &Gpg, name: &str) -> Keyring {
    Keyring::from_certificates(&[gpg.export(name)]).unwrap()
}

/// Makes a package that `rpmsign` signed with the key `name`.
fn signed(gpg: &Gpg, name: &str, arguments: &[&str]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let path = build(directory.path(), SPEC);
    let output = Command::new("rpmsign")
        .arg("--define")
        .arg(format!("_gpg_name {name}@example.org"))
        .arg("--define")
        .arg(format!("_gpg_path {}", gpg.home().display()))
        .args(["--define", "__gpg /usr/bin/gpg"])
        .args(arguments)
        .arg("--addsign")
        .arg(&path)
        .output()
        .expect("this test needs rpmsign (package rpm)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(path).unwrap()
}

/// Returns header and payload of a package.
fn parts(package: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let head = RpmHead::read(&mut &package[..]).unwrap();
    let payload = package[usize::try_from(head.payload_offset).unwrap()..].to_vec();
    (head.header.as_bytes().to_vec(), payload)
}

#[test]
fn each_kind_of_key_signs() {
    for algorithm in ["ed25519", "rsa3072"] {
        let gpg = Gpg::new();
        gpg.generate("vendor", algorithm, "never", &[]);
        for arguments in [&[][..], &["--rpmv3"]] {
            let package = signed(&gpg, "vendor", arguments);
            let keyring = keyring(&gpg, "vendor");
            let signer = verify(&keyring, &package[..], now()).unwrap().signer;
            assert_eq!(signer.fingerprint, keyring.fingerprints()[0], "{algorithm}");
        }
    }
}

#[test]
fn tampered_wrong_key_and_unsigned_each_have_a_message() {
    let gpg = Gpg::with_key("vendor");
    gpg.generate("other", "ed25519", "never", &[]);
    let package = signed(&gpg, "vendor", &[]);
    let (header, payload) = parts(&package);
    let vendor = keyring(&gpg, "vendor");
    let error = |package: &[u8]| verify(&vendor, package, now()).unwrap_err();

    let mut tampered = package.clone();
    *tampered.last_mut().unwrap() ^= 1;
    assert!(matches!(error(&tampered), RpmVerifyError::PayloadDigest { .. }));
    assert!(error(&tampered).to_string().contains("tampered"));
    let longer = [&package[..], b"more"].concat();
    assert!(matches!(error(&longer), RpmVerifyError::PayloadDigest { .. }));

    // The header changed, its digest left as it was.
    let mut tampered = package.clone();
    let at = tampered.len() - payload.len() - 20;
    tampered[at] ^= 1;
    assert!(matches!(error(&tampered), RpmVerifyError::HeaderDigest { .. }));
    // The digest changed as well.
    let head = RpmHead::read(&mut &tampered[..]).unwrap();
    let signature = RpmHead::read(&mut &package[..]).unwrap();
    let signature = signature
        .signature
        .binary(Tag::SIGNATURE_DSA)
        .unwrap()
        .unwrap()
        .to_vec();
    let digest = Sha256::of(head.header.as_bytes()).to_string();
    let forged = with_signatures(&tampered, &[(Tag::SIGNATURE_DSA, &signature)], Some(&digest));
    assert!(matches!(
        error(&forged),
        RpmVerifyError::Signature(VerifyError::BadSignature { .. })
    ));

    let other = signed(&gpg, "other", &[]);
    let unknown = error(&other);
    assert!(matches!(
        &unknown,
        RpmVerifyError::Signature(VerifyError::UnknownKey { .. })
    ));
    assert!(unknown.to_string().contains("signed by unknown key"), "{unknown}");

    let unsigned = with_signatures(&package, &[], None);
    assert!(matches!(error(&unsigned), RpmVerifyError::Unsigned));
    assert!(error(&unsigned).hint().is_some());

    assert!(matches!(error(b"no package"), RpmVerifyError::File(_)));
    assert!(verify(&vendor, &package[..], now()).is_ok());
    // The signature of one package on another one.
    let elsewhere = gpg.detach_sign("vendor", false, b"something else");
    let moved = with_signatures(&package, &[(Tag::SIGNATURE_DSA, &elsewhere)], None);
    assert!(matches!(error(&moved), RpmVerifyError::Signature(_)));
    assert!(!header.is_empty());
}

#[test]
fn signatures_over_everything_and_those_of_rpm_6_count() {
    let gpg = Gpg::with_key("vendor");
    let vendor = keyring(&gpg, "vendor");
    let package = signed(&gpg, "vendor", &[]);
    let (header, payload) = parts(&package);
    let whole = gpg.detach_sign("vendor", false, &[&header[..], &payload].concat());
    let old = with_signatures(&package, &[(Tag::SIGNATURE_GPG, &whole)], None);
    verify(&vendor, &old[..], now()).unwrap();
    let mut tampered = old.clone();
    *tampered.last_mut().unwrap() ^= 1;
    let error = verify(&vendor, &tampered[..], now()).unwrap_err();
    assert!(matches!(
        error,
        RpmVerifyError::Signature(VerifyError::BadSignature { .. })
    ));

    let armored = gpg.detach_sign("vendor", true, &header);
    let armored = String::from_utf8(armored).unwrap();
    let base64: Vec<&str> = armored
        .lines()
        .filter(|line| !line.starts_with("-----") && !line.is_empty())
        .collect();
    let mut text = base64.join("\n").into_bytes();
    text.push(0);
    let new = with_signatures(&package, &[(Tag::SIGNATURE_OPENPGP, &text)], None);
    verify(&vendor, &new[..], now()).unwrap();
}

/// The package of 2015 that tests/data/rpm/README.md describes.
#[test]
fn a_package_of_2015_verifies() {
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rpm");
    let package = std::fs::read(data.join("centos-release-7-2.1511.el7.centos.2.10.x86_64.rpm")).unwrap();
    let key = std::fs::read(data.join("RPM-GPG-KEY-CentOS-7")).unwrap();
    let keyring = Keyring::from_certificates(&[key]).unwrap();
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_450_000_000);
    let signer = verify(&keyring, &package[..], then).unwrap().signer;
    assert_eq!(signer.fingerprint, "6341AB2753D78A78A7C27BB124C6A8A7F4A80EB5");
    let signed_at = signer.signed_at.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(signed_at.as_secs(), 1_449_655_309);
    let head = RpmHead::read(&mut &package[..]).unwrap();
    assert_eq!(head.nevra(), "centos-release-7-2.1511.el7.centos.2.10.x86_64");
    assert_eq!(payload_digest(&head).unwrap(), None);
    let mut tampered = package.clone();
    *tampered.last_mut().unwrap() ^= 1;
    assert!(matches!(
        verify(&keyring, &tampered[..], then),
        Err(RpmVerifyError::Signature(VerifyError::BadSignature { .. }))
    ));
}

/// A signature packet of version 3 (RFC 4880, 5.2.2), which only old tools make.
#[test]
fn version_3_of_openpgp_signatures_is_accepted_for_packages_only() {
    use openpgp::crypto::Signer as _;
    use openpgp::serialize::Marshal as _;
    use openpgp::types::HashAlgorithm;
    use sequoia_openpgp as openpgp;

    let (certificate, _) = openpgp::cert::CertBuilder::general_purpose(Some("vendor@example.org"))
        .set_creation_time(SystemTime::now() - Duration::from_secs(3600))
        .generate()
        .unwrap();
    let mut public = Vec::new();
    certificate.export(&mut public).unwrap();
    let policy = openpgp::policy::StandardPolicy::new();
    let key = certificate
        .keys()
        .secret()
        .with_policy(&policy, None)
        .for_signing()
        .next()
        .unwrap();
    let mut pair = key.key().clone().into_keypair().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let package = std::fs::read(build_with(directory.path(), SPEC, &["_binary_payload w9.gzdio"])).unwrap();
    let (header, _) = parts(&package);

    let seconds = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs()
        - 60;
    let time = u32::try_from(seconds).unwrap().to_be_bytes();
    let mut hasher = HashAlgorithm::SHA256.context().unwrap().for_digest();
    hasher.update(&header);
    hasher.update(&[0]);
    hasher.update(&time);
    let digest = hasher.into_digest().unwrap();
    let signature = pair.sign(HashAlgorithm::SHA256, &digest).unwrap();
    let mut body = vec![3, 5, 0];
    body.extend(time);
    body.extend(key.key().keyid().as_bytes());
    body.extend([u8::from(key.key().pk_algo()), 8]);
    body.extend(&digest[..2]);
    signature.serialize(&mut body).unwrap();
    let mut packet = vec![0x88, u8::try_from(body.len()).unwrap()];
    packet.extend(&body);

    let keyring = Keyring::from_certificates(&[public]).unwrap();
    let old = with_signatures(&package, &[(Tag::SIGNATURE_DSA, &packet)], None);
    verify(&keyring, &old[..], now()).unwrap();
    assert!(keyring.verify_detached(&header, &packet, now()).is_err());
    let mut tampered = old.clone();
    *tampered.last_mut().unwrap() ^= 1;
    assert!(verify(&keyring, &tampered[..], now()).is_err());
}
