//! Rules for texts that no pattern expresses well. Each `Err` follows the text in a message.

use crate::package::Sha256;
use crate::template::size;
use crate::yaml::schema::Check;

type Outcome = Result<(), String>;

const PATH: &str = r"/(?!(?:[^\n\t]*/)?\.\.?(?:/|$))[^\n\t]*";

/// A single line.
pub(super) const ONE_LINE: Check = Check {
    test: one_line,
    pattern: r"[^\n\t]+",
    words: "a single line",
};
/// An absolute path.
pub(super) const ABSOLUTE: Check = Check {
    test: absolute,
    pattern: PATH,
    words: "an absolute path without . or ..",
};
/// A path in /etc/passwd.
pub(super) const ACCOUNT_PATH: Check = Check {
    test: account_path,
    pattern: r"/(?!(?:[^\n\t:]*/)?\.\.?(?:/|$))[^\n\t:]*",
    words: "an absolute path without . or .. or a colon",
};
/// The path of a file in the image.
pub(super) const DESTINATION: Check = Check {
    test: destination,
    pattern: r"/(?!(?:[^\n\t]*/)?\.\.?(?:/|$))[^\n\t]*[^\n\t/]",
    words: "the absolute path of a file, without . or ..",
};
/// A mount point, or `none`.
pub(super) const MOUNT_POINT: Check = Check {
    test: mount_point,
    pattern: r"none|swap|/(?!(?:[^\n\t\\ #]*/)?\.\.?(?:/|$))[^\n\t\\ #]*",
    words: "an absolute path without blanks, or none",
};
/// One component of a path.
pub(super) const FILE_NAME: Check = Check {
    test: file_name,
    pattern: r"(?![.-])[^\n\t/]+",
    words: "a directory name: no /, no . or - at the start",
};
/// A host name.
pub(super) const HOSTNAME: Check = Check {
    test: hostname,
    pattern: r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*",
    words: "letters, digits and -, in parts separated by dots",
};
/// The id of a machine, or a word in its place.
pub(super) const MACHINE_ID: Check = Check {
    test: machine_id,
    pattern: "empty|uninitialized|(?!0{32})[0-9a-f]{32}",
    words: "empty, uninitialized, or an id of 32 lower-case hexadecimal digits",
};
/// The name of a GPT partition.
pub(super) const GPT_NAME: Check = Check {
    test: gpt_name,
    pattern: r"[^\n\t]{1,36}",
    words: "a single line of at most 36 characters",
};
/// A UUID.
pub(super) const UUID: Check = Check {
    test: uuid,
    pattern: "[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}",
    words: "a GUID such as c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
};
/// The path of a secure boot key.
pub(super) const KEY_PATH: Check = Check {
    test: key_path,
    pattern: r"(?!(?:[^\n]*/)?\.\.(?:/|$))[A-Za-z0-9_./${}-]+",
    words: "plain characters or ${VARIABLE}, no ..",
};
/// The URL of a repository.
pub(super) const REPOSITORY_URL: Check = Check {
    test: repository_url,
    pattern: r#"<[^\n\t]+>|(?:https?://|file:///)(?![^/\s]*@)[^\s"<>]+"#,
    words: "a URL that starts with http://, https:// or file:///",
};
/// The address of a key.
pub(super) const KEY_URL: Check = Check {
    test: key_url,
    pattern: r#"<[^\n\t]+>|\[trusted=yes\]|/(?!(?:[^\n\t]*/)?\.\.?(?:/|$))[^\n\t]*|(?:https?://|file:///)(?![^/\s]*@)[^\s"<>]+"#,
    words: "a URL, an absolute path, or [trusted=yes]; #FINGERPRINT behind a URL or path pins the key",
};
/// A path that is no URL.
pub(super) const LOCAL_PATH: Check = Check {
    test: local_path,
    pattern: r"(?![A-Za-z][A-Za-z0-9+.-]*:)[^\n\t]+",
    words: "a path, without a scheme such as file:",
};
/// A URL that is fetched over TLS.
pub(super) const HTTPS_URL: Check = Check {
    test: https_url,
    pattern: r#"https://(?![^/\s]*@)[^\s"<>]+"#,
    words: "a URL that starts with https://",
};
/// The directory of a repository, or a placeholder.
pub(super) const REPOSITORY_PATH: Check = Check {
    test: repository_path,
    pattern: r"<[^\n\t]+>|/(?!(?:[^\n\t]*/)?\.\.?(?:/|$))[^\n\t]*",
    words: "an absolute path without . or ..",
};
/// A file with packages.
pub(super) const PACKAGE_FILE: Check = Check {
    test: package_file,
    pattern: concat!(
        r#"(?:https://(?![^/\s#]*@)[^\s"<>#]+|/[^\n\t#]+|\./[^\n\t#]+|"#,
        r"(?![A-Za-z][A-Za-z0-9+.-]*:)[^\n\t#]*\.\./[^\n\t#]*)(?:#sha256=[0-9A-Fa-f]{64})?"
    ),
    words: "an https:// URL, an absolute path, or a relative one that starts with ./ or has ../ in it; #sha256=DIGEST behind it pins it",
};
/// A size.
pub(super) const SIZE: Check = Check {
    test: size::check,
    pattern: "0+|[0-9]+ ?(?:[KMGT]iB|[KMGT]B?)",
    words: "a size such as 4GiB, 513MiB or 500MB",
};

