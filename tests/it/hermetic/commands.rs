//! The commands around builds, through the program: what they print, how they end, what they leave.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use clap::CommandFactory as _;
use oic_testkit::{Finished, soon, tool};

/// The program in an empty directory, which is also its home.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oic"));
        command.args(args).current_dir(self.0.path()).env_clear();
        command.env("PATH", "/usr/bin:/bin").env("HOME", self.0.path());
        command
    }

    fn run(&self, args: &[&str]) -> Finished {
        Finished::of(&self.command(args).output().unwrap())
    }

    fn with(&self, variables: &[(&str, &str)], args: &[&str]) -> Finished {
        let mut command = self.command(args);
        command.envs(variables.iter().copied());
        Finished::of(&command.output().unwrap())
    }

    fn plain(&self, text: &str) -> String {
        text.replace(self.0.path().to_str().unwrap(), "HOME")
    }
}

/// All commands, each as the words that call it.
fn all_commands() -> Vec<Vec<String>> {
    fn collect(command: &clap::Command, words: &[String], found: &mut Vec<Vec<String>>) {
        found.push(words.to_vec());
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            let words = [words, &[sub.get_name().to_owned()]].concat();
            collect(sub, &words, found);
        }
    }
    let mut found = Vec::new();
    collect(&oic::cli::Cli::command(), &[], &mut found);
    found
}

#[test]
fn every_command_has_help_with_examples() {
    let place = Place::new();
    let all = all_commands();
    assert!(all.len() > 15, "{all:?}");
    for words in all {
        let mut args: Vec<&str> = words.iter().map(String::as_str).collect();
        args.push("--help");
        let help = place.run(&args);
        assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""), "{args:?}");
        assert!(help.stdout.contains("Usage: oic"), "{args:?}: {}", help.stdout);
        assert!(help.stdout.contains("Examples:\n  "), "{args:?}: {}", help.stdout);
        assert!(!help.stdout.contains('\x1b'), "{args:?}");
    }
}

#[test]
fn the_reference_is_the_programs_own() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli-reference.md");
    let written = fs::read_to_string(path).unwrap();
    let place = Place::new();
    let made = place.run(&["man", "--format", "markdown"]).stdout;
    assert_eq!(made, oic::cli::reference::markdown());
    assert!(
        written == made,
        "docs/cli-reference.md is not up to date: run `make docs`"
    );
}

#[test]
fn help_of_a_command_with_everything() {
    let help = Place::new().run(&["cache", "stats", "--help"]);
    let lines: Vec<_> = help.stdout.lines().map(str::trim_end).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    Show what there is, and how much it takes

    Usage: oic cache stats [OPTIONS]

    Options:
          --provider-id <ID>
              Only what belongs to this provider: {os}-{dist}-{arch} [default: all]

          --warn-above <SIZE>
              End with exit code 1 if one of the two directories takes more than this

          --crit-above <SIZE>
              End with exit code 2 if one of the two directories takes more than this

          --format <FORMAT>
              How the numbers are printed

              Possible values:
              - text: For people
              - json: For machines

              [default: text]

      -h, --help
              Print help (see a summary with '-h')

    Global options:
          --config <FILE>
              Configuration file [default: the first of the usual places that exists]

      -d, --cache-dir <DIR>
              Directory of the package cache [default: /var/cache/os-image-composer]

          --work-dir <DIR>
              Directory of bases and images [default: /var/tmp/os-image-composer]

          --log-level <LEVEL>
              How much to log: debug, info, warn or error

              [possible values: debug, info, warn, error]

          --log-file <FILE>
              Also write the log to this file

          --trust-key <FINGERPRINT>
              Trust the key of a repository with this fingerprint, now and from now on, where the
              provider pins none

      -v, --verbose
              Same as --log-level debug

    Examples:
      oic cache stats                                    for people
      oic cache stats --format json                      for machines
      oic cache stats --warn-above 40G --crit-above 80G  for monitoring

    The limits hold for the cache directory and for the work directory, each by itself, and count
    bytes on disk, as du does. Exit codes: 0 below the limits, 1 above the first, 2 above the second
    (or wrong use).
    ");
}

#[test]
fn wrong_use_is_exit_code_2() {
    let place = Place::new();
    for args in [
        &["frobnicate"][..],
        &["cache"],
        &["cache", "stat"],
        &["build"],
        &["why"],
        &["config", "show", "-x"],
    ] {
        assert_eq!(place.run(args).code, Some(2), "{args:?}");
    }
}

