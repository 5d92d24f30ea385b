//! The choice of a disk, over a sysfs of files.

use std::os::unix::fs::symlink;

use super::*;
use crate::cancel::Cancel;

/// A machine made of files.
struct Fake {
    directory: tempfile::TempDir,
    mounts: String,
}

impl Fake {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for path in ["sys/block", "dev", "proc/self"] {
            fs::create_dir_all(directory.path().join(path)).unwrap();
        }
        Self {
            directory,
            mounts: String::new(),
        }
    }

    /// Adds a disk of `mib` MiB behind `bus`; it is blank.
    fn disk(&self, name: &str, mib: u64, bus: &str) -> PathBuf {
        let real = self.directory.path().join("sys/devices").join(bus).join(name);
        fs::create_dir_all(real.join("queue")).unwrap();
        fs::create_dir_all(real.join("device")).unwrap();
        fs::create_dir_all(real.join("holders")).unwrap();
        let number = 7 + fs::read_dir(self.directory.path().join("dev")).unwrap().count();
        for (file, text) in [
            ("size", format!("{}\n", mib * 2048)),
            ("removable", "0\n".into()),
            ("ro", "0\n".into()),
            ("dev", format!("{number}:0\n")),
            ("queue/rotational", "0\n".into()),
            ("device/model", "Model X   \n".into()),
        ] {
            fs::write(real.join(file), text).unwrap();
        }
        symlink(&real, self.directory.path().join("sys/block").join(name)).unwrap();
        let device = fs::File::create(self.directory.path().join("dev").join(name)).unwrap();
        device.set_len(mib << 20).unwrap();
        real
    }

    fn machine(&self) -> Machine {
        let at = |path: &str| self.directory.path().join(path);
        fs::write(at("proc/self/mountinfo"), &self.mounts).unwrap();
        Machine {
            sys: at("sys"),
            proc: at("proc"),
            dev: at("dev"),
        }
    }

    fn choose(&self, strategy: DiskStrategy) -> Result<String, String> {
        let choice = Choice {
            by: By::Strategy(strategy),
            exclude_removable: true,
            require_empty: true,
        };
        let chosen = disks::choose(self.machine().disks().unwrap(), 10 << 20, &choice);
        chosen.map(|disk| disk.name).map_err(|error| error.to_string())
    }
}

#[test]
fn strategies_take_the_disk_that_their_word_says() {
    let fake = Fake::new();
    fake.disk("sda", 20, "pci/ata1");
    fake.disk("sdb", 90, "pci/ata2");
    fake.disk("nvme0n1", 15, "pci/nvme");
    fake.disk("loop0", 900, "virtual");
    for (strategy, name) in [
        (DiskStrategy::First, "sda"),
        (DiskStrategy::Largest, "sdb"),
        (DiskStrategy::Fastest, "nvme0n1"),
    ] {
        assert_eq!(fake.choose(strategy).unwrap(), name);
    }
}

#[test]
fn what_must_not_be_destroyed_is_never_taken() {
    type Change = fn(&mut Fake, &Path, &Path);
    let cases: [(&str, Change); 9] = [
        ("is removable", |_, sys, _| {
            fs::write(sys.join("removable"), "1\n").unwrap()
        }),
        ("is read-only", |_, sys, _| fs::write(sys.join("ro"), "1\n").unwrap()),
        ("is too small (4 MiB of 10 MiB)", |_, sys, _| {
            fs::write(sys.join("size"), "8192\n").unwrap();
        }),
        ("has 1 partitions", |_, sys, _| {
            fs::create_dir_all(sys.join("vda1")).unwrap();
            fs::write(sys.join("vda1/partition"), "1\n").unwrap();
            fs::write(sys.join("vda1/dev"), "99:1\n").unwrap();
        }),
        ("has data", |_, _, dev| {
            let mut bytes = fs::read(dev).unwrap();
            bytes[0x10040] = 1;
            fs::write(dev, bytes).unwrap();
        }),
        ("has data", |_, _, dev| {
            let mut bytes = fs::read(dev).unwrap();
            *bytes.last_mut().unwrap() = 1;
            fs::write(dev, bytes).unwrap();
        }),
        ("is used by the running system", |fake, _, _| {
            fake.mounts = "30 1 7:0 / / rw - ext4 /dev/vda rw\n".into();
        }),
        ("is used by the running system", |fake, _, _| {
            let swaps = "Filename Type Size Used Priority\n/dev/vda partition 1 0 -2\n";
            fs::write(fake.directory.path().join("proc/swaps"), swaps).unwrap();
        }),
        ("is used by the running system", |_, sys, _| {
            fs::create_dir_all(sys.join("holders/dm-0")).unwrap();
        }),
    ];
    for (expected, change) in cases {
        let mut fake = Fake::new();
        let sys = fake.disk("vda", 20, "pci/virtio0");
        assert_eq!(fake.choose(DiskStrategy::First).unwrap(), "vda");
        let device = fake.directory.path().join("dev/vda");
        change(&mut fake, &sys, &device);
        let error = fake.choose(DiskStrategy::First).unwrap_err();
        assert!(
            error.contains(expected) && error.contains("nothing was written"),
            "{error}"
        );
    }
}

