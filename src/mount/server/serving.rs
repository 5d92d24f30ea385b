//! The two kinds of server: layers side by side, or merged.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::protocol::{MergeRequest, Shown};
use super::tenant::OpenFailure;
use crate::mount::MountError;
use crate::mount::adapter::{CountsReader, ServeOptions, Server};
use crate::mount::cow::{self, Cow, View};
use crate::mount::lower::{self, Lower};
use crate::overlay::directory::DirectoryLayer;
use crate::overlay::layer::Layer;
use crate::overlay::{Overlay, OverlayError, UpperDirs};

/// A server of either kind.
#[derive(Debug)]
pub(super) enum Serving {
    Layers(Server<Lower>),
    Merged(Server<Cow>, Arc<View>),
}

impl Serving {
    /// Takes over the connection `device` for showing `layers` (name and layer, the topmost first).
    ///
    /// # Errors
    /// In words: if the layers cannot be merged, the upper not be used, or the kernel hung up.
    pub(super) fn new(
        device: OwnedFd,
        layers: Vec<(String, Arc<dyn Layer>)>,
        shown: &Shown,
        options: &ServeOptions,
    ) -> Result<Self, OpenFailure> {
        let (root, merge) = match shown {
            Shown::Layer(name) => (Some(name.as_str()), None),
            Shown::Layers => (None, None),
            Shown::Merged(merge) => (None, Some(merge)),
        };
        let Some(merge) = merge else {
            let server = lower::server(device, layers, root, options);
            return server.map(Self::Layers).map_err(failure);
        };
        let overlay = overlay(layers, merge)?;
        let volatile = merge.upper.as_ref().is_some_and(|upper| upper.volatile);
        cow::prepare_process();
        let server = cow::server(device, overlay, volatile, options);
        server.map(|(server, view)| Self::Merged(server, view)).map_err(failure)
    }

    /// Returns a reader for the counters.
    pub(super) fn counts(&self) -> CountsReader {
        match self {
            Self::Layers(server) => server.counts(),
            Self::Merged(server, _) => server.counts(),
        }
    }

    /// Returns what wants to know the mount; `None` for layers side by side.
    pub(super) fn view(&self) -> Option<Arc<View>> {
        match self {
            Self::Layers(_) => None,
            Self::Merged(_, view) => Some(Arc::clone(view)),
        }
    }

    /// Answers requests until the file system is unmounted everywhere.
    ///
    /// # Errors
    /// If the connection breaks in another way.
    pub(super) fn run(self) -> io::Result<()> {
        match self {
            Self::Layers(server) => server.run(),
            Self::Merged(server, _) => server.run(),
        }
    }
}

/// Merges `layers` as `merge` says.
fn overlay(layers: Vec<(String, Arc<dyn Layer>)>, merge: &MergeRequest) -> Result<Overlay, OpenFailure> {
    let mut all: Vec<Arc<dyn Layer>> = Vec::new();
    for step in &merge.steps {
        all.push(Arc::new(DirectoryLayer::open(&step.0).map_err(failure)?));
    }
    all.extend(layers.into_iter().map(|(_, layer)| layer));
    let Some(upper) = &merge.upper else {
        return Overlay::new(all, None).map_err(failure);
    };
    let top = all.first().ok_or(OverlayError::Layers(0)).map_err(failure)?;
    let root = top.attributes(top.root()).map_err(failure)?;
    let explained = |error: MountError| OpenFailure {
        message: error.to_string(),
        hint: error.hint(),
    };
    upper.check_settled().map_err(explained)?;
    upper
        .prepare_for(root.permissions, root.uid, root.gid)
        .map_err(explained)?;
    let directories = UpperDirs {
        directory: upper.directory.clone(),
        work: upper.work.clone(),
    };
    let overlay = Overlay::new(all, Some(&directories)).map_err(failure)?;
    upper.mark_volatile().map_err(explained)?;
    Ok(overlay)
}

fn failure(error: impl std::fmt::Display) -> OpenFailure {
    OpenFailure {
        message: error.to_string(),
        hint: None,
    }
}
