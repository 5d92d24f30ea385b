use std::io::Write as _;
use std::path::PathBuf;

use super::*;
use crate::cancel::Cancel;

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        fs::write(place.at("raw"), [&[1; 4096][..], &[0; 4096], &[2; 100]].concat()).unwrap();
        let drawn = Drawn {
            ranges: vec![(0, 4096), (8192, 8292)],
            ..Drawn::default()
        };
        remember(&place.at("raw"), &drawn, &place.tree(), &place.at("record")).unwrap();
        place
    }

    fn tree(&self) -> DigestTree {
        digest::of_file(&self.at("raw"), Work::quiet(&Cancel::default())).unwrap()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn set_aside(&self) -> Result<Option<Earlier>, Lost> {
        let raws = [self.at("state"), self.at("raw")];
        Earlier::set_aside(&raws, &self.at("record"), &self.at("aside"))
    }

    fn earlier(&self) -> Earlier {
        self.set_aside().unwrap().unwrap()
    }

    fn inode(&self, name: &str) -> u64 {
        fs::metadata(self.at(name)).unwrap().ino()
    }
}

#[test]
fn an_untouched_image_is_used_in_place() {
    let place = Place::new();
    let inode = place.inode("raw");
    let earlier = place.earlier();
    assert!(!place.at("raw").exists() && place.at("aside").exists());
    let (file, drawn) = earlier.start(&place.at("raw")).unwrap();
    assert_eq!(drawn.ranges.len(), 2);
    file.commit().unwrap();
    assert_eq!(place.inode("raw"), inode);
    assert!(!place.at("aside").exists());
}

#[test]
fn an_image_that_cannot_be_used_has_a_reason() {
    let lost = |place: &Place| place.set_aside().unwrap_err();
    let place = Place::new();
    let mut file = File::options().append(true).open(place.at("raw")).unwrap();
    file.write_all(b"more").unwrap();
    assert_eq!(lost(&place), Lost::Changed);
    assert!(place.at("raw").exists());
    fs::remove_file(place.at("raw")).unwrap();
    assert_eq!(lost(&place), Lost::Gone);
    fs::write(place.at("record"), "nonsense").unwrap();
    assert_eq!(lost(&place), Lost::Record);
    fs::remove_file(place.at("record")).unwrap();
    fs::write(place.at("aside"), "of a killed build").unwrap();
    assert_eq!(lost(&place), Lost::Killed);
    assert!(place.set_aside().unwrap().is_none());
}

#[test]
fn an_image_that_was_not_begun_goes_back() {
    let place = Place::new();
    let inode = place.inode("raw");
    let earlier = place.earlier();
    fs::remove_file(place.at("record")).unwrap();
    earlier.give_back(&place.at("record")).unwrap();
    assert_eq!(place.inode("raw"), inode);
    assert_eq!(place.earlier().tree().size_bytes(), 8292);
}

#[test]
fn an_image_in_use_is_copied() {
    let whole = |path: &Path| fs::read(path).unwrap();
    let place = Place::new();
    let before = whole(&place.at("raw"));
    let inode = place.inode("raw");
    let open = File::open(place.at("raw")).unwrap();
    let (file, _) = place.earlier().start(&place.at("raw")).unwrap();
    file.commit().unwrap();
    assert_ne!(place.inode("raw"), inode);
    assert!(whole(&place.at("raw")) == before);
    assert_eq!(open.metadata().unwrap().ino(), inode);
    let place = Place::new();
    fs::hard_link(place.at("raw"), place.at("other")).unwrap();
    remember(&place.at("raw"), &Drawn::default(), &place.tree(), &place.at("record")).unwrap();
    let (file, _) = place.earlier().start(&place.at("raw")).unwrap();
    file.commit().unwrap();
    assert_ne!(place.inode("raw"), place.inode("other"));
}

#[test]
fn a_build_that_fails_leaves_nothing() {
    let place = Place::new();
    drop(place.earlier());
    assert!(!place.at("aside").exists());
    let place = Place::new();
    drop(place.earlier().start(&place.at("raw")).unwrap());
    assert_eq!(fs::read_dir(place.directory.path()).unwrap().count(), 1);
}
