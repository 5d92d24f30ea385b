//! Password hashes (crypt(5)).

use sha_crypt::{PasswordHasher as _, ShaCrypt};
use sha2::Digest as _;

use crate::package::Sha256;
use crate::template::model::HashMethod;

/// Becomes 16 letters, the longest salt that crypt(5) takes: with a longer one the hash
/// would match no password.
const SALT_BYTES: usize = 12;

/// The crypt(5) string of `text` for `user`, or `None` for a method that only the image's own
/// tools have. The salt is derived from `seed`: other for each user, the same in each build.
///
/// # Errors
/// What the hash function reports, in words.
pub(super) fn hash(text: &str, method: HashMethod, seed: Sha256, user: &str) -> Result<Option<String>, String> {
    let hasher = match method {
        HashMethod::Sha512 => ShaCrypt::SHA512,
        HashMethod::Sha256 => ShaCrypt::SHA256,
        HashMethod::Bcrypt | HashMethod::Yescrypt => return Ok(None),
    };
    hasher
        .hash_password_with_salt(text.as_bytes(), &salt(seed, user))
        .map(|hash| Some(hash.to_string()))
        .map_err(|error| error.to_string())
}

fn salt(seed: Sha256, user: &str) -> Vec<u8> {
    let mut hasher = sha2::Sha256::new();
    hasher.update(b"oic password salt\0");
    hasher.update(seed.0);
    hasher.update(user.as_bytes());
    let digest: [u8; 32] = hasher.finalize().into();
    digest.into_iter().take(SALT_BYTES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// crypt(3) of the C library, through perl, gives the same string for the right password only.
    #[test]
    fn hashes_are_those_of_crypt() {
        let crypt = |text: &str, hash: &str| {
            let output = std::process::Command::new("perl")
                .args(["-e", "print crypt($ARGV[0], $ARGV[1])", text, hash])
                .output()
                .expect("this test needs the package perl");
            String::from_utf8(output.stdout).unwrap()
        };
        let seed = Sha256::of("seed");
        for (method, start) in [(HashMethod::Sha512, "$6$"), (HashMethod::Sha256, "$5$")] {
            let hashed = hash("pässword $1", method, seed, "user").unwrap().unwrap();
            assert!(hashed.starts_with(start));
            assert_eq!(crypt("pässword $1", &hashed), hashed);
            assert_ne!(crypt("other", &hashed), hashed);
            assert_eq!(hash("pässword $1", method, seed, "user").unwrap().unwrap(), hashed);
            assert_ne!(hash("pässword $1", method, seed, "other").unwrap().unwrap(), hashed);
        }
        assert_eq!(hash("x", HashMethod::Yescrypt, seed, "user").unwrap(), None);
    }
}
