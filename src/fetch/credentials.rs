//! Names and passwords for servers, by the files that curl and apt read: netrc(5) and apt_auth.conf(5).
//!
//! Invariant: they are sent to the host that they are for and to no other, and no message, log or report shows them.

use std::fmt;

use reqwest::Url;
use serde::{Deserialize, Serialize};

/// The rules of a file of credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialsFormat {
    /// netrc(5): a machine is a host, whatever the scheme, port and path.
    Netrc,
    /// apt_auth.conf(5): a machine is a host with, if wanted, scheme, port and the beginning of a path. Without a scheme
    /// it counts for https only.
    AptAuth,
}

/// Names and passwords, in the order in which they are looked for.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials(Vec<Entry>);

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    machine: Machine,
    login: String,
    password: String,
}

/// The requests that credentials are for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Machine {
    scheme: Option<String>,
    host: String,
    port: Option<u16>,
    /// How the path begins.
    path: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|entry| &entry.machine))
            .finish()
    }
}

impl Credentials {
    /// Adds the entries of a file. What it does not understand it leaves out, as curl and apt do.
    pub fn add_file(&mut self, text: &str, format: CredentialsFormat) {
        let mut words = words(text).into_iter();
        let (mut machine, mut login) = (None, None);
        while let Some(word) = words.next() {
            match word.as_str() {
                "machine" => (machine, login) = (words.next().and_then(|name| Machine::parse(&name, format)), None),
                // A password for every host would go to every mirror.
                "default" => (machine, login) = (None, None),
                "login" => login = words.next(),
                "password" => {
                    let password = words.next();
                    if let (Some(machine), Some(login), Some(password)) = (machine.clone(), login.clone(), password) {
                        let entry = Entry {
                            machine,
                            login,
                            password,
                        };
                        self.0.push(entry);
                    }
                }
                _ => {}
            }
        }
    }

    /// Takes name and password out of `url`, if it has them, and keeps them for all URLs that begin like it.
    pub fn take_from(&mut self, url: &str) -> String {
        let public = shown(url);
        if let Ok(parsed) = Url::parse(url)
            && public != url
            && let Some(host) = parsed.host_str()
        {
            self.0.push(Entry {
                machine: Machine {
                    scheme: Some(parsed.scheme().to_owned()),
                    host: host.to_owned(),
                    port: parsed.port_or_known_default(),
                    path: parsed.path().trim_end_matches('/').to_owned(),
                },
                login: decoded(parsed.username()),
                password: decoded(parsed.password().unwrap_or_default()),
            });
        }
        public
    }

    /// Appends `others`, which are looked for later.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Returns name and password for a request to `url`.
    pub(super) fn for_url(&self, url: &Url) -> Option<(&str, &str)> {
        let entry = self.0.iter().find(|entry| entry.machine.is_of(url))?;
        Some((&entry.login, &entry.password))
    }
}

impl Machine {
    /// Parses the word behind `machine`.
    fn parse(text: &str, format: CredentialsFormat) -> Option<Self> {
        if format == CredentialsFormat::Netrc {
            return Some(Self {
                scheme: None,
                host: text.to_ascii_lowercase(),
                port: None,
                path: String::new(),
            });
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at_checked(at)?,
            None => (rest, ""),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok()?)),
            _ => (authority, None),
        };
        Some(Self {
            scheme: Some(scheme.to_ascii_lowercase()),
            host: host.to_ascii_lowercase(),
            port,
            path: path.to_owned(),
        })
    }

    fn is_of(&self, url: &Url) -> bool {
        let has_path = url.path().strip_prefix(self.path.trim_end_matches('/'));
        url.host_str().is_some_and(|host| host.eq_ignore_ascii_case(&self.host))
            && self.scheme.as_deref().is_none_or(|scheme| scheme == url.scheme())
            && self.port.is_none_or(|port| Some(port) == url.port_or_known_default())
            && has_path.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Splits a netrc into words: blanks end a word, except within double quotes; a comment begins with `#` and ends with its
/// line; a macro (`macdef`) ends with an empty line.
fn words(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_macro = false;
    for line in text.lines() {
        let line = line.trim();
        if in_macro || line.starts_with('#') {
            in_macro &= !line.is_empty();
            continue;
        }
        let mut rest = line;
        while !rest.is_empty() && !rest.starts_with('#') {
            let (word, after) = first_word(rest);
            in_macro |= word == "macdef";
            found.push(word);
            rest = after.trim_start();
        }
    }
    found
}

/// Splits the first word off; within double quotes a backslash takes the next character as it is.
fn first_word(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        return (word.to_owned(), rest);
    };
    let (mut word, mut chars) = (String::new(), quoted.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (word, quoted.get(at + 1..).unwrap_or_default()),
            '\\' => word.extend(chars.next().map(|(_, c)| c)),
            c => word.push(c),
        }
    }
    (word, "")
}

/// Undoes the percent-encoding of a part of a URL.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let mut byte = [0];
        match after.get(..2) {
            Some(digits) if first == b'%' && hex::decode_to_slice(digits, &mut byte).is_ok() => {
                bytes.push(byte[0]);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns `url` without name and password, for messages; it need not be a valid URL.
pub fn shown(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}{host}{path}")
}

#[cfg(test)]
mod tests;
