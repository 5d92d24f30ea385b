//! Rules for texts that no pattern expresses well. Each `Err` follows the text in a message.

use crate::template::size;
use crate::yaml::schema::Check;

type Outcome = Result<(), String>;

const PATH: &str = r"/(?!(?:[^\n\t]*/)?\.\.?(?:/|$))[^\n\t]*";

pub(super) const ONE_LINE: Check = Check {
    test: one_line,
    pattern: r"[^\n\t]+",
    words: "a single line",
};
pub(super) const ABSOLUTE: Check = Check {
    test: absolute,
    pattern: PATH,
    words: "an absolute path without . or ..",
};
pub(super) const ACCOUNT_PATH: Check = Check {
    test: account_path,
    pattern: r"/(?!(?:[^\n\t:]*/)?\.\.?(?:/|$))[^\n\t:]*",
    words: "an absolute path without . or .. or a colon",
};
pub(super) const DESTINATION: Check = Check {
    test: destination,
    pattern: r"/(?!(?:[^\n\t]*/)?\.\.?(?:/|$))[^\n\t]*[^\n\t/]",
    words: "the absolute path of a file, without . or ..",
};
pub(super) const MOUNT_POINT: Check = Check {
    test: mount_point,
    pattern: r"none|swap|/(?!(?:[^\n\t\\ #]*/)?\.\.?(?:/|$))[^\n\t\\ #]*",
    words: "an absolute path without blanks, or none",
};
pub(super) const FILE_NAME: Check = Check {
    test: file_name,
    pattern: r"(?![.-])[^\n\t/]+",
    words: "a directory name: no /, no . or - at the start",
};
pub(super) const HOSTNAME: Check = Check {
    test: hostname,
    pattern: r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*",
    words: "letters, digits and -, in parts separated by dots",
};
pub(super) const GPT_NAME: Check = Check {
    test: gpt_name,
    pattern: r"[^\n\t]{1,36}",
    words: "a single line of at most 36 characters",
};
pub(super) const UUID: Check = Check {
    test: uuid,
    pattern: "[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}",
    words: "a GUID such as c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
};
pub(super) const KEY_PATH: Check = Check {
    test: key_path,
    pattern: r"(?!(?:[^\n]*/)?\.\.(?:/|$))[A-Za-z0-9_./${}-]+",
    words: "plain characters or ${VARIABLE}, no ..",
};
pub(super) const REPOSITORY_URL: Check = Check {
    test: repository_url,
    pattern: r#"<[^\n\t]+>|(?:https?://|file:///)(?![^/\s]*@)[^\s"<>]+"#,
    words: "a URL that starts with http://, https:// or file:///",
};
pub(super) const KEY_URL: Check = Check {
    test: key_url,
    pattern: r#"<[^\n\t]+>|\[trusted=yes\]|/(?!(?:[^\n\t]*/)?\.\.?(?:/|$))[^\n\t]*|(?:https?://|file:///)(?![^/\s]*@)[^\s"<>]+"#,
    words: "a URL, an absolute path, or [trusted=yes]; #FINGERPRINT behind a URL or path pins the key",
};
pub(super) const SIZE: Check = Check {
    test: size::check,
    pattern: "0+|[0-9]+ ?(?:[KMGT]iB|[KMGT]B?)",
    words: "a size such as 4GiB, 513MiB or 500MB",
};

fn fail(reason: &str) -> Outcome {
    Err(reason.to_owned())
}

/// No line breaks or tabs.
fn one_line(text: &str) -> Outcome {
    if text.chars().any(char::is_control) {
        return fail("must be a single line");
    }
    Ok(())
}

/// An absolute path that stays where it says: no `.` or `..`.
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

/// A path in /etc/passwd, where a colon ends the field (passwd(5)).
fn account_path(path: &str) -> Outcome {
    absolute(path)?;
    if path.contains(':') {
        return fail("must not have a colon in it");
    }
    Ok(())
}

/// A file in the image.
fn destination(path: &str) -> Outcome {
    absolute(path)?;
    if path.ends_with('/') {
        return fail("names a directory; give the whole name of the file");
    }
    Ok(())
}

/// An absolute path without blanks (fstab(5) would need escapes), or `none`.
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

/// One component of a path.
fn file_name(name: &str) -> Outcome {
    one_line(name)?;
    if name.contains('/') || name.starts_with(['.', '-']) {
        return fail("becomes a directory name: no /, and no . or - at the start");
    }
    Ok(())
}

/// Labels of letters, digits and hyphens (RFC 1123, 2.1; hostname(7)).
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

/// 36 UTF-16 units fit into a partition's name (UEFI 2.10, 5.3.3).
fn gpt_name(name: &str) -> Outcome {
    one_line(name)?;
    if name.encode_utf16().count() > 36 {
        return fail("is longer than the 36 characters of a GPT partition name");
    }
    Ok(())
}

/// A UUID in its hyphenated form.
fn uuid(text: &str) -> Outcome {
    if text.len() == 36 && uuid::Uuid::try_parse(text).is_ok() {
        return Ok(());
    }
    fail("is not a GUID such as c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
}

/// The path of a key: plain characters or `${VARIABLE}`, no `..`.
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

/// A URL that packages can come from, or a placeholder such as `<URL>`.
fn repository_url(url: &str) -> Outcome {
    if is_placeholder(url) {
        return Ok(());
    }
    usable_url(url, &["http://", "https://", "file:///"])
}

/// Where a key comes from, a placeholder, or `[trusted=yes]`.
fn key_url(url: &str) -> Outcome {
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

fn usable_url(url: &str, schemes: &[&str]) -> Outcome {
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
