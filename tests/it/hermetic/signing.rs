//! Signed programs and variables, judged by the tools that others sign and verify with.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::SystemTime;

use oic::boot::authenticode;
use oic::cancel::Cancel;
use oic::image::content::{Promise, Source};
use oic::sign::command::CommandSigner;
use oic::sign::key::{FileSigner, Passphrase};
use oic::sign::remembered::Remembering;
use oic::sign::variables::{Variable, authenticated};
use oic::sign::{Certificate, SignError, Signer};
use oic_testkit::tool;

const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";

/// A directory with a key, its certificate and programs.
struct Bench {
    directory: tempfile::TempDir,
}

impl Bench {
    /// Makes a key with the arguments `algorithm` of `openssl genpkey`, and a certificate.
    fn new(algorithm: &str) -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let bench = Self { directory };
        let (key, certificate) = (bench.at("db.key"), bench.at("db.crt"));
        openssl(&format!("genpkey {algorithm} -out {key}"));
        openssl(&format!(
            "req -new -x509 -key {key} -sha256 -days 3650 -subj /CN=oic/O=Größe -utf8 -out {certificate}"
        ));
        bench
    }

    fn at(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn certificate(&self) -> Certificate {
        Certificate::read(&self.path("db.crt")).unwrap()
    }

    /// Opens the key file `name`.
    fn open(&self, name: &str, passphrase: Option<&Passphrase>) -> Result<FileSigner, SignError> {
        FileSigner::open(&self.path(name), passphrase, self.certificate(), SystemTime::now())
    }

    fn signer(&self) -> Arc<dyn Signer> {
        Arc::new(self.open("db.key", None).unwrap())
    }
}

fn openssl(args: &str) -> String {
    tool("openssl", &args.split(' ').collect::<Vec<_>>())
}

fn bytes_of(source: &Source) -> Vec<u8> {
    let mut bytes = Vec::new();
    source.reader().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, source.size_bytes());
    bytes
}

fn stub() -> Vec<u8> {
    fs::read(STUB).expect("the package systemd-boot-efi is needed")
}

/// Adds bytes so that the program does not end at a multiple of eight.
fn odd_program() -> Source {
    let head = stub();
    let tail = Source::Zeros((13 - head.len() as u64 % 8) % 8 + 8);
    Source::Chain(vec![Source::Bytes(head), tail])
}

#[test]
fn others_accept_what_each_kind_of_key_signs() {
    for algorithm in [
        "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
        "-algorithm RSA -pkeyopt rsa_keygen_bits:3072",
        "-algorithm EC -pkeyopt ec_paramgen_curve:P-256",
        "-algorithm EC -pkeyopt ec_paramgen_curve:P-384",
    ] {
        let bench = Bench::new(algorithm);
        let program = odd_program();
        let signed = bytes_of(&authenticode::signed(&program, &bench.signer()).unwrap());
        let again = bytes_of(&authenticode::signed(&program, &bench.signer()).unwrap());
        assert!(signed == again, "{algorithm}: no clock and no chance");
        fs::write(bench.path("signed.efi"), &signed).unwrap();
        let (certificate, path) = (bench.at("db.crt"), bench.at("signed.efi"));
        let verified = tool("sbverify", &["--cert", &certificate, &path]);
        assert!(
            verified.contains("Signature verification OK"),
            "{algorithm}: {verified}"
        );
        let verified = tool("osslsigncode", &["verify", "-CAfile", &certificate, "-in", &path]);
        assert!(verified.contains("Succeeded"), "{algorithm}: {verified}");
        fs::copy(bench.path("signed.efi"), bench.path("bare.efi")).unwrap();
        tool("sbattach", &["--remove", &bench.at("bare.efi")]);
        let mut unsigned = bytes_of(&program);
        unsigned.resize(unsigned.len().next_multiple_of(8), 0);
        let bare = fs::read(bench.path("bare.efi")).unwrap();
        // The tool computes the checksum, which no firmware compares.
        let checksum = u32::from_le_bytes(unsigned[0x3c..0x40].try_into().unwrap()) as usize + 24 + 64;
        assert_eq!(bare.len(), unsigned.len());
        assert!(bare[..checksum] == unsigned[..checksum] && bare[checksum + 4..] == unsigned[checksum + 4..]);
        let mut flipped = signed;
        flipped[0x1000] ^= 1;
        fs::write(bench.path("flipped.efi"), flipped).unwrap();
        let output = Command::new("sbverify")
            .args(["--cert", &certificate, &bench.at("flipped.efi")])
            .output()
            .unwrap();
        assert!(!output.status.success(), "{algorithm}: a flipped bit");
    }
}

