//! From a valid merged tree to typed values. What the table or the rules refuse cannot come
//! here, so a value that does not convert is left out rather than reported twice.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::model::*;
use super::rules::is_hashed;
use super::schema::checks::is_placeholder;
use super::schema::partition_type;
use super::{embedded, size};
use crate::data;
use crate::package::PackageFilter;
use crate::yaml::{Finding, Findings, Node, Source};

/// Where relative names of a template's files start.
#[derive(Debug, Clone)]
pub(super) enum Base {
    /// The directory of a template on the build host.
    Directory(PathBuf),
    /// A directory of the data that comes with oic, or what the user put over it.
    Provider {
        /// The directory on the host whose files count first.
        overlay: Option<PathBuf>,
        /// The directory in the embedded data.
        directory: String,
    },
}

/// The two templates that a merged tree is made of, and where each one's files are.
#[derive(Debug)]
pub(super) struct Bases<'a> {
    pub(super) user_source: &'a Arc<Source>,
    pub(super) user: &'a Base,
    pub(super) default: &'a Base,
}

/// Makes a [`Template`] of a merged tree; files that are not there go to `findings`.
pub(super) fn template(root: &Node, bases: &Bases<'_>, findings: &mut Findings) -> Option<Template> {
    let (image, target) = (root.get("image")?, root.get("target")?);
    let text = |node: &Node, key: &str| node.text_at(key).map(str::to_owned);
    Some(Template {
        image: ImageInfo {
            name: text(image, "name")?,
            version: text(image, "version")?,
        },
        target: Target {
            os: text(target, "os")?,
            dist: text(target, "dist")?,
            arch: target.text_at("arch")?.parse().ok()?,
            image_type: ImageType::named(target.text_at("imageType")?)?,
        },
        disk: disk(root.get("disk")),
        system: system(root.get("systemConfig")?, bases, findings)?,
        repositories: root
            .items_at("packageRepositories")
            .iter()
            .filter_map(repository)
            .collect(),
    })
}

fn disk(node: Option<&Node>) -> Disk {
    let text = |key| node.and_then(|disk| disk.text_at(key));
    let partitions = node.map_or(&[][..], |disk| disk.items_at("partitions"));
    Disk {
        name: text("name").unwrap_or_default().to_owned(),
        artifacts: node
            .map_or(&[][..], |disk| disk.items_at("artifacts"))
            .iter()
            .filter_map(artifact)
            .collect(),
        size_bytes: text("size").and_then(|size| size::parse(size).ok()),
        table: match text("partitionTableType") {
            Some("mbr") => PartitionTable::Mbr,
            _ => PartitionTable::Gpt,
        },
        partitions: partitions
            .iter()
            .enumerate()
            .filter_map(|(i, node)| partition(i, node))
            .collect(),
    }
}

fn artifact(node: &Node) -> Option<Artifact> {
    Some(Artifact {
        format: node.text_at("type")?.to_owned(),
        compression: node.text_at("compression").and_then(|name| match name {
            "gz" | "gzip" => Some(Compression::Gzip),
            "xz" => Some(Compression::Xz),
            "zstd" => Some(Compression::Zstd),
            "bz2" => Some(Compression::Bzip2),
            _ => None,
        }),
    })
}

fn partition(index: usize, node: &Node) -> Option<Partition> {
    let text = |key| node.text_at(key);
    let id = text("id").or_else(|| text("name"));
    let id = id.map_or_else(|| format!("partition{}", index + 1), str::to_owned);
    let type_uuid = text("typeUUID").and_then(|id| uuid::Uuid::try_parse(id).ok());
    // As in parted(8), a flag says what a partition is for if nothing else does.
    let flags = texts(node, "flags");
    let by_flag = || flags.iter().find_map(|flag| partition_type(flag));
    let kind = match text("type") {
        Some(kind) => partition_type(kind),
        None => by_flag(),
    };
    Some(Partition {
        name: text("name").unwrap_or(&id).to_owned(),
        id,
        kind: kind.unwrap_or("linux").to_owned(),
        type_uuid,
        file_system: text("fsType").and_then(file_system),
        label: text("fsLabel").map(str::to_owned),
        start_bytes: size::parse(text("start")?).ok()?,
        end_bytes: Some(size::parse(text("end")?).ok()?).filter(|end| *end != 0),
        mount_point: text("mountPoint")
            .filter(|point| point.starts_with('/'))
            .map(str::to_owned),
        mount_options: text("mountOptions").unwrap_or("defaults").to_owned(),
        flags,
    })
}

