use super::*;
use crate::model::{Artifact, ArtifactFormat, FileSystem, PartitionFlag, PartitionType};
use crate::package::Sha256;

/// Makes a partition of a template; positions in MiB.
pub fn partition(
    id: &str,
    kind: PartitionType,
    fs: Option<FileSystem>,
    start_mib: u64,
    end_mib: Option<u64>,
) -> Partition {
    Partition {
        id: id.into(),
        name: id.into(),
        kind,
        type_uuid: None,
        file_system: fs,
        label: None,
        compression: None,
        start_bytes: start_mib << 20,
        end_bytes: end_mib.map(|mib| mib << 20),
        mount_point: None,
        mount_options: "defaults".into(),
        flags: Vec::new(),
        is_hash_tree: false,
    }
}

/// Makes a GPT disk of a template.
pub fn disk(size_mib: Option<u64>, partitions: Vec<Partition>) -> Disk {
    Disk {
        size_bytes: size_mib.map(|mib| mib << 20),
        partitions,
        ..Disk::default()
    }
}

/// Lays `disk` out for x86-64.
pub fn plan_of(disk: &Disk) -> DiskPlan {
    plan(disk, Arch::X86_64, &ImageSeed(Sha256::of("test"))).unwrap()
}

fn usual() -> Disk {
    let mut esp = partition("esp", PartitionType::Esp, Some(FileSystem::Fat32), 1, Some(65));
    esp.mount_point = Some("/boot/efi".into());
    let mut root = partition("root", PartitionType::RootAmd64, Some(FileSystem::Ext4), 65, None);
    root.mount_point = Some("/".into());
    disk(Some(256), vec![esp, root])
}

#[test]
fn the_usual_disk() {
    let plan = plan_of(&usual());
    assert_eq!(plan.warnings, Vec::<String>::new());
    let (esp, root) = (plan.esp().unwrap(), plan.root().unwrap());
    assert_eq!((esp.first_lba, esp.last_lba), (2048, 65 * 2048 - 1));
    assert_eq!((root.offset_bytes(), root.size_bytes()), (65 << 20, (255 - 65) << 20));
    assert_ne!(esp.partuuid, root.partuuid);
    assert_ne!(root.fs_uuid.to_string(), root.partuuid);
    assert_eq!(plan, plan_of(&usual()));
    let mut fixed = usual();
    fixed.size_bytes = None;
    fixed.partitions[1].end_bytes = Some(200 << 20);
    assert_eq!(plan_of(&fixed).size_bytes, 201 << 20);
}

type Change = fn(&mut Disk);

#[test]
fn what_cannot_be_names_its_field() {
    let cases: [(Change, &str, &str); 18] = [
        (
            |d| d.partitions[0].file_system = Some(FileSystem::Ext4),
            "partitions[0].fsType",
            "has to be FAT",
        ),
        (|d| d.partitions.clear(), "disk.partitions:", "at least one"),
        (|d| d.size_bytes = None, "disk.size", "is needed"),
        (|d| d.size_bytes = Some((256 << 20) + 1), "disk.size", "multiple"),
        (|d| d.size_bytes = Some(u64::MAX - 511), "disk.size", "cannot be made"),
        (
            |d| d.partitions[0].start_bytes = 512,
            "disk.partitions[0].start (id \"esp\")",
            "in the partition table",
        ),
        (
            |d| d.partitions[0].start_bytes = 1_000_001,
            "partitions[0].start",
            "not on a sector",
        ),
        (
            |d| d.partitions[1].end_bytes = Some(256 << 20),
            "partitions[1].end",
            "behind the usable part",
        ),
        (
            |d| d.partitions[1].start_bytes = 255 << 20,
            "partitions[1].start",
            "nothing is left",
        ),
        (
            |d| d.partitions[1].start_bytes = 64 << 20,
            "partitions[1].start",
            "overlaps with partition \"esp\"",
        ),
        (
            |d| d.partitions[0].end_bytes = Some(1 << 20),
            "partitions[0].end",
            "not behind the start",
        ),
        (
            |d| d.partitions[0].end_bytes = Some(20 << 20),
            "partitions[0].fsType",
            "too small for FAT32",
        ),
        (
            |d| d.partitions[1].kind = PartitionType::RootArm64,
            "partitions[1].type",
            "is for aarch64",
        ),
        (
            |d| d.partitions[1].flags = vec![PartitionFlag::Hidden],
            "partitions[1].flags",
            "the flag `hidden` is not supported yet",
        ),
        (
            |d| d.partitions[1].mount_point = None,
            "disk.partitions:",
            "no partition is mounted at /",
        ),
        (
            |d| d.partitions[0].mount_point = Some("/".into()),
            "partitions[0].fsType",
            "root needs a file system that keeps owners",
        ),
        (
            |d| d.partitions[0].mount_point = Some("/boot/../x".into()),
            "partitions[0].mountPoint",
            "not a plain",
        ),
        (
            |d| d.partitions[1].file_system = Some(FileSystem::Xfs),
            "partitions[1].fsType",
            "xfs is not supported",
        ),
    ];
    for (change, field, reason) in cases {
        let mut disk = usual();
        change(&mut disk);
        let error = plan(&disk, Arch::X86_64, &ImageSeed(Sha256::of("test"))).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(field) && text.contains(reason), "{text}");
    }
}

