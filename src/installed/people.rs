//! Who can log in to a tree's system: users with passwords (shadow(5)) or with keys for SSH (sshd(8)).

use std::path::Path;

use serde::Serialize;

use super::InstalledError;
use crate::accounts;
use crate::disk::walk;
use crate::overlay::layer::Layer;

const SHADOW: &str = "/etc/shadow";

/// The state of a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Password {
    /// There is none: anybody can log in.
    Empty,
    /// There is one.
    Set,
    /// No password fits.
    Locked,
}

/// A user who can log in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Person {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// The state of the password.
    pub password: Password,
    /// The number of keys for SSH.
    pub ssh_keys: usize,
}

/// Lists the users of `layer` who can log in, in the order of passwd(5).
///
/// # Errors
/// If a file cannot be read.
pub fn with_access(layer: &dyn Layer) -> Result<Vec<Person>, InstalledError> {
    let read = |path: &str| {
        let found = walk::read(layer, Path::new(path)).map_err(InstalledError::on(path))?;
        Ok::<_, InstalledError>(found.unwrap_or_default())
    };
    let (passwd, shadow) = (read(accounts::PASSWD)?, read(SHADOW)?);
    let mut found = Vec::new();
    for user in accounts::users(&passwd) {
        let password = password(user.name, &passwd, &shadow);
        let mut ssh_keys = 0;
        for file in ["authorized_keys", "authorized_keys2"] {
            let path = Path::new("/").join(user.home).join(".ssh").join(file);
            ssh_keys += keys(&read(&path.to_string_lossy())?);
        }
        if password != Password::Locked || ssh_keys > 0 {
            found.push(Person {
                name: String::from_utf8_lossy(user.name).into_owned(),
                uid: user.uid,
                password,
                ssh_keys,
            });
        }
    }
    Ok(found)
}

/// Returns the state of the password of the user `name`.
fn password(name: &[u8], passwd: &[u8], shadow: &[u8]) -> Password {
    let field = |text: &[u8]| {
        let mut lines = text
            .split(|byte| *byte == b'\n')
            .map(|line| line.split(|byte| *byte == b':'));
        lines.find_map(|mut fields| (fields.next()? == name).then(|| fields.next().map(<[u8]>::to_vec))?)
    };
    let own = field(passwd).unwrap_or_default();
    let hash = if own == b"x" {
        field(shadow).unwrap_or_else(|| b"!".to_vec())
    } else {
        own
    };
    match hash.first() {
        None => Password::Empty,
        // crypt(5): every method begins with a dollar, a letter, a digit or an underscore.
        Some(b'!' | b'*') => Password::Locked,
        Some(_) if hash.len() < 13 => Password::Locked,
        Some(_) => Password::Set,
    }
}

/// Counts the keys of a file in the form of sshd(8), "AUTHORIZED_KEYS FILE FORMAT".
fn keys(text: &[u8]) -> usize {
    let text = String::from_utf8_lossy(text);
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::directory::DirectoryLayer;

    #[test]
    fn those_who_can_log_in_are_told() {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in [
            (
                "etc/passwd",
                "root:x:0:0::/root:/bin/sh\nlocked:x:1:1::/:/\nopen::2:2::/:/\nold:$1$abcdefghij$x:3:3::/:/\nkeys:x:4:4::/home/k:/\n",
            ),
            (
                "etc/shadow",
                "root:$y$j9T$abc$def:1::::::\nlocked:*:1::::::\nkeys:!$6$abcdefghijkl:1::::::\n",
            ),
            (
                "home/k/.ssh/authorized_keys",
                "# mine\nssh-ed25519 AAAA me\n\nssh-rsa BBBB other\n",
            ),
        ] {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let people = with_access(&DirectoryLayer::open(directory.path()).unwrap()).unwrap();
        let shown: Vec<_> = people
            .iter()
            .map(|p| (p.name.as_str(), p.password, p.ssh_keys))
            .collect();
        assert_eq!(
            shown,
            [
                ("root", Password::Set, 0),
                ("open", Password::Empty, 0),
                ("old", Password::Set, 0),
                ("keys", Password::Locked, 2)
            ]
        );
    }
}
