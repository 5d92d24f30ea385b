//! Certificates for https, host by host: authorities of one's own, and certificates of the client, by the names of
//! apt.conf(5): `Acquire::https::{host}::CaInfo`, `SslCert` and `SslKey`, or without a host for all.
//!
//! Invariant: a certificate of the client is offered to the host that it is for and to no other.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use reqwest::{Certificate, ClientBuilder, Identity, Url};
use serde::{Deserialize, Serialize};

use crate::durable;

/// The largest file with certificates, in bytes.
const LIMIT_BYTES: u64 = 4 << 20;

/// The files of certificates, in the order in which they were named: a later one for the same host and purpose counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificates(Vec<Entry>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// In small letters; `None` for all hosts.
    host: Option<String>,
    purpose: Purpose,
    file: PathBuf,
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Purpose {
    Authorities,
    Certificate,
    Key,
}

/// The files for one host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct HostFiles {
    /// The authorities that may sign the server's certificate, instead of those of the build host.
    authorities: Option<PathBuf>,
    /// The client's certificate, and those between it and its authority.
    certificate: Option<PathBuf>,
    /// The private key of the certificate, if that is in another file.
    key: Option<PathBuf>,
}

impl Certificates {
    /// Adds what a text in the form of apt.conf(5) says. Everything else in it is passed over.
    pub fn add_text(&mut self, text: &str) {
        let (mut scopes, mut words) = (Vec::new(), Vec::new());
        for token in tokens(text) {
            match token {
                Token::Word(word) => words.push(word),
                Token::Open => scopes.push(std::mem::take(&mut words).join("::")),
                Token::Close => {
                    scopes.pop();
                    words.clear();
                }
                Token::End => {
                    if let [name, value] = &words[..] {
                        let whole: Vec<&str> = scopes.iter().chain([name]).map(String::as_str).collect();
                        self.set(&whole.join("::"), value);
                    }
                    words.clear();
                }
            }
        }
    }

    fn set(&mut self, name: &str, value: &str) {
        let name = name.to_ascii_lowercase();
        let parts: Vec<&str> = name.split("::").collect();
        let (host, option) = match parts[..] {
            ["acquire", "https", option] => (None, option),
            ["acquire", "https", host, option] => (Some(host.to_owned()), option),
            _ => return,
        };
        let purpose = match option {
            "cainfo" => Purpose::Authorities,
            "sslcert" => Purpose::Certificate,
            "sslkey" => Purpose::Key,
            _ => return,
        };
        if !value.is_empty() {
            let file = value.into();
            self.0.push(Entry { host, purpose, file });
        }
    }

    /// Returns the files for requests to `url`: those of its host, and where it has none those of all hosts.
    pub(super) fn for_url(&self, url: &Url) -> HostFiles {
        let host = url.host_str().map(str::to_ascii_lowercase);
        let Some(host) = host.filter(|_| url.scheme() == "https") else {
            return HostFiles::default();
        };
        let find = |purpose: Purpose| {
            let last = |host: Option<&str>| {
                let mut entries = self.0.iter().rev();
                entries.find(|entry| entry.purpose == purpose && entry.host.as_deref() == host)
            };
            last(Some(&host)).or_else(|| last(None)).map(|entry| entry.file.clone())
        };
        HostFiles {
            authorities: find(Purpose::Authorities),
            certificate: find(Purpose::Certificate),
            key: find(Purpose::Key),
        }
    }
}

