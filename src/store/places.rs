//! What may lie where: one table of every directory of the store and of the names in it.
//!
//! Sweeping visits the rooms of the table; statistics add up its columns; a removal takes what its scopes name; a
//! collection takes the kinds that it knows; a verification reports what no row names.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cache::FILE_SUFFIX;
use crate::durable::{PathError, TEMPORARY_PREFIX};
use crate::package::Sha256;
use crate::workspace::{IMAGE_STATE, LAYERS, Workspace};

use super::is_provider_id;
use super::measure::{list, look_at};

/// The start of the name of a tree that is being removed.
const REMOVED: &str = ".oic-tmp-removed-";

/// A directory whose entries have rows of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Room {
    /// `{cache_dir}`.
    Cache,
    /// The directory of all package caches.
    Caches,
    /// The package cache of a provider.
    PackageCache,
    /// Repository metadata and records about packages.
    Metadata,
    /// The indexes of one repository.
    Repository,
    /// Remembered resolutions.
    Resolutions,
    /// `{work_dir}`.
    Work,
    /// The directory of a provider.
    Provider,
    /// The snapshot and what belongs to it.
    Base,
    /// Members unpacked from a snapshot.
    BackingStore,
    /// All step layers.
    Layers,
    /// One step layer.
    Layer,
    /// All image builds.
    ImageBuilds,
    /// One image build.
    ImageBuild,
    /// The writable layers of `oic mount`.
    Mounts,
    /// One of them.
    Mount,
    /// The places of all foreign tarballs.
    Tarballs,
    /// The place of one.
    Tarball,
    /// The directory for temporary files, which other programs use, too.
    Temporary,
}

/// The sum of the statistics that a file belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Column {
    /// Package files.
    Packages,
    /// Indexes and records.
    Metadata,
    /// The snapshot and its index.
    Snapshot,
    /// Unpacked members.
    BackingStore,
    /// Step layers.
    Layers,
    /// Image builds.
    Images,
    /// Writable layers of `oic mount`.
    Mounts,
    /// Foreign tarballs.
    Tarballs,
    /// Locks, mount points and graphs.
    Other,
    /// What killed processes left.
    Leftovers,
    /// What oic has not made.
    Strange,
}

/// A share of the store that a removal takes as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Share {
    /// A package cache with its metadata.
    Packages,
    /// A base with its step layers.
    Workspace,
    /// All image builds of a provider.
    Images,
    /// The place of a foreign tarball.
    Tarball,
}

impl Share {
    /// Returns its name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Packages => "packages",
            Self::Workspace => "workspace",
            Self::Images => "images",
            Self::Tarball => "tarball",
        }
    }
}

/// The kind of an item that a collection removes as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A package file.
    Package,
    /// A remembered resolution; it is made again when it is needed.
    Resolution,
    /// A step layer that no image lies on.
    Layer,
    /// The files in the work directory that belong to a foreign tarball.
    Tarball,
    /// A snapshot with its unpacked members.
    Base,
    /// The raw image of a build that does not deliver it; the next build is only slower without it.
    State,
    /// The directory of an image build.
    Image,
}