#[test]
fn a_signature_is_the_one_that_sbsign_makes_but_for_its_time() {
    let bench = Bench::new("-algorithm RSA -pkeyopt rsa_keygen_bits:2048");
    let (key, certificate) = (bench.at("db.key"), bench.at("db.crt"));
    tool(
        "sbsign",
        &[
            "--key",
            &key,
            "--cert",
            &certificate,
            "--output",
            &bench.at("theirs.efi"),
            STUB,
        ],
    );
    let signed = authenticode::signed(&Source::Bytes(stub()), &bench.signer()).unwrap();
    fs::write(bench.path("ours.efi"), bytes_of(&signed)).unwrap();
    let hash = |name: &str| tool("pesign", &["-h", "-i", &bench.at(name)]);
    let digest = |text: String| text.split_whitespace().find(|word| word.len() == 64).map(str::to_owned);
    assert!(digest(hash("ours.efi")).is_some());
    assert_eq!(digest(hash("ours.efi")), digest(hash("theirs.efi")));
    // A program that has a signature gets a second one.
    let theirs = Source::Bytes(fs::read(bench.path("theirs.efi")).unwrap());
    let both = authenticode::signed(&theirs, &bench.signer()).unwrap();
    fs::write(bench.path("both.efi"), bytes_of(&both)).unwrap();
    let listed = tool("sbverify", &["--list", &bench.at("both.efi")]);
    assert!(
        listed.contains("signature 1") && listed.contains("signature 2"),
        "{listed}"
    );
    let verified = tool("sbverify", &["--cert", &certificate, &bench.at("both.efi")]);
    assert!(verified.contains("Signature verification OK"), "{verified}");
}

#[test]
fn keys_come_in_all_their_forms() {
    let forms = [
        ("pkcs8.der", "pkcs8 -topk8 -nocrypt -outform DER"),
        ("encrypted.pem", "pkcs8 -topk8 -v2 aes-256-cbc -passout pass:secret"),
        ("scrypt.pem", "pkcs8 -topk8 -scrypt -passout pass:secret"),
        ("3des.der", "pkcs8 -topk8 -v2 des3 -passout pass:secret -outform DER"),
    ];
    for (algorithm, own) in [
        (
            "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
            ("pkcs1.pem", "rsa -traditional"),
        ),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-256", ("sec1.pem", "ec")),
        (
            "-algorithm EC -pkeyopt ec_paramgen_curve:P-384",
            ("sec1.der", "ec -outform DER"),
        ),
    ] {
        let bench = Bench::new(algorithm);
        fs::write(bench.path("passphrase"), " secret\n").unwrap();
        let passphrase = Passphrase::read(&bench.path("passphrase")).unwrap();
        let expected = bench.signer().sign(b"message").unwrap();
        for (name, command) in forms.into_iter().chain([own]) {
            let (command, options) = command.split_once(' ').unwrap_or((command, ""));
            let args = format!("{command} {options} -in {} -out {}", bench.at("db.key"), bench.at(name));
            openssl(&args.split_whitespace().collect::<Vec<_>>().join(" "));
            let signer = bench
                .open(name, Some(&passphrase))
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(signer.sign(b"message").unwrap(), expected, "{algorithm} {name}");
            assert!(!format!("{signer:?} {passphrase:?}").contains("secret"));
        }
        assert!(matches!(
            bench.open("encrypted.pem", None),
            Err(SignError::Passphrase { .. })
        ));
        fs::write(bench.path("passphrase"), "another").unwrap();
        let another = Passphrase::read(&bench.path("passphrase")).unwrap();
        let error = bench.open("encrypted.pem", Some(&another)).unwrap_err();
        assert!(matches!(error, SignError::Passphrase { .. }) && !error.to_string().contains("another"));
    }
}