fn file_system(name: &str) -> Option<FileSystem> {
    match name {
        "fat32" | "vfat" => Some(FileSystem::Fat32),
        "fat16" => Some(FileSystem::Fat16),
        "ext2" => Some(FileSystem::Ext2),
        "ext3" => Some(FileSystem::Ext3),
        "ext4" => Some(FileSystem::Ext4),
        "xfs" => Some(FileSystem::Xfs),
        "swap" | "linux-swap" => Some(FileSystem::Swap),
        _ => None,
    }
}

fn system(node: &Node, bases: &Bases<'_>, findings: &mut Findings) -> Option<SystemConfig> {
    let files = node.items_at("additionalFiles").iter().enumerate();
    Some(SystemConfig {
        name: node.text_at("name")?.to_owned(),
        description: node.text_at("description").unwrap_or_default().to_owned(),
        hostname: node.text_at("hostname").map(str::to_owned),
        immutable: node.at(&["immutability", "enabled"]).and_then(Node::bool) == Some(true),
        users: node.items_at("users").iter().filter_map(user).collect(),
        bootloader: bootloader(node.get("bootloader")),
        packages: texts(node, "packages"),
        additional_files: files
            .filter_map(|(index, file)| additional_file(index, file, bases, findings))
            .collect(),
        commands: node
            .items_at("configurations")
            .iter()
            .filter_map(|c| c.text_at("cmd").map(str::to_owned))
            .collect(),
        kernel: kernel(node.get("kernel")),
    })
}

fn user(node: &Node) -> Option<User> {
    let text = |key: &str| node.text_at(key).map(str::to_owned);
    let method = match node.text_at("hash_algo") {
        Some("sha256") => HashMethod::Sha256,
        Some("bcrypt") => HashMethod::Bcrypt,
        Some("yescrypt") => HashMethod::Yescrypt,
        _ => HashMethod::Sha512,
    };
    Some(User {
        name: text("name")?,
        password: match text("password") {
            None => Password::Locked,
            Some(hash) if is_hashed(&hash) => Password::Hashed(hash),
            Some(text) => Password::Plain { text, method },
        },
        password_max_age_days: node
            .get("passwordMaxAge")
            .and_then(Node::int)
            .and_then(|days| days.try_into().ok()),
        groups: texts(node, "groups"),
        sudo: node.get("sudo").and_then(Node::bool) == Some(true),
        home: text("home"),
        shell: text("shell"),
        startup_script: text("startupScript"),
    })
}

fn bootloader(node: Option<&Node>) -> Bootloader {
    let text = |key| node.and_then(|loader| loader.text_at(key));
    Bootloader {
        boot_type: match text("bootType") {
            Some("legacy") => BootType::Legacy,
            _ => BootType::Efi,
        },
        provider: match text("provider") {
            Some("grub" | "grub2") => BootProvider::Grub,
            _ => BootProvider::SystemdBoot,
        },
    }
}

fn kernel(node: Option<&Node>) -> Kernel {
    let words = |key| {
        node.and_then(|kernel| kernel.text_at(key))
            .unwrap_or_default()
            .split_whitespace()
    };
    Kernel {
        version: node.and_then(|kernel| kernel.text_at("version")).map(str::to_owned),
        // A folded YAML text may have line breaks; a command line has none.
        command_line: words("cmdline").collect::<Vec<_>>().join(" "),
        extra_modules: words("enableExtraModules").map(str::to_owned).collect(),
        packages: node.map_or_else(Vec::new, |kernel| texts(kernel, "packages")),
    }
}

