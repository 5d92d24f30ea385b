//! mkfs.fat (package dosfstools) makes file systems, mtools fill and list them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use proptest::prelude::*;

use super::super::medium::{Memory, RawFile};
use super::*;
use crate::image::tool::tests::run;
use crate::overlay::layer::{FileKind, Layer, LayerError};

/// Makes a file system of `size_mib` with `options`, and fills it.
fn image(directory: &Path, options: &[&str], size_mib: u64) -> PathBuf {
    let path = directory.join(format!("fat{}{size_mib}", options.join("")));
    File::create(&path).unwrap().set_len(size_mib << 20).unwrap();
    let file = path.to_str().unwrap();
    run(
        "dosfstools",
        "mkfs.fat",
        &[options, &["-n", "TESTBOOT", "-i", "1234abcd", file]].concat(),
    );
    let source = directory.join("source");
    if !source.exists() {
        fs::create_dir_all(source.join("EFI/Linux/deeper")).unwrap();
        fs::write(source.join("EFI/Linux/a long name – with ✓.efi"), "content").unwrap();
        fs::write(source.join("EFI/lower.txt"), "").unwrap();
        fs::write(source.join("EFI/UPPER.TXT"), "x").unwrap();
        let large: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        fs::write(source.join("large"), large).unwrap();
        for number in 0..100 {
            fs::write(
                source.join(format!("EFI/Linux/deeper/entry number {number}.conf")),
                [7; 20],
            )
            .unwrap();
        }
    }
    let locale = ["-s", "-Q", "-m", "-i", file];
    let sources = [source.join("EFI"), source.join("large")].map(|path| path.to_str().unwrap().to_owned());
    let names: Vec<&str> = sources.iter().map(String::as_str).collect();
    run("mtools", "mcopy", &[&locale[..], &names, &["::/"]].concat());
    // A gap in the table makes the file that follows lie in pieces.
    run(
        "mtools",
        "mdel",
        &[
            "-i",
            file,
            "::/EFI/Linux/deeper/entry number 3.conf",
            "::/EFI/Linux/deeper/entry number 5.conf",
        ],
    );
    let again = source.join("large");
    run(
        "mtools",
        "mcopy",
        &["-i", file, again.to_str().unwrap(), "::/EFI/pieces"],
    );
    path
}

fn open(path: &Path) -> Fat {
    Fat::open(Area::whole(Arc::new(RawFile::open(path).unwrap()))).unwrap()
}

fn contents(layer: &dyn Layer) -> Result<BTreeMap<String, Option<Vec<u8>>>, LayerError> {
    let mut found = BTreeMap::new();
    let mut pending = vec![(String::new(), layer.root())];
    while let Some((path, directory)) = pending.pop() {
        let mut names = Vec::new();
        layer.entries(directory, 0, &mut |entry| {
            names.push((entry.name.to_str().unwrap().to_owned(), entry.node));
            names.len() < 1000
        })?;
        for (name, node) in names {
            let path = format!("{path}/{name}");
            let attributes = layer.attributes(node)?;
            let content = match attributes.kind {
                FileKind::Directory => {
                    // Damage may make circles.
                    if path.len() < 100 {
                        pending.push((path.clone(), node));
                    }
                    None
                }
                _ => {
                    let mut content = vec![0; attributes.size_bytes.min(4 << 20) as usize];
                    layer.read_at(node, 0, &mut content)?;
                    Some(content)
                }
            };
            found.insert(path, content);
            if found.len() > 2000 {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

#[test]
fn mtools_agree() {
    let directory = tempfile::tempdir().unwrap();
    for (options, size_mib, kind) in [
        (&["-F", "12"][..], 3, Kind::Fat12),
        (&["-F", "16"], 16, Kind::Fat16),
        (&["-F", "32"], 40, Kind::Fat32),
        (&["-F", "32", "-s", "1", "-S", "4096"], 270, Kind::Fat32),
    ] {
        let path = image(directory.path(), options, size_mib);
        let fat = open(&path);
        let facts = fat.facts().unwrap();
        assert_eq!(
            (facts.kind, facts.label.as_str(), facts.uuid.as_str()),
            (kind, "TESTBOOT", "1234-ABCD")
        );
        let found = contents(&fat).unwrap();
        let source = directory.path().join("source");
        for (name, content) in &found {
            let name = if name == "/EFI/pieces" { "/large" } else { name };
            let expected = source.join(&name[1..]);
            match content {
                Some(content) => assert!(*content == fs::read(&expected).unwrap(), "{options:?} {name}"),
                None => assert!(expected.is_dir(), "{name}"),
            }
        }
        assert_eq!(found.len(), 98 + 8, "{:?}", found.keys());
        let node = ["EFI", "Linux"]
            .iter()
            .try_fold(fat.root(), |at, name| fat.lookup(at, OsStr::new(name)).unwrap());
        assert_eq!(fat.attributes(node.unwrap()).unwrap().links, 3);
        assert_eq!(fat.lookup(fat.root(), OsStr::new("absent")).unwrap(), None);
        // In the middle, and over the end.
        let large = fat.lookup(fat.root(), OsStr::new("large")).unwrap().unwrap();
        let mut part = [0; 9000];
        assert_eq!(fat.read_at(large, 795_000, &mut part).unwrap(), 5000);
        assert_eq!(part[..4], (795_000_u32 / 4).to_le_bytes());
        assert!(Fat::is_at(&Area::whole(Arc::new(RawFile::open(&path).unwrap()))).unwrap());
    }
}

#[test]
fn what_is_wrong_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let bytes = fs::read(image(directory.path(), &["-F", "16"], 16)).unwrap();
    let open = |bytes: &[u8]| Fat::open(Area::whole(Arc::new(Memory::new(bytes))));
    let cut = open(&bytes[..8 << 20]).unwrap_err().to_string();
    assert_eq!(
        cut,
        "the boot sector of FAT at byte 0: it has more sectors than the partition, or the image is cut short"
    );
    let mut circle = bytes.clone();
    let table = usize::from(u16::from_le_bytes([bytes[14], bytes[15]])) * 512;
    circle[table + 4..table + 6].copy_from_slice(&[2, 0]);
    let circle = open(&circle).unwrap();
    assert!(contents(&circle).unwrap_err().to_string().contains("FAT"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// No damage makes the reader panic or run without end.
    #[test]
    fn damage_is_an_error_or_other_contents(
        flips in prop::collection::vec((0..200_usize << 10, any::<u8>()), 1..40),
        which in 0..2_usize,
        length in prop::option::of(0..3_usize << 20),
    ) {
        static IMAGES: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
        let images = IMAGES.get_or_init(|| {
            let directory = tempfile::tempdir().unwrap();
            [(["-F", "12"], 3), (["-F", "32"], 40)].map(|(options, size)| {
                fs::read(image(directory.path(), &options, size)).unwrap()
            })
        });
        let mut bytes = images[which].clone();
        for (at, value) in flips {
            bytes[at] ^= value;
        }
        bytes.truncate(length.unwrap_or(bytes.len()));
        if let Ok(fat) = Fat::open(Area::whole(Arc::new(Memory::new(bytes)))) {
            let _ = contents(&fat);
        }
    }
}