#[test]
fn what_cannot_sign_is_refused_with_its_reason() {
    let bench = Bench::new("-algorithm RSA -pkeyopt rsa_keygen_bits:2048");
    let other = Bench::new("-algorithm RSA -pkeyopt rsa_keygen_bits:2048");
    fs::copy(other.path("db.key"), bench.path("other.key")).unwrap();
    fs::write(
        bench.path("noise.key"),
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    )
    .unwrap();
    for (name, words) in [
        ("other.key", "is not the key of the certificate"),
        ("noise.key", "not a private key"),
        ("none.key", "cannot"),
    ] {
        let error = bench.open(name, None).unwrap_err().to_string();
        assert!(error.contains(words), "{name}: {error}");
    }
    let late = SystemTime::now() + std::time::Duration::from_secs(4000 * 86400);
    let error = FileSigner::open(&bench.path("db.key"), None, bench.certificate(), late).unwrap_err();
    assert!(matches!(error, SignError::NotValid { .. }), "{error}");
    let small = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (key, certificate) = (small.path().join("key"), small.path().join("crt"));
    openssl(&format!(
        "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out {}",
        key.display()
    ));
    openssl(&format!(
        "req -new -x509 -key {} -subj /CN=small -out {}",
        key.display(),
        certificate.display()
    ));
    let error = Certificate::read(&certificate).unwrap_err().to_string();
    assert!(error.contains("2048 bits"), "{error}");
    for program in [&b""[..], b"MZ", &[0; 4096]] {
        assert!(authenticode::signed(&Source::Bytes(program.into()), &bench.signer()).is_err());
    }
}

/// Makes a signer that starts `argv`.
fn command(bench: &Bench, argv: &[&str]) -> CommandSigner {
    let argv = argv.iter().map(|word| (*word).to_owned()).collect();
    CommandSigner::new(argv, bench.certificate(), SystemTime::now(), Cancel::default()).unwrap()
}

#[test]
fn a_program_of_the_user_signs() {
    for algorithm in [
        "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
        "-algorithm EC -pkeyopt ec_paramgen_curve:P-384",
    ] {
        let bench = Bench::new(algorithm);
        let key = bench.at("db.key");
        let signer = command(&bench, &["openssl", "dgst", "-sha256", "-sign", &key]);
        let signature = signer.sign(b"message").unwrap();
        signer.certificate().verify(b"message", &signature).unwrap();
        let other = Bench::new(algorithm);
        let wrong = command(&bench, &["openssl", "dgst", "-sha256", "-sign", &other.at("db.key")]);
        assert!(matches!(wrong.sign(b"message"), Err(SignError::Foreign(_))));
        let failing = command(&bench, &["openssl", "dgst", "-sha256", "-sign", "/nowhere"]);
        let error = failing.sign(b"message").unwrap_err().to_string();
        assert!(
            error.starts_with("the sign command openssl: ended with exit status: 1"),
            "{error}"
        );
        let absent = command(&bench, &["/nowhere/sign"])
            .sign(b"message")
            .unwrap_err()
            .to_string();
        assert!(absent.contains("cannot be started"), "{absent}");
        // What was signed once is not signed again, though this key signs in another way each time.
        let record = bench.path("record");
        let remembering = Remembering::new(Box::new(signer), record.clone(), false);
        let first = remembering.sign(b"message").unwrap();
        assert_eq!(remembering.sign(b"message").unwrap(), first);
        remembering.save().unwrap();
        let forgetful = || Box::new(command(&bench, &["/nowhere/sign"]));
        let next = Remembering::new(forgetful(), record.clone(), false);
        assert_eq!(next.sign(b"message").unwrap(), first);
        next.sign(b"another").unwrap_err();
        let text = fs::read_to_string(&record).unwrap();
        let digits = text.split('"').rev().nth(1).unwrap();
        let damaged = text.replace(digits, &digits.replacen(&digits[40..44], "0000", 1));
        fs::write(&record, damaged).unwrap();
        Remembering::new(forgetful(), record.clone(), false)
            .sign(b"message")
            .unwrap_err();
        Remembering::new(forgetful(), record, true)
            .sign(b"message")
            .unwrap_err();
    }
}