fn repository(node: &Node) -> Option<PackageRepository> {
    let url = node.text_at("url").or_else(|| node.text_at("path"))?;
    if is_placeholder(url) {
        return None;
    }
    let one = node.text_at("pkey").map(str::to_owned);
    let keys: Vec<String> = one.into_iter().chain(texts(node, "pkeys")).collect();
    let components = node.text_at("component").unwrap_or("main").split_whitespace();
    Some(PackageRepository {
        codename: node.text_at("codename")?.to_owned(),
        url: url.trim_end_matches('/').to_owned(),
        trusted: keys.iter().any(|key| key == "[trusted=yes]"),
        keys: keys
            .into_iter()
            .filter(|key| !is_placeholder(key) && key != "[trusted=yes]")
            .collect(),
        components: components.map(str::to_owned).collect(),
        priority: node
            .get("priority")
            .and_then(Node::int)
            .and_then(|p| p.try_into().ok())
            .unwrap_or(500),
        filter: PackageFilter {
            allow: texts(node, "allowPackages"),
            exclude: texts(node, "excludePackages"),
        },
    })
}

fn texts(node: &Node, key: &str) -> Vec<String> {
    node.items_at(key)
        .iter()
        .filter_map(Node::text)
        .map(str::to_owned)
        .collect()
}

fn additional_file(index: usize, node: &Node, bases: &Bases<'_>, findings: &mut Findings) -> Option<AdditionalFile> {
    let local = node.get("local")?;
    let name = local.text()?;
    let source = locate(local, name, bases);
    if source.is_none() || matches!(&source, Some(FileSource::Host(path)) if !path.is_file()) {
        let path = format!("systemConfig.additionalFiles[{index}].local");
        let message = format!("{name:?} is not there, or is no regular file");
        let finding = Finding::warning(&local.span, path, message);
        findings.push(match (&source, bases.user) {
            (Some(FileSource::Host(path)), _) => finding.hint(format!("looked for {}", path.display())),
            (_, Base::Directory(directory)) => finding.hint(format!("looked below {}", directory.display())),
            _ => finding,
        });
    }
    Some(AdditionalFile {
        source: source.unwrap_or_else(|| FileSource::Host(PathBuf::from(name))),
        destination: node.text_at("final")?.to_owned(),
    })
}

/// The file that `name` means: relative to the template that says it, else among the files of
/// the provider's default template, which the templates of the older tool count on.
pub(super) fn locate(local: &Node, name: &str, bases: &Bases<'_>) -> Option<FileSource> {
    if let Some(path) = name.strip_prefix(embedded::PREFIX) {
        return data::file(path).map(FileSource::Embedded);
    }
    let from_user = Arc::ptr_eq(local.span.source(), bases.user_source);
    let own = if from_user { bases.user } else { bases.default };
    let path = Path::new(name);
    if path.is_absolute() {
        // The data that comes with oic names no file of a build host.
        return matches!(own, Base::Directory(_)).then(|| FileSource::Host(path.to_owned()));
    }
    let at = |base: &Base| match base {
        Base::Directory(directory) => Some(FileSource::Host(directory.join(path))),
        Base::Provider { overlay, directory } => {
            let overlaid = overlay
                .as_ref()
                .map(|overlay| overlay.join(path))
                .filter(|path| path.is_file());
            let embedded = || embedded::join(directory, name).and_then(|path| data::file(&path));
            overlaid
                .map(FileSource::Host)
                .or_else(|| embedded().map(FileSource::Embedded))
        }
    };
    match at(own) {
        Some(FileSource::Host(path)) if !path.is_file() => at(bases.default).or(Some(FileSource::Host(path))),
        Some(found) => Some(found),
        None => at(bases.default),
    }
}
