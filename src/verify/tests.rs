//! Documents that GnuPG signs and oic verifies.

use std::time::Duration;

use super::gpg::Gpg;
use super::*;

const TEXT: &[u8] = b"Origin: Test\nSuite: stable\n- a dash\n-another\n\ntrailing \t\nlast\n";

fn now() -> SystemTime {
    SystemTime::now()
}

fn keyring(gpg: &Gpg, name: &str) -> Keyring {
    Keyring::from_certificates(&[gpg.export(name)]).unwrap()
}

#[test]
fn accepts_what_gnupg_signs() {
    let gpg = Gpg::new();
    for (name, algorithm) in [("rsa", "rsa2048"), ("ed", "ed25519")] {
        gpg.generate(name, algorithm, "never", &[]);
        let keyring = keyring(&gpg, name);
        let verified = keyring.verify_inline(&gpg.clear_sign(name, TEXT), now()).unwrap();
        let lines = |text: &[u8]| {
            String::from_utf8_lossy(text)
                .lines()
                .map(|l| l.trim_end().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(lines(&verified.text), lines(TEXT));
        assert_eq!([verified.signer.fingerprint], keyring.fingerprints()[..]);
        for armor in [true, false] {
            let signature = gpg.detach_sign(name, armor, TEXT);
            keyring.verify_detached(TEXT, &signature, now()).unwrap();
        }
    }
}

#[test]
fn reads_armored_and_concatenated_certificates() {
    let gpg = Gpg::with_key("one");
    gpg.generate("two", "ed25519", "never", &[]);
    let armored = [
        gpg.run(&["--armor", "--export", "one"], b""),
        gpg.run(&["--armor", "--export", "two"], b""),
    ];
    let both = armored.concat();
    assert_eq!(Keyring::from_certificates(&[&both]).unwrap().fingerprints().len(), 2);
    let binary = [gpg.export("one"), gpg.export("two")].concat();
    assert_eq!(Keyring::from_certificates(&[&binary]).unwrap().fingerprints().len(), 2);
    let together = gpg.run(&["--armor", "--export"], b"");
    assert_eq!(
        Keyring::from_certificates(&[&together]).unwrap().fingerprints().len(),
        2
    );
    for bad in [
        &b""[..],
        b"not a key",
        b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n",
    ] {
        assert!(matches!(
            Keyring::from_certificates(&[bad]),
            Err(VerifyError::NoCertificate { .. })
        ));
    }
    assert!(Keyring::from_certificates(&[b""; 0]).is_err());
}

#[test]
fn refuses_other_text_and_says_bad_signature() {
    let gpg = Gpg::with_key("one");
    let keyring = keyring(&gpg, "one");
    let signed = String::from_utf8(gpg.clear_sign("one", TEXT)).unwrap();
    let tampered = signed.replace("stable", "stabel");
    let error = keyring.verify_inline(tampered.as_bytes(), now()).unwrap_err();
    assert!(matches!(error, VerifyError::BadSignature { .. }), "{error}");
    let signature = gpg.detach_sign("one", true, TEXT);
    let error = keyring.verify_detached(b"other", &signature, now()).unwrap_err();
    assert!(matches!(error, VerifyError::BadSignature { .. }), "{error}");
}

#[test]
fn refuses_junk_around_the_document() {
    let gpg = Gpg::with_key("one");
    let keyring = keyring(&gpg, "one");
    let signed = gpg.clear_sign("one", TEXT);
    for document in [
        [b"Suite: evil\n", &signed[..]].concat(),
        [&signed[..], b"Suite: evil\n"].concat(),
    ] {
        let error = keyring.verify_inline(&document, now()).unwrap_err();
        assert!(matches!(error, VerifyError::NotClearSigned { .. }), "{error}");
    }
    assert!(keyring.verify_inline(TEXT, now()).is_err());
}

#[test]
fn one_good_signature_is_enough_but_it_must_be_pinned() {
    let gpg = Gpg::with_key("one");
    gpg.generate("two", "ed25519", "never", &[]);
    let both = ["--local-user", "one", "--local-user", "two"];
    let inline = gpg.run(&[&both[..], &["--clear-sign"]].concat(), TEXT);
    let detached = gpg.run(&[&both[..], &["--detach-sign"]].concat(), TEXT);
    for name in ["one", "two"] {
        keyring(&gpg, name).verify_inline(&inline, now()).unwrap();
        keyring(&gpg, name).verify_detached(TEXT, &detached, now()).unwrap();
    }
    let stranger = Gpg::with_key("stranger");
    let strangers = keyring(&stranger, "stranger");
    let failures = [
        strangers.verify_inline(&inline, now()).unwrap_err(),
        strangers.verify_detached(TEXT, &detached, now()).unwrap_err(),
        // The encoding must not matter: a binary signature once slipped through elsewhere.
        strangers
            .verify_detached(TEXT, &gpg.detach_sign("one", false, TEXT), now())
            .unwrap_err(),
    ];
    for error in failures {
        let VerifyError::UnknownKey { signed_by, pinned } = &error else {
            panic!("{error}")
        };
        assert_eq!(*pinned, strangers.fingerprints());
        let own = keyring(&gpg, "one").fingerprints().remove(0);
        assert_eq!(
            signed_by.iter().filter(|by| own.ends_with(by.as_str())).count(),
            1,
            "{error}"
        );
    }
}

#[test]
fn refuses_an_expired_key_also_when_it_signed_in_time() {
    let gpg = Gpg::new();
    gpg.generate("old", "ed25519", "1y", &["--faked-system-time", "20200101T000000"]);
    let sign = ["--faked-system-time", "20200601T000000", "--local-user", "old"];
    let signed = gpg.run(&[&sign[..], &["--clear-sign"]].concat(), TEXT);
    let detached = gpg.run(&[&sign[..], &["--detach-sign"]].concat(), TEXT);
    let keyring = keyring(&gpg, "old");
    let in_time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_592_000_000);
    keyring.verify_inline(&signed, in_time).unwrap();
    keyring.verify_detached(TEXT, &detached, in_time).unwrap();
    for error in [
        keyring.verify_inline(&signed, now()).unwrap_err(),
        keyring.verify_detached(TEXT, &detached, now()).unwrap_err(),
    ] {
        assert!(matches!(error, VerifyError::ExpiredKey { .. }), "{error}");
        assert!(error.to_string().contains("2020-12-31"), "{error}");
    }
    let before = SystemTime::UNIX_EPOCH + Duration::from_secs(1_580_000_000);
    let error = keyring.verify_inline(&signed, before).unwrap_err();
    assert!(
        matches!(error, VerifyError::BadSignature { .. }),
        "a signature from the future: {error}"
    );
}

#[test]
fn refuses_a_revoked_key() {
    let gpg = Gpg::with_key("gone");
    let signed = gpg.clear_sign("gone", TEXT);
    let fingerprint = keyring(&gpg, "gone").fingerprints()[0].clone();
    let path = gpg.home().join(format!("openpgp-revocs.d/{fingerprint}.rev"));
    // gpg puts a colon before the armor against an import by accident.
    let revocation = std::fs::read_to_string(path)
        .unwrap()
        .replace(":-----BEGIN", "-----BEGIN");
    gpg.run(&["--import"], revocation.as_bytes());
    let error = keyring(&gpg, "gone").verify_inline(&signed, now()).unwrap_err();
    assert_eq!(error, VerifyError::RevokedKey { key: fingerprint });
}

#[test]
fn refuses_no_signature_and_garbage() {
    let gpg = Gpg::with_key("one");
    let keyring = keyring(&gpg, "one");
    assert_eq!(
        keyring.verify_detached(TEXT, b"\n", now()).unwrap_err(),
        VerifyError::NoSignature
    );
    for garbage in [
        &b"<html>"[..],
        b"-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n",
        b"\xff\xfe\x00",
    ] {
        assert!(keyring.verify_detached(TEXT, garbage, now()).is_err());
    }
    let signed = String::from_utf8(gpg.clear_sign("one", TEXT)).unwrap();
    let head = signed.split("-----BEGIN PGP SIGNATURE").next().unwrap();
    let empty = format!("{head}-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n");
    assert!(keyring.verify_inline(empty.as_bytes(), now()).is_err());
    // An ordinary signed message is not clear-signed, so it is no InRelease.
    let message = gpg.run(&["--local-user", "one", "--armor", "--sign"], TEXT);
    assert!(matches!(
        keyring.verify_inline(&message, now()),
        Err(VerifyError::NotClearSigned { .. })
    ));
}

#[test]
fn no_changed_byte_changes_what_is_verified() {
    let gpg = Gpg::with_key("one");
    let keyring = keyring(&gpg, "one");
    let signed = gpg.clear_sign("one", TEXT);
    let lines = |text: &[u8]| {
        let lines = text
            .split(|&byte| byte == b'\n')
            .map(|line| line.trim_ascii_end().to_vec());
        lines.collect::<Vec<_>>()
    };
    let good = lines(&keyring.verify_inline(&signed, now()).unwrap().text);
    for at in 0..signed.len() {
        for bit in [1, 0x10, 0x80] {
            let mut changed = signed.clone();
            changed[at] ^= bit;
            if let Ok(verified) = keyring.verify_inline(&changed, now()) {
                assert_eq!(lines(&verified.text), good, "byte {at}");
            }
        }
    }
    for cut in 0..signed.len() - 2 {
        assert!(keyring.verify_inline(&signed[..cut], now()).is_err(), "cut at {cut}");
    }
}

#[test]
fn damaged_keys_and_signatures_are_refused_without_panic() {
    let gpg = Gpg::with_key("one");
    let (key, signature) = (gpg.export("one"), gpg.detach_sign("one", false, TEXT));
    let keyring = keyring(&gpg, "one");
    for at in 0..signature.len() {
        let mut changed = signature.clone();
        changed[at] ^= 0x11;
        // Only the unhashed area may change without harm.
        if let Ok(signer) = keyring.verify_detached(TEXT, &changed, now()) {
            assert_eq!([signer.fingerprint], keyring.fingerprints()[..]);
        }
        assert!(keyring.verify_detached(TEXT, &signature[..at], now()).is_err());
    }
    for at in 0..key.len() {
        let mut changed = key.clone();
        changed[at] ^= 0x11;
        if let Ok(other) = Keyring::from_certificates(&[changed]) {
            let _ = other.verify_detached(TEXT, &signature, now());
        }
        let _ = Keyring::from_certificates(&[&key[..at]]);
    }
}

#[test]
fn what_can_be_forged_is_refused_with_the_reason() {
    let gpg = Gpg::new();
    gpg.generate("good", "rsa2048", "never", &[]);
    gpg.generate("old", "rsa2048", "never", &["--cert-digest-algo", "SHA1"]);
    let sign = |name: &str, digest: &str| {
        let user = format!("{name}@example.org");
        gpg.run(&["--local-user", &user, "--digest-algo", digest, "--clear-sign"], TEXT)
    };
    let verify = |name: &str, digest: &str| keyring(&gpg, name).verify_inline(&sign(name, digest), now());
    verify("good", "SHA256").unwrap();
    for (name, digest) in [("good", "SHA1"), ("old", "SHA256"), ("old", "SHA1")] {
        let error = verify(name, digest).unwrap_err();
        assert!(
            matches!(error, VerifyError::TooWeak { .. }),
            "{name} {digest}: {error:?}"
        );
        assert!(error.to_string().contains("SHA1"), "{error}");
        assert!(error.hint().unwrap().contains("SHA-1"));
    }
}
