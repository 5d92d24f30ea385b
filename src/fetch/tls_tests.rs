//! Tries https against `openssl s_server` with a certificate authority made for the test.

use std::fs;
use std::path::Path;

use oic_testkit::hidden;
use oic_testkit::tls::{self, Authority, TlsServer};

use super::testing::{Fault, Server, fetcher, fetcher_with};
use super::*;
use crate::cancel::Cancel;

/// Not a test by itself: tries the URLs that `https_is_verified…` gives, with the roots of the environment.
#[test]
fn with_other_roots() {
    let Ok(cases) = std::env::var("OIC_TEST_CASES") else {
        return;
    };
    let fetcher = fetcher();
    for case in cases.lines() {
        let (url, expected) = case.split_once(' ').unwrap();
        let answer = match fetcher.get(url, 100, None) {
            Ok(Reply::Body { bytes, .. }) => String::from_utf8(bytes).unwrap(),
            Ok(Reply::NotModified) => "not modified".to_owned(),
            Err(error) => format!("{error}; {}", error.hint().unwrap_or_default()),
        };
        assert!(answer.contains(expected), "{url}: {answer}");
    }
}

/// Runs [`with_other_roots`] in a process of its own, because roots come from the environment.
fn check(roots: &Path, cases: &[(&str, &str)]) {
    let cases: Vec<_> = cases
        .iter()
        .map(|(url, expected)| format!("{url} {expected}"))
        .collect();
    let mut command = hidden::command("fetch::tls_tests::with_other_roots");
    command
        .env("OIC_TEST_CASES", cases.join("\n"))
        .env("SSL_CERT_FILE", roots)
        .env("SSL_CERT_DIR", "/nonexistent");
    hidden::run(&mut command);
}

#[test]
fn https_is_verified_and_never_redirected_to_http() {
    let directory = tempfile::tempdir().unwrap();
    let plain = Server::start();
    let plain_url = plain.page("/plain", "over http");
    let tls = TlsServer::start(&Authority::new(directory.path()), false);
    let tls_url = |name: &str| tls.url(name);
    let answer = |name: &str, text: String| fs::write(directory.path().join(name), text).unwrap();
    answer(
        "file",
        "HTTP/1.0 200 OK\r\nContent-Length: 8\r\n\r\nover tls".to_owned(),
    );
    answer("down", format!("HTTP/1.0 302 Found\r\nLocation: {plain_url}\r\n\r\n"));
    plain.page("/up", "");
    plain.always("/up", Fault::Redirect(tls_url("file")));
    check(
        &directory.path().join("ca.pem"),
        &[
            (&tls_url("file"), "over tls"),
            (&plain.url("/up"), "over tls"),
            (&tls_url("down"), "refusing a redirect from https"),
        ],
    );
    // Without any root, http works, and the error of https names what is missing.
    check(
        Path::new("/dev/null"),
        &[(&plain_url, "over http"), (&tls_url("file"), "ca-certificates")],
    );
}

/// Fetches `url` with what `configuration` says of certificates; gives the content, or the error with its hint.
fn answer(url: &str, configuration: &str, change: impl FnOnce(&mut FetchOptions)) -> String {
    let fetcher = fetcher_with(Cancel::default(), |options| {
        options.attempts = 1;
        options.network.certificates.add_text(configuration);
        change(options);
    });
    match fetcher.get(url, 100, None) {
        Ok(Reply::Body { bytes, .. }) => String::from_utf8(bytes).unwrap(),
        Ok(Reply::NotModified) => "not modified".to_owned(),
        Err(error) => format!("{error}; {}", error.hint().unwrap_or_default()),
    }
}

#[test]
fn a_client_shows_its_certificate_to_the_host_that_it_is_for() {
    let (directory, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let authority = Authority::new(directory.path());
    authority.sign("me", "clientAuth");
    let stranger = Authority::new(other.path());
    stranger.sign("me", "clientAuth");
    let server = TlsServer::start(&authority, true);
    fs::write(authority.path("file"), tls::answer(b"for friends")).unwrap();
    let url = server.url("file");
    let path = |name: &str| authority.path(name).display().to_string();
    let ca = format!("Acquire::https::127.0.0.1::CaInfo \"{}\";", path("ca.pem"));
    let mine = format!(
        "{ca} Acquire::https::127.0.0.1 {{ SslCert \"{}\"; SslKey \"{}\"; }};",
        path("me.pem"),
        path("me.key")
    );
    let none = |_: &mut FetchOptions| {};
    assert_eq!(answer(&url, &mine, none), "for friends");
    // A redirect from elsewhere gets the client for the host.
    let plain = Server::start();
    plain.page("/up", "");
    plain.always("/up", Fault::Redirect(url.clone()));
    assert_eq!(answer(&plain.url("/up"), &mine, none), "for friends");
    // One file may have both.
    let both = [
        fs::read(authority.path("me.key")).unwrap(),
        fs::read(authority.path("me.pem")).unwrap(),
    ]
    .concat();
    fs::write(authority.path("both.pem"), both).unwrap();
    let one_file = format!("{ca} Acquire::https::127.0.0.1::SslCert \"{}\";", path("both.pem"));
    assert_eq!(answer(&url, &one_file, none), "for friends");
    let strange = format!(
        "{ca} Acquire::https::127.0.0.1 {{ SslCert \"{0}.pem\"; SslKey \"{0}.key\"; }};",
        stranger.path("me").display()
    );
    for (configuration, expected) in [
        ("", "certificate"),
        (&*ca, "does not accept this client"),
        (&strange, "does not accept this client"),
        (&mine.replace("me.key", "gone.key"), "gone.key"),
        (&mine.replace("me.pem", "file"), "the client's certificate in"),
        (&mine.replace("ca.pem", "file"), "has no certificate"),
        (&mine.replace("127.0.0.1", "other.example"), "certificate"),
    ] {
        let said = answer(&url, configuration, none);
        assert!(said.contains(expected), "{configuration}\n{said}");
    }
}

#[test]
fn any_certificate_is_accepted_only_where_that_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new(directory.path());
    let server = TlsServer::start(&authority, false);
    fs::write(authority.path("file"), tls::answer(b"content")).unwrap();
    let said = answer(&server.url("file"), "", |_| {});
    assert!(said.contains("ca-certificates"), "{said}");
    let any = answer(&server.url("file"), "", |options| options.any_certificate = true);
    assert_eq!(any, "content");
}
