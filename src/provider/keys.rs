//! The sources of a repository's certificates, and the rules for which of them count.

use std::path::PathBuf;

use super::files::read_key;
use crate::verify::{self, Keyring};

/// A function that downloads the content of a URL, or says in words why it cannot.
pub(super) type FetchKey<'a> = &'a dyn Fn(&str) -> Result<Vec<u8>, String>;

/// The reason why a key of a repository cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyProblem {
    /// The key would be downloaded, and no fingerprint says which certificate is right.
    #[error("it is not pinned: any server that answers there could sign anything{}", sent_text(.sent.as_deref()))]
    NotPinned {
        /// The fingerprints of the certificates that the server sent, with commas between them; `None` if it was not asked
        /// or did not answer.
        sent: Option<String>,
    },
    /// The distribution's keyring is not installed.
    #[error("there is no such keyring on this host")]
    NotOnHost,
    /// The key cannot be read or downloaded, or is not the pinned one.
    #[error("{0}")]
    Unusable(String),
}

/// One key of a provider's repository: at least one of `content`, `path` and `url`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProviderKey {
    /// Certificates embedded in the provider data.
    pub content: Option<Vec<u8>>,
    /// A keyring on the build host, used if it exists.
    pub path: Option<PathBuf>,
    /// URL of the certificates.
    pub url: Option<String>,
    /// The only fingerprints that count, in upper-case hexadecimal digits.
    pub fingerprints: Vec<String>,
    /// Fingerprints that the user trusts, and that count where none is pinned; in upper-case hexadecimal digits.
    pub trusted: Vec<String>,
}

/// Says which keys a server sent.
fn sent_text(sent: Option<&str>) -> String {
    sent.map_or_else(String::new, |sent| format!("; this one sent the key {sent}"))
}

impl ProviderKey {
    /// Returns the problem that shows before anything is downloaded, with the name of the key.
    pub(super) fn problem(&self) -> Option<(String, KeyProblem)> {
        if self.content.is_some() || self.path.as_ref().is_some_and(|path| path.exists()) {
            return None;
        }
        let Some(url) = &self.url else {
            return Some((self.missing(), KeyProblem::NotOnHost));
        };
        let is_unknown = self.fingerprints.is_empty() && self.trusted.is_empty();
        is_unknown.then(|| (url.clone(), KeyProblem::NotPinned { sent: None }))
    }

    /// Returns the name of the keyring that is not on the host.
    fn missing(&self) -> String {
        let path = self.path.as_ref();
        path.map(|path| path.display().to_string()).unwrap_or_default()
    }

    /// Reads or downloads the certificates.
    ///
    /// # Errors
    /// The name of the key, and the problem.
    pub(super) fn obtain(&self, fetch: FetchKey<'_>) -> Result<Vec<u8>, (String, KeyProblem)> {
        if let Some(content) = &self.content {
            return self
                .pinned(content.clone())
                .map_err(|reason| ("file".to_owned(), KeyProblem::Unusable(reason)));
        }
        if let Some(path) = self.path.as_ref().filter(|path| path.exists()) {
            let fail = |reason| (path.display().to_string(), KeyProblem::Unusable(reason));
            return read_key(path).and_then(|key| self.pinned(key)).map_err(fail);
        }
        let Some(url) = &self.url else {
            return Err((self.missing(), KeyProblem::NotOnHost));
        };
        if self.fingerprints.is_empty() {
            return self
                .trusted(url, fetch)
                .map_err(|sent| (url.clone(), KeyProblem::NotPinned { sent }));
        }
        let fail = |reason| (url.clone(), KeyProblem::Unusable(reason));
        fetch(url).and_then(|key| self.pinned(key)).map_err(fail)
    }

    /// Downloads the certificates, and returns those that the user trusts; otherwise the fingerprints of those that came.
    fn trusted(&self, url: &str, fetch: FetchKey<'_>) -> Result<Vec<u8>, Option<String>> {
        let key = fetch(url).map_err(|_| None)?;
        let found = Keyring::from_certificates(&[key.as_slice()])
            .map_err(|_| None)?
            .fingerprints();
        verify::select(&key, &self.trusted).map_err(|_| Some(found.join(", ")))
    }