#[test]
fn the_version_names_commit_and_date() {
    let place = Place::new();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(place.run(&["--version"]).stdout, format!("oic {version}\n"));
    // Development builds know neither, so that a commit does not rebuild everything.
    let text = place.run(&["version"]).stdout;
    assert!(text.starts_with(&format!("oic {version} (commit ")), "{text}");
    let json = place.run(&["version", "--format", "json"]).json();
    let keys: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["schema_version", "version", "commit", "build_date"]);
}

#[test]
fn config_init_writes_a_private_file_once() {
    let place = Place::new();
    let first = place.run(&["config", "init"]);
    assert_eq!(first.stdout, "wrote os-image-composer.yml\n");
    let path = place.path("os-image-composer.yml");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(fs::read_to_string(&path).unwrap(), oic::config::template());
    fs::write(&path, "workers: 3\n").unwrap();
    place
        .run(&["config", "init"])
        .assert_fails(1, &["is there already", "--force"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "workers: 3\n");
    // It is found where it was written.
    assert!(place.run(&["config", "show"]).stdout.contains("workers        3 "));

    let target = place.path("target.yml");
    fs::write(&target, "precious").unwrap();
    symlink(&target, place.path("link.yml")).unwrap();
    place
        .run(&["config", "init", "link.yml"])
        .assert_fails(1, &["is there already"]);
    assert_eq!(place.run(&["config", "init", "link.yml", "--force"]).code, Some(0));
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    assert_eq!(place.run(&["config", "init", "new/sub/c.yaml"]).code, Some(0));
    fs::create_dir(place.path("directory.yml")).unwrap();
    fs::write(place.path("directory.yml/precious"), "x").unwrap();
    assert_eq!(place.run(&["config", "init", "directory.yml", "--force"]).code, Some(1));
    assert!(place.path("directory.yml/precious").exists());
    let mut left = fs::read_dir(place.0.path()).unwrap().flatten();
    assert!(left.all(|entry| !entry.file_name().to_string_lossy().starts_with(".oic-tmp-")));
    place
        .run(&["config", "init", "c.conf"])
        .assert_fails(2, &[".yml or .yaml"]);
}

#[test]
fn config_show_says_where_each_value_comes_from() {
    let place = Place::new();
    fs::write(
        place.path("c.yml"),
        "workers: 3\nmirrors: {debian: 'http://m.example/debian'}\n",
    )
    .unwrap();
    let variables = [("OIC_CACHE_DIR", "/srv/cache")];
    let args = ["config", "show", "--config", "c.yml", "--work-dir", "/srv/work"];
    let shown = place.with(&variables, &args);
    assert_eq!(shown.stderr, "");
    insta::assert_snapshot!(shown.stdout, @r"
    workers         3                        c.yml
    cache_dir       /srv/cache               OIC_CACHE_DIR
    work_dir        /srv/work                --work-dir
    temp_dir        /tmp                     default
    config_dir      none                     default
    digest          tree                     default
    sign_command    none                     default
    notify          false                    default
    mirrors.debian  http://m.example/debian  c.yml
    logging.level   info                     default
    logging.file    none                     default
    ");
    let json = place
        .with(&variables, &[&args[..], &["--format", "json"]].concat())
        .json();
    let workers = serde_json::json!({"key": "workers", "value": "3", "origin": "c.yml"});
    assert_eq!(json["settings"][0], workers);
}

#[test]
fn a_variable_that_means_nothing_is_pointed_out() {
    let place = Place::new();
    let variables = [
        ("OIC_WORKER", "3"),
        ("OIC_MIRROR_DEBIAN", "http://m.example/debian"),
        ("OIC_VAR_name", "x"),
        ("OIC_MIRROR_", "x"),
        ("OIC_BUILD_COMMIT", "unknown"),
    ];
    let shown = place.with(&variables, &["config", "show"]);
    assert_eq!(shown.code, Some(0));
    let mut lines: Vec<_> = shown.stderr.lines().collect();
    lines.sort_unstable();
    insta::assert_snapshot!(lines.join("\n"), @r"
      hint: did you mean OIC_WORKERS?
    OIC_MIRROR_: warning: is set, but oic knows no such variable
    OIC_WORKER: warning: is set, but oic knows no such variable
    ");
}

#[test]
fn completions_are_installed_for_both_names() {
    let place = Place::new();
    let install = |args: &[&str]| {
        place.with(
            &[("SHELL", "/usr/bin/bash")],
            &[&["completion", "install"], args].concat(),
        )
    };
    let first = install(&[]);
    insta::assert_snapshot!(place.plain(&first.stdout), @r"
    wrote HOME/.local/share/bash-completion/completions/oic
    wrote HOME/.local/share/bash-completion/completions/os-image-composer
    open a new shell; it needs the package bash-completion
    ");
    insta::assert_snapshot!(place.plain(&install(&[]).stdout), @r"
    HOME/.local/share/bash-completion/completions/oic is up to date
    HOME/.local/share/bash-completion/completions/os-image-composer is up to date
    open a new shell; it needs the package bash-completion
    ");
    let path = place.path(".local/share/bash-completion/completions/oic");
    fs::write(&path, "mine").unwrap();
    install(&[]).assert_fails(1, &["has other content", "--force"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    assert_eq!(install(&["--force"]).code, Some(0));
    assert!(fs::read_to_string(&path).unwrap().contains("cache"));
    for (shell, file) in [
        ("zsh", ".zsh/completion/_os-image-composer"),
        ("fish", ".config/fish/completions/oic.fish"),
        ("powershell", ".config/powershell/oic.ps1"),
    ] {
        assert_eq!(install(&["--shell", shell]).code, Some(0));
        assert!(place.path(file).is_file(), "{file}");
    }
    install(&["--shell", "tcsh"]).assert_fails(2, &["bash, zsh, fish and powershell"]);
    place
        .run(&["completion", "install"])
        .assert_fails(2, &["$SHELL", "--shell"]);
    let fish = place.with(
        &[("SHELL", "/bin/fish"), ("XDG_CONFIG_HOME", "/proc/none")],
        &["completion", "install"],
    );
    fish.assert_fails(1, &["/proc/none"]);
}

#[test]
fn the_completion_script_completes() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = place.run(&["completion", "print", shell]).stdout;
        assert!(
            script.contains("--provider-id") || script.contains("provider-id"),
            "{shell}"
        );
    }
    for name in ["oic", "os-image-composer"] {
        let script = place.run(&["completion", "print", "bash", "--name", name]).stdout;
        fs::write(place.path("script"), script).unwrap();
        let function = format!(
            ". {}; function=$(complete -p {name} | sed 's/.*-F //; s/ .*//'); \
             COMP_WORDS=({name} cache st); COMP_CWORD=2; $function {name} st cache; echo \"${{COMPREPLY[@]}}\"",
            place.path("script").display()
        );
        assert_eq!(tool("bash", &["-c", &function]).trim(), "stats");
    }
    fs::write(place.path("_oic"), place.run(&["completion", "print", "zsh"]).stdout).unwrap();
    tool("zsh", &["-n", place.path("_oic").to_str().unwrap()]);
    fs::write(
        place.path("oic.fish"),
        place.run(&["completion", "print", "fish"]).stdout,
    )
    .unwrap();
    let ask = format!(
        "source {}; complete -C 'oic cache st'; complete -C 'oic build --overlay k'",
        place.path("oic.fish").display()
    );
    let answers = tool("fish", &["--no-config", "-c", &ask]);
    let words: Vec<&str> = answers.lines().filter_map(|line| line.split('\t').next()).collect();
    assert_eq!(words, ["stats", "kernel"]);
}

#[test]
fn manual_pages_are_written_for_every_command() {
    let place = Place::new();
    assert!(place.run(&["man"]).stdout.contains(".TH oic 1"));
    assert_eq!(place.run(&["man", "man1"]).code, Some(0));
    for words in all_commands() {
        let name = ["oic".to_owned()]
            .iter()
            .chain(&words)
            .cloned()
            .collect::<Vec<_>>()
            .join("-");
        let page = fs::read_to_string(place.path("man1").join(format!("{name}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{name}");
    }
    place.run(&["man", "/proc/none/man1"]).assert_fails(1, &["/proc/none"]);
}

#[test]
fn colours_are_for_terminals() {
    let place = Place::new();
    let args = ["validate", "absent.yml"];
    let run = |variables: &[(&str, &str)]| place.with(variables, &args).stderr;
    assert!(!run(&[]).contains('\x1b'));
    assert!(run(&[("CLICOLOR_FORCE", "1")]).contains("\x1b[1;31merror:"));
    // script(1) gives the program a terminal.
    let on_terminal = |variables: &str| {
        let command = format!("{variables} {} validate absent.yml -v", env!("CARGO_BIN_EXE_oic"));
        let mut script = Command::new("script");
        let output = script
            .args(["-qec", &command, "/dev/null"])
            .current_dir(place.0.path())
            .output();
        String::from_utf8_lossy(&output.expect("script (package bsdutils) is needed").stdout).into_owned()
    };
    assert!(on_terminal("TERM=xterm").contains('\x1b'));
    assert!(!on_terminal("TERM=xterm NO_COLOR=1").contains('\x1b'));
}

#[test]
fn the_log_goes_to_a_file_too() {
    let place = Place::new();
    let log = place.path("oic.log");
    let path = log.to_str().unwrap();
    let directories = ["--cache-dir", "cache", "--work-dir", "work"];
    let run = |args: &[&str]| place.run(&[args, &directories].concat());
    let missing = ["why", "x", "--offline", "--log-file", path, "--log-level", "debug"];
    run(&missing).assert_fails(1, &[]);
    let first = fs::read_to_string(&log).unwrap();
    assert!(!first.is_empty() && !first.contains('\x1b'), "{first}");
    run(&missing).assert_fails(1, &[]);
    let second = fs::read_to_string(&log).unwrap();
    assert!(
        second.starts_with(&first) && second.len() > first.len(),
        "it is appended to"
    );
    place
        .run(&["config", "show", "--log-file", "/proc/none/log"])
        .assert_fails(1, &["cannot open log file"]);
}

#[test]
fn events_end_with_what_went_wrong() {
    let place = Place::new();
    let lines = |text: &str| -> Vec<serde_json::Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    fs::write(place.path("events"), "old").unwrap();
    place
        .run(&["build", "absent.yml", "--events", "events"])
        .assert_fails(1, &["absent.yml"]);
    let events = lines(&fs::read_to_string(place.path("events")).unwrap());
    assert!(
        events
            .iter()
            .all(|event| event["version"] == 1 && event["seconds"].is_f64())
    );
    assert_eq!(events[0]["event"], "started");
    assert_eq!(events[0]["template"], "absent.yml");
    assert_eq!(
        (&events[1]["event"], &events[1]["exit_code"]),
        (&"failed".into(), &1.into())
    );
    assert!(
        events[1]["message"].as_str().unwrap().contains("absent.yml"),
        "{}",
        events[1]
    );
    let shown = place.run(&["build", "absent.yml", "--events", "-"]);
    assert_eq!(lines(&shown.stdout).len(), 2);
    place
        .run(&["build", "absent.yml", "--events", "/proc/none/x"])
        .assert_fails(1, &["cannot open /proc/none/x"]);
}

#[test]
fn installation_brings_both_names_pages_and_completions() {
    let place = Place::new();
    let source = env!("CARGO_MANIFEST_DIR");
    let target = format!("DESTDIR={}", place.0.path().display());
    let binary = format!("BINARY={}", env!("CARGO_BIN_EXE_oic"));
    tool(
        "make",
        &["-s", "-C", source, "install", &target, &binary, "PREFIX=/usr"],
    );
    let other = place.path("usr/bin/os-image-composer");
    assert_eq!(
        tool(other.to_str().unwrap(), &["--version"]),
        place.run(&["--version"]).stdout
    );
    for file in [
        "usr/share/man/man1/oic-cache-gc.1",
        "usr/share/man/man1/os-image-composer.1",
        "usr/share/bash-completion/completions/os-image-composer",
        "usr/share/zsh/site-functions/_oic",
        "usr/share/fish/vendor_completions.d/oic.fish",
    ] {
        assert!(fs::metadata(place.path(file)).unwrap().len() > 100, "{file}");
    }
}

/// A limit of the process is raised, or it is an error with a message: oic never just dies.
#[test]
fn limits_are_raised_or_named() {
    let place = Place::new();
    let shell = |line: &str| {
        let mut command = Command::new("sh");
        command
            .args(["-c", line, env!("CARGO_BIN_EXE_oic")])
            .current_dir(place.0.path());
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", place.0.path());
        command
    };
    let mut waiting = shell("ulimit -Sn 64; exec \"$0\" validate -")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let limits = format!("/proc/{}/limits", waiting.id());
    let is_raised = || {
        let text = fs::read_to_string(&limits).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("Max open files"))
            .unwrap()
            .to_owned();
        let values: Vec<&str> = line.split_whitespace().collect();
        values[0] == values[1] && values[0] != "64"
    };
    assert!(soon(is_raised), "the soft limit is the hard one");
    drop(waiting.stdin.take());
    assert_eq!(waiting.wait().unwrap().code(), Some(1), "an empty template");

    let refused = Finished::of(&shell("ulimit -f 0; exec \"$0\" config init big.yml").output().unwrap());
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("big.yml") && refused.stderr.contains("ulimit -f"),
        "{}",
        refused.stderr
    );
}
