//! The overlay against what else there is, interleaved in one run: `cargo bench --bench overlay`.
//!
//! Needs root, FUSE, overlayfs, and the packages fuse-overlayfs and fuse3. The tree is made of what
//! every host has, about 9,000 entries. Nothing is dropped from the page cache of the machine: "cold" is a new
//! mount, and for oic with "cold" in its name also an empty backing store.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use oic::mount::kernel::{self, OverlaySpec, Upper};
use oic::mount::server::{LayerRequest, Lifetime, Prefetch, SnapshotRequest};
use oic::mount::session::{self, MountRequest, Session, View};
use oic::mount::{Restrictions, namespace};
use oic::package::Sha256;
use oic::snapshot::{WriteOptions, write};

/// What is measured on a mount, in order; `W` are those that write. `{out}` is outside.
const STEPS: [(&str, bool, &str); 10] = [
    ("ls -lR", false, "ls -lR . | cat"),
    ("find", false, "find . | cat"),
    ("one file", false, "cat $(find . -type f | tail -1) | head -c 100"),
    ("tar 1st", false, "tar cf - . | cat"),
    ("tar 2nd", false, "tar cf - . | cat"),
    ("create", true, "mkdir new && seq 5000 | sed s,^,new/, | xargs touch"),
    ("cp -a in", true, "cp -a {source} copy"),
    ("copy-up", true, "find lib -type f | head -1000 | xargs chmod o-r"),
    ("rm -rf", true, "rm -rf copy"),
    ("rm base", true, "rm -rf share"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Engine {
    Native,
    KernelOverlay,
    FuseOverlay,
    /// Read-only, with an empty backing store or one that has everything.
    Lower {
        warm: bool,
    },
    /// The kernel's overlayfs over that.
    LowerKernel {
        warm: bool,
    },
}

const ENGINES: [(&str, Engine); 7] = [
    ("native", Engine::Native),
    ("kernel overlayfs", Engine::KernelOverlay),
    ("fuse-overlayfs", Engine::FuseOverlay),
    ("oic read-only, cold", Engine::Lower { warm: false }),
    ("oic read-only, warm", Engine::Lower { warm: true }),
    ("oic kernel, cold", Engine::LowerKernel { warm: false }),
    ("oic kernel, warm", Engine::LowerKernel { warm: true }),
];

struct Bench {
    directory: tempfile::TempDir,
}

/// A mount to be measured; ends when dropped.
enum Mounted {
    Native(PathBuf),
    Session(Option<Session>, PathBuf),
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
            snapshot: Some(SnapshotRequest {
                tarball: self.at("snap.tar.gz"),
                index: self.at("snap.idx"),
                backing_dir: self.at("store"),
                prefetch: Prefetch::Sequential,
                record_order: false,
            }),
            pool: None,
        }
    }

    fn session(&self, view: View, restrictions: Restrictions) -> Mounted {
        let request = MountRequest {
            program: env!("CARGO_BIN_EXE_oic").into(),
            view,
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
            Engine::Lower { .. } => self.session(View::Layer("base".into()), Restrictions::VIEW),
            Engine::LowerKernel { .. } => {
                let view = View::Overlay {
                    upper: Some(upper),
                    steps: Vec::new(),
                };
                self.session(view, Restrictions::BUILD)
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
        match engine {
            Engine::Lower { warm: false } | Engine::LowerKernel { warm: false } => {
                let _ = fs::remove_dir_all(store);
            }
            Engine::Lower { warm: true } | Engine::LowerKernel { warm: true } => {
                let mounted = self.mount(Engine::Lower { warm: true });
                self.time("tar cf - . | cat", mounted.at());
            }
            _ => (),
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
    fn round(&self, engine: Engine, times: &mut [Vec<Duration>]) {
        self.prepare(engine);
        let start = Instant::now();
        let mut mounted = self.mount(engine);
        times[0].push(start.elapsed());
        let writable = !matches!(engine, Engine::Native | Engine::Lower { .. });
        for ((name, writes, script), times) in STEPS.iter().zip(&mut times[1..]) {
            if !writes || writable {
                times.push(self.time(script, mounted.at()));
                if let Mounted::Session(Some(session), _) = &mut mounted
                    && std::env::var_os("OIC_BENCH_COUNTS").is_some()
                {
                    println!("{engine:?}, {name}: {:?}", session.stats().unwrap().requests);
                }
            }
        }
    }
}

fn run(command: &mut Command) {
    let status = command
        .status()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; is its package installed?"));
    assert!(status.success(), "{command:?}");
}

fn median(times: &[Duration]) -> Option<f64> {
    let mut sorted = times.to_vec();
    sorted.sort();
    Some(sorted.get(sorted.len() / 2)?.as_secs_f64() * 1000.0)
}

fn main() {
    namespace::enter_private().expect("this bench needs root");
    let rounds: usize = std::env::var("OIC_BENCH_ROUNDS").map_or(5, |rounds| rounds.parse().unwrap());
    let bench = Bench::new();
    let mut times = vec![vec![Vec::new(); STEPS.len() + 1]; ENGINES.len()];
    let mut unpacking = Vec::new();
    for _ in 0..rounds {
        for ((_, engine), times) in ENGINES.iter().zip(&mut times) {
            bench.round(*engine, times);
        }
        let _ = fs::remove_dir_all(bench.at("out"));
        fs::create_dir(bench.at("out")).unwrap();
        unpacking.push(bench.time("tar xzf ../snap.tar.gz", &bench.at("out")));
    }
    println!("median of {rounds} interleaved rounds, ms");
    print!("{:20}{:>9}", "", "mount");
    STEPS.iter().for_each(|(name, ..)| print!("{name:>9}"));
    println!();
    for ((name, _), times) in ENGINES.iter().zip(&times) {
        print!("{name:20}");
        times.iter().for_each(|times| match median(times) {
            Some(time) => print!("{time:9.1}"),
            None => print!("{:>9}", "-"),
        });
        println!();
    }
    println!("{:20}{:9.1}", "tar xzf", median(&unpacking).unwrap());
}
