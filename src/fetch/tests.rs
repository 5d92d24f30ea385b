use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::testing::{Fault, Server, bytes, fetcher, fetcher_with};
use super::*;
use crate::cancel::Cancel;
use crate::package::Sha256;

const MIB: usize = 1024 * 1024;

/// Downloads `url`, which should have the content `expected`; returns the file and the received bytes.
fn download(fetcher: &Fetcher, directory: &Path, url: &str, expected: &[u8]) -> Result<(Vec<u8>, u64), FetchError> {
    let checksum = Sha256::of(expected).into();
    let partial = Partial::lock(directory, checksum, &[])?;
    let wanted = Download {
        url,
        size_bytes: expected.len() as u64,
        checksum,
    };
    let received_bytes = fetcher.download(&wanted, &partial, &|_| {}, &[])?;
    Ok((fs::read(partial.path()).unwrap(), received_bytes))
}

fn names(directory: &Path) -> Vec<String> {
    fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn metadata_is_asked_for_conditionally() {
    let server = Server::start();
    let url = server.page("/InRelease", "signed");
    let fetcher = fetcher();
    let Reply::Body { bytes, validators } = fetcher.get(&url, 100, None).unwrap() else {
        panic!("a body was expected");
    };
    assert_eq!(bytes, b"signed");
    assert_eq!(validators.etag.as_deref(), Some("\"tag of /InRelease\""));
    let again = fetcher.get(&url, 100, Some(&validators)).unwrap();
    assert!(matches!(again, Reply::NotModified));
    let sent = &server.served()[1].headers;
    assert_eq!(sent["if-modified-since"], "Sat, 01 Jan 2022 00:00:00 GMT");
    assert!(sent["user-agent"].starts_with("oic/"));
}

#[test]
fn metadata_is_limited_with_and_without_an_announced_length() {
    let server = Server::start();
    let url = server.page("/Packages", vec![0; 5000]);
    let refused = |result| matches!(result, Err(FetchError::TooLarge { limit_bytes: 4999, .. }));
    assert!(refused(fetcher().get(&url, 4999, None)));
    server.always("/Packages", Fault::Instead(vec![0; 5000]));
    assert!(refused(fetcher().get(&url, 4999, None)));
    assert!(fetcher().get(&url, 5000, None).is_ok());
}

#[test]
fn a_server_that_is_busy_is_asked_again_and_a_missing_file_is_not() {
    let server = Server::start();
    let url = server.page("/a", "content");
    let busy = |status: u16| Fault::Status(status, "Retry-After: 0\r\n".to_owned());
    server.faults("/a", [busy(503), busy(429)]);
    assert!(fetcher().get(&url, 100, None).is_ok());
    assert_eq!(server.served().len(), 3);
    server.faults("/a", [busy(500), busy(502), busy(504)]);
    let error = fetcher().get(&url, 100, None).unwrap_err();
    assert!(matches!(error, FetchError::Status { status: 504, .. }), "{error}");
    assert_eq!(error.hint().unwrap().means(), [crate::hint::Means::Mirror]);
    assert_eq!(server.served().len(), 6);
    let error = fetcher().get(&server.url("/absent"), 100, None).unwrap_err();
    assert!(matches!(error, FetchError::NotFound { .. }), "{error}");
    server.faults("/a", [busy(403)]);
    let error = fetcher().get(&url, 100, None).unwrap_err();
    assert!(matches!(error, FetchError::Status { status: 403, .. }), "{error}");
    assert_eq!(server.served().len(), 8);
}

#[test]
fn the_time_that_a_server_names_is_waited() {
    let server = Server::start();
    let url = server.page("/a", "content");
    server.faults("/a", [Fault::Status(503, "Retry-After: 1\r\n".to_owned())]);
    let start = Instant::now();
    assert!(fetcher().get(&url, 100, None).is_ok());
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[test]
fn a_cut_download_continues_where_it_stopped() {
    let (server, directory) = (Server::start(), tempfile::tempdir().unwrap());
    let content = bytes(3 * MIB, 1);
    let url = server.page("/a.deb", content.clone());
    server.faults("/a.deb", [Fault::CutAfter(MIB), Fault::CutAfter(MIB / 2)]);
    let (file, received_bytes) = download(&fetcher(), directory.path(), &url, &content).unwrap();
    assert_eq!(file, content);
    assert_eq!(received_bytes, content.len() as u64);
    let starts: Vec<_> = server.served().iter().map(|served| served.range_start).collect();
    assert_eq!(starts, [None, Some(MIB as u64), Some(3 * MIB as u64 / 2)]);
    assert_eq!(
        server.served().iter().map(|served| served.body_bytes).sum::<u64>(),
        content.len() as u64
    );
}

#[test]
fn an_interrupted_download_continues_in_the_next_run() {
    let (server, directory) = (Server::start(), tempfile::tempdir().unwrap());
    let content = bytes(3 * MIB, 2);
    let url = server.page("/a.deb", content.clone());
    server.faults("/a.deb", [Fault::CutAfter(2 * MIB)]);
    let once = || fetcher_with(Cancel::default(), |options| options.attempts = 1);
    let error = download(&once(), directory.path(), &url, &content).unwrap_err();
    assert!(error.to_string().contains("end of file before"), "{error}");
    assert_eq!(names(directory.path()).len(), 1);
    let (file, received_bytes) = download(&once(), directory.path(), &url, &content).unwrap();
    assert_eq!((file, received_bytes), (content, MIB as u64));
    assert_eq!(server.served()[1].range_start, Some(2 * MIB as u64));
}

#[test]
fn a_leftover_of_something_else_is_started_over_once() {
    let (server, directory) = (Server::start(), tempfile::tempdir().unwrap());
    let content = bytes(200_000, 3);
    let url = server.page("/a.deb", content.clone());
    let leftover = Partial::path_in(directory.path(), Sha256::of(&content).into());
    let once = fetcher_with(Cancel::default(), |options| options.attempts = 1);
    // Short, just complete, too long; then servers that cannot continue.
    for (size, fault) in [
        (1000, None),
        (200_000, None),
        (200_001, None),
        (1000, Some(Fault::NoRanges)),
    ] {
        fs::write(&leftover, vec![7; size]).unwrap();
        server.faults("/a.deb", fault);
        let (file, _) = download(&once, directory.path(), &url, &content).unwrap();
        assert!(file == content, "leftover of {size} bytes");
    }
    for fault in [Fault::WrongRange, Fault::Status(416, String::new())] {
        fs::write(&leftover, &content[..1000]).unwrap();
        server.faults("/a.deb", [fault]);
        let (file, _) = download(&fetcher(), directory.path(), &url, &content).unwrap();
        assert!(file == content);
    }
}

#[test]
fn a_flipped_byte_is_refused_after_every_attempt() {
    let (server, directory) = (Server::start(), tempfile::tempdir().unwrap());
    let content = bytes(2 * MIB, 4);
    let mut flipped = content.clone();
    flipped[MIB] ^= 1;
    let url = server.page("/a.deb", flipped);
    let error = download(&fetcher(), directory.path(), &url, &content).unwrap_err();
    assert!(matches!(&error, FetchError::WrongDigest { expected, .. } if **expected == Sha256::of(&content).into()));
    assert_eq!(server.served().len(), 3);
    assert!(names(directory.path()).is_empty());
}

#[test]
fn a_wrong_size_is_refused_and_never_written() {
    let (server, directory) = (Server::start(), tempfile::tempdir().unwrap());
    let content = bytes(10_000, 5);
    let url = server.page("/a.deb", bytes(20_000, 5));
    let error = download(&fetcher(), directory.path(), &url, &content).unwrap_err();
    assert!(
        matches!(
            error,
            FetchError::WrongSize {
                actual_bytes: 20_000,
                ..
            }
        ),
        "{error}"
    );
    server.always("/a.deb", Fault::Instead(bytes(20 * MIB, 5)));
    let error = download(&fetcher(), directory.path(), &url, &content).unwrap_err();
    assert!(
        matches!(
            error,
            FetchError::TooLarge {
                limit_bytes: 10_000,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn an_empty_file_can_be_downloaded() {
    let (server, directory) = (Server::start(), tempfile::tempdir().unwrap());
    let url = server.page("/empty", "");
    assert_eq!(
        download(&fetcher(), directory.path(), &url, b"").unwrap(),
        (Vec::new(), 0)
    );
}

#[test]
fn a_stalled_server_is_noticed() {
    let (server, directory) = (Server::start(), tempfile::tempdir().unwrap());
    let content = bytes(100_000, 6);
    let url = server.page("/a.deb", content.clone());
    server.faults("/a.deb", [Fault::StallAfter(40_960)]);
    let hasty = fetcher_with(Cancel::default(), |options| {
        options.stall_timeout = Duration::from_millis(500);
        options.attempts = 10;
    });
    let start = Instant::now();
    let (file, _) = download(&hasty, directory.path(), &url, &content).unwrap();
    assert!(file == content && start.elapsed() >= Duration::from_millis(500));
    assert_eq!(server.served()[1].range_start, Some(40_960));
    server.always("/a.deb", Fault::Silence);
    let once = fetcher_with(Cancel::default(), |options| {
        options.attempts = 1;
        options.stall_timeout = Duration::from_millis(300);
        options.connect_timeout = Duration::from_millis(300);
    });
    let error = once.get(&url, 100, None).unwrap_err();
    assert!(error.to_string().contains("sent nothing"), "{error}");
}

#[test]
fn cancelling_ends_a_stalled_download_at_once() {
    let (server, directory) = (Server::start(), tempfile::tempdir().unwrap());
    let content = bytes(100_000, 7);
    let url = server.page("/a.deb", content.clone());
    server.always("/a.deb", Fault::StallAfter(4096));
    let cancel = Cancel::default();
    let patient = fetcher_with(cancel.clone(), |options| {
        options.stall_timeout = Duration::from_secs(60)
    });
    thread::scope(|scope| {
        let downloading = scope.spawn(|| download(&patient, directory.path(), &url, &content));
        let getting = scope.spawn(|| patient.get(&url, u64::MAX, None));
        thread::sleep(Duration::from_millis(200));
        let start = Instant::now();
        cancel.cancel();
        assert!(matches!(downloading.join().unwrap(), Err(FetchError::Cancelled(_))));
        assert!(matches!(getting.join().unwrap(), Err(FetchError::Cancelled(_))));
        assert!(start.elapsed() < Duration::from_secs(30));
    });
    assert!(names(directory.path()).is_empty(), "4 KiB are not worth keeping");
}

#[test]
fn redirects_are_followed_but_not_for_ever() {
    let server = Server::start();
    let url = server.page("/a", "content");
    server.page("/from", "");
    server.always("/from", Fault::Redirect(url));
    assert!(fetcher().get(&server.url("/from"), 100, None).is_ok());
    server.page("/loop", "");
    server.always("/loop", Fault::Redirect(server.url("/loop")));
    let before = server.served().len();
    let error = fetcher().get(&server.url("/loop"), 100, None).unwrap_err();
    assert!(error.to_string().contains("too many redirects"), "{error}");
    assert_eq!(server.served().len() - before, 11);
}

#[test]
fn unreachable_and_unusable_servers_are_named() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://user:secret@{closed}/a");
    let error = fetcher().get(&url, 100, None).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&closed.to_string()) && text.contains("refused"), "{text}");
    assert!(!text.contains("secret"), "{text}");
    assert!(error.hint().is_some());
    for url in ["ftp://host/a", "no url", "file://host/a"] {
        let error = fetcher().get(url, 100, None).unwrap_err();
        assert!(matches!(error, FetchError::BadUrl { .. }), "{error}");
    }
}

#[test]
fn offline_forbids_the_network_and_allows_files() {
    let (server, directory) = (Server::start(), tempfile::tempdir().unwrap());
    let url = server.page("/a", "content");
    let offline = fetcher_with(Cancel::default(), |options| options.offline = true);
    assert!(matches!(offline.get(&url, 100, None), Err(FetchError::Offline { .. })));
    let refused = download(&offline, directory.path(), &url, b"content");
    assert!(matches!(refused, Err(FetchError::Offline { .. })));
    assert!(server.served().is_empty() && !offline.may_fetch(&url));
    let path = directory.path().join("a b");
    fs::write(&path, "content").unwrap();
    let url = format!("file://{}/a%20b", directory.path().display());
    assert!(offline.get(&url, 100, None).is_ok() && offline.may_fetch(&url));
    assert_eq!(
        download(&offline, directory.path(), &url, b"content").unwrap(),
        (b"content".to_vec(), 7)
    );
}

#[test]
fn files_have_validators_limits_and_digests_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("Packages");
    let url = format!("file://{}", path.display());
    let fetcher = fetcher();
    assert!(matches!(fetcher.get(&url, 9, None), Err(FetchError::NotFound { .. })));
    fs::write(&path, "one").unwrap();
    let Reply::Body { validators, .. } = fetcher.get(&url, 9, None).unwrap() else {
        panic!("a body was expected");
    };
    assert!(matches!(
        fetcher.get(&url, 9, Some(&validators)),
        Ok(Reply::NotModified)
    ));
    fs::write(&path, "other").unwrap();
    assert!(matches!(
        fetcher.get(&url, 9, Some(&validators)),
        Ok(Reply::Body { .. })
    ));
    assert!(matches!(fetcher.get(&url, 4, None), Err(FetchError::TooLarge { .. })));
    let wrong = download(&fetcher, directory.path(), &url, b"OTHER");
    assert!(matches!(wrong, Err(FetchError::WrongDigest { .. })));
    let wrong = download(&fetcher, directory.path(), &url, b"longer");
    assert!(matches!(wrong, Err(FetchError::WrongSize { actual_bytes: 5, .. })));
    let directory_url = format!("file://{}", directory.path().display());
    assert!(matches!(fetcher.get(&directory_url, 9, None), Err(FetchError::Path(_))));
}

#[test]
fn a_proxy_is_used_except_for_its_exceptions() {
    let (server, proxy) = (Server::start(), Server::start());
    let url = server.page("/a", "direct");
    proxy.page("http://mirror.invalid/a", "through the proxy");
    let proxied = fetcher_with(Cancel::default(), |options| {
        options.network.proxies.http = Some(proxy.url(""));
        options.network.proxies.exceptions = Some("127.0.0.1".to_owned());
    });
    for (url, expected) in [("http://mirror.invalid/a", "through the proxy"), (&*url, "direct")] {
        let Reply::Body { bytes, .. } = proxied.get(url, 100, None).unwrap() else {
            panic!("a body was expected");
        };
        assert_eq!(bytes, expected.as_bytes());
    }
    let options = FetchOptions {
        network: Network {
            proxies: Proxies {
                http: Some("http://".to_owned()),
                ..Proxies::default()
            },
            ..Network::default()
        },
        ..FetchOptions::default()
    };
    assert!(matches!(
        Fetcher::new(options, Cancel::default()),
        Err(FetchError::SetUp { .. })
    ));
}

#[test]
fn sweeping_keeps_what_may_be_resumed_or_is_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let old = |name: &str, hours: u64| {
        let path = directory.path().join(name);
        let file = fs::File::create(&path).unwrap();
        let age = Duration::from_secs(hours * 3600 + 60);
        file.set_modified(std::time::SystemTime::now() - age).unwrap();
        path
    };
    let resumable = old(".oic-tmp-part-1", 20);
    let stale = old(".oic-tmp-part-2", 24);
    let in_use = old(".oic-tmp-part-3", 24);
    let leftover = old(".oic-tmp-abc", 1);
    let fresh = old(".oic-tmp-def", 0);
    let package = old("a_1_all.deb", 1000);
    let _lock = crate::durable::FileLock::exclusive(&in_use).unwrap();
    sweep(directory.path()).unwrap();
    let there = |path: &std::path::PathBuf| path.exists();
    assert!([&resumable, &in_use, &fresh, &package].into_iter().all(there));
    assert!(![&stale, &leftover].into_iter().any(there));
}
