//! From a valid merged tree to typed values. What the table or the rules refuse cannot come
//! here, so a value that does not convert is left out rather than reported twice.

mod signing;

use super::additional::Files;
use super::files::Origins;
use super::rules::{hash_partition, is_hashed};
use super::schema::checks::{TRUSTED, is_placeholder};
use super::schema::{
    artifact, bootloader, configuration, container, debconf, disk, group, image, immutability, interface, kernel,
    network, partition, repository, route, selection_policy, services, system, target, template, user,
};
use super::{size, stated};
use crate::date;
use crate::model::*;
use crate::package::PackageFilter;
use crate::yaml::schema::Field;
use crate::yaml::{Findings, Key, Node, Place};

/// Makes a [`Template`] of a merged tree; findings for files that do not exist go to `findings`.
pub(super) fn template(root: &Node, files: &Files<'_>, findings: &mut Findings) -> Option<Template> {
    let (image, target) = (root.read(template::IMAGE)?, root.read(template::TARGET)?);
    Some(Template {
        image: ImageInfo {
            name: image.read(image::NAME)?.to_owned(),
            version: image.read(image::VERSION)?.to_owned(),
        },
        target: Target {
            os: target.read(target::OS)?.to_owned(),
            dist: target.read(target::DIST)?.to_owned(),
            arch: target.read(target::ARCH)?,
            image_type: target.read(target::IMAGE_TYPE)?,
        },
        disk: disk(root.read(template::DISK), is_immutable(root.read(template::SYSTEM))),
        container: root.read(template::CONTAINER).map(container).unwrap_or_default(),
        system: system(&Place::root(root).get(template::SYSTEM)?, files, findings)?,
        repositories: root
            .read(template::REPOSITORIES)
            .iter()
            .filter_map(|node| repository(node, files.origins))
            .collect(),
        stated: stated::packages(root.read(template::SBOM)),
    })
}

/// Says whether `systemConfig` asks for a verified root.
fn is_immutable(system: Option<&Node>) -> bool {
    let section = system.and_then(|system| system.read(system::IMMUTABILITY));
    section.and_then(|section| section.read(immutability::ENABLED)) == Some(true)
}

/// Converts `disk`; a template without one has a disk without partitions. One of an image that `is_immutable` may have
/// one for hashes.
fn disk(node: Option<&Node>, is_immutable: bool) -> Disk {
    let text = |field: Field<str>| node.and_then(|disk| disk.read(field));
    let maps = |field: Field<[Node]>| node.map_or(&[][..], |disk| disk.read(field));
    let hashes = hash_partition(maps(disk::PARTITIONS)).filter(|_| is_immutable);
    let table = node.and_then(|disk| disk.read(disk::TABLE)).unwrap_or_default();
    let growing = node.and_then(growing);
    Disk {
        growing,
        sector_size: node
            .and_then(|disk| disk.read(disk::SECTOR_SIZE))
            .and_then(SectorSize::of)
            .unwrap_or_default(),
        name: text(disk::NAME).unwrap_or_default().to_owned(),
        artifacts: maps(disk::ARTIFACTS).iter().filter_map(artifact).collect(),
        size_bytes: text(disk::SIZE).and_then(|size| size::parse(size).ok()),
        table,
        partitions: maps(disk::PARTITIONS)
            .iter()
            .enumerate()
            .filter_map(|(i, node)| {
                let mut partition = partition(i, node)?;
                if growing == Some(i) && table == PartitionTable::Gpt {
                    partition.flags.push(PartitionFlag::GrowFileSystem);
                }
                Some(if hashes == Some(i) {
                    of_hashes(partition)
                } else {
                    partition
                })
            })
            .collect(),
        installation: Installation {
            path: text(disk::PATH).filter(|path| !path.is_empty()).map(Into::into),
            selection: node
                .and_then(|disk| disk.read(disk::SELECTION_POLICY))
                .and_then(selection),
        },
    }
}

/// Finds the partition of `disk` that grows.
fn growing(disk: &Node) -> Option<usize> {
    let partitions = disk.read(disk::PARTITIONS);
    let grows = |node: &Node| node.read(partition::GROW) == Some(true);
    let last = || {
        partitions
            .len()
            .checked_sub(1)
            .filter(|_| disk.read(disk::EXTEND_LAST) == Some(true))
    };
    partitions.iter().position(grows).or_else(last)
}

/// Converts `disk.selectionPolicy`.
fn selection(node: &Node) -> Option<Selection> {
    Some(Selection {
        strategy: node.read(selection_policy::STRATEGY)?,
        exclude_removable: node.read(selection_policy::EXCLUDE_REMOVABLE).unwrap_or(true),
        require_empty: node.read(selection_policy::REQUIRE_EMPTY).unwrap_or(true),
    })
}