    fn pinned(&self, key: Vec<u8>) -> Result<Vec<u8>, String> {
        if self.fingerprints.is_empty() {
            return Ok(key);
        }
        verify::select(&key, &self.fingerprints).map_err(|error| error.to_string())
    }
}

/// Reads or downloads the certificates of a template's `pkey`: `https://…`, `file:///…` or a path, each possibly with
/// `#FINGERPRINT` at its end, which pins it.
///
/// # Errors
/// The cause in words.
pub(super) fn of_template(key: &str, fetch: FetchKey<'_>) -> Result<Vec<u8>, String> {
    let (place, fingerprint) = match key.split_once('#') {
        Some((place, fingerprint)) => (place, Some(fingerprint)),
        None => (key, None),
    };
    let content = match place.strip_prefix("file://").unwrap_or(place) {
        path if path.starts_with('/') => read_key(path.as_ref()),
        url => {
            if fingerprint.is_none() && url.starts_with("http:") {
                tracing::warn!(
                    key,
                    "a key over plain http can be exchanged on its way; append #FINGERPRINT"
                );
            }
            fetch(url)
        }
    }?;
    match fingerprint {
        None => Ok(content),
        Some(fingerprint) => {
            verify::select(&content, &[fingerprint.to_ascii_uppercase()]).map_err(|error| error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::gpg::Gpg;

    #[test]
    fn only_pinned_keys_are_fetched_and_only_the_pinned_one_counts() {
        let (first, second) = (
            Gpg::with_key("first").export("first"),
            Gpg::with_key("second").export("second"),
        );
        let fingerprint = |key: &[u8]| Keyring::from_certificates(&[key]).unwrap().fingerprints().remove(0);
        let served = [first.clone(), second.clone()].concat();
        let fetch = |_: &str| Ok(served.clone());
        let mut key = ProviderKey {
            path: Some("/no/such/keyring".into()),
            url: Some("https://keys.example/k".into()),
            ..ProviderKey::default()
        };
        let (name, reason) = key.obtain(&fetch).unwrap_err();
        assert_eq!(name, "https://keys.example/k");
        let both = format!("{}, {}", fingerprint(&first), fingerprint(&second));
        assert!(
            matches!(&reason, KeyProblem::NotPinned { sent: Some(sent) } if *sent == both),
            "{reason}"
        );
        key.trusted = vec!["0".repeat(40), fingerprint(&first)];
        assert_eq!(fingerprint(&key.obtain(&fetch).unwrap()), fingerprint(&first));
        let refuse = |_: &str| Err("gone".to_owned());
        assert!(matches!(
            key.obtain(&refuse).unwrap_err().1,
            KeyProblem::NotPinned { sent: None }
        ));
        key.fingerprints = vec![fingerprint(&second)];
        let pinned = key.obtain(&fetch).unwrap();
        assert_eq!(fingerprint(&pinned), fingerprint(&second));
        assert_eq!(Keyring::from_certificates(&[pinned]).unwrap().fingerprints().len(), 1);
        key.fingerprints = vec!["0".repeat(40)];
        let (_, reason) = key.obtain(&fetch).unwrap_err();
        assert!(reason.to_string().contains(&fingerprint(&first)), "{reason}");
        key.url = None;
        assert!(matches!(key.obtain(&fetch).unwrap_err().1, KeyProblem::NotOnHost));

        let pin = format!("https://k.example/k#{}", fingerprint(&first).to_lowercase());
        assert_eq!(fingerprint(&of_template(&pin, &fetch).unwrap()), fingerprint(&first));
        assert!(of_template("https://k.example/k#00", &fetch).is_err());
        assert_eq!(of_template("https://k.example/k", &fetch).unwrap(), served);
    }
}
