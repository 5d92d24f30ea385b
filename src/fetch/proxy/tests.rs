//! The rules are curl's: where it is installed, it is asked about each row of the tables.

use std::process::{Command, Stdio};

use super::*;
use crate::cancel::Cancel;
use crate::fetch::testing::{Server, fetcher_with};
use crate::fetch::{Network, Reply, Transport as _};

/// Gives the proxy that curl takes from the environment `variables` for `url`; `None` if there is no curl.
fn curl(variables: &[(&str, &str)], url: &str) -> Option<Option<String>> {
    let output = Command::new("curl")
        .args(["-sv", "-o", "/dev/null", "--max-time", "0.2", url])
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let used = said
        .lines()
        .filter_map(|line| line.strip_prefix("* Uses proxy env variable "));
    let mut used = used.filter_map(|line| line.split_once(" == "));
    let proxy = used.find(|(name, _)| !name.eq_ignore_ascii_case("no_proxy"));
    Some(proxy.map(|(_, value)| value.trim_matches('\'').to_owned()))
}

/// Gives the proxy that oic takes, as a URL without the slash at its end.
fn ours(variables: &[(&str, &str)], url: &str) -> Option<String> {
    let value = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let routes = Proxies::from_variables(value).routes().unwrap();
    let proxy = routes.proxy_for(&Url::parse(url).unwrap())?;
    Some(proxy.as_str().trim_end_matches('/').to_owned())
}

/// Where oic and curl differ by intent.
#[derive(PartialEq)]
enum Curl {
    Agrees,
    Differs,
}
use Curl::{Agrees, Differs};

const P: &str = "http://127.0.0.1:9";
const Q: &str = "http://127.0.0.1:7";

#[test]
fn variables_choose_the_proxy_as_with_curl() {
    type Row = (
        &'static [(&'static str, &'static str)],
        &'static str,
        Option<&'static str>,
        Curl,
    );
    let (http, https) = ("http://mirror.invalid/", "https://mirror.invalid/");
    let table: [Row; 16] = [
        (&[], http, None, Agrees),
        (&[("http_proxy", P)], http, Some(P), Agrees),
        (&[("http_proxy", P)], https, None, Agrees),
        // curl takes this one in small letters only, because of CGI; apt and others take it.
        (&[("HTTP_PROXY", P)], http, Some(P), Differs),
        (&[("HTTP_PROXY", P), ("REQUEST_METHOD", "GET")], http, None, Agrees),
        (&[("https_proxy", P)], https, Some(P), Agrees),
        (&[("https_proxy", P)], http, None, Agrees),
        (&[("HTTPS_PROXY", P)], https, Some(P), Agrees),
        (&[("https_proxy", P), ("HTTPS_PROXY", Q)], https, Some(P), Agrees),
        (&[("all_proxy", P)], http, Some(P), Agrees),
        (&[("all_proxy", P)], https, Some(P), Agrees),
        (&[("ALL_PROXY", P)], https, Some(P), Agrees),
        (&[("all_proxy", P), ("https_proxy", Q)], https, Some(Q), Agrees),
        (
            &[("all_proxy", "socks5h://127.0.0.1:9")],
            https,
            Some("socks5h://127.0.0.1:9"),
            Agrees,
        ),
        (&[("all_proxy", P), ("NO_PROXY", "mirror.invalid")], https, None, Agrees),
        (&[("https_proxy", ""), ("all_proxy", P)], https, Some(P), Agrees),
    ];
    for (variables, url, expected, with_curl) in table {
        assert_eq!(ours(variables, url).as_deref(), expected, "{variables:?} {url}");
        if let (Agrees, Some(curl)) = (with_curl, curl(variables, url)) {
            assert_eq!(curl.as_deref(), expected, "curl: {variables:?} {url}");
        }
    }
}

#[test]
fn exceptions_are_those_of_curl() {
    let table: [(&str, &str, bool, Curl); 29] = [
        ("*", "a.example", true, Agrees),
        ("example", "a.example", true, Agrees),
        ("a.example", "a.example", true, Agrees),
        ("A.Example", "a.eXample", true, Agrees),
        (".a.example", "a.example", true, Agrees),
        (".a.example", "b.a.example", true, Agrees),
        ("a.example", "b.a.example", true, Agrees),
        ("a.example", "ba.example", false, Agrees),
        ("b.a.example", "a.example", false, Agrees),
        ("a.example.", "a.example", true, Agrees),
        ("x, a.example", "a.example", true, Agrees),
        ("x a.example", "a.example", true, Agrees),
        ("x,,a.example,", "a.example", true, Agrees),
        ("", "a.example", false, Agrees),
        (",", "a.example", false, Agrees),
        ("10.1.2.3", "10.1.2.3", true, Agrees),
        ("10.1.2.4", "10.1.2.3", false, Agrees),
        ("10.0.0.0/8", "10.1.2.3", true, Agrees),
        ("11.0.0.0/8", "10.1.2.3", false, Agrees),
        ("10.1.2.0/25", "10.1.2.127", true, Agrees),
        ("10.1.2.0/25", "10.1.2.128", false, Agrees),
        ("10.1.2.3/32", "10.1.2.3", true, Agrees),
        ("10.1.2.3", "x10.1.2.3.example", false, Agrees),
        ("2001:db8::1", "[2001:db8::1]", true, Agrees),
        ("2001:db9::/32", "[2001:db8:1::1]", false, Agrees),
        // Not curl, but wget, Python and Go take a star at the start of a domain, and one within the list.
        ("*.a.example", "b.a.example", true, Differs),
        ("x,*", "a.example", true, Differs),
        // curl 7.88 compares these as texts; later versions as ranges.
        ("[2001:db8::1]", "[2001:db8::1]", true, Differs),
        ("2001:db8::/32", "[2001:db8:1::1]", true, Differs),
    ];
    for (exceptions, host, excepted, with_curl) in table {
        let variables = [("http_proxy", P), ("no_proxy", exceptions)];
        let url = format!("http://{host}/");
        assert_eq!(ours(&variables, &url).is_none(), excepted, "{exceptions:?} {host}");
        if let (Agrees, Some(curl)) = (with_curl, curl(&variables, &url)) {
            assert_eq!(curl.is_none(), excepted, "curl: {exceptions:?} {host}: {curl:?}");
        }
    }
}