/// Converts `container`.
fn container(node: &Node) -> Container {
    let label = |(name, value): &(Key, Node)| Some((name.text.clone(), value.text()?.to_owned()));
    let labels = node.read(container::LABELS).map_or(&[][..], Node::entries);
    Container {
        labels: labels.iter().filter_map(label).collect(),
        entrypoint: node.read(container::ENTRYPOINT),
        command: node.read(container::COMMAND),
        user: node.read(container::USER).map(str::to_owned),
        working_directory: node.read(container::WORKING_DIRECTORY).map(str::to_owned),
    }
}

/// Converts an entry of `disk.artifacts`.
fn artifact(node: &Node) -> Option<Artifact> {
    Some(Artifact {
        format: node.read(artifact::TYPE)?,
        compression: node.read(artifact::COMPRESSION),
        level: node.read(artifact::LEVEL).and_then(|level| u32::try_from(level).ok()),
    })
}

/// Converts an entry of `disk.partitions`; `index` counts from 0.
fn partition(index: usize, node: &Node) -> Option<Partition> {
    let owned = |field: Field<str>| node.read(field).map(str::to_owned);
    let id = owned(partition::ID).or_else(|| owned(partition::NAME));
    let id = id.unwrap_or_else(|| format!("partition{}", index + 1));
    let type_uuid = node.read(partition::TYPE_UUID);
    // As in parted(8), a flag gives the purpose of a partition if nothing else does.
    let flags = node.read(partition::FLAGS);
    let by_flag = || flags.iter().find_map(|flag| flag.implied_type());
    let has_type = node.get(partition::TYPE).is_some_and(|word| word.text() != Some(""));
    let kind = node.read(partition::TYPE);
    Some(Partition {
        name: owned(partition::NAME).unwrap_or_else(|| id.clone()),
        id,
        kind: kind.or_else(|| by_flag().filter(|_| !has_type)).unwrap_or_default(),
        type_uuid: type_uuid.and_then(|id| uuid::Uuid::try_parse(id).ok()),
        file_system: node.read(partition::FS_TYPE).flatten(),
        label: owned(partition::FS_LABEL),
        compression: node.read(partition::FS_COMPRESSION).flatten(),
        start_bytes: size::parse(node.read(partition::START)?).ok()?,
        end_bytes: Some(size::parse(node.read(partition::END)?).ok()?).filter(|end| *end != 0),
        mount_point: owned(partition::MOUNT_POINT).filter(|point| point.starts_with('/')),
        mount_options: owned(partition::MOUNT_OPTIONS).unwrap_or_else(|| "defaults".to_owned()),
        flags,
        is_hash_tree: false,
    })
}

/// Makes `partition` the one of a hash tree: older templates give it a file system, which is never made.
fn of_hashes(partition: Partition) -> Partition {
    Partition {
        is_hash_tree: true,
        file_system: None,
        label: None,
        ..partition
    }
}

/// Converts `systemConfig`.
fn system(system: &Place<'_>, files: &Files<'_>, findings: &mut Findings) -> Option<SystemConfig> {
    Some(SystemConfig {
        name: system.read(system::NAME)?.to_owned(),
        description: system.read(system::DESCRIPTION).unwrap_or_default().to_owned(),
        hostname: system.read(system::HOSTNAME).map(str::to_owned),
        machine_id: system
            .read(system::MACHINE_ID)
            .map_or_else(MachineId::default, MachineId::of),
        machine: machine(system.node),
        network: system.read(system::NETWORK).and_then(network),
        immutable: is_immutable(Some(system.node)),
        groups: system.read(system::GROUPS).iter().filter_map(group).collect(),
        users: system.read(system::USERS).iter().filter_map(user).collect(),
        bootloader: bootloader(system.read(system::BOOTLOADER)),
        encryption: signing::encryption(system, files.origins),
        signing: signing::convert(system, files.origins),
        packages: super::packages(system.node),
        removed_packages: super::removed_packages(system.node),
        recommends: system.read(system::RECOMMENDS) == Some(true),
        recommends_of: system.read(system::RECOMMENDS_OF),
        foreign_architectures: system.read(system::FOREIGN_ARCHITECTURES),
        debconf: system.read(system::DEBCONF).iter().filter_map(answer).collect(),
        additional_files: system
            .items(system::ADDITIONAL_FILES)
            .flat_map(|file| files.of(&file, findings))
            .collect(),
        commands: system.read(system::CONFIGURATIONS).iter().filter_map(command).collect(),
        allow_secrets: system.read(system::ALLOW_SECRETS),
        kernel: kernel(
            system.read(system::KERNEL),
            bootloader(system.read(system::BOOTLOADER)).secure_boot,
        ),
    })
}