#[test]
fn an_odd_start_warns() {
    let mut disk = usual();
    disk.partitions[0].start_bytes = 20480;
    let plan = plan_of(&disk);
    assert!(plan.warnings[0].contains("partitions[0].start"), "{:?}", plan.warnings);
}

#[test]
fn the_disk_fits_its_artifacts() {
    let of = |format| {
        let mut disk = usual();
        disk.size_bytes = Some((256 << 20) + 512);
        disk.artifacts = [ArtifactFormat::Raw, format]
            .map(|format| Artifact {
                format,
                compression: None,
                level: None,
            })
            .to_vec();
        plan(&disk, Arch::X86_64, &ImageSeed(Sha256::of("test")))
    };
    let plan = of(ArtifactFormat::Qcow2).unwrap();
    assert_eq!((plan.size_bytes, plan.warnings.len()), ((256 << 20) + 512, 0));
    for (format, mib) in [
        (ArtifactFormat::Vhd, 257),
        (ArtifactFormat::Azure, 257),
        (ArtifactFormat::Gcp, 1024),
    ] {
        let plan = of(format).unwrap();
        assert_eq!(plan.size_bytes, mib << 20);
        let warning = format!("disk.size: the disk has {mib} MiB instead of");
        assert!(plan.warnings[0].starts_with(&warning), "{:?}", plan.warnings);
        let end = plan.root().unwrap().last_lba * 512;
        assert!(end > (mib - 2) << 20 && end < plan.size_bytes, "{end}");
    }
    let mut large = usual();
    large.size_bytes = Some(3 << 40);
    large.artifacts = vec![Artifact {
        format: ArtifactFormat::Ova,
        compression: None,
        level: None,
    }];
    let error = super::plan(&large, Arch::X86_64, &ImageSeed(Sha256::of("test"))).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("disk.artifacts[0].type") && text.contains("at most 2040 GiB"),
        "{text}"
    );
}

/// A disk with an MBR of seven partitions, and room for the records of the logical ones.
fn seven() -> Disk {
    let mut partitions: Vec<_> = (0..7)
        .map(|i| {
            let start = 1 + i * 40;
            partition(&format!("p{i}"), PartitionType::Linux, None, start, Some(start + 39))
        })
        .collect();
    partitions[0].kind = PartitionType::Esp;
    partitions[0].file_system = Some(FileSystem::Fat32);
    partitions[1].file_system = Some(FileSystem::Ext4);
    partitions[1].mount_point = Some("/".into());
    Disk {
        table: PartitionTable::Mbr,
        ..disk(Some(400), partitions)
    }
}

#[test]
fn what_an_mbr_cannot_express_names_its_field() {
    let plan_of = |disk: &Disk| plan(disk, Arch::X86_64, &ImageSeed(Sha256::of("test")));
    plan_of(&seven()).unwrap().esp().unwrap();
    let cases: [(Change, &str, &str); 10] = [
        (|d| d.size_bytes = Some(2 << 40), "disk.size", "less than 2 TiB"),
        (
            |d| d.partitions[1].kind = PartitionType::Bios,
            "partitions[1].type",
            "no type \"bios\"",
        ),
        (
            |d| d.partitions[1].type_uuid = Some(Uuid::nil()),
            "partitions[1].typeUUID",
            "no GUIDs",
        ),
        (
            |d| d.partitions[1].flags = vec![PartitionFlag::ReadOnly],
            "partitions[1].flags",
            "no flag `read_only`",
        ),
        (
            |d| d.partitions[1].flags = vec![PartitionFlag::Hidden],
            "partitions[1].flags",
            "not supported yet",
        ),
        (
            |d| {
                for partition in &mut d.partitions[..2] {
                    partition.flags = vec![PartitionFlag::Boot];
                }
            },
            "partitions[1].flags",
            "one active",
        ),
        (
            |d| d.partitions[4].flags = vec![PartitionFlag::Boot],
            "partitions[4].type",
            "the first three",
        ),
        (
            |d| d.partitions[2].end_bytes = Some(121 << 20),
            "partitions[3].start",
            "a free sector",
        ),
        (|d| d.partitions.swap(4, 5), "partitions[5].start", "order"),
        (|d| d.partitions.swap(2, 4), "partitions[", "order of their numbers"),
    ];
    for (change, field, reason) in cases {
        let mut disk = seven();
        change(&mut disk);
        let error = plan_of(&disk).unwrap_err().to_string();
        assert!(error.contains(field) && error.contains(reason), "{error}");
    }
    let mut whole = seven();
    whole.partitions[6].end_bytes = None;
    assert_eq!(plan_of(&whole).unwrap().partitions[6].last_lba, 400 * 2048 - 1);
}
