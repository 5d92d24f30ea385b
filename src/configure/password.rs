//! Password hashes (crypt(5)).

use sha_crypt::{PasswordHasher as _, ShaCrypt};
use sha2::Digest as _;
use yescrypt::Yescrypt;

use crate::model::HashMethod;
use crate::package::Sha256;

/// Number of bytes in a salt. They become 16 letters, the longest salt that crypt(5) takes for SHA-2: with a longer one
/// the hash would match no password.
const SALT_BYTES: usize = 12;
/// Number of bytes in the salt of bcrypt.
const BCRYPT_SALT_BYTES: usize = 16;
/// The cost of bcrypt; OWASP's "Password Storage Cheat Sheet" asks for at least 10.
const BCRYPT_COST: u32 = 12;

/// Makes the crypt(5) string of `text` for `user`. The salt is derived from `seed`: another one for each user, the same
/// in each build.
///
/// # Errors
/// The message of the hash function, in words.
pub fn hash(text: &str, method: HashMethod, seed: Sha256, user: &str) -> Result<String, String> {
    let digest = salt(seed, user);
    let short = digest.get(..SALT_BYTES).unwrap_or(&digest);
    let sha = |hasher: ShaCrypt| hasher.hash_password_with_salt(text.as_bytes(), short);
    match method {
        HashMethod::Sha512 => sha(ShaCrypt::SHA512)
            .map(|hash| hash.to_string())
            .map_err(|e| e.to_string()),
        HashMethod::Sha256 => sha(ShaCrypt::SHA256)
            .map(|hash| hash.to_string())
            .map_err(|e| e.to_string()),
        HashMethod::Yescrypt => Yescrypt::default()
            .hash_password_with_salt(text.as_bytes(), short)
            .map(|hash| hash.to_string())
            .map_err(|error| error.to_string()),
        HashMethod::Bcrypt => {
            let mut salt = [0; BCRYPT_SALT_BYTES];
            salt.iter_mut().zip(digest).for_each(|(byte, from)| *byte = from);
            // A text longer than bcrypt takes is refused, not cut.
            bcrypt::non_truncating_hash_with_salt(text, BCRYPT_COST, salt)
                .map(|hash| hash.format_for_version(bcrypt::Version::TwoB))
                .map_err(|error| error.to_string())
        }
    }
}

fn salt(seed: Sha256, user: &str) -> [u8; 32] {
    let mut hasher = sha2::Sha256::new();
    hasher.update(b"oic password salt\0");
    hasher.update(seed.0);
    hasher.update(user.as_bytes());
    hasher.finalize().into()
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
        for (method, start) in [
            (HashMethod::Sha512, "$6$"),
            (HashMethod::Sha256, "$5$"),
            (HashMethod::Bcrypt, "$2b$12$"),
            (HashMethod::Yescrypt, "$y$j"),
        ] {
            let hashed = hash("pässword $1", method, seed, "user").unwrap();
            assert!(hashed.starts_with(start));
            assert_eq!(crypt("pässword $1", &hashed), hashed);
            assert_ne!(crypt("other", &hashed), hashed);
            assert_eq!(hash("pässword $1", method, seed, "user").unwrap(), hashed);
            assert_ne!(hash("pässword $1", method, seed, "other").unwrap(), hashed);
        }
        assert!(hash(&"x".repeat(73), HashMethod::Bcrypt, seed, "user").is_err());
    }
}
