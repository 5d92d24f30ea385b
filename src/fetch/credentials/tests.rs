use super::*;
use crate::cancel::Cancel;
use crate::fetch::testing::{Fault, Server, fetcher_with};
use crate::fetch::{FetchError, Fetcher, Transport as _};

fn of(text: &str, format: CredentialsFormat) -> Credentials {
    let mut credentials = Credentials::default();
    credentials.add_file(text, format);
    credentials
}

fn asked(credentials: &Credentials, url: &str) -> Option<String> {
    let (login, password) = credentials.for_url(&Url::parse(url).unwrap())?;
    Some(format!("{login}:{password}"))
}

/// The rows of apt_auth.conf(5), and some besides.
#[test]
fn a_machine_of_apt_has_scheme_port_and_path() {
    let table = [
        ("example.org", "https://example.org/debian", true),
        ("example.org", "https://example.org:8443/debian", true),
        ("example.org", "http://example.org/debian", false),
        ("http://example.org", "http://example.org/debian", true),
        ("http://example.org", "https://example.org/debian", false),
        ("example.org:8443", "https://example.org:8443/", true),
        ("example.org:8443", "https://example.org/", false),
        ("example.org:443", "https://example.org/", true),
        ("example.org/deb", "https://example.org/deb/dists", true),
        ("example.org/deb/", "https://example.org/deb/dists", true),
        ("example.org/deb", "https://example.org/debian", false),
        ("example.org/deb", "https://example.org/", false),
        ("Example.org", "https://eXample.org/", true),
        ("example.org", "https://www.example.org/", false),
        ("example.org", "https://example.org.evil.example/", false),
        ("[2001:db8::1]:8443", "https://[2001:db8::1]:8443/", true),
        ("[2001:db8::1]", "https://[2001:db8::1]/", true),
    ];
    for (machine, url, expected) in table {
        let file = of(
            &format!("machine {machine} login u password p"),
            CredentialsFormat::AptAuth,
        );
        assert_eq!(asked(&file, url).is_some(), expected, "{machine} {url}");
    }
}

#[test]
fn files_are_read_as_curl_reads_them() {
    let text = "# machine c.example login x password x\n\
                machine a.example\n\tlogin one\n\tpassword two # machine d.example\n\
                macdef init\nmachine e.example login x password x\n\n\
                machine b.example login \"a \\\"b\" password \"c d\" account z\n\
                default login anonymous password me\nmachine f.example login only\n";
    let file = of(text, CredentialsFormat::Netrc);
    assert_eq!(asked(&file, "http://a.example:8080/x").as_deref(), Some("one:two"));
    assert_eq!(asked(&file, "https://b.example/").as_deref(), Some("a \"b:c d"));
    for host in ["c", "d", "e", "f", "g"] {
        assert_eq!(asked(&file, &format!("https://{host}.example/")), None, "{host}");
    }
    let two = of(
        "machine a login 1 password 1 machine a login 2 password 2",
        CredentialsFormat::Netrc,
    );
    assert_eq!(asked(&two, "https://a/").as_deref(), Some("1:1"), "the first counts");
    let shown = format!("{file:?}");
    assert!(shown.contains("a.example") && !shown.contains("two"), "{shown}");
}

#[test]
fn urls_lose_their_credentials() {
    let mut credentials = Credentials::default();
    let url = credentials.take_from("https://me%40work:p%2F@mirror.example/debian");
    assert_eq!(url, "https://mirror.example/debian");
    assert_eq!(
        asked(&credentials, "https://mirror.example/debian/dists/x").as_deref(),
        Some("me@work:p/")
    );
    assert_eq!(asked(&credentials, "https://mirror.example/other"), None);
    assert_eq!(asked(&credentials, "http://mirror.example/debian"), None);
    for (url, expected) in [
        ("https://mirror.example/a@b", "https://mirror.example/a@b"),
        ("https://u:p@q@mirror.example/", "https://mirror.example/"),
        ("u:p@mirror.example", "mirror.example"),
        ("https://u:p@mirror.example:99999/x", "https://mirror.example:99999/x"),
    ] {
        assert_eq!(shown(url), expected);
    }
}

fn with(credentials: Credentials) -> Fetcher {
    fetcher_with(Cancel::default(), |options| options.network.credentials = credentials)
}

#[test]
fn they_go_to_their_server_and_not_along_with_a_redirect() {
    let (own, other) = (Server::start(), Server::start());
    let url = own.page("/a", "content");
    own.page("/away", "");
    own.always("/away", Fault::Redirect(other.page("/b", "content")));
    let machine = own.url("");
    let fetcher = with(of(
        &format!("machine {machine} login u password p"),
        CredentialsFormat::AptAuth,
    ));
    fetcher.get(&url, 100, None).unwrap();
    fetcher.get(&own.url("/away"), 100, None).unwrap();
    fetcher.get(&other.url("/b"), 100, None).unwrap();
    assert!(
        own.served()
            .iter()
            .all(|served| served.headers["authorization"] == "Basic dTpw")
    );
    assert_eq!(other.served().len(), 2);
    assert!(
        other
            .served()
            .iter()
            .all(|served| !served.headers.contains_key("authorization"))
    );
}

#[test]
fn a_refusal_says_where_they_belong() {
    let server = Server::start();
    server.page("/a", "");
    server.always("/a", Fault::Status(401, String::new()));
    let error = with(Credentials::default())
        .get(&server.url("/a"), 100, None)
        .unwrap_err();
    assert!(matches!(error, FetchError::Status { status: 401, .. }), "{error}");
    let hint = error.hint().unwrap();
    assert!(hint.contains("not in it"), "{hint}");
}
