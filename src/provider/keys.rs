//! Where the certificates of a repository come from, and which of them count.

use std::path::PathBuf;

use super::files::read_key;
use crate::verify;

/// Downloads what is at a URL, or says in words why it cannot.
pub(super) type FetchKey<'a> = &'a dyn Fn(&str) -> Result<Vec<u8>, String>;

/// One key of a provider's repository: at least one of `content`, `path` and `url`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProviderKey {
    /// Certificates that came with the provider data.
    pub content: Option<Vec<u8>>,
    /// A keyring on the build host, if it is there.
    pub path: Option<PathBuf>,
    /// Where it can be fetched.
    pub url: Option<String>,
    /// Only certificates with these fingerprints count; upper-case hexadecimal digits.
    pub fingerprints: Vec<String>,
}

impl ProviderKey {
    /// The certificates.
    ///
    /// # Errors
    /// Name of the key and what is wrong, in words.
    pub(super) fn obtain(&self, fetch: FetchKey<'_>) -> Result<Vec<u8>, (String, String)> {
        if let Some(content) = &self.content {
            return self
                .pinned(content.clone())
                .map_err(|reason| ("file".to_owned(), reason));
        }
        if let Some(path) = self.path.as_ref().filter(|path| path.exists()) {
            let fail = |reason| (path.display().to_string(), reason);
            return read_key(path).and_then(|key| self.pinned(key)).map_err(fail);
        }
        let missing = || {
            self.path
                .as_ref()
                .map(|path| path.display().to_string())
                .unwrap_or_default()
        };
        let Some(url) = &self.url else {
            return Err((missing(), "there is no such keyring on this host".to_owned()));
        };
        let fail = |reason| (url.clone(), reason);
        if self.fingerprints.is_empty() {
            return Err(fail(
                "it is not pinned: whoever answers there could sign anything".to_owned(),
            ));
        }
        fetch(url).and_then(|key| self.pinned(key)).map_err(fail)
    }

    fn pinned(&self, key: Vec<u8>) -> Result<Vec<u8>, String> {
        if self.fingerprints.is_empty() {
            return Ok(key);
        }
        verify::select(&key, &self.fingerprints).map_err(|error| error.to_string())
    }
}

/// The certificates at a template's `pkey`: `https://…`, `file:///…` or a path, each possibly
/// with `#FINGERPRINT` behind it, which pins it.
///
/// # Errors
/// In words.
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
    use crate::verify::Keyring;
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
        assert!(reason.contains("not pinned"), "{reason}");
        key.fingerprints = vec![fingerprint(&second)];
        let pinned = key.obtain(&fetch).unwrap();
        assert_eq!(fingerprint(&pinned), fingerprint(&second));
        assert_eq!(Keyring::from_certificates(&[pinned]).unwrap().fingerprints().len(), 1);
        key.fingerprints = vec!["0".repeat(40)];
        assert!(key.obtain(&fetch).unwrap_err().1.contains(&fingerprint(&first)));
        key.url = None;
        assert!(key.obtain(&fetch).unwrap_err().1.contains("no such keyring"));

        let pin = format!("https://k.example/k#{}", fingerprint(&first).to_lowercase());
        assert_eq!(fingerprint(&of_template(&pin, &fetch).unwrap()), fingerprint(&first));
        assert!(of_template("https://k.example/k#00", &fetch).is_err());
        assert_eq!(of_template("https://k.example/k", &fetch).unwrap(), served);
    }
}
