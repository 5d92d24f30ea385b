//! Snapshots of many files, and mounts of them.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use oic::layers::{BaseRequest, LayerRequest};
use oic::mount::Restrictions;
use oic::mount::server::Lifetime;
use oic::mount::session::{self, MountRequest, Session, View};
use oic::package::Sha256;
use oic::snapshot::foreign::{PrepareOptions, prepare};
use oic::snapshot::{SnapshotPaths, WriteOptions, write};
use oic_testkit::scale;
pub use oic_testkit::scale::Memory;

/// A snapshot of empty files, in memory.
pub struct Place(scale::Place);

/// A mount, and how long it took to make.
pub struct Mounted {
    session: Session<LayerRequest>,
    pub time: Duration,
}

impl Place {
    /// Writes a snapshot of `files`.
    pub fn new(files: u32) -> Self {
        let place = scale::Place::with_tree(files);
        let options = WriteOptions::new(Sha256::of("scale"));
        write(&place.at("tree"), &place.at("tar.gz"), &place.at("idx"), &options).unwrap();
        fs::remove_dir_all(place.at("tree")).unwrap();
        Self(place)
    }

    /// Makes an index for a `.tar.gz` of one stream with the same files.
    pub fn foreign(files: u32) -> Self {
        let place = scale::Place::with_tarball(files);
        assert!(prepare(&paths(&place), &PrepareOptions::default()).unwrap());
        Self(place)
    }

    /// Mounts it.
    pub fn mount(&self) -> Mounted {
        let layers = LayerRequest {
            base: Some(BaseRequest::at(paths(&self.0))),
            pool: None,
            disk: None,
        };
        let request = MountRequest {
            program: env!("CARGO_BIN_EXE_oic").into(),
            restrictions: Restrictions::VIEW,
            lifetime: Lifetime::Caller,
            ..MountRequest::view(layers, "base")
        };
        assert_eq!(request.view, View::Layer("base".into()));
        let start = Instant::now();
        let session = session::mount(&request, &self.0.at("mnt")).unwrap();
        Mounted {
            time: start.elapsed(),
            session,
        }
    }
}

/// Gives the places of a snapshot below `place`.
fn paths(place: &scale::Place) -> SnapshotPaths {
    SnapshotPaths {
        tarball: place.at("tar.gz"),
        index: place.at("idx"),
        backing_dir: place.at("store"),
    }
}

impl Mounted {
    pub fn at(&self) -> &Path {
        self.session.mount_point()
    }

    /// Returns the memory that its server takes now.
    pub fn server_memory(&self) -> Memory {
        Memory::of(self.session.server_pid().unwrap())
    }
}
