//! Which proxy a request goes through, by curl's rules (curl(1), "ENVIRONMENT").

use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;

use reqwest::Url;

use super::credentials::shown;

/// The port of an `http:` or SOCKS proxy whose URL has none, as curl has it.
const DEFAULT_PORT: u16 = 1080;
/// The schemes of proxies, besides `socks`, which stands for `socks4`.
const SCHEMES: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

/// Proxies for requests; by default none.
#[derive(Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Proxies {
    /// Proxy for `http:` requests: a URL, or host and port of an HTTP proxy.
    pub http: Option<String>,
    /// Proxy for `https:` requests.
    pub https: Option<String>,
    /// Hosts that are reached directly, in the form of the variable `no_proxy`.
    pub exceptions: Option<String>,
}

// A proxy's URL may hold a password.
impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies")
            .field("http", &self.http.as_deref().map(shown))
            .field("https", &self.https.as_deref().map(shown))
            .field("exceptions", &self.exceptions)
            .finish()
    }
}

impl Proxies {
    /// Reads the variables that curl, apt and many others read; `value` returns that of a variable. An empty variable
    /// counts as absent, and a name in small letters before the same in capitals.
    pub fn from_variables(value: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&str]| {
            let mut values = names.iter().filter_map(|name| value(name));
            values.find(|value| !value.is_empty())
        };
        // A CGI program gets HTTP_PROXY from a header of the request that it answers.
        let is_cgi = value("REQUEST_METHOD").is_some();
        let http = ["http_proxy", "HTTP_PROXY"];
        let http = first(if is_cgi { &http[..1] } else { &http });
        let all = || first(&["all_proxy", "ALL_PROXY"]);
        Self {
            http: http.or_else(all),
            https: first(&["https_proxy", "HTTPS_PROXY"]).or_else(all),
            exceptions: first(&["no_proxy", "NO_PROXY"]),
        }
    }

    /// Returns them as environment variables, under the names in small letters and in capitals that programs read.
    pub fn variables(&self) -> Vec<(OsString, OsString)> {
        let known = [
            ("http_proxy", &self.http),
            ("https_proxy", &self.https),
            ("no_proxy", &self.exceptions),
        ];
        let given = known
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_deref()?)));
        let both = given.flat_map(|(name, value)| [(name.to_owned(), value), (name.to_ascii_uppercase(), value)]);
        both.map(|(name, value)| (name.into(), value.into())).collect()
    }

    /// Parses the proxies.
    ///
    /// # Errors
    /// In words, if one of them is no URL of a known scheme.
    pub(super) fn routes(&self) -> Result<Routes, String> {
        let parsed = |text: &Option<String>| text.as_deref().map(parse).transpose();
        Ok(Routes {
            http: parsed(&self.http)?,
            https: parsed(&self.https)?,
            exceptions: self.exceptions.clone().unwrap_or_default(),
        })
    }
}

/// The parsed [`Proxies`].
#[derive(Clone)]
pub(super) struct Routes {
    http: Option<Url>,
    https: Option<Url>,
    exceptions: String,
}

impl Routes {
    /// Returns the proxy for a request to `url`; `None` if the request goes to its host directly.
    pub(super) fn proxy_for(&self, url: &Url) -> Option<Url> {
        let proxy = match url.scheme() {
            "https" => self.https.as_ref(),
            _ => self.http.as_ref(),
        };
        let host = url.host_str()?;
        proxy.filter(|_| !is_excepted(host, &self.exceptions)).cloned()
    }
}

/// Parses a proxy: a URL, or `host:port` of an HTTP proxy.
fn parse(text: &str) -> Result<Url, String> {
    let bad = |reason: &str| format!("{:?} is not a proxy: {reason}", shown(text));
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let scheme = scheme.to_ascii_lowercase();
    let scheme = if scheme == "socks" { "socks4" } else { &scheme };
    if !SCHEMES.contains(&scheme) {
        return Err(bad(
            "its scheme is none of http, https, socks4, socks4a, socks5 and socks5h",
        ));
    }
    let mut url = Url::parse(&format!("{scheme}://{rest}")).map_err(|error| bad(&error.to_string()))?;
    if url.host_str().is_none_or(str::is_empty) {
        return Err(bad("it has no host"));
    }
    let authority = rest.split('/').next().unwrap_or_default();
    let host_and_port = authority.rsplit('@').next().unwrap_or_default();
    let has_port = host_and_port.rsplit(']').next().is_some_and(|end| end.contains(':'));
    if !has_port && scheme != "https" {
        url.set_port(Some(DEFAULT_PORT)).map_err(|()| bad("it has no host"))?;
    }
    Ok(url)
}

/// Returns whether `host` is among `exceptions`: names, which stand for the names below them too (with or without a dot
/// or `*.` in front), addresses, and ranges of addresses such as `10.0.0.0/8`; or `*`, which stands for all.
fn is_excepted(host: &str, exceptions: &str) -> bool {
    let host = host.trim_matches(['[', ']']).trim_end_matches('.');
    let address: Option<IpAddr> = host.parse().ok();
    let mut entries = exceptions.split([',', ' ', '\t']).filter(|entry| !entry.is_empty());
    entries.any(|entry| match address {
        _ if entry == "*" => true,
        Some(address) => holds(entry, address),
        None => is_below(host, entry),
    })
}

/// Returns whether `entry` is a range that holds `address`, or the address itself.
fn holds(entry: &str, address: IpAddr) -> bool {
    let (start, bits) = match entry.split_once('/') {
        Some((start, bits)) => (start, bits.parse::<u32>().ok()),
        None => (entry, Some(u32::MAX)),
    };
    let start: Option<IpAddr> = start.trim_matches(['[', ']']).parse().ok();
    let (Some(start), Some(bits)) = (start, bits) else {
        return false;
    };
    match (start, address) {
        (IpAddr::V4(start), IpAddr::V4(address)) => {
            let differing = start.to_bits() ^ address.to_bits();
            differing.leading_zeros() >= bits.min(32)
        }
        (IpAddr::V6(start), IpAddr::V6(address)) => {
            let differing = start.to_bits() ^ address.to_bits();
            differing.leading_zeros() >= bits.min(128)
        }
        _ => false,
    }
}

/// Returns whether `host` is `domain` or a name below it.
fn is_below(host: &str, domain: &str) -> bool {
    let domain = domain.strip_prefix('*').unwrap_or(domain);
    let domain = domain
        .trim_start_matches('.')
        .trim_end_matches('.')
        .to_ascii_lowercase();
    let host = host.to_ascii_lowercase();
    let before = host.strip_suffix(&domain).filter(|_| !domain.is_empty());
    before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

#[cfg(test)]
mod tests;
