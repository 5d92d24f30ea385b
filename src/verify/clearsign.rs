//! The frame of a clear-signed document (RFC 9580, section 7): one message, all
//! of the input, nothing around it.
//!
//! Invariant: a document that [`signed_lines`] accepts has no byte outside the signed text, its headers and its one
//! signature block, so that no reader can take unsigned text for signed text.

/// First line of a clear-signed document.
const BEGIN: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
/// First line of the signature, which ends the signed text.
const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";
/// Last line of a clear-signed document.
const END: &str = "-----END PGP SIGNATURE-----";

/// Checks the frame of `document` and returns the signed text, dash escapes undone. The signature itself is **not**
/// checked.
///
/// # Errors
/// The mistake in the frame, in words.
pub(super) fn signed_lines(document: &[u8]) -> Result<String, String> {
    let document = std::str::from_utf8(document).map_err(|_| "it is not UTF-8 text".to_owned())?;
    let mut lines = document.lines().map(str::trim_end);
    if lines.next() != Some(BEGIN) {
        return Err(format!("it does not begin with {BEGIN:?}"));
    }
    for header in lines.by_ref().take_while(|line| !line.is_empty()) {
        if !header.starts_with("Hash:") {
            return Err(format!("header {header:?} is not allowed in a clear-signed document"));
        }
    }
    let mut text = String::with_capacity(document.len());
    loop {
        match lines.next() {
            None => return Err("it ends before its signature".to_owned()),
            Some(SIGNATURE) => break,
            Some(line) => {
                let line = match line.strip_prefix('-') {
                    None => line,
                    Some(escaped) => escaped
                        .strip_prefix(' ')
                        .ok_or_else(|| format!("line {line:?} inside the signed text is not dash-escaped"))?,
                };
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    if !lines.by_ref().any(|line| line == END) {
        return Err("its signature is cut off".to_owned());
    }
    match lines.find(|line| !line.is_empty()) {
        Some(junk) => Err(format!("{junk:?} follows its signature")),
        None => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(before: &str, headers: &str, text: &str, after: &str) -> String {
        format!("{before}{BEGIN}\n{headers}\n{text}{SIGNATURE}\n\nabcd\n=abcd\n{END}\n{after}")
    }

    #[test]
    fn accepts_the_form_of_the_standard() {
        let document = framed("", "Hash: SHA256\nHash: SHA512\n", "a: b\n- -dash\n\nend \t\n", "\n");
        assert_eq!(signed_lines(document.as_bytes()).unwrap(), "a: b\n-dash\n\nend\n");
        let document = document.replace('\n', "\r\n");
        assert_eq!(signed_lines(document.as_bytes()).unwrap(), "a: b\n-dash\n\nend\n");
    }

    #[test]
    fn refuses_anything_around_the_signed_text() {
        let good = framed("", "Hash: SHA256\n", "a: b\n", "");
        let table = [
            (framed("a: evil\n", "", "a: b\n", ""), "does not begin"),
            (framed("\n", "", "a: b\n", ""), "does not begin"),
            (framed("", "", "a: b\n", "a: evil\n"), "follows its signature"),
            (format!("{good}{good}"), "follows its signature"),
            (framed("", "Comment: x\n", "a: b\n", ""), "not allowed"),
            (framed("", "a: evil\n", "a: b\n", ""), "not allowed"),
            (framed("", "", &good, ""), "not dash-escaped"),
            (good.replace(END, ""), "cut off"),
            (good.replace(SIGNATURE, ""), "dash-escaped"),
            (String::new(), "does not begin"),
            (format!("{BEGIN}\n\na: b\n"), "ends before its signature"),
        ];
        for (document, reason) in table {
            let error = signed_lines(document.as_bytes()).unwrap_err();
            assert!(error.contains(reason), "{document:?}: {error}");
        }
        assert!(signed_lines(b"\xff").is_err());
    }
}
