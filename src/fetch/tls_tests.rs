//! Tries https against `openssl s_server` with a certificate authority made for the test.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use oic_testkit::hidden;

use super::testing::{Fault, Server, fetcher};
use super::*;

/// Runs openssl, which must succeed.
fn openssl(directory: &Path, arguments: &[&str]) {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("this test needs the package openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A TLS server for the files of a directory, which hold whole HTTP answers.
struct TlsServer {
    child: Child,
    port: u16,
}

impl TlsServer {
    /// Starts it with a certificate for 127.0.0.1, signed by `ca.pem` in `directory`.
    fn start(directory: &Path) -> Self {
        fs::write(
            directory.join("leaf.ext"),
            "subjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n",
        )
        .unwrap();
        let curve = "ec_paramgen_curve:P-256";
        let new_key = ["req", "-newkey", "ec", "-pkeyopt", curve, "-nodes", "-batch"];
        let ca = [
            "-x509", "-days", "2", "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.pem",
        ];
        openssl(directory, &[&new_key[..], &ca].concat());
        let leaf = ["-subj", "/CN=leaf", "-keyout", "leaf.key", "-out", "leaf.csr"];
        openssl(directory, &[&new_key[..], &leaf].concat());
        let sign = "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -days 2 -extfile leaf.ext -out leaf.pem";
        openssl(directory, &sign.split(' ').collect::<Vec<_>>());
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .unwrap()
            .port();
        let child = Command::new("openssl")
            .args(["s_server", "-quiet", "-HTTP", "-cert", "leaf.pem", "-key", "leaf.key"])
            .args(["-accept", &format!("127.0.0.1:{port}")])
            .current_dir(directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, port };
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "openssl s_server does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        server
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

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
    let tls = TlsServer::start(directory.path());
    let tls_url = |name: &str| format!("https://127.0.0.1:{}/{name}", tls.port);
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