impl HostFiles {
    /// Gives a client the certificates.
    ///
    /// # Errors
    /// In words, if a file cannot be read or holds something else.
    pub(super) fn apply(&self, mut builder: ClientBuilder) -> Result<ClientBuilder, String> {
        if let Some(path) = &self.authorities {
            let bad = |reason: String| format!("the certificate authorities in {}: {reason}", path.display());
            let found = Certificate::from_pem_bundle(&read(path).map_err(bad)?);
            let found = found.map_err(|error| bad(error.to_string()))?;
            if found.is_empty() {
                return Err(bad("the file has no certificate (PEM)".to_owned()));
            }
            builder = builder.tls_certs_only(found);
        }
        if let Some(path) = &self.certificate {
            let bad = |reason: String| format!("the client's certificate in {}: {reason}", path.display());
            let mut pem = read(path).map_err(bad)?;
            if let Some(key) = &self.key {
                let bad = |reason: String| format!("the client's key in {}: {reason}", key.display());
                pem.push(b'\n');
                pem.extend(read(key).map_err(bad)?);
            }
            let identity = Identity::from_pem(&pem);
            builder = builder.identity(identity.map_err(|error| bad(error.to_string()))?);
        }
        Ok(builder)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let read = |file: File| durable::read_at_most(file, LIMIT_BYTES);
    let bytes: io::Result<Vec<u8>> = durable::open_regular(path).and_then(read);
    bytes.map_err(|error| error.to_string())
}

/// A part of a text in the form of apt.conf(5).
#[derive(Debug, PartialEq, Eq)]
enum Token {
    /// A name, or a value with or without quotes.
    Word(String),
    Open,
    Close,
    End,
}

/// Splits a text into its parts, without comments: `//` and `#` to the end of the line, `/*` to `*/`.
fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, after) = match first {
            '{' => (Some(Token::Open), rest.get(1..)),
            '}' => (Some(Token::Close), rest.get(1..)),
            ';' => (Some(Token::End), rest.get(1..)),
            '#' => (None, rest.split_once('\n').map(|(_, after)| after)),
            '/' if rest.starts_with("//") => (None, rest.split_once('\n').map(|(_, after)| after)),
            '/' if rest.starts_with("/*") => (None, rest.split_once("*/").map(|(_, after)| after)),
            '"' => {
                let (value, after) = rest.get(1..).unwrap_or_default().split_once('"').unwrap_or_default();
                (Some(Token::Word(value.to_owned())), Some(after))
            }
            _ => {
                let is_end = |c: char| c.is_whitespace() || matches!(c, '{' | '}' | ';' | '"');
                let (word, after) = rest.split_at(rest.find(is_end).unwrap_or(rest.len()));
                (Some(Token::Word(word.to_owned())), Some(after))
            }
        };
        found.extend(token);
        rest = after.unwrap_or_default().trim_start();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(text: &str, url: &str) -> [Option<String>; 3] {
        let mut certificates = Certificates::default();
        certificates.add_text(text);
        let found = certificates.for_url(&Url::parse(url).unwrap());
        [found.authorities, found.certificate, found.key].map(|file| Some(file?.display().to_string()))
    }

    #[test]
    fn both_forms_of_apt_are_read() {
        let expected = ["/ca", "/cert", "/key"].map(|file| Some(file.to_owned()));
        let flat = "Acquire::https::a.example::CaInfo \"/ca\"; // one\n# two\n\
                    Acquire::https::A.example::SslCert \"/cert\";\nacquire::HTTPS::a.example::sslkey /key;\n";
        let nested = "APT { x \"y\"; }\nAcquire { Retries 3; https /* all */ { Verify-Peer true;\n\
                      a.example { CaInfo \"/ca\"; SslCert \"/cert\"; SslKey \"/key\"; }; }; };";
        for text in [flat, nested] {
            assert_eq!(files(text, "https://a.example/x"), expected, "{text}");
            for other in ["https://b.example/", "http://a.example/", "https://sub.a.example/"] {
                assert_eq!(files(text, other), [None, None, None], "{other}");
            }
        }
    }

    #[test]
    fn a_host_counts_before_all_and_the_later_before_the_earlier() {
        let text = "Acquire::https::CaInfo \"/all\"; Acquire::https::a.example::CaInfo \"/old\";\n\
                    Acquire::https::a.example::CaInfo \"/new\"; Acquire::https::SslCert \"/mine\";";
        let some = |file: &str| Some(file.to_owned());
        assert_eq!(files(text, "https://a.example/"), [some("/new"), some("/mine"), None]);
        assert_eq!(files(text, "https://b.example/"), [some("/all"), some("/mine"), None]);
    }

    #[test]
    fn what_is_malformed_is_passed_over() {
        for text in [
            "",
            "}",
            "};;{",
            "\"",
            "/*",
            "a { b { c",
            "Acquire::https::a::b::CaInfo \"/x\";",
            "é \"ü\"; #",
            "//",
        ] {
            assert_eq!(files(text, "https://a.example/"), [None, None, None], "{text}");
        }
    }
}