/// Converts an entry of `systemConfig.configurations`.
fn command(node: &Node) -> Option<Configuration> {
    let variable = |(key, value): &(Key, Node)| Some((key.text.clone(), value.text()?.to_owned()));
    let env = node.read(configuration::ENV).map_or(&[][..], Node::entries);
    Some(Configuration {
        text: node.read(configuration::CMD)?.to_owned(),
        network: node.read(configuration::NETWORK) == Some(true),
        env: env.iter().filter_map(variable).collect(),
        when: node.read(configuration::WHEN),
    })
}

/// Converts an entry of `systemConfig.debconf`.
fn answer(node: &Node) -> Option<DebconfAnswer> {
    Some(DebconfAnswer {
        package: node.read(debconf::PACKAGE)?.to_owned(),
        question: node.read(debconf::QUESTION)?.to_owned(),
        kind: node.read(debconf::TYPE)?,
        value: node.read(debconf::VALUE).unwrap_or_default().to_owned(),
    })
}

/// Converts the machine's own settings in `systemConfig`.
fn machine(system: &Node) -> Machine {
    let owned = |field: Field<str>| system.read(field).map(str::to_owned);
    let units = |field: Field<[String]>| -> Vec<String> {
        let names = system
            .read(system::SERVICES)
            .map_or_else(Vec::new, |services| services.read(field));
        names.iter().map(|name| machine::unit(name)).collect()
    };
    let parameter = |(key, value): &(Key, Node)| {
        let number = value.int().map(|number| number.to_string());
        Some((key.text.clone(), value.text().map(str::to_owned).or(number)?))
    };
    Machine {
        services: Services {
            enable: units(services::ENABLE),
            disable: units(services::DISABLE),
            mask: units(services::MASK),
        },
        timezone: owned(system::TIMEZONE),
        locale: owned(system::LOCALE),
        keymap: owned(system::KEYMAP),
        sysctl: system
            .read(system::SYSCTL)
            .map_or(&[][..], Node::entries)
            .iter()
            .filter_map(parameter)
            .collect(),
        kernel_modules: system.read(system::KERNEL_MODULES),
    }
}

/// Converts `systemConfig.network`; without interfaces there is nothing to configure.
fn network(node: &Node) -> Option<Network> {
    let interfaces: Vec<Interface> = node.read(network::INTERFACES).iter().filter_map(interface).collect();
    Some(Network {
        backend: node.read(network::BACKEND).unwrap_or(NetworkBackend::Networkd),
        interfaces: Some(interfaces).filter(|interfaces| !interfaces.is_empty())?,
    })
}

/// Converts an entry of `systemConfig.network.interfaces`.
fn interface(node: &Node) -> Option<Interface> {
    let route = |node: &Node| {
        Some(Route {
            to: node.read(route::TO).filter(|to| *to != "default").map(str::to_owned),
            via: node.read(route::VIA)?.to_owned(),
        })
    };
    Some(Interface {
        name: node.read(interface::NAME)?.to_owned(),
        dhcp4: node.read(interface::DHCP4) == Some(true),
        dhcp6: node.read(interface::DHCP6) == Some(true),
        addresses: node.read(interface::ADDRESSES),
        routes: node.read(interface::ROUTES).iter().filter_map(route).collect(),
        nameservers: node.read(interface::NAMESERVERS),
    })
}

/// Converts an entry of `systemConfig.groups`.
fn group(node: &Node) -> Option<Group> {
    Some(Group {
        name: node.read(group::NAME)?.to_owned(),
        gid: node.read(group::GID).and_then(|gid| gid.try_into().ok()),
        system: node.read(group::SYSTEM) == Some(true),
    })
}

/// Converts an entry of `systemConfig.users`.
fn user(node: &Node) -> Option<User> {
    let owned = |field: Field<str>| node.read(field).map(str::to_owned);
    let method = node.read(user::HASH_ALGO).unwrap_or(HashMethod::Sha512);
    let days = node.read(user::PASSWORD_MAX_AGE);
    Some(User {
        name: owned(user::NAME)?,
        password: match owned(user::PASSWORD) {
            None => Password::Locked,
            Some(hash) if is_hashed(&hash) => Password::Hashed(hash),
            Some(text) => Password::Plain { text, method },
        },
        password_max_age_days: days.and_then(|days| days.try_into().ok()),
        expires_days: node.read(user::EXPIRE).and_then(date::days_since_1970),
        locked: node.read(user::LOCKED) == Some(true),
        system: node.read(user::SYSTEM) == Some(true),
        uid: node.read(user::UID).and_then(|uid| uid.try_into().ok()),
        ssh_keys: node.read(user::SSH_KEYS),
        groups: node
            .read(user::GROUPS)
            .into_iter()
            .filter(|group| !is_placeholder(group))
            .collect(),
        sudo: node.read(user::SUDO) == Some(true),
        home: owned(user::HOME),
        shell: owned(user::SHELL),
        startup_script: owned(user::STARTUP_SCRIPT),
    })
}