/// A pattern for names.
#[derive(Debug, Clone, Copy)]
enum Name {
    Is(&'static str),
    Begins(&'static str),
    Ends(&'static str),
    Digest,
    Provider,
    Any,
}

impl Name {
    fn matches(self, name: &str) -> bool {
        match self {
            Self::Is(text) => name == text,
            Self::Begins(text) => name.starts_with(text),
            Self::Ends(text) => name.ends_with(text),
            Self::Digest => name.parse::<Sha256>().is_ok(),
            Self::Provider => is_provider_id(name),
            Self::Any => true,
        }
    }
}

/// A row of the table.
#[derive(Debug)]
pub(super) struct Row {
    inside: Room,
    name: Name,
    /// The sum that it counts to, with all below that has no row.
    pub(super) column: Column,
    /// The room that it is.
    pub(super) room: Option<Room>,
    /// The share that it is a part of.
    pub(super) share: Option<Share>,
    /// The kind of item that it is.
    pub(super) kind: Option<Kind>,
}

const fn row(inside: Room, name: Name, column: Column) -> Row {
    Row {
        inside,
        name,
        column,
        room: None,
        share: None,
        kind: None,
    }
}

impl Row {
    const fn room(mut self, room: Room) -> Self {
        self.room = Some(room);
        self
    }

    const fn share(mut self, share: Share) -> Self {
        self.share = Some(share);
        self
    }

    const fn kind(mut self, kind: Kind) -> Self {
        self.kind = Some(kind);
        self
    }
}

/// Rows of one room: the first that matches a name counts.
const TABLE: &[Row] = &[
    row(Room::Cache, Name::Is("pkgCache"), Column::Other).room(Room::Caches),
    row(Room::Caches, Name::Ends(".lock"), Column::Other),
    row(Room::Caches, Name::Provider, Column::Other)
        .room(Room::PackageCache)
        .share(Share::Packages),
    row(Room::PackageCache, Name::Is("metadata"), Column::Metadata).room(Room::Metadata),
    row(Room::PackageCache, Name::Is("chrootpkgs.dot"), Column::Other),
    row(Room::PackageCache, Name::Ends(".deb"), Column::Packages).kind(Kind::Package),
    row(Room::PackageCache, Name::Ends(".rpm"), Column::Packages).kind(Kind::Package),
    row(Room::PackageCache, Name::Ends(FILE_SUFFIX), Column::Packages).kind(Kind::Package),
    row(Room::Metadata, Name::Ends(".idx"), Column::Metadata),
    row(Room::Metadata, Name::Is("resolutions"), Column::Metadata).room(Room::Resolutions),
    row(Room::Metadata, Name::Any, Column::Metadata).room(Room::Repository),
    row(Room::Repository, Name::Any, Column::Metadata),
    row(Room::Resolutions, Name::Is("lock"), Column::Metadata),
    row(Room::Resolutions, Name::Digest, Column::Metadata).kind(Kind::Resolution),
    row(Room::Work, Name::Is("tarballs"), Column::Tarballs).room(Room::Tarballs),
    row(Room::Work, Name::Ends(".lock"), Column::Other),
    row(Room::Work, Name::Provider, Column::Other).room(Room::Provider),
    row(Room::Provider, Name::Is("chrootenv"), Column::Other).share(Share::Workspace),
    row(Room::Provider, Name::Is("chrootbuild"), Column::Other)
        .room(Room::Base)
        .share(Share::Workspace)
        .kind(Kind::Base),
    row(Room::Provider, Name::Is("imagebuild"), Column::Other)
        .room(Room::ImageBuilds)
        .share(Share::Images),
    row(Room::Provider, Name::Is("mounts"), Column::Mounts).room(Room::Mounts),
    row(Room::Base, Name::Is("chrootenv.tar.gz"), Column::Snapshot),
    row(Room::Base, Name::Is("chrootenv.idx"), Column::Snapshot),
    row(Room::Base, Name::Is("chroot"), Column::BackingStore).room(Room::BackingStore),
    row(Room::Base, Name::Is(LAYERS), Column::Other).room(Room::Layers),
    row(Room::Base, Name::Ends("lock"), Column::Other),
    row(Room::BackingStore, Name::Begins("members-"), Column::BackingStore),
    row(Room::BackingStore, Name::Is("lock"), Column::BackingStore),
    row(Room::Layers, Name::Ends("lock"), Column::Other),
    row(Room::Layers, Name::Digest, Column::Layers)
        .room(Room::Layer)
        .kind(Kind::Layer),
    row(Room::Layer, Name::Any, Column::Layers),
    row(Room::ImageBuilds, Name::Ends(".lock"), Column::Other),
    row(Room::ImageBuilds, Name::Any, Column::Images)
        .room(Room::ImageBuild)
        .kind(Kind::Image),
    row(Room::ImageBuild, Name::Is(IMAGE_STATE), Column::Images).kind(Kind::State),
    row(Room::ImageBuild, Name::Any, Column::Images),
    row(Room::Mounts, Name::Is(".lock"), Column::Mounts),
    row(Room::Mounts, Name::Any, Column::Mounts).room(Room::Mount),
    row(Room::Mount, Name::Any, Column::Mounts),
    row(Room::Tarballs, Name::Any, Column::Tarballs)
        .room(Room::Tarball)
        .share(Share::Tarball)
        .kind(Kind::Tarball),
    row(Room::Tarball, Name::Is("mounts"), Column::Tarballs).room(Room::Mounts),
    row(Room::Tarball, Name::Is("chroot"), Column::Tarballs).room(Room::BackingStore),
    row(Room::Tarball, Name::Begins("chrootenv"), Column::Tarballs),
];

/// Finds the row of an entry called `name` of `room`; `None` if oic makes nothing of that name.
fn row_of(room: Room, name: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.inside == room && row.name.matches(name))
}

/// An entry of a room.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// Its path.
    pub(super) path: PathBuf,
    /// What it is.
    pub(super) what: What,
}

/// What an entry is.
#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    /// What a row describes.
    Known(&'static Row),
    /// What a killed process left, or a running one works on.
    Leftover,
    /// What oic has not made.
    Strange,
}

impl Place {
    fn of(room: Room, path: PathBuf) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let what = match row_of(room, &name) {
            _ if is_temporary(&path) => What::Leftover,
            Some(row) => What::Known(row),
            None => What::Strange,
        };
        Self { path, what }
    }

