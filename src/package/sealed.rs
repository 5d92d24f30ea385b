//! Small text files of oic that carry their own checksum: a first line of name, version and the SHA-256 of all bytes
//! after it.
//!
//! Invariant: [`open`] returns, byte for byte, the text that [`seal`] was given.

use super::Sha256;

/// The reason why a text is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsealed {
    /// It is another kind of text, or of another version.
    #[error("it has another format or version")]
    Other,
    /// Its bytes differ from those written.
    #[error("its content is not what its checksum says")]
    Damaged,
}

/// Returns `body` with `header` (name, version and a space) and the checksum before it.
pub fn seal(header: &str, body: &str) -> String {
    format!("{header}{}\n{body}", Sha256::of(body))
}

/// Returns the body of `text`, which was sealed with `header`.
///
/// # Errors
/// [`Unsealed`] if it was not, or is damaged.
pub fn open<'a>(header: &str, text: &'a [u8]) -> Result<&'a str, Unsealed> {
    let rest = text.strip_prefix(header.as_bytes()).ok_or(Unsealed::Other)?;
    let text = std::str::from_utf8(rest).map_err(|_| Unsealed::Damaged)?;
    let (checksum, body) = text.split_once('\n').ok_or(Unsealed::Damaged)?;
    // Compared as text: hex has two ways to write a digit.
    match checksum == Sha256::of(body).to_string() {
        true => Ok(body),
        false => Err(Unsealed::Damaged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "oic-test 1 ";

    #[test]
    fn damage_anywhere_is_noticed() {
        let text = seal(HEADER, "one\ntwo\n");
        assert_eq!(open(HEADER, text.as_bytes()), Ok("one\ntwo\n"));
        assert_eq!(open("oic-test 2 ", text.as_bytes()), Err(Unsealed::Other));
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut damaged = text.clone().into_bytes();
                damaged[at] ^= 1 << bit;
                assert!(open(HEADER, &damaged).is_err(), "byte {at}, bit {bit}");
            }
            assert!(open(HEADER, &text.as_bytes()[..at]).is_err());
        }
    }
}