#[test]
fn promised_bytes_are_signed_when_they_are_there() {
    let bench = Bench::new("-algorithm RSA -pkeyopt rsa_keygen_bits:2048");
    let promise = Promise::new(8);
    let program = Source::Chain(vec![Source::Bytes(stub()), Source::Promised(promise.clone())]);
    let signed = authenticode::signed(&program, &bench.signer()).unwrap();
    assert!(signed.is_promised());
    assert!(signed.reader().read_to_end(&mut Vec::new()).is_err(), "not before");
    promise.keep(b"12345678");
    fs::write(bench.path("signed.efi"), bytes_of(&signed)).unwrap();
    tool("sbverify", &["--cert", &bench.at("db.crt"), &bench.at("signed.efi")]);
    let given = Source::Chain(vec![Source::Bytes(stub()), "12345678".into()]);
    assert!(bytes_of(&authenticode::signed(&given, &bench.signer()).unwrap()) == bytes_of(&signed));
}

#[test]
fn a_ceremony_without_the_key_gives_the_same_program() {
    let bench = Bench::new("-algorithm RSA -pkeyopt rsa_keygen_bits:2048");
    let oic = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_oic"))
            .arg("sign")
            .args(args)
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (to_sign, signature, signed) = (bench.at("to-sign"), bench.at("signature"), bench.at("signed.efi"));
    assert_eq!(oic(&["prepare", STUB, "-o", &to_sign]), (Some(0), String::new()));
    openssl(&format!(
        "dgst -sha256 -sign {} -out {signature} {to_sign}",
        bench.at("db.key")
    ));
    let certificate = bench.at("db.crt");
    let attach = [
        "attach",
        STUB,
        "--certificate",
        &certificate,
        "--signature",
        &signature,
        "-o",
        &signed,
    ];
    assert_eq!(oic(&attach), (Some(0), String::new()));
    let expected = authenticode::signed(&Source::Bytes(stub()), &bench.signer()).unwrap();
    assert!(fs::read(bench.path("signed.efi")).unwrap() == bytes_of(&expected));
    fs::write(&signature, [0; 256]).unwrap();
    let (code, told) = oic(&attach);
    assert!(
        code == Some(1) && told.contains("the signature is not one of the key"),
        "{told}"
    );
}

/// Returns the number at `at` of `bytes`.
fn number(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

#[test]
fn variables_are_those_of_efitools() {
    let bench = Bench::new("-algorithm RSA -pkeyopt rsa_keygen_bits:2048");
    let signer = bench.signer();
    let (key, certificate) = (bench.at("db.key"), bench.at("db.crt"));
    for variable in Variable::ALL {
        let ours = authenticated(variable, signer.as_ref(), &[]).unwrap();
        let end = 16 + number(&ours, 16);
        let (list, message) = (&ours[end..], &ours[40..end]);
        fs::write(bench.path("list"), list).unwrap();
        // The list is well-formed: efitools gives back the certificate.
        tool("sig-list-to-certs", &[&bench.at("list"), &bench.at("out")]);
        let found = fs::read(bench.path("out-0.der")).unwrap();
        assert!(found == signer.certificate().der());
        let time = u16::from_le_bytes([ours[0], ours[1]]);
        let time = format!(
            "{time}-{:02}-{:02} {:02}:{:02}:{:02}",
            ours[2], ours[3], ours[4], ours[5], ours[6]
        );
        let (name, bundle) = (variable.name(), bench.at("bundle"));
        let list = bench.at("list");
        tool("sign-efi-sig-list", &["-o", "-t", &time, name, &list, &bundle]);
        let theirs = fs::read(&bundle).unwrap();
        assert!(theirs.ends_with(&fs::read(&list).unwrap()));
        // The message signs what efitools would sign.
        fs::write(bench.path("message"), oic::sign::message::wrapped(message)).unwrap();
        openssl(&format!(
            "cms -verify -binary -inform DER -in {} -content {bundle} -CAfile {certificate} -purpose any -out /dev/null",
            bench.at("message")
        ));
        tool(
            "sign-efi-sig-list",
            &[
                "-t",
                &time,
                "-k",
                &key,
                "-c",
                &certificate,
                name,
                &list,
                &bench.at("auth"),
            ],
        );
        let auth = fs::read(bench.path("auth")).unwrap();
        assert!(
            auth[..16] == ours[..16] && auth[20..40] == ours[20..40],
            "time, kind and attributes"
        );
        assert!(auth.ends_with(&ours[end..]));
    }
    assert!(Path::new(&certificate).exists());
}
