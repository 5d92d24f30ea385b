//! Rules for texts that no pattern expresses well. Each `Err` follows the text in a message.

type Check = Result<(), String>;

fn fail(reason: &str) -> Check {
    Err(reason.to_owned())
}

/// No line breaks or tabs.
pub(super) fn one_line(text: &str) -> Check {
    if text.chars().any(char::is_control) {
        return fail("must be a single line");
    }
    Ok(())
}

/// An absolute path that stays where it says: no `.` or `..`.
pub(super) fn absolute(path: &str) -> Check {
    one_line(path)?;
    if !path.starts_with('/') {
        return fail("must be an absolute path");
    }
    if path.split('/').any(|part| part == ".." || part == ".") {
        return fail("must not have . or .. in it");
    }
    Ok(())
}

/// A path in /etc/passwd, where a colon ends the field (passwd(5)).
pub(super) fn account_path(path: &str) -> Check {
    absolute(path)?;
    if path.contains(':') {
        return fail("must not have a colon in it");
    }
    Ok(())
}

/// A file in the image.
pub(super) fn destination(path: &str) -> Check {
    absolute(path)?;
    if path.ends_with('/') {
        return fail("names a directory; give the whole name of the file");
    }
    Ok(())
}

/// An absolute path without blanks (fstab(5) would need escapes), or `none`.
pub(super) fn mount_point(path: &str) -> Check {
    if matches!(path, "none" | "swap") {
        return Ok(());
    }
    absolute(path)?;
    if path.contains([' ', '\\', '#']) {
        return fail("must not have blanks, \\ or # in it");
    }
    Ok(())
}

/// One component of a path.
pub(super) fn file_name(name: &str) -> Check {
    one_line(name)?;
    if name.contains('/') || name.starts_with(['.', '-']) {
        return fail("becomes a directory name: no /, and no . or - at the start");
    }
    Ok(())
}

/// Labels of letters, digits and hyphens (RFC 1123, 2.1; hostname(7)).
pub(super) fn hostname(name: &str) -> Check {
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

/// 36 UTF-16 units fit into a partition's name (UEFI 2.10, 5.3.3).
pub(super) fn gpt_name(name: &str) -> Check {
    one_line(name)?;
    if name.encode_utf16().count() > 36 {
        return fail("is longer than the 36 characters of a GPT partition name");
    }
    Ok(())
}

/// A UUID in its hyphenated form.
pub(super) fn uuid(text: &str) -> Check {
    if text.len() == 36 && uuid::Uuid::try_parse(text).is_ok() {
        return Ok(());
    }
    fail("is not a GUID such as c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
}

/// The path of a key: plain characters or `${VARIABLE}`, no `..`.
pub(super) fn key_path(path: &str) -> Check {
    if path.split('/').any(|part| part == "..") {
        return fail("must not have .. in it");
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-' | '$' | '{' | '}');
    if !path.chars().all(plain) {
        return fail("has characters that are not allowed: letters, digits and _ . / - only");
    }
    Ok(())
}

/// A URL that packages can come from, or a placeholder such as `<URL>`.
pub(super) fn repository_url(url: &str) -> Check {
    if is_placeholder(url) {
        return Ok(());
    }
    usable_url(url, &["http://", "https://", "file:///"])
}

/// Where a key comes from, a placeholder, or `[trusted=yes]`.
pub(super) fn key_url(url: &str) -> Check {
    if is_placeholder(url) || url == "[trusted=yes]" {
        return Ok(());
    }
    if url.starts_with('/') {
        return absolute(url);
    }
    usable_url(url, &["http://", "https://", "file:///"])
        .map_err(|reason| format!("{reason}, an absolute path or [trusted=yes]"))
}

/// `<URL>` and the like, which a template's author left for the user to fill in.
pub(in crate::template) fn is_placeholder(url: &str) -> bool {
    url.len() > 2 && url.starts_with('<') && url.ends_with('>')
}

fn usable_url(url: &str, schemes: &[&str]) -> Check {
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
        return fail("must not hold a user name or password");
    }
    Ok(())
}
