//! The overlay against what else there is, interleaved in one run: `cargo bench --bench overlay`.
//!
//! Needs root, FUSE, overlayfs, fuse-overlayfs, and for its row ratarmount (`scripts/foreign-tools bench` installs it). The tree is
//! made of what every host has, about 9,000 entries. Nothing is dropped from the page cache of the machine: "cold" is a new
//! mount, and for oic with "cold" in its name also an empty backing store.
//!
//! `OIC_BENCH_ROUNDS` is the number of rounds, `OIC_BENCH_ONLY` a part of the names of the engines to run, and with
//! `OIC_BENCH_COUNTS` the requests that reached oic's server are printed after each step. On a machine
//! with other work, `chrt -r 50` in front keeps that out of the figures.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use oic::layers::{BaseRequest, LayerRequest};
use oic::mount::kernel::{self, OverlaySpec, Upper};
use oic::mount::server::Lifetime;
use oic::mount::session::{self, MountRequest, Session, View};
use oic::mount::{Engine as Merging, Restrictions, namespace};
use oic::package::Sha256;
use oic::snapshot::{SnapshotPaths, WriteOptions, write};

use table::{Column, Table};

/// What is measured on a mount, in order. `{source}` is a copy of the tree's `lib` on the native file system.
const STEPS: [(Column, &str); 10] = [
    (Column::List, "ls -lR . | cat"),
    (Column::Find, "find . | cat"),
    (Column::OneFile, "cat $(find . -type f | tail -1) | head -c 100"),
    (Column::Tar1, "tar cf - . | cat"),
    (Column::Tar2, "tar cf - . | cat"),
    (Column::Create, "mkdir new && seq 5000 | sed s,^,new/, | xargs touch"),
    (Column::CopyIn, "cp -a {source} copy"),
    (Column::CopyUp, "find lib -type f | head -1000 | xargs chmod o-r"),
    (Column::Remove, "rm -rf copy"),
    (Column::RemoveBase, "rm -rf share"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Engine {
    Native,
    KernelOverlay,
    FuseOverlay,
    Ratarmount,
    /// Read-only, with an empty backing store or one that has everything.
    Lower {
        warm: bool,
    },
    /// With an upper.
    Writable {
        merging: Merging,
        warm: bool,
    },
}

const ENGINES: [(&str, Engine); 10] = [
    (table::NATIVE, Engine::Native),
    (table::KERNEL, Engine::KernelOverlay),
    (table::FUSE, Engine::FuseOverlay),
    (table::RATARMOUNT, Engine::Ratarmount),
    ("oic read-only, cold", Engine::Lower { warm: false }),
    ("oic read-only, warm", Engine::Lower { warm: true }),
    ("oic kernel, cold", writable(Merging::Kernel, false)),
    ("oic kernel, warm", writable(Merging::Kernel, true)),
    ("oic fuse, cold", writable(Merging::Fuse, false)),
    ("oic fuse, warm", writable(Merging::Fuse, true)),
];

const fn writable(merging: Merging, warm: bool) -> Engine {
    Engine::Writable { merging, warm }
}

impl Engine {
    fn is_writable(self) -> bool {
        matches!(self, Self::KernelOverlay | Self::FuseOverlay | Self::Writable { .. })
    }

    /// For oic: whether the backing store is to have everything.
    fn is_warm(self) -> Option<bool> {
        match self {
            Self::Lower { warm } | Self::Writable { warm, .. } => Some(warm),
            _ => None,
        }
    }
}

struct Bench {
    directory: tempfile::TempDir,
}

/// A mount to be measured; ends when dropped.
enum Mounted {
    Native(PathBuf),
    Session(Option<Session<LayerRequest>>, PathBuf),
    Other(PathBuf),
}

impl Mounted {
    fn at(&self) -> &Path {
        match self {
            Self::Native(path) | Self::Session(_, path) | Self::Other(path) => path,
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        match self {
            Self::Native(_) => (),
            Self::Session(session, _) => session.take().unwrap().close().unwrap(),
            Self::Other(path) => run(Command::new("umount").arg(path)),
        }
    }
}

impl Bench {
    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A tree, its snapshot, and the tree as tar unpacks it.
    fn new() -> Self {
        let bench = Self {
            // In memory: no disk, and nobody else's use of it, is measured.
            directory: tempfile::tempdir_in("/dev/shm").unwrap(),
        };
        for name in ["tree", "mnt", "out", "source"] {
            fs::create_dir(bench.at(name)).unwrap();
        }
        let script = "cd /usr && for top in lib share; do \
            find $top -xdev -size -2000k 2>/dev/null | sort | head -4500; done | \
            tar cf - --no-recursion -T - 2>/dev/null | tar xf - -C \"$1\"; \
            echo $(find \"$1\" | wc -l) entries, $(find \"$1\" -type d | wc -l) directories; \
            find \"$1\" -type d -exec chmod u+rwx {} +; cp -a \"$1\"/lib \"$2\"/";
        run(Command::new("sh")
            .args(["-c", script, "-"])
            .arg(bench.at("tree"))
            .arg(bench.at("source")));
        let options = WriteOptions::new(Sha256::of("bench"));
        let summary = write(
            &bench.at("tree"),
            &bench.at("snap.tar.gz"),
            &bench.at("snap.idx"),
            &options,
        )
        .unwrap();
        println!("{summary:?}");
        bench
    }

    /// An upper on the same file system as everything else.
    fn upper(&self) -> Upper {
        Upper {
            directory: self.at("upper"),
            work: self.at("work"),
            base: "bench".into(),
            volatile: false,
        }
    }

    fn layers(&self) -> LayerRequest {
        LayerRequest {
            base: Some(BaseRequest::at(SnapshotPaths {
                tarball: self.at("snap.tar.gz"),
                index: self.at("snap.idx"),
                backing_dir: self.at("store"),
            })),
            pool: None,
            disk: None,
        }
    }

    fn session(&self, view: View, restrictions: Restrictions, engine: Merging) -> Mounted {
        let request = MountRequest {
            program: env!("CARGO_BIN_EXE_oic").into(),
            view,
            engine,
            restrictions,
            allow_other: true,
            lifetime: Lifetime::Caller,
            ..MountRequest::view(self.layers(), "")
        };
        Mounted::Session(Some(session::mount(&request, &self.at("mnt")).unwrap()), self.at("mnt"))
    }

    fn mount(&self, engine: Engine) -> Mounted {
        let upper = self.upper();
        match engine {
            Engine::Native => Mounted::Native(self.at("tree")),
            Engine::Lower { .. } => {
                let view = View::Layer("base".into());
                self.session(view, Restrictions::VIEW, Merging::default())
            }
            Engine::Writable { merging, .. } => {
                let view = View::Overlay {
                    upper: Some(upper),
                    steps: Vec::new(),
                };
                self.session(view, Restrictions::BUILD, merging)
            }
            Engine::Ratarmount => {
                let tarball = self.at("snap.tar.gz");
                run(Command::new(ratarmount()).arg(tarball).arg(self.at("mnt")));
                Mounted::Other(self.at("mnt"))
            }
            Engine::KernelOverlay => {
                upper.prepare(&self.at("tree")).unwrap();
                let spec = OverlaySpec {
                    lower: vec![self.at("tree")],
                    upper: Some(upper),
                    restrictions: Restrictions::BUILD,
                };
                kernel::mount(&spec, &self.at("mnt")).unwrap().keep();
                Mounted::Other(self.at("mnt"))
            }
            Engine::FuseOverlay => {
                upper.prepare(&self.at("tree")).unwrap();
                let option = |key: &str, path: &Path| format!("{key}={}", path.display());
                let options = [
                    option("lowerdir", &self.at("tree")),
                    option("upperdir", &upper.directory),
                    option("workdir", &upper.work),
                ];
                run(Command::new("fuse-overlayfs")
                    .args(["-o", &options.join(",")])
                    .arg(self.at("mnt")));
                Mounted::Other(self.at("mnt"))
            }
        }
    }

    /// Makes the backing store what `engine` wants it to be.
    fn prepare(&self, engine: Engine) {
        let store = self.at("store");
        for name in ["upper", "work", "work.base"] {
            let _ = fs::remove_dir_all(self.at(name)).or_else(|_| fs::remove_file(self.at(name)));
        }
        match engine.is_warm() {
            Some(false) => {
                let _ = fs::remove_dir_all(store);
            }
            Some(true) => {
                let mounted = self.mount(Engine::Lower { warm: true });
                self.time("tar cf - . | cat", mounted.at());
            }
            None => (),
        }
    }

    fn time(&self, script: &str, at: &Path) -> Duration {
        let script = script.replace("{source}", self.at("source").to_str().unwrap());
        let start = Instant::now();
        let status = Command::new("sh")
            .args(["-c", &script])
            .current_dir(at)
            .stdout(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "{script}");
        start.elapsed()
    }

    /// One round of one engine: the time to mount, then the steps.
    fn round(&self, name: &str, engine: Engine, table: &mut Table) {
        self.prepare(engine);
        let start = Instant::now();
        let mut mounted = self.mount(engine);
        table.add(name, Column::Mount, start.elapsed());
        for (column, script) in STEPS {
            if column.writes() && !engine.is_writable() {
                continue;
            }
            table.add(name, column, self.time(script, mounted.at()));
            if let Mounted::Session(Some(session), _) = &mut mounted
                && std::env::var_os("OIC_BENCH_COUNTS").is_some()
            {
                println!("{name}, {column:?}: {:?}", session.stats().unwrap().requests);
            }
        }
    }
}

/// The program, from `scripts/foreign-tools` or the host.
fn ratarmount() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let installed = target.join("tools/python/bin/ratarmount");
    if installed.exists() {
        installed
    } else {
        "ratarmount".into()
    }
}

fn run(command: &mut Command) {
    let status = command
        .status()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; is its package installed?"));
    assert!(status.success(), "{command:?}");
}

fn main() {
    namespace::enter_private().expect("this bench needs root");
    let rounds: usize = std::env::var("OIC_BENCH_ROUNDS").map_or(5, |rounds| rounds.parse().unwrap());
    let only = std::env::var("OIC_BENCH_ONLY").unwrap_or_default();
    let bench = Bench::new();
    let mut engines: Vec<_> = ENGINES.iter().filter(|(name, _)| name.contains(&only)).collect();
    let has_ratarmount = Command::new(ratarmount())
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if !has_ratarmount.is_ok_and(|status| status.success()) {
        println!("{}: not installed, see scripts/foreign-tools", table::RATARMOUNT);
        engines.retain(|(_, engine)| *engine != Engine::Ratarmount);
    }
    let mut table = Table::new(engines.iter().map(|(name, _)| *name).chain([table::UNPACKING]));
    for _ in 0..rounds {
        for (name, engine) in &engines {
            bench.round(name, *engine, &mut table);
        }
        let _ = fs::remove_dir_all(bench.at("out"));
        fs::create_dir(bench.at("out")).unwrap();
        let unpacked = bench.time("tar xzf ../snap.tar.gz", &bench.at("out"));
        table.add(table::UNPACKING, Column::Tar1, unpacked);
    }
    println!("{rounds} interleaved rounds, ms");
    table.print();
}
