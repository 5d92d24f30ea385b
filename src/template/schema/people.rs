//! Fields of users and groups.

use super::checks;
use crate::date;
use crate::model::HashMethod;
use crate::yaml::schema::{Check, Field, Shape, Text, Unique, fields};

/// The largest id of a user or group: the next one means "none" (chown(2)).
const ID_MAX: i64 = 0xffff_fffe;

const ACCOUNT: Text = Text::ANY.filled().max_chars(32).pattern(
    "[A-Za-z_][A-Za-z0-9_.-]*[$]?",
    "letters, digits, _ . and -, the first one a letter or _ (useradd(8))",
);
const GROUP: Text = Text::ANY.filled().max_chars(64).pattern(
    "[A-Za-z_][A-Za-z0-9_.-]{0,31}[$]?|<[A-Za-z0-9_]+>",
    "letters, digits, _ . and -, the first one a letter or _; or a placeholder such as <REQUIRED_GROUP>",
);
/// The first and last year of a date that shadow(5) can hold and a template may name.
const YEARS: std::ops::RangeInclusive<&str> = "1970"..="2999";

const DATE: Check = Check {
    test: day,
    pattern: "(?:19[7-9][0-9]|2[0-9]{3})-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])",
    words: "a day such as 2027-12-31",
};

/// The kinds of public keys that sshd(8) accepts, and how the base64 text of each begins: with the kind again (RFC 4253,
/// 6.6).
const KEY_KINDS: [(&str, &str); 7] = [
    ("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5"),
    ("ssh-rsa", "AAAAB3NzaC1yc2"),
    ("ecdsa-sha2-nistp256", "AAAAE2VjZHNhLXNoYTItbmlzdHAyNT"),
    ("ecdsa-sha2-nistp384", "AAAAE2VjZHNhLXNoYTItbmlzdHAzOD"),
    ("ecdsa-sha2-nistp521", "AAAAE2VjZHNhLXNoYTItbmlzdHA1Mj"),
    ("sk-ssh-ed25519@openssh.com", "AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29t"),
    (
        "sk-ecdsa-sha2-nistp256@openssh.com",
        "AAAAInNrLWVjZHNhLXNoYTItbmlzdHAyNTZAb3BlbnNzaC5jb2",
    ),
];

const SSH_KEY: Check = Check {
    test: ssh_key,
    pattern: concat!(
        "(?:ssh-ed25519 (?=AAAAC3NzaC1lZDI1NTE5)|",
        "ssh-rsa (?=AAAAB3NzaC1yc2)|",
        "ecdsa-sha2-nistp256 (?=AAAAE2VjZHNhLXNoYTItbmlzdHAyNT)|",
        "ecdsa-sha2-nistp384 (?=AAAAE2VjZHNhLXNoYTItbmlzdHAzOD)|",
        "ecdsa-sha2-nistp521 (?=AAAAE2VjZHNhLXNoYTItbmlzdHA1Mj)|",
        r"sk-ssh-ed25519@openssh\.com (?=AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29t)|",
        r"sk-ecdsa-sha2-nistp256@openssh\.com (?=AAAAInNrLWVjZHNhLXNoYTItbmlzdHAyNTZAb3BlbnNzaC5jb2))",
        r"(?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?(?: [^\n\t]*)?"
    ),
    words: "a public key such as ssh-ed25519 AAAA... name",
};

/// Checks a day of the calendar.
fn day(text: &str) -> Result<(), String> {
    let is_known = text.get(..4).is_some_and(|year| YEARS.contains(&year));
    match date::days_since_1970(text).filter(|_| is_known) {
        Some(_) => Ok(()),
        None => Err("is not a day such as 2027-12-31, from 1970 to 2999".to_owned()),
    }
}

/// Checks a line of authorized_keys (sshd(8), "AUTHORIZED_KEYS FILE FORMAT") without options.
fn ssh_key(line: &str) -> Result<(), String> {
    if line.starts_with("-----BEGIN") {
        return Err("is a private key or a key of another format: give the text of the .pub file".to_owned());
    }
    if line.chars().any(char::is_control) {
        return Err("must be a single line".to_owned());
    }
    let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
    let Some((_, begin)) = KEY_KINDS.iter().find(|(known, _)| *known == kind) else {
        return Err(
            "does not begin with a kind of key such as ssh-ed25519; a line with options needs a file of its own, \
             in additionalFiles"
                .to_owned(),
        );
    };
    let key = rest.split(' ').next().unwrap_or_default();
    if !key.starts_with(begin) || !is_base64(key) {
        return Err(format!("is not a whole key of the kind {kind}"));
    }
    Ok(())
}

/// Returns whether a text is base64 with padding (RFC 4648, 4).
fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    text.len().is_multiple_of(4) && text.len() - digits.len() <= 2 && digits.bytes().all(is_digit)
}

