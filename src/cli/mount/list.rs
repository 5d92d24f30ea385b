//! The list of mounts, for people and machines.

use std::path::Path;

use serde::Serialize;

use crate::mount::server::ServerId;
use crate::mount::table::{self, Mount};
use crate::mount::{Label, dead};

use super::super::Format;
use super::super::error::{CommandError, print_line, print_versioned};

#[derive(Serialize)]
struct List {
    mounts: Vec<Row>,
}

/// A mount of oic.
#[derive(Serialize)]
struct Row {
    /// Lossy if it is not UTF-8.
    mount_point: String,
    /// The provider, template or tarball; empty if the mount has no name.
    subject: String,
    image: Option<String>,
    engine: &'static str,
    writable: bool,
    /// Process id; `null` if the server is dead or does not answer.
    server: Option<u32>,
    dead: bool,
}

impl Row {
    fn of(mount: &Mount, label: Label) -> Self {
        let server = ServerId::of(mount);
        Self {
            mount_point: mount.mount_point.to_string_lossy().into_owned(),
            subject: label.subject,
            image: label.image,
            engine: if mount.file_system == "overlay" {
                "kernel"
            } else {
                "fuse"
            },
            writable: !mount.is_read_only(),
            dead: server.is_none() && dead::is_dead(mount),
            server: server.map(|server| server.pid()),
        }
    }

    fn state(&self) -> String {
        match (self.dead, self.server) {
            (true, _) => "dead: its server was killed".to_owned(),
            (false, Some(pid)) => format!("pid {pid}"),
            (false, None) => "its server does not answer".to_owned(),
        }
    }

    fn shown(&self) -> String {
        match &self.image {
            Some(image) => format!("{}@{image}", self.subject),
            None => self.subject.clone(),
        }
    }
}

/// Prints all mounts of oic in the caller's mount namespace.
pub(super) fn print(format: Format) -> Result<(), CommandError> {
    let mounts = table::mounts()?;
    let rows = mounts.iter().filter_map(|mount| Some(Row::of(mount, mount.label()?)));
    let mut mounts: Vec<Row> = rows.collect();
    mounts.sort_by(|a, b| Path::new(&a.mount_point).cmp(Path::new(&b.mount_point)));
    if format == Format::Json {
        return print_versioned(&List { mounts });
    }
    for row in &mounts {
        let access = if row.writable { "writable" } else { "read-only" };
        print_line(&format!(
            "{}  {}  {}, {access}, {}",
            row.mount_point,
            row.shown(),
            row.engine,
            row.state()
        ))?;
    }
    Ok(())
}