/// Converts `systemConfig.bootloader`; UEFI with systemd-boot if absent.
fn bootloader(node: Option<&Node>) -> Bootloader {
    let boot_type = node.and_then(|loader| loader.read(bootloader::BOOT_TYPE));
    let provider = node.and_then(|loader| loader.read(bootloader::PROVIDER));
    Bootloader {
        boot_type: boot_type.unwrap_or_default(),
        provider: provider.unwrap_or_default(),
        secure_boot: node
            .and_then(|loader| loader.read(bootloader::SECURE_BOOT))
            .unwrap_or_default(),
    }
}

/// Converts `systemConfig.kernel`. Nobody has signed a unified kernel image of `secure_boot` by the distribution.
fn kernel(node: Option<&Node>, secure_boot: SecureBoot) -> Kernel {
    let text = |field: Field<str>| node.and_then(|kernel| kernel.read(field));
    let words = |field: Field<str>| text(field).unwrap_or_default().split_whitespace();
    Kernel {
        version: text(kernel::VERSION).map(str::to_owned),
        // A folded YAML text may have line breaks; a command line has none.
        command_line: words(kernel::CMDLINE).collect::<Vec<_>>().join(" "),
        extra_modules: words(kernel::EXTRA_MODULES).map(str::to_owned).collect(),
        packages: node.map_or_else(Vec::new, |kernel| kernel.read(kernel::PACKAGES)),
        form: match node.and_then(|kernel| kernel.read(kernel::UKI)) {
            Some(false) => KernelForm::Separate,
            None if secure_boot == SecureBoot::Distribution => KernelForm::Separate,
            _ => KernelForm::Unified,
        },
    }
}

/// Converts an entry of `packageRepositories`; an entry whose URL is a placeholder is left out.
fn repository(node: &Node, origins: &Origins) -> Option<PackageRepository> {
    let is_real = |place: &&str| !is_placeholder(place);
    let packages = node.get(repository::PACKAGES).map_or(&[][..], Node::items);
    let packages: Vec<PackageSource> = packages
        .iter()
        .filter_map(|file| package_source(file, origins))
        .collect();
    let url = match node.read(repository::URL) {
        Some(url) => Some(Some(url).filter(is_real)?),
        None => node.read(repository::PATH).filter(is_real),
    };
    let url = url.or((!packages.is_empty()).then_some(""))?;
    let one = node.read(repository::PKEY).map(str::to_owned);
    let keys: Vec<String> = one.into_iter().chain(node.read(repository::PKEYS)).collect();
    let components = node.read(repository::COMPONENT).unwrap_or("main");
    let priority = node.read(repository::PRIORITY);
    Some(PackageRepository {
        codename: node.read(repository::CODENAME)?.to_owned(),
        url: url.trim_end_matches('/').to_owned(),
        packages,
        any_certificate: node.read(repository::INSECURE_SKIP_VERIFY) == Some(true),
        trusted: keys.iter().any(|key| key == TRUSTED),
        keys: keys
            .into_iter()
            .filter(|key| !is_placeholder(key) && key != TRUSTED)
            .collect(),
        components: components.split_whitespace().map(str::to_owned).collect(),
        priority: priority.and_then(|p| p.try_into().ok()).unwrap_or(500),
        filter: PackageFilter {
            allow: node.read(repository::ALLOW_PACKAGES),
            exclude: node.read(repository::EXCLUDE_PACKAGES),
        },
        check_valid_until: node.read(repository::CHECK_VALID_UNTIL).unwrap_or(true),
    })
}

/// Converts an entry of `packages`: a URL or path, and its digest behind a `#`.
pub(super) fn package_source(node: &Node, origins: &Origins) -> Option<PackageSource> {
    let text = node.text()?;
    let (place, digest) = text
        .split_once('#')
        .map_or((text, None), |(place, digest)| (place, Some(digest)));
    let sha256 = digest.and_then(|digest| digest.strip_prefix("sha256=")?.parse().ok());
    let place = match place.starts_with("https://") {
        true => PackagePlace::Url(place.to_owned()),
        false => PackagePlace::Host(match origins.locate(node, place) {
            Some(FileSource::Host(path)) => path,
            // The data that comes with oic has no packages.
            _ => place.into(),
        }),
    };
    Some(PackageSource { place, sha256 })
}