/// The value of a key field that accepts unsigned packages.
pub(in crate::template) const TRUSTED: &str = "[trusted=yes]";

fn fail(reason: &str) -> Outcome {
    Err(reason.to_owned())
}

/// Checks that there are no line breaks or tabs.
fn one_line(text: &str) -> Outcome {
    if text.chars().any(char::is_control) {
        return fail("must be a single line");
    }
    Ok(())
}

/// Checks an absolute path without `.` and `..`.
fn absolute(path: &str) -> Outcome {
    one_line(path)?;
    if !path.starts_with('/') {
        return fail("must be an absolute path");
    }
    if path.split('/').any(|part| part == ".." || part == ".") {
        return fail("must not have . or .. in it");
    }
    Ok(())
}

/// Checks a path in /etc/passwd, where a colon ends the field (passwd(5)).
fn account_path(path: &str) -> Outcome {
    absolute(path)?;
    if path.contains(':') {
        return fail("must not have a colon in it");
    }
    Ok(())
}

/// Checks the path of a file in the image.
fn destination(path: &str) -> Outcome {
    absolute(path)?;
    if path.ends_with('/') {
        return fail("names a directory; give the whole name of the file");
    }
    Ok(())
}

/// Checks an absolute path without blanks (fstab(5) would need escapes), or `none`.
fn mount_point(path: &str) -> Outcome {
    if matches!(path, "none" | "swap") {
        return Ok(());
    }
    absolute(path)?;
    if path.contains([' ', '\\', '#']) {
        return fail("must not have blanks, \\ or # in it");
    }
    Ok(())
}

/// Checks one component of a path.
fn file_name(name: &str) -> Outcome {
    one_line(name)?;
    if name.contains('/') || name.starts_with(['.', '-']) {
        return fail("becomes a directory name: no /, and no . or - at the start");
    }
    Ok(())
}

/// Checks labels of letters, digits and hyphens (RFC 1123, 2.1; hostname(7)).
fn hostname(name: &str) -> Outcome {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if name.split('.').all(label) {
        return Ok(());
    }
    fail("is not a host name: letters, digits and -, in parts separated by dots")
}

/// Checks an id of 32 hexadecimal digits, not all zero (machine-id(5)), or a word in its place.
fn machine_id(text: &str) -> Outcome {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_id = text.len() == 32 && text.bytes().all(is_digit) && text.bytes().any(|byte| byte != b'0');
    if is_id || matches!(text, "empty" | "uninitialized") {
        return Ok(());
    }
    fail("is neither empty nor uninitialized nor an id of 32 lower-case hexadecimal digits")
}

/// Checks that a partition's name fits into 36 UTF-16 units (UEFI 2.10, 5.3.3).
fn gpt_name(name: &str) -> Outcome {
    one_line(name)?;
    if name.encode_utf16().count() > 36 {
        return fail("is longer than the 36 characters of a GPT partition name");
    }
    Ok(())
}

