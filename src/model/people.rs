//! Users and groups of the image.

use crate::words::words;

/// `systemConfig.groups[]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Group id, if given.
    pub gid: Option<u32>,
    /// Whether its id is taken from those of services, if none is given.
    pub system: bool,
}

/// `systemConfig.users[]`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct User {
    /// Login name.
    pub name: String,
    /// `password` and `hash_algo` together.
    pub password: Password,
    /// `passwordMaxAge` in days.
    pub password_max_age_days: Option<u32>,
    /// The first day on which the account is closed, in days since 1970-01-01 (shadow(5)).
    pub expires_days: Option<u32>,
    /// Whether the account is closed: for passwords, keys and everything else.
    pub locked: bool,
    /// Whether it is an account of a service, without a home directory or a shell unless these are given.
    pub system: bool,
    /// User id, if given.
    pub uid: Option<u32>,
    /// Lines of authorized_keys, as in sshd(8).
    pub ssh_keys: Vec<String>,
    /// Supplementary groups.
    pub groups: Vec<String>,
    /// Whether the user may use sudo.
    pub sudo: bool,
    /// Home directory, if not the default.
    pub home: Option<String>,
    /// Login shell, if not the default.
    pub shell: Option<String>,
    /// Program that replaces the login shell.
    pub startup_script: Option<String>,
}

/// A user's password.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Password {
    /// None: no password is accepted.
    #[default]
    Locked,
    /// Clear text, to be hashed with the method.
    Plain {
        /// The clear text.
        text: String,
        /// `hash_algo`; `sha512` if absent.
        method: HashMethod,
    },
    /// A crypt(5) string as is.
    Hashed(String),
}

/// `hash_algo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashMethod {
    /// SHA-512 crypt.
    Sha512,
    /// SHA-256 crypt.
    Sha256,
    /// bcrypt.
    Bcrypt,
    /// yescrypt.
    Yescrypt,
}

words!(HashMethod {
    (Self::Sha512): "sha512",
    (Self::Sha256): "sha256",
    (Self::Bcrypt): "bcrypt",
    (Self::Yescrypt): "yescrypt",
});

// Passwords must not reach a log through `{:?}`.
impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Locked => "Locked",
            Self::Plain { .. } => "Plain(…)",
            Self::Hashed(_) => "Hashed(…)",
        })
    }
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .field("password", &self.password)
            .finish_non_exhaustive()
    }
}
