//! cryptsetup(8) opens what is made here, and OpenSSL decrypts it.

use std::fs;
use std::path::Path;

use oic_testkit::tool;

use super::*;
use crate::image::canvas::Canvas;
use crate::image::region::Region;

const SIZE_BYTES: u64 = 24 << 20;

/// Writes a container with `content` at some places of its segment; returns the ranges that were written.
fn container(path: &Path, seed: &[u8], content: &[(u64, &[u8])]) -> Vec<(u64, u64)> {
    let file = fs::File::create(path).unwrap();
    file.set_len(SIZE_BYTES).unwrap();
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let canvas = Canvas::new(&file, path, None);
    let uuid = Uuid::from_u128(7);
    let encryption = Encryption::new(uuid, b"secret", Secret::new(seed, uuid));
    let region = Region::new(&canvas, 0, SIZE_BYTES);
    for (offset_bytes, bytes) in encryption.head() {
        region.put(offset_bytes, &bytes).unwrap();
    }
    let cipher = encryption.cipher();
    let inside = region.encrypted(SEGMENT_OFFSET_BYTES, &cipher);
    for (offset_bytes, bytes) in content {
        inside.put(*offset_bytes, bytes).unwrap();
        let mut again = vec![0; bytes.len()];
        inside.read(*offset_bytes, &mut again).unwrap();
        assert_eq!(again, *bytes);
    }
    canvas.finish().unwrap().0.ranges
}

#[test]
fn cryptsetup_opens_the_container_and_its_content_decrypts() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let long: Vec<u8> = (0..9000_u32).map(|number| (number % 251) as u8).collect();
    let content = [
        (1024, &b"superblock"[..]),
        (8192, &long),
        (20_480, b"tail"),
        (0, b"first"),
    ];
    let ranges = container(Path::new(&at("one")), b"seed", &content);
    assert_eq!(
        ranges.last().unwrap().1,
        SEGMENT_OFFSET_BYTES + 24_576,
        "the rest stays a hole"
    );
    container(Path::new(&at("two")), b"seed", &content);
    assert!(fs::read(at("one")).unwrap() == fs::read(at("two")).unwrap());
    container(Path::new(&at("other")), b"chance", &content);
    assert!(fs::read(at("one")).unwrap() != fs::read(at("other")).unwrap());
    fs::write(at("passphrase"), "secret").unwrap();
    fs::write(at("wrong"), "secret2").unwrap();
    let (image, passphrase) = (at("one"), at("passphrase"));
    let dump = tool("cryptsetup", &["luksDump", &image]);
    for line in [
        "Version:       \t2",
        "Cipher:     aes-xts-plain64",
        "PBKDF:      argon2id",
        "sector: 4096 [bytes]",
    ] {
        assert!(dump.contains(line), "{line}: {dump}");
    }
    assert!(dump.contains("00000000-0000-0000-0000-000000000007"), "{dump}");
    tool(
        "cryptsetup",
        &["open", "--test-passphrase", "--key-file", &passphrase, &image],
    );
    let wrong = ["open", "--test-passphrase", "--key-file", &at("wrong"), &image];
    let wrong = std::process::Command::new("cryptsetup").args(wrong).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    let (key, volume) = (
        at("volume.key"),
        ["--batch-mode", "--dump-volume-key", "--volume-key-file"],
    );
    tool(
        "cryptsetup",
        &[&["luksDump"], &volume[..], &[&key, "--key-file", &passphrase, &image]].concat(),
    );
    let key = fs::read(key).unwrap();
    assert_eq!(key.len(), KEY_BYTES);
    // Each unit by itself, with its number in sectors of 512 bytes.
    let encrypted = fs::read(&image).unwrap();
    let mut plain = Vec::new();
    for number in 0..6_usize {
        let start = SEGMENT_OFFSET_BYTES as usize + number * 4096;
        let unit = &encrypted[start..start + 4096];
        match unit.iter().all(|byte| *byte == 0) {
            true => plain.extend(unit),
            false => {
                fs::write(at("unit"), unit).unwrap();
                decrypt(&key, number as u64 * 8, &at("unit"), &at("plain"));
                plain.extend(fs::read(at("plain")).unwrap());
            }
        }
    }
    let mut expected = vec![0; 24_576];
    for (offset, bytes) in content {
        expected[offset as usize..offset as usize + bytes.len()].copy_from_slice(bytes);
    }
    assert!(plain == expected);
}

/// Decrypts the file `from` with the package python3-cryptography.
fn decrypt(key: &[u8], sector: u64, from: &str, to: &str) {
    let script = "import sys\nfrom cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes\n\
        key, tweak, source, target = bytes.fromhex(sys.argv[1]), bytes.fromhex(sys.argv[2]), sys.argv[3], sys.argv[4]\n\
        d = Cipher(algorithms.AES(key), modes.XTS(tweak)).decryptor()\n\
        open(target, 'wb').write(d.update(open(source, 'rb').read()) + d.finalize())\n";
    let tweak = hex::encode(u128::from(sector).to_le_bytes());
    tool("python3", &["-c", script, &hex::encode(key), &tweak, from, to]);
}