#[test]
fn a_disk_behind_usb_counts_as_removable_and_none_is_an_error() {
    let fake = Fake::new();
    assert!(
        fake.choose(DiskStrategy::First)
            .unwrap_err()
            .contains("this machine has none")
    );
    fake.disk("sda", 20, "pci/usb2/2-1");
    assert!(
        fake.choose(DiskStrategy::Largest)
            .unwrap_err()
            .contains("sda is removable")
    );
}

/// The table has its backup at the end of the larger disk, and its last partition reaches it; sgdisk agrees.
#[test]
fn an_image_is_written_and_its_last_partition_grows() {
    use crate::image::gpt::{self, Slot};
    use crate::image::tool::tests::run;
    use std::os::unix::fs::FileExt as _;

    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let raw = fs::File::create(at("raw")).unwrap();
    let size_bytes = 8 << 20;
    raw.set_len(size_bytes).unwrap();
    let slot = Slot {
        number: 1,
        uuid: uuid::Uuid::from_u128(1),
        type_uuid: crate::model::PartitionType::RootAmd64.guid(),
        attributes: 0,
        sectors: (2048, 8191),
        name: "root".into(),
    };
    for (offset, bytes) in gpt::tables_of((size_bytes, 512), uuid::Uuid::from_u128(2), &[slot]).unwrap() {
        raw.write_all_at(&bytes, offset).unwrap();
    }
    raw.write_all_at(b"content", 3 << 20).unwrap();
    let bytes = fs::read(at("raw")).unwrap();
    // Several frames, as chunks of the artifact are.
    let packed = [&bytes[..5 << 20], &bytes[5 << 20..]].map(|part| zstd::encode_all(part, 3).unwrap());
    fs::write(at("raw.zstd"), packed.concat()).unwrap();
    // What was on the disk before is gone, where the image has zeros too.
    fs::write(at("disk"), vec![0xff; 32 << 20]).unwrap();
    let cancel = Cancel::default();
    write::image((&at("raw.zstd"), size_bytes), &at("disk"), Work::quiet(&cancel)).unwrap();
    let written = fs::read(at("disk")).unwrap();
    assert!(written[1 << 20..7 << 20] == bytes[1 << 20..7 << 20]);
    let disk = at("disk");
    let disk = disk.to_str().unwrap();
    let verified = run("gdisk", "sgdisk", &["-v", disk]);
    assert!(verified.contains("No problems found"), "{verified}");
    let info = run("gdisk", "sgdisk", &["-i", "1", disk]);
    assert!(
        info.contains("Last sector: 63487 ") && info.contains("00000000-0000-0000-0000-000000000001"),
        "{info}"
    );
    for wrong in [size_bytes - 512, size_bytes + 512] {
        let error = write::image((&at("raw.zstd"), wrong), &at("disk"), Work::quiet(&cancel)).unwrap_err();
        assert!(error.to_string().contains("the medium is damaged"), "{error}");
    }
    fs::write(at("small"), vec![0; 4 << 20]).unwrap();
    write::image((&at("raw.zstd"), size_bytes), &at("small"), Work::quiet(&cancel)).unwrap_err();
    assert!(fs::read(at("small")).unwrap().iter().all(|byte| *byte == 0));
}

#[test]
fn a_plan_names_nothing_outside_of_the_medium() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("installer")).unwrap();
    let path = directory.path().join("installer/plan.json");
    let plan = |image: &str, strategy: &str| {
        let text = format!(
            r#"{{"name": "x", "image": "{image}", "size_bytes": 5, "path": null, "strategy": {strategy},
                 "exclude_removable": true, "require_empty": true}}"#
        );
        fs::write(&path, text).unwrap();
        Plan::read(&path)
    };
    let read = plan("images/disk.raw.zstd", "\"largest\"").unwrap();
    assert_eq!(read.image(), directory.path().join("images/disk.raw.zstd"));
    assert_eq!(read.choice().unwrap().by, By::Strategy(DiskStrategy::Largest));
    assert_eq!(plan("a", "null").unwrap().choice(), None);
    for image in ["/etc/shadow", "../../etc/shadow", "a/../../b"] {
        assert!(plan(image, "null").is_err(), "{image}");
    }
    fs::write(&path, "{").unwrap();
    assert!(Plan::read(&path).is_err());
}