    /// Returns its row, if it has one.
    pub(super) fn row(&self) -> Option<&'static Row> {
        match self.what {
            What::Known(row) => Some(row),
            What::Leftover | What::Strange => None,
        }
    }

    /// Returns the sum that it counts to.
    pub(super) fn column(&self) -> Column {
        match self.what {
            What::Known(row) => row.column,
            What::Leftover => Column::Leftovers,
            What::Strange => Column::Strange,
        }
    }

    /// Returns the room that it is, unless it is no directory: no link leads out of the store.
    pub(super) fn room(&self) -> Result<Option<Room>, PathError> {
        let Some(room) = self.row().and_then(|row| row.room) else {
            return Ok(None);
        };
        let is_directory = look_at(&self.path)?.is_some_and(|metadata| metadata.is_dir());
        Ok(is_directory.then_some(room))
    }
}

/// Lists the entries of the directory `path`, which is a `room`, by name; none if it does not exist.
pub(super) fn entries(room: Room, path: &Path) -> Result<Vec<Place>, PathError> {
    let paths = list(path)?.into_iter();
    Ok(paths.map(|path| Place::of(room, path)).collect())
}

/// Calls `visit` for the directory `path`, which is a `room`, and for all rooms below it.
pub(super) fn each_room<E: From<PathError>>(
    room: Room,
    path: &Path,
    visit: &mut dyn FnMut(Room, &Path) -> Result<(), E>,
) -> Result<(), E> {
    visit(room, path)?;
    for place in entries(room, path)? {
        if let Some(room) = place.room()? {
            each_room(room, &place.path, visit)?;
        }
    }
    Ok(())
}

/// Lists the paths below `path`, which is a `room`, whose row is one of `kind`, by name.
pub(super) fn of_kind(room: Room, path: &Path, kind: Kind) -> Result<Vec<PathBuf>, PathError> {
    let mut places = entries(room, path)?;
    places.retain(|place| place.row().is_some_and(|row| row.kind == Some(kind)));
    Ok(places.into_iter().map(|place| place.path).collect())
}

/// Returns the rooms at the top of what belongs to one provider, with their paths.
pub(super) fn tops(workspace: &Workspace) -> [(Room, &Path); 2] {
    [
        (Room::PackageCache, workspace.package_cache()),
        (Room::Provider, workspace.provider()),
    ]
}

/// Says whether `directory`, that of the writable layers of a base, has one: scratch layers do not count.
pub(super) fn has_writable_layer(directory: &Path) -> Result<bool, PathError> {
    let places = entries(Room::Mounts, directory)?;
    let is_layer = |place: &Place| place.row().is_some_and(|row| row.room == Some(Room::Mount));
    Ok(places.iter().any(is_layer))
}

/// Lists the shares of a provider that exist, with their paths.
pub(super) fn shares(workspace: &Workspace) -> Result<Vec<(Share, PathBuf)>, PathError> {
    let cache = workspace.package_cache();
    let mut places = entries(Room::Caches, cache.parent().unwrap_or(cache))?;
    places.retain(|place| place.path == cache);
    places.extend(entries(Room::Provider, workspace.provider())?);
    let shares = places.into_iter();
    Ok(shares
        .filter_map(|place| Some((place.row()?.share?, place.path)))
        .collect())
}

