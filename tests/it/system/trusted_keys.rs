//! A vendor that states no fingerprint of its key, as that of eLxr: a build says which option trusts the key that came,
//! and remembers it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;

use oic_testkit::server::Server;
use oic_testkit::tiny::PROVIDER;
use oic_testkit::{Finished, tool};

use crate::support::tiny::Tiny;

#[test]
fn a_key_is_trusted_once_by_the_option_that_the_message_names() {
    let tiny = Tiny::new("trusted-keys");
    let at = |name: &str| tiny.oic.work_dir.join(name);
    let config = at("config");
    tool(
        "cp",
        &["-a".as_ref(), tiny.config_dir().as_os_str(), config.as_os_str()],
    );
    let key = config.join("keys/tiny.asc");
    let server = Server::start();
    let url = server.page("/tiny.asc", fs::read(&key).unwrap());
    let provider = config.join("providers/debian/debian13/provider.yml");
    let text = fs::read_to_string(&provider).unwrap();
    let unpinned = text.replace("{file: tiny.asc}", &format!("{{url: '{url}'}}"));
    assert_ne!(text, unpinned);
    fs::write(&provider, unpinned).unwrap();
    let shown = tool(
        "gpg",
        &["--show-keys".as_ref(), "--with-colons".as_ref(), key.as_os_str()],
    );
    let fingerprint = shown.lines().find_map(|line| line.strip_prefix("fpr:")).unwrap();
    let fingerprint = fingerprint.trim_matches(':');

    let (cache, work, home) = (at("cache"), at("work"), at("home"));
    let search = |more: &[&str]| {
        let args = [&["search", "hello", PROVIDER], more].concat();
        let mut command = tiny.command(&args, [&cache, &work]);
        Finished::of(
            &command
                .env("OIC_CONFIG_DIR", &config)
                .env("HOME", &home)
                .output()
                .unwrap(),
        )
    };
    let refused = search(&[]);
    refused.assert_fails(
        1,
        &["it is not pinned", fingerprint, &format!("--trust-key {fingerprint}")],
    );
    let other = "0123456789ABCDEF0123456789ABCDEF01234567";
    search(&["--trust-key", other]).assert_fails(1, &["it is not pinned", fingerprint]);
    for more in [&["--trust-key", fingerprint][..], &[]] {
        let found = search(more);
        assert_eq!(found.code, Some(0), "{more:?}: {}", found.stderr);
        assert!(found.stdout.contains("hello"), "{}", found.stdout);
    }
    let remembered = fs::read_to_string(home.join(".config/oic/trusted-keys")).unwrap();
    assert!(remembered.lines().any(|line| line == fingerprint), "{remembered}");
    // A user that has not trusted the key is asked again.
    fs::remove_dir_all(&home).unwrap();
    search(&[]).assert_fails(1, &["it is not pinned"]);
}