fields! {
    /// `systemConfig.groups[]`.
    mod group {
        NAME: str = Field::text("name", ACCOUNT, "Its name.").required();
        GID: i64 = Field::int("gid", 1, ID_MAX, "Group id; the next free one if absent.");
        SYSTEM: bool = Field::bool("system", "Whether it is a group of a service, with an id of these.");
    }
}

fields! {
    /// `systemConfig.users[]`.
    mod user {
        NAME: str = Field::text("name", ACCOUNT, "Login name.").required();
        PASSWORD: str = Field::text(
            "password",
            Text::ANY.max_chars(512).check(checks::ONE_LINE).secret(),
            "Clear text or a crypt(5) hash; no password is accepted without one.",
        );
        HASH_ALGO: HashMethod = Field::word_but(
            "hash_algo",
            &[("md5", "MD5 password hashes are broken within seconds; use sha512")],
            "How a clear-text password is hashed; sha512 if absent.",
        );
        PASSWORD_MAX_AGE: i64 = Field::int(
            "passwordMaxAge",
            0,
            99_999,
            "Days until the password must be changed.",
        );
        EXPIRE: str = Field::text(
            "expire",
            Text::ANY.check(DATE),
            "The day on which the account is closed, such as 2027-12-31.",
        );
        LOCKED: bool = Field::bool(
            "locked",
            "Whether the account is closed for passwords, keys and everything else until an administrator opens it, usermod(8).",
        );
        SYSTEM: bool = Field::bool(
            "system",
            "Whether it is an account of a service: an id of these, and no home directory or shell unless given.",
        );
        UID: i64 = Field::int("uid", 1, ID_MAX, "User id; the next free one if absent.");
        SSH_KEYS: [String] = Field::texts(
            "sshKeys",
            &Shape::Text(Text::ANY.filled().max_chars(16_384).check(SSH_KEY)),
            Unique::Value,
            "Public keys, each a line of authorized_keys without options: all that ~/.ssh/authorized_keys holds.",
        );
        STARTUP_SCRIPT: str = Field::text(
            "startupScript",
            Text::ANY.check(checks::ACCOUNT_PATH),
            "Program in the image that takes the place of the shell.",
        );
        GROUPS: [String] = Field::texts(
            "groups",
            &Shape::Text(GROUP),
            Unique::No,
            "More groups; a placeholder such as <REQUIRED_GROUP> is left out.",
        );
        SUDO: bool = Field::bool("sudo", "Whether the user may use sudo.");
        HOME: str = Field::text("home", Text::ANY.check(checks::ACCOUNT_PATH), "Home directory.");
        SHELL: str = Field::text("shell", Text::ANY.check(checks::ACCOUNT_PATH), "Login shell.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn the_keys_that_ssh_keygen_makes_are_accepted_and_parts_of_them_refused() {
        let directory = tempfile::tempdir().unwrap();
        for (kind, bits) in [
            ("ed25519", "256"),
            ("rsa", "2048"),
            ("ecdsa", "256"),
            ("ecdsa", "384"),
            ("ecdsa", "521"),
        ] {
            let path = directory.path().join(format!("{kind}{bits}"));
            let mut make = Command::new("ssh-keygen");
            make.args(["-q", "-N", "", "-C", "bea at home", "-t", kind, "-b", bits, "-f"]);
            let made = make
                .arg(&path)
                .status()
                .expect("this test needs the package openssh-client");
            assert!(made.success());
            let line = std::fs::read_to_string(path.with_extension("pub")).unwrap();
            let line = line.trim_end();
            assert_eq!(ssh_key(line), Ok(()), "{line}");
            let (start, _) = line.rsplit_once(" bea").unwrap();
            assert_eq!(ssh_key(start), Ok(()), "without a name");
            for wrong in [
                &line[1..],
                &start[..start.len() - 1],
                &line.replacen(' ', "  ", 1),
                &format!("no-pty {line}"),
                &format!("{line}\n"),
                &line.replacen("AAAA", "BAAA", 1),
                &std::fs::read_to_string(&path).unwrap(),
            ] {
                assert!(ssh_key(wrong).is_err(), "{wrong}");
            }
        }
        let name = "sk-ssh-ed25519@openssh.com";
        let key = "AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIA==";
        assert_eq!(ssh_key(&format!("{name} {key}")), Ok(()));
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for text in ["1970-01-01", "2024-02-29", "2999-12-31"] {
            assert_eq!(day(text), Ok(()), "{text}");
        }
        for text in [
            "",
            "2023-02-29",
            "2024-2-09",
            "3000-01-01",
            "1969-12-31",
            "2024-13-01",
            "24-01-01",
            "2024-01-01 ",
        ] {
            assert!(day(text).is_err(), "{text}");
        }
    }
}