/// Returns the name for a tree called `name` while it is removed.
pub(super) fn removed(name: &OsStr) -> OsString {
    let mut text = OsString::from(REMOVED);
    text.push(name);
    text
}

/// Says whether `path` is the rest of a tree whose removal was cut short.
pub(super) fn is_removed(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.as_encoded_bytes().starts_with(REMOVED.as_bytes())
}

/// Says whether the name of `path` is one of oic's temporary names.
pub(super) fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.as_encoded_bytes().starts_with(TEMPORARY_PREFIX.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::{ImageBuild, LOCKFILE_SUFFIX, TarballPlace};

    /// Says what the table makes of `path`, which lies in the store `/c` and `/w`.
    fn found(path: &Path) -> Option<&'static Row> {
        let (mut room, rest) = match path.strip_prefix("/c") {
            Ok(rest) => (Room::Cache, rest),
            Err(_) => (Room::Work, path.strip_prefix("/w").unwrap()),
        };
        let mut row = None;
        for name in rest {
            row = Some(row_of(room, name.to_str().unwrap())?);
            room = row?.room.unwrap_or(room);
        }
        row
    }

    #[test]
    fn every_path_that_the_workspace_makes_has_a_row() {
        let id = "debian-debian13-x86_64";
        let workspace = Workspace::new(Path::new("/c"), Path::new("/w"), id);
        let (digest, build) = (Sha256::of("x").to_string(), workspace.image_build("edge"));
        let place = TarballPlace::in_work_dir(Path::new("/w"), "0123");
        for (path, column) in [
            (workspace.package_cache().to_owned(), Column::Other),
            (workspace.package_cache().join("a_1_amd64.deb"), Column::Packages),
            (workspace.package_cache().join("a-1.noarch.rpm"), Column::Packages),
            (workspace.dependency_graph(), Column::Other),
            (workspace.cache_lock(), Column::Other),
            (workspace.metadata().join("verified.idx"), Column::Metadata),
            (workspace.metadata().join("main/current"), Column::Metadata),
            (workspace.resolutions().join(&digest), Column::Metadata),
            (workspace.work_lock(), Column::Other),
            (workspace.chrootenv(), Column::Other),
            (workspace.tarball(), Column::Snapshot),
            (workspace.index(), Column::Snapshot),
            (workspace.base_lock(), Column::Other),
            (workspace.backing_store().join("members-1.data"), Column::BackingStore),
            (workspace.layers().join(&digest).join("tree"), Column::Layers),
            (workspace.layers().join(format!("{digest}.lock")), Column::Other),
            (build.directory().to_owned(), Column::Images),
            (build.lock(), Column::Other),
            (build.upper(), Column::Images),
            (build.image_record(), Column::Images),
            (build.image_state(), Column::Images),
            (build.lockfile("edge"), Column::Images),
            (workspace.mounts().join("try/upper"), Column::Mounts),
            (place.index(), Column::Tarballs),
            (place.backing_store().join("members-1.data"), Column::BackingStore),
            (place.mount_point(), Column::Tarballs),
            (place.mounts().join("try/upper"), Column::Mounts),
        ] {
            let row = found(&path).unwrap_or_else(|| panic!("{} has no row", path.display()));
            assert_eq!(row.column, column, "{}", path.display());
        }
        for strange in ["/c/x", "/w/x", "/w/debian-debian13-x86_64/x"] {
            assert!(found(Path::new(strange)).is_none(), "{strange}");
        }
        assert!(build.lockfile("edge").to_str().unwrap().ends_with(LOCKFILE_SUFFIX));
    }

    #[test]
    fn temporary_names_are_leftovers_in_every_room() {
        for row in TABLE {
            for path in [build("x").previous().directory().to_owned(), "/x/.oic-tmp-1.deb".into()] {
                assert!(matches!(Place::of(row.inside, path).what, What::Leftover));
            }
        }
    }

    fn build(name: &str) -> ImageBuild {
        Workspace::new(Path::new("/c"), Path::new("/w"), "p").image_build(name)
    }
}