#[test]
fn proxies_are_urls_or_host_and_port() {
    for (text, url) in [
        ("proxy.example:3128", "http://proxy.example:3128/"),
        ("proxy.example", "http://proxy.example:1080/"),
        ("http://proxy.example", "http://proxy.example:1080/"),
        ("http://[2001:db8::1]", "http://[2001:db8::1]:1080/"),
        ("HTTPS://proxy.example", "https://proxy.example/"),
        ("socks://proxy.example", "socks4://proxy.example:1080"),
        ("socks5h://u:p@proxy.example:9", "socks5h://u:p@proxy.example:9"),
    ] {
        assert_eq!(parse(text).unwrap().as_str(), url, "{text}");
    }
    for text in ["http://", "ftp://proxy.example", "http://u:secret@:1"] {
        let reason = parse(text).unwrap_err();
        assert!(
            reason.contains("is not a proxy") && !reason.contains("secret"),
            "{reason}"
        );
    }
    let proxies = Proxies {
        http: Some("http://user:secret@proxy.example".to_owned()),
        ..Proxies::default()
    };
    let shown = format!("{proxies:?}");
    assert!(shown.contains("proxy.example") && !shown.contains("secret"), "{shown}");
}

#[test]
fn https_goes_through_the_tunnel_of_a_proxy() {
    let proxy = Server::start();
    let proxied = fetcher_with(Cancel::default(), |options| {
        options.attempts = 1;
        options.network.proxies.https = Some(proxy.url("").replace("http://", "http://user:secret@"));
    });
    let error = proxied.get("https://mirror.invalid/a", 100, None).unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
    let served = proxy.served();
    assert_eq!(served[0].path, "mirror.invalid:443");
    // base64 of user:secret
    assert_eq!(served[0].headers["proxy-authorization"], "Basic dXNlcjpzZWNyZXQ=");
}

/// A SOCKS 5 server (RFC 1928) without authentication that connects every name to one port of this host; gives its
/// address, and the names that it was asked for.
fn socks5(to: std::net::SocketAddr) -> (String, std::sync::mpsc::Receiver<String>) {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, names) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut client = listener.accept().unwrap().0;
        let mut greeting = [0; 2];
        client.read_exact(&mut greeting).unwrap();
        let mut methods = vec![0; greeting[1].into()];
        client.read_exact(&mut methods).unwrap();
        client.write_all(&[5, 0]).unwrap();
        let mut head = [0; 5];
        client.read_exact(&mut head).unwrap();
        assert_eq!(head[..4], [5, 1, 0, 3], "connect, by name");
        let mut name = vec![0; usize::from(head[4]) + 2];
        client.read_exact(&mut name).unwrap();
        name.truncate(head[4].into());
        sender.send(String::from_utf8(name).unwrap()).unwrap();
        client.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 0]).unwrap();
        let mut server = std::net::TcpStream::connect(to).unwrap();
        let (mut from, mut back) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut back, &mut client));
        let _ = std::io::copy(&mut from, &mut server);
    });
    (format!("socks5h://{address}"), names)
}

#[test]
fn socks_proxies_are_used() {
    let server = Server::start();
    let url = server.page("/a", "through SOCKS");
    let address = url.strip_prefix("http://").unwrap().strip_suffix("/a").unwrap();
    let (proxy, names) = socks5(address.parse().unwrap());
    let proxied = fetcher_with(Cancel::default(), |options| {
        options.network = Network {
            proxies: Proxies {
                http: Some(proxy),
                ..Proxies::default()
            },
            ..Network::default()
        };
    });
    let Reply::Body { bytes, .. } = proxied.get("http://mirror.invalid/a", 100, None).unwrap() else {
        panic!("a body was expected");
    };
    assert_eq!(
        (bytes.as_slice(), names.recv().unwrap().as_str()),
        (&b"through SOCKS"[..], "mirror.invalid")
    );
}

#[test]
fn variables_say_the_same_again() {
    let proxies = Proxies {
        http: Some("http://proxy:3128".to_owned()),
        https: None,
        exceptions: Some("localhost".to_owned()),
    };
    let variables = proxies.variables();
    assert_eq!(variables.len(), 4);
    let value = |name: &str| {
        let found = variables.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.to_str().unwrap().to_owned())
    };
    assert_eq!(Proxies::from_variables(value), proxies);
}
