//! What a server answers with: layers side by side, or merged.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::{MergeRequest, OpenFailure, ServeRequest};
use crate::mount::lower::CountsReader;
use crate::mount::{MountError, cow, lower};
use crate::overlay::directory::DirectoryLayer;
use crate::overlay::layer::Layer;
use crate::overlay::{Overlay, OverlayError, UpperDirs};

/// A server of either kind.
#[derive(Debug)]
pub(super) enum Serving {
    Layers(lower::Server),
    Merged(cow::Server),
}

impl Serving {
    pub(super) fn new(
        device: OwnedFd,
        layers: Vec<(String, Arc<dyn Layer>)>,
        request: &ServeRequest,
    ) -> Result<Self, OpenFailure> {
        let Some(merge) = &request.merged else {
            let server = lower::Server::new(device, layers, &request.options);
            return server.map(Self::Layers).map_err(failure);
        };
        let overlay = overlay(layers, merge)?;
        let volatile = merge.upper.as_ref().is_some_and(|upper| upper.volatile);
        cow::prepare_process();
        let server = cow::Server::new(device, overlay, volatile, &request.options);
        server.map(Self::Merged).map_err(failure)
    }

    pub(super) fn counts(&self) -> CountsReader {
        match self {
            Self::Layers(server) => server.counts(),
            Self::Merged(server) => server.counts(),
        }
    }

    pub(super) fn run(self) -> io::Result<()> {
        match self {
            Self::Layers(server) => server.run(),
            Self::Merged(server) => server.run(),
        }
    }
}

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