/// Checks a UUID in its hyphenated form.
fn uuid(text: &str) -> Outcome {
    if text.len() == 36 && uuid::Uuid::try_parse(text).is_ok() {
        return Ok(());
    }
    fail("is not a GUID such as c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
}

/// Checks the path of a key: plain characters or `${VARIABLE}`, no `..`.
fn key_path(path: &str) -> Outcome {
    if path.split('/').any(|part| part == "..") {
        return fail("must not have .. in it");
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-' | '$' | '{' | '}');
    if !path.chars().all(plain) {
        return fail("has characters that are not allowed: letters, digits and _ . / - only");
    }
    Ok(())
}

/// Checks a URL that packages can come from, or a placeholder such as `<URL>`.
fn repository_url(url: &str) -> Outcome {
    if is_placeholder(url) {
        return Ok(());
    }
    usable_url(url, &["http://", "https://", "file:///"])
}

/// Checks the address of a key, a placeholder, or `[trusted=yes]`.
fn key_url(url: &str) -> Outcome {
    if is_placeholder(url) || url == TRUSTED {
        return Ok(());
    }
    if url.starts_with('/') {
        return absolute(url);
    }
    usable_url(url, &["http://", "https://", "file:///"])
        .map_err(|reason| format!("{reason}, an absolute path or [trusted=yes]"))
}

/// Checks a path that must not be a URL.
fn local_path(path: &str) -> Outcome {
    one_line(path)?;
    let scheme = path.split_once(':').map(|(scheme, _)| scheme);
    let is_scheme = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '.' | '-'))
    };
    if scheme.is_some_and(is_scheme) {
        return fail("is a URL; give the path of a file");
    }
    Ok(())
}

/// Checks a URL that is fetched over TLS.
fn https_url(url: &str) -> Outcome {
    usable_url(url, &["https://"])
}

/// Checks the directory of a repository, or a placeholder such as `<PATH>`.
fn repository_path(path: &str) -> Outcome {
    match is_placeholder(path) {
        true => Ok(()),
        false => absolute(path),
    }
}

/// Checks the address of a file with packages, possibly with its digest.
fn package_file(address: &str) -> Outcome {
    one_line(address)?;
    let (place, digest) = match address.split_once('#') {
        Some((place, digest)) => (place, Some(digest)),
        None => (address, None),
    };
    if let Some(digest) = digest {
        let hex = digest.strip_prefix("sha256=").unwrap_or_default();
        if hex.parse::<Sha256>().is_err() {
            return fail("has no digest behind its #: sha256= and 64 hexadecimal digits are expected");
        }
    }
    if place.starts_with("https://") {
        return https_url(place);
    }
    local_path(place)?;
    let is_path = place.starts_with('/') || place.starts_with("./") || place.contains("../");
    if !is_path || matches!(place, "/" | "./") {
        return fail("is neither an https:// URL nor a path that starts with / or ./, or has ../ in it");
    }
    Ok(())
}

/// Says whether a URL is a placeholder such as `<URL>`, which the user is to replace.
pub(in crate::template) fn is_placeholder(url: &str) -> bool {
    url.len() > 2 && url.starts_with('<') && url.ends_with('>') && !url.contains(char::is_control)
}

/// Checks a URL that starts with one of `schemes` and holds no credentials.
pub(super) fn usable_url(url: &str, schemes: &[&str]) -> Outcome {
    let Some(rest) = schemes.iter().find_map(|scheme| url.strip_prefix(scheme)) else {
        return Err(format!("must start with one of {}", schemes.join(", ")));
    };
    if rest.is_empty()
        || url
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || matches!(c, '"' | '<' | '>'))
    {
        return fail("is not a usable URL: no host, or characters that do not belong into one");
    }
    // A password in a template would end in logs, lockfiles and the image.
    if rest.split('/').next().is_some_and(|host| host.contains('@')) {
        return fail("must not hold a user name or password: give them in ~/.netrc or /etc/apt/auth.conf.d");
    }
    Ok(())
}
